"""Bias, activation and max-pool after a convolution, in array code. Defined in `reference`."""

from typing import Any

from minidl_kernels.generic.arrays import array_module, channels_first, channels_last, wide
from minidl_kernels.generic.convolution import conv, conv_input, conv_weight, output_sizes

__all__ = ["conv_pool", "conv_pool_gradient", "conv_relu_gradient"]

Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]

OFF = 255


def conv_pool(
    x: Any,
    w: Any,
    stride: Ints,
    padding: Pairs,
    dilation: Ints,
    groups: int,
    bias: Any,
    activation: str | None,
    size: Ints,
) -> tuple[Any, Any]:
    """Convolution, bias, activation, maximum: x (N, C, H, W) -> y, place (N, O, P, Q), uint8."""
    full = conv(x, w, stride, padding, dilation, groups, bias, activation)
    return pool(full, size, activation == "relu")


def pool(full: Any, size: Ints, relu: bool) -> tuple[Any, Any]:
    """The maxima of windows and their places, tap by tap."""
    xp, full = array_module(full), channels_last(full)
    taps = list(_taps(full, size))
    y = taps[0].copy()
    place = xp.zeros(y.shape, "u1")
    for k, value in enumerate(taps[1:], 1):
        wins = (value > y) | (value != value)
        y, place = xp.where(wins, value, y), xp.where(wins, xp.uint8(k), place)
    if relu:
        place = xp.where(y <= 0, xp.uint8(OFF), place)
    return channels_first(y), channels_first(place)


def conv_pool_gradient(
    g: Any,
    place: Any,
    x: Any,
    w: Any,
    stride: Ints,
    padding: Pairs,
    dilation: Ints,
    groups: int,
    size: Ints,
    of_x: bool = True,
    of_w: bool = True,
    of_bias: bool = True,
) -> tuple[Any, Any, Any]:
    """Gradients of x, w and bias from g (N, O, P, Q), that of the maxima; None if not asked for."""
    space = output_sizes(x.shape[2:], w.shape[2:], stride, padding, dilation)
    g, gbias = unpool(g, place, (len(x), len(w), *space), size)
    options = stride, padding, dilation, groups
    return _apart(g, gbias, x, w, options, of_x=of_x, of_w=of_w, of_bias=of_bias)


def conv_relu_gradient(
    g: Any,
    out: Any,
    x: Any,
    w: Any,
    stride: Ints,
    padding: Pairs,
    dilation: Ints,
    groups: int,
    of_x: bool = True,
    of_w: bool = True,
    of_bias: bool = True,
) -> tuple[Any, Any, Any]:
    """Gradients of x, w and bias from g, that of `out` (N, O, *P); None if not asked for."""
    g, gbias = relu_gradient(g, out)
    options = stride, padding, dilation, groups
    return _apart(g, gbias, x, w, options, of_x=of_x, of_w=of_w, of_bias=of_bias)


def _apart(
    g: Any, gbias: Any, x: Any, w: Any, options: Any, *, of_x: bool, of_w: bool, of_bias: bool
) -> tuple[Any, Any, Any]:
    """The gradients of the convolution, from g, that of its result."""
    return (
        conv_input(g, w, x.shape, *options) if of_x else None,
        conv_weight(g, x, w.shape, *options) if of_w else None,
        gbias if of_bias else None,
    )


def unpool(g: Any, place: Any, shape: Ints, size: Ints) -> tuple[Any, Any]:
    """The gradient before pool and activation, (N, O, H, W), and that of the bias, (O,)."""
    xp, (n, o, height, width) = array_module(g), shape
    gy = xp.zeros((n, height, width, o), g.dtype)
    g, place = channels_last(g), channels_last(place)
    for k, tap in enumerate(_taps(gy, size)):
        tap[...] = xp.where(place == k, g, xp.zeros((), g.dtype))
    kept = xp.where(place == OFF, xp.zeros((), g.dtype), g).reshape(-1, o)
    return channels_first(gy), kept.sum(axis=0, dtype=wide(g.dtype)).astype(g.dtype)


def relu_gradient(g: Any, y: Any) -> tuple[Any, Any]:
    """The gradient through relu(z + bias): g, y (N, O, *P) -> of z, and of bias (O,)."""
    xp, g = array_module(g), channels_last(g)
    gz = xp.where(channels_last(y) <= 0, xp.zeros((), g.dtype), g)
    gb = gz.reshape(-1, gz.shape[-1]).sum(axis=0, dtype=wide(g.dtype)).astype(g.dtype)
    return channels_first(gz), gb


def _taps(full: Any, size: Ints) -> Any:
    """(N, H, W, O) at each place of the windows, (N, P, Q, O), views in C order."""
    rows, columns = full.shape[1] // size[0] * size[0], full.shape[2] // size[1] * size[1]
    for i in range(size[0]):
        for j in range(size[1]):
            yield full[:, i : rows : size[0], j : columns : size[1]]
