"""Sequences of differing lengths, made into one array."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.errors import DtypeError, ShapeError

__all__ = ["pad_sequences"]

Array = np.ndarray[Any, Any]


def pad_sequences(
    sequences: Sequence[Any], length: int | None = None, value: float = 0.0
) -> tuple[Array, Array]:
    """Put sequences into one array, each from its first step on, and the rest filled up.

    Parameters
    ----------
    sequences : sequence of arrays (T_i, *S)
        At least one; S and the dtype are common to all.
    length : int, optional
        T of the result. Default: the longest. A longer sequence is refused, not cut.
    value : float
        What fills the rest.

    Returns
    -------
    array : (N, T, *S)
    lengths : (N,) int64
        The T_i: what a recurrent layer needs to leave the rest out.

    Raises
    ------
    ShapeError
        No sequence, S differs, or one is longer than `length`.
    DtypeError
        Dtypes differ.

    Examples
    --------
    >>> import numpy as np
    >>> from minidl.data import pad_sequences
    >>> pad_sequences([np.array([1, 2, 3]), np.array([4])])
    (array([[1, 2, 3],
           [4, 0, 0]]), array([3, 1]))
    """
    arrays = [np.asarray(sequence) for sequence in sequences]
    if not arrays:
        raise ShapeError("pad_sequences: expected one sequence or more, got none")
    first = arrays[0]
    for place, array in enumerate(arrays):
        if array.ndim == 0 or array.shape[1:] != first.shape[1:]:
            raise ShapeError(
                f"pad_sequences: sequences are (T, *S) with a common S; sequence 0 has shape "
                f"{first.shape}, sequence {place} {array.shape}"
            )
        if array.dtype != first.dtype:
            raise DtypeError(
                f"pad_sequences: sequence 0 is {first.dtype}, sequence {place} {array.dtype}"
            )
    lengths = np.array([len(array) for array in arrays], np.int64)
    longest = int(lengths.max())
    if length is not None and longest > length:
        raise ShapeError(
            f"pad_sequences: sequence {int(lengths.argmax())} has {longest} steps, length is "
            f"{length}; cut it first, or give a greater length"
        )
    steps = longest if length is None else length
    out = np.full((len(arrays), steps, *first.shape[1:]), value, first.dtype)
    for row, array in zip(out, arrays, strict=True):
        row[: len(array)] = array
    return out, lengths
