"""Bugs at kinks and ties: where a function has a corner, and where several elements are largest."""

import numpy as np

from minidl.testing.buglab.exercise import exercise


def relu(x):
    """max(x, 0)."""
    return np.maximum(x, 0)


def relu_wrong(g, x):
    return 1.0 * (g * x > 0)


def relu_right(g, x):
    return np.where(x > 0, g, 0)


exercise(
    "relu", level=1, topic="kinks", forward=relu, wrong=relu_wrong, right=relu_right,
    inputs=lambda rng: (np.array([-2.0, -0.5, 0.7, 1.5, 3.0]),),
    told=("gradient of the output, is ignored",),
    hints=(
        "Which values can this expression take at all?",
        "In Python a comparison binds weaker than a product: g * x > 0 is (g * x) > 0.",
    ),
    solution="""
    `g * x > 0` compares the product and gives true or false. Meant was g · [x > 0]:

        return np.where(x > 0, g, 0)

    `g * (x > 0)` is right as well, as long as g is finite; `where` is right always.
    """,
)  # fmt: skip


def absolute(x):
    """|x|."""
    return np.abs(x)


def absolute_wrong(g, x):
    with np.errstate(invalid="ignore"):
        return g * x / np.abs(x)


def absolute_right(g, x):
    return g * np.sign(x)


exercise(
    "absolute", level=1, topic="kinks",
    forward=absolute, wrong=absolute_wrong, right=absolute_right,
    inputs=lambda rng: (np.array([-1.5, 0.0, 0.8, 0.0]),),
    told=("nan", "kink"),
    hints=(
        "Everywhere but at one point the formula is right.",
        "0 / 0. Which function is x / |x| where both are defined?",
    ),
    solution="""
    At x = 0 the formula is 0 / 0 = NaN. |x| has a corner there: slope -1 from the left, +1 from
    the right. Every value in between is a subgradient; PyTorch and minidl take 0, which is
    np.sign's choice:

        return g * np.sign(x)

    Zeros are not rare: they come from ReLU, padding and sparse inputs, and one NaN spoils all.
    """,
)  # fmt: skip


def soft_threshold(x, size):
    """sign(x) · max(|x| - size, 0): shrinks towards 0 (Donoho and Johnstone 1994)."""
    return np.sign(x) * np.maximum(np.abs(x) - size, 0)


def soft_threshold_wrong(g, x, size):
    return np.where(np.abs(x) >= size, g * np.sign(x), 0), None


def soft_threshold_right(g, x, size):
    return np.where(np.abs(x) > size, g, 0), None


exercise(
    "soft_threshold", level=2, topic="kinks",
    forward=soft_threshold, wrong=soft_threshold_wrong, right=soft_threshold_right,
    inputs=lambda rng: (np.array([-2.0, -1.2, -0.3, 0.4, 1.7]), 0.5),
    told=("sign", "where x is negative"),
    hints=(
        "Some elements are right. What do the wrong ones have in common?",
        "sign(x) appears twice, by the product and by the chain rule: s · s = 1.",
    ),
    solution="""
    For |x| > size: f = s · (s·x - size) with s = sign(x), so f' = s · s = 1 on both sides. The
    wrong version has one s too many left, and negative elements get the wrong sign.

        return np.where(np.abs(x) > size, g, 0), None
    """,
)  # fmt: skip


def clip(x, low, high):
    """x, but no lower than `low` and no higher than `high`."""
    return np.minimum(np.maximum(x, low), high)


def clip_wrong(g, x, low, high):
    return np.where(x < high, g, 0), None, None


def clip_right(g, x, low, high):
    return np.where((x > low) & (x < high), g, 0), None, None


exercise(
    "clip", level=1, topic="kinks", forward=clip, wrong=clip_wrong, right=clip_right,
    inputs=lambda rng: (np.array([-3.0, -0.2, 0.4, 2.5, -1.6]), -1.0, 1.0),
    told=("should be 0",),
    hints=(
        "At which elements is a gradient where there should be none?",
        "A clipped element no longer depends on x. There are two ways to be clipped.",
    ),
    solution="""
    f' = 1 for low < x < high, and 0 on both sides:

        return np.where((x > low) & (x < high), g, 0), None, None
    """,
)  # fmt: skip


def leaky_relu(x):
    """x where x > 0, else x / 10."""
    return np.where(x > 0, x, 0.1 * x)


def leaky_relu_wrong(g, x):
    return g * (x >= 0) + 0.1 * g * (x <= 0)


def leaky_relu_right(g, x):
    return np.where(x > 0, g, 0.1 * g)


