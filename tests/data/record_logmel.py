"""Record what librosa makes of a few signals, for machines without it; not a test.

    python -m venv VENV && VENV/bin/pip install librosa==0.11.0
    PYTHONPATH=.:kernels VENV/bin/python tests/data/record_logmel.py

Writes tests/oracle/logmel.npz: for each case its settings as JSON, the signal, librosa's filters
and its log-mel features. The signals come from `minidl.random`: the same bits everywhere.
"""

import json
import sys
from pathlib import Path

import numpy as np

from minidl.random import Stream

# length, rate, n_mels, n_fft, hop, and what differs from the defaults
CASES = [
    (2000, 8000, 64, 256, 80, {}),
    (1148, 8000, 64, 512, 128, {"ref": None}),
    (1500, 16000, 40, 400, 160, {"fmin": 20.0, "fmax": 7600.0, "top_db": None}),
    (3000, 22050, 128, 2048, 512, {"pad_mode": "reflect"}),
    (700, 8000, 23, 255, 100, {"pad_mode": "edge", "top_db": 20.0, "ref": 0.5}),
    (50, 8000, 10, 256, 80, {}),
]


def signal(number: int, length: int, rate: int) -> np.ndarray:
    """A tone that rises and fades, noise, and silence for the last fifth."""
    t = np.arange(length) / rate
    tone = np.sin(2 * np.pi * (200 + 2000 * t) * t) * np.exp(-8 * t)
    noise = Stream(number).normal((length,), dtype="float64")
    x = (0.5 * tone + 0.01 * noise).astype(np.float32)
    x[length - length // 5 :] = 0
    return x


def main(path: Path) -> None:
    """Write the record."""
    import librosa  # here alone: the tests look into this file, and need it not

    out: dict[str, np.ndarray] = {}
    for number, (length, rate, n_mels, n_fft, hop, more) in enumerate(CASES):
        x = signal(number, length, rate)
        settings = {"rate": rate, "n_mels": n_mels, "n_fft": n_fft, "hop": hop, **more}
        mel = {key: more[key] for key in ("fmin", "fmax") if key in more}
        power = librosa.feature.melspectrogram(
            y=x,
            sr=rate,
            n_fft=n_fft,
            hop_length=hop,
            n_mels=n_mels,
            pad_mode=more.get("pad_mode", "constant"),
            **mel,
        )
        ref = more.get("ref", 1.0)
        features = librosa.power_to_db(
            power, ref=np.max if ref is None else ref, top_db=more.get("top_db", 80.0)
        )
        filters = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=n_mels, **mel)
        out[f"{number}.settings"] = np.array(json.dumps(settings))
        out[f"{number}.signal"], out[f"{number}.features"] = x, features.T.copy()
        out[f"{number}.filter_sums"] = filters.astype(np.float64).sum(0)
    out["versions"] = np.array(f"librosa {librosa.__version__}, numpy {np.__version__}")
    np.savez_compressed(path, **out)


if __name__ == "__main__":
    target = Path(__file__).parent.parent / "oracle" / "logmel.npz"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else target)
