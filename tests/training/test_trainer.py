"""The Trainer: what it computes, what it shows, and what it says of bad input."""

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import minidl
from minidl import nn, ops, optim
from minidl.data import DataLoader, Dataset, TensorDataset
from minidl.errors import ShapeError
from minidl.nn import functional as F
from minidl.training import Callback, LambdaCallback, Trainer
from minidl.training.progress import Display

X = np.linspace(-1, 1, 40, dtype=np.float32).reshape(10, 4)
Y = np.arange(10) % 3


def trainer(loss: Any = F.cross_entropy, model: Any = None, lr: float = 0.1, **options: Any) -> Any:
    minidl.manual_seed(0)
    model = model or nn.Linear(4, 3)
    return Trainer(model, optim.SGD(model.parameters(), lr=lr), loss, **options)


# ---- what it computes ---------------------------------------------------------------------------


def test_it_is_the_loop_that_one_would_write() -> None:
    minidl.manual_seed(0)
    model = nn.Linear(4, 3)
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loader = DataLoader(TensorDataset(X, Y), 4, shuffle=True, seed=7)
    for _ in range(3):
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()

    minidl.manual_seed(0)
    mine = nn.Linear(4, 3)
    trained = Trainer(
        mine, optim.SGD(mine.parameters(), lr=0.1, momentum=0.9), F.cross_entropy, clip_norm=0.5
    )
    trained.fit(DataLoader(TensorDataset(X, Y), 4, shuffle=True, seed=7), 3, verbose=0)
    for a, b in zip(model.parameters(), mine.parameters(), strict=True):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
    assert trained.steps == 9


def test_judging_and_watching_change_no_bit_of_the_training() -> None:
    """Validation, metrics and a look at the data in between move no stream, weight or buffer."""

    def made() -> tuple[Any, Any, Any, Any]:
        minidl.manual_seed(5)
        model = nn.Sequential(
            nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 3)
        )
        optimizer = optim.AdamW(model.parameters(), lr=0.05)
        schedule = optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=6)
        return model, optimizer, schedule, DataLoader(TensorDataset(X, Y), 4, shuffle=True)

    model, optimizer, schedule, loader = made()
    losses = []
    for _ in range(2):
        total = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(x)  # the last batch has two samples
        losses.append(total / 10)
    streams = minidl.random.get_state()

    mine, optimizer, schedule, loader = made()
    look = LambdaCallback(on_batch_end=lambda trainer, *_: trainer.evaluate((X, Y)))
    trained = Trainer(
        mine, optimizer, F.cross_entropy, metrics="accuracy", schedule=schedule, callbacks=look
    )
    history = trained.fit(loader, 2, validation=(X, Y), verbose=0).history
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), mine.state_dict()[name].numpy())
    assert history["loss"] == losses
    state = minidl.random.get_state()
    assert state == streams
    assert mine.training


@given(st.integers(1, 12))
def test_losses_and_metrics_do_not_hang_on_the_size_of_batches(batch_size: int) -> None:
    """A batch counts by its samples: a smaller last one weighs less."""
    still = trainer(metrics=["accuracy"])
    figures = still.evaluate((X, Y), batch_size=batch_size)
    scores = still.model(minidl.tensor(X))
    assert figures["loss"] == pytest.approx(F.cross_entropy(scores, minidl.tensor(Y)).item(), 1e-5)
    assert figures["accuracy"] == float((scores.detach().numpy().argmax(1) == Y).mean())
    held = trainer(lr=0.0, metrics=["accuracy"])  # does not move: training figures are the same
    logs = held.fit((X, Y), 1, batch_size=batch_size, verbose=0).epochs[0]
    assert logs["loss"] == pytest.approx(figures["loss"], 1e-5)
    assert logs["accuracy"] == figures["accuracy"]


