"""The pages that are made from the registry are as the registry says now."""

from pathlib import Path

from minidl.cards import kinks_page

DOCS = Path(__file__).parents[1] / "docs"


def test_kinks_page() -> None:
    assert (DOCS / "kinks.md").read_text(encoding="utf-8") == kinks_page(), (
        "run python -m minidl.cards"
    )
