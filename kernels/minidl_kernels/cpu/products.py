"""Products of matrices, or of stacks of them, in blocks: the plainest use of `blocks`.

A task takes blocks of the results, which no other one touches. Each sum runs in the order of k, in
pieces of up to 256, whatever the number of threads: the same bits at any number of them, which BLAS
does not promise. Transposed matrices are read as they lie.
"""

import math
from typing import Any

import numpy as np

from minidl_kernels.cpu import threads
from minidl_kernels.cpu.blocks import (
    ITEM,
    PRODUCT,
    ROOM,
    SMALL,
    block_of,
    cut,
    matrix,
    product,
)
from minidl_kernels.cpu.few import FEW, few_rows
from minidl_kernels.cpu.launch import launch, record
from minidl_kernels.cpu.memory import FLOAT, address, contiguous
from minidl_kernels.generic import products as generic

__all__ = ["matmul", "warm_up"]

PIECE = 4092  # columns of the product of a few rows with a matrix: they stay in the first cache
# Multiplications of a matrix, or with a vector, up to which they are left to BLAS: it is called in
# less time, and computes so few on one thread whatever it was told.
TINY, TINY_VECTOR = 1 << 18, 1 << 13
MANY = 8  # matrices of a stack that can be shared among threads whole

_NAMES = (*PRODUCT, "az", "bz", "each", "workers", "blocks")
_arguments = record(np.dtype([(name, np.intp) for name in _NAMES]))


def matmul(a: Any, b: Any) -> Any:
    """See `minidl_kernels.reference.products.matmul`, the definition."""
    if a.dtype is not FLOAT or b.dtype is not FLOAT or not a.size * b.size:
        return generic.matmul(a, b)
    if b.ndim == 2 and a.ndim > 2:  # all rows at once
        return matmul(a.reshape(-1, a.shape[-1]), b).reshape(*a.shape[:-1], b.shape[1])
    (m, k), n = a.shape[-2:], b.shape[-1]
    if m * n * k <= (TINY if m > 1 and n > 1 else TINY_VECTOR):
        return np.matmul(a, b)
    return _product(a, b) if a.ndim == b.ndim == 2 else _stack(a, b)


def _product(a: Any, b: Any) -> Any:
    """The product of two matrices."""
    (m, k), n = a.shape, b.shape[1]
    if m <= FEW:
        return _few(a, b.T)
    if n <= FEW:
        return np.ascontiguousarray(_few(b.T, a).T)
    (a, am, ak), (b, bk, bn) = matrix(a), matrix(b)
    c = np.empty((m, n), FLOAT)
    workers = 1 if m * n * k < SMALL else threads.count
    rows, columns, blocks = cut(m, n, workers)
    args = (
        m, n, k, address(a), am, ak, address(b), bk, bn, address(c), rows, columns,
        0, 0, blocks, workers, blocks,
    )  # fmt: skip
    launch(_blocks, workers, args, ROOM, workers == 1)
    return c


def _few(x: Any, w: Any) -> Any:
    """x (P, K) @ w.T for a few rows x, as the transposed product w (R, K) @ x.T."""
    (few, k), many = x.shape, w.shape[0]
    x, (w, wr, wk) = contiguous(x), matrix(w)
    y = np.empty((few, many), FLOAT)
    workers = 1 if few * many * k < SMALL else threads.count
    rows, columns, blocks = cut(many, 1, workers, PIECE)
    args = (
        many, few, k, address(w), wr, wk, address(x), 1, k, address(y), rows, columns,
        0, 0, blocks, workers, blocks,
    )  # fmt: skip
    launch(_few_rows, workers, args, 0, workers == 1)
    return y


def _stack(a: Any, b: Any) -> Any:
    """The products of two stacks of matrices; leading axes broadcast."""
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    (m, k), n, count = a.shape[-2:], b.shape[-1], math.prod(lead)
    (a, az, am, ak), (b, bz, bk, bn) = _flat(a, lead), _flat(b, lead)
    c = np.empty((*lead, m, n), FLOAT)
    workers = 1 if count * m * n * k < SMALL else threads.count
    rows, columns, each = cut(m, n, 1 if count >= MANY or count % workers == 0 else workers)
    args = (
        m, n, k, address(a), am, ak, address(b), bk, bn, address(c), rows, columns,
        az, bz, each, workers, count * each,
    )  # fmt: skip
    launch(_blocks, workers, args, ROOM, workers == 1)
    return c


def _flat(x: Any, lead: tuple[int, ...]) -> tuple[Any, int, int, int]:
    """A stack with these leading axes as its memory, and the steps of matrix, row and column."""
    if math.prod(x.shape[:-2]) == 1:
        return (x := matrix(x.reshape(x.shape[-2:])))[0], 0, *x[1:]
    if x.shape[:-2] != lead:
        x = np.broadcast_to(x, (*lead, *x.shape[-2:]))
    x = x.reshape(-1, *x.shape[-2:])
    first, row, column = matrix(x[0])
    if first.base is None or x.strides[0] % ITEM or x.strides[0] < 0:  # it had to be copied
        x = np.ascontiguousarray(x)
        first, row, column = matrix(x[0])
    return x, x.strides[0] // ITEM, row, column


def _blocks(task: int, room: int, args: int) -> None:
    """A worker's blocks of the results."""
    p, q = _arguments(args), product(args)
    for block in range(task, p.blocks, p.workers):
        z = block // p.each
        a, b, c = p.a + z * p.az * ITEM, p.b + z * p.bz * ITEM, p.c + z * p.m * p.n * ITEM
        block_of(q, block % p.each, a, b, c, room)


def _few_rows(task: int, room: int, args: int) -> None:
    """A worker's columns of the results of few rows."""
    p = _arguments(args)
    for block in range(task, p.blocks, p.workers):
        few_rows(product(args), block * p.rows, min(block * p.rows + p.rows, p.m))


def warm_up(dtype: str) -> None:
    """Call each kernel once."""
    for n in (1, FEW + 1):
        matmul(np.zeros((n, TINY), dtype), np.zeros((TINY, n), dtype))
