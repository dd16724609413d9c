"""Losses of labels and of probabilities, from logits: one number after the other."""

import math
from typing import Any

import numpy as np

__all__ = [
    "cross_entropy",
    "cross_entropy_input",
    "logistic_loss",
    "logistic_loss_input",
    "mean_logistic_loss",
]


@np.errstate(all="ignore")
def cross_entropy(x: Any, target: Any) -> tuple[Any, Any, Any]:
    """-ln softmax(x)[target], and what its gradient needs.

    x : (N, C, *S) logits; target : (N, *S), a class from 0 to C - 1, or -1: that place does not
    count, and its loss is 0. Returns the loss (N, *S); the powers e^(x - top) (N, C, *S), top the
    largest logit of a place; and their total (N, *S) over the classes.

    The loss is ln(total) - (x[target] - top): no exponential overflows, and those that underflow do
    not count. NaN, or an infinite logit that is the largest, makes NaN.
    """
    powers = np.empty(x.shape, x.dtype)
    loss, total = np.zeros(target.shape, x.dtype), np.zeros(target.shape, x.dtype)
    for n, *place in np.ndindex(target.shape):
        logits, here = x[(n, slice(None), *place)], (n, *place)
        above = logits - np.max(logits)
        powers[(n, slice(None), *place)] = np.exp(above)
        total[here] = np.exp(above.astype("f8")).sum()
        if target[here] >= 0:
            loss[here] = np.log(total[here]) - above[target[here]]
    return loss, powers, total


@np.errstate(all="ignore")
def cross_entropy_input(g: Any, target: Any, powers: Any, total: Any) -> Any:
    """Gradient of `cross_entropy`: g (softmax(x) - one-hot(target)), 0 where target is -1.

    g, target, total (N, *S), powers (N, C, *S) -> (N, C, *S)
    """
    gx = np.zeros(powers.shape, powers.dtype)
    for n, *place in np.ndindex(target.shape):
        here = (n, *place)
        if target[here] < 0:
            continue
        for c in range(powers.shape[1]):
            at = (n, c, *place)
            gx[at] = powers[at] * (g[here] / total[here])
            if c == target[here]:
                gx[at] -= g[here]
    return gx


@np.errstate(all="ignore")
def logistic_loss(x: Any, target: Any) -> Any:
    """-(t ln σ(x) + (1 - t) ln σ(-x)), element by element; σ(x) = 1 / (1 + e^-x).

    x : logits, target : from 0 to 1, of one shape

    Computed as |x| w + ln(1 + e^-|x|), where w is 1 - t for x > 0 and else t: no exponential
    overflows.
    """
    loss = np.empty(x.shape, x.dtype)
    for i in np.ndindex(x.shape):
        wrong = 1 - target[i] if x[i] > 0 else target[i]
        loss[i] = abs(x[i]) * wrong + math.log1p(math.exp(-abs(x[i])))
    return loss


@np.errstate(all="ignore")
def logistic_loss_input(g: Any, x: Any, target: Any) -> Any:
    """Gradient of `logistic_loss` with respect to x: g (σ(x) - t).

    g : of the shape of x, or one number for all, without axes
    """
    gx = np.empty(x.shape, x.dtype)
    for i in np.ndindex(x.shape):
        gx[i] = (g[i] if g.ndim else g) * (1 / (1 + np.exp(-x[i])) - target[i])
    return gx


def mean_logistic_loss(x: Any, target: Any) -> Any:
    """The mean of `logistic_loss` over all elements, without axes; NaN of none."""
    total = logistic_loss(x, target).astype(np.float64).sum()
    return np.asarray(total / (x.size or math.nan), x.dtype)
