"""Reductions: kinks, zeros, infinities, empty tensors, float16 and error texts."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minidl
from minidl import ops
from minidl.errors import DtypeError, ShapeError
from minidl.ops import scans

INF, NAN = math.inf, math.nan


def tracked(values: Any, dtype: str = "float64") -> Any:
    return minidl.tensor(np.array(values, dtype), requires_grad=True)


def gradient(f: Any, values: Any) -> Any:
    x = tracked(values)
    return minidl.grad(ops.sum(f(x)), x)[0].data


def plain(x: Any) -> Any:
    return np.asarray(x.data)


@pytest.mark.parametrize(
    ("f", "x", "expected"),
    [
        (ops.amax, [1, 3, 3], [0, 0.5, 0.5]),
        (ops.amin, [1, 1, 1, 2], [1 / 3, 1 / 3, 1 / 3, 0]),
        (lambda x: ops.amax(x, 1), [[2, 2], [1, 3]], [[0.5, 0.5], [0, 1]]),
        (lambda x: ops.amin(x, (0, 1)), [[2, 5], [2, 3]], [[0.5, 0], [0.5, 0]]),
        (ops.amax, [1, NAN, 3], [0, 1, 0]),
        (ops.var, [2, 2, 2], [0, 0, 0]),
        (ops.std, [2, 2, 2], [0, 0, 0]),
        (lambda x: ops.std(x, 1), [[2, 2], [1, 3]], [[0, 0], [-(0.5**0.5), 0.5**0.5]]),
        (lambda x: ops.logsumexp(x, 0), [4, 4], [0.5, 0.5]),
        (lambda x: ops.logsumexp(x, 0), [-INF, 1], [0, 1]),
        (lambda x: ops.logsumexp(x, 0), [-INF, -INF], [NAN, NAN]),
        (ops.norm, [0, 0], [0, 0]),
        (lambda x: ops.norm(x, 1), [0, -3, 2], [0, -1, 1]),
        (lambda x: ops.norm(x, 3), [0, 0], [0, 0]),
        (lambda x: ops.norm(x, 3), [0, -2], [0, -1]),
        (lambda x: ops.norm(x, 0.5), [0, 0], [0, 0]),
        (lambda x: ops.norm(x, 1.5), [0, 4], [0, 1]),
        (lambda x: ops.norm(x, -1), [0, 3], [0, 0]),
        (lambda x: ops.norm(x, 0), [0, 3], [0, 0]),
        (lambda x: ops.norm(x, INF), [0, 0], [0, 0]),
        (lambda x: ops.norm(x, INF), [3, -4, 4], [0, -0.5, 0.5]),
        (lambda x: ops.norm(x, -INF), [3, -1, 4], [0, -1, 0]),
        (ops.nansum, [1, NAN, 2], [1, 0, 1]),
    ],
)
def test_the_value_chosen_at_a_kink(f: Any, x: Any, expected: Any) -> None:
    np.testing.assert_allclose(gradient(f, x), expected)


def test_second_derivatives_at_a_kink_are_finite() -> None:
    for f in (ops.std, ops.norm, lambda x: ops.norm(x, 3)):
        x = tracked([0, 0])
        (g,) = minidl.grad(f(x), x, create_graph=True)
        if g.requires_grad:
            assert np.isfinite(minidl.grad(ops.sum(g), x)[0].data).all()


@pytest.mark.parametrize(
    ("f", "x", "expected"),
    [
        (lambda x: ops.logsumexp(x, 0), [1000.0, 1000.0], 1000 + math.log(2)),
        (lambda x: ops.logsumexp(x, 0), [-1000.0, -1000.0], -1000 + math.log(2)),
        (lambda x: ops.logsumexp(x, 0), [-INF, -INF], -INF),
        (lambda x: ops.logsumexp(x, 0), [INF, 1.0], INF),
        (lambda x: ops.logsumexp(x, 0), [INF, -INF], INF),
        (lambda x: ops.logsumexp(x, 0), [NAN, 1.0], NAN),
        (lambda x: ops.logsumexp(x, 0), [], -INF),
        (ops.sum, [], 0),
        (ops.sum, [INF, -INF], NAN),
        (ops.prod, [], 1),
        (ops.mean, [], NAN),
        (ops.var, [], NAN),
        (ops.var, [5.0], NAN),
        (ops.std, [5.0], NAN),
        (lambda x: ops.var(x, correction=0), [5.0], 0),
        (ops.norm, [], 0),
        (lambda x: ops.norm(x, -1), [0.0, 3.0], 0),
        (lambda x: ops.norm(x, 0), [0.0, 3.0], 1),
        (ops.amax, [1.0, NAN, 3.0], NAN),
        (ops.amin, [1.0, NAN, 3.0], NAN),
        (ops.all, [], True),
        (ops.any, [], False),
        (ops.count_nonzero, [0.0, NAN, 2.0], 2),
    ],
)
def test_edge_values_without_a_warning(f: Any, x: Any, expected: Any) -> None:
    np.testing.assert_allclose(plain(f(tracked(x))), expected, rtol=1e-12)


def product_derivative(x: np.ndarray, gone: tuple[int, ...]) -> float:
    """d^n prod(x) / dx_i dx_j ...: the product of all the others, 0 if an index repeats."""
    left = [v for i, v in enumerate(x) if i not in gone]
    return math.prod(left) if len(set(gone)) == len(gone) else 0.0


@pytest.mark.parametrize("zeros", [(), (1,), (0,), (3,), (0, 2), (1, 2, 3), (0, 1, 2, 3)])
def test_products_with_zeros_to_second_order(zeros: tuple[int, ...]) -> None:
    values = np.array([1.5, -2.0, 0.5, 3.0])
    values[list(zeros)] = 0
    n, weights = len(values), np.array([0.5, -1.0, 2.0, 1.5])
    functions = {
        "prod": (ops.prod, [0, 0, 0, 1]),
        "cumprod": (lambda x: ops.sum(ops.cumprod(x, 0) * weights), weights),
    }
    for name, (f, w) in functions.items():
        x = tracked(values)
        (g,) = minidl.grad(f(x), x, create_graph=True)
        first = [
            sum(w[k] * product_derivative(values[: k + 1], (i,)) for k in range(i, n))
            for i in range(n)
        ]
        np.testing.assert_allclose(g.data, first, rtol=1e-12, err_msg=name)
        for i in range(n):
            (h,) = minidl.grad(g[i], x, retain_graph=True)
            second = [
                sum(w[k] * product_derivative(values[: k + 1], (i, j)) for k in range(max(i, j), n))
                for j in range(n)
            ]
            np.testing.assert_allclose(h.data, second, rtol=1e-12, err_msg=f"{name} {i}")


def test_a_third_derivative_of_a_product_of_zeros() -> None:
    x = tracked([0, 0, 0])
    (g,) = minidl.grad(ops.prod(x), x, create_graph=True)
    (h,) = minidl.grad(g[0], x, create_graph=True)
    (third,) = minidl.grad(h[1], x)
    np.testing.assert_array_equal(third.data, [0, 0, 1])


def test_variance_takes_the_mean_out_first() -> None:
    x = np.array([1e8 + 1, 1e8 + 2, 1e8 + 3])
    assert plain(ops.var(tracked(x))) == 1
    assert plain(ops.std(tracked(np.float32([4097, 4098, 4099]), "float32"))) == 1


@pytest.mark.parametrize(
    "f", [ops.sum, ops.mean, ops.var, ops.norm, lambda x: ops.cumsum(x, 0)[-1]]
)
def test_float16_is_added_up_in_float32(f: Any) -> None:
    values = np.full(5000, 1, "float16")
    values[::2] = 3
    got, exact = f(minidl.tensor(values)), f(minidl.tensor(values.astype("float64")))
    assert got.dtype == "float16"
    np.testing.assert_allclose(plain(got), plain(exact), rtol=1e-3)
    large = np.full(4, 6e4, "float16")
    assert plain(ops.mean(minidl.tensor(large))) == np.float16(6e4)


@pytest.mark.parametrize(
    ("f", "dtype"),
    [
        (ops.sum, "int64"),
        (ops.prod, "int64"),
        (lambda x: ops.cumsum(x, 0), "int64"),
        (lambda x: ops.cumprod(x, 0), "int64"),
        (lambda x: ops.sum(x, dtype=float), "float32"),
        (lambda x: ops.cumsum(x, 0, dtype="int16"), "int16"),
        (lambda x: ops.prod(x, dtype="float64"), "float64"),
        (lambda x: ops.logsumexp(x, 0), "float32"),
        (ops.amax, "int32"),
        (ops.any, "bool"),
        (ops.count_nonzero, "int64"),
    ],
)
def test_dtypes_of_whole_numbers(f: Any, dtype: str) -> None:
    assert f(minidl.tensor(np.array([1, 2, 3], "int32"))).dtype == dtype


def test_dtype_given_changes_the_gradient_of_nothing() -> None:
    x = tracked([1, 2, 0], "float32")
    for f in (ops.sum, ops.prod, lambda x, dtype: ops.sum(ops.cumprod(x, 0, dtype=dtype))):
        y = f(x, dtype="float64")
        assert y.dtype == "float64"
        assert minidl.grad(y, x)[0].dtype == "float32"


@pytest.mark.parametrize(
    ("f", "error", "text"),
    [
        (lambda x: ops.amax(x[:, :0], 1), ShapeError, "amax: x is (2, 0): there is nothing"),
        (lambda x: ops.amin(x[:0]), ShapeError, "amin: x is (0, 3): there is nothing"),
        (lambda x: ops.norm(x[:0], INF), ShapeError, "norm: x is (0, 3)"),
        (lambda x: ops.norm(x, "nuc"), NotImplementedError, "'nuc'"),
        (lambda x: ops.norm(x, "inf"), ValueError, "norm: p is 'inf', expected a number"),
        (lambda x: ops.norm(x.long()), DtypeError, "norm: x is int64, expected a float dtype"),
        (lambda x: ops.var(x.long()), DtypeError, "var: x is int64, expected a float dtype"),
        (lambda x: ops.mean(x.long()), DtypeError, "mean: x is int64, expected a float dtype"),
        (lambda x: ops.sum(x, 2), IndexError, "sum: dim is 2, but the tensor has 2 axes"),
        (lambda x: ops.sum(x, (0, -2)), ValueError, "sum: dim (0, -2) names an axis twice"),
        (lambda x: ops.cumsum(x, -3), IndexError, "cumsum: dim is -3"),
        (lambda x: ops.prod(x, (0, 1)), TypeError, "prod: dim must be an int"),
        (lambda x: ops.var(x, True), TypeError, "var: dim must be an int, got True"),
    ],
)
def test_errors_say_what_is_wrong(f: Any, error: Any, text: str) -> None:
    x = minidl.tensor(np.ones((2, 3)))
    with pytest.raises(error) as caught:
        f(x)
    assert text in str(caught.value)


def test_what_is_constant_almost_everywhere_requires_no_gradient() -> None:
    x = tracked([[1, 2], [0, 3]])
    for y in (ops.any(x), ops.all(x, 1), ops.count_nonzero(x)):
        assert not y.requires_grad


def test_empty_axes_are_kept_or_removed() -> None:
    x = minidl.tensor(np.zeros((0, 3)))
    assert ops.amax(x, 1).shape == (0,)
    assert ops.amax(x, 1, keepdim=True).shape == (0, 1)
    np.testing.assert_array_equal(plain(ops.logsumexp(x, 0)), [-INF] * 3)
    assert ops.cumprod(x, 0).shape == ops.cumsum(x, 0).shape == (0, 3)


def test_derivatives_of_empty_tensors_are_empty() -> None:
    for f in (ops.prod, ops.var, ops.norm, lambda x: ops.cumprod(x, 0), lambda x: ops.amax(x, 1)):
        x = tracked(np.zeros((0, 3)))
        assert minidl.grad(ops.sum(f(x)), x)[0].shape == (0, 3)


@pytest.mark.parametrize("f", [ops.sum, ops.mean, ops.nansum, ops.norm, ops.prod])
def test_dtype_is_that_of_the_result_and_the_gradient_keeps_its_own(f: Any) -> None:
    x = minidl.tensor([[1.0, 2.0], [3.0, 4.0]], dtype="float32", requires_grad=True)
    y = f(x, dim=1, dtype="float64")
    assert y.dtype == "float64"
    np.testing.assert_allclose(plain(y), plain(f(x.detach().double(), dim=1)), rtol=1e-12)
    assert minidl.grad(y.sum(), x)[0].dtype == "float32"
    assert f(minidl.tensor([1, 2]), dtype="float32").dtype == "float32"


floats = hnp.arrays("float64", hnp.array_shapes(max_dims=3, max_side=5), elements=st.floats(-9, 9))


@given(floats)
def test_sums_and_products_that_must_agree(values: Any) -> None:
    x = minidl.tensor(values)
    close = {"rtol": 1e-9, "atol": 1e-9}
    np.testing.assert_allclose(plain(ops.cumsum(x, -1))[..., -1], plain(ops.sum(x, -1)), **close)
    np.testing.assert_allclose(plain(ops.cumprod(x, -1))[..., -1], plain(ops.prod(x, -1)), **close)
    shifted = plain(ops.logsumexp(x + 500, 0))
    np.testing.assert_allclose(shifted, plain(ops.logsumexp(x, 0)) + 500, rtol=1e-9)
    var, mean = ops.var_mean(x, 0, correction=0)
    second = (values**2).mean(0)
    np.testing.assert_allclose(plain(var) + plain(mean) ** 2, second, **close)
    np.testing.assert_allclose(plain(ops.std(x, correction=0)) ** 2, values.var(), **close)
    for p in (0, 1, 2, 3.5, INF, -INF):
        for axis in range(values.ndim):
            want = np.linalg.norm(values, p, axis)
            np.testing.assert_allclose(plain(ops.norm(x, p, axis)), want, rtol=1e-9)


@given(st.integers(0, 20), st.integers(0, 2**16))
def test_a_recurrence_is_its_loop(n: int, seed: int) -> None:
    a, b = np.random.default_rng(seed).uniform(-2, 2, (2, 3, n))
    want, y = np.zeros((3, n)), np.zeros(3)
    for i in range(n):
        y = a[:, i] * y + b[:, i]
        want[:, i] = y
    np.testing.assert_allclose(scans.recurrence(a, b, 1), want, rtol=1e-9, atol=1e-9)
