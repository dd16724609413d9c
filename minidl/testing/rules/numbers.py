"""Rules on the numbers themselves: NaN, zeros, factors, signs, precision, linearity."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl.testing.evidence import CLOSE, Evidence, largest, same
from minidl.testing.rules.words import places


def not_a_number(e: Evidence) -> str:
    """NaN or infinity where the true gradient is a number."""
    bad = ~np.isfinite(e.analytic)
    if not (bad & np.isfinite(e.low) & np.isfinite(e.high)).any():
        return ""
    what = "nan" if np.isnan(e.analytic).any() else "infinite"
    at_kink = "there is a kink or tie, and " if e.kink[bad].all() else ""
    return (
        f"it is {what} {places(bad)}: {at_kink}0 / 0 or 0 * inf is computed inside. A mask by "
        "multiplication lets nan through: choose with `where`, and choose before dividing"
    )


def nothing(e: Evidence) -> str:
    """Zero everywhere, where the true one is not."""
    if e.analytic.any() or not e.numeric.any():
        return ""
    return (
        "it is 0 everywhere: is the derivative forgotten, or the path cut (.detach(), an array in "
        "place of a tensor)?"
    )


def only_at_kinks(e: Evidence) -> str:
    """Right but for kinks, where it lies outside of the slopes of both sides."""
    wrong = ~e.right
    if not wrong.any() or not e.kink[wrong].all():
        return ""
    i = np.argwhere(wrong)[0]
    low, high = e.low[tuple(i)], e.high[tuple(i)]
    return (
        f"wrong only at a kink, {places(wrong)}: a value between the slopes of the two sides "
        f"({low:.6g} to {high:.6g}) is right there; are two cases that meet both counted (>= and "
        "<=)?"
    )


def not_linear_in_g(e: Evidence) -> str:
    """A product of a Jacobian with g is linear in g."""
    once, twice = e.pull(e.g, e.inputs), e.pull(2 * e.g, e.inputs)
    if same(twice, once):
        return (
            "g, the gradient of the output, is ignored: twice the g gives the same result, where "
            "it must give twice as much"
        )
    if same(twice, 2 * once) or not (np.isfinite(once).all() and np.isfinite(twice).all()):
        return ""
    if same(once - e.pull(0 * e.g, e.inputs), twice - once):
        return (
            "it is not linear in g, the gradient of the output: for g = 0 it is not 0, so one of "
            "its terms is not multiplied by g (or by a sum of g)"
        )
    return (
        "it is not linear in g, the gradient of the output: twice the g does not give twice as "
        "much. Are values used that the backward pass itself has changed (a step of the optimiser "
        "taken too early)?"
    )


def single_precision(e: Evidence) -> str:
    """An error of the size of float32's rounding."""
    size, error = largest(e.numeric), largest(e.analytic - e.numeric)
    if not 1e-10 * size < error < 1e-6 * size:
        return ""
    return (
        f"the error is {error / size:.0e} of the gradient, as exact as float32 is: a float32 "
        "constant or a cast inside?"
    )


def constant_factor(e: Evidence) -> str:
    """Analytic = c · numeric with one number c."""
    size = float((e.numeric * e.numeric).sum())
    if size == 0 or not np.isfinite(e.analytic).all():
        return ""
    c = float((e.analytic * e.numeric).sum()) / size
    if c == 0 or not same(e.analytic, c * e.numeric) or abs(c - 1) < CLOSE:
        return ""
    if abs(c + 1) < CLOSE:
        return "the sign is wrong"
    meanings = "; or ".join(dict.fromkeys(_meanings(abs(c), e)))
    if not meanings and e.numeric.size == 1:
        return ""  # a single number always has a ratio
    sign = "the sign is wrong, and there is a " if c < 0 else ""
    return sign + (meanings or f"factor {abs(c):.6g}, the same everywhere")


def _meanings(c: float, e: Evidence) -> Iterator[str]:
    """What a factor may be, of the numbers in this problem."""

    def near(value: float) -> bool:
        return abs(c - value) <= CLOSE * abs(value)

    sizes: list[tuple[int, str]] = []
    for name, value in e.inputs.items():
        if isinstance(value, np.ndarray):
            for axis, n in enumerate(value.shape):
                batch = ", the batch size" if axis == 0 else ""
                sizes.append((n, f"the length of axis {axis} of {name}{batch}"))
            sizes.append((value.size, f"the number of elements of {name}"))
    seen: set[int] = set()
    for n, words in sizes:
        if n in seen or n < 2:
            continue
        seen.add(n)
        if near(n):
            yield f"factor {n} = {words}: is the division of a mean missing?"
        if near(1 / n):
            yield f"factor 1/{n}, {n} = {words}: divided by it once too often (a mean for a sum)?"
    if near(2):
        yield "factor 2: is one thing counted twice?"
    if near(0.5):
        yield "factor 1/2: is the factor 2 of a square missing, or one of two uses of a thing?"
    known = [(float(e.out), "the output itself")] if e.out.size == 1 else []
    for name, value in e.inputs.items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            known += [(float(value), name), (1 - float(value), f"1 - {name}")]
    for number, words in known:
        if number and near(abs(number)):
            yield f"factor {c:.6g} = {words}: is a division by it missing?"
        elif number and near(1 / abs(number)):
            yield f"factor {c:.6g} = 1 / ({words}): is a factor of it missing?"


def factor_of_values(e: Evidence) -> str:
    """The ratio is, element by element, an argument or the output."""
    ratio = e.analytic / e.numeric
    if not np.isfinite(ratio).all():
        return ""
    values: dict[str, Any] = {f"argument {n}": v for n, v in e.inputs.items()}
    for name, value in (values | {"the output": e.out}).items():
        if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or value.size < 2:
            continue
        if value.shape != ratio.shape:
            continue
        for power, form in ((1, "{}"), (-1, "1 / {}"), (2, "{} squared"), (-2, "1 / {} squared")):
            if same(ratio, value**power):
                return (
                    f"the ratio is {form.format(name)}, element by element: an exponent that is "
                    "off by one, or a factor too many or too few?"
                )
    return ""


def some_signs(e: Evidence) -> str:
    """The right sizes, with the wrong sign here and there."""
    if not same(np.abs(e.analytic), np.abs(e.numeric)):
        return ""
    wrong, counts = ~e.right, e.numeric != 0
    names = [n for n, v in e.inputs.items() if np.shape(v) == wrong.shape]
    where = [n for n in names if (((np.asarray(e.inputs[n]) < 0) & counts) == wrong).all()]
    reason = f", just where {where[0]} is negative" if where else ""
    return f"the size is right, the sign is wrong {places(wrong)}{reason}"


def lacks_g(e: Evidence) -> str:
    """Numeric - analytic = g: a way around is forgotten."""
    if same(e.numeric - e.analytic, e.g):
        return (
            f"just g, the gradient of the output, is missing: is {e.argument} used twice, once "
            "directly? Or was a saved output changed before the backward pass read it?"
        )
    if same(e.analytic - e.numeric, e.g):
        return "it is too large by just g, the gradient of the output: one path is counted twice"
    return ""
