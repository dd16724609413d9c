"""The bug lab's command line: `python -m minidl.testing.buglab [command]`.

Returns 0 when done or solved, 1 when an answer is not right yet, 2 for what cannot be done.
"""

import argparse
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from minidl.testing.buglab import answers, terminal
from minidl.testing.buglab.exercise import AnswerError, Exercise, library

PROGRAM = "python -m minidl.testing.buglab"


def list_all(options: argparse.Namespace) -> int:
    """List the exercises."""
    chosen = [e for e in library().values() if options.level in (None, e.level)]
    rows = [(e.name, e.topic, "*" * e.level, e.title) for e in chosen]
    if options.markdown:
        print("| name | topic | level | what is computed |\n|---|---|---|---|")
        for name, *cells in rows:
            print("|", " | ".join([f"`{name}`", *(c.replace("|", "\\|") for c in cells)]), "|")
        return 0
    terminal.table(f"{len(chosen)} wrong derivatives", ("name", "topic", "level", "what"), rows)
    print(f"\n{PROGRAM} show NAME | hint NAME [2] | solution NAME")
    print(f"{PROGRAM} start NAME [FOLDER] | try FILE … | check NAME FILE")
    return 0


def show(options: argparse.Namespace) -> int:
    """Show the code with the bug in it, and what the check says."""
    exercise = _find(options.name)
    terminal.heading(f"{exercise.name} ({exercise.topic}, level {exercise.level})\n")
    terminal.code(exercise.code())
    terminal.heading(f"{exercise.check} says\n")
    print(complaint(exercise, exercise.wrong, hide_cause=options.hide_cause))
    return 0


def hint(options: argparse.Namespace) -> int:
    """Give a first hint, or the second."""
    exercise = _find(options.name)
    terminal.say(exercise.hints[options.stage - 1])
    if options.stage == 1:
        print(f"\nMore: {PROGRAM} hint {exercise.name} 2")
    return 0


def solution(options: argparse.Namespace) -> int:
    """Tell the solution, with the mathematics."""
    terminal.say(_find(options.name).solution)
    return 0


def start(options: argparse.Namespace) -> int:
    """Write a file to mend; never over one that is there."""
    path = answers.start(_find(options.name), options.folder)
    print(f"wrote {path}; mend it, then: {PROGRAM} try {path}")
    return 0


def check(options: argparse.Namespace) -> int:
    """Check an answer to the exercise of that name."""
    return _judge(_find(options.name), options.file, options.hide_cause)


def try_files(options: argparse.Namespace) -> int:
    """Check answers in files that are named after their exercises."""
    return max(_judge(_find(Path(f).stem), f, options.hide_cause) for f in options.files)


def complaint(exercise: Exercise, candidate: object, *, hide_cause: bool = False) -> str:
    """Return what the check says of a candidate; nothing if it is right."""
    from minidl.testing import GradientError

    try:
        exercise.examine(candidate)
    except AnswerError as error:
        return str(error)
    except GradientError as error:
        if hide_cause and error.cause:
            error.cause = f"(hidden; `{PROGRAM} show {exercise.name}` tells it)"
        return str(error)
    return ""


def _find(name: str) -> Exercise:
    known = library()
    if name not in known:
        from difflib import get_close_matches

        near = get_close_matches(name, known, n=1)
        meant = f"did you mean {near[0]!r}?" if near else f"`{PROGRAM}` lists them"
        raise LookupError(f"there is no exercise {name!r}; {meant}")
    return known[name]


def _judge(exercise: Exercise, path: str, hide_cause: bool) -> int:
    """Print whether the answer in a file is right; 0 if it is, else 1."""
    try:
        answer = answers.read(exercise, path)
        said = complaint(exercise, answer, hide_cause=hide_cause)
    except AnswerError:
        raise
    except Exception as error:  # whatever the reader's own code may raise
        said = "".join(traceback.format_exception(error, limit=-1))
    if said:
        print(f"{exercise.name}: not yet\n\n{said}")
        print(f"\n{PROGRAM} hint {exercise.name}")
        return 1
    print(f"{exercise.name}: right. {PROGRAM} solution {exercise.name} tells the mathematics")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Classic wrong derivatives to mend.")
    parser.set_defaults(run=list_all, level=None, markdown=False)
    commands = parser.add_subparsers(metavar="command")

    def command(name: str, run: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
        made.set_defaults(run=run)
        return made

    listing = command("list", list_all)
    listing.add_argument("--level", type=int, choices=(1, 2, 3), help="only these")
    listing.add_argument("--markdown", action="store_true", help="as a table for a page")
    showing = command("show", show)
    hinting = command("hint", hint)
    solving = command("solution", solution)
    starting = command("start", start)
    checking = command("check", check)
    for made in (showing, hinting, solving, starting, checking):
        made.add_argument("name", help="of the exercise")
    hinting.add_argument("stage", type=int, nargs="?", choices=(1, 2), default=1)
    starting.add_argument("folder", nargs="?", default=".")
    checking.add_argument("file", help="with your answer")
    trying = command("try", try_files)
    trying.add_argument("files", nargs="+", metavar="file", help="NAME.py, as `start` writes it")
    for made in (showing, checking, trying):
        made.add_argument("--hide-cause", action="store_true", help="find out by yourself")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # formulas on a terminal without their letters
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (AnswerError, LookupError, OSError) as error:
        print(error.args[-1] if isinstance(error, LookupError) else error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
