"""Callbacks by Keras's names: told of a model's training as it goes."""

import csv
import io
import operator
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minidl.files import append, replace, writing
from minidl.nn.module import not_offered

__all__ = [
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "ModelCheckpoint",
    "ReduceLROnPlateau",
]

Logs = dict[str, Any] | None


class Callback:
    """Does something at moments of `fit`; a subclass defines those that it needs.

    model : the model that is trained; `model.stop_training = True` ends `fit` after the epoch
    params : {"epochs": …, "steps": batches of an epoch, "verbose": …}

    Epochs and batches are counted from 0. `logs` holds the figures so far, by History's names.
    """

    model: Any = None
    params: dict[str, Any]

    def set_model(self, model: Any) -> None:
        """Take the model, before all else."""
        self.model = model

    def set_params(self, params: dict[str, Any]) -> None:
        """Take the numbers of epochs and steps."""
        self.params = params

    def on_train_begin(self, logs: Logs = None) -> None:
        """Before the first epoch."""

    def on_train_end(self, logs: Logs = None) -> None:
        """After the last epoch."""

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Before the first batch of an epoch."""

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """After an epoch and its validation; what is added to `logs` comes into the History."""

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """After the optimiser's step."""


class LambdaCallback(Callback):
    """Calls functions with what the methods of their names get."""

    def __init__(self, **functions: Callable[..., Any] | None) -> None:
        for name, function in functions.items():
            if name not in vars(Callback) or not name.startswith("on_"):
                raise NotImplementedError(f"LambdaCallback: {name} is not offered")
            if function is not None:
                setattr(self, name, function)


