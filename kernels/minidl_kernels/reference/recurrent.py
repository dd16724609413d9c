"""Recurrent layers, one sequence and one step after another: the definition of rnn, lstm and gru.

Throughout: x (T, B, I) holds B sequences of up to T steps; h0, c0 (B, H) are the states before the
first. `lengths` (B,), or None for T everywhere: a sequence of length n takes the steps 0 … n - 1,
what is given out for it beyond is 0, and its final state is that after its last step. With
`reverse` it runs from its own last step to step 0. A bias may be None.

The gradients are by hand, backwards through time; g_out, g_h and g_c are the gradients of the
results, or None where nobody used one. Without `of_x` the gradient of x is None.

h0 or c0 may be None, for zeros that have no gradient (which is None). What is multiplied by them
need not be: a kernel may take the product for 0 even if there is infinity or NaN in w_hh.
"""

from typing import Any

import numpy as np

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


def _steps(x: Any, lengths: Any, b: int, reverse: bool) -> list[tuple[int, int | None]]:
    """The steps of sequence b in their order, each with the one before it; None at the first."""
    n = len(x) if lengths is None else int(lengths[b])
    times = list(range(n))[:: -1 if reverse else 1]
    return list(zip(times, [None, *times[:-1]], strict=True))


def _sigmoid(a: Any) -> Any:
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-a))


def _or_zero(bias: Any) -> Any:
    return 0 if bias is None else bias


def _first(state: Any, x: Any, w_hh: Any) -> Any:
    """The states before the first step."""
    return np.zeros((x.shape[1], w_hh.shape[1]), x.dtype) if state is None else state


def _final(g: Any, h0: Any, b: int) -> Any:
    """The gradient of a final state with which the way back begins."""
    return np.zeros_like(h0[b]) if g is None else g[b].copy()


def rnn(
    x: Any, h0: Any, w_ih: Any, w_hh: Any, b: Any, lengths: Any, reverse: bool, nonlinearity: str
) -> tuple[Any, Any]:
    """h' = tanh(W_ih x + W_hh h + b), or relu in place of tanh.

    w_ih (H, I), w_hh (H, H), b (H,); nonlinearity "tanh" or "relu"
    Returns out (T, B, H), all states, and h_n (B, H), the final ones.
    """
    h_n = _first(h0, x, w_hh).copy()
    out = np.zeros((*x.shape[:2], h_n.shape[1]), x.dtype)
    for s in range(x.shape[1]):
        for t, _ in _steps(x, lengths, s, reverse):
            a = w_ih @ x[t, s] + w_hh @ h_n[s] + _or_zero(b)
            h_n[s] = out[t, s] = np.tanh(a) if nonlinearity == "tanh" else np.maximum(a, 0)
    return out, h_n


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
    """Gradients (gx, gh0, gw_ih, gw_hh, gb) of rnn; the slope of relu at 0 is 0."""
    of_h, h0 = h0 is not None, _first(h0, x, w_hh)
    gx, gh0, gw_ih, gw_hh = (np.zeros_like(a) for a in (x, h0, w_ih, w_hh))
    gb = np.zeros(len(w_hh), x.dtype)
    for s in range(x.shape[1]):
        gh = _final(g_h, h0, s)
        for t, earlier in reversed(_steps(x, lengths, s, reverse)):
            h_before = h0[s] if earlier is None else out[earlier, s]
            if g_out is not None:
                gh = gh + g_out[t, s]
            h = out[t, s]
            ga = gh * (1 - h * h) if nonlinearity == "tanh" else np.where(h > 0, gh, 0)
            gx[t, s] = w_ih.T @ ga
            gh = w_hh.T @ ga
            gw_ih += np.outer(ga, x[t, s])
            gw_hh += np.outer(ga, h_before)
            gb += ga
        gh0[s] = gh
    return gx if of_x else None, gh0 if of_h else None, gw_ih, gw_hh, gb


