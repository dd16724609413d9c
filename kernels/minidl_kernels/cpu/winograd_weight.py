"""Winograd's F(4x4, 3x3): the gradient of the weights. See `winograd`."""

from typing import Any

import numpy as np

from minidl_kernels.cpu import winograd
from minidl_kernels.cpu.compiling import helper
from minidl_kernels.cpu.gemm import TILE_COLUMNS, gemm_rows
from minidl_kernels.cpu.launch import floats, integers, launch
from minidl_kernels.cpu.memory import address
from minidl_kernels.cpu.simd import LANES, fma, load, store, total, transpose
from minidl_kernels.cpu.wide import alike
from minidl_kernels.cpu.winograd import (
    POINTS,
    Tiles,
    number,
    place_of,
    row_of,
    tiles_at,
    transform_input,
    window,
)

__all__ = ["finish_gradient", "gradient", "spread", "spread_tile"]

CHUNK = 2 << 20  # numbers of transformed tiles at a time: 8 MB, what the last cache holds
DEEP = 192  # tiles in a product at a time: so many rows of 64 bytes of both stay in the first cache
EACH = 32  # channels of a deep task


def gradient(x: Any, g: Any, before: Any, gw: Any, deep: bool = False) -> bool:
    """Write the gradient of the weights into gw (O, C, 3, 3), of x (N, H, W, C), g (N, P, Q, O).

    Returns whether all of it is finite.
    """
    (n, h, width, c), (_, p, q, o) = x.shape, g.shape
    bad = np.zeros(1, np.intp)
    tiles = Tiles(
        n, h, width, c, p, q, o, before[0], before[1], EACH,
        x=address(x), filters=address(gw), y=address(g), bad=address(bad),
    )  # fmt: skip
    row, blocks, count, buffer = winograd.wide(c), -(-o // TILE_COLUMNS), tiles.tiles, tiles.buffer
    chunk = count
    if not deep:
        most = max(48, CHUNK // (POINTS * (row + blocks * TILE_COLUMNS)))
        chunk = -(-count // -(-count // most))
    v = np.empty(POINTS * chunk * row, np.float32)
    d = np.empty(POINTS * blocks * (chunk + 1) * TILE_COLUMNS, np.float32)
    sums = np.empty(0 if deep else blocks * POINTS * (c + 1) * TILE_COLUMNS, np.float32)
    tiles = tiles._replace(v=address(v), d=address(d), u=address(sums))
    for begin in range(0, count, chunk):
        end = min(count, begin + chunk)
        args = tiles._replace(begin=begin, end=end)
        launch(pairs, -(-(end - begin) // 4), args, buffer, False)
        if not deep:
            launch(products, POINTS * blocks, args, 0, False)
    if deep:
        room = POINTS * (EACH + 1) * TILE_COLUMNS + buffer
        launch(deep_gradient, -(-c // EACH), args, room, False)
    else:
        launch(from_sums, blocks, args, buffer, False)
    return not bad[0]


@helper
def spread(a: Any, b: Any, c: Any, d: Any) -> Any:
    """A g: the transpose of `four_of_output`, four numbers to six."""
    even, odd = a + c, b + d
    half, twice = fma(alike(a, 4.0), c, a), fma(alike(a, 8.0), d, alike(a, 2.0) * b)
    return a, even + odd, even - odd, half + twice, half - twice, d


@helper
def _gather(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> Any:
    """G' s: the transpose of `_filter`, six numbers to three."""
    even, odd, half, twice = b + c, b - c, d + e, d - e
    third = number(-1 / 6) * even
    return (
        fma(number(1 / 24), half, fma(number(0.25), a, third)),
        fma(number(1 / 12), twice, number(-1 / 6) * odd),
        fma(number(1 / 6), half, third) + f,
    )


@helper
def spread_tile(
    g: Any, g0: int, down: int, right: int, d: Any, d0: int, step: int, buffer: Any, b0: int
) -> None:  # fmt: skip
    """d[d0 + point * step] = (A g A')[point] of a 4 x 4, eight channels; buffer[b0:] is room."""
    for j in range(4):
        i = g0 + j * right
        r = spread(load(g, i), load(g, i + down), load(g, i + 2 * down), load(g, i + 3 * down))
        for point in range(6):
            store(buffer, b0 + (point * 4 + j) * LANES, r[point])
    for i in range(6):
        j = b0 + i * 4 * LANES
        r = spread(load(buffer, j), load(buffer, j + 8), load(buffer, j + 16), load(buffer, j + 24))
        for point in range(6):
            store(d, d0 + (i * 6 + point) * step, r[point])


@helper
def _transform_gradient(
    p: Any, g: Any, tile: int, d: Any, d0: int, step: int, panel: int, buffer: Any
) -> None:  # fmt: skip
    """d[d0 + o / 16 * panel + point * step + o % 16] = (A g A')[point] of a tile's 4 x 4."""
    n, row, column = place_of(p, tile)
    o = p.o
    source, first, down, right = g, ((n * p.p + row) * p.q + column) * o, p.q * o, o
    wide = -(-o // LANES) * LANES
    if row + 4 > p.p or column + 4 > p.q or o % LANES:
        window(g, p.n, p.p, p.q, o, n, row, column, 4, buffer)
        source, first, down, right = buffer, 0, 4 * wide, wide
    half = 16 * wide
    for k in range(0, -(-o // TILE_COLUMNS) * TILE_COLUMNS, LANES):
        at = d0 + k // TILE_COLUMNS * panel + k % TILE_COLUMNS
        if k >= o:  # the right half of the last panel
            for point in range(POINTS):
                store(d, at + point * step, number(0.0))
            continue
        spread_tile(source, first + k, down, right, d, at, step, buffer, half)


def pairs(task: int, room: int, args: int) -> None:
    """Transform 4 tiles of both x and g, of those from `begin` to `end`.

    v (36, tiles, C) with gaps, d (O / 16, 36, tiles, 16) with gaps
    """
    p = tiles_at(args)
    x, g, v, d, buffer = floats(p.x), floats(p.y), floats(p.v), floats(p.d), floats(room)
    tiles, row = p.end - p.begin, row_of(p.c)
    step = tiles * TILE_COLUMNS + TILE_COLUMNS
    for t in range(task * 4, min(tiles, task * 4 + 4)):
        transform_input(p, x, p.begin + t, v, t * row, tiles * row, buffer)
        place = t * TILE_COLUMNS
        _transform_gradient(p, g, p.begin + t, d, place, step, POINTS * step, buffer)


@helper
def _products(
    p: Any, v: Any, d: Any, point: int, block: int, c0: int, count: int, s: Any, s0: int, add: bool
) -> None:  # fmt: skip
    """s[s0 + c * 16 + o] (+)= the sum over tiles of v[point, tile, c] * d[point, tile, o]."""
    tiles, row = p.end - p.begin, row_of(p.c)
    step = tiles * TILE_COLUMNS + TILE_COLUMNS
    for t in range(0, tiles, DEEP):
        gemm_rows(
            count,
            v, (point * tiles + t) * row + c0, 1, row, 0,
            d, (block * POINTS + point) * step + t * TILE_COLUMNS, TILE_COLUMNS, 0,
            1, min(DEEP, tiles - t),
            s, s0, TILE_COLUMNS, TILE_COLUMNS, add or t > 0,
        )  # fmt: skip


@helper
def finish_gradient(
    p: Any, s: Any, s0: int, step: int, block: int, c: int, gw: Any, buffer: Any
) -> Any:  # fmt: skip
    """gw[o, c] = G' s G for 16 outputs; returns 0 if that is finite."""
    seen, zero, half = number(0.0), number(0.0), 9 * TILE_COLUMNS
    outputs = min(TILE_COLUMNS, p.o - block * TILE_COLUMNS)
    for lane in range(0, outputs, LANES):  # beyond, `winograd_back` has what was left in memory
        for j in range(6):
            i = s0 + j * step + lane
            r = _gather(
                load(s, i), load(s, i + 6 * step), load(s, i + 12 * step),
                load(s, i + 18 * step), load(s, i + 24 * step), load(s, i + 30 * step),
            )  # fmt: skip
            for tap in range(3):
                store(buffer, half + (tap * 6 + j) * LANES, r[tap])
        for i in range(3):
            j = half + i * 6 * LANES
            r = _gather(
                load(buffer, j), load(buffer, j + 8), load(buffer, j + 16),
                load(buffer, j + 24), load(buffer, j + 32), load(buffer, j + 40),
            )  # fmt: skip
            for tap in range(3):
                seen = fma(r[tap], zero, seen)
                store(buffer, (i * 3 + tap) * TILE_COLUMNS + lane, r[tap])
    whole, row = outputs - outputs % LANES, p.c * 9
    place = block * TILE_COLUMNS * row + c * 9
    for lane in range(0, whole, LANES):
        transpose(buffer, lane, TILE_COLUMNS, gw, place + lane * row, row)
    for lane in range(outputs):
        for tap in range(8 if lane < whole else 0, 9):
            gw[place + lane * row + tap] = buffer[tap * TILE_COLUMNS + lane]
    return total(seen)


def products(task: int, room: int, args: int) -> None:
    """Add the products of some tiles to s (O / 16, 36, C, 16), for a point and 16 outputs."""
    p = tiles_at(args)
    point, block = task % POINTS, task // POINTS
    s0 = (block * POINTS + point) * (p.c * TILE_COLUMNS + TILE_COLUMNS)
    v, d, s = floats(p.v), floats(p.d), floats(p.u)
    _products(p, v, d, point, block, 0, p.c, s, s0, p.begin > 0)


def from_sums(task: int, room: int, args: int) -> None:
    """The gradient of the filters of 16 outputs from the sums over all tiles."""
    p = tiles_at(args)
    s, gw, buffer = floats(p.u), floats(p.filters), floats(room)
    step = p.c * TILE_COLUMNS + TILE_COLUMNS
    seen = np.float32(0)
    for c in range(p.c):
        s0 = task * POINTS * step + c * TILE_COLUMNS
        seen += finish_gradient(p, s, s0, step, task, c, gw, buffer)
    if seen != 0:
        integers(p.bad)[0] = 1


def deep_gradient(task: int, room: int, args: int) -> None:
    """Both for `each` input channels, whose sums stay in the cache: for few tiles."""
    p = tiles_at(args)
    v, d, gw, mine = floats(p.v), floats(p.d), floats(p.filters), floats(room)
    c0 = task * p.each
    count = min(p.each, p.c - c0)
    step = p.each * TILE_COLUMNS + TILE_COLUMNS
    buffer = floats(room + POINTS * step * 4)
    seen = np.float32(0)
    for block in range(-(-p.o // TILE_COLUMNS)):
        for point in range(POINTS):
            _products(p, v, d, point, block, c0, count, mine, point * step, False)
        for c in range(count):
            s0 = c * TILE_COLUMNS
            seen += finish_gradient(p, mine, s0, step, block, c0 + c, gw, buffer)
    if seen != 0:
        integers(p.bad)[0] = 1
