"""Convolution kernels: array code against the loops of the definition, and the laws both obey."""

import importlib
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl_kernels as kernels
from minidl_kernels.generic import convolution as generic
from minidl_kernels.reference import convolution as reference


class Problem(NamedTuple):
    """An input and weights that fit, and the options."""

    x: Any
    w: Any
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int

    @property
    def options(self) -> tuple[Any, ...]:
        return self[2:]

    @property
    def size(self) -> tuple[int, ...]:
        return self.w.shape[2:]


@st.composite
def problems(draw: Any, dtype: str = "f8") -> Problem:
    axes = draw(st.integers(1, 3))

    def each(low: int, high: int) -> list[int]:
        return [draw(st.integers(low, high)) for _ in range(axes)]

    kernel, stride, dilation = each(1, 3 if axes < 3 else 2), each(1, 3), each(1, 2)
    padding = tuple(zip(each(0, 2), each(0, 2), strict=True))
    spatial = [
        max(1, d * (k - 1) + 1 - sum(pads)) + more
        for k, d, pads, more in zip(kernel, dilation, padding, each(0, 3), strict=True)
    ]
    n, groups = draw(st.integers(0, 2)), draw(st.sampled_from([1, 1, 2, 3]))
    inputs, outputs = draw(st.sampled_from([1, 2, 5])), draw(st.integers(1, 2))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    x = rng.normal(size=(n, groups * inputs, *spatial)).astype(dtype)
    w = rng.normal(size=(groups * outputs, inputs, *kernel)).astype(dtype)
    return Problem(x, w, tuple(stride), padding, tuple(dilation), groups)


def gradient(y: Any) -> Any:
    return np.random.default_rng(0).normal(size=y.shape).astype(y.dtype)


def close(ours: Any, expected: Any) -> None:
    assert ours.dtype == expected.dtype
    assert ours.shape == expected.shape
    tolerance = {2: 2e-2, 4: 1e-4, 8: 1e-9}[ours.dtype.itemsize]
    np.testing.assert_allclose(ours, expected, rtol=tolerance, atol=tolerance)


def is_channels_last(x: Any) -> bool:
    return np.moveaxis(x, 1, -1).flags.c_contiguous


# ---- the definition against numbers by hand ------------------------------------------------------

BY_HAND = [
    ([1, 2, 3, 4], [1, 10], 1, (0, 0), 1, [21, 32, 43]),
    ([1, 2, 3, 4], [1, 10], 2, (0, 0), 1, [21, 43]),
    ([1, 2, 3, 4], [1, 10], 1, (0, 0), 2, [31, 42]),
    ([1, 2, 3, 4], [1, 10], 1, (1, 0), 1, [10, 21, 32, 43]),
    ([1, 2, 3, 4], [1, 10], 1, (0, 2), 1, [21, 32, 43, 4, 0]),
    ([1, 2, 3, 4], [1, 10, 100], 3, (1, 1), 1, [210, 43]),
]


@pytest.mark.parametrize("room", ["cpu", "reference"])
@pytest.mark.parametrize(("x", "w", "stride", "padding", "dilation", "expected"), BY_HAND)
def test_numbers_by_hand(
    room: str, x: Any, w: Any, stride: int, padding: Any, dilation: int, expected: Any
) -> None:
    x, w = np.array([[x]], float), np.array([[w]], float)
    with kernels.use(room):
        y = kernels.conv(x, w, (stride,), (padding,), (dilation,), 1)
    np.testing.assert_array_equal(y, [[expected]])


@pytest.mark.parametrize("room", ["cpu", "reference"])
def test_groups_and_channels_by_hand(room: str) -> None:
    x, w = np.array([[[1], [2], [3], [4]]], float), np.array([[[1], [10]], [[1], [10]]], float)
    with kernels.use(room):
        assert kernels.conv(x, w, (1,), ((0, 0),), (1,), 2).tolist() == [[[21], [43]]]
        depthwise = np.array([[[1]], [[10]], [[100]], [[1000]]], float)
        y = kernels.conv(x, depthwise, (1,), ((0, 0),), (1,), 4)
        assert y.tolist() == [[[1], [20], [300], [4000]]]


