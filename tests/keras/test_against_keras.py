"""Layers, losses, metrics, optimisers and one epoch of models, against Keras's record."""

import ast

import numpy as np
import pytest
from keras_cases import (
    GRADIENTS,
    LAYERS,
    LOSSES,
    METRICS,
    OPTIMIZERS,
    RECORD,
    fits,
    numbers,
    outputs_for,
    run_layer,
)  # fmt: skip

import minidl
import minidl_kernels
from minidl import keras, nn


@pytest.fixture(scope="module")
def record() -> dict[str, np.ndarray]:
    with np.load(RECORD) as file:
        return dict(file)


def agree(found, expected, within) -> None:
    assert np.shape(found) == expected.shape
    np.testing.assert_allclose(found, expected, within, within)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_gives_what_keras_gives_for_the_same_weights(name: str, record) -> None:
    def call(made, x, mask, training):
        return made(x, training=training, mask=mask)

    found = run_layer(keras.layers, name, call, lambda y: y.detach().numpy())
    expected = {k: v for k, v in record.items() if k.startswith(f"layer/{name}/")}
    shapes = [list(s) for s in ast.literal_eval(str(expected.pop(f"layer/{name}/shapes")))]
    assert [list(s) for s in ast.literal_eval(found.pop("shapes"))] == shapes
    assert {f"layer/{name}/{key}" for key in found} == expected.keys()
    for key, value in found.items():
        agree(value, expected[f"layer/{name}/{key}"], 1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_knows_the_shape_of_its_output(name: str) -> None:
    make, shape, mask, _ = LAYERS[name]
    layer = make(keras.layers)
    found = layer(numbers(name, shape), mask=mask).shape
    assert layer.compute_output_shape((None, *shape[1:])) == (None, *found[1:])


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name: str, record) -> None:
    targets, activation = LOSSES[name]
    loss = keras.losses.get(name)
    agree(loss(targets, outputs_for(activation)).numpy(), record[f"loss/{name}"], 1e-5)


@pytest.mark.parametrize("name", METRICS)
def test_metrics(name: str, record) -> None:
    targets, options = METRICS[name]
    metric, outputs = getattr(keras.metrics, name)(**options), outputs_for("softmax")
    metric.update_state(targets, outputs)
    metric.update_state(targets[:2], outputs[2:], sample_weight=[0.5, 2.0])
    agree(metric.result(), record[f"metric/{name}"], 1e-5)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_make_keras_steps(name: str, record) -> None:
    params = [nn.Parameter(numbers("p", (2, 3))), nn.Parameter(numbers("q", (3,)))]
    optimizer = OPTIMIZERS[name](keras.optimizers)
    optimizer.build(params)
    for gradients in GRADIENTS:
        for p, g in zip(params, gradients, strict=True):
            p.grad = minidl.tensor(g)
        optimizer.step()
    for i, p in enumerate(params):
        agree(p.detach().numpy(), record[f"optimizer/{name}/{i}"], 1e-5)


@pytest.mark.parametrize("name", fits())
@pytest.mark.parametrize("exact", [True, False])
def test_a_model_trains_as_in_keras(name: str, exact: bool, record) -> None:
    # Winograd's rounding errors are ten times those of a plain convolution, and Adam, which divides
    # a gradient by its size, makes a step of the difference: 6e-5 in the losses, 2e-4 in the
    # outputs after an epoch. Without it both are 1e-6.
    within = 1e-4 if exact else 1e-3
    make, compiled, (x, y), options = fits()[name]
    model = make(keras)
    count = len(model.get_weights())
    model.set_weights(
        [record[f"fit/{name}/{i}"] * record[f"fit/{name}/step{i}"] for i in range(count)]
    )
    model.compile(**compiled)
    with minidl_kernels.exact_convolution(exact):
        history = model.fit(x, y, shuffle=False, verbose=0, **options).history
    figures = f"fit/{name}/history/"
    assert [figures + key for key in history] == [k for k in record if k.startswith(figures)]
    for key, values in history.items():
        agree(values, record[figures + key], within)
    agree(model.predict(x[:4], verbose=0), record[f"fit/{name}/predicted"], within)


@pytest.mark.parametrize("name", fits())
def test_the_summary_is_keras_table(name: str, record, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    text: list[str] = []
    model = fits()[name][0](keras)
    model.summary(print_fn=text.append)
    assert "".join(text) == str(record[f"fit/{name}/summary"])


@pytest.mark.parametrize(
    ("name", "count"), [("cnn", 225_034), ("rnn", 370_890), ("autoencoder", 105_360)]
)
def test_the_seed_models_have_as_many_parameters_as_in_keras(name: str, count: int) -> None:
    assert fits()[name][0](keras).count_params() == count
