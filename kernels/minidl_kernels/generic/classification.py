"""Losses of labels and of probabilities by whole arrays."""

import math
from typing import Any

import numpy as np

from minidl_kernels.generic.arrays import array_module, wide

__all__ = [
    "cross_entropy",
    "cross_entropy_input",
    "logistic_loss",
    "logistic_loss_input",
    "mean_logistic_loss",
]


@np.errstate(all="ignore")
def cross_entropy(x: Any, target: Any) -> tuple[Any, Any, Any]:
    """See `minidl_kernels.reference.classification.cross_entropy`, the definition."""
    xp = array_module(x)
    counts = target >= 0
    powers = x - x.max(axis=1, keepdims=True)
    picked = xp.take_along_axis(powers, xp.where(counts, target, 0)[:, None], 1)[:, 0]
    xp.exp(powers, out=powers)
    total = powers.sum(axis=1, dtype=wide(x.dtype)).astype(x.dtype)
    return xp.where(counts, xp.log(total) - picked, 0), powers, total


@np.errstate(all="ignore")
def cross_entropy_input(g: Any, target: Any, powers: Any, total: Any) -> Any:
    """See `minidl_kernels.reference.classification.cross_entropy_input`, the definition."""
    xp = array_module(powers)
    counts = target >= 0
    gx = powers * (g / total)[:, None]
    sample, *places = xp.ix_(*[xp.arange(n) for n in target.shape])
    gx[(sample, xp.where(counts, target, 0), *places)] -= g
    return gx if bool(counts.all()) else xp.where(counts[:, None], gx, 0)


@np.errstate(all="ignore")
def logistic_loss(x: Any, target: Any) -> Any:
    """See `minidl_kernels.reference.classification.logistic_loss`, the definition."""
    xp = array_module(x)
    size = xp.absolute(x)
    return size * xp.where(x > 0, 1 - target, target) + xp.log1p(xp.exp(-size))


@np.errstate(all="ignore")
def logistic_loss_input(g: Any, x: Any, target: Any) -> Any:
    """See `minidl_kernels.reference.classification.logistic_loss_input`, the definition."""
    return g * (1 / (1 + array_module(x).exp(-x)) - target)


def mean_logistic_loss(x: Any, target: Any) -> Any:
    """See `minidl_kernels.reference.classification.mean_logistic_loss`, the definition."""
    with np.errstate(all="ignore"):
        return array_module(x).asarray(logistic_loss(x, target).sum() / (x.size or math.nan))
