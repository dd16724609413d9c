"""An operation of one's own: written, checked, broken, and told what is wrong.

    python examples/custom_op.py

Four lessons, a few seconds: an op with its derivatives (Swish with a slope to learn), the same with
a term forgotten; a NumPy function with a gradient written by hand (a layer with a mean squared
error), and two classic mistakes in it. docs/testing.md tells the same story at length.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minidl import sigmoid
from minidl.tape import op
from minidl.testing import GradientError, assert_op_correct, gradcheck

# ---- an op of minidl: the derivatives stand above the function ----------------------------------


def swish_x(g: Any, x: Any, slope: Any) -> Any:
    """g times d/dx of x s(slope x), by the product rule."""
    s = sigmoid(slope * x)
    return g * (s + x * slope * s * (1.0 - s))


def swish_slope(g: Any, x: Any, slope: Any) -> Any:
    """g times d/dslope of x s(slope x)."""
    s = sigmoid(slope * x)
    return g * x * x * s * (1.0 - s)


@op(x=swish_x, slope=swish_slope, elementwise=True, formula="x / (1 + exp(-slope x))")
def swish(x: Any, slope: Any) -> Any:
    """x times its own sigmoid (Ramachandran, Zoph and Le, 2017, arXiv:1710.05941)."""
    return x * sigmoid(slope * x)


def first_term(g: Any, x: Any, slope: Any) -> Any:
    """As if the sigmoid did not depend on x."""
    return g * sigmoid(slope * x)


@op(x=first_term, slope=swish_slope, elementwise=True)
def forgetful_swish(x: Any, slope: Any) -> Any:
    """Swish whose derivative in x lacks the second term of the product rule."""
    return x * sigmoid(slope * x)


# ---- a NumPy function with a gradient written by hand --------------------------------------------


def layer_loss(x: Any, w: Any, b: Any, y: Any) -> Any:
    """The mean over the batch of half the squared error of x @ w + b."""
    return ((x @ w + b - y) ** 2).sum() / (2 * len(x))


def layer_gradient(g: Any, x: Any, w: Any, b: Any, y: Any) -> tuple[Any, ...]:
    """Return the gradients of `layer_loss` in x, w, b and y."""
    error = g * (x @ w + b - y) / len(x)
    return error @ w.T, x.T @ error, error.sum(axis=0), -error


def without_mean(g: Any, x: Any, w: Any, b: Any, y: Any) -> tuple[Any, ...]:
    """The gradients of a sum, not of a mean."""
    error = g * (x @ w + b - y)
    return error @ w.T, x.T @ error, error.sum(axis=0), -error


def without_sum(g: Any, x: Any, w: Any, b: Any, y: Any) -> tuple[Any, ...]:
    """The bias gets a gradient for each row of the batch."""
    error = g * (x @ w + b - y) / len(x)
    return error @ w.T, x.T @ error, error, -error


# ---- the lessons --------------------------------------------------------------------------------


def inputs(*shapes: tuple[int, ...]) -> tuple[np.ndarray[Any, Any], ...]:
    """Float64 arrays of normal random numbers, always the same."""
    rng = np.random.default_rng(5)
    return tuple([rng.normal(size=shape) for shape in shapes])


def lessons() -> list[tuple[str, Callable[[], Any], bool]]:
    """A title, a check, and whether it must find something wrong."""
    layer = inputs((32, 4), (4, 3), (3,), (32, 3))
    return [
        (
            "Swish, an op with two derivatives: the whole suite, in one line",
            lambda: assert_op_correct(swish, inputs((2, 3), (3,)), reference=swish_of_numpy),
            False,
        ),
        (
            "The same, with the second term of the product rule forgotten",
            lambda: gradcheck(forgetful_swish, inputs((2, 3), (3,))),
            True,
        ),
        (
            "A layer with a mean squared error in NumPy, its gradient written by hand",
            lambda: gradcheck(layer_loss, layer, gradient=layer_gradient),
            False,
        ),
        (
            "The same, with the mean over the batch forgotten",
            lambda: gradcheck(layer_loss, layer, gradient=without_mean),
            True,
        ),
        (
            "The same, with the broadcasting of the bias not undone",
            lambda: gradcheck(layer_loss, layer, gradient=without_sum),
            True,
        ),
    ]


def swish_of_numpy(x: Any, slope: Any) -> Any:
    """The reference: the formula, in NumPy."""
    return x / (1 + np.exp(-slope * x))


def shown(text: str) -> str:
    """A text indented; of the inputs of a reproduction, which has every digit, the beginning."""
    lines = [x[:80] + "..." if x.lstrip().startswith("inputs = ") else x for x in text.splitlines()]
    return "\n".join([f"    {line}".rstrip() for line in lines])


def main(argv: Sequence[str] | None = None) -> None:
    """Give the lessons; exit with an error if one of them goes otherwise than told."""
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args(argv)
    found = right = 0
    for number, (title, check, wrong) in enumerate(lessons(), 1):
        print(f"\n{number}. {title}\n")
        try:
            said = str(check())
        except GradientError as error:
            said = str(error)
            found += 1
            if not wrong:
                sys.exit(f"{said}\n\nthis one is right, and should have passed")
        else:
            right += 1
            if wrong:
                sys.exit(f"{said}\n\nthis one is wrong, and should not have passed")
        print(shown(said))
    print(f"\n{right} right ones passed, {found} wrong ones were found")


if __name__ == "__main__":
    main()
