"""`python -m minidl race OPERATION …`: compare and time all ways to compute an operation.

Exit status 0; 1 if the contenders disagree; 2 for a question that cannot be answered.
"""

import argparse
import difflib
import inspect
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from minidl.race.contest import Disagreement

__all__ = ["main"]

# Every keyword that an operation may have: its place holder, and what it is.
KEYWORDS = {
    "shape": ("N,C,…", "sizes of the input, with commas"),
    "weight": ("O,C,…", "sizes of the filters"),
    "size": ("K", "the width of a window"),
    "stride": ("N", "an int, or two with a comma"),
    "padding": ("N", "an int, or two with a comma"),
    "dilation": ("N", "an int, or two with a comma"),
    "groups": ("N", "how many groups of channels"),
}


def main(arguments: Sequence[str]) -> int:
    """Run the race that the arguments ask for; return the exit status."""
    from minidl.race.operations import OPERATIONS

    parser = _parser(OPERATIONS)
    try:
        options = parser.parse_args(arguments)
    except SystemExit as stop:  # argparse has said what is wrong, or printed the help
        return int(stop.code or 0)
    if options.operation not in OPERATIONS:
        near = difflib.get_close_matches(options.operation, OPERATIONS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        known = ", ".join(OPERATIONS)
        return _refuse(f"there is no race for {options.operation!r}{hint}\nthere is: {known}")
    try:
        return _run(OPERATIONS[options.operation], options)
    except Disagreement as error:
        print(error, file=sys.stderr)
        return 1
    except (ValueError, ImportError, OSError, MemoryError) as error:
        return _refuse(str(error) or type(error).__name__)


def _refuse(text: str) -> int:
    print(text, file=sys.stderr)
    return 2


def _parser(operations: dict[str, Callable[..., Any]]) -> argparse.ArgumentParser:
    lines = []
    for name, function in operations.items():
        lines.append(f"  {name:22} {inspect.getdoc(function)}".replace("\n", "\n" + " " * 25))
    parser = argparse.ArgumentParser(
        prog="python -m minidl race",
        description="One operation, computed in every way there is: compared, then timed.",
        epilog="operations:\n" + "\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("operation", help="conv2d, matmul … (below)")
    for name, (place, text) in KEYWORDS.items():
        parser.add_argument(f"--{name}", metavar=place, type=_sizes, help=text)
    parser.add_argument(
        "--pass", dest="passes", metavar="PASS", help="forward unless given, or all"
    )
    parser.add_argument(
        "--threads", type=int, metavar="N", help="all that minidl uses unless given"
    )
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="samples of each")
    parser.add_argument("--json", metavar="FILE", help="write the results")
    parser.add_argument("--plot", metavar="FILE", help="draw a roofline (needs Matplotlib)")
    return parser


def _sizes(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a list of whole numbers, as 8,64,56,56"
        ) from None


def _keywords(function: Callable[..., Any], options: argparse.Namespace) -> dict[str, Any]:
    """What an operation is called with. Raises ValueError for what it does not take."""
    takes = inspect.signature(function).parameters
    found: dict[str, Any] = {}
    for name in KEYWORDS:
        value = getattr(options, name)
        if value is None:
            continue
        if name not in takes:
            known = ", ".join(f"--{k}" for k in takes if k != "passes")
            raise ValueError(f"race {options.operation}: takes no --{name}, only {known}")
        many = name in ("shape", "weight") or len(value) > 1
        if many and name in ("size", "groups"):
            raise ValueError(f"race {options.operation}: --{name} is {value}, expected one number")
        found[name] = value if many else value[0]
    every = inspect.getmodule(function).PASSES  # type: ignore[union-attr]
    wanted = options.passes or every[0]
    if wanted != "all" and wanted not in every:
        raise ValueError(
            f"race {options.operation}: --pass is {wanted!r}, expected {', '.join(every)} or all"
        )
    return found | {"passes": every if wanted == "all" else (wanted,)}


def _run(function: Callable[..., Any], options: argparse.Namespace) -> int:
    from minidl import files
    from minidl.race import machine, picture, report
    from minidl.race.contest import race

    if options.plot:
        picture.figure_class()  # an error now, not after the race
    keywords = _keywords(function, options)
    if options.rounds < 1:
        raise ValueError(f"race: --rounds is {options.rounds}, expected at least 1")
    done = []
    with _threads(options.threads) as threads:
        contests = function(**keywords)
        if busy := machine.crowd(threads):
            print(f"race: {busy}", file=sys.stderr)
        limits, clock = machine.measure(threads), machine.clock_of(threads)
        for contest in contests:
            times = race(contest, options.rounds, clock=clock)
            done.append((contest, times))
            report.show(contest.problem.what, times, limits, contest.remarks)
    if options.json:
        text = json.dumps(report.as_json(limits, done), indent=1, ensure_ascii=False)
        with files.writing("race --json", options.json):
            files.replace(Path(options.json), f"{text}\n".encode())
    if options.plot:
        drawn = [(contest.problem.what, times) for contest, times in done]
        picture.draw(options.plot, limits, drawn)
    return 0


@contextmanager
def _threads(count: int | None) -> Iterator[int]:
    """Give minidl, BLAS and PyTorch so many threads (None: as minidl has); then as before."""
    import minidl
    from minidl.race import entrants

    library, before = entrants.torch(), minidl.get_num_threads()
    of_torch = library.get_num_threads() if library else 0
    try:
        minidl.set_num_threads(before if count is None else count)
        if library:
            library.set_num_threads(minidl.get_num_threads())
        yield minidl.get_num_threads()
    finally:
        minidl.set_num_threads(before)
        if library:
            library.set_num_threads(of_torch)
