"""Recurrent layers compiled by Numba, in float32: the results of `generic.recurrent`.

Here arguments are put into the record that the kernels take (`cells`; what they share is in
`sequences`). What they do not take, another dtype or an array without numbers, goes to
`generic`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from minidl_kernels.cpu import threads
from minidl_kernels.cpu.cells import (
    GRU_SUMS,
    gru_backward,
    gru_forward,
    lstm_backward,
    lstm_forward,
    rnn_backward,
    rnn_forward,
)
from minidl_kernels.cpu.launch import launch
from minidl_kernels.cpu.memory import address, contiguous
from minidl_kernels.cpu.sequences import Layer, pack_backward, pack_forward, weight_gradient
from minidl_kernels.generic import recurrent as generic

__all__ = ["gru", "gru_gradient", "lstm", "lstm_gradient", "rnn", "rnn_gradient", "warm_up"]

FEW = 1 << 17  # multiplications below which one thread is faster than the start of two


def _taken(x: Any, w_hh: Any) -> bool:
    """Whether the compiled kernels take such arguments."""
    return x.dtype == np.float32 and x.size > 0 and w_hh.size > 0


def _first(state: Any, x: Any, w_hh: Any) -> Any:
    """A state before the first step, or the gradient of one after the last: zeros if it is None."""
    return np.zeros((x.shape[1], w_hh.shape[1]), np.float32) if state is None else state


class _Call:
    """A call of one of the six functions: the record, and the arrays whose addresses it holds."""

    def __init__(
        self, gates: int, x: Any, h0: Any, w_ih: Any, w_hh: Any, lengths: Any, reverse: bool,
        **more: Any,
    ) -> None:  # fmt: skip
        (steps, count, inputs), size = x.shape, w_hh.shape[1]
        fresh, h0 = h0 is None, _first(h0, x, w_hh)
        step, sequence = count * inputs, inputs
        if not x.flags.c_contiguous:
            turned = x.transpose(1, 0, 2)
            if turned.flags.c_contiguous:  # (B, T, I), as it is
                x, step, sequence = turned, inputs, steps * inputs
        self.steps, self.count, self.inputs, self.size = steps, count, inputs, size
        self.gates, self.states = gates, (steps, count, size)
        self.tiles = -(-size // 16)
        self.serial = steps * count * (inputs + size) * size < FEW
        self.parts = 1 if self.serial else min(threads.count, count)
        self.kept: list[Any] = []
        self.fields: dict[str, int] = {
            "steps": steps, "batch": count, "inputs": inputs, "size": size, "gates": gates,
            "parts": self.parts, "step": step, "sequence": sequence, "reverse": int(reverse),
            "fresh": int(fresh),
        }  # fmt: skip
        ends = None if lengths is None else np.array(lengths, np.intp)
        self.give(x=x, h0=h0, w_ih=w_ih, w_hh=w_hh, ends=ends, **more)

    def give(self, **arrays: Any) -> None:
        """Put arrays, or None, into the record; they are kept while the call lasts."""
        for name, array in arrays.items():
            if array is not None:
                array = contiguous(array)
                self.kept.append(array)
                self.fields[name] = address(array)

    def make(self, **shapes: tuple[int, ...]) -> list[Any]:
        """Make arrays, put them into the record, and return them."""
        made = [np.empty(shape, np.float32) for shape in shapes.values()]
        for name, array in zip(shapes, made, strict=True):
            self.fields[name] = address(array)
        return made

    def forward(self, kernel: Callable[..., None], room: int = 0) -> None:
        """Pack the transposed weights and run all steps."""
        panels = self.gates * self.tiles
        packed = self.make(panels_ih=(panels, self.inputs, 16), panels_hh=(panels, self.size, 16))
        layer = Layer(**self.fields)
        launch(pack_forward, 2 * panels, layer, 0, self.serial)
        launch(kernel, self.parts, layer, room, self.serial)
        del packed  # the kernels read it until here

    def backward(self, kernel: Callable[..., None], of_x: bool, blocks: int) -> tuple[Any, ...]:
        """Pack the weights and run all steps back; return the gradients of x, weights and biases.

        blocks : how many of `size` the gradients of the gates have; if more than the weights have,
            the last belongs to the last gate of w_ih, and b_hh has a gradient of its own
        """
        steps, count, inputs, size = self.steps, self.count, self.inputs, self.size
        wide, panel, rows = self.gates * size, self.gates * self.tiles, steps * count | 1
        own = blocks > self.gates
        of_inputs = -(-inputs // 16)
        made = self.make(
            gw_ih=(wide, inputs), gw_hh=(wide, size), gb_ih=(wide,),
            **({"gb_hh": (wide,)} if own else {}),
            **({"gx": (steps, count, inputs)} if of_x else {}),
            panels_ih=(of_inputs if of_x else 0, panel * 16, 16),
            panels_hh=(self.tiles, panel * 16, 16),
            ga=(blocks * self.tiles, rows, 16),
            x_panels=(of_inputs, rows, 16), h_panels=(self.tiles, rows, 16),
        )  # fmt: skip
        layer = Layer(**self.fields, rows=rows, last=blocks - 1)
        launch(pack_backward, self.tiles + (of_inputs if of_x else 0), layer, 0, self.serial)
        launch(kernel, self.parts, layer, 0, self.serial)
        launch(weight_gradient, panel, layer, 0, self.serial)
        gw_ih, gw_hh, gb_ih, *rest = made
        gb_hh = rest.pop(0) if own else None
        return rest[0] if of_x else None, gw_ih, gw_hh, gb_ih, gb_hh


def rnn(
    x: Any, h0: Any, w_ih: Any, w_hh: Any, b: Any, lengths: Any, reverse: bool, nonlinearity: str
) -> tuple[Any, Any]:
    """See `minidl_kernels.reference.recurrent.rnn`, the definition."""
    if not _taken(x, w_hh):
        return generic.rnn(x, h0, w_ih, w_hh, b, lengths, reverse, nonlinearity)
    call = _Call(1, x, h0, w_ih, w_hh, lengths, reverse, b_ih=b)
    call.fields["relu"] = int(nonlinearity == "relu")
    out, h = call.make(out=call.states, h=call.states[1:])
    call.forward(rnn_forward)
    return out, h


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
    gh = np.array(_first(g_h, x, w_hh), order="C")
    call = _Call(1, x, h0, w_ih, w_hh, lengths, reverse, out=out, g_out=g_out, gh=gh)
    call.fields["relu"] = int(nonlinearity == "relu")
    gx, gw_ih, gw_hh, gb, _ = call.backward(rnn_backward, of_x, 1)
    return gx, gh if h0 is not None else None, gw_ih, gw_hh, gb


def lstm(
    x: Any, h0: Any, c0: Any, w_ih: Any, w_hh: Any, b: Any, lengths: Any, reverse: bool
) -> tuple[Any, ...]:
    """See `minidl_kernels.reference.recurrent.lstm`, the definition."""
    if not _taken(x, w_hh):
        return generic.lstm(x, h0, c0, w_ih, w_hh, b, lengths, reverse)
    call = _Call(4, x, h0, w_ih, w_hh, lengths, reverse, b_ih=b, c0=_first(c0, x, w_hh))
    values, out, cells, h, c = call.make(
        values=(call.steps, call.count, 4 * call.size), out=call.states, cells=call.states,
        h=call.states[1:], c=call.states[1:],
    )  # fmt: skip
    call.forward(lstm_forward)
    return out, h, c, values, cells


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
    gh, gc = [np.array(_first(g, x, w_hh), order="C") for g in (g_h, g_c)]
    call = _Call(
        4, x, h0, w_ih, w_hh, lengths, reverse, c0=_first(c0, x, w_hh), values=gates, out=out,
        cells=cells, g_out=g_out, gh=gh, gc=gc,
    )  # fmt: skip
    gx, gw_ih, gw_hh, gb, _ = call.backward(lstm_backward, of_x, 4)
    states = gh if h0 is not None else None, gc if c0 is not None else None
    return gx, *states, gw_ih, gw_hh, gb


def gru(
    x: Any, h0: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, lengths: Any, reverse: bool
) -> tuple[Any, ...]:
    """See `minidl_kernels.reference.recurrent.gru`, the definition."""
    if not _taken(x, w_hh):
        return generic.gru(x, h0, w_ih, w_hh, b_ih, b_hh, lengths, reverse)
    call = _Call(3, x, h0, w_ih, w_hh, lengths, reverse, b_ih=b_ih, b_hh=b_hh)
    values, out, h = call.make(
        values=(call.steps, call.count, 4 * call.size), out=call.states, h=call.states[1:]
    )  # fmt: skip
    call.forward(gru_forward, room=-(-call.count // call.parts) * GRU_SUMS)
    return out, h, values


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
    gh = np.array(_first(g_h, x, w_hh), order="C")
    call = _Call(3, x, h0, w_ih, w_hh, lengths, reverse, values=gates, out=out, g_out=g_out, gh=gh)
    gx, gw_ih, gw_hh, gb_ih, gb_hh = call.backward(gru_backward, of_x, 4)
    return gx, gh if h0 is not None else None, gw_ih, gw_hh, gb_ih, gb_hh


def warm_up(dtype: str) -> None:
    """Compile the kernels for a dtype."""

    def zeros(*shape: int) -> Any:
        return np.zeros(shape, dtype)

    x, state = zeros(2, 2, 2), zeros(2, 2)
    out, _ = rnn(x, state, zeros(2, 2), zeros(2, 2), None, None, False, "tanh")
    rnn_gradient(out, None, x, state, zeros(2, 2), zeros(2, 2), out, None, False, "tanh")
    weights = (zeros(8, 2), zeros(8, 2))
    out, _, _, gates, cells = lstm(x, state, state, *weights, None, None, False)
    lstm_gradient(out, None, None, x, state, state, *weights, out, gates, cells, None, False)
    weights = (zeros(6, 2), zeros(6, 2))
    out, _, gates = gru(x, state, *weights, None, None, None, False)
    gru_gradient(out, None, x, state, *weights, out, gates, None, False)
