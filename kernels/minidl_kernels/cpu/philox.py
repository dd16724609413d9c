"""Philox4x32-10 and dropout, compiled by Numba: 256 blocks of four words in one loop.

The loop keeps a block's numbers in registers through all ten rounds, and the compiler makes vectors
of it: so the counters are written to memory before, and the words taken from there afterwards.
"""

import math
from typing import Any

import numpy as np

from minidl_kernels.cpu.compiling import helper
from minidl_kernels.cpu.launch import doubles, floats, launch, longs, record, words
from minidl_kernels.cpu.memory import address
from minidl_kernels.cpu.simd import LANES, load, splat, store, transpose, where_greater
from minidl_kernels.cpu.threads import SMALL
from minidl_kernels.generic import philox as generic
from minidl_kernels.generic.arrays import channels_last

__all__ = ["dropout", "philox", "warm_up"]

BLOCKS = 256  # in a task
MANY = 4 * BLOCKS  # words
WORDS = 8 * BLOCKS  # where they begin in a task's room: behind four arrays of 64 bits a block
ROOM = WORDS + MANY
WORD, LONG = (1 << 32) - 1, (1 << 64) - 1
# All in 64 bits: what Numba makes of mixed widths is another width, and of mixed signs a float.
_WORD, _SHIFT, _ONE, _NONE = np.uint64(WORD), np.uint64(32), np.uint64(1), np.uint64(0)
_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_K0, _K1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)

_RECORD = np.dtype(
    [(name, np.uint64) for name in ("key0", "key1", "low", "high")]
    + [(name, np.intp) for name in ("size", "c", "x", "out")]
    + [("least", np.uint32), ("scale", np.float64), ("value", np.float64)],
    align=True,
)
_drawn = record(_RECORD)


def _args(key: int, counter: int, *rest: Any) -> Any:
    place = key & WORD, key >> 32 & WORD, counter & LONG, counter >> 64 & LONG
    return np.array([(*place, *rest)], _RECORD)


# ---- words --------------------------------------------------------------------------------------


