"""Recurrent layers by whole steps: all sequences at once, the inputs of all steps in one product.

The way back first forms, for all steps together, the factors by which a state's gradient turns
into those of the gates, then walks, then gets each weight's gradient from one product. Names and
meanings are those of the definition, `minidl_kernels.reference.recurrent`.
"""

from typing import Any

import numpy as np

from minidl_kernels.generic.arrays import array_module

__all__ = [
    "gru",
    "gru_gradient",
    "lstm",
    "lstm_gradient",
    "recurrent_layers",
    "recurrent_layers_gradient",
    "rnn",
    "rnn_gradient",
]


def _order(x: Any, reverse: bool) -> range:
    return range(len(x) - 1, -1, -1) if reverse else range(len(x))


def _masks(x: Any, lengths: Any) -> list[Any]:
    """For each step (B, 1): which sequences take it; None where all do."""
    if lengths is None:
        return [None] * len(x)
    xp = array_module(x)
    lengths = xp.asarray(lengths)
    shortest = int(lengths.min()) if len(lengths) else len(x)
    return [None if t < shortest else (t < lengths).reshape(-1, 1) for t in range(len(x))]


def _chosen(mask: Any, new: Any, old: Any) -> Any:
    """`new`, but `old` for the sequences that rest at this step."""
    return new if mask is None else array_module(new).where(mask, new, old)


def _clear(mask: Any, now: Any) -> None:
    """Write 0 for the sequences that rest into a step's place in an array."""
    if mask is not None:
        now[...] = _chosen(mask, now, 0)


def _hold(mask: Any, now: Any, before: Any) -> Any:
    """The state after a step, `now` being its place among the results: 0 there, `before` here."""
    state = _chosen(mask, now, before)
    _clear(mask, now)
    return state


def _before(states: Any, first: Any, masks: list[Any], reverse: bool) -> Any:
    """The state before each step (T, B, H); `first` before the first that a sequence takes."""
    xp = array_module(states)
    shifted = xp.empty_like(states)
    if not reverse:
        shifted[:1] = first
        shifted[1:] = states[:-1]
        return shifted
    shifted[-1:] = first
    shifted[:-1] = states[1:]
    for t, mask in enumerate(masks[1:]):
        if mask is not None:
            shifted[t] = xp.where(mask, shifted[t], first)
    return shifted


def _inputs(x: Any, w: Any, bias: Any) -> Any:
    """W x + bias of every step, (T, B, rows of W)."""
    steps, count, size = x.shape
    a = (x.reshape(steps * count, size) @ w.T).reshape(steps, count, len(w))
    if bias is not None:
        a += bias
    return a


def _turned(w: Any) -> Any:
    """The transpose of w, row by row in memory: products of a few rows by it are a third faster."""
    return array_module(w).ascontiguousarray(w.T)


def _backward(ga: Any, w: Any) -> Any:
    """Gradient of x in W x, of every step."""
    steps, count, size = ga.shape
    return (ga.reshape(steps * count, size) @ w).reshape(steps, count, w.shape[1])


def _weights(ga: Any, x: Any, masks: list[Any]) -> Any:
    """Gradient of W in W x, summed over steps and sequences."""
    count = ga.shape[0] * ga.shape[1]
    if any(mask is not None for mask in masks):
        x = x.copy()  # what is filled in beyond an end may be NaN, and 0 * NaN is not 0
        for t, mask in enumerate(masks):
            _clear(mask, x[t])
    return ga.reshape(count, ga.shape[2]).T @ x.reshape(count, x.shape[2])


def _sigmoid(a: Any) -> None:
    """1 / (1 + exp(-a)), in place."""
    xp = array_module(a)
    a *= -1  # NumPy 2.4's negative(a, out=a) is wrong on some strided views
    xp.exp(a, out=a)
    a += 1
    xp.divide(1, a, out=a)


def _parts(a: Any, count: int) -> list[Any]:
    """The last axis in equal parts, as views."""
    size = a.shape[-1] // count
    return [a[..., k * size : (k + 1) * size] for k in range(count)]


def _first(state: Any, x: Any, w_hh: Any) -> Any:
    """The states before the first step: zeros where there are none."""
    if state is None:
        return array_module(x).zeros((x.shape[1], w_hh.shape[1]), x.dtype)
    return state


def _start(g: Any, state: Any) -> Any:
    return array_module(state).zeros_like(state) if g is None else g


# ---- rnn ----------------------------------------------------------------------------------------


