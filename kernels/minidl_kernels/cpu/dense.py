"""Dense layers of NumPy arrays from register tiles, in float32. Defined in `reference`.

Forward, y (M, N) = f(x (M, K) @ w.T + bias), is made transposed: rows of w are the left side of the
tile, read where they are, and 16 rows of x, packed, the right side. So the weights, the larger of
the two in training, are never copied, nor rounded up to a multiple of 16 rows. A task takes the
sums of some rows by some columns, in memory of its own that stays in the cache, and then writes
y: bias and activation cost no pass over memory. Where x has too few rows to be worth packing,
inner products are taken along K.

Backward, the gradient is first multiplied by f' and summed for the bias. Then both products are
cut into blocks, which are the tasks of one launch, and are alike: of

    gx (M, K) = s (M, N) @ w (N, K)        gw (N, K) = s.T (N, M) @ x (M, K)

the right sides lie row by row as the tile reads them. They are packed where they are used often.

Each sum runs in the order of its index, whatever the number of threads.
"""

import functools
from typing import Any, NamedTuple

import numpy as np

from minidl_kernels.cpu import threads
from minidl_kernels.cpu.compiling import helper
from minidl_kernels.cpu.gemm import TILE_COLUMNS, gemm_rows, pack, pack_transposed
from minidl_kernels.cpu.launch import floats, launch, record
from minidl_kernels.cpu.memory import address, contiguous
from minidl_kernels.cpu.simd import (
    LANES,
    fma,
    load,
    load_first,
    maximum,
    sigmoid,
    splat,
    store,
    store_first,
    tanh,
    total,
    transpose,
    where_greater,
)
from minidl_kernels.generic import dense as generic

__all__ = ["linear", "linear_gradient", "warm_up"]

ACTIVATIONS = {None: 0, "relu": 1, "sigmoid": 2, "tanh": 3}
DEPTH = 256  # of a sum at a time: a panel of 256 x 16 stays in the first cache
FEW = 7  # rows of x that are not worth packing
ROWS, COLUMNS = 64, 256  # of y that a task makes at most: its sums and its x fit in L2
BLOCK_ROWS, BLOCK_COLUMNS = 192, 128  # of a gradient
STEP = 200  # between rows of a copy: more than BLOCK_ROWS, and no power of two
LONG = 64  # terms of a sum over rows of g, from which on a block of them is copied
SMALL = 1 << 17  # multiplications below which one thread is faster than the start of two


class _Layer(NamedTuple):
    """A layer as the kernels see it: sizes, and addresses of matrices with the step of a row."""

    m: int
    n: int
    k: int
    x: int
    xm: int
    w: int
    wn: int
    wk: int
    y: int
    activation: int
    workers: int  # a launch's tasks, which share the blocks
    blocks: int  # of y, or of gx and gw together
    columns: int  # of a block
    rows: int  # of a block of y, or of gx
    w_rows: int = 0  # of a block of gw, or of its transpose
    w_columns: int = 0
    inputs: int = 0  # how many of the blocks are of gx
    bias: int = 0
    g: int = 0
    gn: int = 0
    s: int = 0  # g * f'
    sn: int = 0
    gx: int = 0
    gw: int = 0
    gbias: int = 0


_RECORD = np.dtype([(name, np.intp) for name in _Layer._fields])
_layer = record(_RECORD)


def _rows_of(x: Any) -> tuple[Any, int]:
    """A matrix whose rows lie in order, and the distance of two rows; a copy where they do not."""
    row, item = x.strides
    if item != x.itemsize or row < 0 or row % item or not x.flags.aligned:
        x = contiguous(x)
        row, item = x.strides[0], x.itemsize
    return x, row // item


def _matrix(w: Any) -> tuple[Any, int, int]:
    """A matrix that lies row by row or column by column, and both its steps; a copy of another."""
    item = w.itemsize
    rows, columns = w.strides
    lies = item in (rows, columns) and min(rows, columns) >= 0
    if not lies or rows % item or columns % item or not w.flags.aligned:
        w = contiguous(w)
        rows, columns = w.strides
    if w.shape[1] == 1:
        columns = item
    return w, rows // item, columns // item