def test_a_step_of_ones_own_takes_any_batch() -> None:
    class Words(Dataset):
        def __len__(self) -> int:
            return 10

        def __getitem__(self, index: int) -> dict[str, Any]:
            return {"x": X[index], "y": int(Y[index]), "text": f"word {index}"}

    def step(model: Any, batch: Any) -> Any:
        assert isinstance(batch["text"], list)
        scores = model(batch["x"])
        return F.cross_entropy(scores, batch["y"]), scores, batch["y"]

    own = trainer(None, step=step, metrics=["accuracy"])
    logs = own.fit(Words(), 2, batch_size=4, validation=Words(), verbose=0).epochs[-1]
    assert list(logs) == ["epoch", "steps", "loss", "accuracy", "val_loss", "val_accuracy", "lr"]
    assert own.evaluate(Words())["accuracy"] == logs["val_accuracy"]


def test_predict_joins_batches_in_order_whatever_the_model_returns() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x: Any) -> Any:
            return {"scores": self.layer(x), "parts": (x, x.sum(1))}

    model = Two()
    out = trainer(model=model).predict(X, batch_size=3)
    np.testing.assert_array_equal(out["parts"][0].numpy(), X)
    np.testing.assert_allclose(out["parts"][1].numpy(), X.sum(1), rtol=1e-6, atol=1e-6)
    assert out["scores"].shape == (10, 3)
    assert not out["scores"].requires_grad
    assert trainer().predict((X, Y)).shape == (10, 3)  # of a pair the first part goes in


def test_predict_refuses_an_order_that_is_not_the_datas() -> None:
    loader = DataLoader(TensorDataset(X), 4, shuffle=True)
    with pytest.raises(ValueError, match="predict: the loader shuffles, .* pass the data set"):
        trainer().predict(loader)
    assert trainer().predict(loader.dataset).shape == (10, 3)


def test_modes_of_the_model_are_kept_by_judging() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5), nn.BatchNorm1d(3))
    model[2].eval()
    judged = trainer(model=model)
    before = model[2].running_mean.numpy().copy()
    judged.evaluate((X, Y))
    first, second = judged.predict(X), judged.predict(X)
    np.testing.assert_array_equal(first.numpy(), second.numpy())
    np.testing.assert_array_equal(model[2].running_mean.numpy(), before)
    assert [m.training for m in model] == [True, True, False]


def test_validation_is_in_evaluation_and_training_in_training() -> None:
    modes: list[tuple[bool, bool]] = []

    def loss(outputs: Any, targets: Any) -> Any:
        modes.append((watched.model.training, minidl.is_grad_enabled()))
        return F.cross_entropy(outputs, targets)

    watched = trainer(loss)
    watched.fit((X, Y), 2, batch_size=10, validation=(X, Y), verbose=0)
    assert modes == [(True, True), (False, False)] * 2


def test_it_moves_model_and_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    to = minidl.Tensor.to

    def watch(self: Any, *args: Any, **options: Any) -> Any:
        asked.append(options.get("device"))
        return to(self, *args, **options)

    monkeypatch.setattr(minidl.Tensor, "to", watch)
    trainer(device="cpu").fit((X, Y), 1, batch_size=5, verbose=0)
    assert asked == ["cpu"] * 4
    with pytest.raises(minidl.DeviceError, match="device 'tpu' is unknown"):
        trainer(device="tpu")


def test_a_second_fit_begins_a_new_history_and_new_orders() -> None:
    twice = trainer()
    first = twice.fit((X, Y), 2, verbose=0)
    second = twice.fit((X, Y), 1, verbose=0)
    assert (len(first.epochs), len(second.epochs), twice.steps) == (2, 1, 1)
    assert second.epochs[0]["loss"] < first.epochs[0]["loss"]


# ---- what it shows ------------------------------------------------------------------------------


def test_plain_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    trainer(metrics=["accuracy"]).fit((X, Y), 10, validation=(X, Y), verbose=1)
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 10
    assert out.startswith("epoch  1/10  loss 1.")
    for part in ("accuracy 0.", "val loss 1.", "val accuracy 0.", "lr 0.1", " s)"):
        assert part in out.splitlines()[-1]
    assert "\x1b" not in out


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    trainer().fit((X, Y), 2, verbose=0)
    assert capsys.readouterr() == ("", "")


