"""Bugs of losses: what is averaged over, and which elements take part."""

import numpy as np

from minidl.testing.buglab.exercise import exercise


def cross_entropy(x, labels):
    """The mean over a batch of -log softmax(x)[label]; x : (n, classes), labels : (n,)."""
    x = x - x.max(axis=1, keepdims=True)
    log_p = x - np.log(np.exp(x).sum(axis=1, keepdims=True))
    return -log_p[np.arange(len(x)), labels].mean()


def cross_entropy_wrong(g, x, labels):
    p = np.exp(x - x.max(axis=1, keepdims=True))
    p = p / p.sum(axis=1, keepdims=True)
    p[np.arange(len(x)), labels] -= 1
    p = p / len(x)
    return g / len(x) * p, None


def cross_entropy_right(g, x, labels):
    p = np.exp(x - x.max(axis=1, keepdims=True))
    p = p / p.sum(axis=1, keepdims=True)
    p[np.arange(len(x)), labels] -= 1
    return g / len(x) * p, None


exercise(
    "cross_entropy", level=1, topic="losses",
    forward=cross_entropy, wrong=cross_entropy_wrong, right=cross_entropy_right,
    inputs=lambda rng: (rng.normal(size=(5, 3)), np.array([0, 2, 1, 1, 0])),
    told=("factor 1/5",),
    hints=(
        "The ratio is the same everywhere. Which size is it?",
        "Count the divisions by the batch size.",
    ),
    solution="""
    L = (1/n) Σ_i -log p[i, label_i], so dx = g · (p - onehot) / n: one division by n.

        return g / len(x) * p, None

    Divided twice, the network learns n times slower, and the learning rate that works depends on
    the batch size. The loss looks right all the time.
    """,
)  # fmt: skip


def ignoring(x, labels):
    """Cross-entropy, averaged over the rows whose label is not -100."""
    keep = labels != -100
    x = x - x.max(axis=1, keepdims=True)
    log_p = x - np.log(np.exp(x).sum(axis=1, keepdims=True))
    return -log_p[keep, labels[keep]].sum() / keep.sum()


def ignoring_wrong(g, x, labels):
    keep = labels != -100
    p = np.exp(x - x.max(axis=1, keepdims=True))
    p = p / p.sum(axis=1, keepdims=True)
    p[keep, labels[keep]] -= 1
    return g * p / keep.sum(), None


def ignoring_right(g, x, labels):
    keep = labels != -100
    p = np.exp(x - x.max(axis=1, keepdims=True))
    p = p / p.sum(axis=1, keepdims=True)
    p[keep, labels[keep]] -= 1
    return np.where(keep[:, None], g * p / keep.sum(), 0), None


exercise(
    "ignoring", level=2, topic="losses",
    forward=ignoring, wrong=ignoring_wrong, right=ignoring_right,
    inputs=lambda rng: (rng.normal(size=(4, 3)), np.array([0, -100, 2, -100])),
    told=("should be 0", "axis 0"),
    hints=(
        "Which rows are right?",
        "A row whose label is ignored is not in the loss at all. What is its gradient?",
    ),
    solution="""
    The loss does not depend on an ignored row, so its gradient is 0; the wrong version leaves p
    there. Padded positions would then be trained towards saying nothing in particular.

        return np.where(keep[:, None], g * p / keep.sum(), 0), None
    """,
)  # fmt: skip


def squared_error(x, y):
    """The mean over all elements of (x - y)²; x and y : (n, d)."""
    return ((x - y) ** 2).mean()


def squared_error_wrong(g, x, y):
    dx = g * 2 * (x - y) / len(x)
    return dx, -dx


def squared_error_right(g, x, y):
    dx = g * 2 * (x - y) / x.size
    return dx, -dx


exercise(
    "squared_error", level=1, topic="losses",
    forward=squared_error, wrong=squared_error_wrong, right=squared_error_right,
    inputs=lambda rng: (rng.normal(size=(4, 3)), rng.normal(size=(4, 3))),
    told=("factor 3",),
    hints=(
        "A factor again. Which size is it this time?",
        "Over how many elements is the mean taken? What is len(x)?",
    ),
    solution="""
    The mean is over n·d elements, len(x) is n. dx = g · 2 (x - y) / (n d):

        dx = g * 2 * (x - y) / x.size
    """,
)  # fmt: skip


def binary_cross_entropy(x, y):
    """The sum of log(1 + eˣ) - x y: cross-entropy with logits x and targets y."""
    return (np.logaddexp(0, x) - x * y).sum()


def binary_cross_entropy_wrong(g, x, y):
    return g * (y - 1 / (1 + np.exp(-x))), -g * x


def binary_cross_entropy_right(g, x, y):
    return g * (1 / (1 + np.exp(-x)) - y), -g * x


exercise(
    "binary_cross_entropy", level=1, topic="losses",
    forward=binary_cross_entropy, wrong=binary_cross_entropy_wrong,
    right=binary_cross_entropy_right,
    inputs=lambda rng: (rng.normal(size=(3, 2)), rng.uniform(size=(3, 2))),
    told=("sign",),
    hints=(
        "The ratio says it all.",
        "Target minus prediction, or prediction minus target? If x is too large, L must fall "
        "when x does.",
    ),
    solution="""
    d log(1 + eˣ) / dx = σ(x), so dx = g (σ(x) - y): prediction minus target. Target minus
    prediction is the step that gradient descent takes, not the gradient.

        return g * (1 / (1 + np.exp(-x)) - y), -g * x
    """,
)  # fmt: skip
