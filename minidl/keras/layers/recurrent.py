"""Recurrent layers over sequences (N, T, C): LSTM, GRU, SimpleRNN.

With Keras's usual activations they run on the ops `lstm`, `gru` and `rnn`; with others step by
step. A mask (N, T) may have its gaps anywhere (`pad_sequences` pads in front): the steps that
count are moved to the front, run as sequences of differing lengths, and put back. At a step that
does not count the state stays, and the output is that of the step before.
"""

from typing import Any, ClassVar, NamedTuple

import numpy as np

from minidl import ops
from minidl.device import array_module
from minidl.errors import ShapeError
from minidl.keras import activations, initializers
from minidl.keras.layers.base import Layer, Shape
from minidl.keras.layers.core import positive
from minidl.nn import functional as F
from minidl.nn.module import not_offered
from minidl.tape import tie
from minidl.tensor import Tensor

__all__ = ["GRU", "LSTM", "Recurrent", "SimpleRNN"]

_HINTS = ("unroll", "use_cudnn", "implementation")  # how to compute, not what


class Recurrent(Layer):
    """What the three layers share.

    units : the size of the state; activation : of what is new; use_bias : one bias for each gate
    return_sequences : the output after each step, not the last only
    go_backwards : the sequence is read, and given out, from its end
    dropout : the probability with which an input is left out, in all steps of a sequence
    zero_output_for_mask : at steps that do not count, all outputs but the last are 0

    kernel : (inputs, gates · units), recurrent_kernel : (units, gates · units),
    bias : (gates · units,)
    """

    _ranks = (3,)
    _gates: ClassVar[int] = 1
    _states: ClassVar[int] = 1

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        zero_output_for_mask: bool = False,
        **options: Any,
    ) -> None:
        options = {name: value for name, value in options.items() if name not in _HINTS}
        super().__init__(**options)
        not_offered(
            type(self).__name__,
            recurrent_dropout=recurrent_dropout or None,
            return_state=return_state,
            stateful=stateful,
        )
        if not 0 <= dropout <= 1:
            raise ValueError(f"{type(self).__name__}: dropout is {dropout}, expected 0 to 1")
        self.units, self.use_bias = positive(self, "units", units), use_bias
        self.activation = activations.get(activation)
        self.kernel_initializer = kernel_initializer
        self.recurrent_initializer = recurrent_initializer
        self.bias_initializer = bias_initializer
        self.dropout, self.return_sequences = dropout, return_sequences
        self.go_backwards, self.zero_output_for_mask = go_backwards, zero_output_for_mask

    def build(self, input_shape: Shape) -> None:
        """Make the kernels and the bias."""
        inputs = self.known(input_shape[-1], "the number of features")
        self._sizes = {-1: inputs}
        width = self._gates * self.units
        self.kernel = self.add_weight("kernel", (inputs, width), self.kernel_initializer)
        self.recurrent_kernel = self.add_weight(
            "recurrent_kernel", (self.units, width), self.recurrent_initializer
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight("bias", self._bias_shape(), self._first_bias)

    def _bias_shape(self) -> tuple[int, ...]:
        return (self._gates * self.units,)

    def _first_bias(self, shape: Any, dtype: Any) -> Any:
        return initializers.get(self.bias_initializer)(shape, dtype)

    # ---- running --------------------------------------------------------------------------------

    def call(self, x: Tensor, mask: Any = None) -> Tensor:
        """x : (N, T, inputs) -> (N, units), or (N, T, units) if return_sequences.

        mask : (N, T), False for steps that do not count, or None
        """
        if not x.shape[1]:
            raise ShapeError(
                f"{type(self).__name__} {self.name!r}: the input {x.shape} has no steps"
            )
        if self.dropout and self.training:
            ones = array_module(x.data).ones((x.shape[0], 1, x.shape[2]), x.dtype)
            x = x * F.dropout(tie(ones, None), self.dropout)
        steps = ops.transpose(x, 0, 1)
        if self.go_backwards:
            steps = ops.flip(steps, (0,))
            mask = None if mask is None else mask[:, ::-1]
        if mask is None or mask.all():
            out, last = self._run(steps, None)
        else:
            places = _places(mask)
            out, last = self._run(steps[places.order], places.lengths)
            shown = mask.T[:, :, None] if self.zero_output_for_mask else places.begun
            out = ops.where(shown, out[places.back], 0)
            last = ops.where(places.begun[-1], last, 0)
        return ops.transpose(out, 0, 1) if self.return_sequences else last

    def _run(self, x: Tensor, lengths: Any) -> tuple[Tensor, Tensor]:
        """Run over (T, N, inputs): the outputs (T, N, units) and the last that counts."""
        zeros = tie(array_module(x.data).zeros((x.shape[1], self.units), x.dtype), None)
        states = (zeros,) * self._states
        if self._is_usual():
            return self._fast(x, states, lengths)
        outs = []
        for t, now in enumerate(ops.unbind(x)):
            after = self._step(now, *states)
            if lengths is not None:
                awake = (t < lengths)[:, None]
                after = tuple([ops.where(awake, a, b) for a, b in zip(after, states, strict=True)])
            states = after
            outs.append(states[0])
        return ops.stack(outs), states[0]

    def _is_usual(self) -> bool:
        """Whether an op computes this layer."""
        raise NotImplementedError

    def _fast(self, x: Tensor, states: tuple[Tensor, ...], lengths: Any) -> tuple[Tensor, Tensor]:
        """The op's outputs and last state."""
        raise NotImplementedError

    def _step(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """The states after one step, (N, inputs) of input; the first is the output."""
        raise NotImplementedError

    def _sums(self, x: Tensor, h: Tensor) -> Tensor:
        """What goes into the gates: x kernel + h recurrent_kernel + bias."""
        new = F.linear(x, ops.transpose(self.kernel, 0, 1), self.bias)
        return new + F.linear(h, ops.transpose(self.recurrent_kernel, 0, 1))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(N, units), with the steps between if return_sequences."""
        steps = input_shape[1:2] if self.return_sequences else ()
        return (input_shape[0], *steps, self.units)

    def compute_mask(self, x: Any, mask: Any = None) -> Any:
        """The mask, where there are still steps."""
        return mask if self.return_sequences else None


class _Places(NamedTuple):
    """How the steps that count, (T, N), are moved to the front and back."""

    order: tuple[Any, Any]  # takes them to the front
    lengths: Any  # how many count; one at least, as the ops want it
    back: tuple[Any, Any]  # at each step the last that counted
    begun: Any  # (T, N, 1): whether there was one


def _places(mask: Any) -> _Places:
    xp = array_module(mask)
    mask = mask.T
    steps, batch = xp.arange(mask.shape[0])[:, None], xp.arange(mask.shape[1])[None]
    order = xp.argsort(xp.where(mask, steps, steps + mask.shape[0]), axis=0)
    seen = xp.cumsum(mask.astype("int64"), axis=0)
    return _Places(
        (order, batch),
        xp.maximum(seen[-1], 1),
        (xp.maximum(seen - 1, 0), batch),
        (seen > 0)[:, :, None],
    )


class SimpleRNN(Recurrent):
    """h = activation(x kernel + h recurrent_kernel + bias). Elman 1990; see `Recurrent`."""

    def _is_usual(self) -> bool:
        return self.activation in (activations.tanh, activations.relu)

    def _fast(self, x: Tensor, states: tuple[Tensor, ...], lengths: Any) -> tuple[Tensor, Tensor]:
        name = "tanh" if self.activation is activations.tanh else "relu"
        weights = [ops.transpose(w, 0, 1) for w in (self.kernel, self.recurrent_kernel)]
        return ops.rnn(x, *states, *weights, self.bias, None, lengths, nonlinearity=name)

    def _step(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        return (self.activation(self._sums(x, states[0])),)


class _Gated(Recurrent):
    """LSTM and GRU: recurrent_activation is that of the gates."""

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(units, activation, use_bias, **options)
        self.recurrent_activation = activations.get(recurrent_activation)

    def _is_usual(self) -> bool:
        tanh, sigmoid = activations.tanh, activations.sigmoid
        return self.activation is tanh and self.recurrent_activation is sigmoid


class LSTM(_Gated):
    """c = f c + i g, h = o activation(c). Hochreiter and Schmidhuber 1997; see `Recurrent`.

    The columns of the kernels hold i, f, g (Keras calls it c) and o, in this order.
    unit_forget_bias : the bias of f is 1 at first
    """

    _gates = 4
    _states = 2

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(
            units, activation, recurrent_activation, use_bias,
            kernel_initializer=kernel_initializer, recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer, **options,
        )  # fmt: skip
        self.unit_forget_bias = unit_forget_bias

    def _first_bias(self, shape: Any, dtype: Any) -> Any:
        values = super()._first_bias(shape, dtype)
        if self.unit_forget_bias:
            values = np.array(values)
            values[self.units : 2 * self.units] = 1
        return values

    def _fast(self, x: Tensor, states: tuple[Tensor, ...], lengths: Any) -> tuple[Tensor, Tensor]:
        weights = [ops.transpose(w, 0, 1) for w in (self.kernel, self.recurrent_kernel)]
        out, last, _ = ops.lstm(x, *states, *weights, self.bias, None, lengths)
        return out, last

    def _step(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        h, c = states
        i, f, g, o = ops.chunk(self._sums(x, h), 4, -1)
        gate = self.recurrent_activation
        c = gate(f) * c + gate(i) * self.activation(g)
        return gate(o) * self.activation(c), c


class GRU(_Gated):
    """h = z h + (1 - z) n, n = activation(x W_n + r (h U_n)). Cho et al. 2014; see `Recurrent`.

    The columns of the kernels hold z, r and n (Keras calls it h), in this order.
    reset_after : r is applied after the product with U_n, and there are two biases, (2, 3 · units);
    else before it, with one bias
    """

    _gates = 3

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        reset_after: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(
            units, activation, recurrent_activation, use_bias,
            kernel_initializer=kernel_initializer, recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer, **options,
        )  # fmt: skip
        self.reset_after = reset_after

    def _bias_shape(self) -> tuple[int, ...]:
        return (2, 3 * self.units) if self.reset_after else (3 * self.units,)

    def _is_usual(self) -> bool:
        return self.reset_after and super()._is_usual()

    def _fast(self, x: Tensor, states: tuple[Tensor, ...], lengths: Any) -> tuple[Tensor, Tensor]:
        def rows(w: Any) -> Any:  # z, r, n -> the op's r, z, n
            z, r, n = ops.chunk(w, 3, -1)
            return ops.cat((r, z, n), -1)

        weights = [ops.transpose(rows(w), 0, 1) for w in (self.kernel, self.recurrent_kernel)]
        biases = (None, None) if self.bias is None else ops.unbind(rows(self.bias))
        return ops.gru(x, *states, *weights, *biases, lengths)

    def _step(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        (h,) = states
        biases = (self.bias, None)
        if self.bias is not None and self.reset_after:
            biases = ops.unbind(self.bias)
        gate, u = self.recurrent_activation, self.units
        a_z, a_r, a_n = ops.chunk(F.linear(x, ops.transpose(self.kernel, 0, 1), biases[0]), 3, -1)
        hidden = ops.transpose(self.recurrent_kernel, 0, 1)
        if self.reset_after:
            u_z, u_r, u_n = ops.chunk(F.linear(h, hidden, biases[1]), 3, -1)
            n = self.activation(a_n + gate(a_r + u_r) * u_n)
        else:
            u_z, u_r = ops.chunk(F.linear(h, hidden[: 2 * u]), 2, -1)
            n = self.activation(a_n + F.linear(gate(a_r + u_r) * h, hidden[2 * u :]))
        z = gate(a_z + u_z)
        return (z * h + (1 - z) * n,)
