"""Losses that compare numbers, vectors and densities; `classification` has those of classes.

Each is written with ops and takes PyTorch's `reduction`: "mean" over all elements (NaN of none),
"sum" (0 of none), or "none". Shapes must be equal where PyTorch only warns and broadcasts: a
prediction (N, 1) against a target (N,) would silently compare all pairs.
"""

import math
from typing import Any

import numpy as np

from minidl.errors import ShapeError
from minidl.ops import _checks
from minidl.ops.arithmetic import abs, clamp, minimum, where
from minidl.ops.elementary import exp, log, sqrt
from minidl.ops.reduction import mean, norm, sum
from minidl.ops.shape import expand, reshape
from minidl.tape import Jump, Kink, Steep, TensorBase, composite

__all__ = [
    "cosine_embedding_loss",
    "cosine_similarity",
    "gaussian_nll_loss",
    "hinge_embedding_loss",
    "huber_loss",
    "l1_loss",
    "margin_ranking_loss",
    "mse_loss",
    "pairwise_distance",
    "poisson_nll_loss",
    "smooth_l1_loss",
    "triplet_margin_loss",
]


def reduced(name: str, loss: Any, reduction: str) -> Any:
    """The mean or the sum of a loss, or the loss itself: what `reduction` says."""
    _checks.choice(name, "reduction", reduction, "none", "mean", "sum")
    return loss if reduction == "none" else sum(loss) if reduction == "sum" else mean(loss)


def raw(x: Any) -> Any:
    """The array of a tensor; an array itself."""
    return x.data if isinstance(x, TensorBase) else x


def held_above(x: Any, least: float) -> Any:
    """x, brought to `least` where it is below; the gradient passes as if it were not."""
    return x + (clamp(raw(x), least) - raw(x))


def alike(name: str, **arguments: Any) -> None:
    """Raise ShapeError unless the arguments have one shape, DtypeError unless one is of floats."""
    _checks.same_device(name, **arguments)
    (first, x), *others = arguments.items()
    for other, y in others:
        if x.shape != y.shape:
            raise ShapeError(
                f"{name}: {first} is {tuple(x.shape)}, {other} is {tuple(y.shape)}; the shapes "
                "must be equal (reshape or expand one of them)"
            )
    if x.dtype.kind != "f" and all(y.dtype.kind != "f" for _, y in others):
        _checks.floating(name, first, x)


# ---- numbers ------------------------------------------------------------------------------------


def _weighted(name: str, input: Any, loss: Any, reduction: str, weight: Any) -> Any:
    """As `reduced`, of the loss times `weight`; the mean divides by the sum of the weights."""
    if weight is None:
        return reduced(name, loss, reduction)
    alike(name, input=input, weight=weight)
    if reduction == "mean":
        return sum(loss * weight) / sum(weight)
    return reduced(name, loss * weight, reduction)


@composite(formula="weight (input - target)²")
def mse_loss(input: Any, target: Any, reduction: str = "mean", weight: Any = None) -> Any:
    """The squared error. Raises ShapeError unless the shapes are equal.

    weight : None, or of that shape; the mean then divides by the sum of the weights
    """
    alike("mse_loss", input=input, target=target)
    d = input - target
    return _weighted("mse_loss", input, d * d, reduction, weight)


@composite(
    formula="weight |input - target|",
    kink=Kink(
        "input = target",
        "0",
        at={"input": [1], "target": [1]},
        gradient={"input": [0], "target": [0]},
    ),
)
def l1_loss(input: Any, target: Any, reduction: str = "mean", weight: Any = None) -> Any:
    """The absolute error. Raises ShapeError unless the shapes are equal.

    weight : as in `mse_loss`
    """
    alike("l1_loss", input=input, target=target)
    return _weighted("l1_loss", input, abs(input - target), reduction, weight)


def _rounded_off(d: Any, delta: float) -> Any:
    """d² / 2 where |d| <= delta, else delta (|d| - delta / 2): no square of a d that is large."""
    near = clamp(d, -delta, delta)
    return near * (d - near * 0.5)


