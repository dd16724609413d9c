"""Indexing: parts of a tensor by their place, and the way back, which adds at those places."""

import math
from typing import Any

import numpy as np

import minidl_kernels as kernels
from minidl.device import array_module, is_array
from minidl.errors import DtypeError, ShapeError
from minidl.ops import _checks
from minidl.ops._places import (
    ALL,
    Place,
    check_range,
    is_basic,
    outside,
    resolved,
    taken_from,
)
from minidl.ops.arithmetic import where
from minidl.ops.shape import clone, copied, expand, reshape, room_like
from minidl.tape import Kept, TensorBase, composite, op, sum_to

__all__ = [
    "gather",
    "getitem",
    "index_add",
    "index_put",
    "index_select",
    "masked_select",
    "narrow",
    "nonzero",
    "one_hot",
    "repeat_interleave",
    "scatter",
    "scatter_add",
    "select",
    "take",
    "take_along_dim",
]

# ---- reading, and the way back ------------------------------------------------------------------


@op(
    x=lambda g, index, x_shape: put_zeros(g, index, x_shape),
    linear_in=("x",),
    formula="x[index]",
)
def getitem(x: Any, index: Any) -> Any:
    """x[index]: a view for ints, slices, None and Ellipsis, a copy where arrays or masks take part.

    As PyTorch's, and slices may run backwards. Numbers out of range raise IndexError.
    """
    if is_basic(index):
        out = x[index]
        if type(out) is not type(x):  # NumPy gives a number, not a view, for a single element
            out = x[(*index, ...) if type(index) is tuple else (index, ...)]
        return out
    return taken_from(x, resolved("getitem", index, x.shape, array_module(x)))


@op(
    g=lambda g, index: getitem(g, index),
    linear_in=("g",),
    formula="zeros, to which g is added at index",
)
def put_zeros(g: Any, index: Any, shape: Any) -> Any:
    """Zeros of a shape with g added at `index`: the adjoint of `getitem`.

    What repeated places get is added up, in the same order each time.
    """
    xp = array_module(g)
    if is_basic(index):
        out = room_like(g, shape)
        out[...] = 0
        out[index] = g
        return out
    basic, picks, repeats = resolved("put_zeros", index, shape, xp)
    if repeats and not g.size:
        return xp.zeros(shape, g.dtype)
    if repeats and all(b == ALL for b in basic):
        return _added(g, picks, shape)
    out = xp.zeros(shape, g.dtype)
    seen = out[(*basic, ...)]
    if repeats:
        seen[...] = _added(g, picks, seen.shape)
    else:
        seen[picks] = g
    return out


def _added(g: Any, picks: tuple[Any, ...], shape: tuple[int, ...]) -> Any:
    """Zeros of a shape with g added where `picks` says: the rows of g go to the kernel."""
    xp = array_module(g)
    axes = [axis for axis, pick in enumerate(picks) if type(pick) is not slice]
    rest = [axis for axis in range(len(shape)) if axis not in axes]
    arrays = xp.broadcast_arrays(*[picks[axis] for axis in axes])
    together = axes == list(range(axes[0], axes[0] + len(axes)))
    first, spread = axes[0] if together else 0, arrays[0].ndim
    flat: Any = 0  # the place of each row among the elements of the picked axes
    for axis, index in zip(axes, arrays, strict=True):
        flat = flat * shape[axis] + xp.where(index < 0, index + shape[axis], index)
    picked, left = [shape[axis] for axis in axes], [shape[axis] for axis in rest]
    rows = xp.moveaxis(g, tuple(range(first, first + spread)), tuple(range(spread)))
    rows = rows.reshape(flat.size, math.prod(left))
    total = kernels.index_add(rows, flat.reshape(-1), math.prod(picked))
    return xp.moveaxis(total.reshape(*picked, *left), tuple(range(len(axes))), tuple(axes))


# ---- writing ------------------------------------------------------------------------------------


