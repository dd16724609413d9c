"""The product of matrices in each room: the definition, blocks and their remainders, its bits."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl_kernels as kernels
from minidl_kernels.cpu import products, threads

EPSILON = np.finfo(np.float32).eps
SIZES = st.tuples(*[st.sampled_from([0, 1, 2, 5, 8, 16, 19, 47, 49, 130])] * 3)


def numbers(rows: int, columns: int, layout: str, seed: int) -> Any:
    """A matrix in C or Fortran order, or with gaps and backwards."""
    full = np.random.default_rng(seed).normal(size=(2 * rows, 2 * columns)).astype("f4")
    if layout == "gaps":
        return full[::-2, ::2]
    return np.asarray(full[:rows, :columns], order=layout)


@given(sizes=st.tuples(*[st.integers(0, 4)] * 3), dtype=st.sampled_from(["f2", "f4", "f8"]))
def test_all_rooms_equal_the_definition(sizes: Any, dtype: str) -> None:
    m, k, n = sizes
    a, b = numbers(m, k, "C", 0).astype(dtype), numbers(k, n, "C", 1).astype(dtype)
    with kernels.use("reference"):
        expected = kernels.matmul(a, b)
    assert expected.shape == (m, n)
    for room in ("cpu", "reference"):
        found = kernels.find("matmul", room)(a, b)
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=0, atol=8 * np.finfo(dtype).eps * 4)


@given(sizes=SIZES, left=st.sampled_from(["C", "F", "gaps"]), right=st.sampled_from("CF"))
def test_tiles(sizes: Any, left: str, right: str) -> None:
    m, k, n = sizes
    a, b = numbers(m, k, left, 0), numbers(k, n, right, 1)
    exact, scale = a.astype("f8") @ b.astype("f8"), abs(a).astype("f8") @ abs(b).astype("f8")
    assert (abs(products.matmul(a, b) - exact) <= 4 * EPSILON * scale).all()


def test_long_sums_are_cut_in_pieces() -> None:
    a, b = numbers(50, 700, "C", 0), numbers(700, 140, "C", 1)
    exact, scale = a.astype("f8") @ b.astype("f8"), abs(a).astype("f8") @ abs(b).astype("f8")
    assert (abs(products.matmul(a, b) - exact) <= 4 * EPSILON * scale).all()


def test_not_a_number_stands_in_its_row_and_column_alone() -> None:
    a, b = numbers(20, 30, "C", 0), numbers(30, 40, "C", 1)
    a[3, 4], b[5, 6] = np.nan, np.inf
    found = np.isfinite(products.matmul(a, b))
    expected = np.ones((20, 40), bool)
    expected[3], expected[:, 6] = False, False
    np.testing.assert_array_equal(found, expected)


@pytest.mark.skipif(threads.cpus() < 2, reason="one CPU")
def test_the_same_bits_on_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = numbers(150, 300, "C", 0), numbers(300, 150, "C", 1)
    both = products.matmul(a, b)
    monkeypatch.setattr(threads, "count", 1)
    assert products.matmul(a, b).tobytes() == both.tobytes()
