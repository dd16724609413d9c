"""Max and average pooling and their gradients as plain loops: the definition.

It is PyTorch's, ceil_mode, padding, ties and NaN included.
"""

import itertools
import math
from typing import Any

import numpy as np

__all__ = ["avg_pool", "avg_pool_input", "max_pool", "max_pool_input"]

Ints = tuple[int, ...]


def max_pool(
    x: Any, size: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil_mode: bool
) -> tuple[Any, Any]:
    """The largest element of each window, and where it stands.

    x : (N, C, *S) -> out (N, C, *P) of x's dtype, index (N, C, *P), int32 where that is enough

        out[n, c, p] = max over k of x[n, c, p * stride - padding + k * dilation]

    index is the place of the maximum in the plane S, flattened in C order and without padding. The
    first of equal maxima counts. A NaN is larger than any number, and the last NaN counts. Padding
    never wins. (A dilated window may lie in the padding alone: then out is -inf and index a place
    near it; PyTorch's index is out of range there.) See `output_sizes` for P.
    """
    spatial = x.shape[2:]
    out = output_sizes(spatial, size, stride, padding, dilation, ceil_mode)
    kind = np.int32 if math.prod(spatial) < 2**31 else np.int64
    y, index = np.empty((*x.shape[:2], *out), x.dtype), np.empty((*x.shape[:2], *out), kind)
    for n, c, *p in np.ndindex(*y.shape):
        best, where = -math.inf, _first(p, spatial, stride, padding, dilation)
        for q in _window(p, spatial, size, stride, padding, dilation):
            value = x[n, c, *q]
            if value > best or value != value:
                best, where = value, q
        y[n, c, *p], index[n, c, *p] = best, np.ravel_multi_index(where, spatial)
    return y, index


def max_pool_input(g: Any, index: Any, shape: Ints, windows: Any = None) -> Any:
    """Gradient of `max_pool` with respect to its input: each g is added where its maximum stood.

    g, index : (N, C, *P), shape : (N, C, *S) -> (N, C, *S)
    windows : (size, stride, padding, dilation), if index is `max_pool`'s for these. It says where
        a place may come from, so that a kernel can look; the result is the same without.
    """
    gx = np.zeros((*shape[:2], math.prod(shape[2:])))
    for n, c, *p in np.ndindex(*g.shape):
        gx[n, c, index[n, c, *p]] += g[n, c, *p]
    return gx.reshape(shape).astype(g.dtype)


def avg_pool(
    x: Any,
    size: Ints,
    stride: Ints,
    padding: Ints,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None,
) -> Any:
    """The mean of each window.

    x : (N, C, *S) -> (N, C, *P)

        out[n, c, p] = 1 / D * sum over k of x[n, c, p * stride - padding + k]

    D is `divisor` if that is given; else the number of places in the window: with
    count_include_pad those in the padding too (but never beyond it), otherwise those of x alone.
    """
    spatial = x.shape[2:]
    y = np.empty(
        (*x.shape[:2], *output_sizes(spatial, size, stride, padding, (1,) * len(size), ceil_mode))
    )
    for n, c, *p in np.ndindex(*y.shape):
        window = _window(p, spatial, size, stride, padding, (1,) * len(size))
        total = sum(float(x[n, c, *q]) for q in window)
        y[n, c, *p] = total / _divisor(
            p, spatial, size, stride, padding, count_include_pad, divisor
        )
    return y.astype(x.dtype)


def avg_pool_input(
    g: Any,
    shape: Ints,
    size: Ints,
    stride: Ints,
    padding: Ints,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None,
) -> Any:
    """Gradient of `avg_pool` with respect to its input: g / D goes to every place of the window.

    g : (N, C, *P), shape : (N, C, *S) -> (N, C, *S)
    """
    spatial = shape[2:]
    gx = np.zeros(shape)
    for n, c, *p in np.ndindex(*g.shape):
        d = _divisor(p, spatial, size, stride, padding, count_include_pad, divisor)
        for q in _window(p, spatial, size, stride, padding, (1,) * len(size)):
            gx[n, c, *q] += float(g[n, c, *p]) / d
    return gx.astype(g.dtype)


def output_sizes(
    spatial: Ints, size: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil_mode: bool
) -> Ints:
    """How many windows there are along each axis.

    P = (S + 2 * padding - dilation * (size - 1) - 1) / stride + 1, rounded down, or up with
    ceil_mode; but the last window must start inside of the input or the padding before it.
    """
    sizes = []
    for s, k, step, pad, d in zip(spatial, size, stride, padding, dilation, strict=True):
        room = s + 2 * pad - d * (k - 1) - 1
        n = (math.ceil(room / step) if ceil_mode else room // step) + 1
        if ceil_mode and (n - 1) * step >= s + pad:
            n -= 1
        sizes.append(max(n, 0))
    return tuple(sizes)


def _window(p: Any, spatial: Ints, size: Ints, stride: Ints, padding: Ints, dilation: Ints) -> Any:
    """The input positions under the window at p, those in the padding left out, in C order."""
    axes = []
    for i in range(len(spatial)):
        places = (p[i] * stride[i] - padding[i] + k * dilation[i] for k in range(size[i]))
        axes.append([q for q in places if 0 <= q < spatial[i]])
    return itertools.product(*axes)


def _first(p: Any, spatial: Ints, stride: Ints, padding: Ints, dilation: Ints) -> Ints:
    """The first input position under the window at p, which counts if all of them are -inf."""
    starts = []
    for i in range(len(spatial)):
        start = p[i] * stride[i] - padding[i]
        while start < 0:
            start += dilation[i]
        starts.append(min(start, spatial[i] - 1))
    return tuple(starts)


def _divisor(
    p: Any,
    spatial: Ints,
    size: Ints,
    stride: Ints,
    padding: Ints,
    count_include_pad: bool,
    divisor: int | None,
) -> int:
    count = 1
    for i in range(len(spatial)):
        start = p[i] * stride[i] - padding[i]
        end = min(start + size[i], spatial[i] + padding[i])
        if not count_include_pad:
            start, end = max(start, 0), min(end, spatial[i])
        count *= end - start
    return count if divisor is None else divisor
