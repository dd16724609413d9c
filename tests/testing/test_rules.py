"""The causes that are named: what no exercise of the bug lab shows, and what must not be said."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import ops, tensor
from minidl.testing import GradientError, gradcheck, gradgradcheck, rules
from minidl.testing.buglab.exercise import op

SURE = ("factor", "sign", "transposed", "reversed", "exchanged", "shifted", "order", "nan", "tie")


def cause_of(fn, inputs, gradient=None, check=gradcheck) -> str:
    options = {} if gradient is None else {"gradient": gradient}
    with pytest.raises(GradientError) as caught:
        check(fn, inputs, **options)
    return caught.value.cause


def normal(*shape: int, seed: int = 0):
    return np.random.default_rng(seed).normal(size=shape)


@given(st.integers(0, 2**32 - 1))
def test_nothing_certain_is_said_of_noise(seed: int) -> None:
    """A gradient that is wrong in no particular way is not explained away."""
    noise = normal(3, 4, seed=seed)
    said = cause_of(
        lambda x, w: x @ w,
        (normal(5, 3, seed=seed + 1), normal(3, 4, seed=seed + 2)),
        lambda g, x, w: (g @ w.T, x.T @ g + g.sum() * noise),
    )
    assert not [word for word in SURE if word in said]


@pytest.mark.parametrize(
    ("gradient", "said"),
    [
        (lambda g, x: 600 * g, "factor 600 = the number of elements of x"),
        (lambda g, x: g / 20, "factor 1/20"),
        (lambda g, x: np.ones_like(g), "is ignored"),
        (lambda g, x: 0 * g, "it is 0 everywhere"),
        (lambda g, x: g * np.where(x > 2, np.nan, 1), "it is nan"),
        (lambda g, x: g.astype("float32"), "float32"),
    ],
    ids=["too large", "too small", "ignored", "zero", "nan", "float32"],
)
def test_arguments_too_large_to_be_tried_element_by_element(gradient, said) -> None:
    assert said in cause_of(lambda x: x + 0, (normal(20, 30),), gradient)


def test_several_outputs() -> None:
    said = cause_of(
        lambda x, y: (x * y, x + y),
        (normal(3), normal(3, seed=1)),
        lambda g, x, y: (g[0] * y + g[1], g[0] * x - g[1]),
    )
    assert said == "only argument y is wrong. The gradient of x is right, and so is what they share"
    said = cause_of(lambda x: (x, 2 * x), (normal(5),), lambda g, x: 5 * g[0] + 10 * g[1])
    assert "factor 5 = the length of axis 0 of x, the batch size" in said


@pytest.mark.parametrize(
    ("fn", "gradient", "said"),
    [
        (lambda x: np.sin(x), lambda g, x: g + g * np.cos(x), "counted twice"),
        (lambda x: x.sum(), lambda g, x: -12 * g * np.ones_like(x), "the sign is wrong, and ther"),
        (lambda x: x * 1.7, lambda g, x: g * 1.1, "factor 0.647059, the same everywhere"),
        (lambda x: x / np.sqrt(3), lambda g, x: g / 3, "factor 0.57735, the same everywhere"),
    ],
    ids=["one g too many", "negative factor", "unknown factor", "root"],
)
def test_further_factors(fn, gradient, said) -> None:
    assert said in cause_of(fn, (normal(3, 4),), gradient)


def test_an_option_as_a_factor() -> None:
    said = cause_of(
        lambda x, scale: x * scale, (normal(4), 0.3), lambda g, x, scale: (g * scale**2, None)
    )
    assert "factor 0.3 = scale" in said
    said = cause_of(lambda x, scale: x * scale, (normal(4), 0.3), lambda g, x, scale: (g, None))
    assert "factor 3.33333 = 1 / (scale)" in said


def test_right_at_some_indices() -> None:
    def gradient(g, x):
        g = g * np.cos(x)
        g[[1, 3]] *= x[[1, 3]] ** 3 + 2
        return g

    said = cause_of(lambda x: np.sin(x), (normal(6, 2),), gradient)
    assert "right at index 0, 2, 4, 5 of axis 0 and wrong at the others" in said


def test_dependence_on_the_wrong_outputs() -> None:
    def fn(x):
        return np.append(x[:1], x[1:] * x[:-1])

    def strange(g, x):
        out = g * np.append(1, x[:-1])
        out[:-1] += g[1:] * x[1:]
        out[3] += g[0] * x[0]
        return out

    def lost(g, x):
        out = g * np.append(1, x[:-1])
        out[:-2] += g[1:-1] * x[1:-1]
        return out * (2 + x**2)

    x = normal(6)
    said = cause_of(fn, (x,), strange)
    assert "element (3,) of x gets a gradient from output (0,), which does not depend on it" in said
    said = cause_of(fn, (x,), lost)
    assert "element (4,) of x gets none from output (5,), which does depend on it" in said


def test_no_function_has_this_gradient() -> None:
    a, b = normal(4, 4), normal(4, 4, seed=1)
    said = cause_of(lambda x: x @ a @ x, (normal(4, seed=2),), lambda g, x: g * 2 * b @ x)
    assert "no function has this gradient" in said


def test_what_the_others_share_is_right() -> None:
    said = cause_of(
        lambda x, y: x * y, (normal(), normal(seed=1)), lambda g, x, y: (g * y + g * x**2, g * x)
    )
    assert said == "only argument x is wrong. The gradient of y is right, and so is what they share"


def test_a_derivative_forgotten_on_the_tape() -> None:
    @op(x=lambda g: 0 * g)
    def forgotten(x):
        """sin x."""
        return np.sin(x)

    assert "it is 0 everywhere" in cause_of(forgotten, (tensor(normal(3)),))


def test_second_order_says_so() -> None:
    @op(x=lambda g, x: g * ops.cos(x.detach() if hasattr(x, "detach") else x))
    def cut(x):
        """sin x."""
        return np.sin(x)

    said = cause_of(cut, (tensor(normal(3)),), check=gradgradcheck)
    assert "it is 0 everywhere" in said
    assert "second derivative" in said
    assert "?." not in said


def test_a_function_that_refuses_further_questions() -> None:
    """What the diagnosis asks may be refused; the mistake is reported all the same."""
    x = normal(4)

    def gradient(g, x):
        if not 0.4 < np.abs(g).max() < 1:
            raise RuntimeError("no such g")
        return g * (np.cos(x) + 0.1 * x**2)

    with pytest.raises(GradientError, match="is wrong") as caught:
        gradcheck(lambda x: np.sin(x), (x,), gradient=gradient)
    assert caught.value.analytic is not None


def test_the_cause_may_lie_in_another_argument() -> None:
    """The first argument that is wrong may say nothing where a later one says all."""
    noise = normal(3)
    said = cause_of(
        lambda x, y: np.sin(x) * y,
        (normal(3, seed=1), normal(3, seed=2)),
        lambda g, x, y: (g * y * np.cos(x) + g[::-1] * noise, -g * np.sin(x)),
    )
    assert said == "argument y: the sign is wrong"


# ---- ties ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", ["equal", "first", "last"])
def test_ties_may_be_shared_or_given_to_one(share) -> None:
    def gradient(g, x):
        ties = x == x.max()
        at = np.flatnonzero(ties)
        one = np.zeros_like(x)
        if share == "equal":
            one[at] = 1 / len(at)
        else:
            one[at[0 if share == "first" else -1]] = 1
        return g * one

    assert gradcheck(lambda x: x.max(), (np.array([1.0, 3.0, 3.0, 2.0, 3.0]),), gradient=gradient)


@given(st.integers(2, 5), st.sampled_from([1e-9, 1.0, 1e9]))
def test_ties_given_more_or_less_than_all(count: int, scale: float) -> None:
    x = np.array([0.5] + [2.0] * count)
    for part, words in ((1.0, "more than the gradient"), (0.7 / count, "less than the gradient")):
        said = cause_of(
            lambda x: scale * x.max(), (x,), lambda g, x, p=part: scale * g * p * (x == x.max())
        )
        assert words in said


def test_kinks_that_are_no_ties() -> None:
    x = np.zeros(5)
    assert gradcheck(ops.abs, (tensor(x),)).kinks == 5
    assert gradcheck(lambda x: ops.relu(x).sum(), (tensor(x),)).kinks == 5


def test_rules_have_different_names() -> None:
    assert len({rule.__name__ for rule in rules.RULES}) == len(rules.RULES) > 25
    assert set(rules.FOR_DIRECTIONS) <= set(rules.RULES)
