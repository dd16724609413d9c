"""Ties: elements at a kink that are moved together, for moved one by one they hide a mistake.

If three elements are largest, the slope of the maximum for each of them is 0 on one side and 1 on
the other, and a gradient of 1 for each passes. But where all three rise by t the maximum rises by
t, not by 3t: the gradient's part along that direction must lie between the slopes there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.testing.differences import Probe
from minidl.testing.points import Array, silent

CLOSE = 1e-6  # relative to the terms: far above the error of the slopes, far below a wrong share
_WINDOWS = (2.0**-10, 2.0**-16)  # of the elements' scale; both must say the same


@dataclass(frozen=True)
class Tie:
    """Elements that have a kink each, and what the gradient says of all of them together."""

    argument: str
    count: int
    analytic: float
    numeric: float


def look(compared: Sequence[Any], probe: Probe, weights: Array) -> Tie | None:
    """Return the tie at which the gradient is wrong; None if there is none.

    Elements at which the function jumps, or at which the gradient is infinite, are left out: there
    the slopes say nothing.
    """
    moving = [
        (k, j, line)
        for k, c in enumerate(compared)
        for j, line in enumerate(c.lines)
        if line.index is not None
        and c.slopes.kink[j]
        and not c.slopes.jump[j]
        and np.isfinite(c.analytic[j]).all()
    ]
    if len(moving) < 2:
        return None
    unit = min(line.unit for _, _, line in moving)
    analytic = np.sum([compared[k].analytic[j] for k, j, _ in moving], axis=0)
    terms = np.sum([np.abs(compared[k].analytic[j]) for k, j, _ in moving], axis=0)
    numeric = []
    with silent():
        for window in _WINDOWS:
            down, up = (_slope(probe, moving, s * window * unit) @ weights.T for s in (-1, 1))
            low, high = np.minimum(down, up), np.maximum(down, up)
            size = CLOSE * np.maximum(terms, np.maximum(np.abs(low), np.abs(high)))
            wrong = (analytic < low - size) | (analytic > high + size)
            if not wrong.any() or not np.isfinite(low + high).all():
                return None
            numeric.append((low + high)[wrong][0] / 2)
    names = dict.fromkeys(compared[k].name for k, _, _ in moving)
    return Tie(" and ".join(names), len(moving), float(analytic[wrong][0]), float(numeric[0]))


def _slope(probe: Probe, moving: Sequence[Any], h: float) -> Array:
    """The slope of each output to one side, extrapolated from three steps: error O(h³)."""
    found = []
    for t in (h, h / 2, h / 4):
        for k, _, line in moving:
            probe.moved[k][line.index] = probe.base[k][line.index] + t
        try:
            found.append((probe.values() - probe.here) / t)
        finally:
            for k, _, line in moving:
                probe.moved[k][line.index] = probe.base[k][line.index]
    return np.asarray((found[0] - 6 * found[1] + 8 * found[2]) / 3)