@pytest.mark.parametrize("room", ["cpu", "reference"])
@pytest.mark.parametrize(
    ("stride", "padding", "expected"),
    [(1, (0, 0), [10, 20, 30]), (2, (0, 0), [10, 30]), (1, (1, 0), [0, 10, 20, 30])],
)
def test_a_kernel_of_one_tap(room: str, stride: int, padding: Any, expected: Any) -> None:
    x, w = np.array([[[1.0, 2, 3]]]), np.array([[[10.0]]])
    options = ((stride,), (padding,), (1,), 1)
    with kernels.use(room):
        y = kernels.conv(x, w, *options)
        assert y.tolist() == [[expected]]
        gw = kernels.conv_weight(np.ones(y.shape), x, w.shape, *options)
        assert gw.item() == sum(expected) / 10


# ---- array code against the definition -----------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@given(data=st.data())
def test_equals_the_definition(dtype: str, data: Any) -> None:
    p = data.draw(problems(dtype))
    y = kernels.conv(p.x, p.w, *p.options)
    close(y, reference.conv(p.x, p.w, *p.options))
    g = gradient(y)
    gx = kernels.conv_input(g, p.w, p.x.shape, *p.options)
    close(gx, reference.conv_input(g, p.w, p.x.shape, *p.options))
    gw = kernels.conv_weight(g, p.x, p.w.shape, *p.options)
    close(gw, reference.conv_weight(g, p.x, p.w.shape, *p.options))
    assert is_channels_last(y)
    assert is_channels_last(gx)
    assert gw.flags.c_contiguous


@given(problems())
def test_unfold_and_fold_equal_the_definition(p: Problem) -> None:
    cols = kernels.unfold(p.x, p.size, *p.options[:3])
    close(cols, reference.unfold(p.x, p.size, *p.options[:3]))
    back = kernels.fold(cols, p.x.shape, p.size, *p.options[:3])
    close(back, reference.fold(cols, p.x.shape, p.size, *p.options[:3]))


@given(problems())
def test_adjoints(p: Problem) -> None:
    """<conv(x, w), g> = <x, conv_input(g, w)> = <w, conv_weight(g, x)>, and unfold with fold."""
    y = kernels.conv(p.x, p.w, *p.options)
    g = gradient(y)
    product = np.vdot(y, g)
    gx = kernels.conv_input(g, p.w, p.x.shape, *p.options)
    gw = kernels.conv_weight(g, p.x, p.w.shape, *p.options)
    assert np.vdot(p.x, gx) == pytest.approx(product, abs=1e-9)
    assert np.vdot(p.w, gw) == pytest.approx(product, abs=1e-9)
    cols = kernels.unfold(p.x, p.size, *p.options[:3])
    c = gradient(cols)
    folded = kernels.fold(c, p.x.shape, p.size, *p.options[:3])
    assert np.vdot(p.x, folded) == pytest.approx(np.vdot(cols, c), abs=1e-9)


@given(problems())
def test_a_convolution_is_a_product_with_the_unfolded_input(p: Problem) -> None:
    if p.groups == 1:
        cols = kernels.unfold(p.x, p.size, *p.options[:3])
        y = kernels.conv(p.x, p.w, *p.options)
        np.testing.assert_allclose(
            p.w.reshape(len(p.w), -1) @ cols, y.reshape(*y.shape[:2], math.prod(y.shape[2:]))
        )


# ---- what the memory looks like changes nothing --------------------------------------------------


def layouts(x: Any) -> list[Any]:
    """The same values in C order, channels-last, backwards, with gaps, and all read-only."""
    last = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    backwards = np.ascontiguousarray(x[..., ::-1])[..., ::-1]
    gaps = np.repeat(x, 2, axis=-1)[..., ::2]
    found = [np.ascontiguousarray(x), last, backwards, gaps]
    for one in found:
        one.flags.writeable = False
    return found


@given(problems())
def test_layouts(p: Problem) -> None:
    y = kernels.conv(p.x, p.w, *p.options)
    g = gradient(y)
    gx = kernels.conv_input(g, p.w, p.x.shape, *p.options)
    gw = kernels.conv_weight(g, p.x, p.w.shape, *p.options)
    cols = kernels.unfold(p.x, p.size, *p.options[:3])
    for x, w, h in zip(layouts(p.x), layouts(p.w), layouts(g), strict=True):
        close(kernels.conv(x, w, *p.options), y)
        close(kernels.conv_input(h, w, x.shape, *p.options), gx)
        close(kernels.conv_weight(h, x, w.shape, *p.options), gw)
        close(kernels.unfold(x, p.size, *p.options[:3]), cols)


