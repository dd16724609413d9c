"""Philox4x32-10 compiled by Numba: a block of four words at a time, each by itself."""

from typing import Any

import numpy as np
from numba import prange

from minidl_kernels.cpu.compiling import compiled

__all__ = ["philox", "warm_up"]

BLOCKS = 1024  # in a task
WORD, LONG = (1 << 32) - 1, (1 << 64) - 1
# All in 64 bits: what Numba makes of mixed widths is another width, and of mixed signs a float.
_WORD, _SHIFT, _ONE, _NONE = np.uint64(WORD), np.uint64(32), np.uint64(1), np.uint64(0)
_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_K0, _K1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)


def philox(like: Any, key: int, counter: int, n: int) -> Any:
    """See `minidl_kernels.reference.philox.philox`, the definition."""
    out = np.empty((-(-n // 4), 4), np.uint32)
    _philox.sized(
        n, np.uint64(key & WORD), np.uint64(key >> 32 & WORD), np.uint64(counter & LONG),
        np.uint64(counter >> 64 & LONG), out,
    )  # fmt: skip
    return out.reshape(-1)[:n]


@compiled(parallel=True)
def _philox(key0: Any, key1: Any, low: Any, high: Any, out: Any) -> None:
    for task in prange(-(-out.shape[0] // BLOCKS)):
        for block in range(task * BLOCKS, min(task * BLOCKS + BLOCKS, out.shape[0])):
            lows = low + np.uint64(block)
            highs = high + (_ONE if lows < low else _NONE)  # the carry
            a, b = lows & _WORD, lows >> _SHIFT
            c, d = highs & _WORD, highs >> _SHIFT
            k0, k1 = key0, key1
            for _ in range(10):
                first, second = _M0 * a, _M1 * c
                a, c = (second >> _SHIFT) ^ b ^ k0, (first >> _SHIFT) ^ d ^ k1
                b, d = second & _WORD, first & _WORD
                k0, k1 = (k0 + _K0) & _WORD, (k1 + _K1) & _WORD
            out[block, 0], out[block, 1] = a, b
            out[block, 2], out[block, 3] = c, d


def warm_up(dtype: str) -> None:
    """Call the kernel once; it has one dtype of its own."""
    philox(None, 0, 0, 1)
