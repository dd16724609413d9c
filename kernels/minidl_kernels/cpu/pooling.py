"""Max pooling compiled by Numba. The definition is `reference.pooling`; here are the same bits.

Forward, a window's largest numbers and their places stay in registers, eight channels at a time.
Backward, each place of the image asks the windows that lie over it whether their largest was here,
so it is written once and in order, and nothing has to be set to zero before.

One or two spatial axes are taken as three with leading axes of one place.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from minidl_kernels.cpu.compiling import helper
from minidl_kernels.cpu.launch import doubles, floats, integers, launch, places, record
from minidl_kernels.cpu.memory import address, channels_last_memory, contiguous
from minidl_kernels.cpu.simd import (
    LANES,
    load,
    load_first,
    splat,
    store,
    store_first,
    where_equal,
    where_wins,
)
from minidl_kernels.cpu.threads import SMALL
from minidl_kernels.generic import pooling as generic
from minidl_kernels.generic.arrays import channels_last

__all__ = ["max_pool", "max_pool_input", "warm_up"]

Ints = tuple[int, ...]


class Windows(NamedTuple):
    """Windows over (N, D, H, W, C): sizes, and addresses of arrays."""

    n: int
    d: int  # the input
    h: int
    w: int
    od: int  # how many windows there are
    oh: int
    ow: int
    kd: int  # a window, its steps, the padding before, the steps within it
    kh: int
    kw: int
    sd: int
    sh: int
    sw: int
    pd: int
    ph: int
    pw: int
    dd: int
    dh: int
    dw: int
    c: int
    x: int  # what is pooled, or its gradient
    y: int  # the maxima, or their gradient
    place: int  # where the maxima stand


_windows = record(np.dtype([(name, np.intp) for name in Windows._fields]))


def _three(sizes: Any, filling: int) -> Ints:
    """One int for each of three axes."""
    return (filling,) * (3 - len(sizes)) + tuple(sizes)


def _geometry(x: Any, y: Any, index: Any, windows: tuple[Ints, Ints, Ints, Ints]) -> Windows:
    """The record of arrays (N, *S, C) and (N, *P, C)."""
    size, stride, padding, dilation = windows
    sizes = *_three(x.shape[1:-1], 1), *_three(y.shape[1:-1], 1)
    steps = *_three(size, 1), *_three(stride, 1), *_three(padding, 0), *_three(dilation, 1)
    arrays = x.shape[-1], address(x), address(y), address(index)
    return Windows._make((x.shape[0], *sizes, *steps, *arrays))


# ---- forward ------------------------------------------------------------------------------------


def max_pool(
    x: Any, size: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil_mode: bool
) -> tuple[Any, Any]:
    """Maximum of each window and its place: x (N, C, *S) -> out, index (N, C, *P)."""
    spatial = x.shape[2:]
    if x.dtype not in (np.float32, np.float64) or generic.index_dtype(spatial) != np.int32:
        return generic.max_pool(x, size, stride, padding, dilation, ceil_mode)
    x = contiguous(channels_last(x))
    out = generic.output_sizes(spatial, size, stride, padding, dilation, ceil_mode)
    shape = (x.shape[0], x.shape[-1], *out)
    best, index = channels_last_memory(shape, x.dtype), channels_last_memory(shape, np.int32)
    if best.size:
        windows = size, stride, padding, dilation
        p = _geometry(x, channels_last(best), channels_last(index), windows)
        kernel = pool_row if x.dtype == np.float32 else pool_row_of_doubles
        launch(kernel, p.n * p.od * p.oh, p, 2 * math.prod(size), x.size < SMALL)
    return best, index


def pool_row(task: int, room: int, args: int) -> None:
    """The maxima of one row of windows, and their places."""
    p = _windows(args)
    _pool_row(p, task, room, floats(p.x), floats(p.y), np.float32(-np.inf))


def pool_row_of_doubles(task: int, room: int, args: int) -> None:
    """The same in float64."""
    p = _windows(args)
    _pool_row(p, task, room, doubles(p.x), doubles(p.y), np.float64(-np.inf))


@helper
def _pool_row(p: Any, task: int, room: int, x: Any, y: Any, least: Any) -> None:
    index, taps, channels, lowest = places(p.place), integers(room), p.c, splat(least)
    pairs = channels - channels % (2 * LANES)
    n, i, j = task // (p.od * p.oh), task // p.oh % p.od, task % p.oh
    d0, deep = _within(i * p.sd - p.pd, p.kd, p.dd, p.d)
    h0, high = _within(j * p.sh - p.ph, p.kh, p.dh, p.h)
    plane, corner = n * p.d * p.h * p.w, (min(d0, p.d - 1) * p.h + min(h0, p.h - 1)) * p.w
    kw, sw, pw, dw, wide, ow = p.kw, p.sw, p.pw, p.dw, p.w, p.ow  # a store might change the record
    count = before = 0
    for k in range(ow):
        w0, across = _within(k * sw - pw, kw, dw, wide)
        if across != before:  # at the edges
            count = _list_taps(taps, deep, p.dd * p.h * wide, high, p.dh * wide, across, dw)
            before = across
        start, out = corner + min(w0, wide - 1), (task * ow + k) * channels
        first = splat(np.int32(start))
        for c in range(0, pairs, 2 * LANES):  # two vectors, whose steps overlap
            best, place, other, elsewhere = lowest, first, lowest, first
            for t in range(count):
                here = start + taps[t]
                at, number = (plane + here) * channels + c, splat(np.int32(here))
                value = load(x, at)
                place = where_wins(value, best, number, place)
                best = where_wins(value, best, value, best)
                value = load(x, at + LANES)
                elsewhere = where_wins(value, other, number, elsewhere)
                other = where_wins(value, other, value, other)
            store(y, out + c, best)
            store(index, out + c, place)
            store(y, out + c + LANES, other)
            store(index, out + c + LANES, elsewhere)
        for c in range(pairs, channels, LANES):
            left, best, place = min(channels - c, LANES), lowest, first
            for t in range(count):
                here = start + taps[t]
                value = load_first(x, (plane + here) * channels + c, left)
                place = where_wins(value, best, splat(np.int32(here)), place)
                best = where_wins(value, best, value, best)
            store_first(y, out + c, best, left)
            store_first(index, out + c, place, left)


@helper
def _within(start: int, taps: int, step: int, size: int) -> tuple[int, int]:
    """The first place of a window that is not before the input, and how many are in the input."""
    end = min(start + taps * step, size)
    if start < 0:
        start %= step
    return start, max(0, (end - start + step - 1) // step if step > 1 else end - start)


@helper
def _list_taps(
    taps: Any, deep: int, plane: int, high: int, row: int, across: int, step: int
) -> int:
    """List how far the places of a window lie behind its first, and count them."""
    count = 0
    for d in range(deep):
        for h in range(high):
            for w in range(across):
                taps[count] = d * plane + h * row + w * step
                count += 1
    return count


# ---- backward -----------------------------------------------------------------------------------


def max_pool_input(g: Any, index: Any, shape: Ints, windows: Any = None) -> Any:
    """Add each g at the place of its maximum: g, index (N, C, *P) -> `shape` (N, C, *S)."""
    if g.dtype not in (np.float32, np.float64):
        return generic.max_pool_input(g, index, shape, windows)
    gx = channels_last_memory(shape, g.dtype)
    if not g.size:
        gx[...] = 0
        return gx
    g = contiguous(channels_last(g))
    single = g.dtype == np.float32
    if windows is not None and index.dtype == np.int32:
        index = contiguous(channels_last(index))
        p = _geometry(channels_last(gx), g, index, windows)
        kernel = unpool_row if single else unpool_row_of_doubles
        launch(kernel, p.n * p.d * p.h, p, 0, gx.size < SMALL)
        return gx
    plane = math.prod(shape[2:])
    if not 0 <= index.min() <= index.max() < plane:  # compiled code would write there
        raise IndexError(f"max_pool_input: an index is outside of 0 to {plane - 1}")
    gx[...] = 0
    index = contiguous(channels_last(index)).astype(np.intp, copy=False)
    args = plane, g.size // (shape[0] * shape[1]), shape[1], address(gx), address(g), address(index)
    launch(scatter if single else scatter_doubles, shape[0], args, 0, g.size < SMALL)
    return gx


def unpool_row(task: int, room: int, args: int) -> None:
    """The gradient of one row of the input."""
    p = _windows(args)
    _unpool_row(p, task, floats(p.x), floats(p.y), np.float32(0))


def unpool_row_of_doubles(task: int, room: int, args: int) -> None:
    """The same in float64."""
    p = _windows(args)
    _unpool_row(p, task, doubles(p.x), doubles(p.y), np.float64(0))


@helper
def _unpool_row(p: Any, task: int, gx: Any, g: Any, nothing: Any) -> None:
    index, zero, channels, step, first = (
        places(p.place),
        splat(nothing),
        p.c,
        p.dw,
        task * p.w * p.c,
    )
    n, d, h = task // (p.d * p.h), task // p.h % p.d, task % p.h
    d0, d1 = _over(d + p.pd, p.kd, p.sd, p.dd, p.od)
    h0, h1 = _over(h + p.ph, p.kh, p.sh, p.dh, p.oh)
    apart = (d1 - d0) * (h1 - h0) == 1 and (p.kw - 1) * step < p.sw  # no place in two windows
    if not (apart and p.kw == p.sw and step == 1 and p.pw == 0 and p.ow * p.sw >= p.w):
        _clear(gx, first, p.w * channels, nothing)  # places may be in no window
    rest = channels % LANES
    whole = channels - rest
    ow, kw, sw, pw, wide, line = p.ow, p.kw, p.sw, p.pw, p.w, (d * p.h + h) * p.w
    for i in range(d0, d1):
        for j in range(h0, h1):
            row = ((n * p.od + i) * p.oh + j) * ow
            for k in range(ow):
                w0, across = _within(k * sw - pw, kw, step, wide)
                at = (row + k) * channels
                for w in range(across):
                    here = splat(np.int32(line + w0 + w * step))
                    to = first + (w0 + w * step) * channels
                    for c in range(0, whole, LANES):
                        kept = where_equal(load(index, at + c), here, load(g, at + c), zero)
                        store(gx, to + c, kept if apart else load(gx, to + c) + kept)
                    if rest:
                        kept = load_first(g, at + whole, rest)
                        kept = where_equal(load_first(index, at + whole, rest), here, kept, zero)
                        kept = kept if apart else load_first(gx, to + whole, rest) + kept
                        store_first(gx, to + whole, kept, rest)


@helper
def _clear(x: Any, first: int, size: int, nothing: Any) -> None:
    whole = size - size % LANES
    for i in range(0, whole, LANES):
        store(x, first + i, splat(nothing))
    for i in range(first + whole, first + size):
        x[i] = nothing


@helper
def _over(place: int, taps: int, stride: int, step: int, windows: int) -> tuple[int, int]:
    """The windows that may lie over a place, counted from the padding's first: from, to before."""
    reach = place - (taps - 1) * step  # the last window that begins there has its end at `place`
    return max(0, -(-reach // stride)), min(windows, place // stride + 1)


# For places that are given without their windows.
_scattered = record(
    np.dtype([(name, np.intp) for name in ("plane", "windows", "c", "gx", "g", "index")])
)


def scatter(task: int, room: int, args: int) -> None:
    """Add every number of an image at its place."""
    p = _scattered(args)
    _scatter(p, task, floats(p.gx), floats(p.g))


def scatter_doubles(task: int, room: int, args: int) -> None:
    """The same in float64."""
    p = _scattered(args)
    _scatter(p, task, doubles(p.gx), doubles(p.g))


@helper
def _scatter(p: Any, task: int, gx: Any, g: Any) -> None:
    index = integers(p.index)
    for window in range(task * p.windows, (task + 1) * p.windows):
        for c in range(p.c):
            place = index[window * p.c + c]
            gx[(task * p.plane + place) * p.c + c] += g[window * p.c + c]


def warm_up(dtype: str) -> None:
    """Call each kernel once."""
    x, windows = np.zeros((1, 1, 2, 2), dtype), ((2, 2), (2, 2), (0, 0), (1, 1))
    out, index = max_pool(x, *windows, False)
    max_pool_input(out, index, x.shape, windows)
    max_pool_input(out, index, x.shape)
