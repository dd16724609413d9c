"""What the compiled recurrent layers share: products, their operands, and where a state stands.

A task takes some of the sequences through all steps of a layer, and then of the layer that stands
on it, so threads need not wait for each other. In a kernel "row" t * B + b is sequence b at step t.

Units go by 16, the width of a tile. The rows of both weights that belong to 16 units of a gate,
packed, are a panel; a gate's last panel is filled up with zeros. Its product with x and h side by
side is a sum of each gate; those of all gates of 16 units are made in a row, and the gates follow
while the sums are in the first cache.

The gradients of the gates lie in panels, (gates * units / 16, rows, 16): in this shape they are the
left side of a product (for the gradients of x and h) and the transposed left side of another (for
those of the weights), and both read memory in order. A panel has an odd number of rows, so that
the same row of several panels is not at the same place of the first cache.
"""

from typing import Any, NamedTuple

import numpy as np

from minidl_kernels.cpu.compiling import helper
from minidl_kernels.cpu.gemm import TILE_COLUMNS, gemm_rows, pack_transposed
from minidl_kernels.cpu.launch import floats, integers, record
from minidl_kernels.cpu.simd import LANES, load, load_first, splat, store, store_first

__all__ = [
    "LAYER",
    "Layer",
    "at_rest",
    "before",
    "copy",
    "depth_of",
    "finish",
    "gate_sums",
    "give",
    "hold",
    "input_gradient",
    "is_first",
    "join",
    "keep_operands",
    "layer",
    "pack_backward",
    "pack_forward",
    "padded_to_tile",
    "part_of",
    "place_in_panels",
    "rest_backward",
    "state_gradient",
    "step_of",
    "take",
    "take_or_zero",
    "weight_gradient",
]

DEPTH = 512  # rows that a product for a weight's gradient takes at a time: two panels fit in L2


class Layer(NamedTuple):
    """A layer as the kernels see it: sizes, switches, and addresses of arrays, 0 for none."""

    layers: int = 0  # how many stand one on another; their records lie one behind another
    steps: int = 0
    batch: int = 0  # sequences
    inputs: int = 0
    size: int = 0  # of the state
    parts: int = 0  # in how many parts the sequences are taken
    shares: int = 0  # and what is done for each weight
    gates: int = 0  # how many blocks of `size` rows the weights have
    x: int = 0
    step: int = 0  # from one step of x to the next, and from one sequence, in numbers
    sequence: int = 0
    ends: int = 0  # (B,), how many steps each sequence has
    reverse: int = 0
    fresh: int = 0  # h0 is zeros: no products with it, and no gradient
    w_ih: int = 0
    w_hh: int = 0
    panels: int = 0  # the packed weights, of both
    h0: int = 0  # the states before the first step
    out: int = 0
    relu: int = 0
    b_ih: int = 0
    b_hh: int = 0
    c0: int = 0
    values: int = 0  # of the gates
    cells: int = 0
    h: int = 0  # (B, H), the states after the last step
    c: int = 0
    # For the way back.
    panels_ih: int = 0  # the packed weights
    panels_hh: int = 0
    g_out: int = 0
    gh: int = 0  # (B, H), the gradients of the states as they change
    gc: int = 0
    gx: int = 0
    rows: int = 0  # of the panels: of the gates' gradients, of x, and of the states before
    ga: int = 0
    x_panels: int = 0
    h_panels: int = 0
    last: int = 0  # which block of ga belongs to the last gate in w_ih; others are in order
    gw_ih: int = 0
    gw_hh: int = 0
    gb_ih: int = 0
    gb_hh: int = 0


_RECORD = np.dtype([(name, np.intp) for name in Layer._fields])
layer = record(_RECORD)
LAYER = _RECORD.itemsize  # the record of layer k is layer(args + k * LAYER)


@helper
def part_of(p: Any, task: int) -> Any:
    """The first sequence of a task, and the one after its last."""
    return share(p.batch, task, p.parts)


@helper
def share(count: int, task: int, parts: int) -> Any:
    """The first one of a task's share of so many, and the one after its last."""
    return count * task // parts, count * (task + 1) // parts


@helper
def padded_to_tile(n: int) -> int:
    """n rounded up to whole tiles of 16."""
    return (n + TILE_COLUMNS - 1) // TILE_COLUMNS * TILE_COLUMNS


