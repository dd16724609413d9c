"""How the lab speaks: in colour on a terminal, in plain text elsewhere."""

import sys
import textwrap
from collections.abc import Sequence


def on_a_terminal() -> bool:
    """Say whether somebody is looking, rather than a file or another program."""
    return sys.stdout.isatty()


def code(text: str) -> None:
    """Show Python code."""
    if on_a_terminal():
        from rich.console import Console
        from rich.syntax import Syntax

        Console().print(Syntax(text, "python", background_color="default"))
    else:
        print(text)


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Show rows of text under a head."""
    if on_a_terminal():
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        grid = Table(*head, title=title, title_justify="left")
        for row in rows:
            grid.add_row(*map(escape, row))
        Console().print(grid)
        return
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    print(title)
    for row in (head, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def heading(text: str) -> None:
    """Show what comes next."""
    if on_a_terminal():
        from rich.console import Console
        from rich.text import Text

        Console().print(Text(text, style="bold"))
    else:
        print(text)


def say(text: str) -> None:
    """Show prose; lines that are indented (formulas) stay as they are."""
    print("\n\n".join(_wrapped(paragraph) for paragraph in text.split("\n\n")))


def _wrapped(paragraph: str) -> str:
    if any(line.startswith(" ") for line in paragraph.splitlines()):
        return paragraph
    return textwrap.fill(" ".join(paragraph.splitlines()), 90)
