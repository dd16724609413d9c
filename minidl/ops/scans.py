"""Scans: running sums and products along an axis; and the product of all, whose slopes they are."""

from typing import Any

from minidl.device import array_module
from minidl.dtypes import as_dtype
from minidl.ops import _checks
from minidl.ops.arithmetic import zeros_like
from minidl.ops.reduction import narrowed, restored, widened
from minidl.ops.shape import flip, reshape
from minidl.tape import op

__all__ = ["cumprod", "cumsum", "prod"]


def _running(op: str, x: Any, dim: int, dtype: Any) -> Any:
    """`x.cumsum` or `x.cumprod` along an axis, in the dtype asked for."""
    axis = _checks.axis(op, dim, x.ndim)
    if dtype is not None or x.dtype.kind != "f":
        x = x.astype("int64" if dtype is None else as_dtype(dtype))
    wide = widened(x)
    return narrowed(getattr(wide, op)(axis=axis, dtype=wide.dtype).reshape(x.shape), x)


def _from_the_end(g: Any, dim: int) -> Any:
    return flip(cumsum(flip(g, (dim,)), dim), (dim,)) if g.shape else g


@op(
    x=lambda g, dim: _from_the_end(g, dim),
    quiet=True,
    linear_in=("x",),
    formula="y_i = x_0 + ... + x_i along dim",
)
def cumsum(x: Any, dim: int, *, dtype: Any = None) -> Any:
    """The running sum along `dim`; whole numbers and bools as int64, or as `dtype`."""
    return _running("cumsum", x, dim, dtype)


@op(
    x=lambda g, by, dim: shifted(g, -by, dim),
    formula="y_i = x_(i - by) along dim, `fill` where there is none",
)
def shifted(x: Any, by: int, dim: int, fill: float = 0.0) -> Any:
    """x moved along `dim` by some places, to higher indices if `by` is positive.

    What leaves at one end is lost; `fill` comes in at the other.
    """
    axis = _checks.axis("shifted", dim, x.ndim)
    high, low = slice(abs(by), None), slice(None, max(x.shape[axis] - abs(by), 0))
    before = (slice(None),) * axis
    to, source = (high, low) if by > 0 else (low, high)
    out = array_module(x).full_like(x, fill)
    out[(*before, to)] = x[(*before, source)]
    return out


def _carried_back(g: Any, a: Any, dim: int) -> Any:
    """u_i = g_i + a_(i+1) u_(i+1): what the elements from i on hand back, through their factors."""
    back = recurrence(flip(shifted(a, -1, dim), (dim,)), flip(g, (dim,)), dim)
    return flip(back, (dim,))


@op(
    a=lambda g, a, out, dim: _carried_back(g, a, dim) * shifted(out, 1, dim),
    b=lambda g, a, dim: _carried_back(g, a, dim),
    linear_in=("b",),
    quiet=True,
    formula="y_i = a_i y_(i-1) + b_i along dim, from zero",
)
def recurrence(a: Any, b: Any, dim: int) -> Any:
    """The linear recurrence y_i = a_i y_(i-1) + b_i along `dim`, with y_(-1) = 0.

    a, b : of one shape, with one axis at least. Steps of 1, 2, 4, ... are joined, so that n
    elements take log2(n) passes over whole arrays (Hillis and Steele, 1986).
    """
    xp = array_module(a)
    factor, y = xp.moveaxis(a, dim, 0).copy(), xp.moveaxis(b, dim, 0).copy()
    step = 1
    while step < len(y):
        y[step:] = y[step:] + factor[step:] * y[:-step]
        factor[step:] = factor[step:] * factor[:-step]
        step *= 2
    return xp.moveaxis(y, 0, dim)


def _cumprod_dx(g: Any, x: Any, out: Any, dim: int) -> Any:
    """The product of what comes before, times what the later elements hand back: no division."""
    return shifted(out, 1, dim, 1.0) * _carried_back(g, x, dim) if x.shape else g


@op(x=_cumprod_dx, quiet=True, formula="y_i = x_0 * ... * x_i along dim")
def cumprod(x: Any, dim: int, *, dtype: Any = None) -> Any:
    """The running product along `dim`; whole numbers and bools as int64, or as `dtype`.

    Its derivative divides by no element, so it is right where there are zeros, to any order.
    """
    return _running("cumprod", x, dim, dtype)


def _others(x: Any, dim: int | None) -> Any:
    """For each element the product of all others along `dim`: of those before and those after."""
    if not x.shape:
        return zeros_like(x) + 1
    if dim is None:
        return reshape(_others(reshape(x, (-1,)), 0), x.shape)
    before = shifted(cumprod(x, dim), 1, dim, 1.0)
    after = shifted(cumprod(flip(x, (dim,)), dim), 1, dim, 1.0)
    return before * flip(after, (dim,))


@op(
    x=lambda g, x, dim, keepdim: restored(g, x.shape, dim, keepdim) * _others(x, dim),
    quiet=True,
    formula="product of x along dim",
)
def prod(x: Any, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """The product of x along `dim`: one axis, or None for all.

    Whole numbers and bools as int64, or as `dtype`. Its derivative, the product of the others,
    divides by no element, so it is right where there are zeros, to any order.
    """
    axes = tuple(range(x.ndim))
    if dim is not None:
        axes = (_checks.axis("prod", dim, x.ndim),) if x.ndim else ()
    if dtype is None:
        dtype = x.dtype if x.dtype.kind == "f" else "int64"
    return x.prod(axis=axes, keepdims=keepdim, dtype=as_dtype(dtype))
