"""Bugs of convolution and pooling: where each output looked, and how often an input was seen."""

import numpy as np

from minidl.testing.buglab.exercise import exercise


def conv2d(x, w):
    """Slide filters w : (o, c, k, k) over an image x : (c, h, w), no padding."""
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], axis=(1, 2))
    return np.einsum("cpqab,ocab->opq", windows, w)


def conv2d_wrong(g, x, w):
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], axis=(1, 2))
    dw = np.einsum("opq,cpqab->ocab", g, windows)
    k = w.shape[2] - 1
    g = np.pad(g, ((0, 0), (k, k), (k, k)))
    return conv2d(g, w.transpose(1, 0, 2, 3)), dw


def conv2d_right(g, x, w):
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], axis=(1, 2))
    dw = np.einsum("opq,cpqab->ocab", g, windows)
    k = w.shape[2] - 1
    g = np.pad(g, ((0, 0), (k, k), (k, k)))
    return conv2d(g, w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)), dw


exercise(
    "conv2d", level=3, topic="images", forward=conv2d, wrong=conv2d_wrong, right=conv2d_right,
    inputs=lambda rng: (rng.normal(size=(2, 4, 4)), rng.normal(size=(3, 2, 3, 3))),
    told=("right for argument w reversed along axes 2 and 3",),
    hints=(
        "With a filter that is symmetric (a blur, say) the gradient is right.",
        "Output p saw input p + a through w[a]. Then input i reached output i - a through w[a]: "
        "as i - a runs upwards, a runs downwards.",
    ),
    solution="""
    y[p, q] = Σ_ab x[p+a, q+b] w[a, b], so x[i, j] is in y[i-a, j-b] and

        dx[i, j] = Σ_ab g[i-a, j-b] w[a, b].

    That is a correlation of the padded g with the filter turned by 180°: a true convolution.

        w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
    """,
)  # fmt: skip


def strided(x, w):
    """A filter w : (k,) over a signal x : (n,), two steps at a time."""
    places = range(0, len(x) - len(w) + 1, 2)
    return np.array([x[i : i + len(w)] @ w for i in places])


def strided_wrong(g, x, w):
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for i, gi in enumerate(g):
        dx[i : i + len(w)] += gi * w
        dw += gi * x[2 * i : 2 * i + len(w)]
    return dx, dw


def strided_right(g, x, w):
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for i, gi in enumerate(g):
        dx[2 * i : 2 * i + len(w)] += gi * w
        dw += gi * x[2 * i : 2 * i + len(w)]
    return dx, dw


exercise(
    "strided", level=2, topic="images", forward=strided, wrong=strided_wrong, right=strided_right,
    inputs=lambda rng: (rng.normal(size=9), rng.normal(size=3)),
    told=("axis 0", "stride"),
    hints=(
        "The first elements are right and the last have no gradient at all.",
        "Where did output i look? Two steps further than output i - 1.",
    ),
    solution="""
    y[i] = Σ_a x[2i + a] w[a], so g[i] goes to x[2i … 2i + k - 1]:

        dx[2 * i : 2 * i + len(w)] += gi * w

    In a formula with whole arrays: put stride - 1 zeros between the elements of g first.
    """,
)  # fmt: skip


def same(x, w):
    """A filter w : (3,) over x : (n,) with one zero at each end: as many outputs as inputs."""
    x = np.pad(x, 1)
    return np.array([x[i : i + 3] @ w for i in range(len(x) - 2)])


def same_wrong(g, x, w):
    xp = np.pad(x, 1)
    dx, dw = np.zeros_like(xp), np.zeros_like(w)
    for i, gi in enumerate(g):
        dx[i : i + 3] += gi * w
        dw += gi * xp[i : i + 3]
    return dx[: len(x)], dw


def same_right(g, x, w):
    xp = np.pad(x, 1)
    dx, dw = np.zeros_like(xp), np.zeros_like(w)
    for i, gi in enumerate(g):
        dx[i : i + 3] += gi * w
        dw += gi * xp[i : i + 3]
    return dx[1:-1], dw


