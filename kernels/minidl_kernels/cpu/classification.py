"""Losses of labels and of probabilities for float32: one pass instead of ten, eight at a time.

The exponentials are those of `simd`. What is not float32 is left to the array code in `generic`.
"""

import math
from typing import Any

import numpy as np

from minidl_kernels.cpu.compiling import helper
from minidl_kernels.cpu.launch import doubles, floats, integers, launch, record
from minidl_kernels.cpu.memory import FLOAT, address, channels_last_memory, contiguous
from minidl_kernels.cpu.simd import (
    LANES,
    absolute,
    exp,
    exp_below,
    fma,
    load,
    load_first,
    sigmoid,
    splat,
    store,
    store_first,
    where_greater,
)
from minidl_kernels.cpu.simd import total as lanes_total
from minidl_kernels.cpu.threads import SMALL
from minidl_kernels.generic import classification as generic
from minidl_kernels.generic.arrays import channels_last

__all__ = [
    "cross_entropy",
    "cross_entropy_input",
    "logistic_loss",
    "logistic_loss_input",
    "mean_logistic_loss",
    "warm_up",
]

CHUNK = 8192  # numbers in a task
SUM = 64 * LANES  # numbers that are added up in float32; such sums, in float64
_ZERO, _ONE, _TWO = np.float32(0), np.float32(1), np.float32(2)
_LEAST = np.float32(-np.inf)
# ln(1 + z) = 2 s (1 + s²/3 + s⁴/5 + …) with s = z / (2 + z); s² is at most 1/9 for z from 0 to 1
_SERIES = tuple(np.float32(2 / k) for k in (13, 11, 9, 7, 5, 3))


# ---- labels: rows of logits ---------------------------------------------------------------------

_LABELS = ("rows", "classes", "each", "index", "x", "powers", "loss", "total", "g", "gx")
_labels = record(np.dtype([(name, np.intp) for name in _LABELS]))


