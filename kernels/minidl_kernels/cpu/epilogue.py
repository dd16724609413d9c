"""Bias, activation and max-pool after a convolution, compiled. Defined in `reference.epilogue`.

Bias and relu are done while the convolution writes its results (`direct`, `winograd`). The pool
reads these once more, unless it is part of the convolution (`conv_pool.py`), eight channels at a
time, and keeps a byte for each maximum; backward, the same byte says where the gradient goes, and
the gradient of the bias is added up on the way. The sums run over fixed chunks of rows, so they are
the same at any number of threads.

Channels that do not fill vectors, and other dtypes than float32, are left to array code.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from minidl_kernels import plans
from minidl_kernels.cpu.conv_pool import OFF, direct_pool
from minidl_kernels.cpu.convolution import conv
from minidl_kernels.cpu.launch import floats, launch, octets, record
from minidl_kernels.cpu.memory import address, contiguous
from minidl_kernels.cpu.simd import (
    LANES,
    absolute,
    load,
    load_octets,
    splat,
    store,
    store_octets,
    where_greater,
    where_wins,
)
from minidl_kernels.generic import epilogue as generic
from minidl_kernels.generic.arrays import channels_first, channels_last
from minidl_kernels.generic.convolution import output_sizes

__all__ = ["conv_pool", "conv_pool_gradient", "relu_gradient", "warm_up"]

Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]

CHUNKS = 16  # of the sums for the bias
FEW = 1 << 14  # numbers below which one thread is faster


class Pool(NamedTuple):
    """Windows of (N, H, W, C), to (N, P, Q, C)."""

    n: int
    h: int
    w: int
    c: int
    p: int
    q: int
    tall: int  # a window
    wide: int
    relu: int
    x: int  # addresses: of what is pooled, or its gradient
    y: int
    place: int
    sums: int = 0  # (chunks, C)
    chunks: int = 0

    def packed(self) -> Any:
        """The numbers in a row, which is how a record of them lies in memory."""
        return np.array(self, np.intp)


_pool = record(np.dtype([(name, np.intp) for name in Pool._fields]))


def conv_pool(
    x: Any,
    w: Any,
    stride: Ints,
    padding: Pairs,
    dilation: Ints,
    groups: int,
    bias: Any,
    activation: str | None,
    size: Ints,
) -> tuple[Any, Any]:
    """Convolution, bias, activation, maximum: x (N, C, H, W) -> y, place (N, O, P, Q), uint8."""
    o, space = w.shape[0], output_sizes(x.shape[2:], w.shape[2:], stride, padding, dilation)
    out = (x.shape[0], space[0] // size[0], space[1] // size[1], o)
    choice = plans.choose("forward", x.shape, w.shape, stride, padding, dilation, groups, x.dtype)
    if choice.algorithm == "direct" and o % LANES == 0 and 0 not in (x.size, *out):
        y, place = np.empty(out, np.float32), np.empty(out, np.uint8)
        before = tuple([b for b, _ in padding])
        options = stride, before, dilation, groups, bias, activation == "relu"
        if direct_pool(channels_last(x), w, *options, size, y, place):
            return channels_first(y), channels_first(place)
    full = conv(x, w, stride, padding, dilation, groups, bias, activation)
    n, o, height, width = full.shape
    if full.dtype != np.float32 or o % LANES or 0 in out:
        return generic.pool(full, size, activation == "relu")
    full = channels_last(full)
    y, place = np.empty(out, np.float32), np.empty(out, np.uint8)
    args = Pool(
        n, height, width, o, out[1], out[2], size[0], size[1], int(activation == "relu"),
        address(full), address(y), address(place),
    ).packed()  # fmt: skip
    launch(pool_row, n * out[1], args, 0, full.size < FEW)
    return channels_first(y), channels_first(place)


def pool_row(task: int, room: int, args: int) -> None:
    """The maxima of one row of windows."""
    p = _pool(args)
    x, y, places, zero = floats(p.x), floats(p.y), octets(p.place), splat(np.float32(0))
    n, row = task // p.p, task % p.p
    first = ((n * p.h + row * p.tall) * p.w) * p.c
    for column in range(p.q):
        out = (task * p.q + column) * p.c
        for c in range(0, p.c, LANES):
            at = first + column * p.wide * p.c + c
            best, place = load(x, at), zero
            for i in range(p.tall):
                for j in range(p.wide):
                    if i + j > 0:
                        value = load(x, at + (i * p.w + j) * p.c)
                        k = splat(np.float32(i * p.wide + j))
                        place = where_wins(value, best, k, place)
                        best = where_wins(value, best, value, best)
            if p.relu:
                place = where_wins(best, zero, place, splat(np.float32(OFF)))
            store(y, out + c, best)
            store_octets(places, out + c, place)


def conv_pool_gradient(g: Any, place: Any, shape: Ints, size: Ints) -> tuple[Any, Any]:
    """The gradient before the activation, (N, O, H, W), and that of the bias, (O,)."""
    n, o, height, width = shape
    if g.dtype != np.float32 or o % LANES or 0 in g.shape:
        return generic.conv_pool_gradient(g, place, shape, size)
    g, place = contiguous(channels_last(g)), contiguous(channels_last(place))
    gy, sums = np.empty((n, height, width, o), g.dtype), np.empty((CHUNKS, o), g.dtype)
    p, q = g.shape[1:3]
    args = Pool(
        n, height, width, o, p, q, size[0], size[1], 0, address(gy), address(g), address(place),
        address(sums), CHUNKS,
    ).packed()  # fmt: skip
    launch(unpool_rows, CHUNKS, args, 0, gy.size < FEW)
    return channels_first(gy), sums.sum(axis=0)


def unpool_rows(task: int, room: int, args: int) -> None:
    """Put the gradients of a chunk of rows of windows in their places, zeros around them."""
    p = _pool(args)
    gy, g, places, sums = floats(p.x), floats(p.y), octets(p.place), floats(p.sums)
    zero, half, off = splat(np.float32(0)), splat(np.float32(0.5)), splat(np.float32(OFF))
    for c in range(0, p.c, LANES):
        store(sums, task * p.c + c, zero)
    rows = p.n * p.p
    for unit in range(rows * task // p.chunks, rows * (task + 1) // p.chunks):
        n, row = unit // p.p, unit % p.p
        last = p.h if row == p.p - 1 else (row + 1) * p.tall
        for r in range(row * p.tall, last):
            i = r - row * p.tall
            line = (n * p.h + r) * p.w * p.c
            for column in range(p.q):
                at = (unit * p.q + column) * p.c
                for c in range(0, p.c, LANES):
                    v, place = load(g, at + c), load_octets(places, at + c)
                    for j in range(p.wide):
                        here = splat(np.float32(i * p.wide + j))
                        if i >= p.tall:  # rows that no window has
                            here = splat(np.float32(-1))
                        kept = where_greater(half, absolute(place - here), v, zero)
                        store(gy, line + (column * p.wide + j) * p.c + c, kept)
                    if i == 0:
                        kept = where_greater(off, place, v, zero)
                        store(sums, task * p.c + c, load(sums, task * p.c + c) + kept)
            for k in range(p.q * p.wide * p.c, p.w * p.c, LANES):
                store(gy, line + k, zero)


def relu_gradient(g: Any, y: Any) -> tuple[Any, Any]:
    """The gradient through relu(z + bias): g, y (N, O, *P) -> of z, and of bias (O,)."""
    o = g.shape[1]
    if g.dtype != np.float32 or y.dtype != np.float32 or o % LANES or not g.size:
        return generic.relu_gradient(g, y)
    g, y = contiguous(channels_last(g)), contiguous(channels_last(y))
    gz, sums = np.empty(g.shape, g.dtype), np.empty((CHUNKS, o), g.dtype)
    pixels = math.prod(g.shape[:-1])
    args = Pool(
        pixels, 1, 1, o, 1, 1, 1, 1, 1, address(gz), address(g), address(y), address(sums), CHUNKS
    ).packed()
    launch(mask_pixels, CHUNKS, args, 0, g.size < FEW)
    return channels_first(gz), sums.sum(axis=0)


def mask_pixels(task: int, room: int, args: int) -> None:
    """The gradients of a chunk of pixels, where y is positive or NaN, and their sum."""
    p = _pool(args)
    gz, g, y, sums, zero = floats(p.x), floats(p.y), floats(p.place), floats(p.sums), np.float32(0)
    begin, end = p.n * task // p.chunks * p.c, p.n * (task + 1) // p.chunks * p.c
    for c in range(0, p.c, LANES):
        store(sums, task * p.c + c, splat(zero))
    for at in range(begin, end, p.c):
        for c in range(0, p.c, LANES):
            kept = where_wins(load(y, at + c), splat(zero), load(g, at + c), splat(zero))
            store(gz, at + c, kept)
            store(sums, task * p.c + c, load(sums, task * p.c + c) + kept)


def warm_up(dtype: str) -> None:
    """Call each kernel once."""
    x, w, bias = np.zeros((1, 16, 16, 16), dtype), np.zeros((16, 16, 1, 1), dtype), None
    y, place = conv_pool(x, w, (1, 1), ((0, 0),) * 2, (1, 1), 1, bias, "relu", (2, 2))
    conv_pool_gradient(y, place, x.shape, (2, 2))
    relu_gradient(x, x)
