"""Rows that share an index added up: the gradient of an embedding."""

import numpy as np

from minidl.errors import ShapeError
from minidl.race.contest import Contender, Problem, Race
from minidl.race.entrants import LOOPS_WAY, Way, nbytes, numbers, rooms, torch
from minidl_kernels.generic import indexing as generic

__all__ = ["index_add"]

PASSES = ("forward",)
LOOPS = 4_000  # rows
WAYS = [
    LOOPS_WAY._replace(how="row after row"),
    Way("generic", "NumPy's add.at, every number by itself", 4),
    Way("cpu", "compiled", 4),
]


def index_add(
    shape: tuple[int, ...] = (8192, 64, 1000), passes: tuple[str, ...] = PASSES
) -> list[Race]:
    """L rows of D numbers added up by an index below N; the shape is L,D,N."""
    if len(shape) != 3 or min(shape) < 1:
        raise ShapeError(f"race index_add: shape is {shape}, expected L,D,N, each 1 at least")
    rows, width, n = shape
    whole = _problem(rows, width, n)
    part = whole if rows <= LOOPS else _problem(LOOPS, width, n)
    found = rooms("index_add", whole, part, WAYS)
    library = torch()
    if library is not None:
        g, index = (library.from_numpy(a) for a in whole.args[:2])
        found.append(
            Contender(
                "torch", "PyTorch", lambda: library.zeros(n, width).index_add_(0, index, g), 4,
                lambda out: (out.numpy(),),
            )
        )  # fmt: skip
    return [Race(whole, found)]


def _problem(rows: int, width: int, n: int) -> Problem:
    (g,) = numbers((rows, width))
    index = np.random.default_rng(1).integers(0, n, rows)
    exact = generic.index_add(g.astype(np.float64), index, n)
    scale = generic.index_add(np.abs(g).astype(np.float64), index, n)
    moved = nbytes(g, index) + exact.size * 4
    what = f"index_add, {rows} rows of {width} to {n}"
    return Problem(what, (g, index, n), g.size, moved, (exact,), (scale,))
