"""What losses are: formulas in NumPy's float64."""

import math
from typing import Any

import numpy as np
from definitions_numbers import log_softmax, power_norm, softplus


def reduced(loss: Any, reduction: str, total: Any = None) -> Any:
    if reduction == "none":
        return loss
    summed = loss.sum()
    return summed if reduction == "sum" else summed / (loss.size if total is None else total)


def weighted(loss: Any, share: bool = True) -> Any:
    """A loss of (input, target), with weights by which its mean divides unless `share` is False."""

    def run(x: Any, t: Any, reduction: str = "mean", weight: Any = None, **options: Any) -> Any:
        found = loss(x, t, **options)
        if weight is None:
            return reduced(found, reduction)
        return reduced(found * weight, reduction, weight.sum() if share else None)

    return run


def huber(x: Any, t: Any, delta: float = 1.0) -> Any:
    d = np.abs(x - t)
    return np.where(d <= delta, d * d / 2, delta * (d - delta / 2))


def smooth_l1(x: Any, t: Any, beta: float = 1.0) -> Any:
    return huber(x, t, beta) / beta if beta else np.abs(x - t)


def gaussian_nll(
    x: Any,
    t: Any,
    var: Any,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Any:
    var = np.maximum(var.reshape(*x.shape[:-1], -1), eps)
    loss = (np.log(var) + (x - t) ** 2 / var) / 2 + (math.log(2 * math.pi) / 2 if full else 0)
    return reduced(loss, reduction)


def poisson_nll(
    x: Any,
    t: Any,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Any:
    loss = np.exp(x) - t * x if log_input else x - t * np.log(x + eps)
    if full:
        loss = loss + np.where(t > 1, t * np.log(t) - t + np.log(2 * math.pi * t) / 2, 0)
    return reduced(loss, reduction)


def cosine_similarity(x: Any, y: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    length = lambda v: np.maximum(np.sqrt((v * v).sum(dim)), eps)  # noqa: E731
    x, y = np.broadcast_arrays(x, y)
    return (x * y).sum(dim) / (length(x) * length(y))


def distance(x: Any, y: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Any:
    return power_norm(x - y + eps, p, -1, keepdim)


def cosine_embedding(x: Any, y: Any, t: Any, margin: float = 0.0, reduction: str = "mean") -> Any:
    tiny = 1e-12  # added under the roots, as in PyTorch
    product = np.sqrt(((x * x).sum(-1) + tiny) * ((y * y).sum(-1) + tiny))
    cos = (x * y).sum(-1) / product
    return reduced(np.where(t == 1, 1 - cos, np.maximum(cos - margin, 0)), reduction)


def margin_ranking(x: Any, y: Any, t: Any, margin: float = 0.0, reduction: str = "mean") -> Any:
    return reduced(np.maximum(-t * (x - y) + margin, 0), reduction)


def hinge_embedding(x: Any, t: Any, margin: float = 1.0, reduction: str = "mean") -> Any:
    return reduced(np.where(t == 1, x, np.maximum(margin - x, 0)), reduction)


def triplet_margin(
    a: Any,
    near: Any,
    far: Any,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Any:
    d_far = distance(a, far, p, eps)
    d_far = np.minimum(d_far, distance(near, far, p, eps)) if swap else d_far
    return reduced(np.maximum(distance(a, near, p, eps) - d_far + margin, 0), reduction)


def nll(
    x: Any,
    t: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Any:
    loss, total = np.zeros(t.shape), 0.0
    for at in np.ndindex(t.shape):
        label = int(t[at])
        if label != ignore_index:
            share = 1.0 if weight is None else weight[label]
            loss[at] = -share * x[(*at[:1], label, *at[1:])]
            total += share
    return reduced(loss, reduction, total)


def cross_entropy(
    x: Any,
    t: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    classes = x.shape[1] if x.ndim > 1 else x.shape[0]
    logs = log_softmax(x, 1 if x.ndim > 1 else 0)
    each = np.ones(classes) if weight is None else weight
    each = each.reshape(-1, *[1] * max(x.ndim - 2, 0))
    axis = 1 if x.ndim > 1 else 0
    if t.dtype.kind == "f":
        t = t * (1 - label_smoothing) + label_smoothing / classes
        loss = -(t * each * logs).sum(axis)
        return reduced(loss, reduction, math.prod(x.shape) / classes)
    even = -(each * logs).sum(axis) / classes
    even = np.where(t == ignore_index, 0, even)
    hard = nll(logs, t, weight, ignore_index, "none")
    counted = t[t != ignore_index]
    total = counted.size if weight is None else weight[counted].sum()
    return reduced((1 - label_smoothing) * hard + label_smoothing * even, reduction, total)


def bernoulli(x: Any, t: Any) -> Any:
    with np.errstate(divide="ignore"):
        return -(t * np.maximum(np.log(x), -100) + (1 - t) * np.maximum(np.log(1 - x), -100))


def binary(loss: Any) -> Any:
    def run(x: Any, t: Any, weight: Any = None, reduction: str = "mean", **options: Any) -> Any:
        found = loss(x, t, **options)
        return reduced(found if weight is None else found * weight, reduction)

    return run


def from_logits(x: Any, t: Any, pos_weight: Any = 1.0) -> Any:
    plus = np.vectorize(softplus, otypes=[float])
    return pos_weight * t * plus(-x) + (1 - t) * plus(x)


def kl_div(x: Any, t: Any, reduction: str = "mean", log_target: bool = False) -> Any:
    loss = np.exp(t) * (t - x) if log_target else t * (np.log(t) - x)
    return loss.sum() / len(x) if reduction == "batchmean" else reduced(loss, reduction)


DEFINITIONS = {
    "mse_loss": weighted(lambda x, t: (x - t) ** 2),
    "l1_loss": weighted(lambda x, t: np.abs(x - t)),
    "smooth_l1_loss": weighted(smooth_l1),
    "huber_loss": weighted(huber, share=False),
    "gaussian_nll_loss": gaussian_nll,
    "poisson_nll_loss": poisson_nll,
    "cosine_similarity": cosine_similarity,
    "pairwise_distance": distance,
    "cosine_embedding_loss": cosine_embedding,
    "margin_ranking_loss": margin_ranking,
    "hinge_embedding_loss": hinge_embedding,
    "triplet_margin_loss": triplet_margin,
    "label_cross_entropy": lambda x, t, weight=None, ignore_index=-100: nll(
        log_softmax(x, 1), t, weight, ignore_index, "none"
    ),
    "cross_entropy": cross_entropy,
    "nll_loss": nll,
    "bernoulli_nll": bernoulli,
    "logistic_loss": from_logits,
    "mean_logistic_loss": lambda x, target: from_logits(x, target).mean(),
    "binary_cross_entropy": binary(bernoulli),
    "binary_cross_entropy_with_logits": binary(from_logits),
    "kl_div": kl_div,
}
