"""Depthwise convolution, a filter for each channel: sums of vectors of channels, nothing copied.

There is no product of matrices in it, and little arithmetic for each number read. So a block of
outputs, 2 rows x 4 pixels, is made in one go from the input where it lies, 8 channels at a time:
each number under it is read once for all the outputs that it serves, and the eight sums stay in
registers. With a square kernel of 3, 5 or 7 and a stride of 1 or 2, which input meets which weight
is known when the kernel is compiled (`forward`, `weight_chunk`). At the border, what lies outside
is left out. The gradient of the weights takes the same blocks and keeps the sums of the taps.

For other kernels, strides and dilations, and for small images, `general` goes by a list of taps; it
also makes the gradient of the input, where the taps of a place are those that lead to an output.

`Geometry` is that of `direct`, with one channel in each group.
"""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils

from minidl_kernels.cpu.compiling import helper
from minidl_kernels.cpu.direct import geometry
from minidl_kernels.cpu.emit import LANES, address, element, fused, intrinsic, vector_of
from minidl_kernels.cpu.launch import floats, integers
from minidl_kernels.cpu.simd import Vector, fma, load, splat, store, store_first, where_greater

__all__ = ["PIXELS", "ROWS", "forward", "general", "general_weight", "weight_chunk"]

Kernel = Callable[[int, int, int], None]
Pair = tuple[int, int]

ROWS, PIXELS = 2, 4  # of a block: eight sums, and with them the weights of a row in registers


# ---- blocks of outputs --------------------------------------------------------------------------


def _meetings(block: Pair, taps: Pair, step: int) -> dict[int, dict[int, Any]]:
    """For each row and column of the input under a block: the pairs of an output and a tap."""
    found: dict[int, dict[int, Any]] = {}
    for row in range(block[0]):
        for pixel in range(block[1]):
            for i in range(taps[0]):
                for j in range(taps[1]):
                    line = found.setdefault(row * step + i, {})
                    line.setdefault(pixel * step + j, []).append(((row, pixel), (i, j)))
    return found


def _each_input(
    b: Any, block: Pair, taps: Pair, step: int, border: int, limits: Any, x: Any, down: Any,
    across: Any, use: Any,
) -> None:  # fmt: skip
    """Emit a load for each number under a block, and what `use(number, pairs)` makes of it.

    x, down, across : the address of the first number, and the strides
    border : 0, all are there; 1, rows are missing; 2, columns too, at most taps - 1 at each side
    limits : the rows and columns that there are, from and to
    """

    def there(place: int, low: Any, high: Any) -> Any:
        place = low.type(place)
        inside = b.and_(b.icmp_signed("<=", low, place), b.icmp_signed("<", place, high))
        return b.if_then(inside)

    top, bottom, left, right = limits
    for row, line in sorted(_meetings(block, taps, step).items()):
        with there(row, top, bottom) if border else contextlib.nullcontext():
            for column, pairs in sorted(line.items()):
                unsure = border > 1 and not taps[1] - 1 <= column <= max(line) + 1 - taps[1]
                with there(column, left, right) if unsure else contextlib.nullcontext():
                    shift = b.add(b.mul(down, down.type(row)), b.mul(across, down.type(column)))
                    use(_vector_at(b, b.gep(x, [shift])), pairs)


def _vector_at(b: Any, place: Any) -> Any:
    return b.load(b.bitcast(place, vector_of(types.float32).as_pointer()), align=4)


