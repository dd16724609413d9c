"""Depthwise convolution, a filter for each channel: sums of vectors of channels, nothing copied.

There is no matrix product in it, and little arithmetic for each number read. So a row of outputs is
made in one go from the rows of the input where they lie, 4 pixels x 16 channels in registers at a
time; the taps that fall into the padding are left out of the loops.

`Geometry` is that of `direct`, with one channel in each group.
"""

from typing import Any

import numpy as np

from minidl_kernels.cpu.compiling import helper
from minidl_kernels.cpu.direct import geometry
from minidl_kernels.cpu.launch import floats
from minidl_kernels.cpu.simd import LANES, fma, load, maximum, splat, store

__all__ = ["forward", "weight_chunk"]

PIXELS = 4


@helper
def _valid(first: int, step: int, taps: int, size: int) -> Any:
    """Which taps, at first + step * tap, lie in range(size): from one on, and up to another."""
    low = 0 if first >= 0 else (step - 1 - first) // step
    high = 0 if first >= size else (size - 1 - first) // step + 1
    return min(low, taps), max(min(high, taps), min(low, taps))


@helper
def _four(
    p: Any, x: Any, i: int, w: Any, j: int, kd: Any, kh: Any, shift: Any, more: Any
) -> Any:  # fmt: skip
    """Two vectors of channels of 4 outputs, all of whose taps along w are inside."""
    c, step = p.groups, p.sw * p.groups
    a0, a1, a2, a3, b0, b1, b2, b3 = shift, shift, shift, shift, more, more, more, more
    for d in range(kd[0], kd[1]):
        for h in range(kh[0], kh[1]):
            at = i + d * p.dd * p.xd + h * p.dh * p.xh
            tap = j + (d * p.kh + h) * p.kw * c
            for _ in range(p.kw):
                left, right = load(w, tap), load(w, tap + LANES)
                a0, b0 = fma(load(x, at), left, a0), fma(load(x, at + LANES), right, b0)
                k = at + step
                a1, b1 = fma(load(x, k), left, a1), fma(load(x, k + LANES), right, b1)
                k += step
                a2, b2 = fma(load(x, k), left, a2), fma(load(x, k + LANES), right, b2)
                k += step
                a3, b3 = fma(load(x, k), left, a3), fma(load(x, k + LANES), right, b3)
                at += p.dw * c
                tap += c
    return a0, b0, a1, b1, a2, b2, a3, b3


@helper
def _one(
    p: Any, x: Any, i: int, w: Any, j: int, kd: Any, kh: Any, kw: Any, shift: Any
) -> Any:  # fmt: skip
    """A vector of channels of one output, from the taps that are inside."""
    c, total = p.groups, shift
    for d in range(kd[0], kd[1]):
        for h in range(kh[0], kh[1]):
            at = i + d * p.dd * p.xd + h * p.dh * p.xh
            tap = j + (d * p.kh + h) * p.kw * c
            for k in range(kw[0], kw[1]):
                total = fma(load(x, at + k * p.dw * c), load(w, tap + k * c), total)
    return total


@helper
def _last_channels(
    p: Any, x: Any, i: int, w: Any, kd: Any, kh: Any, kw: Any, y: Any, place: int
) -> None:  # fmt: skip
    """The channels that do not fill a vector, of one output."""
    c = p.groups
    for channel in range(c - c % LANES, c):
        sum = np.float32(0)
        if p.bias:
            sum = floats(p.bias)[channel]
        for d in range(kd[0], kd[1]):
            for h in range(kh[0], kh[1]):
                at = i + d * p.dd * p.xd + h * p.dh * p.xh + channel
                tap = (d * p.kh + h) * p.kw * c + channel
                for k in range(kw[0], kw[1]):
                    sum += x[at + k * p.dw * c] * w[tap + k * c]
        y[place + channel] = np.float32(0) if p.relu and sum < 0 else sum


@helper
def _put(y: Any, place: int, v: Any, relu: int) -> None:
    if relu:
        v = maximum(v, splat(np.float32(0)))
    store(y, place, v)


