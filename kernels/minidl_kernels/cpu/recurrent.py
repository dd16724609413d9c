"""Recurrent layers compiled by Numba, in float32: the results of `generic.recurrent`.

Here arguments are put into the records that the kernels take (`cells`; what they share is in
`sequences`), one for each layer of a stack; `rnn`, `lstm` and `gru` are stacks of one. What they do
not take, another dtype or an array without numbers, goes to `generic`.
"""

import struct
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from minidl_kernels.cpu import threads
from minidl_kernels.cpu.cells import (
    gru_backward,
    gru_forward,
    lstm_backward,
    lstm_forward,
    rnn_backward,
    rnn_forward,
)
from minidl_kernels.cpu.launch import launch
from minidl_kernels.cpu.memory import address, contiguous, empty
from minidl_kernels.cpu.sequences import Layer, pack_backward, pack_forward, weight_gradient
from minidl_kernels.generic import recurrent as generic

__all__ = [
    "gru",
    "gru_gradient",
    "lstm",
    "lstm_gradient",
    "recurrent_layers",
    "recurrent_layers_gradient",
    "rnn",
    "rnn_gradient",
    "warm_up",
]

FEW = 1 << 17  # multiplications below which one thread is faster than the start of two


class _Kind(NamedTuple):
    """What tells the kinds of layers apart."""

    gates: int  # blocks of rows that a weight has
    kept: dict[str, int]  # what is kept for the way back, and how many times H it is wide
    blocks: int  # of gradients of the gates
    forward: Callable[[int, int, int], None]
    backward: Callable[[int, int, int], None]


_RNN = _Kind(1, {"out": 1}, 1, rnn_forward, rnn_backward)
_KINDS = {
    "lstm": _Kind(4, {"out": 1, "values": 4, "cells": 1}, 4, lstm_forward, lstm_backward),
    "gru": _Kind(3, {"out": 1, "values": 4}, 4, gru_forward, gru_backward),
    "tanh": _RNN,
    "relu": _RNN,
}
_NOTHING = dict.fromkeys(Layer._fields, 0)  # a record, its fields in their order
_PACKED = struct.Struct(f"{len(_NOTHING)}n").pack


def _taken(x: Any, w_hh: Any) -> bool:
    """Whether the compiled kernels take such arguments."""
    return x.dtype == np.float32 and x.size > 0 and w_hh.size > 0


