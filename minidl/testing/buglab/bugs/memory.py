"""Bugs of what is remembered: values that changed between forward and backward, or lost a graph."""

import numpy as np

from minidl import ops
from minidl.tape import Kept
from minidl.testing.buglab.exercise import exercise, op


class Expm1Wrong:
    """eˣ - 1, in place where that saves memory."""

    def forward(self, x):
        y = np.exp(x)
        self.exp = y
        y -= 1
        return y

    def backward(self, g):
        return g * self.exp


class Expm1Right:
    """eˣ - 1, in place where that saves memory."""

    def forward(self, x):
        self.exp = np.exp(x)
        return self.exp - 1

    def backward(self, g):
        return g * self.exp


exercise(
    "expm1", level=2, topic="memory", wrong=Expm1Wrong, right=Expm1Right,
    inputs=lambda rng: (rng.normal(size=5),),
    told=("saved output changed",),
    hints=(
        "What does self.exp hold when backward reads it?",
        "`self.exp = y` copies nothing: two names for one array, and the array changes.",
    ),
    solution="""
    The derivative of eˣ - 1 is eˣ. self.exp and y are one array; `y -= 1` changed it, and backward
    sees eˣ - 1. Keep what nobody changes:

        self.exp = np.exp(x)
        return self.exp - 1

    PyTorch counts versions of saved tensors, minidl keeps the time of each change: both refuse
    a backward pass over changed values. Plain NumPy cannot know.
    """,
)  # fmt: skip


class DenseWrong:
    """x @ w, and a step of gradient descent on w in the backward pass."""

    def forward(self, x, w):
        self.x, self.w = x, w
        return x @ w

    def backward(self, g):
        dw = self.x.T @ g
        self.w = self.w - 0.1 * dw
        return g @ self.w.T, dw


class DenseRight:
    """x @ w, and a step of gradient descent on w in the backward pass."""

    def forward(self, x, w):
        self.x, self.w = x, w
        return x @ w

    def backward(self, g):
        dx, dw = g @ self.w.T, self.x.T @ g
        self.w = self.w - 0.1 * dw
        return dx, dw


exercise(
    "dense", level=2, topic="memory", wrong=DenseWrong, right=DenseRight,
    inputs=lambda rng: (rng.normal(size=(4, 3)), rng.normal(size=(3, 2))),
    told=("linear", "too early"),
    hints=(
        "The gradient of w is right. Which w is the gradient of x computed with?",
        "A gradient is taken at the point where forward was; the step comes after.",
    ),
    solution="""
    dx = g wᵀ with the w of the forward pass. The wrong version has taken its step already, and
    dx = g (w - 0.1 xᵀ g)ᵀ is no longer linear in g: twice the g gives more than twice the dx.

        dx, dw = g @ self.w.T, self.x.T @ g
        self.w = self.w - 0.1 * dw

    Optimisers step after the whole backward pass, for this reason.
    """,
)  # fmt: skip


class CentreWrong:
    """tanh(x - mean of x), for x : (n,)."""

    def forward(self, x):
        x -= x.mean()
        self.y = np.tanh(x)
        return self.y

    def backward(self, g):
        dz = g * (1 - self.y**2)
        return dz - dz.mean()


class CentreRight:
    """tanh(x - mean of x), for x : (n,)."""

    def forward(self, x):
        self.y = np.tanh(x - x.mean())
        return self.y

    def backward(self, g):
        dz = g * (1 - self.y**2)
        return dz - dz.mean()


exercise(
    "centre", level=1, topic="memory", wrong=CentreWrong, right=CentreRight,
    inputs=lambda rng: (rng.normal(size=5) + 1,),
    told=("in place",),
    hints=(
        "The mathematics is right. What else does forward do?",
        "x -= … changes the caller's array.",
    ),
    solution="""
    `x -= x.mean()` writes into the array that the caller handed in: the next layer that uses x
    (a skip connection, a second loss, the next epoch) sees another one.

        self.y = np.tanh(x - x.mean())
    """,
)  # fmt: skip


def upstream(x):
    """x tanh(x)."""
    return x * np.tanh(x)


def upstream_wrong(g, x):
    dx = g * np.tanh(x)
    g *= x
    g *= 1 - np.tanh(x) ** 2
    return dx + g


def upstream_right(g, x):
    return g * np.tanh(x) + g * x * (1 - np.tanh(x) ** 2)


exercise(
    "upstream", level=2, topic="memory",
    forward=upstream, wrong=upstream_wrong, right=upstream_right,
    inputs=lambda rng: (rng.normal(size=5),),
    told=("in place",),
    hints=(
        "Run backward twice with the same g.",
        "g belongs to whoever called: another branch of the graph may still need it.",
    ),
    solution="""
    The value returned is right the first time, but `g *= …` writes into the caller's gradient.
    Where the output was used by several functions they share one g, and the next one reads
    rubbish.

        return g * np.tanh(x) + g * x * (1 - np.tanh(x) ** 2)
    """,
)  # fmt: skip


