"""A dense layer and its gradients in each room: the definition, the borders of tiles, the bits."""

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import minidl_kernels as kernels
from minidl_kernels.cpu import dense, threads
from minidl_kernels.generic import dense as generic
from minidl_kernels.reference import dense as reference

EPSILON = np.finfo(np.float32).eps
ACTIVATIONS = st.sampled_from([None, "relu", "sigmoid", "tanh"])
# Around the borders of vectors (8), tiles (6 x 16), blocks (24, 64, 128, 192) and pieces (64, 256).
SIZES = st.sampled_from([1, 2, 3, 5, 6, 7, 8, 9, 15, 16, 17, 23, 25, 33, 65, 97, 130, 194, 258])
LAYOUTS = st.sampled_from(["C", "F", "rows", "gaps", "backwards", "odd"])


def laid(x: Any, layout: str) -> Any:
    """The same numbers, read-only, in memory of another kind."""
    if layout == "rows":
        x = np.concatenate([x, x], axis=1)[:, : x.shape[1]]
    elif layout == "gaps":
        x = np.repeat(np.repeat(x, 2, axis=0), 2, axis=1)[::2, ::2]
    elif layout == "backwards":
        x = np.ascontiguousarray(x[::-1])[::-1]
    elif layout == "odd":  # not at a multiple of its items' size
        memory = np.empty(x.nbytes + 1, np.uint8)
        memory[1:] = np.ascontiguousarray(x).reshape(-1).view(np.uint8)
        x = memory[1:].view(x.dtype).reshape(x.shape)
    else:
        x = np.array(x, order=layout)
    x.flags.writeable = False
    return x


class Problem:
    """A layer of some size, and a gradient of its result."""

    def __init__(self, m: int, k: int, n: int, seed: int, dtype: str = "f4") -> None:
        rng = np.random.default_rng(seed)
        self.x, self.w, self.bias, self.g = (
            rng.normal(size=size).astype(dtype) for size in ((m, k), (n, k), (n,), (m, n))
        )

    def lie(self, *layouts: str) -> None:
        self.x, self.w, self.g = map(laid, (self.x, self.w, self.g), layouts)

    def run(self, room: Any, activation: str | None, wanted: Any = (True,) * 3) -> Any:
        y = room.linear(self.x, self.w, self.bias, activation)
        return [y, *room.linear_gradient(self.g, self.x, self.w, y, activation, *wanted)]


