"""The page docs/kinks.md: every kink that the registry declares, by the file of its operation."""

import math
from typing import Any

from minidl import ops
from minidl.cards.entries import documented, home
from minidl.tape import Kink

_OPENING = """\
# Kinks

*Written by `python -m minidl.cards` from the declarations that stand above the operations.*

At a kink or a tie a function has no derivative: its slopes on the two sides differ, and a choice
has to be made. Each operation declares its own (`kink=`), with an example, and tests hold all of
them: our gradient at exactly that point is the one declared; it is PyTorch's unless the table says
otherwise; and where the function does not jump it lies between the slopes of the two sides, but
for `clamp` with equal bounds. A hunt through the registry, by slopes of two sides at zeros, ones,
bounds and ties, finds kinks that nobody declared
([tests/ops/test_kinks.py](../tests/ops/test_kinks.py)).

In the example stands a call, and the gradient of its output, or of the output times `g`, by each
argument. What is made of an operation has its kinks as well: `triplet_margin_loss` those of `norm`.
"""


def kinks_page() -> str:
    """The text of docs/kinks.md."""
    parts = [_OPENING]
    place = ""
    for name in documented():
        kinks = ops.registry[name].facts.kinks
        if not kinks:
            continue
        if home(name) != place:
            place = home(name)
            parts.append(
                f"\n## {place.capitalize()}\n\n| operation | where | kind | gradient | example |\n"
                "|---|---|---|---|---|\n"
            )
        for i, kink in enumerate(kinks):
            shown = "" if i else f"`{name}`"
            parts.append(f"| {shown} | {_cell(kink.where)} | {kink.kind} | {_chosen(kink)} |")
            parts.append(f" {_cell(example(kink))} |\n")
    return "".join(parts)


def _chosen(kink: Kink) -> str:
    text = kink.value + (f" (PyTorch: {kink.pytorch})" if kink.pytorch else "")
    return _cell(text)


def _cell(text: str) -> str:
    """A text in a table, where a bar would end the cell."""
    return text.replace("|", "\\|")


def example(kink: Kink) -> str:
    """A kink's call and the gradient there: "x = 1, y = 1: by x 0.5, by y 0.5"."""
    call = ", ".join([f"{name} = {_shown(value)}" for name, value in kink.at.items()])
    if kink.g is not None:
        call += f"; g = {_shown(kink.g)}"
    return f"{call}: " + ", ".join([f"by {n} {_shown(v)}" for n, v in kink.gradient.items()])


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        inside = ", ".join([_shown(v) for v in value])
        return f"[{inside}]" if isinstance(value, list) else f"({inside}{',' * (len(value) == 1)})"
    if isinstance(value, (str, bool)) or value is None:
        return repr(value)
    if math.isinf(value):
        return "-∞" if value < 0 else "∞"
    return f"{value:.6g}"
