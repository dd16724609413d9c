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
from minidl_kernels.cpu.launch import floats, integers
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
def _put(y: Any, place: int, v: Any, relu: int) -> None:
    if relu:
        v = maximum(v, splat(np.float32(0)))
    store(y, place, v)


@helper
def _table(p: Any, kd: Any, kh: Any, kw: Any, taps: Any) -> int:
    """List what the taps in these ranges add to a place in x, and to one in w; their number."""
    count, c = 0, p.groups
    for d in range(kd[0], kd[1]):
        for h in range(kh[0], kh[1]):
            for k in range(kw[0], kw[1]):
                taps[2 * count] = d * p.dd * p.xd + h * p.dh * p.xh + k * p.dw * c
                taps[2 * count + 1] = ((d * p.kh + h) * p.kw + k) * c
                count += 1
    return count


@helper
def _four(
    x: Any, i: int, step: int, w: Any, taps: Any, count: int, bias: Any, biased: int, relu: int,
    y: Any, j: int, yw: int, last: int,
) -> None:  # fmt: skip
    """Four outputs, all of whose taps are in the table: the channels up to `last`, 16 at a time."""
    for k in range(0, last, 2 * LANES):
        a0, b0 = splat(np.float32(0)), splat(np.float32(0))
        if biased:
            a0, b0 = load(bias, k), load(bias, k + LANES)
        a1, a2, a3, b1, b2, b3 = a0, a0, a0, b0, b0, b0
        for tap in range(count):
            at, place = i + k + taps[2 * tap], k + taps[2 * tap + 1]
            left, right = load(w, place), load(w, place + LANES)
            a0, b0 = fma(load(x, at), left, a0), fma(load(x, at + LANES), right, b0)
            at += step
            a1, b1 = fma(load(x, at), left, a1), fma(load(x, at + LANES), right, b1)
            at += step
            a2, b2 = fma(load(x, at), left, a2), fma(load(x, at + LANES), right, b2)
            at += step
            a3, b3 = fma(load(x, at), left, a3), fma(load(x, at + LANES), right, b3)
        place = j + k
        _put(y, place, a0, relu)
        _put(y, place + LANES, b0, relu)
        place += yw
        _put(y, place, a1, relu)
        _put(y, place + LANES, b1, relu)
        place += yw
        _put(y, place, a2, relu)
        _put(y, place + LANES, b2, relu)
        place += yw
        _put(y, place, a3, relu)
        _put(y, place + LANES, b3, relu)


@helper
def _four_of_three(
    x: Any, i: int, step: int, w: Any, rows: Any, count: int, bias: Any, biased: int, relu: int,
    y: Any, j: int, yw: int, last: int,
) -> None:  # fmt: skip
    """`_four` for three taps side by side: what lies under several of them is read once.

    The table has the first tap of each row; step is from tap to tap, and from output to output.
    """
    for k in range(0, last, LANES):
        a = splat(np.float32(0))
        if biased:
            a = load(bias, k)
        b, c, d = a, a, a
        for row in range(count):
            at, place = i + k + rows[2 * row], k + rows[2 * row + 1]
            left, middle, right = load(w, place), load(w, place + step), load(w, place + 2 * step)
            a = fma(load(x, at), left, a)
            v = load(x, at + step)
            a, b = fma(v, middle, a), fma(v, left, b)
            v = load(x, at + 2 * step)
            a, b, c = fma(v, right, a), fma(v, middle, b), fma(v, left, c)
            v = load(x, at + 3 * step)
            b, c, d = fma(v, right, b), fma(v, middle, c), fma(v, left, d)
            v = load(x, at + 4 * step)
            c, d = fma(v, right, c), fma(v, middle, d)
            d = fma(load(x, at + 5 * step), right, d)
        _put(y, j + k, a, relu)
        _put(y, j + k + yw, b, relu)
        _put(y, j + k + 2 * yw, c, relu)
        _put(y, j + k + 3 * yw, d, relu)


