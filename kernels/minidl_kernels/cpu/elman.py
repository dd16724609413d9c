"""The plain recurrent layer over sequences, compiled: h' = f(W_ih x + W_hh h + b), f tanh or relu.

Names and meaning are those of `reference.recurrent`; how it goes is told in `lstm`.
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
from minidl_kernels.cpu.simd import LANES, maximum, splat, store, tanh, where_greater

__all__ = ["rnn_backward", "rnn_forward"]


def rnn_forward(task: int, room: int, args: int) -> None:
    """Fill out; h, the first state, becomes the last."""
    p = layer(args)
    out, bias, h, ends = floats(p.out), floats(p.b_ih), floats(p.h), integers(p.ends)
    size, zero = p.size, splat(np.float32(0))
    low, high = part_of(p, task)
    input_products(p, size, out, size, low, high)
    for s in range(p.steps):
        t = p.steps - 1 - s if p.reverse else s
        state_products(p, size, out, (t * p.batch + low) * size, size, True, low, high)
        for b in range(low, high):
            row = t * p.batch + b
            if t >= ends[b]:
                hold(out, row * size, size)
                continue
            for u in range(0, size, LANES):
                n = size - u
                now = take(out, row * size + u, n) + take(bias, u, n)
                now = maximum(now, zero) if p.relu else tanh(now)
                give(out, row * size + u, now, n)
                give(h, b * size + u, now, n)


def rnn_backward(task: int, room: int, args: int) -> None:
    """Fill ga, its operands, and gx; gh, that of the last state, becomes that of the first."""
    p = layer(args)
    out, g_out, h0, gh = floats(p.out), floats(p.g_out), floats(p.h0), floats(p.gh)
    ga, ends, one = floats(p.ga), integers(p.ends), splat(np.float32(1))
    size, padded, rows, zero = p.size, padded_to_tile(p.size), p.steps * p.batch, one - one
    low, high = part_of(p, task)
    for s in range(p.steps):
        t = s if p.reverse else p.steps - 1 - s
        for b in range(low, high):
            row = t * p.batch + b
            if t >= ends[b]:
                rest(p, 1, t, b)
                continue
            first = t + 1 >= ends[b] if p.reverse else t == 0
            start = b * size if first else (row + p.batch if p.reverse else row - p.batch) * size
            operands(p, t, b, h0 if first else out, start)
            for u in range(0, padded, LANES):
                n = size - u
                place = (u // TILE_COLUMNS * rows + row) * TILE_COLUMNS + u % TILE_COLUMNS
                if n <= 0:
                    store(ga, place, zero)
                    continue
                now, g = take(out, row * size + u, n), take(gh, b * size + u, n)
                if p.given:
                    g = g + take(g_out, row * size + u, n)
                g = where_greater(now, zero, g, zero) if p.relu else g * (one - now * now)
                store(ga, place, g)
                give(gh, b * size + u, zero, n)  # the product is added; nothing to one that rests
        many, row = high - low, t * p.batch + low
        right = floats(p.panels_hh)
        product_of_panels(p, row, many, 0, 1, right, padded, 0, gh, low * size, size, True)
    if p.wanted:
        gx, right, n = floats(p.gx), floats(p.panels_ih), p.inputs
        for t in range(p.steps):
            row = t * p.batch + low
            product_of_panels(p, row, high - low, 0, 1, right, padded, 0, gx, row * n, n, False)
