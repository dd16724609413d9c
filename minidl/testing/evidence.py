"""What is known of a gradient that is wrong, and the means to ask further."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.testing.points import Array, flat, parted

CLOSE = 1e-6  # relative: far more than the error of differences, far less than a coincidence
_STEP = 2.0**-9
_WEIGHTS = ((1.0, 64 / 45), (2.0, -20 / 45), (4.0, 1 / 45))  # h/4, h/2, h: error O(h⁶)


@dataclass
class Evidence:
    """One argument's gradient for one cotangent.

    argument : its name; inputs : all arguments by name; order : of the derivative
    out, g : output and its cotangent; of several outputs, all their numbers in one row
    analytic, numeric : the gradient as claimed and as found by differences; for an argument too
        large to be tried element by element, products with a few directions (`whole` is False)
    jacobian : for each element of the argument the derivatives of all outputs; None if unknown
    kink : where the function has a kink or a jump; low, high : the slopes on its sides
    others : analytic and numeric for the other arguments, by name
    pull(g, inputs) : the analytic gradient elsewhere
    slope(g, inputs, d) : the numeric derivative along d elsewhere
    """

    argument: str
    inputs: dict[str, Any]
    order: int
    out: Array
    g: Array
    analytic: Array
    numeric: Array
    whole: bool
    jacobian: Array | None
    kink: Array
    low: Array
    high: Array
    others: dict[str, tuple[Array, Array]]
    pull: Callable[[Array, dict[str, Any]], Array]
    slope: Callable[[Array, dict[str, Any], Array], float]

    @property
    def x(self) -> Array:
        """The argument itself."""
        return np.asarray(self.inputs[self.argument])

    @property
    def right(self) -> Array:
        """Where the analytic gradient is right, by element."""
        size = largest(self.numeric) or largest(self.analytic)
        off = np.maximum(self.low - self.analytic, self.analytic - self.high)
        return np.asarray(off <= CLOSE * size)

    def is_for(self, g: Array, inputs: dict[str, Any], change: Callable[[Array], Array]) -> bool:
        """Whether the gradient is the true one of another case: `change` of that for g, inputs.

        Two random directions decide; the true gradient need not be found as a whole.
        """
        rng = np.random.default_rng(0)
        ours, true = [], []
        for _ in range(2):
            d = rng.uniform(0.5, 1, self.x.shape) * rng.choice([-1.0, 1.0], self.x.shape)
            true.append(self.slope(g, inputs, d))
            ours.append(float((self.analytic * change(d)).sum()))
        return same(np.array(ours), np.array(true))


def largest(a: Array) -> float:
    """The largest absolute value."""
    return float(np.abs(a).max(initial=0))


def same(a: Any, b: Any) -> bool:
    """Whether two arrays agree, up to the error of differences; no if both are 0 or not finite."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return False
    size = max(largest(a), largest(b))
    return size > 0 and largest(a - b) <= CLOSE * size


def gather(compared: Any, everything: Any, level: Any, probe: Any, weights: Array) -> Evidence:
    """Collect what a check knows of an argument, with its first cotangent."""
    k = next(i for i, c in enumerate(everything) if c is compared)
    subject, u = level.subject, weights[0]
    given = zip(subject.all_names, subject.inputs, strict=True)
    inputs = dict(given) | dict(zip(level.names, level.points, strict=True))
    shape = probe.shapes[0] if len(probe.shapes) == 1 else (probe.count,)
    whole = len(compared.lines) == level.points[k].size and all(
        line.index is not None for line in compared.lines
    )

    def points(changed: dict[str, Any]) -> list[Array]:
        return [np.array(changed[name]) for name in level.names]

    def pull(g: Array, changed: dict[str, Any]) -> Array:
        found = level.pull(points(changed), parted(g.reshape(-1), probe.shapes))[k]
        return np.zeros_like(level.points[k]) if found is None else np.array(found, np.float64)

    def slope(g: Array, changed: dict[str, Any], d: Array) -> float:
        at = points(changed)
        x, h = at[k], _STEP / 4 * probe.scales[k]
        total = 0.0
        for times, weight in _WEIGHTS:
            sides = []
            for t in (times * h, -times * h):
                at[k] = x + t * d
                sides.append(float(flat(level.values(at)) @ g.reshape(-1)))
            total += weight * (sides[0] - sides[1]) / (2 * times * h)
        return total

    s = compared.slopes
    x_shape = level.points[k].shape
    shaped = x_shape if whole else (len(compared.lines),)
    jacobian = None
    if whole and s.jacobian is not None:
        jacobian = s.jacobian.reshape((*x_shape, *shape))
    others = {
        c.name: (c.analytic[:, 0].reshape(p.shape), c.slopes.value[:, 0].reshape(p.shape))
        for c, p in zip(everything, level.points, strict=True)
        if c is not compared
        and len(c.lines) == p.size
        and all(x.index is not None for x in c.lines)
    }
    return Evidence(
        compared.name, inputs, level.order, probe.here.reshape(shape), u.reshape(shape),
        compared.analytic[:, 0].reshape(shaped), s.value[:, 0].reshape(shaped), whole, jacobian,
        (s.kink | s.jump).reshape(shaped), s.low[:, 0].reshape(shaped),
        s.high[:, 0].reshape(shaped), others, pull, slope,
    )  # fmt: skip
