"""Shape: the same numbers seen in another shape or order. Each op is linear in its tensor."""

import math
from typing import Any

from minidl.device import array_module, channels_last, empty_like, owner, stride_order
from minidl.errors import ShapeError
from minidl.ops import _checks
from minidl.tape import composite, op, sum_to

__all__ = [
    "broadcast_to",
    "clone",
    "contiguous",
    "diag",
    "diag_embed",
    "diagonal",
    "expand",
    "flatten",
    "flip",
    "movedim",
    "permute",
    "repeat",
    "reshape",
    "roll",
    "squeeze",
    "swapaxes",
    "t",
    "tile",
    "transpose",
    "tril",
    "triu",
    "unflatten",
    "unsqueeze",
    "view",
]

# ---- another shape ------------------------------------------------------------------------------


@op(
    x=lambda g, x_shape: reshape(g, x_shape),
    linear_in=("x",),
    formula="x in another shape, read row by row",
)
def reshape(x: Any, shape: Any) -> Any:
    """x in another shape, its elements read row by row; one size may be -1: what is left.

    x : any, shape : an int or a tuple of ints -> a view where the memory allows it, else a copy
    Raises ShapeError if the number of elements differs.
    """
    return x.reshape(_fitted("reshape", x, shape))


def _fitted(who: str, x: Any, shape: Any) -> tuple[int, ...]:
    """The shape as a tuple, with what is left in place of -1; it holds the elements of x."""
    shape = (shape,) if hasattr(shape, "__index__") else tuple(shape)
    if shape.count(-1) > 1 or any(n < -1 for n in shape):
        raise ShapeError(f"{who}: {shape} is no shape (one size may be -1)")
    known = math.prod([n for n in shape if n != -1])
    if -1 in shape and known and x.size % known == 0:
        shape = tuple([x.size // known if n == -1 else n for n in shape])
    if -1 in shape or math.prod(shape) != x.size:
        raise ShapeError(f"{who}: x {x.shape} has {x.size} elements, {shape} does not fit them")
    return shape


@op(
    x=lambda g, x_shape: reshape(g, x_shape),
    linear_in=("x",),
    formula="x in another shape, in the same memory",
)
def view(x: Any, shape: Any) -> Any:
    """x in another shape, always in the same memory: `reshape` that refuses to copy.

    Raises ShapeError if the number of elements differs, or if the memory cannot be read in that
    shape (a transposed matrix flattened); NotImplementedError for a dtype in place of a shape.
    """
    asked = (shape,) if hasattr(shape, "__index__") else tuple(shape)
    if not all(hasattr(n, "__index__") for n in asked):
        raise NotImplementedError(
            "view: the same bytes as another dtype are not offered; .to(dtype) converts the values"
        )
    out = x.reshape(_fitted("view", x, asked))
    if x.size and owner(out) is not owner(x):
        raise ShapeError(
            f"view: x {x.shape} does not lie in memory as {out.shape} needs; use .reshape, "
            "which copies"
        )
    return out


@composite(formula="x with some axes made one")
def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """x with the axes from `start_dim` to `end_dim` made one; a tensor without axes gets one.

    Raises IndexError if there is no such axis, ShapeError if they stand in the wrong order.
    """
    shape = x.shape
    start = _checks.axis("flatten", start_dim, len(shape), "start_dim")
    end = _checks.axis("flatten", end_dim, len(shape), "end_dim")
    if start > end:
        raise ShapeError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    joined = math.prod(shape[start : end + 1])
    return reshape(x, (*shape[:start], joined, *shape[end + 1 :]))


@composite(formula="x with one axis made several")
def unflatten(x: Any, dim: int, sizes: Any) -> Any:
    """x with axis `dim` made several, of the given sizes; one of them may be -1: what is left.

    Raises ShapeError if the sizes do not multiply to the length of the axis.
    """
    shape, sizes = x.shape, tuple(sizes)
    if not shape:
        raise ShapeError("unflatten: x has no axes")
    dim = _checks.axis("unflatten", dim, len(shape))
    known = math.prod([n for n in sizes if n != -1])
    if sizes.count(-1) == 1 and known and shape[dim] % known == 0:
        sizes = tuple([shape[dim] // known if n == -1 else n for n in sizes])
    if min(sizes, default=-1) < 0 or math.prod(sizes) != shape[dim]:
        raise ShapeError(f"unflatten: sizes {sizes} do not fit axis {dim} of x {shape}")
    return reshape(x, (*shape[:dim], *sizes, *shape[dim + 1 :]))


@composite(formula="x without axes of length one")
def squeeze(x: Any, dim: Any = None) -> Any:
    """x without its axes of length one; a view.

    dim : which (an int or a tuple); one of another length stays. Default: all of them
    Raises IndexError if there is no such axis.
    """
    shape = x.shape
    if dim is None or not hasattr(dim, "__len__") or len(dim):
        gone = _checks.axes("squeeze", dim, len(shape))
    else:
        gone = ()
    kept = tuple([n for i, n in enumerate(shape) if n != 1 or i not in gone])
    return reshape(x, kept)


@composite(formula="x with a new axis of length one")
def unsqueeze(x: Any, dim: int) -> Any:
    """x with a new axis of length one that stands at `dim` in the result; a view.

    Raises IndexError for a `dim` that the result does not have.
    """
    shape = x.shape
    dim = _checks.axis("unsqueeze", dim, len(shape) + 1)
    return reshape(x, (*shape[:dim], 1, *shape[dim:]))


# ---- another order of axes ----------------------------------------------------------------------


@op(x=lambda g, dims: permute(g, inverse(dims)), linear_in=("x",), formula="x.permute(dims)")
def permute(x: Any, dims: Any) -> Any:
    """x with its axes in another order; a view.

    x : any, dims : a permutation of its axes -> shape[i] = x.shape[dims[i]]
    Raises ValueError unless `dims` names each axis once.
    """
    dims = tuple(dims)
    order = _checks.axes("permute", dims, x.ndim) if len(dims) == x.ndim and dims else ()
    if len(dims) != x.ndim:
        raise ShapeError(f"permute: dims {tuple(dims)} must name each of the {x.ndim} axes once")
    return x.transpose(order)


def inverse(dims: Any) -> tuple[int, ...]:
    """Return the permutation of axes that undoes another."""
    dims = [d % len(dims) for d in dims]
    return tuple(sorted(range(len(dims)), key=dims.__getitem__))


@op(
    x=lambda g, dim0, dim1: transpose(g, dim0, dim1),
    linear_in=("x",),
    formula="x with two axes swapped",
)
def transpose(x: Any, dim0: int, dim1: int) -> Any:
    """x with two axes swapped; a view. Raises IndexError if there is no such axis."""
    dim0 = _checks.axis("transpose", dim0, x.ndim, "dim0")
    dim1 = _checks.axis("transpose", dim1, x.ndim, "dim1")
    return x.swapaxes(dim0, dim1) if x.ndim else x


@composite(formula="x with two axes swapped")
def swapaxes(x: Any, axis0: int, axis1: int) -> Any:
    """`transpose` under its name in NumPy."""
    return transpose(x, axis0, axis1)


def swap(x: Any) -> Any:
    """x with its last two axes swapped: the transpose of each matrix."""
    return transpose(x, -1, -2)


@composite(formula="the transpose of a matrix")
def t(x: Any) -> Any:
    """The transpose of a matrix; a vector or a number stays. Raises ShapeError for more axes."""
    if len(x.shape) > 2:
        raise ShapeError(f"t: x has shape {x.shape}, expected at most 2 axes; use .mT or permute")
    return transpose(x, 0, 1) if len(x.shape) == 2 else x


@composite(formula="x with some axes moved")
def movedim(x: Any, source: Any, destination: Any) -> Any:
    """x with axes moved: `source` (an int or a tuple) says which, `destination` where to.

    The others keep their order. Raises ShapeError if the two differ in number.
    """
    ndim = len(x.shape)
    source, destination = (
        (d,) if hasattr(d, "__index__") else tuple(d) for d in (source, destination)
    )
    if len(source) != len(destination):
        raise ShapeError(f"movedim: source {source} and destination {destination} differ in number")
    if not source or not ndim:
        return x
    places = _checks.axes("movedim", destination, ndim)
    moved = dict(zip(places, _checks.axes("movedim", source, ndim), strict=True))
    rest = iter([d for d in range(ndim) if d not in moved.values()])
    return permute(x, tuple([moved[d] if d in moved else next(rest) for d in range(ndim)]))


# ---- repeated -----------------------------------------------------------------------------------


@op(x=lambda g, x_shape: sum_to(g, x_shape), linear_in=("x",), formula="x repeated to a shape")
def expand(x: Any, shape: Any) -> Any:
    """x repeated along new leading axes and axes of length one; -1 keeps an axis. A view.

    Raises ShapeError if an axis of another length would have to change.
    """
    shape = tuple(shape)
    lead = len(shape) - x.ndim
    wanted = tuple([x.shape[i - lead] if n == -1 and i >= lead else n for i, n in enumerate(shape)])
    fits = lead >= 0 and all(
        n == m or m == 1 for n, m in zip(wanted[max(lead, 0) :], x.shape, strict=True)
    )
    if not fits or any(n < 0 for n in wanted):
        raise ShapeError(f"expand: x {x.shape} cannot be repeated to {shape}")
    return array_module(x).broadcast_to(x, wanted)


@composite(formula="x repeated to a shape")
def broadcast_to(x: Any, shape: Any) -> Any:
    """`expand` under its name in NumPy."""
    return expand(x, shape)


@composite(formula="copies of x in a grid")
def repeat(x: Any, sizes: Any) -> Any:
    """Copies of x laid out in a grid of the given sizes: shape[i] = sizes[i] * x.shape[i].

    sizes : one for each axis, and for new leading axes (ShapeError if there are fewer)
    """
    sizes = (sizes,) if hasattr(sizes, "__index__") else tuple(sizes)
    if len(sizes) < len(x.shape):
        raise ShapeError(f"repeat: sizes {sizes} are fewer than the axes of x {x.shape}")
    return _grid("repeat", x, sizes)


@composite(formula="copies of x in a grid")
def tile(x: Any, dims: Any) -> Any:
    """Copies of x laid out in a grid; unlike in `repeat`, missing leading sizes are one."""
    dims = (dims,) if hasattr(dims, "__index__") else tuple(dims)
    return _grid("tile", x, (1,) * (len(x.shape) - len(dims)) + dims)


def _grid(who: str, x: Any, sizes: tuple[int, ...]) -> Any:
    if min(sizes, default=0) < 0:
        raise ShapeError(f"{who}: sizes {sizes} must not be negative")
    shape = (1,) * (len(sizes) - len(x.shape)) + x.shape
    apart = [n for length in shape for n in (1, length)]
    grid = [n for size, length in zip(sizes, shape, strict=True) for n in (size, length)]
    whole = tuple([size * length for size, length in zip(sizes, shape, strict=True)])
    copies = clone(expand(reshape(x, apart), grid), memory_format="contiguous_format")
    return reshape(copies, whole)


# ---- another order of elements, copies ----------------------------------------------------------


@op(x=lambda g, dims: flip(g, dims), linear_in=("x",), formula="x backwards along dims")
def flip(x: Any, dims: Any) -> Any:
    """x backwards along one or several axes; a copy.

    dims : an int or a tuple. Raises IndexError if there is no such axis.
    """
    if hasattr(dims, "__len__") and not len(dims):
        return copied(x)
    backwards = _checks.axes("flip", dims, x.ndim)
    step = slice(None, None, -1)
    return copied(x[tuple([step if d in backwards else slice(None) for d in range(x.ndim)])])


def copied(x: Any) -> Any:
    """Return a copy of an array in the same memory order."""
    out = empty_like(x)
    out[...] = x
    return out


def room_like(x: Any, shape: tuple[int, ...]) -> Any:
    """Return new memory for `shape`, its axes in the order of those of x; values undefined."""
    xp = array_module(x)
    if x.flags.c_contiguous or len(shape) != x.ndim:
        return xp.empty(shape, x.dtype)
    order = stride_order(x)
    return xp.empty([shape[d] for d in order], x.dtype).transpose(inverse(order))


@op(
    x=lambda g, shifts, dims: roll(g, _negative(shifts), dims),
    linear_in=("x",),
    formula="out[i + shift] = x[i], round the end",
)
def roll(x: Any, shifts: Any, dims: Any = None) -> Any:
    """x with its elements moved on along some axes; what falls off the end enters at the start.

    shifts : how far, an int or a tuple with one for each of `dims`
    dims : default: x is rolled as if it were flat

    Raises ValueError if the two differ in number.
    """
    if dims is not None and not hasattr(dims, "__index__") and len(dims) == 0:
        dims = None
    given = (shifts,) if hasattr(shifts, "__index__") else tuple(shifts)
    given = tuple([_checks.integer("roll", "shifts", n) for n in given])
    if dims is None:
        if len(given) != 1:
            raise ValueError(f"roll: {len(given)} shifts but no dims")
        return array_module(x).roll(x, given[0])
    axes = (dims,) if hasattr(dims, "__index__") else tuple(dims)
    axes = tuple([_checks.axis("roll", d, x.ndim) for d in axes])
    if len(given) != len(axes):
        raise ValueError(f"roll: {len(given)} shifts but {len(axes)} dims")
    return array_module(x).roll(x, given, axes) if x.ndim else copied(x)


def _negative(shifts: Any) -> Any:
    return -shifts if hasattr(shifts, "__index__") else tuple([-s for s in shifts])


@op(x=lambda g: g, linear_in=("x",), formula="x")
def clone(x: Any, *, memory_format: str = "preserve_format") -> Any:
    """A copy of x in new memory.

    memory_format : "preserve_format" (the order of x), "contiguous_format" or "channels_last"
    """
    formats = ("preserve_format", "contiguous_format", "channels_last")
    _checks.choice("clone", "memory_format", memory_format, *formats)
    if memory_format == "preserve_format":
        return copied(x)
    out = _laid_out("clone", x, memory_format)
    return copied(out) if out is x else out


@op(x=lambda g: g, linear_in=("x",), formula="x")
def contiguous(x: Any, memory_format: str = "contiguous_format") -> Any:
    """x without gaps in memory: itself where it lies so already, else a copy.

    memory_format : "contiguous_format" (row by row) or "channels_last" (N, C, *spatial lies as
        N, *spatial, C)
    """
    formats = ("contiguous_format", "channels_last")
    _checks.choice("contiguous", "memory_format", memory_format, *formats)
    return _laid_out("contiguous", x, memory_format)


def _laid_out(who: str, x: Any, memory_format: str) -> Any:
    if memory_format == "channels_last":
        if x.ndim < 3:
            raise ShapeError(f"{who}: channels_last needs x (N, C, *spatial), got {x.shape}")
        return channels_last(x)
    return x if x.flags.c_contiguous else x.copy(order="C")


# ---- diagonals and triangles --------------------------------------------------------------------


def _diagonal(who: str, x: Any, offset: int, dim1: int, dim2: int) -> Any:
    """A view of the diagonal, writable where x is: NumPy's own `diagonal` is not."""
    dim1 = _checks.axis(who, dim1, x.ndim, "dim1")
    dim2 = _checks.axis(who, dim2, x.ndim, "dim2")
    if x.ndim < 2 or dim1 == dim2:
        raise ShapeError(f"{who}: x {x.shape} needs two different axes, got {dim1} and {dim2}")
    xp = array_module(x)
    x = xp.moveaxis(x, (dim1, dim2), (-2, -1))[..., max(-offset, 0) :, max(offset, 0) :]
    n = min(x.shape[-2:])
    return xp.einsum("...ii->...i", x[..., :n, :n])


@op(
    x=lambda g, x_shape, offset, dim1, dim2: put_diagonal(g, x_shape, offset, dim1, dim2),
    linear_in=("x",),
    formula="out[..., i] = x[..., i, i + offset]",
)
def diagonal(x: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """The diagonal of the matrices in axes `dim1` and `dim2`, as a new last axis; a view.

    offset : how far above the main diagonal (below, if negative)
    Raises ShapeError unless two different axes are named.
    """
    return _diagonal("diagonal", x, offset, dim1, dim2)


@op(
    g=lambda g, offset, dim1, dim2: diagonal(g, offset, dim1, dim2),
    linear_in=("g",),
    formula="zeros of a shape with g on a diagonal",
)
def put_diagonal(g: Any, shape: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """Zeros of a shape with g on the diagonal: the adjoint of `diagonal`."""
    out = array_module(g).zeros(shape, g.dtype)
    _diagonal("put_diagonal", out, offset, dim1, dim2)[...] = g
    return out


@composite(formula="matrices with x on a diagonal")
def diag_embed(x: Any, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    """Matrices that have the last axis of x on a diagonal and are zero elsewhere.

    x : (..., n) -> (..., n + |offset|, n + |offset|), the matrices in axes `dim1` and `dim2`
    """
    if not x.shape:
        raise ShapeError("diag_embed: x has no axes")
    ndim, n = len(x.shape) + 1, x.shape[-1] + abs(offset)
    dim1 = _checks.axis("diag_embed", dim1, ndim, "dim1")
    dim2 = _checks.axis("diag_embed", dim2, ndim, "dim2")
    rest = iter(x.shape[:-1])
    shape = tuple([n if d in (dim1, dim2) else next(rest, n) for d in range(ndim)])
    return put_diagonal(x, shape, offset, dim1, dim2)


@composite(formula="the diagonal of a matrix, or the matrix of a diagonal")
def diag(x: Any, diagonal: int = 0) -> Any:
    """The diagonal of a matrix, or for a vector the matrix that has it on the diagonal.

    Raises ShapeError unless x has one or two axes.
    """
    if len(x.shape) == 1:
        return diag_embed(x, diagonal)
    _checks.rank("diag", "x", x, 1, 2)
    return _take_diagonal(x, diagonal)


_take_diagonal = diagonal  # `diag` has an argument of that name


@op(x=lambda g, diagonal: tril(g, diagonal), linear_in=("x",), formula="x below a diagonal")
def tril(x: Any, diagonal: int = 0) -> Any:
    """The matrices in the last two axes of x with zeros above a diagonal.

    Raises ShapeError if x has fewer than two axes.
    """
    return array_module(x).tril(_matrices("tril", x), _checks.integer("tril", "diagonal", diagonal))


@op(x=lambda g, diagonal: triu(g, diagonal), linear_in=("x",), formula="x above a diagonal")
def triu(x: Any, diagonal: int = 0) -> Any:
    """The matrices in the last two axes of x with zeros below a diagonal.

    Raises ShapeError if x has fewer than two axes.
    """
    return array_module(x).triu(_matrices("triu", x), _checks.integer("triu", "diagonal", diagonal))


def _matrices(who: str, x: Any) -> Any:
    if x.ndim < 2:
        raise ShapeError(f"{who}: x has shape {x.shape}, expected at least 2 axes")
    return x
