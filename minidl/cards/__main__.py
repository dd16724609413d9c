"""`python -m minidl.cards`: write the pages that are made from the registry, into ./docs."""

from pathlib import Path

from minidl.cards import kinks_page


def main() -> None:
    """Write docs/kinks.md. Raises FileNotFoundError outside a checkout of minidl."""
    page = Path("docs") / "kinks.md"
    page.write_text(kinks_page(), encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