def philox(like: Any, key: int, counter: int, n: int) -> Any:
    """See `minidl_kernels.reference.philox.philox`, the definition."""
    out = np.empty(n, np.uint32)
    args = _args(key, counter, n, 1, 0, address(out), 0, 0.0, 0.0)
    launch(random_words, -(-n // MANY), args, ROOM, n < SMALL)
    return out


def random_words(task: int, room: int, args: int) -> None:
    """The words of 256 blocks."""
    p = _drawn(args)
    drawn, out = _draw(p, task, room), words(p.out + task * MANY * 4)
    for i in range(min(MANY, p.size - task * MANY)):
        out[i] = drawn[i]


@helper
def _draw(p: Any, task: int, room: int) -> Any:
    """Draw the words of the blocks from 256 * task on."""
    a, b = longs(room), longs(room + BLOCKS * 8)
    c, d = longs(room + BLOCKS * 16), longs(room + BLOCKS * 24)
    first, low, high = p.low + np.uint64(task) * np.uint64(BLOCKS), p.low, p.high
    for i in range(BLOCKS):
        lows = first + np.uint64(i)
        highs = high + (_ONE if lows < low else _NONE)  # the carry
        a[i], b[i] = lows & _WORD, lows >> _SHIFT
        c[i], d[i] = highs & _WORD, highs >> _SHIFT
    _mix(a, b, c, d, p.key0, p.key1)
    out = words(room + WORDS * 4)
    for i in range(BLOCKS):
        out[4 * i], out[4 * i + 1] = np.uint32(a[i]), np.uint32(b[i])
        out[4 * i + 2], out[4 * i + 3] = np.uint32(c[i]), np.uint32(d[i])
    return out


@helper
def _mix(a: Any, b: Any, c: Any, d: Any, key0: Any, key1: Any) -> None:
    """Ten rounds; that no number has more than 32 bits makes each product one instruction."""
    for i in range(BLOCKS):
        w, x, y, z = a[i] & _WORD, b[i] & _WORD, c[i] & _WORD, d[i] & _WORD
        k0, k1 = key0, key1
        for _ in range(10):
            first, second = _M0 * w, _M1 * y
            w, y = (second >> _SHIFT) ^ x ^ k0, (first >> _SHIFT) ^ z ^ k1
            x, z = second & _WORD, first & _WORD
            k0, k1 = (k0 + _K0) & _WORD, (k1 + _K1) & _WORD
        a[i], b[i], c[i], d[i] = w, x, y, z


# ---- dropout ------------------------------------------------------------------------------------


def dropout(
    x: Any, key: int, counter: int, p: float, shape: tuple[int, ...], scale: float, value: float
) -> Any:
    """See `minidl_kernels.reference.philox.dropout`, the definition."""
    dense = x.flags.c_contiguous or (x.ndim > 2 and channels_last(x).flags.c_contiguous)
    if (
        x.dtype not in (np.float32, np.float64) or shape != x.shape or not x.size or p == 1
        or not dense or not x.flags.aligned
    ):  # fmt: skip
        n = math.prod(shape)
        return generic.dropped(x, philox(x, key, counter, n), p, shape, scale, value)
    out, single = np.empty_like(x), x.dtype == np.float32
    least, few = min(round(p * 2**32), WORD), x.size < SMALL
    if x.flags.c_contiguous:
        args = _args(key, counter, x.size, 1, address(x), address(out), least, scale, value)
        kernel = drop if single else drop_doubles
        launch(kernel, -(-x.size // MANY), args, ROOM, few)
        return out
    size = math.prod(x.shape[1:])
    args = _args(key, counter, size, x.shape[1], address(x), address(out), least, scale, value)
    kernel = drop_image if single else drop_image_of_doubles
    launch(kernel, x.shape[0], args, ROOM + size, few)
    return out


def drop(task: int, room: int, args: int) -> None:
    """Some numbers in the order of their words."""
    p, first = _drawn(args), task * MANY
    x, out = floats(p.x + first * 4), floats(p.out + first * 4)
    _drop(p, task, room, x, out, np.float32(p.scale), np.float32(p.value))


def drop_doubles(task: int, room: int, args: int) -> None:
    """The same in float64."""
    p, first = _drawn(args), task * MANY
    x, out = doubles(p.x + first * 8), doubles(p.out + first * 8)
    _drop(p, task, room, x, out, p.scale, p.value)


@helper
def _drop(p: Any, task: int, room: int, x: Any, out: Any, scale: Any, value: Any) -> None:
    drawn, least = _draw(p, task, room), p.least
    for i in range(min(MANY, p.size - task * MANY)):
        scaled = x[i] * scale
        out[i] = scaled if drawn[i] >= least else value


def drop_image(task: int, room: int, args: int) -> None:
    """An image whose channels lie together, while the words of a channel do."""
    p = _drawn(args)
    x, out = floats(p.x + task * p.size * 4), floats(p.out + task * p.size * 4)
    _drop_image(p, task, room, x, out, np.float32(p.scale), np.float32(p.value))


def drop_image_of_doubles(task: int, room: int, args: int) -> None:
    """The same in float64."""
    p = _drawn(args)
    x, out = doubles(p.x + task * p.size * 8), doubles(p.out + task * p.size * 8)
    _drop_image(p, task, room, x, out, p.scale, p.value)


@helper
def _drop_image(p: Any, task: int, room: int, x: Any, out: Any, scale: Any, value: Any) -> None:
    size, c, tile, kept = p.size, p.c, floats(room), floats(room + ROOM * 4)
    _choose(p, task, room)
    # Blocks of 8 channels and 8 pixels are turned over, the rest is done number by number.
    pixels, half = size // c, splat(np.float32(0.5))
    across, down = c - c % LANES, pixels - pixels % LANES
    scales, values = splat(scale), splat(value)
    for pixel in range(0, down, LANES):
        for k in range(0, across, LANES):
            transpose(kept, k * pixels + pixel, pixels, tile, 0, LANES)
            for i in range(LANES):
                at = (pixel + i) * c + k
                scaled = load(x, at) * scales
                store(out, at, where_greater(load(tile, i * LANES), half, scaled, values))
    for pixel in range(pixels):
        for k in range(across if pixel < down else 0, c):
            scaled = x[pixel * c + k] * scale
            out[pixel * c + k] = scaled if kept[k * pixels + pixel] > 0 else value


@helper
def _choose(p: Any, task: int, room: int) -> None:
    """Write ones for what stays of an image and zeros for what goes, in the order of the words."""
    first, least = task * p.size, p.least
    for unit in range(first // MANY, (first + p.size - 1) // MANY + 1):
        _draw(p, unit, room)
        start = unit * MANY - first
        skip = max(0, -start)
        drawn, kept = words(room + (WORDS + skip) * 4), floats(room + (ROOM + start + skip) * 4)
        for i in range(min(MANY, p.size - start) - skip):
            kept[i] = np.float32(1) if drawn[i] >= least else np.float32(0)


def warm_up(dtype: str) -> None:
    """Call each kernel once."""
    philox(None, 0, 0, 1)
    x = np.zeros((1, 2, 2), dtype)
    dropout(x, 0, 0, 0.5, x.shape, 1.0, 0.0)
    dropout(x.transpose(0, 2, 1), 0, 0, 0.5, x.shape, 1.0, 0.0)
