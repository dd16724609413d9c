"""What of the registry is documented: the operations that users call."""

from collections.abc import Callable
from typing import Any

from minidl import ops
from minidl.tape import Composite, Op


def function_of(entry: Op | Composite) -> Callable[..., Any]:
    """The plain function of an operation: the body that was written in its file."""
    if isinstance(entry, Composite):
        return entry.function.__wrapped__  # type: ignore[attr-defined]
    return entry.forward


def home(name: str) -> str:
    """The file of `minidl.ops` in which an operation stands, "activation"; or "tape"."""
    module = function_of(ops.registry[name]).__module__
    return "tape" if module.startswith("minidl.tape.") else module.rpartition(".")[2]


def documented() -> list[str]:
    """The names of all operations that users call, in the order in which the files were read."""
    public = set(ops.__all__)
    return [name for name in ops.registry if name in public]
