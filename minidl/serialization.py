"""Saving and loading tensors by name, in the safetensors format: data only, never code.

A file is written whole under another name and then takes the place of the old one, so a crash
leaves the old file as it was. A file that is read is checked from its first byte to its last.
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from minidl import files
from minidl.conversion import as_array
from minidl.device import to_device, to_host
from minidl.dtypes import as_dtype
from minidl.errors import DtypeError, FormatError
from minidl.tape import TensorBase, tie
from minidl.tensor import Tensor

__all__ = ["load", "read_metadata", "save"]

_DTYPES = {
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "U8": "uint8",
    "BOOL": "bool",
}
_METADATA = "__metadata__"  # the one name that the format keeps for itself

Path_ = str | os.PathLike[str]


# ---- writing ------------------------------------------------------------------------------------


def save(state: Mapping[str, Any], path: Path_, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors by name to a safetensors file; what was there is replaced at the very end.

    state : {name: tensor or array}, e.g. `model.state_dict()`; names are strings
    metadata : further texts by name, see `read_metadata`

    Raises TypeError for a name or value of another kind, DtypeError for a dtype not offered, and
    OSError, e.g. for a full disk, that says why; the file that was there is whole then.
    """
    content = safetensors.numpy.save(_arrays(state), _texts(metadata))
    with files.writing("save", path):
        files.replace(Path(os.path.realpath(path)), content)


def _arrays(state: Any) -> dict[str, Any]:
    """The values as arrays on the host, row by row in memory as the format wants them."""
    if hasattr(state, "state_dict"):
        raise TypeError(f"save: got a {type(state).__name__}; pass its .state_dict()")
    if not isinstance(state, Mapping):
        raise TypeError(f"save: expected a dict of tensors, got {type(state).__name__}")
    found = {}
    for name, value in state.items():
        if not isinstance(name, str):
            raise TypeError(f"save: names must be strings, got {name!r}")
        if name == _METADATA:
            raise ValueError(f"save: the name {_METADATA!r} belongs to the format")
        if not isinstance(value, TensorBase) and not hasattr(value, "__array__"):
            kind = type(value).__name__
            hint = "; pass each module's .state_dict()" if hasattr(value, "state_dict") else ""
            raise TypeError(f"save: {name!r} is a {kind}, expected a tensor or an array{hint}")
        value = value if isinstance(value, TensorBase) else np.asarray(value)
        array = to_host(as_array(f"save: {name!r}", value))
        found[name] = np.array(array, order="C", copy=None)  # keeps an array without axes as such
    return found


def _texts(metadata: Mapping[str, str] | None) -> dict[str, str] | None:
    if metadata is None:
        return None
    for name, text in metadata.items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise TypeError(f"save: metadata must be strings by name, got {name!r}: {text!r}")
    return dict(metadata)


# ---- reading ------------------------------------------------------------------------------------


