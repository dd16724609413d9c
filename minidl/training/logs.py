"""Logs of a training run: files that are a function of its history, and TensorBoard."""

import csv
import io
import json
import math
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidl.files import append, replace, writing
from minidl.training.batches import plain
from minidl.training.callbacks import Callback

if TYPE_CHECKING:
    from minidl.training.trainer import Trainer

__all__ = ["CSVLog", "JSONLog", "TensorBoardLog"]

Path_ = str | os.PathLike[str]


class FileLog(Callback):
    """What the files share: a line for each epoch of the history, and nothing else.

    The file is begun anew from the history when training begins. So a run that is resumed has the
    epochs that its checkpoint knows and no others, and ends with the file of an undisturbed run.
    """

    def __init__(self, path: Path_) -> None:
        self.path = Path(path)
        self._columns: list[str] = []

    def on_fit_begin(self, trainer: "Trainer") -> None:
        """Write the epochs so far, or an empty file."""
        with writing(type(self).__name__, self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._rewrite(trainer.history.epochs)

    def on_epoch_end(self, trainer: "Trainer", epoch: int, logs: dict[str, Any]) -> None:
        """Add the epoch's line; a figure that is new changes the head of a table."""
        with writing(type(self).__name__, self.path):
            if set(logs) <= set(self._columns):
                append(self.path, self.line(logs, self._columns))
            else:
                self._rewrite(trainer.history.epochs)

    def _rewrite(self, epochs: list[dict[str, Any]]) -> None:
        self._columns = list(dict.fromkeys(name for logs in epochs for name in logs))
        lines = [self.line(logs, self._columns) for logs in epochs]
        replace(self.path, (self.head(self._columns) + "".join(lines)).encode())

    def head(self, columns: list[str]) -> str:
        """Return what stands above the epochs."""
        return ""

    def line(self, logs: dict[str, Any], columns: list[str]) -> str:
        """Return an epoch's line."""
        raise NotImplementedError(f"{type(self).__name__} does not say how a line looks (line)")


class JSONLog(FileLog):
    """A JSON object a line, one for each epoch; NaN and infinity, which JSON lacks, are null.

    path : usually …/log.jsonl. A Trainer with a checkpoint keeps one in its folder by itself.
    """

    def line(self, logs: dict[str, Any], columns: list[str]) -> str:
        """The epoch as JSON."""
        return json.dumps(_finite(plain(logs)), allow_nan=False) + "\n"


class CSVLog(FileLog):
    """A table with a row for each epoch, for spreadsheets and pandas."""

    def head(self, columns: list[str]) -> str:
        """The names of the columns."""
        return _row(columns) if columns else ""

    def line(self, logs: dict[str, Any], columns: list[str]) -> str:
        """The epoch's figures; empty where it has none."""
        return _row([logs.get(name, "") for name in columns])


class TensorBoardLog(Callback):
    """Curves for TensorBoard, in a folder; needs the package tensorboardX (minidl[tensorboard]).

    TensorBoard's files hold the time of day, so they are no part of what a resumed run repeats;
    epochs that it runs again take the place of those before.
    """

    def __init__(self, folder: Path_) -> None:
        self.folder = Path(folder)
        self._writer: Any = None
        _summary_writer()

    def on_fit_begin(self, trainer: "Trainer") -> None:
        """Open a file that goes on after the epochs so far."""
        done = len(trainer.history.epochs)
        self._writer = _summary_writer()(
            str(self.folder),
            purge_step=done + 1 if done else None,
            # The name has the second, and a file begun in the same one would be overwritten.
            filename_suffix=f".{time.time_ns()}",
        )

    def on_epoch_end(self, trainer: "Trainer", epoch: int, logs: dict[str, Any]) -> None:
        """Write each figure that is a number."""
        for name, value in logs.items():
            if name not in ("epoch", "steps") and isinstance(value, int | float):
                kind = "validation" if name.startswith("val_") else "training"
                self._writer.add_scalar(f"{name.removeprefix('val_')}/{kind}", value, epoch + 1)
        self._writer.flush()

    def on_fit_end(self, trainer: "Trainer") -> None:
        """Close the file."""
        self._writer.close()


def _summary_writer() -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise ImportError(
            "TensorBoardLog needs tensorboardX: pip install 'minidl[tensorboard]'"
        ) from None
    return SummaryWriter


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _row(values: list[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()
