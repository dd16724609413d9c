"""Dense layers of NumPy arrays from register tiles, in float32. Defined in `reference`.

Forward, y (M, N) = f(x (M, K) @ w.T + bias), is made transposed, y.T = w @ x.T: rows of w are the
left side of the tile, read where they are, and 16 rows of x, packed, the right side. So the
weights, the larger of the two in training, are never copied, nor rounded up to a multiple of 16
rows. The sums of a block are in memory of its own, that stays in the cache, until y is written:
bias and activation cost no pass over memory. Where x has too few rows to be worth packing, weights
are read once, in order (`few`).

Backward, the gradient is first multiplied by f' and summed for the bias. Then the blocks of both
products are shared in one launch:

    gx (M, K) = s (M, N) @ w (N, K)        gw (N, K) = s.T (N, M) @ x (M, K)

A thread keeps to its rows of w, forward, in gw, and in the optimiser's step (`updates` cuts arrays
the same way): they stay in its core's own cache. What one core wrote and another wants takes
longer than the arithmetic: of 784 to 64 and back, 32 rows, Adam's step took 64 us, and now 42.

Each sum runs in the order of its index, whatever the number of threads.
"""

from typing import Any

import numpy as np

from minidl_kernels.cpu import threads
from minidl_kernels.cpu.blocks import (
    GROUP,
    ITEM,
    PRODUCT,
    ROOM,
    ROWS,
    SMALL,
    block_of,
    cut,
    matrix,
    multiply,
    product,
)
from minidl_kernels.cpu.compiling import helper
from minidl_kernels.cpu.few import FEW, few_rows
from minidl_kernels.cpu.launch import floats, launch, record
from minidl_kernels.cpu.memory import FLOAT, address, contiguous
from minidl_kernels.cpu.simd import (
    LANES,
    load,
    load_first,
    maximum,
    sigmoid,
    splat,
    store,
    store_first,
    tanh,
    transpose,
    where_greater,
)
from minidl_kernels.generic import dense as generic

__all__ = ["linear", "linear_gradient", "warm_up"]

ACTIVATIONS = {None: 0, "relu": 1, "sigmoid": 2, "tanh": 3}
OWN = 1 << 16  # numbers of s that every thread computes for itself: cheaper than to wait for others
SUMS = ROWS * GROUP + LANES * LANES  # of a block of y, and a corner to turn its last piece in
WORD = np.dtype(np.intp).itemsize

# y.T = w @ x.T as a product, and what becomes of the sums.
_FORWARD = (*PRODUCT, "bias", "activation", "workers", "blocks")
# gx and gw as products (gw.T, where w lies column by column), and what comes before them.
_BACKWARD = (
    *[f"x_{name}" for name in PRODUCT],
    *[f"w_{name}" for name in PRODUCT],
    *("m", "n", "g", "gn", "out", "activation", "s", "sn", "gbias"),
    *("turned", "workers", "inputs", "blocks"),
)
_forward_record = record(np.dtype([(name, np.intp) for name in _FORWARD]))
_backward_record = record(np.dtype([(name, np.intp) for name in _BACKWARD]))


def _rows_of(x: Any) -> tuple[Any, int]:
    """A matrix whose rows lie in order, and the distance of two rows; a copy where they do not."""
    row, item = x.strides
    if item != x.itemsize or row < 0 or row % item or not x.flags.aligned:
        x = contiguous(x)
        row, item = x.strides[0], x.itemsize
    return x, row // item


