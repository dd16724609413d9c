"""What follows a convolution in a layer, with it and backward: bias, activation and max-pool.

    y = maximum over each window of  activation(conv(x, w) + bias)

A window is `size` large, as are the steps; what is left at the far ends belongs to none. The place
of the maximum in its window is all that the gradient needs: where it stands, counted in C order;
OFF where the activation let nothing through.
"""

from typing import Any

import numpy as np

from minidl_kernels.reference.convolution import conv, conv_input, conv_weight

__all__ = ["OFF", "conv_pool", "conv_pool_gradient", "conv_relu_gradient"]

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
    """Convolution, bias, activation and maximum: x (N, C, H, W) -> y, place (N, O, P, Q), uint8.

    size : height and width of a window, fewer than OFF places; the rest as `conv`

    Of equal numbers the first is the maximum; a NaN is larger than all, the last one the largest.
    """
    full = conv(x, w, stride, padding, dilation, groups, bias, activation)
    n, o, height, width = full.shape
    y: Any = np.empty((n, o, height // size[0], width // size[1]), x.dtype)
    place = np.empty(y.shape, np.uint8)
    for at in np.ndindex(*y.shape):
        top, left = at[2] * size[0], at[3] * size[1]
        window = full[at[0], at[1], top : top + size[0], left : left + size[1]].reshape(-1)
        best = 0
        for k, value in enumerate(window):
            if value > window[best] or value != value:
                best = k
        y[at] = window[best]
        place[at] = OFF if activation == "relu" and window[best] <= 0 else best
    return y, place


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
    """Gradients of x, w and bias from g (N, O, P, Q), that of the maxima; None if not asked for.

    place : as `conv_pool` gave it. An element of conv(x, w) + bias has the gradient of its window
    if it was the maximum, and else zero.
    """
    gy = conv(x, w, stride, padding, dilation, groups)
    gy[...] = 0
    for at in np.ndindex(*g.shape):
        if place[at] != OFF:
            row, column = divmod(int(place[at]), size[1])
            gy[at[0], at[1], at[2] * size[0] + row, at[3] * size[1] + column] = g[at]
    options = stride, padding, dilation, groups
    return _gradients(gy, x, w, options, of_x, of_w, of_bias)


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
    """Gradients of x, w and bias from g, that of out = relu(conv(x, w) + bias), (N, O, *P).

    None if not asked for. conv(x, w) + bias has g where `out` is positive or NaN, else zero,
    whatever g is there.
    """
    gy: Any = np.where(out <= 0, 0, g).astype(g.dtype)
    options = stride, padding, dilation, groups
    return _gradients(gy, x, w, options, of_x, of_w, of_bias)


def _gradients(
    gy: Any, x: Any, w: Any, options: Any, of_x: bool, of_w: bool, of_bias: bool
) -> tuple[Any, Any, Any]:
    """Those of conv(x, w) + bias, from gy."""
    gbias = gy.astype(float).sum(axis=(0, *range(2, gy.ndim))).astype(gy.dtype)
    return (
        conv_input(gy, w, x.shape, *options) if of_x else None,
        conv_weight(gy, x, w.shape, *options) if of_w else None,
        gbias if of_bias else None,
    )
