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
asked = st.tuples(st.booleans(), st.booleans(), st.booleans())


def values(shape: tuple[int, ...], dtype: str, seed: int = 0) -> Any:
    """Few different numbers, so that there are ties, zeros, and some that are not finite."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-3, 4, shape).astype(dtype)
    x[rng.random(shape) < 0.05] = np.nan
    x[rng.random(shape) < 0.05] = np.inf
    return x


def equal(found: Any, expected: Any) -> None:
    """The same numbers of the same dtypes, and None at the same places."""
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)


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
    wanted=asked,
)
def test_pool_and_its_gradient_equal_the_definition(
    dtype: str, n: int, o: int, height: int, width: int, size: Any, activation: Any, biased: bool,
    wanted: Any,
) -> None:  # fmt: skip
    x = values((n, 1, height, width), dtype)
    w = np.resize(np.array([1, -1, 2], dtype), (o, 1, 1, 1))
    bias = np.resize(np.array([0, 1, -1, 2], dtype), o) if biased else None
    args = (x, w, *OPTIONS, bias, activation, size)
    y, place = kernels.conv_pool(*args)
    expected, where = reference.conv_pool(*args)
    equal((y, place), (expected, where))
    g = values(y.shape, dtype, 1)
    back = (g, place, x, w, *OPTIONS, size, *wanted)
    equal(kernels.conv_pool_gradient(*back), reference.conv_pool_gradient(*back))


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@given(
    n=st.integers(0, 3),
    o=st.sampled_from([1, 8, 13, 24]),
    spatial=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    wanted=asked,
)
def test_relu_gradient_equals_the_definition(
    dtype: str, n: int, o: int, spatial: Any, wanted: Any
) -> None:
    g, y = values((n, o, *spatial), dtype), values((n, o, *spatial), dtype, 1)
    axes = len(spatial)
    options: Any = (1,) * axes, ((0, 0),) * axes, (1,) * axes, 1
    x = values((n, 2, *spatial), dtype, 2)
    w = np.resize(np.array([1, -1, 2], dtype), (o, 2, *[1] * axes))
    args = (g, y, x, w, *options, *wanted)
    equal(kernels.conv_relu_gradient(*args), reference.conv_relu_gradient(*args))


def test_the_gradient_is_that_of_a_larger_step() -> None:
    """A small step along the gradient of <y, g> adds its square, where no maximum changes place."""
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 3, 9, 11)), rng.normal(size=(8, 3, 3, 3))
    bias, size = rng.normal(size=8), (2, 2)
    y, place = kernels.conv_pool(x, w, *OPTIONS, bias, "relu", size)
    g = rng.normal(size=y.shape)
    gx, gw, gb = kernels.conv_pool_gradient(g, place, x, w, *OPTIONS, size)
    step = 1e-7
    more = (x + step * gx, w + step * gw, *OPTIONS, bias + step * gb, "relu", size)
    after, _ = kernels.conv_pool(*more)
    expected = sum((part**2).sum() for part in (gx, gw, gb))
    assert ((after - y) * g).sum() / step == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("size", [(2, 2), (3, 2)])
def test_the_same_bits_at_any_number_of_threads(size: Any) -> None:
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(8, 3, 20, 20)).astype("f4"), rng.normal(size=(16, 3, 3, 3)).astype("f4")
    before, seen = threads.get_num_threads(), set()
    try:
        for count in (1, 2, 1, 2):
            threads.set_num_threads(count)
            y, place = kernels.conv_pool(x, w, *OPTIONS, None, "relu", size)
            found = kernels.conv_pool_gradient(y, place, x, w, *OPTIONS, size)
            full = kernels.conv(x, w, *OPTIONS, None, "relu")
            relu = kernels.conv_relu_gradient(full, full, x, w, *OPTIONS)
            seen.add(tuple(a.tobytes() for a in (y, place, *found, *relu)))
    finally:
        threads.set_num_threads(before)
    assert len(seen) == 1
