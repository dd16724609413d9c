"""Bugs of recurrence: what one step owes to the next, and weights that every step shares."""

import numpy as np

from minidl.testing.buglab.exercise import exercise


def rnn(x, w, u):
    """h_t = tanh(x_t W + h_{t-1} U), all h_t : (t, m), for x : (t, d), W : (d, m), U : (m, m)."""
    h = [np.zeros(len(u))]
    for x_t in x:
        h.append(np.tanh(x_t @ w + h[-1] @ u))
    return np.array(h[1:])


def rnn_cut_wrong(g, x, w, u):
    h = np.vstack([np.zeros(len(u)), rnn(x, w, u)])
    dx, dw, du = np.zeros_like(x), np.zeros_like(w), np.zeros_like(u)
    for t in reversed(range(len(x))):
        dz = g[t] * (1 - h[t + 1] ** 2)
        dx[t] = dz @ w.T
        dw += np.outer(x[t], dz)
        du += np.outer(h[t], dz)
    return dx, dw, du


def rnn_right(g, x, w, u):
    h = np.vstack([np.zeros(len(u)), rnn(x, w, u)])
    dx, dw, du = np.zeros_like(x), np.zeros_like(w), np.zeros_like(u)
    dh = np.zeros(len(u))
    for t in reversed(range(len(x))):
        dz = (g[t] + dh) * (1 - h[t + 1] ** 2)
        dx[t] = dz @ w.T
        dw += np.outer(x[t], dz)
        du += np.outer(h[t], dz)
        dh = dz @ u.T
    return dx, dw, du


def sequence(rng):
    """Inputs of the plain recurrence: five steps of two numbers, three hidden."""
    return rng.normal(size=(5, 2)), rng.normal(size=(2, 3)), rng.normal(size=(3, 3))


exercise(
    "rnn_cut", level=2, topic="recurrence", forward=rnn, wrong=rnn_cut_wrong, right=rnn_right,
    inputs=sequence,
    told=("last", "axis 0", "step"),
    hints=(
        "One step is right. Which, and what is special about it?",
        "h_t is an output, and it is an input of step t + 1: two paths, two gradients.",
    ),
    solution="""
    h_t reaches the loss through the output g_t and through h_{t+1}. With z_t = x_t W + h_{t-1} U:

        dh_t = g_t + dz_{t+1} Uᵀ,     dz_t = dh_t · (1 - h_t²).

    Without the second term the network learns nothing that takes more than one step: backprop
    through time was cut after one. Carry dh from step to step: dh = dz @ u.T.
    """,
)  # fmt: skip


def rnn_last_wrong(g, x, w, u):
    h = np.vstack([np.zeros(len(u)), rnn(x, w, u)])
    dx, dw, du = np.zeros_like(x), np.zeros_like(w), np.zeros_like(u)
    dh = g[-1]
    for t in reversed(range(len(x))):
        dz = dh * (1 - h[t + 1] ** 2)
        dx[t] = dz @ w.T
        dw += np.outer(x[t], dz)
        du += np.outer(h[t], dz)
        dh = dz @ u.T
    return dx, dw, du


exercise(
    "rnn_last", level=2, topic="recurrence", forward=rnn, wrong=rnn_last_wrong, right=rnn_right,
    inputs=sequence,
    told=("last", "axis 0", "step"),
    hints=(
        "If the loss looks at the last output alone, this is right.",
        "Which parts of g are used?",
    ),
    solution="""
    Every step's output is an output of the function, so every g_t takes part:

        dh_t = g_t + dz_{t+1} Uᵀ.

    The wrong version starts with the last one and forgets to add the others on its way.
    """,
)  # fmt: skip


def rnn_shared_wrong(g, x, w, u):
    h = np.vstack([np.zeros(len(u)), rnn(x, w, u)])
    dx, dw, du = np.zeros_like(x), np.zeros_like(w), np.zeros_like(u)
    dh = np.zeros(len(u))
    for t in reversed(range(len(x))):
        dz = (g[t] + dh) * (1 - h[t + 1] ** 2)
        dx[t] = dz @ w.T
        dw = np.outer(x[t], dz)
        du += np.outer(h[t], dz)
        dh = dz @ u.T
    return dx, dw, du


