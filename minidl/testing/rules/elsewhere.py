"""Rules that find what the gradient is right for: other axes, another place or argument."""

import itertools
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from minidl.testing.evidence import Evidence, same
from minidl.testing.points import Array
from minidl.testing.rules.words import listed, places

MANY = 40  # orders and directions of axes are tried up to this number


def another_arguments(e: Evidence) -> str:
    """What is returned is the gradient of another argument."""
    for name, (analytic, numeric) in e.others.items():
        if same(e.analytic, numeric):
            if same(analytic, e.numeric):
                return f"the gradients of argument {e.argument} and argument {name} are exchanged"
            return f"this is the gradient of argument {name}, not of argument {e.argument}"
    return ""


def other_axes(e: Evidence) -> str:
    """The right numbers under another order of axes, or in another direction along one."""
    for change, words in changes(e.numeric):
        if same(e.analytic, change(e.numeric)):
            return f"it is the right gradient {words}"
    return ""


def as_if(e: Evidence) -> str:
    """The right gradient for another argument transposed or reversed, or for a reversed g."""
    for name, value in _float_arrays(e):
        for change, words in changes(value):
            if e.is_for(e.g, e.inputs | {name: change(value)}, _as_it_is):
                return f"it is right for argument {name} {words}, not as it is"
    if e.analytic.shape == e.g.shape:
        for change, words in changes(e.g):
            if e.is_for(change(e.g), e.inputs, _inverse(change, e.g)):
                return (
                    f"it would be right if g and the result were {words}: is it to run in the "
                    "other direction?"
                )
    return ""


def right_if_symmetric(e: Evidence) -> str:
    """Right when a matrix among the arguments is symmetric, and wrong when it is not."""
    for name, value in _float_arrays(e):
        if value.ndim != 2 or value.shape[0] != value.shape[1]:
            continue
        symmetric = e.inputs | {name: (value + value.T) / 2}
        there = e.pull(e.g, symmetric)
        d = np.asarray(np.random.default_rng(1).uniform(0.5, 1, e.x.shape))
        if same((there * d).sum(), e.slope(e.g, symmetric, d)):
            return (
                f"it is right only if argument {name} is symmetric: {name} transposed is to stand "
                "in one of the terms"
            )
    return ""


def wrong_axis(e: Evidence) -> str:
    """Right if the output and all arguments of its shape were transposed: summed the wrong way."""
    if e.g.ndim != 2 or e.g.shape[0] != e.g.shape[1] or e.x.size != len(e.g):
        return ""
    turned = {n: np.transpose(v) if np.shape(v) == e.g.shape else v for n, v in e.inputs.items()}
    if not e.is_for(e.g.T, turned, _as_it_is):
        return ""
    axis = 1 if e.x.ndim == 2 and e.x.shape[1] == 1 else 0
    return f"it is summed over axis {1 - axis}, where the sum over axis {axis} is due"


def of_the_input(e: Evidence) -> str:
    """A formula p(out) · g, written with the argument in the place of the output."""
    if not e.analytic.shape == e.out.shape == e.x.shape or e.x.size < 5:
        return ""
    x, slope, out = e.x.reshape(-1), (e.analytic / e.g).reshape(-1), e.out.reshape(-1)
    if not np.isfinite(slope).all() or len(set(x)) < 5:
        return ""
    powers = np.stack([x**k for k in range(3)], 1)
    p = np.linalg.lstsq(powers, slope, rcond=None)[0]
    at_out = np.stack([out**k for k in range(3)], 1) @ p
    if same(powers @ p, slope) and same(at_out * e.g.reshape(-1), e.numeric.reshape(-1)):
        return (
            f"the formula is right for the output, but it is used with the argument {e.argument}: "
            "put the output in its place"
        )
    return ""


def shifted(e: Evidence) -> str:
    """The right numbers a few places off along an axis."""
    for axis, n in enumerate(e.numeric.shape):
        ours, true = np.moveaxis(e.analytic, axis, 0), np.moveaxis(e.numeric, axis, 0)
        for by in range(1, n - 1):
            for way, words in ((1, "late"), (-1, "early")):
                front, back = (ours[by:], true[:-by]) if way > 0 else (ours[:-by], true[by:])
                if same(front, back):
                    return (
                        f"the right numbers, shifted by {by} along axis {axis} (too {words}): "
                        "is an offset or the padding cut off at the wrong end?"
                    )
    return ""


def reordered(e: Evidence) -> str:
    """The same slices along an axis, or the same numbers, in another order."""
    if not same(np.sort(e.analytic, axis=None), np.sort(e.numeric, axis=None)):
        return ""
    for axis, n in enumerate(e.numeric.shape):
        ours = np.moveaxis(e.analytic, axis, 0)
        true = np.moveaxis(e.numeric, axis, 0)
        found = [next((k for k in range(n) if same(ours[j], true[k])), None) for j in range(n)]
        if None not in found and found != list(range(n)):
            moved = [j for j, k in enumerate(found) if j != k]
            return (
                f"the right numbers in another order along axis {axis} (index "
                f"{listed(moved)}): an index used in place of its inverse, or blocks (the gates "
                "of a cell) laid out differently?"
            )
    return (
        "the right numbers at the wrong place, in another order: another axis, another index, or "
        "rows for columns?"
    )


def another_mask(e: Evidence) -> str:
    """Right where both are not 0, but 0 at other places."""
    ours, true = e.analytic != 0, e.numeric != 0
    both = ours & true
    if not both.any() or not (ours & ~true).any() or not (true & ~ours).any():
        return ""
    if not same(e.analytic[both], e.numeric[both]):
        return ""
    return (
        f"right where both are not 0, but 0 at other places ({places(true & ~ours)}): is the mask "
        "of the forward pass kept, or another one drawn?"
    )


def changes(a: Array) -> Iterator[tuple[Callable[[Array], Array], str]]:
    """The ways to turn an array that keep its shape, with words for them; MANY at most."""
    return itertools.islice(_changes(a), MANY)


def _changes(a: Array) -> Iterator[tuple[Callable[[Array], Array], str]]:
    if a.ndim == 2 and a.shape[0] == a.shape[1] > 1:
        yield (lambda v: v.T), "transposed"
    elif a.ndim > 2:
        for order in itertools.permutations(range(a.ndim)):
            if order != tuple(range(a.ndim)) and tuple(a.shape[k] for k in order) == a.shape:
                yield partial(np.transpose, axes=order), f"transposed: its axes in order {order}"
    long = [k for k, n in enumerate(a.shape) if n > 1]
    for count in range(1, len(long) + 1):
        for axes in itertools.combinations(long, count):
            many = "axes" if count > 1 else "axis"
            which = " and ".join(map(str, axes))
            yield partial(np.flip, axis=axes), f"reversed along {many} {which}"


def _inverse(change: Callable[[Array], Array], like: Array) -> Callable[[Array], Array]:
    """Undo a change of order: each element goes back to where it came from."""
    order = change(np.arange(like.size).reshape(like.shape)).reshape(-1)

    def back(v: Array) -> Array:
        made = np.empty(like.size)
        made[order] = v.reshape(-1)
        return made.reshape(like.shape)

    return back


def _float_arrays(e: Evidence) -> list[tuple[str, Array]]:
    return [
        (n, v) for n, v in e.inputs.items() if isinstance(v, np.ndarray) and v.dtype.kind == "f"
    ]


def _as_it_is(v: Array) -> Array:
    return v
