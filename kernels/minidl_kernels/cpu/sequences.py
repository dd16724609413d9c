"""What the compiled recurrent layers share: products for all steps at once, and their operands.

A task takes some of the sequences through all steps, so threads need not wait for each other at
each step. In a kernel "row" t * B + b is sequence b at step t.

The gradients of the gates lie in panels, (blocks * padded / 16, T * B, 16): in this shape they are
the left side of a product (for the gradients of x and h) and the transposed left side of another
(for those of the weights), and both read memory in order. `padded` is the hidden size rounded up to
16, so that each block of a weight's rows begins with a panel; lanes beyond the size hold zeros.
"""

from typing import Any, NamedTuple

import numpy as np

from minidl_kernels.cpu.compiling import helper
from minidl_kernels.cpu.gemm import TILE_COLUMNS, gemm_rows, pack_transposed
from minidl_kernels.cpu.launch import floats, integers, record
from minidl_kernels.cpu.simd import LANES, load, load_first, splat, store, store_first

__all__ = [
    "Layer",
    "give",
    "hold",
    "input_products",
    "layer",
    "operands",
    "pack_backward",
    "pack_forward",
    "padded_to_tile",
    "part_of",
    "product_of_panels",
    "rest",
    "state_products",
    "take",
    "weight_gradient",
]

DEPTH = 512  # rows that a product for a weight's gradient takes at a time: two panels fit in L2


class Layer(NamedTuple):
    """A layer as the kernels see it: sizes, switches, and addresses of arrays."""

    steps: int
    batch: int  # sequences
    inputs: int
    size: int  # of the state
    parts: int  # in how many parts the sequences are taken
    step: int = 0  # from one step of x to the next, and from one sequence, in numbers
    sequence: int = 0
    reverse: int = 0
    relu: int = 0
    x: int = 0
    ends: int = 0  # (B,), how many steps each sequence has
    b_ih: int = 0
    b_hh: int = 0
    panels_ih: int = 0  # the packed weights
    panels_hh: int = 0
    h0: int = 0  # the states before the first step
    c0: int = 0
    h: int = 0  # (B, H), the states as they change
    c: int = 0
    gates: int = 0
    out: int = 0
    cells: int = 0
    room: int = 0  # (B, 3H), for a GRU's W_hh h
    given: int = 0  # whether there is a g_out
    g_out: int = 0
    gh: int = 0  # (B, H), the gradients of the states as they change
    gc: int = 0
    wanted: int = 0  # whether gx is asked for
    gx: int = 0
    ga: int = 0  # panels: the gates' gradients, x, and the states before each step
    x_panels: int = 0
    h_panels: int = 0
    # For packing a weight, and for its gradient.
    w: int = 0
    columns: int = 0
    blocks: int = 0  # how many blocks of `size` rows
    panels: int = 0
    order: int = 0  # which block of ga belongs to each block of the weight
    gw: int = 0
    gb: int = 0  # 0 if not wanted

    def packed(self) -> Any:
        """The record that kernels take."""
        return np.array([self], _RECORD)


_RECORD = np.dtype([(name, np.intp) for name in Layer._fields])
layer = record(_RECORD)


@helper
def part_of(p: Any, task: int) -> Any:
    """The first sequence of a task, and the one after its last."""
    return p.batch * task // p.parts, p.batch * (task + 1) // p.parts


@helper
def padded_to_tile(n: int) -> int:
    """n rounded up to whole tiles of 16."""
    return (n + TILE_COLUMNS - 1) // TILE_COLUMNS * TILE_COLUMNS


@helper
def take(x: Any, i: int, n: int) -> Any:
    """x[i : i + 8], of which n count; zeros in the other lanes."""
    return load(x, i) if n >= LANES else load_first(x, i, n)


@helper
def give(x: Any, i: int, v: Any, n: int) -> None:
    """x[i : i + n] = the first n lanes of v."""
    if n >= LANES:
        store(x, i, v)
    else:
        store_first(x, i, v, n)


@helper
def hold(x: Any, i: int, n: int) -> None:
    """x[i : i + n] = 0: what is given out for a sequence that has ended."""
    for k in range(n):
        x[i + k] = 0


# ---- weights, packed ----------------------------------------------------------------------------


def pack_forward(task: int, room: int, args: int) -> None:
    """Panel `task` of the transpose of w (rows, columns): the right side of x @ w.T."""
    p = layer(args)
    place = task * TILE_COLUMNS * p.columns
    width = min(TILE_COLUMNS, p.blocks * p.size - task * TILE_COLUMNS)
    pack_transposed(floats(p.w), place, p.columns, p.columns, width, floats(p.panels), place)


def pack_backward(task: int, room: int, args: int) -> None:
    """Panel `task` of w (blocks * size, columns): the right side of g @ w.

    Each block is `padded` rows deep, the last of them zeros.
    """
    p = layer(args)
    w, panels = floats(p.w), floats(p.panels)
    padded, first = padded_to_tile(p.size), task * TILE_COLUMNS
    for block in range(p.blocks):
        for k in range(padded):
            place = ((task * p.blocks + block) * padded + k) * TILE_COLUMNS
            for half in range(0, TILE_COLUMNS, LANES):
                n = p.columns - first - half if k < p.size else 0
                source = (block * p.size + k) * p.columns + first + half
                v = take(w, source, n) if n > 0 else splat(np.float32(0))
                store(panels, place + half, v)


# ---- products -----------------------------------------------------------------------------------


