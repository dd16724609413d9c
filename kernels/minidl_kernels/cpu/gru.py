"""The GRU over whole sequences, compiled; names and meaning are those of `reference.recurrent`.

How it goes is told in `lstm`. The gates are kept as r, z, n and q, the last being the part of the
state in n before r is applied. The panels of the way back hold the blocks r, z, q and n: the first
three belong to W_hh, and r, z, n to W_ih.
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

__all__ = ["gru_backward", "gru_forward"]


def gru_forward(task: int, room: int, args: int) -> None:
    """Fill gates and out; h, the first state, becomes the last."""
    p = layer(args)
    gates, out, h, ends = floats(p.gates), floats(p.out), floats(p.h), integers(p.ends)
    b_ih, b_hh, own_products = floats(p.b_ih), floats(p.b_hh), floats(p.room)
    size, wide, used = p.size, 4 * p.size, 3 * p.size
    low, high = part_of(p, task)
    input_products(p, used, gates, wide, low, high)
    for s in range(p.steps):
        t = p.steps - 1 - s if p.reverse else s
        state_products(p, used, own_products, low * used, used, False, low, high)
        for b in range(low, high):
            row = t * p.batch + b
            if t >= ends[b]:
                hold(gates, row * wide, wide)
                hold(out, row * size, size)
                continue
            for u in range(0, size, LANES):
                m = size - u
                at, own, state = row * wide + u, b * used + u, b * size + u
                r = take(gates, at, m) + take(b_ih, u, m)
                r = sigmoid(r + take(own_products, own, m) + take(b_hh, u, m))
                z = take(gates, at + size, m) + take(b_ih, size + u, m)
                z = sigmoid(z + take(own_products, own + size, m) + take(b_hh, size + u, m))
                q = take(own_products, own + 2 * size, m) + take(b_hh, 2 * size + u, m)
                n = take(gates, at + 2 * size, m) + take(b_ih, 2 * size + u, m)
                n = tanh(fma(r, q, n))
                now = fma(z, take(h, state, m) - n, n)
                give(gates, at, r, m)
                give(gates, at + size, z, m)
                give(gates, at + 2 * size, n, m)
                give(gates, at + 3 * size, q, m)
                give(h, state, now, m)
                give(out, row * size + u, now, m)


def gru_backward(task: int, room: int, args: int) -> None:
    """Fill ga, its operands, and gx; gh, that of the last state, becomes that of the first."""
    p = layer(args)
    gates, out, g_out, h0, gh = (
        floats(p.gates), floats(p.out), floats(p.g_out), floats(p.h0), floats(p.gh)
    )  # fmt: skip
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
            before = h0 if first else out
            operands(p, t, b, before, start)
            for u in range(0, padded, LANES):
                m = size - u
                place = (u // TILE_COLUMNS * rows + row) * TILE_COLUMNS + u % TILE_COLUMNS
                if m <= 0:
                    for k in range(4):
                        store(ga, place + k * block, one - one)
                    continue
                at, state = row * wide + u, b * size + u
                r, z = take(gates, at, m), take(gates, at + size, m)
                n, q = take(gates, at + 2 * size, m), take(gates, at + 3 * size, m)
                gh_t = take(gh, state, m)
                if p.given:
                    gh_t = gh_t + take(g_out, row * size + u, m)
                ga_n = gh_t * (one - z) * (one - n * n)
                store(ga, place, ga_n * q * r * (one - r))
                store(ga, place + block, gh_t * (take(before, start + u, m) - n) * z * (one - z))
                store(ga, place + 2 * block, ga_n * r)
                store(ga, place + 3 * block, ga_n)
                give(gh, state, gh_t * z, m)
        many, row = high - low, t * p.batch + low
        right = floats(p.panels_hh)
        product_of_panels(p, row, many, 0, 3, right, 3 * padded, 0, gh, low * size, size, True)
    if p.wanted:
        gx, right, n = floats(p.gx), floats(p.panels_ih), p.inputs
        for t in range(p.steps):
            row = t * p.batch + low
            product_of_panels(p, row, high - low, 0, 2, right, 3 * padded, 0, gx, row * n, n, False)
            product_of_panels(
                p, row, high - low, 3, 1, right, 3 * padded, 2 * padded, gx, row * n, n, True
            )
