"""The register of operations: what there is, what is known of each, and how options are spelled."""

from collections.abc import Callable, Sequence
from typing import Any

from minidl.tape.kinks import Kink

registry: dict[str, Any] = {}  # every operation that minidl claims, and users' own, by name
# Other names of an argument: NumPy's, and PyTorch's for what is x and y here.
_SPELLINGS = {
    "axis": "dim", "keepdims": "keepdim", "axis0": "dim0", "axis1": "dim1",
    "input": "x", "other": "y", "exponent": "y", "mat2": "y", "vec": "y", "vec2": "y",
    "tensor": "x", "size": "shape", "split_size": "split_size_or_sections",
}  # fmt: skip
# PyTorch's options that no op here has: refused by name, unless they ask for nothing.
_NOT_OFFERED = frozenset(
    {"out", "inplace", "alpha", "rounding_mode", "memory_format", "generator", "size_average",
     "reduce", "sparse_grad", "output_size", "enable_gqa"}
)  # fmt: skip


class Facts:
    """What is known of an operation beside its code: tests, docs and error texts read it.

    formula : the definition in one line; linear_in : arguments in which it is linear
    domain : where it is defined; kinks : where it has no derivative, and the value chosen there
    """

    __slots__ = ("domain", "formula", "kinks", "linear_in")

    def __init__(
        self, formula: str, linear_in: tuple[str, ...], domain: str, kinks: tuple[Kink, ...]
    ) -> None:
        self.formula, self.linear_in, self.domain, self.kinks = formula, linear_in, domain, kinks


def register(thing: Any, function: Callable[..., Any]) -> None:
    """Enter an operation under its name; a user's own under module and name."""
    ours = function.__module__.startswith("minidl.")
    name = function.__name__ if ours else f"{function.__module__}.{function.__qualname__}"
    if ours and name in registry:
        raise ValueError(f"op {name!r} is defined twice: in {function.__module__} as well")
    registry[name] = thing


def spelled(op: str, options: dict[str, Any], known: Sequence[str]) -> dict[str, Any]:
    """Options under the names that the op knows, without those of PyTorch that ask for nothing.

    Raises NotImplementedError for an option that only PyTorch has, TypeError for a stranger.
    """
    found: dict[str, Any] = {}
    for name, value in options.items():
        ours = name if name in known else _SPELLINGS.get(name, name)
        if ours in found:
            raise TypeError(f"{op}: argument {ours!r} is given twice, also as {name!r}")
        if ours in known:
            found[ours] = value
        elif name not in _NOT_OFFERED:
            raise TypeError(f"{op}: there is no argument {name!r}")
        elif value is not None and value is not False:
            raise NotImplementedError(f"{op}: the option {name!r} is not offered")
    return found
