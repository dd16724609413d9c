"""What a race found, as a table for people and as JSON for programs."""

import sys
from collections.abc import Sequence
from typing import Any

from minidl.race.contest import Time
from minidl.race.machine import Machine

__all__ = ["as_json", "duration", "show", "table"]

HEADER = ("", "time", "±", "GFLOP/s", "of peak", "MB", "FLOP/B", "of roof", "error", "allowed")


def duration(seconds: float) -> str:
    """A time in the unit in which it is a number of ordinary size."""
    for unit, size in (("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("min", 60.0), ("h", 3600.0)):
        if seconds < 1000 * size if unit in ("µs", "ms") else seconds < 120 * size:
            break
    return f"{seconds / size:.3g} {unit}"


def table(times: Sequence[Time], machine: Machine) -> list[tuple[str, ...]]:
    """One row of text for each contender, the fastest last, under `HEADER`."""
    rows: list[tuple[str, ...]] = []
    for t in sorted(times, key=lambda t: -t.seconds):
        spread = (t.high - t.low) / 2 / t.seconds
        rows.append(
            (
                t.name,
                ("~ " if t.part < 1 else "") + duration(t.seconds),
                f"{spread:.0%}" if t.samples > 1 else "",
                _number(t.rate / 1e9),
                _share(t.rate / machine.peak) if t.here else "",
                _number(t.moved / 1e6),
                _number(t.intensity),
                _share(t.rate / machine.roof(t.intensity)) if t.here else "",
                f"{t.error:.0f}" if t.error >= 10 else f"{t.error:.2g}",
                _share(t.used) if t.used else "0",
            )
        )
    return rows


def _number(x: float) -> str:
    """Three digits, but all that stand before the point."""
    return f"{x:.0f}" if x >= 100 else f"{x:.3g}"


def _share(x: float) -> str:
    return f"{x:.0%}" if x >= 0.01 else f"{x:.1g}"


def show(
    title: str,
    times: Sequence[Time],
    machine: Machine,
    remarks: Sequence[str] = (),
    file: Any = None,
) -> None:
    """Print the table: with rich on a terminal, else plain."""
    file = file or sys.stdout
    rows, notes = table(times, machine), _notes(times, machine, remarks)
    first = times[0]
    under = (
        f"{_number(first.flops / 1e9)} GFLOP; {machine.threads} thread"
        f"{'s' if machine.threads > 1 else ''} of {machine.name}: peak "
        f"{machine.peak / 1e9:.0f} GFLOP/s, memory {machine.bandwidth / 1e9:.0f} GB/s"
    )
    if getattr(file, "isatty", lambda: False)():
        _show_rich(title, under, rows, notes, file)
        return
    widths = [max(len(row[k]) for row in (HEADER, *rows)) for k in range(len(HEADER))]
    print(f"{title}\n{under}\n", file=file)
    for row in (HEADER, *rows):
        cells = [
            row[0].ljust(widths[0]),
            *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)),
        ]
        print("  ".join(cells).rstrip(), file=file)
    print("", *notes, "", sep="\n", file=file)


def _show_rich(title: str, under: str, rows: Any, notes: Any, file: Any) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=file, highlight=False)
    drawn = Table(title=Text(title, "bold"), box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for k, name in enumerate(HEADER):
        drawn.add_column(name, justify="right" if k else "left", no_wrap=True)
    for k, row in enumerate(rows):
        drawn.add_row(*row, style="bold green" if k == len(rows) - 1 else "")
    console.print(drawn)
    console.print(Text("\n".join([under, *notes, ""]), "dim"))


def _notes(times: Sequence[Time], machine: Machine, remarks: Sequence[str]) -> list[str]:
    notes = [
        f"~ {t.name}: timed on {t.small}, {t.part:.2g} of the operations, and extrapolated"
        for t in times
        if t.part < 1
    ]
    if any(t.here and t.rate > 1.1 * machine.roof(t.intensity) for t in times):
        notes.append(
            "over 100 % of the roof: fewer operations than the definition asks for (winograd), or "
            "arrays small enough to stay in a cache"
        )
    return [*notes, *remarks]


def as_json(machine: Machine, races: Sequence[tuple[Any, Sequence[Time]]]) -> dict[str, Any]:
    """Machine and results as plain numbers and text; a `races` entry is a Race and its times."""
    return {
        "machine": machine._asdict(),
        "races": [
            {
                "what": race.problem.what,
                "flops": race.problem.flops,
                "bytes": race.problem.moved,
                "remarks": list(race.remarks),
                "contenders": [_plain(t, machine) for t in times],
            }
            for race, times in races
        ],
    }


def _plain(t: Time, machine: Machine) -> dict[str, Any]:
    return {
        "name": t.name,
        "how": t.how,
        "seconds": t.seconds,
        "quartiles": [t.low, t.high],
        "samples": t.samples,
        "extrapolated_from": t.small or None,
        "flops_per_second": t.rate,
        "share_of_peak": t.rate / machine.peak if t.here else None,
        "bytes": t.moved,
        "flops_per_byte": t.intensity,
        "share_of_roof": t.rate / machine.roof(t.intensity) if t.here else None,
        "error": t.error,
        "share_of_bound": t.used,
    }
