"""What follows a convolution in a layer, with it and backward: bias, activation and max-pool.

    y = maximum over each window of  activation(conv(x, w) + bias)

A window is `size` large, as are the steps; what is left at the far ends belongs to none. The place
of the maximum in its window is all that the gradient needs: where it stands, counted in C order;
OFF where the activation let nothing through.
"""

from typing import Any

import numpy as np

from minidl_kernels.reference.convolution import conv

__all__ = ["OFF", "conv_pool", "conv_pool_gradient", "relu_gradient"]

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


def conv_pool_gradient(g: Any, place: Any, shape: Ints, size: Ints) -> tuple[Any, Any]:
    """The gradient of what `conv_pool` convolved: of conv(x, w) + bias before the activation.

    g, place (N, O, P, Q), shape : (N, O, H, W) -> gradient (N, O, H, W), of the bias (O,)
    """
    gy, gb = np.zeros(shape, g.dtype), np.zeros(shape[1])
    for at in np.ndindex(*g.shape):
        if place[at] != OFF:
            row, column = divmod(int(place[at]), size[1])
            gy[at[0], at[1], at[2] * size[0] + row, at[3] * size[1] + column] = g[at]
            gb[at[1]] += g[at]
    return gy, gb.astype(g.dtype)


def relu_gradient(g: Any, y: Any) -> tuple[Any, Any]:
    """The gradient through y = relu(z + bias): g, y (N, O, *P) -> of z (N, O, *P), of bias (O,).

    g where y is positive or NaN, else zero, whatever g is there.
    """
    gz: Any = np.where(y <= 0, 0, g).astype(g.dtype)
    gb = gz.astype(float).sum(axis=(0, *range(2, g.ndim)))
    return gz, gb.astype(g.dtype)
