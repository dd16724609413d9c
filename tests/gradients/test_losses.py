"""Every loss with every reduction, and with each of its options: value and derivatives.

Values are those of definitions_losses.py; derivatives are compared with differences to second
order.
"""

import inspect
import itertools
from typing import Any

import numpy as np
import pytest
from cases import A, Case, D, Drawing, G, I, P
from definitions import DEFINITIONS
from proof import Subject, close

import minidl
from minidl import nn, ops
from minidl.testing import gradcheck

FAR = P(2, 3, low=3, high=4)  # no kink between this and A or D


def chance(*shape: int) -> Any:
    return P(*shape, low=0.1, high=0.9)


def positive(*shape: int) -> Any:
    return P(*shape, constant=True)


SIGNS = Drawing("given", (3,), constant=True, values=[1.0, -1.0, 1.0])
LABELS = G([2, 0, 1, 1])

# For each loss its calls without `reduction`: all options, alone and together.
LOSSES: dict[str, list[Case]] = {
    "mse_loss": [Case(A(2, 3), A(2, 3)), Case(A(2, 3), A(2, 3), weight=P(2, 3))],
    "l1_loss": [Case(A(2, 3), FAR), Case(A(2, 3), FAR, weight=P(2, 3))],
    "smooth_l1_loss": [Case(A(2, 3), FAR), Case(chance(2, 3), chance(2, 3), beta=2.0)],
    "huber_loss": [Case(A(2, 3), FAR), Case(chance(2, 3), chance(2, 3), delta=2.0, weight=P(2, 3))],
    "gaussian_nll_loss": [
        Case(A(2, 3), A(2, 3), P(2, 3)), Case(A(2, 3), A(2, 3), P(2, 1), full=True, eps=1e-3),
    ],
    "poisson_nll_loss": [
        Case(A(4), positive(4)), Case(P(4), positive(4), log_input=False, full=True, eps=0.1),
    ],
    "cosine_embedding_loss": [Case(A(3, 4), A(3, 4), SIGNS, margin=-1.5)],
    "margin_ranking_loss": [Case(A(3), A(3), SIGNS, margin=5.0), Case(A(3), A(3), SIGNS, -5.0)],
    "hinge_embedding_loss": [Case(P(3, high=0.9), SIGNS), Case(P(3), SIGNS, margin=2.5)],
    "triplet_margin_loss": [
        Case(A(2, 3), A(2, 3), A(2, 3), 9.0),
        Case(A(2, 3), P(2, 3, low=8, high=9), A(2, 3), p=3.0, eps=0.1, swap=True),
    ],
    "cross_entropy": [
        Case(A(4, 3), LABELS),
        Case(A(4, 3), LABELS, positive(3)),
        Case(A(4, 3), LABELS, ignore_index=1),
        Case(A(4, 3), LABELS, label_smoothing=0.2),
        Case(A(4, 3), LABELS, positive(3), ignore_index=2, label_smoothing=0.3),
        Case(A(2, 3, 4), I(3, 2, 4), positive(3)),
        Case(A(3), G(1), positive(3)),
        Case(A(4, 3), chance(4, 3)),
        Case(A(4, 3), chance(4, 3), positive(3), label_smoothing=0.2),
        Case(A(2, 3, 2), chance(2, 3, 2)),
    ],
    "nll_loss": [
        Case(A(4, 3), LABELS),
        Case(A(4, 3), LABELS, positive(3)),
        Case(A(4, 3), LABELS, positive(3), ignore_index=2),
        Case(A(2, 3, 4), I(3, 2, 4), ignore_index=0),
    ],
    "binary_cross_entropy": [
        Case(chance(2, 3), chance(2, 3)), Case(chance(2, 3), chance(2, 3), positive(3)),
    ],
    "binary_cross_entropy_with_logits": [
        Case(A(2, 3), chance(2, 3)),
        Case(A(2, 3), chance(2, 3), positive(3)),
        Case(A(2, 3), chance(2, 3), positive(2, 1), pos_weight=positive(3)),
    ],
    "kl_div": [Case(A(2, 3), P(2, 3)), Case(A(2, 3), D(2, 3), log_target=True)],
}  # fmt: skip
REDUCTIONS = {name: ["none", "mean", "sum"] for name in LOSSES}
REDUCTIONS["kl_div"].append("batchmean")
CALLS = [
    pytest.param(name, reduction, case, id=f"{name}-{i}-{reduction}")
    for name, cases in LOSSES.items()
    for reduction, (i, case) in itertools.product(REDUCTIONS[name], enumerate(cases))
]


def test_every_loss_is_here_with_every_option() -> None:
    """What takes a `reduction` is a loss; what else it takes, some case gives."""
    losses = {
        name: set(inspect.signature(inspect.unwrap(getattr(ops, name))).parameters)
        for name in ops.__all__
        if name != "registry"
        and "reduction" in inspect.signature(inspect.unwrap(getattr(ops, name))).parameters
    }
    assert losses.keys() == LOSSES.keys()
    for name, options in losses.items():
        positional = list(inspect.signature(inspect.unwrap(getattr(ops, name))).parameters)
        given = {
            option
            for case in LOSSES[name]
            for option in [*positional[: len(case.args)], *case.options]
        }
        assert options - given - {"reduction"} == set(), name


def test_every_module_of_a_loss_has_its_function_here() -> None:
    modules = {name for name in nn.losses.__all__ if name.endswith("Loss")}
    assert len(modules) == len(LOSSES)


@pytest.mark.parametrize(("name", "reduction", "case"), CALLS)
def test_value_and_derivatives(name: str, reduction: str, case: Case) -> None:
    reduced = Case(*case.args, **case.options, reduction=reduction)
    subject = Subject(name, reduced, 2)
    (found,) = subject.outputs(*[minidl.tensor(p) for p in subject.points])
    expected = np.asarray(DEFINITIONS[name](*subject.args, **subject.options))
    assert found.shape == expected.shape
    close(found.data, expected, 1e-12, name)  # a cosine's root has 1e-12 added to it, as PyTorch's
    gradcheck(subject.floats, tuple(subject.points), order=2, name=f"{name}, {reduction}")


def test_a_mean_of_weighted_labels_divides_by_their_weights() -> None:
    """By hand: two labels of weights 1 and 3, the third ignored."""
    x = np.log([[0.5, 0.5], [0.25, 0.75], [0.5, 0.5]])
    mean = ops.cross_entropy(
        minidl.tensor(x), minidl.tensor(np.array([0, 1, -100])), minidl.tensor(np.array([1.0, 3.0]))
    )
    assert float(mean.data) == pytest.approx((np.log(2) - 3 * np.log(0.75)) / 4, rel=1e-12)
