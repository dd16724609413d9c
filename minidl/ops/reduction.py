"""Reductions: many numbers to few, along some axes or all; `scans` has the product of all."""

import math
from typing import Any

from minidl.device import array_module
from minidl.dtypes import DTYPES, as_dtype, get_default_dtype
from minidl.errors import ShapeError
from minidl.ops import _checks
from minidl.ops.arithmetic import where, zeros_like
from minidl.ops.elementary import exp
from minidl.ops.shape import reshape
from minidl.tape import Jump, Kink, Steep, composite, expand_to, op

__all__ = [
    "all",
    "amax",
    "amin",
    "any",
    "count_nonzero",
    "logsumexp",
    "mean",
    "nansum",
    "norm",
    "std",
    "sum",
    "var",
    "var_mean",
]

FLOAT16 = DTYPES["float16"]

# ---- what reductions share ----------------------------------------------------------------------


def restored(g: Any, shape: tuple[int, ...], dim: Any, keepdim: bool) -> Any:
    """Give back, with length one, the axes that a reduction of `shape` along `dim` removed.

    Where it removed all of them there is nothing to do: a single number broadcasts to any shape.
    """
    if keepdim or dim is None:
        return g
    gone = _checks.axes("restored", dim, len(shape))
    return reshape(g, tuple([1 if i in gone else n for i, n in enumerate(shape)]))


def shared(g: Any, x: Any, out: Any, dim: Any, keepdim: bool) -> Any:
    """Share `g` evenly among the elements of x that equal the chosen value `out`; NaN too."""
    g, out = restored(g, x.shape, dim, keepdim), restored(out, x.shape, dim, keepdim)
    chosen = where(out != out, x != x, x == out)
    return where(chosen, g / sum(chosen, dim, True, dtype=g.dtype), 0)


def _count(shape: tuple[int, ...], dim: Any) -> float:
    if dim is None:
        return float(math.prod(shape))
    return float(math.prod([shape[axis] for axis in _checks.axes("mean", dim, len(shape))]))


def widened(x: Any) -> Any:
    """x with float16 as float32: a sum of many would overflow or lose its small terms."""
    return x.astype("float32") if x.dtype == FLOAT16 else x


def narrowed(out: Any, x: Any) -> Any:
    """What `widened` numbers gave, in the dtype of x."""
    return out if out.dtype == x.dtype else out.astype(x.dtype)


def nonempty(op: str, x: Any, dim: Any) -> tuple[int, ...]:
    """Return the axes that `dim` names; raise ShapeError if one of them has no elements."""
    axes = _checks.axes(op, dim, x.ndim)
    if x.size == 0 and 0 in [x.shape[axis] for axis in axes]:
        raise ShapeError(f"{op}: x is {x.shape}: there is nothing to choose from along dim {dim}")
    return axes


# ---- sums and means -----------------------------------------------------------------------------


