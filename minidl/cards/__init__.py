"""What the registry knows of every operation, as pages to read: docs/kinks.md."""

from minidl.cards.kinks import kinks_page

__all__ = ["kinks_page"]