exercise(
    "rnn_shared", level=2, topic="recurrence",
    forward=rnn, wrong=rnn_shared_wrong, right=rnn_right, inputs=sequence,
    told=("outer product", "step"),
    hints=(
        "Two of the three gradients are right, so the recursion is.",
        "All steps share W. What does one do with the gradients of several uses?",
    ),
    solution="""
    W is used in each step, so dW = Σ_t x_tᵀ dz_t. `dw = …` keeps one term, that of the first
    step (the last one that the loop visits):

        dw += np.outer(x[t], dz)
    """,
)  # fmt: skip


def rnn_previous_wrong(g, x, w, u):
    h = np.vstack([np.zeros(len(u)), rnn(x, w, u)])
    dx, dw, du = np.zeros_like(x), np.zeros_like(w), np.zeros_like(u)
    dh = np.zeros(len(u))
    for t in reversed(range(len(x))):
        dz = (g[t] + dh) * (1 - h[t + 1] ** 2)
        dx[t] = dz @ w.T
        dw += np.outer(x[t], dz)
        du += np.outer(h[t + 1], dz)
        dh = dz @ u.T
    return dx, dw, du


exercise(
    "rnn_previous", level=3, topic="recurrence",
    forward=rnn, wrong=rnn_previous_wrong, right=rnn_right, inputs=sequence,
    told=("does not depend on it", "a step is off", "x and w is right"),
    hints=(
        "Only the gradient of U is wrong.",
        "Which state was multiplied by U in step t: the one before, or the one after?",
    ),
    solution="""
    z_t = x_t W + h_{t-1} U, so dU = Σ_t h_{t-1}ᵀ dz_t. The list h begins with the state before
    the first step, so h_{t-1} is h[t]:

        du += np.outer(h[t], dz)

    Off by one in time is the most common index mistake in recurrence.
    """,
)  # fmt: skip


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def lstm_steps(x, w, u, b):
    """The gates i, f, o, the candidate a, and c, h before and c after, for each step."""
    c = h = np.zeros(len(u))
    steps = []
    for x_t in x:
        zi, zf, za, zo = np.split(x_t @ w + h @ u + b, 4)
        i, f, o, a = sigmoid(zi), sigmoid(zf), sigmoid(zo), np.tanh(za)
        after = f * c + i * a
        steps.append((i, f, o, a, c, h, after))
        c, h = after, o * np.tanh(after)
    return h, steps


def lstm(x, w, u, b):
    """The last h of an LSTM over x : (t, d); W : (d, 4m), U : (m, 4m), b : (4m,), as i, f, a, o."""
    return lstm_steps(x, w, u, b)[0]


def lstm_order_wrong(g, x, w, u, b):
    dx, dw, du, db = (np.zeros_like(v) for v in (x, w, u, b))
    dh, dc = g, 0
    for t, (i, f, o, a, c, h, after) in reversed(list(enumerate(lstm_steps(x, w, u, b)[1]))):
        dc = dc + dh * o * (1 - np.tanh(after) ** 2)
        di, df = dc * a * i * (1 - i), dc * c * f * (1 - f)
        do, da = dh * np.tanh(after) * o * (1 - o), dc * i * (1 - a**2)
        dz = np.concatenate([di, df, do, da])
        dw, du, db = dw + np.outer(x[t], dz), du + np.outer(h, dz), db + dz
        dz = np.concatenate([di, df, da, do])
        dx[t], dh, dc = w @ dz, u @ dz, dc * f
    return dx, dw, du, db


def lstm_right(g, x, w, u, b):
    dx, dw, du, db = (np.zeros_like(v) for v in (x, w, u, b))
    dh, dc = g, 0
    for t, (i, f, o, a, c, h, after) in reversed(list(enumerate(lstm_steps(x, w, u, b)[1]))):
        dc = dc + dh * o * (1 - np.tanh(after) ** 2)
        di, df = dc * a * i * (1 - i), dc * c * f * (1 - f)
        do, da = dh * np.tanh(after) * o * (1 - o), dc * i * (1 - a**2)
        dz = np.concatenate([di, df, da, do])
        dw, du, db = dw + np.outer(x[t], dz), du + np.outer(h, dz), db + dz
        dx[t], dh, dc = w @ dz, u @ dz, dc * f
    return dx, dw, du, db


