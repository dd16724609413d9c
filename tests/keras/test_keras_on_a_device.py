"""Layers and a step of training on the stand-in for CuPy: Keras's values, nothing of the host."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_cases import LAYERS, fits, numbers

from minidl import keras
from minidl.device import _device_packages, _module_of
from minidl.keras.fitting import _step
from minidl.tape import tie

sys.path.append(str(Path(__file__).parents[1]))
import standin


@pytest.fixture(autouse=True)
def _known_as_a_device() -> Iterator[None]:
    _device_packages.add("standin")
    _module_of.cache_clear()
    yield
    _device_packages.remove("standin")
    _module_of.cache_clear()


def moved(module: Any) -> Any:
    for t in (*module.parameters(), *module.buffers()):
        t.data = standin.array(t.data)
    return module


def on_device(x: np.ndarray) -> Any:
    return tie(standin.array(x), None)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer(name: str) -> None:
    make, shape, mask, training = LAYERS[name]
    layer, x = make(keras.layers), numbers(name, shape)
    layer.ensure_built((None, *shape[1:]))
    first = layer.get_weights()
    here = layer(x, training=training, mask=mask).detach().numpy()
    layer.set_weights(first)
    there = None if mask is None else standin.array(mask)
    out = moved(layer)(on_device(x), training=training, mask=there)
    assert type(out.data) is standin.ndarray
    np.testing.assert_allclose(standin.asnumpy(out.data), here, 1e-5, 1e-6)


@pytest.mark.parametrize("name", ["tagger", "weighted", "autoencoder"])
def test_a_step_of_training(name: str) -> None:
    make, compiled, (x, y), _ = fits()[name]
    x, y = x[:6], y[:6]
    weights = np.linspace(0.5, 1, 6, dtype="float32")

    def after(room: Any) -> tuple[float, dict[str, float], list[np.ndarray]]:
        keras.utils.set_random_seed(0)
        model = make(keras)
        model.compile(**compiled)
        figures = model._prepare((x, y))
        if room is on_device:
            moved(model)
        model.optimizer.build(model.trainable_weights)
        floats = x if x.dtype.kind != "f" else x.astype("float32")
        batch = [room(a) for a in (floats, y, weights[: len(x)])]
        if name == "tagger":
            batch.pop()
        loss, outputs, targets = _step(model, batch)
        loss.backward()
        model.optimizer.step()
        for figure in figures:
            figure.update(outputs.detach(), targets)
        values = [standin.asnumpy(w.data) for w in model.weights]
        return loss.item(), {f.name: f.compute() for f in figures}, values

    here, there = after(lambda a: tie(a, None)), after(on_device)
    assert here[0] == pytest.approx(there[0], rel=1e-5)
    assert here[1] == pytest.approx(there[1], rel=1e-5)
    for a, b in zip(here[2], there[2], strict=True):
        np.testing.assert_allclose(a, b, 1e-3, 1e-5)