def test_a_bar_on_a_terminal_goes_away_at_the_end_of_an_epoch() -> None:
    text = io.StringIO()
    display = Display(1, 2, Console(file=text, force_terminal=True, width=100, highlight=False))
    display.begin(0, 0, 3)
    for _ in range(3):
        display.advance(0.25)
    display.end(0, {"epoch": 1, "steps": 3, "loss": 0.25, "confusion": [[1, 0], [0, 1]]})
    shown = text.getvalue()
    assert "epoch 1/2" in shown
    assert "3/3" in shown
    assert "loss 0.2500" in shown
    assert shown.rstrip().endswith("s)")
    assert "confusion" not in shown


# ---- bad input ----------------------------------------------------------------------------------


def fails(kind: type[Exception], text: str, made: Any, data: Any = (X, Y), **options: Any) -> Any:
    with pytest.raises(kind) as error:
        made.fit(data, 1, verbose=0, batch_size=5, **options)
    assert text in str(error.value)
    assert error.value.__cause__ is None
    return error.value


@pytest.mark.parametrize("shuffle", [False, True])
def test_wrong_samples_are_named_by_their_place_in_the_data(shuffle: bool) -> None:
    labels = Y.copy()
    labels[7] = 3
    loader = DataLoader(TensorDataset(X, labels), 5, shuffle=shuffle, seed=1)
    number = next(n for n in (0, 1) if 7 in loader.items(0, n))
    place = loader.items(0, number).tolist().index(7)
    text = f"target holds class 3 at {place}, but the input has 3 classes"
    error = fails(IndexError, text, trainer(), loader)
    where = f"Trainer: in batch {number + 1} of epoch 1: item 7 of the data set"
    assert error.__notes__ == [where]
    spoilt = X.copy()
    spoilt[7, 2] = np.nan
    loader = DataLoader(TensorDataset(spoilt, Y), 5, shuffle=shuffle, seed=1)
    text = f"the data: batch[0] holds NaN: 1 of 20 numbers, the first at ({place}, 2)"
    error = fails(FloatingPointError, text, trainer(), loader)
    assert error.__notes__ == [where]


def test_several_wrong_samples_are_all_named_in_the_data_to_evaluate() -> None:
    spoilt = X.copy()
    spoilt[[6, 9], 1] = np.inf, np.nan
    with pytest.raises(FloatingPointError, match=r"batch\[0\] holds NaN: 2 of 20") as error:
        trainer().evaluate((spoilt, Y), batch_size=5)
    assert error.value.__notes__ == [
        "Trainer: in batch 2 of the data to evaluate: items 6, 9 of the data set"
    ]


def test_labels_that_are_no_samples_are_not_looked_up_in_the_data() -> None:
    def step(model: Any, batch: Any) -> Any:
        x, y = batch
        logits = model(x).repeat(2, 1)
        return F.cross_entropy(logits, ops.cat([y, y]) + 3), logits, None

    loader = DataLoader(TensorDataset(X, Y), 5)
    error = fails(IndexError, "10 of 10 labels are no class", trainer(None, step=step), loader)
    assert error.__notes__ == ["Trainer: in batch 1 of epoch 1"]


def test_any_other_error_names_the_samples_of_a_shuffled_batch() -> None:
    loader = DataLoader(TensorDataset(X[:, :2], Y), 5, shuffle=True, seed=1)
    error = fails(ShapeError, "linear", trainer(), loader)
    items = ", ".join(str(i) for i in loader.items(0, 0))
    assert error.__notes__ == [f"Trainer: in batch 1 of epoch 1, items {items} of the data set"]


def test_an_empty_data_set() -> None:
    fails(ValueError, "fit: the data set is empty", trainer(), (X[:0], Y[:0]))
    fails(ValueError, "fit: validation: the data set is empty", trainer(), validation=[])


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"x": X}, "data is a dict; pass a Dataset whose items are dicts"),
        ((X, "labels"), "data is a tuple of ndarray, str; expected a DataLoader"),
        (3, "data is a int; expected a DataLoader, a Dataset, an array or a tuple"),
    ],
)
def test_data_of_another_kind(data: Any, text: str) -> None:
    fails(TypeError, text, trainer(), data)


def test_arrays_of_differing_lengths() -> None:
    fails(ShapeError, "must agree in its size; got shapes (10, 4), (9,)", trainer(), (X, Y[:9]))


