"""The likely cause of a wrong gradient, in one plain sentence."""

from typing import Any

import numpy as np


def cause(c: Any, compared: Any, level: Any, probe: Any, weights: Any) -> str:
    """Return the first cause that fits, or an empty text."""
    a, n = c.analytic, c.slopes.value
    if np.isnan(a).any():
        return "NaN: a mask by multiplication (0 * inf)? use where"
    if not a.any():
        return "no gradient path: the derivative is forgotten, or detached"
    big = np.abs(n) > 1e-6 * np.abs(n).max()
    if big.any():
        ratio = a[big] / n[big]
        if np.ptp(ratio) < 1e-6 * abs(ratio).max():
            return f"a constant factor {ratio.flat[0]:.6g}"
    return ""
