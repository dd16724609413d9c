"""History and its picture; logs as JSONL, CSV and for TensorBoard."""

import csv
import io
import json
import math
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minidl import keras, metrics, nn, optim
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


def events(folder: Path) -> list[Any]:
    """TensorBoard's events in a folder, whose checksums are right, file after file."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import masked_crc32c

    found = []
    for path in sorted(folder.iterdir()):
        rest = path.read_bytes()
        while rest:  # size, its checksum, the event, its checksum
            (size,) = struct.unpack("<Q", rest[:8])
            event = rest[12 : 12 + size]
            checks = rest[8:12] + rest[12 + size : 16 + size]
            assert checks == struct.pack("<II", masked_crc32c(rest[:8]), masked_crc32c(event))
            found.append(Event.FromString(event))
            rest = rest[16 + size :]
    return found


def test_tensorboard_reads_the_figures_back(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    figures = fit(TensorBoardLog(tmp_path)).history.epochs
    read = [(e.step, v.tag, v.simple_value) for e in events(tmp_path) for v in e.summary.value]
    names = {"loss": "loss/training", "val_loss": "loss/validation", "lr": "lr/training"}
    assert read == [
        (epoch, shown, pytest.approx(figures[epoch - 1][name]))  # they are float32 there
        for epoch in (1, 2)
        for name, shown in names.items()
    ]


def test_tensorboard_forgets_the_epochs_that_a_resumed_run_does_again(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")

    def run(epochs: int) -> None:
        model = nn.Linear(2, 1)
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        log = TensorBoardLog(tmp_path / "curves")
        trainer = Trainer(
            model, optimizer, F.mse_loss, callbacks=[log], checkpoint=tmp_path / "kept"
        )
        trainer.fit((X, X[:, :1]), epochs, resume=True, verbose=0)

    run(1)
    run(2)
    found = events(tmp_path / "curves")
    starts = [e.step for e in found if e.session_log.status == e.session_log.START]
    assert starts == [2]  # what was written for step 2 and later before this does not count
    assert [e.step for e in found for v in e.summary.value if v.tag == "loss/training"] == [1, 2]


def test_without_tensorboard_it_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match="pip install 'minidl\\[tensorboard\\]'"):
        TensorBoardLog(tmp_path)


# ---- a full disk --------------------------------------------------------------------------------


def fit_keras(callback: Any) -> None:
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(X, X[:, :1], epochs=9, verbose=0, callbacks=[callback])


def tally() -> metrics.ConfusionMatrix:
    matrix = metrics.ConfusionMatrix()
    matrix.update([0, 1], [1, 1])
    return matrix


FULL: dict[str, Callable[[Path], Any]] = {
    "JSONLog": lambda path: fit(JSONLog(path), epochs=9),
    "CSVLog": lambda path: fit(CSVLog(path), epochs=9),
    "BestModel": lambda path: fit(BestModel(path)),
    "History.plot": lambda path: History(EPOCHS).plot(path.with_suffix(".png")),
    "ConfusionMatrix.plot": lambda path: tally().plot(path.with_suffix(".svg")),
    "CSVLogger": lambda path: fit_keras(keras.callbacks.CSVLogger(path)),
    "save_weights": lambda path: fit_keras(
        keras.callbacks.ModelCheckpoint(path, save_weights_only=True)
    ),
}


@pytest.mark.parametrize("who", FULL)
def test_a_full_disk_is_one_error_and_no_half_of_a_line(
    who: str, tmp_path: Path, room: Any
) -> None:
    text = f"{who}: cannot write .*/file.*; make room there"
    with room(150), pytest.raises(OSError, match=text) as error:
        FULL[who](tmp_path / "file")
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__
    assert ("what was there before is as it was" in str(error.value)) == any(tmp_path.iterdir())
    for path in tmp_path.iterdir():  # what is there are whole lines
        assert who in ("JSONLog", "CSVLog", "CSVLogger")
        assert path.read_text().endswith("\n")
