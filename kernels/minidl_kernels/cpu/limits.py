"""What a processor can do at most: the register tile on data in its first cache, and a copy.

No kernel of a network uses these: `python -m minidl race` compares the others with them.
"""

from typing import Any

import numpy as np

from minidl_kernels.cpu.gemm import TILE_COLUMNS, gemm_rows
from minidl_kernels.cpu.launch import floats, launch, record
from minidl_kernels.cpu.memory import address
from minidl_kernels.cpu.simd import LANES, load, store

__all__ = ["copy", "multiply"]

PIECE = 1 << 16  # numbers that a task copies
ROWS = 6  # of the tile: enough sums that none waits for its last addition

_RECORD = np.dtype([(name, np.intp) for name in ("repeats", "depth", "x", "y", "size")])
_arguments = record(_RECORD)


def multiply(tasks: int, repeats: int, depth: int) -> None:
    """Add up `repeats` times `depth` products in each of 6 x 16 sums, in each of some tasks."""
    args = np.array([(repeats, depth, 0, 0, 0)], _RECORD)
    launch(_multiply, tasks, args, (ROWS + TILE_COLUMNS) * (depth + 8) + 256, tasks == 1)


def copy(x: Any, y: Any) -> None:
    """y = x, for contiguous float32 arrays of one size, a multiple of 65536."""
    if x.size != y.size or x.size % PIECE or x.dtype != np.float32 or y.dtype != np.float32:
        raise ValueError(f"copy: arrays of {x.size} and {y.size} {x.dtype}, expected float32")
    args = np.array([(0, 0, address(x), address(y), x.size)], _RECORD)
    launch(_copy, x.size // PIECE, args, 0, False)


def _multiply(task: int, room: int, args: int) -> None:
    p = _arguments(args)
    mine = floats(room)
    a, b, c = 0, ROWS * p.depth, (ROWS + TILE_COLUMNS) * p.depth
    for i in range(c):
        mine[i] = 1
    gemm_rows(  # the same products again and again: the sums stay in registers all the time
        ROWS, mine, a, 1, ROWS, 0, mine, b, TILE_COLUMNS, 0,
        p.repeats, p.depth, mine, c, TILE_COLUMNS, TILE_COLUMNS, False,
    )  # fmt: skip


def _copy(task: int, room: int, args: int) -> None:
    p = _arguments(args)
    x, y = floats(p.x), floats(p.y)
    for i in range(task * PIECE, min(task * PIECE + PIECE, p.size), LANES):
        store(y, i, load(x, i))