def gated(rng):
    """Inputs of the LSTM: four steps of two numbers, two cells."""
    return tuple(rng.normal(size=s) for s in [(4, 2), (2, 8), (2, 8), (8,)])


exercise(
    "lstm_order", level=3, topic="recurrence",
    forward=lstm, wrong=lstm_order_wrong, right=lstm_right, inputs=gated,
    helpers=(sigmoid, lstm_steps),
    told=("order", "axis 1"),
    hints=(
        "Half of the columns are right. The rest are right as well, somewhere else.",
        "In which order are the gates laid out in W, and in dW?",
    ),
    solution="""
    Forward the columns are i, f, a, o. dW, dU and db must be laid out alike:

        dz = np.concatenate([di, df, da, do])

    PyTorch has i, f, g, o; Keras i, f, c, o, the same; ONNX i, o, f, c; cuDNN its own. Exchanged
    gates are the classic mistake of converted weights.
    """,
)  # fmt: skip


def lstm_forget_wrong(g, x, w, u, b):
    dx, dw, du, db = (np.zeros_like(v) for v in (x, w, u, b))
    dh, dc = g, 0
    for t, (i, f, o, a, c, h, after) in reversed(list(enumerate(lstm_steps(x, w, u, b)[1]))):
        dc = dc + dh * o * (1 - np.tanh(after) ** 2)
        di, df = dc * a * i * (1 - i), dc * c * f * (1 - f)
        do, da = dh * np.tanh(after) * o * (1 - o), dc * i * (1 - a**2)
        dz = np.concatenate([di, df, da, do])
        dw, du, db = dw + np.outer(x[t], dz), du + np.outer(h, dz), db + dz
        dx[t], dh = w @ dz, u @ dz
    return dx, dw, du, db


exercise(
    "lstm_forget", level=3, topic="recurrence",
    forward=lstm, wrong=lstm_forget_wrong, right=lstm_right, inputs=gated,
    helpers=(sigmoid, lstm_steps),
    told=("last", "axis 0", "step"),
    hints=(
        "The last step is right, the ones before it are not: something is carried back wrongly.",
        "c_t = f · c_{t-1} + i · a. What is the derivative for c_{t-1}?",
    ),
    solution="""
    dc_{t-1} = dc_t · f_t (+ what comes through h_{t-1}). Without f the cell remembers, as far as
    its gradient is concerned, everything for ever: the gradients of early steps are too large.

        dx[t], dh, dc = w @ dz, u @ dz, dc * f
    """,
)  # fmt: skip


def lstm_gate_wrong(g, x, w, u, b):
    dx, dw, du, db = (np.zeros_like(v) for v in (x, w, u, b))
    dh, dc = g, 0
    for t, (i, f, o, a, _, h, after) in reversed(list(enumerate(lstm_steps(x, w, u, b)[1]))):
        dc = dc + dh * o * (1 - np.tanh(after) ** 2)
        di, df = dc * a * i * (1 - i), np.zeros_like(f)
        do, da = dh * np.tanh(after) * o * (1 - o), dc * i * (1 - a**2)
        dz = np.concatenate([di, df, da, do])
        dw, du, db = dw + np.outer(x[t], dz), du + np.outer(h, dz), db + dz
        dx[t], dh, dc = w @ dz, u @ dz, dc * f
    return dx, dw, du, db


exercise(
    "lstm_gate", level=2, topic="recurrence",
    forward=lstm, wrong=lstm_gate_wrong, right=lstm_right, inputs=gated,
    helpers=(sigmoid, lstm_steps),
    told=("argument w", "it is 0 at index 2, 3 of axis 1", "gate"),
    hints=(
        "With a single step the check passes.",
        "One of the four gates never learns. In the first step c is 0; later it is not.",
    ),
    solution="""
    c_t = f · c_{t-1} + i · a, so the forget gate has the gradient df = dc · c_{t-1}, and through
    the sigmoid dzf = dc · c_{t-1} · f (1 - f). It vanishes in the first step only, where c = 0.

        df = dc * c * f * (1 - f)
    """,
)  # fmt: skip
