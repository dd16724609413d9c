"""The checks that ops share: dims, shapes, options. Each says the operation and the argument."""

from collections.abc import Sequence
from typing import Any

from minidl.device import device_of, is_array
from minidl.errors import DeviceError, DtypeError, ShapeError
from minidl.tape import TensorBase


def axis(op: str, dim: Any, ndim: int, name: str = "dim") -> int:
    """Return `dim` as a non-negative int. Raises IndexError if there is no such axis."""
    if isinstance(dim, bool) or not hasattr(dim, "__index__"):
        raise TypeError(f"{op}: {name} must be an int, got {dim!r}")
    dim, room = dim.__index__(), max(ndim, 1)
    if not -room <= dim < room:
        raise IndexError(f"{op}: {name} is {dim}, but the tensor has {ndim} axes")
    return dim % room


def axes(op: str, dim: Any, ndim: int) -> tuple[int, ...]:
    """Return `dim` (None for all, an int or a sequence) as a tuple of distinct axes."""
    if dim is None or (isinstance(dim, Sequence) and len(dim) == 0):
        return tuple(range(ndim))
    if not isinstance(dim, Sequence):
        return (axis(op, dim, ndim),) if ndim else ((), axis(op, dim, ndim))[0]
    found = tuple([axis(op, d, ndim) for d in dim])
    if len(set(found)) < len(found):
        raise ValueError(f"{op}: dim {tuple(dim)} names an axis twice")
    return found if ndim else ()


def same_dtype(op: str, **arrays: Any) -> None:
    """Raise DtypeError unless the arrays that are not None have one dtype."""
    if len({a.dtype for a in arrays.values() if a is not None}) > 1:
        given = {name: a.dtype for name, a in arrays.items() if a is not None}
        shown = ", ".join(f"{name} is {dtype}" for name, dtype in given.items())
        raise DtypeError(f"{op}: {shown}; they must have one dtype (convert with .to(dtype))")


def same_device(op: str, **arrays: Any) -> None:
    """Raise DeviceError unless those of the arguments that are arrays or tensors are together."""
    kinds = set()
    for a in arrays.values():
        bare = a.data if isinstance(a, TensorBase) else a
        if is_array(bare):
            kinds.add(type(bare))
    if len(kinds) > 1:
        given = {n: a.data if isinstance(a, TensorBase) else a for n, a in arrays.items()}
        given = {name: a for name, a in given.items() if is_array(a)}
        shown = ", ".join(f"{name} on {device_of(a)}" for name, a in given.items())
        raise DeviceError(
            f"{op}: its arguments are on different devices: {shown}; move one with .to(device)"
        )


def tensor(op: str, name: str, x: Any) -> None:
    """Raise DtypeError unless `x` is a tensor or an array."""
    if not (isinstance(x, TensorBase) or is_array(x)):
        raise DtypeError(f"{op}: {name} is {x!r:.60} ({type(x).__name__}), expected a tensor")


def floating(op: str, name: str, x: Any) -> None:
    """Raise DtypeError unless `x` is of a float dtype."""
    if x.dtype.kind != "f":
        raise DtypeError(f"{op}: {name} is {x.dtype}, expected a float dtype (use .float())")


def whole(op: str, name: str, x: Any) -> None:
    """Raise DtypeError unless `x` holds whole numbers."""
    if x.dtype.kind not in "iu":
        raise DtypeError(f"{op}: {name} is {x.dtype}, expected whole numbers (use .long())")


def rank(op: str, name: str, x: Any, *allowed: int, meaning: str = "") -> None:
    """Raise ShapeError unless `x` has one of the allowed numbers of axes."""
    if x.ndim not in allowed:
        wanted = " or ".join(map(str, allowed)) + (f" {meaning}" if meaning else "")
        raise ShapeError(f"{op}: {name} has shape {x.shape}, expected {wanted} axes")


def choice(op: str, name: str, value: Any, *allowed: Any) -> None:
    """Raise ValueError unless an option has one of the allowed values."""
    if value not in allowed:
        raise ValueError(f"{op}: {name} is {value!r}, expected one of {list(allowed)}")


def integer(op: str, name: str, value: Any) -> int:
    """Return `value` as an int. Raises TypeError for floats, bools and what is no number."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{op}: {name} is {value!r}, expected an int")
    return int(value.__index__())


def counts(op: str, least: int = 0, **values: Any) -> tuple[int, ...]:
    """Return whole numbers as ints. Raises TypeError for others, ValueError below `least`."""
    found = tuple([integer(op, name, value) for name, value in values.items()])
    for name, number in zip(values, found, strict=True):
        if number < least:
            raise ValueError(f"{op}: {name} is {number}, expected {least} or more")
    return found


def sizes(op: str, name: str, value: Any, count: int, least: int = 0) -> tuple[int, ...]:
    """Return an int or a sequence of `count` ints, none below `least`, as a tuple."""
    if type(value) is int and value >= least:  # the usual case, in short
        return (value,) * count
    given = tuple(value) if isinstance(value, (tuple, list, range)) else (value,)
    if len(given) == 1:
        given *= count
    if len(given) != count or any(
        isinstance(v, bool) or not hasattr(v, "__index__") for v in given
    ):
        raise ValueError(f"{op}: {name} is {value!r}, expected an int or {count} ints")
    if any(v < least for v in given):
        raise ValueError(f"{op}: {name} is {value!r}, expected at least {least}")
    return tuple([v.__index__() for v in given])
