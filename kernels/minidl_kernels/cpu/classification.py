"""Losses of labels and of probabilities for float32: one pass instead of ten, eight at a time.

The exponentials are those of `simd`. What is not float32 is left to the array code in `generic`.
"""

import math
from typing import Any

import numpy as np
from numba import prange

from minidl_kernels.cpu.compiling import compiled, helper
from minidl_kernels.cpu.simd import (
    LANES,
    absolute,
    exp,
    fma,
    load,
    load_first,
    maximum,
    sigmoid,
    splat,
    store,
    store_first,
    where_greater,
)
from minidl_kernels.cpu.simd import total as lanes_total
from minidl_kernels.generic import classification as generic
from minidl_kernels.generic.arrays import channels_first, channels_last

__all__ = [
    "cross_entropy",
    "cross_entropy_input",
    "logistic_loss",
    "logistic_loss_input",
    "warm_up",
]

CHUNK = 8192  # numbers in a task
_ZERO, _ONE, _TWO = np.float32(0), np.float32(1), np.float32(2)
_LEAST = np.float32(-np.inf)
# ln(1 + z) = 2 s (1 + s²/3 + s⁴/5 + …) with s = z / (2 + z); s² is at most 1/9 for z from 0 to 1
_SERIES = tuple(np.float32(2 / k) for k in (13, 11, 9, 7, 5, 3))


# ---- labels: rows of logits ---------------------------------------------------------------------


def cross_entropy(x: Any, target: Any) -> tuple[Any, Any, Any]:
    """See `minidl_kernels.reference.classification.cross_entropy`, the definition."""
    if x.dtype != np.float32 or not x.size:
        return generic.cross_entropy(x, target)
    rows = np.ascontiguousarray(channels_last(x))
    powers = np.empty(rows.shape, np.float32)
    loss, total = np.empty((2, *target.shape), np.float32)
    index = np.ascontiguousarray(target, np.int64)
    if index.max() >= x.shape[1]:  # compiled code would read there all the same
        raise IndexError(f"cross_entropy: {index.max()} is no class of {x.shape[1]}")
    flat = [a.reshape(-1) for a in (rows, index, powers, loss, total)]
    _cross_entropy.sized(x.size, *flat)
    return loss, channels_first(powers), total


