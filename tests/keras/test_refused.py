"""What is refused, and how it is told."""

from typing import Any

import numpy as np
import pytest
from small import points, small

import minidl
from minidl import keras, optim
from minidl.data import TensorDataset
from minidl.errors import ShapeError
from minidl.keras import layers as L
from minidl.keras.models import Sequential


def fit(x: Any, y: Any, **options: Any) -> None:
    model = small()
    model.compile("sgd", "sparse_categorical_crossentropy", ["accuracy"])
    model.fit(x, y, verbose=0, **options)


X, Y = points()


class Other(keras.callbacks.Callback):
    """Waits for a moment that is not announced."""

    def on_test_begin(self, logs: Any = None) -> None:
        raise AssertionError


REFUSED = {
    "kernel_regularizer": lambda: L.Dense(2, kernel_regularizer="l2"),
    "return_state": lambda: L.LSTM(2, return_state=True),
    "stateful": lambda: L.GRU(2, stateful=True),
    "recurrent_dropout": lambda: L.LSTM(2, recurrent_dropout=0.1),
    "data_format": lambda: L.Conv2D(2, 3, data_format="channels_first"),
    "merge_mode=None": lambda: L.Bidirectional(L.LSTM(2), merge_mode=None),
    "noise_shape": lambda: L.Dropout(0.1, noise_shape=(1, 2)),
    "dtype": lambda: L.Dense(2, dtype="float16"),
    "seed": lambda: keras.initializers.GlorotUniform(seed=1),
    "'he_weird'": lambda: L.Dense(2, kernel_initializer="he_weird").build((None, 3)),
    "'glu'": lambda: L.Dense(2, activation="glu"),
    "'ftrl'": lambda: small().compile("ftrl"),
    "use_ema": lambda: keras.optimizers.Adam(use_ema=True),
    "learning_rate": lambda: keras.optimizers.Adam(learning_rate="falling"),
    "'dice'": lambda: small().compile("sgd", "dice"),
    "several outputs": lambda: small().compile("sgd", ["mse", "mse"]),
    "loss_weights": lambda: small().compile("sgd", "mse", loss_weights=[1]),
    "save_weights_only=False": lambda: keras.callbacks.ModelCheckpoint("best.keras"),
    "on_test_begin": lambda: fit(X, Y, callbacks=[Other()]),
    "steps_per_epoch": lambda: fit(X, Y, steps_per_epoch=3),
    "functional API": lambda: L.Dense(2)(keras.Input((3,))),
    "whole models": lambda: small().save("model.keras"),
    "inputs": lambda: keras.Model(inputs=1, outputs=2),
    "axis": lambda: L.LayerNormalization(axis=1)(np.ones((2, 3, 4))),
}  # fmt: skip


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_not_offered_says_its_name(text: str) -> None:
    with pytest.raises(NotImplementedError, match=text):
        REFUSED[text]()


WRONG = {
    "the numbers of samples differ: x 32, y 31": (ShapeError, lambda: fit(X, Y[:-1])),
    r"shape \(32, 3\), expected 2 axes with the batch, axis 1 of size 4": (
        ShapeError, lambda: small().predict(X[:, :3]),
    ),
    "labels have shape": (ShapeError, lambda: fit(X, np.ones((32, 2)))),
    "y is missing": (ValueError, lambda: fit(X, None)),
    "target holds class 3": (IndexError, lambda: fit(X, Y + 1)),
    "validation_split is 1.5": (ValueError, lambda: fit(X, Y, validation_split=1.5)),
    "validation_data must be": (ValueError, lambda: fit(X, Y, validation_data=X)),
    "class_weight or sample_weight": (
        ValueError, lambda: fit(X, Y, class_weight={0: 1}, sample_weight=np.ones(32)),
    ),
    "sample_weight: it has shape": (
        ShapeError, lambda: fit(X, Y, sample_weight=np.ones((32, 2))),
    ),
    "the data: batch": (FloatingPointError, lambda: fit(X * np.nan, Y)),
    "is no callback": (TypeError, lambda: fit(X, Y, callbacks=[print])),
    "call compile first": (ValueError, lambda: small().fit(X, Y)),
    "given no loss": (ValueError, lambda: (m := small(), m.compile("sgd"), m.fit(X, Y))),
    "none of minidl.keras.optimizers": (
        TypeError, lambda: small().compile(optim.SGD(small().parameters())),
    ),
    "is no layer": (TypeError, lambda: Sequential([minidl.nn.Linear(2, 2)])),
    "an Input comes first": (ValueError, lambda: small().add(L.Input((3,)))),
    "in this model already": (ValueError, lambda: (m := small()).add(m.layers[0])),
    r"kernel \(9, 9\) does not fit": (
        ShapeError, lambda: Sequential([L.Input((8, 8, 1)), L.Conv2D(2, 9)]),
    ),
    "window": (ShapeError, lambda: Sequential([L.Input((2, 2, 1)), L.MaxPooling2D(3)])),
    "4 axes with the batch": (ShapeError, lambda: L.Conv2D(2, 3)(X)),
    "do not fit into": (ShapeError, lambda: L.Reshape((3, -1))(X)),
    "no layer is called 'x'": (ValueError, lambda: small().get_layer("x")),
    "must be known": (ShapeError, lambda: Sequential([L.Input((None,)), L.Dense(2)])),
    "has run": (ValueError, lambda: (a := L.LSTM(2), a(np.ones((1, 2, 3))), L.Bidirectional(a))),
    "units is 0": (ValueError, lambda: L.Dense(0)),
    "rate is 2": (ValueError, lambda: L.Dropout(2)),
    "momentum is 3": (ValueError, lambda: keras.optimizers.SGD(momentum=3)),
    "clipnorm": (ValueError, lambda: keras.optimizers.SGD(clipnorm=1, clipvalue=1)),
    "batch_size must be 1 or more": (ValueError, lambda: fit(X, Y, batch_size=0)),
    "epochs is '3'": (ValueError, lambda: fit(X, Y, epochs="3")),
    "initial_epoch is -1": (ValueError, lambda: fit(X, Y, initial_epoch=-1)),
    "class_weight is a list": (TypeError, lambda: fit(X, Y, class_weight=[1, 2, 3])),
    "x as a TensorDataset": (NotImplementedError, lambda: fit(TensorDataset(X, Y), None)),
    "filepath holds 'val_loss', there is epoch, accuracy, loss": (
        KeyError, lambda: fit(X, Y, callbacks=[
            keras.callbacks.ModelCheckpoint("{val_loss}", save_weights_only=True)
        ]),
    ),
    "has no layers": (ValueError, lambda: Sequential().predict(X)),
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_mistakes_are_told_in_one_sentence(text: str) -> None:
    kind, call = WRONG[text]
    with pytest.raises(kind, match=text):
        call()


def test_a_mask_that_is_lost_is_a_warning() -> None:
    model = Sequential([L.Embedding(5, 2, mask_zero=True), L.Flatten(), L.Dense(2)])
    with pytest.warns(UserWarning, match="Flatten 'flatten' does not support masks"):
        model.predict(np.ones((2, 3), int))
