"""Pooling: the largest or the mean of each window of an image.

`max_pool` keeps which element was the largest; its gradient `max_pool_input` puts each number back
there, and is linear, with `max_pool_take` (the numbers at those places) as its own adjoint.
`avg_pool` and `avg_pool_input` are linear and adjoint to each other.
"""

import itertools
import math
from functools import lru_cache
from typing import Any

import numpy as np

import minidl_kernels as kernels
from minidl.device import array_module, channels_last, laid_out_like
from minidl.ops import _checks
from minidl.ops.linalg import matmul
from minidl.ops.spatial import over_batch, pairs, windows
from minidl.tape import Kept, Kink, TensorBase, composite, op

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
]


def _tie(axes: int, name: str = "input", **options: Any) -> Kink:
    """Two equal elements in one window, in an image with so many spatial axes."""
    x: Any = [7, 7]
    g: Any = [1, 0]
    for _ in range(axes - 1):
        x, g = [[v] for v in x], [[v] for v in g]
    return Kink(
        "ties in a window", "the first has it", at={name: [[x]], **options}, gradient={name: [[g]]}
    )


# ---- the largest of each window -----------------------------------------------------------------


def _max_pool_dx(g: Any, x_shape: Any, index: Any, windows: Any, return_indices: bool) -> Any:
    return max_pool_input(g[0] if return_indices else g, index, x_shape, windows)


def _pooled(out: Any, index: Any, windows: Any, return_indices: bool) -> Any:
    """What a pool returns: places have 64 bits for the user, and in between as few as do."""
    kept = Kept(index=index, windows=windows)
    return (out, index.astype("int64"), kept) if return_indices else (out, kept)


