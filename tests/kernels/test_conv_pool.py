"""Convolutions pooled while they are in registers, and their gradients, forward and back."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl_kernels as kernels
from minidl_kernels.cpu import conv_pool, epilogue, threads, winograd_back, winograd_forward
from minidl_kernels.generic import epilogue as generic
from minidl_kernels.reference import epilogue as reference

SIZE = (2, 2)


@st.composite
def problems(draw: Any) -> Any:
    """(x, w, options), bias, activation: small whole numbers, so that there are ties."""

    def two(low: int, high: int) -> tuple[int, int]:
        return draw(st.integers(low, high)), draw(st.integers(low, high))

    kernel, stride, dilation = two(1, 3), two(1, 2), two(1, 2)
    padding = (two(0, 2), two(0, 2))
    groups, each = draw(st.sampled_from([1, 1, 2])), draw(st.sampled_from([1, 3, 8]))
    o = draw(st.sampled_from([8, 16, 24, 40]))
    space = [
        (2 * many - 1) * s + d * (t - 1) + 1 + more - sum(pads)
        for many, s, d, t, pads, more in zip(
            two(1, 12), stride, dilation, kernel, padding, two(0, 2), strict=True
        )
    ]
    shape = (draw(st.integers(1, 3)), groups * each, *(max(1, s) for s in space))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    x = rng.integers(-3, 4, shape).astype("f4")
    if draw(st.booleans()):
        x[rng.random(shape) < 0.02] = np.nan
    axes = draw(st.permutations(range(4)))
    x = x.transpose(axes).copy().transpose(np.argsort(axes))
    x = x[:, :, :: draw(st.sampled_from([1, -1]))]
    w = rng.integers(-3, 4, (o * groups, each, *kernel)).astype("f4")
    bias = rng.integers(-2, 3, o * groups).astype("f4") if draw(st.booleans()) else None
    return x, w, stride, padding, dilation, groups, bias, draw(st.sampled_from([None, "relu"]))


@given(problems(), st.booleans())
def test_direct_equals_the_definition(problem: Any, of_x: bool) -> None:
    """Whole numbers this small are added without rounding."""
    x, w, *options, _, _ = problem
    with kernels.algorithm("direct"):
        y, place = kernels.conv_pool(*problem, SIZE)
        expected, where = generic.conv_pool(*problem, SIZE)
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(place, where)
        g = np.random.default_rng(0).integers(-3, 4, y.shape).astype("f4")
        args = (g, place, x, w, *options, SIZE, of_x)
        found, wanted = kernels.conv_pool_gradient(*args), generic.conv_pool_gradient(*args)
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(one, other)


@st.composite
def layers(draw: Any) -> Any:
    """x, w, padding for Winograd's algorithm, and a generator of more numbers."""
    n, c, o = draw(st.integers(4, 9)), draw(st.integers(1, 20)), draw(st.sampled_from([8, 16, 24]))
    padding = tuple((draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in range(2))
    space = [max(1, draw(st.integers(4, 15)) - sum(p)) for p in padding]
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    x = rng.normal(size=(n, *space, c)).astype("f4").transpose(0, 3, 1, 2)
    return x, rng.normal(size=(o, c, 3, 3)).astype("f4"), padding, rng


def near(found: Any, expected: Any) -> None:
    """Within the error of Winograd's algorithm, as `test_conv_fast` bounds it, of the largest."""
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            # Measured: 6e-6 in 3000 of these problems.
            np.testing.assert_allclose(one, other, rtol=0, atol=3e-5 * abs(other).max())


@given(layers(), st.sampled_from([None, "relu"]), st.tuples(*[st.booleans()] * 3))
def test_winograd_is_near_the_definition(problem: Any, activation: Any, wanted: Any) -> None:
    x, w, padding, rng = problem
    options = (1, 1), padding, (1, 1), 1
    bias = rng.normal(size=len(w)).astype("f4")
    double = [a.astype("f8") for a in (x, w, bias)]
    with kernels.algorithm("winograd"):
        y, place = kernels.conv_pool(x, w, *options, bias, activation, SIZE)
        full = kernels.conv(x, w, *options, bias, "relu")
        expected, _ = generic.conv_pool(*double[:2], *options, double[2], activation, SIZE)
        near([y], [expected])
        back = x, w, *options
        g = rng.normal(size=y.shape).astype("f4")
        found = kernels.conv_pool_gradient(g, place, *back, SIZE, *wanted)
        exact = double[0], double[1], *options
        near(found, generic.conv_pool_gradient(g.astype("f8"), place, *exact, SIZE, *wanted))
        g = rng.normal(size=full.shape).astype("f4")
        found = kernels.conv_relu_gradient(g, full, *back, *wanted)
        near(found, generic.conv_relu_gradient(g.astype("f8"), full, *exact, *wanted))


# x, w, and what forward and back should call
CASES = [
    ((32, 1, 28, 28), (32, 1, 3, 3), "direct_pool", "direct_pool_weight"),
    ((2, 16, 40, 41), (48, 16, 5, 5), "direct_pool", None),
    ((32, 32, 13, 13), (64, 32, 3, 3), "convolve", "gradients"),
]


@pytest.mark.parametrize(("x", "w", "forward", "back"), CASES, ids=str)
def test_the_kernels_that_run(
    monkeypatch: pytest.MonkeyPatch, x: Any, w: Any, forward: str, back: str | None
) -> None:
    called: list[str] = []

    def listen(module: Any, name: str) -> None:
        function = getattr(module, name)

        def listening(*args: Any, **options: Any) -> Any:
            called.append(name)
            return function(*args, **options)

        monkeypatch.setattr(module, name, listening)

    for module, name in (
        (epilogue, "direct_pool"),
        (epilogue, "direct_pool_weight"),
        (winograd_forward, "convolve"),
        (winograd_back, "gradients"),
    ):
        listen(module, name)
    options = (1, 1), ((0, 0), (0, 0)), (1, 1), 1
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=x).astype("f4"), rng.normal(size=w).astype("f4")
    y, place = kernels.conv_pool(x, w, *options, None, "relu", SIZE)
    assert called == [forward]
    kernels.conv_pool_gradient(y, place, x, w, *options, SIZE, of_x=back == "gradients")
    assert called[1:2] == ([] if back is None else [back])


