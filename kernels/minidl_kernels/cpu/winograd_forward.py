"""Winograd's F(4x4, 3x3): the convolution, and the gradient of its input. See `winograd`."""

import functools
from typing import Any

import numpy as np

from minidl_kernels.cpu import winograd
from minidl_kernels.cpu.compiling import helper
from minidl_kernels.cpu.gemm import TILE_COLUMNS, gemm_rows
from minidl_kernels.cpu.launch import floats, integers, launch
from minidl_kernels.cpu.memory import address, contiguous
from minidl_kernels.cpu.simd import LANES, fma, load, load_every, store, transpose
from minidl_kernels.cpu.winograd import (
    POINTS,
    Tiles,
    number,
    row_of,
    tiles_at,
    transform_input,
    transform_output,
)

__all__ = ["convolve", "filters"]

Ints = tuple[int, ...]

DEPTH = 256  # input channels of which `deep_forward` transforms filters at a time: 590 kB
TASK = 200 << 10  # numbers of a task's transformed tiles: what a core's own cache holds
FEWEST = 24  # tiles of a task: with fewer, reading the filters would take longer than using them


def convolve(
    x: Any,
    w: Any,
    turned: bool,
    before: Any,
    y: Any,
    bias: Any = None,
    relu: bool = False,
    deep: bool = False,
    place: Any = None,
) -> bool:
    """Write the convolution of x (N, H, W, C) into y (N, P, Q, O), both contiguous.

    w : (O, C, 3, 3), or turned, for the gradient of the input: (C, O, 3, 3)
    place : (N, P, Q, O), bytes: then y is the largest of each 2 x 2, and this its place

    Returns whether all of it is finite.
    """
    tiles, tasks, room = _cut(x.shape, y.shape, tuple(before), place is not None, deep)
    w, bad, blocks = contiguous(w), np.zeros(1, np.intp), -(-tiles.o // TILE_COLUMNS)
    buffer, c, swapped = tiles.buffer, tiles.c, int(turned)
    v = np.empty(POINTS * tiles.tiles * winograd.wide(c) if deep else 0, np.float32)
    u = np.empty(0 if deep else blocks * POINTS * (c + 1) * TILE_COLUMNS, np.float32)
    tiles = tiles._replace(
        x=address(x), filters=address(w), swapped=swapped, turned=swapped, u=address(u),
        v=address(v), y=address(y), bias=0 if bias is None else address(bias), relu=int(relu),
        bad=address(bad), place=0 if place is None else address(place),
    )  # fmt: skip
    if deep:
        launch(inputs, tasks, tiles, buffer, False)
        launch(deep_forward, blocks, tiles, room, False)
    else:
        launch(filters, blocks, tiles, buffer, False)
        launch(forward, tasks, tiles, room, False)
    return not bad[0]


@functools.lru_cache(512)
def _cut(x: Ints, y: Ints, before: Ints, pooled: bool, deep: bool) -> tuple[Tiles, int, int]:
    """The sizes, how many tasks there are, and how much room a task needs."""
    (n, h, width, c), (_, p, q, o) = x, y
    if pooled:
        p, q = 2 * p, 2 * q
    tiles = Tiles(n, h, width, c, p, q, o, before[0], before[1], 0)
    count, wide = tiles.tiles, winograd.wide(c) + winograd.wide(o)
    if deep:
        room = POINTS * (DEPTH + 1 + count + 1) * TILE_COLUMNS + tiles.buffer
        return tiles._replace(each=4), -(-count // 4), room
    tasks = -(-count // max(FEWEST, TASK // (POINTS * wide)))
    each = -(-count // (tasks + tasks % 2))  # an even number of equal tasks
    return tiles._replace(each=each), -(-count // each), POINTS * each * wide + tiles.buffer


@helper
def _filter(a: Any, b: Any, c: Any) -> Any:
    """G w: six values of a polynomial of three coefficients."""
    even, odd = number(-1 / 6) * (a + c), number(-1 / 6) * b
    half, twice = fma(number(1 / 6), c, number(1 / 24) * a), number(1 / 12) * b
    return number(0.25) * a, even + odd, even - odd, half + twice, half - twice, c


# ---- filters ------------------------------------------------------------------------------------


@helper
def _lanes_of_taps(
    p: Any, w: Any, k: int, first: int, count: int, buffer: Any
) -> None:  # fmt: skip
    """buffer[tap * 16 + lane] = the filters from input channel k to 16 outputs from `first` on."""
    at, step = first * p.c * 9 + k * 9, p.c * 9
    if p.swapped:  # w is (C, O, 3, 3)
        at, step = k * p.o * 9 + first * 9, 9
    for lane in range(0, TILE_COLUMNS, LANES):
        if lane + LANES <= count:
            transpose(w, at + lane * step, step, buffer, lane, TILE_COLUMNS)
            last = load_every(w, at + lane * step + 8, step)
            store(buffer, 8 * TILE_COLUMNS + lane, last)
        else:
            for tap in range(9):
                for i in range(lane, lane + LANES):
                    number = w[at + i * step + tap] if i < count else np.float32(0)
                    buffer[tap * TILE_COLUMNS + i] = number


@helper
def _transform_filters(
    p: Any, w: Any, k: int, first: int, count: int, u: Any, u0: int, step: int, buffer: Any
) -> None:  # fmt: skip
    """u[u0 + point * step + lane] = (G w G')[point] of the filters from k to 16 outputs."""
    _lanes_of_taps(p, w, k, first, count, buffer)
    half = 9 * TILE_COLUMNS
    for lane in range(0, TILE_COLUMNS, LANES):
        for j in range(3):
            top, middle, bottom = j, 3 + j, 6 + j
            if p.turned:
                top, middle, bottom = 8 - j, 5 - j, 2 - j
            r = _filter(
                load(buffer, top * TILE_COLUMNS + lane),
                load(buffer, middle * TILE_COLUMNS + lane),
                load(buffer, bottom * TILE_COLUMNS + lane),
            )
            for point in range(6):
                store(buffer, half + (point * 3 + j) * LANES, r[point])
        for i in range(6):
            j = half + i * 3 * LANES
            r = _filter(load(buffer, j), load(buffer, j + 8), load(buffer, j + 16))
            for point in range(6):
                store(u, u0 + (i * 6 + point) * step + lane, r[point])


def filters(task: int, room: int, args: int) -> None:
    """Transform the filters of 16 outputs: u (O / 16, 36, C, 16), with a gap after each point."""
    p = tiles_at(args)
    w, u, buffer = floats(p.filters), floats(p.u), floats(room)
    step = p.c * TILE_COLUMNS + TILE_COLUMNS
    count = min(TILE_COLUMNS, p.o - task * TILE_COLUMNS)
    for k in range(p.c):
        u0 = task * POINTS * step + k * TILE_COLUMNS
        _transform_filters(p, w, k, task * TILE_COLUMNS, count, u, u0, step, buffer)


# ---- the convolution ----------------------------------------------------------------------------


def forward(task: int, room: int, args: int) -> None:
    """Take `each` tiles through all steps."""
    p = tiles_at(args)
    x, u, y, mine = floats(p.x), floats(p.u), floats(p.y), floats(room)
    down, across = -(-p.p // 4), -(-p.q // 4)
    begin = task * p.each
    count = min(p.each, p.n * down * across - begin)
    v_row, m_row = row_of(p.c), row_of(p.o)
    v_step, m_step, u_step = p.each * v_row, p.each * m_row, p.c * TILE_COLUMNS + TILE_COLUMNS
    m0 = POINTS * v_step
    b0 = m0 + POINTS * m_step
    buffer = floats(room + b0 * 4)
    for t in range(count):
        transform_input(p, x, begin + t, mine, t * v_row, v_step, buffer)
    for point in range(POINTS):
        for block in range(-(-p.o // TILE_COLUMNS)):
            gemm_rows(
                count,
                mine, point * v_step, v_row, 1, 0,
                u, (block * POINTS + point) * u_step, TILE_COLUMNS, 0,
                1, p.c,
                mine, m0 + point * m_step + block * TILE_COLUMNS, m_row, TILE_COLUMNS, False,
            )  # fmt: skip
    seen = np.float32(0)
    for t in range(count):
        seen += transform_output(p, mine, m0 + t * m_row, m_step, begin + t, 0, p.o, y, buffer)
    if seen != 0:
        integers(p.bad)[0] = 1


def inputs(task: int, room: int, args: int) -> None:
    """Transform `each` tiles of the input: v (36, tiles, C), for `deep_forward`."""
    p = tiles_at(args)
    x, v, buffer = floats(p.x), floats(p.v), floats(room)
    tiles, row = p.n * -(-p.p // 4) * -(-p.q // 4), row_of(p.c)
    for t in range(task * p.each, min(tiles, task * p.each + p.each)):
        transform_input(p, x, t, v, t * row, tiles * row, buffer)


def deep_forward(task: int, room: int, args: int) -> None:
    """All tiles of 16 outputs, DEPTH input channels at a time."""
    p = tiles_at(args)
    w, v, y, mine = floats(p.filters), floats(p.v), floats(p.y), floats(room)
    tiles, v_row = p.n * -(-p.p // 4) * -(-p.q // 4), row_of(p.c)
    first = task * TILE_COLUMNS
    count = min(TILE_COLUMNS, p.o - first)
    u_step, m_step = DEPTH * TILE_COLUMNS + TILE_COLUMNS, tiles * TILE_COLUMNS + TILE_COLUMNS
    m0 = POINTS * u_step
    buffer = floats(room + (m0 + POINTS * m_step) * 4)
    for k0 in range(0, p.c, DEPTH):
        depth = min(DEPTH, p.c - k0)
        for k in range(depth):
            u0 = k * TILE_COLUMNS
            _transform_filters(p, w, k0 + k, first, count, mine, u0, u_step, buffer)
        for point in range(POINTS):
            gemm_rows(
                tiles,
                v, point * tiles * v_row + k0, v_row, 1, 0,
                mine, point * u_step, TILE_COLUMNS, 0,
                1, depth,
                mine, m0 + point * m_step, TILE_COLUMNS, TILE_COLUMNS, k0 > 0,
            )  # fmt: skip
    seen = np.float32(0)
    for t in range(tiles):
        m = m0 + t * TILE_COLUMNS
        seen += transform_output(p, mine, m, m_step, t, first, count, y, buffer)
    if seen != 0:
        integers(p.bad)[0] = 1
