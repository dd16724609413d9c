"""fit, evaluate and predict with their options, callbacks and helpers."""

import csv
import json
from typing import Any

import numpy as np
import pytest
from small import points, small

import minidl
from minidl import keras
from minidl.errors import ShapeError
from minidl.keras import layers as L
from minidl.keras.models import Sequential

# ---- fit ----------------------------------------------------------------------------------------


def test_the_loss_is_exact_where_softmax_and_sigmoid_are_saturated() -> None:
    for units, activation, loss in [
        (3, "softmax", "sparse_categorical_crossentropy"),
        (1, "sigmoid", "binary_crossentropy"),
    ]:
        model = small(units, activation)
        model.set_weights([np.zeros((4, units)), np.linspace(-200, 0, units)])
        model.compile("sgd", loss)
        assert model.evaluate(np.zeros((2, 4)), np.array([0, 0]) + (units == 1)) == pytest.approx(
            200
        )
        model.fit(np.zeros((2, 4)), np.array([0, 0]) + (units == 1), verbose=0)
        assert model.get_weights()[1][0] > -200  # there was a gradient


def test_validation_split_keeps_the_end_of_the_data_out() -> None:
    x, y = points(10)
    seen = small()
    seen.compile("sgd", "sparse_categorical_crossentropy")
    seen.fit(x, y, validation_split=0.25, shuffle=False, batch_size=4, verbose=0)
    start = seen.get_weights()
    expected = seen.evaluate(x[7:], y[7:])
    assert seen.history.history["val_loss"] == [pytest.approx(expected)]
    keras.utils.set_random_seed(0)
    again = small()
    again.compile("sgd", "sparse_categorical_crossentropy")
    again.fit(x[:7], y[:7], shuffle=False, batch_size=4, verbose=0)
    np.testing.assert_array_equal(start[0], again.get_weights()[0])


def test_shuffling_is_a_function_of_the_seed() -> None:
    def after(shuffle: bool) -> np.ndarray:
        keras.utils.set_random_seed(7)
        model = small()
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.fit(*points(), epochs=2, batch_size=5, shuffle=shuffle, verbose=0)
        return model.get_weights()[0]

    np.testing.assert_array_equal(after(True), after(True))
    assert (after(True) != after(False)).any()


def test_a_second_fit_goes_on_with_the_state_of_the_optimizer() -> None:
    x, y = points()

    def after(*epochs: int) -> np.ndarray:
        keras.utils.set_random_seed(0)
        model = small()
        model.compile("adam", "sparse_categorical_crossentropy")
        for n in epochs:
            model.fit(x, y, epochs=n, shuffle=False, verbose=0)
        return model.get_weights()[0]

    np.testing.assert_array_equal(after(4), after(1, 3))


def test_evaluate_gives_a_list_a_number_or_a_dict() -> None:
    x, y = points()
    model = small()
    model.compile(
        keras.optimizers.SGD(), keras.losses.SparseCategoricalCrossentropy(), ["accuracy"]
    )
    loss, accuracy = model.evaluate(x, y, batch_size=5)
    assert model.evaluate(x, y, return_dict=True) == {
        "loss": pytest.approx(loss),
        "accuracy": accuracy,
    }
    assert accuracy == (model.predict(x).argmax(1) == y).mean()
    model.compile("sgd", "sparse_categorical_crossentropy")
    assert model.evaluate(x, y) == pytest.approx(loss)


@pytest.mark.parametrize(
    ("true", "pred", "kind"),
    [
        ((8, 1), (8, 1), "BinaryAccuracy"),
        ((8,), (8, 1), "BinaryAccuracy"),
        ((8,), (8, 5), "SparseCategoricalAccuracy"),
        ((8, 1), (8, 5), "SparseCategoricalAccuracy"),
        ((8, 5), (8, 5), "CategoricalAccuracy"),
        ((8, 6), (8, 6, 5), "SparseCategoricalAccuracy"),
    ],
)
def test_accuracy_is_resolved_by_shapes(true: Any, pred: Any, kind: str) -> None:
    found = keras.metrics.get("accuracy", true, pred)
    assert type(found).__name__ == kind
    assert found.name == "accuracy"