@given(
    sizes=st.tuples(*[st.integers(0, 4)] * 3),
    dtype=st.sampled_from(["f2", "f4", "f8"]),
    activation=ACTIVATIONS,
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
def test_all_rooms_equal_the_definition(
    sizes: Any, dtype: str, activation: str | None, bias: bool, seed: int
) -> None:
    p = Problem(*sizes, seed, dtype)
    p.bias = p.bias if bias else None
    y = reference.linear(p.x, p.w, p.bias, activation)
    expected = [y, *reference.linear_gradient(p.g, p.x, p.w, y, activation)]
    for room in (kernels, generic):
        ours = room.linear(p.x, p.w, p.bias, activation)
        found = [ours, *room.linear_gradient(p.g, p.x, p.w, y, activation)]
        for a, b in zip(found, expected, strict=True):
            assert (a.shape, a.dtype) == (b.shape, dtype)
            np.testing.assert_allclose(a, b, rtol=0, atol=64 * np.finfo(dtype).eps)


@example(m=9, k=600, n=33, activation="tanh", bias=True)
@example(m=300, k=130, n=600, activation="relu", bias=True)
@given(m=SIZES, k=SIZES, n=SIZES, activation=ACTIVATIONS, bias=st.booleans())
def test_every_size(m: int, k: int, n: int, activation: str | None, bias: bool) -> None:
    """Against float64, within what k, n or m roundings of the terms may add up to."""
    p, exact = Problem(m, k, n, 0), Problem(m, k, n, 0)
    for name in ("x", "w", "bias", "g"):
        setattr(exact, name, getattr(p, name).astype("f8"))
    p.bias = p.bias if bias else None
    y = dense.linear(p.x, p.w, p.bias, activation)
    shift = exact.bias if bias else None
    scale = abs(exact.x) @ abs(exact.w).T + abs(exact.bias)
    # The three activations have slopes of at most 1; their own errors are a few units.
    bound = (k + 4) * EPSILON * scale + 8 * EPSILON
    assert (abs(y - generic.linear(exact.x, exact.w, shift, activation)) <= bound).all()
    out = y.astype("f8")
    found = dense.linear_gradient(p.g, p.x, p.w, y, activation)
    expected = generic.linear_gradient(exact.g, exact.x, exact.w, out, activation)
    size = abs(exact.g)
    scales = (size @ abs(exact.w), size.T @ abs(exact.x), size.sum(axis=0))
    for a, b, scale, terms in zip(found, expected, scales, (n, m, m), strict=True):
        assert (abs(a - b) <= (terms + 8) * EPSILON * scale).all()


@given(
    m=SIZES, k=SIZES, n=SIZES, activation=ACTIVATIONS, layouts=st.tuples(LAYOUTS, LAYOUTS, LAYOUTS)
)
def test_layouts(m: int, k: int, n: int, activation: str | None, layouts: Any) -> None:
    p = Problem(m, k, n, 0)
    expected = p.run(dense, activation)
    p.lie(*layouts)
    # Few rows are taken along k where the weights lie row by row: sums in another order.
    few = m <= dense.FEW and layouts[1] == "F"
    for a, b in zip(p.run(dense, activation), expected, strict=True):
        if few:
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
        else:
            np.testing.assert_array_equal(a, b)


def test_the_gradient_of_a_transposed_weight_is_transposed() -> None:
    p = Problem(20, 30, 40, 0)
    p.w = np.asfortranarray(p.w)
    _, _, gw, _ = p.run(dense, None)
    assert gw.strides == p.w.strides


@pytest.mark.skipif(threads.cpus() < 2, reason="one CPU")
@given(
    m=st.sampled_from([4, 40, 300]), k=st.sampled_from([90, 600]), n=st.sampled_from([100, 520]),
    activation=ACTIVATIONS, order=st.sampled_from("CF"),
)  # fmt: skip
def test_the_same_bits_on_any_number_of_threads(
    m: int, k: int, n: int, activation: str | None, order: str
) -> None:
    p = Problem(m, k, n, 0)
    p.w = np.array(p.w, order=order)
    before, seen = threads.get_num_threads(), []
    try:
        for number in (1, 2, 1):
            threads.set_num_threads(number)
            seen.append([a.tobytes() for a in p.run(dense, activation)])
    finally:
        threads.set_num_threads(before)
    assert seen[0] == seen[1] == seen[2]


def test_rows_do_not_depend_on_those_beside_them() -> None:
    """From 8 rows on; fewer are summed in another order."""
    p = Problem(50, 300, 70, 0)
    whole = dense.linear(p.x, p.w, p.bias, "tanh")
    for m in (8, 9, 16, 31):
        np.testing.assert_array_equal(dense.linear(p.x[:m], p.w, p.bias, "tanh"), whole[:m])


@pytest.mark.parametrize("activation", [None, "relu", "sigmoid", "tanh"])
@pytest.mark.parametrize("m", [3, 20])
def test_not_a_number_and_infinity_pass(m: int, activation: str | None) -> None:
    p = Problem(m, 30, 40, 0)
    p.x[1, 4], p.x[2, 5], p.w[6, 7] = np.nan, np.inf, np.nan
    p.g[0, 0] = np.nan
    y = dense.linear(p.x, p.w, p.bias, activation)
    found = [y, *dense.linear_gradient(p.g, p.x, p.w, y, activation)]
    with np.errstate(invalid="ignore"):
        expected = [generic.linear(p.x, p.w, p.bias, activation)]
        expected += generic.linear_gradient(p.g, p.x, p.w, expected[0], activation)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
        np.testing.assert_array_equal(np.isposinf(a), np.isposinf(b))
        np.testing.assert_array_equal(np.isneginf(a), np.isneginf(b))
    assert np.isnan(y[1]).all()


@example(m=9, n=17, k=5, activation="relu")
@example(m=33, n=9, k=300, activation=None)
@given(m=SIZES, n=SIZES, k=SIZES, activation=ACTIVATIONS)
def test_nothing_is_written_beside_the_results(
    m: int, n: int, k: int, activation: str | None
) -> None:
    """Results, and what is kept between two kernels, get memory between guards."""
    p, guarded = Problem(m, k, n, 0), []

    def empty(shape: Any, dtype: Any) -> Any:
        size = int(np.prod(shape))
        memory = np.full(size + 64, 77, dtype)
        guarded.append((memory, size))
        return memory[32 : 32 + size].reshape(shape)

    patch = pytest.MonkeyPatch()
    try:
        patch.setattr(np, "empty", empty)
        found = p.run(dense, activation)
    finally:
        patch.undo()
    assert len(guarded) >= 4
    for memory, size in guarded:
        assert (memory[:32] == 77).all()
        assert (memory[32 + size :] == 77).all()
    for a, b in zip(found, p.run(dense, activation), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("wanted", [(i & 1, i >> 1 & 1, i >> 2) for i in range(8)])
@pytest.mark.parametrize("room", [dense, generic, reference], ids=["cpu", "generic", "reference"])
def test_only_what_is_wanted(room: Any, wanted: Any) -> None:
    p = Problem(9, 5, 17, 0)
    flags = tuple(map(bool, wanted))
    for a, b, flag in zip(
        p.run(room, "relu", flags)[1:], p.run(room, "relu")[1:], flags, strict=True
    ):
        assert (a is not None) == flag
        if flag:
            np.testing.assert_array_equal(a, b)
