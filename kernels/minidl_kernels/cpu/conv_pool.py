"""A direct convolution with max pooling behind it, whose output is never in memory.

A tile holds a window of 2 x 2 outputs times 16 channels in eight registers, so the maximum is taken
where the sums are, and what is written is that and its place: of the convolution's bytes a third.
Each step of a sum reads two vectors of weights, and for each output a number of x; a table says how
far that is from the first, which takes care of strides, dilation and channels.

Back, the gradient of the weights is made from the pooled one. A tile holds nine rows of gw, for
eight channels, and spreads a gradient to the outputs of its window in registers again. The sums run
over fixed chunks, which are added in order: the same bits at any number of threads.
"""

import functools
from typing import Any, NamedTuple

import numpy as np

from minidl_kernels.cpu.compiling import helper
from minidl_kernels.cpu.launch import floats, integers, launch, octets, record
from minidl_kernels.cpu.memory import address, contiguous
from minidl_kernels.cpu.simd import (
    LANES,
    fma,
    load,
    load_same,
    on_the_spot,
    splat,
    store,
    store_octets,
)
from minidl_kernels.cpu.windows import largest, taken

__all__ = ["direct_pool", "direct_pool_weight"]

Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]

TASKS = 32  # forward, where there are so many rows of windows
CHUNKS = 16  # of the sums of the gradient
ROWS = 9  # of gw in a tile: 3 x 3 taps
CACHED = 1 << 13  # numbers of the pooled gradient that are read once for each tile
FEW = 1 << 14  # products with a window below which one thread is faster


class Geometry(NamedTuple):
    """A convolution of x (N, H, W, C), zeros around it included, to windows (N, P, Q, O)."""

    n: int
    h: int
    w: int
    c: int
    p: int
    q: int
    o: int
    depth: int  # products in a sum
    down: int  # numbers of x from an output's first to that of the one below it
    right: int  # … beside it
    offsets: int  # address of a table: from an output's first number of x to the others
    each: int = 0  # rows of windows that are a task, or are read once for each tile
    x: int = 0  # addresses
    panels: int = 0  # weights (O / 16, depth, 16)
    bias: int = 0  # of the bias, or (chunks, O), the sums of its gradient
    relu: int = 0
    y: int = 0  # the maxima, or their gradient
    place: int = 0
    sums: int = 0  # (chunks, depth in whole tiles, O)
    chunks: int = 0


_geometry = record(np.dtype([(name, np.intp) for name in Geometry._fields]))


