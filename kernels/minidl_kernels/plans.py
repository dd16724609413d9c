"""Which algorithm a convolution runs, and why: chosen by shape, dtype and switches alone.

| algorithm | what it does | where |
|---|---|---|
| im2col | windows copied into a matrix, one matrix product | float64, float16, depthwise |
| direct | tiles of the product straight from the image | everything else |
"""

from typing import Any

import numpy as np

__all__ = ["choose"]

Ints = tuple[int, ...]


def choose(dtype: Any, w: Ints, groups: int) -> str:
    """The algorithm for weights of a shape."""
    if dtype != np.float32 or (groups > 1 and w[1] == 1):
        return "im2col"
    return "direct"