@composite(
    formula="d² / (2 beta) where d = |input - target| < beta, else d - beta / 2",
    kink=Kink(
        "beta = 0, input = target",
        "0",
        at={"input": [1], "target": [1], "beta": 0},
        gradient={"input": [0], "target": [0]},
    ),
)
def smooth_l1_loss(input: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Any:
    """The absolute error, rounded off where it is below `beta`: huber_loss / beta.

    Raises ShapeError unless the shapes are equal, ValueError for a negative beta (0: `l1_loss`).
    Source: Girshick (2015), arXiv:1504.08083.
    """
    alike("smooth_l1_loss", input=input, target=target)
    if beta < 0:
        raise ValueError(f"smooth_l1_loss: beta is {beta}, expected at least 0")
    d = input - target
    loss = _rounded_off(d, beta) / beta if beta else abs(d)
    return reduced("smooth_l1_loss", loss, reduction)


@composite(
    formula="weight d² / 2 where d = |input - target| <= delta, else weight delta (d - delta / 2)"
)
def huber_loss(
    input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None
) -> Any:
    """The squared error, halved, that goes on as a straight line where it exceeds `delta`.

    weight : None, or of the same shape; unlike in `mse_loss` the mean divides by the count

    Raises ShapeError unless the shapes are equal, ValueError unless delta is positive.
    Source: Huber (1964), doi:10.1214/aoms/1177703732.
    """
    alike("huber_loss", input=input, target=target)
    if delta <= 0:
        raise ValueError(f"huber_loss: delta is {delta}, expected more than 0")
    loss = _rounded_off(input - target, delta)
    if weight is not None:
        alike("huber_loss", input=input, weight=weight)
        loss = loss * weight
    return reduced("huber_loss", loss, reduction)


# ---- densities ----------------------------------------------------------------------------------


@composite(
    formula="(log var + (input - target)² / var) / 2, var at least eps",
    kink=Kink(
        "var = eps",
        "as above it, and so below it",
        at={"input": [3], "target": [1], "var": [1], "eps": 1},
        gradient={"input": [2], "target": [-2], "var": [-1.5]},
    ),
)
def gaussian_nll_loss(
    input: Any,
    target: Any,
    var: Any,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Any:
    """The negative log-likelihood of a normal distribution with mean `input` and variance `var`.

    input, target : of one shape; var : of that shape, or with a last axis of length one, or
    without it; full : add log(2π) / 2

    A var below eps counts as eps, and its gradient passes as if it did not, so that it may recover.
    Raises ShapeError, and ValueError for a negative var.
    Source: Nix and Weigend (1994), doi:10.1109/ICNN.1994.374138.
    """
    alike("gaussian_nll_loss", input=input, target=target)
    shape = tuple(input.shape)
    if tuple(var.shape) != shape:
        if tuple(var.shape) == shape[:-1]:
            var = reshape(var, (*shape[:-1], 1))
        elif tuple(var.shape) != (*shape[:-1], 1):
            raise ShapeError(
                f"gaussian_nll_loss: var is {tuple(var.shape)}, expected {shape}, or that with a "
                "last axis of length one or without it"
            )
    if (raw(var) < 0).any():
        raise ValueError("gaussian_nll_loss: var has a negative element")
    var = held_above(var, eps)
    d = input - target
    loss = (log(var) + d * d / var) * 0.5
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return reduced("gaussian_nll_loss", loss, reduction)


@composite(
    formula="exp(input) - target input; input - target log(input + eps) without log_input",
    kink=[
        Jump(
            "full, target = 1",
            "as below it",
            at={"input": [2], "target": [1], "full": True},
            gradient={"target": [-2]},
        ),
        Steep(
            "log_input=False, input = -eps",
            "infinite",
            at={"input": [-1], "target": [2], "log_input": False, "eps": 1},
            gradient={"input": [-math.inf]},
        ),
    ],
)
def poisson_nll_loss(
    input: Any,
    target: Any,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Any:
    """The negative log-likelihood of counts from a Poisson distribution.

    input : its rate, or with log_input the logarithm of it; target : counts, of that shape
    full : add Stirling's approximation of log(target!), t log t - t + log(2πt) / 2, where t > 1

    Raises ShapeError unless the shapes are equal.
    """
    alike("poisson_nll_loss", input=input, target=target)
    loss = exp(input) - target * input if log_input else input - target * log(input + eps)
    if full:
        t = where(target > 1, target, 1)
        stirling = t * log(t) - t + log(t * (2 * math.pi)) * 0.5
        loss = loss + where(target > 1, stirling, 0)
    return reduced("poisson_nll_loss", loss, reduction)


# ---- vectors ------------------------------------------------------------------------------------


@composite(
    formula="<x1, x2> / (max(|x1|, eps) max(|x2|, eps))",
    kink=Kink(
        "|x1| = eps, or |x2| = eps",
        "as above it",
        at={"x1": [3, 4], "x2": [6, 8], "dim": 0, "eps": 5},
        gradient={"x1": [0, 0], "x2": [0, 0]},
    ),
)
def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """The cosine of the angle between x1 and x2 along `dim`; they broadcast.

    A length below eps counts as eps, and its gradient passes as if it did not. Raises ShapeError
    if the shapes do not broadcast.
    """
    dim = _checks.integer("cosine_similarity", "dim", dim)
    if x1.shape != x2.shape:
        try:
            shape = np.broadcast_shapes(x1.shape, x2.shape)
        except ValueError:
            raise ShapeError(
                f"cosine_similarity: x1 {tuple(x1.shape)} and x2 {tuple(x2.shape)} do not broadcast"
            ) from None
        x1, x2 = expand(x1, shape), expand(x2, shape)
    x1, x2 = [x / held_above(norm(x, 2, dim, True), eps) for x in (x1, x2)]
    return sum(x1 * x2, dim)


@composite(
    formula="p-norm of x1 - x2 + eps along the last axis",
    kink=Kink(
        "x2 - x1 = eps (p > 1; and the other kinks of norm)",
        "0",
        at={"x1": [1, 1], "x2": [2, 2], "eps": 1},
        gradient={"x1": [0, 0], "x2": [0, 0]},
    ),
)
def pairwise_distance(
    x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Any:
    """The distance between x1 and x2 along the last axis; they broadcast."""
    return norm(x1 - x2 + eps, p, -1, keepdim)


@composite(
    formula="1 - cos where target == 1, max(0, cos - margin) where it is -1",
    kink=Kink(
        "target = -1, cos = margin",
        "as above it",
        at={"input1": [[1, 0]], "input2": [[0, 1]], "target": [-1]},
        gradient={"input1": [[0, 1]], "input2": [[1, 0]]},
    ),
)
def cosine_embedding_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean"
) -> Any:
    """Pulls vectors together where the target is 1, apart to an angle where it is -1.

    input1, input2 : (N, D) and target (N,) of 1 and -1, or (D,) and ()
    Raises ShapeError for other shapes.
    """
    alike("cosine_embedding_loss", input1=input1, input2=input2)
    _checks.rank("cosine_embedding_loss", "input1", input1, 1, 2)
    if tuple(target.shape) != tuple(input1.shape[:-1]):
        raise ShapeError(
            f"cosine_embedding_loss: target is {tuple(target.shape)}, "
            f"expected {tuple(input1.shape[:-1])}: one for each vector"
        )
    tiny = 1e-12  # under the root, as PyTorch has it: the derivative exists for zeros too
    squares = (sum(input1 * input1, -1) + tiny) * (sum(input2 * input2, -1) + tiny)
    cos = sum(input1 * input2, -1) / sqrt(squares)
    apart = where(target == -1, clamp(cos - margin, 0), 0)
    return reduced("cosine_embedding_loss", where(target == 1, 1 - cos, apart), reduction)


@composite(
    formula="max(0, -target (input1 - input2) + margin)",
    kink=Kink(
        "target (input1 - input2) = margin",
        "as above 0",
        at={"input1": [1], "input2": [1], "target": [1]},
        gradient={"input1": [-1], "input2": [1], "target": [0]},
    ),
)
def margin_ranking_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean"
) -> Any:
    """Wants input1 larger than input2 by `margin` where the target is 1, smaller where it is -1.

    Raises ShapeError unless the shapes are equal.
    """
    alike("margin_ranking_loss", input1=input1, input2=input2, target=target)
    loss = clamp(margin - target * (input1 - input2), 0)
    return reduced("margin_ranking_loss", loss, reduction)


@composite(
    formula="input where target == 1, max(0, margin - input) where it is -1",
    kink=Kink(
        "target = -1, input = margin",
        "as below it",
        at={"input": [1], "target": [-1]},
        gradient={"input": [-1]},
    ),
)
def hinge_embedding_loss(
    input: Any, target: Any, margin: float = 1.0, reduction: str = "mean"
) -> Any:
    """A distance, made small where the target is 1, as large as `margin` where it is -1.

    Raises ShapeError unless the shapes are equal.
    """
    alike("hinge_embedding_loss", input=input, target=target)
    near = where(target != -1, input, 0)
    far = where(target != 1, clamp(margin - input, 0), 0)
    return reduced("hinge_embedding_loss", near + far, reduction)


@composite(
    formula="max(0, d(anchor, positive) - d(anchor, negative) + margin)",
    kink=[
        Kink(
            "d(anchor, positive) + margin = d(anchor, negative)",
            "as above 0",
            at={"anchor": [0], "positive": [1], "negative": [2], "margin": 1, "eps": 0},
            gradient={"anchor": [0], "positive": [1], "negative": [-1]},
        ),
        Kink(
            "swap, d(anchor, negative) = d(positive, negative)",
            "half to each",
            at={"anchor": [0], "positive": [2], "negative": [1], "swap": True, "eps": 0},
            gradient={"anchor": [-0.5], "positive": [0.5], "negative": [0]},
        ),
    ],
)
def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Any:
    """Wants the positive nearer to the anchor than the negative by `margin`.

    anchor, positive, negative : (*, D) of one shape, compared by `pairwise_distance`
    swap : count the negative's distance to the positive if that is shorter

    Raises ShapeError unless the shapes are equal, ValueError unless the margin is positive.
    Source: Balntas and others (2016), doi:10.5244/C.30.119.
    """
    alike("triplet_margin_loss", anchor=anchor, positive=positive, negative=negative)
    if margin <= 0:
        raise ValueError(f"triplet_margin_loss: margin is {margin}, expected more than 0")
    near = pairwise_distance(anchor, positive, p, eps)
    far = pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = minimum(far, pairwise_distance(positive, negative, p, eps))
    return reduced("triplet_margin_loss", clamp(near - far + margin, 0), reduction)
