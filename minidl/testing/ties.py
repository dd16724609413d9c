"""Ties: elements at a kink that are moved together, for moved one by one they hide a mistake.

If three elements are largest, the slope of the maximum for each of them is 0 on one side and 1 on
the other, and a gradient of 1 for each passes. But where all three rise by t the maximum rises by
t, not by 3t: along that direction there is no kink, and the gradient must have that slope.

Outputs that have a kink along the common direction, too (the relu of several zeros), are left out,
for there a gradient may choose for each element by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.testing.differences import Probe
from minidl.testing.points import Array, parted, silent
from minidl.testing.subjects import Level

CLOSE = 1e-6  # relative to the terms: far above the error of the slopes, far below a wrong share
_WINDOWS = (2.0**-10, 2.0**-16)  # of the elements' scale; both must say the same


@dataclass(frozen=True)
class Tie:
    """Elements that have a kink each, and what the gradient says of all of them together."""

    argument: str
    count: int
    analytic: float
    numeric: float

    @property
    def cause(self) -> str:
        """What is likely wrong."""
        times = "less" if abs(self.analytic) < abs(self.numeric) else "more"
        return (
            f"a tie: the equal elements together are given {times} than the gradient; it is to be "
            "shared among them, or given to one of them"
        )


def look(compared: Sequence[Any], level: Level, probe: Probe, weights: Array) -> Tie | None:
    """Return the tie at which the gradient is wrong; None if there is none.

    Elements at which the function jumps, or at which the gradient is infinite, are left out: there
    the slopes say nothing.
    """
    moving = [
        (k, line)
        for k, c in enumerate(compared)
        for j, line in enumerate(c.lines)
        if line.index is not None
        and c.slopes.kink[j]
        and not c.slopes.jump[j]
        and np.isfinite(c.analytic[j]).all()
    ]
    if len(moving) < 2:
        return None
    unit = min(line.unit for _, line in moving)
    with silent():
        sides = np.array([[_slope(probe, moving, s * w * unit) for s in (-1, 1)] for w in _WINDOWS])
        size = np.abs(sides).max(axis=(0, 1))
        smooth = np.ptp(sides, axis=(0, 1)) <= CLOSE * size  # False where it is NaN
        for u in weights * smooth:
            pulled = level.pull(level.points, parted(u, probe.shapes))
            terms = np.array(
                [0.0 if (g := pulled[k]) is None else g[line.index] for k, line in moving]
            )
            analytic, numeric = float(terms.sum()), float(u[smooth] @ sides[0, 1][smooth])
            allowed = CLOSE * (np.abs(terms).sum() + np.abs(u[smooth]) @ size[smooth])
            if abs(analytic - numeric) > allowed:
                names = dict.fromkeys(compared[k].name for k, _ in moving)
                return Tie(" and ".join(names), len(moving), analytic, numeric)
    return None


def _slope(probe: Probe, moving: Sequence[Any], h: float) -> Array:
    """The slope of each output to one side, extrapolated from three steps: error O(h³)."""
    found = []
    for t in (h, h / 2, h / 4):
        for k, line in moving:
            probe.moved[k][line.index] = probe.base[k][line.index] + t
        try:
            found.append((probe.values() - probe.here) / t)
        finally:
            for k, line in moving:
                probe.moved[k][line.index] = probe.base[k][line.index]
    return np.asarray((found[0] - 6 * found[1] + 8 * found[2]) / 3)