@pytest.mark.parametrize(("x", "w"), [case[:2] for case in CASES], ids=str)
def test_the_same_bits_as_unfused_at_any_number_of_threads(x: Any, w: Any) -> None:
    rng = np.random.default_rng(0)
    x, w, bias = (rng.normal(size=s).astype("f4") for s in (x, w, w[:1]))
    options = (1, 1), ((1, 1), (0, 1)), (1, 1), 1
    before, seen, back = threads.get_num_threads(), set(), set()
    try:
        for count in (1, 2, 1, 2):
            threads.set_num_threads(count)
            y, place = kernels.conv_pool(x, w, *options, bias, "relu", SIZE)
            seen.add((y.tobytes(), place.tobytes()))
            for of_x in (True, False):
                found = kernels.conv_pool_gradient(y, place, x, w, *options, SIZE, of_x)
                back.add((of_x, *(a.tobytes() for a in found if a is not None)))
        full = kernels.conv(x, w, *options, bias, "relu")
        seen.add(tuple(a.tobytes() for a in generic.pool(full, SIZE, True)))
    finally:
        threads.set_num_threads(before)
    assert (len(seen), len(back)) == (1, 2)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_winograd_leaves_what_is_not_finite_where_it_belongs(value: float) -> None:
    """One such number in g spoils a tile of 6 x 6; all is done again, directly."""
    rng = np.random.default_rng(0)
    x, w = (
        rng.normal(size=(4, 16, 12, 12)).astype("f4"),
        rng.normal(size=(8, 16, 3, 3)).astype("f4"),
    )
    options = (1, 1), ((0, 0), (0, 0)), (1, 1), 1
    with kernels.algorithm("winograd"):
        y, place = kernels.conv_pool(x, w, *options, None, None, SIZE)
        g = np.ones_like(y)
        g[0, 0, 0, 0] = value
        gx, gw, gbias = kernels.conv_pool_gradient(g, place, x, w, *options, SIZE)
    row, column = divmod(int(place[0, 0, 0, 0]), 2)
    spoilt = np.zeros(gx.shape, bool)
    spoilt[0, :, row : row + 3, column : column + 3] = True
    np.testing.assert_array_equal(np.isfinite(gx), ~spoilt)
    assert not np.isfinite(gw[0]).any()
    assert np.isfinite(gw[1:]).all()
    np.testing.assert_array_equal(np.isfinite(gbias), np.arange(8) > 0)


def test_the_table_of_offsets_is_that_of_the_windows() -> None:
    p, offsets = conv_pool._sizes((2, 9, 8, 3), (2, 3), (2, 1), (1, 2), (2, 2, 2, 8))
    assert (p.depth, p.down, p.right) == (18, 2 * 8 * 3, 3)
    places = [(i * 8 + 2 * j) * 3 + c for i in range(2) for j in range(3) for c in range(3)]
    assert offsets.tolist() == places


def test_the_definition_agrees_with_array_code() -> None:
    """The array code that the tests above compare with, on a problem small enough for loops."""
    rng = np.random.default_rng(0)
    x, w, bias = rng.normal(size=(2, 3, 7, 8)), rng.normal(size=(4, 3, 3, 3)), rng.normal(size=4)
    options = (1, 2), ((1, 0), (2, 1)), (1, 1), 1
    y, place = reference.conv_pool(x, w, *options, bias, "relu", SIZE)
    ours, where = generic.conv_pool(x, w, *options, bias, "relu", SIZE)
    np.testing.assert_allclose(ours, y, rtol=1e-12)
    np.testing.assert_array_equal(where, place)
    g = rng.normal(size=y.shape)
    back = (g, place, x, w, *options, SIZE)
    found, expected = generic.conv_pool_gradient(*back), reference.conv_pool_gradient(*back)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
