"""Recurrent layers: RNN, LSTM and GRU over sequences, and their cells for a single step."""

import math
from typing import Any, ClassVar

from minidl import ops
from minidl.creation import tensor
from minidl.device import array_module
from minidl.errors import ShapeError
from minidl.nn import functional as F
from minidl.nn import init
from minidl.nn.module import Module, empty_parameter, not_offered
from minidl.ops import _checks
from minidl.tape import tie
from minidl.tensor import Tensor

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell"]


def _draw(module: Module, hidden_size: int) -> None:
    """Draw every parameter uniform in ±1/√hidden_size, as PyTorch does."""
    bound = 1 / math.sqrt(hidden_size) if hidden_size else 0
    for p in module.parameters():
        init.uniform_(p, -bound, bound)


class _Recurrent(Module):
    """What RNN, LSTM and GRU share: layers, directions and the order of the axes; see `LSTM`."""

    _gates: ClassVar[int] = 1
    _states: ClassVar[int] = 1  # how many tensors the state has: an LSTM's are h and c

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        who = type(self).__name__
        not_offered(who, proj_size=proj_size or None)
        (input_size,) = _checks.counts(who, input_size=input_size)
        hidden_size, num_layers = _checks.counts(
            who, 1, hidden_size=hidden_size, num_layers=num_layers
        )
        if not 0 <= dropout <= 1:
            raise ValueError(f"{who}: dropout is {dropout}, expected 0 to 1")
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, dropout
        self.bidirectional = bidirectional
        rows = self._gates * hidden_size
        for layer in range(num_layers):
            width = input_size if layer == 0 else hidden_size * (1 + bidirectional)
            for end in self._directions():
                shapes: dict[str, Any] = {"weight_ih": (rows, width)}
                shapes["weight_hh"] = (rows, hidden_size)
                if bias:
                    shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
                for name, shape in shapes.items():
                    setattr(self, f"{name}_l{layer}{end}", empty_parameter(shape, dtype, device))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        _draw(self, self.hidden_size)

    def _directions(self) -> tuple[str, ...]:
        """The ends of the parameters' names."""
        return ("", "_reverse") if self.bidirectional else ("",)

    def _kind(self) -> str | None:
        """What `ops.recurrent_layers` calls such layers, None if it has none; a subclass says."""
        raise NotImplementedError

    def _step(self, x: Tensor, state: Any, weights: Any, lengths: Any, reverse: bool) -> Any:
        """One layer in one direction: (out, *states). A subclass says which op."""
        raise NotImplementedError

    def forward(self, x: Tensor, hx: Any = None, lengths: Any = None) -> Any:
        """Run over sequences and return (out, state).

        x : (T, N, I), (N, T, I) if batch_first, or (T, I) for one sequence
        hx : the state at first, (layers · directions, N, H); for an LSTM the pair (h, c); zero
            if None
        lengths : (N,) whole numbers from 1 to T: how much of each sequence counts. The result is
            that of PyTorch's packed sequences: out is zero beyond, the state is that of the last
            step that counts, and a second direction begins there.

        out : (T, N, directions · H), batch and time in the order of x; state : as hx
        """
        _checks.tensor(type(self).__name__, "x", x)
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            raise ShapeError(
                f"{type(self).__name__}: x has shape {x.shape}, expected "
                f"{'(N, T, ' if self.batch_first else '(T, N, '}{self.input_size})"
            )
        single = x.ndim == 2
        if single:
            x = ops.unsqueeze(x, 1)
        elif self.batch_first:
            x = ops.transpose(x, 0, 1)
        states = self._first(x, hx, single)
        if lengths is not None:
            lengths = tensor(lengths, device=x.device).data
        between = self.bidirectional or (self.dropout and self.training)
        if between or self._kind() is None:
            x, after = self._one_by_one(x, states, lengths)
        else:
            x, *after = self._together(x, states, lengths)
        if single:
            x, after = ops.squeeze(x, 1), [ops.squeeze(s, 1) for s in after]
        elif self.batch_first:
            x = ops.transpose(x, 0, 1)
        return x, (after[0] if self._states == 1 else tuple(after))

    def _together(self, x: Tensor, states: list[Any], lengths: Any) -> Any:
        """All layers in one operation: (out, *states after the last step)."""
        weights = [w for layer in range(self.num_layers) for w in self._weights(layer, "")]
        h0, c0 = (*states, None)[:2]
        return ops.recurrent_layers(x, h0, c0, *weights, kind=self._kind(), lengths=lengths)

    def _one_by_one(self, x: Tensor, states: list[Any], lengths: Any) -> Any:
        """Layer after layer, where something is to be done between them: (out, states)."""
        last: list[list[Tensor]] = [[] for _ in range(self._states)]
        for layer in range(self.num_layers):
            outs = []
            for end in self._directions():
                state = [s if s is None else s[len(last[0])] for s in states]
                out, *ends = self._step(x, state, self._weights(layer, end), lengths, bool(end))
                outs.append(out)
                for found, one in zip(last, ends, strict=True):
                    found.append(one)
            x = outs[0] if len(outs) == 1 else ops.cat(outs, dim=2)
            if self.dropout and layer < self.num_layers - 1:
                x = F.dropout(x, self.dropout, self.training)
        return x, [ops.stack(found, dim=0) for found in last]

    def _weights(self, layer: int, end: str) -> tuple[Any, ...]:
        kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return tuple([getattr(self, f"{kind}_l{layer}{end}", None) for kind in kinds])

    def _first(self, x: Tensor, hx: Any, single: bool) -> list[Any]:
        """The states at first, each (layers · directions, N, H); None for zeros."""
        count, batch = self.num_layers * len(self._directions()), x.shape[1]
        if hx is None:
            return [None] * self._states
        given = [hx] if self._states == 1 else list(hx)
        if len(given) != self._states:
            raise ValueError(f"{type(self).__name__}: hx must be a pair (h, c)")
        expected = (count, self.hidden_size) if single else (count, batch, self.hidden_size)
        for s in given:
            if not isinstance(s, Tensor):
                raise TypeError(f"{type(self).__name__}: hx holds {s!r}, expected a tensor")
            if s.shape != expected:
                raise ShapeError(
                    f"{type(self).__name__}: hx has shape {s.shape}, expected {expected}"
                )
        return [ops.unsqueeze(s, 1) for s in given] if single else given

    def extra_repr(self) -> str:
        """The sizes, and the options that are not the usual ones."""
        text = f"{self.input_size}, {self.hidden_size}"
        usual = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0}
        for name, value in {**usual, "bidirectional": False}.items():
            if getattr(self, name) != value:
                text += f", {name}={getattr(self, name)}"
        return text


