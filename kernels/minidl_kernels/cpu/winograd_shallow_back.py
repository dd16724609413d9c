"""Winograd's F(4x4, 3x3) for images of few channels: the gradient of the weights, and of the bias.

It is the transpose of `winograd_shallow`, for 16 output channels, a vector, at a time:

    gw = G' [ sum over tiles of D[i, j] * V[i, j, c] ] G      D = A g A',  V = B' x B

The columns of the gradients of some tiles are transformed into a buffer. Then for each row i of the
6 x 6 points its six D are made, tile after tile, and used at once, while the sums of the row, six
for each channel, are in registers. V is a number, in all lanes.

The gradient may be that of relu(outputs): it is masked when it is read, and never in memory without
relu. A task has some rows of tiles, and sums of its own, which are added in order: the same bits at
any number of threads.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from minidl_kernels.cpu import gemm
from minidl_kernels.cpu.compiling import helper
from minidl_kernels.cpu.emit import INT, element, fused, intrinsic, splatted
from minidl_kernels.cpu.launch import floats, launch
from minidl_kernels.cpu.memory import address, empty
from minidl_kernels.cpu.simd import where_wins
from minidl_kernels.cpu.wide import WIDE, WIDTH, load_wide, store_wide, wide, wide_address
from minidl_kernels.cpu.winograd import POINTS, Tiles, tiles_at
from minidl_kernels.cpu.winograd_back import from_parts
from minidl_kernels.cpu.winograd_shallow import LARGE, Room, cut, inputs_of_row
from minidl_kernels.cpu.winograd_weight import spread

__all__ = ["gradient"]

Kernel = Callable[[int, int, int], None]
Ints = tuple[int, ...]

GROUP = 14  # tiles at a time: their columns stay in the first cache
PARTS = 16


def gradient(x: Any, g: Any, before: Ints, gw: Any, mask: Any = None) -> Any:
    """Write the gradient of the weights into gw (O, C, 3, 3); return that of the bias, (O,).

    x : (N, H, W, C), g : (N, P, Q, O), that of the outputs, or of `mask`, relu(outputs); all
        contiguous, O in whole sixteens

    Returns None if one is not finite.
    """
    tiles, size = _cut(x.shape, g.shape, tuple(before)), Room(x.shape[-1]).size
    c, o, parts, bad = tiles.c, tiles.o, tiles.parts, np.zeros(1, np.intp)
    sums = empty(parts * o // WIDTH * POINTS * (c + 1) * WIDTH, np.float32)
    biases = empty((parts, o), np.float32)
    tiles = tiles._replace(
        x=address(x), y=address(g), filters=address(gw), sums=address(sums), bad=address(bad),
        biases=address(biases), mask=0 if mask is None else address(mask), past=int(g.size > LARGE),
    )  # fmt: skip
    launch(back(c), parts, tiles, size + (GROUP * 24 + 16) * WIDTH, False)
    launch(from_parts, o // WIDTH, tiles, tiles.buffer, False)
    return None if bad[0] else biases.sum(axis=0)


@functools.lru_cache(512)
def _cut(x: Ints, g: Ints, before: Ints) -> Tiles:
    tiles = cut(x, g, before)
    return tiles._replace(parts=min(PARTS, tiles.n * -(-tiles.p // 4)))


# ---- sums in registers --------------------------------------------------------------------------


def _row(b: Any, s: Any, step: Any, channels: int) -> Any:
    """The addresses of the sums of six points, for each some channels."""
    firsts = [b.gep(s, [b.mul(step, step.type(j))]) for j in range(6)]
    return [wide_address(b, b.gep(s, [INT(c * WIDTH)])) for s in firsts for c in range(channels)]


@intrinsic(prefer_literal=True)
def _load_sums(typing: Any, channels: Any, s: Any, s0: Any, step: Any) -> Any:
    """s[s0 + j * step + c * 16 :], for points j < 6 and channels c, as a tuple of vectors."""
    count, result = channels.literal_value, types.UniTuple(WIDE, 6 * channels.literal_value)

    def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
        places = _row(b, element(context, b, sig.args[1], *args[1:3]), args[3], count)
        return context.make_tuple(b, result, [b.load(place, align=4) for place in places])

    return result(channels, s, types.intp, types.intp), generate


@intrinsic(prefer_literal=True)
def _store_sums(typing: Any, channels: Any, s: Any, s0: Any, step: Any, sums: Any) -> Any:
    """Put back what `_load_sums` has read."""
    count = channels.literal_value

    def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
        places = _row(b, element(context, b, sig.args[1], *args[1:3]), args[3], count)
        for k, place in enumerate(places):
            b.store(b.extract_value(args[4], k), place, align=4)
        return context.get_dummy_value()

    return types.void(channels, s, types.intp, types.intp, sums), generate


@intrinsic(prefer_literal=True)
def _add_products(
    typing: Any, channels: Any, sums: Any, d: Any, v: Any, v0: Any, step: Any
) -> Any:  # fmt: skip
    """sums[j, c] + d[j] * v[v0 + j * step + c], for six points j."""
    count, depth = channels.literal_value, step.literal_value

    def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
        first, found = element(context, b, sig.args[3], *args[3:5]), list[Any]()
        for j in range(6):
            for c in range(count):
                value = splatted(b, b.load(b.gep(first, [INT(j * depth + c)])), WIDTH)
                k = len(found)
                found.append(
                    fused(b, value, b.extract_value(args[2], j), b.extract_value(args[1], k))
                )
        return context.make_tuple(b, sums, found)

    return sums(channels, sums, d, v, types.intp, step), generate


# ---- a task -------------------------------------------------------------------------------------


@helper
def _fetch(p: Any, n: int, row: int, column: int, count: int, mine: Any, to: int) -> None:
    """Read `count` pixels of four rows of gradients, in order of memory, and forget them.

    The processor sees what comes next and fetches it early into the core's cache. Where 16 channels
    are read out of 64 it does not: 8.2 ms for 51 MB on one thread, 5.2 if they are all read first.
    """
    g, y, seen = floats(p.y), floats(p.mask), wide(np.float32(0))
    for i in range(row, min(row + 4, p.p)):
        first = ((n * p.p + i) * p.q + column) * p.o
        last = first + min(count, p.q - column) * p.o
        for k in range(first, last, WIDTH):
            seen = seen + load_wide(g, k)
        for k in range(first, last if p.mask else first, WIDTH):
            seen = seen + load_wide(y, k)
    store_wide(mine, to, seen)


@helper
def _tile(p: Any, n: int, row: int, column: int, first: int, mine: Any, to: int) -> None:
    """Copy a tile's 4 x 4 gradients, 16 channels from `first` on: masked, zeros beyond the end."""
    g, y, zero, masked = floats(p.y), floats(p.mask), wide(np.float32(0)), p.mask != 0
    right, below, height, width = p.o, p.q * p.o, p.p - row, p.q - column
    corner = ((n * p.p + row) * p.q + column) * p.o + first
    for i in range(4):
        for j in range(4):
            at, value = corner + i * below + j * right, zero
            if i < height and j < width:
                value = load_wide(g, at)
                if masked:
                    value = where_wins(load_wide(y, at), zero, value, zero)
            store_wide(mine, to + (i * 4 + j) * WIDTH, value)


