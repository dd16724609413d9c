"""Shape: the same numbers seen in another shape or order. Each op is linear in its tensor."""

import math
from typing import Any

from minidl.device import array_module
from minidl.errors import ShapeError
from minidl.ops import _checks
from minidl.tape import op, sum_to

__all__ = ["expand", "permute", "reshape", "swap", "transpose"]


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
    shape = (shape,) if hasattr(shape, "__index__") else tuple(shape)
    if shape.count(-1) > 1 or any(n < -1 for n in shape):
        raise ShapeError(f"reshape: {shape} is no shape (one size may be -1)")
    known = math.prod([n for n in shape if n != -1])
    if -1 in shape and known and x.size % known == 0:
        shape = tuple([x.size // known if n == -1 else n for n in shape])
    if -1 in shape or math.prod(shape) != x.size:
        raise ShapeError(f"reshape: x {x.shape} has {x.size} elements, {shape} does not fit them")
    return x.reshape(shape)


@op(x=lambda g, dims: permute(g, _inverse(dims)), linear_in=("x",), formula="x.permute(dims)")
def permute(x: Any, dims: Any) -> Any:
    """x with its axes in another order; a view.

    x : any, dims : a permutation of its axes -> shape[i] = x.shape[dims[i]]
    Raises ValueError unless `dims` names each axis once.
    """
    order = _checks.axes("permute", tuple(dims), x.ndim) if x.ndim else ()
    if len(order) != x.ndim:
        raise ShapeError(f"permute: dims {tuple(dims)} must name each of the {x.ndim} axes once")
    return x.transpose(order)


def _inverse(dims: Any) -> tuple[int, ...]:
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


def swap(x: Any) -> Any:
    """x with its last two axes swapped: the transpose of each matrix."""
    return transpose(x, -1, -2)


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
