"""Sound: wav files of every width, and log-mel features against librosa's, from the record."""

import io
import json
import math
import runpy
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.data.audio import log_mel, mel_filters, parse_wav, pooled_frames, read_wav
from minidl.errors import DtypeError, FormatError, ShapeError

ORACLE = Path(__file__).parent.parent / "oracle" / "logmel.npz"  # by record_logmel.py


@pytest.fixture(scope="module")
def oracle():
    with np.load(ORACLE) as record:
        return dict(record)


# ---- log-mel ------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(6))
def test_equal_to_librosa(oracle, number):
    settings = json.loads(oracle[f"{number}.settings"].item())
    expected = oracle[f"{number}.features"]
    signal = oracle[f"{number}.signal"]
    out = log_mel(signal, **settings)
    assert out.dtype == np.float32
    frames = 1 + (len(signal) - settings["n_fft"] % 2) // settings["hop"]
    assert out.shape == expected.shape == (frames, settings["n_mels"])
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-4)
    names = ("rate", "n_fft", "n_mels", "fmin", "fmax")
    filters = mel_filters(**{name: settings[name] for name in names if name in settings})
    np.testing.assert_allclose(filters.sum(0), oracle[f"{number}.filter_sums"], atol=1e-7)


def test_the_record_is_of_what_the_script_says(oracle):
    script = runpy.run_path(str(Path(__file__).parent / "record_logmel.py"))
    for number, (length, rate, *_rest) in enumerate(script["CASES"]):
        x = script["signal"](number, length, rate)
        np.testing.assert_allclose(x, oracle[f"{number}.signal"], rtol=0, atol=1e-7)