@op(
    x=lambda g, x_shape, dim, keepdim: expand_to(restored(g, x_shape, dim, keepdim), x_shape),
    quiet=True,
    linear_in=("x",),
    formula="sum of x along dim",
)
def sum(x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """The sum of x along `dim`: an int, a tuple of them, or None for all axes.

    Whole numbers and bools are summed as int64, float16 in float32; `dtype` is the dtype of the
    result. Raises IndexError if there is no such axis.
    """
    axes = _checks.axes("sum", dim, x.ndim)
    if dtype is None:
        if x.dtype == FLOAT16:
            return narrowed(x.sum(axis=axes, keepdims=keepdim, dtype="float32"), x)
        dtype = None if x.dtype.kind == "f" else "int64"
    else:
        dtype = as_dtype(dtype)
    return x.sum(axis=axes, keepdims=keepdim, dtype=dtype)


@op(
    x=lambda g, x, dim, keepdim: where(x != x, 0, restored(g, x.shape, dim, keepdim)),
    quiet=True,
    formula="sum of the elements of x along dim that are not NaN",
)
def nansum(x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """The sum of x along `dim` with NaN counted as 0, a NaN gets the gradient 0; see `sum`."""
    kept = x if x.dtype.kind != "f" else array_module(x).where(x != x, 0, x)
    return sum(kept, dim, keepdim, dtype=dtype)


@op(
    x=lambda g, x_shape, dim, keepdim: expand_to(
        restored(g, x_shape, dim, keepdim) / (_count(x_shape, dim) or 1), x_shape
    ),
    quiet=True,
    linear_in=("x",),
    formula="sum of x along dim / number of elements",
    domain="at least one element; NaN of none",
)
def mean(x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """The mean of x along `dim`: an int, a tuple of them, or None for all axes.

    x : floats; float16 is added up in float32
    dtype : the float dtype that x is brought to first, and that of the result

    Raises DtypeError unless x, or `dtype`, is of floats.
    """
    if dtype is not None:
        x = x.astype(as_dtype(dtype))
    _checks.floating("mean", "x", x)
    axes = _checks.axes("mean", dim, x.ndim)
    total = widened(x).sum(axis=axes, keepdims=keepdim)
    return narrowed(total / (_count(x.shape, dim) or math.nan), x)


# ---- variance -----------------------------------------------------------------------------------


def _freedom(shape: Any, dim: Any, unbiased: bool, correction: float | None) -> float:
    """By what the sum of squares is divided: the number of elements less the correction."""
    taken = int(unbiased) if correction is None else correction
    return max(_count(shape, dim) - taken, 0.0)


def _variance(
    op: str, x: Any, dim: Any, unbiased: bool, keepdim: bool, correction: float | None
) -> Any:
    """In two passes: the mean first, so that no large squares are subtracted from each other."""
    _checks.floating(op, "x", x)
    axes = _checks.axes(op, dim, x.ndim)
    freedom = _freedom(x.shape, dim, unbiased, correction)
    x = widened(x)
    x = x - x.sum(axis=axes, keepdims=True) / (_count(x.shape, dim) or math.nan)
    total = (x * x).sum(axis=axes, keepdims=keepdim)
    return total / freedom if freedom else total * math.inf  # 0 * inf is NaN: nothing is known


def _deviation(x: Any, dim: Any, unbiased: bool, correction: float | None) -> Any:
    freedom = _freedom(x.shape, dim, unbiased, correction)
    return (x - mean(x, dim, True)) * (1 / freedom if freedom else math.inf)


@op(
    x=lambda g, x, dim, unbiased, keepdim, correction: (
        restored(g, x.shape, dim, keepdim) * 2 * _deviation(x, dim, unbiased, correction)
    ),
    quiet=True,
    formula="sum of (x - mean(x))^2 along dim / (number of elements - correction)",
    domain="more elements than the correction; else NaN",
)
def var(
    x: Any,
    dim: Any = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Any:
    """The variance of x along `dim`: an int, a tuple of them, or None for all axes.

    unbiased : divide by one less than the number of elements (Bessel's correction)
    correction : how many less instead: 1 unbiased, 0 of a whole population
    """
    return narrowed(_variance("var", x, dim, unbiased, keepdim, correction), x)


def _std_dx(
    g: Any, x: Any, out: Any, dim: Any, unbiased: bool, keepdim: bool, correction: float | None
) -> Any:
    safe = where(out == 0, 1, out)  # not a division by zero that is masked after: its own
    g = where(out == 0, 0, g) / safe  # derivative would be NaN
    return restored(g, x.shape, dim, keepdim) * _deviation(x, dim, unbiased, correction)


@op(
    x=_std_dx,
    quiet=True,
    formula="sqrt(var(x))",
    domain="more elements than the correction; else NaN",
    kink=Kink("all elements equal", "0", at={"x": [1, 1, 1]}, gradient={"x": [0, 0, 0]}),
)
def std(
    x: Any,
    dim: Any = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Any:
    """The standard deviation of x along `dim`: the square root of `var`, with its options."""
    variance = _variance("std", x, dim, unbiased, keepdim, correction)
    return narrowed(array_module(x).sqrt(variance), x)


@composite(formula="var(x), mean(x)", domain="more elements than the correction; else NaN")
def var_mean(
    x: Any,
    dim: Any = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Any, Any]:
    """The variance and the mean of x along `dim`, with the options of `var`."""
    return var(x, dim, unbiased, keepdim, correction=correction), mean(x, dim, keepdim)


# ---- extremes, logsumexp, norm ------------------------------------------------------------------


@op(
    x=lambda g, x, out, dim, keepdim: shared(g, x, out, dim, keepdim),
    formula="the largest element of x along dim",
    domain="at least one element",
    kink=Kink("ties", "shared evenly", at={"x": [2, 1, 2]}, gradient={"x": [0.5, 0, 0.5]}),
)
def amax(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The largest element along `dim`: an int, a tuple of them, or None for all axes.

    A NaN is larger than everything. Raises ShapeError where there is no element.
    """
    return x.max(axis=nonempty("amax", x, dim), keepdims=keepdim)


@op(
    x=lambda g, x, out, dim, keepdim: shared(g, x, out, dim, keepdim),
    formula="the smallest element of x along dim",
    domain="at least one element",
    kink=Kink("ties", "shared evenly", at={"x": [1, 2, 1]}, gradient={"x": [0.5, 0, 0.5]}),
)
def amin(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The smallest element along `dim`: an int, a tuple of them, or None for all axes.

    A NaN is smaller than everything. Raises ShapeError where there is no element.
    """
    return x.min(axis=nonempty("amin", x, dim), keepdims=keepdim)


@op(
    x=lambda g, x, out, dim, keepdim: (
        restored(g, x.shape, dim, keepdim) * exp(x - restored(out, x.shape, dim, keepdim))
    ),
    quiet=True,
    formula="log of the sum of exp(x) along dim",
)
def logsumexp(x: Any, dim: Any, keepdim: bool = False) -> Any:
    """log(sum(exp(x))) along `dim` without overflow: the largest element is taken out first.

    dim : an int, a tuple of them, or None for all axes. Of no elements it is -inf. Its derivative
    is softmax(x); where all elements are -inf that is NaN.
    """
    axes, xp = _checks.axes("logsumexp", dim, x.ndim), array_module(x)
    x = x if x.dtype.kind == "f" else x.astype(get_default_dtype())
    wide = widened(x)
    peak = wide.max(axis=axes, keepdims=True) if x.size else wide.sum(axis=axes, keepdims=True)
    peak = xp.where(xp.isfinite(peak), peak, 0)  # inf - inf would be NaN
    total = xp.exp(wide - peak).sum(axis=axes, keepdims=True)
    out = narrowed(xp.log(total) + peak, x)
    return out if keepdim else out.squeeze(axes)


def _signed(g: Any, x: Any) -> Any:
    return where(x > 0, g, where(x < 0, -g, 0))


def _norm_dx(g: Any, x: Any, out: Any, p: Any, dim: Any, keepdim: bool) -> Any:
    if p in (math.inf, -math.inf):
        return _signed(shared(g, abs(x), out, dim, keepdim), x)
    g, out = restored(g, x.shape, dim, keepdim), restored(out, x.shape, dim, keepdim)
    if p == 0:
        return zeros_like(x)
    if p == 1:
        return _signed(g, x)
    g, out = where(out == 0, 0, g), where(out == 0, 1, out)
    if p in ("fro", 2):
        return x / out * g
    ratio = abs(where(x == 0, 1, x)) / out
    return _signed(ratio ** (p - 1) * g, x)


@op(
    x=_norm_dx,
    quiet=True,
    formula="(sum of |x|^p along dim)^(1/p)",
    kink=[
        Kink("p = 2, x = 0", "0", at={"x": [0, 0]}, gradient={"x": [0, 0]}),
        Kink("p > 1, x = 0", "0", at={"x": [0, 0], "p": 3}, gradient={"x": [0, 0]}),
        Kink("p = 1, an element 0", "0", at={"x": [0, 2], "p": 1}, gradient={"x": [0, 1]}),
        Steep("0 < p < 1, one 0", "0", at={"x": [0, 4], "p": 0.5}, gradient={"x": [0, 1]}),
        Jump("p = 0, an element 0", "0", at={"x": [0, 2], "p": 0}, gradient={"x": [0, 0]}),
        Kink(
            "p = inf, ties",
            "shared evenly",
            at={"x": [2, -2], "p": math.inf},
            gradient={"x": [0.5, -0.5]},
        ),
        Kink("p = inf, x = 0", "0", at={"x": [0, 0], "p": math.inf}, gradient={"x": [0, 0]}),
        Kink(
            "p = -inf, ties",
            "shared evenly",
            at={"x": [2, -2], "p": -math.inf},
            gradient={"x": [0.5, -0.5]},
        ),
    ],
)
def norm(
    x: Any, p: Any = "fro", dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Any:
    """The p-norm of x along `dim`, of all its elements taken as one vector by default.

    p : any number; inf or -inf: the largest or smallest |x|; 0: how many are not zero; "fro": 2
    dim : an int, a tuple of them, or None for all axes
    dtype : the float dtype that x is brought to first, and that of the result
    Raises DtypeError unless x is of floats, ShapeError where inf or p < 0 finds no element.
    """
    if p == "nuc":
        raise NotImplementedError("norm: p='nuc', the nuclear norm, is not offered")
    if isinstance(p, str) and p != "fro":
        raise ValueError(f"norm: p is {p!r}, expected a number or 'fro'")
    if dtype is not None:
        x = x.astype(as_dtype(dtype))
    _checks.floating("norm", "x", x)
    negative = p != "fro" and (p < 0 or p == math.inf)
    axes = nonempty("norm", x, dim) if negative else _checks.axes("norm", dim, x.ndim)
    xp, wide, how = array_module(x), widened(x), {"axis": axes, "keepdims": keepdim}
    if p in ("fro", 2):
        out = xp.sqrt((wide * wide).sum(**how))
    elif p == math.inf:
        out = abs(wide).max(**how)
    elif p == -math.inf:
        out = abs(wide).min(**how)
    elif p == 0:
        out = (wide != 0).sum(dtype=wide.dtype, **how)
    elif p == 1:
        out = abs(wide).sum(**how)
    else:
        out = (abs(wide) ** p).sum(**how) ** (1 / p)
    return narrowed(out, x)


# ---- truth and counting -------------------------------------------------------------------------


@op(formula="whether every element of x along dim is true (not zero)")
def all(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """Whether all elements along `dim` (an int, a tuple, None for all axes) are not zero; bool."""
    return x.all(axis=_checks.axes("all", dim, x.ndim), keepdims=keepdim)


@op(formula="whether an element of x along dim is true (not zero)")
def any(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """Whether any element along `dim` (an int, a tuple, None for all axes) is not zero; bool."""
    return x.any(axis=_checks.axes("any", dim, x.ndim), keepdims=keepdim)


@op(formula="number of elements of x along dim that are not zero")
def count_nonzero(x: Any, dim: Any = None) -> Any:
    """How many elements along `dim` (an int, a tuple, None for all axes) are not zero; int64."""
    return (x != 0).sum(axis=_checks.axes("count_nonzero", dim, x.ndim), dtype="int64")
