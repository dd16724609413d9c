"""Max pooling compiled by Numba. The definition is `reference.pooling`; here are the same bits.

The loops run along the channels, which are contiguous: the compiler makes vector instructions of
them. One or two spatial axes are taken as three with leading axes of one place.
"""

import math
from typing import Any

import numpy as np
from numba import prange

from minidl_kernels.cpu.compiling import compiled, helper
from minidl_kernels.generic import pooling as generic
from minidl_kernels.generic.arrays import channels_first, channels_last

__all__ = ["max_pool", "max_pool_input", "warm_up"]

Ints = tuple[int, ...]


def max_pool(
    x: Any, size: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil_mode: bool
) -> tuple[Any, Any]:
    """Maximum of each window and its place: x (N, C, *S) -> out, index (N, C, *P)."""
    if x.dtype not in (np.float32, np.float64):
        return generic.max_pool(x, size, stride, padding, dilation, ceil_mode)
    x, spatial = np.ascontiguousarray(channels_last(x)), x.shape[2:]
    out = generic.output_sizes(spatial, size, stride, padding, dilation, ceil_mode)
    n, c, missing = x.shape[0], x.shape[-1], 3 - len(size)
    ones, none = (1,) * missing, (0,) * missing
    best, index = np.empty((n, *out, c), x.dtype), np.empty((n, *out, c), np.int64)
    _max_pool.sized(
        x.size,
        x.reshape(n, *ones, *spatial, c),
        best.reshape(n, *ones, *out, c),
        index.reshape(n, *ones, *out, c),
        (*ones, *size),
        (*ones, *stride),
        (*none, *padding),
        (*ones, *dilation),
        # as wide as the numbers, so that one vector instruction compares and another one chooses
        np.empty(0, np.int32 if x.itemsize == 4 and math.prod(spatial) < 2**31 else np.int64),
    )
    return channels_first(best), channels_first(index)


@compiled(parallel=True)
def _max_pool(
    x: Any, best: Any, index: Any, size: Any, stride: Any, padding: Any, dilation: Any, kind: Any
) -> None:
    images, deep, high, wide, channels = best.shape
    for task in prange(images * deep * high):  # a row of windows, which no other task touches
        n, i, j = task // (deep * high), task // high % deep, task % high
        places = np.empty(channels, kind.dtype)
        for k in range(wide):
            a = i * stride[0] - padding[0]
            b = j * stride[1] - padding[1]
            c = k * stride[2] - padding[2]
            _window(x, n, a, b, c, size, dilation, best[n, i, j, k], places)
            where = index[n, i, j, k]
            for m in range(channels):
                where[m] = places[m]


@helper
def _window(
    x: Any,
    n: int,
    a: int,
    b: int,
    c: int,
    size: Any,
    dilation: Any,
    values: Any,
    places: Any,
) -> None:
    """The largest number of a window, channel by channel, and its place in the plane."""
    _, planes, height, width, channels = x.shape
    values[:] = -np.inf
    places[:] = _first(a, planes, dilation[0]) * height * width + (
        _first(b, height, dilation[1]) * width + _first(c, width, dilation[2])
    )
    for d in range(a, a + size[0] * dilation[0], dilation[0]):
        for h in range(b, b + size[1] * dilation[1], dilation[1]):
            for w in range(c, c + size[2] * dilation[2], dilation[2]):
                if 0 <= d < planes and 0 <= h < height and 0 <= w < width:
                    row, place = x[n, d, h, w], places.dtype.type((d * height + h) * width + w)
                    for m in range(channels):
                        value, largest = row[m], values[m]
                        wins = (value > largest) | (value != value)
                        values[m] = value if wins else largest
                        places[m] = place if wins else places[m]


@helper
def _first(start: int, places: int, step: int) -> int:
    """The first place of a window that is not before the input, at most the last place there is."""
    if start < 0:
        start %= step
    return min(start, places - 1)


def max_pool_input(g: Any, index: Any, shape: Ints) -> Any:
    """Add each g at the place of its maximum: g, index (N, C, *P) -> `shape` (N, C, *S)."""
    if g.dtype not in (np.float32, np.float64):
        return generic.max_pool_input(g, index, shape)
    n, c, *spatial = shape
    gx = np.zeros((n, *spatial, c), g.dtype)
    g, index = np.ascontiguousarray(channels_last(g)), np.ascontiguousarray(channels_last(index))
    rows = (n, g.size // (n * c) if g.size else 0, c)
    flat = gx.reshape(n, math.prod(spatial), c)
    if _scatter.sized(g.size, g.reshape(rows), index.reshape(rows), flat):
        raise IndexError("max_pool_input: an index is outside of the input's plane")
    return channels_first(gx)


@compiled(parallel=True)
def _scatter(g: Any, index: Any, gx: Any) -> int:
    """Add every g at its place, and return how many places are outside of the plane."""
    outside = 0
    for n in prange(g.shape[0]):  # windows may overlap, images do not
        for p in range(g.shape[1]):
            for c in range(g.shape[2]):
                place = index[n, p, c]
                if 0 <= place < gx.shape[1]:
                    gx[n, place, c] += g[n, p, c]
                else:
                    outside += 1
    return outside


def warm_up(dtype: str) -> None:
    """Call each kernel once."""
    x = np.zeros((1, 1, 2, 2), dtype)
    out, index = max_pool(x, (2, 2), (2, 2), (0, 0), (1, 1), False)
    max_pool_input(out, index, x.shape)
