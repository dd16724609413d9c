"""Bugs of sums, means and what is built on them: which axis, which terms."""

import numpy as np

from minidl.testing.buglab.exercise import exercise


def mean(x):
    """The mean of all elements of x : (n, d)."""
    return x.mean()


def mean_wrong(g, x):
    return g * np.ones_like(x)


def mean_right(g, x):
    return g * np.ones_like(x) / x.size


exercise(
    "mean", level=1, topic="reductions", forward=mean, wrong=mean_wrong, right=mean_right,
    inputs=lambda rng: (rng.normal(size=(4, 3)),),
    told=("factor 12", "mean"),
    hints=(
        "The ratio is the same everywhere. Which number of this problem is it?",
        "A mean is a sum and one thing more.",
    ),
    solution="""
    mean(x) = (1/N) Σ x, so each element has the derivative 1/N, N = n·d:

        return g * np.ones_like(x) / x.size

    A missing 1/N acts as a learning rate N times too large, and one that depends on the batch.
    """,
)  # fmt: skip


def column_sums(x):
    """The sum of each column of x : (n, n)."""
    return x.sum(axis=0)


def column_sums_wrong(g, x):
    return np.broadcast_to(g[:, None], x.shape)


def column_sums_right(g, x):
    return np.broadcast_to(g, x.shape)


exercise(
    "column_sums", level=1, topic="reductions",
    forward=column_sums, wrong=column_sums_wrong, right=column_sums_right,
    inputs=lambda rng: (rng.normal(size=(3, 3)),),
    told=("transposed",),
    hints=(
        "Lay the two gradients beside one another. They hold the same numbers.",
        "g[j] belongs to column j; to which elements of x must it go?",
    ),
    solution="""
    y[j] = Σ_i x[i, j], so dx[i, j] = g[j]: the summed axis comes back as axis 0.

        return np.broadcast_to(g, x.shape)
    """,
)  # fmt: skip


def norm(x):
    """The Euclidean length of x : (n,)."""
    return np.sqrt((x * x).sum())


def norm_wrong(g, x):
    return g * x


def norm_right(g, x):
    return g * x / np.sqrt((x * x).sum())


exercise(
    "norm", level=1, topic="reductions", forward=norm, wrong=norm_wrong, right=norm_right,
    inputs=lambda rng: (rng.normal(size=5),),
    told=("factor", "output"),
    hints=(
        "The direction is right, the length is not.",
        "Two functions, one in the other: what is the derivative of the outer one?",
    ),
    solution="""
    ‖x‖ = (Σ x²)^½, so by the chain rule dx = g · ½ (Σ x²)^-½ · 2x = g · x / ‖x‖.

        return g * x / np.sqrt((x * x).sum())

    (At x = 0 it is 0/0; engines choose 0 there.)
    """,
)  # fmt: skip


def variance(x):
    """The mean squared distance from the mean, for each row of x : (n, d)."""
    return x.var(axis=1)


def variance_wrong(g, x):
    return g[:, None] * 2 * x / x.shape[1]


def variance_right(g, x):
    return g[:, None] * 2 * (x - x.mean(axis=1, keepdims=True)) / x.shape[1]


exercise(
    "variance", level=2, topic="reductions",
    forward=variance, wrong=variance_wrong, right=variance_right,
    inputs=lambda rng: (rng.normal(size=(3, 4)) + 2,),
    told=("constant", "mean", "axis 1"),
    hints=(
        "What happens to the variance when a constant is added to a whole row?",
        "It does not change, so each row of the gradient must sum to 0. Does it?",
    ),
    solution="""
    With m the row's mean, var = (1/d) Σ_j (x_j - m)². Through the square:

        dx_j = g · (2/d) (x_j - m).

    (The path through m adds -(2/d) Σ (x_j - m) = 0, nothing.) Data with mean 0 hides the mistake.

        return g[:, None] * 2 * (x - x.mean(axis=1, keepdims=True)) / x.shape[1]
    """,
)  # fmt: skip


def softmax(x):
    """eˣ / Σ eˣ, along each row of x : (n, d)."""
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def softmax_wrong(g, x):
    s = softmax(x)
    return g * s * (1 - s)


def softmax_right(g, x):
    s = softmax(x)
    return s * (g - (g * s).sum(axis=1, keepdims=True))


exercise(
    "softmax", level=2, topic="reductions",
    forward=softmax, wrong=softmax_wrong, right=softmax_right,
    inputs=lambda rng: (rng.normal(size=(3, 4)),),
    told=("constant", "mean", "axis 1"),
    hints=(
        "s (1 - s) is ∂s_i / ∂x_i. Does s_i depend on x_i alone?",
        "Each row of the Jacobian has entries off the diagonal: ∂s_i / ∂x_j = -s_i s_j.",
    ),
    solution="""
    J[i, j] = ∂s_i / ∂x_j = s_i ([i = j] - s_j). The product with g:

        dx_j = Σ_i g_i J[i, j] = s_j (g_j - Σ_i g_i s_i).

    The wrong version has the diagonal alone. The second term is the mean of g under s; it makes
    each row sum to 0, as it must, for softmax does not change when a constant is added to a row.

        return s * (g - (g * s).sum(axis=1, keepdims=True))
    """,
)  # fmt: skip