@helper
def _pixel(
    x: Any, i: int, w: Any, taps: Any, count: int, bias: Any, biased: int, relu: int, y: Any,
    j: int, first: int, last: int,
) -> None:  # fmt: skip
    """One output from the taps in the table: the channels from `first` up to `last`."""
    whole = last - last % LANES
    for k in range(first, whole, LANES):
        v = splat(np.float32(0))
        if biased:
            v = load(bias, k)
        for tap in range(count):
            v = fma(load(x, i + k + taps[2 * tap]), load(w, k + taps[2 * tap + 1]), v)
        _put(y, j + k, v, relu)
    for k in range(whole, last):
        sum = np.float32(0)
        if biased:
            sum = bias[k]
        for tap in range(count):
            sum += x[i + k + taps[2 * tap]] * w[k + taps[2 * tap + 1]]
        y[j + k] = np.float32(0) if relu and sum < 0 else sum


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
    # Pixels outside, channels inside: at a power of two from pixel to pixel, a column of vectors
    # would lie in few places of the cache.
    bias, taps, step = floats(p.bias), integers(room), p.sw * c
    pairs = c - c % (2 * LANES) if high - low >= PIXELS else 0
    three = p.kw == 3 and p.sw == p.dw == 1
    if pairs:
        count = _table(p, kd, kh, (0, 1 if three else p.kw), taps)
        for start in range(low, high, PIXELS):
            ow = min(start, high - PIXELS)  # the last four may overlap the four before
            if three:
                _four_of_three(
                    x, row + ow * step, step, w, taps, count, bias, p.bias, p.relu,
                    y, out + ow * p.yw, p.yw, pairs,
                )  # fmt: skip
            else:
                _four(
                    x, row + ow * step, step, w, taps, count, bias, p.bias, p.relu,
                    y, out + ow * p.yw, p.yw, pairs,
                )  # fmt: skip
    for ow in range(p.ow):
        first = pairs if low <= ow < high else 0
        if first < c:
            count = _table(p, kd, kh, _valid(ow * p.sw - p.pw, p.dw, p.kw, p.iw), taps)
            _pixel(
                x, row + ow * step, w, taps, count, bias, p.bias, p.relu,
                y, out + ow * p.yw, first, c,
            )  # fmt: skip


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
                done, begin, end = 0, 0, 0
                if p.kw == 3 and p.sw == p.dw == 1:
                    # All three taps are inside for the outputs from `begin` to `end`.
                    begin = min(p.ow, max(0, p.pw))
                    end = max(begin, min(p.ow, p.iw - 2 + p.pw))
                    done = c - c % (2 * LANES)
                    at, first = base + (i * p.kh + j) * 3 * c, row + (begin - p.pw) * c
                    count = end - begin
                    _add_three(x, first, g, out + begin * p.yw, p.yw, count, c, done, s, at)
                for k in range(p.kw):
                    # Output ow reads column ow * sw + shift.
                    shift = k * p.dw - p.pw
                    low, high = _valid(shift, p.sw, p.ow, p.iw)
                    at = base + ((i * p.kh + j) * p.kw + k) * c
                    for low2, high2, from_, to in (
                        (low, min(high, begin), 0, done),
                        (max(low, end), high, 0, done),
                        (low, high, done, c),
                    ):
                        _add_row(
                            x, row + (low2 * p.sw + shift) * c, p.sw * c, g, out + low2 * p.yw,
                            p.yw, high2 - low2, from_, to, s, at,
                        )  # fmt: skip


@helper
def _add_three(
    x: Any, i: int, g: Any, j: int, yw: int, count: int, c: int, done: int, s: Any, at: int
) -> None:  # fmt: skip
    """`_add_row` for three taps side by side: each number of x is read once for all of them."""
    for k in range(0, done if count > 0 else 0, LANES):
        q, r = i + k, j + k
        a, b, e = load(s, at + k), load(s, at + c + k), load(s, at + 2 * c + k)
        left, middle = load(x, q), load(x, q + c)
        for _ in range(count):
            right, v = load(x, q + 2 * c), load(g, r)
            a, b, e = fma(left, v, a), fma(middle, v, b), fma(right, v, e)
            left, middle = middle, right
            q += c
            r += yw
        store(s, at + k, a)
        store(s, at + c + k, b)
        store(s, at + 2 * c + k, e)


@helper
def _add_row(
    x: Any, i: int, xw: int, g: Any, j: int, gw: int, count: int, first: int, c: int, s: Any,
    at: int,
) -> None:  # fmt: skip
    """s[at + channel] += the sum of x * g over `count` pixels, for the channels from `first` on."""
    four, whole = first + (c - first) // (4 * LANES) * (4 * LANES), c - c % LANES
    for k in range(first, four, 4 * LANES):
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
