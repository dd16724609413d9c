"""What the registry knows of every operation, to read: cards, and the pages made of them.

print(minidl.card("conv2d"))            python -m minidl card conv2d
docs/cards/, docs/kinks.md              python -m minidl.cards
"""

from minidl.cards.card import Card, card
from minidl.cards.kinks import kinks_page
from minidl.cards.pages import pages

__all__ = ["Card", "card", "kinks_page", "pages"]
