"""The steps of the recurrent layers over whole sequences, compiled: rnn, lstm and gru.

Names and meaning are those of `reference.recurrent`; what the layers share is in `sequences`. A
kernel runs a stack of layers, one after another.

Forward: step by step, x and h side by side; then for 16 units at a time their product with the
weights, which are side by side too, and the gates, eight units at once.

Back: step by step the gradients of the gates and of the state, then those of x. What the weights'
gradients are made of is kept on the way.
"""

import numpy as np

from minidl_kernels.cpu.gemm import TILE_COLUMNS
from minidl_kernels.cpu.launch import floats
from minidl_kernels.cpu.sequences import (
    LAYER,
    at_rest,
    before,
    copy,
    depth_of,
    finish,
    gate_sums,
    give,
    hold,
    input_gradient,
    is_first,
    join,
    keep_operands,
    layer,
    padded_to_tile,
    part_of,
    place_in_panels,
    rest_backward,
    state_gradient,
    step_of,
    take,
    take_or_zero,
)
from minidl_kernels.cpu.simd import (
    LANES,
    fma,
    maximum,
    sigmoid,
    splat,
    store,
    tanh,
    where_greater,
)

__all__ = [
    "gru_backward",
    "gru_forward",
    "lstm_backward",
    "lstm_forward",
    "rnn_backward",
    "rnn_forward",
]

# ---- rnn ----------------------------------------------------------------------------------------


def rnn_forward(task: int, room: int, args: int) -> None:
    """Fill out, and the last state h."""
    for k in range(layer(args).layers):
        p = layer(args + k * LAYER)
        h0, out, joined, size = floats(p.h0), floats(p.out), floats(room), p.size
        low, high = part_of(p, task)
        zero = splat(np.float32(0))
        for s in range(p.steps):
            t = step_of(p, s)
            row, deep = t * p.batch, depth_of(p, s)
            h, start = before(p, s == 0, row, h0, 0, out)
            join(p, t, low, high, h, start, joined)
            for u in range(0, size, TILE_COLUMNS):
                place = (row + low) * size + u
                gate_sums(p, 0, u, high - low, joined, 0, p.inputs + deep, out, place, size)
                for v in range(u, min(u + TILE_COLUMNS, size), LANES):
                    n, bias = size - v, take_or_zero(p.b_ih, v, size - v)
                    for b in range(low, high):
                        now = take(out, (row + b) * size + v, n) + bias
                        now = maximum(now, zero) if p.relu else tanh(now)
                        give(out, (row + b) * size + v, now, n)
            for b in range(low, high):
                if at_rest(p, t, b):  # it hands on its state; `finish` puts zeros there
                    copy(h, start + b * size, size, out, (row + b) * size)
        finish(p, out, floats(p.h), low, high)


def rnn_backward(task: int, room: int, args: int) -> None:
    """Fill ga, its operands, and gx; gh, that of the last state, becomes that of the first."""
    for k in range(layer(args).layers - 1, -1, -1):
        p = layer(args + k * LAYER)
        out, h0, gh, ga = floats(p.out), floats(p.h0), floats(p.gh), floats(p.ga)
        size, padded, one = p.size, padded_to_tile(p.size), splat(np.float32(1))
        zero = one - one
        low, high = part_of(p, task)
        for s in range(p.steps - 1, -1, -1):
            t = step_of(p, s)
            for b in range(low, high):
                if at_rest(p, t, b):
                    rest_backward(p, 1, t, b)
                    continue
                row = t * p.batch + b
                h, start = before(p, is_first(p, t, b), row, h0, b, out)
                keep_operands(p, t, b, h, start)
                for u in range(0, padded, LANES):
                    n, place = size - u, place_in_panels(p, row, u)
                    if n <= 0:
                        store(ga, place, zero)
                        continue
                    now = take(out, row * size + u, n)
                    g = take(gh, b * size + u, n) + take_or_zero(p.g_out, row * size + u, n)
                    g = where_greater(now, zero, g, zero) if p.relu else g * (one - now * now)
                    store(ga, place, g)
                    # The product will be added, and nothing to one that rests.
                    give(gh, b * size + u, zero, n)
            state_gradient(p, s, low, high)
        input_gradient(p, low, high)


# ---- lstm ---------------------------------------------------------------------------------------