def forward(task: int, room: int, args: int) -> None:
    """Convolve one row of outputs; p.w holds the weights as (taps, C)."""
    p = geometry(args)
    x, w, y, c = floats(p.x), floats(p.w), floats(p.y), p.groups
    oh, rest = task % p.oh, task // p.oh
    od, n = rest % p.od, rest // p.od
    d, h = od * p.sd - p.pd, oh * p.sh - p.ph
    kd, kh = _valid(d, p.dd, p.kd, p.id), _valid(h, p.dh, p.kh, p.ih)
    row = n * p.xn + d * p.xd + h * p.xh - p.pw * c
    out = n * p.yn + od * p.yd + oh * p.yh
    # The outputs from `low` to `high` have all taps of a row inside.
    low = min(p.ow, max(0, -(-p.pw // p.sw)))
    high = max(low, min(p.ow, (p.iw - 1 + p.pw - (p.kw - 1) * p.dw) // p.sw + 1))
    zero = splat(np.float32(0))
    fours = low + (high - low) // PIXELS * PIXELS
    pairs = c - c % (2 * LANES)
    for k in range(0, pairs, 2 * LANES):
        shift, more = zero, zero
        if p.bias:
            shift, more = load(floats(p.bias), k), load(floats(p.bias), k + LANES)
        for ow in range(low, fours, PIXELS):
            r = _four(p, x, row + ow * p.sw * c + k, w, k, kd, kh, shift, more)
            for i in range(PIXELS):
                _put(y, out + (ow + i) * p.yw + k, r[2 * i], p.relu)
                _put(y, out + (ow + i) * p.yw + k + LANES, r[2 * i + 1], p.relu)
    for ow in range(p.ow):
        first = 0 if ow < low or ow >= fours else pairs
        kw = _valid(ow * p.sw - p.pw, p.dw, p.kw, p.iw)
        at = row + ow * p.sw * c
        for k in range(first, c - c % LANES, LANES):
            shift = zero
            if p.bias:
                shift = load(floats(p.bias), k)
            v = _one(p, x, at + k, w, k, kd, kh, kw, shift)
            _put(y, out + ow * p.yw + k, v, p.relu)
        if c % LANES:
            _last_channels(p, x, at, w, kd, kh, kw, y, out + ow * p.yw)


def weight_chunk(task: int, room: int, args: int) -> None:
    """The sums over one chunk of the rows of outputs: partial (chunks, taps, C)."""
    p = geometry(args)
    x, g, s, c = floats(p.x), floats(p.y), floats(p.partial), p.groups
    rows, base = p.n * p.od * p.oh, task * p.kd * p.kh * p.kw * c
    for i in range(p.kd * p.kh * p.kw * c):
        s[base + i] = 0
    for unit in range(rows * task // p.chunks, rows * (task + 1) // p.chunks):
        oh, rest = unit % p.oh, unit // p.oh
        od, n = rest % p.od, rest // p.od
        d, h = od * p.sd - p.pd, oh * p.sh - p.ph
        kd, kh = _valid(d, p.dd, p.kd, p.id), _valid(h, p.dh, p.kh, p.ih)
        out = n * p.yn + od * p.yd + oh * p.yh
        for i in range(kd[0], kd[1]):
            for j in range(kh[0], kh[1]):
                row = n * p.xn + (d + i * p.dd) * p.xd + (h + j * p.dh) * p.xh
                for k in range(p.kw):
                    # Output ow reads column ow * sw + shift.
                    shift = k * p.dw - p.pw
                    low, high = _valid(shift, p.sw, p.ow, p.iw)
                    at = base + ((i * p.kh + j) * p.kw + k) * c
                    _add_row(
                        x, row + (low * p.sw + shift) * c, p.sw * c, g, out + low * p.yw, p.yw,
                        high - low, c, s, at,
                    )  # fmt: skip


@helper
def _add_row(
    x: Any, i: int, xw: int, g: Any, j: int, gw: int, count: int, c: int, s: Any, at: int
) -> None:  # fmt: skip
    """s[at + channel] += the sum of x * g over `count` pixels."""
    four, whole = c - c % (4 * LANES), c - c % LANES
    for k in range(0, four, 4 * LANES):
        a, b = load(s, at + k), load(s, at + k + LANES)
        e, f = load(s, at + k + 2 * LANES), load(s, at + k + 3 * LANES)
        q, r = i + k, j + k
        for _ in range(count):
            a = fma(load(x, q), load(g, r), a)
            b = fma(load(x, q + LANES), load(g, r + LANES), b)
            e = fma(load(x, q + 2 * LANES), load(g, r + 2 * LANES), e)
            f = fma(load(x, q + 3 * LANES), load(g, r + 3 * LANES), f)
            q += xw
            r += gw
        store(s, at + k, a)
        store(s, at + k + LANES, b)
        store(s, at + k + 2 * LANES, e)
        store(s, at + k + 3 * LANES, f)
    for k in range(four, whole, LANES):
        a = load(s, at + k)
        for w in range(count):
            a = fma(load(x, i + w * xw + k), load(g, j + w * gw + k), a)
        store(s, at + k, a)
    for k in range(whole, c):
        for w in range(count):
            s[at + k] += x[i + w * xw + k] * g[j + w * gw + k]
