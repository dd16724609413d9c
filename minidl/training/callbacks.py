"""Callbacks: what happens beside the training itself, at the moments that a Trainer announces."""

import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from minidl.errors import FormatError
from minidl.files import writing
from minidl.optim import ExponentialMovingAverage, Optimizer
from minidl.optim.lr_scheduler import LRScheduler, OneCycleLR, ReduceLROnPlateau, WarmupLR
from minidl.serialization import load, save
from minidl.tensor import Tensor

if TYPE_CHECKING:
    from minidl.training.trainer import Trainer

__all__ = [
    "EMA",
    "BestModel",
    "Callback",
    "EarlyStopping",
    "LambdaCallback",
    "Schedule",
    "TerminateOnNaN",
    "TerminateOnTarget",
]


class Callback:
    """Does something at moments of a training run; a subclass defines those that it needs.

    Epochs are counted from 0, as the loader counts them; `logs["epoch"]`, for people, from 1. From
    `on_evaluation_begin` to `on_evaluation_end`, which is after all `on_epoch_end`, the model holds
    the weights that are judged. What a callback has to remember for a run that is resumed is its
    `state_dict()`: numbers, texts, arrays, and lists, tuples and dicts of them.
    """

    def reset(self) -> None:
        """Forget the run before; a run that is resumed has its state loaded after this."""

    def on_fit_begin(self, trainer: "Trainer") -> None:
        """Before the first epoch; a run that is resumed has its state by now."""

    def on_epoch_begin(self, trainer: "Trainer", epoch: int) -> None:
        """Before the first batch of an epoch."""

    def on_batch_end(self, trainer: "Trainer", step: int, logs: dict[str, Any]) -> None:
        """After the optimiser's step; `step` counts all batches, from 1; logs: its "loss"."""

    def on_evaluation_begin(self, trainer: "Trainer") -> None:
        """After the last batch of an epoch, before the validation data."""

    def on_epoch_end(self, trainer: "Trainer", epoch: int, logs: dict[str, Any]) -> None:
        """When the epoch's figures are known; what is added to `logs` is kept in the history."""

    def on_evaluation_end(self, trainer: "Trainer") -> None:
        """After all `on_epoch_end`, also where something failed since `on_evaluation_begin`."""

    def on_nonfinite(self, trainer: "Trainer", error: FloatingPointError) -> None:
        """A loss or gradient was NaN or infinite; `trainer.stop(reason)` keeps it from raising."""

    def on_fit_end(self, trainer: "Trainer") -> None:
        """After the last epoch; not after an error."""

    def state_dict(self) -> dict[str, Any]:
        """Return what is needed to resume."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume where `state_dict` was taken. Raises FormatError for another's state."""
        mine = self.state_dict()
        if not isinstance(state, dict) or state.keys() != mine.keys():
            raise FormatError(f"{type(self).__name__}: expected a state with {sorted(mine)}")
        for name, value in state.items():
            setattr(self, name, value)


class LambdaCallback(Callback):
    """Calls functions at the moments that their names say, with what a Callback's methods get.

    >>> from minidl.training import LambdaCallback
    >>> shown = LambdaCallback(on_epoch_end=lambda trainer, epoch, logs: print(logs["loss"]))
    """

    def __init__(self, **functions: Callable[..., Any]) -> None:
        for name, function in functions.items():
            if not (name.startswith("on_") and hasattr(Callback, name)):
                known = [n for n in vars(Callback) if n.startswith("on_")]
                raise TypeError(f"LambdaCallback: {name!r} is none of {', '.join(known)}")
            setattr(self, name, function)


# ---- figures that get better or not -------------------------------------------------------------


def figure(who: str, monitor: str, logs: dict[str, Any]) -> float:
    """Return one of an epoch's figures. Raises KeyError that lists what there is."""
    value = logs.get(monitor)
    if isinstance(value, bool) or not isinstance(value, int | float):
        there = ", ".join(name for name in logs if name not in ("epoch", "steps"))
        raise KeyError(f"{who}: monitor={monitor!r} is no number of this epoch; it has {there}")
    return float(value)


