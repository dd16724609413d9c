"""Places where an operation has no derivative, and what the tape takes in its stead there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Kink:
    """A kink or a tie: the slopes of two sides differ. With an example that a test can run.

        Kink("x = y", "half to each", at={"x": 1, "y": 1}, gradient={"x": 0.5, "y": 0.5})

    where : the place, in words or signs; value : the gradient chosen there
    at : a call at exactly such a place, the arguments by name
    gradient : of its output, by each of these arguments. They become float64 tensors; what else
        stands in `at` is passed as it is, lists as arrays
    g : the gradient of the (first) output that `gradient` belongs to; by default ones
    pytorch : where PyTorch has another value, which and why
    """

    where: str = field(kw_only=False)
    value: str = field(kw_only=False)
    at: Mapping[str, Any]
    gradient: Mapping[str, Any]
    g: Any = None
    pytorch: str = ""
    kind: ClassVar[str] = "kink"

    def __post_init__(self) -> None:
        if strangers := self.gradient.keys() - self.at.keys():
            raise ValueError(f"Kink: gradient names {sorted(strangers)}, which `at` does not")


class Jump(Kink):
    """A place where the output itself jumps."""

    __slots__ = ()
    kind = "jump"


class Steep(Kink):
    """A place where a slope is infinite."""

    __slots__ = ()
    kind = "infinite slope"


def as_kinks(kink: Any) -> tuple[Kink, ...]:
    """What `kink=` was given, one or several or None, as a tuple.

    Raises TypeError for what is no Kink: words alone cannot be tested.
    """
    kinks = () if kink is None else (kink,) if isinstance(kink, Kink) else tuple(kink)
    for k in kinks:
        if not isinstance(k, Kink):
            raise TypeError(f"kink is {k!r}, expected a Kink: Kink(where, value, at=…, gradient=…)")
    return kinks