def softmax_columns(x):
    """Softmax down each column of x : (n, n)."""
    e = np.exp(x - x.max(axis=0))
    return e / e.sum(axis=0)


def softmax_columns_wrong(g, x):
    s = softmax_columns(x)
    return s * (g - (g * s).sum(axis=1, keepdims=True))


def softmax_columns_right(g, x):
    s = softmax_columns(x)
    return s * (g - (g * s).sum(axis=0))


exercise(
    "softmax_columns", level=2, topic="reductions",
    forward=softmax_columns, wrong=softmax_columns_wrong, right=softmax_columns_right,
    inputs=lambda rng: (rng.normal(size=(4, 4)),),
    told=("constant", "axis 0"),
    hints=(
        "The formula is right. Along which axis is it to be used?",
        "Each column of s sums to 1. So along a column the gradient must sum to 0.",
    ),
    solution="""
    The function couples the elements of a column, so the sum in the derivative runs down a
    column as well, axis 0:

        return s * (g - (g * s).sum(axis=0))

    A default axis is where this comes from: exchange a layout, and forward and backward disagree.
    """,
)  # fmt: skip


def log_softmax(x):
    """x - log Σ eˣ, along each row of x : (n, d)."""
    x = x - x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def log_softmax_wrong(g, x):
    return g - np.exp(log_softmax(x))


def log_softmax_right(g, x):
    return g - np.exp(log_softmax(x)) * g.sum(axis=1, keepdims=True)


exercise(
    "log_softmax", level=2, topic="reductions",
    forward=log_softmax, wrong=log_softmax_wrong, right=log_softmax_right,
    inputs=lambda rng: (rng.normal(size=(3, 4)),),
    told=("linear", "not multiplied by g"),
    hints=(
        "For one-hot g this is the well-known 'softmax minus one-hot'. And for other g?",
        "A gradient is linear in g: 2g must give twice as much, and g = 0 must give 0.",
    ),
    solution="""
    y_i = x_i - log Σ eˣ, ∂y_i / ∂x_j = [i = j] - s_j, hence

        dx_j = g_j - s_j · Σ_i g_i.

    Whoever learned it from cross-entropy has Σ g = 1 in mind. Label smoothing, weights and a
    mean over the batch have not.

        return g - np.exp(log_softmax(x)) * g.sum(axis=1, keepdims=True)
    """,
)  # fmt: skip


def cumsum(x):
    """Running sums: y[k] = x[0] + … + x[k]."""
    return np.cumsum(x)


def cumsum_wrong(g, x):
    return np.cumsum(g)


def cumsum_right(g, x):
    return np.cumsum(g[::-1])[::-1]


exercise(
    "cumsum", level=1, topic="reductions",
    forward=cumsum, wrong=cumsum_wrong, right=cumsum_right,
    inputs=lambda rng: (rng.normal(size=5),),
    told=("revers",),
    hints=(
        "How many outputs does the first element reach? And the last?",
        "x[0] is in all of the sums, x[n-1] in the last one only.",
    ),
    solution="""
    x[j] is part of y[k] for all k ≥ j, so dx[j] = Σ_{k ≥ j} g[k]: sums from the end.

        return np.cumsum(g[::-1])[::-1]

    In matrices: y = L x with ones below the diagonal, and the transpose of L has them above.
    """,
)  # fmt: skip


def prod(x):
    """The product of all elements of x : (n,)."""
    return x.prod()


def prod_wrong(g, x):
    with np.errstate(divide="ignore", invalid="ignore"):
        return g * x.prod() / x


def prod_right(g, x):
    before = np.cumprod(np.append(1.0, x[:-1]))
    after = np.cumprod(np.append(1.0, x[:0:-1]))[::-1]
    return g * before * after


exercise(
    "prod", level=2, topic="reductions", forward=prod, wrong=prod_wrong, right=prod_right,
    inputs=lambda rng: (np.array([1.5, 0.0, -2.0, 0.7]),),
    told=("nan", "0 / 0"),
    hints=(
        "The formula is right until an element is 0.",
        "The derivative for x_j is the product of all the others, and can be had without division.",
    ),
    solution="""
    ∂ Π x / ∂x_j = Π_{i ≠ j} x_i, which 'product / x_j' is only where x_j ≠ 0. Multiply what
    stands before and what stands after:

        before = np.cumprod(np.append(1.0, x[:-1]))
        after = np.cumprod(np.append(1.0, x[:0:-1]))[::-1]
        return g * before * after
    """,
)  # fmt: skip
