"""Rules that say where it is wrong, if no more can be said: slices, ends, single uses."""

from typing import Any

import numpy as np

from minidl.testing.evidence import CLOSE, Evidence, largest
from minidl.testing.rules.words import listed, one_at, places, the_others

FEW = 40  # the size up to which each output, or each element, is asked for alone


def should_be_zero(e: Evidence) -> str:
    """A gradient where the output does not depend on the argument at all."""
    wrong = ~e.right
    if not wrong.any() or e.numeric[wrong].any() or not e.numeric.any():
        return ""
    return f"it should be 0 {places(wrong)}: the output does not depend on these elements at all"


def zero_slices(e: Evidence) -> str:
    """Zero along whole slices where it should not be."""
    missing = (e.analytic == 0) & ~e.right
    for axis, n in enumerate(e.numeric.shape):
        rest = tuple(k for k in range(e.numeric.ndim) if k != axis)
        some, whole = missing.any(axis=rest), missing.all(axis=rest)
        if n > 1 and some.any() and (some == whole).all() and not some.all():
            return (
                f"it is 0 at index {listed(np.flatnonzero(some))} of axis {axis}, where it should "
                "not be: a term, a slice or the gate of a cell is left out"
            )
    return ""


def ends_of_an_axis(e: Evidence) -> str:
    """Right only at the first or last places of an axis, or wrong only at its ends."""
    good = e.right
    for axis, n in enumerate(e.numeric.shape):
        if n < 3:
            continue
        rest = tuple(k for k in range(e.numeric.ndim) if k != axis)
        fine = np.asarray(good.all(axis=rest))
        count = int(fine.sum())
        if not 0 < count < n:
            continue
        if fine[-count:].all():
            last = "the last place" if count == 1 else f"the last {count} places"
            return (
                f"right only at {last} of axis {axis}: what one step owes to the next is lost or "
                "wrong (in a recurrence: the gradient carried from step to step)"
            )
        if fine[:count].all():
            first = "the first place" if count == 1 else f"the first {count} places"
            return (
                f"right only at {first} of axis {axis} (index 0 on): a step is forgotten (stride, "
                "dilation, an offset), or what is carried on from the first step"
            )
        if n > 4 and not fine[0] and not fine[-1] and fine[2:-2].all():
            return (
                f"wrong only at the border, the ends of axis {axis}: windows there are smaller, "
                "or padding counts where it should not"
            )
    return ""


def overwritten(e: Evidence) -> str:
    """Of several outputs that depend on an element only some contribute, and these rightly."""
    if (found := by_output(e)) is None:
        return ""
    ours, true, tiny = found
    counts, agree = np.abs(true) > tiny, np.abs(ours - true) <= tiny
    lost = counts & (np.abs(ours) <= tiny)
    several = counts.sum(axis=0) > 1
    if not lost.any() or not (agree | lost).all() or not (several | ~lost.any(axis=0)).all():
        return ""
    kept = (counts & ~lost).any(axis=tuple(range(1, counts.ndim))).reshape(e.g.shape)
    for axis, n in enumerate(e.g.shape):
        rest = tuple(k for k in range(e.g.ndim) if k != axis)
        if n > 1 and list(np.flatnonzero(kept.any(axis=rest))) == [0]:
            return (
                f"only the first index of axis {axis} of the output contributes: the sum over "
                f"axis {axis} is missing"
            )
    index = tuple(int(i) for i in np.argwhere(lost.any(axis=0))[0])
    total, left = int(counts[(slice(None), *index)].sum()), int(lost[(slice(None), *index)].sum())
    return (
        f"{total} outputs depend on element {index} and {left} of them do not contribute: "
        "overwritten where they must be added (repeated indices, windows that overlap; `+=`, "
        "`np.add.at`)?"
    )


def dependence(e: Evidence) -> str:
    """A gradient from outputs that do not depend on the element, or none from those that do."""
    if (found := by_output(e)) is None:
        return ""
    ours, true, tiny = found
    for wrong, words in (
        ((np.abs(ours) > tiny) & (true == 0), "gets a gradient from output {}, which does not"),
        ((np.abs(true) > tiny) & (ours == 0), "gets none from output {}, which does"),
    ):
        if wrong.any():
            k, *index = (int(i) for i in np.argwhere(wrong)[0])
            output = tuple(int(i) for i in np.unravel_index(k, e.g.shape))
            return (
                f"element {tuple(index)} of {e.argument} {words.format(output)} depend on it: an "
                f"index, an offset or a step is off{the_others(e)}"
            )
    return ""


def formula(e: Evidence) -> str:
    """Each output depends on one element, and the gradient knows it: so it is the formula."""
    if (found := by_output(e)) is None or e.g.shape != e.x.shape or e.g.size < 2:
        return ""
    ours, true, tiny = found
    other = ~np.eye(e.g.size, dtype=bool)
    if (np.abs(np.stack([ours, true]).reshape(2, e.g.size, -1)[:, other]) > tiny).any():
        return ""
    return (
        f"each output depends on {e.argument} at its own place alone, so the formula is to blame, "
        "not a sum, axis or index: is a term missing (of a product rule, a second use of "
        f"{e.argument}, a path through the graph)?{the_others(e).removeprefix('.')}"
    )


def by_output(e: Evidence) -> tuple[Any, Any, float] | None:
    """What each output by itself contributes: (ours, true), one output after the other.

    With what is as good as 0. None if there are too many outputs, or nothing is known of them.
    """
    if e.jacobian is None or e.g.size > FEW or e.g.ndim == 0 or not e.jacobian.any():
        return None
    outputs = list(np.ndindex(e.g.shape))
    true = np.array([e.jacobian[(..., *k)] for k in outputs])
    ours = np.array([e.pull(one_at(k, e.g.shape), e.inputs) for k in outputs])
    return ours, true, CLOSE * largest(true)


def low_rank(e: Evidence) -> str:
    """A matrix of rank one where the true one is a sum of several products."""
    if e.numeric.ndim != 2 or min(e.numeric.shape) < 2:
        return ""
    ours, true = (np.linalg.svd(a, compute_uv=False) for a in (e.analytic, e.numeric))
    if ours[1] < CLOSE * ours[0] and true[1] > 1e-3 * true[0]:
        return (
            "it is a single outer product where a sum of several is due: the step or row seen "
            "last overwrites the others (`=` for `+=`)?"
        )
    return ""


def partly_right(e: Evidence) -> str:
    """Right at some indices of an axis and wrong at others."""
    good = e.right
    for axis, n in enumerate(e.numeric.shape):
        rest = tuple(k for k in range(e.numeric.ndim) if k != axis)
        fine, wrong = good.all(axis=rest), ~good.any(axis=rest)
        if n > 1 and fine.any() and (fine | wrong).all() and not fine.all():
            return (
                f"right at index {listed(np.flatnonzero(fine))} of axis {axis} and wrong at the "
                f"others{the_others(e)}"
            )
    return ""


def one_argument(e: Evidence) -> str:
    """All other arguments' gradients are right."""
    return f"only argument {e.argument} is wrong{the_others(e)}" if the_others(e) else ""
