"""Bugs of elementwise functions: factors, signs, and what the derivative is evaluated at."""

import numpy as np

from minidl.testing.buglab.exercise import exercise


def square(x):
    """x²."""
    return x * x


def square_wrong(g, x):
    return g * x


def square_right(g, x):
    return g * 2 * x


exercise(
    "square", level=1, topic="elementwise", forward=square, wrong=square_wrong, right=square_right,
    inputs=lambda rng: (rng.normal(size=(3, 4)),),
    told=("factor 1/2", "square"),
    hints=(
        "Look at the ratio of the two numbers. Is it the same at each element?",
        "x * x uses x twice. Each use has a derivative of its own.",
    ),
    solution="""
    By the product rule d(x·x) = dx·x + x·dx = 2x dx. The wrong version has one of the two terms.

        return g * 2 * x
    """,
)  # fmt: skip


def difference(x, y):
    """x - y."""
    return x - y


def difference_wrong(g, x, y):
    return g, g


def difference_right(g, x, y):
    return g, -g


exercise(
    "difference", level=1, topic="elementwise",
    forward=difference, wrong=difference_wrong, right=difference_right,
    inputs=lambda rng: (rng.normal(size=4), rng.normal(size=4)),
    told=("sign",),
    hints=("The ratio says it all.", "If y grows, does x - y grow?"),
    solution="""
    ∂(x - y) / ∂x = 1 and ∂(x - y) / ∂y = -1:

        return g, -g

    With a wrong sign gradient descent climbs, for this argument only: the loss often still
    falls, as the other arguments make up for it. That is why one checks.
    """,
)  # fmt: skip


def quotient(x, y):
    """x / y."""
    return x / y


def quotient_wrong(g, x, y):
    return g / y, -g * x / y


def quotient_right(g, x, y):
    return g / y, -g * x / y**2


exercise(
    "quotient", level=1, topic="elementwise",
    forward=quotient, wrong=quotient_wrong, right=quotient_right,
    inputs=lambda rng: (rng.normal(size=(2, 2)), rng.uniform(1.5, 3, size=(2, 2))),
    told=("ratio is argument y",),
    hints=(
        "The ratio differs from element to element: compare it with the values of the arguments.",
        "Write x / y = x · y⁻¹ and take the derivative of y⁻¹.",
    ),
    solution="""
    d(y⁻¹) / dy = -y⁻², so dy = -g · x / y². The wrong version is too large by the factor y, which
    would pass unnoticed at y = 1: test points should not be special.

        return g / y, -g * x / y**2
    """,
)  # fmt: skip


def sigmoid(x):
    """1 / (1 + e⁻ˣ)."""
    return 1 / (1 + np.exp(-x))


def sigmoid_wrong(g, x):
    return g * x * (1 - x)


def sigmoid_right(g, x):
    s = 1 / (1 + np.exp(-x))
    return g * s * (1 - s)


exercise(
    "sigmoid", level=1, topic="elementwise",
    forward=sigmoid, wrong=sigmoid_wrong, right=sigmoid_right,
    inputs=lambda rng: (rng.normal(size=5),),
    told=("formula is right for the output",),
    hints=(
        "The formula s (1 - s) is right. What is s?",
        "The derivative of the sigmoid is written with its output. What is handed in here?",
    ),
    solution="""
    With s = σ(x): s' = e⁻ˣ / (1 + e⁻ˣ)² = s (1 - s). The formula wants the output s; the wrong
    version puts the input in its place. (In the lecture's code the variable was called `x` by
    then: after `x = sigmoid(x)`.)

        s = 1 / (1 + np.exp(-x))
        return g * s * (1 - s)
    """,
)  # fmt: skip


def tanh(x):
    """The hyperbolic tangent of x."""
    return np.tanh(x)


def tanh_wrong(g, x):
    return g * (1 - x**2)


def tanh_right(g, x):
    return g * (1 - np.tanh(x) ** 2)


exercise(
    "tanh", level=1, topic="elementwise", forward=tanh, wrong=tanh_wrong, right=tanh_right,
    inputs=lambda rng: (rng.normal(size=5),),
    told=("formula is right for the output",),
    hints=(
        "For small x the two gradients nearly agree, for large x they do not. Why?",
        "1 - out² is written with the output, and tanh(x) ≈ x near 0.",
    ),
    solution="""
    tanh' = 1 - tanh². Near 0, tanh(x) ≈ x hides the mistake up to terms of x⁴; a test with
    inputs of size 1 and more shows it.

        return g * (1 - np.tanh(x) ** 2)
    """,
)  # fmt: skip


def exp(x):
    """eˣ."""
    return np.exp(x)


def exp_wrong(g, x):
    return np.exp(x)


def exp_right(g, x):
    return g * np.exp(x)


exercise(
    "exp", level=1, topic="elementwise", forward=exp, wrong=exp_wrong, right=exp_right,
    inputs=lambda rng: (rng.normal(size=4),),
    told=("gradient of the output, is ignored",),
    hints=(
        "In which case would this gradient be right?",
        "Nothing here depends on g. A check that sums the outputs has g = 1 everywhere.",
    ),
    solution="""
    A backward function returns a product of the Jacobian with g, not the derivative alone:

        dx = g · eˣ          return g * np.exp(x)

    With the cotangent g = 1 (the gradient of a sum) the mistake is invisible. So a check must use
    random cotangents.
    """,
)  # fmt: skip


def cube(x):
    """x³."""
    return x**3


def cube_wrong(g, x):
    return g * 3 * x**3


def cube_right(g, x):
    return g * 3 * x**2


