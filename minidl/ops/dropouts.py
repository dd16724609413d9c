"""Dropout: numbers left out at random, in training.

What is random is drawn from the stream "dropout", whose state is part of a checkpoint. The
operation itself takes the place in the stream as arguments, so that it gives the same mask again
whenever it runs again.
"""

import math
from typing import Any

import minidl_kernels as kernels
from minidl.errors import ShapeError
from minidl.ops import _checks
from minidl.tape import composite, op

__all__ = ["alpha_dropout", "dropout", "dropout1d", "dropout2d", "dropout3d"]


@op(
    x=lambda g, key, counter, p, shape, scale: drop(g, key, counter, p, shape, scale),
    formula="x scale where word >= p 2³², else value; word: random, from (key, counter)",
)
def drop(
    x: Any,
    key: int,
    counter: int,
    p: float,
    shape: Any = None,
    scale: float = 1.0,
    value: float = 0.0,
) -> Any:
    """x times scale, each element with likelihood p replaced by `value`; in x's layout.

    key, counter : where in a stream of random words the choice is drawn (`minidl.random`)
    shape : that of the choice, if it is to be repeated along some axes of x

    Element i of the choice, counted row by row, takes word i, however x lies in memory. Nothing is
    kept for the gradient, which draws the same words again.
    """
    shape = x.shape if shape is None else tuple(shape)
    return kernels.dropout(x, key, counter, p, shape, scale, value)


def _drawn(
    name: str, x: Any, p: float, training: bool, shape: Any = None, alpha: float = 0.0
) -> Any:
    """Dropout with a mask of some shape; the dropped become `alpha`, before scale and shift."""
    from minidl.random import stream

    if not 0 <= p <= 1:
        raise ValueError(f"{name}: p is {p}, expected a probability from 0 to 1")
    _checks.floating(name, "x", x)
    if not training or p == 0:
        return x
    if p == 1:
        return drop(x, 0, 0, 1.0)
    shape = tuple(x.shape) if shape is None else shape
    place = stream("dropout").reserve(math.prod(shape))
    if not alpha:
        return drop(x, *place, p, shape, 1 / (1 - p))
    scale = 1 / math.sqrt((1 - p) * (1 + p * alpha * alpha))
    return drop(x, *place, p, shape, scale, scale * alpha) - scale * alpha * p


def _channels(name: str, x: Any, axes: int, p: float, training: bool) -> Any:
    """Dropout of whole channels of x (N, C, *S) or (C, *S), S of so many axes."""
    _checks.rank(name, "x", x, axes + 1, axes + 2)
    lead = x.shape[: len(x.shape) - axes]
    return _drawn(name, x, p, training, (*lead, *(1,) * axes))


@composite(formula="x / (1 - p) with likelihood 1 - p, else 0")
def dropout(x: Any, p: float = 0.5, training: bool = True) -> Any:
    """x with each element replaced by 0 with likelihood p, the others divided by 1 - p.

    So the expected value stays. Without training it is x itself. p = 1 leaves zeros.
    Raises ValueError for a p outside [0, 1]. Source: Srivastava and others (2014), JMLR 15.
    """
    return _drawn("dropout", x, p, training)


@composite(formula="x / (1 - p) with likelihood 1 - p, else 0; the same along a channel")
def dropout1d(x: Any, p: float = 0.5, training: bool = True) -> Any:
    """Dropout of whole channels of x (N, C, L) or (C, L). Source: arXiv:1411.4280."""
    return _channels("dropout1d", x, 1, p, training)


@composite(formula="x / (1 - p) with likelihood 1 - p, else 0; the same all over a channel")
def dropout2d(x: Any, p: float = 0.5, training: bool = True) -> Any:
    """Dropout of whole channels of x (N, C, H, W). Source: arXiv:1411.4280.

    Raises ShapeError for three axes, which PyTorch takes as (N, C, L), with a warning.
    """
    if len(x.shape) == 3:
        raise ShapeError(
            f"dropout2d: x has shape {tuple(x.shape)}, expected (N, C, H, W); for (N, C, L) use "
            "dropout1d"
        )
    return _channels("dropout2d", x, 2, p, training)


@composite(formula="x / (1 - p) with likelihood 1 - p, else 0; the same all over a channel")
def dropout3d(x: Any, p: float = 0.5, training: bool = True) -> Any:
    """Dropout of whole channels of x (N, C, D, H, W) or (C, D, H, W). Source: arXiv:1411.4280."""
    return _channels("dropout3d", x, 3, p, training)


# What SELU tends to for very negative numbers: -scale * alpha of `selu`.
_SELU_FLOOR = -1.7580993408473766


@composite(formula="a (x with likelihood 1 - p, else α') + b; a, b keep mean 0 and variance 1")
def alpha_dropout(x: Any, p: float = 0.5, training: bool = False) -> Any:
    """Dropout that keeps mean 0 and variance 1, as `selu` does: the dropped become selu(-∞).

    With α' = selu(-∞), a = ((1 - p)(1 + p α'²))^(-1/2) and b = -a p α'. p = 1 leaves zeros.
    Raises ValueError for a p outside [0, 1]. Source: Klambauer and others (2017),
    arXiv:1706.02515.
    """
    return _drawn("alpha_dropout", x, p, training, alpha=_SELU_FLOOR)
