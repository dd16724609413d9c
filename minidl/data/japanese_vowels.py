"""Japanese Vowels: 640 utterances of nine speakers, short sequences of differing lengths.

Source: M. Kudo, J. Toyama, M. Shimbo, "Multidimensional curve classification using passing-through
regions", Pattern Recognition Letters 20 (11-13), 1103-1111, 1999. UCI Machine Learning Repository,
https://archive.ics.uci.edu/dataset/128/japanese+vowels, CC BY 4.0; the text files are those of the
UEA archive of time series, https://timeseriesclassification.com.
"""

from pathlib import Path
from typing import Any

import numpy as np

from minidl.data.files import DataFile, read_checked
from minidl.errors import FormatError

__all__ = ["japanese_vowels"]

Array = np.ndarray[Any, Any]

_FOLDER = Path(__file__).parent / "embedded" / "japanese_vowels"  # made by embedded/make.py
FILES = {
    "train": DataFile(
        "JapaneseVowels_TRAIN.ts.gz",
        "68a430eabd919cc77f40b1f5f3bc0dcafacc1486bca9260785aeb7d262cc78cd",
        487_971,
    ),
    "test": DataFile(
        "JapaneseVowels_TEST.ts.gz",
        "b3d41d6a0ca3bcad3afb9ca7d4365382aa51341e2e58bae2a574babdda5b9462",
        649_132,
    ),
}


def japanese_vowels(split: str = "train") -> tuple[list[Array], Array]:
    """Return the utterances and speakers of Japanese Vowels, whole; it comes with minidl.

    Nine men say the vowels /ae/. To tell who it is from the shape of the sound is the task. The
    split is the published one: 30 utterances of each speaker to train, 24 to 88 to test.

    Parameters
    ----------
    split : "train" or "test"

    Returns
    -------
    sequences : list of (T, 12) float32
        270 or 370, in the published order; T is 7 to 29. A frame is 12 coefficients of linear
        prediction. `pad_sequences` makes one array of them.
    labels : (N,) int64
        The speaker, 0 to 8.

    Examples
    --------
    >>> from minidl.data import japanese_vowels, pad_sequences
    >>> sequences, labels = japanese_vowels("test")
    >>> len(sequences), sequences[0].shape, labels.max().item()
    (370, (19, 12), 8)
    >>> padded, lengths = pad_sequences(sequences)
    >>> padded.shape, lengths[:3]
    ((370, 29, 12), array([19, 17, 19]))
    """
    if split not in FILES:
        raise ValueError(f"japanese_vowels: split is 'train' or 'test', not {split!r}")
    file = FILES[split]
    return parse_ts(read_checked(_FOLDER / file.name, file), file.name)


def parse_ts(content: bytes, name: str) -> tuple[list[Array], Array]:
    """Return the sequences, (T, D) float32 each, and labels from 0 that a .ts file holds.

    After the line "@data" each line is a sequence: its D channels with ":" between, each T numbers
    with "," between, and last its class. The classes are numbered in the order in which the line
    "@classLabel true …" names them.

    name : the file, for the error's text

    Raises FormatError: text or numbers that are none, a class that was not named, channels that
    differ in length or from line to line in their number.
    """
    try:
        head, _, body = content.decode("ascii").partition("@data\n")
        (names,) = (line.split()[2:] for line in head.split("\n") if line.startswith("@classLabel"))
    except (UnicodeDecodeError, ValueError):
        raise FormatError(f"{name}: not a .ts file: no text with one line @classLabel") from None
    sequences: list[Array] = []
    labels: list[int] = []
    for place, line in enumerate(body.splitlines()):
        *channels, label = line.split(":")
        try:
            frames = np.array([channel.split(",") for channel in channels], np.float32).T
            labels.append(names.index(label))
        except ValueError as error:
            raise FormatError(f"{name}: sequence {place}: {error}") from None
        expected = sequences[0].shape[1] if sequences else max(len(channels), 1)
        if len(channels) != expected:
            raise FormatError(
                f"{name}: sequence {place} has {len(channels)} channels, expected {expected}"
            )
        sequences.append(np.ascontiguousarray(frames))
    return sequences, np.array(labels, np.int64)
