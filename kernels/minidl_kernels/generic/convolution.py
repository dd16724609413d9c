"""Convolution, its gradients, unfold and fold in array code. Defined in `reference.convolution`.

The windows of x are laid out as a matrix, a row for each output position and a column for each
weight of a filter (im2col). Then a convolution is one matrix product in each group:

    y = cols @ w        gw = cols.T @ g        gx: g @ w[k] is added to x at every tap k

It runs a few images at a time, so that the columns stay in the cache. A depthwise convolution has
one input channel in each group; there is no matrix to speak of, so it goes tap by tap.
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

__all__ = ["conv", "conv_input", "conv_weight", "fold", "unfold"]

Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]

# Bytes of columns at a time: what the cache of a processor holds (measured), and on a device what
# keeps it busy without filling its memory.
CPU_CHUNK = 2 << 20
DEVICE_CHUNK = 256 << 20
FEW = 4  # channels


def conv(
    x: Any,
    w: Any,
    stride: Ints,
    padding: Pairs,
    dilation: Ints,
    groups: int,
    bias: Any = None,
    activation: str | None = None,
) -> Any:
    """Convolution: x (N, C, *S), w (O, C / groups, *K) -> (N, O, *P), channels-last in memory."""
    y = _conv(x, w, stride, padding, dilation, groups)
    if bias is not None:
        y += bias.reshape(-1, *[1] * len(stride))
    if activation == "relu":
        y = array_module(y).maximum(y, 0, out=y)
    return y


def _conv(x: Any, w: Any, stride: Ints, padding: Pairs, dilation: Ints, groups: int) -> Any:
    xp, (n, c, *spatial), (o, _, *kernel) = array_module(x), x.shape, w.shape
    out = output_sizes(spatial, kernel, stride, padding, dilation)
    if groups == c > 1:
        return _depthwise(x, w, out, stride, padding, dilation)
    y = xp.empty((n, *out, o), wide(x.dtype))
    weights = _filters(w, groups).swapaxes(1, 2)
    for images, cols in _columns(x, kernel, out, stride, padding, dilation, groups):
        xp.matmul(cols, weights, out=_rows(y[images], groups))
    return channels_first(y.astype(x.dtype, copy=False))


def conv_input(
    g: Any, w: Any, shape: Ints, stride: Ints, padding: Pairs, dilation: Ints, groups: int
) -> Any:
    """Gradient with respect to x: g (N, O, *P), w (O, C / groups, *K) -> `shape` (N, C, *S)."""
    xp, dtype, (n, c, *spatial) = array_module(g), g.dtype, shape
    (o, each, *kernel), out = w.shape, g.shape[2:]
    if groups == c > 1:
        return _depthwise_input(g, w, shape, stride, padding, dilation)
    g = xp.ascontiguousarray(channels_last(g), wide(dtype))
    gx = xp.zeros((n, *spatial, c), g.dtype)
    filters = w.astype(g.dtype, copy=False).reshape(groups, o // groups, each, math.prod(kernel))
    filters = xp.ascontiguousarray(xp.moveaxis(filters, 3, 0))
    steps = list(taps(spatial, out, kernel, stride, _before(padding), dilation))
    chunk = math.prod(kernel) * math.prod(out) * c * g.itemsize
    for images in _chunks(xp, n, each=chunk):
        part = g[images]
        share = xp.empty((*part.shape[:-1], c), g.dtype)
        for weights, (_, outputs, inputs) in zip(filters, steps, strict=True):
            xp.matmul(_rows(part, groups), weights, out=_rows(share, groups))
            gx[images][inputs] += share[outputs]
    return channels_first(gx.astype(dtype, copy=False))


def conv_weight(
    g: Any, x: Any, shape: Ints, stride: Ints, padding: Pairs, dilation: Ints, groups: int
) -> Any:
    """Gradient with respect to w: g (N, O, *P), x (N, C, *S) -> `shape` (O, C / groups, *K)."""
    xp, dtype, (o, each, *kernel), out = array_module(g), g.dtype, shape, g.shape[2:]
    if groups == x.shape[1] > 1:
        return _depthwise_weight(g, x, shape, stride, padding, dilation)
    g = xp.ascontiguousarray(channels_last(g), wide(dtype))
    gw = xp.zeros((groups, math.prod(kernel) * each, o // groups), g.dtype)
    for images, cols in _columns(x, kernel, out, stride, padding, dilation, groups):
        gw += xp.matmul(cols.swapaxes(1, 2), _rows(g[images], groups))
    gw = gw.swapaxes(1, 2).reshape(o, *kernel, each)
    return xp.ascontiguousarray(channels_first(gw), dtype)


def unfold(x: Any, size: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Any:
    """The windows of x as columns: x (N, C, *S) -> (N, C * prod(size), L)."""
    n, c, *spatial = x.shape
    out = output_sizes(spatial, size, stride, padding, dilation)
    cols = array_module(x).zeros((n, c, *size, *out), x.dtype)
    x = channels_last(x)
    for k, outputs, inputs in taps(spatial, out, size, stride, _before(padding), dilation):
        channels_last(cols[:, :, *k])[outputs] = x[inputs]
    return cols.reshape(n, c * math.prod(size), math.prod(out))


def fold(cols: Any, shape: Ints, size: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Any:
    """The transpose of `unfold`: cols (N, C * prod(size), L) -> `shape` (N, C, *S)."""
    n, c, *spatial = shape
    out = output_sizes(spatial, size, stride, padding, dilation)
    x = array_module(cols).zeros((n, *spatial, c), wide(cols.dtype))
    cols = cols.reshape(n, c, *size, *out)
    for k, outputs, inputs in taps(spatial, out, size, stride, _before(padding), dilation):
        x[inputs] += channels_last(cols[:, :, *k])[outputs]
    return channels_first(x.astype(cols.dtype, copy=False))


def output_sizes(spatial: Any, kernel: Any, stride: Ints, padding: Pairs, dilation: Ints) -> Ints:
    return tuple(
        max(0, (s + before + after - d * (k - 1) - 1) // step + 1)
        for s, k, step, (before, after), d in zip(
            spatial, kernel, stride, padding, dilation, strict=True
        )
    )


def _before(padding: Pairs) -> Ints:
    return tuple(before for before, _ in padding)


def _chunks(xp: Any, n: int, *, each: int) -> Iterator[slice]:
    """Cut the batch into slices of so many images that their columns, `each` bytes, fit a chunk."""
    step = max(1, (CPU_CHUNK if xp is np else DEVICE_CHUNK) // max(1, each))
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


def _filters(w: Any, groups: int) -> Any:
    """(O, C / groups, *K) -> (groups, O / groups, K * C / groups), in the order of the columns."""
    w = channels_last(w).astype(wide(w.dtype), copy=False)
    return w.reshape(groups, w.shape[0] // groups, math.prod(w.shape[1:]))


def _rows(y: Any, groups: int) -> Any:
    """(n, *P, O) -> (groups, n * P, O / groups): a view, if y is contiguous."""
    rows = y.reshape(math.prod(y.shape[:-1]), groups, y.shape[-1] // groups)
    return rows.swapaxes(0, 1)


def _columns(
    x: Any, kernel: Any, out: Ints, stride: Ints, padding: Pairs, dilation: Ints, groups: int
) -> Iterator[tuple[slice, Any]]:
    """Yield (images, cols): a slice of the batch, its columns (groups, n * P, K * C / groups).

    The next step overwrites the columns of the last one.
    """
    xp, n, c, dtype = array_module(x), x.shape[0], x.shape[1], wide(x.dtype)
    x = channels_last(x)
    padded = any(before or after for before, after in padding)
    if math.prod(kernel) == math.prod(stride) == 1 and not padded:  # x is its own columns
        yield slice(0, n), _rows(xp.ascontiguousarray(x, dtype), groups)
        return
    spatial = x.shape[1:-1]
    around = tuple(s + before + after for s, (before, after) in zip(spatial, padding, strict=True))
    inside = tuple(slice(b, b + s) for s, (b, _) in zip(spatial, padding, strict=True))
    depth, positions = math.prod(kernel) * c // groups, math.prod(out)
    chunk = groups * depth * positions * np.dtype(dtype).itemsize
    chunks = list(_chunks(xp, n, each=chunk))
    most = chunks[0].stop if chunks else 0
    buffer = xp.empty(most * positions * groups * depth, dtype)
    canvas = None
    if padded or x.dtype != dtype or not x.flags.c_contiguous:
        canvas = xp.zeros((most, *around, c), dtype)
    for images in chunks:
        part = x[images]
        m = part.shape[0]
        if canvas is not None:
            canvas[:m, *inside] = part
            part = canvas[:m]
        windows = _windows(part, kernel, out, stride, dilation, groups)
        cols = buffer[: windows.size]
        # Memory is copied fastest in long runs: along the channels, or if there are few along the
        # output positions. The columns are then stored transposed; the product takes either.
        if c // groups > FEW:
            cols.reshape(windows.shape)[...] = windows
            yield images, cols.reshape(m * positions, groups, depth).swapaxes(0, 1)
        else:
            axes = range(windows.ndim)
            windows = windows.transpose(*axes[len(out) + 1 :], *axes[: len(out) + 1])
            cols.reshape(windows.shape)[...] = windows
            yield images, cols.reshape(groups, depth, m * positions).swapaxes(1, 2)


def _windows(x: Any, kernel: Any, out: Ints, stride: Ints, dilation: Ints, groups: int) -> Any:
    """(n, *S, C) -> (n, *P, groups, *K, C / groups): every window of x, as a view."""
    image, *steps, channel = x.strides
    each = x.shape[-1] // groups
    return array_module(x).lib.stride_tricks.as_strided(
        x,
        (x.shape[0], *out, groups, *kernel, each),
        (
            image,
            *(step * s for step, s in zip(steps, stride, strict=True)),
            each * channel,
            *(step * d for step, d in zip(steps, dilation, strict=True)),
            channel,
        ),
    )


def _depthwise(x: Any, w: Any, out: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Any:
    """`conv` with a group for each channel: the output is a sum over taps of shifted inputs."""
    xp, dtype, (n, c, *spatial), (o, _, *kernel) = array_module(x), x.dtype, x.shape, w.shape
    x = xp.ascontiguousarray(channels_last(x), wide(dtype))[..., None]
    y = xp.zeros((n, *out, c, o // c), x.dtype)
    filters = _along_rows(w, c, out)
    steps = list(taps(spatial, out, kernel, stride, _before(padding), dilation))
    chunk = 2 * y.itemsize * math.prod(y.shape[1:])
    for images in _chunks(xp, n, each=chunk):
        for weights, (_, outputs, inputs) in zip(filters, steps, strict=True):
            y[images][outputs] += x[images][inputs] * weights[outputs[-1]]
    return channels_first(y.reshape(n, *out, o).astype(dtype, copy=False))


def _depthwise_input(
    g: Any, w: Any, shape: Ints, stride: Ints, padding: Pairs, dilation: Ints
) -> Any:
    """`conv_input` with a group for each channel."""
    xp, dtype, (n, c, *spatial) = array_module(g), g.dtype, shape
    out, (o, _, *kernel) = g.shape[2:], w.shape
    g = xp.ascontiguousarray(channels_last(g), wide(dtype)).reshape(n, *out, c, o // c)
    gx = xp.zeros((n, *spatial, c), g.dtype)
    filters = _along_rows(w, c, out)
    steps = list(taps(spatial, out, kernel, stride, _before(padding), dilation))
    chunk = 2 * g.itemsize * math.prod(g.shape[1:])
    for images in _chunks(xp, n, each=chunk):
        for weights, (_, outputs, inputs) in zip(filters, steps, strict=True):
            product = g[images][outputs] * weights[outputs[-1]]
            gx[images][inputs] += product.sum(axis=-1) if o > c else product[..., 0]
    return channels_first(gx.astype(dtype, copy=False))


def _depthwise_weight(
    g: Any, x: Any, shape: Ints, stride: Ints, padding: Pairs, dilation: Ints
) -> Any:
    """`conv_weight` with a group for each channel."""
    xp, dtype, (n, c, *spatial) = array_module(g), g.dtype, x.shape
    out, (o, _, *kernel) = g.shape[2:], shape
    x = xp.ascontiguousarray(channels_last(x), wide(dtype))[..., None]
    g = xp.ascontiguousarray(channels_last(g), wide(dtype)).reshape(n, *out, c, o // c)
    gw = xp.zeros((math.prod(kernel), o), g.dtype)
    steps = list(taps(spatial, out, kernel, stride, _before(padding), dilation))
    chunk = 2 * g.itemsize * math.prod(g.shape[1:])
    for images in _chunks(xp, n, each=chunk):
        for total, (_, outputs, inputs) in zip(gw, steps, strict=True):
            product = x[images][inputs] * g[images][outputs]
            product = product.reshape(math.prod(product.shape[:-2]), o)
            total += xp.ones(len(product), g.dtype) @ product  # a quick sum over the rows
    return xp.ascontiguousarray(gw.T, dtype).reshape(shape)


def _along_rows(w: Any, c: int, out: Ints) -> Any:
    """(O, 1, *K) -> (K, P[-1], C, O / C): a tap's weights repeated along a row of the output.

    The product of a row of the input and a row of these has no short inner loop.
    """
    filters = _filters(w, c).transpose(2, 0, 1)[:, None]
    xp, (k, _, _, m) = array_module(w), filters.shape
    return xp.ascontiguousarray(xp.broadcast_to(filters, (k, out[-1], c, m)))
