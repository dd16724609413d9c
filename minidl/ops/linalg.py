"""Products: matrix product and its kin."""

from typing import Any

from minidl.errors import ShapeError
from minidl.ops import _checks
from minidl.ops.shape import reshape, swap
from minidl.ops.reduction import sum
from minidl.tape import op

__all__ = ["matmul"]


def _matmul_dx(g: Any, x_shape: Any, y: Any) -> Any:
    if len(y.shape) == 1:  # (..., n, k) @ (k,): an outer product
        return reshape(g, (*g.shape, 1)) * y
    if len(x_shape) == 1:  # (k,) @ (..., k, m)
        return reshape(
            matmul(reshape(g, (*g.shape[:-1], 1, g.shape[-1])), swap(y)),
            (*g.shape[:-1], x_shape[0]),
        )
    return matmul(g, swap(y))


def _matmul_dy(g: Any, x: Any, y_shape: Any) -> Any:
    if len(x.shape) == 1:
        if len(y_shape) == 1:
            return g * x
        return reshape(x, (*x.shape, 1)) * reshape(g, (*g.shape[:-1], 1, g.shape[-1]))
    if len(y_shape) == 1:
        return sum(x * reshape(g, (*g.shape, 1)), tuple(range(len(x.shape) - 1)))
    return matmul(swap(x), g)


@op(x=_matmul_dx, y=_matmul_dy, broadcasts=True, linear_in=("x", "y"), formula="x @ y")
def matmul(x: Any, y: Any) -> Any:
    """x @ y over the last two axes; leading axes broadcast.

    x : (..., n, k), y : (..., k, m) -> (..., n, m); a vector (k,) counts as a row on the left and
    as a column on the right, and its axis is gone from the result.
    Raises ShapeError where the inner sizes differ, DtypeError where the dtypes do.
    """
    if not (getattr(x, "ndim", 0) and getattr(y, "ndim", 0)):
        raise ShapeError("matmul: both arguments need an axis at least; use * for scalars")
    _checks.same_dtype("matmul", x=x, y=y)
    inner = y.shape[-2] if y.ndim > 1 else y.shape[0]
    if x.shape[-1] != inner:
        hint = "; did you mean y.T?" if y.ndim == 2 and y.shape[1] == x.shape[-1] else ""
        raise ShapeError(f"matmul: inner sizes differ: x is {x.shape}, y is {y.shape}{hint}")
    return x @ y
