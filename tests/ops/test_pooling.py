"""Pooling: its definition, ties, NaN, layout, and what it says of what does not fit."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl
from minidl.device import channels_last, is_channels_last
from minidl.errors import DtypeError, ShapeError
from minidl.ops import pooling as ops

NAN, INF = float("nan"), float("inf")


def drawn(*shape: int, dtype: Any = "float64") -> np.ndarray:
    return np.random.default_rng(shape).uniform(-1, 1, shape).astype(dtype)


@given(st.data())
def test_pools_are_their_definition(data: Any) -> None:
    """One window at a time, in one dimension."""
    whole = lambda low, high: data.draw(st.integers(low, high))  # noqa: E731
    k, s, ceil_mode, include = whole(1, 4), whole(1, 3), whole(0, 1), whole(0, 1)
    p = whole(0, k // 2)
    n = max(1, k - 2 * p) + whole(0, 5)
    x = drawn(1, n)
    room = n + 2 * p - k
    count = (-(-room // s) if ceil_mode else room // s) + 1
    if (count - 1) * s >= n + p:
        count -= 1
    largest, means = [], []
    for i in range(count):
        start, end = i * s - p, min(i * s - p + k, n + p)
        inside = x[0, max(start, 0) : min(end, n)]
        largest.append(inside.max())
        means.append(inside.sum() / (end - start if include else len(inside)))
    options = {"stride": s, "padding": p, "ceil_mode": bool(ceil_mode)}
    got, index = ops.max_pool1d(x, k, return_indices=True, **options)
    np.testing.assert_array_equal(got[0], largest)
    np.testing.assert_array_equal(x[0][index[0]], largest)
    got = ops.avg_pool1d(x, k, count_include_pad=bool(include), **options)
    np.testing.assert_allclose(got[0], means, rtol=1e-13, atol=1e-15)


@given(st.integers(1, 7), st.integers(1, 7))
def test_adaptive_pools_are_their_definition(n: int, m: int) -> None:
    x = drawn(1, 2, n)
    parts = [x[..., i * n // m : -(-(i + 1) * n // m)] for i in range(m)]
    got, index = ops.adaptive_max_pool1d(x, m, True)
    np.testing.assert_array_equal(got, np.stack([part.max(-1) for part in parts], -1))
    np.testing.assert_array_equal(got, np.take_along_axis(x, index, 2))
    means = np.stack([part.mean(-1) for part in parts], -1)
    np.testing.assert_allclose(ops.adaptive_avg_pool1d(x, m), means, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("pool", [ops.max_pool2d, lambda x, _: ops.adaptive_max_pool2d(x, 1)])
def test_the_first_of_ties_has_the_gradient(pool: Any) -> None:
    x = minidl.tensor([[[[1.0, 3.0], [3.0, 3.0]]]], requires_grad=True)
    (g,) = minidl.grad(pool(x, 2), x, np.ones((1, 1, 1, 1), "float32"))
    np.testing.assert_array_equal(g.data[0, 0], [[0, 1], [0, 0]])


def test_the_first_of_ties_in_unequal_windows() -> None:
    _, index = ops.adaptive_max_pool1d(np.array([[2.0, 5.0, 5.0, 1.0, 1.0]]), 2, True)
    np.testing.assert_array_equal(index, [[1, 2]])


def test_nan_wins() -> None:
    x = np.array([[[[1, NAN, 2, 3], [4, INF, 5, -INF]]]])
    np.testing.assert_array_equal(ops.max_pool2d(x, 2)[0, 0], [[NAN, 5]])
    np.testing.assert_array_equal(ops.adaptive_max_pool2d(x, 1)[0, 0], [[NAN]])


def test_padding_never_wins() -> None:
    """Even a window of nothing but -inf has its largest in the image."""
    out, index = ops.max_pool2d(np.full((1, 2, 2), -INF), 2, 2, 1, return_indices=True)
    assert (out == -INF).all()
    np.testing.assert_array_equal(index[0], [[0, 1], [2, 3]])


def test_overlapping_windows_add_their_gradients() -> None:
    x = minidl.tensor([[[0.0, 2.0, 1.0, 0.5]]], requires_grad=True)
    (g,) = minidl.grad(ops.max_pool1d(x, 3, 1), x, np.array([[[1.0, 10.0]]], "float32"))
    np.testing.assert_array_equal(g.data, [[[0, 11, 0, 0]]])


@pytest.mark.parametrize(
    "pool",
    [
        lambda x: ops.max_pool2d(x, 2),
        lambda x: ops.max_pool2d(x, 3, 2, 1),
        lambda x: ops.avg_pool2d(x, 2),
        lambda x: ops.adaptive_avg_pool2d(x, 2),
        lambda x: ops.adaptive_max_pool2d(x, 2),
    ],
)
def test_channels_last_stays(pool: Any) -> None:
    x = minidl.from_numpy(channels_last(drawn(2, 3, 4, 6, dtype="float32"))).requires_grad_()
    y = pool(x)
    assert is_channels_last(y.data)
    (g,) = minidl.grad(y, x, minidl.from_numpy(np.ones_like(y.data)), create_graph=True)
    assert is_channels_last(g.data)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x: ops.max_pool2d(x[0, 0], 2), ShapeError,
         "max_pool2d: input has shape (4, 3), expected 3 or 4 axes"),
        (lambda x: ops.max_pool2d(x, (2, 4)), ShapeError,
         "max_pool2d: a kernel that extends over (2, 4) does not fit the input, (4, 3), "
         "with padding (4, 3)"),
        (lambda x: ops.max_pool2d(x, 2, padding=2), ValueError,
         "max_pool2d: padding is (2, 2), expected at most half of kernel_size (2, 2)"),
        (lambda x: ops.avg_pool2d(x, 3, padding=(2, 0)), ValueError,
         "avg_pool2d: padding is (2, 0), expected at most half of kernel_size (3, 3)"),
        (lambda x: ops.max_pool2d(x, 0), ValueError,
         "max_pool2d: kernel_size is 0, expected at least 1"),
        (lambda x: ops.avg_pool2d(x, 2, 0), ValueError,
         "avg_pool2d: stride is 0, expected at least 1"),
        (lambda x: ops.avg_pool2d(x, 2, divisor_override=0), ValueError,
         "avg_pool2d: divisor_override is 0"),
        (lambda x: ops.max_pool2d(x.astype("int64"), 2), DtypeError,
         "max_pool2d: input is int64, expected a float dtype"),
        (lambda x: ops.adaptive_avg_pool2d(x, (1, 2, 3)), ValueError,
         "adaptive_avg_pool2d: output_size is (1, 2, 3), expected an int or 2 ints"),
        (lambda x: ops.adaptive_max_pool2d(x[..., :0], 2), ShapeError,
         "adaptive_max_pool2d: "),
    ],
)  # fmt: skip
def test_refuses(call: Any, error: Any, text: str) -> None:
    with pytest.raises(error) as caught:
        call(drawn(1, 2, 4, 3))
    assert str(caught.value).startswith(text)
