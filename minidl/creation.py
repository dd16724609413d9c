"""Making tensors: of data, of another library's memory, or of a shape alone.

All that take a shape also take `dtype` (default: float32, or as said), `device` (default: the
current one) and `requires_grad`. Random numbers are drawn on the host from minidl's "sample"
stream, so the same seed gives the same numbers on every device.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl import random
from minidl.conversion import as_array
from minidl.device import (
    cupy,
    current_device,
    device_of,
    is_array,
    owner,
    to_device,
)
from minidl.device import empty_like as empty_in_layout
from minidl.dtypes import DTYPES, as_dtype, get_default_dtype
from minidl.errors import DtypeError, ShapeError
from minidl.tape import TensorBase, tie
from minidl.tensor import Tensor

__all__ = [
    "arange",
    "empty",
    "empty_like",
    "eye",
    "from_dlpack",
    "from_numpy",
    "full",
    "full_like",
    "linspace",
    "ones",
    "ones_like",
    "rand",
    "rand_like",
    "randint",
    "randn",
    "randn_like",
    "randperm",
    "tensor",
    "zeros",
    "zeros_like",
]


def _made(array: Any, device: str | None, requires_grad: bool) -> Tensor:
    made: Tensor = tie(to_device(array, device), None)
    return made.requires_grad_() if requires_grad else made


def _shape(who: str, size: tuple[Any, ...], named: Any = None) -> tuple[int, ...]:
    if named is not None:
        size = (*size, named)
    if len(size) == 1 and isinstance(size[0], Sequence):
        size = tuple(size[0])
    if not all(hasattr(n, "__index__") and n.__index__() >= 0 for n in size):
        raise ShapeError(f"{who}: {size} is no shape; expected whole numbers from 0")
    shape = tuple([n.__index__() for n in size])
    if math.prod(shape) >= 2**60:
        raise ShapeError(f"{who}: {shape} is more than any memory holds")
    return shape


def _number(who: str, name: str, value: Any, whole: bool = False) -> Any:
    """Return a number as Python has it. Raises TypeError or ValueError for anything else."""
    if isinstance(value, (Tensor, np.generic)):
        value = value.item()
    if not isinstance(value, (int, float)) or (whole and not isinstance(value, int)):
        wanted = "a whole number" if whole else "a number"
        raise TypeError(f"{who}: {name} is {value!r}, expected {wanted}")
    if who in ("arange", "linspace") and not math.isfinite(value):
        raise ValueError(f"{who}: {name} is {value}, expected a finite number")
    return value


def _float(dtype: Any) -> Any:
    return get_default_dtype() if dtype is None else as_dtype(dtype)


# ---- from data ----------------------------------------------------------------------------------


def tensor(
    data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Make a tensor with a copy of `data`.

    data : a number, nested lists of numbers, an array or a tensor
    dtype : default: the data's own; float32 for Python's floats, int64 for its whole numbers
    device : default: where the data is, or the current device for what is no array
    """
    if device is None and not isinstance(data, TensorBase) and not is_array(data):
        device = current_device()
    array = as_array("tensor", data, dtype, device)
    source = data.data if isinstance(data, TensorBase) else data
    if array is source or (is_array(source) and owner(array) is owner(source)):
        array = array.copy(order="K")
    made = tie(array, None)
    return made.requires_grad_() if requires_grad else made


def from_numpy(array: Any) -> Tensor:
    """Make a tensor that shares the memory of a NumPy array: a change in one shows in the other.

    Changes made through the array are seen by no version counter: do not change it between a
    forward and a backward pass. Raises TypeError for anything else, DtypeError for other dtypes.
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy: expected a NumPy array, got {type(array).__name__}")
    if DTYPES.get(array.dtype.name) != array.dtype:
        raise DtypeError(
            f"from_numpy: dtype {array.dtype} cannot be shared; minidl.tensor(…) converts a copy"
        )
    return tie(np.asarray(array), None)


def from_dlpack(source: Any) -> Tensor:
    """Make a tensor that shares the memory of any object with `__dlpack__` (PyTorch, CuPy, JAX…).

    What the source exports read-only stays read-only here. Raises TypeError for other objects,
    BufferError with the source's reason where it refuses, DtypeError for dtypes not offered.
    """
    if not hasattr(source, "__dlpack__"):
        raise TypeError(f"from_dlpack: {type(source).__name__} has no __dlpack__")
    on_gpu = source.__dlpack_device__()[0] == 2
    try:
        array = cupy().from_dlpack(source) if on_gpu else np.from_dlpack(source)
    except (BufferError, RuntimeError) as error:
        raise BufferError(f"from_dlpack: the source refuses: {error}") from None
    if DTYPES.get(array.dtype.name) != array.dtype:
        raise DtypeError(f"from_dlpack: dtype {array.dtype} is not offered")
    return tie(array, None)


# ---- from a shape -------------------------------------------------------------------------------


def zeros(
    *sizes: Any,
    size: Any = None,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Zeros of a shape: `zeros(2, 3)` or `zeros((2, 3))`."""
    return _made(np.zeros(_shape("zeros", sizes, size), _float(dtype)), device, requires_grad)


