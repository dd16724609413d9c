"""Words for where something is, shared by the rules."""

from typing import Any

import numpy as np

from minidl.testing.evidence import Evidence, same
from minidl.testing.points import Array


def places(mask: Array) -> str:
    """Words for where a mask holds."""
    found = [tuple(int(i) for i in index) for index in np.argwhere(mask)]
    if mask.ndim == 0 or mask.all():
        return "everywhere"
    for axis in range(mask.ndim if mask.ndim > 1 else 0):
        rest = tuple(k for k in range(mask.ndim) if k != axis)
        some, whole = mask.any(axis=rest), mask.all(axis=rest)
        if (some == whole).all():
            return f"at index {listed(np.flatnonzero(some))} of axis {axis}"
    shown = ", ".join(map(str, found[:4]))
    return f"at {shown}" + (f" and {len(found) - 4} more places" if len(found) > 4 else "")


def listed(indices: Any) -> str:
    """Return up to six indices as text."""
    shown = [str(int(i)) for i in indices]
    return ", ".join(shown[:6]) + (", …" if len(shown) > 6 else "")


def the_others(e: Evidence) -> str:
    """Return what it means that all other arguments are right; "" where they are not."""
    if not e.others or not all(same(a, n) for a, n in e.others.values()):
        return ""
    return f". The gradient of {' and '.join(e.others)} is right, and so is what they share"


def one_at(index: tuple[int, ...], shape: tuple[int, ...]) -> Array:
    """Return zeros with a one at a place."""
    one = np.zeros(shape)
    one[index] = 1
    return one