def lstm_forward(task: int, room: int, args: int) -> None:
    """Fill values, out, cells, and the last states h and c."""
    for k in range(layer(args).layers):
        p = layer(args + k * LAYER)
        values, out, cells, h0, c0 = (
            floats(p.values), floats(p.out), floats(p.cells), floats(p.h0), floats(p.c0)
        )  # fmt: skip
        size, wide, joined = p.size, 4 * p.size, floats(room)
        low, high = part_of(p, task)
        for s in range(p.steps):
            t = step_of(p, s)
            row, deep = t * p.batch, depth_of(p, s)
            h, start = before(p, s == 0, row, h0, 0, out)
            c, start = before(p, s == 0, row, c0, 0, cells)
            join(p, t, low, high, h, start, joined)
            for u in range(0, size, TILE_COLUMNS):
                for gate in range(p.gates):
                    place = (row + low) * wide + gate * size + u
                    gate_sums(
                        p, gate, u, high - low, joined, 0, p.inputs + deep, values, place, wide
                    )
                for v in range(u, min(u + TILE_COLUMNS, size), LANES):
                    n = size - v
                    bias_i, bias_f = take_or_zero(p.b_ih, v, n), take_or_zero(p.b_ih, size + v, n)
                    bias_g = take_or_zero(p.b_ih, 2 * size + v, n)
                    bias_o = take_or_zero(p.b_ih, 3 * size + v, n)
                    for b in range(low, high):
                        at, unit = (row + b) * wide + v, (row + b) * size + v
                        i = sigmoid(take(values, at, n) + bias_i)
                        f = sigmoid(take(values, at + size, n) + bias_f)
                        g = tanh(take(values, at + 2 * size, n) + bias_g)
                        o = sigmoid(take(values, at + 3 * size, n) + bias_o)
                        now = fma(i, g, f * take(c, start + b * size + v, n))
                        give(values, at, i, n)
                        give(values, at + size, f, n)
                        give(values, at + 2 * size, g, n)
                        give(values, at + 3 * size, o, n)
                        give(cells, unit, now, n)
                    for b in range(low, high):  # not above: there it would wait for `now`
                        unit = (row + b) * size + v
                        o = take(values, (row + b) * wide + 3 * size + v, n)
                        give(out, unit, o * tanh(take(cells, unit, n)), n)
            for b in range(low, high):
                if at_rest(p, t, b):  # it hands on its state; `finish` puts zeros there
                    hold(values, (row + b) * wide, wide)
                    copy(h, start + b * size, size, out, (row + b) * size)
                    copy(c, start + b * size, size, cells, (row + b) * size)
        finish(p, out, floats(p.h), low, high)
        finish(p, cells, floats(p.c), low, high)


def lstm_backward(task: int, room: int, args: int) -> None:
    """Fill ga, its operands, and gx; gh and gc, of the last states, become those of the first."""
    for k in range(layer(args).layers - 1, -1, -1):
        p = layer(args + k * LAYER)
        values, out, cells, ga = floats(p.values), floats(p.out), floats(p.cells), floats(p.ga)
        h0, c0, gh, gc = floats(p.h0), floats(p.c0), floats(p.gh), floats(p.gc)
        size, wide, padded, one = p.size, 4 * p.size, padded_to_tile(p.size), splat(np.float32(1))
        block = padded * p.rows
        low, high = part_of(p, task)
        for s in range(p.steps - 1, -1, -1):
            t = step_of(p, s)
            for b in range(low, high):
                if at_rest(p, t, b):
                    rest_backward(p, 4, t, b)
                    continue
                row, first = t * p.batch + b, is_first(p, t, b)
                h, start = before(p, first, row, h0, b, out)
                c, start = before(p, first, row, c0, b, cells)
                keep_operands(p, t, b, h, start)
                for u in range(0, padded, LANES):
                    n, place = size - u, place_in_panels(p, row, u)
                    if n <= 0:
                        for k in range(4):
                            store(ga, place + k * block, one - one)
                        continue
                    at, unit, state = row * wide + u, row * size + u, b * size + u
                    i, f = take(values, at, n), take(values, at + size, n)
                    g, o = take(values, at + 2 * size, n), take(values, at + 3 * size, n)
                    gh_t = take(gh, state, n) + take_or_zero(p.g_out, unit, n)
                    bent = tanh(take(cells, unit, n))
                    gc_t = fma(gh_t * o, one - bent * bent, take(gc, state, n))
                    store(ga, place, gc_t * g * i * (one - i))
                    store(ga, place + block, gc_t * take(c, start + u, n) * f * (one - f))
                    store(ga, place + 2 * block, gc_t * i * (one - g * g))
                    store(ga, place + 3 * block, gh_t * bent * o * (one - o))
                    give(gc, state, gc_t * f, n)
                    give(gh, state, one - one, n)  # the product is added; nothing to one that rests
            state_gradient(p, s, low, high)
        input_gradient(p, low, high)


# ---- gru ----------------------------------------------------------------------------------------