exercise(
    "cube", level=1, topic="elementwise", forward=cube, wrong=cube_wrong, right=cube_right,
    inputs=lambda rng: (rng.uniform(0.5, 2, size=4),),
    told=("ratio is argument x",),
    hints=(
        "Compare the ratio with the values of x.",
        "Two things happen to xⁿ: the exponent comes down as a factor, and …",
    ),
    solution="""
    d(xⁿ) / dx = n xⁿ⁻¹: the exponent comes down, and is lowered by one.

        return g * 3 * x**2
    """,
)  # fmt: skip


def product(x, y):
    """x * y."""
    return x * y


def product_wrong(g, x, y):
    return g * x, g * y


def product_right(g, x, y):
    return g * y, g * x


exercise(
    "product", level=1, topic="elementwise",
    forward=product, wrong=product_wrong, right=product_right,
    inputs=lambda rng: (rng.normal(size=(2, 3)), rng.normal(size=(2, 3))),
    told=("exchanged",),
    hints=(
        "Both gradients are wrong. Lay them beside the two numeric ones.",
        "What does x * y change by when x changes by one?",
    ),
    solution="""
    ∂(xy) / ∂x = y and ∂(xy) / ∂y = x: each gets the other.

        return g * y, g * x
    """,
)  # fmt: skip


def gelu(x):
    """x (1 + tanh u) / 2 with u = c (x + 0.044715 x³), c = √(2/π)."""
    u = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    return 0.5 * x * (1 + np.tanh(u))


def gelu_wrong(g, x):
    c = np.float32(0.7978846)
    t = np.tanh(c * (x + 0.044715 * x**3))
    return g * 0.5 * (1 + t + x * (1 - t**2) * c * (1 + 3 * 0.044715 * x**2))


def gelu_right(g, x):
    c = np.sqrt(2 / np.pi)
    t = np.tanh(c * (x + 0.044715 * x**3))
    return g * 0.5 * (1 + t + x * (1 - t**2) * c * (1 + 3 * 0.044715 * x**2))


exercise(
    "gelu", level=3, topic="elementwise", forward=gelu, wrong=gelu_wrong, right=gelu_right,
    inputs=lambda rng: (rng.normal(size=6),),
    told=("float32",),
    hints=(
        "How large is the error, relative to the gradient? Which number format is so exact?",
        "All the calculus is right. Compare the constants of the two functions, digit by digit.",
    ),
    solution="""
    The derivative is right and its constant is not: √(2/π) = 0.79788456080286…, rounded to eight
    digits and to float32. The relative error, some 1e-8, is that of float32 (eps 1.2e-7) and not
    that of float64 (2.2e-16). A check in float32 could never see it.

        c = np.sqrt(2 / np.pi)
    """,
)  # fmt: skip


def swish(x):
    """x σ(x)."""
    return x / (1 + np.exp(-x))


def swish_wrong(g, x):
    s = 1 / (1 + np.exp(-x))
    return (g * (s + x * s * (1 - s))).astype("float32")


def swish_right(g, x):
    s = 1 / (1 + np.exp(-x))
    return g * (s + x * s * (1 - s))


exercise(
    "swish", level=2, topic="elementwise", forward=swish, wrong=swish_wrong, right=swish_right,
    inputs=lambda rng: (rng.normal(size=6),),
    told=("float32",),
    hints=(
        "How large is the error, relative to the gradient?",
        "The calculus is right; what happens to the result at the end?",
    ),
    solution="""
    A cast on the way back throws half of the digits away. A gradient has the dtype of its
    argument; leave it as it comes:

        return g * (s + x * s * (1 - s))
    """,
)  # fmt: skip


def masked_log(x, mask):
    """log(x) where the mask holds, else 0."""
    return np.where(mask, np.log(np.where(mask, x, 1)), 0)


def masked_log_wrong(g, x, mask):
    with np.errstate(divide="ignore", invalid="ignore"):
        return mask * (g / x), None


def masked_log_right(g, x, mask):
    return np.where(mask, g / np.where(mask, x, 1), 0), None


exercise(
    "masked_log", level=2, topic="elementwise",
    forward=masked_log, wrong=masked_log_wrong, right=masked_log_right,
    inputs=lambda rng: (np.array([0.5, 0.0, 2.0, 0.0]), np.array([True, False, True, False])),
    told=("nan", "where"),
    hints=(
        "What is 0 · ∞ in floating point?",
        "A mask is a choice. Multiplying by 0 is no choice: it lets infinity and NaN through.",
    ),
    solution="""
    At x = 0 the quotient g / x is infinite, and 0 · ∞ = NaN. Choose instead of multiplying, and
    choose before dividing, so that the division never sees the 0:

        return np.where(mask, g / np.where(mask, x, 1), 0), None
    """,
)  # fmt: skip


def residual(x):
    """x + tanh(x): a block with a way around it."""
    return x + np.tanh(x)


def residual_wrong(g, x):
    return g * (1 - np.tanh(x) ** 2)


def residual_right(g, x):
    return g + g * (1 - np.tanh(x) ** 2)


exercise(
    "residual", level=1, topic="elementwise",
    forward=residual, wrong=residual_wrong, right=residual_right,
    inputs=lambda rng: (rng.normal(size=5),),
    told=("used twice",),
    hints=(
        "On how many paths does x reach the output?",
        "Subtract the gradient given from the numeric one: what is left?",
    ),
    solution="""
    x is used twice, and gradients of all uses are added (the multivariable chain rule):

        dx = g · 1 + g · (1 - tanh² x)          return g + g * (1 - np.tanh(x) ** 2)

    An engine that assigns `x.grad = …` where it should add `x.grad += …` makes this mistake for
    every network with a skip connection.
    """,
)  # fmt: skip
