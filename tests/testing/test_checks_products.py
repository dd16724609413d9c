"""check_jvp_vjp and check_linear: what they prove, by which means, and what they refuse."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl
from minidl import ops
from minidl.testing import GradientError, check_jvp_vjp, check_linear

RNG = np.random.default_rng(5)
X, W = RNG.standard_normal((4, 3)), RNG.standard_normal((3, 2))


def failing(check: Any, *args: Any, **options: Any) -> GradientError:
    with pytest.raises(GradientError) as caught:
        check(*args, **options)
    return caught.value


# ---- <u, J v> = <Jᵀ u, v> -----------------------------------------------------------------------


def sine_product(x: Any, w: Any) -> Any:
    return np.sin(x) @ w


def its_gradient(g: Any, x: Any, w: Any) -> Any:
    return (g @ w.T) * np.cos(x), np.sin(x).T @ g


@pytest.mark.parametrize("method", ["differences", "complex"])
def test_products_agree(method: str) -> None:
    found = check_jvp_vjp(sine_product, (X, W), method=method, gradient=its_gradient)
    (row,) = found.checks
    assert (row.argument, row.count, row.directions) == ("x and w", 3, True)
    assert found.worst < {"differences": 1e-9, "complex": 1e-14}[method]


def test_products_of_tensors_agree() -> None:
    assert check_jvp_vjp(lambda x, w: (ops.exp(x) @ w, ops.sum(x)), (X, W)).worst < 1e-9
    found = check_jvp_vjp(
        ops.tanh, (X,), method="forward", forward=lambda v, x: v * (1 - ops.tanh(x) ** 2)
    )
    assert found.worst < 1e-14
    found = check_jvp_vjp(
        ops.matmul, (X, W), method="forward", forward=lambda v, x, w: v[0] @ w + x @ v[1]
    )
    assert found.worst < 1e-14


@pytest.mark.parametrize("method", ["differences", "complex"])
@given(error=st.sampled_from([1e-6, 1e-3, -2.0]), size=st.integers(-9, 9))
def test_a_wrong_gradient_is_found_at_any_scale(method: str, error: float, size: int) -> None:
    c = 10.0**size

    def gradient(g: Any, x: Any, w: Any) -> Any:
        gx, gw = its_gradient(c * g, x, w)
        gw[0, 0] *= 1 + error
        return gx, gw

    wrong = failing(
        check_jvp_vjp, lambda x, w: c * sine_product(x, w), (X, W), method=method, gradient=gradient
    )
    assert (wrong.problem, wrong.index) == ("wrong", None)


def test_a_linear_map_far_from_its_adjoint_is_not_hidden_by_a_double_vjp() -> None:
    """The jvp that is made of two vjps satisfies the equation for any wrong derivative."""

    @minidl.tape.op(x=lambda g: 3 * g)
    def twice(x: Any) -> Any:
        return 2 * x

    u, v = RNG.standard_normal((2, 4, 3))
    _, jv = minidl.jvp(twice, minidl.tensor(X), minidl.tensor(v))
    _, ju = minidl.vjp(twice, minidl.tensor(X), minidl.tensor(u))
    assert float(np.sum(u * jv.data)) == pytest.approx(float(np.sum(ju.data * v)))
    assert failing(check_jvp_vjp, twice, (X,)).ratio == pytest.approx(1.5)


def test_kinks_are_judged_along_directions_too() -> None:
    (row,) = check_jvp_vjp(lambda x: (ops.relu(x), ops.exp(x)), (np.zeros(3),)).checks
    assert row.kinks == 3


@pytest.mark.parametrize(
    ("fn", "text"),
    [
        (lambda x: np.abs(x), "leaves the complex plane"),
        (lambda x: np.floor(x) + x, "does not take complex arrays"),
    ],
)
def test_functions_that_have_no_complex_step(fn: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        check_jvp_vjp(fn, (X,), method="complex", gradient=lambda g, x: g * np.sign(x))


def test_functions_that_are_not_analytic() -> None:
    wrong = failing(
        check_jvp_vjp, lambda x: np.abs(x) * x, (X,), method="complex",
        gradient=lambda g, x: 2 * g * np.abs(x),
    )  # fmt: skip
    assert "not analytic" in wrong.summary


def test_a_wrong_forward_rule_is_told_from_a_wrong_gradient() -> None:
    wrong = failing(check_jvp_vjp, ops.sin, (X,), method="forward", forward=lambda v, x: v * x)
    assert "the forward rule differs" in wrong.summary
    wrong = failing(check_jvp_vjp, ops.sin, (X,), method="forward", forward=lambda v, x: ops.sum(v))
    assert wrong.problem == "shape"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"method": "backward"}, "expected differences, complex or forward"),
        ({"method": "forward"}, "belong together"),
        ({"forward": lambda v, x: v}, "belong together"),
        ({"method": "complex"}, "takes a NumPy function with gradient="),
    ],
)
def test_methods_that_cannot_be_used(options: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        check_jvp_vjp(ops.sin, (X,), **options)


# ---- linear functions ---------------------------------------------------------------------------


def shift(x: Any) -> Any:
    return np.roll(x, 1, 0)


def test_linear_ops_and_their_adjoints() -> None:
    assert check_linear(ops.matmul, (X, W)).worst < 1e-14
    assert check_linear(ops.matmul, (X, W), "y").checks[0].count == 6
    assert check_linear(lambda x: (ops.cumsum(x, 0), 3 * x), (X,)).worst < 1e-14
    found = check_linear(
        lambda x: ops.cumsum(x, 0), (X,),
        adjoint=lambda g: ops.flip(ops.cumsum(ops.flip(g, 0), 0), 0),
    )  # fmt: skip
    assert found.worst < 1e-14
    assert check_linear(shift, (X,), gradient=lambda g, x: np.roll(g, -1, 0)).checks[0].count == 12
    large = RNG.standard_normal((30, 20))
    assert check_linear(shift, (large,), adjoint=lambda g: np.roll(g, -1, 0)).checks[0].directions


@given(st.integers(-9, 9), st.integers(-9, 9))
def test_linear_at_any_scale(size: int, scale: int) -> None:
    c, s = 10.0**size, 10.0**scale
    assert check_linear(lambda x: c * (x @ minidl.tensor(W)), (s * X,)).worst < 1e-14
    wrong = failing(
        check_linear,
        lambda x: c * (x @ W),
        (s * X,),
        gradient=lambda g, x: c * (g @ W.T) * 1.000001,
    )
    assert wrong.ratio == pytest.approx(1.000001)


def test_a_wrong_adjoint_is_found_and_named() -> None:
    wrong = failing(check_linear, shift, (X,), gradient=lambda g, x: np.roll(g, 1, 0))
    assert (wrong.problem, wrong.argument) == ("wrong", "x")
    assert wrong.index is not None
    assert wrong.cause
    wrong = failing(check_linear, shift, (X,), adjoint=lambda g: g.T)
    assert wrong.problem == "shape"


@pytest.mark.parametrize(
    ("fn", "affine"),
    [(ops.sin, False), (lambda x: 2 * x + 1, True), (ops.abs, False), (lambda x: x * x, False)],
)
def test_what_is_not_linear_is_refused(fn: Any, affine: bool) -> None:
    wrong = failing(check_linear, fn, (X,))
    assert wrong.problem == "not linear"
    assert ("affine" in wrong.cause) == affine
