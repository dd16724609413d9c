"""Order: the largest and the smallest, where they stand, and sorting. NaN counts as the greatest.

Where an element is picked by its index, the gradient goes to that element alone.
"""

from typing import Any, NamedTuple

from minidl.device import array_module
from minidl.ops import _checks
from minidl.ops.arithmetic import maximum, minimum
from minidl.ops.reduction import amax, amin, nonempty, shared
from minidl.ops.shape import reshape
from minidl.tape import Kink, composite, op

__all__ = [
    "argmax",
    "argmin",
    "argsort",
    "max",
    "median",
    "min",
    "sort",
    "topk",
]


class Ordered(NamedTuple):
    """What `sort`, `topk` and, along a dim, `max`, `min` and `median` return."""

    values: Any
    indices: Any


@op(
    x=lambda g, x_shape, indices, dim: put_picked(g, x_shape, indices, dim),
    linear_in=("x",),
    formula="out[i, j] = x[indices[i, j], j] for dim = 0",
)
def picked(x: Any, indices: Any, dim: int) -> Any:
    """`take_along_dim` without its checks, for indices that are right and name no place twice."""
    return array_module(x).take_along_axis(x, indices, dim)


@op(
    g=lambda g, indices, dim: picked(g, indices, dim),
    linear_in=("g",),
    formula="zeros, with out[indices[i, j], j] = g[i, j] for dim = 0",
)
def put_picked(g: Any, shape: Any, indices: Any, dim: int) -> Any:
    """Zeros of a shape with g where it was picked: the adjoint of `picked`."""
    xp = array_module(g)
    out = xp.zeros(shape, g.dtype)
    xp.put_along_axis(out, indices, g, dim)
    return out


def _ordered(x: Any, indices: Any, dim: int, keepdim: bool = True) -> Ordered:
    """The elements of x at `indices` along `dim`, and the indices."""
    shape = list(x.shape)
    if not shape:
        return Ordered(reshape(x, indices.shape), indices)
    values = picked(x, indices, dim)
    if not keepdim:
        del shape[dim]
        values, indices = reshape(values, shape), reshape(indices, shape)
    return Ordered(values, indices)


# ---- the largest and the smallest ---------------------------------------------------------------


def _position(op: str, x: Any, dim: int | None, keepdim: bool) -> Any:
    """`x.argmax` or `x.argmin`, with its dim checked."""
    axes = nonempty(op, x, None if dim is None else _checks.axis(op, dim, x.ndim))
    index = getattr(x, op)(axis=None if dim is None or not axes else axes[0])
    shape = [1 if i in axes else n for i, n in enumerate(x.shape) if keepdim or i not in axes]
    return array_module(x).asarray(index, "int64").reshape(shape)


