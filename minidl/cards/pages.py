"""The pages docs/cards/*.md: the cards of one file of operations each, and an index."""

from minidl import ops
from minidl.cards.card import Card
from minidl.cards.entries import home

_WRITTEN = "*Written by `python -m minidl.cards` from the registry and the source.*\n"


def pages() -> dict[str, str]:
    """The text of every page by its file name."""
    by_page: dict[str, list[Card]] = {}
    for name in ops.registry:
        if "." not in name:  # a user's own
            by_page.setdefault(home(name), []).append(Card(name))
    found = {f"{page}.md": _page(page, cards) for page, cards in by_page.items()}
    return {"README.md": _index(by_page), **found}


def _page(title: str, cards: list[Card]) -> str:
    parts = [f"# {title.capitalize()}\n\n{_WRITTEN}"]
    parts += [f"\n## {card.name}\n\n```text\n{card}\n```\n" for card in cards]
    return "".join(parts)


def _index(by_page: dict[str, list[Card]]) -> str:
    parts = [
        "# Derivative cards\n\n",
        _WRITTEN,
        _INDEX,
    ]
    public = set(ops.__all__)
    for page, cards in by_page.items():
        parts.append(
            f"\n## [{page.capitalize()}]({page}.md)\n\n| operation | formula |\n|---|---|\n"
        )
        for card in cards:
            note = "" if card.name in public else " (internal)"
            formula = card.formula.replace("|", "\\|")
            parts.append(f"| [{card.name}]({page}.md#{card.name}){note} | {formula} |\n")
    return "".join(parts)


_INDEX = """
One card for each operation: what it computes, where it is defined, the gradient chosen at its kinks
(all of them on one page: [kinks](../kinks.md)), its derivatives as they stand in the code, what the
tape saves for them, what it costs, and how far its derivatives were ever off. In Python
`print(minidl.card("conv2d"))`, in a shell `python -m minidl card conv2d`.

How to read a card:

- **derivatives**: `g` is the gradient of the result, `out` the result; what an expression names is
  what the tape saves. Functions with an underscore stand below; all other names are operations.
- **example**: a call, with the shapes of its arguments. Memory: what the tape holds until the
  backward pass, shared with whoever holds the arguments or the result. Operations: two for a
  multiplication with an addition, one for an elementary function of an element; of an operation
  that is made of others the sum over these, and "at least" where one has no formula. Bytes: of
  arguments and result, each once; a view moves none.
- **worst error**: the largest over all cases of the tests, in float64, relative to the largest
  element of the derivative, as a power of ten above it with some room and never less than 1e-14:
  against differences with `minidl.testing.gradcheck`, and against PyTorch, to the order to which
  PyTorch has derivatives. Where a function is so flat that a relative error means nothing (a
  sigmoid at 40), it is held to 1e-9 instead and not counted.
"""
