"""IDX files: what is written is read, and a changed byte gives another sound file or one error."""

import gzip
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minidl.data.idx import format_idx, parse_idx, read_idx
from minidl.errors import DtypeError, FormatError

ARRAYS = hnp.arrays(
    st.sampled_from([np.dtype(t) for t in ("u1", "i1", "<i2", ">i2", "i4", "f4", "f8")]),
    hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4),
)
SMALL = format_idx(np.arange(6, dtype=np.int16).reshape(2, 3))


@given(ARRAYS)
def test_round_trip(array):
    """The bits come back, NaN's too, in the machine's byte order."""
    back = parse_idx(format_idx(array), "x")
    assert back.dtype == array.dtype.newbyteorder("=")
    assert back.shape == array.shape
    assert back.flags.writeable
    assert back.tobytes() == array.astype(back.dtype).tobytes()


def test_layout_is_the_publishers():
    numbers = "0000 0001 0002 0003 0004 0005"
    assert bytes.fromhex(f"0000 0b 02 00000002 00000003 {numbers}") == SMALL


@given(place=st.integers(0, len(SMALL) - 1), value=st.integers(0, 255))
def test_a_changed_byte_is_refused_or_read_as_it_stands(place, value):
    content = SMALL[:place] + bytes([value]) + SMALL[place + 1 :]
    try:
        array = parse_idx(content, "x")
    except FormatError:
        assert content != SMALL
        return
    assert format_idx(array) == content


@given(st.binary(max_size=40))
def test_any_bytes_are_refused_or_read_as_they_stand(content):
    try:
        array = parse_idx(content, "x")
    except FormatError:
        return
    assert format_idx(array) == content


@pytest.mark.parametrize("length", range(len(SMALL)))
def test_truncated(length):
    with pytest.raises(FormatError, match=r"x: (not an IDX|truncated|IDX sizes)"):
        parse_idx(SMALL[:length], "x")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x1f\x8b" + SMALL[2:], "begins with 1f8b0b02"),
        (b"\0\0\x0a" + SMALL[3:], "code 0a is unknown; known are 08"),
        (b"\0\0\x08\0", "names 0 axes"),
        (b"\0\0\x08\xff" + bytes([0, 0, 0, 1] * 255) + b"x", "names 255 axes"),
        (SMALL + b"x", r"\(2, 3\) of int16 take 24 bytes with the header, the file has 25"),
        (struct.pack(">HBB3I", 0, 14, 3, 0, 2**32 - 1, 2**32 - 1), "more than memory"),
        (struct.pack(">HBB2I", 0, 14, 2, 2**32 - 1, 2**32 - 1), "the file has 12"),
    ],
)
def test_reasons(content, reason):
    with pytest.raises(FormatError, match=reason):
        parse_idx(content, "x")


def test_dtype_without_code():
    with pytest.raises(DtypeError, match="int64 has no IDX code"):
        format_idx(np.arange(3))
    with pytest.raises(FormatError, match=r"\(\) does not fit"):
        format_idx(np.uint8(3)[...])


def test_read_idx(tmp_path):
    plain, packed = tmp_path / "a-idx2", tmp_path / "a-idx2.gz"
    plain.write_bytes(SMALL)
    packed.write_bytes(gzip.compress(SMALL))
    for path in (plain, packed):
        np.testing.assert_array_equal(read_idx(path), [[0, 1, 2], [3, 4, 5]])
        read_idx(path, max_bytes=len(SMALL))
        with pytest.raises(FormatError, match=r"a-idx2.*more than the 23 bytes"):
            read_idx(path, max_bytes=len(SMALL) - 1)