def _pieces(size: int, most: int, unit: int, wanted: int = 1) -> int:
    """The length of pieces of at most `most`, a multiple of `unit`; `wanted` of them if it can."""
    count = max(-(-size // most), min(wanted, -(-size // unit)))
    return -(-size // (count * unit)) * unit


def linear(x: Any, w: Any, bias: Any, activation: str | None) -> Any:
    """See `minidl_kernels.reference.dense.linear`, the definition."""
    (m, k), n = x.shape, w.shape[0]
    if x.dtype != np.float32 or 0 in (m, n, k):
        return generic.linear(x, w, bias, activation)
    (x, xm), (w, wn, wk) = _rows_of(x), _matrix(w)
    bias = None if bias is None else contiguous(bias)
    y = np.empty((m, n), np.float32)
    few = m <= FEW and wk == 1
    workers, rows, columns, blocks = _cut(m, n, k, few, threads.count)
    layer = _Layer(
        m, n, k, address(x), xm, address(w), wn, wk, address(y), ACTIVATIONS[activation], workers,
        blocks, columns, rows, bias=0 if bias is None else address(bias),
    )  # fmt: skip
    if few:
        launch(_few_rows, workers, layer, 0, workers == 1)
    else:
        room = rows * (DEPTH + columns) + LANES * LANES
        launch(_forward, workers, layer, room, workers == 1)
    return y


def linear_gradient(
    g: Any,
    x: Any,
    w: Any,
    out: Any,
    activation: str | None,
    of_x: bool = True,
    of_w: bool = True,
    of_bias: bool = True,
) -> tuple[Any, Any, Any]:
    """See `minidl_kernels.reference.dense.linear_gradient`, the definition."""
    (m, n), k = g.shape, x.shape[1]
    if g.dtype != np.float32 or 0 in (m, n, k):
        return generic.linear_gradient(g, x, w, out, activation, of_x, of_w, of_bias)
    (g, gn), (x, xm), (w, wn, wk) = _rows_of(g), _rows_of(x), _matrix(w)
    gx = np.empty((m, k), np.float32) if of_x else None
    turned = wk != 1  # then gw lies as w does
    gw: Any = np.empty((k, n) if turned else (n, k), np.float32) if of_w else None
    gbias = np.empty(n, np.float32) if of_bias else None
    s, sn = g, gn
    if activation is not None or (gn % 64 == 0 and m > LANES):
        sn = -(-n // 16) * 16 + 16  # rows that do not begin at the same place in a cache
        s = np.empty((m, sn), np.float32)
    out = g if activation is None else contiguous(out)
    workers, blocks, columns, rows, w_rows, w_columns, inputs = _cut_gradient(
        m, n, k, turned, of_x, of_w, threads.count
    )
    layer = _Layer(
        m, n, k, address(x), xm, address(w), wn, wk, address(out), ACTIVATIONS[activation], workers,
        blocks, columns, rows, w_rows, w_columns, inputs, 0, address(g), gn, address(s), sn,
        address(gx) if of_x else 0, address(gw) if of_w else 0, address(gbias) if of_bias else 0,
    )  # fmt: skip
    if workers > 1 and (s is not g or of_bias):
        launch(_scale, -(-n // COLUMNS), layer, 0, m * n < threads.SMALL)
    room = DEPTH * (BLOCK_COLUMNS + TILE_COLUMNS + STEP)
    launch(_gradient, workers, layer, room, workers == 1)
    return gx, gw.T if turned and of_w else gw, gbias


@functools.lru_cache(512)
def _cut(m: int, n: int, k: int, few: bool, count: int) -> tuple[int, ...]:
    """How many threads make y, the rows and columns of their blocks, and how many blocks."""
    workers = 1 if m * n * k < SMALL else count
    rows = m if few else _pieces(m, ROWS, TILE_COLUMNS, workers)
    down = -(-m // rows)
    columns = _pieces(n, COLUMNS, LANES * 3, -(-workers // down))
    return workers, rows, columns, down * -(-n // columns)


@functools.lru_cache(512)
def _cut_gradient(
    m: int, n: int, k: int, turned: bool, of_x: bool, of_w: bool, count: int
) -> tuple[int, ...]:
    """How many threads make the gradients, and what `_Layer` says of the blocks."""
    workers = 1 if m * n * k < SMALL else count
    rows, columns = _pieces(m, BLOCK_ROWS, 6), _pieces(k, BLOCK_COLUMNS, TILE_COLUMNS, workers)
    down, across = (k, n) if turned else (n, k)
    w_rows = _pieces(down, BLOCK_ROWS, 6)
    w_columns = _pieces(across, BLOCK_COLUMNS, TILE_COLUMNS, workers)
    inputs = -(-m // rows) * -(-k // columns) if of_x else 0
    blocks = inputs + (-(-down // w_rows) * -(-across // w_columns) if of_w else 0)
    return workers, blocks, columns, rows, w_rows, w_columns, inputs


# ---- forward ------------------------------------------------------------------------------------


@helper
def _activated(v: Any, f: int) -> Any:
    """A vector after the activation of this number."""
    if f == 1:
        v = maximum(v, splat(np.float32(0)))
    elif f == 2:
        v = sigmoid(v)
    elif f == 3:
        v = tanh(v)
    return v


@helper
def _give(x: Any, i: int, v: Any, n: int) -> None:
    """x[i : i + n] = the first n lanes of v."""
    if n >= LANES:
        store(x, i, v)
    else:
        store_first(x, i, v, n)


def _forward(task: int, room: int, args: int) -> None:
    """A worker's blocks of y, each from 16 rows of x at a time."""
    p = _layer(args)
    x, w = floats(p.x), floats(p.w)
    panels, sums = floats(room), floats(room + p.rows * DEPTH * 4)
    across = -(-p.n // p.columns)
    for block in range(task, p.blocks, p.workers):
        row, column = block // across * p.rows, block % across * p.columns
        rows, columns = min(p.rows, p.m - row), min(p.columns, p.n - column)
        for k in range(0, p.k, DEPTH):
            depth = min(DEPTH, p.k - k)
            pack_transposed(x, row * p.xm + k, p.xm, depth, rows, panels, 0)
            for first in range(0, rows, TILE_COLUMNS):
                width = TILE_COLUMNS if rows - first > LANES else LANES
                gemm_rows(
                    columns, w, column * p.wn + k * p.wk, p.wn, p.wk, 0,
                    panels, first * depth, TILE_COLUMNS, 0, 1, depth,
                    sums, first * p.columns, TILE_COLUMNS, width, k > 0,
                )  # fmt: skip
        for first in range(0, rows, TILE_COLUMNS):
            many = min(TILE_COLUMNS, rows - first)
            _finish(p, sums, first * p.columns, row + first, many, column, columns)


@helper
def _finish(
    p: Any, sums: Any, start: int, row: int, many: int, column: int, columns: int
) -> None:  # fmt: skip
    """Sums (columns, 16), the transpose of a piece of y, get bias and activation and become it."""
    y, corner = floats(p.y), p.rows * p.columns
    for n in range(0, columns, LANES):
        width = min(LANES, columns - n)
        for half in range(0, many, LANES):
            at = start + n * TILE_COLUMNS + half
            if p.bias or p.activation:
                for j in range(width):
                    v = load(sums, at + j * TILE_COLUMNS)
                    if p.bias:
                        v = v + splat(floats(p.bias)[column + n + j])
                    store(sums, at + j * TILE_COLUMNS, _activated(v, p.activation))
            place = (row + half) * p.n + column + n
            if width == LANES and many - half >= LANES:
                transpose(sums, at, TILE_COLUMNS, y, place, p.n)
            else:  # there is room behind the sums for what is read here in vain
                transpose(sums, at, TILE_COLUMNS, sums, corner, LANES)
                for i in range(min(LANES, many - half)):
                    _give(y, place + i * p.n, load(sums, corner + i * LANES), width)


def _few_rows(task: int, room: int, args: int) -> None:
    """A worker's blocks of columns of y, for few rows: inner products along K."""
    p = _layer(args)
    y = floats(p.y)
    for block in range(task, p.blocks, p.workers):
        column = block * p.columns
        end = min(column + p.columns, p.n)
        for n in range(column, end, 4):
            if end - n < 4:
                for j in range(n, end):
                    for m in range(p.m):
                        y[m * p.n + j] = _inner(p, m, j)
                continue
            for m in range(0, p.m - 1, 2):
                _inner_two(p, m, n)
            if p.m % 2:
                _inner_four(p, p.m - 1, n)
        if p.bias or p.activation:
            for m in range(p.m):
                for n in range(column, end, LANES):
                    i, left = m * p.n + n, end - n
                    v = load(y, i) if left >= LANES else load_first(y, i, left)
                    if p.bias:
                        b = floats(p.bias)
                        v = v + (load(b, n) if left >= LANES else load_first(b, n, left))
                    _give(y, i, _activated(v, p.activation), left)


@helper
def _inner(p: Any, m: int, n: int) -> Any:
    """The inner product of a row of x and one of w."""
    x, w, i, j = floats(p.x), floats(p.w), m * p.xm, n * p.wn
    s = splat(np.float32(0))
    whole = p.k - p.k % LANES
    for k in range(0, whole, LANES):
        s = fma(load(x, i + k), load(w, j + k), s)
    if whole < p.k:
        left = p.k - whole
        s = fma(load_first(x, i + whole, left), load_first(w, j + whole, left), s)
    return total(s)


@helper
def _inner_four(p: Any, m: int, n: int) -> None:
    """`_inner` of a row of x and four of w, which are read together."""
    x, w, y = floats(p.x), floats(p.w), floats(p.y)
    i, j0 = m * p.xm, n * p.wn
    j1, j2, j3 = j0 + p.wn, j0 + 2 * p.wn, j0 + 3 * p.wn
    s0 = s1 = s2 = s3 = splat(np.float32(0))
    whole = p.k - p.k % LANES
    for k in range(0, whole, LANES):
        v = load(x, i + k)
        s0, s1 = fma(v, load(w, j0 + k), s0), fma(v, load(w, j1 + k), s1)
        s2, s3 = fma(v, load(w, j2 + k), s2), fma(v, load(w, j3 + k), s3)
    if whole < p.k:
        k, left = whole, p.k - whole
        v = load_first(x, i + k, left)
        s0, s1 = fma(v, load_first(w, j0 + k, left), s0), fma(v, load_first(w, j1 + k, left), s1)
        s2, s3 = fma(v, load_first(w, j2 + k, left), s2), fma(v, load_first(w, j3 + k, left), s3)
    at = m * p.n + n
    y[at], y[at + 1], y[at + 2], y[at + 3] = total(s0), total(s1), total(s2), total(s3)


@helper
def _inner_two(p: Any, m: int, n: int) -> None:
    """`_inner_four` for two rows of x: eight sums, so many as keep both units busy."""
    x, w, y = floats(p.x), floats(p.w), floats(p.y)
    i, i1, j0 = m * p.xm, (m + 1) * p.xm, n * p.wn
    j1, j2, j3 = j0 + p.wn, j0 + 2 * p.wn, j0 + 3 * p.wn
    s0 = s1 = s2 = s3 = t0 = t1 = t2 = t3 = splat(np.float32(0))
    whole = p.k - p.k % LANES
    for k in range(0, whole, LANES):
        v, u = load(x, i + k), load(x, i1 + k)
        a, b, c, d = load(w, j0 + k), load(w, j1 + k), load(w, j2 + k), load(w, j3 + k)
        s0, s1, s2, s3 = fma(v, a, s0), fma(v, b, s1), fma(v, c, s2), fma(v, d, s3)
        t0, t1, t2, t3 = fma(u, a, t0), fma(u, b, t1), fma(u, c, t2), fma(u, d, t3)
    if whole < p.k:
        k, left = whole, p.k - whole
        v, u = load_first(x, i + k, left), load_first(x, i1 + k, left)
        a, b = load_first(w, j0 + k, left), load_first(w, j1 + k, left)
        c, d = load_first(w, j2 + k, left), load_first(w, j3 + k, left)
        s0, s1, s2, s3 = fma(v, a, s0), fma(v, b, s1), fma(v, c, s2), fma(v, d, s3)
        t0, t1, t2, t3 = fma(u, a, t0), fma(u, b, t1), fma(u, c, t2), fma(u, d, t3)
    at = m * p.n + n
    y[at], y[at + 1], y[at + 2], y[at + 3] = total(s0), total(s1), total(s2), total(s3)
    at += p.n
    y[at], y[at + 1], y[at + 2], y[at + 3] = total(t0), total(t1), total(t2), total(t3)


# ---- backward -----------------------------------------------------------------------------------


@helper
def _scaled(g: Any, out: Any, f: int) -> Any:
    """g times the derivative of an activation whose result is `out`."""
    one = splat(np.float32(1))
    if f == 1:  # 0 where out <= 0, and g where it is NaN
        zero = splat(np.float32(0))
        g = where_greater(out, zero, g, where_greater(one, out, zero, g))
    elif f == 2:
        g = g * (out * (one - out))
    elif f == 3:
        g = g * (one - out * out)
    return g


def _scale(task: int, room: int, args: int) -> None:
    """Some columns of s, and their sums, where several threads share them."""
    _scale_columns(_layer(args), task)


@helper
def _scale_columns(p: Any, task: int) -> None:
    """Some columns of s = g * f', and their sums, which are the gradient of the bias."""
    g, out, s, gbias = floats(p.g), floats(p.y), floats(p.s), floats(p.gbias)
    first, end = task * COLUMNS, min(p.n, (task + 1) * COLUMNS)
    whole, zero = end - (end - first) % LANES, splat(np.float32(0))
    if p.gbias:
        for n in range(first, end, LANES):
            _give(gbias, n, zero, end - n)
    for m in range(p.m):
        for n in range(first, whole, LANES):
            v = load(g, m * p.gn + n)
            if p.activation:
                v = _scaled(v, load(out, m * p.n + n), p.activation)
            if p.s != p.g:
                store(s, m * p.sn + n, v)
            if p.gbias:
                store(gbias, n, load(gbias, n) + v)
        left = end - whole
        if left:
            v = load_first(g, m * p.gn + whole, left)
            if p.activation:
                v = _scaled(v, load_first(out, m * p.n + whole, left), p.activation)
            if p.s != p.g:
                store_first(s, m * p.sn + whole, v, left)
            if p.gbias:
                store_first(gbias, whole, load_first(gbias, whole, left) + v, left)


def _gradient(task: int, room: int, args: int) -> None:
    """A worker's blocks of gx and of gw."""
    p = _layer(args)
    if p.workers == 1 and (p.s != p.g or p.gbias):
        for part in range(-(-p.n // COLUMNS)):
            _scale_columns(p, part)
    x, w, s, gx, gw = floats(p.x), floats(p.w), floats(p.s), floats(p.gx), floats(p.gw)
    down, across = (p.n, p.k) if p.wk == 1 else (p.k, p.n)
    for block in range(task, p.blocks, p.workers):
        if block < p.inputs:
            row, column = _corner(block, p.k, p.rows, p.columns)
            rows, columns = min(p.rows, p.m - row), min(p.columns, p.k - column)
            _product(
                rows, s, row * p.sn, p.sn, 1, columns, w, column * p.wk, p.wn, p.wk, p.n,
                gx, row * p.k + column, p.k, floats(room),
            )  # fmt: skip
            continue
        row, column = _corner(block - p.inputs, across, p.w_rows, p.w_columns)
        rows, columns = min(p.w_rows, down - row), min(p.w_columns, across - column)
        place = row * across + column
        if p.wk == 1:
            _product(
                rows, s, row, 1, p.sn, columns, x, column, p.xm, 1, p.m,
                gw, place, across, floats(room),
            )  # fmt: skip
        else:
            _product(
                rows, x, row, 1, p.xm, columns, s, column, p.sn, 1, p.m,
                gw, place, across, floats(room),
            )  # fmt: skip


@helper
def _corner(block: int, width: int, rows: int, columns: int) -> Any:
    """The first row and column of a block of a matrix of this width."""
    across = -(-width // columns)
    return block // across * rows, block % across * columns


@helper
def _product(
    rows: int, a: Any, a0: int, am: int, ak: int,
    columns: int, b: Any, b0: int, bk: int, bn: int, depth: int,
    c: Any, c0: int, cm: int, room: Any,
) -> None:  # fmt: skip
    """C (rows, columns) = A (rows, depth) @ B (depth, columns); bk or bn, a step of B, is 1."""
    copied = am == 1 and depth > LONG
    copy = columns * DEPTH + DEPTH * TILE_COLUMNS  # where it lies in the room
    for k in range(0, depth, DEPTH):
        steps = min(DEPTH, depth - k)
        first = a0 + k * ak
        if bn == 1:
            _pack_rows(b, b0 + k * bk, bk, steps, columns, room)
        else:
            pack_transposed(b, b0 + k * bk, bn, steps, columns, room, 0)
        if copied:
            _copy_rows(a, first, ak, steps, rows, room, copy)
        for n in range(0, columns, TILE_COLUMNS):
            width = min(TILE_COLUMNS, columns - n)
            if copied:
                gemm_rows(
                    rows, room, copy, 1, STEP, 0, room, n * steps, TILE_COLUMNS, 0, 1, steps,
                    c, c0 + n, cm, width, k > 0,
                )  # fmt: skip
            else:
                gemm_rows(
                    rows, a, first, am, ak, 0, room, n * steps, TILE_COLUMNS, 0, 1, steps,
                    c, c0 + n, cm, width, k > 0,
                )  # fmt: skip


@helper
def _pack_rows(b: Any, b0: int, bk: int, steps: int, columns: int, panels: Any) -> None:
    """`gemm.pack`, but row by row: memory that is far away is read in order."""
    whole = columns - columns % TILE_COLUMNS
    for k in range(steps):
        source = b0 + k * bk
        for n in range(0, whole, TILE_COLUMNS):
            place = n * steps + k * TILE_COLUMNS
            store(panels, place, load(b, source + n))
            store(panels, place + LANES, load(b, source + n + LANES))
    if whole < columns:
        pack(b, b0 + whole, bk, steps, columns - whole, panels, whole * steps)


@helper
def _copy_rows(a: Any, a0: int, ak: int, steps: int, width: int, room: Any, start: int) -> None:
    """Rows of `width` numbers of A, next to each other with steps of STEP."""
    whole = width - width % LANES
    for k in range(steps):
        source, place = a0 + k * ak, start + k * STEP
        for m in range(0, whole, LANES):
            store(room, place + m, load(a, source + m))
        if whole < width:
            store(room, place + whole, load_first(a, source + whole, width - whole))


def warm_up(dtype: str) -> None:
    """Call each kernel once."""
    for m, n in ((1, 1), (FEW + 1, 1), (64, 64)):  # the last for several threads
        x, w = np.zeros((m, 64), dtype), np.zeros((n, 64), dtype)
        y = linear(x, w, None, "relu")
        linear_gradient(y, x, w, y, "relu")
