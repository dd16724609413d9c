"""Reductions: many numbers to few, along some axes or all."""

from typing import Any

from minidl.ops import _checks
from minidl.ops.shape import reshape
from minidl.tape import expand_to, op

__all__ = ["mean", "restored", "sum"]


def restored(g: Any, shape: tuple[int, ...], dim: Any, keepdim: bool) -> Any:
    """Give back, with length one, the axes that a reduction of `shape` along `dim` removed."""
    if keepdim:
        return g
    gone = _checks.axes("restored", dim, len(shape))
    return reshape(g, tuple([1 if i in gone else n for i, n in enumerate(shape)]))


@op(
    x=lambda g, x_shape, dim, keepdim: expand_to(restored(g, x_shape, dim, keepdim), x_shape),
    linear_in=("x",),
    formula="sum of x along dim",
)
def sum(x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """The sum of x along `dim`: an int, a tuple of them, or None for all axes.

    Whole numbers and bools are summed as int64; `dtype` is the dtype of the result.
    Raises IndexError if there is no such axis.
    """
    axes = _checks.axes("sum", dim, x.ndim)
    if dtype is None and x.dtype.kind != "f":
        dtype = "int64"
    return x.sum(axis=axes, keepdims=keepdim, dtype=dtype)


@op(
    x=lambda g, x_shape, dim, keepdim: (
        expand_to(restored(g, x_shape, dim, keepdim), x_shape) / _count(x_shape, dim)
    ),
    quiet=True,
    linear_in=("x",),
    formula="sum of x along dim / number of elements",
    domain="at least one element; NaN of none",
)
def mean(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The mean of x along `dim`: an int, a tuple of them, or None for all axes.

    x : a float tensor (DtypeError otherwise)
    """
    _checks.floating("mean", "x", x)
    axes = _checks.axes("mean", dim, x.ndim)
    return x.sum(axis=axes, keepdims=keepdim) / _count(x.shape, dim)


def _count(shape: tuple[int, ...], dim: Any) -> Any:
    count = 1
    for axis in _checks.axes("mean", dim, len(shape)):
        count *= shape[axis]
    return float(count) if count else float("nan")
