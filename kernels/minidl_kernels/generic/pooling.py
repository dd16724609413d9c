"""Max and average pooling in array code. The definition is `reference.pooling`.

Loops run over the places of a window, and each step treats that place of all windows at once.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl_kernels.generic.arrays import (
    array_module,
    channels_first,
    channels_last,
    taps,
    wide,
)
from minidl_kernels.generic.indexing import index_add

__all__ = [
    "avg_pool",
    "avg_pool_input",
    "index_dtype",
    "max_pool",
    "max_pool_input",
    "output_sizes",
]

Ints = tuple[int, ...]


def max_pool(
    x: Any, size: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil_mode: bool
) -> tuple[Any, Any]:
    """Maximum of each window and its place: x (N, C, *S) -> out, index (N, C, *P)."""
    xp, x, spatial = array_module(x), channels_last(x), x.shape[2:]
    out = output_sizes(spatial, size, stride, padding, dilation, ceil_mode)
    shape = (x.shape[0], *out, x.shape[-1])
    best, index = xp.empty(shape, x.dtype), xp.empty(shape, index_dtype(spatial))
    best[...] = -math.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    index[...] = _first(xp, out, spatial, stride, padding, dilation)[..., None]
    plane = xp.arange(math.prod(spatial), dtype=index.dtype).reshape(*spatial, 1)
    for _, outputs, inputs in taps(spatial, out, size, stride, padding, dilation):
        value = x[inputs]
        wins = value > best[outputs]
        if x.dtype.kind == "f":
            wins |= value != value  # NaN
        best[outputs] = xp.maximum(best[outputs], value)  # NaN if one of them is
        index[outputs] = xp.where(wins, plane[inputs[1:]], index[outputs])
    return channels_first(best), channels_first(index)


def index_dtype(spatial: Ints) -> Any:
    """The dtype of places in a plane: int32, so that they take no more memory than float32 does."""
    return np.int32 if math.prod(spatial) < 2**31 else np.int64


def max_pool_input(g: Any, index: Any, shape: Ints, windows: Any = None) -> Any:
    """Add each g at the place of its maximum: g, index (N, C, *P) -> `shape` (N, C, *S)."""
    xp, (n, c, *spatial) = array_module(g), shape
    g, index = channels_last(g), channels_last(index)
    image = xp.arange(n).reshape(n, *(1 for _ in spatial), 1) * math.prod(spatial)
    places = (index + image) * c + xp.arange(c)
    gx = index_add(g.reshape(-1, 1), places.reshape(-1), math.prod(shape))
    return channels_first(gx.reshape(n, *spatial, c))


def avg_pool(
    x: Any,
    size: Ints,
    stride: Ints,
    padding: Ints,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None,
) -> Any:
    """Mean of each window: x (N, C, *S) -> (N, C, *P)."""
    dtype, spatial = x.dtype, x.shape[2:]
    out = output_sizes(spatial, size, stride, padding, (1,) * len(size), ceil_mode)
    total = channels_last(x).astype(wide(dtype), copy=False)
    for axis in range(len(size)):  # the sum over a window is a sum along one axis after the other
        shape = (*total.shape[: axis + 1], out[axis], *total.shape[axis + 2 :])
        sums = array_module(x).zeros(shape, total.dtype)
        for outputs, inputs in _places(axis, spatial, out, size, stride, padding):
            sums[outputs] += total[inputs]
        total = sums
    total /= _divisors(total, spatial, size, stride, padding, count_include_pad, divisor)
    return channels_first(total.astype(dtype, copy=False))


def avg_pool_input(
    g: Any,
    shape: Ints,
    size: Ints,
    stride: Ints,
    padding: Ints,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None,
) -> Any:
    """Gradient of `avg_pool` with respect to its input: g (N, C, *P) -> `shape` (N, C, *S)."""
    dtype, spatial, out = g.dtype, shape[2:], g.shape[2:]
    gx = channels_last(g).astype(wide(dtype), copy=False)
    gx = gx / _divisors(gx, spatial, size, stride, padding, count_include_pad, divisor)
    for axis in range(len(size)):
        wider = (*gx.shape[: axis + 1], spatial[axis], *gx.shape[axis + 2 :])
        spread = array_module(g).zeros(wider, gx.dtype)
        for outputs, inputs in _places(axis, spatial, out, size, stride, padding):
            spread[inputs] += gx[outputs]
        gx = spread
    return channels_first(gx.astype(dtype, copy=False))


def output_sizes(
    spatial: Ints, size: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil_mode: bool
) -> Ints:
    """How many windows there are along each axis; see `reference.pooling.output_sizes`."""
    sizes = []
    for s, k, step, pad, d in zip(spatial, size, stride, padding, dilation, strict=True):
        room = s + 2 * pad - d * (k - 1) - 1
        n = (room + (step - 1 if ceil_mode else 0)) // step + 1
        sizes.append(max(0, min(n, -(-(s + pad) // step)) if ceil_mode else n))
    return tuple(sizes)


def _first(xp: Any, out: Ints, spatial: Ints, stride: Ints, padding: Ints, dilation: Ints) -> Any:
    """The place in the plane of each window's first element: the maximum of a window of -inf."""
    first = xp.zeros((), np.int64)
    for n, s, step, pad, d in zip(out, spatial, stride, padding, dilation, strict=True):
        start = xp.arange(n) * step - pad
        start = xp.where(start < 0, start % d, start)  # the first tap that is not in the padding
        first = first[..., None] * s + xp.minimum(start, s - 1)
    return first


def _places(
    axis: int, spatial: Ints, out: Ints, size: Ints, stride: Ints, padding: Ints
) -> Iterator[tuple[Any, Any]]:
    """The taps of a window along one axis: (outputs, inputs), both to be indexed on the left."""
    one, before = slice(axis, axis + 1), (slice(None),) * (axis + 1)
    along = taps(spatial[one], out[one], size[one], stride[one], padding[one], (1,))
    for _, (_, outputs), (_, inputs) in along:
        yield (*before, outputs), (*before, inputs)


def _divisors(
    total: Any,
    spatial: Ints,
    size: Ints,
    stride: Ints,
    padding: Ints,
    count_include_pad: bool,
    divisor: int | None,
) -> Any:
    """What the sum of each window is divided by, to broadcast against total (N, *P, C)."""
    if divisor is not None:
        return divisor
    counts = np.ones((), np.int64)
    for n, s, k, step, pad in zip(total.shape[1:-1], spatial, size, stride, padding, strict=True):
        start = np.arange(n) * step - pad
        end = np.minimum(start + k, s + pad)
        if not count_include_pad:
            start, end = np.maximum(start, 0), np.minimum(end, s)
        counts = counts[..., None] * (end - start)
    if counts.size and (counts == counts.flat[0]).all():
        return int(counts.flat[0])
    return array_module(total).asarray(counts[..., None], dtype=total.dtype)