class Monitor(Callback):
    """What callbacks share that watch a figure: its best value so far, and the epoch.

    monitor : a name in the epoch's logs
    mode : "min" or "max": which way is better; "auto": "min" for losses and errors, else "max"
    min_delta : how much better counts as better; NaN never does
    """

    def __init__(self, monitor: str, mode: str, min_delta: float) -> None:
        if mode not in ("min", "max", "auto"):
            raise ValueError(f"{type(self).__name__}: mode is {mode!r}; use min, max or auto")
        if mode == "auto":
            small = ("loss", "error", "mae", "mse", "rmse", "perplexity", "nll")
            mode = "min" if monitor.removeprefix("val_").endswith(small) else "max"
        self.monitor, self.mode, self.min_delta = monitor, mode, abs(min_delta)
        self.reset()

    def reset(self) -> None:
        """No epoch has been seen."""
        self.best = math.inf if self.mode == "min" else -math.inf
        self.best_epoch = -1

    def on_fit_begin(self, trainer: "Trainer") -> None:
        """Raise ValueError now rather than after an epoch if there will be no such figure."""
        if self.monitor.startswith("val_") and not trainer.validates:
            raise ValueError(
                f"{type(self).__name__}: monitor={self.monitor!r} needs fit(validation=…)"
            )

    def better(self, epoch: int, logs: dict[str, Any]) -> bool:
        """Whether this epoch is the best so far, which is then remembered."""
        value = figure(type(self).__name__, self.monitor, logs)
        gain = self.best - value if self.mode == "min" else value - self.best
        if not gain > self.min_delta:
            return False
        self.best, self.best_epoch = value, epoch
        return True

    def state_dict(self) -> dict[str, Any]:
        """The best value and its epoch."""
        return {"best": self.best, "best_epoch": self.best_epoch}