def test_figures_of_one_name_are_told_apart_as_in_keras() -> None:
    model = small()
    model.compile(
        "sgd", "sparse_categorical_crossentropy", ["accuracy", "accuracy"],
        weighted_metrics=["accuracy", "accuracy"],
    )  # fmt: skip
    x, y = points()
    weights = (y == 0).astype("float32")
    found = model.evaluate(x, y, sample_weight=weights, return_dict=True)
    right = model.predict(x).argmax(1) == y
    assert found["accuracy"] == found["accuracy_1"] == pytest.approx(right.mean())
    assert found["weighted_accuracy"] == pytest.approx(right[y == 0].mean())
    assert found["weighted_accuracy_1"] == found["weighted_accuracy"]


def test_judging_does_not_change_how_training_goes_on() -> None:
    weights = []
    for looks in (False, True):
        minidl.manual_seed(1)
        model = small()
        model.compile("sgd", "sparse_categorical_crossentropy")
        if looks:
            model.evaluate(*points())
            model.predict(points()[0])
        model.fit(*points(), batch_size=8, verbose=0)
        weights.append(model.get_weights()[0])
    np.testing.assert_array_equal(*weights)


def test_a_loss_and_a_metric_may_be_functions() -> None:
    def cubic(y_true: Any, y_pred: Any) -> Any:
        return ((y_true - y_pred).abs() ** 3).mean(-1)

    model = small(1, None)
    model.compile("adam", cubic, [cubic, keras.metrics.RootMeanSquaredError(name="rmse")])
    history = model.fit(points()[0], points()[0][:, :1], verbose=0).history
    assert list(history) == ["cubic", "loss", "rmse"]
    assert history["cubic"][0] == pytest.approx(history["loss"][0])


def test_whole_numbers_are_taken_as_floats_and_words_as_numbers() -> None:
    model = small()
    x = np.arange(8).reshape(2, 4)
    np.testing.assert_array_equal(model.predict(x), model.predict(x.astype("float32")))
    words = Sequential([L.Embedding(9, 2)])
    np.testing.assert_array_equal(words.predict(x), words.predict(x.astype("float32")))


# ---- callbacks ----------------------------------------------------------------------------------


class Scripted(keras.callbacks.Callback):
    """Gives each epoch a figure that is said beforehand, and notes what it is told."""

    def __init__(self, values: list[float]) -> None:
        self.values, self.told = values, []

    def on_train_begin(self, logs: Any = None) -> None:
        self.told.append("begin")

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.told.append(epoch)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.told.append(f"batch {batch} {sorted(logs)}")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs["figure"] = self.values[epoch]

    def on_train_end(self, logs: Any = None) -> None:
        self.told.append("end")


def run(values: list[float], *callbacks: Any, model: Any = None, **options: Any) -> Any:
    model = model or small()
    model.compile("sgd", "sparse_categorical_crossentropy", ["accuracy"])
    first = Scripted(values)
    options = {"epochs": len(values), "verbose": 0, "batch_size": 16} | options
    model.fit(*points(), callbacks=[first, *callbacks], **options)
    return first


def test_callbacks_are_told_of_the_moments_of_training() -> None:
    told = run([0.0, 0.0, 0.0], epochs=3, initial_epoch=1).told
    batches = [f"batch {b} ['accuracy', 'loss']" for b in (0, 1)]
    assert told == ["begin", 1, *batches, 2, *batches, "end"]


def test_early_stopping_ends_training_and_brings_the_best_weights_back() -> None:
    weights = []
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: weights.append(model.get_weights()[0])
    )
    stop = keras.callbacks.EarlyStopping("figure", patience=2, restore_best_weights=True)
    model = small()
    first = run([3, 1, 2, 2, 0, 0], note, stop, model=model)
    assert model.history.epoch == [0, 1, 2, 3]
    assert stop.stopped_epoch == 3
    np.testing.assert_array_equal(model.get_weights()[0], weights[1])
    assert model.history.history["figure"] == [3, 1, 2, 2]
    assert first.told[-1] == "end"


def test_early_stopping_reads_off_the_name_which_way_is_better() -> None:
    for name, epochs in {"accuracy": 3, "loss": 2}.items():
        watched = f"val_{name}"
        model = small()
        stop = keras.callbacks.EarlyStopping(watched, patience=1)
        figures = iter([0.1, 0.5, 0.4, 0.3])
        model.compile("sgd", "sparse_categorical_crossentropy")
        put = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs, f=figures, w=watched: logs.update({w: next(f)})
        )
        model.fit(*points(), epochs=4, verbose=0, callbacks=[put, stop])
        assert len(model.history.epoch) == epochs