@helper
def take(x: Any, i: int, n: int) -> Any:
    """x[i : i + 8], of which n count; zeros in the other lanes."""
    return load(x, i) if n >= LANES else load_first(x, i, n)


@helper
def take_or_zero(place: int, i: int, n: int) -> Any:
    """`take` from the array at an address, zeros if there is none."""
    return take(floats(place), i, n) if place else splat(np.float32(0))


@helper
def give(x: Any, i: int, v: Any, n: int) -> None:
    """x[i : i + n] = the first n lanes of v."""
    if n >= LANES:
        store(x, i, v)
    else:
        store_first(x, i, v, n)


# ---- weights, packed ----------------------------------------------------------------------------


def pack_forward(task: int, room: int, args: int) -> None:
    """A share of all weights as panels of the right side of [x h] @ [w_ih w_hh].T.

    A panel has 16 rows of a gate, turned: those of w_ih, and behind them those of w_hh.
    """
    for k in range(layer(args).layers):
        p = layer(args + k * LAYER)
        each = padded_to_tile(p.size) // TILE_COLUMNS
        low, high = share(p.gates * each, task, p.shares)
        for half in range(2 * low, 2 * high):
            panel, unit = half // 2, half // 2 % each * TILE_COLUMNS
            row, n = panel // each * p.size + unit, min(TILE_COLUMNS, p.size - unit)
            place = panel * TILE_COLUMNS * (p.inputs + p.size)
            w, columns = floats(p.w_ih), p.inputs
            if half % 2:
                place += columns * TILE_COLUMNS
                w, columns = floats(p.w_hh), p.size
            pack_transposed(w, row * columns, columns, columns, n, floats(p.panels), place)


def pack_backward(task: int, room: int, args: int) -> None:
    """A share of all weights as panels of the right side of g @ w: 16 columns of all gates.

    A gate is `padded` rows deep, the last of them zeros.
    """
    for place_ in range(layer(args).layers):
        p = layer(args + place_ * LAYER)
        padded = padded_to_tile(p.size)
        low, high = share(padded, task, p.shares)
        w, panels, columns = floats(p.w_hh), floats(p.panels_hh), p.size
        for _ in range(2 if p.gx else 1):
            for n in range(0, columns, TILE_COLUMNS):
                for gate in range(p.gates):
                    place = (n * p.gates + gate * TILE_COLUMNS) * padded
                    for k in range(low, high):
                        source = (gate * p.size + k) * columns + n
                        width = columns - n if k < p.size else 0
                        for half in range(0, TILE_COLUMNS, LANES):
                            v = take(w, source + half, width - half)
                            store(panels, place + k * TILE_COLUMNS + half, v)
            w, panels, columns = floats(p.w_ih), floats(p.panels_ih), p.inputs


# ---- forward ------------------------------------------------------------------------------------


@helper
def step_of(p: Any, s: int) -> int:
    """The step that is the s-th to be taken."""
    return p.steps - 1 - s if p.reverse else s


@helper
def depth_of(p: Any, s: int) -> int:
    """How much of the state counts at the s-th step: nothing of it at the first, if it is zeros."""
    return p.size if s > 0 or not p.fresh else 0


@helper
def before(p: Any, first: bool, row: int, state: Any, b: int, states: Any) -> Any:
    """Where the state before a row stands, an array and a place in it: at `first` in state[b]."""
    if first:
        return state, b * p.size
    return states, (row + p.batch if p.reverse else row - p.batch) * p.size


@helper
def at_rest(p: Any, t: int, b: int) -> bool:
    """Whether sequence b has no step t."""
    return p.ends != 0 and t >= integers(p.ends)[b]


@helper
def join(p: Any, t: int, low: int, high: int, h: Any, start: int, joined: Any) -> None:
    """joined[b - low] = [x[t, b] h[b]]; h[b] begins at h[start + b * H]."""
    for b in range(low, high):
        place, source = (b - low) * (p.inputs + p.size), t * p.step + b * p.sequence
        copy(floats(p.x), source, p.inputs, joined, place)
        copy(h, start + b * p.size, p.size, joined, place + p.inputs)


