"""Japanese Vowels: the published data, whole, and sequences made into one array."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minidl.data import japanese_vowels, pad_sequences
from minidl.data.embedded import make
from minidl.data.japanese_vowels import FILES, parse_ts
from minidl.errors import DtypeError, FormatError, ShapeError

COUNTS = {"train": [30] * 9, "test": [31, 35, 88, 44, 29, 24, 40, 50, 29]}


@pytest.mark.parametrize("split", COUNTS)
def test_the_published_data(split):
    """The counts of UCI's own description, and the range of lengths."""
    sequences, labels = japanese_vowels(split)
    assert labels.dtype == np.int64
    assert np.bincount(labels).tolist() == COUNTS[split]
    assert len(sequences) == len(labels)
    assert all(x.dtype == np.float32 and x.shape[1:] == (12,) for x in sequences)
    lengths = [len(x) for x in sequences]
    assert (min(lengths), max(lengths)) == {"train": (7, 26), "test": (7, 29)}[split]


def test_the_first_numbers_of_the_file():
    first = japanese_vowels("train")[0][0]
    np.testing.assert_array_equal(first[:2, 0], np.float32([1.860936, 1.891651]))
    np.testing.assert_array_equal(first[:2, 1], np.float32([-0.207383, -0.193249]))


def test_speakers_can_be_told_apart():
    """The nearest mean frame, far above chance (1 in 9): labels belong to sequences."""
    sequences, labels = japanese_vowels("train")
    means = np.stack(
        [
            np.concatenate([x for x, y in zip(sequences, labels, strict=True) if y == k]).mean(0)
            for k in range(9)
        ]
    )
    sequences, labels = japanese_vowels("test")
    nearest = [np.square(means - x.mean(0)).sum(1).argmin() for x in sequences]
    assert (nearest == labels).mean() > 0.6


def test_no_such_split():
    with pytest.raises(ValueError, match="split is 'train' or 'test', not 'dev'"):
        japanese_vowels("dev")


def test_the_files_are_what_make_writes(tmp_path):
    try:
        make.main("japanese_vowels", tmp_path)
    except FileNotFoundError:
        pytest.skip("the publisher's files are not on this machine")
    here = Path(make.__file__).parent / "japanese_vowels"
    for file in FILES.values():
        contents = [
            gzip.decompress((folder / file.name).read_bytes()) for folder in (tmp_path, here)
        ]
        assert contents[0] == contents[1]


# ---- the format ---------------------------------------------------------------------------------

HEAD = "#any\n@problemName x\n@classLabel true b a\n@data\n"


def test_parse():
    sequences, labels = parse_ts((HEAD + "1,2,3:-1,0.5,1e2:a\n4:5:b\n").encode(), "f")
    np.testing.assert_array_equal(sequences[0], np.float32([[1, -1], [2, 0.5], [3, 100]]))
    np.testing.assert_array_equal(sequences[1], np.float32([[4, 5]]))
    assert labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no text with one line @classLabel"),
        (b"\xff\xfe", "no text with one line"),
        (HEAD.replace("@data", "@classLabel true c\n@data").encode(), "one line @classLabel"),
        ((HEAD + "1,2:1,2:c\n").encode(), "sequence 0: 'c' is not in list"),
        ((HEAD + "1:1:a\n1,2:1:a\n").encode(), "sequence 1: .*inhomogeneous"),
        ((HEAD + "1,x:1,2:a\n").encode(), "sequence 0: could not convert"),
        ((HEAD + "1:1:a\n\n").encode(), "sequence 1: '' is not in list"),
        ((HEAD + "1:1:a\n1:a\n").encode(), "sequence 1 has 1 channels, expected 2"),
        ((HEAD + "a\n").encode(), "sequence 0 has 0 channels, expected 1"),
    ],
)
def test_parse_refuses(content, reason):
    with pytest.raises(FormatError, match=f"^f: .*{reason}"):
        parse_ts(content, "f")


# ---- pad_sequences ------------------------------------------------------------------------------


@given(
    lengths=st.lists(st.integers(0, 5), min_size=1, max_size=6),
    rest=hnp.array_shapes(min_dims=0, max_dims=2, max_side=3),
    dtype=st.sampled_from(["float32", "float64", "int64"]),
    more=st.none() | st.integers(0, 3),
)
def test_pad_and_cut_again(lengths, rest, dtype, more):
    count = sum(lengths) * int(np.prod(rest))
    flat = np.arange(1, count + 1, dtype=dtype).reshape(sum(lengths), *rest)
    sequences = np.split(flat, np.cumsum(lengths)[:-1])
    length = None if more is None else max(lengths) + more
    padded, found = pad_sequences(sequences, length, value=-7)
    assert found.tolist() == lengths
    assert found.dtype == np.int64
    assert padded.dtype == dtype
    assert padded.shape == (len(lengths), length if more is not None else max(lengths), *rest)
    for row, n, sequence in zip(padded, lengths, sequences, strict=True):
        np.testing.assert_array_equal(row[:n], sequence)
        assert (row[n:] == -7).all()


@pytest.mark.parametrize(
    ("arguments", "error", "reason"),
    [
        (([],), ShapeError, "expected one sequence or more"),
        (([1.0],), ShapeError, r"sequence 0 \(\)"),
        (([np.zeros((2, 3)), np.zeros((2, 4))],), ShapeError, r"\(2, 3\), sequence 1 \(2, 4\)"),
        (([np.zeros(2), np.zeros(2, int)],), DtypeError, "float64, sequence 1 int64"),
        (([np.zeros(2), np.zeros(5)], 4), ShapeError, "sequence 1 has 5 steps, length is 4"),
    ],
)
def test_pad_refuses(arguments, error, reason):
    with pytest.raises(error, match=f"pad_sequences: .*{reason}"):
        pad_sequences(*arguments)
