"""Arithmetic, elementary functions and comparisons: kinks, edge values, errors, identities."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl
from minidl import ops
from minidl.errors import DtypeError, ShapeError
from minidl.ops.elementary import ndtr

INF, NAN = math.inf, math.nan


def tensor(data: Any, dtype: str = "float64") -> Any:
    return minidl.tensor(data, dtype=dtype)


def slopes(function: Any, *points: Any) -> list[Any]:
    """The derivatives by each point, of a function of scalars."""
    leaves = [minidl.tensor(float(p), dtype="float64", requires_grad=True) for p in points]
    return [g.item() for g in minidl.grad(function(*leaves), leaves)]


def same(got: Any, want: Any) -> None:
    np.testing.assert_array_equal(np.asarray(got), np.asarray(want))


@pytest.mark.parametrize(
    ("function", "points", "want"),
    [
        (ops.abs, [0], [0]),
        (ops.sign, [0], [0]),
        (ops.sign, [3], [0]),
        (ops.sqrt, [0], [INF]),
        (lambda x: x**0.5, [0], [INF]),
        (lambda x: x**0, [0], [0]),
        (lambda x: x**0, [2], [0]),
        (lambda x: x**1, [0], [1]),
        (lambda x: x**2, [0], [0]),
        (ops.pow, [0, 0], [0, 0]),
        (ops.pow, [0, 1], [1, 0]),
        (ops.pow, [0, 2], [0, 0]),
        (ops.pow, [0, -1], [-INF, -INF]),
        (ops.pow, [2, 0], [0, math.log(2)]),
        (ops.pow, [-2, 3], [12, NAN]),
        (lambda y: ops.pow(0, y), [2], [0]),
        (lambda y: ops.pow(0.0, y), [-1], [-INF]),
        (lambda y: ops.pow(-2.0, y), [2], [NAN]),
        (ops.maximum, [0, 0], [0.5, 0.5]),
        (ops.minimum, [1, 1], [0.5, 0.5]),
        (lambda x: ops.maximum(x, 0), [0], [0.5]),
        (lambda x: ops.minimum(0, x), [0], [0.5]),
        (lambda x: ops.clamp(x, min=0), [0], [1]),
        (lambda x: ops.clamp(x, 0, 1), [1], [1]),
        (lambda x: ops.clamp_max(x, 1), [1], [1]),
        (ops.clamp, [0, 0, 1], [1, 0, 0]),
        (ops.clamp, [2, 1, 0], [0, 0, 1]),
        (ops.remainder, [5, 2], [1, -2]),
        (ops.remainder, [-5, 2], [1, 3]),
        (ops.floor, [2], [0]),
        (ops.ceil, [2], [0]),
        (ops.trunc, [-2], [0]),
        (ops.round, [0.5], [0]),
        (ops.atan2, [0, 0], [0, 0]),
        (ops.logaddexp, [1, 1], [0.5, 0.5]),
        (ops.logaddexp, [1000, -1000], [1, 0]),
        (ops.log, [0], [INF]),
        (ops.reciprocal, [0], [-INF]),
        (ops.erf, [0], [2 / math.sqrt(math.pi)]),
    ],
)
def test_derivatives_at_kinks_and_edges(function: Any, points: list[float], want: Any) -> None:
    np.testing.assert_allclose(slopes(function, *points), want, rtol=1e-15)


def test_derivatives_at_kinks_have_derivatives() -> None:
    """No NaN comes from the branch that was not taken."""
    for function in (lambda x, y: x**y, lambda x, y: ops.where(x > y, x, x * y)):
        leaves = [minidl.tensor(v, dtype="float64", requires_grad=True) for v in (0.0, 2.0)]
        first = minidl.grad(function(*leaves), leaves, create_graph=True)
        second = minidl.grad(first[0] + first[1], leaves, allow_unused=True)
        assert all(np.isfinite(g.data).all() for g in second if g is not None)


def test_a_masked_infinity_leaves_no_trace() -> None:
    x = tensor([1.0, 0.0]).requires_grad_()
    same(ops.where(x > 0, ops.log(x), 0).data, [0, 0])
    for function in (
        lambda x: ops.where(x > 0, x, 0),
        lambda x: ops.masked_fill(x, x <= 0, 3.0),
        lambda x: ops.clamp(x, 0.5, 2),
        lambda x: ops.maximum(x, 0.5),
    ):
        (g,) = minidl.grad(function(x), [x], tensor([INF, INF]))
        same(g.data, [INF, 0])


@pytest.mark.parametrize(
    ("call", "want"),
    [
        (lambda x: ops.maximum(x, 0.0), [NAN, INF, 0, 0]),
        (lambda x: ops.minimum(0.0, x), [NAN, 0, -INF, 0]),
        (lambda x: ops.clamp(x, -1, 1), [NAN, 1, -1, 0]),
        (ops.sign, [0, 1, -1, 0]),
        (ops.abs, [NAN, INF, INF, 0]),
        (ops.erf, [NAN, 1, -1, 0]),
        (ndtr, [NAN, 1, 0, 0.5]),
        (ops.isnan, [True, False, False, False]),
        (ops.isinf, [False, True, True, False]),
        (ops.isfinite, [False, False, False, True]),
        (lambda x: x == x, [False, True, True, True]),
        (lambda x: x != x, [True, False, False, False]),
        (lambda x: x // 0.0, [NAN, INF, -INF, NAN]),
        (lambda x: x % 0.0, [NAN, NAN, NAN, NAN]),
        (lambda x: 1 / x, [NAN, 0, -0.0, INF]),
        (ops.sqrt, [NAN, INF, NAN, 0]),
        (ops.log, [NAN, INF, NAN, -INF]),
        (ops.exp, [NAN, INF, 0, 1]),
        (lambda x: ops.logaddexp(x, x), [NAN, INF, -INF, math.log(2)]),
        (ops.logical_not, [False, False, False, True]),
        (ops.round, [NAN, INF, -INF, 0]),
    ],
)
def test_nan_infinity_and_zero(call: Any, want: Any) -> None:
    same(call(tensor([NAN, INF, -INF, 0.0])).data, want)


def test_signs_of_quotients() -> None:
    x, y = tensor([7, 7, -7, -7], "int64"), tensor([2, -2, 2, -2], "int64")
    same((x // y).data, [3, -4, -4, 3])
    same((x % y).data, [1, -1, 1, -1])
    same((x.double() // y).data, [3, -4, -4, 3])
    same((x.double() % y).data, [1, -1, 1, -1])
    same((tensor(-1.0) % INF).data, INF)


def test_halves_round_to_even() -> None:
    same(ops.round(tensor([0.5, 1.5, 2.5, -0.5, -1.5])).data, [0, 2, 2, 0, -2])
    same(ops.round(tensor([12.25, 17.0]), decimals=-1).data, [10, 20])
    assert ops.round(tensor([0.123], "float32"), decimals=2).dtype == "float32"


def test_whole_numbers_round_to_themselves_in_new_memory() -> None:
    x = tensor([1, 2], "int32")
    for function in (ops.floor, ops.ceil, ops.trunc, ops.round):
        y = function(x)
        assert y.dtype == "int32"
        assert not np.shares_memory(x.data, y.data)


def test_lerp_is_exact_at_both_ends() -> None:
    x, end = tensor([1e16, 3.0]), tensor([-1.0, 0.1])
    same(ops.lerp(x, end, 0.0).data, x.data)
    same(ops.lerp(x, end, 1.0).data, end.data)
    same(ops.lerp(x, end, tensor([0.0, 1.0])).data, [1e16, 0.1])


def test_erf_to_the_last_bits() -> None:
    x = np.concatenate([np.linspace(-7, 7, 4001), np.logspace(-300, 1, 500), [0.46875]])
    want = np.array([math.erf(v) for v in x])
    np.testing.assert_allclose(ops.erf(x), want, rtol=1e-15)
    narrow = x.astype("float32")[np.abs(x) > 1e-30]
    want = np.array([math.erf(v) for v in narrow])
    got = ops.erf(narrow)
    assert got.dtype == "float32"
    np.testing.assert_allclose(got, want, rtol=5e-7)
    got = ops.erf(np.float16([0.1, 1, 3]))
    assert got.dtype == "float16"
    np.testing.assert_allclose(got, [0.11246, 0.8427, 0.99998], rtol=1e-3)


FLOATS = st.floats(-8, 8, width=16)


@given(
    st.sampled_from(["float16", "float32", "float64"]),
    st.sampled_from([(3, 4), (4,), (3, 1), ()]),
    st.integers(0, 2**32),
)
def test_where_chooses_the_very_bits(dtype: str, shape: tuple[int, ...], seed: int) -> None:
    """Of any pattern of bits, NaN and -0.0 among them, for arrays and numbers, broadcast."""
    rng = np.random.default_rng(seed)

    def any_bits(*shape: int) -> np.ndarray:
        room = rng.bytes(math.prod(shape) * np.dtype(dtype).itemsize)
        return np.frombuffer(room, dtype).reshape(shape)

    condition, x = rng.integers(0, 2, (3, 4)).astype(bool), any_bits(*shape)
    for y in (any_bits(3, 4), 0, 0.0, -0.0, 1.5, -INF):
        for left, right in ((x, y), (y, x)):
            got = ops.where(condition, left, right)
            want = np.where(condition, left, right)
            assert got.dtype == want.dtype == dtype
            assert got.shape == want.shape
            assert got.tobytes() == want.tobytes()


def test_where_of_other_kinds() -> None:
    yes = minidl.tensor([True, False])
    assert ops.where(yes, 1, 2).tolist() == [1, 2]
    assert ops.where(yes, 1, 2).dtype == "int64"
    assert ops.where(yes, 1, 0.5).dtype == "float32"
    assert ops.where(yes, True, False).dtype == "bool"
    assert ops.where(yes, minidl.tensor([3, 4]), 0.5).tolist() == [3, 0.5]
    assert ops.where(yes, tensor([3, 4], "int8"), tensor(5.0)).dtype == "float64"
    assert ops.where(minidl.tensor(True), tensor([1.0, 2.0]), 0).tolist() == [1, 2]


@given(FLOATS, FLOATS.filter(lambda y: abs(y) > 0.01))
def test_quotient_and_remainder_make_the_whole(x: float, y: float) -> None:
    a, b = tensor(x), tensor(y)
    whole, rest = (a // b).item(), (a % b).item()
    assert whole == x // y
    assert rest == x % y
    assert whole * y + rest == pytest.approx(x, abs=1e-9)


@given(FLOATS, FLOATS, FLOATS)
def test_choices_agree(x: float, low: float, high: float) -> None:
    a, b, c = tensor(x), tensor(low), tensor(high)
    assert ops.clamp(a, b, c).item() == ops.clamp(a, low, high).item() == min(max(x, low), high)
    assert ops.maximum(a, b).item() == max(x, low) == ops.clamp_min(a, low).item()
    assert ops.minimum(a, c).item() == min(x, high) == ops.clamp_max(a, high).item()
    assert (a < b).item() == (x < low) == (not (a >= b).item())
    assert (a <= b).item() == (x <= low) == (not (a > b).item())


@given(FLOATS.filter(lambda x: abs(x) > 0.01), st.integers(-3, 4))
def test_powers_are_products(x: float, n: int) -> None:
    want = math.prod([x] * n) if n >= 0 else 1 / math.prod([x] * -n)
    assert (tensor(x) ** n).item() == pytest.approx(want, rel=1e-12)
    assert (tensor(x) ** tensor(float(n))).item() == pytest.approx(want, rel=1e-12)


def test_inverses() -> None:
    x = tensor(np.linspace(-0.9, 0.9, 7))
    for there, back in [
        (ops.asin, ops.sin), (ops.acos, ops.cos), (ops.atan, ops.tan), (ops.atanh, ops.tanh),
        (ops.asinh, ops.sinh), (ops.exp, ops.log), (ops.expm1, ops.log1p), (ops.exp2, ops.log2),
        (lambda x: ops.acosh(x + 2), lambda y: ops.cosh(y) - 2), (ops.reciprocal, ops.reciprocal),
        (lambda x: ops.sqrt(x + 1), lambda y: ops.square(y) - 1),
        (lambda x: ops.rsqrt(x + 1), lambda y: y**-2 - 1),
        (lambda x: 10 ** (x + 1), lambda y: ops.log10(y) - 1),
    ]:  # fmt: skip
        np.testing.assert_allclose(back(there(x)).data, x.data, rtol=1e-12, atol=1e-12)
    assert ops.atan2(tensor(-1.0), tensor(-1.0)).item() == pytest.approx(-0.75 * math.pi)


def test_closeness() -> None:
    x = tensor([1.0, INF, NAN, 1.0, INF])
    y = tensor([1.000001, INF, NAN, 1.1, 1.0])
    assert ops.isclose(x, y).tolist() == [True, True, False, False, False]
    assert ops.isclose(x, y, equal_nan=True).tolist() == [True, True, True, False, False]
    assert ops.isclose(x, y, 0, 0.2).tolist() == [True, True, False, True, False]
    assert ops.allclose(x[:2], y[:2]) is True
    assert ops.allclose(x, y, equal_nan=True) is False
    assert ops.allclose(np.ones(2), np.ones(2)) is True
    assert ops.isclose(tensor([1, 2], "int64"), 1).tolist() == [True, False]


def test_truth_of_numbers() -> None:
    x, y = tensor([0, 1, 2], "int64"), tensor([0.0, 0.0, 0.5], "float32")
    assert ops.logical_and(x, y).tolist() == [False, False, True]
    assert ops.logical_or(x, y).tolist() == [False, True, True]
    assert ops.logical_xor(x, y).tolist() == [False, True, False]
    assert not (x > y).requires_grad
    assert not (tensor(1.0).requires_grad_() > 0).requires_grad


def test_masked_fill_keeps_the_dtype() -> None:
    mask = minidl.tensor([True, False])
    assert ops.masked_fill(tensor([1.0, 2.0], "float32"), mask, -INF).tolist() == [-INF, 2]
    assert ops.masked_fill(tensor([1, 2], "int8"), mask, 7).dtype == "int8"
    assert ops.masked_fill(tensor([1.0, 2.0], "float32"), mask, tensor(3.0)).dtype == "float32"


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda i: i**-1, DtypeError, r"pow: whole numbers to a negative power .*\.float"),
        (lambda i: i ** (i - 2), DtypeError, "pow: whole numbers to a negative power"),
        (lambda i: 2 ** (i - 2), DtypeError, "pow: whole numbers to a negative power"),
        (lambda i: i // 0, ZeroDivisionError, "floor_divide: y has a zero"),
        (lambda i: i % (i - 1), ZeroDivisionError, "remainder: y has a zero"),
        (lambda i: 5 % (i - 1), ZeroDivisionError, "remainder: y has a zero"),
        (lambda i: (i > 0) // (i > 0), DtypeError, "floor_divide: not offered for bool"),
        (lambda i: (i > 0) % (i > 0), DtypeError, "remainder: not offered for bool"),
        (lambda i: (i > 0) ** (i > 0), DtypeError, "pow: not offered for bool"),
        (lambda i: (i > 0) - (i > 0), DtypeError, "sub: numpy boolean subtract"),
        (lambda i: -(i > 0), DtypeError, "neg: "),
        (lambda i: ops.clamp(i), ValueError, "clamp: give min, max or both"),
        (lambda i: ops.where(i, i, i), DtypeError, "where: condition is int64, expected bool"),
        (lambda i: ops.masked_fill(i, i, 0), DtypeError, "masked_fill: mask is int64"),
        (lambda i: ops.masked_fill(i, i > 1, 0.5), DtypeError, "masked_fill: value is float, x"),
        (lambda i: ops.masked_fill(i, i > 1, i), ValueError, r"masked_fill: value has shape \(2,"),
        (lambda i: i + minidl.tensor([1, 2, 3]), ShapeError, r"add: .*x is \(2,\) int64"),
        (lambda i: i.to("uint8") + 300, ValueError, "add: .*300 out of bounds for uint8"),
    ],
)
def test_what_is_refused(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call(minidl.tensor([1, 2]))


@pytest.mark.parametrize(
    "function",
    [
        ops.sqrt, ops.erf, ops.square, ops.abs, ops.sign, ops.floor, ops.isnan, ops.logical_not,
        lambda x: ops.clamp(x, 0, 1), lambda x: ops.maximum(x, 0.5), lambda x: x**2,
        lambda x: ops.where(x > 0, x, 0), lambda x: ops.where(x > 0, x, 1.5),
        lambda x: ops.lerp(x, x, 0.3), lambda x: ops.masked_fill(x, x > 1, 0), lambda x: x % 1.5,
    ],
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_layout_shape_and_dtype_are_kept(function: Any, dtype: str) -> None:
    """Channels-last images stay so, and their gradients; nothing is too empty."""
    rng = np.random.default_rng(0)
    x = minidl.tensor(np.moveaxis(rng.random((2, 4, 4, 3)), -1, 1), dtype=dtype)
    assert x.is_contiguous(memory_format="channels_last")
    x.requires_grad_()
    y = function(x)
    assert y.is_contiguous(memory_format="channels_last")
    if y.requires_grad:
        (g,) = minidl.grad(y, [x], x.data)
        assert g.is_contiguous(memory_format="channels_last")
        assert g.dtype == y.dtype == dtype
    for shape in ((0, 3), ()):
        assert function(minidl.zeros(shape, dtype=dtype)).shape == shape


def test_float64_scalars_lose_nothing_in_a_gradient() -> None:
    """Gradients of tensors without axes pass through NumPy's scalars: they are float64 too."""
    third = 1 / 3
    (g,) = slopes(lambda x: ops.maximum(x, 0) * third, 0.0)
    assert g == third / 2
    (g,) = slopes(lambda x: ops.where(x < 1, x, 0) * third, 0.0)
    assert g == third
