"""Sums of rows that share an index, as a plain loop: the definition."""

from typing import Any

import numpy as np

__all__ = ["index_add"]


def index_add(g: Any, index: Any, n: int) -> Any:
    """Add up the rows of g that share an index: the gradient of `x[index]`.

    g : (L, D), index : (L,) ints in [0, n) -> (n, D) of g's dtype

        out[i] = sum of g[l] over all l with index[l] == i;   zero where there is none
    """
    out = np.zeros((n, g.shape[1]))
    for row, i in zip(g, index, strict=True):
        out[i] += row
    return out.astype(g.dtype)