class RNN(_Recurrent):
    """h = f(W_ih x + b_ih + W_hh h + b_hh), f tanh or relu. Elman 1990.

    nonlinearity : "tanh" or "relu"; further arguments and the parameters are told at `LSTM`
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"RNN: nonlinearity is {nonlinearity!r}, expected 'tanh' or 'relu'")
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0,
            device, dtype,
        )  # fmt: skip
        self.nonlinearity = nonlinearity

    def _kind(self) -> str | None:
        return "tanh" if self.nonlinearity == "tanh" else None

    def _step(self, x: Tensor, state: Any, weights: Any, lengths: Any, reverse: bool) -> Any:
        return ops.rnn(
            x, *state, *weights, lengths, reverse=reverse, nonlinearity=self.nonlinearity
        )


class LSTM(_Recurrent):
    """c = f c + i g, h = o tanh(c), with gates i, f, o = σ(…), g = tanh(…) of W_ih x + W_hh h + b.

    Hochreiter and Schmidhuber 1997; the rows of the weights hold the gates i, f, g, o.

    input_size, hidden_size : I and H, the sizes of a step's input and of the state
    num_layers : each layer reads what the one before it gives
    bias : whether there are b_ih and b_hh
    batch_first : x and out are (N, T, …) and not (T, N, …)
    dropout : the probability of dropout between layers, in training
    bidirectional : a second direction reads from the end; out holds both, one after the other

    For layer k, and with `_reverse` at the end of the name for the second direction:
    weight_ih_l{k} : (gates · H, inputs); weight_hh_l{k} : (gates · H, H); bias_ih_l{k} and
    bias_hh_l{k} : (gates · H,); uniform in ±1/√H. proj_size is not offered (NotImplementedError).
    """

    _gates = 4
    _states = 2

    def _kind(self) -> str:
        return "lstm"

    def _step(self, x: Tensor, state: Any, weights: Any, lengths: Any, reverse: bool) -> Any:
        return ops.lstm(x, *state, *weights, lengths, reverse=reverse)


class GRU(_Recurrent):
    """h = (1 - z) n + z h, n = tanh(W_in x + b_in + r (W_hn h + b_hn)), r and z = σ(…).

    Cho et al. 2014; the rows of the weights hold the gates r, z, n. The arguments and parameters
    are told at `LSTM`.
    """

    _gates = 3

    def _kind(self) -> str:
        return "gru"

    def _step(self, x: Tensor, state: Any, weights: Any, lengths: Any, reverse: bool) -> Any:
        return ops.gru(x, *state, *weights, lengths, reverse=reverse)


class _Cell(Module):
    """What the cells share: one step for a batch.

    weight_ih : (gates · H, I); weight_hh : (gates · H, H); bias_ih, bias_hh : (gates · H,);
    uniform in ±1/√H
    """

    _gates: ClassVar[int] = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        input_size, hidden_size = _checks.counts(
            type(self).__name__, input_size=input_size, hidden_size=hidden_size
        )
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        rows = self._gates * hidden_size
        self.weight_ih = empty_parameter((rows, input_size), dtype, device)
        self.weight_hh = empty_parameter((rows, hidden_size), dtype, device)
        self.bias_ih = empty_parameter((rows,), dtype, device) if bias else None
        self.bias_hh = empty_parameter((rows,), dtype, device) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        _draw(self, self.hidden_size)

    def _weights(self) -> tuple[Any, ...]:
        return self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh

    def _states(self, x: Tensor, given: tuple[Tensor | None, ...]) -> tuple[Tensor, ...]:
        """The states before the step, zero in place of None."""
        who = type(self).__name__
        _checks.tensor(who, "x", x)
        if x.ndim not in (1, 2) or x.shape[-1] != self.input_size:
            raise ShapeError(f"{who}: x has shape {x.shape}, expected (N, {self.input_size})")
        expected = (*x.shape[:-1], self.hidden_size)
        for s in given:
            if s is not None and s.shape != expected:
                raise ShapeError(f"{who}: hx has shape {s.shape}, expected {expected}")
        zero = tie(array_module(x.data).zeros(expected, x.dtype), None)
        return tuple([zero if s is None else s for s in given])

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


class RNNCell(_Cell):
    """One step of an RNN: h' = f(W_ih x + b_ih + W_hh h + b_hh)."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(
                f"RNNCell: nonlinearity is {nonlinearity!r}, expected 'tanh' or 'relu'"
            )
        super().__init__(input_size, hidden_size, bias, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, x: Tensor, hx: Tensor | None = None) -> Tensor:
        """x : (N, I) or (I,), hx : (N, H) or None for zeros -> (N, H)."""
        cell = ops.rnn_tanh_cell if self.nonlinearity == "tanh" else ops.rnn_relu_cell
        return cell(x, *self._states(x, (hx,)), *self._weights())


class LSTMCell(_Cell):
    """One step of an LSTM: (h', c')."""

    _gates = 4

    def forward(self, x: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """x : (N, I) or (I,), hx : (h, c), each (N, H), or None for zeros -> (h', c')."""
        if hx is not None and (not isinstance(hx, tuple | list) or len(hx) != 2):
            raise ValueError("LSTMCell: hx must be a pair (h, c)")
        h, c = (None, None) if hx is None else hx
        return ops.lstm_cell(x, self._states(x, (h, c)), *self._weights())


class GRUCell(_Cell):
    """One step of a GRU."""

    _gates = 3

    def forward(self, x: Tensor, hx: Tensor | None = None) -> Tensor:
        """x : (N, I) or (I,), hx : (N, H) or None for zeros -> (N, H)."""
        return ops.gru_cell(x, *self._states(x, (hx,)), *self._weights())