exercise(
    "same", level=2, topic="images", forward=same, wrong=same_wrong, right=same_right,
    inputs=lambda rng: (rng.normal(size=6), rng.normal(size=3)),
    told=("shifted by 1",),
    hints=(
        "The right numbers, one place off.",
        "dx is the gradient of the padded signal. Which part of it is the signal's?",
    ),
    solution="""
    x stands at places 1 … n of the padded signal; the gradient is cut out there:

        return dx[1:-1], dw
    """,
)  # fmt: skip


def dilated(x, w):
    """A filter w : (3,) over x : (n,) that looks at every second element."""
    return np.array([x[i : i + 5 : 2] @ w for i in range(len(x) - 4)])


def dilated_wrong(g, x, w):
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for i, gi in enumerate(g):
        dx[i : i + 5 : 2] += gi * w
        dw += gi * x[i : i + 3]
    return dx, dw


def dilated_right(g, x, w):
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for i, gi in enumerate(g):
        dx[i : i + 5 : 2] += gi * w
        dw += gi * x[i : i + 5 : 2]
    return dx, dw


exercise(
    "dilated", level=2, topic="images", forward=dilated, wrong=dilated_wrong, right=dilated_right,
    inputs=lambda rng: (rng.normal(size=8), rng.normal(size=3)),
    told=("index 0", "axis 0"),
    hints=(
        "One tap of the filter has the right gradient.",
        "Which elements of x did w[1] meet? Not the neighbours.",
    ),
    solution="""
    y[i] = Σ_a x[i + 2a] w[a], so dw[a] = Σ_i g[i] x[i + 2a]: the same elements as forward.

        dw += gi * x[i : i + 5 : 2]
    """,
)  # fmt: skip


def average(x):
    """The mean of each element and its neighbours, x : (n,); at the ends there is one only."""
    return np.array([x[max(0, i - 1) : i + 2].mean() for i in range(len(x))])


def average_wrong(g, x):
    dx = np.zeros_like(x)
    for i, gi in enumerate(g):
        dx[max(0, i - 1) : i + 2] += gi / 3
    return dx


def average_right(g, x):
    dx = np.zeros_like(x)
    for i, gi in enumerate(g):
        window = dx[max(0, i - 1) : i + 2]
        window += gi / len(window)
    return dx


exercise(
    "average", level=2, topic="images", forward=average, wrong=average_wrong, right=average_right,
    inputs=lambda rng: (rng.normal(size=7),),
    told=("border",),
    hints=(
        "In the middle all is well.",
        "Over how many elements is the mean taken at an end?",
    ),
    solution="""
    At the ends a window holds two elements and its mean divides by two:

        window = dx[max(0, i - 1) : i + 2]
        window += gi / len(window)

    In average pooling this is `count_include_pad`: forward and backward must agree on it.
    """,
)  # fmt: skip


def max_pool(x):
    """The largest of each three neighbours in x : (n,): windows that overlap."""
    return np.lib.stride_tricks.sliding_window_view(x, 3).max(axis=1)


def max_pool_wrong(g, x):
    dx = np.zeros_like(x)
    for i, gi in enumerate(g):
        dx[i + np.argmax(x[i : i + 3])] = gi
    return dx


def max_pool_right(g, x):
    dx = np.zeros_like(x)
    for i, gi in enumerate(g):
        dx[i + np.argmax(x[i : i + 3])] += gi
    return dx


exercise(
    "max_pool", level=2, topic="images",
    forward=max_pool, wrong=max_pool_wrong, right=max_pool_right,
    inputs=lambda rng: (np.array([1.0, 4.0, 2.0, 0.5, 3.0, 2.5, 0.0]),),
    told=("overwritten",),
    hints=(
        "For windows that do not overlap this is right.",
        "How many windows is x[1] the largest element of?",
    ),
    solution="""
    One element may win several windows; its gradient is the sum of theirs:

        dx[i + np.argmax(x[i : i + 3])] += gi
    """,
)  # fmt: skip