def lstm(
    x: Any, h0: Any, c0: Any, w_ih: Any, w_hh: Any, b: Any, lengths: Any, reverse: bool
) -> tuple[Any, ...]:
    """Long short-term memory: c' = f c + i g, h' = o tanh(c').

    (i, f, g, o) = (σ, σ, tanh, σ) of W_ih x + W_hh h + b, in four blocks of H rows each:
    w_ih (4H, I), w_hh (4H, H), b (4H,). Hochreiter and Schmidhuber 1997; the forget gate is
    from Gers, Schmidhuber and Cummins 2000.

    Returns out (T, B, H), h_n, c_n (B, H), and for the gradient gates (T, B, 4H) after their σ and
    tanh, and cells (T, B, H), the states c; both are 0 beyond the end of a sequence.
    """
    (steps, count), size = x.shape[:2], w_hh.shape[1]
    out, cells = np.zeros((steps, count, size), x.dtype), np.zeros((steps, count, size), x.dtype)
    gates = np.zeros((steps, count, 4 * size), x.dtype)
    h_n, c_n = _first(h0, x, w_hh).copy(), _first(c0, x, w_hh).copy()
    for s in range(count):
        for t, _ in _steps(x, lengths, s, reverse):
            i, f, g, o = np.split(w_ih @ x[t, s] + w_hh @ h_n[s] + _or_zero(b), 4)
            i, f, g, o = _sigmoid(i), _sigmoid(f), np.tanh(g), _sigmoid(o)
            c_n[s] = cells[t, s] = f * c_n[s] + i * g
            h_n[s] = out[t, s] = o * np.tanh(c_n[s])
            gates[t, s] = np.concatenate([i, f, g, o])
    return out, h_n, c_n, gates, cells


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
    """Gradients (gx, gh0, gc0, gw_ih, gw_hh, gb) of lstm."""
    of_h, h0 = h0 is not None, _first(h0, x, w_hh)
    of_c, c0 = c0 is not None, _first(c0, x, w_hh)
    gx, gh0, gc0, gw_ih, gw_hh = (np.zeros_like(a) for a in (x, h0, c0, w_ih, w_hh))
    gb = np.zeros(len(w_hh), x.dtype)
    for s in range(x.shape[1]):
        gh, gc = _final(g_h, h0, s), _final(g_c, c0, s)
        for t, earlier in reversed(_steps(x, lengths, s, reverse)):
            h_before = h0[s] if earlier is None else out[earlier, s]
            c_before = c0[s] if earlier is None else cells[earlier, s]
            i, f, g, o = np.split(gates[t, s], 4)
            if g_out is not None:
                gh = gh + g_out[t, s]
            bent = np.tanh(cells[t, s])
            gc = gc + gh * o * (1 - bent * bent)
            ga = np.concatenate(
                [
                    gc * g * i * (1 - i),
                    gc * c_before * f * (1 - f),
                    gc * i * (1 - g * g),
                    gh * bent * o * (1 - o),
                ]
            )
            gx[t, s] = w_ih.T @ ga
            gh, gc = w_hh.T @ ga, gc * f
            gw_ih += np.outer(ga, x[t, s])
            gw_hh += np.outer(ga, h_before)
            gb += ga
        gh0[s], gc0[s] = gh, gc
    states = gh0 if of_h else None, gc0 if of_c else None
    return gx if of_x else None, *states, gw_ih, gw_hh, gb


