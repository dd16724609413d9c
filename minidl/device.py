"""Devices and memory layout: which array module an array belongs to, transfers, channels-last.

NumPy is always there. CuPy is imported when `device="cuda"` is first asked for, and proved to
compute before it is trusted. This is the only module that knows how arrays lie in memory.
"""

import functools
import sys
import threading
from typing import Any

import numpy as np

from minidl.errors import DeviceError
from minidl_kernels.generic.arrays import empty_like, stride_order

__all__ = ["array_module", "device", "device_of", "is_array", "owner", "to_device", "to_host"]

Array = Any  # a NumPy or CuPy array; both offer the same methods

# ---- which module, which device -----------------------------------------------------------------


def array_module(x: Array) -> Any:
    """Return the module whose functions take `x`: NumPy for its arrays and scalars, else CuPy."""
    kind: Any = type(x)
    return np if kind is np.ndarray else _module_of(kind)


@functools.cache
def _module_of(kind: type) -> Any:
    package = kind.__module__.partition(".")[0]
    return sys.modules[package] if package in _device_packages else np


_device_packages = {"cupy"}  # packages whose arrays live on a device; tests add their stand-in


def is_array(x: Any) -> bool:
    """Whether `x` is an array of NumPy or of a device (not a NumPy scalar)."""
    return isinstance(x, np.ndarray) or (
        type(x).__module__.partition(".")[0] in _device_packages and hasattr(x, "strides")
    )


@functools.cache
def cupy() -> Any:
    """Return CuPy, proved to compute. Raises DeviceError that says what is missing."""
    try:
        import cupy
    except ImportError:
        raise DeviceError(
            "device 'cuda' needs CuPy, which is not installed: pip install 'minidl[cuda13]' "
            "(or cuda12 for an older driver)"
        ) from None
    if not cupy.cuda.is_available():
        raise DeviceError("device 'cuda': CuPy is installed but finds no GPU or no driver")
    try:
        (cupy.ones(1) + 1).item()  # missing or mismatched CUDA libraries show here, not in a layer
    except Exception as error:  # whatever CuPy raises, the user needs its text and one error
        raise DeviceError(f"device 'cuda' does not compute: {error}") from None
    return cupy


_entered = threading.local()  # the devices of the with-blocks that a thread is in


class device(str):
    """The name of a device: "cpu", or "cuda:0" and so on for a GPU. Compares equal to its text.

    name : "cpu", "cuda" (GPU 0) or "cuda:<index>"; raises DeviceError for anything else

    In a with-block it is the device on which constructors (`zeros`, `tensor`, …) make tensors.
    """

    __slots__ = ()

    def __new__(cls, name: str) -> "device":
        """Check the name and write it out in full: "cuda" is "cuda:0"."""
        kind, _, index = str(name).partition(":")
        if kind == "cuda" and (index == "" or index.isdecimal()):
            return super().__new__(cls, f"cuda:{int(index or 0)}")
        if name != "cpu":
            raise DeviceError(f"device {name!r} is unknown; use 'cpu', 'cuda' or 'cuda:<index>'")
        return super().__new__(cls, "cpu")

    @property
    def type(self) -> str:
        """The kind of device: "cpu" or "cuda"."""
        return self.partition(":")[0]

    @property
    def index(self) -> int | None:  # type: ignore[override]
        """The number of the GPU, None for the CPU."""
        return int(self.partition(":")[2]) if self != "cpu" else None

    def __repr__(self) -> str:
        return f"device({str(self)!r})"

    def __enter__(self) -> "device":
        _entered.stack = [*getattr(_entered, "stack", []), self]
        return self

    def __exit__(self, *_: object) -> None:
        _entered.stack = _entered.stack[:-1]


def current_device() -> device:
    """Return the device on which constructors make tensors: "cpu" outside of `with device(…)`."""
    stack = getattr(_entered, "stack", None)
    return stack[-1] if stack else device("cpu")


def device_of(x: Array) -> device:
    """Return the device on which an array lives."""
    if isinstance(x, (np.ndarray, np.generic)):
        return device("cpu")
    where = getattr(x, "device", None)
    return device(f"cuda:{getattr(where, 'id', 0)}")


def to_host(x: Array) -> np.ndarray[Any, Any]:
    """Return `x` as a NumPy array: itself, or a copy from its device."""
    if isinstance(x, (np.ndarray, np.generic)):
        return np.asarray(x)
    return array_module(x).asnumpy(x)


def to_device(x: Array, where: str | None) -> Array:
    """Return `x` on the device `where` (None: the current one); itself if it is there already."""
    where = current_device() if where is None else device(where)
    if device_of(x) == where:
        return x
    if where == "cpu":
        return to_host(x)
    cp = cupy()
    index = device(where).index
    if index is not None and index >= cp.cuda.runtime.getDeviceCount():
        raise DeviceError(f"device {str(where)!r}: there are {cp.cuda.runtime.getDeviceCount()}")
    with cp.cuda.Device(index):
        return cp.asarray(x)


# ---- memory -------------------------------------------------------------------------------------


def owner(x: Array) -> Array:
    """Return the array that owns the memory of `x`: itself, or what it is a view of."""
    base = x.base
    while base is not None and hasattr(base, "strides"):
        x, base = base, getattr(base, "base", None)
    return x


# ---- layout: images are (N, C, H, W) in meaning and channels-last in memory, by strides ----------


def channels_last(x: Array) -> Array:
    """Return `x` (N, C, *spatial) with its channels last in memory; itself if they are."""
    if is_channels_last(x):
        return x
    xp = array_module(x)
    return xp.moveaxis(xp.ascontiguousarray(xp.moveaxis(x, 1, -1)), -1, 1)


def is_channels_last(x: Array) -> bool:
    """Whether `x` (N, C, *spatial) lies in memory as (N, *spatial, C) without gaps."""
    if x.ndim < 3:
        return bool(x.flags.c_contiguous)
    expected = x.itemsize
    for axis in (1, *range(x.ndim - 1, 1, -1), 0):
        if x.shape[axis] != 1 and x.strides[axis] != expected:
            return False
        expected *= x.shape[axis]
    return True


def laid_out_like(out: Array, *arguments: Any) -> Array:
    """Return `out` in the memory order of the first argument of its shape; itself if it is so.

    NumPy's elementwise functions keep the order of their arguments; a device's may not.
    """
    for a in arguments:
        if getattr(a, "shape", None) == out.shape:
            if a.flags.c_contiguous and out.flags.c_contiguous:  # the usual case, in short
                return out
            if stride_order(a) == stride_order(out):
                return out
            placed = empty_like(a, out.dtype)
            placed[...] = out
            return placed
    return out
