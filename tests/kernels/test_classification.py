"""Losses of labels and probabilities: every room against the loops of the definition."""

import importlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl_kernels as kernels
from minidl_kernels.generic import classification as generic
from minidl_kernels.reference import classification as reference

ROOMS = [pytest.param(generic, id="generic"), pytest.param(kernels, id="door")]
DTYPES = st.sampled_from(["f4", "f8"])


def close(ours: Any, expected: Any, scale: float = 1.0) -> None:
    """Equal to some units in the last place of numbers of a size `scale`."""
    assert ours.dtype == expected.dtype
    assert ours.shape == expected.shape
    eps = 8 * np.finfo(ours.dtype).eps
    np.testing.assert_allclose(ours, expected, rtol=eps, atol=eps * scale)


def is_channels_last(x: Any) -> bool:
    return np.moveaxis(x, 1, -1).flags.c_contiguous


@st.composite
def logits(draw: Any) -> tuple[Any, Any]:
    """x (N, C, *S) in some layout, and a target (N, *S) of classes and -1."""
    n, c = draw(st.integers(0, 5)), draw(st.sampled_from([1, 2, 7, 8, 9, 17, 40]))
    places = draw(st.sampled_from([(), (3,), (2, 3)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    x = (draw(st.sampled_from([1, 30, 3000])) * rng.normal(size=(n, c, *places))).astype(
        draw(DTYPES)
    )
    layout = draw(st.sampled_from(["C", "last", "backwards", "gaps"]))
    if layout == "last":
        x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    elif layout == "backwards":
        x = np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1]
    elif layout == "gaps":
        x = np.repeat(x, 2, 1)[:, ::2]
    target = rng.integers(-1 if draw(st.booleans()) else 0, c, (n, *places))
    return x, target.astype(draw(st.sampled_from(["i8", "i4"])))


@pytest.mark.parametrize("room", ROOMS)
@given(case=logits())
def test_cross_entropy_equals_the_definition(room: Any, case: tuple[Any, Any]) -> None:
    x, target = case
    x.flags.writeable = False
    found, expected = room.cross_entropy(x, target), reference.cross_entropy(x, target)
    scale = float(np.abs(x).max(initial=1))
    for ours, theirs in zip(found, expected, strict=True):
        close(ours, theirs, scale)
    g = np.random.default_rng(0).normal(size=target.shape).astype(x.dtype)
    gx = room.cross_entropy_input(g, target, *found[1:])
    close(gx, reference.cross_entropy_input(g, target, *expected[1:]), scale)


@pytest.mark.parametrize("room", [*ROOMS, pytest.param(reference, id="reference")])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_cross_entropy_of_what_is_not_finite(room: Any, dtype: str) -> None:
    inf = math.inf
    rows = [[0, -inf] * 5, [inf, 0] * 5, [-inf, -inf] * 5, [0, math.nan] * 5, [1e30, 0] * 5]
    x, target = np.array(rows, dtype), np.array([0, 0, 0, 0, 1])
    loss, powers, total = room.cross_entropy(x, target)
    np.testing.assert_allclose(loss[[0, 4]], [math.log(5), 1e30], rtol=1e-6)
    assert np.isnan(loss[1:4]).all()
    gx = room.cross_entropy_input(np.ones(5, dtype), target, powers, total)
    np.testing.assert_allclose(gx[0], [-0.8, 0, 0.2, 0, 0.2, 0, 0.2, 0, 0.2, 0], rtol=1e-6)
    assert np.isnan(gx[3]).all()
    ignored = np.full(5, -1)
    loss, powers, total = room.cross_entropy(x, ignored)
    assert not loss.any()
    gx = room.cross_entropy_input(np.ones(5, dtype), ignored, powers, total)
    assert not gx.any()


def test_a_label_that_is_no_class_is_refused() -> None:
    for dtype in ("f4", "f8"):
        with pytest.raises(IndexError):
            kernels.cross_entropy(np.ones((2, 3), dtype), np.array([0, 3]))


@st.composite
def pairs(draw: Any) -> tuple[Any, Any]:
    """Logits and targets of one shape, each in some layout."""
    shape = draw(st.sampled_from([(), (0,), (5,), (8,), (3, 4), (3, 11), (2, 3, 2, 2)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtype = draw(DTYPES)

    def lie(a: Any) -> Any:
        layout = draw(st.sampled_from(["C", "F", "backwards", "gaps"]))
        if not a.ndim or layout == "C":
            return a
        if layout == "F":
            return np.array(a, order="F")
        return np.array(a[::-1])[::-1] if layout == "backwards" else np.repeat(a, 2, -1)[..., ::2]

    x = draw(st.sampled_from([1, 20, 400])) * rng.normal(size=shape)
    return lie(np.asarray(x, dtype)), lie(np.asarray(rng.random(shape), dtype))


@pytest.mark.parametrize("room", ROOMS)
@given(case=pairs())
def test_logistic_loss_equals_the_definition(room: Any, case: tuple[Any, Any]) -> None:
    x, target = case
    scale = float(np.abs(x).max(initial=1))
    close(np.asarray(room.logistic_loss(x, target)), reference.logistic_loss(x, target), scale)
    g = np.asarray(np.random.default_rng(0).normal(size=x.shape), x.dtype)
    one = np.broadcast_to(np.asarray(-0.3, x.dtype), x.shape)  # as a mean's gradient comes
    for slope in (one, g):
        gx = np.asarray(room.logistic_loss_input(slope, x, target))
        close(gx, reference.logistic_loss_input(slope, x, target))
    if room is kernels and x.dtype == "f4" and x.flags.f_contiguous:
        assert gx.flags.f_contiguous
    gx = np.asarray(room.logistic_loss_input(np.asarray(-0.3, x.dtype), x, target))
    close(gx, reference.logistic_loss_input(one, x, target))


@pytest.mark.parametrize("room", ROOMS)
@given(case=pairs())
def test_mean_logistic_loss_equals_the_definition(room: Any, case: tuple[Any, Any]) -> None:
    found, expected = room.mean_logistic_loss(*case), reference.mean_logistic_loss(*case)
    close(np.asarray(found), expected)


@pytest.mark.parametrize("size", [1, 8191, 8192, 8193, 50_003])
def test_mean_logistic_loss_of_many(size: int) -> None:
    rng = np.random.default_rng(size)
    x, target = rng.normal(size=size).astype("f4"), rng.random(size).astype("f4")
    wide = generic.mean_logistic_loss(x.astype("f8"), target.astype("f8"))
    np.testing.assert_allclose(kernels.mean_logistic_loss(x, target), wide, rtol=1e-6)
    x[-1] = np.nan
    assert np.isnan(kernels.mean_logistic_loss(x, target))


@pytest.mark.parametrize("room", [*ROOMS, pytest.param(reference, id="reference")])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_logistic_loss_of_large_numbers(room: Any, dtype: str) -> None:
    x = np.array([1e30, -1e30, 90, -90, 0, np.nan, np.inf, -np.inf, -104, 104], dtype)
    t = np.array([1, 0, 0, 1, 0.5, 0.5, 0, 1, 0, 1], dtype)
    small = math.exp(-104)
    expected = [0, 0, 90, 90, math.log(2), math.nan, math.inf, math.inf, small, small]
    np.testing.assert_allclose(room.logistic_loss(x, t), expected, rtol=1e-6, atol=1e-44)
    gx = room.logistic_loss_input(np.ones_like(x), x, t)
    np.testing.assert_allclose(gx[:5], [0, 0, 1, -1, 0], atol=1e-38)
    np.testing.assert_allclose(gx[6:8], [1, -1])
    assert np.isnan(gx[5])


@given(case=logits(), both=pairs())
def test_on_a_device(case: tuple[Any, Any], both: tuple[Any, Any]) -> None:
    """The same code on the stand-in for CuPy, which refuses what CuPy lacks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[1])
        device = importlib.import_module("standin")
    x, target = (device.asarray(a) for a in case)
    found = generic.cross_entropy(x, target)
    expected = generic.cross_entropy(*case)
    for ours, theirs in zip(found, expected, strict=True):  # the layouts differ: so do the sums
        close(device.asnumpy(ours), theirs)
    gx = generic.cross_entropy_input(found[0], target, *found[1:])
    expected = generic.cross_entropy_input(expected[0], case[1], *expected[1:])
    close(device.asnumpy(gx), expected, float(np.abs(expected).max(initial=1)))
    x, target = (device.asarray(a) for a in both)
    loss = generic.logistic_loss(x, target)
    np.testing.assert_array_equal(device.asnumpy(loss), generic.logistic_loss(*both))
    gx = generic.logistic_loss_input(loss, x, target)
    ours = generic.logistic_loss_input(np.asarray(generic.logistic_loss(*both)), *both)
    np.testing.assert_array_equal(device.asnumpy(gx), ours)
