"""Helpers by Keras's names: one-hot labels, padded sequences, seeds."""

import random as python_random
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.conversion import as_array
from minidl.device import to_host
from minidl.errors import ShapeError
from minidl.keras.layers.base import forget_names
from minidl.random import manual_seed

__all__ = ["clear_session", "pad_sequences", "set_random_seed", "to_categorical"]


def to_categorical(x: Any, num_classes: int | None = None) -> np.ndarray[Any, Any]:
    """Return float32 rows with a 1 at each label: (…) or (…, 1) -> (…, num_classes).

    num_classes : default: the largest label plus 1. Raises IndexError for a label that is none.

    >>> to_categorical([0, 2]).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    labels = to_host(as_array("to_categorical", x)).astype("int64")
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    classes = num_classes or (int(labels.max()) + 1 if labels.size else 0)
    stray = labels[(labels < 0) | (labels >= classes)]
    if stray.size:
        raise IndexError(f"to_categorical: label {stray[0]} is not in 0 … {classes - 1}")
    return np.eye(classes, dtype="float32")[labels]


def pad_sequences(
    sequences: Sequence[Any],
    maxlen: int | None = None,
    dtype: Any = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: float = 0.0,
) -> np.ndarray[Any, Any]:
    """Return sequences of differing lengths as one array (N, maxlen, …).

    maxlen : default: the longest length
    padding, truncating : "pre" or "post": where `value` is put, where what is too long is cut

    >>> pad_sequences([[1, 2, 3], [4]]).tolist()
    [[1, 2, 3], [0, 0, 4]]
    """
    for name, side in (("padding", padding), ("truncating", truncating)):
        if side not in ("pre", "post"):
            raise ValueError(f"pad_sequences: {name} is {side!r}, expected 'pre' or 'post'")
    rows = [np.asarray(s) for s in sequences]
    for place, row in enumerate(rows):
        if row.ndim == 0:
            raise ValueError(f"pad_sequences: item {place} is {row!r}, expected a sequence")
    shape = next((row.shape[1:] for row in rows if len(row)), ())
    length = max(map(len, rows), default=0) if maxlen is None else maxlen
    out = np.full((len(rows), length, *shape), value, dtype)
    for place, row in enumerate(rows):
        if not len(row) or not length:
            continue
        if row.shape[1:] != shape:
            raise ShapeError(
                f"pad_sequences: steps of sequence {place} have shape {row.shape[1:]}, those of "
                f"the first {shape}"
            )
        kept = row[-length:] if truncating == "pre" else row[:length]
        out[place, slice(len(kept)) if padding == "post" else slice(-len(kept), None)] = kept
    return out


def set_random_seed(seed: int) -> None:
    """Seed Python's, NumPy's and minidl's random numbers: initial weights, shuffling, dropout."""
    python_random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (what Keras's function of this name does)
    manual_seed(seed)


def clear_session() -> None:
    """Count the names of layers from the start again."""
    forget_names()
