"""Checkpoints: when to write one, where it lies, and which one is the newest."""

import os
import re
import time
from pathlib import Path
from typing import Any

from minidl.errors import FormatError
from minidl.files import reason
from minidl.training.snapshot import read_folder, remove_folder, sweep, write_folder

__all__ = ["Checkpoint"]

_NAME = re.compile(r"checkpoint-(\d{6,})")


class Checkpoint:
    """A folder of checkpoints, each a folder of its own: checkpoint-000001 and so on.

    folder : where they lie; made if it is missing
    every_epochs : write one at the end of each so many epochs; None: not at their ends
    every_steps, every_seconds : also after so many batches, or when so much time has gone since
        the last one; in the middle of an epoch
    keep : how many to keep, the newest

    Each holds model.safetensors (weights and buffers, for `minidl.load`), optimizer, streams,
    loader's place and everything else in state.json and state.safetensors. It is written under
    another name, synced to the disk and renamed, and only then the oldest is removed: at every
    moment the last good one is whole. Raises ValueError for counts below 1.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        every_epochs: int | None = 1,
        every_steps: int | None = None,
        every_seconds: float | None = None,
        keep: int = 2,
    ) -> None:
        counts = {"every_epochs": every_epochs, "every_steps": every_steps, "keep": keep}
        for name, value in counts.items():
            if value is None and name != "keep":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"Checkpoint: {name} is {value!r}, expected 1 or more")
        if every_seconds is not None and not every_seconds > 0:
            raise ValueError(f"Checkpoint: every_seconds is {every_seconds!r}, expected above 0")
        self.folder, self.keep = Path(folder), keep
        self.every_epochs, self.every_steps = every_epochs, every_steps
        self.every_seconds = every_seconds
        self._last = time.monotonic()

    def due(self, epochs: int, steps: int, epoch_ended: bool) -> bool:
        """Whether to write one, after so many epochs and steps."""
        if epoch_ended:
            return self.every_epochs is not None and epochs % self.every_epochs == 0
        if self.every_steps is not None and steps % self.every_steps == 0:
            return True
        waited = time.monotonic() - self._last
        return self.every_seconds is not None and waited >= self.every_seconds

    def begin(self) -> None:
        """Make the folder, and take away what a stopped program left unfinished in it.

        Raises OSError if there can be no such folder.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OSError(
                error.errno,
                f"checkpoint: cannot make the folder {self.folder}: {reason(error)}; choose "
                "another",
            ) from None
        sweep(self.folder)
        self._last = time.monotonic()

    def all(self) -> list[Path]:
        """Return the complete checkpoints, the oldest first."""
        if not self.folder.is_dir():
            return []
        found = [(_NAME.fullmatch(path.name), path) for path in self.folder.iterdir()]
        numbered = [(int(match[1]), path) for match, path in found if match and path.is_dir()]
        return [path for _, path in sorted(numbered)]

    def latest(self) -> Path | None:
        """Return the newest checkpoint, or None."""
        return next(reversed(self.all()), None)

    def save(self, state: Any, weights: dict[str, Any]) -> Path:
        """Write a checkpoint and remove the oldest beyond `keep`.

        Raises OSError that says what remains, e.g. if the disk is full; the older ones are kept.
        """
        there = self.all()
        number = int(there[-1].name.rpartition("-")[2]) + 1 if there else 1
        path = self.folder / f"checkpoint-{number:06}"
        try:
            write_folder(path, state, model=weights)
        except OSError as error:
            remains = f"{there[-1]} is the last good one" if there else "there is none before it"
            raise OSError(
                error.errno,
                f"checkpoint: cannot write {path}: {reason(error)}; {remains}. "
                "Make room or choose another folder, then go on with resume=True",
            ) from None
        for old in [*there, path][: -self.keep]:
            remove_folder(old)
        self._last = time.monotonic()
        return path

    def load(self) -> tuple[Any, dict[str, Any]] | None:
        """Return state and weights of the newest checkpoint, or None if there is none.

        Raises FormatError for one that is damaged or of a newer format.
        """
        path = self.latest()
        if path is None:
            return None
        state, weights = read_folder(path, "model")
        if not isinstance(state, dict):
            raise FormatError(f"checkpoint: {path} holds no training run")
        return state, weights
