"""Sound: reading wav files, and log-mel features, librosa's numbers on the same settings.

    S = |STFT(x)|²                 the power at each time and frequency
    M = F S                        summed in bands, evenly spaced as the ear hears (mel)
    10 log10(max(M, 1e-10) / ref)  loudness, in decibels

Sources: S. Davis, P. Mermelstein, IEEE Trans. ASSP 28 (4), 357-366, 1980 (mel bands); M. Slaney,
"Auditory Toolbox", Interval Research 1998-010 (this mel scale and the filters' norm).
"""

import functools
import io
import math
import os
import wave
from pathlib import Path
from typing import Any

import numpy as np

from minidl.errors import DtypeError, FormatError, ShapeError

__all__ = ["log_mel", "mel_filters", "parse_wav", "pooled_frames", "read_wav"]

Array = np.ndarray[Any, Any]
_LEAST = 1e-10  # power below which all is silence
_MOST_BYTES = 2**30


def read_wav(path: str | os.PathLike[str]) -> tuple[Array, int]:
    """Return the signal in a wav file and its rate in samples a second.

    The signal is float32 from -1 to 1, (T,) for one channel and (T, C) for more. Plain PCM of 8,
    16, 24 or 32 bits is read. Raises FormatError with the file and the reason: another format,
    truncated, no samples, more than 1 GiB.
    """
    with Path(path).open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise FormatError(f"{path}: holds more than {_MOST_BYTES} bytes")
    return parse_wav(content, str(path))