def copied(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a model's state in memory of its own."""
    return {name: Tensor(tensor.data.copy()) for name, tensor in state.items()}


class EarlyStopping(Monitor):
    """Stops after `patience` epochs in a row in which a figure did not get better; 0 is as 1.

    restore_best : give the model its best weights back when training ends, stopped or not

    The other arguments are told at `Monitor`.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 5,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = False,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        if patience < 0:
            raise ValueError(f"EarlyStopping: patience is {patience}, expected 0 or more")
        self.patience, self.restore_best = patience, restore_best

    def reset(self) -> None:
        """No epoch has been seen."""
        super().reset()
        self.waited = 0
        self.weights: dict[str, Tensor] | None = None

    def on_epoch_end(self, trainer: "Trainer", epoch: int, logs: dict[str, Any]) -> None:
        """Count the epochs since the best."""
        if self.better(epoch, logs):
            self.waited = 0
            if self.restore_best:
                self.weights = copied(trainer.model.state_dict())
            return
        self.waited += 1
        if self.waited >= self.patience:
            trainer.stop(
                f"{self.monitor} has not got better than {self.best:.6g} (epoch "
                f"{self.best_epoch + 1}) for {self.waited} epochs"
            )

    def on_fit_end(self, trainer: "Trainer") -> None:
        """Bring the best weights back."""
        if self.weights is not None:
            trainer.model.load_state_dict(self.weights)

    def state_dict(self) -> dict[str, Any]:
        """The best value, its weights, and the epochs since."""
        return super().state_dict() | {"waited": self.waited, "weights": self.weights}


class BestModel(Monitor):
    """Keeps the weights of the best epoch, in memory or in a file.

    path : a .safetensors file, replaced whole at each better epoch; None: in memory

    `restore(model)` loads them. The other arguments are told at `Monitor`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        monitor: str = "val_loss",
        mode: str = "auto",
        min_delta: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.path = path

    def reset(self) -> None:
        """No epoch has been seen."""
        super().reset()
        self.weights: dict[str, Tensor] | None = None

    def on_epoch_end(self, trainer: "Trainer", epoch: int, logs: dict[str, Any]) -> None:
        """Take the weights if the epoch is the best so far."""
        if self.better(epoch, logs):
            state = trainer.model.state_dict()
            if self.path is None:
                self.weights = copied(state)
            else:
                text = {"monitor": self.monitor, "value": repr(self.best), "epoch": str(epoch + 1)}
                with writing("BestModel", self.path):
                    save(state, self.path, text)

    def restore(self, model: Any) -> None:
        """Load the best weights into a model. Raises RuntimeError if there are none yet."""
        if self.path is not None and self.best_epoch >= 0:
            model.load_state_dict(load(self.path, device="cpu"))
        elif self.weights is not None:
            model.load_state_dict(self.weights)
        else:
            raise RuntimeError("BestModel: no epoch has ended yet, so there is no best model")

    def state_dict(self) -> dict[str, Any]:
        """The best value and, where there is no file, its weights."""
        return super().state_dict() | {"weights": self.weights}


class TerminateOnTarget(Monitor):
    """Stops as soon as a figure reaches a value."""

    def __init__(self, target: float, monitor: str = "val_accuracy", mode: str = "auto") -> None:
        super().__init__(monitor, mode, 0.0)
        self.target = target

    def on_epoch_end(self, trainer: "Trainer", epoch: int, logs: dict[str, Any]) -> None:
        """Compare the figure with the target."""
        self.better(epoch, logs)
        sign = 1 if self.mode == "max" else -1
        if sign * self.best >= sign * self.target:
            trainer.stop(f"{self.monitor} is {self.best:.6g}, the target was {self.target:.6g}")


class TerminateOnNaN(Callback):
    """Stops at a NaN or infinite loss or gradient instead of raising FloatingPointError.

    The weights are those before the step that would have spoilt them; `trainer.stopped` says what
    was found, with the op's name.
    """

    def on_nonfinite(self, trainer: "Trainer", error: FloatingPointError) -> None:
        """Stop with the error's text."""
        trainer.stop(str(error))


# ---- rates and averages -------------------------------------------------------------------------


class Schedule(Callback):
    """Steps a schedule of the learning rate after each epoch or each batch.

    schedule : of `minidl.optim.lr_scheduler`
    every : "epoch" or "batch"; default: "batch" for OneCycleLR and WarmupLR, whose steps count
        batches, "epoch" for the others
    monitor : the figure for ReduceLROnPlateau; default: "val_loss" if there is one, else "loss"
    """

    def __init__(self, schedule: Any, every: str | None = None, monitor: str | None = None) -> None:
        if not isinstance(schedule, LRScheduler | ReduceLROnPlateau):
            raise TypeError(
                f"Schedule: got a {type(schedule).__name__}; expected a schedule of "
                "minidl.optim.lr_scheduler"
            )
        if every is None:
            every = "batch" if isinstance(schedule, OneCycleLR | WarmupLR) else "epoch"
        if every not in ("epoch", "batch"):
            raise ValueError(f"Schedule: every is {every!r}; use 'epoch' or 'batch'")
        self.schedule, self.every, self.monitor = schedule, every, monitor
        if isinstance(schedule, ReduceLROnPlateau) and every == "batch" and monitor != "loss":
            raise ValueError("Schedule: a plateau after each batch needs monitor='loss'")

    @property
    def optimizer(self) -> Optimizer:
        """Whose rate it is."""
        return self.schedule.optimizer

    def on_batch_end(self, trainer: "Trainer", step: int, logs: dict[str, Any]) -> None:
        """Step if it counts batches."""
        if self.every == "batch":
            self._step(logs)

    def on_epoch_end(self, trainer: "Trainer", epoch: int, logs: dict[str, Any]) -> None:
        """Step if it counts epochs."""
        if self.every == "epoch":
            self._step(logs)

    def _step(self, logs: dict[str, Any]) -> None:
        if isinstance(self.schedule, ReduceLROnPlateau):
            monitor = self.monitor or ("val_loss" if "val_loss" in logs else "loss")
            self.schedule.step(figure("ReduceLROnPlateau", monitor, logs))
        else:
            self.schedule.step()

    def state_dict(self) -> dict[str, Any]:
        """The schedule's own state."""
        return self.schedule.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume the schedule."""
        self.schedule.load_state_dict(state)


class EMA(Callback):
    """A running average of the weights, which validation uses and which the model has at the end.

    decay, warmup : of `minidl.optim.ExponentialMovingAverage`, moved after each batch
    keep : at the end leave the averages in the model; False: the last weights

    A Trainer runs it before other callbacks, so that BestModel and EarlyStopping keep the averages
    that were judged.
    """

    def __init__(self, decay: float = 0.999, warmup: bool = False, keep: bool = True) -> None:
        self.decay, self.warmup, self.keep = decay, warmup, keep
        self.average: ExponentialMovingAverage | None = None
        self._loaded: dict[str, Any] | None = None
        self._within: Any = None

    def on_fit_begin(self, trainer: "Trainer") -> None:
        """Begin the average at the weights as they are, or go on with that of a checkpoint."""
        parameters = list(trainer.model.parameters())
        self.average = ExponentialMovingAverage(parameters, self.decay, self.warmup)
        if self._loaded is not None:
            self.average.load_state_dict(self._loaded)
            self._loaded = None

    def on_batch_end(self, trainer: "Trainer", step: int, logs: dict[str, Any]) -> None:
        """Move the average."""
        if self.average is not None:
            self.average.update()

    def on_evaluation_begin(self, trainer: "Trainer") -> None:
        """Lend the averages to the model."""
        if self.average is not None:
            self._within = self.average.applied()
            self._within.__enter__()

    def on_evaluation_end(self, trainer: "Trainer") -> None:
        """Take them back."""
        if self._within is not None:
            self._within.__exit__(None, None, None)
            self._within = None

    def on_fit_end(self, trainer: "Trainer") -> None:
        """Leave the averages in the model."""
        if self.keep and self.average is not None:
            self.average.copy_to()

    def state_dict(self) -> dict[str, Any]:
        """The average's own state."""
        return {"average": None if self.average is None else self.average.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Keep the state until the model is known."""
        if not isinstance(state, dict) or state.keys() != {"average"}:
            raise FormatError("EMA: this is no EMA's state")
        self._loaded = state["average"]
