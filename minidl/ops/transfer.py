"""Moving a tensor between devices is an operation like any other: its gradient moves back."""

from typing import Any

from minidl.device import to_device
from minidl.tape import op

__all__: list[str] = []


@op(
    x=lambda g, x_shape, source: to_place(g, source),
    linear_in=("x",),
    formula="x on another device",
)
def to_place(x: Any, where: Any, source: Any = None) -> Any:
    """x on another device."""
    return to_device(x, where)