def test_by_the_definition():
    """One frame, one band, written as sums."""
    rate, n = 1000, 16
    x = np.cos(np.arange(40) * 0.7) * 0.5
    frame = x[24 - n // 2 : 24 + n // 2]
    window = [math.sin(math.pi * i / n) ** 2 for i in range(n)]
    power = [
        abs(sum(frame[i] * window[i] * np.exp(-2j * np.pi * i * k / n) for i in range(n))) ** 2
        for k in range(n // 2 + 1)
    ]
    # Two bands over 0 … 500 Hz, where the scale is linear.
    ends = [500 / 3 * i for i in range(4)]
    hz = [k * rate / n for k in range(n // 2 + 1)]
    for band in range(2):
        low, middle, high = ends[band : band + 3]
        weights = [
            max(0, min((f - low) / (middle - low), (high - f) / (high - middle))) * 2 / (high - low)
            for f in hz
        ]
        expected = 10 * math.log10(sum(p * w for p, w in zip(power, weights, strict=True)))
        out = log_mel(x, rate, n_mels=2, n_fft=n, hop=8, top_db=None)
        assert out[3, band] == pytest.approx(expected, abs=1e-4)


@given(st.integers(1, 600), st.integers(1, 100), st.sampled_from(["constant", "edge"]))
def test_any_length(length, hop, pad_mode):
    x = np.linspace(-1, 1, length, dtype=np.float32)
    out = log_mel(x, 8000, n_mels=8, n_fft=64, hop=hop, pad_mode=pad_mode)
    assert out.shape == (1 + length // hop, 8)
    assert out.max() - out.min() <= 80.001
    np.testing.assert_array_equal(
        log_mel(x.astype(np.float64), 8000, 8, 64, hop, pad_mode=pad_mode), out
    )


def test_louder_is_higher_and_silence_is_the_least():
    x = np.sin(np.arange(800) / 3)
    quiet, loud = (log_mel(x * s, 8000, 20, ref=1.0, top_db=None) for s in (0.1, 1.0))
    heard = quiet > -100
    assert heard.sum() > 100
    np.testing.assert_allclose((loud - quiet)[heard], 20, atol=1e-3)
    assert log_mel(x, 8000, 20, ref=None).max() == 0
    np.testing.assert_array_equal(log_mel(np.zeros(100), 8000, 20), -100)
    np.testing.assert_array_equal(log_mel(np.zeros(100), 8000, 20, ref=None), 0)


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        ({"signal": np.zeros((2, 9))}, ShapeError, r"one channel; got \(2, 9\)"),
        ({"signal": np.zeros(0)}, ShapeError, "with T > 0"),
        ({"signal": np.zeros(9, np.int16)}, DtypeError, "the signal is int16; expected floats"),
        ({"signal": np.array([0, np.nan])}, ValueError, "sample 1 of the signal is nan"),
        ({"signal": np.array([np.inf])}, ValueError, "sample 0 of the signal is inf"),
        ({"hop": 0}, ValueError, "hop 0 too small"),
        ({"n_mels": 0}, ValueError, "n_mels 0"),
        ({"pad_mode": "wrap"}, ValueError, "not 'wrap'"),
        ({"pad_mode": "reflect"}, ShapeError, "100 samples cannot be mirrored for n_fft 256"),
        ({"fmax": 4001}, ValueError, r"must be in order, in 0 … 4000.0 Hz"),
        ({"fmin": 100, "fmax": 100}, ValueError, "in order"),
        ({"n_mels": 200}, ValueError, "n_fft 256 at 8000 Hz is too coarse for 200 bands"),
    ],
)
def test_log_mel_refuses(change, error, reason):
    arguments = {"signal": np.zeros(100), "rate": 8000} | change
    with pytest.raises(error, match=reason):
        log_mel(**arguments)


# ---- pooled_frames ------------------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(1, 12))
def test_pooled_by_the_definition(count, frames):
    x = np.sin(np.arange(count * 3.0)).reshape(count, 3)
    out = pooled_frames(x, frames)
    assert out.shape == (frames, 3)
    for i in range(frames):
        part = x[math.floor(i * count / frames) : math.ceil((i + 1) * count / frames)]
        np.testing.assert_allclose(out[i], part.mean(0), rtol=1e-12)


def test_pooled_shape_of_the_seed():
    x = log_mel(np.ones(3000, np.float32), 8000)
    assert pooled_frames(x).shape == (10, 64)
    assert pooled_frames(x).dtype == np.float32


@pytest.mark.parametrize(
    ("shape", "frames", "reason"),
    [((0, 3), 2, r"T > 0; got \(0, 3\)"), ((3,), 2, r"\(T, D\)"), ((3, 1), 0, "1 or more, got 0")],
)
def test_pooled_refuses(shape, frames, reason):
    with pytest.raises(ValueError, match=reason):
        pooled_frames(np.zeros(shape), frames)


# ---- wav files ----------------------------------------------------------------------------------


def wav(samples, width=2, rate=8000, channels=1):
    """A wav file of whole numbers."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        signed = width > 1
        file.writeframes(b"".join(int(s).to_bytes(width, "little", signed=signed) for s in samples))
    return out.getvalue()


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2])
def test_every_width(width, channels, tmp_path):
    """The ends of the range, the middle, and one step."""
    half = 1 << (8 * width - 1)
    samples = [-half, -1, 0, 1, half - 1, half // 2]
    shift = half if width == 1 else 0
    path = tmp_path / "a.wav"
    path.write_bytes(wav([s + shift for s in samples], width, 16000, channels))
    signal, rate = read_wav(path)
    assert rate == 16000
    assert signal.dtype == np.float32
    assert signal.shape == ((6,) if channels == 1 else (3, 2))
    np.testing.assert_array_equal(signal.ravel(), np.float32([s / half for s in samples]))


GOOD = wav(range(50))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a wav file"),
        (b"RIFF", "not a wav file"),
        (b"<html>" * 20, "not a wav file of plain PCM: file does not start with RIFF id"),
        (GOOD[:30], "not a wav file"),
        (GOOD[:-1], "truncated: 9. bytes of samples, the header says 50 times 1 times 2"),
        (GOOD[:60], "truncated"),
        (wav([]), "truncated: 0 bytes"),
        (GOOD[:20] + b"\3\0" + GOOD[22:], "not a wav file of plain PCM: unknown format: 3"),
        (GOOD[:34] + b"\x28\0" + GOOD[36:], "40 bits"),
    ],
)
def test_wav_refuses(content, reason, tmp_path):
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(FormatError, match=reason) as error:
        read_wav(tmp_path / "a.wav")
    assert str(error.value).startswith(str(tmp_path / "a.wav"))


@given(place=st.integers(0, len(GOOD) - 1), value=st.integers(0, 255))
def test_a_changed_byte(place, value):
    content = bytearray(GOOD)
    content[place] = value
    try:
        signal, rate = parse_wav(bytes(content), "f")
    except FormatError:
        return
    assert rate > 0
    assert 0 < len(signal) <= 100
    assert np.abs(signal).max() <= 1


def test_too_long(monkeypatch, tmp_path):
    monkeypatch.setattr("minidl.data.audio._MOST_BYTES", 20)
    (tmp_path / "a.wav").write_bytes(GOOD)
    with pytest.raises(FormatError, match="more than 20 bytes"):
        read_wav(tmp_path / "a.wav")
