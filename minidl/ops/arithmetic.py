"""Arithmetic: each operation with its derivatives written above it."""

from typing import Any

from minidl.device import array_module
from minidl.dtypes import agree
from minidl.errors import DtypeError
from minidl.tape import op

__all__ = ["add", "div", "mul", "neg", "sub", "where", "zeros_like"]


@op(x=lambda g: g, y=lambda g: g, elementwise=True, formula="x + y")
def add(x: Any, y: Any) -> Any:
    """x + y, elementwise."""
    return x + y


@op(x=lambda g: g, y=lambda g: -g, elementwise=True, formula="x - y")
def sub(x: Any, y: Any) -> Any:
    """x - y, elementwise."""
    return x - y


@op(
    x=lambda g, y: g * y,
    y=lambda g, x: g * x,
    elementwise=True,
    linear_in=("x", "y"),
    formula="x * y",
)
def mul(x: Any, y: Any) -> Any:
    """x * y, elementwise."""
    return x * y


@op(
    x=lambda g, y: g / y,
    y=lambda g, y, out: -g * out / y,
    elementwise=True,
    floats=True,
    quiet=True,
    linear_in=("x",),
    formula="x / y",
    domain="y != 0; elsewhere infinite or NaN",
)
def div(x: Any, y: Any) -> Any:
    """x / y, elementwise; whole numbers become floats."""
    return x / y


@op(x=lambda g: -g, elementwise=True, linear_in=("x",), formula="-x")
def neg(x: Any) -> Any:
    """-x."""
    return -x


@op(
    x=lambda g, condition: where(condition, g, 0),
    y=lambda g, condition: where(condition, 0, g),
    broadcasts=True,
    linear_in=("x", "y"),
    formula="x where condition else y",
)
def where(condition: Any, x: Any, y: Any) -> Any:
    """x where the condition holds, else y: a choice, for a product with 0 makes NaN of infinity."""
    if condition.dtype.kind != "b":
        raise DtypeError(f"where: condition is {condition.dtype}, expected bool")
    x, y = agree([x, y])
    return array_module(condition).where(condition, x, y)


@op(formula="0, in the shape of x")
def zeros_like(x: Any) -> Any:
    """Zeros of the shape, dtype and layout of x; constant, so it has no derivative."""
    return array_module(x).zeros_like(x)
