"""Bugs of normalisation and dropout: statistics depend on the input, masks must be remembered."""

import numpy as np

from minidl.testing.buglab.exercise import exercise


def layer_norm(x):
    """(x - mean) / std for each row of x : (n, d)."""
    return (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)


def layer_norm_wrong(g, x):
    y = layer_norm(x)
    return (g - y * (g * y).mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)


def layer_norm_right(g, x):
    y = layer_norm(x)
    mean, along = g.mean(axis=1, keepdims=True), (g * y).mean(axis=1, keepdims=True)
    return (g - mean - y * along) / x.std(axis=1, keepdims=True)


exercise(
    "layer_norm", level=2, topic="normalization",
    forward=layer_norm, wrong=layer_norm_wrong, right=layer_norm_right,
    inputs=lambda rng: (rng.normal(size=(3, 5)),),
    told=("constant", "mean", "axis 1"),
    hints=(
        "What happens to the output when a constant is added to a row?",
        "Mean and standard deviation both depend on x: two terms come from them.",
    ),
    solution="""
    With y = (x - m) / s, and s² the mean of (x - m)²:

        dx = (g - mean(g) - y · mean(g y)) / s.

    The first mean comes from m, the second from s. The wrong version lacks the first: its rows do
    not sum to 0, though the output is blind to a constant added to a row.
    """,
)  # fmt: skip


def scale_norm(x):
    """(x - mean) / std for each row of x : (n, d), written another way."""
    centred = x - x.mean(axis=1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=1, keepdims=True))


def scale_norm_wrong(g, x):
    return (g - g.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)


def scale_norm_right(g, x):
    y = scale_norm(x)
    mean, along = g.mean(axis=1, keepdims=True), (g * y).mean(axis=1, keepdims=True)
    return (g - mean - y * along) / x.std(axis=1, keepdims=True)


exercise(
    "scale_norm", level=2, topic="normalization",
    forward=scale_norm, wrong=scale_norm_wrong, right=scale_norm_right,
    inputs=lambda rng: (rng.normal(size=(3, 5)),),
    told=("scale", "axis 1"),
    hints=(
        "What happens to the output when a row is multiplied by 2?",
        "Nothing, so Σ x · dx must be 0 along a row. The standard deviation depends on x.",
    ),
    solution="""
    dx = (g - mean(g) - y · mean(g y)) / s; the last term is the standard deviation's. Without it
    the gradient has a part along y, which would only make the row longer, and the output does not
    care about that.
    """,
)  # fmt: skip


def batch_norm(x):
    """(x - mean) / std for each column of x : (n, d), over the batch."""
    return (x - x.mean(axis=0)) / x.std(axis=0)


def batch_norm_wrong(g, x):
    return g / x.std(axis=0)


def batch_norm_right(g, x):
    y = batch_norm(x)
    return (g - g.mean(axis=0) - y * (g * y).mean(axis=0)) / x.std(axis=0)


exercise(
    "batch_norm", level=2, topic="normalization",
    forward=batch_norm, wrong=batch_norm_wrong, right=batch_norm_right,
    inputs=lambda rng: (rng.normal(size=(5, 3)),),
    told=("constant", "mean", "axis 0"),
    hints=(
        "In evaluation, with running statistics, this is right. And in training?",
        "In training the statistics are computed from x, so x reaches the output through them.",
    ),
    solution="""
    Each output of a column depends on the whole column through mean and standard deviation:

        dx = (g - mean(g) - y · mean(g y)) / s,     means over the batch

    (Ioffe and Szegedy 2015, section 3). With statistics held constant the two subtractions are
    missing; a cotangent of ones would give mean(g) = g and a true gradient of 0.
    """,
)  # fmt: skip


def dropout(x, mask, p):
    """x / (1 - p) where the mask holds, else 0."""
    return np.where(mask, x / (1 - p), 0)


def dropout_wrong(g, x, mask, p):
    return np.where(mask, g, 0), None, None


def dropout_right(g, x, mask, p):
    return np.where(mask, g / (1 - p), 0), None, None


exercise(
    "dropout", level=1, topic="normalization",
    forward=dropout, wrong=dropout_wrong, right=dropout_right,
    inputs=lambda rng: (rng.normal(size=(2, 4)), np.arange(8).reshape(2, 4) % 3 > 0, 0.2),
    told=("factor 0.8", "p"),
    hints=(
        "A factor, the same everywhere. Which of the options is it made of?",
        "Forward divides by 1 - p, so that the mean stays.",
    ),
    solution="""
    y = mask · x / (1 - p) is linear in x, so dx = mask · g / (1 - p): the same function of g.

        return np.where(mask, g / (1 - p), 0), None, None
    """,
)  # fmt: skip


class DropoutWrong:
    """Dropout with p = 1/2, as a layer; each layer draws from a generator of its own."""

    def __init__(self):
        self.rng = np.random.default_rng(0)

    def forward(self, x):
        return np.where(self.rng.random(x.shape) < 0.5, 2 * x, 0)

    def backward(self, g):
        return np.where(self.rng.random(g.shape) < 0.5, 2 * g, 0)


class DropoutRight:
    """Dropout with p = 1/2, as a layer; each layer draws from a generator of its own."""

    def __init__(self):
        self.rng = np.random.default_rng(0)

    def forward(self, x):
        self.mask = self.rng.random(x.shape) < 0.5
        return np.where(self.mask, 2 * x, 0)

    def backward(self, g):
        return np.where(self.mask, 2 * g, 0)


exercise(
    "dropout_layer", level=2, topic="normalization", wrong=DropoutWrong, right=DropoutRight,
    inputs=lambda rng: (rng.normal(size=(3, 4)),),
    told=("mask",),
    hints=(
        "Where the gradient is 0 and where the output is 0: are these the same places?",
        "Backward must drop what forward dropped. How can it know?",
    ),
    solution="""
    The mask is part of the function that was computed; backward needs the same one, so forward
    keeps it:

        self.mask = self.rng.random(x.shape) < 0.5

    A fresh mask in backward gives a gradient that is right on average and wrong every time.
    """,
)  # fmt: skip
