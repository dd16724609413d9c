"""Order: NaN, ties, where the gradient goes, empty tensors and error texts."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minidl
from minidl import ops
from minidl.errors import ShapeError

NAN = math.nan


def tracked(values: Any) -> Any:
    return minidl.tensor(np.array(values, "float64"), requires_grad=True)


def plain(x: Any) -> Any:
    return np.asarray(x.data)


@pytest.mark.parametrize(
    ("f", "x", "values", "indices", "gradient"),
    [
        (lambda x: ops.max(x, 0), [2, 2, 1], 2, 0, [1, 0, 0]),
        (lambda x: ops.min(x, 0), [2, 1, 1], 1, 1, [0, 1, 0]),
        (lambda x: ops.median(x, 0), [2, 2, 2, 1], 2, 0, [1, 0, 0, 0]),
        (lambda x: ops.median(x, 0), [4, 1, 3, 2], 2, 3, [0, 0, 0, 1]),
        (lambda x: ops.max(x, 0), [2, NAN, NAN], NAN, 1, [0, 1, 0]),
        (lambda x: ops.min(x, 0), [2, NAN, 1], NAN, 1, [0, 1, 0]),
        (lambda x: ops.median(x, 0), [2, NAN, 1], NAN, 1, [0, 1, 0]),
        (ops.sort, [2, 1, 2, 0], [0, 1, 2, 2], [3, 1, 0, 2], [3, 2, 4, 1]),
        (lambda x: ops.sort(x, 0, True), [2, 1, 2], [2, 2, 1], [0, 2, 1], [1, 3, 2]),
        (ops.sort, [NAN, 1, NAN, -math.inf], [-math.inf, 1, NAN, NAN], [3, 1, 0, 2], [3, 2, 4, 1]),
        (
            lambda x: ops.sort(x, descending=True),
            [1, NAN, math.inf, NAN],
            [NAN, NAN, math.inf, 1],
            [1, 3, 2, 0],
            [4, 1, 3, 2],
        ),
        (lambda x: ops.topk(x, 2), [2, NAN, 3, 1], [NAN, 3], [1, 2], [0, 1, 2, 0]),
        (lambda x: ops.topk(x, 2, largest=False), [2, NAN, 3, 1], [1, 2], [3, 0], [2, 0, 0, 1]),
        (lambda x: ops.topk(x, 3), [1, 2, 1], [2, 1, 1], [1, 0, 2], [2, 1, 3]),
        (lambda x: ops.topk(x, 0), [1, 2], [], [], [0, 0]),
    ],
)
def test_what_is_picked_and_gets_the_gradient(
    f: Any, x: Any, values: Any, indices: Any, gradient: Any
) -> None:
    x = tracked(x)
    found = f(x)
    np.testing.assert_array_equal(plain(found.values), values)
    np.testing.assert_array_equal(plain(found.indices), indices)
    assert found.indices.dtype == "int64"
    assert not found.indices.requires_grad
    weights = np.arange(1.0, found.values.data.size + 1).reshape(found.values.shape)
    (g,) = minidl.grad(found.values, x, weights)
    np.testing.assert_array_equal(g.data, gradient)


@pytest.mark.parametrize(
    ("f", "x", "value", "gradient"),
    [
        (ops.max, [1, 3, 3], 3, [0, 0.5, 0.5]),
        (ops.min, [[1, 1], [3, 1]], 1, [[1 / 3, 1 / 3], [0, 1 / 3]]),
        (ops.median, [2, 2, 1, 5], 2, [0.5, 0.5, 0, 0]),
        (ops.median, [4, 1, 3, 2], 2, [0, 0, 0, 1]),
        (ops.median, [4, NAN, 3], NAN, [0, 1, 0]),
        (lambda x: ops.max(x, minidl.tensor(np.array([2.0, 1.0]))), [2, 3], [2, 3], [0.5, 1]),
        (lambda x: ops.min(x, np.array([2.0, 1.0])), [2, 3], [2, 1], [0.5, 0]),
    ],
)
def test_without_a_dim_ties_share(f: Any, x: Any, value: Any, gradient: Any) -> None:
    x = tracked(x)
    y = f(x)
    np.testing.assert_array_equal(plain(y), value)
    np.testing.assert_allclose(minidl.grad(ops.sum(y), x)[0].data, gradient)


@pytest.mark.parametrize(
    ("x", "largest", "smallest"),
    [([3, 5, 5, 1, 1], 1, 3), ([1, NAN, 9, NAN], 1, 1), ([[0, 4], [4, -1]], 1, 3)],
)
def test_argmax_names_the_first(x: Any, largest: int, smallest: int) -> None:
    assert plain(ops.argmax(tracked(x))) == largest
    assert plain(ops.argmin(tracked(x))) == smallest


def test_shapes_of_indices() -> None:
    x = minidl.tensor(np.zeros((2, 3)))
    assert ops.argmax(x).shape == ()
    assert ops.argmax(x, keepdim=True).shape == (1, 1)
    assert ops.argmin(x, 0).shape == (3,)
    assert ops.argmin(x, -1, True).shape == (2, 1)
    assert ops.max(x, 1, keepdim=True).values.shape == (2, 1)
    assert ops.median(x, 0).indices.shape == (3,)


def test_a_tensor_without_axes() -> None:
    x = tracked(3)
    calls = (
        ops.sort,
        lambda x: ops.topk(x, 1),
        lambda x: ops.max(x, 0),
        lambda x: ops.median(x, 0),
    )
    for f in calls:
        values, indices = f(x)
        assert values.shape == indices.shape == ()
        assert values.item() == 3
        assert indices.item() == 0
        assert minidl.grad(values, x)[0].item() == 1
    assert ops.argsort(x).item() == ops.argmax(x, 0).item() == 0


def test_empty_tensors() -> None:
    x = tracked(np.zeros((0, 3)))
    for found in (ops.sort(x, 0), ops.sort(x), ops.topk(x, 0, 0)):
        assert found.values.shape == found.indices.shape == (0, 3)
    for found in (ops.max(x, 1), ops.min(x, 1), ops.median(x, 1)):
        assert found.values.shape == found.indices.shape == (0,)
    assert ops.topk(x, 2).values.shape == (0, 2)
    assert math.isnan(ops.median(x).item())


@pytest.mark.parametrize(
    ("f", "error", "text"),
    [
        (lambda x: ops.max(x[:0]), ShapeError, "amax: x is (0, 3): there is nothing to choose"),
        (lambda x: ops.max(x[:0], 0), ShapeError, "argmax: x is (0, 3): there is nothing"),
        (lambda x: ops.argmin(x[:0]), ShapeError, "argmin: x is (0, 3)"),
        (lambda x: ops.median(x[:0], 0), ShapeError, "median: x is (0, 3)"),
        (lambda x: ops.median(x[:0].long()), TypeError, "median: x is int64"),
        (lambda x: ops.argmax(x, 2), IndexError, "argmax: dim is 2, but the tensor has 2 axes"),
        (lambda x: ops.sort(x, -3), IndexError, "argsort: dim is -3"),
        (lambda x: ops.topk(x, 4), ValueError, "topk: k is 4, but dim -1 of x (2, 3) has 3"),
        (lambda x: ops.topk(x, -1), ValueError, "topk: k is -1"),
    ],
)
def test_errors_say_what_is_wrong(f: Any, error: Any, text: str) -> None:
    x = minidl.tensor(np.ones((2, 3)))
    with pytest.raises(error) as caught:
        f(x)
    assert text in str(caught.value)


numbers = st.sampled_from([-math.inf, -1.5, 0.0, 1.0, 2.5, math.inf, NAN])
arrays = hnp.arrays("float64", hnp.array_shapes(max_dims=3, max_side=6), elements=numbers)


@given(arrays, st.data())
def test_sorting_is_a_stable_permutation(values: Any, data: Any) -> None:
    dim = data.draw(st.integers(-values.ndim, values.ndim - 1))
    descending = data.draw(st.booleans())
    x = minidl.tensor(values)
    found = ops.sort(x, dim, descending)
    ordered, indices = plain(found.values), plain(found.indices)
    np.testing.assert_array_equal(np.take_along_axis(values, indices, dim), ordered)
    want = np.flip(np.sort(values, dim), dim) if descending else np.sort(values, dim)
    np.testing.assert_array_equal(ordered, want)
    moved, at = np.moveaxis(ordered, dim, 0), np.moveaxis(indices, dim, 0)
    tied = (moved[1:] == moved[:-1]) | (np.isnan(moved[1:]) & np.isnan(moved[:-1]))
    assert (at[1:] > at[:-1])[tied].all()
    k = data.draw(st.integers(0, values.shape[dim]))
    top = ops.topk(x, k, dim, largest=descending)
    np.testing.assert_array_equal(plain(top.values), ordered.take(range(k), dim))
    np.testing.assert_array_equal(plain(top.indices), indices.take(range(k), dim))


@given(arrays)
def test_the_median_is_in_the_middle(values: Any) -> None:
    flat = np.sort(values, axis=None)
    want = flat[-1] if np.isnan(flat[-1]) else flat[(flat.size - 1) // 2]
    assert np.array_equal(plain(ops.median(minidl.tensor(values))), want, equal_nan=True)
    found = ops.median(minidl.tensor(values), 0, True)
    ordered = np.sort(values, 0)
    middle = np.where(np.isnan(ordered[-1]), NAN, ordered[(len(values) - 1) // 2])
    np.testing.assert_array_equal(plain(found.values)[0], middle)