@helper
def gate_sums(
    p: Any, gate: int, u: int, many: int, joined: Any, first: int, depth: int,
    out: Any, place: int, row_size: int,
) -> None:  # fmt: skip
    """The sums of a gate for 16 units from u on and `many` sequences, to out[place:], row by row.

    joined : x and h of each sequence, of which those from `first` on are taken, `depth` in number
    """
    width = p.inputs + p.size
    panel = (gate * padded_to_tile(p.size) + u) * width
    gemm_rows(
        many, joined, first, width, 1, 0,
        floats(p.panels), panel + first * TILE_COLUMNS, TILE_COLUMNS, 0, 1, depth,
        out, place, row_size, min(TILE_COLUMNS, p.size - u), False,
    )  # fmt: skip


@helper
def finish(p: Any, states: Any, last: Any, low: int, high: int) -> None:
    """Keep the states after the last step taken, and put zeros where a sequence was at rest."""
    size, row = p.size, 0 if p.reverse else (p.steps - 1) * p.batch
    copy(states, (row + low) * size, (high - low) * size, last, low * size)
    for t in range(p.steps):
        for b in range(low, high):
            if at_rest(p, t, b):
                hold(states, (t * p.batch + b) * size, size)


@helper
def copy(x: Any, i: int, n: int, y: Any, j: int) -> None:
    """y[j : j + n] = x[i : i + n]."""
    for k in range(0, n, LANES):
        give(y, j + k, take(x, i + k, n - k), n - k)


@helper
def hold(x: Any, i: int, n: int) -> None:
    """x[i : i + n] = 0."""
    for k in range(n):
        x[i + k] = 0


# ---- the way back -------------------------------------------------------------------------------


@helper
def is_first(p: Any, t: int, b: int) -> bool:
    """Whether sequence b takes step t before all others."""
    return t + 1 == p.steps or at_rest(p, t + 1, b) if p.reverse else t == 0


@helper
def keep_operands(p: Any, t: int, b: int, h: Any, start: int) -> None:
    """Keep what sequence b multiplied its weights by at step t: x, and the state h[start:]."""
    row = t * p.batch + b
    place = t * p.step + b * p.sequence
    _row_of_panels(p, floats(p.x), place, p.inputs, floats(p.x_panels), row)
    _row_of_panels(p, h, start, p.size, floats(p.h_panels), row)


