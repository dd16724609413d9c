"""The product of two matrices, as plain loops: the definition."""

from typing import Any

import numpy as np

__all__ = ["matmul"]


def matmul(a: Any, b: Any) -> Any:
    """Product of matrices, with sums in float64.

    a : (M, K), b : (K, N) -> (M, N) of a's dtype

        c[m, n] = sum over k of a[m, k] * b[k, n];   zero where K is 0
    """
    (m, depth), n = a.shape, b.shape[1]
    c = np.zeros((m, n))
    for i in range(m):
        for j in range(n):
            total = 0.0
            for k in range(depth):
                total += float(a[i, k]) * float(b[k, j])
            c[i, j] = total
    return c.astype(a.dtype)
