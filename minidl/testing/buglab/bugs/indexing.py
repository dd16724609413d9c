"""Bugs of moving elements about: what was read forward is written to the same place backward."""

import numpy as np

from minidl.testing.buglab.exercise import exercise


def take(x, index):
    """x[index]: rows of x : (n, d), some of them several times."""
    return x[index]


def take_wrong(g, x, index):
    dx = np.zeros_like(x)
    dx[index] += g
    return dx, None


def take_right(g, x, index):
    dx = np.zeros_like(x)
    np.add.at(dx, index, g)
    return dx, None


exercise(
    "take", level=2, topic="indexing", forward=take, wrong=take_wrong, right=take_right,
    inputs=lambda rng: (rng.normal(size=(4, 2)), np.array([0, 2, 2, 3, 2])),
    told=("overwritten", "repeated"),
    hints=(
        "Which rows are wrong, and how often does the index name them?",
        "`dx[index] += g` reads all rows, adds, then writes all rows: the last one wins.",
    ),
    solution="""
    y[k] = x[index[k]], so dx[i] = Σ g[k] over all k with index[k] = i. NumPy's `dx[index] += g`
    is buffered: of several additions to one row the last survives. np.add.at does all:

        np.add.at(dx, index, g)
    """,
)  # fmt: skip


def embedding(table, ids):
    """A row of the table : (n, d) for each id; zeros for id 0, which stands for padding."""
    return np.where(ids[:, None] == 0, 0, table[ids])


def embedding_wrong(g, table, ids):
    d_table = np.zeros_like(table)
    np.add.at(d_table, ids, g)
    return d_table, None


def embedding_right(g, table, ids):
    d_table = np.zeros_like(table)
    np.add.at(d_table, ids[ids != 0], g[ids != 0])
    return d_table, None


exercise(
    "embedding", level=2, topic="indexing",
    forward=embedding, wrong=embedding_wrong, right=embedding_right,
    inputs=lambda rng: (rng.normal(size=(4, 3)), np.array([2, 1, 0, 2, 0])),
    told=("should be 0", "axis 0"),
    hints=(
        "One row of the table has a gradient that should have none.",
        "For id 0 the output is 0, whatever the table holds.",
    ),
    solution="""
    Padding does not read the table, so row 0 gets no gradient. Otherwise it would learn to stand
    for the ends of sentences, most of all in batches of unequal lengths.

        np.add.at(d_table, ids[ids != 0], g[ids != 0])
    """,
)  # fmt: skip


def axes_moved(x):
    """x : (n, n, n) with its axes moved round: y[c, a, b] = x[a, b, c]."""
    return x.transpose(2, 0, 1)


def axes_moved_wrong(g, x):
    return g.transpose(2, 0, 1)


def axes_moved_right(g, x):
    return g.transpose(1, 2, 0)


exercise(
    "axes_moved", level=2, topic="indexing",
    forward=axes_moved, wrong=axes_moved_wrong, right=axes_moved_right,
    inputs=lambda rng: (rng.normal(size=(3, 3, 3)),),
    told=("transposed", "axes"),
    hints=(
        "For two axes a transpose is its own inverse. For three?",
        "The inverse of a permutation of axes is np.argsort of it.",
    ),
    solution="""
    y = x.transpose(p) is undone by g.transpose(argsort(p)). Here p = (2, 0, 1), a rotation of
    three axes; its inverse is (1, 2, 0). Applying p again rotates further, not back.

        return g.transpose(1, 2, 0)

    Exchanges of two axes are their own inverses, so NCHW to NHWC and back is where one notices.
    """,
)  # fmt: skip


def joined(x, y, z):
    """x : (n, p), y : (n, q) and z : (n, r) side by side: (n, p + q + r)."""
    return np.concatenate([x, y, z], axis=1)


def joined_wrong(g, x, y, z):
    p, q, r = x.shape[1], y.shape[1], z.shape[1]
    return g[:, :p], g[:, p : p + q], g[:, q : q + r]


def joined_right(g, x, y, z):
    p, q, r = x.shape[1], y.shape[1], z.shape[1]
    return g[:, :p], g[:, p : p + q], g[:, p + q : p + q + r]


exercise(
    "joined", level=1, topic="indexing", forward=joined, wrong=joined_wrong, right=joined_right,
    inputs=lambda rng: tuple(rng.normal(size=(2, 2)) for _ in range(3)),
    told=("argument z", "argument y"),
    hints=("Where does z begin in the output?", "z begins where y ends, and y where x ends."),
    solution="""
    The pieces begin at the running sums of the widths: x at 0, y at p, z at p + q.

        return g[:, :p], g[:, p : p + q], g[:, p + q : p + q + r]

    With two arrays the mistake cannot be made; a test of concatenation takes three or more, of
    unequal widths.
    """,
)  # fmt: skip


def padded(x):
    """x : (n,) with one zero before it and two behind."""
    return np.pad(x, (1, 2))


def padded_wrong(g, x):
    return g[2:-1]


def padded_right(g, x):
    return g[1:-2]


exercise(
    "padded", level=1, topic="indexing", forward=padded, wrong=padded_wrong, right=padded_right,
    inputs=lambda rng: (rng.normal(size=5),),
    told=("shifted by 1",),
    hints=("The right numbers, one place off.", "How many zeros stand before x?"),
    solution="""
    y[k + 1] = x[k], so dx[k] = g[k + 1]: cut one off at the front and two at the back.

        return g[1:-2]
    """,
)  # fmt: skip


def flattened(x):
    """x : (n, d) as one row of n·d numbers, row after row."""
    return x.reshape(-1)


def flattened_wrong(g, x):
    return g.reshape(x.shape, order="F")


def flattened_right(g, x):
    return g.reshape(x.shape)


exercise(
    "flattened", level=2, topic="indexing",
    forward=flattened, wrong=flattened_wrong, right=flattened_right,
    inputs=lambda rng: (rng.normal(size=(3, 4)),),
    told=("order", "rows for columns"),
    hints=(
        "The right numbers, in another order.",
        "Row after row, or column after column?",
    ),
    solution="""
    A reshape moves nothing in C order; undo it in the same order:

        return g.reshape(x.shape)

    Frameworks with different layouts (channels first or last) make this mistake for you where a
    network is flattened.
    """,
)  # fmt: skip