def write_index(x: Any, index: Any, value: Any, who: str = "setitem") -> None:
    """Write into an array, in place, what `index_put` writes into a copy."""
    place, value = resolved(who, index, x.shape, array_module(x)), _trimmed(value)
    if place.repeats and is_array(value) and array_module(x) is not np:
        value, _ = _settled(x, place, value)  # NumPy itself lets the last value stand
    _write(x, place, value)


def _trimmed(value: Any) -> Any:
    """A value to be written without leading axes of length one, which say nothing."""
    if not is_array(value):
        return value
    lead = next((i for i, n in enumerate(value.shape) if n != 1), value.ndim)
    return value.reshape(value.shape[lead:])


def _write(x: Any, place: Place, value: Any) -> None:
    seen = x[(*place.basic, ...)]
    seen[place.picks if place.picks else ...] = value


def _last_values(spots: Any, value: Any) -> tuple[Any, Any]:
    """For values written at `spots`: what stands there in the end, and which of them it is."""
    xp, n = array_module(spots), spots.size
    serial = xp.arange(n)
    key = xp.sort(spots.reshape(-1) * n + serial)  # by place, then in the order of writing
    spot, written = key // n, key % n
    ends = xp.ones(n, bool)
    ends[:-1] = spot[1:] != spot[:-1]
    winner = xp.empty_like(serial)
    winner[written] = written[ends][xp.cumsum(ends) - ends]
    value = xp.broadcast_to(value, spots.shape).reshape(-1)[winner]
    return value.reshape(spots.shape), (winner == serial).reshape(spots.shape)


def _settled(x: Any, place: Place, value: Any) -> tuple[Any, Any]:
    """As `_last_values`, for the elements of x at a place that may name one several times."""
    spots = taken_from(array_module(x).arange(x.size).reshape(x.shape), place)
    return _last_values(spots, value)


def _value_gradient(g: Any, index: Any, last: Any, value_shape: tuple[int, ...]) -> Any:
    g = getitem(g, index)
    if last is not None:
        g = where(last, g, 0)
    if g.shape == value_shape:
        return g
    lead = max(len(value_shape) - len(g.shape), 0)  # axes of length one that were dropped
    return reshape(sum_to(g, value_shape[lead:]), value_shape)


@op(
    x=lambda g, index: index_put(g, index, 0),
    value=_value_gradient,
    formula="x with value at index",
)
def index_put(x: Any, index: Any, value: Any) -> Any:
    """A copy of x with `value` written at `index`.

    index : as in `x[index]`; value : a number, or an array that broadcasts to `x[index]`, which
    takes on the dtype of x. Where a place is named several times the last value stands, and it
    alone gets the gradient. Raises IndexError as `getitem` does, ShapeError if the value does not
    fit, DtypeError for floats into whole numbers.
    """
    xp, out, last = array_module(x), copied(x), None
    place = resolved("index_put", index, x.shape, xp)
    if is_array(value) and value.dtype.kind == "f" and x.dtype.kind != "f":
        raise DtypeError(f"index_put: value is {value.dtype}, x is {x.dtype}")
    value = _trimmed(value)
    if place.repeats and is_array(value):
        value, last = _settled(x, place, value)
    _write(out, place, value)
    return out, Kept(last=last)


# ---- slices along an axis -----------------------------------------------------------------------


def _plain(x: Any) -> Any:
    return x.data if isinstance(x, TensorBase) else x


def _axis(who: str, x: Any, dim: int) -> int:
    if not x.shape:
        raise IndexError(f"{who}: x has no axes")
    return _checks.axis(who, dim, len(x.shape))


def _along(dim: int, what: Any) -> tuple[Any, ...]:
    """The index that has `what` at axis `dim` and everything at the axes before it."""
    return (*[slice(None)] * dim, what)


