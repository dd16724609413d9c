"""Philox4x32-10 for many blocks at once: a round is five passes over small arrays. And dropout."""

import math
from typing import Any

import numpy as np

from minidl_kernels.generic.arrays import array_module, empty_like

__all__ = ["dropout", "philox"]

CHUNK = 1 << 13  # blocks mixed together: the arrays stay in the processor's cache
WORD = 0xFFFFFFFF


def philox(like: Any, key: int, counter: int, n: int) -> Any:
    """See `minidl_kernels.reference.philox.philox`, the definition."""
    xp = array_module(like)
    blocks = -(-n // 4)
    out = xp.empty((blocks, 2, 2), np.uint32)
    multipliers = xp.asarray([[0xD2511F53], [0xCD9E8D57]], np.uint64)
    keys = [
        xp.asarray(
            [[key + i * 0x9E3779B9 & WORD], [(key >> 32) + i * 0xBB67AE85 & WORD]], np.uint64
        )
        for i in range(10)
    ]
    for start in range(0, blocks, CHUNK):
        part = out[start : start + CHUNK]
        even, odd = _counters(xp, counter + start, len(part))
        product = xp.empty_like(even)
        for round_key in keys:
            xp.multiply(even, multipliers, out=product)
            xp.right_shift(product[::-1], 32, out=even)
            even ^= odd
            even ^= round_key
            xp.bitwise_and(product[::-1], WORD, out=odd)
        part[:, :, 0] = even.T
        part[:, :, 1] = odd.T
    return out.reshape(-1)[:n]


def _counters(xp: Any, first: int, count: int) -> tuple[Any, Any]:
    """The words 0 and 2, and the words 1 and 3, of `count` counters: two arrays (2, count)."""
    low, high = first & (1 << 64) - 1, first >> 64
    lows = xp.arange(count, dtype=np.uint64)
    lows += np.uint64(low)
    highs = xp.full(count, high & (1 << 64) - 1, np.uint64)
    highs += lows < np.uint64(low)  # the carry
    both = xp.stack([lows, highs])
    return both & WORD, both >> 32


def dropout(
    x: Any, key: int, counter: int, p: float, shape: tuple[int, ...], scale: float, value: float
) -> Any:
    """See `minidl_kernels.reference.philox.dropout`, the definition."""
    return dropped(x, philox(x, key, counter, math.prod(shape)), p, shape, scale, value)


def dropped(
    x: Any, words: Any, p: float, shape: tuple[int, ...], scale: float, value: float
) -> Any:
    """Dropout by given words."""
    xp, out = array_module(x), empty_like(x)
    # No word reaches 2³², so with p = 1 none stays.
    kept = words >= min(round(p * 2**32), WORD) if p < 1 else xp.zeros(words.shape, bool)
    out[...] = xp.where(kept.reshape(shape), x * scale, value)
    return out
