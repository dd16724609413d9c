"""`python -m minidl card NAME …`: print the cards of operations."""

import sys
from collections.abc import Sequence

from minidl.cards.card import card


def main(arguments: Sequence[str]) -> int:
    """Print the card of each name; return 0, or 2 for a name that is no operation's."""
    if not arguments:
        print("usage: python -m minidl card NAME …", file=sys.stderr)
        return 2
    try:
        cards = [card(name) for name in arguments]
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print("\n\n".join([str(c) for c in cards]))
    return 0
