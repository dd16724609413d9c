"""Spoken digits: the Free Spoken Digit Dataset, 3,000 recordings of the ten digits in English.

Source: Z. Jackson and others, https://github.com/Jakobovski/free-spoken-digit-dataset, at commit
26eb9aaf, CC BY-SA 4.0.
"""

import os
import re
from typing import Any

import numpy as np

from minidl.data.archives import DataFolder, load_folder
from minidl.data.audio import parse_wav
from minidl.errors import FormatError

__all__ = ["SPOKEN_DIGITS_RATE", "SPOKEN_DIGITS_SPEAKERS", "spoken_digits"]

Array = np.ndarray[Any, Any]

SPOKEN_DIGITS_RATE = 8000
SPOKEN_DIGITS_SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")

_COMMIT = "26eb9aaf76e81b692f806f9140c2d2777410d7a1"
_REPOSITORY = "https://github.com/Jakobovski/free-spoken-digit-dataset"
_SOURCES = (f"{_REPOSITORY}/archive/{_COMMIT}.tar.gz", f"{_REPOSITORY}/archive/{_COMMIT}.zip")
_FOLDER = DataFolder(
    "recordings",
    "*.wav",
    "dbd573d7cafe79c4b49f65718115e1304e24e067fa39eff18a660dc6cb9c360f",
    21_128_848,
)
_MOST_BYTES = 100_000_000  # of the whole repository, for the archive holds more than recordings
_NAME = re.compile(r"(\d)_([a-z]+)_(\d+)\.wav")
_TEST_NUMBERS = range(5)


def spoken_digits(
    split: str = "train",
    *,
    speaker: str | None = None,
    root: str | os.PathLike[str] | None = None,
    download: bool = True,
) -> tuple[list[Array], Array]:
    """Return the recordings and digits of the Free Spoken Digit Dataset.

    Six speakers said each digit fifty times. `minidl.data.audio` makes features of the sound.

    Parameters
    ----------
    split : "train" or "test"
    speaker : str, optional
        One of `SPOKEN_DIGITS_SPEAKERS`: the test set is all 500 recordings of this speaker, and
        nobody heard in it is heard in training. Default: the authors' split, where the test set is
        the first five recordings of each digit by each speaker, 300 together.
    root : path, optional
        Where the folder `recordings` is looked for first, and downloaded to. Further places:
        $MINIDL_DATA/fsdd/ and the user's cache.
    download : bool
        Whether it may be fetched, 16 MB, where no place has it.

    Returns
    -------
    signals : list of (T,) float32
        From -1 to 1, `SPOKEN_DIGITS_RATE` samples a second, sorted by the names of the files; T is
        1,148 to 18,262.
    labels : (N,) int64
        The digit, 0 to 9.

    Raises
    ------
    FormatError
        The folder, or what was fetched, is damaged or another one.
    FileNotFoundError
        It is nowhere and could not be fetched.
    """
    if split not in ("train", "test"):
        raise ValueError(f"spoken_digits: split is 'train' or 'test', not {split!r}")
    if speaker is not None and speaker not in SPOKEN_DIGITS_SPEAKERS:
        raise ValueError(
            f"spoken_digits: speaker is one of {', '.join(SPOKEN_DIGITS_SPEAKERS)}, not {speaker!r}"
        )
    contents = load_folder(
        "fsdd",
        _FOLDER,
        sources=_SOURCES,
        max_bytes=_MOST_BYTES,
        choose=_choose,
        root=root,
        download=download,
    )
    signals, labels = [], []
    for name, content in contents.items():
        digit, who, number = _parts(name)
        for_test = number in _TEST_NUMBERS if speaker is None else who == speaker
        if for_test == (split == "test"):
            signal, rate = parse_wav(content, name)
            if rate != SPOKEN_DIGITS_RATE or signal.ndim != 1:
                raise FormatError(
                    f"{name}: {rate} samples a second, shape {signal.shape}; expected one channel "
                    f"at {SPOKEN_DIGITS_RATE}"
                )
            signals.append(signal)
            labels.append(digit)
    return signals, np.array(labels, np.int64)


def _parts(name: str) -> tuple[int, str, int]:
    """Return digit, speaker and number of the recording from a file's name."""
    if not (found := _NAME.fullmatch(name)):
        raise FormatError(f"{name}: not a recording's name, <digit>_<speaker>_<number>.wav")
    return int(found[1]), found[2], int(found[3])


def _choose(name: str) -> str | None:
    """Return the name of a recording for its path in the archive, <folder>/recordings/<name>."""
    parts = name.split("/")
    return parts[2] if len(parts) == 3 and parts[1] == "recordings" else None