class History(Callback):
    """What `fit` returns: `history`, {name: its value in each epoch}; `epoch`: their numbers."""

    def __init__(self) -> None:
        self.history: dict[str, list[Any]] = {}
        self.epoch: list[int] = []

    def on_train_begin(self, logs: Logs = None) -> None:
        """Begin anew."""
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Note the figures."""
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)


class _Monitor(Callback):
    """What callbacks share that watch a figure.

    monitor : its name; mode : "min", "max", or "auto": by the name
    min_delta : by how much it must be better than the best
    """

    def __init__(self, monitor: str, mode: str, min_delta: float, best: float | None) -> None:
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"{type(self).__name__}: mode is {mode!r}, expected auto, min or max")
        if mode == "auto":
            rising = ("acc", "accuracy", "auc", "precision", "recall", "f1_score", "r2_score")
            mode = "max" if monitor.endswith(rising) else "min"
        self.monitor, self.mode = monitor, mode
        self.min_delta, self.best = abs(min_delta), best

    def _value(self, logs: Logs) -> float | None:
        """The figure, or None with a warning."""
        if self.monitor not in (logs or {}):
            there = ", ".join(logs or {})
            warnings.warn(
                f"{type(self).__name__}: there is no figure {self.monitor!r} (there is {there})",
                stacklevel=2,
            )
        return (logs or {}).get(self.monitor)

    def _better(self, value: float, than: float | None) -> bool:
        if than is None:
            return True
        sign = 1 if self.mode == "max" else -1
        return operator.gt(sign * value - self.min_delta, sign * than)

    def _say(self, text: str) -> None:
        if getattr(self, "verbose", 0):
            print(text)


class EarlyStopping(_Monitor):
    """Ends training after `patience` epochs in which a figure did not get better.

    baseline : what must be beaten for the count to begin anew
    restore_best_weights : the model gets the weights of its best epoch in the end
    start_from_epoch : epochs before it do not count
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta, None)
        self.patience, self.verbose, self.baseline = patience, verbose, baseline
        self.restore_best_weights, self.start_from_epoch = restore_best_weights, start_from_epoch
        self.wait = self.stopped_epoch = self.best_epoch = 0
        self.best_weights: list[Any] | None = None

    def on_train_begin(self, logs: Logs = None) -> None:
        """Begin anew."""
        self.wait = self.stopped_epoch = self.best_epoch = 0
        self.best = self.best_weights = None

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Compare, count, and stop."""
        value = self._value(logs)
        if value is None or epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            self.best_weights, self.best_epoch = self.model.get_weights(), epoch
        self.wait += 1
        if self._better(value, self.best):
            self.best, self.best_epoch = value, epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if self.baseline is None or self._better(value, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs = None) -> None:
        """Bring the best weights back."""
        if self.stopped_epoch:
            self._say(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.best_weights is not None:
            self._say(f"Restoring model weights from the best epoch: {self.best_epoch + 1}")
            self.model.set_weights(self.best_weights)


class ModelCheckpoint(_Monitor):
    """Writes the model's weights after each epoch, or each that is the best so far.

    filepath : may hold {epoch} (from 1) and names of figures, as in "{epoch:02d}-{val_loss:.2f}"
    save_weights_only : must be True: `model.load_weights` reads the file
    save_freq : "epoch", or a number of batches
    """

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        super().__init__(monitor, mode, 0.0, initial_value_threshold)
        if not save_weights_only:
            raise NotImplementedError(
                "ModelCheckpoint: save_weights_only=False is not offered; pass True, and make the "
                "model by its script before load_weights"
            )
        if save_freq != "epoch" and not isinstance(save_freq, int):
            raise ValueError(f"ModelCheckpoint: save_freq is {save_freq!r}")
        self.filepath, self.verbose = os.fspath(filepath), verbose
        self.save_best_only, self.save_freq = save_best_only, save_freq
        self._epoch = self._batches = 0

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Note the epoch."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Write after so many batches."""
        self._batches += 1
        if self.save_freq != "epoch" and self._batches >= int(self.save_freq):
            self._batches = 0
            self._save({"batch": batch + 1} | (logs or {}))

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Write after the epoch."""
        if self.save_freq == "epoch":
            self._save(dict(logs or {}))

    def _save(self, logs: dict[str, Any]) -> None:
        if self.save_best_only:
            value = self._value(logs)
            if value is not None:
                if not self._better(value, self.best):
                    self._say(f"Epoch {self._epoch + 1}: {self.monitor} did not improve")
                    return
                self.best = value
        try:
            path = Path(self.filepath.format(epoch=self._epoch + 1, **logs))
        except KeyError as error:
            raise KeyError(
                f"ModelCheckpoint: filepath holds {error}, there is epoch, {', '.join(logs)}"
            ) from None
        path.parent.mkdir(parents=True, exist_ok=True)
        self.model.save_weights(path)
        self._say(f"Epoch {self._epoch + 1}: saved the weights to {path}")


class ReduceLROnPlateau(_Monitor):
    """Multiplies the learning rate by `factor` where a figure has not got better for a while.

    patience : after so many epochs; cooldown : epochs after a change that do not count
    min_lr : the learning rate goes no lower
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(monitor, mode, min_delta, None)
        not_offered("ReduceLROnPlateau", **options)
        if not factor < 1:
            raise ValueError(f"ReduceLROnPlateau: factor is {factor}, expected less than 1")
        self.factor, self.patience, self.verbose = factor, patience, verbose
        self.cooldown, self.min_lr = cooldown, min_lr
        self.cooldown_counter = self.wait = 0

    def on_train_begin(self, logs: Logs = None) -> None:
        """Begin anew."""
        self.best = None
        self.cooldown_counter = self.wait = 0

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Compare, count, and lower the rate."""
        optimizer = self.model.optimizer
        if logs is not None:
            logs["learning_rate"] = optimizer.learning_rate
        value = self._value(logs)
        if value is None:
            return
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.wait = 0
        if self._better(value, self.best):
            self.best, self.wait = value, 0
        elif self.cooldown_counter <= 0:
            self.wait += 1
            if self.wait >= self.patience and optimizer.learning_rate > self.min_lr:
                optimizer.learning_rate = max(optimizer.learning_rate * self.factor, self.min_lr)
                self.cooldown_counter, self.wait = self.cooldown, 0
                self._say(f"Epoch {epoch + 1}: learning rate is now {optimizer.learning_rate:g}")


class CSVLogger(Callback):
    """Writes a line of figures for each epoch to a file.

    append : go on with a file that is there, without a second heading
    """

    def __init__(
        self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False
    ) -> None:
        self.filename, self.separator, self.append = Path(filename), separator, append
        self._names: list[str] = []

    def on_train_begin(self, logs: Logs = None) -> None:
        """Begin the file, or see whether there is one to go on with."""
        self._names = []
        with writing("CSVLogger", self.filename):
            if not self.append:
                replace(self.filename, b"")
            self._headed = self.filename.exists() and self.filename.stat().st_size > 0

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Write a line, and before the first the heading."""
        text = io.StringIO()
        writer = csv.writer(text, delimiter=self.separator)
        if not self._names:
            self._names = sorted(logs or {})
            if not self._headed:
                writer.writerow(["epoch", *self._names])
        writer.writerow([epoch, *[(logs or {}).get(name, "NA") for name in self._names]])
        with writing("CSVLogger", self.filename):
            append(self.filename, text.getvalue())