@helper
def _add_bias(mine: Any, row: int, count: int, biases: Any, at: int) -> None:
    """The values at (1, 1) are sums over a tile: add those of some tiles."""
    total = load_wide(biases, at)
    for t in range(count):
        k = row + t * 4 * WIDTH
        left = load_wide(mine, k) + load_wide(mine, k + WIDTH)
        total = total + (left + (load_wide(mine, k + 2 * WIDTH) + load_wide(mine, k + 3 * WIDTH)))
    store_wide(biases, at, total)


@functools.cache
def back(channels: int) -> Kernel:
    """Make the kernel of some rows of tiles, for a number of channels."""
    sizes = Room(channels)
    line, step, v, tile = sizes.line, sizes.step, sizes.v, sizes.size
    buffer = tile + 16 * WIDTH
    together = channels if gemm.WIDE else 1  # whose sums there are registers for

    def part(task: int, room: int, args: int) -> None:
        p = tiles_at(args)
        g, mine, sums, biases = floats(p.y), floats(room), floats(p.sums), floats(p.biases)
        down, across, blocks = -(-p.p // 4), -(-p.q // 4), p.o // WIDTH
        c, zero, s_step = channels, wide(np.float32(0)), (channels + 1) * WIDTH
        size = blocks * POINTS * s_step
        for i in range(task * size, task * size + size, WIDTH):
            store_wide(sums, i, zero)
        for i in range(task * p.o, task * p.o + p.o, WIDTH):
            store_wide(biases, i, zero)
        rows = p.n * down
        for unit in range(rows * task // p.parts, rows * (task + 1) // p.parts):
            n, row = unit // down, unit % down * 4
            for start in range(0, across, p.each):
                there = min(p.each, across - start)
                if p.past:
                    _fetch(p, n, row, start * 4, there * 4, mine, tile)
                inputs_of_row(p, c, n, row, start * 4, there, line, step, mine)
                for turn in range(-(-there // GROUP) * blocks):
                    block, first = turn % blocks, turn // blocks * GROUP
                    count = min(GROUP, there - first)
                    for t in range(count):
                        column = (start + first + t) * 4
                        source, right, below = g, p.o, p.q * p.o
                        at = ((n * p.p + row) * p.q + column) * p.o + block * WIDTH
                        if p.mask or row + 4 > p.p or column + 4 > p.q:
                            _tile(p, n, row, column, block * WIDTH, mine, tile)
                            source, at, right, below = mine, tile, WIDTH, 4 * WIDTH
                        for j in range(4):
                            k = at + j * right
                            d = spread(
                                load_wide(source, k), load_wide(source, k + below),
                                load_wide(source, k + 2 * below), load_wide(source, k + 3 * below),
                            )  # fmt: skip
                            k = buffer + (t * 4 + j) * WIDTH
                            for i in range(6):
                                store_wide(mine, k + i * GROUP * 4 * WIDTH, d[i])
                    k = buffer + GROUP * 4 * WIDTH
                    _add_bias(mine, k, count, biases, task * p.o + block * WIDTH)
                    for i in range(6):
                        for c0 in range(0, c, together):
                            s0 = ((task * blocks + block) * POINTS + i * 6) * s_step + c0 * WIDTH
                            kept = _load_sums(together, sums, s0, s_step)
                            for t in range(count):
                                k = buffer + (i * GROUP + t) * 4 * WIDTH
                                d = spread(
                                    load_wide(mine, k), load_wide(mine, k + WIDTH),
                                    load_wide(mine, k + 2 * WIDTH), load_wide(mine, k + 3 * WIDTH),
                                )  # fmt: skip
                                v0 = v + (first + t) * step + i * 6 * c + c0
                                kept = _add_products(together, kept, d, mine, v0, channels)
                            _store_sums(together, sums, s0, s_step, kept)

    return part
