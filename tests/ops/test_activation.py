"""Activations: kinks, extremes, errors, and what holds of each."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl
from minidl import ops
from minidl.errors import DtypeError, ShapeError
from minidl.ops.activation import gelu_tanh

INF, NAN = math.inf, math.nan
SELU_LEFT = 1.0507009873554805 * 1.6732632423543772


def tensor(data: Any, dtype: str = "float64") -> Any:
    return minidl.tensor(data, dtype=dtype)


def slopes(function: Any, points: list[float]) -> list[float]:
    x = tensor(points).requires_grad_()
    return minidl.grad(function(x), [x], tensor([1.0] * len(points)))[0].tolist()


@pytest.mark.parametrize(
    ("function", "points", "want"),
    [
        (ops.relu, [0], [0]),
        (ops.relu6, [0, 6], [0, 0]),
        (ops.hardtanh, [-1, 1], [0, 0]),
        (lambda x: ops.hardtanh(x, 0, 1), [0, 1], [0, 0]),
        (ops.leaky_relu, [0], [0.01]),
        (lambda x: ops.leaky_relu(x, 0.1), [0], [0.1]),
        (lambda x: ops.prelu(x, tensor([0.25])), [0], [0.25]),
        (ops.elu, [0], [1]),
        (lambda x: ops.elu(x, 0.5), [0], [0.5]),
        (lambda x: ops.celu(x, 0.5), [0], [1]),
        (ops.selu, [0], [SELU_LEFT]),
        (ops.hardsigmoid, [-3, 0, 3], [0, 1 / 6, 0]),
        (ops.hardswish, [-3, 0, 3], [0, 0.5, 1]),
        (ops.softshrink, [-0.5, 0, 0.5], [0, 0, 0]),
        (ops.hardshrink, [-0.5, 0, 0.5], [0, 0, 0]),
        (lambda x: ops.threshold(x, 1, 5), [1], [0]),
        (ops.softsign, [0], [1]),
        (ops.tanhshrink, [0], [0]),
    ],
)
def test_derivatives_at_kinks(function: Any, points: list[float], want: list[float]) -> None:
    assert slopes(function, points) == want


@pytest.mark.parametrize(
    ("function", "left", "right"),
    [
        (ops.relu, 0, 1e4),
        (ops.relu6, 0, 6),
        (ops.hardtanh, -1, 1),
        (ops.leaky_relu, -100, 1e4),
        (ops.hardsigmoid, 0, 1),
        (ops.hardswish, 0, 1e4),
        (ops.softshrink, -9999.5, 9999.5),
        (ops.hardshrink, -1e4, 1e4),
        (lambda x: ops.threshold(x, 1, 5), 5, 1e4),
        (ops.elu, -1, 1e4),
        (ops.celu, -1, 1e4),
        (ops.selu, -SELU_LEFT, 1.0507009873554805e4),
        (ops.sigmoid, 0, 1),
        (ops.logsigmoid, -1e4, 0),
        (ops.softplus, 0, 1e4),
        (lambda x: ops.softplus(x, threshold=1e9), 0, 1e4),
        (ops.silu, 0, 1e4),
        (ops.mish, 0, 1e4),
        (ops.gelu, 0, 1e4),
        (gelu_tanh, 0, 1e4),
        (ops.softsign, -1e4 / 10001, 1e4 / 10001),
        (ops.tanhshrink, -9999, 9999),
    ],
)
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_far_from_zero(function: Any, left: float, right: float, dtype: str) -> None:
    """Nothing overflows, and value, slope and curvature are finite; NaN stays NaN."""
    x = minidl.tensor([-1e4, 1e4, 0.25], dtype=dtype, requires_grad=True)
    y = function(x)
    assert y.dtype == dtype
    rtol = 1e-12 if dtype == "float64" else 1e-3
    np.testing.assert_allclose(y.data[:2], [left, right], rtol=rtol)
    (g,) = minidl.grad(y, [x], np.ones(3, dtype), create_graph=True)
    assert g.dtype == dtype
    assert np.isfinite(g.data).all()
    if g.requires_grad:
        second = minidl.grad(g, [x], np.ones(3, dtype), allow_unused=True)[0]
        assert second is None or np.isfinite(second.data).all()
    assert math.isnan(function(tensor(NAN)).item())


@pytest.mark.parametrize(
    "function",
    [
        ops.relu, ops.relu6, ops.hardtanh, ops.leaky_relu, ops.hardsigmoid, ops.hardswish,
        ops.softshrink, ops.hardshrink, ops.elu, ops.celu, ops.selu, ops.sigmoid, ops.logsigmoid,
        ops.softplus, ops.silu, ops.mish, ops.gelu, gelu_tanh, ops.softsign, ops.tanhshrink,
        lambda x: ops.threshold(x, 0.1, 0.5), lambda x: ops.prelu(x, minidl.full((3,), 0.25)),
        lambda x: ops.softmax(x, 1), lambda x: ops.log_softmax(x, 1), lambda x: ops.softmin(x, 1),
    ],
)  # fmt: skip
def test_layout_and_emptiness(function: Any) -> None:
    """Channels-last images stay so, and their gradients; an empty batch is no trouble."""
    rng = np.random.default_rng(0)
    images = np.moveaxis(rng.normal(size=(2, 4, 4, 3)), -1, 1).astype("float32")
    x = minidl.tensor(images).requires_grad_()
    y = function(x)
    assert y.is_contiguous(memory_format="channels_last")
    (g,) = minidl.grad(y, [x], x.data)
    assert g.is_contiguous(memory_format="channels_last")
    assert g.dtype == y.dtype == "float32"
    assert function(minidl.zeros(0, 3)).shape == (0, 3)


def test_small_tails_are_not_lost() -> None:
    np.testing.assert_allclose(ops.sigmoid(tensor([-40.0, -700.0])).data, np.exp([-40.0, -700.0]))
    np.testing.assert_allclose(ops.softplus(tensor([-40.0, -700.0])).data, np.exp([-40.0, -700.0]))
    np.testing.assert_allclose(ops.logsigmoid(tensor([40.0])).data, -np.exp([-40.0]))
    np.testing.assert_allclose(slopes(ops.elu, [-40.0]), np.exp([-40.0]))
    np.testing.assert_allclose(ops.log_softmax(tensor([0.0, -800.0]), 0).data, [0, -800])


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=6), st.floats(-1e3, 1e3))
def test_softmax_is_a_distribution(row: list[float], shift: float) -> None:
    x = tensor(row)
    p = ops.softmax(x, 0).data
    assert (p >= 0).all()
    assert p.sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(ops.softmax(x + shift, 0).data, p, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ops.softmin(-x, 0).data, p, rtol=1e-12)
    np.testing.assert_allclose(np.exp(ops.log_softmax(x, 0).data), p, rtol=1e-9)
    assert sum(slopes(lambda x: ops.softmax(x, 0) * x.detach(), row)) == pytest.approx(0, abs=1e-9)


@given(st.floats(-30, 30))
def test_identities(v: float) -> None:
    x = tensor(v)
    s = ops.sigmoid(x).item()
    assert s + ops.sigmoid(-x).item() == pytest.approx(1)
    assert ops.logsigmoid(x).item() == pytest.approx(math.log(s))
    assert ops.silu(x).item() == pytest.approx(v * s)
    assert ops.softplus(x).item() - ops.softplus(-x).item() == pytest.approx(v, abs=1e-7)
    assert ops.mish(x).item() == pytest.approx(v * math.tanh(math.log1p(math.exp(v))))
    assert ops.gelu(x).item() == pytest.approx(v / 2 * (1 + math.erf(v / math.sqrt(2))), abs=1e-15)
    assert abs(ops.gelu(x).item() - ops.gelu(x, approximate="tanh").item()) < 5e-4
    assert ops.relu(x).item() - ops.relu(-x).item() == v
    assert ops.softshrink(x).item() == math.copysign(max(abs(v) - 0.5, 0), v)
    assert ops.hardshrink(x).item() == (v if abs(v) > 0.5 else 0)


def test_rows_of_infinities() -> None:
    x = tensor([[-INF, -INF], [0, -INF], [0, INF]])
    for function in (ops.softmax, ops.log_softmax):
        assert np.isnan(function(x, 1).data[0]).all()
        assert np.isnan(function(x, 1).data[2]).any()
    assert ops.softmax(x, 1).tolist()[1] == [1, 0]
    assert ops.log_softmax(x, 1).tolist()[1] == [0, -INF]
    assert slopes(lambda x: ops.log_softmax(x, 0), [0.0, -INF]) == [-1, 1]


def test_dtypes_of_results() -> None:
    whole = minidl.tensor([-2, 3])
    assert ops.relu(whole).dtype == ops.relu6(whole).dtype == "int64"
    assert ops.sigmoid(whole).dtype == ops.elu(whole).dtype == ops.gelu(whole).dtype == "float32"
    half = tensor([1.0, 2.0], "float16").requires_grad_()
    for function in (ops.softmax, ops.log_softmax, ops.softmin):
        y = function(half, 0, dtype="float32")
        assert y.dtype == "float32"
        assert minidl.grad(y, [half], np.float32([1, 0]))[0].dtype == "float16"
    assert ops.softmax(whole, 0, dtype="float64").dtype == "float64"


def test_relu_keeps_its_output_alone() -> None:
    x = tensor([-1.0, 2.0]).requires_grad_()
    y = ops.relu(x)
    assert [id(v) for v in y.node.saved] == [id(y.data)]


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x: ops.softmax(x), ValueError, "softmax: dim is missing; say along which axis"),
        (lambda x: ops.log_softmax(x), ValueError, "log_softmax: dim is missing"),
        (lambda x: ops.softmin(x), ValueError, "softmax: dim is missing"),
        (lambda x: ops.softmax(x, 2), IndexError, "softmax: dim is 2, but the tensor has 2 axes"),
        (lambda x: ops.softmax(x, (0, 1)), TypeError, "softmax: dim must be an int"),
        (lambda x: ops.softmax(x.long(), 0), DtypeError, "softmax: x is int64, expected a float"),
        (lambda x: ops.softmax(x, 0, dtype="int8"), DtypeError, "softmax: x is int8, expected"),
        (lambda x: ops.gelu(x, approximate="erf"), ValueError, "gelu: approximate is 'erf'"),
        (lambda x: ops.glu(x, 1), ShapeError, r"glu: x has shape \(4, 3\); axis 1 must have an"),
        (lambda x: ops.glu(minidl.tensor(1.0)), ShapeError, r"glu: x has shape \(\)"),
        (lambda x: ops.glu(x, 5), IndexError, "glu: dim is 5"),
        (lambda x: ops.prelu(x, minidl.ones(4)), ShapeError, r"prelu: weight has shape \(4,\), "),
        (lambda x: ops.prelu(x, minidl.ones(1, 3)), ShapeError, r"expected \(1,\) or \(3,\)"),
        (lambda x: ops.celu(x, 0), ValueError, "celu: alpha is 0"),
        (lambda x: ops.hardtanh(x, 2, 1), ValueError, "hardtanh: min_val is 2, above max_val, 1"),
        (lambda x: ops.softshrink(x, -1), ValueError, "softshrink: lambd is -1, expected at least"),
    ],
)
def test_what_is_refused(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call(minidl.zeros(4, 3))


def test_softmax_of_many_small_floats_adds_up_in_float32() -> None:
    x = minidl.zeros((5000, 2), dtype="float16")
    assert ops.softmax(x, 0).data[0, 0] == np.float16(1 / 5000)
    assert ops.log_softmax(x, 0).data[0, 0] == np.float16(-math.log(5000))
