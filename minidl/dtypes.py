"""Dtypes: their names, the default, and how operands of different dtypes meet (as in PyTorch).

The table of all pairs, each tested, stands in `docs/dtypes.md`.
"""

from typing import Any

import numpy as np

from minidl.errors import DtypeError

__all__ = [
    "DTYPES",
    "as_dtype",
    "bool_",
    "float16",
    "float32",
    "float64",
    "get_default_dtype",
    "int8",
    "int16",
    "int32",
    "int64",
    "promote_types",
    "result_type",
    "set_default_dtype",
    "uint8",
]

# Every dtype that a tensor may have, under PyTorch's name.
DTYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(name)
    for name in ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8")
} | {"bool": np.dtype(bool)}
float16, float32, float64, int8, int16, int32, int64, uint8, bool_ = DTYPES.values()
_FLOATS = frozenset(d for d in DTYPES.values() if d.kind == "f")
_RANK = {"b": 0, "u": 1, "i": 1, "f": 2}  # PyTorch's categories: truth, whole numbers, floats

_default = np.dtype("float32")


def set_default_dtype(dtype: Any) -> None:
    """Set the dtype that Python floats and float constructors get.

    dtype : "float16", "float32" or "float64". Raises DtypeError for another.
    """
    global _default
    dtype = as_dtype(dtype)
    if dtype not in _FLOATS:
        raise DtypeError(f"set_default_dtype: expected a float dtype, got {dtype.name}")
    _default = dtype


def get_default_dtype() -> np.dtype[Any]:
    """Return the dtype of Python floats: float32 unless `set_default_dtype` changed it."""
    return _default


def as_dtype(dtype: Any) -> np.dtype[Any]:
    """Return the NumPy dtype of a name, a NumPy type or Python's bool, int (int64) and float.

    Raises DtypeError for a dtype that minidl does not offer (complex, text, objects, …).
    """
    if dtype is float:
        return _default
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = None
    if found is None or DTYPES.get(found.name) != found:
        raise DtypeError(f"dtype {dtype!r} is not offered; choose one of {', '.join(DTYPES)}")
    return found


def promote_types(a: Any, b: Any) -> np.dtype[Any]:
    """Return the dtype in which tensors of dtypes `a` and `b` meet, as in PyTorch.

    A float beats whole numbers whatever their widths; of two floats or two whole numbers the one
    that holds both wins; bool yields to everything.
    """
    a, b = as_dtype(a), as_dtype(b)
    if _RANK[a.kind] != _RANK[b.kind]:
        return a if _RANK[a.kind] > _RANK[b.kind] else b
    return np.promote_types(a, b)


def result_type(*values: Any) -> np.dtype[Any]:
    """Return the dtype of an elementwise operation on arrays, tensors and Python scalars.

    Arrays with axes decide; an array without axes, and after it a Python scalar, only counts where
    its category (bool, whole numbers, floats) is higher. Without arrays: the scalars' own default.
    """
    found: list[np.dtype[Any] | None] = [None, None, None]  # with axes, without, Python scalars
    for value in values:
        if isinstance(value, bool):
            level, dtype = 2, DTYPES["bool"]
        elif isinstance(value, int):
            level, dtype = 2, DTYPES["int64"]
        elif isinstance(value, float):
            level, dtype = 2, _default
        elif value is None:
            continue
        else:
            level, dtype = (0 if value.ndim else 1), value.dtype
        before = found[level]
        found[level] = dtype if before is None else promote_types(before, dtype)
    result = None
    for candidate in found:
        if candidate is not None and (result is None or _RANK[candidate.kind] > _RANK[result.kind]):
            result = candidate
    return _default if result is None else result


def agree(values: list[Any], floats: bool = False, tensors: bool = True) -> list[Any]:
    """Bring the arrays among `values` to the dtype in which they meet; Python scalars stay.

    floats : whole numbers become the default float dtype (`exp`, `div`, …)
    tensors : the arrays come from tensors, so NumPy's scalars are weak, as Python's are
    """
    dtype = None
    for v in values:
        kind = type(v)
        if kind is float or kind is int:
            continue
        if kind is bool or v is None or isinstance(v, np.generic):
            break
        if dtype is None:
            dtype = v.dtype
            if dtype is not float32 and dtype is not float64:
                break
        elif v.dtype is not dtype:
            break
    else:  # the usual case: floats of one dtype and Python's numbers
        if dtype is not None:
            return values
    # NumPy's float64 is a Python float too: among arrays, in a derivative, it must not look weak
    as_number = np.generic.item if tensors else np.asarray
    values = [as_number(v) if isinstance(v, np.generic) else v for v in values]
    if not any(hasattr(v, "dtype") for v in values):
        return [v if v is None else np.asarray(v, result_type(v)) for v in values]
    found = result_type(*values)
    if floats and found.kind != "f":
        found = _default
    return [v if not hasattr(v, "dtype") or v.dtype == found else v.astype(found) for v in values]
