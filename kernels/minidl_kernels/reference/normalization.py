"""Normalisation: each group of numbers brought to mean 0 and variance 1, number by number."""

from typing import Any

import numpy as np

__all__ = ["standardize", "standardize_gradient"]

Ints = tuple[int, ...]


def _place(i: Ints, shape: Ints) -> Ints:
    """The place of index i in an array of `shape`, which has axes of length one."""
    return tuple(k if n > 1 else 0 for k, n in zip(i, shape, strict=True))


@np.errstate(all="ignore")
def standardize(
    x: Any, weight: Any, bias: Any, axes: Ints, shape: Ints, eps: float
) -> tuple[Any, Any, Any, Any]:
    """(x - mean) / sqrt(var + eps) * weight + bias; mean and biased variance over `axes`.

    x : floats of any shape; axes : in rising order; shape : of weight and bias beside x, with axes
    of length one where they repeat; weight, bias : of that many numbers, or None

    Returns the result, and mean, variance and 1 / sqrt(var + eps) with the axes kept at length one.
    Of no numbers mean and variance are 0.
    """
    kept = tuple(1 if a in axes else n for a, n in enumerate(x.shape))
    count = np.zeros(kept)
    centre, var = np.zeros(kept), np.zeros(kept)
    for i in np.ndindex(x.shape):
        count[_place(i, kept)] += 1
        centre[_place(i, kept)] += x[i]
    centre /= np.maximum(count, 1)
    for i in np.ndindex(x.shape):
        var[_place(i, kept)] += (x[i] - centre[_place(i, kept)]) ** 2
    var /= np.maximum(count, 1)
    rstd = 1 / np.sqrt(var + eps)
    w = None if weight is None else weight.reshape(shape)
    b = None if bias is None else bias.reshape(shape)
    out = np.empty(x.shape, x.dtype)
    for i in np.ndindex(x.shape):
        value = (x[i] - centre[_place(i, kept)]) * rstd[_place(i, kept)]
        if w is not None:
            value = value * w[_place(i, shape)]
        out[i] = value if b is None else value + b[_place(i, shape)]
    return out, centre.astype(x.dtype), var.astype(x.dtype), rstd.astype(x.dtype)


@np.errstate(all="ignore")
def standardize_gradient(
    x: Any,
    weight: Any,
    axes: Ints,
    shape: Ints,
    centre: Any,
    rstd: Any,
    g: Any,
    g_mean: Any,
    g_var: Any,
    wanted: tuple[str, ...],
) -> tuple[Any, ...]:
    """Gradients of `standardize`, for those of x, weight and bias that are `wanted`, in its order.

    g, g_mean, g_var : gradients of the result and of the statistics, None where there is none. With
    x̂ = (x - mean) rstd and ĝ = g weight: dx = rstd (ĝ - mean(ĝ) - x̂ mean(ĝ x̂)), dweight the sum
    of g x̂, dbias that of g. mean's own gradient is 1 / count, var's 2 (x - mean) / count.
    """
    kept = centre.shape
    g = np.zeros(x.shape, x.dtype) if g is None else g
    w = np.ones(shape) if weight is None else weight.reshape(shape)
    count, total, product = np.zeros(kept), np.zeros(kept), np.zeros(kept)
    gw, gb = np.zeros(shape), np.zeros(shape)
    for i in np.ndindex(x.shape):
        at, where = _place(i, kept), _place(i, shape)
        hat = (x[i] - centre[at]) * rstd[at]
        count[at] += 1
        total[at] += g[i] * w[where]
        product[at] += g[i] * w[where] * hat
        gw[where] += g[i] * hat
        gb[where] += g[i]
    gx = np.empty(x.shape, x.dtype)
    for i in np.ndindex(x.shape):
        at, n = _place(i, kept), count[_place(i, kept)]
        hat = (x[i] - centre[at]) * rstd[at]
        slope = g[i] * w[_place(i, shape)] - total[at] / n - hat * product[at] / n
        gx[i] = rstd[at] * slope
        if g_mean is not None:
            gx[i] += g_mean[at] / n
        if g_var is not None:
            gx[i] += g_var[at] * 2 * (x[i] - centre[at]) / n
    found = {"x": gx, "weight": gw.reshape(-1), "bias": gb.reshape(-1)}
    return tuple(found[name].astype(x.dtype) for name in wanted)
