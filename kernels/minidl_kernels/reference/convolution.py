"""Convolution and its gradients, unfold and fold, as plain loops: the definition.

The convolution is linear in the input x, in the weights w and in the gradient g of its output:

    <conv(x, w), g> = sum over n, o, p, c, k of  g[n, o, p] * w[o, c, k] * x[n, c', q]
    q = p * stride - before + k * dilation

p runs over the output positions, k over the taps of the kernel and q over the input positions, an
int for each spatial axis; `before` is the padding in front, and outside of its array x is zero; c'
is channel c of the group to which the output channel o belongs. `_terms` lists the terms of this
sum. Each of the three functions leaves out one factor, and that is its result.

All sums are in float64, whatever the dtype of the arrays.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

__all__ = ["conv", "conv_input", "conv_weight", "fold", "unfold"]

Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]


def conv(
    x: Any,
    w: Any,
    stride: Ints,
    padding: Pairs,
    dilation: Ints,
    groups: int,
    bias: Any = None,
    activation: str | None = None,
) -> Any:
    """Convolution as neural networks use the word: the kernel is not flipped.

    x : (N, C, *S) with one to three spatial axes, w : (O, C / groups, *K) -> (N, O, *P)

        y[n, o, p] = sum over c, k of w[o, c, k] * x[n, c', p * stride - before + k * dilation]
        P = (S + before + after - dilation * (K - 1) - 1) // stride + 1      on each axis

    stride, dilation : an int per spatial axis; padding : a pair (before, after) per spatial axis
    groups : output channels of group i see the input channels of group i alone
    bias : (O,), added to every output of its channel, or None
    activation : "relu" puts zero in the place of what is then negative; NaN stays; or None
    """
    out = output_sizes(x.shape[2:], w.shape[2:], stride, padding, dilation)
    y, xs, ws = np.zeros((x.shape[0], w.shape[0], *out)), x.astype(float), w.astype(float)
    for at_y, at_w, at_x in _terms(x.shape, w.shape, stride, padding, dilation, groups):
        y[at_y] += ws[at_w] * xs[at_x]
    if bias is not None:
        for o in range(w.shape[0]):
            y[:, o] += bias[o]
    if activation == "relu":
        y[y < 0] = 0
    return y.astype(x.dtype)


def conv_input(
    g: Any, w: Any, shape: Ints, stride: Ints, padding: Pairs, dilation: Ints, groups: int
) -> Any:
    """Gradient of `conv` with respect to its input; also the forward of a transposed convolution.

    g : (N, O, *P), w : (O, C / groups, *K), shape : (N, C, *S) -> (N, C, *S)
    """
    gx, gs, ws = np.zeros(shape), g.astype(float), w.astype(float)
    for at_y, at_w, at_x in _terms(shape, w.shape, stride, padding, dilation, groups):
        gx[at_x] += gs[at_y] * ws[at_w]
    return gx.astype(g.dtype)


def conv_weight(
    g: Any, x: Any, shape: Ints, stride: Ints, padding: Pairs, dilation: Ints, groups: int
) -> Any:
    """Gradient of `conv` with respect to its weights.

    g : (N, O, *P), x : (N, C, *S), shape : (O, C / groups, *K) -> (O, C / groups, *K)
    """
    gw, gs, xs = np.zeros(shape), g.astype(float), x.astype(float)
    for at_y, at_w, at_x in _terms(x.shape, shape, stride, padding, dilation, groups):
        gw[at_w] += gs[at_y] * xs[at_x]
    return gw.astype(g.dtype)


def unfold(x: Any, size: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Any:
    """The windows of x as columns.

    x : (N, C, *S) -> (N, C * prod(size), L): a row is a channel and a tap of the window, a column
    is one of the L window positions, both in C order. What lies in the padding is zero.
    """
    n, c = x.shape[:2]
    out = output_sizes(x.shape[2:], size, stride, padding, dilation)
    cols: Any = np.zeros((n, c, *size, *out), x.dtype)
    for p, k, q in _places(x.shape[2:], size, stride, padding, dilation):
        cols[:, :, *k, *p] = x[:, :, *q]
    return cols.reshape(n, c * math.prod(size), math.prod(out))


def fold(cols: Any, shape: Ints, size: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Any:
    """The transpose of `unfold`: every column is added back to the window it came from.

    cols : (N, C * prod(size), L), shape : (N, C, *S) -> (N, C, *S)
    """
    out = output_sizes(shape[2:], size, stride, padding, dilation)
    cols = cols.reshape(*shape[:2], *size, *out)
    x: Any = np.zeros(shape)
    for p, k, q in _places(shape[2:], size, stride, padding, dilation):
        x[:, :, *q] += cols[:, :, *k, *p]
    return x.astype(cols.dtype)


def output_sizes(spatial: Ints, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Ints:
    """How many positions a window has along each axis."""
    return tuple(
        max((s + before + after - d * (k - 1) - 1) // step + 1, 0)
        for s, k, step, (before, after), d in zip(
            spatial, kernel, stride, padding, dilation, strict=True
        )
    )


def _places(
    spatial: Ints, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints
) -> Iterator[tuple[Ints, Ints, Ints]]:
    """Every (p, k, q): at output position p the tap k of the kernel lies on input position q."""
    for p in np.ndindex(*output_sizes(spatial, kernel, stride, padding, dilation)):
        for k in np.ndindex(*kernel):
            q = tuple(
                p[i] * stride[i] - padding[i][0] + k[i] * dilation[i] for i in range(len(spatial))
            )
            if all(0 <= q[i] < spatial[i] for i in range(len(spatial))):
                yield p, k, q


def _terms(
    x: Ints, w: Ints, stride: Ints, padding: Pairs, dilation: Ints, groups: int
) -> Iterator[tuple[Ints, Ints, Ints]]:
    """The terms of the sum above for these shapes: indices into y (or g), into w and into x."""
    for p, k, q in _places(x[2:], w[2:], stride, padding, dilation):
        for n in range(x[0]):
            for o in range(w[0]):
                first = o // (w[0] // groups) * w[1]  # the first input channel of o's group
                for c in range(w[1]):
                    yield (n, o, *p), (o, c, *k), (n, first + c, *q)