def cross_entropy(x: Any, target: Any) -> tuple[Any, Any, Any]:
    """See `minidl_kernels.reference.classification.cross_entropy`, the definition."""
    if x.dtype != np.float32 or not x.size:
        return generic.cross_entropy(x, target)
    rows, index = contiguous(channels_last(x)), contiguous(target.astype(np.intp, copy=False))
    classes, powers = x.shape[1], channels_last_memory(x.shape, np.float32)
    loss, total = np.empty((2, *target.shape), np.float32)
    if index.max() >= classes:  # compiled code would read there all the same
        raise IndexError(f"cross_entropy: {index.max()} is no class of {classes}")
    each = max(1, CHUNK // classes)
    args = (
        index.size, classes, each, address(index), address(rows), address(powers), address(loss),
        address(total), 0, 0,
    )  # fmt: skip
    launch(loss_of_labels, -(-index.size // each), args, LANES, x.size < SMALL)
    return loss, powers, total


def loss_of_labels(task: int, room: int, args: int) -> None:
    """The losses of some rows."""
    p = _labels(args)
    x, powers, loss, total = floats(p.x), floats(p.powers), floats(p.loss), floats(p.total)
    index, eight, classes = integers(p.index), floats(room), p.classes
    for row in range(task * p.each, min(task * p.each + p.each, p.rows)):
        start, label = row * classes, index[row]
        top = _largest(x, start, classes, eight)
        added = _powers(x, powers, start, classes, top, eight)
        total[row], loss[row] = added, _ZERO
        if label >= 0:
            loss[row] = np.float32(math.log(added)) - (x[start + label] - top)


@helper
def _rest(x: Any, start: int, count: int, eight: Any) -> Any:
    """The last numbers of a row, fewer than eight, and -inf in the other lanes."""
    for lane in range(LANES):
        eight[lane] = x[start + lane] if lane < count else _LEAST
    return load(eight, 0)


@helper
def _largest(x: Any, start: int, count: int, eight: Any) -> Any:
    """The largest number of a row. It passes over NaN, which the sum of the powers finds."""
    end = start + count
    whole, most = end - count % LANES, end - count % (4 * LANES)
    a = _rest(x, whole, count % LANES, eight)
    b = c = d = a  # four at a time: each comparison waits for the one before
    for i in range(start, most, 4 * LANES):
        a, b = _larger(load(x, i), a), _larger(load(x, i + LANES), b)
        c, d = _larger(load(x, i + 2 * LANES), c), _larger(load(x, i + 3 * LANES), d)
    for i in range(most, whole, LANES):
        a = _larger(load(x, i), a)
    store(eight, 0, _larger(_larger(a, b), _larger(c, d)))
    largest = _LEAST
    for lane in range(LANES):
        largest = eight[lane] if eight[lane] > largest else largest
    return largest


@helper
def _larger(x: Any, y: Any) -> Any:
    return where_greater(x, y, x, y)


@helper
def _powers(x: Any, powers: Any, start: int, count: int, top: Any, eight: Any) -> Any:
    """Write e^(x - top) of a row, and return the sum."""
    whole, shift = count - count % LANES, splat(top)
    sums = exp_below(_rest(x, start + whole, count - whole, eight) - shift)
    if whole < count:
        store_first(powers, start + whole, sums, count - whole)
    for i in range(start, start + whole, LANES):
        power = exp_below(load(x, i) - shift)
        store(powers, i, power)
        sums = sums + power
    return lanes_total(sums)


def cross_entropy_input(g: Any, target: Any, powers: Any, total: Any) -> Any:
    """See `minidl_kernels.reference.classification.cross_entropy_input`, the definition."""
    if powers.dtype != np.float32 or not powers.size:
        return generic.cross_entropy_input(g, target, powers, total)
    rows, index = contiguous(channels_last(powers)), contiguous(target.astype(np.intp, copy=False))
    classes, gx = powers.shape[1], channels_last_memory(powers.shape, np.float32)
    if index.max() >= classes:
        raise IndexError(f"cross_entropy_input: {index.max()} is no class of {classes}")
    g, total = (contiguous(a.astype(np.float32, copy=False)) for a in (g, total))
    each = max(1, CHUNK // classes)
    args = (
        index.size, classes, each, address(index), 0, address(rows), 0, address(total), address(g),
        address(gx),
    )  # fmt: skip
    launch(gradient_of_labels, -(-index.size // each), args, 0, gx.size < SMALL)
    return gx


def gradient_of_labels(task: int, room: int, args: int) -> None:
    """The gradients of some rows."""
    p = _labels(args)
    g, powers, total, gx = floats(p.g), floats(p.powers), floats(p.total), floats(p.gx)
    index, classes, rest = integers(p.index), p.classes, p.classes % LANES
    for row in range(task * p.each, min(task * p.each + p.each, p.rows)):
        start, label = row * classes, index[row]
        end = start + classes - rest
        scale, none = splat(g[row] / total[row]), splat(_ZERO)
        if label < 0:
            for i in range(start, end, LANES):
                store(gx, i, none)
            store_first(gx, end, none, rest)
        else:
            for i in range(start, end, LANES):
                store(gx, i, load(powers, i) * scale)
            store_first(gx, end, load_first(powers, end, rest) * scale, rest)
            gx[start + label] -= g[row]


# ---- probabilities: number by number ------------------------------------------------------------

_PAIRS = ("size", "x", "target", "g", "same", "out")  # same : one number of g for all
_pairs = record(np.dtype([(name, np.intp) for name in _PAIRS]))


def logistic_loss(x: Any, target: Any) -> Any:
    """See `minidl_kernels.reference.classification.logistic_loss`, the definition."""
    if x.dtype != np.float32 or target.dtype != np.float32 or not x.size:
        return generic.logistic_loss(x, target)
    (x, target), loss = _alike(x, target)
    args = x.size, address(x), address(target), 0, 0, address(loss)
    launch(loss_of_chunk, -(-x.size // CHUNK), args, 0, x.size < SMALL)
    return loss


def mean_logistic_loss(x: Any, target: Any) -> Any:
    """See `minidl_kernels.reference.classification.mean_logistic_loss`, the definition."""
    if x.dtype != np.float32 or target.dtype != np.float32 or not x.size:
        return generic.mean_logistic_loss(x, target)
    (x, target), _ = _alike(x, target)
    tasks = -(-x.size // CHUNK)
    sums = np.empty(tasks)
    args = x.size, address(x), address(target), 0, 0, address(sums)
    launch(sum_of_chunk, tasks, args, LANES, x.size < SMALL)
    return np.asarray(sums.sum() / x.size, FLOAT)


def logistic_loss_input(g: Any, x: Any, target: Any) -> Any:
    """See `minidl_kernels.reference.classification.logistic_loss_input`, the definition."""
    if any(a.dtype != np.float32 for a in (g, x, target)) or not x.size:
        return generic.logistic_loss_input(g, x, target)
    same = not any(g.strides)  # a single number, broadcast or not: the gradient of a mean
    if same:
        (x, target), gx = _alike(x, target)
    else:
        (x, target, g), gx = _alike(x, target, g)
    args = x.size, address(x), address(target), address(g), same, address(gx)
    launch(gradient_of_chunk, -(-x.size // CHUNK), args, 0, x.size < SMALL)
    return gx


def _alike(*arrays: Any) -> tuple[list[Any], Any]:
    """The arrays in the order of the first one's memory, and a new one like it for a result."""
    x = arrays[0]
    if all(a.flags.c_contiguous and a.flags.aligned for a in arrays):  # the usual case
        return list(arrays), np.empty(x.shape, FLOAT)
    out = np.empty_like(x, subok=False)  # its memory is without gaps
    order = stride_order(out)
    return [contiguous(a.transpose(order)) for a in arrays], out


def stride_order(x: Any) -> list[int]:
    """The axes of x from the one that moves slowest in memory to the fastest."""
    return sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))


def loss_of_chunk(task: int, room: int, args: int) -> None:
    """Some losses."""
    p = _pairs(args)
    x, target, out = floats(p.x), floats(p.target), floats(p.out)
    start, end = task * CHUNK, min(task * CHUNK + CHUNK, p.size)
    whole = end - (end - start) % LANES
    for i in range(start, whole, LANES):
        store(out, i, _logistic(load(x, i), load(target, i)))
    if whole < end:
        rest = end - whole
        last = _logistic(load_first(x, whole, rest), load_first(target, whole, rest))
        store_first(out, whole, last, rest)


def sum_of_chunk(task: int, room: int, args: int) -> None:
    """The sum of some losses."""
    p = _pairs(args)
    x, target, added = floats(p.x), floats(p.target), 0.0
    start, end = task * CHUNK, min(task * CHUNK + CHUNK, p.size)
    whole = end - (end - start) % LANES
    for begin in range(start, whole, SUM):
        sums = splat(_ZERO)
        for i in range(begin, min(begin + SUM, whole), LANES):
            sums = sums + _logistic(load(x, i), load(target, i))
        added += np.float64(lanes_total(sums))
    rest = end - whole
    if rest:
        eight = floats(room)
        store(eight, 0, _logistic(load_first(x, whole, rest), load_first(target, whole, rest)))
        for lane in range(rest):
            added += np.float64(eight[lane])
    doubles(p.out)[task] = added


@helper
def _logistic(x: Any, target: Any) -> Any:
    size = absolute(x)
    wrong = where_greater(x, splat(_ZERO), splat(_ONE) - target, target)
    return size * wrong + _log_one_plus(exp(-size))


def gradient_of_chunk(task: int, room: int, args: int) -> None:
    """The gradients of some losses."""
    p = _pairs(args)
    x, target, g, out = floats(p.x), floats(p.target), floats(p.g), floats(p.out)
    start, end = task * CHUNK, min(task * CHUNK + CHUNK, p.size)
    whole, rest, scale = end - (end - start) % LANES, (end - start) % LANES, splat(g[0])
    for i in range(start, whole, LANES):
        slope = sigmoid(load(x, i)) - load(target, i)
        store(out, i, (scale if p.same else load(g, i)) * slope)
    if rest:
        slope = sigmoid(load_first(x, whole, rest)) - load_first(target, whole, rest)
        store_first(out, whole, (scale if p.same else load_first(g, whole, rest)) * slope, rest)


@helper
def _log_one_plus(z: Any) -> Any:
    """ln(1 + z) for z from 0 to 1."""
    s = z / (splat(_TWO) + z)
    square = s * s
    series = splat(_SERIES[0])
    for k in range(1, len(_SERIES)):
        series = fma(series, square, splat(_SERIES[k]))
    return s * fma(series, square, splat(_TWO))


def warm_up(dtype: str) -> None:
    """Call each kernel once."""
    x, target = np.zeros((1, 9), dtype), np.zeros(1, np.int64)
    loss, powers, total = cross_entropy(x, target)
    cross_entropy_input(loss, target, powers, total)
    logistic_loss_input(logistic_loss(x, x), x, x)
    mean_logistic_loss(x, x)
