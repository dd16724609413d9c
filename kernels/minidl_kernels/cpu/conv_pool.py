"""A direct convolution whose output is pooled while it is in the cache, and never stored whole.

A task is that of `direct.forward`, but for whole windows. It convolves into room of its own, then
takes the largest of each window, with bias and relu on the way, and writes that and its place: of
windows of 2 x 2 a third of the bytes of the convolution alone, which take no memory either.
"""

import math
from typing import Any

import numpy as np

from minidl_kernels.cpu import convolution, direct
from minidl_kernels.cpu.compiling import helper
from minidl_kernels.cpu.launch import floats, integers, launch, octets, record
from minidl_kernels.cpu.memory import address, contiguous, flat
from minidl_kernels.cpu.simd import LANES, load, splat, store, store_octets, where_wins

__all__ = ["OFF", "direct_pool"]

Ints = tuple[int, ...]

OFF = 255  # the place of a maximum that relu does not let through
ROOM = 1 << 17  # numbers of output that a task may have in its room: half a megabyte
TALL = 1 << 14  # … that it should have, for its first rows to be in the first cache still

# A task has a record of its own, in which the output is its room. What the pool is told is behind.
_FIELDS = len(direct.Geometry._fields)
_Y, _BIAS = direct.Geometry._fields.index("y"), direct.Geometry._fields.index("bias")
_POOL = ("tall", "wide", "off", "shift", "out", "place")
_pool = record(np.dtype([(n, np.intp) for n in (*direct.Geometry._fields, *_POOL)]))
_RECORD = 2 * _FIELDS + 2  # numbers of float32
_forward = helper(direct.forward)


def direct_pool(
    x: Any, w: Any, stride: Ints, before: Ints, dilation: Ints, groups: int, bias: Any, relu: bool,
    size: Ints, y: Any, place: Any,
) -> bool:  # fmt: skip
    """Write the largest of each window of a convolution to y and place (N, P, Q, O).

    x : (N, H, W, C), channels-last, w : (O, C / groups, KH, KW); O in whole vectors

    Returns whether it did: not where the rows of a window are too long for a task's room.
    """
    (n, *sizes, c), (_, *windows, o), kernel = x.shape, y.shape, w.shape[2:]
    out = tuple([k * many for k, many in zip(size, windows, strict=True)])  # nothing beside windows
    row = out[1] * o
    if size[0] * row > ROOM:
        return False
    memory, strides = flat(x)
    p = convolution._numbers(
        (n, *sizes, c), (*out, o), tuple(kernel), stride, before, dilation, groups,
        strides, (0, row, o), x.flags.c_contiguous, 1 << 20,
    )  # fmt: skip
    many = max(1, min(TALL // (size[0] * row), n * windows[0] // convolution.TASKS, windows[0]))
    rows = size[0] * -(-windows[0] // -(-windows[0] // many))
    p = p._replace(rows=rows, columns=out[1])
    w, taps = contiguous(w), math.prod(kernel)
    places = np.arange(taps)
    panels = np.empty(groups * -(-p.o // 16) * taps * p.c * 16, np.float32)
    shift = np.zeros(o, np.float32) if bias is None else contiguous(bias.astype("f4", copy=False))
    args = (
        *p._replace(
            x=address(memory), w=address(w), panels=address(panels), places=address(places),
            taps=taps, used=taps,
        ),
        *size, OFF if relu else 0, address(shift), address(y), address(place),
    )  # fmt: skip
    strip = p.strip * convolution._strip(p)
    room = max(strip + rows * row + _RECORD, -(-taps // 8) * 8 * 16)
    few = convolution._few(p)
    launch(direct.pack_filters, groups * -(-p.o // 16), args, room, few)
    launch(direct_task, n * -(-out[0] // rows), args, room, few)
    return True


def direct_task(task: int, room: int, args: int) -> None:
    """Convolve a block of rows into this task's room, and pool them."""
    p = _pool(args)
    down = -(-p.oh // p.rows)
    n, h0 = task // down, task % down * p.rows
    rows, o = min(p.rows, p.oh - h0), p.groups * p.o
    mine, given = integers(room), integers(args)
    for i in range(_FIELDS):
        mine[i] = given[i]
    block = room + _RECORD * 4
    mine[_Y] = block - h0 * p.yh * 4
    _forward(task, block + p.rows * p.yh * 4, room)
    first = (n * (p.oh // p.tall) + h0 // p.tall) * (p.ow // p.wide) * o
    _pool_rows(p, floats(block), rows // p.tall, o, first)


@helper
def _pool_rows(p: Any, x: Any, count: int, o: int, first: int) -> None:
    """The largest of each window of (count * tall, ow, o) numbers, and its place."""
    y, places, shift, zero = floats(p.out), octets(p.place), floats(p.shift), splat(np.float32(0))
    across = p.ow // p.wide
    for window in range(count * across):
        start = (window // across * p.tall * p.ow + window % across * p.wide) * o
        for c in range(0, o, LANES):
            bias = load(shift, c)
            best, place = load(x, start + c) + bias, zero
            for i in range(p.tall):
                for j in range(p.wide):
                    if i + j > 0:
                        value = load(x, start + (i * p.ow + j) * o + c) + bias
                        k = splat(np.float32(i * p.wide + j))
                        place = where_wins(value, best, k, place)
                        best = where_wins(value, best, value, best)
            if p.off:
                place = where_wins(best, zero, place, splat(np.float32(OFF)))
                best = where_wins(best, zero, best, zero)
            store(y, first + window * o + c, best)
            store_octets(places, first + window * o + c, place)
