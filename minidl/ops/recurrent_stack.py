"""Several recurrent layers, one on another, as one operation.

Nothing happens between the layers, so one call of a kernel may take each sequence through all of
them; `recurrent` has the layers.
"""

import functools
from typing import Any

import minidl_kernels as kernels
from minidl.errors import ShapeError
from minidl.ops import _checks
from minidl.ops.joining import stack
from minidl.ops.recurrent import (
    WEIGHTS,
    check_input,
    check_states,
    check_weights,
    chosen,
    gru,
    lengths_of,
    lstm,
    rnn,
    sum_of_biases,
)
from minidl.tape import Kept, op

__all__ = ["recurrent_layers"]

_BLOCKS = {"lstm": 4, "gru": 3, "tanh": 1}


def _each_layer(weights: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """(w_ih, w_hh, b_ih, b_hh) of each layer."""
    return [weights[i : i + 4] for i in range(0, len(weights), 4)]


@functools.cache
def _names(k: int) -> tuple[str, ...]:
    """What errors call the weights of layer k."""
    return tuple([f"{name} of layer {k}" for name in WEIGHTS])


def _biased(kind: str, weights: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """The same as kernels take them: with one bias, or two for a GRU."""
    if kind == "gru":
        return _each_layer(weights)
    return [(w_ih, w_hh, sum_of_biases(*both)) for w_ih, w_hh, *both in _each_layer(weights)]


def _layers_definition(
    x: Any, h0: Any, c0: Any, *weights: Any, kind: str, lengths: Any
) -> tuple[Any, ...]:
    lasts: list[Any] = []
    for k, own in enumerate(_each_layer(weights)):
        h, c = [None if s is None else s[k] for s in (h0, c0)]
        if kind == "lstm":
            x, *last = lstm(x, h, c, *own, lengths)
        elif kind == "gru":
            x, *last = gru(x, h, *own, lengths)
        else:
            x, *last = rnn(x, h, *own, lengths)
        lasts.append(last)
    return x, *[stack(each) for each in zip(*lasts, strict=True)]


def _layers_gradient(
    g: Any,
    wanted: tuple[str, ...],
    x: Any,
    h0: Any,
    c0: Any,
    weights: tuple[Any, ...],
    kept: tuple[Any, ...],
    ends: Any,
    kind: str,
) -> tuple[Any, ...]:
    states = [h0, c0] if kind == "lstm" else [h0]
    gx, *firsts, layers = kernels.recurrent_layers_gradient(
        g[0], list(g[1:]), x, states, _each_layer(weights), kept, ends, kind, "x" in wanted
    )
    found = {"x": gx, **dict(zip(("h0", "c0"), firsts, strict=False))}
    for k, (gw_ih, gw_hh, gb_ih, *rest) in enumerate(layers):
        gb_hh = rest[0] if rest else gb_ih.copy()
        for i, gw in enumerate((gw_ih, gw_hh, gb_ih, gb_hh), 4 * k):
            found[f"weights[{i}]"] = gw
    return chosen(wanted, found)


@op(
    joint=_layers_gradient,
    wrt=("x", "h0", "c0", "weights"),
    definition=_layers_definition,
    formula="layer k reads what layer k - 1 gives out; each as in lstm, gru or rnn",
)
def recurrent_layers(
    x: Any, h0: Any, c0: Any, *weights: Any, kind: str = "lstm", lengths: Any = None
) -> tuple[Any, ...]:
    """Several layers of one kind, one on another, from the first step to the last.

    x : (T, B, I), h0 : (layers, B, H), the states before the first step; None for zeros, and
        quicker; c0 : the same for an LSTM's other state, else None
    weights : w_ih, w_hh, b_ih, b_hh of the first layer, then of the next; shapes as in `lstm`,
        `gru` and `rnn`, where I is H from the second layer on; a bias may be None
    kind : "lstm", "gru", or "tanh" for an RNN; one with relu goes layer by layer
    lengths : whole numbers (B,), 1 … T, where sequences end earlier, or None

    Returns out (T, B, H) of the last layer, and h_n (layers, B, H), for an LSTM c_n too: the states
    after the last step. Raises ShapeError, DtypeError, or ValueError for lengths out of range.
    """
    who = "recurrent_layers"
    _checks.choice(who, "kind", kind, *_BLOCKS)
    if not weights or len(weights) % 4:
        raise ShapeError(
            f"{who}: got {len(weights)} weights, expected w_ih, w_hh, b_ih and b_hh of each layer"
        )
    if kind != "lstm" and c0 is not None:
        raise ShapeError(f"{who}: c0 is given, expected None: only an LSTM has such a state")
    layers, w_hh = _each_layer(weights), weights[1]
    check_input(who, x, w_hh)
    (steps, batch, _), size, shape = x.shape, w_hh.shape[1], x.shape
    check_states(who, {"h0": h0, "c0": c0}, x, w_hh, (len(layers), batch, size))
    for k, own in enumerate(layers):
        check_weights(who, _BLOCKS[kind], x, shape, size, _names(k), own)
        shape = (steps, batch, size)
    ends = lengths_of(who, lengths, x)
    states = [h0, c0] if kind == "lstm" else [h0]
    *results, kept = kernels.recurrent_layers(x, states, _biased(kind, weights), ends, kind)
    return *results, Kept(kept=kept, ends=ends)
