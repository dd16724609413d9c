"""Random words: Philox4x32-10."""

import numpy as np

from minidl.errors import ShapeError
from minidl.race.contest import Problem, Race
from minidl.race.entrants import LOOPS_WAY, Way, rooms
from minidl_kernels.generic import philox as generic

__all__ = ["philox"]

PASSES = ("forward",)
LOOPS = 10_000
KEY, COUNTER = 20_261_128, 1 << 40
WAYS = [
    LOOPS_WAY._replace(how="Python's whole numbers", bound=0),
    Way("generic", "a round of many blocks at once", 0),
    Way("cpu", "compiled", 0),
]


def philox(shape: tuple[int, ...] = (1 << 20,), passes: tuple[str, ...] = PASSES) -> list[Race]:
    """Random words of 32 bits as a function of key and counter; the shape is their number."""
    if len(shape) != 1 or shape[0] < 1:
        raise ShapeError(f"race philox: shape is {shape}, expected a number of words, 1 at least")
    whole = _problem(shape[0])
    part = whole if shape[0] <= LOOPS else _problem(LOOPS)
    return [Race(whole, rooms("philox", whole, part, WAYS))]


def _problem(n: int) -> Problem:
    like = np.empty(0, np.uint32)
    exact = generic.philox(like, KEY, COUNTER, n).astype(np.float64)
    # A block of 4 words takes 10 rounds of 2 products, 4 exclusive ors and 2 sums.
    return Problem(f"philox, {n} words", (like, KEY, COUNTER, n), 20 * n, 4 * n, (exact,), (1.0,))
