"""A block of a matrix product, from register tiles: what dense layers and `matmul` are made of.

    pieces    sums are taken up to 256 terms at a time: a panel of 16 columns of B, 16 kB of them,
              stays in the first cache while all tiles of the block use it
    panels    B is packed, 64 columns at a time, right before it is used: a row of them is four
              lines of memory that lie together, and the panels are still near when tiles read them
    copies    where tiles would read A across its rows, it is copied first, row by row

Each sum runs in the order of its terms, whatever the number of threads and of blocks.
"""

import functools
from typing import Any

import numpy as np
from numba import types

from minidl_kernels.cpu.compiling import helper, native
from minidl_kernels.cpu.gemm import TILE_COLUMNS, gemm_rows, pack, pack_transposed
from minidl_kernels.cpu.launch import floats, record
from minidl_kernels.cpu.memory import contiguous
from minidl_kernels.cpu.simd import LANES, load, store, transpose

__all__ = [
    "COLUMNS",
    "GROUP",
    "ITEM",
    "PRODUCT",
    "ROOM",
    "ROWS",
    "SMALL",
    "block_of",
    "cut",
    "matrix",
    "multiply",
    "product",
]

DEPTH = 256  # of a sum at a time
GROUP = 64  # columns of B that are packed at a time
ROWS, COLUMNS = 192, 1024  # of a block at most: A's rows, copied, fit in the second cache
STEP = DEPTH + 16  # between rows of a copy: no power of two
FEW = 8  # rows of A, for which packing B takes longer than reading it where it is
LONG = 64  # terms of a sum from which on a copy of A pays
ROOM = ROWS * STEP + GROUP * DEPTH  # numbers of memory that `multiply` works in
ITEM = 4  # bytes of a float32
SMALL = 1 << 17  # multiplications below which one thread is faster than the start of two

PRODUCT = ("m", "n", "k", "a", "am", "ak", "b", "bk", "bn", "c", "rows", "columns")
_RECORD = np.dtype([(name, np.intp) for name in PRODUCT])
product = record(_RECORD)  # C (m, n), row by row, = A (m, k) @ B (k, n): addresses and steps


def matrix(x: Any) -> tuple[Any, int, int]:
    """A matrix that lies row by row or column by column, and both its steps; a copy of another."""
    item = x.itemsize
    rows, columns = x.strides
    lies = item in (rows, columns) and min(rows, columns) >= 0
    if not lies or rows % item or columns % item or not x.flags.aligned:
        x = contiguous(x)
        rows, columns = x.strides
    if x.shape[1] == 1:
        columns = item
    return x, rows // item, columns // item


@functools.lru_cache(512)
def cut(
    m: int, n: int, workers: int, rows: int = ROWS, columns: int = COLUMNS, by_rows: bool = False
) -> Any:
    """Rows and columns of blocks, at most so many, of which all workers get equally much; how many.

    Columns are shared first, for then no two workers pack the same of B. `by_rows` it is rows, so
    that a worker has rows of A and of C to itself, in its own cache from one step to the next.
    """
    down, across = -(-m // rows), -(-n // columns)
    if down * across % workers:
        panels, strips = -(-n // TILE_COLUMNS), -(-m // 6)
        wide = -(-across // workers) * workers
        high = -(-down // workers) * workers
        of_columns = -(-panels // wide) * wide * strips  # what the busiest worker has, times all
        of_rows = -(-strips // high) * high * panels
        if of_columns <= of_rows * (0.8 if by_rows else 1.05):
            across = wide
        else:
            down = high
    rows, columns = _piece(m, down, 6), _piece(n, across, TILE_COLUMNS)
    return rows, columns, -(-m // rows) * -(-n // columns)


def _piece(size: int, count: int, unit: int) -> int:
    """The length of `count` equal pieces, rounded up to a multiple of `unit`."""
    return -(-size // (count * unit)) * unit


@helper
def _pack_rows(
    b: Any, b0: int, bk: int, steps: int, columns: int, panels: Any, p0: int
) -> None:  # fmt: skip
    """`gemm.pack`, but row by row: memory that is far away is read in order."""
    if columns < GROUP:
        pack(b, b0, bk, steps, columns, panels, p0)
        return
    panel = steps * TILE_COLUMNS
    for k in range(steps):
        source, place = b0 + k * bk, p0 + k * TILE_COLUMNS
        for _ in range(GROUP // TILE_COLUMNS):
            store(panels, place, load(b, source))
            store(panels, place + LANES, load(b, source + LANES))
            source, place = source + TILE_COLUMNS, place + panel


@helper
def _copy(a: Any, a0: int, am: int, ak: int, rows: int, steps: int, room: Any) -> None:
    """A (rows, steps), which lies column by column, as rows with steps of STEP."""
    high = rows - rows % LANES
    whole = steps - steps % LANES
    for k in range(0, whole, LANES):
        for m in range(0, high, LANES):
            transpose(a, a0 + k * ak + m, ak, room, m * STEP + k, STEP)
    for m in range(rows):
        for k in range(whole if m < high else 0, steps):
            room[m * STEP + k] = a[a0 + m * am + k * ak]


@native("minidl_multiply", types.void(*[types.intp] * 12))
def multiply(
    rows: int, a_: int, am: int, ak: int, columns: int, b_: int, bk: int, bn: int, depth: int,
    c_: int, cm: int, room_: int,
) -> None:  # fmt: skip
    """C (rows, columns) = A (rows, depth) @ B (depth, columns), all by their addresses.

    A[m, k] = a[m * am + k * ak], and likewise B, of whose steps one is 1, and C[m, n] =
    c[m * cm + n]. At most ROWS rows; room for ROOM numbers. Compiled once for all kernels.
    """
    a, b, c, room = floats(a_), floats(b_), floats(c_), floats(room_)
    copied = ak != 1 and columns >= GROUP and depth > LONG
    panels = ROWS * STEP  # where they begin in the room
    pieces = -(-depth // DEPTH)
    piece = -(-depth // pieces)
    for k in range(0, depth, piece):
        steps = min(piece, depth - k)
        if copied:
            _copy(a, k * ak, am, ak, rows, steps, room)
            left, i, im, ik = room, 0, STEP, 1
        else:
            left, i, im, ik = a, k * ak, am, ak
        for n in range(0, columns, GROUP):
            many, first = min(GROUP, columns - n), k * bk + n * bn
            direct = rows <= FEW and bn == 1 and many % TILE_COLUMNS == 0
            if bn != 1:
                pack_transposed(b, first, bn, steps, many, room, panels)
            elif not direct:
                _pack_rows(b, first, bk, steps, many, room, panels)
            right, j0, jn, jk = room, panels, steps, TILE_COLUMNS
            if direct:
                right, j0, jn, jk = b, first, 1, bk
            for j in range(0, many, TILE_COLUMNS):
                gemm_rows(
                    rows, left, i, im, ik, 0, right, j0 + j * jn, jk, 0, 1, steps,
                    c, n + j, cm, min(TILE_COLUMNS, many - j), k > 0,
                )  # fmt: skip


@helper
def block_of(p: Any, index: int, a: int, b: int, c: int, room: int) -> None:
    """Compute the block of this number, row by row of blocks, of a product at these addresses."""
    across = -(-p.n // p.columns)
    row, column = index // across * p.rows, index % across * p.columns
    multiply(
        min(p.rows, p.m - row), a + row * p.am * ITEM, p.am, p.ak,
        min(p.columns, p.n - column), b + column * p.bn * ITEM, p.bk, p.bn, p.k,
        c + (row * p.n + column) * ITEM, p.n, room,
    )  # fmt: skip
