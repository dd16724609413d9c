"""Rows added up by index, compiled by Numba: in their order, as the definition has it."""

from typing import Any

import numpy as np

from minidl_kernels.cpu.compiling import compiled
from minidl_kernels.generic import indexing as generic

__all__ = ["index_add", "warm_up"]


def index_add(g: Any, index: Any, n: int) -> Any:
    """See `minidl_kernels.reference.indexing.index_add`, the definition."""
    if g.dtype not in (np.float32, np.float64) or g.ndim != 2 or index.dtype.kind != "i":
        return generic.index_add(g, index, n)
    out = np.zeros((n, g.shape[1]), g.dtype)
    index = np.ascontiguousarray(index, np.int64)
    if index.size and not 0 <= index.min() <= index.max() < n:  # compiled code would write there
        raise IndexError(f"index_add: an index is outside of 0 to {n - 1}")
    _index_add(np.ascontiguousarray(g), index, out)
    return out


@compiled
def _index_add(g: Any, index: Any, out: Any) -> None:
    for i in range(index.size):
        row, into = g[i], out[index[i]]
        for j in range(row.size):
            into[j] += row[j]


def warm_up(dtype: str) -> None:
    """Call the kernel once."""
    index_add(np.zeros((1, 1), dtype), np.zeros(1, np.int64), 1)