def gru(
    x: Any, h0: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, lengths: Any, reverse: bool
) -> tuple[Any, ...]:
    """Gated recurrent unit: h' = (1 - z) n + z h, with r, z = σ, σ and n = tanh(a_n + r q).

    a_r, a_z, a_n are the three blocks of W_ih x + b_ih, and r = σ(a_r + u_r), z = σ(a_z + u_z),
    q = u_n with u = W_hh h + b_hh: w_ih (3H, I), w_hh (3H, H), b_ih, b_hh (3H,). Cho et al. 2014,
    arXiv 1406.1078, with r applied after the product, as PyTorch and cuDNN do.

    Returns out (T, B, H), h_n (B, H), and for the gradient gates (T, B, 4H): r, z, n, q; they are
    0 beyond the end of a sequence.
    """
    (steps, count), size = x.shape[:2], w_hh.shape[1]
    out, gates = (
        np.zeros((steps, count, size), x.dtype),
        np.zeros((steps, count, 4 * size), x.dtype),
    )
    h_n = _first(h0, x, w_hh).copy()
    for s in range(count):
        for t, _ in _steps(x, lengths, s, reverse):
            a_r, a_z, a_n = np.split(w_ih @ x[t, s] + _or_zero(b_ih), 3)
            u_r, u_z, q = np.split(w_hh @ h_n[s] + _or_zero(b_hh), 3)
            r, z = _sigmoid(a_r + u_r), _sigmoid(a_z + u_z)
            n = np.tanh(a_n + r * q)
            h_n[s] = out[t, s] = (1 - z) * n + z * h_n[s]
            gates[t, s] = np.concatenate([r, z, n, q])
    return out, h_n, gates


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
    """Gradients (gx, gh0, gw_ih, gw_hh, gb_ih, gb_hh) of gru."""
    of_h, h0 = h0 is not None, _first(h0, x, w_hh)
    gx, gh0, gw_ih, gw_hh = (np.zeros_like(a) for a in (x, h0, w_ih, w_hh))
    gb_ih, gb_hh = np.zeros(len(w_ih), x.dtype), np.zeros(len(w_hh), x.dtype)
    for s in range(x.shape[1]):
        gh = _final(g_h, h0, s)
        for t, earlier in reversed(_steps(x, lengths, s, reverse)):
            h_before = h0[s] if earlier is None else out[earlier, s]
            r, z, n, q = np.split(gates[t, s], 4)
            if g_out is not None:
                gh = gh + g_out[t, s]
            ga_n = gh * (1 - z) * (1 - n * n)
            ga_r, ga_z = ga_n * q * r * (1 - r), gh * (h_before - n) * z * (1 - z)
            ga, gu = np.concatenate([ga_r, ga_z, ga_n]), np.concatenate([ga_r, ga_z, ga_n * r])
            gx[t, s] = w_ih.T @ ga
            gh = gh * z + w_hh.T @ gu
            gw_ih += np.outer(ga, x[t, s])
            gw_hh += np.outer(gu, h_before)
            gb_ih += ga
            gb_hh += gu
        gh0[s] = gh
    return gx if of_x else None, gh0 if of_h else None, gw_ih, gw_hh, gb_ih, gb_hh


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
    """Layers of one kind, of which each reads what the one before it gives out.

    states : [h0], or [h0, c0] for an LSTM, each (layers, B, H) or None
    weights : of each layer (w_ih, w_hh, b), or (w_ih, w_hh, b_ih, b_hh) for a GRU
    kind : "lstm", "gru", or for an RNN its nonlinearity, "tanh" or "relu"

    Returns out (T, B, H) of the last layer, the final states (layers, B, H), and for the gradient
    a tuple of arrays: out of each layer, then gates of each (LSTM, GRU), then cells of each (LSTM).
    """
    forward, _, option = _KINDS[kind]
    lasts, keeps = [], []
    for k, own in enumerate(weights):
        first = [None if s is None else s[k] for s in states]
        out, *rest = forward(x, *first, *own, lengths, False, *option)
        lasts.append(rest[: len(states)])
        keeps.append([out, *rest[len(states) :]])
        x = out
    last = [np.stack(each) for each in zip(*lasts, strict=True)]
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
    """Gradients of recurrent_layers: gx, those of the states, and a tuple for each layer's weights.

    g_last : the gradients of the final states, as `states`
    weights : as above; biases may be left out. A tuple is that of the layer's own kernel
    """
    _, backward, option = _KINDS[kind]
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
        None if s is None else np.stack(each[::-1])
        for s, each in zip(states, zip(*firsts, strict=True), strict=True)
    ]
    return g_out, *g_first, of_weights[::-1]