def ones(
    *sizes: Any,
    size: Any = None,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Ones of a shape."""
    return _made(np.ones(_shape("ones", sizes, size), _float(dtype)), device, requires_grad)


def empty(
    *sizes: Any,
    size: Any = None,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of a shape to be filled; until then its numbers are zeros, not garbage."""
    return zeros(*sizes, size=size, dtype=dtype, device=device, requires_grad=requires_grad)


def full(
    size: Any,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """One number everywhere. The dtype defaults to that of the number as Python has it."""
    value = _number("full", "fill_value", fill_value)
    if dtype is None and isinstance(value, int):
        dtype = "bool" if isinstance(value, bool) else "int64"
    shape = _shape("full", (size,))
    return _made(np.full(shape, value, _float(dtype)), device, requires_grad)


def empty_like(
    input: Tensor, *, dtype: Any = None, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """As `empty`, of the shape, dtype, device and layout of another tensor."""
    return full_like(input, 0, dtype=dtype, device=device, requires_grad=requires_grad)


def zeros_like(
    input: Tensor, *, dtype: Any = None, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """Zeros, in the shape, dtype, device and layout of another tensor."""
    return full_like(input, 0, dtype=dtype, device=device, requires_grad=requires_grad)


def ones_like(
    input: Tensor, *, dtype: Any = None, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """Ones, in the shape, dtype, device and layout of another tensor."""
    return full_like(input, 1, dtype=dtype, device=device, requires_grad=requires_grad)


def full_like(
    input: Tensor,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """One number everywhere, in the shape, dtype, device and layout of another tensor."""
    made = empty_in_layout(input.data, None if dtype is None else as_dtype(dtype))
    made[...] = _number("full_like", "fill_value", fill_value)
    return _made(made, device or device_of(made), requires_grad)


def arange(
    start: Any = 0,
    end: Any = None,
    step: Any = 1,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """start, start + step, … below end: `arange(end)` or `arange(start, end, step)`.

    int64 if all are whole numbers, else float32. Raises ValueError for a step of 0 or one that
    leads away from the end.
    """
    if end is None:
        start, end = 0, start
    start, end = _number("arange", "start", start), _number("arange", "end", end)
    step = _number("arange", "step", step)
    if step == 0 or (end - start) * step < 0:
        raise ValueError(f"arange: a step of {step} does not lead from {start} to {end}")
    if dtype is None:
        whole = all(isinstance(v, int) for v in (start, end, step))
        dtype = "int64" if whole else get_default_dtype()
    count = math.ceil((end - start) / step)
    values = start + step * np.arange(count)
    return _made(values.astype(as_dtype(dtype)), device, requires_grad)


def linspace(
    start: float,
    end: float,
    steps: int,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """`steps` numbers at equal distances from start to end, both included."""
    start, end = _number("linspace", "start", start), _number("linspace", "end", end)
    if _number("linspace", "steps", steps, whole=True) < 0:
        raise ValueError(f"linspace: steps is {steps}, expected at least 0")
    return _made(np.linspace(start, end, steps).astype(_float(dtype)), device, requires_grad)


def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """(n, m) with ones on the diagonal; m defaults to n."""
    n, m = _shape("eye", (n, n if m is None else m))
    return _made(np.eye(n, m, dtype=_float(dtype)), device, requires_grad)


def rand(
    *sizes: Any,
    size: Any = None,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Random numbers, uniform in [0, 1)."""
    drawn = random.stream("sample").uniform(_shape("rand", sizes, size), dtype=_float(dtype).name)
    return _made(drawn, device, requires_grad)


def randn(
    *sizes: Any,
    size: Any = None,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Random numbers from the normal distribution of mean 0 and variance 1."""
    drawn = random.stream("sample").normal(_shape("randn", sizes, size), dtype=_float(dtype).name)
    return _made(drawn, device, requires_grad)


def randint(
    low: int = 0,
    high: Any = None,
    size: Any = None,
    *,
    dtype: Any = "int64",
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Random whole numbers in [low, high): `randint(10, size)` or `randint(3, 10, size)`.

    Raises ValueError for an empty range or one beyond int64, TypeError for what is no number.
    """
    if size is None:
        low, high, size = 0, low, high
    if size is None:
        raise TypeError("randint: size is missing, as in randint(high, size)")
    low, high = (_number("randint", n, v, whole=True) for n, v in (("low", low), ("high", high)))
    if not -(2**63) <= low < high <= 2**63:
        raise ValueError(f"randint: expected low < high within int64, got {low} and {high}")
    drawn = random.stream("sample").integers(low, high, _shape("randint", (size,)))
    return _made(drawn.astype(as_dtype(dtype), copy=False), device, requires_grad)


def randperm(n: int, *, device: str | None = None) -> Tensor:
    """The numbers 0 … n - 1 in random order (int64)."""
    return _made(random.stream("sample").permutation(n), device, False)


def rand_like(
    input: Tensor, *, dtype: Any = None, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """As `rand`, of the shape, dtype and device of another tensor."""
    device, dtype = device or input.device, dtype or input.dtype
    return rand(*input.shape, dtype=dtype, device=device, requires_grad=requires_grad)


def randn_like(
    input: Tensor, *, dtype: Any = None, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """As `randn`, of the shape, dtype and device of another tensor."""
    device, dtype = device or input.device, dtype or input.dtype
    return randn(*input.shape, dtype=dtype, device=device, requires_grad=requires_grad)
