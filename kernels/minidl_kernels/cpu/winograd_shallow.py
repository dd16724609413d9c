"""Winograd's F(4x4, 3x3) for images of one to four channels: the first layer of a network.

With so few channels the 36 products of `winograd_forward` would be a pass over memory each. Here a
tile stays in registers from the product to the output. For 16 output channels, a vector, column by
column of the 6 x 6 points:

    M[i] = sum over c of U[i, c] * V[i, c]       six sums; V is a number, in all lanes
    A' M, four vectors, to a small buffer; and when all six columns are there, its rows by A'

A few tiles go side by side, so that each vector of U is read once for all of them. While the
columns of some tiles are made, the rows of those before are finished: the processor multiplies for
the one and adds for the other (Zen 4: 237 cycles for a tile and 16 channels, and not 261).

Outputs larger than the caches are written past them: 3.2 ms and not 10.8 for the 51 MB of a layer.
So a channel has to be one of 16 that fill a line of the cache.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from minidl_kernels.cpu import gemm
from minidl_kernels.cpu.compiling import helper
from minidl_kernels.cpu.emit import INT, constant, element, fused, intrinsic, splatted, vector_of
from minidl_kernels.cpu.launch import floats, integers, launch
from minidl_kernels.cpu.memory import address, contiguous, empty
from minidl_kernels.cpu.simd import (
    LANES,
    load_first,
    store,
    store_first,
    total,
    where_greater,
)
from minidl_kernels.cpu.wide import (
    WIDE,
    WIDTH,
    folded,
    load_four,
    load_wide,
    settle,
    store_four,
    store_past,
    store_wide,
    wide,
    wide_address,
)
from minidl_kernels.cpu.winograd import (
    POINTS,
    Tiles,
    four_of_output,
    number,
    six_of_input,
    tiles_at,
)
from minidl_kernels.cpu.winograd_forward import filters

__all__ = ["Room", "convolve", "cut", "inputs_of_row"]

Kernel = Callable[[int, int, int], None]
Ints = tuple[int, ...]

LARGE = 2 << 20  # numbers of an output that is written past the caches: 8 MB
V_SIZE = 27 << 8  # numbers of the tiles that are transformed at a time: V stays in the first cache
TILES = 3 if gemm.WIDE else 1  # side by side: what 32 registers hold, or 16 of half the width
ROWS = -(-4 * TILES // 6)  # of them that are finished beside a column
BUFFER = TILES * 24 * WIDTH  # numbers of the tiles between their columns and rows


class Room:
    """How a task's memory is divided, in numbers: pixels, V, what sums begin with, buffers."""

    def __init__(self, channels: int) -> None:
        def lines(size: int) -> int:
            return -(-size // WIDTH) * WIDTH

        self.step = lines(POINTS * channels + LANES)  # of a tile's V
        self.most = V_SIZE // self.step // TILES * TILES  # tiles at a time
        self.line = lines((4 * self.most + 2) * channels + LANES)  # of a row of pixels, of six
        self.v = 6 * self.line
        self.seconds = self.v + self.most * self.step
        self.buffer = self.seconds + 6 * WIDTH
        self.size = self.buffer + 2 * BUFFER


def convolve(
    x: Any, w: Any, turned: bool, before: Ints, y: Any, bias: Any = None, relu: bool = False
) -> bool:
    """Write the convolution of x (N, H, W, C) into y (N, P, Q, O), both contiguous.

    w : (O, C, 3, 3), or turned, for the gradient of the input: (C, O, 3, 3); O in whole sixteens

    Returns whether all of it is finite.
    """
    tiles = cut(x.shape, y.shape, tuple(before))
    w, bad, c, blocks = contiguous(w), np.zeros(1, np.intp), tiles.c, tiles.o // WIDTH
    u = empty(blocks * POINTS * (c + 1) * WIDTH, np.float32)
    past = y.size >= LARGE and address(y) % (4 * WIDTH) == 0
    tiles = tiles._replace(
        x=address(x), filters=address(w), u=address(u), y=address(y), bad=address(bad),
        bias=0 if bias is None else address(bias), relu=int(relu), past=int(past),
        swapped=int(turned), turned=int(turned),
    )  # fmt: skip
    launch(filters, blocks, tiles, tiles.buffer, False)
    tasks = tiles.n * -(-tiles.p // 4)
    launch(forward(c), tasks, tiles, Room(c).size, False)
    return not bad[0]


@functools.lru_cache(512)
def cut(x: Ints, y: Ints, before: Ints) -> Tiles:
    """The sizes of a convolution of x (N, H, W, C) to y (N, P, Q, O)."""
    (n, h, width, c), (_, p, q, o) = x, y
    across = -(-q // 4)
    each = -(-across // -(-across // Room(c).most))
    return Tiles(n, h, width, c, p, q, o, before[0], before[1], each)


# ---- the transformed input ----------------------------------------------------------------------


@helper
def _copy_row(x: Any, x0: int, first: int, last: int, size: int, to: Any, to0: int) -> None:
    """to[to0 + i] = x[x0 + i] for i from `first` to `last`, and zeros around it up to `size`."""
    for i in range(0, first, LANES):
        store(to, to0 + i, number(0.0))
    for i in range(last - last % LANES, size, LANES):
        store(to, to0 + i, number(0.0))
    whole = last - (last - first) % WIDTH
    for i in range(first, whole, WIDTH):
        store_wide(to, to0 + i, load_wide(x, x0 + i))
    for i in range(whole, last, LANES):
        left = min(last - i, LANES)
        store_first(to, to0 + i, load_first(x, x0 + i, left), left)


@helper
def inputs_of_row(
    p: Any, c: int, n: int, row: int, column: int, count: int, line: int, step: int, mine: Any
) -> None:
    """B' x B of `count` tiles side by side, of which the first has its outputs at (row, column).

    It is mine[6 * line + tile * step + point * c + channel]; before it lie six rows of pixels.
    """
    x, v, size = floats(p.x), 6 * line, (4 * count + 2) * c
    top, left = row - p.top, column - p.left
    first = min(max(0, -left) * c, size)
    last = max(first, min((p.w - left) * c, size))
    for i in range(6):
        there = 0 <= top + i < p.h
        source = ((n * p.h + top + i) * p.w + left) * c
        ends = (first, last) if there else (0, 0)
        _copy_row(x, source, ends[0], ends[1], line, mine, i * line)
    for k in range(0, size, WIDTH):
        r = six_of_input(
            load_wide(mine, k), load_wide(mine, k + line), load_wide(mine, k + 2 * line),
            load_wide(mine, k + 3 * line), load_wide(mine, k + 4 * line),
            load_wide(mine, k + 5 * line),
        )  # fmt: skip
        for point in range(6):
            store_wide(mine, k + point * line, r[point])
    # Of each vector only the first lanes are meant; what comes next overwrites the others.
    for t in range(count):
        for i in range(6):
            k = i * line + 4 * t * c
            r = six_of_input(
                load_four(mine, k), load_four(mine, k + c), load_four(mine, k + 2 * c),
                load_four(mine, k + 3 * c), load_four(mine, k + 4 * c), load_four(mine, k + 5 * c),
            )  # fmt: skip
            for point in range(6):
                store_four(mine, v + t * step + (i * 6 + point) * c, r[point])


# ---- a task -------------------------------------------------------------------------------------


@intrinsic(prefer_literal=True)
def _column(
    typing: Any, tiles: Any, channels: Any, u: Any, u0: Any, point: Any, v: Any, v0: Any, step: Any,
    second: Any,
) -> Any:  # fmt: skip
    """A column of six points of M, for some tiles: their sums over the channels.

    u0, v0 : where those of the first point are; point, step : from a row of points of U, and from a
        tile of V, to the next
    second : what the second sums begin with
    """
    n, count, depth = types.intp, tiles.literal_value, channels.literal_value
    result = types.UniTuple(WIDE, 6 * count)

    def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
        u_, u0_, point_, v_, v0_, step_, second_ = args[2:]
        zero = constant(vector_of(types.float32, WIDTH), 0.0)
        sums = [second_ if i == 1 else zero for i in range(6)] * count
        places = [
            element(context, b, sig.args[5], v_, b.add(v0_, b.mul(step_, step_.type(t))))
            for t in range(count)
        ]
        for i in range(6):
            row = b.add(u0_, b.mul(point_, point_.type(i)))
            first = element(context, b, sig.args[2], u_, row)
            for c in range(depth):
                place = wide_address(b, b.gep(first, [INT(c * WIDTH)]))
                weight = b.load(place, align=4)
                for t in range(count):
                    value = b.load(b.gep(places[t], [INT(i * 6 * depth + c)]))
                    k = t * 6 + i
                    sums[k] = fused(b, splatted(b, value, WIDTH), weight, sums[k])
        return context.make_tuple(b, result, sums)

    return result(tiles, channels, u, n, n, v, n, n, WIDE), generate


@helper(forceinline=True)
def _finish_row(
    mine: Any, k: int, y: Any, at: int, right: int, width: int, least: Any, past: int
) -> Any:
    """Write a row of a tile's outputs, max(y, least); returns their sum, finite if they are."""
    r = four_of_output(
        load_wide(mine, k), load_wide(mine, k + WIDTH), load_wide(mine, k + 2 * WIDTH),
        load_wide(mine, k + 3 * WIDTH), load_wide(mine, k + 4 * WIDTH),
        load_wide(mine, k + 5 * WIDTH),
    )  # fmt: skip
    if width < 4:
        for j in range(3):
            if j < width:
                store_wide(y, at + j * right, where_greater(r[j], least, r[j], least))
    elif past:
        for j in range(4):  # NaN would not pass, but then all is done again
            store_past(y, at + j * right, where_greater(r[j], least, r[j], least))
    else:
        for j in range(4):
            store_wide(y, at + j * right, where_greater(r[j], least, r[j], least))
    return (r[0] + r[1]) + (r[2] + r[3])


@functools.cache
def forward(channels: int) -> Kernel:
    """Make the kernel of a row of tiles, for a number of channels."""
    sizes = Room(channels)
    line, step, v, seconds, buffer = sizes.line, sizes.step, sizes.v, sizes.seconds, sizes.buffer

    def row_of_tiles(task: int, room: int, args: int) -> None:
        p = tiles_at(args)
        u, y, mine, bias = floats(p.u), floats(p.y), floats(room), floats(p.bias)
        down, across, blocks = -(-p.p // 4), -(-p.q // 4), p.o // WIDTH
        n, row, c, o, each, past = task // down, task % down * 4, channels, p.o, p.each, p.past
        height, corner, below = min(4, p.p - row), (n * p.p + row) * p.q * o, p.q * o
        zero, seen, least = wide(np.float32(0)), wide(np.float32(0)), wide(np.float32(-np.inf))
        if p.relu:
            least = zero
        point = (c + 1) * WIDTH
        for j in range(6):  # what the second sums of a column begin with: a bias, in the second
            store_wide(mine, seconds + j * WIDTH, zero)
        for first in range(0, across, each):
            count = min(each, across - first)
            inputs_of_row(p, c, n, row, first * 4, count, line, step, mine)
            groups = -(-count // TILES)
            before, place = count, 0  # what the turn before has left to be finished: nothing yet
            for turn in range(groups * blocks + 1):
                block, t = turn // groups % blocks, turn % groups * TILES
                now, then = buffer + turn % 2 * BUFFER, buffer + (1 - turn % 2) * BUFFER
                if p.bias:
                    store_wide(mine, seconds + WIDTH, load_wide(bias, block * WIDTH))
                for j in range(6):
                    second = load_wide(mine, seconds + j * WIDTH)
                    u0, v0 = (block * POINTS + j) * point, v + t * step + j * c
                    m = _column(TILES, channels, u, u0, 6 * point, mine, v0, step, second)
                    for s in range(TILES):
                        k = 6 * s
                        r = four_of_output(m[k], m[k + 1], m[k + 2], m[k + 3], m[k + 4], m[k + 5])
                        for i in range(4):
                            store_wide(mine, now + ((s * 4 + i) * 6 + j) * WIDTH, r[i])
                    for done in range(j * ROWS, min(4 * TILES, j * ROWS + ROWS)):
                        s, i = done // 4, done % 4
                        if before + s < count and i < height:
                            width, at = p.q - (first + before + s) * 4, place + s * 4 * o
                            k = then + done * 6 * WIDTH
                            seen = seen + _finish_row(
                                mine, k, y, at + i * below, o, width, least, past
                            )
                before, place = t, corner + (first + t) * 4 * o + block * WIDTH
        if past:
            settle()
        if total(folded(seen)) * np.float32(0) != 0:  # NaN, if one is not finite
            integers(p.bad)[0] = 1

    return row_of_tiles
