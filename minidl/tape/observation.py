"""The one point of observation: whoever wants to see the ops run looks here, and nowhere else."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

observers: list[Callable[["Event"], None]] = []


class Event:
    """What an observer sees: one op, forward or backward.

    kind : "forward" or "backward";  op : the Op
    arguments, options : as the op was called (tensors; forward only)
    output : the tensor or tuple of tensors (forward); None backward
    gradient, gradients : of the output, and of each tracked argument (arrays or tensors; backward)
    line : "file:number" of the user's code that called the op, forward, or ""
    """

    __slots__ = ("arguments", "gradient", "gradients", "kind", "line", "op", "options", "output")

    def __init__(
        self,
        kind: str,
        op: Any,
        line: str,
        *,
        arguments: Any = None,
        options: Any = None,
        output: Any = None,
        gradient: Any = None,
        gradients: Any = None,
    ) -> None:
        self.kind, self.op, self.line = kind, op, line
        self.arguments, self.options, self.output = arguments, options, output
        self.gradient, self.gradients = gradient, gradients


@contextlib.contextmanager
def observe(function: Callable[[Event], None]) -> Iterator[None]:
    """Call `function(event)` for each op inside the with-block, forward and backward."""
    observers.append(function)
    try:
        yield
    finally:
        observers.remove(function)


def tell(kind: str, op: Any, args: Any, options: Any, out: Any, node: Any) -> None:
    """Show an operation to all observers."""
    line = node.line if node is not None else users_line()
    event = Event(kind, op, line, arguments=args, options=options, output=out)
    for observer in tuple(observers):
        observer(event)


def users_line() -> str:
    """Return "file:line" of the innermost caller that is not minidl itself."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if not (module == "minidl" or module.startswith(("minidl.", "minidl_kernels"))):
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return ""
