"""IDX, the format of MNIST and its successors: a header of sizes, then the numbers.

    00 00 | code of the dtype | number of axes | 4 bytes a size | the numbers, all big-endian

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database", section "The IDX file format".
"""

import math
import os
import struct
import sys
from typing import Any

import numpy as np

from minidl.data.files import read_content
from minidl.errors import DtypeError, FormatError

__all__ = ["format_idx", "parse_idx", "read_idx"]

Array = np.ndarray[Any, Any]

_DTYPES = {
    code: np.dtype(name)
    for code, name in {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4"}.items()
} | {0x0E: np.dtype(">f8")}
_MOST_AXES = 64  # NumPy's limit


def read_idx(path: str | os.PathLike[str], *, max_bytes: int = 2**31) -> Array:
    """Return the array in an IDX file; a name that ends in .gz is decompressed.

    max_bytes : a file whose content is longer is refused before it fills the memory

    Raises FormatError with the file and the reason: not gzip, truncated, too long, or not IDX.
    """
    return parse_idx(read_content(path, max_bytes), str(path))


def parse_idx(content: bytes, name: str) -> Array:
    """Return the array that the bytes of an IDX file hold, writable, in the machine's byte order.

    name : the file, for the error's text

    Raises FormatError: wrong magic, unknown dtype, sizes and number of bytes that disagree.
    """
    if len(content) < 4:
        raise FormatError(f"{name}: not an IDX file: {len(content)} bytes, the magic takes 4")
    zeros, code, axes = struct.unpack_from(">HBB", content)
    if zeros != 0:
        raise FormatError(f"{name}: not an IDX file: begins with {content[:4].hex()}, not 0000")
    if code not in _DTYPES:
        known = ", ".join(f"{c:02x}" for c in _DTYPES)
        raise FormatError(f"{name}: IDX dtype code {code:02x} is unknown; known are {known}")
    if not 1 <= axes <= _MOST_AXES:
        raise FormatError(f"{name}: IDX header names {axes} axes; expected 1 to {_MOST_AXES}")
    start = 4 + 4 * axes
    if len(content) < start:
        raise FormatError(f"{name}: truncated in the IDX header: {len(content)} of {start} bytes")
    shape, dtype = struct.unpack_from(f">{axes}I", content, 4), _DTYPES[code]
    expected = start + math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        raise FormatError(
            f"{name}: IDX sizes {shape} of {dtype.name} take {expected} bytes with the header, "
            f"the file has {len(content)}"
        )
    if math.prod(size or 1 for size in shape) * dtype.itemsize > sys.maxsize:
        raise FormatError(f"{name}: IDX sizes {shape} are more than memory can address")
    return (
        np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))
    )


def format_idx(array: Array) -> bytes:
    """Return the bytes of the IDX file that holds `array`, the inverse of `parse_idx`.

    Raises DtypeError for a dtype without a code and FormatError for sizes that do not fit.
    """
    codes = {dtype.newbyteorder("="): code for code, dtype in _DTYPES.items()}
    code = codes.get(array.dtype.newbyteorder("="))
    if code is None:
        raise DtypeError(f"format_idx: {array.dtype.name} has no IDX code; convert it first")
    if not 1 <= array.ndim <= _MOST_AXES or max(array.shape) >= 2**32:
        raise FormatError(f"format_idx: shape {array.shape} does not fit an IDX header")
    header = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    return header + array.astype(_DTYPES[code]).tobytes()