@composite(formula="x[start : start + length] along dim")
def narrow(x: Any, dim: int, start: int, length: int) -> Any:
    """The part of x from `start` on along `dim`, of a length; a view.

    Raises IndexError if it would leave the axis.
    """
    dim, start = _axis("narrow", x, dim), _checks.integer("narrow", "start", start)
    length = _checks.integer("narrow", "length", length)
    n = x.shape[dim]
    first = start + n if start < 0 else start
    if not (0 <= first <= n and 0 <= length <= n - first):
        raise IndexError(
            f"narrow: start {start} and length {length} leave axis {dim} of x {x.shape}"
        )
    return getitem(x, _along(dim, slice(first, first + length)))


@composite(formula="x[index] along dim")
def select(x: Any, dim: int, index: int) -> Any:
    """The slice of x at `index` along `dim`, which is gone in it; a view.

    Raises IndexError if there is none.
    """
    dim, index = _axis("select", x, dim), _checks.integer("select", "index", index)
    if not -x.shape[dim] <= index < x.shape[dim]:
        raise outside("select", index, dim, x.shape)
    return getitem(x, _along(dim, index))


def _list(who: str, x: Any, dim: int, index: Any) -> tuple[int, Any]:
    """An axis and a list of places on it, checked."""
    dim, index = _axis(who, x, dim), _plain(index)
    _checks.same_device(who, x=x, index=index)
    _checks.whole(who, "index", index)
    _checks.rank(who, "index", index, 0, 1)
    index = index.reshape(-1)
    check_range(who, index, dim, x.shape, negative=False)
    return dim, index


@composite(formula="out[i] = x[index[i]] along dim")
def index_select(x: Any, dim: int, index: Any) -> Any:
    """The slices of x at the places `index` along `dim`.

    index : (n,) whole numbers -> the shape of x with n in place of the length of `dim`
    Raises IndexError for numbers outside [0, length).
    """
    dim, index = _list("index_select", x, dim, index)
    return getitem(x, _along(dim, index))


@composite(formula="x with alpha * source[i] added at index[i] along dim")
def index_add(x: Any, dim: int, index: Any, source: Any, *, alpha: float = 1) -> Any:
    """x with the slices of `source`, times `alpha`, added at the places `index` along `dim`.

    index : (n,) whole numbers; source : the shape of x with n in place of the length of `dim`
    Raises IndexError for numbers outside [0, length), ShapeError if the source does not fit.
    """
    dim, index = _list("index_add", x, dim, index)
    _checks.same_device("index_add", x=x, source=source)
    _checks.same_dtype("index_add", x=x, source=source)
    wanted = (*x.shape[:dim], index.size, *x.shape[dim + 1 :])
    if source.shape != wanted:
        raise ShapeError(f"index_add: source has shape {source.shape}, expected {wanted}")
    return x + put_zeros(source if alpha == 1 else source * alpha, _along(dim, index), x.shape)


@composite(formula="each slice of x several times in a row")
def repeat_interleave(x: Any, repeats: Any, dim: int | None = None) -> Any:
    """Each slice of x along `dim` several times in a row.

    repeats : how often, an int or whole numbers (length of `dim`,)
    dim : default: x is made flat first

    Raises ShapeError if `repeats` does not fit, ValueError if it is negative.
    """
    if dim is None or not x.shape:
        x, dim = reshape(x, (-1,)), 0 if dim is None else dim
    dim, repeats = _axis("repeat_interleave", x, dim), _plain(repeats)
    n = x.shape[dim]
    if is_array(repeats):
        _checks.whole("repeat_interleave", "repeats", repeats)
        repeats = repeats.item() if repeats.size == 1 else repeats.tolist()
    many = isinstance(repeats, list)
    if min(repeats if many else [repeats], default=0) < 0:
        raise ValueError(f"repeat_interleave: repeats {repeats} must not be negative")
    if not many:
        before, after = x.shape[:dim], x.shape[dim + 1 :]
        side = expand(reshape(x, (*before, n, 1, *after)), (*before, n, repeats, *after))
        copies = clone(side, memory_format="contiguous_format")
        return reshape(copies, (*before, n * repeats, *after))
    if len(repeats) != n:
        raise ShapeError(f"repeat_interleave: {len(repeats)} repeats for axis {dim} of x {x.shape}")
    xp = array_module(_plain(x))
    return getitem(x, _along(dim, xp.repeat(xp.arange(n), repeats)))


