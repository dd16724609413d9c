"""Rows added up by index, compiled by Numba: in their order, as the definition has it.

It is one task. Tasks of some columns each would keep the order as well, but 512 columns in two
took twice as long on one thread and no less on two: memory is read faster by whole rows.
"""

from typing import Any

import numpy as np

from minidl_kernels.cpu.compiling import helper
from minidl_kernels.cpu.launch import doubles, floats, integers, launch, record
from minidl_kernels.cpu.memory import address, contiguous
from minidl_kernels.cpu.simd import LANES, load, load_first, store, store_first
from minidl_kernels.generic import indexing as generic

__all__ = ["index_add", "warm_up"]

_rows = record(np.dtype([(name, np.intp) for name in ("rows", "width", "g", "index", "out")]))


def index_add(g: Any, index: Any, n: int) -> Any:
    """See `minidl_kernels.reference.indexing.index_add`, the definition."""
    if g.dtype not in (np.float32, np.float64) or g.ndim != 2 or index.dtype.kind != "i":
        return generic.index_add(g, index, n)
    (rows, width), out = g.shape, np.zeros((n, g.shape[1]), g.dtype)
    if not g.size:
        return out
    g, index = contiguous(g), contiguous(index.astype(np.intp, copy=False))
    if not 0 <= index.min() <= index.max() < n:  # compiled code would write there
        raise IndexError(f"index_add: an index is outside of 0 to {n - 1}")
    args = rows, width, address(g), address(index), address(out)
    kernel = add_rows if g.dtype == np.float32 else add_rows_of_doubles
    launch(kernel, 1, args, 0, True)
    return out


def add_rows(task: int, room: int, args: int) -> None:
    """The sums of all rows."""
    p = _rows(args)
    _add_rows(p, floats(p.g), floats(p.out))


def add_rows_of_doubles(task: int, room: int, args: int) -> None:
    """The same in float64."""
    p = _rows(args)
    _add_rows(p, doubles(p.g), doubles(p.out))


@helper
def _add_rows(p: Any, g: Any, out: Any) -> None:
    index, width = integers(p.index), p.width
    whole, rest = width - width % LANES, width % LANES
    for i in range(p.rows):
        row, into = i * width, index[i] * width
        for j in range(0, whole, LANES):
            store(out, into + j, load(out, into + j) + load(g, row + j))
        if rest:
            added = load_first(out, into + whole, rest) + load_first(g, row + whole, rest)
            store_first(out, into + whole, added, rest)


def warm_up(dtype: str) -> None:
    """Call the kernel once."""
    index_add(np.zeros((1, 1), dtype), np.zeros(1, np.int64), 1)
