"""What becomes of a user's data and indices before they reach a tensor: arrays, checked."""

from typing import Any

import numpy as np

from minidl.device import array_module, device_of, is_array, to_device
from minidl.dtypes import DTYPES, as_dtype, get_default_dtype
from minidl.errors import DeviceError, DtypeError, ShapeError
from minidl.tape import TensorBase

__all__ = ["as_array", "as_index"]


def as_array(who: str, data: Any, dtype: Any = None, where: str | None = None) -> Any:
    """Return `data` as an array of a dtype on a device: itself where it is one already.

    Python floats get the default dtype, whole numbers int64; arrays keep theirs.
    Raises DtypeError for what cannot be a tensor, ShapeError for ragged nested lists.
    """
    if isinstance(data, TensorBase):
        data = data.data
    elif not is_array(data) and not isinstance(data, np.generic):
        data = _listed(who, data, dtype)
    if isinstance(data, np.ndarray) and type(data) is not np.ndarray:
        data = np.asarray(data)
    if isinstance(data, np.generic):
        data = np.asarray(data)
    if dtype is not None:
        wanted = as_dtype(dtype)
        if data.dtype != wanted:
            data = data.astype(wanted)
    elif DTYPES.get(data.dtype.name) != data.dtype:
        if DTYPES.get(data.dtype.name) == data.dtype.newbyteorder("="):
            data = data.astype(data.dtype.newbyteorder("="))  # another machine's order of bytes
        else:
            raise DtypeError(
                f"{who}: dtype {data.dtype} is not offered; choose one of {', '.join(DTYPES)}"
            )
    return data if where is None else to_device(data, where)


def _listed(who: str, data: Any, dtype: Any) -> Any:
    """An array of Python numbers, tensors or nested sequences of them."""
    if isinstance(data, (list, tuple)):
        data = _opened(who, data)
    try:
        found = np.asarray(data)
    except ValueError:
        raise ShapeError(f"{who}: the nested lists are ragged: rows of different lengths") from None
    except OverflowError as error:
        raise DtypeError(f"{who}: {error}") from None
    if found.dtype.kind not in "biuf":
        raise DtypeError(f"{who}: cannot make a tensor of {type(data).__name__} ({found.dtype})")
    if dtype is None and found.dtype == np.float64 and not hasattr(data, "dtype"):
        found = found.astype(get_default_dtype())
    return found


def _opened(who: str, data: Any) -> Any:
    """Nested sequences with tensors replaced by arrays on the host."""
    if isinstance(data, (list, tuple)):
        return [_opened(who, d) for d in data]
    if isinstance(data, TensorBase):
        if data.node is not None:
            raise RuntimeError(
                f"{who}: a tensor in the list requires a gradient, which would be lost; "
                "use minidl.stack, or .detach()"
            )
        if device_of(data.data) != "cpu":
            raise DeviceError(f"{who}: a tensor in the list is on {device_of(data.data)}")
        return data.data
    return data


def as_index(x: Any, index: Any) -> Any:
    """Return an index expression with its tensors and lists as arrays on the device of `x`."""
    if isinstance(index, tuple):
        return tuple([_item(x, i) for i in index])
    return _item(x, index)


def _item(x: Any, index: Any) -> Any:
    if isinstance(index, TensorBase):
        index = index.data
    elif isinstance(index, (list, range)):
        index = np.asarray([i.data if isinstance(i, TensorBase) else i for i in index])
        if index.size == 0:
            index = index.astype("int64")
        index = to_device(index, device_of(x))
    elif isinstance(index, np.generic):
        return index.item()
    elif isinstance(index, slice):
        bounds = (index.start, index.stop, index.step)
        return slice(*[None if b is None else b.__index__() for b in bounds])
    if is_array(index):
        if index.dtype.kind not in "biu":
            raise IndexError(f"index: dtype {index.dtype} is no index; use whole numbers or bools")
        if device_of(index) != device_of(x):
            if device_of(index) != "cpu":
                raise DeviceError(
                    f"index: it is on {device_of(index)}, the tensor on {device_of(x)}; "
                    "move one with .to(device)"
                )
            index = array_module(x).asarray(index)
        if index.ndim == 0 and index.dtype.kind in "iu":
            return int(index)
    return index