@pytest.mark.parametrize(("channels", "groups"), [(1, 1), (6, 1), (6, 2), (6, 6)])
def test_chunks(channels: int, groups: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two images at a time, the last one alone, give what all five at once do."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, channels, 6, 7))
    w = rng.normal(size=(2 * channels, channels // groups, 3, 3))
    options = ((1, 2), ((1, 0), (0, 1)), (1, 1), groups)

    def all_three() -> list[Any]:
        y = kernels.conv(x, w, *options)
        g = gradient(y)
        gx = kernels.conv_input(g, w, x.shape, *options)
        return [y, gx, kernels.conv_weight(g, x, w.shape, *options)]

    whole = all_three()
    sizes = []
    cut = generic._chunks

    def two(xp: Any, n: int, each: int) -> Any:
        monkeypatch.setattr(generic, "CPU_CHUNK", 2 * each)
        sizes.append([s.stop - s.start for s in cut(xp, n, each=each)])
        return cut(xp, n, each=each)

    monkeypatch.setattr(generic, "_chunks", two)
    for ours, expected in zip(all_three(), whole, strict=True):
        close(ours, expected)
    assert sizes == [[2, 2, 1]] * 3


# ---- numbers -------------------------------------------------------------------------------------


def test_float16_adds_up_in_float32() -> None:
    # In float16 4096 ones add up to 2048: there 2048 + 1 is 2048.
    x, one, ends = np.ones((1, 4096, 1), "f2"), np.ones((1, 4096, 1), "f2"), ((0, 0),)
    assert kernels.conv(x, one, (1,), ends, (1,), 1).item() == 4096
    wide = np.ones((1, 1, 4096), "f2")
    g = np.ones((1, 1, 4096), "f2")
    assert kernels.conv_weight(g, wide, (1, 1, 1), (1,), ends, (1,), 1).item() == 4096
    gx = kernels.conv_input(x, np.ones((4096, 1, 1), "f2"), (1, 1, 1), (1,), ends, (1,), 1)
    assert gx.item() == 4096


def test_the_same_call_gives_the_same_bits() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(40, 8, 13, 13)).astype("f4"), rng.normal(size=(8, 8, 3, 3)).astype("f4")
    options = ((1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    y = kernels.conv(x, w, *options)
    g = gradient(y)
    gx = kernels.conv_input(g, w, x.shape, *options)
    gw = kernels.conv_weight(g, x, w.shape, *options)
    for _ in range(3):
        assert kernels.conv(x, w, *options).tobytes() == y.tobytes()
        assert kernels.conv_input(g, w, x.shape, *options).tobytes() == gx.tobytes()
        assert kernels.conv_weight(g, x, w.shape, *options).tobytes() == gw.tobytes()


def test_nan_and_infinity_stay_where_they_are() -> None:
    x = np.zeros((1, 1, 5))
    x[0, 0, 4] = np.nan
    y = kernels.conv(x, np.ones((1, 1, 2)), (1,), ((0, 0),), (1,), 1)
    assert np.isnan(y).tolist() == [[[False, False, False, True]]]


# ---- arrays of a device --------------------------------------------------------------------------


@given(p=problems("f4"))
def test_on_a_device(p: Problem) -> None:
    """The same code on the stand-in for CuPy, which refuses what CuPy lacks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[1])
        device = importlib.import_module("standin")
    x, w = device.asarray(p.x), device.asarray(p.w)
    y = generic.conv(x, w, *p.options)
    expected = generic.conv(p.x, p.w, *p.options)
    g = gradient(expected)
    close(device.asnumpy(y), expected)
    gx = generic.conv_input(device.asarray(g), w, p.x.shape, *p.options)
    close(device.asnumpy(gx), generic.conv_input(g, p.w, p.x.shape, *p.options))
    gw = generic.conv_weight(device.asarray(g), x, p.w.shape, *p.options)
    close(device.asnumpy(gw), generic.conv_weight(g, p.x, p.w.shape, *p.options))
    cols = generic.unfold(x, p.size, *p.options[:3])
    close(device.asnumpy(cols), generic.unfold(p.x, p.size, *p.options[:3]))
    generic.fold(cols, p.x.shape, p.size, *p.options[:3])
    assert is_channels_last(y.inside)
    assert is_channels_last(gx.inside)
