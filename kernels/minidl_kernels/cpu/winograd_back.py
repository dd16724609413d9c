"""Winograd's F(4x4, 3x3) backward: all gradients of a layer in one pass. See `winograd`.

The layer is a convolution with relu, or with max pooling of 2 x 2, behind it. Its gradient before
these is never in memory: a task makes it tile by tile, and transforms it once for both gradients.

    D = A g A',  V = B' x B             of each tile, 36 points each
    gw = G' [ sum over tiles of D V ] G
    gx = sum over tiles of B [ (G w G') D ] B'

That of the input is here the transpose of the convolution, step by step: a tile of 4 x 4 adds to
the 6 x 6 numbers under it. There are as many tiles as outputs have, where `winograd_forward` would
take those of the input; and a gradient that was pooled has no rows beside the windows.

A task has some images, takes a few tiles of them at a time through all steps in its core's own
cache, and keeps sums of its own, which are added in order: the same bits at any number of threads.
"""

import functools
from typing import Any

import numpy as np

from minidl_kernels.cpu import winograd
from minidl_kernels.cpu.compiling import helper
from minidl_kernels.cpu.gemm import TILE_COLUMNS, gemm_rows
from minidl_kernels.cpu.launch import floats, integers, launch, octets
from minidl_kernels.cpu.memory import address, contiguous
from minidl_kernels.cpu.simd import (
    LANES,
    fma,
    load,
    load_first,
    store,
    store_first,
    total,
    where_wins,
)
from minidl_kernels.cpu.windows import taken
from minidl_kernels.cpu.winograd import (
    POINTS,
    Tiles,
    number,
    place_of,
    row_of,
    tiles_at,
    transform_input,
)
from minidl_kernels.cpu.winograd_forward import filters
from minidl_kernels.cpu.winograd_weight import finish_gradient, spread_tile

__all__ = ["fits", "gradients"]

Ints = tuple[int, ...]

LARGEST = 8 << 10  # filters, whose sums a core's own cache must hold beside the tiles
ROOM = 150 << 10  # numbers of a task's transformed tiles: what a core's own cache holds
LEAST = 72  # tiles of a task, where there are so many: to add its sums takes time
PARTS = 16
IMAGES = 4  # with fewer, tasks by tiles find more to share


def fits(n: int, c: int, o: int) -> bool:
    """Whether there are images for tasks, few enough filters, and outputs in whole vectors."""
    return n >= IMAGES and c * o <= LARGEST and o % LANES == 0