@intrinsic(prefer_literal=True)
def _outputs(
    typing: Any, taps: Any, step: Any, border: Any, top: Any, bottom: Any, left: Any, right: Any,
    x: Any, x0: Any, xh: Any, xw: Any, w: Any, w0: Any, c: Any, bias: Any, least: Any, y: Any,
    y0: Any, yh: Any, yw: Any,
) -> Any:  # fmt: skip
    """The outputs of a block, max(bias + sum of x * w, least): vectors of 8 channels.

    x0 is the place under the first tap of the first output, whether or not it is in x.
    """
    n, v, size = types.intp, Vector(x.dtype), (taps.literal_value,) * 2
    sig = types.void(taps, step, border, n, n, n, n, x, n, n, n, w, n, n, v, v, y, n, n, n)

    def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
        x_, x0_, xh_, xw_, w_, w0_, c_, bias_, least_, y_, y0_, yh_, yw_ = args[7:]
        sums = {
            (i, j): cgutils.alloca_once_value(b, bias_) for i in range(ROWS) for j in range(PIXELS)
        }

        def use(number: Any, pairs: Any) -> None:
            for output, (i, j) in pairs:
                tap = b.add(w0_, b.mul(c_, c_.type(i * size[1] + j)))
                weight = b.load(address(context, b, sig.args[11], w_, tap), align=4)
                b.store(fused(b, number, weight, b.load(sums[output])), sums[output])

        first = element(context, b, sig.args[7], x_, x0_)
        _each_input(
            b, (ROWS, PIXELS), size, step.literal_value, border.literal_value, args[3:7], first,
            xh_, xw_, use,
        )  # fmt: skip
        for (i, j), total in sums.items():
            value = b.load(total)
            value = b.select(b.fcmp_ordered(">", least_, value), least_, value)  # NaN stays
            place = b.add(y0_, b.add(b.mul(yh_, yh_.type(i)), b.mul(yw_, yw_.type(j))))
            b.store(value, address(context, b, sig.args[16], y_, place), align=4)
        return context.get_dummy_value()

    return sig, generate


@intrinsic(prefer_literal=True)
def _sums(
    typing: Any, down: Any, across: Any, rows: Any, columns: Any, step: Any, border: Any, top: Any,
    bottom: Any, left: Any, right: Any, x: Any, x0: Any, xh: Any, xw: Any, g: Any, g0: Any,
    gh: Any, gw: Any, s: Any, s0: Any, ss: Any,
) -> Any:  # fmt: skip
    """s[tap] += the sum of x * g over down x across outputs, for rows x columns taps: vectors."""
    n, block = types.intp, (down.literal_value, across.literal_value)
    size = rows.literal_value, columns.literal_value
    sig = types.void(
        down, across, rows, columns, step, border, n, n, n, n, x, n, n, n, g, n, n, n, s, n, n
    )  # fmt: skip

    def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
        x_, x0_, xh_, xw_, g_, g0_, gh_, gw_, s_, s0_, ss_ = args[10:]
        homes, sums, outputs = {}, {}, {}
        for i in range(size[0]):
            for j in range(size[1]):
                place = b.add(s0_, b.mul(ss_, ss_.type(i * size[1] + j)))
                homes[i, j] = address(context, b, sig.args[18], s_, place)
                sums[i, j] = cgutils.alloca_once_value(b, b.load(homes[i, j], align=4))
        for i in range(block[0]):
            for j in range(block[1]):
                place = b.add(g0_, b.add(b.mul(gh_, gh_.type(i)), b.mul(gw_, gw_.type(j))))
                outputs[i, j] = b.load(address(context, b, sig.args[14], g_, place), align=4)

        def use(number: Any, pairs: Any) -> None:
            for output, tap in pairs:
                b.store(fused(b, number, outputs[output], b.load(sums[tap])), sums[tap])

        first = element(context, b, sig.args[10], x_, x0_)
        _each_input(
            b, block, size, step.literal_value, border.literal_value, args[6:10], first, xh_, xw_,
            use,
        )  # fmt: skip
        for tap, total in sums.items():
            b.store(b.load(total), homes[tap], align=4)
        return context.get_dummy_value()

    return sig, generate


