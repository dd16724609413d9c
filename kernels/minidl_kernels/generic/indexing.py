"""Sums of rows that share an index, in array code. The definition is `reference.indexing`."""

from typing import Any

import numpy as np

from minidl_kernels.generic.arrays import array_module, wide

__all__ = ["index_add"]


def index_add(g: Any, index: Any, n: int) -> Any:
    """Add up the rows of g that share an index: g (L, D), index (L,) in [0, n) -> (n, D).

    NumPy adds in the order of the rows, another package in a tree of the sorted rows: both orders
    are fixed by the shapes and the index, so the same call gives the same bits.
    """
    if array_module(g) is np:
        return _in_order(g, index, n)
    return _sorted(g, index, n)


def _in_order(g: Any, index: Any, n: int) -> Any:
    # add.at is quick in one dimension alone, so each element gets a place of its own.
    width = g.shape[1]
    out = np.zeros(n * width, wide(g.dtype))
    places = index[:, None] * width + np.arange(width) if width > 1 else index
    np.add.at(out, places.reshape(-1), g.reshape(-1).astype(out.dtype, copy=False))
    return out.reshape(n, width).astype(g.dtype, copy=False)


def _sorted(g: Any, index: Any, n: int) -> Any:
    """Sort the rows by index, then double the reach of each row's sum until its run is covered.

    After step k a row holds the sum of itself and of the 2**k - 1 rows after it, as far as they
    share its index; so at the end the first row of every run holds the run's sum. No atomics
    (their order is chance) and no transfer to the host.
    """
    xp, rows = array_module(g), g.shape[0]
    out = xp.zeros((n + 1, g.shape[1]), wide(g.dtype))
    if rows:
        keys = xp.sort(index.astype(np.int64) * rows + xp.arange(rows))  # unique: ties keep order
        index, total = keys // rows, g[keys % rows].astype(out.dtype)
        reach = 1
        while reach < rows:
            same = (index[reach:] == index[:-reach])[:, None]
            grown = total.copy()
            grown[:-reach] += xp.where(same, total[reach:], 0)
            total, reach = grown, 2 * reach
        first = xp.ones(rows, bool)
        first[1:] = index[1:] != index[:-1]
        out[xp.where(first, index, n)] = total  # the other rows go to a spare row at the end
    return out[:n].astype(g.dtype, copy=False)