exercise(
    "leaky_relu", level=2, topic="kinks",
    forward=leaky_relu, wrong=leaky_relu_wrong, right=leaky_relu_right,
    inputs=lambda rng: (np.array([-1.0, 0.0, 1.0, 2.0]),),
    told=("kink",),
    hints=(
        "At a kink there is a choice, but not any choice. What is returned at x = 0?",
        "The slope from the left is 0.1, from the right 1. What may stand in between?",
    ),
    solution="""
    At x = 0 both conditions hold and the two slopes are added: 1.1. A subgradient at a kink lies
    between the slopes on both sides, here in [0.1, 1]. PyTorch takes 0.1:

        return np.where(x > 0, g, 0.1 * g)
    """,
)  # fmt: skip


def largest(x):
    """The largest element of x : (n,)."""
    return x.max()


def largest_wrong(g, x):
    return g * (x == x.max())


def largest_right(g, x):
    best = x == x.max()
    return g * best / best.sum()


exercise(
    "largest", level=2, topic="kinks", forward=largest, wrong=largest_wrong, right=largest_right,
    inputs=lambda rng: (np.array([0.3, 2.0, -1.0, 2.0, 2.0]),),
    told=("tie",),
    hints=(
        "Without ties this is right. How many elements are largest here?",
        "Raise all of the largest by h: the maximum rises by h. What do the gradients promise?",
    ),
    solution="""
    If k elements tie and all rise by h, the maximum rises by h and not by k·h. So the gradients
    of the ties must sum to g. Shared equally (PyTorch's amax) or all to one (max along an axis):

        best = x == x.max()
        return g * best / best.sum()

    Element by element the mistake is invisible: 1 lies between the one-sided slopes 0 and 1.
    """,
)  # fmt: skip


def maximum(x, y):
    """The larger of x and y, by element."""
    return np.maximum(x, y)


def maximum_wrong(g, x, y):
    return np.where(x >= y, g, 0), np.where(y >= x, g, 0)


def maximum_right(g, x, y):
    share = np.where(x == y, 0.5, x > y)
    return g * share, g * (1 - share)


exercise(
    "maximum", level=2, topic="kinks", forward=maximum, wrong=maximum_wrong, right=maximum_right,
    inputs=lambda rng: (np.array([1.0, 0.0, 2.0]), np.array([0.0, 0.0, 2.0])),
    told=("tie",),
    hints=(
        "What happens where x = y?",
        "At a tie the gradient is handed out twice: raise both by h, and the output rises by h.",
    ),
    solution="""
    Where x = y, raising both by h raises the maximum by h, so dx + dy must be g. PyTorch gives
    half to each:

        share = np.where(x == y, 0.5, x > y)
        return g * share, g * (1 - share)

    `>=` in one of the two conditions and `>` in the other would do as well.
    """,
)  # fmt: skip


def row_max(x):
    """The largest element of each row of x : (n, d)."""
    return x.max(axis=1)


def row_max_wrong(g, x):
    dx = np.zeros_like(x)
    dx[np.arange(len(x)), x.argmax(axis=0)] = g
    return dx


def row_max_right(g, x):
    dx = np.zeros_like(x)
    dx[np.arange(len(x)), x.argmax(axis=1)] = g
    return dx


exercise(
    "row_max", level=2, topic="kinks", forward=row_max, wrong=row_max_wrong, right=row_max_right,
    inputs=lambda rng: (np.array([[1.0, 5.0, 2.0], [7.0, 0.0, 3.0], [4.0, 6.0, 8.5]]),),
    told=("place",),
    hints=(
        "The right numbers, at the wrong places.",
        "argmax must look along the axis along which the maximum was taken.",
    ),
    solution="""
    y[i] = x[i, j*] with j* the place of the largest element in row i, so the gradient of row i
    goes to (i, j*): argmax along axis 1, as in the forward pass.

        dx[np.arange(len(x)), x.argmax(axis=1)] = g
    """,
)  # fmt: skip


def sort(x):
    """The elements of x : (n,) in rising order."""
    return np.sort(x)


def sort_wrong(g, x):
    return g[np.argsort(x)]


def sort_right(g, x):
    dx = np.empty_like(x)
    dx[np.argsort(x)] = g
    return dx


exercise(
    "sort", level=2, topic="kinks", forward=sort, wrong=sort_wrong, right=sort_right,
    inputs=lambda rng: (np.array([3.0, 1.0, 4.0, 1.5, 0.5]),),
    told=("order",),
    hints=(
        "All the right numbers, in another order.",
        "Forward is y = x[order]. Reading by an index is undone by writing by the same index.",
    ),
    solution="""
    y[k] = x[order[k]], so dx[order[k]] = g[k]: the index stands on the left.

        dx = np.empty_like(x)
        dx[np.argsort(x)] = g

    g[order] applies the permutation once more instead of its inverse; for permutations that are
    their own inverse (one exchange, a reversal) nobody would notice. g[np.argsort(order)] is
    right, too.
    """,
)  # fmt: skip
