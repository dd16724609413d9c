"""Bugs of broadcasting: what was repeated on the way forward is added up on the way back."""

from minidl.testing.buglab.exercise import exercise


def bias(x, b):
    """x + b: the bias b : (d,) added to each row of x : (n, d)."""
    return x + b


def bias_wrong(g, x, b):
    return g, g


def bias_right(g, x, b):
    return g, g.sum(axis=0)


exercise(
    "bias", level=1, topic="broadcasting", forward=bias, wrong=bias_wrong, right=bias_right,
    inputs=lambda rng: (rng.normal(size=(4, 3)), rng.normal(size=3)),
    told=("axis 0", "broadcast"),
    hints=(
        "What shape has b, and what shape has the gradient that is returned for it?",
        "b[j] was added to n rows, so each of the n outputs in column j depends on it. A number "
        "that is used n times collects n gradients.",
    ),
    solution="""
    y[i, j] = x[i, j] + b[j], so ∂y[i, j] / ∂b[j] = 1 for every row i, and by the chain rule

        db[j] = Σ_i g[i, j].

    Broadcasting repeats b along axis 0; the transpose of repeating is adding up:

        return g, g.sum(axis=0)
    """,
)  # fmt: skip


def gain(x, a):
    """a * x: each row of x : (n, d) times a factor of its own, a : (n, 1)."""
    return a * x


def gain_wrong(g, x, a):
    return a * g, (g * x).sum(axis=0).reshape(a.shape)


def gain_right(g, x, a):
    return a * g, (g * x).sum(axis=1, keepdims=True)


exercise(
    "gain", level=1, topic="broadcasting", forward=gain, wrong=gain_wrong, right=gain_right,
    inputs=lambda rng: (rng.normal(size=(4, 4)), rng.normal(size=(4, 1))),
    told=("summed over axis 0", "the sum over axis 1"),
    hints=(
        "Shapes agree here only because n = d. Which axis of a was stretched?",
        "a[i] meets x[i, 0], x[i, 1], …: its gradient is the sum over j, along a row.",
    ),
    solution="""
    y[i, j] = a[i] · x[i, j], hence

        da[i] = Σ_j g[i, j] · x[i, j].

    The sum runs over the axis that a has of length one, axis 1:

        return a * g, (g * x).sum(axis=1, keepdims=True)

    Test with unequal sizes: with n ≠ d this mistake is a plain error of shapes.
    """,
)  # fmt: skip


def batch_bias(x, w, b):
    """x @ w + b: a dense layer on a batch x : (n, d), with w : (d, m) and b : (m,)."""
    return x @ w + b


def batch_bias_wrong(g, x, w, b):
    return g @ w.T, x.T @ g, g.mean(axis=0)


def batch_bias_right(g, x, w, b):
    return g @ w.T, x.T @ g, g.sum(axis=0)


exercise(
    "batch_bias", level=1, topic="broadcasting",
    forward=batch_bias, wrong=batch_bias_wrong, right=batch_bias_right,
    inputs=lambda rng: (rng.normal(size=(5, 3)), rng.normal(size=(3, 2)), rng.normal(size=2)),
    told=("factor 1/5", "batch size"),
    hints=(
        "Two of the three gradients are right. How large is the third compared with the numeric "
        "one, and which size of the problem is that number?",
        "Where is the division by the batch size to be made: in the layer, or in the loss?",
    ),
    solution="""
    The layer adds b to each of the n rows, so db = Σ_i g[i]. The mean over the batch belongs to
    the loss: if the loss is a mean, g already carries its 1/n, and dividing again gives 1/n².

        return g @ w.T, x.T @ g, g.sum(axis=0)

    (x.T @ g is a sum over the batch as well; it merely hides it in the product.)
    """,
)  # fmt: skip


def channel_bias(x, b):
    """x + b: one bias a channel, for images x : (n, c, h, w) and b : (c,)."""
    return x + b[:, None, None]


def channel_bias_wrong(g, x, b):
    return g, g.sum(axis=(2, 3))[0]


def channel_bias_right(g, x, b):
    return g, g.sum(axis=(0, 2, 3))


exercise(
    "channel_bias", level=1, topic="broadcasting",
    forward=channel_bias, wrong=channel_bias_wrong, right=channel_bias_right,
    inputs=lambda rng: (rng.normal(size=(2, 3, 2, 2)), rng.normal(size=3)),
    told=("axis 0", "first"),
    hints=(
        "With a batch of one image this gradient is right. Try two.",
        "Whatever axis b was repeated along must be summed: which of n, h, w is not?",
    ),
    solution="""
    y[i, c, p, q] = x[i, c, p, q] + b[c], so the gradient is a sum over everything but c:

        db[c] = Σ_{i, p, q} g[i, c, p, q]          return g, g.sum(axis=(0, 2, 3))

    The wrong version takes the first image's share for the whole batch. A check with batch size
    one cannot see it: sizes of one hide sums.
    """,
)  # fmt: skip