# ---- element by element -------------------------------------------------------------------------


def _mesh(dim: int, index: Any) -> tuple[Any, ...]:
    """The places that the elements of `index` point at: along `dim` what they say, else their own.

    out[i, j] = x[index[i, j], j] for dim 0
    """
    index = _plain(index)
    xp, ndim = array_module(index), index.ndim
    own = [xp.arange(n).reshape((n,) + (1,) * (ndim - 1 - d)) for d, n in enumerate(index.shape)]
    own[dim] = index
    return tuple(own)


def _pointers(who: str, x: Any, dim: int, index: Any, src: Any = None) -> tuple[int, Any]:
    """The axis and the array of an index with as many axes as x, checked."""
    dim, index = _axis(who, x, dim), _plain(index)
    _checks.same_device(who, x=x, index=index, src=src)
    _checks.whole(who, "index", index)
    rooms = {"x": (*x.shape[:dim], None, *x.shape[dim + 1 :])}
    if src is not None:
        rooms["src"] = src.shape
    for name, room in rooms.items():
        if len(room) != index.ndim or any(
            r is not None and n > r for n, r in zip(index.shape, room, strict=True)
        ):
            raise ShapeError(
                f"{who}: index has shape {index.shape}, which must not exceed {name} "
                f"{x.shape if name == 'x' else src.shape} in any axis"
                + (f" but {dim}" if name == "x" else "")
            )
    check_range(who, index, dim, x.shape, negative=False)
    return dim, index


@op(
    x=lambda g, dim, index, x_shape: put_zeros(g, _mesh(dim, index), x_shape),
    linear_in=("x",),
    formula="out[i, j] = x[index[i, j], j] for dim = 0",
)
def gather(x: Any, dim: int, index: Any) -> Any:
    """The elements of x that `index` points at along `dim`.

    index : whole numbers with as many axes as x, in no axis but `dim` longer -> its shape
    Raises IndexError for numbers outside [0, length), ShapeError if shapes do not fit.
    """
    dim, index = _pointers("gather", x, dim, index)
    return x[_mesh(dim, index)]


@composite(formula="x with x[index[i, j], j] = src[i, j] for dim = 0")
def scatter(x: Any, dim: int, index: Any, src: Any = None, *, value: Any = None) -> Any:
    """A copy of x with `src` written where `index` points along `dim`.

    src : a tensor of the dtype of x that covers the shape of `index`, or a number (also `value`)
    Where several elements point at one place the last stands, and it alone gets the gradient.
    Raises IndexError for numbers outside [0, length), ShapeError if shapes do not fit.
    """
    if (src is None) == (value is None):
        raise TypeError("scatter: give either src or value")
    if src is None or not hasattr(src, "shape"):
        dim, index = _pointers("scatter", x, dim, index)
        return index_put(x, _mesh(dim, index), value if src is None else src)
    dim, index = _pointers("scatter", x, dim, index, src)
    return index_put(x, _mesh(dim, index), _covered("scatter", x, src, index.shape))


@composite(formula="x with src[i, j] added at x[index[i, j], j] for dim = 0")
def scatter_add(x: Any, dim: int, index: Any, src: Any) -> Any:
    """x with `src` added where `index` points along `dim`; what meets in one place is summed.

    src : a tensor of the dtype of x that covers the shape of `index`
    Raises IndexError for numbers outside [0, length), ShapeError if shapes do not fit.
    """
    dim, index = _pointers("scatter_add", x, dim, index, src)
    src = _covered("scatter_add", x, src, index.shape)
    return x + put_zeros(src, _mesh(dim, index), x.shape)


