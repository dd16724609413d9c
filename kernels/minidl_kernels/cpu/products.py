"""The product of two matrices from register tiles: the plainest use of `gemm`.

    panels   b is first laid out as panels of 16 columns (`pack`), which tiles read in order
    blocks   256 rows of a panel, 16 kB, stay in the first cache while all tiles of a task use them,
             and 48 rows of a by 256, 48 kB, in the second while all panels use those
    tasks    blocks of 48 x 128 results: what a task writes, no other one touches

Each sum runs in the order of k, in pieces of 256, whatever the number of threads: the same bits at
any number of them, which BLAS does not promise.
"""

from typing import Any

import numpy as np

from minidl_kernels.cpu.gemm import TILE_COLUMNS, gemm_rows, pack, pack_transposed
from minidl_kernels.cpu.launch import floats, launch, record
from minidl_kernels.cpu.memory import address, flat
from minidl_kernels.generic import products as generic

__all__ = ["matmul", "warm_up"]

ROWS, COLUMNS, DEPTH = 48, 128, 256  # of a task
SMALL = 1 << 18  # multiplications: below it a launch costs more than a second thread saves

_NAMES = ("a", "am", "ak", "b", "bk", "bn", "panels", "c", "m", "k", "n")
_RECORD = np.dtype([(name, np.intp) for name in _NAMES])
_arguments = record(_RECORD)


def matmul(a: Any, b: Any) -> Any:
    """Product of matrices: a (M, K), b (K, N) -> (M, N). float32; others go to `generic`."""
    (m, k), n = a.shape, b.shape[1]
    if a.dtype != np.float32 or b.dtype != np.float32 or 0 in (m, k, n):
        return generic.matmul(a, b)
    a, (am, ak) = flat(a)
    b, (bk, bn) = flat(b)
    c, blocks = np.empty((m, n), np.float32), -(-n // TILE_COLUMNS)
    panels = np.empty(blocks * TILE_COLUMNS * k, np.float32)
    args = np.array(
        [(address(a), am, ak, address(b), bk, bn, address(panels), address(c), m, k, n)], _RECORD
    )
    serial = m * k * n < SMALL
    launch(_pack, blocks, args, 0, serial)
    launch(_block, -(-m // ROWS) * -(-n // COLUMNS), args, 0, serial)
    return c


def _pack(task: int, room: int, args: int) -> None:
    """Lay out one panel: 16 columns of b, or 16 rows of its transpose."""
    p = _arguments(args)
    b, panels = floats(p.b), floats(p.panels)
    first = task * TILE_COLUMNS
    width = min(TILE_COLUMNS, p.n - first)
    if p.bn == 1:
        pack(b, first, p.bk, p.k, width, panels, first * p.k)
    else:
        pack_transposed(b, first * p.bn, p.bn, p.k, width, panels, first * p.k)


def _block(task: int, room: int, args: int) -> None:
    """48 x 128 of the results."""
    p = _arguments(args)
    a, panels, c = floats(p.a), floats(p.panels), floats(p.c)
    across = -(-p.n // COLUMNS)
    row, column = task // across * ROWS, task % across * COLUMNS
    rows = min(ROWS, p.m - row)
    for k in range(0, p.k, DEPTH):
        for first in range(column, min(column + COLUMNS, p.n), TILE_COLUMNS):
            gemm_rows(
                rows, a, row * p.am + k * p.ak, p.am, p.ak, 0,
                panels, first * p.k + k * TILE_COLUMNS, TILE_COLUMNS, 0,
                1, min(DEPTH, p.k - k),
                c, row * p.n + first, p.n, min(TILE_COLUMNS, p.n - first), k > 0,
            )  # fmt: skip


def warm_up(dtype: str) -> None:
    """Call each kernel once."""
    matmul(np.zeros((1, 1), dtype), np.zeros((1, 1), dtype))