@op(formula="index of the largest element of x along dim")
def argmax(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The index of the largest element along `dim`, of ties the first; int64.

    dim : one axis, or None: the index into x read row by row
    Raises ShapeError where there is no element.
    """
    return _position("argmax", x, dim, keepdim)


@op(formula="index of the smallest element of x along dim")
def argmin(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The index of the smallest element along `dim`, of ties the first; int64. See `argmax`.

    Here, as in `min`, a NaN is taken for the smallest: it is never passed over.
    """
    return _position("argmin", x, dim, keepdim)


@composite(
    formula="the largest element of x; along dim with its index; or elementwise of two",
    domain="at least one element",
    kink=[
        Kink(
            "without dim, ties", "shared evenly", at={"x": [2, 1, 2]}, gradient={"x": [0.5, 0, 0.5]}
        ),
        Kink(
            "along dim, ties",
            "the first has it",
            at={"x": [1, 2, 2], "dim": 0},
            gradient={"x": [0, 1, 0]},
        ),
        Kink(
            "x = other", "half to each", at={"x": 1, "other": 1}, gradient={"x": 0.5, "other": 0.5}
        ),
    ],
)
def max(x: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The largest element of x; or along an axis; or of two tensors.

    max(x) -> a tensor without axes
    max(x, dim, keepdim) -> (values, indices), of ties the first; see `amax` for several axes
    max(x, other) -> `maximum(x, other)`
    """
    if other is not None or hasattr(dim, "dtype"):
        return maximum(x, dim if other is None else other)
    if dim is None:
        return amax(x, None, keepdim)
    return _ordered(x, argmax(x, dim, True), dim, keepdim)


@composite(
    formula="the smallest element of x; along dim with its index; or elementwise of two",
    domain="at least one element",
    kink=[
        Kink(
            "without dim, ties", "shared evenly", at={"x": [1, 2, 1]}, gradient={"x": [0.5, 0, 0.5]}
        ),
        Kink(
            "along dim, ties",
            "the first has it",
            at={"x": [2, 1, 1], "dim": 0},
            gradient={"x": [0, 1, 0]},
        ),
        Kink(
            "x = other", "half to each", at={"x": 1, "other": 1}, gradient={"x": 0.5, "other": 0.5}
        ),
    ],
)
def min(x: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The smallest element of x; or along an axis; or of two tensors. See `max`."""
    if other is not None or hasattr(dim, "dtype"):
        return minimum(x, dim if other is None else other)
    if dim is None:
        return amin(x, None, keepdim)
    return _ordered(x, argmin(x, dim, True), dim, keepdim)


# ---- sorting ------------------------------------------------------------------------------------


def _ascending(x: Any, axis: int, descending: bool = False) -> Any:
    """The indices that sort an array; ties keep their order, in both directions."""
    xp = array_module(x)
    if not descending:
        return xp.argsort(x, axis=axis, kind="stable")
    back = xp.argsort(xp.flip(x, axis), axis=axis, kind="stable")
    return x.shape[axis] - 1 - xp.flip(back, axis)


@op(formula="the indices that sort x along dim")
def argsort(x: Any, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Any:
    """The indices that sort x along `dim`; int64.

    NaN counts as the greatest. Ties always keep their order, so `stable` changes nothing.
    """
    axis, xp = _checks.axis("argsort", dim, x.ndim), array_module(x)
    return _ascending(x, axis, descending) if x.ndim else xp.zeros_like(x, dtype="int64")


@composite(
    formula="x in order along dim, and the indices",
    kink=Kink(
        "ties",
        "to each that of its place in the order, in which ties stand as in x",
        at={"x": [1, 1, 0], "stable": True},
        gradient={"x": [20, 30, 10]},
        g=[10, 20, 30],
    ),
)
def sort(x: Any, dim: int = -1, descending: bool = False, stable: bool = False) -> Ordered:
    """x sorted along `dim`, and the indices that sort it: (values, indices).

    NaN counts as the greatest. Ties always keep their order, so `stable` changes nothing.
    """
    return _ordered(x, argsort(x, dim, descending, stable=stable), dim)


def _extreme(x: Any, k: int, largest: bool) -> Any:
    """Where the k largest (smallest) elements along the last axis stand, of ties the first.

    Not argpartition's own choice among ties, which varies with the processor.
    """
    xp, place = array_module(x), x.shape[-1] - k if largest else k - 1
    border = xp.partition(x, place, axis=-1)[..., place : place + 1]
    beyond, tied = x > border if largest else x < border, x == border
    if x.dtype.kind == "f":  # NaN is the greatest, and ties with NaN
        nan, none = x != x, border != border
        beyond, tied = beyond | ((nan & ~none) if largest else (~nan & none)), tied | (nan & none)
    room = k - beyond.sum(axis=-1, keepdims=True)
    chosen = beyond | (tied & (tied.cumsum(axis=-1) <= room))
    return xp.nonzero(chosen)[-1].reshape(*x.shape[:-1], k)


@op(formula="indices of the k largest elements of x along dim")
def topk_indices(x: Any, k: int, dim: int, largest: bool) -> Any:
    """Where the k largest (smallest) elements along `dim` stand, the most extreme first."""
    axis, xp = _checks.axis("topk", dim, x.ndim), array_module(x)
    n = x.shape[axis] if x.ndim else 1
    if not 0 <= k <= n:
        raise ValueError(f"topk: k is {k}, but dim {dim} of x {x.shape} has {n} elements")
    if not x.ndim:
        return xp.zeros((), "int64")
    found = xp.moveaxis(x, axis, -1)
    if 0 < k < n:
        chosen = _extreme(found, k, largest)
        found = xp.take_along_axis(found, chosen, -1)
    else:
        chosen = xp.broadcast_to(xp.arange(n), found.shape)
    order = _ascending(found, -1, largest)[..., :k]
    return xp.moveaxis(xp.take_along_axis(chosen, order, -1), -1, axis)


@composite(
    formula="the k largest elements of x along dim, and their indices",
    kink=Kink(
        "ties at the border",
        "the first of them",
        at={"x": [1, 2, 1, 1], "k": 2},
        gradient={"x": [1, 1, 0, 0]},
        pytorch="which of the ties are taken is not specified, and varies with the size",
    ),
)
def topk(x: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Ordered:
    """The k largest elements along `dim`, the largest first, and their indices.

    largest : False for the k smallest, the smallest first; NaN counts as the greatest
    sorted : they come in order in either case
    Raises ValueError unless `dim` has k elements.
    """
    return _ordered(x, topk_indices(x, k, dim, largest), dim)


# ---- the median ---------------------------------------------------------------------------------


@op(
    x=lambda g, x, out: shared(g, x, out, None, False),
    formula="the middle element of x",
    domain="at least one element; NaN of none",
    kink=Kink("ties", "shared evenly", at={"x": [1, 3, 1, 0]}, gradient={"x": [0.5, 0, 0.5, 0]}),
)
def median_of_all(x: Any) -> Any:
    """The median of all elements: of two in the middle the lower; NaN if there is one."""
    if x.size == 0:
        _checks.floating("median", "x", x)
        return x.sum() * float("nan")
    xp, half = array_module(x), (x.size - 1) // 2
    return xp.where((x != x).any(), x.max(), xp.partition(x.reshape(-1), half)[half])


@op(formula="index of the median of x along dim")
def median_index(x: Any, dim: int) -> Any:
    """Where the median along `dim` stands, of ties the first, or the first NaN; the axis stays."""
    axes, xp = nonempty("median", x, _checks.axis("median", dim, x.ndim)), array_module(x)
    if not axes:
        return xp.zeros_like(x, dtype="int64")
    axis = axes[0]
    half, lost = (x.shape[axis] - 1) // 2, x != x
    middle = xp.take(xp.partition(x, half, axis), xp.arange(half, half + 1), axis)
    found = xp.where(lost.any(axis=axis, keepdims=True), lost, x == middle)
    return found.argmax(axis=axis, keepdims=True)


@composite(
    formula="the middle element of x; along dim with its index",
    domain="at least one element",
    kink=[
        Kink(
            "without dim, ties",
            "shared evenly",
            at={"x": [1, 3, 1, 0]},
            gradient={"x": [0.5, 0, 0.5, 0]},
        ),
        Kink(
            "along dim, ties",
            "the first has it",
            at={"x": [3, 1, 1, 0], "dim": 0},
            gradient={"x": [0, 1, 0, 0]},
            pytorch="which of the ties is taken is not specified, and varies with the size",
        ),
    ],
)
def median(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The median: of two elements in the middle the lower; NaN where there is one.

    median(x) -> a tensor without axes
    median(x, dim, keepdim) -> (values, indices), of ties the first
    """
    if dim is None:
        return median_of_all(x)
    return _ordered(x, median_index(x, dim), dim, keepdim)
