"""Padding as modules. `padding` is an int or, from the last axis on, (left, right, top, …)."""

from typing import Any, ClassVar

from minidl.nn import functional as F
from minidl.nn.module import Module
from minidl.ops import _checks
from minidl.tensor import Tensor

__all__ = [
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
]


class _Pad(Module):
    """What paddings share: a subclass says how many axes are padded, and with what."""

    _axes: ClassVar[int]
    _mode: ClassVar[str] = "constant"

    def __init_subclass__(cls, axes: int = 0, mode: str = "constant") -> None:
        if axes:
            cls._axes, cls._mode = axes, mode

    def __init__(self, padding: Any) -> None:
        super().__init__()
        least = -(2**62)  # negative widths cut off
        self.padding = _checks.sizes(type(self).__name__, "padding", padding, 2 * self._axes, least)

    def forward(self, x: Tensor) -> Tensor:
        """x : (N, C, *S) or (C, *S) -> the same with longer S."""
        return F.pad(x, self.padding, mode=self._mode)

    def extra_repr(self) -> str:
        """The widths."""
        return f"{self.padding}"


class _ConstantPad(_Pad):
    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        """x : (N, C, *S) or (C, *S) -> the same with longer S."""
        return F.pad(x, self.padding, mode="constant", value=self.value)

    def extra_repr(self) -> str:
        """The widths and the number."""
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad, axes=1):
    """A sequence with a number at both ends."""


class ConstantPad2d(_ConstantPad, axes=2):
    """An image with a number around it."""


class ConstantPad3d(_ConstantPad, axes=3):
    """A volume with a number around it."""


class ZeroPad1d(_Pad, axes=1):
    """A sequence with zeros at both ends."""


class ZeroPad2d(_Pad, axes=2):
    """An image with zeros around it."""


class ZeroPad3d(_Pad, axes=3):
    """A volume with zeros around it."""


class ReflectionPad1d(_Pad, axes=1, mode="reflect"):
    """A sequence mirrored at its first and last element."""


class ReflectionPad2d(_Pad, axes=2, mode="reflect"):
    """An image mirrored at its outermost rows and columns."""


class ReflectionPad3d(_Pad, axes=3, mode="reflect"):
    """A volume mirrored at its outermost planes."""


class ReplicationPad1d(_Pad, axes=1, mode="replicate"):
    """A sequence with its first and last element repeated."""


class ReplicationPad2d(_Pad, axes=2, mode="replicate"):
    """An image with its outermost rows and columns repeated."""


class ReplicationPad3d(_Pad, axes=3, mode="replicate"):
    """A volume with its outermost planes repeated."""


class CircularPad1d(_Pad, axes=1, mode="circular"):
    """A sequence that goes on at its other end."""


class CircularPad2d(_Pad, axes=2, mode="circular"):
    """An image that goes on at its other side."""


class CircularPad3d(_Pad, axes=3, mode="circular"):
    """A volume that goes on at its other side."""