def gru_forward(task: int, room: int, args: int) -> None:
    """Fill values (r, z, n, and q, the part of the state in n before r is applied), out, and h."""
    for k in range(layer(args).layers):
        p = layer(args + k * LAYER)
        values, out, joined, h0 = floats(p.values), floats(p.out), floats(room), floats(p.h0)
        size, wide, inputs = p.size, 4 * p.size, p.inputs
        low, high = part_of(p, task)
        for s in range(p.steps):
            t = step_of(p, s)
            row, deep, many = t * p.batch, depth_of(p, s), high - low
            h, start = before(p, s == 0, row, h0, 0, out)
            join(p, t, low, high, h, start, joined)
            for u in range(0, size, TILE_COLUMNS):
                place = (row + low) * wide + u
                for gate in range(2):
                    gate_sums(
                        p,
                        gate,
                        u,
                        many,
                        joined,
                        0,
                        inputs + deep,
                        values,
                        place + gate * size,
                        wide,
                    )
                gate_sums(p, 2, u, many, joined, 0, inputs, values, place + 2 * size, wide)
                gate_sums(p, 2, u, many, joined, inputs, deep, values, place + 3 * size, wide)
                for v in range(u, min(u + TILE_COLUMNS, size), LANES):
                    m = size - v
                    bias_r = take_or_zero(p.b_ih, v, m) + take_or_zero(p.b_hh, v, m)
                    bias_z = take_or_zero(p.b_ih, size + v, m) + take_or_zero(p.b_hh, size + v, m)
                    bias_n = take_or_zero(p.b_ih, 2 * size + v, m)
                    bias_q = take_or_zero(p.b_hh, 2 * size + v, m)
                    for b in range(low, high):
                        at = (row + b) * wide + v
                        give(values, at, sigmoid(take(values, at, m) + bias_r), m)
                        at += size
                        give(values, at, sigmoid(take(values, at, m) + bias_z), m)
                    for b in range(low, high):  # not above: there it would wait for `r`
                        at = (row + b) * wide + v
                        r, q = take(values, at, m), take(values, at + 3 * size, m) + bias_q
                        n = tanh(fma(r, q, take(values, at + 2 * size, m) + bias_n))
                        give(values, at + 2 * size, n, m)
                        give(values, at + 3 * size, q, m)
                        z = take(values, at + size, m)
                        now = fma(z, take(h, start + b * size + v, m) - n, n)
                        give(out, (row + b) * size + v, now, m)
            for b in range(low, high):
                if at_rest(p, t, b):  # it hands on its state; `finish` puts zeros there
                    hold(values, (row + b) * wide, wide)
                    copy(h, start + b * size, size, out, (row + b) * size)
        finish(p, out, floats(p.h), low, high)


def gru_backward(task: int, room: int, args: int) -> None:
    """Fill ga, its operands, and gx; gh, that of the last state, becomes that of the first.

    The panels hold the blocks r, z, q and n: the first three belong to W_hh, and r, z, n to W_ih.
    """
    for k in range(layer(args).layers - 1, -1, -1):
        p = layer(args + k * LAYER)
        values, out, h0, gh, ga = (
            floats(p.values), floats(p.out), floats(p.h0), floats(p.gh), floats(p.ga)
        )  # fmt: skip
        size, wide, padded, one = p.size, 4 * p.size, padded_to_tile(p.size), splat(np.float32(1))
        block = padded * p.rows
        low, high = part_of(p, task)
        for s in range(p.steps - 1, -1, -1):
            t = step_of(p, s)
            for b in range(low, high):
                if at_rest(p, t, b):
                    rest_backward(p, 4, t, b)
                    continue
                row = t * p.batch + b
                h, start = before(p, is_first(p, t, b), row, h0, b, out)
                keep_operands(p, t, b, h, start)
                for u in range(0, padded, LANES):
                    m, place = size - u, place_in_panels(p, row, u)
                    if m <= 0:
                        for k in range(4):
                            store(ga, place + k * block, one - one)
                        continue
                    at, state = row * wide + u, b * size + u
                    r, z = take(values, at, m), take(values, at + size, m)
                    n, q = take(values, at + 2 * size, m), take(values, at + 3 * size, m)
                    gh_t = take(gh, state, m) + take_or_zero(p.g_out, row * size + u, m)
                    ga_n = gh_t * (one - z) * (one - n * n)
                    store(ga, place, ga_n * q * r * (one - r))
                    store(ga, place + block, gh_t * (take(h, start + u, m) - n) * z * (one - z))
                    store(ga, place + 2 * block, ga_n * r)
                    store(ga, place + 3 * block, ga_n)
                    give(gh, state, gh_t * z, m)
            state_gradient(p, s, low, high)
        input_gradient(p, low, high)
