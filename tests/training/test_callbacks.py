"""Callbacks: early stopping, best model, schedules, averages, stops; each is told of figures."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import nn, optim
from minidl.errors import FormatError
from minidl.nn import functional as F
from minidl.optim import lr_scheduler
from minidl.training import (
    EMA,
    BestModel,
    Callback,
    EarlyStopping,
    LambdaCallback,
    Schedule,
    TerminateOnNaN,
    TerminateOnTarget,
    Trainer,
)

X = np.linspace(-1, 1, 16, dtype=np.float32).reshape(8, 2)
Y = X[:, :1] * 2


def trainer(*callbacks: Callback, lr: float = 0.1, **options: Any) -> Trainer:
    minidl.manual_seed(0)
    model = nn.Linear(2, 1)
    optimizer = optim.SGD(model.parameters(), lr=lr)
    made = {name: value(optimizer) if callable(value) else value for name, value in options.items()}
    return Trainer(model, optimizer, F.mse_loss, callbacks=callbacks, **made)


class Figures(Callback):
    """Writes given figures into the logs, and the epoch into the weights, to be recognised by."""

    def __init__(self, *values: float, name: str = "val_score") -> None:
        self.values, self.name = values, name

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: dict[str, Any]) -> None:
        logs[self.name] = self.values[epoch]
        trainer.model.bias.data[...] = epoch


def fitted(epochs: int, *callbacks: Callback, **options: Any) -> Trainer:
    made = trainer(*callbacks, **options)
    made.fit((X, Y), epochs, batch_size=4, validation=(X, Y), verbose=0)
    return made


NAN = math.nan


@pytest.mark.parametrize(
    ("mode", "patience", "min_delta", "values", "epochs", "best"),
    [
        ("max", 2, 0, (1, 2, 1, 1, 3), 4, 2),
        ("max", 2, 0, (1, 2, 1, 3, 2, 1, 9), 6, 4),  # getting better starts the count anew
        ("max", 1, 0, (1, 1, 2), 2, 1),  # equal is not better
        ("max", 0, 0, (1, 2, 1, 5), 3, 2),
        ("max", 2, 0.5, (1, 1.4, 1.5, 9), 3, 1),  # and neither is a little
        ("min", 2, 0, (3, NAN, NAN, 1), 3, 1),  # NaN is never better
        ("min", 3, 0, (3, 2, 1), 3, 3),
    ],
)
def test_early_stopping_waits_for_its_patience(
    mode: str, patience: int, min_delta: float, values: Any, epochs: int, best: int
) -> None:
    early = EarlyStopping("val_score", patience, min_delta, mode, restore_best=True)
    trained = fitted(len(values), Figures(*values), early)
    assert len(trained.history.epochs) == epochs
    assert (trained.stopped is not None) == (epochs < len(values) or patience < epochs - best + 1)
    assert early.best_epoch == best - 1
    assert trained.model.bias.item() == best - 1  # restored, also where it was not stopped


def test_without_restore_best_the_last_weights_stay() -> None:
    trained = fitted(5, Figures(1, 2, 1, 1, 1), EarlyStopping("val_score", 2, mode="max"))
    assert trained.model.bias.item() == 3
    assert trained.stopped == ("val_score has not got better than 2 (epoch 2) for 2 epochs")


@pytest.mark.parametrize(
    ("monitor", "mode"), [("val_loss", "min"), ("loss", "min"), ("mae", "min"), ("val_f1", "max")]
)
def test_auto_knows_losses_from_scores(monitor: str, mode: str) -> None:
    assert EarlyStopping(monitor).mode == mode


def test_bad_options_and_missing_figures_are_told_at_once() -> None:
    with pytest.raises(ValueError, match="mode is 'up'; use min, max or auto"):
        EarlyStopping(mode="up")
    with pytest.raises(ValueError, match="patience is -1"):
        EarlyStopping(patience=-1)
    with pytest.raises(ValueError, match="monitor='val_loss' needs fit\\(validation=…\\)"):
        trainer(EarlyStopping()).fit((X, Y), 1, verbose=0)
    with pytest.raises(KeyError, match="monitor='f1' is no number of this epoch; it has loss, lr"):
        trainer(EarlyStopping("f1")).fit((X, Y), 1, verbose=0)
    with pytest.raises(TypeError, match="LambdaCallback: 'on_end' is none of on_fit_begin"):
        LambdaCallback(on_end=print)


def test_another_fit_begins_anew() -> None:
    early = EarlyStopping("val_score", 1, mode="max")
    made = trainer(Figures(5, 1, 1), early)
    made.fit((X, Y), 3, validation=(X, Y), verbose=0)
    made.callbacks[0].values = (1, 2, 3)  # type: ignore[attr-defined]
    assert len(made.fit((X, Y), 3, validation=(X, Y), verbose=0).epochs) == 3


@pytest.mark.parametrize("in_file", [False, True])
def test_best_model_keeps_the_best_weights(tmp_path: Path, in_file: bool) -> None:
    best = BestModel(tmp_path / "best.safetensors" if in_file else None, "val_score", "max")
    model = nn.Linear(2, 1)
    with pytest.raises(RuntimeError, match="there is no best model"):
        best.restore(model)
    trained = fitted(4, Figures(1, 7, 3, 7), best)
    assert trained.model.bias.item() == 3  # it restores only when asked
    best.restore(model)
    assert model.bias.item() == 1
    if in_file:
        assert minidl.read_metadata(tmp_path / "best.safetensors") == {
            "monitor": "val_score", "value": "7.0", "epoch": "2",
        }  # fmt: skip
        assert best.state_dict()["weights"] is None


def test_a_target_stops() -> None:
    trained = fitted(4, Figures(0.5, 0.9, 0.95), TerminateOnTarget(0.9, "val_score"))
    assert len(trained.history.epochs) == 2
    assert trained.stopped == "val_score is 0.9, the target was 0.9"


def test_terminate_on_nan_stops_without_an_error() -> None:
    made = trainer(TerminateOnNaN(), lr=1e30)
    made.fit((X, Y), 9, batch_size=4, verbose=0)
    assert made.stopped is not None
    assert "infinity" in made.stopped or "inf" in made.stopped
    assert np.isfinite(made.model.weight.detach().numpy()).all()


# ---- schedules ----------------------------------------------------------------------------------


def rates(epochs: int = 4, **options: Any) -> list[float]:
    seen: list[float] = []
    watch = LambdaCallback(
        on_batch_end=lambda trainer, step, logs: seen.append(
            trainer.optimizer.param_groups[0]["lr"]
        )
    )
    fitted(epochs, watch, lr=1.0, **options)
    return seen


def test_a_schedule_steps_after_each_epoch() -> None:
    found = rates(schedule=lambda optimizer: lr_scheduler.StepLR(optimizer, 2, 0.5))
    assert found == [1.0] * 4 + [0.5] * 4
    trained = fitted(4, lr=1.0, schedule=lambda o: lr_scheduler.StepLR(o, 2, 0.5))
    assert trained.history.history["lr"] == [1.0, 1.0, 0.5, 0.5]


def test_one_that_counts_batches_steps_after_each_batch() -> None:
    found = rates(2, schedule=lambda o: lr_scheduler.WarmupLR(o, 4, start_factor=0.2))
    assert found == pytest.approx([0.2, 0.4, 0.6, 0.8])
    found = rates(2, schedule=lambda o: Schedule(lr_scheduler.ExponentialLR(o, 0.5), "batch"))
    assert found == [1.0, 0.5, 0.25, 0.125]


def test_a_plateau_is_told_its_figure() -> None:
    def plateau(optimizer: Any) -> Schedule:
        schedule = lr_scheduler.ReduceLROnPlateau(optimizer, "max", 0.5, patience=0)
        return Schedule(schedule, monitor="val_score")

    trained = fitted(4, Figures(1, 2, 2, 3), lr=1.0, schedule=plateau)
    assert trained.history.history["lr"] == [1.0, 1.0, 1.0, 0.5]
    own = fitted(1, schedule=lambda o: lr_scheduler.ReduceLROnPlateau(o))
    schedule = next(c for c in own.callbacks if isinstance(c, Schedule)).schedule
    assert schedule.best == own.history.epochs[0]["val_loss"]


def test_what_a_schedule_refuses() -> None:
    optimizer = optim.SGD([minidl.ones(1).requires_grad_()], lr=1)
    schedule = lr_scheduler.StepLR(optimizer, 1)
    with pytest.raises(ValueError, match="every is 'day'; use 'epoch' or 'batch'"):
        Schedule(schedule, every="day")
    with pytest.raises(ValueError, match="needs monitor='loss'"):
        Schedule(lr_scheduler.ReduceLROnPlateau(optimizer), every="batch")


# ---- averages -----------------------------------------------------------------------------------


def test_ema_is_judged_and_kept_and_training_goes_on_from_the_weights() -> None:
    plain = fitted(3)
    weights: list[np.ndarray[Any, Any]] = []

    def note(trainer: Trainer, step: int, logs: dict[str, Any]) -> None:
        weights.append(trainer.model.weight.detach().numpy().copy())

    ema, best = EMA(0.5), BestModel()
    start = trainer().model.weight.detach().numpy().copy()
    averaged = fitted(3, best, LambdaCallback(on_batch_end=note), ema)
    np.testing.assert_array_equal(weights[-1], plain.model.weight.detach().numpy())
    expected = start
    for weight in weights:
        expected = expected + 0.5 * (weight - expected)
    np.testing.assert_allclose(averaged.model.weight.detach().numpy(), expected, rtol=1e-6)
    assert (
        averaged.evaluate((X, Y), batch_size=4)["loss"] == averaged.history.epochs[-1]["val_loss"]
    )
    assert averaged.history.epochs[-1]["loss"] == plain.history.epochs[-1]["loss"]
    best.restore(plain.model)  # the averages that were judged, not the weights beneath
    assert plain.evaluate((X, Y), batch_size=4)["loss"] == best.best


def test_ema_gives_the_weights_back_where_validation_fails() -> None:
    made = trainer(EMA(0.5, keep=False))
    with pytest.raises(ValueError, match="batch is a tuple of 3"):
        made.fit((X, Y), 1, batch_size=4, validation=(X, X, Y), verbose=0)
    same = trainer()
    same.fit((X, Y), 1, batch_size=4, verbose=0)
    np.testing.assert_array_equal(
        made.model.weight.detach().numpy(), same.model.weight.detach().numpy()
    )


def test_ema_may_leave_the_last_weights() -> None:
    a, b = fitted(2, EMA(0.5, keep=False)), fitted(2)
    np.testing.assert_array_equal(a.model.weight.detach().numpy(), b.model.weight.detach().numpy())


@pytest.mark.parametrize("callback", [EarlyStopping(), BestModel(), EMA(), TerminateOnNaN()])
def test_a_state_of_another_is_refused(callback: Callback) -> None:
    callback.load_state_dict(callback.state_dict())
    with pytest.raises(FormatError):
        callback.load_state_dict({"something": 1})
