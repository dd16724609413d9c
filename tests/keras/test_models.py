"""What models do: the seed's scripts, how weights begin, files, and how layers are stacked."""

import sys
from typing import Any

import numpy as np
import pytest
from seed_scripts import SCRIPTS
from small import points, small

import minidl
from minidl import keras
from minidl.errors import FormatError, ShapeError
from minidl.keras import layers as L
from minidl.keras.models import Sequential

RNG = np.random.default_rng(3)
DATA = {
    "cnn": (RNG.uniform(0, 1, (40, 28, 28, 1)), RNG.integers(0, 10, 40)),
    "rnn": (RNG.normal(size=(40, 10, 64)), RNG.integers(0, 10, 40)),
    "autoencoder": (RNG.uniform(0, 1, (40, 784)), None),
}


# ---- the seed's scripts -------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_of_the_seed_runs_with_minidl_in_its_imports(name: str, capsys) -> None:
    script = SCRIPTS[name].replace("tensorflow", "minidl")
    x, y = DATA[name]
    found: dict[str, Any] = {"X_train": x, "y_train": y}
    exec(compile(script, name, "exec"), found)
    history = found["model"].history.history
    assert list(history) == ["accuracy", "loss"]
    assert len(history["loss"]) == 10
    assert history["loss"][-1] < history["loss"][0]
    assert "epoch 10/10" in capsys.readouterr().out
    assert found["tf"] is minidl
    assert found["tf"].keras is sys.modules["minidl.keras"]


def test_the_lstm_of_the_seed_may_have_relu() -> None:
    model = Sequential([L.LSTM(8, activation="relu", input_shape=(5, 4)), L.Dense(2)])
    model.compile("adam", "mse")
    x = np.random.default_rng(0).normal(size=(32, 5, 4))
    losses = model.fit(x, x[:, 0, :2], epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


# ---- weights and how they begin -----------------------------------------------------------------


def test_weights_begin_as_in_keras() -> None:
    layer = L.LSTM(16)
    layer.build((None, None, 8))
    kernel, recurrent, bias = layer.get_weights()
    assert np.abs(kernel).max() <= np.sqrt(6 / (8 + 64)) < np.abs(kernel).max() * 1.05
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(16), atol=1e-6)
    np.testing.assert_array_equal(bias, np.repeat([0, 1, 0, 0], 16))
    conv = L.Conv2D(7, (3, 5))
    conv.build((None, 9, 9, 2))
    bound = np.sqrt(6 / (15 * 2 + 15 * 7))
    assert np.abs(conv.get_weights()[0]).max() <= bound < np.abs(conv.get_weights()[0]).max() * 1.1


@pytest.mark.parametrize(
    ("name", "variance", "bound"),  # for (60, 40); a normal cut at 2 deviations keeps 0.7737
    [
        ("glorot_uniform", 2 / 100, np.sqrt(6 / 100)),
        ("glorot_normal", 2 / 100, 2 / 0.8796 * np.sqrt(2 / 100)),
        ("he_uniform", 2 / 60, np.sqrt(6 / 60)),
        ("he_normal", 2 / 60, 2 / 0.8796 * np.sqrt(2 / 60)),
        ("lecun_normal", 1 / 60, 2 / 0.8796 * np.sqrt(1 / 60)),
        ("truncated_normal", 0.05**2 * 0.7737, 0.1),
        ("random_normal", 0.05**2, 0.3),
        ("uniform", 0.1**2 / 12, 0.05),
    ],
)
def test_initializers(name: str, variance: float, bound: float) -> None:
    values = keras.initializers.get(name)((60, 40))
    assert values.dtype == np.float32
    assert values.var() == pytest.approx(variance, rel=0.1)
    assert 0.6 * bound < np.abs(values).max() < bound * 1.0001


def test_set_weights_is_all_or_nothing() -> None:
    model = small()
    before = model.get_weights()
    with pytest.raises(ShapeError, match=r"weight 1 of \S+ has shape \(3,\), got \(4,\)"):
        model.set_weights([np.ones((4, 3)), np.ones(4)])
    with pytest.raises(ValueError, match="has 2 weights, got 1"):
        model.set_weights([np.ones((4, 3))])
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    before[0][:] = 7  # a copy
    assert not (model.get_weights()[0] == 7).any()


