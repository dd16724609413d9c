"""Inner products of a few rows with many: what is left of a product when no side is worth packing.

A row of A is read once, along its length, for one or two columns of B, four rows at a time: eight
sums, as many as keep both of a core's units busy.
"""

from typing import Any

import numpy as np

from minidl_kernels.cpu.compiling import helper
from minidl_kernels.cpu.launch import floats
from minidl_kernels.cpu.simd import LANES, fma, load, load_first, splat, total

__all__ = ["inner_products"]


@helper
def inner_products(p: Any, row: int, end: int) -> None:
    """Rows of a product whose A lies row by row, and B and C column by column.

    p : a record of `blocks.product`
    """
    for i in range(row, end, 4):
        for j in range(0, p.n, 2):
            _four_by_two(p, i, end - 1, j)


@helper
def _four_by_two(p: Any, i: int, last: int, j: int) -> None:
    """Four rows and two columns; where there are fewer, the last is computed again."""
    a, b, c = floats(p.a), floats(p.b), floats(p.c)
    i1, i2, i3, j1 = min(i + 1, last), min(i + 2, last), min(i + 3, last), min(j + 1, p.n - 1)
    a0, a1, a2, a3 = i * p.am, i1 * p.am, i2 * p.am, i3 * p.am
    b0, b1 = j * p.bn, j1 * p.bn
    s0 = s1 = s2 = s3 = t0 = t1 = t2 = t3 = splat(np.float32(0))
    whole = p.k - p.k % LANES
    for k in range(0, whole, LANES):
        u, v = load(b, b0 + k), load(b, b1 + k)
        x0, x1, x2, x3 = load(a, a0 + k), load(a, a1 + k), load(a, a2 + k), load(a, a3 + k)
        s0, s1, s2, s3 = fma(u, x0, s0), fma(u, x1, s1), fma(u, x2, s2), fma(u, x3, s3)
        t0, t1, t2, t3 = fma(v, x0, t0), fma(v, x1, t1), fma(v, x2, t2), fma(v, x3, t3)
    if whole < p.k:
        k, left = whole, p.k - whole
        u, v = load_first(b, b0 + k, left), load_first(b, b1 + k, left)
        x0, x1 = load_first(a, a0 + k, left), load_first(a, a1 + k, left)
        x2, x3 = load_first(a, a2 + k, left), load_first(a, a3 + k, left)
        s0, s1, s2, s3 = fma(u, x0, s0), fma(u, x1, s1), fma(u, x2, s2), fma(u, x3, s3)
        t0, t1, t2, t3 = fma(v, x0, t0), fma(v, x1, t1), fma(v, x2, t2), fma(v, x3, t3)
    j, j1 = j * p.m, j1 * p.m
    c[j + i], c[j + i1], c[j + i2], c[j + i3] = total(s0), total(s1), total(s2), total(s3)
    c[j1 + i], c[j1 + i1], c[j1 + i2], c[j1 + i3] = total(t0), total(t1), total(t2), total(t3)
