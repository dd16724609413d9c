"""A convolution pooled in the cache against one that is written first: the same bits."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl_kernels as kernels
from minidl_kernels.cpu import conv_pool, epilogue, threads
from minidl_kernels.reference import epilogue as reference


@st.composite
def problems(draw: Any) -> Any:
    """(x, w, options), bias, activation, size: small whole numbers, so that there are ties."""

    def two(low: int, high: int) -> tuple[int, int]:
        return draw(st.integers(low, high)), draw(st.integers(low, high))

    kernel, stride, dilation, size = two(1, 3), two(1, 2), two(1, 2), two(1, 3)
    padding = (two(0, 2), two(0, 2))
    groups, each = draw(st.sampled_from([1, 1, 2])), draw(st.sampled_from([1, 3, 8]))
    o = draw(st.sampled_from([8, 16, 24, 40]))
    space = [
        (k * many - 1) * s + d * (t - 1) + 1 + more - sum(pads)
        for k, many, s, d, t, pads, more in zip(
            size, two(1, 12), stride, dilation, kernel, padding, two(0, 2), strict=True
        )
    ]
    shape = (draw(st.integers(1, 3)), groups * each, *(max(1, s) for s in space))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    x = rng.integers(-3, 4, shape).astype("f4")
    if draw(st.booleans()):
        x[rng.random(shape) < 0.02] = np.nan
    axes = draw(st.permutations(range(4)))
    x = (
        x.transpose(axes)
        .copy()
        .transpose(np.argsort(axes))[:, :, :: draw(st.sampled_from([1, -1]))]
    )
    w = rng.integers(-3, 4, (o * groups, each, *kernel)).astype("f4")
    bias = rng.integers(-2, 3, o * groups).astype("f4") if draw(st.booleans()) else None
    return (
        x,
        w,
        stride,
        padding,
        dilation,
        groups,
        bias,
        draw(st.sampled_from([None, "relu"])),
        size,
    )


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What the fused kernel has said of each call."""
    said: list[bool] = []

    def listening(*args: Any) -> bool:
        said.append(conv_pool.direct_pool(*args))
        return said[-1]

    monkeypatch.setattr(epilogue, "direct_pool", listening)
    return said


@given(problems())
def test_equals_the_definition(problem: Any) -> None:
    """Whole numbers this small are added without rounding."""
    y, place = kernels.conv_pool(*problem)
    expected, where = reference.conv_pool(*problem)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(place, where)


@pytest.mark.parametrize(
    ("x", "w", "size", "fused"),
    [
        ((3, 1, 28, 28), (32, 1, 3, 3), (2, 2), True),
        ((2, 16, 40, 41), (48, 16, 5, 5), (3, 4), True),
        ((1, 8, 4, 2200), (64, 8, 1, 3), (2, 2), False),  # rows too long for the room of a task
    ],
    ids=str,
)
def test_the_same_bits_as_unfused_at_any_number_of_threads(
    done: list[bool], monkeypatch: pytest.MonkeyPatch, x: Any, w: Any, size: Any, fused: bool
) -> None:
    rng = np.random.default_rng(0)
    numbers = [rng.normal(size=s).astype("f4") for s in (x, w, w[0])]
    args = (*numbers[:2], (1, 1), ((1, 1), (0, 1)), (1, 1), 1, numbers[2], "relu", size)
    before, seen = threads.get_num_threads(), set()
    try:
        for count in (1, 2, 1, 2):
            threads.set_num_threads(count)
            seen.add(tuple(a.tobytes() for a in kernels.conv_pool(*args)))
        assert done == [fused] * 4
        monkeypatch.setattr(epilogue, "direct_pool", lambda *args: False)
        seen.add(tuple(a.tobytes() for a in kernels.conv_pool(*args)))
    finally:
        threads.set_num_threads(before)
    assert len(seen) == 1