def test_batches_of_differing_keys() -> None:
    class Uneven(Dataset):
        def __len__(self) -> int:
            return 10

        def __getitem__(self, index: int) -> Any:
            return {"x": X[index]} | ({"late": 1} if index > 4 else {})

    def step(model: Any, batch: Any) -> Any:
        return model(batch["x"]).mean(), None, None

    error = fails(
        ShapeError, "batches differ: this one is a dict with the keys ['late', 'x'], those before "
        "were a dict with the keys ['x']", trainer(None, step=step), DataLoader(Uneven(), 5),
    )  # fmt: skip
    assert error.__notes__ == ["Trainer: in batch 2 of epoch 1"]


@pytest.mark.parametrize(
    ("loss", "kind", "text"),
    [
        (lambda o, t: F.cross_entropy(o, t, reduction="none"), ShapeError,
         "the loss has shape (5,), expected one number: use reduction='mean'"),
        (lambda o, t: 0.5, TypeError, "the loss is a float, expected a tensor"),
        (lambda o, t: o.detach().mean(), ValueError, "depends on no parameter"),
        (None, ValueError, "give loss=, or step= that returns one"),
    ],
)  # fmt: skip
def test_a_loss_that_is_none(loss: Any, kind: type[Exception], text: str) -> None:
    fails(kind, text, trainer(loss))


def test_a_batch_that_is_no_pair_and_a_step_that_returns_too_little() -> None:
    fails(ValueError, "a batch is a tuple of 3, not (x, y); give step=", trainer(), (X, X, Y))
    own = trainer(None, step=lambda model, batch: model(batch[0]).mean())
    fails(TypeError, "step: it returned a Tensor; expected (loss, outputs, targets)", own)


def test_metrics_on_wrong_shapes_and_without_targets() -> None:
    own = trainer(None, step=lambda m, b: (m(b[0]).mean(), m(b[0]), b[1]), metrics=["accuracy"])
    error = fails(ShapeError, "accuracy: ", own, (X, np.zeros((10, 2, 2), "int64")))
    assert error.__notes__ == [
        "Trainer: in batch 1 of epoch 1, items 2, 3, 0, 9, 4 of the data set"
    ]
    own = trainer(None, step=lambda m, b: (m(b[0]).mean(), m(b[0]), None), metrics=["accuracy"])
    fails(ValueError, "step: it returned no targets (None), but there are metrics", own)


def test_what_the_constructor_refuses() -> None:
    model = nn.Linear(4, 3)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(TypeError, match="model is a function, expected an nn.Module"):
        Trainer(fails, optimizer)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="optimizer is a str, expected one of minidl.optim"):
        Trainer(model, "adam")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="give loss= or step=, not both"):
        Trainer(model, optimizer, F.mse_loss, step=lambda m, b: b)
    with pytest.raises(ValueError, match="clip_norm is 0, expected more than 0"):
        Trainer(model, optimizer, clip_norm=0)
    with pytest.raises(TypeError, match="a callback is a function; derive it"):
        Trainer(model, optimizer, callbacks=[fails])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="the optimizer holds no parameter of the model"):
        Trainer(nn.Linear(4, 3), optimizer)
    both = optim.SGD([*model.parameters(), nn.Parameter([1.0])], lr=0.1)
    with pytest.raises(ValueError, match="1 of the optimizer's parameters are not the model's"):
        Trainer(model, both, checkpoint="unused")
    with pytest.raises(ValueError, match="two figures would be called 'accuracy'"):
        Trainer(model, optimizer, metrics=["accuracy", "accuracy"])
    other = optim.lr_scheduler.StepLR(optim.SGD(model.parameters(), lr=1), 1)
    with pytest.raises(ValueError, match="the schedule was made for another optimizer"):
        Trainer(model, optimizer, schedule=other)
    with pytest.raises(TypeError, match="Schedule: got a float; expected a schedule of"):
        Trainer(model, optimizer, schedule=0.1)
    assert Trainer(model, optimizer, metrics=None, callbacks=None).callbacks == []
    with pytest.raises(ValueError, match="epochs is -1"):
        trainer().fit((X, Y), -1)
    with pytest.raises(ValueError, match="verbose is 3; use 0, 1 or 2"):
        trainer().fit((X, Y), 1, verbose=3)


