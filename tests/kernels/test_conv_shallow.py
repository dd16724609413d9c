"""Winograd's algorithm for images of few channels: against array code, its memory, its bits."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl_kernels as kernels
from minidl_kernels.cpu import convolution as fast
from minidl_kernels.cpu import memory, threads, winograd_shallow, winograd_shallow_back
from minidl_kernels.generic import convolution as generic

EPSILON = float(np.finfo("f4").eps)
ONE: Any = (1, 1)


@st.composite
def layers(draw: Any) -> tuple[Any, Any, Any]:
    """Shapes of images and filters, and a padding: of those that shallow kernels take."""
    pads = st.tuples(st.integers(0, 3), st.integers(0, 3))
    padding = (draw(pads), draw(pads))
    height, width = (max(3 - sum(p), 1) + draw(st.integers(0, 30)) for p in padding)
    c, o = draw(st.integers(1, 4)), draw(st.sampled_from([16, 48]))
    return (draw(st.integers(1, 3)), c, height, width), (o, c, 3, 3), padding


def numbers(shape: tuple[int, ...], seed: int = 0) -> Any:
    """Channels-last, as the kernels leave it."""
    x = np.random.default_rng(seed).normal(size=(shape[0], *shape[2:], shape[1])).astype("f4")
    return np.moveaxis(x, -1, 1)


def weights(shape: tuple[int, ...]) -> Any:
    return np.random.default_rng(1).normal(size=shape).astype("f4")


def convolution(x: Any, w: Any, padding: Any, *more: Any) -> Any:
    with kernels.algorithm("winograd"):
        return fast.conv(x, w, ONE, padding, ONE, 1, *more)


def gradient_of_input(g: Any, w: Any, shape: Any, padding: Any) -> Any:
    with kernels.algorithm("winograd"):
        return fast.conv_input(g, w, shape, ONE, padding, ONE, 1)


def gradient_of_weights(g: Any, x: Any, shape: Any, padding: Any) -> Any:
    with kernels.algorithm("winograd"):
        return fast.conv_weight(g, x, shape, ONE, padding, ONE, 1)


def gradients_of_relu(g: Any, y: Any, x: Any, w: Any, padding: Any) -> Any:
    with kernels.algorithm("winograd"):
        return kernels.conv_relu_gradient(g, y, x, w, ONE, padding, ONE, 1, of_x=False)


def within_bound(ours: Any, f: Any, *arrays: Any) -> None:
    """The bound of the table in `plans`, in units of epsilon * conv(|x|, |w|)."""
    wide = [a.astype("f8") for a in arrays]
    largest = f(*map(np.abs, wide)).max(initial=0)
    assert ours.dtype == np.float32
    assert np.abs(ours - f(*wide)).max(initial=0) <= 100 * EPSILON * largest


@given(layers(), st.sampled_from([1e-15, 1.0, 1e12]))
def test_forward_keeps_its_bound(layer: Any, scale: float) -> None:
    shape, filters, padding = layer
    x, w = numbers(shape) * np.float32(scale), weights(filters)
    y = convolution(x, w, padding)
    within_bound(y, lambda x, w: generic.conv(x, w, ONE, padding, ONE, 1), x, w)


@given(layers())
def test_gradient_of_an_input_from_few_channels_keeps_its_bound(layer: Any) -> None:
    """The last layer of a decoder, whose gradient is an image: filters turned by half a circle."""
    (n, c, *space), (o, *_), padding = layer
    w, shape = weights((c, o, 3, 3)), (n, o, *space)
    out = generic.output_sizes(tuple(space), (3, 3), ONE, padding, ONE)
    g = numbers((n, c, *out))
    gx = gradient_of_input(g, w, shape, padding)
    within_bound(gx, lambda g, w: generic.conv_input(g, w, shape, ONE, padding, ONE, 1), g, w)


@given(layers(), st.sampled_from([1e-15, 1.0, 1e12]))
def test_gradient_of_the_weights_keeps_its_bound(layer: Any, scale: float) -> None:
    shape, filters, padding = layer
    x = numbers(shape) * np.float32(scale)
    g = numbers((shape[0], filters[0], *generic.output_sizes(shape[2:], (3, 3), ONE, padding, ONE)))
    gw = gradient_of_weights(g, x, filters, padding)
    within_bound(gw, lambda g, x: generic.conv_weight(g, x, filters, ONE, padding, ONE, 1), g, x)


@given(layers())
def test_gradients_through_relu(layer: Any) -> None:
    """The mask is applied on the way; the bias has the sum of what it lets through."""
    shape, filters, padding = layer
    x, w = numbers(shape), weights(filters)
    y = np.maximum(generic.conv(x, w, ONE, padding, ONE, 1), 0)
    g = numbers(y.shape, 2)
    gx, gw, gbias = gradients_of_relu(g, y, x, w, padding)
    kept = np.where(y > 0, g, 0).astype("f8")
    assert gx is None
    within_bound(gw, lambda g, x: generic.conv_weight(g, x, filters, ONE, padding, ONE, 1), kept, x)
    within_bound(gbias, lambda g: g.sum(axis=(0, 2, 3)), kept)


@given(layers(), st.sampled_from([None, "relu"]), st.booleans())
def test_bias_and_activation(layer: Any, activation: str | None, biased: bool) -> None:
    shape, filters, padding = layer
    x, w = numbers(shape), weights(filters)
    bias = np.linspace(-20, 20, len(w)).astype("f4") if biased else None
    expected = generic.conv(x, w, ONE, padding, ONE, 1, bias, activation)
    y = convolution(x, w, padding, bias, activation)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("width", [3, 228, 229, 700])
def test_rows_of_more_tiles_than_are_transformed_at_a_time(channels: int, width: int) -> None:
    x, w, padding = numbers((1, channels, 5, width)), weights((16, channels, 3, 3)), ((1, 0), ONE)
    expected = generic.conv(x.astype("f8"), w, ONE, padding, ONE, 1)
    np.testing.assert_allclose(convolution(x, w, padding), expected, rtol=1e-4, atol=1e-4)
    g = numbers(expected.shape, 2)
    expected = generic.conv_weight(g.astype("f8"), x, w.shape, ONE, padding, ONE, 1)
    ours = gradient_of_weights(g, x, w.shape, padding)
    np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-3)


def test_gradients_that_are_read_ahead_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w, padding = numbers((2, 3, 33, 270)), weights((32, 3, 3, 3)), (ONE, ONE)
    y, g = numbers((2, 32, 33, 270), 1), numbers((2, 32, 33, 270), 2)
    expected = gradients_of_relu(g, y, x, w, padding)
    monkeypatch.setattr(winograd_shallow_back, "LARGE", 0)
    found = gradients_of_relu(g, y, x, w, padding)
    for one, other in zip(found[1:], expected[1:], strict=True):
        np.testing.assert_array_equal(one, other)


def test_results_past_the_caches_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """And memory that begins within a line of the cache is not written so."""
    x, w, padding = numbers((2, 3, 33, 70)), weights((32, 3, 3, 3)), (ONE, ONE)
    y = convolution(x, w, padding, None, "relu")
    monkeypatch.setattr(winograd_shallow, "LARGE", 0)
    rows = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    for shift in (0, 1, 8):
        whole = memory.empty(y.size + 32, np.float32)
        whole[...] = 7
        found = whole[shift : shift + y.size].reshape(2, 33, 70, 32)
        zeros = np.zeros(32, "f4")
        assert winograd_shallow.convolve(rows, w, False, (1, 1), found, zeros, relu=True)
        np.testing.assert_array_equal(np.moveaxis(found, -1, 1), y)
        assert (whole[:shift] == 7).all()
        assert (whole[shift + y.size :] == 7).all()


def test_the_same_bits_at_any_number_of_threads() -> None:
    x, w, before, seen = numbers((3, 3, 33, 70)), weights((48, 3, 3, 3)), threads.count, set()
    try:
        for count in (1, 2, 1, 2):
            threads.set_num_threads(count)
            y = convolution(x, w, (ONE, ONE))
            gw = gradient_of_weights(y, x, w.shape, (ONE, ONE))
            _, *found = gradients_of_relu(y, y, x, w, (ONE, ONE))
            seen.add(tuple(a.tobytes() for a in (y, gw, *found)))
    finally:
        threads.set_num_threads(before)
    assert len(seen) == 1


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # of NumPy, infinity - infinity
@pytest.mark.parametrize("where", ["x", "w", "bias"])
def test_what_is_not_finite_passes_through_as_in_array_code(where: str) -> None:
    x, w, bias = numbers((2, 3, 13, 14)), weights((32, 3, 3, 3)), np.zeros(32, "f4")
    if where == "x":
        x[0, 2, 5, 6], x[1, 2, 0, 0], x[1, 1, 12, 13] = np.nan, np.inf, -np.inf
    elif where == "w":
        w[4, 1, 2, 0], w[31, 0, 1, 1] = np.nan, np.inf
    else:
        bias[3], bias[17] = np.nan, np.inf
    for activation in (None, "relu"):
        expected = generic.conv(x, w, ONE, (ONE, ONE), ONE, 1, bias, activation)
        y = convolution(x, w, (ONE, ONE), bias, activation)
        same(y, expected)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("where", ["x", "g"])
def test_gradients_that_are_not_finite_are_those_of_array_code(where: str) -> None:
    x, w, g = numbers((2, 3, 13, 14)), weights((32, 3, 3, 3)), numbers((2, 32, 13, 14), 2)
    y = numbers(g.shape, 3)
    if where == "x":
        x[0, 2, 5, 6], x[1, 0, 0, 0] = np.nan, np.inf
    else:
        g[0, 9, 5, 6], g[1, 30, 12, 13] = np.nan, np.inf
    expected = generic.conv_weight(g.astype("f8"), x, w.shape, ONE, (ONE, ONE), ONE, 1)
    same(gradient_of_weights(g, x, w.shape, (ONE, ONE)), expected)
    kept = np.where(y > 0, g, 0).astype("f8")
    expected = generic.conv_weight(kept, x, w.shape, ONE, (ONE, ONE), ONE, 1)
    _, gw, gbias = gradients_of_relu(g, y, x, w, (ONE, ONE))
    same(gw, expected)
    np.testing.assert_array_equal(np.isnan(gbias), np.isnan(kept.sum(axis=(0, 2, 3))))


def same(ours: Any, expected: Any) -> None:
    """The same numbers are not finite, each in its way."""
    for kind in (np.isnan, np.isposinf, np.isneginf):
        np.testing.assert_array_equal(kind(ours), kind(expected))
    assert not np.isfinite(expected).all()


def test_what_overflows_on_the_way_alone_does_not_overflow() -> None:
    x, w = numbers((1, 3, 9, 9)) * np.float32(1e36), weights((16, 3, 3, 3)) / np.float32(16)
    expected = generic.conv(x.astype("f8"), w, ONE, (ONE, ONE), ONE, 1)
    np.testing.assert_allclose(convolution(x, w, (ONE, ONE)), expected, rtol=1e-3, atol=1e33)


def test_the_plan_says_so() -> None:
    plan = kernels.conv2d_plan((4, 3, 224, 224), (64, 3, 3, 3), padding=1)
    assert plan.forward.algorithm == plan.weight.algorithm == "winograd"
    assert plan.forward.shallow
    assert plan.weight.shallow
    assert plan.input.algorithm == "spread"
    assert not kernels.conv2d_plan((4, 3, 224, 224), (60, 3, 3, 3), padding=1).forward.shallow
    assert kernels.conv2d_plan((4, 64, 64, 64), (3, 64, 3, 3), padding=1).input.shallow
    with kernels.exact_convolution():
        plan = kernels.conv2d_plan((4, 3, 224, 224), (64, 3, 3, 3), padding=1)
    assert plan.forward.algorithm == plan.weight.algorithm == "direct"
