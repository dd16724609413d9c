"""The errors that minidl raises: each says what was expected, what came, and how to mend it."""

from typing import Any

__all__ = ["DeviceError", "DtypeError", "FormatError", "LabelError", "ShapeError"]


class ShapeError(ValueError):
    """Shapes do not fit: names the operation, the argument, what was expected and what came."""


class FormatError(ValueError):
    """A file is not what it should be: truncated, foreign, of another model, or tampered with."""


class LabelError(IndexError):
    """Labels that are no class of the model: says which, where the first are, and how many.

    where : (N, *S) bool, the places of all of them in the target
    """

    def __init__(self, text: str, where: Any = None) -> None:
        super().__init__(text)
        self.where = where


class DtypeError(TypeError):
    """An operation does not take this dtype, or not these dtypes together."""


class DeviceError(RuntimeError):
    """A device is missing, or arrays of different devices met in one operation."""
