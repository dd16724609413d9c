"""`python -m minidl COMMAND …`: what minidl does from a shell; each has a file of its own."""

import difflib
import importlib
import sys
from collections.abc import Sequence

# By name: the module whose `main(arguments)` runs, and a line of help.
COMMANDS = {
    "card": ("minidl.cards.command", "card NAME …    the derivative cards of operations"),
    "race": (
        "minidl.race.command",
        "race OP …      every way to compute an operation: compared, then timed",
    ),
    "warmup": (
        "minidl_kernels.cpu.warmup",
        "warmup         compile the CPU kernels ahead",
    ),
}


def usage() -> str:
    """One line for each command."""
    lines = [f"    python -m minidl {text}" for _, text in COMMANDS.values()]
    return "\n".join(["usage: python -m minidl COMMAND …", *lines])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command with the rest of the arguments; return its exit status (2: bad usage)."""
    name, *rest = [*(sys.argv[1:] if arguments is None else arguments)] or [""]
    if name in ("", "-h", "--help", "help"):
        print(usage(), file=sys.stdout if name else sys.stderr)
        return 0 if name else 2
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        print(f"there is no command {name!r}{hint}\n{usage()}", file=sys.stderr)
        return 2
    return int(importlib.import_module(COMMANDS[name][0]).main(rest))


if __name__ == "__main__":
    sys.exit(main())