def linear(x: Any, w: Any, bias: Any, activation: str | None) -> Any:
    """See `minidl_kernels.reference.dense.linear`, the definition."""
    (m, k), n = x.shape, w.shape[0]
    if x.dtype is not FLOAT or not m * n * k:
        return generic.linear(x, w, bias, activation)
    (x, xm), (w, wn, wk) = _rows_of(x), matrix(w)
    bias = None if bias is None else contiguous(bias)
    y = np.empty((m, n), FLOAT)
    workers = 1 if m * n * k < SMALL else threads.count
    few = m <= FEW
    rows, columns, blocks = cut(n, 1 if few else m, workers, ROWS, GROUP, m <= n)
    args = (
        n, m, k, address(w), wn, wk, address(x), 1, xm, address(y), rows, columns,
        0 if bias is None else address(bias), ACTIVATIONS[activation], workers, blocks,
    )  # fmt: skip
    launch(_few_rows if few else _forward, workers, args, ROOM + SUMS, workers == 1)
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
    if g.dtype is not FLOAT or not m * n * k:
        return generic.linear_gradient(g, x, w, out, activation, of_x, of_w, of_bias)
    (g, gn), (x, xm), (w, wn, wk) = _rows_of(g), _rows_of(x), matrix(w)
    gx = np.empty((m, k), FLOAT) if of_x else None
    turned = wk != 1  # then gw lies as w does
    gw: Any = np.empty((k, n) if turned else (n, k), FLOAT) if of_w else None
    gbias = np.empty(n, FLOAT) if of_bias else None
    out = g if activation is None else contiguous(out)
    workers = 1 if m * n * k < SMALL else threads.count

    s, sn, place, own = g, gn, address(g), 0  # place : of s, 0 where each thread has its own
    if activation is not None or (gn % 64 == 0 and m > LANES):
        sn = -(-n // 16) * 16 + 16  # rows that do not begin at the same place in a cache
        if m * sn <= OWN:
            place, own = 0, m * sn
        else:
            s = np.empty((m, sn), FLOAT)
            place = address(s)
    x_rows, x_columns, inputs = cut(m, k, workers)
    inputs = inputs if of_x else 0
    if turned:
        high, wide, left, right = k, n, (address(x), 1, xm), (place, sn, 1)
    else:
        high, wide, left, right = n, k, (place, 1, sn), (address(x), xm, 1)
    w_rows, w_columns, weights = cut(high, wide, workers, by_rows=True)
    args = (
        m, k, n, place, sn, 1, address(w), wn, wk, address(gx) if of_x else 0, x_rows, x_columns,
        high, wide, m, *left, *right, address(gw) if of_w else 0, w_rows, w_columns,
        m, n, address(g), gn, address(out), ACTIVATIONS[activation], place, sn,
        address(gbias) if of_bias else 0, turned, workers, inputs,
        inputs + (weights if of_w else 0),
    )  # fmt: skip
    if s is not g:
        launch(_scale, workers, args, 0, workers == 1)
    launch(_gradient, workers, args, ROOM + own, workers == 1)
    return gx, gw.T if turned and of_w else gw, gbias


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
    """A worker's blocks of y.T; then they become y."""
    p = _forward_record(args)
    sums = room + ROOM * ITEM
    across = -(-p.n // p.columns)
    for block in range(task, p.blocks, p.workers):
        row, column = block // across * p.rows, block % across * p.columns
        rows, columns = min(p.rows, p.m - row), min(p.columns, p.n - column)
        multiply(
            rows, p.a + row * p.am * ITEM, p.am, p.ak,
            columns, p.b + column * p.bn * ITEM, p.bk, p.bn, p.k, sums, GROUP, room,
        )  # fmt: skip
        for i in range(0, rows, LANES):
            for j in range(0, columns, LANES):
                _finish(p, floats(sums), i * GROUP + j, rows - i, columns - j, row + i, column + j)


@helper
def _finish(p: Any, sums: Any, at: int, rows: int, columns: int, n: int, m: int) -> None:
    """A piece of sums, 8 x 8 at most, gets bias and activation and becomes y[m:, n:]."""
    y, corner = floats(p.c), ROWS * GROUP
    if p.bias or p.activation:
        for i in range(min(rows, LANES)):
            v = load(sums, at + i * GROUP)
            if p.bias:
                v = v + splat(floats(p.bias)[n + i])
            store(sums, at + i * GROUP, _activated(v, p.activation))
    if rows >= LANES and columns >= LANES:
        transpose(sums, at, GROUP, y, m * p.m + n, p.m)
    else:  # there is room behind the sums for what is read here in vain
        transpose(sums, at, GROUP, sums, corner, LANES)
        for j in range(min(columns, LANES)):
            _give(y, (m + j) * p.m + n, load(sums, corner + j * LANES), rows)


def _few_rows(task: int, room: int, args: int) -> None:
    """A worker's columns of y, for few rows."""
    p = _forward_record(args)
    y = floats(p.c)
    for block in range(task, p.blocks, p.workers):
        first, end = block * p.rows, min(block * p.rows + p.rows, p.m)
        few_rows(product(args), first, end)
        if p.bias or p.activation:
            for m in range(p.n):
                for n in range(first, end, LANES):
                    i, left = m * p.m + n, min(end - n, LANES)
                    v = load_first(y, i, left)
                    if p.bias:
                        v = v + load_first(floats(p.bias), n, left)
                    store_first(y, i, _activated(v, p.activation), left)


# ---- backward -----------------------------------------------------------------------------------


def _scale(task: int, room: int, args: int) -> None:
    """A worker's columns of s, where all threads share it."""
    p = _backward_record(args)
    first, end = _share(p, task)
    _scale_columns(p, floats(p.s), first, end, p.gbias != 0)


def _gradient(task: int, room: int, args: int) -> None:
    """A worker's blocks of gx and of gw."""
    p, x, w = _backward_record(args), product(args), product(args + len(PRODUCT) * WORD)
    s = p.s or room + ROOM * ITEM
    first, end = _share(p, task)
    if p.s == 0:
        _scale_columns(p, floats(s), 0, first, False)
        _scale_columns(p, floats(s), first, end, p.gbias != 0)
        _scale_columns(p, floats(s), end, p.n, False)
    elif p.s == p.g and p.gbias:
        _scale_columns(p, floats(s), first, end, True)
    a, b = (w.a, s) if p.turned else (s, w.b)
    for block in range(task, p.blocks, p.workers):
        if block < p.inputs:
            block_of(x, block, s, x.b, x.c, room)
        else:
            block_of(w, block - p.inputs, a, b, w.c, room)


@helper
def _share(p: Any, task: int) -> Any:
    """The first column of g that is a worker's, and the first that is not."""
    share = -(-p.n // (p.workers * LANES)) * LANES
    return min(task * share, p.n), min(task * share + share, p.n)


@helper
def _scale_columns(p: Any, s: Any, first: int, end: int, sums: bool) -> None:
    """Some columns of s = g * f', and their sums, which are the gradient of the bias."""
    g, out, gbias = floats(p.g), floats(p.out), floats(p.gbias)
    if sums:
        for n in range(first, end, LANES):
            _give(gbias, n, splat(np.float32(0)), end - n)
    for m in range(p.m):
        for n in range(first, end, LANES):
            left = end - n
            if left >= LANES:
                v = load(g, m * p.gn + n)
                if p.activation:
                    v = _scaled(v, load(out, m * p.n + n), p.activation)
                if p.s != p.g:
                    store(s, m * p.sn + n, v)
                if sums:
                    store(gbias, n, load(gbias, n) + v)
            else:
                v = load_first(g, m * p.gn + n, left)
                if p.activation:
                    v = _scaled(v, load_first(out, m * p.n + n, left), p.activation)
                if p.s != p.g:
                    store_first(s, m * p.sn + n, v, left)
                if sums:
                    store_first(gbias, n, load_first(gbias, n, left) + v, left)


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


def warm_up(dtype: str) -> None:
    """Call each kernel once."""
    for m, n in ((1, 1), (FEW + 1, 1), (64, 64), (OWN // 8, 1)):  # for several threads; s shared
        x, w = np.zeros((m, 64), dtype), np.zeros((n, 64), dtype)
        y = linear(x, w, None, "relu")
        linear_gradient(y, x, w, y, "relu")