def parse_wav(content: bytes, name: str) -> tuple[Array, int]:
    """Return signal and rate that the bytes of a wav file hold, as `read_wav` does.

    name : the file, for the error's text
    """
    try:
        with wave.open(io.BytesIO(content)) as file:
            channels, width, rate, count = file.getparams()[:4]
            data = file.readframes(count)
    except (wave.Error, EOFError, RuntimeError) as error:  # the last: a chunk longer than the file
        raise FormatError(f"{name}: not a wav file of plain PCM: {error or 'it ends'}") from None
    if width not in (1, 2, 3, 4) or rate < 1 or channels < 1:
        raise FormatError(
            f"{name}: {8 * width} bits, {channels} channels, {rate} samples a second; expected 8, "
            "16, 24 or 32 bits"
        )
    if len(data) != count * channels * width or count == 0:
        raise FormatError(
            f"{name}: truncated: {len(data)} bytes of samples, the header says {count} times "
            f"{channels} times {width}"
        )
    if width == 1:  # the one width that is unsigned, around 128
        whole = np.frombuffer(data, np.uint8).astype(np.int16) - 128
    elif width == 3:  # as the upper bytes of 32 bits
        wide = np.zeros((count * channels, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        whole = wide.view("<i4").ravel()
    else:
        whole = np.frombuffer(data, f"<i{width}")
    signal = whole.astype(np.float32) / np.float32(2.0 ** (31 if width == 3 else 8 * width - 1))
    return (signal.reshape(count, channels) if channels > 1 else signal), rate


def log_mel(
    signal: Any,
    rate: int,
    n_mels: int = 64,
    n_fft: int = 256,
    hop: int = 80,
    *,
    fmin: float = 0.0,
    fmax: float | None = None,
    pad_mode: str = "constant",
    ref: float | None = 1.0,
    top_db: float | None = 80.0,
) -> Array:
    """Return how loud each band of a signal is at each time, in decibels.

    Equal to librosa 0.11's `power_to_db(melspectrogram(y=signal, sr=rate, n_mels=…, n_fft=…,
    hop_length=hop, …), ref=…, top_db=…)`, transposed: time is the first axis.

    Parameters
    ----------
    signal : (T,) float
    rate : int
        Samples a second.
    n_mels : int
        Number of bands.
    n_fft : int
        Samples of a frame, under a Hann window. 256 is 32 ms at 8 kHz.
    hop : int
        Samples from one frame to the next.
    fmin, fmax : float
        Ends of the bands in Hz. Default: 0 and rate / 2.
    pad_mode : "constant", "reflect" or "edge"
        What half a frame before and after the signal is: frame t is centred on sample t·hop.
    ref : float, optional
        The power that is 0 dB; None: the greatest of this signal.
    top_db : float, optional
        What lies so far below the greatest value is raised to there; None: nothing is.

    Returns
    -------
    (1 + T // hop, n_mels) float32; 1 + (T - 1) // hop frames where n_fft is odd

    Raises
    ------
    ShapeError
        Not one axis, no samples, or too few to be mirrored.
    DtypeError
        Whole numbers: divide by the greatest first, as `read_wav` does.
    ValueError
        NaN or infinity in the signal, settings out of range.
    """
    x = np.asarray(signal)
    if x.ndim != 1 or x.size == 0:
        raise ShapeError(f"log_mel: the signal is (T,) with T > 0, one channel; got {x.shape}")
    if x.dtype.kind != "f":
        raise DtypeError(f"log_mel: the signal is {x.dtype}; expected floats from -1 to 1")
    if not np.isfinite(x).all():
        place = int(np.flatnonzero(~np.isfinite(x))[0])
        raise ValueError(f"log_mel: sample {place} of the signal is {x[place]}")
    if hop < 1 or n_fft < 2 or n_mels < 1:
        raise ValueError(f"log_mel: n_mels {n_mels}, n_fft {n_fft} (from 2) or hop {hop} too small")
    if pad_mode not in ("constant", "reflect", "edge"):
        raise ValueError(f"log_mel: pad_mode is constant, reflect or edge, not {pad_mode!r}")
    if pad_mode == "reflect" and x.size <= n_fft // 2:
        raise ShapeError(f"log_mel: {x.size} samples cannot be mirrored for n_fft {n_fft}")
    filters = mel_filters(rate, n_fft, n_mels, fmin, fmax)
    wide = np.pad(x.astype(np.float64), n_fft // 2, mode=pad_mode)  # type: ignore[call-overload]
    frames = np.lib.stride_tricks.sliding_window_view(wide, n_fft)[::hop]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    spectrum = np.fft.rfft(frames * window)
    power = (spectrum.real**2 + spectrum.imag**2) @ filters.T
    loud = 10 * np.log10(np.maximum(power, _LEAST))
    loud -= 10 * math.log10(max(float(power.max()) if ref is None else ref, _LEAST))
    if top_db is not None:
        loud = np.maximum(loud, loud.max() - top_db)
    return loud.astype(np.float32)


@functools.lru_cache(maxsize=8)
def mel_filters(
    rate: int, n_fft: int, n_mels: int, fmin: float = 0.0, fmax: float | None = None
) -> Array:
    """Return the weights (n_mels, n_fft // 2 + 1) of frequencies in bands, float64, not writable.

    A band is a triangle over the frequencies between its neighbours' middles, of area 1 in Hz; the
    middles are evenly spaced in mel. Raises ValueError for ends not in 0 <= fmin < fmax <= rate / 2
    and for bands so narrow that one holds no frequency.
    """
    end = rate / 2 if fmax is None else fmax
    if not 0 <= fmin < end <= rate / 2:
        raise ValueError(
            f"mel_filters: fmin {fmin} and fmax {end} must be in order, in 0 … {rate / 2} Hz"
        )
    ends = _to_hz(np.linspace(_to_mel(fmin), _to_mel(end), n_mels + 2))
    low, middle, high = (ends[i : i + n_mels, None] for i in range(3))
    hz = np.fft.rfftfreq(n_fft, 1 / rate)
    rising, falling = (hz - low) / (middle - low), (high - hz) / (high - middle)
    weights = np.maximum(0, np.minimum(rising, falling)) * 2 / (high - low)
    if not weights.any(1).all():
        raise ValueError(
            f"mel_filters: n_fft {n_fft} at {rate} Hz is too coarse for {n_mels} bands; take more "
            "samples or fewer bands"
        )
    weights.flags.writeable = False
    return weights


# Slaney's scale: 15 mel up to 1000 Hz, and above it 27 mel for each factor of 6.4.
_LINEAR, _KNEE, _FACTOR = 200 / 3, 15.0, math.log(6.4) / 27


def _to_mel(hz: float) -> float:
    return hz / _LINEAR if hz < 1000 else _KNEE + math.log(hz / 1000) / _FACTOR


def _to_hz(mel: Array) -> Array:
    return np.where(mel < _KNEE, mel * _LINEAR, 1000 * np.exp((mel - _KNEE) * _FACTOR))


def pooled_frames(features: Any, frames: int = 10) -> Array:
    """Return the means of a sequence over so many equal parts of its time: (T, D) -> (frames, D).

    Part i goes from floor(i T / frames) to ceil((i + 1) T / frames), as in PyTorch's adaptive
    average pooling: parts overlap where T is no multiple, and repeat where T is less. Float dtypes
    stay. With 64 bands the default makes the (10, 64) of the seed document's LSTM.

    Raises ShapeError for other axes or T = 0, and ValueError for frames < 1.

    >>> import numpy as np
    >>> from minidl.data.audio import pooled_frames
    >>> pooled_frames(np.arange(6.0)[:, None], 3).tolist()
    [[0.5], [2.5], [4.5]]
    """
    x = np.asarray(features)
    if x.ndim != 2 or len(x) == 0:
        raise ShapeError(f"pooled_frames: features are (T, D) with T > 0; got {x.shape}")
    if frames < 1:
        raise ValueError(f"pooled_frames: frames must be 1 or more, got {frames}")
    count = len(x)
    parts = [x[i * count // frames : -(-(i + 1) * count // frames)] for i in range(frames)]
    return np.stack([part.mean(0) for part in parts])