# ---- NaN ----------------------------------------------------------------------------------------


def test_nan_in_the_data_is_named_with_argument_and_place() -> None:
    bad = X.copy()
    bad[7, 2] = np.nan
    for name, run in (("fit", "fit"), ("evaluate", "evaluate")):
        made = trainer()
        loader = DataLoader(TensorDataset(bad, Y), 5)
        with pytest.raises(FloatingPointError) as error:
            made.fit(loader, 1, verbose=0) if run == "fit" else made.evaluate(loader)
        assert f"{name}: the loss is nan in batch 2" in str(error.value)
        assert "the data: batch[0] holds NaN: 1 of 20 numbers, the first at (2, 2)" in str(
            error.value
        )


def test_nan_in_a_parameter_is_named() -> None:
    model = nn.Linear(4, 3)
    model.bias.data[1] = np.inf
    fails(FloatingPointError, "the model: bias holds infinity: 1 of 3 numbers, the first at (1,)",
          trainer(model=model))  # fmt: skip


def test_nan_from_an_operation_is_named_with_the_users_line() -> None:
    def loss(outputs: Any, targets: Any) -> Any:
        return (outputs - 100).log().mean()

    made = trainer(loss)
    before = made.model.weight.detach().numpy().copy()
    error = fails(FloatingPointError, "NaN first in log: the result of its forward pass", made)
    assert f"called at {__file__}:{loss.__code__.co_firstlineno + 1}" in str(error)
    np.testing.assert_array_equal(made.model.weight.detach().numpy(), before)


def test_nan_in_a_gradient_alone_stops_before_the_weights_are_spoilt() -> None:
    def loss(outputs: Any, targets: Any) -> Any:
        return (outputs * 0).sqrt().mean()

    made = trainer(loss)
    before = made.model.weight.detach().numpy().copy()
    error = fails(FloatingPointError, "a gradient is not finite in batch 1 of epoch 1", made)
    assert "infinity first in sqrt: a gradient of its backward pass" in str(error)
    np.testing.assert_array_equal(made.model.weight.detach().numpy(), before)


def test_dropout_falls_as_before_when_the_cause_is_looked_for() -> None:
    """Whether a value is NaN may hang on chance; the second look has the same chance."""
    for seed in range(6):

        class Chancy(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.weight = nn.Parameter([1.0])

            def forward(self, x: Any) -> Any:
                return (F.dropout(self.weight * minidl.ones(1), 0.5, True) - 1).log()

        minidl.manual_seed(seed)
        model = Chancy()
        made = Trainer(model, optim.SGD(model.parameters(), lr=0.0), lambda o, t: o.mean())
        with pytest.raises(FloatingPointError, match="NaN first in log"):
            made.fit((X[:, :1], X[:, :1]), 20, batch_size=1, verbose=0)


def test_a_callback_hears_of_it_and_may_stop_it() -> None:
    heard: list[str] = []

    class Listener(Callback):
        def on_nonfinite(self, trainer: Trainer, error: FloatingPointError) -> None:
            heard.append(str(error))
            trainer.stop("heard")

    stopped = trainer(lambda o, t: o.mean() * float("inf"), callbacks=[Listener()])
    assert stopped.fit((X, Y), 3, verbose=0).epochs == []
    assert stopped.stopped == "heard"
    assert len(heard) == 1


def test_moments_come_in_order() -> None:
    seen: list[str] = []

    def watch(name: str) -> Any:
        return lambda *_: seen.append(name)

    names = [n for n in vars(Callback) if n.startswith("on_") and n != "on_nonfinite"]
    listener = LambdaCallback(**{name: watch(name[3:]) for name in names})
    trainer(callbacks=[listener]).fit((X, Y), 1, batch_size=5, verbose=0)
    assert seen == [
        "fit_begin", "epoch_begin", "batch_end", "batch_end", "evaluation_begin", "epoch_end",
        "evaluation_end", "fit_end",
    ]  # fmt: skip