@functools.cache
def forward(kernel: int, step: int) -> Kernel:
    """Make the kernel that convolves two rows of outputs; p.w holds the weights as (taps, C)."""

    def two_rows(task: int, room: int, args: int) -> None:
        p = geometry(args)
        x, w, y, bias, c = floats(p.x), floats(p.w), floats(p.y), floats(p.bias), p.groups
        pairs = -(-p.oh // ROWS)
        # The last two rows may overlap the two before, and so may the last pixels and channels.
        oh, n = min(task % pairs * ROWS, p.oh - ROWS), task // pairs
        h, out = oh * step - p.ph, n * p.yn + oh * p.yh
        top, bottom = -h, p.ih - h
        least = splat(np.float32(0)) if p.relu else splat(np.float32(-np.inf))
        shift = splat(np.float32(0))
        for start in range(0, p.ow, PIXELS):
            ow = min(start, p.ow - PIXELS)
            column = ow * step - p.pw
            left, right = -column, p.iw - column
            first, place = n * p.xn + h * p.xh + column * c, out + ow * p.yw
            border = 0 if top <= 0 and bottom >= step + kernel else 1
            if left > 0 or right < (PIXELS - 1) * step + kernel:
                border = 2
            for channel in range(0, c, LANES):
                k = min(channel, c - LANES)
                if p.bias:
                    shift = load(bias, k)
                if border == 0:
                    _outputs(
                        kernel, step, 0, top, bottom, left, right, x, first + k, p.xh, c, w, k, c,
                        shift, least, y, place + k, p.yh, p.yw,
                    )  # fmt: skip
                elif border == 1:
                    _outputs(
                        kernel, step, 1, top, bottom, left, right, x, first + k, p.xh, c, w, k, c,
                        shift, least, y, place + k, p.yh, p.yw,
                    )  # fmt: skip
                else:
                    _outputs(
                        kernel, step, 2, top, bottom, left, right, x, first + k, p.xh, c, w, k, c,
                        shift, least, y, place + k, p.yh, p.yw,
                    )  # fmt: skip

    return two_rows


@functools.cache
def weight_chunk(kernel: int, step: int) -> Kernel:
    """Make the kernel of the sums over a chunk of pairs of rows: partial (chunks, taps, vectors).

    The last of the vectors has the last 8 channels, some of which are also in the one before.
    """
    rows = 3 if kernel == 3 else 1  # taps whose sums are in registers

    def chunk(task: int, room: int, args: int) -> None:
        p = geometry(args)
        x, g, s, c = floats(p.x), floats(p.y), floats(p.partial), p.groups
        pairs, vectors = -(-p.oh // ROWS), -(-c // LANES)
        size = vectors * LANES
        base = task * kernel * kernel * size
        for i in range(base, base + kernel * kernel * size):
            s[i] = 0
        units = p.n * pairs
        for unit in range(units * task // p.chunks, units * (task + 1) // p.chunks):
            oh, n = unit % pairs * ROWS, unit // pairs
            both = oh + ROWS <= p.oh
            for tap in range(0, kernel, rows):
                h = oh * step - p.ph + tap
                top, bottom, at_s = -h, p.ih - h, base + tap * kernel * size
                ow = 0
                while ow < p.ow:
                    four = ow + PIXELS <= p.ow
                    column = ow * step - p.pw
                    left, right = -column, p.iw - column
                    border = 0 if top <= 0 and bottom >= step + rows else 1
                    if left > 0 or right < (PIXELS - 1) * step + kernel:
                        border = 2
                    i = n * p.xn + h * p.xh + column * c
                    j = n * p.yn + oh * p.yh + ow * p.yw
                    for v in range(vectors):
                        k, at = min(v * LANES, c - LANES), at_s + v * LANES
                        if both and four and border == 0:
                            _sums(
                                2, 4, rows, kernel, step, 0, top, bottom, left, right, x, i + k,
                                p.xh, c, g, j + k, p.yh, p.yw, s, at, size,
                            )  # fmt: skip
                        elif both and four and border == 1:
                            _sums(
                                2, 4, rows, kernel, step, 1, top, bottom, left, right, x, i + k,
                                p.xh, c, g, j + k, p.yh, p.yw, s, at, size,
                            )  # fmt: skip
                        elif both and four:
                            _sums(
                                2, 4, rows, kernel, step, 2, top, bottom, left, right, x, i + k,
                                p.xh, c, g, j + k, p.yh, p.yw, s, at, size,
                            )  # fmt: skip
                        elif four:
                            _sums(
                                1, 4, rows, kernel, step, 2, top, bottom, left, right, x, i + k,
                                p.xh, c, g, j + k, p.yh, p.yw, s, at, size,
                            )  # fmt: skip
                        else:
                            _sums(
                                1, 1, rows, kernel, step, 2, top, bottom, left, right, x, i + k,
                                p.xh, c, g, j + k, p.yh, p.yw, s, at, size,
                            )  # fmt: skip
                            if both:
                                _sums(
                                    1, 1, rows, kernel, step, 2, top - step, bottom - step, left,
                                    right, x, i + k + step * p.xh, p.xh, c, g, j + k + p.yh, p.yh,
                                    p.yw, s, at, size,
                                )  # fmt: skip
                    ow += PIXELS if four else 1

    return chunk


# ---- any kernel ---------------------------------------------------------------------------------


@helper
def _under(place: int, step: int, pad: int, tap: int, size: int, swapped: int) -> int:
    """Where a tap reads for an output, or, swapped, which output reads a place by it; or -1."""
    if swapped:
        found = place + pad - tap
        if found < 0 or found % step:
            return -1
        found //= step
    else:
        found = place * step - pad + tap
    return found if 0 <= found < size else -1


@helper
def _list(p: Any, od: int, oh: int, ow: int, taps: Any) -> int:
    """List the taps of an output: what they read, from the image on, and the weight; how many."""
    count, c = 0, p.groups
    for i in range(p.kd):
        d = _under(od, p.sd, p.pd, i * p.dd, p.id, p.swapped)
        for j in range(p.kh if d >= 0 else 0):
            h = _under(oh, p.sh, p.ph, j * p.dh, p.ih, p.swapped)
            for k in range(p.kw if h >= 0 else 0):
                w = _under(ow, p.sw, p.pw, k * p.dw, p.iw, p.swapped)
                if w >= 0:
                    taps[2 * count] = d * p.xd + h * p.xh + w * c
                    taps[2 * count + 1] = ((i * p.kh + j) * p.kw + k) * c
                    count += 1
    return count


@helper
def _at_least(v: Any, least: Any) -> Any:
    return where_greater(least, v, least, v)


@helper
def _four(
    x: Any, i: int, step: int, w: Any, taps: Any, count: int, bias: Any, biased: int, least: Any,
    y: Any, j: int, yw: int, c: int,
) -> None:  # fmt: skip
    """Four outputs whose taps lie `step` from each other; 16 channels at a time, at least that."""
    for channel in range(0, c, 2 * LANES):
        k = min(channel, c - 2 * LANES)
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
        store(y, place, _at_least(a0, least))
        store(y, place + LANES, _at_least(b0, least))
        place += yw
        store(y, place, _at_least(a1, least))
        store(y, place + LANES, _at_least(b1, least))
        place += yw
        store(y, place, _at_least(a2, least))
        store(y, place + LANES, _at_least(b2, least))
        place += yw
        store(y, place, _at_least(a3, least))
        store(y, place + LANES, _at_least(b3, least))


@helper
def _pixel(
    x: Any, i: int, w: Any, taps: Any, count: int, bias: Any, biased: int, least: Any, y: Any,
    j: int, c: int,
) -> None:  # fmt: skip
    """One output from the taps in the list."""
    whole = c - c % LANES
    for k in range(0, whole, LANES):
        v = splat(np.float32(0))
        if biased:
            v = load(bias, k)
        for tap in range(count):
            v = fma(load(x, i + k + taps[2 * tap]), load(w, k + taps[2 * tap + 1]), v)
        store(y, j + k, _at_least(v, least))
    for k in range(whole, c):
        v = splat(np.float32(0))
        if biased:
            v = splat(bias[k])
        for tap in range(count):
            v = fma(splat(x[i + k + taps[2 * tap]]), splat(w[k + taps[2 * tap + 1]]), v)
        store_first(y, j + k, _at_least(v, least), 1)


def general(task: int, room: int, args: int) -> None:
    """Convolve one row of outputs, or make one of the gradient of the input; w is (taps, C).

    With a stride of s, the places in a row of the gradient have s different lists of taps in turn.
    """
    p = geometry(args)
    x, w, y, bias, c = floats(p.x), floats(p.w), floats(p.y), floats(p.bias), p.groups
    oh, rest = task % p.oh, task // p.oh
    od, n = rest % p.od, rest // p.od
    image, out, taps = n * p.xn, n * p.yn + od * p.yd + oh * p.yh, integers(room)
    least = splat(np.float32(0)) if p.relu else splat(np.float32(-np.inf))
    turns, step = (p.sw, 1) if p.swapped else (1, p.sw)
    for turn in range(min(turns, p.ow)):
        # Outputs turn, turn + turns, …: from `low` up to `high` all their taps lie in the row.
        first, last, outputs = 0, p.iw - 1, -(-(p.ow - turn) // turns)
        for k in range(p.kw):
            at = turn + p.pw - k * p.dw if p.swapped else k * p.dw - p.pw
            if not p.swapped or at % p.sw == 0:
                at = at // p.sw if p.swapped else at
                first, last = min(first, at), min(last, p.iw - 1 - at)
        low = min(outputs, -(first // step))
        high = max(low, min(outputs, last // step + 1))
        u = 0
        while u < outputs:
            count = _list(p, od, oh, turn + u * turns, taps)
            if u == low and high - low >= PIXELS and c >= 2 * LANES:
                for start in range(low, high, PIXELS):
                    v = min(start, high - PIXELS)  # the last four may overlap the four before
                    _four(
                        x, image + (v - low) * step * c, step * c, w, taps, count, bias, p.bias,
                        least, y, out + (turn + v * turns) * p.yw, turns * p.yw, c,
                    )  # fmt: skip
                u = high
            else:
                place = out + (turn + u * turns) * p.yw
                _pixel(x, image, w, taps, count, bias, p.bias, least, y, place, c)
                u += 1


def general_weight(task: int, room: int, args: int) -> None:
    """The sums over one chunk of the rows of outputs: partial (chunks, taps, C)."""
    p = geometry(args)
    x, g, s, c = floats(p.x), floats(p.y), floats(p.partial), p.groups
    rows, base = p.n * p.od * p.oh, task * p.kd * p.kh * p.kw * c
    for i in range(p.kd * p.kh * p.kw * c):
        s[base + i] = 0
    for unit in range(rows * task // p.chunks, rows * (task + 1) // p.chunks):
        oh, rest = unit % p.oh, unit // p.oh
        od, n = rest % p.od, rest // p.od
        out = n * p.yn + od * p.yd + oh * p.yh
        for i in range(p.kd):
            d = _under(od, p.sd, p.pd, i * p.dd, p.id, 0)
            for j in range(p.kh if d >= 0 else 0):
                h = _under(oh, p.sh, p.ph, j * p.dh, p.ih, 0)
                for k in range(p.kw if h >= 0 else 0):
                    # Output ow reads column ow * sw + shift.
                    shift = k * p.dw - p.pw
                    low = max(0, -(shift // p.sw))
                    high = min(p.ow, (p.iw - 1 - shift) // p.sw + 1)
                    row = n * p.xn + d * p.xd + h * p.xh
                    _add_row(
                        x, row + (low * p.sw + shift) * c, p.sw * c, g, out + low * p.yw, p.yw,
                        high - low, c, s, base + ((i * p.kh + j) * p.kw + k) * c,
                    )  # fmt: skip


@helper
def _add_row(
    x: Any, i: int, xw: int, g: Any, j: int, gw: int, count: int, c: int, s: Any, at: int
) -> None:
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