def gradients(
    x: Any, w: Any, before: Ints, g: Any, place: Any, mask: Any, of_x: bool, of_w: bool
) -> Any:  # fmt: skip
    """The gradients of x, w and bias, None where not wanted; None for all if one is not finite.

    x : (N, H, W, C), w : (O, C, 3, 3), before : zeros in front of the axes
    g : that of the maxima of 2 x 2 outputs, (N, P, Q, O), whose places are `place`; or of
        relu(outputs), which are `mask`. All of them contiguous, O in whole vectors.
    """
    tiles, swapped, room = _cut(x.shape, g.shape, before, place is not None)
    w, bad, parts, c, o = contiguous(w), np.zeros(1, np.intp), tiles.parts, tiles.c, tiles.o
    blocks, inputs = -(-o // TILE_COLUMNS), -(-c // TILE_COLUMNS)
    gx: Any = np.empty(x.shape, np.float32) if of_x else None
    gw: Any = np.empty(w.shape, np.float32) if of_w else None
    u = np.empty(of_x * inputs * POINTS * (o + 1) * TILE_COLUMNS, np.float32)
    sums = np.empty(of_w * parts * blocks * POINTS * (c + 1) * TILE_COLUMNS, np.float32)
    biases = np.empty((parts, o), np.float32)
    if of_x:
        args = swapped._replace(filters=address(w), u=address(u))
        launch(filters, inputs, args, tiles.buffer, False)
    tiles = tiles._replace(
        x=address(x), y=address(g), filters=address(gw) if of_w else 0, bad=address(bad),
        place=0 if place is None else address(place), mask=0 if mask is None else address(mask),
        u=address(u), gx=address(gx) if of_x else 0, sums=address(sums) if of_w else 0,
        biases=address(biases),
    )  # fmt: skip
    launch(back, parts, tiles, room, False)
    if of_w:
        launch(from_parts, blocks, tiles, tiles.buffer, False)
    return None if bad[0] else (gx, gw, biases.sum(axis=0))


@functools.lru_cache(512)
def _cut(x: Ints, g: Ints, before: Ints, pooled: bool) -> tuple[Tiles, Tiles, int]:
    """The sizes, those that the filters are transformed with, and how much room a task needs."""
    (n, h, width, c), (_, p, q, o) = x, g
    if pooled:
        p, q = 2 * p, 2 * q
    tiles = Tiles(n, h, width, c, p, q, o, before[0], before[1], 0, swapped=1)
    parts = max(1, min(PARTS, n, tiles.tiles // LEAST))
    parts -= parts % 2 if parts > 1 else 0
    numbers = POINTS * (winograd.wide(c) + winograd.wide(o))  # of a tile
    each = max(1, min(-(-tiles.tiles // parts), ROOM // numbers))
    tiles = tiles._replace(each=each, parts=parts)
    return tiles, tiles._replace(c=o, o=c), each * numbers + 64 * POINTS + tiles.buffer


@helper
def _point_step(count: int, row: int) -> int:
    """Numbers from a point of some tiles to the next: an odd number of lines of the cache."""
    return ((count * row + 15) // 16 | 1) * 16


@helper
def _gradient_tile(p: Any, tile: int, buffer: Any) -> None:
    """buffer[(i * 4 + j) * O + o] = the gradient before pool or relu, zeros where it ends."""
    g, y, places, zero = floats(p.y), floats(p.mask), octets(p.place), number(0.0)
    n, row, column = place_of(p, tile)
    for pixel in range(16):
        i, j = row + pixel // 4, column + pixel % 4
        inside, at = i < p.p and j < p.q, pixel * p.o
        if inside and p.place:
            window = ((n * p.p + i) // 2 * (p.q // 2) + j // 2) * p.o
            for o in range(0, p.o, LANES):
                store(buffer, at + o, taken(g, places, window + o, i % 2 * 2 + j % 2))
        elif inside:
            source = ((n * p.p + i) * p.q + j) * p.o
            for o in range(0, p.o, LANES):
                v = where_wins(load(y, source + o), zero, load(g, source + o), zero)
                store(buffer, at + o, v)
        else:
            for o in range(0, p.o, LANES):
                store(buffer, at + o, zero)


@helper
def _transform_tile(p: Any, d: Any, d0: int, step: int, buffer: Any) -> None:
    """d[d0 + point * step + o] = (A g A')[point] of the 4 x 4 in the buffer."""
    for k in range(0, p.o, LANES):
        spread_tile(buffer, k, 4 * p.o, p.o, d, d0 + k, step, buffer, 16 * p.o)


@helper
def _back(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> Any:
    """B m: the transpose of `_input`, six values to six coefficients."""
    even, odd, half, twice = b + c, c - b, d + e, e - d
    return (
        number(4.0) * a,
        fma(number(4.0), odd + f, number(2.0) * twice),
        fma(number(-5.0), a, fma(number(-4.0), even, number(0.0) - half)),
        fma(number(-5.0), f, fma(number(-2.0), twice, number(0.0) - odd)),
        a + even + half,
        f,
    )


@helper
def _add_tile(p: Any, m: Any, m0: int, step: int, tile: int, buffer: Any) -> Any:
    """Add B m B' to the 6 x 6 numbers of gx under a tile; returns 0 if these are finite."""
    gx, seen = floats(p.gx), number(0.0)
    n, row, column = place_of(p, tile)
    row, column = row - p.top, column - p.left
    for k in range(0, p.c, LANES):
        for j in range(6):
            i = m0 + j * step + k
            r = _back(
                load(m, i), load(m, i + step * 6), load(m, i + step * 12),
                load(m, i + step * 18), load(m, i + step * 24), load(m, i + step * 30),
            )  # fmt: skip
            for point in range(6):
                store(buffer, (point * 6 + j) * LANES, r[point])
        left = p.c - k
        for i in range(max(0, -row), min(6, p.h - row)):
            j = i * 6 * LANES
            r = _back(
                load(buffer, j), load(buffer, j + 8), load(buffer, j + 16),
                load(buffer, j + 24), load(buffer, j + 32), load(buffer, j + 40),
            )  # fmt: skip
            place = ((n * p.h + row + i) * p.w + column) * p.c + k
            for point in range(6):
                if 0 <= column + point < p.w:
                    at = place + point * p.c
                    if left >= LANES:
                        out = load(gx, at) + r[point]
                        store(gx, at, out)
                    else:
                        out = load_first(gx, at, left) + r[point]
                        store_first(gx, at, out, left)
                    seen = fma(out, number(0.0), seen)  # NaN for ever, if it is not finite
    return total(seen)


@helper
def _add_bias(p: Any, task: int, d: Any, step: int, row: int, count: int) -> None:
    """The values at (1, 1) are sums over a tile: added up, the gradient of the bias."""
    biases, point = floats(p.biases), 7
    for o in range(0, p.o, LANES):
        s = load(biases, task * p.o + o)
        for t in range(count):
            s = s + load(d, point * step + t * row + o)
        store(biases, task * p.o + o, s)


def back(task: int, room: int, args: int) -> None:
    """All gradients of some images: their part of gx, and sums for gw and the bias."""
    p = tiles_at(args)
    x, u, mine, gx, sums, biases = (
        floats(p.x), floats(p.u), floats(room), floats(p.gx), floats(p.sums), floats(p.biases)
    )  # fmt: skip
    first, last = p.n * task // p.parts, p.n * (task + 1) // p.parts
    d_row, v_row, of_image = row_of(p.o), row_of(p.c), -(-p.p // 4) * -(-p.q // 4)
    d_step, v_step = _point_step(p.each, d_row), _point_step(p.each, v_row)
    v0 = POINTS * d_step
    buffer = floats(room + (v0 + POINTS * v_step) * 4)
    s_step, u_step = (p.c + 1) * TILE_COLUMNS, (p.o + 1) * TILE_COLUMNS
    blocks, inputs = -(-p.o // TILE_COLUMNS), -(-p.c // TILE_COLUMNS)
    for o in range(p.o):
        biases[task * p.o + o] = 0
    if p.gx:
        size = p.h * p.w * p.c
        for i in range((last - first) * size):
            gx[first * size + i] = 0
    seen = np.float32(0)
    for begin in range(first * of_image, last * of_image, p.each):
        count = min(p.each, last * of_image - begin)
        for t in range(count):
            _gradient_tile(p, begin + t, buffer)
            _transform_tile(p, mine, t * d_row, d_step, buffer)
            if p.sums:
                transform_input(p, x, begin + t, mine, v0 + t * v_row, v_step, buffer)
        _add_bias(p, task, mine, d_step, d_row, count)
        for point in range(POINTS):
            d, v = point * d_step, v0 + point * v_step
            for block in range(blocks if p.sums else 0):
                gemm_rows(
                    p.c,
                    mine, v, 1, v_row, 0,
                    mine, d + block * TILE_COLUMNS, d_row, 0,
                    1, count,
                    sums, ((task * blocks + block) * POINTS + point) * s_step,
                    TILE_COLUMNS, TILE_COLUMNS, begin > first * of_image,
                )  # fmt: skip
            for block in range(inputs if p.gx else 0):  # over V, which has been used
                gemm_rows(
                    count,
                    mine, d, d_row, 1, 0,
                    u, (block * POINTS + point) * u_step, TILE_COLUMNS, 0,
                    1, p.o,
                    mine, v + block * TILE_COLUMNS, v_row, TILE_COLUMNS, False,
                )  # fmt: skip
        for t in range(count if p.gx else 0):
            seen += _add_tile(p, mine, v0 + t * v_row, v_step, begin + t, buffer)
    if seen != 0:
        integers(p.bad)[0] = 1


def from_parts(task: int, room: int, args: int) -> None:
    """The gradient of the filters of 16 outputs from the sums of all parts."""
    p = tiles_at(args)
    s, gw, buffer = floats(p.sums), floats(p.filters), floats(room)
    step, blocks = (p.c + 1) * TILE_COLUMNS, -(-p.o // TILE_COLUMNS)
    size = POINTS * step
    seen = np.float32(0)
    for i in range(task * size, (task + 1) * size, LANES):
        v = load(s, i)
        for part in range(1, p.parts):
            v = v + load(s, i + part * blocks * size)
        store(s, i, v)
    for c in range(p.c):
        s0 = task * size + c * TILE_COLUMNS
        seen += finish_gradient(p, s, s0, step, task, c, gw, buffer)
    if seen != 0:
        integers(p.bad)[0] = 1
