"""What follows a convolution: bias, relu, max-pool and their gradients, against the definition."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl_kernels as kernels
from minidl_kernels.cpu import threads
from minidl_kernels.reference import epilogue as reference

sizes = st.tuples(st.integers(1, 3), st.integers(1, 3))
OPTIONS: Any = ((1, 1), ((0, 0), (0, 0)), (1, 1), 1)


def values(shape: tuple[int, ...], dtype: str, seed: int = 0) -> Any:
    """Few different numbers, so that there are ties, zeros, and some that are not finite."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-3, 4, shape).astype(dtype)
    x[rng.random(shape) < 0.05] = np.nan
    x[rng.random(shape) < 0.05] = np.inf
    return x


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # NaN meets infinity
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@given(
    n=st.integers(1, 2),
    o=st.sampled_from([1, 8, 13, 24]),
    height=st.integers(1, 7),
    width=st.integers(1, 7),
    size=sizes,
    activation=st.sampled_from([None, "relu"]),
    biased=st.booleans(),
)
def test_pool_and_its_gradient_equal_the_definition(
    dtype: str, n: int, o: int, height: int, width: int, size: Any, activation: Any, biased: bool
) -> None:
    x = values((n, 1, height, width), dtype)
    w = np.resize(np.array([1, -1, 2], dtype), (o, 1, 1, 1))
    bias = np.resize(np.array([0, 1, -1, 2], dtype), o) if biased else None
    args = (x, w, *OPTIONS, bias, activation, size)
    y, place = kernels.conv_pool(*args)
    expected, where = reference.conv_pool(*args)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(place, where)
    assert (y.dtype, place.dtype) == (np.dtype(dtype), np.uint8)
    g = values(y.shape, dtype, 1)
    shape = (n, o, height, width)
    gy, gb = kernels.conv_pool_gradient(g, place, shape, size)
    ours, sums = reference.conv_pool_gradient(g, place, shape, size)
    np.testing.assert_array_equal(gy, ours)
    np.testing.assert_array_equal(gb, sums)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@given(
    n=st.integers(0, 3),
    o=st.sampled_from([1, 8, 13, 24]),
    spatial=st.lists(st.integers(1, 9), min_size=1, max_size=3),
)
def test_relu_gradient_equals_the_definition(dtype: str, n: int, o: int, spatial: Any) -> None:
    g, y = values((n, o, *spatial), dtype), values((n, o, *spatial), dtype, 1)
    ours, expected = kernels.relu_gradient(g, y), reference.relu_gradient(g, y)
    for one, other in zip(ours, expected, strict=True):
        assert one.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(one, other)


def test_the_gradient_is_that_of_a_larger_step() -> None:
    """A small step along the gradient of <y, g> adds its square, where no maximum changes place."""
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 3, 9, 11)), rng.normal(size=(8, 3, 3, 3))
    bias, size = rng.normal(size=8), (2, 2)
    y, place = kernels.conv_pool(x, w, *OPTIONS, bias, "relu", size)
    g = rng.normal(size=y.shape)
    gy, gb = kernels.conv_pool_gradient(g, place, (2, 8, 7, 9), size)
    gw = kernels.conv_weight(gy, x, w.shape, *OPTIONS)
    step = 1e-7
    after, _ = kernels.conv_pool(x, w + step * gw, *OPTIONS, bias + step * gb, "relu", size)
    expected = (gw**2).sum() + (gb**2).sum()
    assert ((after - y) * g).sum() / step == pytest.approx(expected, rel=1e-4)


def test_the_same_bits_at_any_number_of_threads() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(8, 3, 20, 20)).astype("f4"), rng.normal(size=(16, 3, 3, 3)).astype("f4")
    before, seen = threads.get_num_threads(), set()
    try:
        for count in (1, 2, 1, 2):
            threads.set_num_threads(count)
            y, place = kernels.conv_pool(x, w, *OPTIONS, None, "relu", (2, 2))
            gy, gb = kernels.conv_pool_gradient(y, place, (8, 16, 18, 18), (2, 2))
            gz, sums = kernels.relu_gradient(gy, gy)
            seen.add(tuple(a.tobytes() for a in (y, place, gy, gb, gz, sums)))
    finally:
        threads.set_num_threads(before)
    assert len(seen) == 1
