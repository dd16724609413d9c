"""Normalisation beside what `test_every_op` shows: layout, precision, and what is refused."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl
from minidl import ops
from minidl.device import channels_last, is_channels_last
from minidl.errors import DtypeError, ShapeError
from minidl.ops.normalization import normalize_channels, standardize

RNG = np.random.default_rng(0)
RUNNING = [minidl.tensor(np.full(4, v, "float32")) for v in (0.5, 2.0)]

PER_CHANNEL = {
    "batch": lambda x, *wb: ops.batch_norm(x, None, None, *wb, training=True),
    "batch, running": lambda x, *wb: ops.batch_norm(x, *RUNNING, *wb),
    "instance": lambda x, *wb: ops.instance_norm(x, None, None, *wb),
    "group": lambda x, *wb: ops.group_norm(x, 2, *wb),
}


@pytest.mark.parametrize("norm", PER_CHANNEL.values(), ids=PER_CHANNEL)
@pytest.mark.parametrize("affine", [True, False])
def test_channels_last_memory_gives_the_same_and_stays(norm: Any, affine: Any) -> None:
    plain = RNG.normal(size=(5, 4, 6, 7)).astype("float32")
    weights = [minidl.tensor(RNG.normal(size=4).astype("float32")) for _ in range(2 * affine)]
    found = {}
    for name, array in (("plain", plain), ("last", channels_last(plain))):
        x = minidl.from_numpy(array).requires_grad_()
        out = norm(x, *weights)
        (grad,) = minidl.grad(out, x, np.cos(array))
        found[name] = out, grad
        if name == "last":
            assert is_channels_last(out.data)
            assert is_channels_last(grad.data)
    for a, b in zip(found["plain"], found["last"], strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("axes", [(1,), (0, 2), (2, 3), (1, 2, 3), (0, 2, 3)])
def test_float32_is_as_good_far_from_zero_as_its_rounding_allows(axes: Any) -> None:
    exact = RNG.normal(size=(40, 3, 8, 8)[: max(axes[-1] + 1, 2)]) + 100
    shape = tuple(n if a not in axes else 1 for a, n in enumerate(exact.shape))
    rounded = exact.astype("float32")
    out = standardize(minidl.tensor(rounded), None, None, axes, shape, 1e-5)[0]
    want = standardize(minidl.tensor(rounded.astype("float64")), None, None, axes, shape, 1e-5)[0]
    np.testing.assert_allclose(out.data, want.data, atol=1e-4)


def test_float16_is_summed_in_float32() -> None:
    x = minidl.tensor(np.full((64, 2, 40), 50, "float16"), requires_grad=True)  # sums to 128000
    out, mean, var = normalize_channels(x)
    assert (out.dtype, mean.dtype) == ("float16", "float32")
    assert mean.tolist() == [50, 50]
    assert var.tolist() == [0, 0]
    assert not out.data.any()
    (grad,) = minidl.grad(out, x, np.ones_like(x.data))
    assert grad.dtype == "float16"


def test_batch_norm_changes_no_running_statistics() -> None:
    mean, var = minidl.tensor(np.zeros(2)), minidl.tensor(np.ones(2))
    x = minidl.tensor(RNG.normal(size=(3, 2)))
    ops.batch_norm(x, mean, var, training=True)
    assert (mean.tolist(), var.tolist()) == ([0, 0], [1, 1])


def test_normalize_channels_returns_the_statistics() -> None:
    x = RNG.normal(size=(3, 2, 4))
    _, mean, var = normalize_channels(minidl.tensor(x))
    np.testing.assert_allclose(mean.data, x.mean((0, 2)))
    np.testing.assert_allclose(var.data, x.var((0, 2)))


@given(n=st.integers(2, 6), c=st.integers(1, 4), length=st.integers(2, 5), seed=st.integers(0, 99))
def test_the_result_has_mean_0_and_variance_1(n: Any, c: Any, length: Any, seed: Any) -> None:
    array = np.random.default_rng(seed).normal(3, 5, (n, c, length))
    x = minidl.tensor(array)
    for out, axes in [
        (ops.batch_norm(x, None, None, training=True, eps=0.0), (0, 2)),
        (ops.instance_norm(x, eps=0.0), (2,)),
        (ops.group_norm(x, 1, eps=0.0), (1, 2)),
        (ops.layer_norm(x, (length,), eps=0.0), (2,)),
    ]:
        np.testing.assert_allclose(out.data.mean(axes), 0, atol=1e-9)
        np.testing.assert_allclose(out.data.var(axes), 1, atol=1e-9)
    np.testing.assert_allclose((ops.rms_norm(x, (length,), eps=0.0).data ** 2).mean(-1), 1)


def test_normalize_of_zeros_is_zeros_with_gradient_of_the_division_by_eps() -> None:
    x = minidl.tensor(np.zeros((1, 2)), requires_grad=True)
    out = ops.normalize(x, eps=0.5)
    assert out.tolist() == [[0, 0]]
    (grad,) = minidl.grad(out, x, np.ones((1, 2)))
    assert grad.tolist() == [[2, 2]]


def test_an_empty_batch_gives_an_empty_result_and_zero_gradients() -> None:
    x = minidl.tensor(np.zeros((0, 3)), requires_grad=True)
    w = minidl.tensor(np.ones(3), requires_grad=True)
    out = ops.batch_norm(x, None, None, w, training=True)
    gx, gw = minidl.grad(out, [x, w], np.zeros((0, 3)))
    assert out.shape == gx.shape == (0, 3)
    assert ops.layer_norm(x, (3,)).shape == (0, 3)
    assert gw.tolist() == [0, 0, 0]


X = np.ones((2, 4, 3), "float32")


@pytest.mark.parametrize(
    ("error", "text", "call"),
    [
        (ValueError, "one value per channel, training", lambda t: ops.batch_norm(
            t(X[:1, :, :1]), None, None, training=True)),
        (ValueError, "needed unless training", lambda t: ops.batch_norm(t(X), None, None)),
        (ShapeError, r"batch_norm: weight has shape \(3,\), expected one number for each of the 4",
         lambda t: ops.batch_norm(t(X), None, None, t(X[0, 0]), training=True)),
        (ShapeError, r"running_var has shape \(3,\)", lambda t: ops.batch_norm(
            t(X), t(X[0, :, 0]), t(X[0, 0]))),
        (ShapeError, r"batch_norm: x has shape \(3,\), expected \(N, C, …\)",
         lambda t: ops.batch_norm(t(X[0, 0]), None, None, training=True)),
        (DtypeError, "x is float32, weight is float64", lambda t: ops.batch_norm(
            t(X), None, None, t(np.ones(4)), training=True)),
        (DtypeError, "batch_norm: x is int64", lambda t: ops.batch_norm(
            t(X.astype(int)), None, None, training=True)),
        (ValueError, "one value per sample and channel", lambda t: ops.instance_norm(
            t(X[..., :1]))),
        (ValueError, "use_input_stats=False", lambda t: ops.instance_norm(
            t(X), use_input_stats=False)),
        (ShapeError, "4 channels cannot be split into 3 groups", lambda t: ops.group_norm(t(X), 3)),
        (ShapeError, "into 0 groups", lambda t: ops.group_norm(t(X), 0)),
        (ValueError, "one value per group", lambda t: ops.group_norm(t(X[:1, :, 0]), 4)),
        (ShapeError, r"its last axes to be normalized_shape \(4,\)", lambda t: ops.layer_norm(
            t(X), 4)),
        (ShapeError, r"layer_norm: weight has shape \(4,\), expected \(3,\)",
         lambda t: ops.layer_norm(t(X), (3,), t(X[0, :, 0]))),
        (ShapeError, "rms_norm: x has shape", lambda t: ops.rms_norm(t(X), (4, 4))),
        (DtypeError, "rms_norm: x is int64", lambda t: ops.rms_norm(t(X.astype(int)), (3,))),
    ],
)  # fmt: skip
def test_what_is_refused(error: Any, text: Any, call: Any) -> None:
    with pytest.raises(error, match=text):
        call(minidl.tensor)


def test_rms_norm_of_float16_is_computed_in_float32() -> None:
    for size in (1e-3, 1e3):  # whose squares are lost in the eps of float16, or infinite
        x = minidl.tensor([[size, -size]], dtype="float16", requires_grad=True)
        out = ops.rms_norm(x, 2, minidl.tensor([1.0, 2.0], dtype="float16"))
        np.testing.assert_allclose(out.data, [[1, -2]], rtol=0.06)
        assert out.dtype == minidl.grad(out.sum(), x)[0].dtype == "float16"
