"""Recurrent layers compiled by Numba, in float32: the results of `generic.recurrent`.

Here arguments are put into the record that the kernels take (`elman`, `lstm`, `gru`; what they
share is in `sequences`). What they do not take, another dtype or an array without numbers, goes to
`generic`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from minidl_kernels.cpu import threads
from minidl_kernels.cpu.elman import rnn_backward, rnn_forward
from minidl_kernels.cpu.gru import gru_backward, gru_forward
from minidl_kernels.cpu.launch import launch
from minidl_kernels.cpu.lstm import lstm_backward, lstm_forward
from minidl_kernels.cpu.memory import address, contiguous
from minidl_kernels.cpu.sequences import Layer, pack_backward, pack_forward, weight_gradient
from minidl_kernels.generic import recurrent as generic

__all__ = ["gru", "gru_gradient", "lstm", "lstm_gradient", "rnn", "rnn_gradient", "warm_up"]

FEW = 1 << 17  # multiplications below which one thread is faster than the start of two


def _taken(x: Any, h0: Any) -> bool:
    """Whether the compiled kernels take such arguments."""
    return x.dtype == np.float32 and x.size > 0 and h0.size > 0


def _tiles(n: int) -> int:
    return -(-n // 16)


def _state(g: Any, state: Any) -> Any:
    """The gradient of a final state, to be turned into that of the first."""
    return np.zeros(state.shape, np.float32) if g is None else np.array(g, order="C")


class _Call:
    """A call of one of the six functions: the record, and the arrays whose addresses it holds."""

    def __init__(self, x: Any, h0: Any, lengths: Any, reverse: bool, blocks: int) -> None:
        (steps, count, inputs), size = x.shape, h0.shape[1]
        self.kept: list[Any] = []
        self.blocks, self.steps = blocks, steps
        self.serial = steps * count * (inputs + size) * size < FEW
        turned = x.transpose(1, 0, 2)
        if turned.flags.c_contiguous and not x.flags.c_contiguous:  # (B, T, I), as it is
            x, step, sequence = turned, inputs, steps * inputs
        else:
            step, sequence = count * inputs, inputs
        ends = np.full(count, steps, np.intp) if lengths is None else np.array(lengths, np.intp)
        parts = min(threads.count, count)
        self.layer = Layer(
            steps, count, inputs, size, parts, step, sequence, int(reverse),
            x=self.of(x), ends=self.of(ends),
        )  # fmt: skip

    def of(self, array: Any) -> int:
        """The address of an array's numbers in C order, kept while the call lasts."""
        array = contiguous(array)
        self.kept.append(array)
        return address(array)

    def room(self, *sizes: int) -> int:
        """Room for so many numbers."""
        return self.of(np.empty(int(np.prod(sizes)), np.float32))

    def bias(self, b: Any) -> int:
        """A bias; zeros where there is none."""
        rows = self.blocks * self.layer.size
        return self.of(np.zeros(rows, np.float32) if b is None else b)

    def given(self, blocks: int) -> Any:
        """An array for what is given out at each step, (T, B, blocks * H)."""
        sizes = (self.layer.steps, self.layer.batch, blocks * self.layer.size)
        return np.empty(sizes, np.float32)

    def run(self, kernel: Callable[..., None], tasks: int, **more: Any) -> None:
        """Launch a kernel with more of the record filled in."""
        packed = self.layer._replace(**more).packed()
        launch(kernel, tasks, packed, room=0, serial=self.serial)

    def forward(self, kernel: Callable[..., None], w_ih: Any, w_hh: Any, **more: Any) -> None:
        """Pack the transposed weights and run all steps."""
        panels, size = [], self.layer.size
        tiles = _tiles(self.blocks * size)
        for w, columns in ((w_ih, self.layer.inputs), (w_hh, size)):
            panels.append(self.room(tiles * 16, columns))
            self.run(
                pack_forward, tiles, w=self.of(w), columns=columns, blocks=self.blocks,
                panels=panels[-1],
            )  # fmt: skip
        self.run(kernel, self.layer.parts, panels_ih=panels[0], panels_hh=panels[1], **more)

    def backward(
        self, kernel: Callable[..., None], g_out: Any, h0: Any, w_ih: Any, w_hh: Any, of_x: bool,
        kept_blocks: int, **more: Any,
    ) -> Any:  # fmt: skip
        """Pack the weights, run all steps back, and return the gradient of x, or None."""
        size, inputs = self.layer.size, self.layer.inputs
        panels = []
        for w, columns in ((w_ih, inputs if of_x else 0), (w_hh, size)):
            tiles = _tiles(columns)
            panels.append(self.room(tiles * 16, self.blocks * _tiles(size) * 16))
            if tiles:
                self.run(
                    pack_backward, tiles, w=self.of(w), columns=columns, blocks=self.blocks,
                    panels=panels[-1],
                )  # fmt: skip
        rows, padded = self.layer.steps * self.layer.batch, 16 * _tiles(size)
        shape = (self.layer.steps, self.layer.batch, inputs)
        gx = np.empty(shape, np.float32) if of_x else None
        self.layer = self.layer._replace(
            ga=self.room(kept_blocks * padded, rows),
            x_panels=self.room(16 * _tiles(inputs), rows),
            h_panels=self.room(padded, rows),
        )
        self.run(
            kernel, self.layer.parts, h0=self.of(h0), panels_ih=panels[0], panels_hh=panels[1],
            given=int(g_out is not None), g_out=0 if g_out is None else self.of(g_out),
            wanted=int(of_x), gx=0 if gx is None else address(gx), **more,
        )  # fmt: skip
        return gx

    def weight(self, order: list[int], panels: int, columns: int, bias: bool) -> tuple[Any, Any]:
        """The gradients of a weight and of a bias, from those of the gates and from operands."""
        rows = self.blocks * self.layer.size
        gw, gb = np.empty((rows, columns), np.float32), np.empty(rows, np.float32)
        self.run(
            weight_gradient, self.blocks * _tiles(self.layer.size), order=self.of(np.array(order)),
            panels=panels, columns=columns, gw=address(gw), gb=address(gb) if bias else 0,
        )  # fmt: skip
        return gw, gb

    def of_input(self, order: list[int]) -> tuple[Any, Any]:
        """The gradients of w_ih and of its bias."""
        return self.weight(order, self.layer.x_panels, self.layer.inputs, True)

    def of_state(self, order: list[int], bias: bool = False) -> tuple[Any, Any]:
        """The gradients of w_hh and, if it has one, of its bias."""
        return self.weight(order, self.layer.h_panels, self.layer.size, bias)