@functools.lru_cache(256)
def _sizes(
    x: Ints, kernel: Ints, stride: Ints, dilation: Ints, y: Ints
) -> tuple[Geometry, Any]:  # fmt: skip
    """What shapes alone say, and the table, for a network asks for the same ones again."""
    (n, h, w, c), (_, p, q, o) = x, y
    taps = (np.arange(many) * step for many, step in zip(kernel, dilation, strict=True))
    rows, columns = taps
    places = (rows[:, None, None] * w + columns[:, None]) * c + np.arange(c)
    depth = places.size
    offsets = np.zeros(-(-depth // ROWS) * ROWS, np.intp)
    offsets[:depth] = places.reshape(-1)
    down, right = stride[0] * w * c, stride[1] * c
    return Geometry(n, h, w, c, p, q, o, depth, down, right, address(offsets)), offsets


def _surrounded(x: Any, padding: Pairs) -> Any:
    """x (N, H, W, C) with zeros around it, in contiguous memory."""
    (top, bottom), (left, right) = padding
    if not (top or bottom or left or right):
        return contiguous(x)
    n, h, w, c = x.shape
    wider = np.zeros((n, top + h + bottom, left + w + right, c), x.dtype)
    wider[:, top : top + h, left : left + w] = x
    return wider


def direct_pool(
    x: Any, w: Any, stride: Ints, padding: Pairs, dilation: Ints, bias: Any, relu: bool, y: Any,
    place: Any,
) -> None:  # fmt: skip
    """Write the largest of each window of 2 x 2 of a convolution to y and place (N, P, Q, O).

    x : (N, H, W, C), w : (O, C, KH, KW); O in whole vectors
    """
    o, c, *kernel = w.shape
    x, blocks, panels = _surrounded(x, padding), -(-o // 16), w
    if o % 16:
        panels = np.zeros((blocks * 16, c, *kernel), np.float32)
        panels[:o] = w
    panels = np.ascontiguousarray(panels.reshape(blocks, 16, c, -1).transpose(0, 3, 2, 1))
    shift = np.zeros(o, np.float32) if bias is None else contiguous(bias.astype("f4", copy=False))
    p, _ = _sizes(x.shape, tuple(kernel), stride, dilation, y.shape)
    rows = p.n * p.p
    args = p._replace(
        each=-(-rows // min(TASKS, rows)), x=address(x), panels=address(panels),
        bias=address(shift), relu=int(relu), y=address(y), place=address(place),
    )  # fmt: skip
    launch(_maxima, -(-rows // args.each), args, 0, y.size * p.depth < FEW)


def _maxima(task: int, room: int, args: int) -> None:
    """Some rows of windows: their sums, the largest of each, and its place."""
    p = _geometry(args)
    x, panels, bias, offsets = floats(p.x), floats(p.panels), floats(p.bias), integers(p.offsets)
    y, places, zero = floats(p.y), octets(p.place), splat(np.float32(0))
    for row in range(task * p.each, min(p.n * p.p, task * p.each + p.each)):
        start = row // p.p * p.h * p.w * p.c + row % p.p * 2 * p.down
        for o in range(0, p.o, 16):
            for column in range(p.q):
                first = start + column * 2 * p.right
                a0, b0, c0, d0, a1, b1, c1, d1 = zero, zero, zero, zero, zero, zero, zero, zero
                for k in range(p.depth):
                    at, panel = first + offsets[k], o * p.depth + k * 16
                    left, right = load(panels, panel), load(panels, panel + LANES)
                    number = load_same(x, at)
                    a0, a1 = fma(number, left, a0), fma(number, right, a1)
                    number = load_same(x, at + p.right)
                    b0, b1 = fma(number, left, b0), fma(number, right, b1)
                    number = load_same(x, at + p.down)
                    c0, c1 = fma(number, left, c0), fma(number, right, c1)
                    number = load_same(x, at + p.down + p.right)
                    d0, d1 = fma(number, left, d0), fma(number, right, d1)
                out, shift = (row * p.q + column) * p.o + o, load(bias, o)
                best, place = largest(a0 + shift, b0 + shift, c0 + shift, d0 + shift, p.relu)
                store(y, out, best)
                store_octets(places, out, place)
                if o + LANES < p.o:
                    shift = load(bias, o + LANES)
                    best, place = largest(a1 + shift, b1 + shift, c1 + shift, d1 + shift, p.relu)
                    store(y, out + LANES, best)
                    store_octets(places, out + LANES, place)


def direct_pool_weight(
    g: Any, place: Any, x: Any, shape: Ints, stride: Ints, padding: Pairs, dilation: Ints
) -> tuple[Any, Any]:
    """The gradients of w, of `shape` (O, C, KH, KW), and of the bias.

    g, place : (N, P, Q, O), contiguous, O in whole vectors, x : (N, H, W, C)
    """
    o, c, *kernel = shape
    x = _surrounded(x, padding)
    p, offsets = _sizes(x.shape, tuple(kernel), stride, dilation, g.shape)
    chunks = min(CHUNKS, p.n * p.p)
    sums, biases = (
        np.empty((chunks, len(offsets), o), np.float32),
        np.empty((chunks, o), np.float32),
    )
    args = p._replace(
        each=max(1, CACHED // (p.q * o)), x=address(x), bias=address(biases), y=address(g),
        place=address(place), sums=address(sums), chunks=chunks,
    )  # fmt: skip
    launch(_chunk, chunks, args, 0, g.size * p.depth < FEW)
    gw = sums.sum(axis=0)[: p.depth].reshape(-1, c, o).transpose(2, 1, 0)
    return np.ascontiguousarray(gw).reshape(shape), biases.sum(axis=0)


def _chunk(task: int, room: int, args: int) -> None:
    """The sums over some rows of windows."""
    p = _geometry(args)
    sums, biases, zero = floats(p.sums), floats(p.bias), splat(np.float32(0))
    depth = -(-p.depth // ROWS) * ROWS
    for i in range(task * depth * p.o, (task + 1) * depth * p.o, LANES):
        store(sums, i, zero)
    for i in range(task * p.o, (task + 1) * p.o, LANES):
        store(biases, i, zero)
    begin, end = p.n * p.p * task // p.chunks, p.n * p.p * (task + 1) // p.chunks
    for row in range(begin, end, p.each):
        for k in range(0, depth, ROWS):
            for o in range(0, p.o, LANES):
                at = (task * depth + k) * p.o + o
                total = _nine_rows(p, k, row, min(end, row + p.each), o, sums, at)
                if k == 0:
                    bias = task * p.o + o
                    store(biases, bias, load(biases, bias) + total)


@helper
def _nine_rows(p: Any, k: int, begin: int, end: int, o: int, sums: Any, at: int) -> Any:
    """Add some rows of windows to nine rows of gw, eight channels of them; returns the sum of g."""
    x, g, places, offsets = floats(p.x), floats(p.y), octets(p.place), integers(p.offsets)
    k0, k1, k2 = offsets[k], offsets[k + 1], offsets[k + 2]
    k3, k4, k5 = offsets[k + 3], offsets[k + 4], offsets[k + 5]
    k6, k7, k8 = offsets[k + 6], offsets[k + 7], offsets[k + 8]
    total = splat(np.float32(0))
    s0, s1, s2 = load(sums, at), load(sums, at + p.o), load(sums, at + 2 * p.o)
    s3, s4, s5 = load(sums, at + 3 * p.o), load(sums, at + 4 * p.o), load(sums, at + 5 * p.o)
    s6, s7, s8 = load(sums, at + 6 * p.o), load(sums, at + 7 * p.o), load(sums, at + 8 * p.o)
    for row in range(begin, end):
        first = row // p.p * p.h * p.w * p.c + row % p.p * 2 * p.down
        i = row * p.q * p.o + o
        for _ in range(p.q):
            a, b = taken(g, places, i, 0), taken(g, places, i, 1)
            c, d = taken(g, places, i, 2), taken(g, places, i, 3)
            s0 = _add_window(p, x, first + k0, a, b, c, d, s0)
            s1 = _add_window(p, x, first + k1, a, b, c, d, s1)
            s2 = _add_window(p, x, first + k2, a, b, c, d, s2)
            s3 = _add_window(p, x, first + k3, a, b, c, d, s3)
            s4 = _add_window(p, x, first + k4, a, b, c, d, s4)
            s5 = _add_window(p, x, first + k5, a, b, c, d, s5)
            s6 = _add_window(p, x, first + k6, a, b, c, d, s6)
            s7 = _add_window(p, x, first + k7, a, b, c, d, s7)
            s8 = _add_window(p, x, first + k8, a, b, c, d, s8)
            total = total + ((a + b) + (c + d))
            first, i = first + 2 * p.right, i + p.o
    store(sums, at, s0)
    store(sums, at + p.o, s1)
    store(sums, at + 2 * p.o, s2)
    store(sums, at + 3 * p.o, s3)
    store(sums, at + 4 * p.o, s4)
    store(sums, at + 5 * p.o, s5)
    store(sums, at + 6 * p.o, s6)
    store(sums, at + 7 * p.o, s7)
    store(sums, at + 8 * p.o, s8)
    return total


@helper
def _add_window(p: Any, x: Any, first: int, a: Any, b: Any, c: Any, d: Any, s: Any) -> Any:
    """s and the products of a window's gradients with what a tap reads for its four outputs."""
    at = on_the_spot(first)
    s = fma(load_same(x, at), a, s)
    s = fma(load_same(x, at + p.right), b, s)
    s = fma(load_same(x, at + p.down), c, s)
    return fma(load_same(x, at + p.down + p.right), d, s)