class _Call:
    """A call: the fields of a record for each layer, and the arrays whose addresses they hold.

    states : for each of h and c the states before the first step (layers, B, H), or None
    weights : of each layer w_ih, w_hh, and one bias or two, of which any may be None
    """

    def __init__(
        self, kind: str, x: Any, states: Any, weights: Any, lengths: Any, reverse: bool
    ) -> None:
        (steps, count, inputs), size = x.shape, weights[0][1].shape[1]
        step, sequence = count * inputs, inputs
        if not x.flags.c_contiguous:
            turned = x.transpose(1, 0, 2)
            if turned.flags.c_contiguous:  # (B, T, I), as it is
                x, step, sequence = turned, inputs, steps * inputs
        self.kind = _KINDS[kind]
        self.shape, self.inputs = (steps, count, size), [inputs] + [size] * (len(weights) - 1)
        self.tiles, self.count = -(-size // 16), len(weights)
        self.serial = steps * count * (sum(self.inputs) + self.count * size) * size < FEW
        self.shares = 1 if self.serial else threads.count
        self.parts = min(self.shares, count)
        shared = _NOTHING | {
            "layers": self.count, "steps": steps, "batch": count, "size": size,
            "gates": self.kind.gates, "parts": self.parts, "shares": self.shares,
            "reverse": int(reverse), "fresh": int(states[0] is None), "relu": int(kind == "relu"),
            "inputs": size, "step": count * size, "sequence": size,
        }  # fmt: skip
        self.layers = [shared.copy() for _ in weights]
        self.layers[0] |= {"inputs": inputs, "step": step, "sequence": sequence}
        self.kept: list[Any] = []
        self.give("x", [x])
        by_name = zip(*weights, strict=True)
        for name, each in zip(("w_ih", "w_hh", "b_ih", "b_hh"), by_name, strict=False):
            self.give(name, each)
        for name, given in zip(("h0", "c0"), states, strict=False):
            if given is None:
                self.spread(name, np.zeros(self.shape[1:], np.float32), 0)
            else:
                self.spread(name, given)
        if lengths is not None:
            self.spread("ends", np.array(lengths, np.intp), 0)

    def give(self, name: str, arrays: Iterable[Any]) -> None:
        """Put an array, or None, into the record of each layer; they are kept with the call."""
        for fields, array in zip(self.layers, arrays, strict=False):
            if array is not None:
                array = contiguous(array)
                self.kept.append(array)
                fields[name] = address(array)

    def spread(self, name: str, array: Any, step: int | None = None) -> None:
        """Put an array whose first axis is the layers into the records; a step of 0: all of it."""
        array = contiguous(array)
        self.kept.append(array)
        place, step = address(array), array.nbytes // self.count if step is None else step
        for k, fields in enumerate(self.layers):
            fields[name] = place + k * step

    def carve(self, **sizes: list[int]) -> None:
        """Put room for so many numbers into the record of each layer, which kernels alone see."""
        room = empty(sum([sum(each) for each in sizes.values()]), np.float32)
        self.kept.append(room)
        place = address(room)
        for name, each in sizes.items():
            for fields, size in zip(self.layers, each, strict=True):
                fields[name] = place
                place += 4 * size

    def records(self) -> Any:
        """The records as the kernels take them."""
        packed = [_PACKED(*fields.values()) for fields in self.layers]
        return np.frombuffer(b"".join(packed), np.intp)

    def forward(self) -> tuple[list[Any], list[Any]]:
        """Run all steps: (states after the last, what is kept of each layer, the outputs first)."""
        (steps, count, size), panels = self.shape, self.kind.gates * self.tiles
        kept = []
        for name, width in self.kind.kept.items():
            kept.append([np.empty((steps, count, width * size), np.float32) for _ in self.layers])
            self.give(name, kept[-1])
        self.give("x", [None, *kept[0][:-1]])
        last = []
        for name in ("h", "c") if "cells" in self.kind.kept else ("h",):
            last.append(np.empty((self.count, count, size), np.float32))
            self.spread(name, last[-1])
        self.carve(panels=[panels * (n + size) * 16 for n in self.inputs])
        records = self.records()
        launch(pack_forward, self.shares, records, 0, self.serial)
        room = -(-count // self.parts) * (max(self.inputs) + size)
        launch(self.kind.forward, self.parts, records, room, self.serial)
        return last, kept

    def backward(
        self, g_out: Any, g_last: list[Any], kept: Any, of_x: bool
    ) -> tuple[Any, list[Any], list[tuple[Any, ...]]]:
        """Run all steps back: the gradients of x, of the first states, and of each layer's weights.

        g_last : of h and c a gradient (layers, B, H), or None
        """
        (steps, count, size), layers = self.shape, self.count
        wide, panels, rows = self.kind.gates * size, self.kind.gates * self.tiles, steps * count | 1
        for name, each in zip(self.kind.kept, kept, strict=True):
            self.give(name, each)
        self.give("x", [None, *kept[0][:-1]])
        state = (layers, count, size)
        g_first = [
            np.zeros(state, np.float32) if g is None else np.array(g.reshape(state), order="C")
            for g in g_last
        ]
        for name, g in zip(("gh", "gc"), g_first, strict=False):
            self.spread(name, g)
        biases = ("gb_ih", "gb_hh") if self.kind.blocks > self.kind.gates else ("gb_ih",)
        shapes: dict[str, list[Any]] = {
            "gw_ih": [(wide, n) for n in self.inputs], "gw_hh": [(wide, size)] * layers,
            **dict.fromkeys(biases, [wide] * layers),
        }  # fmt: skip
        made = []
        for name, each in shapes.items():
            made.append([np.empty(shape, np.float32) for shape in each])
            self.give(name, made[-1])
        gx = np.empty((steps, count, self.inputs[0]), np.float32) if of_x else None
        # A layer reads its gradient where the one above has put it, and puts its own there.
        between = empty(self.shape, np.float32) if layers > 1 else None
        self.give("gx", [gx] + [between] * (layers - 1))
        self.give("g_out", [between] * (layers - 1) + [g_out])
        tiles = [-(-n // 16) for n in self.inputs]
        operands = [n * rows * 16 for n in tiles]
        self.carve(
            panels_ih=[n * panels * 256 for n in tiles],
            panels_hh=[self.tiles * panels * 256] * layers,
            ga=[self.kind.blocks * self.tiles * rows * 16] * layers,
            x_panels=operands, h_panels=[self.tiles * rows * 16] * layers,
        )  # fmt: skip
        for fields in self.layers:
            fields |= {"rows": rows, "last": self.kind.blocks - 1}
        records = self.records()
        launch(pack_backward, self.shares, records, 0, self.serial)
        launch(self.kind.backward, self.parts, records, 0, self.serial)
        launch(weight_gradient, self.shares, records, 0, self.serial)
        return gx, g_first, list(zip(*made, strict=True))


# ---- layers one on another ----------------------------------------------------------------------


def recurrent_layers(
    x: Any, states: list[Any], weights: list[Any], lengths: Any, kind: str
) -> tuple[Any, ...]:
    """See `minidl_kernels.reference.recurrent.recurrent_layers`, the definition."""
    if not _taken(x, weights[0][1]):
        return generic.recurrent_layers(x, states, weights, lengths, kind)
    last, kept = _Call(kind, x, states, weights, lengths, False).forward()
    return kept[0][-1], *last, tuple([a for each in kept for a in each])


def recurrent_layers_gradient(
    g_out: Any,
    g_last: list[Any],
    x: Any,
    states: list[Any],
    weights: list[Any],
    kept: tuple[Any, ...],
    lengths: Any,
    kind: str,
    of_x: bool = True,
) -> tuple[Any, ...]:
    """See `minidl_kernels.reference.recurrent.recurrent_layers_gradient`, the definition."""
    if not _taken(x, weights[0][1]):
        return generic.recurrent_layers_gradient(
            g_out, g_last, x, states, weights, kept, lengths, kind, of_x
        )
    weights, n = [each[:2] for each in weights], len(weights)
    call = _Call(kind, x, states, weights, lengths, False)
    each = [kept[i : i + n] for i in range(0, len(kept), n)]
    gx, g_first, g_weights = call.backward(g_out, g_last, each, of_x)
    return gx, *_asked(g_first, states), g_weights


def _asked(gradients: list[Any], states: list[Any]) -> list[Any]:
    """The gradients of the states that there are."""
    return [g if s is not None else None for g, s in zip(gradients, states, strict=True)]


# ---- one layer ----------------------------------------------------------------------------------


def _forward(
    kind: str, x: Any, states: list[Any], weights: tuple[Any, ...], lengths: Any, reverse: bool
) -> tuple[Any, ...]:
    """(out, *last states, *what is kept) of one layer."""
    first = [None if s is None else s[None] for s in states]
    last, kept = _Call(kind, x, first, [weights], lengths, reverse).forward()
    out, *more = [each[0] for each in kept]
    return out, *[s[0] for s in last], *more


def _backward(
    kind: str, g_out: Any, g_last: list[Any], x: Any, states: list[Any], weights: tuple[Any, ...],
    kept: tuple[Any, ...], lengths: Any, reverse: bool, of_x: bool,
) -> tuple[Any, ...]:  # fmt: skip
    """The gradients of x, of the states, and of the weights of one layer."""
    first = [None if s is None else s[None] for s in states]
    call = _Call(kind, x, first, [weights], lengths, reverse)
    gx, g_first, (g_weights,) = call.backward(g_out, g_last, [[a] for a in kept], of_x)
    return gx, *_asked([g[0] for g in g_first], states), *g_weights


def rnn(
    x: Any, h0: Any, w_ih: Any, w_hh: Any, b: Any, lengths: Any, reverse: bool, nonlinearity: str
) -> tuple[Any, ...]:
    """See `minidl_kernels.reference.recurrent.rnn`, the definition."""
    if not _taken(x, w_hh):
        return generic.rnn(x, h0, w_ih, w_hh, b, lengths, reverse, nonlinearity)
    return _forward(nonlinearity, x, [h0], (w_ih, w_hh, b), lengths, reverse)


def rnn_gradient(
    g_out: Any,
    g_h: Any,
    x: Any,
    h0: Any,
    w_ih: Any,
    w_hh: Any,
    out: Any,
    lengths: Any,
    reverse: bool,
    nonlinearity: str,
    of_x: bool = True,
) -> tuple[Any, ...]:
    """See `minidl_kernels.reference.recurrent.rnn_gradient`, the definition."""
    if not _taken(x, w_hh):
        return generic.rnn_gradient(
            g_out, g_h, x, h0, w_ih, w_hh, out, lengths, reverse, nonlinearity, of_x
        )
    weights, kept = (w_ih, w_hh), (out,)
    return _backward(nonlinearity, g_out, [g_h], x, [h0], weights, kept, lengths, reverse, of_x)


def lstm(
    x: Any, h0: Any, c0: Any, w_ih: Any, w_hh: Any, b: Any, lengths: Any, reverse: bool
) -> tuple[Any, ...]:
    """See `minidl_kernels.reference.recurrent.lstm`, the definition."""
    if not _taken(x, w_hh):
        return generic.lstm(x, h0, c0, w_ih, w_hh, b, lengths, reverse)
    return _forward("lstm", x, [h0, c0], (w_ih, w_hh, b), lengths, reverse)


def lstm_gradient(
    g_out: Any,
    g_h: Any,
    g_c: Any,
    x: Any,
    h0: Any,
    c0: Any,
    w_ih: Any,
    w_hh: Any,
    out: Any,
    gates: Any,
    cells: Any,
    lengths: Any,
    reverse: bool,
    of_x: bool = True,
) -> tuple[Any, ...]:
    """See `minidl_kernels.reference.recurrent.lstm_gradient`, the definition."""
    if not _taken(x, w_hh):
        return generic.lstm_gradient(
            g_out, g_h, g_c, x, h0, c0, w_ih, w_hh, out, gates, cells, lengths, reverse, of_x
        )
    weights, kept = (w_ih, w_hh), (out, gates, cells)
    return _backward("lstm", g_out, [g_h, g_c], x, [h0, c0], weights, kept, lengths, reverse, of_x)


def gru(
    x: Any, h0: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, lengths: Any, reverse: bool
) -> tuple[Any, ...]:
    """See `minidl_kernels.reference.recurrent.gru`, the definition."""
    if not _taken(x, w_hh):
        return generic.gru(x, h0, w_ih, w_hh, b_ih, b_hh, lengths, reverse)
    return _forward("gru", x, [h0], (w_ih, w_hh, b_ih, b_hh), lengths, reverse)


def gru_gradient(
    g_out: Any,
    g_h: Any,
    x: Any,
    h0: Any,
    w_ih: Any,
    w_hh: Any,
    out: Any,
    gates: Any,
    lengths: Any,
    reverse: bool,
    of_x: bool = True,
) -> tuple[Any, ...]:
    """See `minidl_kernels.reference.recurrent.gru_gradient`, the definition."""
    if not _taken(x, w_hh):
        return generic.gru_gradient(
            g_out, g_h, x, h0, w_ih, w_hh, out, gates, lengths, reverse, of_x
        )
    weights, kept = (w_ih, w_hh), (out, gates)
    return _backward("gru", g_out, [g_h], x, [h0], weights, kept, lengths, reverse, of_x)


def warm_up(dtype: str) -> None:
    """Compile the kernels for a dtype."""
    x = np.zeros((2, 2, 2), dtype)
    for kind, facts in _KINDS.items():
        states = [None] * (2 if kind == "lstm" else 1)
        weights = [tuple([np.zeros((facts.gates * 2, 2), dtype)] * 2)]
        biases = (None, None) if kind == "gru" else (None,)
        out, *last, kept = recurrent_layers(x, states, [w + biases for w in weights], None, kind)
        recurrent_layers_gradient(out, last, x, states, weights, kept, None, kind)
