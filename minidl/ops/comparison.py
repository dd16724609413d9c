"""Comparisons and truth: every result is bool, constant almost everywhere, without a derivative."""

from typing import Any

import numpy as np

from minidl.device import array_module
from minidl.ops.arithmetic import abs, module_of
from minidl.tape import TensorBase, composite, op

__all__ = [
    "allclose",
    "eq",
    "ge",
    "gt",
    "isclose",
    "isfinite",
    "isinf",
    "isnan",
    "le",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "lt",
    "ne",
]


@op(elementwise=True, formula="x == y")
def eq(x: Any, y: Any) -> Any:
    """Whether x equals y, elementwise; NaN equals nothing."""
    return x == y


@op(elementwise=True, formula="x != y")
def ne(x: Any, y: Any) -> Any:
    """Whether x differs from y, elementwise; NaN differs from everything."""
    return x != y


@op(elementwise=True, formula="x < y")
def lt(x: Any, y: Any) -> Any:
    """Whether x is less than y, elementwise."""
    return x < y


@op(elementwise=True, formula="x <= y")
def le(x: Any, y: Any) -> Any:
    """Whether x is less than y or equal, elementwise."""
    return x <= y


@op(elementwise=True, formula="x > y")
def gt(x: Any, y: Any) -> Any:
    """Whether x is greater than y, elementwise."""
    return x > y


@op(elementwise=True, formula="x >= y")
def ge(x: Any, y: Any) -> Any:
    """Whether x is greater than y or equal, elementwise."""
    return x >= y


@op(elementwise=True, formula="x is NaN")
def isnan(x: Any) -> Any:
    """Whether an element is NaN."""
    return array_module(x).isnan(x)


@op(elementwise=True, formula="x is infinity or -infinity")
def isinf(x: Any) -> Any:
    """Whether an element is infinite, of either sign."""
    return array_module(x).isinf(x)


@op(elementwise=True, formula="x is neither infinite nor NaN")
def isfinite(x: Any) -> Any:
    """Whether an element is an ordinary number."""
    return array_module(x).isfinite(x)


@op(elementwise=True, formula="x and y")
def logical_and(x: Any, y: Any) -> Any:
    """Whether both are true, elementwise; a number is true unless it is 0."""
    return module_of(x, y).logical_and(x, y)


@op(elementwise=True, formula="x or y")
def logical_or(x: Any, y: Any) -> Any:
    """Whether at least one is true, elementwise; a number is true unless it is 0."""
    return module_of(x, y).logical_or(x, y)


@op(elementwise=True, formula="either x or y")
def logical_xor(x: Any, y: Any) -> Any:
    """Whether exactly one is true, elementwise; a number is true unless it is 0."""
    return module_of(x, y).logical_xor(x, y)


@op(elementwise=True, formula="not x")
def logical_not(x: Any) -> Any:
    """Whether an element is false; a number is true unless it is 0."""
    return array_module(x).logical_not(x)


@composite(formula="|x - y| <= atol + rtol * |y|")
def isclose(x: Any, y: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    """Whether x is close to y, elementwise; infinities are close if they are equal.

    equal_nan : whether NaN is close to NaN
    """
    if getattr(x, "dtype", None) == getattr(y, "dtype", "bool") == "bool":
        return eq(x, y)  # truth values have no difference
    with np.errstate(all="ignore"):
        distance = abs(x - y)
        close = (x == y) | (isfinite(distance) & (distance <= atol + abs(rtol * y)))
    return close | (isnan(x) & isnan(y)) if equal_nan else close


def allclose(
    input: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    """Whether all elements are close, as a Python bool; see `isclose`."""
    close = isclose(input, other, rtol, atol, equal_nan)
    return bool((close.data if isinstance(close, TensorBase) else close).all())
