"""Keras models as folders: built again without their script, layer by layer, option by option."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import keras
from minidl.keras import layers as L
from minidl.keras import utils
from minidl.keras.models import Sequential

IMAGE, STEPS, FLAT = (8, 8, 2), (5, 3), (6,)
LAYERS: dict[str, tuple[tuple[int, ...], Callable[[], Any]]] = {
    "dense": (FLAT, lambda: L.Dense(3, "softmax", use_bias=False)),
    "activation": (FLAT, lambda: L.Activation("leaky_relu")),
    "dropout": (FLAT, lambda: L.Dropout(0.25)),
    "reshape": (FLAT, lambda: L.Reshape((2, -1))),
    "embedding": (FLAT, lambda: L.Embedding(10, 2, mask_zero=True)),
    "conv1d": (STEPS, lambda: L.Conv1D(4, 2, padding="causal", dilation_rate=2)),
    "conv2d": (IMAGE, lambda: L.Conv2D(4, (3, 2), 2, "same", groups=2, activation="gelu")),
    "separable": (IMAGE, lambda: L.SeparableConv2D(4, 3, depth_multiplier=2, activation="relu")),
    "max": (IMAGE, lambda: L.MaxPooling2D(3, strides=2, padding="same")),
    "average": (IMAGE, lambda: L.AveragePooling2D((2, 1))),
    "global": (IMAGE, lambda: L.GlobalAveragePooling2D(keepdims=True)),
    "flatten": (IMAGE, lambda: L.Flatten()),
    "batch": (IMAGE, lambda: L.BatchNormalization(momentum=0.5, epsilon=0.1, scale=False)),
    "layer": (STEPS, lambda: L.LayerNormalization(epsilon=0.1, center=False)),
    "lstm": (STEPS, lambda: L.LSTM(4, "relu", "hard_sigmoid", return_sequences=True)),
    "gru": (STEPS, lambda: L.GRU(4, reset_after=False, go_backwards=True)),
    "rnn": (STEPS, lambda: L.SimpleRNN(4, "linear", dropout=0.2)),
    "both": (STEPS, lambda: L.Bidirectional(L.LSTM(2, return_sequences=True), merge_mode="mul")),
    "each": (STEPS, lambda: L.TimeDistributed(L.Dense(2, "softplus"))),
    "model": (STEPS, lambda: Sequential([L.GRU(3), L.Dense(2)], name="inner")),
}


def inputs(shape: tuple[int, ...]) -> Any:
    return np.random.default_rng(0).integers(0, 9, (3, *shape)).astype("float32")


def again(model: Any, folder: Path) -> Any:
    """The model as another program finds it."""
    minidl.save_model(model, folder)
    streams = minidl.random.get_state()
    found = minidl.load_model(folder)
    assert minidl.random.get_state() == streams
    return found


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("first", ["Input", "data"])
def test_every_layer_comes_back_with_its_options(name: str, first: str, tmp_path: Path) -> None:
    shape, layer = LAYERS[name]
    model = Sequential([L.Input(shape), layer()] if first == "Input" else [layer()])
    x = inputs(shape)
    expected = model.predict(x)
    for weight in model.weights:  # none is as the constructor makes it
        weight.data[...] += np.float32(0.125)
    expected = model.predict(x)
    found = again(model, tmp_path)
    np.testing.assert_array_equal(found.predict(x), expected)
    assert found.layers[0].config_options().keys() == model.layers[0].config_options().keys()
    assert [w.requires_grad for w in found.weights] == [w.requires_grad for w in model.weights]
    assert repr(found) == repr(model)


@pytest.mark.parametrize("name", ["dropout", "batch", "rnn"])
def test_what_counts_in_training_alone_comes_back(name: str, tmp_path: Path) -> None:
    shape, layer = LAYERS[name]
    model = Sequential([L.Input(shape), layer()])
    found, x = again(model, tmp_path), inputs(shape)
    for one in (model, found):
        minidl.manual_seed(1)
        one.out = one(x, training=True).detach().numpy()
    np.testing.assert_array_equal(found.out, model.out)


def test_a_trained_model_goes_on_when_it_is_compiled_again(tmp_path: Path) -> None:
    utils.set_random_seed(0)
    model = Sequential([L.Input(FLAT), L.Dense(4, "relu", name="first"), L.Dense(3)])
    model.layers[0].trainable = False
    x, y = inputs(FLAT), np.array([0, 1, 2])

    def learn(one: Any) -> list[float]:
        one.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return one.fit(x, y, epochs=2, verbose=0, shuffle=False).history["loss"]

    learn(model)
    found = again(model, tmp_path)
    assert not found.get_layer("first").trainable
    assert found.count_params() == model.count_params() == 43
    assert learn(found) == learn(model)


def test_a_model_without_weights_yet(tmp_path: Path) -> None:
    found = again(Sequential([L.Dense(3)]), tmp_path)
    assert not found.built
    assert found.predict(inputs(FLAT)).shape == (3, 3)


def test_what_a_file_cannot_hold_is_refused(tmp_path: Path) -> None:
    class Mine(L.Layer):
        pass

    for layer, text in ((Mine(), "a class that is not of minidl"), (L.Dense(2, abs), "activation")):
        with pytest.raises(TypeError, match=text):
            minidl.save_model(Sequential([layer]), tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_shape_is_refused(tmp_path: Path) -> None:
    minidl.save_model(Sequential([L.Input(FLAT), L.Dense(2)]), tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"built_shape": [2, "x"]}))
    with pytest.raises(minidl.FormatError, match="config.json"):
        minidl.load_model(tmp_path)