def load(path: Path_, device: str | None = None, dtype: Any = None) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file, by name.

    device : where to put them, default: the current device
    dtype : a float dtype to convert floats to, default: as they were saved

    Raises FormatError, with the file and the reason, for a file that is truncated, of another
    format or damaged; OSError if it cannot be read, DtypeError if `dtype` is no float dtype.
    """
    wanted = None if dtype is None else as_dtype(dtype)
    if wanted is not None and wanted.kind != "f":
        raise DtypeError(f"load: dtype must be a float dtype, not {wanted}")
    content = _content(path)
    header, start = _header(path, content)
    result = {}
    for name, array in _checked(path, header, content, start).items():
        if wanted is not None and array.dtype.kind == "f":
            array = array.astype(wanted)
        result[name] = tie(to_device(array, device), None)
    return result


def read_metadata(path: Path_) -> dict[str, str]:
    """Read the texts that were saved beside the tensors. Raises FormatError as `load` does."""
    return _header(path, _content(path))[0].get(_METADATA, {})


def _content(path: Path_) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise OSError(
            error.errno,
            f"load: cannot read {os.fspath(path)}: {files.reason(error)}; check the path",
        ) from None


def _bad(path: Path_, reason: str) -> FormatError:
    return FormatError(f"load: {os.fspath(path)} {reason}")


def _header(path: Path_, content: bytes) -> tuple[dict[str, Any], int]:
    """The header and where the data begin. The file opens with the header's length, 8 bytes."""
    if content[:2] == b"PK":
        raise _bad(
            path,
            "is a zip archive (PyTorch's or NumPy's), not a safetensors file; PyTorch's weights "
            "are written as one by safetensors.torch.save_file(model.state_dict(), path)",
        )
    if len(content) < 8:
        raise _bad(path, f"is truncated or no safetensors file: it has {len(content)} bytes")
    length = int.from_bytes(content[:8], "little")
    if length > len(content) - 8:
        raise _bad(
            path,
            "is truncated or no safetensors file: "
            f"a header of {length} bytes is announced, {len(content) - 8} follow",
        )
    try:
        header = json.loads(content[8 : 8 + length].decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise _bad(path, f"has a bad header: {error}") from None
    if not isinstance(header, dict):
        raise _bad(path, "has a bad header: it is no table of names")
    texts = header.get(_METADATA, {})
    if not isinstance(texts, dict) or not all(isinstance(t, str) for t in texts.values()):
        raise _bad(path, f"has a bad header: {_METADATA} must hold texts")
    return header, 8 + length


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A table of the header, in which no name may stand twice."""
    table = dict(pairs)
    if len(table) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name {next(n for n in names if names.count(n) > 1)!r} stands twice")
    return table


def _checked(
    path: Path_, header: dict[str, Any], content: bytes, start: int
) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays, copied out of the file; they must fill it from the header to its end."""
    places = []
    for name, entry in header.items():
        if name != _METADATA:
            dtype, shape, begin, end = _entry(path, name, entry)
            places.append((begin, end, name, dtype, shape))
    position, found = 0, {}
    for begin, end, name, dtype, shape in sorted(places, key=lambda place: place[:2]):
        if begin != position:
            raise _bad(path, f"is damaged: {name!r} should begin at byte {position}, not {begin}")
        if start + end > len(content):
            raise _bad(
                path,
                f"is truncated: {name!r} ends at byte {start + end}, the file at {len(content)}",
            )
        position = end
        data = np.frombuffer(content, np.uint8, end - begin, start + begin)
        if dtype == "bool" and (data > 1).any():
            raise _bad(path, f"is damaged: {name!r} holds bytes that are no truth values")
        found[name] = data.view(dtype).reshape(shape).copy()
    if start + position != len(content):
        raise _bad(path, f"is damaged: {len(content) - start - position} bytes belong to no tensor")
    return {name: found[name] for name in header if name != _METADATA}


def _entry(path: Path_, name: str, entry: Any) -> tuple[str, tuple[int, ...], int, int]:
    """What the header says of one tensor: dtype, shape, and first and last byte."""
    try:
        kind, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        numbers = all(type(n) is int and n >= 0 for n in (*shape, begin, end))
        whole = numbers and isinstance(kind, str)
    except (KeyError, TypeError, ValueError):
        whole = False
    if not whole or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise _bad(path, f"has a bad header: the entry of {name!r} is not as the format has it")
    if kind not in _DTYPES:
        hint = ""
        if kind == "BF16":
            hint = " (bfloat16: NumPy has none; save the tensors as float32)"
        raise _bad(path, f"holds {name!r} of dtype {kind}{hint}, which is not offered")
    if len(shape) > 32 or math.prod([n or 1 for n in shape]) >= 2**60:
        raise _bad(path, f"is damaged: {name!r} has the shape {shape}, which no array has")
    size = math.prod(shape) * np.dtype(_DTYPES[kind]).itemsize
    if end - begin != size:
        raise _bad(
            path, f"is damaged: {name!r} of shape {shape} needs {size} bytes, it has {end - begin}"
        )
    return _DTYPES[kind], shape, begin, end
