"""The product of two matrices, or of two stacks of them, in blocks: the plainest use of `blocks`.

A task takes blocks of the results, which no other one touches. Each sum runs in the order of k, in
pieces of up to 256, whatever the number of threads: the same bits at any number of them, which BLAS
does not promise.
"""

from typing import Any

import numpy as np

from minidl_kernels.cpu import threads
from minidl_kernels.cpu.blocks import (
    PRODUCT,
    ROOM,
    SMALL,
    block_of,
    blocks_in,
    cut,
    matrix,
    product,
)
from minidl_kernels.cpu.launch import launch, record
from minidl_kernels.cpu.memory import address
from minidl_kernels.generic import products as generic

__all__ = ["matmul", "warm_up"]

_NAMES = (*PRODUCT, "workers", "blocks")
_arguments = record(np.dtype([(name, np.intp) for name in _NAMES]))


def matmul(a: Any, b: Any) -> Any:
    """Product of matrices: a (M, K), b (K, N) -> (M, N). float32; others go to `generic`."""
    (m, k), n = a.shape, b.shape[1]
    if a.dtype != np.float32 or b.dtype != np.float32 or 0 in (m, k, n):
        return generic.matmul(a, b)
    (a, am, ak), (b, bk, bn) = matrix(a), matrix(b)
    c = np.empty((m, n), np.float32)
    workers = 1 if m * n * k < SMALL else threads.count
    rows, columns = cut(m, n, workers)
    blocks = blocks_in(m, n, rows, columns)
    args = (
        m, n, k, address(a), am, ak, address(b), bk, bn, address(c), rows, columns, workers, blocks
    )  # fmt: skip
    launch(_blocks, workers, args, ROOM, workers == 1)
    return c


def _blocks(task: int, room: int, args: int) -> None:
    """A worker's blocks of the results."""
    p, q = _arguments(args), product(args)
    for block in range(task, p.blocks, p.workers):
        block_of(q, block, q.a, q.b, room)


def warm_up(dtype: str) -> None:
    """Call each kernel once."""
    matmul(np.zeros((1, 1), dtype), np.zeros((1, 1), dtype))
