"""The product of matrices in each room: the definition, blocks and their remainders, its bits."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl_kernels as kernels
from minidl_kernels.cpu import products, threads

EPSILON = np.finfo(np.float32).eps
LAYOUTS = st.sampled_from(["C", "F", "gaps"])
SIZES = st.tuples(*[st.sampled_from([0, 1, 2, 5, 8, 16, 19, 47, 49, 130])] * 3)


@pytest.fixture(autouse=True)
def ours_alone() -> Iterator[None]:
    """Small products as well are to be ours here, not BLAS's."""
    patch = pytest.MonkeyPatch()
    patch.setattr(products, "TINY", 0)
    patch.setattr(products, "TINY_VECTOR", 0)
    yield
    patch.undo()


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


def check(a: Any, b: Any) -> Any:
    """The product, within 4 epsilon times the sum of |a b|."""
    found = products.matmul(a, b)
    exact, scale = a.astype("f8") @ b.astype("f8"), abs(a).astype("f8") @ abs(b).astype("f8")
    assert (found.shape, found.dtype) == (exact.shape, np.float32)
    assert found.flags.c_contiguous
    assert (abs(found - exact) <= 4 * EPSILON * scale).all()
    return found


@given(sizes=SIZES, left=LAYOUTS, right=LAYOUTS)
def test_tiles(sizes: Any, left: str, right: str) -> None:
    m, k, n = sizes
    check(numbers(m, k, left, 0), numbers(k, n, right, 1))


@given(
    lead=st.sampled_from(
        [((3,), (3,)), ((1,), (4,)), ((2, 1), (2,)), ((2, 3), (1, 1)), ((9,), ()), ((), (2,))]
    ),
    sizes=SIZES, swapped=st.booleans(), left=LAYOUTS, right=LAYOUTS,
)  # fmt: skip
def test_stacks(lead: Any, sizes: Any, swapped: bool, left: str, right: str) -> None:
    """Of matrices in any layout, whose leading axes broadcast."""
    m, k, n = sizes
    a, b = (
        np.broadcast_to(x, (*axes, *x.shape)) if swapped else np.stack([x] * int(np.prod(axes)))
        for x, axes in ((numbers(m, k, left, 0), lead[0]), (numbers(k, n, right, 1), lead[1]))
    )
    a, b = a.reshape(*lead[0], m, k), b.reshape(*lead[1], k, n)
    check(a, b)
    check(np.ascontiguousarray(a.swapaxes(-1, -2)).swapaxes(-1, -2), b)
    check(a[..., ::-1, :], b[..., ::2])


@pytest.mark.parametrize("room", ["cpu", "reference"])
def test_a_stack_is_its_matrices(room: str) -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 2, 3, 9, 9)).astype("f4")
    product = kernels.find("matmul", room)
    shared, each = product(a, b[0, 1]), product(a, b[0])
    for i in np.ndindex(2, 3):
        np.testing.assert_array_equal(shared[i], product(a[i], b[0, 1]))
        np.testing.assert_array_equal(each[i], product(a[i], b[0, i[1]]))


def test_long_sums_are_cut_in_pieces() -> None:
    a, b = numbers(50, 700, "C", 0), numbers(700, 140, "C", 1)
    check(a, b)


@pytest.mark.parametrize("few", [1, 2, 5, 7])
@pytest.mark.parametrize("order", ["C", "F", "gaps"])
def test_few_rows_and_few_columns(few: int, order: str) -> None:
    for k, n in ((1, 9), (6, 130), (259, 33), (40, 4200)):
        check(numbers(few, k, "C", 0), numbers(k, n, order, 1))
        check(numbers(n, k, order, 1), numbers(k, few, "C", 0))


def test_not_a_number_stands_in_its_row_and_column_alone() -> None:
    a, b = numbers(20, 30, "C", 0), numbers(30, 40, "C", 1)
    a[3, 4], b[5, 6] = np.nan, np.inf
    found = np.isfinite(products.matmul(a, b))
    expected = np.ones((20, 40), bool)
    expected[3], expected[:, 6] = False, False
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("few", [1, 3])
@pytest.mark.parametrize("order", ["C", "F"])
def test_not_a_number_and_infinity_among_few_rows(few: int, order: str) -> None:
    a, b = numbers(few, 30, "C", 0), numbers(30, 41, order, 1)
    b[29, 6], b[4, 40], a[0, 5] = np.inf, np.nan, 0
    b[5, 8] = np.inf  # times 0
    with np.errstate(invalid="ignore"):
        expected = a @ b
    np.testing.assert_array_equal(np.isnan(products.matmul(a, b)), np.isnan(expected))
    np.testing.assert_array_equal(np.isinf(products.matmul(a, b)), np.isinf(expected))


@pytest.mark.parametrize("sizes", [(30, 20, 40), (2, 20, 50), (50, 20, 2), (9, 5, 7)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_nothing_is_read_or_written_beside_the_matrices(sizes: Any, order: str) -> None:
    """What lies around the operands is NaN, and around the result stays as it was."""
    m, k, n = sizes

    def among_nan(x: Any) -> Any:
        memory = np.full(x.size + 64, np.nan, "f4")
        inside = memory[32 : 32 + x.size].reshape(x.T.shape if order == "F" else x.shape)
        inside = inside.T if order == "F" else inside
        inside[...] = x
        return inside

    a, b = numbers(m, k, "C", 0), numbers(k, n, "C", 1)
    memory = np.full(m * n + 64, 77, "f4")
    patch = pytest.MonkeyPatch()
    try:
        patch.setattr(np, "empty", lambda shape, dtype: memory[32 : 32 + m * n].reshape(shape))
        found = products.matmul(among_nan(a), among_nan(b)).copy()
    finally:
        patch.undo()
    assert (memory[:32] == 77).all()
    assert (memory[32 + m * n :] == 77).all()
    np.testing.assert_allclose(found, a @ b, atol=1e-4)


@pytest.mark.skipif(threads.cpus() < 2, reason="one CPU")
@pytest.mark.parametrize(
    "shapes",
    [
        ((150, 300), (300, 150)), ((33, 700), (700, 40)), ((1, 900), (900, 700)),
        ((5, 900), (900, 700)), ((700, 900), (900, 1)), ((1, 30000), (30000, 1)),
        ((3, 90, 80), (3, 80, 100)), ((9, 90, 80), (80, 100)),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_same_bits_on_any_number_of_threads(
    shapes: Any, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = (np.random.default_rng(0).normal(size=shape).astype("f4") for shape in shapes)
    if order == "F":
        a, b = (np.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2) for x in (a, b))
    both = [products.matmul(a, b).tobytes() for _ in range(2)]
    monkeypatch.setattr(threads, "count", 1)
    assert both == [products.matmul(a, b).tobytes()] * 2


def test_tiny_ones_are_left_to_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = numbers(20, 30, "C", 0), numbers(30, 40, "C", 1)
    monkeypatch.setattr(products, "TINY", 20 * 30 * 40)
    monkeypatch.setattr(products, "_product", None)
    assert products.matmul(a, b).tobytes() == (a @ b).tobytes()
