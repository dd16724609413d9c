"""Normalisation by whole arrays, in the layout of what comes in."""

import math
from typing import Any

import numpy as np

from minidl_kernels.generic.arrays import array_module, empty_like

__all__ = ["standardize", "standardize_gradient"]


def _shared(axes: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes along which mean, variance and weight are all constant."""
    return tuple([a for a in axes if shape[a] == 1])


def _total(x: Any, axes: tuple[int, ...]) -> Any:
    """The sum over axes, the first of them first: sums of sums round less than one long sum."""
    if len(axes) > 1:
        x, axes = x.sum(axis=axes[:1], keepdims=True), axes[1:]
    return x.sum(axis=axes, keepdims=True) if axes else x


def _inner(x: Any, y: Any, axes: tuple[int, ...]) -> Any:
    """The sum of x * y over axes."""
    if not axes:
        return x * y
    every = "abcdefgh"[: x.ndim]
    left = every.replace(every[axes[0]], "")
    first = array_module(x).einsum(f"{every},{every}->{left}", x, y)  # has no room for x * y
    return _total(array_module(x).expand_dims(first, axes[0]), axes[1:])


def _spread(c: Any, x: Any, shared: tuple[int, ...]) -> Any:
    """A coefficient repeated over one slice of x, in its layout.

    With channels last in memory the loops of `x * c` would run over the channels alone, which are
    few; so they run over the slice.
    """
    if len(shared) < 2 or x.shape[shared[0]] < 4:
        return c
    like = x[tuple([slice(0, 1) if a == shared[0] else slice(None) for a in range(x.ndim)])]
    slice_of_x = empty_like(like)
    slice_of_x[...] = c
    return slice_of_x


@np.errstate(all="ignore")
def standardize(
    x: Any, weight: Any, bias: Any, axes: tuple[int, ...], shape: tuple[int, ...], eps: float
) -> tuple[Any, Any, Any, Any]:
    """See `minidl_kernels.reference.normalization.standardize`, the definition."""
    xp, shared = array_module(x), _shared(axes, shape)
    count = max(math.prod([x.shape[a] for a in axes]), 1)
    rest = tuple([a for a in axes if a not in shared])
    centre = _total(_total(x, shared), rest) / count
    out = xp.subtract(x, _spread(centre, x, shared), out=empty_like(x))
    var = _total(_inner(out, out, shared or axes), rest if shared else ()) / count
    rstd = 1 / xp.sqrt(var + eps)
    if weight is None:
        out *= _spread(rstd, x, shared)
    elif shared:
        out *= _spread(rstd * weight.reshape(shape), x, shared)
    else:
        out *= rstd
        out *= weight.reshape(shape)
    if bias is not None:
        out += _spread(bias.reshape(shape), x, shared)
    return out, centre, var, rstd


@np.errstate(all="ignore")
def standardize_gradient(
    x: Any,
    weight: Any,
    axes: tuple[int, ...],
    shape: tuple[int, ...],
    centre: Any,
    rstd: Any,
    g: Any,
    g_mean: Any,
    g_var: Any,
    wanted: tuple[str, ...],
) -> tuple[Any, ...]:
    """See `minidl_kernels.reference.normalization.standardize_gradient`, the definition."""
    xp, shared = array_module(x), _shared(axes, shape)
    rest = tuple([a for a in axes if a not in shared])
    lead = tuple([a for a in range(x.ndim) if shape[a] == 1])
    if g is None:
        g = xp.zeros_like(x)
    d = xp.subtract(x, _spread(centre, x, shared), out=empty_like(x))
    summed, product = _total(g, shared), _inner(g, d, shared)
    product *= rstd
    found: dict[str, Any] = {}
    if "weight" in wanted:
        found["weight"] = product.sum(axis=lead).reshape(-1)
    if "bias" in wanted:
        found["bias"] = summed.sum(axis=lead).reshape(-1)
    if "x" in wanted:
        count = max(math.prod([x.shape[a] for a in axes]), 1)
        if weight is None:
            summed, product = _total(summed, rest), _total(product, rest)
        else:
            weight = weight.reshape(shape)
            repeated = xp.broadcast_to(weight, summed.shape)
            summed, product = _inner(summed, repeated, rest), _inner(product, repeated, rest)
        of_d = product * (rstd * rstd / -count)
        constant = summed * (rstd / -count)
        if g_mean is not None:
            constant = constant + g_mean / count
        if g_var is not None:
            of_d = of_d + g_var * (2 / count)
        d *= _spread(of_d, x, shared)
        d += _spread(constant, x, shared)
        if weight is None or shared:
            d += g * _spread(rstd if weight is None else rstd * weight, x, shared)
        else:
            g = g * weight
            g *= rstd
            d += g
        found["x"] = d
    return tuple([found[name] for name in wanted])
