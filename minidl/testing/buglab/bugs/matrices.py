"""Bugs of matrix algebra: transposes, and matrices that stand in a product twice."""

import numpy as np

from minidl.testing.buglab.exercise import exercise


def matmul(x, w):
    """x @ w for x : (n, n) and w : (n, n)."""
    return x @ w


def matmul_wrong(g, x, w):
    return g @ w, x.T @ g


def matmul_right(g, x, w):
    return g @ w.T, x.T @ g


exercise(
    "matmul", level=1, topic="matrices", forward=matmul, wrong=matmul_wrong, right=matmul_right,
    inputs=lambda rng: (rng.normal(size=(3, 3)), rng.normal(size=(3, 3))),
    told=("right for argument w transposed",),
    hints=(
        "With sizes (2, 3) and (3, 4), would the products fit?",
        "g has the shape of y : (n, m), and w : (k, m). Which product is of x's shape (n, k)?",
    ),
    solution="""
    y[i, j] = Σ_k x[i, k] w[k, j], so dx[i, k] = Σ_j g[i, j] w[k, j]:

        dx = g wᵀ,    dw = xᵀ g.

    Shapes find it for you unless the matrices are square. Test with unequal sizes.
    """,
)  # fmt: skip


def linear(x, w):
    """x @ w: a dense layer with x : (n, d) and w : (d, d)."""
    return x @ w


def linear_wrong(g, x, w):
    return g @ w.T, g.T @ x


def linear_right(g, x, w):
    return g @ w.T, x.T @ g


exercise(
    "linear", level=1, topic="matrices", forward=linear, wrong=linear_wrong, right=linear_right,
    inputs=lambda rng: (rng.normal(size=(4, 3)), rng.normal(size=(3, 3))),
    told=("transposed",),
    hints=(
        "Compare the element at (0, 1) with the numeric one at (1, 0).",
        "PyTorch keeps w as (out, in), this layer as (in, out). The gradient must match.",
    ),
    solution="""
    dw[k, j] = Σ_i x[i, k] g[i, j] = (xᵀ g)[k, j]. gᵀ x is its transpose: the right gradient for a
    layer that keeps w the other way round, x @ w.T.

        return g @ w.T, x.T @ g
    """,
)  # fmt: skip


def quadratic(x, a):
    """xᵀ A x for x : (n,) and A : (n, n)."""
    return x @ a @ x


def quadratic_wrong(g, x, a):
    return g * 2 * a @ x, g * np.outer(x, x)


def quadratic_right(g, x, a):
    return g * (a + a.T) @ x, g * np.outer(x, x)


exercise(
    "quadratic", level=2, topic="matrices",
    forward=quadratic, wrong=quadratic_wrong, right=quadratic_right,
    inputs=lambda rng: (rng.normal(size=4), rng.normal(size=(4, 4))),
    told=("symmetric", "argument a"),
    hints=(
        "For which matrices is 2 A x right?",
        "x stands in the product twice: once on the left of A, once on the right.",
    ),
    solution="""
    d(xᵀ A x) = dxᵀ A x + xᵀ A dx, and xᵀ A dx = dxᵀ Aᵀ x, hence dx = g (A + Aᵀ) x. That is 2 A x
    only when A is symmetric, as it is in textbooks.

        return g * (a + a.T) @ x, g * np.outer(x, x)
    """,
)  # fmt: skip


def inverse(a):
    """A⁻¹ for A : (n, n)."""
    return np.linalg.inv(a)


def inverse_wrong(g, a):
    b = np.linalg.inv(a)
    return -b @ g @ b


def inverse_right(g, a):
    b = np.linalg.inv(a)
    return -b.T @ g @ b.T


exercise(
    "inverse", level=3, topic="matrices",
    forward=inverse, wrong=inverse_wrong, right=inverse_right,
    inputs=lambda rng: (rng.normal(size=(3, 3)) + 3 * np.eye(3),),
    told=("transposed",),
    hints=(
        "d(A⁻¹) = -A⁻¹ dA A⁻¹ is right. But that is the derivative forwards.",
        "<G, -B dA B> = <?, dA>: move B to the other side of the inner product.",
    ),
    solution="""
    With B = A⁻¹: A B = I gives dB = -B dA B. The gradient is the D with <G, dB> = <D, dA> for all
    dA, and <G, -B dA B> = -tr(Gᵀ B dA B) = -tr((B Gᵀ B) dA) = <-Bᵀ G Bᵀ, dA>.

        return -b.T @ g @ b.T

    Forward derivatives apply the Jacobian, backward ones its transpose.
    """,
)  # fmt: skip


def tied(x, w):
    """x W Wᵀ: an autoencoder whose decoder is its encoder transposed; x : (n, d), W : (d, k)."""
    return x @ w @ w.T


def tied_wrong(g, x, w):
    return g @ w @ w.T, x.T @ g @ w


def tied_right(g, x, w):
    return g @ w @ w.T, x.T @ g @ w + g.T @ x @ w


exercise(
    "tied", level=2, topic="matrices", forward=tied, wrong=tied_wrong, right=tied_right,
    inputs=lambda rng: (rng.normal(size=(3, 4)), rng.normal(size=(4, 2))),
    told=("used twice",),
    hints=(
        "In how many places does W stand?",
        "Call them V and U: y = x V Uᵀ. Take the gradient of each, then put W for both.",
    ),
    solution="""
    y = x V Uᵀ has dV = xᵀ g U and dU = gᵀ x V. With V = U = W both are gradients of W and add:

        dW = xᵀ g W + gᵀ x W.

    Shared weights (tied decoders, recurrence, convolution) always sum the gradients of their
    uses. The wrong version trains the encoder and holds the decoder's copy fixed.
    """,
)  # fmt: skip