@np.errstate(all="ignore")
def rnn(
    x: Any, h0: Any, w_ih: Any, w_hh: Any, b: Any, lengths: Any, reverse: bool, nonlinearity: str
) -> tuple[Any, Any]:
    """See `minidl_kernels.reference.recurrent.rnn`, the definition."""
    xp, masks, h = array_module(x), _masks(x, lengths), _first(h0, x, w_hh)
    out, turned, room = _inputs(x, w_ih, b), _turned(w_hh), xp.empty_like(h)
    for t in _order(x, reverse):
        now = out[t]
        now += xp.matmul(h, turned, out=room)
        if nonlinearity == "tanh":
            xp.tanh(now, out=now)
        else:
            xp.maximum(now, 0, out=now)
        h = _hold(masks[t], now, h)
    return out, h.copy()


@np.errstate(all="ignore")
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
    of_h, h0 = h0 is not None, _first(h0, x, w_hh)
    xp, masks = array_module(x), _masks(x, lengths)
    ga, gh = 1 - out * out, _start(g_h, h0)
    for t in reversed(_order(x, reverse)):
        g = gh if g_out is None else gh + g_out[t]
        if nonlinearity == "tanh":
            ga[t] *= g
        else:
            ga[t] = xp.where(out[t] > 0, g, 0)
        _clear(masks[t], ga[t])
        gh = _chosen(masks[t], ga[t] @ w_hh, gh)
    before = _before(out, h0, masks, reverse)
    return (
        _backward(ga, w_ih) if of_x else None,
        gh if of_h else None,
        _weights(ga, x, masks),
        _weights(ga, before, masks),
        ga.sum((0, 1)),
    )


# ---- lstm ---------------------------------------------------------------------------------------


@np.errstate(all="ignore")
def lstm(
    x: Any, h0: Any, c0: Any, w_ih: Any, w_hh: Any, b: Any, lengths: Any, reverse: bool
) -> tuple[Any, ...]:
    """See `minidl_kernels.reference.recurrent.lstm`, the definition."""
    xp, masks, size = array_module(x), _masks(x, lengths), w_hh.shape[1]
    h, c = _first(h0, x, w_hh), _first(c0, x, w_hh)
    gates, turned = _inputs(x, w_ih, b), _turned(w_hh)
    out, cells = (xp.empty((*x.shape[:2], size), x.dtype) for _ in range(2))
    wide, room = xp.empty((len(h), 4 * size), x.dtype), xp.empty_like(out[0])
    for t in _order(x, reverse):
        a = gates[t]
        a += xp.matmul(h, turned, out=wide)
        i, f, g, o = _parts(a, 4)
        xp.tanh(g, out=room)
        _sigmoid(a)  # all four in one go, although g is not one of them
        g[...] = room
        xp.multiply(f, c, out=cells[t])
        room *= i
        cells[t] += room
        xp.multiply(o, xp.tanh(cells[t], out=room), out=out[t])
        _clear(masks[t], a)
        c, h = _hold(masks[t], cells[t], c), _hold(masks[t], out[t], h)
    return out, h.copy(), c.copy(), gates, cells


@np.errstate(all="ignore")
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
    of_h, h0 = h0 is not None, _first(h0, x, w_hh)
    of_c, c0 = c0 is not None, _first(c0, x, w_hh)
    xp, masks, size = array_module(x), _masks(x, lengths), w_hh.shape[1]
    i, f, g, o = _parts(gates, 4)
    bent = xp.tanh(cells)
    to_cell = o * (1 - bent * bent)
    ga = gates * (1 - gates)  # first the factors: of gc for i, f and g, of gh for o
    ga_i, ga_f, ga_g, ga_o = _parts(ga, 4)
    ga_i *= g
    ga_f *= _before(cells, c0, masks, reverse)
    ga_g[...] = i * (1 - g * g)
    ga_o *= bent
    gh, gc, each = _start(g_h, h0), _start(g_c, c0), ga.reshape(*x.shape[:2], 4, size)
    for t in reversed(_order(x, reverse)):
        gh_t = gh if g_out is None else gh + g_out[t]
        gc_t = gc + gh_t * to_cell[t]
        each[t, :, :3] *= gc_t[:, None]
        ga_o[t] *= gh_t
        _clear(masks[t], ga[t])
        gh, gc = _chosen(masks[t], ga[t] @ w_hh, gh), _chosen(masks[t], gc_t * f[t], gc)
    before = _before(out, h0, masks, reverse)
    return (
        _backward(ga, w_ih) if of_x else None,
        gh if of_h else None,
        gc if of_c else None,
        _weights(ga, x, masks),
        _weights(ga, before, masks),
        ga.sum((0, 1)),
    )


# ---- gru ----------------------------------------------------------------------------------------