@op(
    x=_max_pool_dx,
    formula="max of x over each window",
    kink=_tie(
        1,
        "x",
        size=(2,),
        stride=(2,),
        padding=(0,),
        dilation=(1,),
        ceil_mode=False,
        return_indices=False,
    ),
)
def max_pool(
    x: Any,
    size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    """The largest element of each window, for any number of spatial axes; unchecked.

    x : (N, C, *S); size, stride, padding, dilation : one int for each spatial axis
    """
    out, index = kernels.max_pool(x, size, stride, padding, dilation, ceil_mode)
    return _pooled(out, index, (size, stride, padding, dilation), return_indices)


@op(
    g=lambda h, index: max_pool_take(h, index),
    linear_in=("g",),
    formula="gradient of max_pool along g: each number at the place of its window's largest",
)
def max_pool_input(g: Any, index: Any, shape: Any, windows: Any = None) -> Any:
    """Numbers put at places of an image and summed where they meet.

    g, index : (N, C, *P), places in the image read row by row; shape : (N, C, *S)
    windows : size, stride, padding and dilation, if the places are those of `max_pool` with these
    """
    return kernels.max_pool_input(g, index, shape, windows)


@op(
    x=lambda g, index, x_shape: max_pool_input(g, index, x_shape),
    linear_in=("x",),
    formula="x[n, c, index[n, c, i]]",
)
def max_pool_take(x: Any, index: Any) -> Any:
    """The numbers of an image at given places: the adjoint of `max_pool_input`.

    x : (N, C, *S), index : (N, C, *windows), places in the image read row by row
    """
    taken = array_module(x).take_along_axis(_rows(x), _rows(index), 2)
    return laid_out_like(taken.reshape(index.shape), index)


def _rows(x: Any) -> Any:
    """(N, C, *S) with its spatial axes made one."""
    return x.reshape(*x.shape[:2], math.prod(x.shape[2:]))


@composite(formula="max of input over each window", kink=_tie(1, kernel_size=(2,)))
def max_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest of each window of a sequence (N, C, L) or (C, L); see `max_pool2d`."""
    return _max_pool(
        "max_pool1d", 1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
    )


@composite(formula="max of input over each window", kink=_tie(2, kernel_size=(2, 1)))
def max_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest of each window of an image; NaN where the window holds one.

    input : (N, C, H, W), or (C, H, W) for one image, float
    kernel_size, stride, padding, dilation : an int, or one for each axis; stride None is
        kernel_size; padding, of -inf, at most half the kernel
    ceil_mode : windows may reach over the end, so that nothing is left out
    return_indices : return (values, indices): places in the plane of H W, read row by row (int64)

    Returns (N, C, H', W'), H' = floor((H + 2 padding - dilation (kernel - 1) - 1) / stride) + 1.
    Raises ShapeError if no window fits.
    """
    return _max_pool(
        "max_pool2d", 2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
    )


@composite(formula="max of input over each window", kink=_tie(3, kernel_size=(2, 1, 1)))
def max_pool3d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest of each window of a volume (N, C, D, H, W) or (C, D, H, W); see `max_pool2d`."""
    return _max_pool(
        "max_pool3d", 3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
    )


def _max_pool(
    op: str,
    count: int,
    input: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    dilation = _checks.sizes(op, "dilation", dilation, count, 1)
    size, stride, padding = _windows(
        op, count, input, kernel_size, stride, padding, dilation, ceil_mode
    )
    return over_batch(
        op,
        count,
        input,
        lambda x: max_pool(x, size, stride, padding, dilation, bool(ceil_mode), return_indices),
    )


def _windows(
    op: str,
    count: int,
    input: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: tuple[int, ...],
    ceil_mode: bool,
) -> Any:
    """Size, stride and padding, one int for each axis, after a check that they fit the input."""
    _checks.rank(op, "input", input, count + 1, count + 2)
    _checks.floating(op, "input", input)
    size = _checks.sizes(op, "kernel_size", kernel_size, count, 1)
    stride = size if stride is None else _checks.sizes(op, "stride", stride, count, 1)
    padding = _checks.sizes(op, "padding", padding, count)
    if any(2 * p > d * (k - 1) + 1 for p, k, d in zip(padding, size, dilation, strict=True)):
        raise ValueError(f"{op}: padding is {padding}, expected at most half of kernel_size {size}")
    windows(op, input.shape[-count:], size, stride, pairs(padding), dilation, ceil_mode)
    return size, stride, padding


# ---- the mean of each window --------------------------------------------------------------------


@op(
    x=lambda g, x_shape, size, stride, padding, ceil_mode, count_include_pad, divisor: (
        avg_pool_input(g, x_shape, size, stride, padding, ceil_mode, count_include_pad, divisor)
    ),
    linear_in=("x",),
    formula="mean of x over each window",
)
def avg_pool(
    x: Any,
    size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None,
) -> Any:
    """The mean of each window, for any number of spatial axes; unchecked.

    x : (N, C, *S); size, stride, padding : one int for each spatial axis
    """
    return kernels.avg_pool(x, size, stride, padding, ceil_mode, count_include_pad, divisor)


@op(
    g=lambda h, size, stride, padding, ceil_mode, count_include_pad, divisor: avg_pool(
        h, size, stride, padding, ceil_mode, count_include_pad, divisor
    ),
    linear_in=("g",),
    formula="gradient of avg_pool along g: each number shared out over its window",
)
def avg_pool_input(
    g: Any,
    shape: Any,
    size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None,
) -> Any:
    """The adjoint of `avg_pool`; unchecked. g : (N, C, *windows), shape : (N, C, *S)."""
    return kernels.avg_pool_input(
        g, shape, size, stride, padding, ceil_mode, count_include_pad, divisor
    )


@composite(formula="mean of input over each window")
def avg_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:
    """The mean of each window of a sequence (N, C, L) or (C, L); see `avg_pool2d`."""
    return _avg_pool(
        "avg_pool1d", 1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None
    )


@composite(formula="mean of input over each window")
def avg_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """The mean of each window of an image.

    input : (N, C, H, W), or (C, H, W) for one image, float
    kernel_size, stride, padding : an int, or one for each axis; stride None is kernel_size;
        padding, of zeros, at most half the kernel
    ceil_mode : windows may reach over the end, so that nothing is left out
    count_include_pad : the zeros of the padding count as elements of a window
    divisor_override : divide the sums by this instead of by the number of elements

    Returns (N, C, H', W') with H' = floor((H + 2 padding - kernel_size) / stride) + 1.
    Raises ShapeError if no window fits.
    """
    return _avg_pool(
        "avg_pool2d", 2, input, kernel_size, stride, padding, ceil_mode, count_include_pad,
        divisor_override,
    )  # fmt: skip


@composite(formula="mean of input over each window")
def avg_pool3d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """The mean of each window of a volume (N, C, D, H, W) or (C, D, H, W); see `avg_pool2d`."""
    return _avg_pool(
        "avg_pool3d", 3, input, kernel_size, stride, padding, ceil_mode, count_include_pad,
        divisor_override,
    )  # fmt: skip


def _avg_pool(
    op: str,
    count: int,
    input: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None,
) -> Any:
    size, stride, padding = _windows(
        op, count, input, kernel_size, stride, padding, (1,) * count, ceil_mode
    )
    if divisor == 0:
        raise ValueError(f"{op}: divisor_override is 0")
    return over_batch(
        op,
        count,
        input,
        lambda x: avg_pool(
            x, size, stride, padding, bool(ceil_mode), bool(count_include_pad), divisor
        ),
    )


# ---- a given number of windows ------------------------------------------------------------------


def _cells(n: int, count: int) -> list[tuple[int, int]]:
    """Start and end of the `count` windows that cover n elements; neighbours may share one."""
    return [(i * n // count, -(-(i + 1) * n // count)) for i in range(count)]


@composite(formula="mean of input[floor(i n / m) : ceil((i + 1) n / m)]")
def adaptive_avg_pool1d(input: Any, output_size: Any) -> Any:
    """The means of `output_size` windows of a sequence (N, C, L) or (C, L).

    See `adaptive_avg_pool2d`.
    """
    return _adaptive_avg_pool("adaptive_avg_pool1d", 1, input, output_size)


@composite(formula="mean of input[floor(i n / m) : ceil((i + 1) n / m)], along each axis")
def adaptive_avg_pool2d(input: Any, output_size: Any) -> Any:
    """The means of a grid of windows that covers an image of any size.

    input : (N, C, H, W), or (C, H, W) for one image, float
    output_size : H' and W', or an int for both; None keeps the input's size

    Returns (N, C, H', W'). Window i of m over n elements is floor(i n / m) to ceil((i + 1) n / m).
    """
    return _adaptive_avg_pool("adaptive_avg_pool2d", 2, input, output_size)


def _adaptive_avg_pool(op: str, count: int, input: Any, output_size: Any) -> Any:
    goal = _goal(op, count, input, output_size)
    space = input.shape[-count:]
    if all(n % m == 0 for n, m in zip(space, goal, strict=True)):
        size = tuple([n // m for n, m in zip(space, goal, strict=True)])
        return over_batch(
            op, count, input, lambda x: avg_pool(x, size, size, (0,) * count, False, True, None)
        )
    data = input.data if isinstance(input, TensorBase) else input
    xp = array_module(data)
    along = [
        xp.asarray(_averages(n, m), dtype=data.dtype) for n, m in zip(space, goal, strict=True)
    ]
    out = matmul(input, along[-1].T)
    return matmul(along[0], out) if count == 2 else out


@lru_cache(maxsize=64)
def _averages(n: int, count: int) -> np.ndarray:
    """The matrix (count, n) that takes n numbers to the means of their `count` windows."""
    matrix = np.zeros((count, n))
    for i, (start, end) in enumerate(_cells(n, count)):
        matrix[i, start:end] = 1 / (end - start)
    return matrix


@op(
    x=_max_pool_dx,
    formula="max of x over each of a number of windows",
    kink=_tie(1, "x", output_size=(1,), return_indices=False),
)
def adaptive_max_pool(x: Any, output_size: Any, return_indices: bool) -> Any:
    """The largest of each of a given number of windows, for any number of spatial axes; unchecked.

    x : (N, C, *S), output_size : one int for each spatial axis
    """
    space, given = x.shape[2:], None
    if all(n % m == 0 for n, m in zip(space, output_size, strict=True)):
        size = tuple([n // m for n, m in zip(space, output_size, strict=True)])
        given = size, size, (0,) * len(size), (1,) * len(size)
        out, index = kernels.max_pool(x, *given, False)
    else:
        xp = array_module(x)
        plane = xp.arange(math.prod(space)).reshape(space)
        index = xp.empty((*x.shape[:2], *output_size), "int64")
        grid = [_cells(n, m) for n, m in zip(space, output_size, strict=True)]
        for cell in itertools.product(*map(range, output_size)):
            part = tuple([slice(*cells[i]) for cells, i in zip(grid, cell, strict=True)])
            first = _rows(x[..., *part]).argmax(-1)
            index[..., *cell] = plane[part].reshape(-1)[first]
        index = channels_last(index)
        out = max_pool_take(x, index)
    return _pooled(out, index, given, return_indices)


@composite(
    formula="max of input[floor(i n / m) : ceil((i + 1) n / m)]",
    kink=_tie(1, output_size=1),
)
def adaptive_max_pool1d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """The largest of each of `output_size` windows of a sequence (N, C, L) or (C, L).

    See `adaptive_max_pool2d`.
    """
    return _adaptive_max_pool("adaptive_max_pool1d", 1, input, output_size, return_indices)


@composite(
    formula="max of input[floor(i n / m) : ceil((i + 1) n / m)], along each axis",
    kink=_tie(2, output_size=1),
)
def adaptive_max_pool2d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """The largest of each window of a grid that covers an image of any size.

    input : (N, C, H, W), or (C, H, W) for one image, float
    output_size : H' and W', or an int for both; None keeps the input's size
    return_indices : return (values, indices): places in the plane of H W, read row by row (int64)

    Returns (N, C, H', W'). Window i of m over n elements is floor(i n / m) to ceil((i + 1) n / m).
    """
    return _adaptive_max_pool("adaptive_max_pool2d", 2, input, output_size, return_indices)


def _adaptive_max_pool(
    op: str, count: int, input: Any, output_size: Any, return_indices: bool
) -> Any:
    goal = _goal(op, count, input, output_size)
    return over_batch(op, count, input, lambda x: adaptive_max_pool(x, goal, return_indices))


def _goal(op: str, count: int, input: Any, output_size: Any) -> tuple[int, ...]:
    """The output's size along each axis, with the input's where None is given."""
    _checks.rank(op, "input", input, count + 1, count + 2)
    _checks.floating(op, "input", input)
    space = input.shape[-count:]
    if not hasattr(output_size, "__index__"):
        given = (None,) * count if output_size is None else tuple(output_size)
        if len(given) == count:
            output_size = [n if m is None else m for n, m in zip(space, given, strict=True)]
    goal = _checks.sizes(op, "output_size", output_size, count, 1)
    windows(op, space, (1,) * count, (1,) * count, pairs([0] * count), (1,) * count)
    return goal