def rnn(
    x: Any, h0: Any, w_ih: Any, w_hh: Any, b: Any, lengths: Any, reverse: bool, nonlinearity: str
) -> tuple[Any, Any]:
    """See `minidl_kernels.reference.recurrent.rnn`, the definition."""
    if not _taken(x, h0):
        return generic.rnn(x, h0, w_ih, w_hh, b, lengths, reverse, nonlinearity)
    call = _Call(x, h0, lengths, reverse, 1)
    out, h = call.given(1), np.array(h0, order="C")
    call.forward(
        rnn_forward, w_ih, w_hh, b_ih=call.bias(b), relu=int(nonlinearity == "relu"),
        h=address(h), out=address(out),
    )  # fmt: skip
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
    if not _taken(x, h0):
        return generic.rnn_gradient(
            g_out, g_h, x, h0, w_ih, w_hh, out, lengths, reverse, nonlinearity, of_x
        )
    call, gh = _Call(x, h0, lengths, reverse, 1), _state(g_h, h0)
    gx = call.backward(
        rnn_backward, g_out, h0, w_ih, w_hh, of_x, 1, relu=int(nonlinearity == "relu"),
        out=call.of(out), gh=address(gh),
    )  # fmt: skip
    gw_ih, gb = call.of_input([0])
    return gx, gh, gw_ih, call.of_state([0])[0], gb


def lstm(
    x: Any, h0: Any, c0: Any, w_ih: Any, w_hh: Any, b: Any, lengths: Any, reverse: bool
) -> tuple[Any, ...]:
    """See `minidl_kernels.reference.recurrent.lstm`, the definition."""
    if not _taken(x, h0):
        return generic.lstm(x, h0, c0, w_ih, w_hh, b, lengths, reverse)
    call = _Call(x, h0, lengths, reverse, 4)
    gates, out, cells = call.given(4), call.given(1), call.given(1)
    h, c = np.array(h0, order="C"), np.array(c0, order="C")
    call.forward(
        lstm_forward, w_ih, w_hh, b_ih=call.bias(b), h=address(h), c=address(c),
        gates=address(gates), out=address(out), cells=address(cells),
    )  # fmt: skip
    return out, h, c, gates, cells


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
    if not _taken(x, h0):
        return generic.lstm_gradient(
            g_out, g_h, g_c, x, h0, c0, w_ih, w_hh, out, gates, cells, lengths, reverse, of_x
        )
    call, gh, gc = _Call(x, h0, lengths, reverse, 4), _state(g_h, h0), _state(g_c, c0)
    gx = call.backward(
        lstm_backward, g_out, h0, w_ih, w_hh, of_x, 4, c0=call.of(c0), gates=call.of(gates),
        out=call.of(out), cells=call.of(cells), gh=address(gh), gc=address(gc),
    )  # fmt: skip
    gw_ih, gb = call.of_input([0, 1, 2, 3])
    return gx, gh, gc, gw_ih, call.of_state([0, 1, 2, 3])[0], gb


def gru(
    x: Any, h0: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, lengths: Any, reverse: bool
) -> tuple[Any, ...]:
    """See `minidl_kernels.reference.recurrent.gru`, the definition."""
    if not _taken(x, h0):
        return generic.gru(x, h0, w_ih, w_hh, b_ih, b_hh, lengths, reverse)
    call = _Call(x, h0, lengths, reverse, 3)
    gates, out, h = call.given(4), call.given(1), np.array(h0, order="C")
    call.forward(
        gru_forward, w_ih, w_hh, b_ih=call.bias(b_ih), b_hh=call.bias(b_hh), h=address(h),
        gates=address(gates), out=address(out), room=call.room(h.size, 3),
    )  # fmt: skip
    return out, h, gates


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
    if not _taken(x, h0):
        return generic.gru_gradient(
            g_out, g_h, x, h0, w_ih, w_hh, out, gates, lengths, reverse, of_x
        )
    call, gh = _Call(x, h0, lengths, reverse, 3), _state(g_h, h0)
    gx = call.backward(
        gru_backward, g_out, h0, w_ih, w_hh, of_x, 4, gates=call.of(gates), out=call.of(out),
        gh=address(gh),
    )  # fmt: skip
    (gw_ih, gb_ih), (gw_hh, gb_hh) = call.of_input([0, 1, 3]), call.of_state([0, 1, 2], True)
    return gx, gh, gw_ih, gw_hh, gb_ih, gb_hh


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