@helper
def input_products(p: Any, width: int, out: Any, row_size: int, low: int, high: int) -> None:
    """out[t, b, : width] = W_ih x[t, b], every t and low <= b < high; out (T, B, row_size)."""
    x, panels = floats(p.x), floats(p.panels_ih)
    for n in range(0, width, TILE_COLUMNS):
        for t in range(p.steps):
            gemm_rows(
                high - low, x, t * p.step + low * p.sequence, p.sequence, 1, 0,
                panels, n * p.inputs, TILE_COLUMNS, 0, 1, p.inputs,
                out, (t * p.batch + low) * row_size + n, row_size,
                min(TILE_COLUMNS, width - n), False,
            )  # fmt: skip


@helper
def state_products(
    p: Any, width: int, out: Any, place: int, row_size: int, add: bool, low: int, high: int
) -> None:
    """out[b, : width] (+)= W_hh h[b] for low <= b < high; out[low] begins at `place`."""
    h, panels = floats(p.h), floats(p.panels_hh)
    for n in range(0, width, TILE_COLUMNS):
        gemm_rows(
            high - low, h, low * p.size, p.size, 1, 0,
            panels, n * p.size, TILE_COLUMNS, 0, 1, p.size,
            out, place + n, row_size, min(TILE_COLUMNS, width - n), add,
        )  # fmt: skip


@helper
def product_of_panels(
    p: Any, row: int, many: int, first: int, blocks: int,
    right: Any, depth: int, skipped: int, out: Any, place: int, width: int, add: bool,
) -> None:  # fmt: skip
    """out (many, width) (+)= g @ right, g being rows row … row + many of some blocks of ga.

    first, blocks : which blocks of ga
    right : panels (width / 16, depth, 16), of which the rows from `skipped` on are taken
    """
    padded, panel = padded_to_tile(p.size), p.steps * p.batch * TILE_COLUMNS
    start = first * padded // TILE_COLUMNS * panel + row * TILE_COLUMNS
    for n in range(0, width, TILE_COLUMNS):
        gemm_rows(
            many, floats(p.ga), start, TILE_COLUMNS, 1, panel,
            right, n * depth + skipped * TILE_COLUMNS, TILE_COLUMNS, TILE_COLUMNS * TILE_COLUMNS,
            blocks * padded // TILE_COLUMNS, TILE_COLUMNS,
            out, place + n, width, min(TILE_COLUMNS, width - n), add,
        )  # fmt: skip


# ---- the way back -------------------------------------------------------------------------------


@helper
def operands(p: Any, t: int, b: int, before: Any, start: int) -> None:
    """Keep what sequence b multiplied its weights by at step t: x, and the state before[start:]."""
    row = t * p.batch + b
    place = t * p.step + b * p.sequence
    _row_of_panels(p, floats(p.x), place, p.inputs, floats(p.x_panels), row)
    _row_of_panels(p, before, start, p.size, floats(p.h_panels), row)


@helper
def _row_of_panels(p: Any, source: Any, i: int, size: int, panels: Any, row: int) -> None:
    """Put source[i : i + size] into a row of panels (size / 16, rows, 16), zeros behind it."""
    for n in range(0, size, TILE_COLUMNS):
        place = n * p.steps * p.batch + row * TILE_COLUMNS
        for half in range(0, TILE_COLUMNS, LANES):
            left = size - n - half
            v = take(source, i + n + half, left) if left > 0 else splat(np.float32(0))
            store(panels, place + half, v)


@helper
def rest(p: Any, blocks: int, t: int, b: int) -> None:
    """Let sequence b, which has ended, add nothing to any gradient. x may be NaN there."""
    row = t * p.batch + b
    _zero_in_panels(p, floats(p.ga), blocks * padded_to_tile(p.size), row)
    _zero_in_panels(p, floats(p.x_panels), p.inputs, row)
    _zero_in_panels(p, floats(p.h_panels), p.size, row)


@helper
def _zero_in_panels(p: Any, panels: Any, size: int, row: int) -> None:
    for n in range(0, size, TILE_COLUMNS):
        hold(panels, n * p.steps * p.batch + row * TILE_COLUMNS, TILE_COLUMNS)


def weight_gradient(task: int, room: int, args: int) -> None:
    """16 units: gw[k * size + unit] = the sum over rows of ga[order[k], row, unit] * right[row].

    `panels` is the right side, (columns / 16, rows, 16); gw (blocks * size, columns); gb, the sums
    of ga alone. Long sums are cut into pieces that stay in the cache, always in the same way.
    """
    p = layer(args)
    each, rows = padded_to_tile(p.size) // TILE_COLUMNS, p.steps * p.batch
    ga, right, gw = floats(p.ga), floats(p.panels), floats(p.gw)
    k, unit = task // each, task % each * TILE_COLUMNS
    panel = (integers(p.order)[k] * each + task % each) * rows
    place, lanes = k * p.size + unit, min(TILE_COLUMNS, p.size - unit)
    for start in range(0, rows, DEPTH):
        for n in range(0, p.columns, TILE_COLUMNS):
            gemm_rows(
                lanes, ga, (panel + start) * TILE_COLUMNS, 1, TILE_COLUMNS, 0,
                right, n * rows + start * TILE_COLUMNS, TILE_COLUMNS, 0,
                1, min(DEPTH, rows - start), gw, place * p.columns + n, p.columns,
                min(TILE_COLUMNS, p.columns - n), start > 0,
            )  # fmt: skip
    if p.gb:
        low = high = splat(np.float32(0))
        for row in range(rows):
            i = (panel + row) * TILE_COLUMNS
            low, high = low + load(ga, i), high + load(ga, i + LANES)
        give(floats(p.gb), place, low, lanes)
        if lanes > LANES:
            give(floats(p.gb), place + LANES, high, lanes - LANES)
