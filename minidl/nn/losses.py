"""Losses as modules: how far a network's output is from the target, as one number; distances.

`reduction` is "mean", "sum" or "none". A `weight` is a buffer: it moves with the module.
"""

from minidl.nn.formula import Formula

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CosineEmbeddingLoss",
    "CosineSimilarity",
    "CrossEntropyLoss",
    "GaussianNLLLoss",
    "HingeEmbeddingLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "MSELoss",
    "MarginRankingLoss",
    "NLLLoss",
    "PairwiseDistance",
    "PoissonNLLLoss",
    "SmoothL1Loss",
    "TripletMarginLoss",
]


class L1Loss(Formula, function="l1_loss", reduction="mean"):
    """|input - target|."""


class MSELoss(Formula, function="mse_loss", reduction="mean"):
    """(input - target)²."""


class SmoothL1Loss(Formula, function="smooth_l1_loss", reduction="mean", beta=1.0):
    """d² / (2 beta) where d = |input - target| < beta, else d - beta / 2. Girshick 2015."""


class HuberLoss(Formula, function="huber_loss", reduction="mean", delta=1.0):
    """d² / 2 where d = |input - target| <= delta, else delta (d - delta / 2). Huber 1964."""


class CrossEntropyLoss(
    Formula,
    function="cross_entropy",
    weight=None,
    ignore_index=-100,
    reduction="mean",
    label_smoothing=0.0,
):
    """-log softmax(input) at the target: a class for each row, or probabilities.

    input : (N, C, *) scores; target : (N, *) whole numbers, or (N, C, *) floats
    weight : (C,) a factor for each class; ignore_index : a target that does not count
    """


class NLLLoss(Formula, function="nll_loss", weight=None, ignore_index=-100, reduction="mean"):
    """-input at the target class; input holds log-probabilities (N, C, *)."""


class BCELoss(Formula, function="binary_cross_entropy", weight=None, reduction="mean"):
    """-(y log p + (1 - y) log(1 - p)) of probabilities p."""


class BCEWithLogitsLoss(
    Formula,
    function="binary_cross_entropy_with_logits",
    weight=None,
    reduction="mean",
    pos_weight=None,
):
    """BCELoss of sigmoid(input), computed without overflow."""


class KLDivLoss(Formula, function="kl_div", reduction="mean", log_target=False):
    """target (log target - input); input holds log-probabilities."""


class PoissonNLLLoss(
    Formula, function="poisson_nll_loss", log_input=True, full=False, eps=1e-8, reduction="mean"
):
    """exp(input) - target · input; log_input=False: input - target log(input + eps)."""


class GaussianNLLLoss(
    Formula, function="gaussian_nll_loss", full=False, eps=1e-6, reduction="mean"
):
    """(log var + (input - target)² / var) / 2, with var as third argument."""


class HingeEmbeddingLoss(Formula, function="hinge_embedding_loss", margin=1.0, reduction="mean"):
    """x where target is 1, max(0, margin - x) where it is -1."""


class MarginRankingLoss(Formula, function="margin_ranking_loss", margin=0.0, reduction="mean"):
    """max(0, -target (x1 - x2) + margin)."""


class CosineEmbeddingLoss(Formula, function="cosine_embedding_loss", margin=0.0, reduction="mean"):
    """1 - cos(x1, x2) where target is 1, max(0, cos(x1, x2) - margin) where it is -1."""


class TripletMarginLoss(
    Formula,
    function="triplet_margin_loss",
    margin=1.0,
    p=2.0,
    eps=1e-6,
    swap=False,
    reduction="mean",
):
    """max(0, d(anchor, positive) - d(anchor, negative) + margin), d the p-norm's distance."""


class CosineSimilarity(Formula, function="cosine_similarity", dim=1, eps=1e-8):
    """x1 · x2 / (|x1| |x2|) along dim, with lengths of at least eps."""


class PairwiseDistance(Formula, function="pairwise_distance", p=2.0, eps=1e-6, keepdim=False):
    """The p-norm of x1 - x2 + eps along the last axis."""
