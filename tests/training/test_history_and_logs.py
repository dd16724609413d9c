"""History and its picture; logs as JSONL, CSV and for TensorBoard."""

import csv
import io
import json
import math
import resource
import signal
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minidl import keras, nn, optim
from minidl.nn import functional as F
from minidl.training import (
    BestModel,
    CSVLog,
    History,
    JSONLog,
    LambdaCallback,
    TensorBoardLog,
    Trainer,
)

X = np.ones((4, 2), np.float32)
EPOCHS = [
    {"epoch": i + 1, "steps": 10 * i + 10, "loss": 2 / (i + 1), "accuracy": 1 - 0.5 / (i + 1),
     "val_loss": 2 / (i + 1) + 0.02 * i, "val_accuracy": 0.9 - 0.5 / (i + 1),
     "confusion": [[1, 2], [3, 4]], "lr": 0.01 * 0.7**i}
    for i in range(12)
]  # fmt: skip


def fit(*callbacks: Any, epochs: int = 2) -> Trainer:
    model = nn.Linear(2, 1)
    trainer = Trainer(model, optim.SGD(model.parameters(), lr=0.1), F.mse_loss, callbacks=callbacks)
    trainer.fit((X, X[:, :1]), epochs, validation=(X, X[:, :1]), verbose=0)
    return trainer


# ---- history ------------------------------------------------------------------------------------


def test_history_by_epoch_and_by_name() -> None:
    history = History([{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0, "f1": 0.5}])
    assert history.history == {"loss": [2.0, 1.0], "f1": [None, 0.5]}
    assert history.names() == ["loss", "f1"]
    assert repr(history) == "History(2 epochs: loss, f1)"


def test_the_best_epoch() -> None:
    history = History(EPOCHS)
    assert history.best()["epoch"] == 10
    assert history.best("accuracy", "max")["epoch"] == 12
    assert History([{"loss": math.nan}, {"loss": 3.0}]).best("loss")["loss"] == 3.0
    with pytest.raises(KeyError, match="no epoch has a number 'f1'"):
        history.best("f1")