@compiled(parallel=True)
def _cross_entropy(x: Any, index: Any, powers: Any, loss: Any, total: Any) -> None:
    classes = x.size // index.size
    each = max(1, CHUNK // classes)
    for task in prange(-(-index.size // each)):
        eight = np.empty(LANES, np.float32)
        for row in range(task * each, min(task * each + each, index.size)):
            start, label = row * classes, index[row]
            top = _largest(x, start, classes, eight)
            total[row] = _powers(x, powers, start, classes, top, eight)
            loss[row] = _ZERO
            if label >= 0:
                loss[row] = np.float32(math.log(total[row])) - (x[start + label] - top)


@helper
def _rest(x: Any, start: int, count: int, eight: Any) -> Any:
    """The last numbers of a row, fewer than eight, and -inf in the other lanes."""
    for lane in range(LANES):
        eight[lane] = x[start + lane] if lane < count else _LEAST
    return load(eight, 0)


@helper
def _largest(x: Any, start: int, count: int, eight: Any) -> Any:
    """The largest of a row; NaN if there is one."""
    whole = count - count % LANES
    best = _rest(x, start + whole, count - whole, eight)
    for i in range(start, start + whole, LANES):
        best = maximum(best, load(x, i))
    store(eight, 0, best)
    largest = eight[0]
    for lane in range(1, LANES):
        value = eight[lane]
        if value > largest or value != value:
            largest = value
    return largest


@helper
def _powers(x: Any, powers: Any, start: int, count: int, top: Any, eight: Any) -> Any:
    """Write e^(x - top) of a row, and return the sum."""
    whole, shift = count - count % LANES, splat(top)
    sums = exp(_rest(x, start + whole, count - whole, eight) - shift)
    if whole < count:
        store_first(powers, start + whole, sums, count - whole)
    for i in range(start, start + whole, LANES):
        power = exp(load(x, i) - shift)
        store(powers, i, power)
        sums = sums + power
    return lanes_total(sums)


def cross_entropy_input(g: Any, target: Any, powers: Any, total: Any) -> Any:
    """See `minidl_kernels.reference.classification.cross_entropy_input`, the definition."""
    if powers.dtype != np.float32 or not powers.size:
        return generic.cross_entropy_input(g, target, powers, total)
    rows = np.ascontiguousarray(channels_last(powers))
    gx = np.empty(rows.shape, np.float32)
    g, total = (np.ascontiguousarray(a, np.float32).reshape(-1) for a in (g, total))
    index = np.ascontiguousarray(target, np.int64).reshape(-1)
    _cross_entropy_input.sized(gx.size, g, index, rows.reshape(-1), total, gx.reshape(-1))
    return channels_first(gx)


@compiled(parallel=True)
def _cross_entropy_input(g: Any, index: Any, powers: Any, total: Any, gx: Any) -> None:
    classes = gx.size // index.size
    each = max(1, CHUNK // classes)
    for task in prange(-(-index.size // each)):
        for row in range(task * each, min(task * each + each, index.size)):
            start, label = row * classes, index[row]
            into, scale = gx[start : start + classes], g[row] / total[row]
            if label < 0:
                into[:] = 0
                continue
            power = powers[start : start + classes]
            for c in range(classes):
                into[c] = power[c] * scale
            if label < classes:
                into[label] -= g[row]


# ---- probabilities: number by number ------------------------------------------------------------


def logistic_loss(x: Any, target: Any) -> Any:
    """See `minidl_kernels.reference.classification.logistic_loss`, the definition."""
    if x.dtype != np.float32 or target.dtype != np.float32 or not x.size:
        return generic.logistic_loss(x, target)
    (x, target), out, loss = _vectors(x, target)
    _logistic_loss.sized(x.size, x, target, out)
    return loss


def logistic_loss_input(g: Any, x: Any, target: Any) -> Any:
    """See `minidl_kernels.reference.classification.logistic_loss_input`, the definition."""
    if any(a.dtype != np.float32 for a in (g, x, target)) or not x.size:
        return generic.logistic_loss_input(g, x, target)
    (x, target, g), out, gx = _vectors(x, target, g)
    _logistic_loss_input.sized(x.size, g, x, target, out)
    return gx


def _vectors(*arrays: Any) -> tuple[list[Any], Any, Any]:
    """The arrays as vectors in the order of the first one's memory, and room for a result.

    The room comes as such a vector, and as the array that it is to be.
    """
    x = arrays[0]
    if x.flags.c_contiguous:
        out = np.empty(x.shape, np.float32)
        return [np.ascontiguousarray(a).reshape(-1) for a in arrays], out.reshape(-1), out
    order = stride_order(x)
    turned = [np.ascontiguousarray(a.transpose(order)) for a in arrays]
    out = np.empty(turned[0].shape, np.float32)
    return [a.reshape(-1) for a in turned], out.reshape(-1), out.transpose(np.argsort(order))


def stride_order(x: Any) -> list[int]:
    """The axes of x from the one that moves slowest in memory to the fastest."""
    return sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))


@compiled(parallel=True)
def _logistic_loss(x: Any, target: Any, out: Any) -> None:
    for task in prange(-(-x.size // CHUNK)):
        start, end = task * CHUNK, min(task * CHUNK + CHUNK, x.size)
        whole = end - (end - start) % LANES
        for i in range(start, whole, LANES):
            store(out, i, _logistic(load(x, i), load(target, i)))
        if whole < end:
            rest = end - whole
            last = _logistic(load_first(x, whole, rest), load_first(target, whole, rest))
            store_first(out, whole, last, rest)


@helper
def _logistic(x: Any, target: Any) -> Any:
    size = absolute(x)
    wrong = where_greater(x, splat(_ZERO), splat(_ONE) - target, target)
    return size * wrong + _log_one_plus(exp(-size))


@compiled(parallel=True)
def _logistic_loss_input(g: Any, x: Any, target: Any, out: Any) -> None:
    for task in prange(-(-x.size // CHUNK)):
        start, end = task * CHUNK, min(task * CHUNK + CHUNK, x.size)
        whole = end - (end - start) % LANES
        for i in range(start, whole, LANES):
            store(out, i, load(g, i) * (sigmoid(load(x, i)) - load(target, i)))
        if whole < end:
            rest = end - whole
            slope = sigmoid(load_first(x, whole, rest)) - load_first(target, whole, rest)
            store_first(out, whole, load_first(g, whole, rest) * slope, rest)


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