def _covered(who: str, x: Any, src: Any, shape: tuple[int, ...]) -> Any:
    _checks.same_dtype(who, x=x, src=src)
    return src if src.shape == shape else getitem(src, tuple([slice(n) for n in shape]))


@composite(formula="out[i, j] = x[indices[i, j], j] for dim = 0")
def take_along_dim(x: Any, indices: Any, dim: int | None = None) -> Any:
    """The elements of x that `indices` point at along `dim`; other axes broadcast.

    indices : what `argmax(dim, keepdim=True)` or `argsort(dim)` gives
    dim : default: both are made flat

    Raises as `gather` does.
    """
    indices = _plain(indices)
    if dim is None:
        return gather(reshape(x, (-1,)), 0, indices.reshape(-1))
    dim = _axis("take_along_dim", x, dim)
    if indices.ndim != len(x.shape):
        raise ShapeError(f"take_along_dim: indices {indices.shape} and x {x.shape} differ in axes")
    shape = [
        max(n, m) if 1 in (n, m) and n and m else n
        for n, m in zip(x.shape, indices.shape, strict=True)
    ]
    room = [*shape[:dim], x.shape[dim], *shape[dim + 1 :]]
    wide = [*shape[:dim], indices.shape[dim], *shape[dim + 1 :]]
    return gather(expand(x, room), dim, array_module(indices).broadcast_to(indices, wide))


@composite(formula="x.reshape(-1)[index]")
def take(x: Any, index: Any) -> Any:
    """The elements of x, read row by row, at the places `index`; its shape is that of the result.

    Raises IndexError for numbers outside [-size, size).
    """
    index = _plain(index)
    _checks.whole("take", "index", index)
    flat = reshape(x, (-1,))
    check_range("take", index, 0, flat.shape)
    return reshape(getitem(flat, index.reshape(-1)), index.shape)


@op(
    x=lambda g, places: put_zeros(g, places, places.shape),
    broadcasts=True,
    linear_in=("x",),
    formula="x where mask, as a vector",
)
def masked_select(x: Any, mask: Any) -> Any:
    """The elements of x where `mask` is true, row by row, as a vector; the two broadcast.

    Raises DtypeError if `mask` holds no truth values, ShapeError if they do not broadcast.
    """
    if mask.dtype.kind != "b":
        raise DtypeError(f"masked_select: mask is {mask.dtype}, expected bool")
    x, places = array_module(x).broadcast_arrays(x, mask)
    return x[places], Kept(places=places)


# ---- whole numbers ------------------------------------------------------------------------------


@op(formula="the places where x is not zero")
def nonzero(x: Any, *, as_tuple: bool = False) -> Any:
    """The places where x is not zero, row by row: int64 (count, axes of x).

    as_tuple : a vector for each axis instead, which together are an index of x
    """
    xp = array_module(x)
    if as_tuple:
        return tuple((x if x.ndim else x.reshape(1)).nonzero())
    return xp.argwhere(x)


@op(formula="1 at x, 0 elsewhere, along a new last axis")
def one_hot(x: Any, num_classes: int = -1) -> Any:
    """Ones at the places x along a new last axis of length `num_classes`, zeros elsewhere; int64.

    x : whole numbers in [0, num_classes); num_classes : -1: the largest + 1
    Raises ValueError for numbers outside.
    """
    _checks.whole("one_hot", "x", x)
    num_classes = _checks.integer("one_hot", "num_classes", num_classes)
    if num_classes == -1:
        if not x.size:
            raise ValueError("one_hot: x is empty; give num_classes")
        num_classes = int(x.max()) + 1
    if num_classes < 1:
        raise ValueError(f"one_hot: num_classes is {num_classes}, expected at least 1 (or -1)")
    if ((x < 0) | (x >= num_classes)).any():
        raise ValueError(f"one_hot: x holds numbers outside [0, {num_classes})")
    return (x[..., None] == array_module(x).arange(num_classes)).astype("int64")