def test_weights_go_through_a_file(tmp_path) -> None:
    a, b = small(), small()
    with pytest.raises(AssertionError):
        np.testing.assert_array_equal(a.get_weights()[0], b.get_weights()[0])
    a.save_weights(tmp_path / "a.weights.h5")
    b.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_array_equal(a.get_weights()[0], b.get_weights()[0])
    with pytest.raises(FormatError):
        small(5).load_weights(tmp_path / "a.weights.h5")
    (tmp_path / "keras.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(FormatError, match="HDF5"):
        a.load_weights(tmp_path / "keras.h5")
    with pytest.raises(FileExistsError):
        a.save_weights(tmp_path / "a.weights.h5", overwrite=False)
    with pytest.raises(ValueError, match="not built"):
        Sequential([L.Dense(2)]).save_weights(tmp_path / "b")


# ---- building -----------------------------------------------------------------------------------


def test_a_model_without_an_input_is_built_by_its_first_data() -> None:
    model = Sequential([L.Dense(3, "relu"), L.Dense(2)])
    assert not model.built
    with pytest.raises(ValueError, match="not built"):
        model.count_params()
    assert model.predict(np.ones((5, 4)), verbose=0).shape == (5, 2)
    assert model.count_params() == 4 * 3 + 3 + 3 * 2 + 2
    assert model.output_shape == (None, 2)


def test_models_stand_in_models_and_share_their_weights() -> None:
    encoder = Sequential([L.Input((6,)), L.Dense(2, activation="relu")], name="encoder")
    model = Sequential([encoder, L.Dense(6, activation="sigmoid")])
    x = np.random.default_rng(0).uniform(0, 1, (16, 6))
    model.compile("adam", "binary_crossentropy")
    before = encoder.get_weights()[0].copy()
    model.fit(x, x, epochs=2, verbose=0)
    assert (encoder.get_weights()[0] != before).any()
    assert encoder.predict(x, verbose=0).shape == (16, 2)
    assert model.count_params() == 6 * 2 + 2 + 2 * 6 + 6


def test_images_may_come_without_the_axis_of_one_channel() -> None:
    model = Sequential([L.Input((8, 8, 1)), L.Conv2D(2, 3), L.Flatten()])
    x = np.random.default_rng(0).normal(size=(2, 8, 8))
    np.testing.assert_array_equal(
        model.predict(x, verbose=0), model.predict(x[..., None], verbose=0)
    )


def test_outside_of_fit_dropout_is_off() -> None:
    model = Sequential([L.Input((50,)), L.Dropout(0.5)])
    x = np.ones((1, 50), "float32")
    assert (model(x).numpy() == 1).all()
    assert (model(x, training=True).numpy() != 1).all()
    assert (model(x).numpy() == 1).all()


def test_a_frozen_layer_does_not_learn_and_its_statistics_stay() -> None:
    model = Sequential([L.Input((4,)), L.BatchNormalization(), L.Dense(3, "softmax")])
    model.layers[0].trainable = False
    model.compile("sgd", "sparse_categorical_crossentropy")
    before = [w.copy() for w in model.get_weights()]
    model.fit(*points(), verbose=0)
    after = model.get_weights()
    assert [bool((a == b).all()) for a, b in zip(before, after, strict=True)] == [
        *[True] * 4,
        False,
        False,
    ]
    assert len(model.trainable_weights) == 2


def test_a_mask_goes_through_a_model_in_a_model_and_reaches_the_loss() -> None:
    def model(nested: bool) -> Any:
        keras.utils.set_random_seed(0)
        words = [L.Embedding(9, 4, mask_zero=True), L.Dropout(0.5)]
        ends = [L.LSTM(3, return_sequences=True), L.Dense(2, activation="softmax")]
        parts = [Sequential(words), Sequential(ends)] if nested else [*words, *ends]
        made = Sequential([L.Input((4,)), *parts])
        made.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
        return made

    x = np.array([[0, 0, 3, 4], [5, 0, 0, 0]])
    figures = [model(n).fit(x, x % 2, epochs=3, verbose=0).history for n in (False, True)]
    assert figures[0] == figures[1]
    wrong = np.where(x == 0, 1, x % 2)  # labels of padding do not count
    assert model(True).evaluate(x, wrong) == model(True).evaluate(x, x % 2)
    wrong[0, 2] = 0
    assert model(True).evaluate(x, wrong) != model(True).evaluate(x, x % 2)


def test_both_directions_run_on_the_op_for_whole_sequences() -> None:
    for layer in (L.LSTM(2), L.GRU(2), L.SimpleRNN(2)):
        both = L.Bidirectional(layer)
        assert both.forward_layer._is_usual()
        assert both.backward_layer._is_usual()
