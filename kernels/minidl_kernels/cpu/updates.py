"""Steps of the optimisers compiled by Numba: one pass over a parameter and all that belongs to it.

The arithmetic is that of `generic.updates`, operation by operation, in the dtype of the parameter,
and gives the same bits. There each operation is a pass over memory; here a number is read once.
"""

import math
from typing import Any

import numpy as np
from numba import prange

from minidl_kernels.cpu.compiling import compiled, helper
from minidl_kernels.generic import updates as generic

__all__ = ["adam_", "sgd_", "warm_up"]

CHUNK = 4096  # numbers in a task: five arrays of them stay in the first cache


def _rows(*arrays: Any) -> list[Any] | None:
    """The arrays as vectors over their own memory, if all lie alike and without gaps."""
    first = arrays[0]
    dtype, strides = first.dtype, first.strides
    if dtype != np.float32 and dtype != np.float64:
        return None
    for a in arrays:
        if a.strides != strides or a.dtype != dtype:
            break
    else:
        if first.flags.c_contiguous:
            return [a.reshape(-1) for a in arrays]
        order = sorted(range(first.ndim), key=lambda axis: -strides[axis])
        if first.transpose(order).flags.c_contiguous:
            return [a.transpose(order).reshape(-1) for a in arrays]
    return None


def sgd_(
    p: Any,
    g: Any,
    buf: Any,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    first: bool,
) -> None:
    """See `minidl_kernels.reference.updates.sgd_`, the definition."""
    rows = _rows(p, g) if buf is None else _rows(p, g, buf)
    if rows is None:
        return generic.sgd_(p, g, buf, lr, momentum, dampening, weight_decay, nesterov, first)
    _sgd.sized(
        p.size, rows[0], rows[1], rows[-1], float(lr), float(momentum), 1 - float(dampening),
        float(weight_decay), bool(nesterov), bool(first),
    )  # fmt: skip
    return None


@compiled(parallel=True)
def _sgd(
    p: Any,
    g: Any,
    buf: Any,
    lr: float,
    momentum: float,
    share: float,
    decay: float,
    nesterov: bool,
    first: bool,
) -> None:
    for task in prange(-(-p.size // CHUNK)):
        part = slice(task * CHUNK, min(task * CHUNK + CHUNK, p.size))
        _sgd_part(
            p[part], g[part], buf[part], p.dtype.type(lr), p.dtype.type(momentum),
            p.dtype.type(share), p.dtype.type(decay), nesterov, first,
        )  # fmt: skip


@helper
def _sgd_part(
    p: Any,
    g: Any,
    buf: Any,
    lr: Any,
    momentum: Any,
    share: Any,
    decay: Any,
    nesterov: bool,
    first: bool,
) -> None:
    for i in range(p.size):
        step = g[i]
        if decay != 0:
            step = step + decay * p[i]
        if momentum != 0:
            b = step
            if not first:
                b = momentum * buf[i] + (step if share == 1 else share * step)
            buf[i] = b
            step = step + momentum * b if nesterov else b
        p[i] = p[i] - lr * step


def adam_(
    p: Any,
    g: Any,
    m: Any,
    v: Any,
    vmax: Any,
    step: int,
    lr: float,
    b1: float,
    b2: float,
    eps: float,
    wd: float,
    decoupled: bool,
) -> None:
    """See `minidl_kernels.reference.updates.adam_`, the definition."""
    rows = _rows(p, g, m, v) if vmax is None else _rows(p, g, m, v, vmax)
    if rows is None:
        return generic.adam_(p, g, m, v, vmax, step, lr, b1, b2, eps, wd, decoupled)
    lr, b1, b2, wd = float(lr), float(b1), float(b2), float(wd)
    kept, added = (1 - lr * wd, 0.0) if decoupled else (1.0, wd)
    _adam.sized(
        p.size, rows[0], rows[1], rows[2], rows[3], rows[-1], vmax is not None, b1, b2,
        math.sqrt(1 - b2**step), lr / (1 - b1**step), float(eps), kept, added,
    )  # fmt: skip
    return None


@compiled(parallel=True)
def _adam(
    p: Any,
    g: Any,
    m: Any,
    v: Any,
    vmax: Any,
    largest: bool,
    b1: float,
    b2: float,
    root: float,
    rate: float,
    eps: float,
    kept: float,
    added: float,
) -> None:
    number = p.dtype.type
    for task in prange(-(-p.size // CHUNK)):
        part = slice(task * CHUNK, min(task * CHUNK + CHUNK, p.size))
        _adam_part(
            p[part], g[part], m[part], v[part], vmax[part], largest, b1 > 0.5,
            number(1 - b1 if b1 > 0.5 else b1), number(b2), number(1 - b2), number(root),
            number(rate), number(eps), number(kept), number(added),
        )  # fmt: skip


@helper
def _adam_part(
    p: Any,
    g: Any,
    m: Any,
    v: Any,
    vmax: Any,
    largest: bool,
    slow: bool,
    share: Any,
    b2: Any,
    rest: Any,
    root: Any,
    rate: Any,
    eps: Any,
    kept: Any,
    added: Any,
) -> None:
    for i in range(p.size):
        x, slope = p[i], g[i]
        if kept != 1:
            x = x * kept
        if added != 0:
            slope = slope + added * x
        change = (slope - m[i]) * share
        mean = m[i] + change if slow else slope - change
        square = v[i] * b2 + slope * rest * slope
        m[i], v[i] = mean, square
        if largest:
            square = np.maximum(vmax[i], square)
            vmax[i] = square
        p[i] = x - mean / (np.sqrt(square) / root + eps) * rate


def warm_up(dtype: str) -> None:
    """Call each kernel once."""
    p, g, m, v = (np.zeros(1, dtype) for _ in range(4))
    sgd_(p, g, m, 0.1, 0.9, 0, 0, False, True)
    adam_(p, g, m, v, None, 1, 0.1, 0.9, 0.999, 1e-8, 0, False)