class GraphWrong:
    """y = a sin(a) with a = x²: a graph in which a is used by two functions."""

    def forward(self, x):
        self.x, self.a = x, x * x
        self.b = np.sin(self.a)
        return self.a * self.b

    def backward(self, g):
        da, db = g * self.b, g * self.a
        dx = da * 2 * self.x
        da = da + db * np.cos(self.a)
        return dx


class GraphRight:
    """y = a sin(a) with a = x²: a graph in which a is used by two functions."""

    def forward(self, x):
        self.x, self.a = x, x * x
        self.b = np.sin(self.a)
        return self.a * self.b

    def backward(self, g):
        da, db = g * self.b, g * self.a
        da = da + db * np.cos(self.a)
        return da * 2 * self.x


exercise(
    "graph", level=2, topic="memory", wrong=GraphWrong, right=GraphRight,
    inputs=lambda rng: (rng.normal(size=(2, 3)),),
    told=("formula", "a path through the graph"),
    hints=(
        "Each line is right. Draw the graph: who waits for whom?",
        "How complete is da when it is passed on to x?",
    ),
    solution="""
    y = a b and b = sin a both use a, so da = g b + (g a) cos a, and only then dx = da · 2x. The
    wrong version passes da on when its first part is there; the second comes too late.

        da = da + db * np.cos(self.a)
        return da * 2 * self.x

    A node may be left only when everything that used it has been: reverse topological order. That
    is why an engine sorts the graph (or walks it by time of recording, as minidl does) and does
    not simply recurse.
    """,
)  # fmt: skip


def safe_sqrt_wrong(x):
    """√x for positive x, else x. With minidl's operations."""
    return ops.where(x > 0, ops.sqrt(x), x)


def safe_sqrt_right(x):
    """√x for positive x, else x. With minidl's operations."""
    return ops.where(x > 0, ops.sqrt(ops.where(x > 0, x, 1.0)), x)


exercise(
    "safe_sqrt", level=2, topic="memory", wrong=safe_sqrt_wrong, right=safe_sqrt_right,
    inputs=lambda rng: (np.array([2.0, -1.0, 0.5, -0.3]),),
    told=("nan", "where"),
    hints=(
        "The values are right and so is each derivative. What is 0 times NaN?",
        "`where` computes both branches. It must not see, in the one not taken, what has no "
        "derivative.",
    ),
    solution="""
    At x = -1 the branch √x is NaN. It is not chosen and gets the gradient 0, but its derivative is
    0 / (2 · NaN) = NaN, and NaN + 1 = NaN. Put a harmless number into the branch that is not
    taken, before it is computed:

        ops.where(x > 0, ops.sqrt(ops.where(x > 0, x, 1.0)), x)

    This is so in every engine (PyTorch, JAX, TensorFlow): `where` chooses values, not history.
    """,
)  # fmt: skip


@op(x=lambda g, slope: g * slope)
def softplus_wrong(x):
    """log(1 + eˣ), keeping the slope for the backward pass."""
    return np.logaddexp(0, x), Kept(slope=1 / (1 + np.exp(-x)))


@op(x=lambda g, x: g * ops.sigmoid(x))
def softplus_right(x):
    """log(1 + eˣ), keeping the slope for the backward pass."""
    return np.logaddexp(0, x)


exercise(
    "softplus", level=3, topic="memory", check="gradgradcheck",
    wrong=softplus_wrong, right=softplus_right,
    inputs=lambda rng: (rng.normal(size=4),),
    told=("second", "constant", "cut off"),
    hints=(
        "The first derivative is right everywhere. And its derivative?",
        "What forward keeps as an array is a constant: a graph of the gradient ends there.",
    ),
    solution="""
    First order: g · σ(x), right. For the second order the tape differentiates that expression, and
    the kept slope is a bare array without history, so the engine finds d(slope)/dx = 0 instead of
    σ (1 - σ). Write the derivative with the argument and with operations:

        @op(x=lambda g, x: g * ops.sigmoid(x))

    Keep integers and masks; whatever depends smoothly on x must be on the tape.
    """,
)  # fmt: skip


@op(x=lambda g, out, y: g * (1 - out * y))
def squash_wrong(x):
    """tanh(x), as an operation of minidl."""
    y = np.tanh(x)
    return y, Kept(y=y)


@op(x=lambda g, out: g * (1 - out * out))
def squash_right(x):
    """tanh(x), as an operation of minidl."""
    return np.tanh(x)


exercise(
    "squash", level=3, topic="memory", check="gradgradcheck",
    wrong=squash_wrong, right=squash_right,
    inputs=lambda rng: (rng.normal(size=4),),
    told=("second", "factor 1/2", "cut off"),
    hints=(
        "First order right, second order half of what it should be.",
        "out and y are the same numbers, but to the tape one of them is a constant. Which?",
    ),
    solution="""
    d(1 - t²)/dx = -2 t t'. `out` is the output, with its place on the tape; the kept y is a bare
    array. So of the two terms of the product rule only one is left, and the second derivative is
    half of what it should be:

        @op(x=lambda g, out: g * (1 - out * out))
    """,
)  # fmt: skip
