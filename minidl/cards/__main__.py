"""`python -m minidl.cards`: write the pages that are made from the registry, into ./docs."""

from pathlib import Path

from minidl.cards import kinks_page, pages


def main() -> None:
    """Write docs/kinks.md and docs/cards/. Raises FileNotFoundError outside a checkout."""
    docs = Path("docs")
    (docs / "kinks.md").write_text(kinks_page(), encoding="utf-8")
    folder = docs / "cards"
    folder.mkdir(exist_ok=True)
    written = pages()
    for name, text in written.items():
        (folder / name).write_text(text, encoding="utf-8")
    for page in folder.glob("*.md"):
        if page.name not in written:
            page.unlink()
    print(f"docs/kinks.md and {len(written)} pages in docs/cards")


if __name__ == "__main__":
    main()
