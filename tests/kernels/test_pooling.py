"""Pooling kernels: Numba and array code against the loops of the definition."""

import importlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl_kernels as kernels
from minidl_kernels.generic import pooling as generic
from minidl_kernels.reference import pooling as reference

ROOMS = [pytest.param(generic, id="generic"), pytest.param(kernels, id="door")]


class Problem(NamedTuple):
    """An input that fits the windows."""

    x: Any
    size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    ceil_mode: bool


@st.composite
def problems(draw: Any, dtype: str = "f8", dilated: bool = True) -> Problem:
    axes = draw(st.integers(1, 3))

    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(axes))

    size, stride, dilation = each(1, 3), each(1, 3), each(1, 2 if dilated else 1)
    padding = tuple(draw(st.integers(0, k // 2)) for k in size)
    spatial = [
        max(1, d * (k - 1) + 1 - 2 * pad) + more
        for k, d, pad, more in zip(size, dilation, padding, each(0, 4), strict=True)
    ]
    n, c = draw(st.integers(0, 2)), draw(st.sampled_from([1, 3, 8, 13]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    x = rng.integers(-3, 4, (n, c, *spatial)).astype(dtype)  # small numbers: many ties
    return Problem(x, size, stride, padding, dilation, draw(st.booleans()))


def spoil(x: Any, seed: int) -> Any:
    """Some NaN and many -inf in place of numbers."""
    rng = np.random.default_rng(seed)
    x = np.where(rng.random(x.shape) < 0.4, x.dtype.type(-np.inf), x)
    return np.where(rng.random(x.shape) < 0.1, x.dtype.type(np.nan), x)


def gradient(y: Any) -> Any:
    return np.random.default_rng(0).normal(size=y.shape).astype(y.dtype)


def close(ours: Any, expected: Any) -> None:
    assert ours.dtype == expected.dtype
    assert ours.shape == expected.shape
    tolerance = {2: 1e-2, 4: 1e-5, 8: 1e-12}[ours.dtype.itemsize]
    np.testing.assert_allclose(ours, expected, rtol=tolerance, atol=tolerance)


def is_channels_last(x: Any) -> bool:
    return np.moveaxis(x, 1, -1).flags.c_contiguous


# ---- max pooling ---------------------------------------------------------------------------------


@pytest.mark.parametrize("room", ROOMS)
@given(p=problems() | problems("f4"), spoilt=st.none() | st.integers(0, 99))
def test_max_pool_equals_the_definition(room: Any, p: Problem, spoilt: int | None) -> None:
    if spoilt is not None:
        p = p._replace(x=spoil(p.x, spoilt))
    out, index = room.max_pool(*p)
    expected, where = reference.max_pool(*p)
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(index, where)
    assert index.dtype == np.int32
    assert is_channels_last(out)
    assert is_channels_last(index)
    g = gradient(out)
    expected = reference.max_pool_input(g, where, p.x.shape)
    for windows in (p[1:5], None):
        gx = room.max_pool_input(g, index, p.x.shape, windows)
        close(gx, expected)
        assert is_channels_last(gx)


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i8"])
def test_max_pool_dtypes(room: Any, dtype: str) -> None:
    x = np.array([[[3, 1, 4, 1, 5, 9]]], dtype)
    out, index = room.max_pool(x, (2,), (2,), (0,), (1,), False)
    assert out.dtype == dtype
    assert out.tolist() == [[[3, 4, 9]]]
    assert index.tolist() == [[[0, 2, 5]]]
    if dtype != "i8":
        assert room.max_pool_input(out, index, x.shape).dtype == dtype


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize(
    ("x", "out", "index"),
    [
        ([1, 1, 1], 1, 0),  # the first of equals
        ([1, np.nan, 2], np.nan, 1),
        ([np.nan, np.inf, np.nan], np.nan, 2),  # the last NaN
        ([-np.inf, -np.inf, -np.inf], -np.inf, 0),
    ],
)
def test_max_pool_ties_and_nan(room: Any, x: Any, out: float, index: int) -> None:
    for pad in (0, 1):
        found = room.max_pool(np.array([[x]], float), (3,), (3,), (pad,), (1,), False)
        if pad == 0:
            np.testing.assert_array_equal(found[0], [[[out]]])
            assert found[1].tolist() == [[[index]]]
        else:
            assert found[1].item() in (0, 1)  # never in the padding


@pytest.mark.parametrize("room", ROOMS)
def test_a_window_in_the_padding_alone(room: Any) -> None:
    out, index = room.max_pool(np.ones((1, 1, 1)), (2,), (1,), (2,), (3,), False)
    assert out.tolist() == [[[-np.inf, -np.inf]]]
    assert index.tolist() == [[[0, 0]]]


@pytest.mark.parametrize("room", [*ROOMS, pytest.param(reference, id="reference")])
def test_the_first_of_minus_infinity_is_not_in_the_padding(room: Any) -> None:
    x = np.full((1, 1, 6), -np.inf)
    _, index = room.max_pool(x, (3,), (1,), (1,), (2,), False)  # taps at -1, 1, 3; 0, 2, 4; …
    assert index.tolist() == [[[1, 0, 1, 2]]]


@pytest.mark.parametrize("room", ROOMS)
def test_overlapping_windows_add_up(room: Any) -> None:
    x = np.array([[[0.0, 9.0, 0.0, 0.0]]])
    out, index = room.max_pool(x, (2,), (1,), (0,), (1,), False)
    gx = room.max_pool_input(np.array([[[1.0, 10.0, 100.0]]]), index, x.shape)
    assert out.tolist() == [[[9, 9, 0]]]
    assert gx.tolist() == [[[0, 11, 100, 0]]]


def test_max_pool_input_refuses_an_index_outside() -> None:
    g, index = np.ones((1, 1, 1)), np.array([[[7]]])
    for dtype in ("f2", "f4", "f8"):
        with pytest.raises(IndexError):
            kernels.max_pool_input(g.astype(dtype), index, (1, 1, 7))


# ---- sizes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spatial", "size", "stride", "pad", "dilation", "ceil_mode", "expected"),
    [
        (5, 2, 2, 0, 1, False, 2),
        (5, 2, 2, 0, 1, True, 3),
        (4, 2, 2, 0, 1, True, 2),
        (5, 1, 3, 0, 1, True, 2),  # a third window would start at 6, beyond the input
        (6, 3, 4, 1, 1, True, 2),
        (3, 2, 3, 1, 1, True, 2),
        (3, 2, 4, 1, 1, True, 1),  # a second one would start at 3, in the padding behind
        (7, 3, 1, 1, 2, False, 5),
        (1, 3, 1, 0, 1, False, 0),
    ],
)
@pytest.mark.parametrize("room", [generic, reference], ids=["generic", "reference"])
def test_output_sizes(
    room: Any,
    spatial: int,
    size: int,
    stride: int,
    pad: int,
    dilation: int,
    ceil_mode: bool,
    expected: int,
) -> None:
    found = room.output_sizes((spatial,), (size,), (stride,), (pad,), (dilation,), ceil_mode)
    assert found == (expected,)


# ---- average pooling -----------------------------------------------------------------------------

DIVISOR = st.none() | st.integers(1, 5)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@given(data=st.data(), count_include_pad=st.booleans(), divisor=DIVISOR)
def test_avg_pool_equals_the_definition(
    dtype: str, data: Any, count_include_pad: bool, divisor: int | None
) -> None:
    p = data.draw(problems(dtype, dilated=False))
    options = (p.size, p.stride, p.padding, p.ceil_mode, count_include_pad, divisor)
    out = kernels.avg_pool(p.x, *options)
    close(out, reference.avg_pool(p.x, *options))
    g = gradient(out)
    gx = kernels.avg_pool_input(g, p.x.shape, *options)
    close(gx, reference.avg_pool_input(g, p.x.shape, *options))
    assert is_channels_last(out)
    assert is_channels_last(gx)
    if dtype == "f8":
        assert np.vdot(out, g) == pytest.approx(np.vdot(p.x, gx), abs=1e-9)


@pytest.mark.parametrize(
    ("ceil_mode", "count_include_pad", "divisor", "expected"),
    [
        (False, True, None, [1, 4]),  # (0 1 2)/3, (3 4 5)/3
        (False, False, None, [1.5, 4]),
        (True, True, None, [1, 4, 3]),  # the last window: 6 and the padding behind it
        (True, False, None, [1.5, 4, 6]),
        (True, True, 2, [1.5, 6, 3]),
    ],
)
@pytest.mark.parametrize("room", ["cpu", "reference"])
def test_avg_pool_divisors(
    room: str, ceil_mode: bool, count_include_pad: bool, divisor: int | None, expected: Any
) -> None:
    x = np.array([[[1.0, 2, 3, 4, 5, 6]]])
    with kernels.use(room):
        out = kernels.avg_pool(x, (3,), (3,), (1,), ceil_mode, count_include_pad, divisor)
    assert out.tolist() == [[expected]]


def test_avg_pool_of_float16_adds_up_in_float32() -> None:
    # In float16 4096 ones add up to 2048: there 2048 + 1 is 2048.
    out = kernels.avg_pool(np.ones((1, 1, 4096), "f2"), (4096,), (1,), (0,), False, True, None)
    assert out.item() == 1
    g = np.ones((1, 1, 4096), "f2")
    gx = kernels.avg_pool_input(g, (1, 1, 4097), (4096,), (1,), (2047,), False, True, 1)
    assert gx.max() == 4096


# ---- layouts and devices -------------------------------------------------------------------------


@given(p=problems())
def test_layouts(p: Problem) -> None:
    last = np.moveaxis(np.ascontiguousarray(np.moveaxis(p.x, 1, -1)), -1, 1)
    backwards = np.ascontiguousarray(p.x[..., ::-1])[..., ::-1]
    out, index = kernels.max_pool(*p)
    for x in (last, backwards):
        x.flags.writeable = False
        found = kernels.max_pool(x, *p[1:])
        np.testing.assert_array_equal(found[0], out)
        np.testing.assert_array_equal(found[1], index)


@given(p=problems("f4", dilated=False), divisor=DIVISOR)
def test_on_a_device(p: Problem, divisor: int | None) -> None:
    """The same code on the stand-in for CuPy, which refuses what CuPy lacks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[1])
        device = importlib.import_module("standin")
    x = device.asarray(p.x)
    out, index = generic.max_pool(x, *p[1:])
    expected, where = generic.max_pool(*p)
    np.testing.assert_array_equal(device.asnumpy(out), expected)
    np.testing.assert_array_equal(device.asnumpy(index), where)
    g = gradient(expected)
    gx = generic.max_pool_input(device.asarray(g), index, p.x.shape)
    close(device.asnumpy(gx), generic.max_pool_input(g, where, p.x.shape))
    options = (p.size, p.stride, p.padding, p.ceil_mode, False, divisor)
    mean = generic.avg_pool(x, *options)
    close(device.asnumpy(mean), generic.avg_pool(p.x, *options))
    gx = generic.avg_pool_input(device.asarray(g), p.x.shape, *options)
    close(device.asnumpy(gx), generic.avg_pool_input(g, p.x.shape, *options))
