"""The LSTM over whole sequences, compiled; names and meaning are those of `reference.recurrent`.

Forward: the products of all steps with W_ih, then step by step the product with W_hh and the gates,
eight units at once. Back: step by step the gradients of the gates and of the state, then one
product over all steps for each of the other gradients.
"""

import numpy as np

from minidl_kernels.cpu.gemm import TILE_COLUMNS
from minidl_kernels.cpu.launch import floats, integers
from minidl_kernels.cpu.sequences import (
    give,
    hold,
    input_products,
    layer,
    operands,
    padded_to_tile,
    part_of,
    product_of_panels,
    rest,
    state_products,
    take,
)
from minidl_kernels.cpu.simd import LANES, fma, sigmoid, splat, store, tanh

__all__ = ["lstm_backward", "lstm_forward"]


def lstm_forward(task: int, room: int, args: int) -> None:
    """Fill gates, out and cells; h and c, the first states, become the last."""
    p = layer(args)
    gates, out, cells, bias = floats(p.gates), floats(p.out), floats(p.cells), floats(p.b_ih)
    h, c, ends = floats(p.h), floats(p.c), integers(p.ends)
    size, wide = p.size, 4 * p.size
    low, high = part_of(p, task)
    input_products(p, wide, gates, wide, low, high)
    for s in range(p.steps):
        t = p.steps - 1 - s if p.reverse else s
        state_products(p, wide, gates, (t * p.batch + low) * wide, wide, True, low, high)
        for b in range(low, high):
            row = t * p.batch + b
            if t >= ends[b]:
                hold(gates, row * wide, wide)
                hold(out, row * size, size)
                hold(cells, row * size, size)
                continue
            for u in range(0, size, LANES):
                n = size - u
                at, state = row * wide + u, b * size + u
                i = sigmoid(take(gates, at, n) + take(bias, u, n))
                f = sigmoid(take(gates, at + size, n) + take(bias, size + u, n))
                g = tanh(take(gates, at + 2 * size, n) + take(bias, 2 * size + u, n))
                o = sigmoid(take(gates, at + 3 * size, n) + take(bias, 3 * size + u, n))
                now = fma(i, g, f * take(c, state, n))
                given = o * tanh(now)
                give(gates, at, i, n)
                give(gates, at + size, f, n)
                give(gates, at + 2 * size, g, n)
                give(gates, at + 3 * size, o, n)
                give(c, state, now, n)
                give(cells, row * size + u, now, n)
                give(h, state, given, n)
                give(out, row * size + u, given, n)


def lstm_backward(task: int, room: int, args: int) -> None:
    """Fill ga, its operands, and gx; gh and gc, of the last states, become those of the first."""
    p = layer(args)
    gates, out, cells, g_out = floats(p.gates), floats(p.out), floats(p.cells), floats(p.g_out)
    h0, c0, gh, gc = floats(p.h0), floats(p.c0), floats(p.gh), floats(p.gc)
    ga, ends, one = floats(p.ga), integers(p.ends), splat(np.float32(1))
    size, wide, padded, rows = p.size, 4 * p.size, padded_to_tile(p.size), p.steps * p.batch
    block = padded * rows
    low, high = part_of(p, task)
    for s in range(p.steps):
        t = s if p.reverse else p.steps - 1 - s
        for b in range(low, high):
            row = t * p.batch + b
            if t >= ends[b]:
                rest(p, 4, t, b)
                continue
            first = t + 1 >= ends[b] if p.reverse else t == 0
            start = b * size if first else (row + p.batch if p.reverse else row - p.batch) * size
            cell = c0 if first else cells
            operands(p, t, b, h0 if first else out, start)
            for u in range(0, padded, LANES):
                n = size - u
                place = (u // TILE_COLUMNS * rows + row) * TILE_COLUMNS + u % TILE_COLUMNS
                if n <= 0:
                    for k in range(4):
                        store(ga, place + k * block, one - one)
                    continue
                at, state = row * wide + u, b * size + u
                i, f = take(gates, at, n), take(gates, at + size, n)
                g, o = take(gates, at + 2 * size, n), take(gates, at + 3 * size, n)
                gh_t = take(gh, state, n)
                if p.given:
                    gh_t = gh_t + take(g_out, row * size + u, n)
                bent = tanh(take(cells, row * size + u, n))
                gc_t = fma(gh_t * o, one - bent * bent, take(gc, state, n))
                store(ga, place, gc_t * g * i * (one - i))
                store(ga, place + block, gc_t * take(cell, start + u, n) * f * (one - f))
                store(ga, place + 2 * block, gc_t * i * (one - g * g))
                store(ga, place + 3 * block, gh_t * bent * o * (one - o))
                give(gc, state, gc_t * f, n)
                give(gh, state, one - one, n)  # the product is added; nothing to one that rests
        many, row = high - low, t * p.batch + low
        right = floats(p.panels_hh)
        product_of_panels(p, row, many, 0, 4, right, 4 * padded, 0, gh, low * size, size, True)
    if p.wanted:
        gx, right, n = floats(p.gx), floats(p.panels_ih), p.inputs
        for t in range(p.steps):
            row = t * p.batch + low
            product_of_panels(
                p, row, high - low, 0, 4, right, 4 * padded, 0, gx, row * n, n, False
            )  # fmt: skip
