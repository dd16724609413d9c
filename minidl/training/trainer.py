"""Trainer: the loop over epochs and batches, with all that a training run needs around it."""

import os
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from minidl import random
from minidl.data import DataLoader
from minidl.errors import ShapeError
from minidl.nn import Module
from minidl.nn.utils import clip_grad_norm_
from minidl.optim import Optimizer
from minidl.tensor import Tensor
from minidl.training import nonfinite
from minidl.training.batches import as_loader, batch_size_of, form_of, moved, opened
from minidl.training.callbacks import EMA, Callback, Schedule
from minidl.training.checkpoint import Checkpoint
from minidl.training.evaluation import Evaluator, Step
from minidl.training.history import History
from minidl.training.interrupt import Interrupts
from minidl.training.logs import JSONLog
from minidl.training.progress import Display
from minidl.training.resume import capture, restore

__all__ = ["Trainer"]


class Trainer(Evaluator):
    """Trains a model, shows how it goes, and goes on bit for bit where it was stopped.

    Parameters
    ----------
    model : Module
    optimizer : Optimizer
        Of the model's parameters.
    loss : callable, optional
        A batch (x, y) has the loss `loss(model(x), y)`: one number, the mean over the samples.
    step : callable, optional
        For other batches and losses: step(model, batch) -> (loss, outputs, targets). Outputs and
        targets go to the metrics and may be None where there are none.
    metrics : names or objects of `minidl.metrics`, each of another name
    schedule : a schedule of the learning rate, or a `Schedule` that says when it steps
    clip_norm : float, optional
        The largest norm of all gradients taken together.
    device : str, optional
        Where to compute: the model is moved there now, each batch when it comes.
    callbacks : Callbacks, told of each moment in this order, an `EMA` before the others
    checkpoint : Checkpoint or folder, optional
        Where to keep the state for `fit(resume=True)`; a log.jsonl is kept there as well.

    Attributes
    ----------
    epoch, batch, steps : int
        The epoch that runs or comes next (from 0), batches done in it, batches done in all.
    history : History
    validates : bool
        Whether `fit` was given validation data.
    stopped : str or None
        Why training was stopped early.
    seconds : float
        Time spent in `fit`, that before a resume included.

    Examples
    --------
    >>> import minidl
    >>> from minidl import nn, optim
    >>> from minidl.training import Trainer
    >>> minidl.manual_seed(0)
    >>> model = nn.Linear(1, 1)
    >>> trainer = Trainer(model, optim.SGD(model.parameters(), lr=0.1), nn.MSELoss())
    >>> x = minidl.linspace(-1, 1, 64).reshape(64, 1)
    >>> history = trainer.fit((x, 3 * x), epochs=60, verbose=0)
    >>> history.epochs[-1]["loss"] < 0.01
    True
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        loss: Callable[[Any, Any], Tensor] | None = None,
        *,
        step: Step | None = None,
        metrics: Any = (),
        schedule: Any = None,
        clip_norm: float | None = None,
        device: str | None = None,
        callbacks: Iterable[Callback] | Callback | None = (),
        checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(model, loss, step, metrics, device)
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"Trainer: optimizer is a {type(optimizer).__name__}, expected one of minidl.optim"
            )
        if clip_norm is not None and not clip_norm > 0:
            raise ValueError(f"Trainer: clip_norm is {clip_norm}, expected more than 0")
        self.optimizer, self.clip_norm = optimizer, clip_norm
        self._check_parameters(checkpoint is not None)
        if checkpoint is not None and not isinstance(checkpoint, Checkpoint):
            checkpoint = Checkpoint(checkpoint)
        self.checkpoint = checkpoint
        given = [callbacks] if isinstance(callbacks, Callback) else list(callbacks or ())
        self.callbacks = self._all_callbacks(given, schedule)
        self.history = History()
        self._forget()

    def _check_parameters(self, saves: bool) -> None:
        """Raise ValueError for an optimiser of another model, or of what no checkpoint holds."""
        own = {id(p) for p in self.model.parameters()}
        held = [id(p) in own for group in self.optimizer.param_groups for p in group["params"]]
        if held and not any(held):
            raise ValueError(
                "Trainer: the optimizer holds no parameter of the model; make it of this model's "
                "parameters()"
            )
        if saves and not all(held):
            raise ValueError(
                f"Trainer: {held.count(False)} of the optimizer's parameters are not the model's, "
                "so a checkpoint would not hold them; make them part of the model"
            )

    def _all_callbacks(self, callbacks: list[Callback], schedule: Any) -> list[Callback]:
        for callback in callbacks:
            if not isinstance(callback, Callback):
                raise TypeError(
                    f"Trainer: a callback is a {type(callback).__name__}; "
                    "derive it from minidl.training.Callback"
                )
        if schedule is not None:
            schedule = schedule if isinstance(schedule, Schedule) else Schedule(schedule)
            callbacks.append(schedule)
        for callback in callbacks:
            if isinstance(callback, Schedule) and callback.optimizer is not self.optimizer:
                raise ValueError("Trainer: the schedule was made for another optimizer")
        if self.checkpoint is not None:
            path = self.checkpoint.folder / "log.jsonl"
            if not any(isinstance(c, JSONLog) and c.path == path for c in callbacks):
                callbacks.append(JSONLog(path))
        return sorted(callbacks, key=lambda callback: not isinstance(callback, EMA))

    def _forget(self) -> None:
        """Set everything that a run counts to its beginning."""
        self.epoch = self.batch = self.steps = self.samples = 0
        self.loss_sum = self.seconds = 0.0
        self.stopped: str | None = None
        self._form: Any = None
        self._whole = True  # between two batches: what a checkpoint may hold
        self._saved: tuple[int, int] | None = None
        self.validates = False
        parts: list[Any] = [*self.metrics, *self.callbacks]
        for part in parts:
            part.reset()

    # ---- training -------------------------------------------------------------------------------

    def fit(
        self,
        data: Any,
        epochs: int,
        *,
        batch_size: int = 32,
        validation: Any = None,
        resume: bool = False,
        verbose: int = 1,
    ) -> History:
        """Train until `epochs` epochs are done, and return the history.

        data : a DataLoader, a Dataset, or arrays (x, y); but for a DataLoader, shuffled and cut
            into batches of `batch_size`
        validation : data that the model is judged by after each epoch
        resume : go on from the newest checkpoint; without one, start afresh
        verbose : 0 quiet, 1 a bar on a terminal and lines elsewhere, 2 lines

        Ctrl-C ends at the end of the batch, after a checkpoint. Raises FloatingPointError for a
        loss or gradient that is NaN or infinite, with the data, weight or operation it came from.
        """
        if isinstance(epochs, bool) or not isinstance(epochs, int | np.integer) or epochs < 0:
            raise ValueError(f"fit: epochs is {epochs!r}, expected a whole number from 0")
        if resume and self.checkpoint is None:
            raise ValueError("fit: resume=True needs Trainer(checkpoint=…), the folder to go on in")
        loader = as_loader("fit", data, batch_size, shuffle=True)
        check = None
        if validation is not None:
            check = as_loader("fit: validation", validation, batch_size, shuffle=False)
        display = Display(verbose, epochs)
        self.history = History()
        self._forget()
        self._loaders, self.validates = (loader, check), check is not None
        self._clock = lambda: 0.0
        if self.checkpoint is not None:
            self.checkpoint.begin()
            found = self.checkpoint.load() if resume else None
            if found is not None:
                restore(self, loader, check, *found)
                self._saved = (self.epoch, self.batch)
                display.say(f"resumed after {self._place()}")
            elif self.checkpoint.latest() is not None:
                self._save()  # a resume before the first one of this run would find another run
        begun, before = time.monotonic(), self.seconds
        self._clock = lambda: before + time.monotonic() - begun
        with Interrupts() as self._interrupts:
            try:
                self._tell("on_fit_begin")
                while self.epoch < epochs and self.stopped is None:
                    self._epoch(loader, check, display)
                if self._whole:
                    self._save()
                self._tell("on_fit_end")
            except KeyboardInterrupt:
                display.close()
                display.say(self._interrupted())
                raise
            finally:
                display.close()
                self.seconds = self._clock()
        if self.stopped is not None:
            display.say(f"stopped after {self._place()}: {self.stopped}")
        return self.history

    def stop(self, reason: str) -> None:
        """End training after this epoch; for callbacks."""
        self.stopped = reason

    def _epoch(self, loader: DataLoader, check: DataLoader | None, display: Display) -> None:
        if self.batch == 0:
            self._tell("on_epoch_begin", self.epoch)
        self.model.train()
        display.begin(self.epoch, self.batch, len(loader))
        with opened(loader, loader.epoch, self.batch) as batches:
            for batch in batches:
                if not self._one(batch, loader):
                    return
                display.advance(self.loss_sum / self.samples)
                self._save_if_due(epoch_ended=False)
                self._interrupts.obey()
        logs: dict[str, Any] = {"epoch": self.epoch + 1, "steps": self.steps}
        logs |= self._figures(self.loss_sum, self.samples, self.metrics)
        try:
            self._tell("on_evaluation_begin")
            if check is not None:
                found = self._validated(check)
                logs |= {f"val_{name}": value for name, value in found.items()}
            logs["lr"] = float(self.optimizer.param_groups[0]["lr"])
            self._whole = False
            self.history.epochs.append(logs)
            self._tell("on_epoch_end", self.epoch, logs)
        finally:
            self._tell("on_evaluation_end")
        self.epoch, self.batch, self.loss_sum, self.samples = self.epoch + 1, 0, 0.0, 0
        for metric in self.metrics:
            metric.reset()
        loader.set_epoch(loader.epoch + 1)
        self._whole = True
        display.end(self.epoch - 1, logs)
        self._save_if_due(epoch_ended=True)
        self._interrupts.obey()

    def _validated(self, check: DataLoader) -> dict[str, Any]:
        """Judge by the validation data; interrupted, a resumed run does it with the same draws."""
        streams = random.get_state()
        try:
            return self._judged(check, self._interrupts.obey)
        except KeyboardInterrupt:
            random.set_state(streams)
            raise

    def _one(self, batch: Any, loader: DataLoader) -> bool:
        """Learn from a batch and tell the callbacks; False: a callback stops at a NaN."""
        self._whole = False
        with self._noting(f"epoch {self.epoch + 1}", loader, loader.epoch, self.batch, batch):
            try:
                with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # told below
                    value = self._learn(moved(batch, self.device))
            except FloatingPointError as error:
                self._tell("on_nonfinite", error)
                if self.stopped is None:
                    raise
                return False
        self.batch, self.steps = self.batch + 1, self.steps + 1
        self._tell("on_batch_end", self.steps, {"loss": value})
        self._whole = True
        return True

    def _learn(self, batch: Any) -> float:
        """One step of the optimiser; returns the batch's loss."""
        form = form_of(batch)
        self._form = self._form or form
        if form != self._form:
            raise ShapeError(
                f"fit: batches differ: this one is {form}, those before were {self._form}; "
                "make all items of the data set of one form"
            )
        streams = random.get_state()
        loss, outputs, targets = self._forward(batch)
        if not loss.requires_grad:
            raise ValueError(
                "fit: the loss depends on no parameter that requires a gradient; is a step "
                "computed under no_grad, or are all parameters held fixed?"
            )
        value = float(loss.item())
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        if value - value == 0:  # neither NaN nor infinite
            self.optimizer.zero_grad()
            loss.backward()
        if value - value != 0 or not nonfinite.gradients_finite(parameters):
            raise self._nonfinite(value, batch, streams)
        if self.clip_norm is not None:
            clip_grad_norm_(parameters, self.clip_norm)
        self.optimizer.step()
        size = batch_size_of(batch)
        self.loss_sum, self.samples = self.loss_sum + value * size, self.samples + size
        self._count(self.metrics, outputs, targets)
        return value

    def _nonfinite(self, value: float, batch: Any, streams: dict[str, Any]) -> FloatingPointError:
        def again() -> None:
            self.optimizer.zero_grad()
            self._forward(batch)[0].backward()

        cause = nonfinite.cause_in_data(batch) or nonfinite.cause_in_weights(self.model)
        cause = cause or nonfinite.cause_in_ops(again, streams)
        self.optimizer.zero_grad()
        what = f"the loss is {value}" if value - value != 0 else "a gradient is not finite"
        where = f"batch {self.batch + 1} of epoch {self.epoch + 1}"
        return FloatingPointError(f"fit: {what} in {where}; {cause or 'its cause was not found'}")

    # ---- checkpoints, callbacks -----------------------------------------------------------------

    def _save_if_due(self, epoch_ended: bool) -> None:
        if self.checkpoint is not None and self.checkpoint.due(self.epoch, self.steps, epoch_ended):
            self._save()

    def _save(self) -> None:
        """Write a checkpoint, unless there is one of this place."""
        if self.checkpoint is not None and self._saved != (self.epoch, self.batch):
            self.seconds = self._clock()
            self.checkpoint.save(capture(self, *self._loaders), self.model.state_dict())
            self._saved = (self.epoch, self.batch)

    def _interrupted(self) -> str:
        """Save if the state is whole; say what there is."""
        text = f"interrupted after {self._place()}"
        if self.checkpoint is None:
            return f"{text}; nothing was saved, for no checkpoint was asked for"
        if self._whole:
            self._save()
        latest = self.checkpoint.latest()
        where = "there is no checkpoint yet" if latest is None else f"the checkpoint is {latest}"
        return f"{text}; {where}; go on with resume=True"

    def _place(self) -> str:
        if self.batch == 0:
            return f"epoch {self.epoch}"
        return f"batch {self.batch} of epoch {self.epoch + 1}"

    def _tell(self, moment: str, *values: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, moment)(self, *values)
