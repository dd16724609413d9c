"""index_add: both ways of array code against the loop of the definition."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl_kernels as kernels
from minidl_kernels.generic import indexing as generic
from minidl_kernels.reference import indexing as reference

WAYS = [
    pytest.param(kernels.index_add, id="door"),
    pytest.param(
        generic._sorted, id="sorted"
    ),  # what a device runs; plain array code, so NumPy too
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@given(rows=st.integers(0, 40), n=st.integers(1, 6), width=st.integers(1, 3), seed=st.integers(0))
def test_equals_the_definition(
    way: Any, dtype: str, rows: int, n: int, width: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    g = rng.normal(size=(rows, width)).astype(dtype)
    index = rng.integers(0, n, rows, dtype=rng.choice(["i4", "i8"]))
    g.flags.writeable = index.flags.writeable = False
    out = way(g, index, n)
    assert out.dtype == dtype
    assert out.shape == (n, width)
    tolerance = {"f2": 1e-2, "f4": 1e-5, "f8": 1e-12}[dtype]
    expected = reference.index_add(g, index, n)
    np.testing.assert_allclose(out, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("way", [*WAYS, pytest.param(reference.index_add, id="reference")])
def test_numbers_by_hand(way: Any) -> None:
    g = np.array([[1.0, 2], [10, 20], [100, 200], [1000, 2000]])
    out = way(g, np.array([2, 0, 2, 2]), 4)
    assert out.tolist() == [[10, 20], [0, 0], [1101, 2202], [0, 0]]


@pytest.mark.parametrize("way", WAYS)
def test_strides(way: Any) -> None:
    g, index = np.arange(24.0).reshape(4, 6), np.array([1, 9, 0, 9, 1, 9, 1, 9])
    expected = reference.index_add(g[:, ::2].copy(), index[::2].copy(), 2)
    np.testing.assert_array_equal(way(g[:, ::2], index[::2], 2), expected)
    np.testing.assert_array_equal(way(g.T[::2].T, index[::2], 2), expected)


@pytest.mark.parametrize("way", WAYS)
def test_no_sum_is_lost_in_long_runs(way: Any) -> None:
    # In float16 4096 ones add up to 2048: there 2048 + 1 is 2048.
    out = way(np.ones((4096, 1), "f2"), np.zeros(4096, int), 1)
    assert out.item() == 4096


@pytest.mark.parametrize("way", WAYS)
def test_the_same_call_gives_the_same_bits(way: Any) -> None:
    rng = np.random.default_rng(0)
    g, index = rng.normal(size=(1000, 3)).astype("f4"), rng.integers(0, 7, 1000)
    bits = way(g, index, 7).tobytes()
    assert all(way(g, index, 7).tobytes() == bits for _ in range(3))


def test_on_a_device() -> None:
    """The stand-in for CuPy has no add.at: the order of its sums would be chance on a GPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[1])
        device = importlib.import_module("standin")
    rng = np.random.default_rng(0)
    g, index = rng.normal(size=(50, 3)), rng.integers(0, 7, 50)
    out = generic.index_add(device.asarray(g), device.asarray(index), 7)
    np.testing.assert_allclose(device.asnumpy(out), reference.index_add(g, index, 7), atol=1e-12)
