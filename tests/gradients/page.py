"""Writes the numbers of docs/gradients.md: what is proved of each op, and the worst error seen.

    python tests/gradients/page.py

Errors are rounded up to a power of ten, and 1e-12 stands for all below: the digits differ by
processor, the powers hardly ever.
"""

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
if __name__ == "__main__":
    places = [ROOT, ROOT / "kernels", HERE, HERE.parent, *(HERE.parent / n for n in ("ops", "nn"))]
    sys.path[:0] = [str(p) for p in places]

PAGE = ROOT / "docs" / "gradients.md"
START, END = "<!-- numbers: python tests/gradients/page.py -->", "<!-- end of numbers -->"
ORDERS = (1, 2, 3)


@dataclass
class Row:
    """What was found for one op: its cases, derivatives compared, kinks met, errors by order."""

    cases: int
    compared: int
    kinks: int
    errors: dict[int, float]


def measured() -> dict[str, Row | int]:
    """A row for each op; for one that has no derivative the number of its cases."""
    import proof

    from minidl.tape import registry

    found: dict[str, Row | int] = {}
    for name in registry:
        if "." in name:
            continue
        cases = proof.cases()[name]
        row = Row(len(cases), 0, 0, {})
        for case in cases:
            report = proof.derivatives(name, case)
            for c in report.checks if report else ():
                row.compared += c.count
                row.kinks += c.kinks
                row.errors[c.order] = max(row.errors.get(c.order, 0.0), c.error)
        found[name] = row if row.compared else len(cases)
    return found


def power(error: float) -> str:
    """An error rounded up to a power of ten."""
    return f"1e{max(math.ceil(math.log10(error)), -12) if error > 0 else -12:03d}"


def counts(rows: dict[str, Any]) -> str:
    """The sentences above the table."""
    import proof
    import test_losses
    import test_modules
    import test_properties
    import test_recurrent

    smooth = [row for row in rows.values() if isinstance(row, Row)]
    cases = sum(row.cases if isinstance(row, Row) else row for row in rows.values())
    drawn = sum(name.startswith("test_") for name in vars(test_properties))
    pieces = len(proof.PIECES) + 1  # and the same bits twice
    recurrent = len(test_recurrent.CALLS) + len(test_recurrent.OPTIONS)
    return (
        f"{len(rows)} operations in {cases} cases, each with {pieces} properties; {len(smooth)} "
        f"have derivatives, of which {sum(row.compared for row in smooth)} numbers are compared "
        f"with differences, the other {len(rows) - len(smooth)} are flat, which is checked too. "
        f"{len(test_modules.EVERY)} modules by their inputs and parameters, "
        f"{len(test_losses.CALLS)} calls of {len(test_losses.LOSSES)} losses, {recurrent} of "
        f"recurrent layers. {drawn} properties draw their shapes and options: "
        f"{20 * drawn} examples in CI, {1000 * drawn} with the profile `thorough`."
    )


def table(rows: dict[str, Any]) -> str:
    """A line for each op that has a derivative."""
    lines = [
        "| operation | cases | compared | kinks | order 1 | order 2 | order 3 |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, row in sorted(rows.items()):
        if isinstance(row, Row):
            errors = [power(row.errors[k]) if k in row.errors else "" for k in ORDERS]
            cells = [f"`{name}`", str(row.cases), str(row.compared), str(row.kinks or ""), *errors]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Replace what stands between the two marks of the page."""
    rows = measured()
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    after = rest.partition(END)[2]
    text = f"{before}{START}\n\n{counts(rows)}\n\n{table(rows)}\n\n{END}{after}"
    PAGE.write_text(text, encoding="utf-8")
    print(f"{PAGE}: {len(rows)} operations")


if __name__ == "__main__":
    main()
