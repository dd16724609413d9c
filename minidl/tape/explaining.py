"""Errors of array libraries and of Python, turned into one that names operation and arguments."""

import reprlib
from collections.abc import Sequence
from typing import Any

from minidl.device import is_array
from minidl.errors import DtypeError, ShapeError
from minidl.tape.nodes import TensorBase
from minidl.tape.registry import registry

# What arrays and Python itself raise where an argument is not what an operation takes.
BARE = (
    *(ValueError, TypeError, IndexError, KeyError, AttributeError),
    *(OverflowError, ZeroDivisionError),
)


def speaker(error: Exception) -> str | None:
    """The operation in whose name an error speaks; None for an error of arrays or of Python."""
    name, colon, _ = str(error).partition(": ")
    return name if colon and name in registry and not is_numpys(error) else None


def is_numpys(error: Exception) -> bool:
    """Whether an error is of NumPy's matmul, which opens with its own name, as ours do."""
    return str(error).startswith("matmul: Input operand")


def in_the_name_of(op: str, error: Exception) -> Exception:
    """An error of an operation inside another, in the name of the one that was called."""
    return type(error)(f"{op}: {error}")


def named(
    op: str,
    error: Exception,
    names: Sequence[str],
    values: Sequence[Any],
    numbers: bool = False,
) -> Exception:
    """Turn an error of arrays or of Python into one that names the operation and its arguments."""
    given = list(zip(names, values, strict=False))
    if isinstance(error, AttributeError):  # mostly: what should be a tensor has no shape or dtype
        for name, v in given:
            if v is error.obj and not (is_array(v) or isinstance(v, TensorBase)):
                wanted = "a tensor or a number" if numbers else "a tensor"
                return DtypeError(f"{op}: {name} is {_shown(v)}, expected {wanted}")
    shown = ", ".join([f"{name} is {_shown(v)}" for name, v in given])
    if str(error).startswith("operands could not be broadcast"):
        return ShapeError(f"{op}: the shapes do not broadcast: {shown}")
    text = f"{op}: {str(error).removeprefix(f'{op}() ')}" + (f" ({shown})" if shown else "")
    if isinstance(error, IndexError):
        return IndexError(text)
    if isinstance(error, (TypeError, AttributeError)):
        return DtypeError(text)
    return (ShapeError if isinstance(error, ValueError) else ValueError)(text)


def _shown(value: Any) -> str:
    """An argument in an error's text: shape and dtype of an array, else the value, shortened."""
    if isinstance(value, TensorBase) or is_array(value):
        return f"{tuple(value.shape)} {value.dtype}"
    return f"{reprlib.repr(value)} ({type(value).__name__})"
