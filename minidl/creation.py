"""Tensors made of nothing but a shape: zeros, ones, ranges, random numbers.

All take `dtype` (default: float32, or as said), `device` (default: the current one) and
`requires_grad`. Random numbers are drawn on the host from minidl's "sample" stream, so the same
seed gives the same numbers on every device.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl import random
from minidl.device import array_module, device_of, to_device
from minidl.dtypes import as_dtype, get_default_dtype
from minidl.errors import ShapeError
from minidl.tape import tie
from minidl.tensor import Tensor

__all__ = [
    "arange",
    "empty",
    "empty_like",
    "eye",
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
    "zeros",
    "zeros_like",
]


def _made(array: Any, device: str | None, requires_grad: bool) -> Tensor:
    made: Tensor = tie(to_device(array, device), None)
    return made.requires_grad_() if requires_grad else made


def _shape(who: str, size: tuple[Any, ...]) -> tuple[int, ...]:
    if len(size) == 1 and isinstance(size[0], Sequence):
        size = tuple(size[0])
    if not all(hasattr(n, "__index__") and n.__index__() >= 0 for n in size):
        raise ShapeError(f"{who}: {size} is no shape; expected whole numbers from 0")
    return tuple([n.__index__() for n in size])


def _float(dtype: Any) -> Any:
    return get_default_dtype() if dtype is None else as_dtype(dtype)


def zeros(
    *size: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """Zeros of a shape: `zeros(2, 3)` or `zeros((2, 3))`."""
    return _made(np.zeros(_shape("zeros", size), _float(dtype)), device, requires_grad)


def ones(
    *size: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """Ones of a shape."""
    return _made(np.ones(_shape("ones", size), _float(dtype)), device, requires_grad)


def empty(
    *size: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of a shape to be filled; until then its numbers are zeros, not garbage."""
    return zeros(*size, dtype=dtype, device=device, requires_grad=requires_grad)


def full(
    size: Any,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """One number everywhere. The dtype defaults to that of the number as Python has it."""
    value = fill_value.item() if isinstance(fill_value, (Tensor, np.generic)) else fill_value
    if dtype is None and isinstance(value, int):
        dtype = "bool" if isinstance(value, bool) else "int64"
    shape = _shape("full", (size,))
    return _made(np.full(shape, value, _float(dtype)), device, requires_grad)


def empty_like(x: Tensor, *, dtype: Any = None) -> Tensor:
    """As `empty`, of the shape, dtype, device and layout of x."""
    return full_like(x, 0, dtype=dtype)


def zeros_like(x: Tensor, *, dtype: Any = None) -> Tensor:
    """Zeros, in the shape, dtype, device and layout of x."""
    return full_like(x, 0, dtype=dtype)


def ones_like(x: Tensor, *, dtype: Any = None) -> Tensor:
    """Ones, in the shape, dtype, device and layout of x."""
    return full_like(x, 1, dtype=dtype)


def full_like(x: Tensor, fill_value: Any, *, dtype: Any = None) -> Tensor:
    """One number everywhere, in the shape, dtype, device and layout of x."""
    data = x.data
    dtype = data.dtype if dtype is None else as_dtype(dtype)
    return tie(array_module(data).full_like(data, fill_value, dtype=dtype), None)


def arange(
    start: Any,
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
    if step == 0 or (end - start) * step < 0:
        raise ValueError(f"arange: a step of {step} does not lead from {start} to {end}")
    if dtype is None:
        whole = all(isinstance(v, (int, np.integer)) for v in (start, end, step))
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
    if steps < 0:
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
    return _made(np.eye(n, m, dtype=_float(dtype)), device, requires_grad)


def rand(
    *size: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """Random numbers, uniform in [0, 1)."""
    drawn = random.stream("sample").uniform(_shape("rand", size), dtype=_float(dtype).name)
    return _made(drawn, device, requires_grad)


def randn(
    *size: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """Random numbers from the normal distribution of mean 0 and variance 1."""
    drawn = random.stream("sample").normal(_shape("randn", size), dtype=_float(dtype).name)
    return _made(drawn, device, requires_grad)


def randint(low: int, high: Any = None, size: Any = None, *, device: str | None = None) -> Tensor:
    """Random whole numbers (int64) in [low, high): `randint(10, size)` or `randint(3, 10, size)`.

    Raises ValueError for an empty range.
    """
    if size is None:
        low, high, size = 0, low, high
    if size is None or high <= low:
        raise ValueError(f"randint: expected low < high and a size, got {low}, {high}, {size}")
    drawn = random.stream("sample").integers(low, high, _shape("randint", (size,)))
    return _made(drawn, device, False)


def randperm(n: int, *, device: str | None = None) -> Tensor:
    """The numbers 0 … n - 1 in random order (int64)."""
    return _made(random.stream("sample").permutation(n), device, False)


def rand_like(x: Tensor) -> Tensor:
    """As `rand`, of the shape, dtype and device of x."""
    return rand(*x.shape, dtype=x.dtype, device=device_of(x.data))


def randn_like(x: Tensor) -> Tensor:
    """As `randn`, of the shape, dtype and device of x."""
    return randn(*x.shape, dtype=x.dtype, device=device_of(x.data))
