"""The product of two matrices, as plain loops: the definition."""

from typing import Any

import numpy as np

__all__ = ["matmul"]


def matmul(a: Any, b: Any) -> Any:
    """Product of matrices, or of stacks of them, with sums in float64.

    a : (*, M, K), b : (*, K, N) -> (*, M, N) of a's dtype; leading axes broadcast

        c[m, n] = sum over k of a[m, k] * b[k, n];   zero where K is 0
    """
    if a.ndim > 2 or b.ndim > 2:
        lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        left = np.broadcast_to(a, (*lead, *a.shape[-2:]))
        right = np.broadcast_to(b, (*lead, *b.shape[-2:]))
        stack = np.empty((*lead, a.shape[-2], b.shape[-1]), a.dtype)
        for z in np.ndindex(lead):
            stack[z] = matmul(left[z], right[z])
        return stack
    (m, depth), n = a.shape, b.shape[1]
    c = np.zeros((m, n))
    for i in range(m):
        for j in range(n):
            total = 0.0
            for k in range(depth):
                total += float(a[i, k]) * float(b[k, j])
            c[i, j] = total
    return c.astype(a.dtype)
