"""Rules from what every gradient must fulfil: invariance, Euler's theorem, symmetry."""

import numpy as np

from minidl.testing.evidence import CLOSE, Evidence, largest
from minidl.testing.points import Array
from minidl.testing.rules.words import one_at, the_others

FEW = 40  # the size up to which each output, or each element, is asked for alone


def invariance(e: Evidence) -> str:
    """Where adding a constant or scaling changes nothing, the gradient has no part along it."""
    size = largest(e.numeric)
    for axis, n in enumerate(e.numeric.shape):
        if n < 2 or not size:
            continue
        if _all_zero(e.numeric.sum(axis), size) and not _all_zero(e.analytic.sum(axis), size):
            return (
                f"the function does not change when a constant is added along axis {axis} of "
                f"{e.argument}, so the gradient must sum to 0 there, and this one does not: the "
                f"term that takes the mean off (a sum over axis {axis}) is missing or along "
                "another axis"
            )
    for axis, n in enumerate(e.numeric.shape):
        if n < 2 or not size:
            continue
        scale = size * largest(e.x)
        true, ours = (e.numeric * e.x).sum(axis), (e.analytic * e.x).sum(axis)
        if _all_zero(true, scale) and not _all_zero(ours, scale):
            return (
                f"the function does not change when {e.argument} is scaled along axis {axis}, so "
                f"sum({e.argument} * gradient) must be 0 there, and it is not: the term of the "
                "norm or standard deviation is missing"
            )
    return ""


def _all_zero(a: Array, size: float) -> bool:
    return largest(a) <= CLOSE * size


def homogeneity(e: Evidence) -> str:
    """Euler: if f(c x) = c^k f(x) then sum(x · gradient) = k · sum(g · f)."""
    total = float((e.g * e.out).sum())
    if total == 0:
        return ""
    degree = float((e.x * e.numeric).sum()) / total
    found = float((e.x * e.analytic).sum()) / total
    k, ours = round(degree), round(found)
    near = max(abs(degree - k), abs(found - ours)) < CLOSE
    if near and 2 <= k <= 4 and 1 <= ours < k:
        times = {2: "twice", 3: "three times", 4: "four times"}[k]
        return (
            f"{e.argument} is used {times} (the output grows with its power of {k}), and only "
            f"{ours} of the {k} uses are differentiated: the gradients of all uses must be added"
        )
    return ""


def not_a_gradient(e: Evidence) -> str:
    """The derivative of a gradient is a symmetric matrix; if it is not, no function has it."""
    n = e.x.size
    if not 2 <= n <= FEW:
        return ""
    rows, step = [], 1e-5 * max(1.0, largest(e.x))
    for k in np.ndindex(e.x.shape):
        d = step * one_at(k, e.x.shape)
        up = e.pull(e.g, e.inputs | {e.argument: e.x + d})
        down = e.pull(e.g, e.inputs | {e.argument: e.x - d})
        rows.append((up - down).reshape(-1) / (2 * step))
    second = np.array(rows)
    if not np.isfinite(second).all() or largest(second - second.T) <= 1e-4 * largest(second):
        return ""
    return (
        f"no function has this gradient: for fixed g its own derivative for {e.argument} is a "
        "matrix that is not symmetric; a term is missing, or a value of another place or step is "
        f"used{the_others(e)}"
    )
