"""Recurrent layers: rnn, lstm, gru over whole sequences, and one step of each.

x is (T, B, I): T steps of B sequences. One layer and one direction; `recurrent_layers` stacks them,
`nn.LSTM` and its kin have both directions. With `lengths` the sequences may end earlier, as packed
ones do in PyTorch: the output beyond an end is 0, the final state is that after the last step of
each, and `reverse` starts there.
"""

from collections.abc import Callable
from typing import Any

import minidl_kernels as kernels
from minidl.device import array_module
from minidl.errors import ShapeError
from minidl.ops import _checks
from minidl.ops.activation import relu, sigmoid
from minidl.ops.arithmetic import where
from minidl.ops.dense import linear
from minidl.ops.elementary import tanh
from minidl.ops.joining import chunk, stack, unbind
from minidl.tape import Kept, Kink, TensorBase, composite, op

__all__ = ["gru", "gru_cell", "lstm", "lstm_cell", "rnn", "rnn_relu_cell", "rnn_tanh_cell"]


# ---- one step -----------------------------------------------------------------------------------


@composite(formula="tanh(x @ w_ih.T + b_ih + h @ w_hh.T + b_hh)")
def rnn_tanh_cell(x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> Any:
    """One step of `rnn`: x (B, I), state h (B, H) -> the next state."""
    return tanh(linear(x, w_ih, b_ih) + linear(h, w_hh, b_hh))


@composite(
    formula="relu(x @ w_ih.T + b_ih + h @ w_hh.T + b_hh)",
    kink=Kink(
        "the sum is 0",
        "0",
        at={"x": [[1]], "h": [[2]], "w_ih": [[3]], "w_hh": [[-2]], "b_ih": [0], "b_hh": [1]},
        gradient={"x": [[0]], "h": [[0]], "w_ih": [[0]], "w_hh": [[0]], "b_ih": [0], "b_hh": [0]},
    ),
)
def rnn_relu_cell(x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> Any:
    """One step of `rnn` with relu: x (B, I), state h (B, H) -> the next state."""
    return relu(linear(x, w_ih, b_ih) + linear(h, w_hh, b_hh))


@composite(formula="c' = f c + i g, h' = o tanh(c'); i, f, g, o as in lstm")
def lstm_cell(
    x: Any, hx: tuple[Any, Any], w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None
) -> tuple[Any, Any]:
    """One step of `lstm`: x (B, I), hx = (h, c), each (B, H) -> the next (h, c)."""
    h, c = hx
    i, f, g, o = chunk(linear(x, w_ih, b_ih) + linear(h, w_hh, b_hh), 4, -1)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(c), c


@composite(formula="(1 - z) n + z h; r, z, n as in gru")
def gru_cell(x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> Any:
    """One step of `gru`: x (B, I), state h (B, H) -> the next state."""
    a_r, a_z, a_n = chunk(linear(x, w_ih, b_ih), 3, -1)
    u_r, u_z, u_n = chunk(linear(h, w_hh, b_hh), 3, -1)
    n = tanh(a_n + sigmoid(a_r + u_r) * u_n)
    return n + sigmoid(a_z + u_z) * (h - n)


# ---- what the three layers share ----------------------------------------------------------------


def _run(
    step: Callable[..., tuple[Any, ...]],
    x: Any,
    states: tuple[Any, ...],
    lengths: Any,
    reverse: bool,
) -> tuple[Any, ...]:
    """The definition of all three: one step after another; the state of a sequence at rest stays.

    step(x_t, states) -> states, of which the first is given out
    """
    inputs = unbind(x)
    outs: list[Any] = [None] * len(inputs)
    if lengths is not None:
        lengths = array_module(x.data if isinstance(x, TensorBase) else x).asarray(lengths)
    for t in range(len(inputs))[:: -1 if reverse else 1]:
        given = inputs[t]
        if lengths is not None:
            awake = (t < lengths).reshape(-1, 1)
            given = where(awake, given, 0)  # beyond an end it may be NaN, and 0 * NaN is not 0
        now = step(given, states)
        outs[t] = now[0]
        if lengths is not None:
            outs[t] = where(awake, now[0], 0)
            now = tuple([where(awake, a, b) for a, b in zip(now, states, strict=True)])
        states = now
    return (stack(outs), *states)


def _zeros(state: Any, x: Any, w_hh: Any) -> Any:
    """A state before the first step, zeros if it is None."""
    if state is not None:
        return state
    x = x.data if isinstance(x, TensorBase) else x
    return array_module(x).zeros((x.shape[1], w_hh.shape[1]), x.dtype)


WEIGHTS = "w_ih", "w_hh", "b_ih", "b_hh"


def _check(
    name: str, blocks: int, states: dict[str, Any], x: Any, weights: tuple[Any, ...], lengths: Any
) -> Any:
    """Refuse shapes and dtypes that do not fit; return the lengths as an array, or None."""
    w_hh = weights[1]
    check_input(name, x, w_hh)
    check_states(name, states, x, w_hh, (x.shape[1], w_hh.shape[1]))
    check_weights(name, blocks, x, x.shape, w_hh.shape[1], WEIGHTS, weights)
    return lengths_of(name, lengths, x)


def check_input(name: str, x: Any, w_hh: Any) -> None:
    """Refuse an input without steps or axes, and weights that do not tell the size of the state."""
    _checks.rank(name, "x", x, 3, meaning="(steps, batch, features)")
    _checks.floating(name, "x", x)
    if not x.shape[0]:
        raise ShapeError(f"{name}: x {x.shape} has no steps, expected one at least")
    if w_hh is None:
        raise TypeError(f"{name}: w_hh is None, expected a tensor (gates * hidden, hidden)")
    _checks.rank(name, "w_hh", w_hh, 2, meaning="(gates * hidden, hidden)")


def check_states(
    name: str, states: dict[str, Any], x: Any, w_hh: Any, shape: tuple[int, ...]
) -> None:
    """Refuse states before the first step, by name, that do not have this shape."""
    _checks.same_dtype(name, x=x, **states)
    for argument, state in states.items():
        if state is not None:
            _check_shape(name, argument, state, shape, x.shape, w_hh)


def check_weights(
    name: str, blocks: int, x: Any, shape: tuple[int, ...], size: int, names: Any, weights: Any
) -> None:
    """Refuse weights of a layer that has an input of this shape and a state of this size."""
    rows, dtype = blocks * size, x.dtype
    expected = ((rows, shape[2]), (rows, size), (rows,), (rows,))
    for argument, value, wanted in zip(names, weights, expected, strict=True):
        if value is None:
            if len(wanted) == 2:
                raise TypeError(f"{name}: {argument} is None, expected a tensor of shape {wanted}")
        elif value.dtype != dtype:
            _checks.same_dtype(name, x=x, **dict(zip(names, weights, strict=True)))
        elif value.shape != wanted:
            _check_shape(name, argument, value, wanted, shape, weights[1])


def _check_shape(
    name: str, argument: str, value: Any, expected: Any, x_shape: tuple[int, ...], w_hh: Any
) -> None:
    if value.shape != expected:
        raise ShapeError(
            f"{name}: {argument} has shape {value.shape}, expected {expected} for x {x_shape} "
            f"and w_hh {w_hh.shape}"
        )


def lengths_of(name: str, lengths: Any, x: Any) -> Any:
    """The lengths as an array where x is, checked, or None."""
    if lengths is None:
        return None
    steps, count = x.shape[:2]
    found = array_module(x).asarray(lengths)
    _checks.whole(name, "lengths", found)
    if found.shape != (count,):
        raise ShapeError(
            f"{name}: lengths has shape {found.shape}, expected ({count},): one for each sequence"
        )
    if bool(((found < 1) | (found > steps)).any()):
        raise ValueError(
            f"{name}: lengths are {found.tolist()}, expected 1 … {steps}, the steps of x"
        )
    return found


def sum_of_biases(b_ih: Any, b_hh: Any) -> Any:
    """The sum of two biases, of which either may be missing."""
    return b_hh if b_ih is None else b_ih if b_hh is None else b_ih + b_hh


def chosen(wanted: tuple[str, ...], found: dict[str, Any]) -> tuple[Any, ...]:
    """The gradients that are wanted, in their order."""
    return tuple([found[name] for name in wanted])


# ---- rnn ----------------------------------------------------------------------------------------


def _rnn_definition(
    x: Any,
    h0: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any,
    b_hh: Any,
    lengths: Any,
    *,
    reverse: bool,
    nonlinearity: str,
) -> tuple[Any, ...]:
    cell = rnn_tanh_cell if nonlinearity == "tanh" else rnn_relu_cell

    def step(x: Any, states: tuple[Any, ...]) -> tuple[Any, ...]:
        return (cell(x, states[0], w_ih, w_hh, b_ih, b_hh),)

    return _run(step, x, (_zeros(h0, x, w_hh),), lengths, reverse)


def _rnn_gradient(
    g: Any,
    wanted: tuple[str, ...],
    x: Any,
    h0: Any,
    w_ih: Any,
    w_hh: Any,
    out: Any,
    ends: Any,
    reverse: bool,
    nonlinearity: str,
) -> tuple[Any, ...]:
    gx, gh0, gw_ih, gw_hh, gb = kernels.rnn_gradient(
        *g, x, h0, w_ih, w_hh, out[0], ends, reverse, nonlinearity, "x" in wanted
    )
    found = {"x": gx, "h0": gh0, "w_ih": gw_ih, "w_hh": gw_hh, "b_ih": gb, "b_hh": gb.copy()}
    return chosen(wanted, found)


@op(
    joint=_rnn_gradient,
    wrt=("x", "h0", "w_ih", "w_hh", "b_ih", "b_hh"),
    definition=_rnn_definition,
    formula="h_t = tanh(w_ih x_t + b_ih + w_hh h_(t-1) + b_hh), or relu",
    kink=Kink(
        "relu of 0",
        "0",
        at={
            "x": [[[1]]],
            "h0": [[2]],
            "w_ih": [[3]],
            "w_hh": [[-2]],
            "b_ih": [0],
            "b_hh": [1],
            "nonlinearity": "relu",
        },
        gradient={
            "x": [[[0]]],
            "h0": [[0]],
            "w_ih": [[0]],
            "w_hh": [[0]],
            "b_ih": [0],
            "b_hh": [0],
        },
    ),
)
def rnn(
    x: Any,
    h0: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any = None,
    b_hh: Any = None,
    lengths: Any = None,
    *,
    reverse: bool = False,
    nonlinearity: str = "tanh",
) -> tuple[Any, Any, Kept]:
    """A layer whose state is a function of input and last state. Elman 1990.

    x : (T, B, I), h0 : (B, H), the state before the first step; None for zeros, and quicker
    w_ih : (H, I), w_hh : (H, H), b_ih, b_hh : (H,) or None
    lengths : whole numbers (B,), 1 … T, where sequences end earlier, or None
    reverse : from the last step to the first; nonlinearity : "tanh" or "relu"

    Returns out (T, B, H), the states after each step, and h_n (B, H), after the last.
    Raises ShapeError, DtypeError, or ValueError for lengths out of range.
    """
    _checks.choice("rnn", "nonlinearity", nonlinearity, "tanh", "relu")
    ends = _check("rnn", 1, {"h0": h0}, x, (w_ih, w_hh, b_ih, b_hh), lengths)
    bias = sum_of_biases(b_ih, b_hh)
    out, h_n = kernels.rnn(x, h0, w_ih, w_hh, bias, ends, reverse, nonlinearity)
    return out, h_n, Kept(ends=ends)


# ---- lstm ---------------------------------------------------------------------------------------


def _lstm_definition(
    x: Any,
    h0: Any,
    c0: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any,
    b_hh: Any,
    lengths: Any,
    *,
    reverse: bool,
) -> tuple[Any, ...]:
    def step(x: Any, states: tuple[Any, Any]) -> tuple[Any, Any]:
        return lstm_cell(x, states, w_ih, w_hh, b_ih, b_hh)

    states = _zeros(h0, x, w_hh), _zeros(c0, x, w_hh)
    return _run(step, x, states, lengths, reverse)


def _lstm_gradient(
    g: Any,
    wanted: tuple[str, ...],
    x: Any,
    h0: Any,
    c0: Any,
    w_ih: Any,
    w_hh: Any,
    out: Any,
    gates: Any,
    cells: Any,
    ends: Any,
    reverse: bool,
) -> tuple[Any, ...]:
    gx, gh0, gc0, gw_ih, gw_hh, gb = kernels.lstm_gradient(
        *g, x, h0, c0, w_ih, w_hh, out[0], gates, cells, ends, reverse, "x" in wanted
    )
    found = {"x": gx, "h0": gh0, "c0": gc0, "w_ih": gw_ih, "w_hh": gw_hh}
    return chosen(wanted, found | {"b_ih": gb, "b_hh": gb.copy()})


@op(
    joint=_lstm_gradient,
    wrt=("x", "h0", "c0", "w_ih", "w_hh", "b_ih", "b_hh"),
    definition=_lstm_definition,
    formula="c' = f c + i g, h' = o tanh(c'); i, f, o = σ(a), g = tanh(a), each with its rows of "
    "a = w_ih x + b_ih + w_hh h + b_hh",
)
def lstm(
    x: Any,
    h0: Any,
    c0: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any = None,
    b_hh: Any = None,
    lengths: Any = None,
    *,
    reverse: bool = False,
) -> tuple[Any, Any, Any, Kept]:
    """Long short-term memory: a state c that gates i, f and o write, keep and read.

    Hochreiter and Schmidhuber 1997; Gers, Schmidhuber and Cummins 2000 for the gate f.

    x : (T, B, I), h0, c0 : (B, H), the states before the first step; None for zeros, and quicker
    w_ih : (4H, I), w_hh : (4H, H), b_ih, b_hh : (4H,) or None; blocks of H rows for i, f, g, o
    lengths : whole numbers (B,), 1 … T, where sequences end earlier, or None
    reverse : from the last step to the first

    Returns out (T, B, H), the states h after each step, and h_n, c_n (B, H), after the last.
    Raises ShapeError, DtypeError, or ValueError for lengths out of range.
    """
    ends = _check("lstm", 4, {"h0": h0, "c0": c0}, x, (w_ih, w_hh, b_ih, b_hh), lengths)
    bias = sum_of_biases(b_ih, b_hh)
    out, h_n, c_n, gates, cells = kernels.lstm(x, h0, c0, w_ih, w_hh, bias, ends, reverse)
    return out, h_n, c_n, Kept(gates=gates, cells=cells, ends=ends)


# ---- gru ----------------------------------------------------------------------------------------


def _gru_definition(
    x: Any,
    h0: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any,
    b_hh: Any,
    lengths: Any,
    *,
    reverse: bool,
) -> tuple[Any, ...]:
    def step(x: Any, states: tuple[Any, ...]) -> tuple[Any, ...]:
        return (gru_cell(x, states[0], w_ih, w_hh, b_ih, b_hh),)

    return _run(step, x, (_zeros(h0, x, w_hh),), lengths, reverse)


def _gru_gradient(
    g: Any,
    wanted: tuple[str, ...],
    x: Any,
    h0: Any,
    w_ih: Any,
    w_hh: Any,
    out: Any,
    gates: Any,
    ends: Any,
    reverse: bool,
) -> tuple[Any, ...]:
    names = ("x", "h0", "w_ih", "w_hh", "b_ih", "b_hh")
    found = kernels.gru_gradient(*g, x, h0, w_ih, w_hh, out[0], gates, ends, reverse, "x" in wanted)
    return chosen(wanted, dict(zip(names, found, strict=True)))


@op(
    joint=_gru_gradient,
    wrt=("x", "h0", "w_ih", "w_hh", "b_ih", "b_hh"),
    definition=_gru_definition,
    formula="h' = (1 - z) n + z h; r, z = σ(a + u), n = tanh(a + r u), each with its rows of "
    "a = w_ih x + b_ih and u = w_hh h + b_hh",
)
def gru(
    x: Any,
    h0: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any = None,
    b_hh: Any = None,
    lengths: Any = None,
    *,
    reverse: bool = False,
) -> tuple[Any, Any, Kept]:
    """Gated recurrent unit: the gate z mixes the last state with a new one, n.

    Cho et al. 2014, arXiv 1406.1078, with the gate r applied after the product with w_hh, as in
    PyTorch.

    x : (T, B, I), h0 : (B, H), the state before the first step; None for zeros, and quicker
    w_ih : (3H, I), w_hh : (3H, H), b_ih, b_hh : (3H,) or None; blocks of H rows for r, z, n
    lengths : whole numbers (B,), 1 … T, where sequences end earlier, or None
    reverse : from the last step to the first

    Returns out (T, B, H), the states after each step, and h_n (B, H), after the last.
    Raises ShapeError, DtypeError, or ValueError for lengths out of range.
    """
    ends = _check("gru", 3, {"h0": h0}, x, (w_ih, w_hh, b_ih, b_hh), lengths)
    out, h_n, gates = kernels.gru(x, h0, w_ih, w_hh, b_ih, b_hh, ends, reverse)
    return out, h_n, Kept(gates=gates, ends=ends)
