"""Rules that name the likely cause of a wrong gradient, from what the wrong one is right for.

A rule looks at the evidence on one argument and returns a sentence, or "" where it sees nothing. It
claims only what it has verified on the numbers: "right for w transposed" means that the derivative
with w transposed was computed, and is equal. Rules stand in order, from those that can hardly be
mistaken to those that merely describe.
"""

from collections.abc import Sequence

import numpy as np

from minidl.testing.evidence import Evidence
from minidl.testing.rules.elsewhere import (
    another_arguments,
    another_mask,
    as_if,
    of_the_input,
    other_axes,
    reordered,
    right_if_symmetric,
    shifted,
    wrong_axis,
)
from minidl.testing.rules.laws import homogeneity, invariance, not_a_gradient
from minidl.testing.rules.numbers import (
    constant_factor,
    factor_of_values,
    lacks_g,
    not_a_number,
    not_linear_in_g,
    nothing,
    only_at_kinks,
    single_precision,
    some_signs,
)
from minidl.testing.rules.where import (
    dependence,
    ends_of_an_axis,
    formula,
    low_rank,
    one_argument,
    overwritten,
    partly_right,
    should_be_zero,
    zero_slices,
)

__all__ = ["explain"]

RULES = (
    not_a_number, nothing, only_at_kinks, not_linear_in_g, single_precision, constant_factor,
    another_arguments, lacks_g, factor_of_values, of_the_input, some_signs, other_axes, shifted,
    reordered, as_if, right_if_symmetric, wrong_axis, another_mask, should_be_zero, invariance,
    ends_of_an_axis, zero_slices, overwritten, homogeneity, low_rank, dependence, partly_right,
    formula, not_a_gradient, one_argument,
)  # fmt: skip
FOR_DIRECTIONS = (not_a_number, nothing, not_linear_in_g, single_precision, constant_factor)


def explain(evidence: Sequence[Evidence]) -> str:
    """Return what the first rule says that fits any of the wrong arguments; "" where none does."""
    for rule in RULES:
        for e in evidence:
            if not e.whole and rule not in FOR_DIRECTIONS:
                continue
            try:
                with np.errstate(all="ignore"):
                    said = rule(e)
            except Exception:  # the function under test was asked where it need not work
                continue
            if said:
                other = "" if e is evidence[0] else f"argument {e.argument}: "
                return other + said + ("" if e.order == 1 else _of_second_order(said))
    return ""


def _of_second_order(said: str) -> str:
    stop = "" if said.endswith("?") else "."
    return (
        f"{stop} This is the second derivative; if the first is right, something in it is a "
        "constant to the tape, cut off from the graph: a kept array, .detach(), .data"
    )