@helper
def place_in_panels(p: Any, row: int, unit: int) -> int:
    """Where a row's number for a unit stands in panels."""
    return (unit // TILE_COLUMNS * p.rows + row) * TILE_COLUMNS + unit % TILE_COLUMNS


@helper
def _row_of_panels(p: Any, source: Any, i: int, size: int, panels: Any, row: int) -> None:
    """Put source[i : i + size] into a row of panels (size / 16, rows, 16), zeros behind it."""
    for n in range(0, size, TILE_COLUMNS):
        for half in range(0, TILE_COLUMNS, LANES):
            left = size - n - half
            v = take(source, i + n + half, left) if left > 0 else splat(np.float32(0))
            store(panels, place_in_panels(p, row, n + half), v)


@helper
def rest_backward(p: Any, blocks: int, t: int, b: int) -> None:
    """Let sequence b, which has no step t, add nothing to any gradient. x may be NaN there."""
    row = t * p.batch + b
    _zero_in_panels(p, floats(p.ga), blocks * padded_to_tile(p.size), row)
    _zero_in_panels(p, floats(p.x_panels), p.inputs, row)
    _zero_in_panels(p, floats(p.h_panels), p.size, row)


@helper
def _zero_in_panels(p: Any, panels: Any, size: int, row: int) -> None:
    for n in range(0, size, TILE_COLUMNS):
        hold(panels, place_in_panels(p, row, n), TILE_COLUMNS)


@helper
def state_gradient(p: Any, s: int, low: int, high: int) -> None:
    """gh += ga[t] @ w_hh, t being the s-th step; not behind the first, if nobody asks for h0's."""
    row, size = step_of(p, s) * p.batch + low, p.size
    if s > 0 or not p.fresh:
        _product_of_panels(p, row, high - low, 0, p.gates, floats(p.panels_hh), 0,
                           floats(p.gh), low * size, size, True)  # fmt: skip


@helper
def input_gradient(p: Any, low: int, high: int) -> None:
    """gx[t] = ga[t] @ w_ih for every t, if it is asked for."""
    if not p.gx:
        return
    right, gx, n = floats(p.panels_ih), floats(p.gx), p.inputs
    # For a GRU the last gate's is another block: 2 + 1 and not 3.
    many = p.gates if p.last == p.gates - 1 else p.gates - 1
    for t in range(p.steps):
        row = t * p.batch + low
        _product_of_panels(p, row, high - low, 0, many, right, 0, gx, row * n, n, False)
        if many < p.gates:
            _product_of_panels(p, row, high - low, p.last, 1, right, many, gx, row * n, n, True)


@helper
def _product_of_panels(
    p: Any, row: int, many: int, first: int, blocks: int,
    right: Any, skipped: int, out: Any, place: int, width: int, add: bool,
) -> None:  # fmt: skip
    """out (many, width) (+)= g @ right, g being rows row … row + many of some blocks of ga.

    first, blocks : which blocks of ga
    right : panels (width / 16, gates * padded, 16), of which `skipped` gates are left out
    """
    padded, panel = padded_to_tile(p.size), p.rows * TILE_COLUMNS
    start = first * padded // TILE_COLUMNS * panel + row * TILE_COLUMNS
    for n in range(0, width, TILE_COLUMNS):
        gemm_rows(
            many, floats(p.ga), start, TILE_COLUMNS, 1, panel,
            right, (n * p.gates + skipped * TILE_COLUMNS) * padded,
            TILE_COLUMNS, TILE_COLUMNS * TILE_COLUMNS,
            blocks * padded // TILE_COLUMNS, TILE_COLUMNS,
            out, place + n, width, min(TILE_COLUMNS, width - n), add,
        )  # fmt: skip


def weight_gradient(task: int, room: int, args: int) -> None:
    """A share of the gradients of all weights and biases: rows for 16 units of a gate at a time.

    A row is the sum over all rows of panels of ga[row, unit] * x[row], or * the state before. A
    bias has the sums of ga alone.
    """
    for k in range(layer(args).layers):
        p = layer(args + k * LAYER)
        each = padded_to_tile(p.size) // TILE_COLUMNS
        # The first step's states, where they are zeros. (In reverse they are not the first rows.)
        first = p.batch if p.fresh and not p.reverse else 0
        low, high = share(p.gates * each, task, p.shares)
        for panel in range(low, high):
            gate, unit = panel // each, panel % each * TILE_COLUMNS
            block = p.last if gate == p.gates - 1 else gate
            place, lanes = gate * p.size + unit, min(TILE_COLUMNS, p.size - unit)
            ih = (block * each + panel % each) * p.rows * TILE_COLUMNS
            hh = panel * p.rows * TILE_COLUMNS
            _sum_of_products(p, ih, lanes, floats(p.x_panels), p.inputs, floats(p.gw_ih), place, 0)
            _sum_of_products(
                p, hh, lanes, floats(p.h_panels), p.size, floats(p.gw_hh), place, first
            )
            _sum_of_rows(p, ih, lanes, floats(p.gb_ih), place)
            if p.gb_hh:
                _sum_of_rows(p, hh, lanes, floats(p.gb_hh), place)


@helper
def _sum_of_products(
    p: Any, panel: int, lanes: int, right: Any, columns: int, gw: Any, place: int, first: int
) -> None:
    """gw[place : place + lanes] = the transpose of a panel of ga @ right (columns / 16, rows, 16).

    Rows before the first are left out. Long sums are cut into pieces that stay in the cache, always
    in the same way.
    """
    rows = p.steps * p.batch
    for start in range(first, max(rows, first + 1), DEPTH):
        for n in range(0, columns, TILE_COLUMNS):
            gemm_rows(
                lanes, floats(p.ga), panel + start * TILE_COLUMNS, 1, TILE_COLUMNS, 0,
                right, n * p.rows + start * TILE_COLUMNS, TILE_COLUMNS, 0,
                1, min(DEPTH, rows - start), gw, place * columns + n, columns,
                min(TILE_COLUMNS, columns - n), start > first,
            )  # fmt: skip


@helper
def _sum_of_rows(p: Any, panel: int, lanes: int, gb: Any, place: int) -> None:
    """gb[place : place + lanes] = the sum of the rows of a panel of ga."""
    ga = floats(p.ga)
    low = high = splat(np.float32(0))
    for i in range(panel, panel + p.steps * p.batch * TILE_COLUMNS, TILE_COLUMNS):
        low, high = low + load(ga, i), high + load(ga, i + LANES)
    give(gb, place, low, lanes)
    if lanes > LANES:
        give(gb, place + LANES, high, lanes - LANES)