def test_the_learning_rate_falls_on_a_plateau() -> None:
    plateau = keras.callbacks.ReduceLROnPlateau("figure", factor=0.5, patience=2, cooldown=1)
    model = small()
    run([1, 1, 1, 1, 1, 1, 1], plateau, model=model)
    rates = model.history.history.get("learning_rate")
    assert rates == pytest.approx([0.01, 0.01, 0.01, 0.005, 0.005, 0.0025, 0.0025])
    with pytest.raises(ValueError, match="factor"):
        keras.callbacks.ReduceLROnPlateau(factor=1.0)


def test_checkpoints_are_written_where_a_figure_got_better(tmp_path) -> None:
    path = str(tmp_path / "deep" / "{epoch:02d}-{figure:.1f}.weights.h5")
    saver = keras.callbacks.ModelCheckpoint(
        path, "figure", save_best_only=True, save_weights_only=True
    )
    model = small()
    run([2, 3, 1], saver, model=model)
    assert sorted(p.name for p in (tmp_path / "deep").iterdir()) == [
        "01-2.0.weights.h5",
        "03-1.0.weights.h5",
    ]
    other = small()
    other.load_weights(tmp_path / "deep" / "03-1.0.weights.h5")
    np.testing.assert_array_equal(other.get_weights()[0], model.get_weights()[0])
    by_batch = keras.callbacks.ModelCheckpoint(
        str(tmp_path / "{epoch}-{batch}"), save_weights_only=True, save_freq=3
    )
    run([0, 0], by_batch)
    assert (tmp_path / "2-1").exists()


def test_the_csv_has_a_line_for_each_epoch(tmp_path) -> None:
    path = tmp_path / "log.csv"
    run([2, 3], keras.callbacks.CSVLogger(path))
    run([4], keras.callbacks.CSVLogger(path, append=True))
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "accuracy", "figure", "loss"]
    assert [(row["epoch"], row["figure"]) for row in rows] == [("0", "2"), ("1", "3"), ("0", "4")]


def test_a_missing_figure_is_a_warning() -> None:
    with pytest.warns(UserWarning, match=r"no figure 'val_loss' \(there is .*loss"):
        run([1.0], keras.callbacks.EarlyStopping())


# ---- helpers ------------------------------------------------------------------------------------


def test_pad_sequences() -> None:
    rows = [[1, 2, 3, 4], [5], []]
    pad = keras.utils.pad_sequences
    assert pad(rows).tolist() == [[1, 2, 3, 4], [0, 0, 0, 5], [0, 0, 0, 0]]
    assert pad(rows, 2).tolist() == [[3, 4], [0, 5], [0, 0]]
    assert pad(rows, 2, padding="post", truncating="post", value=9).tolist() == [
        [1, 2], [5, 9], [9, 9],
    ]  # fmt: skip
    assert pad([np.ones((2, 3)), np.ones((1, 3))], dtype="float32").shape == (2, 2, 3)
    assert pad(rows).dtype == np.int32
    with pytest.raises(ShapeError, match="sequence 1"):
        pad([np.ones((2, 3)), np.ones((1, 2))])
    with pytest.raises(ValueError, match="padding is 'middle'"):
        pad(rows, padding="middle")


def test_to_categorical() -> None:
    found = keras.utils.to_categorical([[1], [0]], 3)
    assert found.tolist() == [[0, 1, 0], [1, 0, 0]]
    assert keras.utils.to_categorical(minidl.tensor([2, 0])).shape == (2, 3)
    with pytest.raises(IndexError, match=r"label 3 is not in 0 … 2"):
        keras.utils.to_categorical([3], 3)


def test_metrics_keep_their_state() -> None:
    a, b = keras.metrics.Precision(), keras.metrics.Precision()
    a.update_state([1, 0, 1, 0], [0.9, 0.8, 0.1, 0.2])
    b.load_state_dict(json.loads(json.dumps(a.state_dict())))
    assert a.result() == b.result() == 0.5
    a.reset_state()
    assert a.result() == 0
