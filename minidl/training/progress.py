"""How a training run shows itself: a bar on a terminal, plain lines elsewhere, or nothing."""

import time
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

__all__ = ["Display"]


class Display:
    """Shows epochs and batches.

    verbose : 0 nothing, 1 a line for each epoch and, on a terminal, a bar for its batches, 2 lines
        alone
    """

    def __init__(self, verbose: int, epochs: int, console: Console | None = None) -> None:
        if isinstance(verbose, bool):
            verbose = int(verbose)
        if verbose not in (0, 1, 2):
            raise ValueError(f"fit: verbose is {verbose!r}; use 0, 1 or 2")
        self.verbose, self.epochs = verbose, epochs
        self.console = console or Console(highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._begun = time.monotonic()

    def begin(self, epoch: int, done: int, batches: int) -> None:
        """Show the beginning of an epoch, of which `done` batches have been run before."""
        self._begun = time.monotonic()
        if self.verbose != 1 or not self.console.is_terminal:
            return
        columns = (
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=self.console, transient=True)
        self._bar.start()
        place = f"{epoch + 1}/{self.epochs}"
        self._task = self._bar.add_task("", total=batches, completed=done, epoch=place, text="")

    def advance(self, loss: float) -> None:
        """Show one batch more, and the mean loss so far."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, advance=1, text=f"loss {loss:.4f}")

    def end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Show what an epoch reached."""
        seconds = time.monotonic() - self._begun
        self.close()
        width = len(str(self.epochs))
        figures = "  ".join(
            f"{name.replace('_', ' ')} {_short(name, value)}"
            for name, value in logs.items()
            if name not in ("epoch", "steps") and isinstance(value, int | float)
        )
        self.say(f"epoch {epoch + 1:{width}}/{self.epochs}  {figures}  ({seconds:.1f} s)")

    def say(self, text: str) -> None:
        """Print a line, unless all is to be quiet."""
        if self.verbose:
            self.console.print(text, markup=False)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = self._task = None


def _short(name: str, value: float) -> str:
    return f"{value:.3g}" if name == "lr" else f"{value:.4f}"