def test_the_picture_has_a_panel_a_figure_with_both_curves(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figure = History(EPOCHS).plot(tmp_path / "history.png")
    assert (tmp_path / "history.png").read_bytes()[:4] == b"\x89PNG"
    titles = [axis.get_title() for axis in figure.axes if axis.axison]
    assert titles == ["loss", "accuracy", "learning rate"]
    training, validation = figure.axes[0].get_lines()
    np.testing.assert_array_equal(training.get_xdata(), range(1, 13))
    np.testing.assert_allclose(training.get_ydata(), [e["loss"] for e in EPOCHS])
    np.testing.assert_allclose(validation.get_ydata(), [e["val_loss"] for e in EPOCHS])
    assert [t.get_text() for t in figure.axes[0].get_legend().get_texts()] == [
        "training", "validation",
    ]  # fmt: skip
    assert len(figure.axes[2].get_lines()) == 1


@pytest.mark.parametrize("count", [1, 2, 7])
def test_any_number_of_panels_and_gaps(count: int, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    logs = [{f"m{i}": float(i) for i in range(count)}, {"m0": math.nan}, {"m0": 2.0}]
    figure = History(logs).plot(tmp_path / "history.svg")
    assert len([axis for axis in figure.axes if axis.axison]) == count


def test_nothing_to_draw_and_nothing_to_draw_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="History.plot needs Matplotlib: pip install"):
        History(EPOCHS).plot()
    monkeypatch.undo()
    pytest.importorskip("matplotlib")
    with pytest.raises(ValueError, match="there is no epoch to draw yet"):
        History().plot()


# ---- logs ---------------------------------------------------------------------------------------


def test_jsonl_has_a_line_an_epoch_and_nothing_of_clocks(tmp_path: Path) -> None:
    trainer = fit(JSONLog(tmp_path / "deep" / "log.jsonl"))
    lines = (tmp_path / "deep" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == trainer.history.epochs
    assert list(json.loads(lines[0])) == ["epoch", "steps", "loss", "val_loss", "lr"]
    assert trainer.seconds > 0


def test_what_json_lacks_is_null(tmp_path: Path) -> None:
    odd = LambdaCallback(
        on_epoch_end=lambda t, e, logs: logs.update(
            bad=math.nan, parts={"a": [math.inf, 1.0]}, small=np.float32(0.5), array=X[0]
        )
    )
    fit(odd, JSONLog(tmp_path / "log.jsonl"), epochs=1)
    text = (tmp_path / "log.jsonl").read_text()
    line = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert (line["bad"], line["parts"]) == (None, {"a": [None, 1.0]})
    assert (line["small"], line["array"]) == (0.5, [1.0, 1.0])


def test_csv_has_a_row_an_epoch_and_learns_of_new_columns(tmp_path: Path) -> None:
    def late(trainer: Trainer, epoch: int, logs: dict[str, Any]) -> None:
        if epoch == 1:
            logs["late, but here"] = 7

    fit(LambdaCallback(on_epoch_end=late), CSVLog(tmp_path / "log.csv"), epochs=3)
    text = (tmp_path / "log.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [row["late, but here"] for row in rows] == ["", "7", ""]
    assert text.splitlines()[0] == 'epoch,steps,loss,val_loss,lr,"late, but here"'


def test_a_log_of_a_run_before_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("old\n")
    fit(JSONLog(path), epochs=1)
    assert len(path.read_text().splitlines()) == 1


def test_tensorboard_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Any] = []

    class Writer:
        def __init__(self, folder: str, purge_step: int | None = None) -> None:
            said.append((folder, purge_step))

        def add_scalar(self, *values: Any) -> None:
            said.append(values)

        def flush(self) -> None:
            pass

        def close(self) -> None:
            said.append("closed")

    fake = types.ModuleType("tensorboardX")
    fake.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorboardX", fake)
    logs = fit(TensorBoardLog(tmp_path), epochs=1).history.epochs[0]
    assert said == [
        (str(tmp_path), None),
        ("loss/training", logs["loss"], 1),
        ("loss/validation", logs["val_loss"], 1),
        ("lr/training", logs["lr"], 1),
        "closed",
    ]


def test_tensorboard_writes_real_files_where_it_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    fit(TensorBoardLog(tmp_path))
    assert [path.name[:10] for path in tmp_path.iterdir()] == ["events.out"]


def test_without_tensorboard_it_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match="pip install 'minidl\\[tensorboard\\]'"):
        TensorBoardLog(tmp_path)


# ---- a full disk --------------------------------------------------------------------------------


@contextmanager
def room(size: int) -> Iterator[None]:
    """Let no file grow beyond so many bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def fit_keras(callback: Any) -> None:
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(X, X[:, :1], epochs=9, verbose=0, callbacks=[callback])


FULL: dict[str, Callable[[Path], Any]] = {
    "JSONLog": lambda path: fit(JSONLog(path), epochs=9),
    "CSVLog": lambda path: fit(CSVLog(path), epochs=9),
    "BestModel": lambda path: fit(BestModel(path)),
    "History.plot": lambda path: History(EPOCHS).plot(path.with_suffix(".png")),
    "CSVLogger": lambda path: fit_keras(keras.callbacks.CSVLogger(path)),
    "save_weights": lambda path: fit_keras(
        keras.callbacks.ModelCheckpoint(path, save_weights_only=True)
    ),
}


@pytest.mark.parametrize("who", FULL)
def test_a_full_disk_is_one_error_and_no_half_of_a_line(who: str, tmp_path: Path) -> None:
    text = f"{who}: cannot write .*/file.*; make room there"
    with room(150), pytest.raises(OSError, match=text) as error:
        FULL[who](tmp_path / "file")
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__
    for path in tmp_path.iterdir():  # what is there are whole lines
        assert who in ("JSONLog", "CSVLog", "CSVLogger")
        assert path.read_text().endswith("\n")
