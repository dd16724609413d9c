"""The product of two matrices: loops, register tiles, BLAS."""

import math

import numpy as np

from minidl.errors import ShapeError
from minidl.race.contest import Contender, Problem, Race
from minidl.race.entrants import LOOPS_WAY, Way, cut, magnitude, nbytes, numbers, rooms, torch

__all__ = ["matmul"]

PASSES = ("forward",)
WAYS = [
    LOOPS_WAY,
    Way("generic", "NumPy, which calls BLAS", 4),
    Way("cpu", "6 x 16 sums in registers, packed panels", 4),
]


def matmul(
    shape: tuple[int, ...] = (512, 512, 512), passes: tuple[str, ...] = PASSES
) -> list[Race]:
    """Product of matrices (M, K) and (K, N); the shape is M,K,N."""
    if len(shape) != 3 or min(shape) < 1:
        raise ShapeError(f"race matmul: shape is {shape}, expected M,K,N, each 1 at least")
    sizes = dict(zip("mkn", shape, strict=True))
    small = cut(sizes, {}, lambda **s: math.prod(s.values()))
    whole = _problem(*shape)
    found = rooms("matmul", whole, whole if small == sizes else _problem(*small.values()), WAYS)
    library = torch()
    if library is not None:
        a, b = (library.from_numpy(x) for x in whole.args)
        found.append(Contender("torch", "PyTorch", lambda: a @ b, 4, lambda c: (c.numpy(),)))
    return [Race(whole, found)]


def _problem(m: int, k: int, n: int) -> Problem:
    a, b = numbers((m, k), (k, n))
    exact = a.astype(np.float64) @ b
    moved = nbytes(a, b) + 4 * m * n
    return Problem(
        f"matmul ({m}, {k}) @ ({k}, {n})", (a, b), 2 * m * k * n, moved, (exact,),
        (magnitude(a) @ magnitude(b),),
    )  # fmt: skip
