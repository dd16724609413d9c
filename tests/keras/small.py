"""A small model and small data."""

from typing import Any

import numpy as np

from minidl.keras import layers as L
from minidl.keras.models import Sequential


def small(units: int = 3, activation: str | None = "softmax") -> Any:
    return Sequential([L.Input((4,)), L.Dense(units, activation=activation)])


def points(count: int = 32, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(1).normal(size=(count, 4)).astype("float32")
    return x, (x[:, :classes].argmax(1)).astype("int64")
