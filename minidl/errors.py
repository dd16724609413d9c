"""The errors that minidl raises: each says what was expected, what came, and how to mend it."""

__all__ = ["DeviceError", "DtypeError", "FormatError", "ShapeError"]


class ShapeError(ValueError):
    """Shapes do not fit: names the operation, the argument, what was expected and what came."""


class FormatError(ValueError):
    """A file is not what it should be: truncated, foreign, of another model, or tampered with."""


class DtypeError(TypeError):
    """An operation does not take this dtype, or not these dtypes together."""


class DeviceError(RuntimeError):
    """A device is missing, or arrays of different devices met in one operation."""