@np.errstate(all="ignore")
def gru(
    x: Any, h0: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, lengths: Any, reverse: bool
) -> tuple[Any, ...]:
    """See `minidl_kernels.reference.recurrent.gru`, the definition."""
    xp, masks, size = array_module(x), _masks(x, lengths), w_hh.shape[1]
    gates = xp.empty((*x.shape[:2], 4 * size), x.dtype)
    gates[..., : 3 * size] = _inputs(x, w_ih, b_ih)
    out, h, turned = xp.empty((*x.shape[:2], size), x.dtype), _first(h0, x, w_hh), _turned(w_hh)
    u = xp.empty((len(h), 3 * size), x.dtype)
    for t in _order(x, reverse):
        r, z, n, q = _parts(gates[t], 4)
        xp.matmul(h, turned, out=u)
        if b_hh is not None:
            u += b_hh
        both = gates[t, :, : 2 * size]
        both += u[:, : 2 * size]
        _sigmoid(both)
        q[...] = u[:, 2 * size :]
        n += r * q
        xp.tanh(n, out=n)
        xp.subtract(h, n, out=out[t])
        out[t] *= z
        out[t] += n
        _clear(masks[t], gates[t])
        h = _hold(masks[t], out[t], h)
    return out, h.copy(), gates


@np.errstate(all="ignore")
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
    of_h, h0 = h0 is not None, _first(h0, x, w_hh)
    xp, masks, size = array_module(x), _masks(x, lengths), w_hh.shape[1]
    r, z, n, q = _parts(gates, 4)
    before = _before(out, h0, masks, reverse)
    grown = xp.empty_like(gates)  # first the factors of gh, for r, z, q and n
    g_r, g_z, g_q, g_n = _parts(grown, 4)
    g_n[...] = (1 - z) * (1 - n * n)
    g_r[...] = g_n * q * r * (1 - r)
    g_z[...] = (before - n) * z * (1 - z)
    g_q[...] = g_n * r
    gh, each = _start(g_h, h0), grown.reshape(*x.shape[:2], 4, size)
    for t in reversed(_order(x, reverse)):
        g = gh if g_out is None else gh + g_out[t]
        each[t] *= g[:, None]
        _clear(masks[t], grown[t])
        gh = _chosen(masks[t], g * z[t] + grown[t, :, : 3 * size] @ w_hh, gh)
    gu = xp.ascontiguousarray(grown[..., : 3 * size])
    ga = xp.concatenate([g_r, g_z, g_n], axis=2)
    g_ih, g_hh = _weights(ga, x, masks), _weights(gu, before, masks)
    gx, gh = _backward(ga, w_ih) if of_x else None, gh if of_h else None
    return gx, gh, g_ih, g_hh, ga.sum((0, 1)), gu.sum((0, 1))


# ---- layers one on another ----------------------------------------------------------------------

_KINDS: dict[str, tuple[Any, Any, tuple[str, ...]]] = {
    "lstm": (lstm, lstm_gradient, ()),
    "gru": (gru, gru_gradient, ()),
    "tanh": (rnn, rnn_gradient, ("tanh",)),
    "relu": (rnn, rnn_gradient, ("relu",)),
}


def recurrent_layers(
    x: Any, states: list[Any], weights: list[Any], lengths: Any, kind: str
) -> tuple[Any, ...]:
    """See `minidl_kernels.reference.recurrent.recurrent_layers`, the definition."""
    xp, (forward, _, option) = array_module(x), _KINDS[kind]
    lasts, keeps = [], []
    for k, own in enumerate(weights):
        first = [None if s is None else s[k] for s in states]
        out, *rest = forward(x, *first, *own, lengths, False, *option)
        lasts.append(rest[: len(states)])
        keeps.append([out, *rest[len(states) :]])
        x = out
    last = [xp.stack(each) for each in zip(*lasts, strict=True)]
    return x, *last, tuple([a for each in zip(*keeps, strict=True) for a in each])


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
    xp, (_, backward, option) = array_module(x), _KINDS[kind]
    firsts, of_weights = [], []
    for k in reversed(range(len(weights))):
        g = [None if g is None else g[k] for g in g_last]
        first = [None if s is None else s[k] for s in states]
        given, own = kept[k - 1] if k else x, kept[k :: len(weights)]
        g_out, *rest = backward(
            g_out, *g, given, *first, *weights[k][:2], *own, lengths, False, *option, k > 0 or of_x
        )
        firsts.append(rest[: len(states)])
        of_weights.append(tuple(rest[len(states) :]))
    g_first = [
        None if s is None else xp.stack(each[::-1])
        for s, each in zip(states, zip(*firsts, strict=True), strict=True)
    ]
    return g_out, *g_first, of_weights[::-1]
