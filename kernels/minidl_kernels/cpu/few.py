"""Products of a few rows with a matrix, y (P, R) = x (P, K) @ W.T: no side is worth packing.

Where W (R, K) lies row by row, inner products are taken: a row of W is read along its length, for
one or two rows of x, four rows of W at a time; that makes eight sums, as many as keep both of a
core's units busy. Where it lies column by column, columns are added up, four at a time.
"""

from typing import Any

import numpy as np

from minidl_kernels.cpu.compiling import helper
from minidl_kernels.cpu.launch import floats
from minidl_kernels.cpu.simd import (
    LANES,
    fma,
    load,
    load_first,
    splat,
    store,
    store_first,
    total,
)

__all__ = ["FEW", "few_rows"]

FEW = 7  # rows of x at most: more are worth packing


@helper
def few_rows(p: Any, first: int, end: int) -> None:
    """Columns of y.

    p : a record of `blocks.product` of the transposed product, y.T (m, n) = W (m, k) @ x.T (k, n)
    """
    if p.ak != 1:
        _add_columns(p, first, end)
        return
    for i in range(first, end, 4):
        for j in range(0, p.n, 2):
            _four_by_two(p, i, end - 1, j)


@helper
def _add_columns(p: Any, first: int, end: int) -> None:
    x, y = floats(p.b), floats(p.c)
    for j in range(p.n):
        for i in range(j * p.m + first, j * p.m + end):
            y[i] = 0
    fours = p.k - p.k % 4
    for k in range(0, fours, 4):
        for j in range(p.n):
            _add_four(p, k, j, first, end)
    for k in range(fours, p.k):
        for j in range(p.n):
            _add_one(p, k, x[j * p.bn + k], j * p.m, first, end)


@helper
def _add_four(p: Any, k: int, j: int, first: int, end: int) -> None:
    """y[j] += four columns of W."""
    w, x, y = floats(p.a), floats(p.b), floats(p.c)
    at, w0 = j * p.bn + k, k * p.ak
    x0, x1, x2, x3 = splat(x[at]), splat(x[at + 1]), splat(x[at + 2]), splat(x[at + 3])
    w1, w2, w3 = w0 + p.ak, w0 + 2 * p.ak, w0 + 3 * p.ak
    whole = end - (end - first) % LANES
    for i in range(first, whole, LANES):
        v = fma(x0, load(w, w0 + i), load(y, j * p.m + i))
        v = fma(x1, load(w, w1 + i), v)
        v = fma(x2, load(w, w2 + i), v)
        store(y, j * p.m + i, fma(x3, load(w, w3 + i), v))
    for k_ in range(4 if whole < end else 0):
        _add_one(p, k + k_, x[at + k_], j * p.m, whole, end)


@helper
def _add_one(p: Any, k: int, number: Any, at: int, first: int, end: int) -> None:
    """A row of y, at `at`, += a number times a column of W."""
    w, y, times = floats(p.a), floats(p.c), splat(number)
    for i in range(first, end, LANES):
        left = min(end - i, LANES)
        v = load_first(y, at + i, left)
        store_first(y, at + i, fma(times, load_first(w, k * p.ak + i, left), v), left)


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
