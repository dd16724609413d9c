"""Philox4x32-10: random words as a function of a key and a counter, block by block; dropout by it.

Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3", SC11.
"""

import math
from typing import Any

import numpy as np

__all__ = ["dropout", "philox"]

MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
KEY_STEPS = 0x9E3779B9, 0xBB67AE85  # from the golden ratio and from the root of 3
ROUNDS = 10
WORD = 2**32


def philox(like: Any, key: int, counter: int, n: int) -> Any:
    """Return n random words, as uint32 in an array of the kind of `like`.

    like : any array; only its kind counts, here it is NumPy's
    key : 0 … 2^64 - 1
    counter : 0 … 2^128 - 1, the number of the first block; the one after the last is 0
    n : the words wanted; a block has four, those left of the last one are dropped
    """
    words: list[int] = []
    for place in range(-(-n // 4)):
        words.extend(_block(key, (counter + place) % WORD**4))
    return np.array(words[:n], np.uint32)


def _block(key: int, counter: int) -> tuple[int, int, int, int]:
    """Ten rounds that mix the four words of the counter, the lowest first, with the key's two."""
    a, b, c, d = (counter >> shift & WORD - 1 for shift in (0, 32, 64, 96))
    k0, k1 = key % WORD, key // WORD
    for _ in range(ROUNDS):
        high0, low0 = divmod(MULTIPLIERS[0] * a, WORD)
        high1, low1 = divmod(MULTIPLIERS[1] * c, WORD)
        a, b, c, d = high1 ^ b ^ k0, low1, high0 ^ d ^ k1, low0
        k0, k1 = (k0 + KEY_STEPS[0]) % WORD, (k1 + KEY_STEPS[1]) % WORD
    return a, b, c, d


def dropout(
    x: Any, key: int, counter: int, p: float, shape: tuple[int, ...], scale: float, value: float
) -> Any:
    """x times scale, each element with likelihood p replaced by `value`.

    x : floats; shape : x's, or with axes of length one along which the choice is the same

    Element i of `shape`, counted row by row, stays if word i of `philox(key, counter)` is not less
    than p 2³², rounded; for p = 1 none does. The gradient is dropout of the gradient, with the same
    key and counter and value 0.
    """
    words = philox(x, key, counter, math.prod(shape)).reshape(shape)
    least = WORD if p == 1 else min(round(p * WORD), WORD - 1)
    out = np.empty(x.shape, x.dtype)
    for i in np.ndindex(x.shape):
        place = tuple(k if n > 1 else 0 for k, n in zip(i, shape, strict=True))
        out[i] = x[i] * x.dtype.type(scale) if words[place] >= least else value
    return out
