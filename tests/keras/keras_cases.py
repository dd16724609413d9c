"""What is run in Keras and in minidl alike: layers, losses, optimisers and whole models.

`K` is the package: `keras` or `minidl.keras`. Nothing here imports either.
"""

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

RECORD = Path(__file__).parents[1] / "oracle" / "keras.npz"
EMBEDDED = Path(__file__).parents[2] / "minidl" / "data" / "embedded" / "fashion_mnist"

IMAGE, STEPS, VECTOR, WORDS = (2, 7, 6, 4), (3, 5, 4), (3, 6), (3, 5)
# Padding in front, behind, in between, and nothing but padding.
MASK = np.array([[0, 0, 1, 1, 1], [1, 0, 1, 1, 0], [0, 0, 0, 0, 0]], bool)


def numbers(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers between -1 and 1, a function of name and shape."""
    rng = np.random.default_rng([zlib.crc32(name.encode()), *shape])
    return rng.uniform(-1, 1, shape).astype("float32")


# name -> (layer, shape of the input, mask, whether in training)
LAYERS: dict[str, tuple[Callable[[Any], Any], tuple[int, ...], Any, bool]] = {}


def layer(
    name: str, make: Callable[[Any], Any], shape: Any, mask: Any = None, training: bool = False
) -> None:
    LAYERS[name] = (make, shape, mask, training)


layer("dense", lambda L: L.Dense(3, activation="gelu"), VECTOR)
layer("dense steps", lambda L: L.Dense(3, use_bias=False), STEPS)
layer("conv1d", lambda L: L.Conv1D(3, 2, strides=2, activation="relu"), STEPS)
layer("conv1d causal", lambda L: L.Conv1D(3, 2, padding="causal", dilation_rate=2), STEPS)
layer("conv1d same", lambda L: L.Conv1D(4, 3, padding="same", groups=2), STEPS)
layer("conv2d", lambda L: L.Conv2D(3, (3, 2), activation="tanh"), IMAGE)
layer("conv2d same", lambda L: L.Conv2D(3, (2, 4), padding="same"), IMAGE)
layer("conv2d same, strides", lambda L: L.Conv2D(3, 3, strides=2, padding="same"), IMAGE)
layer("conv2d dilated", lambda L: L.Conv2D(6, 2, dilation_rate=(2, 1), groups=2), IMAGE)
layer("separable", lambda L: L.SeparableConv2D(5, 3, depth_multiplier=2), IMAGE)
layer("separable same", lambda L: L.SeparableConv2D(5, 3, padding="same", strides=2), IMAGE)
layer("max 1d", lambda L: L.MaxPooling1D(2), STEPS)
layer("max 2d", lambda L: L.MaxPooling2D((2, 3)), IMAGE)
layer("max 2d same", lambda L: L.MaxPooling2D(3, 2, padding="same"), IMAGE)
layer("average 1d", lambda L: L.AveragePooling1D(3, 1), STEPS)
layer("average 2d", lambda L: L.AveragePooling2D((2, 3), strides=2), IMAGE)
layer("global average", lambda L: L.GlobalAveragePooling2D(), IMAGE)
layer("global average 1d", lambda L: L.GlobalAveragePooling1D(keepdims=True), STEPS)
layer("global average, mask", lambda L: L.GlobalAveragePooling1D(), (2, *STEPS[1:]), MASK[:2])
layer("global max", lambda L: L.GlobalMaxPooling2D(keepdims=True), IMAGE)
layer("flatten", lambda L: L.Flatten(), IMAGE)
layer("reshape", lambda L: L.Reshape((6, -1)), IMAGE)
layer("softmax", lambda L: L.Activation("softmax"), STEPS)
layer("batch norm", lambda L: L.BatchNormalization(), IMAGE)
layer("batch norm, training", lambda L: L.BatchNormalization(momentum=0.8), IMAGE, None, True)
layer("batch norm, axis 1", lambda L: L.BatchNormalization(axis=1), STEPS, None, True)
layer("batch norm of one", lambda L: L.BatchNormalization(), (1, 4), None, True)
layer("layer norm", lambda L: L.LayerNormalization(), STEPS)
layer("layer norm, axes", lambda L: L.LayerNormalization(axis=[1, 2], epsilon=1e-5), STEPS)
layer("dropout", lambda L: L.Dropout(0.5), VECTOR)
layer("time distributed", lambda L: L.TimeDistributed(L.Dense(3, activation="relu")), STEPS)
layer("time distributed conv", lambda L: L.TimeDistributed(L.Conv2D(2, 2)), (2, 3, 4, 4, 2))
for kind, variants in {
    "LSTM": [{"activation": "relu"}, {"recurrent_activation": "hard_sigmoid"}],
    "GRU": [{"reset_after": False}, {"activation": "softsign", "use_bias": False}],
    "SimpleRNN": [{"activation": "relu"}, {"activation": "sigmoid"}],
}.items():
    for options in [{}, {"use_bias": False, "go_backwards": True}, *variants]:
        for all_steps in (False, True):
            for mask in (None, MASK):
                what = (
                    f"{kind} {options or ''} {'all ' * all_steps}{'' if mask is None else 'mask'}"
                )
                layer(
                    what.strip(),
                    lambda L, k=kind, o=options, s=all_steps: getattr(L, k)(
                        3, return_sequences=s, **o
                    ),
                    STEPS,
                    mask,
                )
for merge in ("concat", "sum", "mul", "ave"):
    for mask in (None, MASK):
        layer(
            f"bidirectional {merge}{'' if mask is None else ' mask'}",
            lambda L, m=merge: L.Bidirectional(L.LSTM(3, return_sequences=m != "mul"), m),
            STEPS,
            mask,
        )


def run_layer(L: Any, name: str, call: Callable[..., Any], numpy: Callable[[Any], Any]) -> dict:
    """The shapes of a layer's weights, its output for weights that are given, and the weights.

    call(layer, x, mask, training) -> output; numpy(output) -> array
    """
    make, shape, mask, training = LAYERS[name]
    made = make(L)
    made.build((None, *shape[1:])) if not hasattr(made, "ensure_built") else made.ensure_built(
        (None, *shape[1:])
    )
    values = [numbers(f"{name} {i}", w.shape) for i, w in enumerate(made.get_weights())]
    if name.startswith("batch norm"):
        values[3] = np.abs(values[3]) + 0.5
    made.set_weights(values)
    out = numpy(call(made, numbers(name, shape), mask, training))
    found = {"shapes": str([v.shape for v in values]), "out": out}
    if training:
        found |= {f"after{i}": w for i, w in enumerate(made.get_weights())}
    return found


# ---- losses and optimisers ----------------------------------------------------------------------

LABELS = np.array([[0], [2], [1], [3]])
ONE_HOT = np.eye(4, dtype="float32")[LABELS[:, 0]]
LOSSES = {
    "sparse_categorical_crossentropy": (LABELS, "softmax"),
    "categorical_crossentropy": (ONE_HOT, "softmax"),
    "binary_crossentropy": (ONE_HOT, "sigmoid"),
    "mean_squared_error": (ONE_HOT, None),
    "mean_absolute_error": (ONE_HOT, None),
    "huber": (ONE_HOT * 3, None),
    "kl_divergence": (ONE_HOT * 0.9 + 0.025, "softmax"),
}
METRICS = {  # class -> (targets, options)
    "BinaryAccuracy": (ONE_HOT, {"threshold": 0.4}),
    "CategoricalAccuracy": (ONE_HOT, {}),
    "SparseCategoricalAccuracy": (LABELS, {}),
    "TopKCategoricalAccuracy": (ONE_HOT, {"k": 2}),
    "SparseTopKCategoricalAccuracy": (LABELS[:, 0], {"k": 2}),
    "MeanSquaredError": (ONE_HOT, {}),
    "RootMeanSquaredError": (ONE_HOT, {}),
    "MeanAbsoluteError": (ONE_HOT, {}),
    "BinaryCrossentropy": (ONE_HOT, {"label_smoothing": 0.1}),
    "CategoricalCrossentropy": (ONE_HOT, {"label_smoothing": 0.1}),
    "SparseCategoricalCrossentropy": (LABELS, {}),
    "Precision": (ONE_HOT, {}),
    "Recall": (ONE_HOT, {"thresholds": 0.2}),
}
OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "sgd": lambda O: O.SGD(0.1),
    "sgd momentum": lambda O: O.SGD(0.1, momentum=0.9, weight_decay=0.1),
    "sgd nesterov": lambda O: O.SGD(0.1, momentum=0.9, nesterov=True, clipvalue=0.3),
    "rmsprop": lambda O: O.RMSprop(0.1, epsilon=1e-2),
    "rmsprop centered": lambda O: O.RMSprop(0.1, momentum=0.5, centered=True, clipnorm=0.5),
    "adagrad": lambda O: O.Adagrad(0.1),
    "adadelta": lambda O: O.Adadelta(1.0),
    "adam": lambda O: O.Adam(0.1, epsilon=1e-2),
    "adam amsgrad": lambda O: O.Adam(0.1, beta_1=0.5, amsgrad=True, global_clipnorm=0.5),
    "adamw": lambda O: O.AdamW(0.1, weight_decay=0.1),
    "nadam": lambda O: O.Nadam(0.1),
}
GRADIENTS = [(numbers("a", (2, 3)) * s, numbers("b", (3,)) * s) for s in (1, 0.1, -2, 0.5)]


def outputs_for(activation: str | None, shape: tuple[int, ...] = (4, 4)) -> np.ndarray:
    """Outputs of a model: probabilities after an activation, else any numbers."""
    x = 3 * numbers("outputs", shape)
    if activation is None:
        return x
    e = np.exp(x)
    return e / e.sum(-1, keepdims=True) if activation == "softmax" else e / (1 + e)


# ---- models -------------------------------------------------------------------------------------


def images(count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first images of Fashion-MNIST and their labels."""
    pixels = gzip.decompress((EMBEDDED / "train-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((EMBEDDED / "train-labels-idx1-ubyte.gz").read_bytes())[8:]
    x = np.frombuffer(pixels[: count * 784], np.uint8).reshape(count, 28, 28)
    return x.astype("float32") / 255, np.frombuffer(labels[:count], np.uint8).astype("int64")


def seed_cnn(K: Any) -> Any:
    L, model = K.layers, K.models.Sequential()
    model.add(L.Conv2D(32, (3, 3), activation="relu", input_shape=(28, 28, 1)))
    model.add(L.MaxPooling2D((2, 2)))
    model.add(L.Conv2D(64, (3, 3), activation="relu"))
    model.add(L.MaxPooling2D((2, 2)))
    model.add(L.Flatten())
    model.add(L.Dense(128, activation="relu"))
    model.add(L.Dense(10, activation="softmax"))
    return model


def seed_rnn(K: Any) -> Any:
    L, model = K.layers, K.models.Sequential()
    model.add(L.LSTM(128, input_shape=(10, 64), return_sequences=True))
    model.add(L.LSTM(128, return_sequences=True))
    model.add(L.LSTM(128))
    model.add(L.Dense(64, activation="relu"))
    model.add(L.Dense(10, activation="softmax"))
    return model


def seed_autoencoder(K: Any) -> Any:
    L, model = K.layers, K.models.Sequential()
    model.add(L.Dense(64, input_shape=(784,), activation="relu"))
    model.add(L.Dense(64, activation="relu"))
    model.add(L.Dense(784, activation="sigmoid"))
    return model


def tagger(K: Any) -> Any:
    L = K.layers
    return K.Sequential(
        [
            L.Input((7,)),
            L.Embedding(12, 5, mask_zero=True),
            L.Bidirectional(L.LSTM(4, return_sequences=True)),
            L.GRU(5, return_sequences=True),
            L.TimeDistributed(L.Dense(3, activation="softmax")),
        ]
    )


def weighted(K: Any) -> Any:
    L = K.layers
    return K.Sequential(
        [
            L.Input((28, 28, 1)),
            L.SeparableConv2D(4, 3, strides=2, activation="relu"),
            L.BatchNormalization(),
            L.GlobalAveragePooling2D(),
            L.LayerNormalization(),
            L.Dense(1, activation="sigmoid"),
        ]
    )


def classes(K: Any) -> Any:
    L = K.layers
    return K.Sequential([L.Dense(3, input_dim=784), L.Activation("softmax")])


def sentences() -> tuple[np.ndarray, np.ndarray]:
    """Words, with 0 in front or behind, and a label for each."""
    rng = np.random.default_rng(5)
    words = rng.integers(1, 12, (24, 7))
    for row, n in enumerate(rng.integers(0, 6, 24)):
        if row % 2:
            words[row, :n] = 0
        else:
            words[row, 7 - n :] = 0
    return words, words % 3


def fits() -> dict[str, tuple[Callable[[Any], Any], dict[str, Any], tuple[Any, Any], dict]]:
    """name -> (model, options of compile, (x, y), options of fit), nothing shuffled."""
    x, labels = images(120)
    by_seed = {"optimizer": "adam", "metrics": ["accuracy"]}
    of_labels = by_seed | {"loss": "sparse_categorical_crossentropy"}
    rest = {"epochs": 1, "batch_size": 32, "validation_split": 0.2}
    vectors = x.reshape(-1, 784)
    weights = np.linspace(0.2, 2, 120).astype("float32")
    words, tags = sentences()
    return {
        "cnn": (seed_cnn, of_labels, (x[..., None], labels), rest),
        "rnn": (seed_rnn, of_labels, (vectors[:, 72:712].reshape(-1, 10, 64), labels), rest),
        "autoencoder": (
            seed_autoencoder, by_seed | {"loss": "binary_crossentropy"}, (vectors, vectors), rest,
        ),
        "tagger": (tagger, of_labels, (words, tags), rest | {"epochs": 3, "batch_size": 5}),
        "weighted": (
            weighted,
            {
                "optimizer": "sgd", "loss": "binary_crossentropy",
                "metrics": ["accuracy", "mae"], "weighted_metrics": ["binary_accuracy"],
            },
            (x[..., None], labels % 2),
            rest | {"epochs": 2, "sample_weight": weights},
        ),
        "classes": (
            classes, of_labels | {"optimizer": "rmsprop"}, (vectors, labels[:, None] % 3),
            rest | {"class_weight": {0: 0.5, 1: 2.0}},
        ),
    }  # fmt: skip


def coarse(weights: np.ndarray) -> tuple[np.ndarray, np.float32]:
    """Weights as 8-bit steps and the size of a step, so that the record stays small."""
    step = np.float32(np.abs(weights).max() / 127 or 1)
    return np.round(weights / step).astype("int8"), step
