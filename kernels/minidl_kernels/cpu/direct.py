"""Direct convolution and its gradients from register tiles, for any stride, dilation and groups.

In channels-last memory the kw * C numbers under a row of the kernel lie next to each other. So a
row of outputs is a sum of kh matrix products, with no columns (im2col) ever written:

    y[ow, o] = sum over kh of  x[row oh * stride + kh, from ow * stride, kw * C numbers] @ w[kh]

A task is a block of output rows of one image. If the input is padded, in groups, or lies in memory
in another order, the task first copies the few rows it reads, with zeros around, into a strip that
stays in the processor's cache (each thread has one): padding and layout cost no pass over memory.

The gradient of the input is again such a convolution (`phases` in `convolution.py`). That of the
weights takes the products the other way, w[kh] += x[row].T @ g[row], in a fixed number of chunks
with sums of their own, which are then added in order: the same bits with any number of threads.
"""

from typing import Any, NamedTuple

import numpy as np

from minidl_kernels.cpu.compiling import helper
from minidl_kernels.cpu.gemm import TILE_COLUMNS, gemm_rows, pack, pack_transposed
from minidl_kernels.cpu.launch import floats, integers, record
from minidl_kernels.cpu.simd import LANES, load, maximum, splat, store, transpose

__all__ = ["Geometry", "add_chunks", "forward", "geometry", "pack_filters", "turn", "weight_chunk"]


FEW = 48  # numbers of a filter: so many, and g is read where it lies


class Geometry(NamedTuple):
    """A convolution as the kernels see it: three spatial axes, sizes and strides in numbers."""

    n: int  # images
    od: int  # output positions
    oh: int
    ow: int
    id: int  # input positions
    ih: int
    iw: int
    c: int  # channels of a group: in, out
    o: int
    groups: int
    kd: int  # the kernel, its steps, its reach
    kh: int
    kw: int
    sd: int
    sh: int
    sw: int
    pd: int  # zeros in front
    ph: int
    pw: int
    dd: int
    dh: int
    dw: int
    xn: int  # the strides of x
    xd: int
    xh: int
    xw: int
    xc: int
    yn: int  # the strides of y, whose channels lie together
    yd: int
    yh: int
    yw: int
    rows: int  # a block of output rows and columns is a task
    columns: int
    strip: int  # 1 if a task copies what it reads
    # Addresses of arrays, and what else some of the kernels are told.
    x: int = 0
    w: int = 0  # (groups, O, C, taps)
    panels: int = 0  # the packed weights
    places: int = 0  # of each tap among those used, -1 for one that is not
    taps: int = 0
    used: int = 0
    swapped: int = 0  # whether O and C change roles: for the gradient of the input
    bias: int = 0
    relu: int = 0
    y: int = 0  # the result, or its gradient
    gw: int = 0
    partial: int = 0  # (chunks, groups, O / 16, taps, C, 16), the sums of each chunk
    chunks: int = 0
    parts: int = 0


_RECORD = np.dtype([(name, np.intp) for name in Geometry._fields])
geometry = record(_RECORD)


# ---- what a task reads --------------------------------------------------------------------------


@helper
def _zero(x: Any, first: int, last: int) -> None:
    for i in range(last - first):
        x[first + i] = 0


@helper
def _copy_pixels(
    x: Any, i: int, xw: int, xc: int, count: int, c: int, strip: Any, j: int
) -> None:  # fmt: skip
    """(count, c) numbers with strides (xw, xc) -> next to each other."""
    if xc == 1 and (xw == c or count == 1):
        size = count * c
        whole = size - size % LANES
        for k in range(0, whole, LANES):
            store(strip, j + k, load(x, i + k))
        for k in range(whole, size):
            strip[j + k] = x[i + k]
    elif xw == 1:  # a plane for each channel: turned over in blocks of 8 x 8
        channels, pixels = c - c % LANES, count - count % LANES
        for k in range(0, channels, LANES):
            for w in range(0, pixels, LANES):
                transpose(x, i + k * xc + w, xc, strip, j + w * c + k, c)
        for k in range(c):
            for w in range(pixels if k < channels else 0, count):
                strip[j + w * c + k] = x[i + k * xc + w]
    else:
        for w in range(count):
            for k in range(c):
                strip[j + w * c + k] = x[i + w * xw + k * xc]


def turn(task: int, room: int, args: int) -> None:
    """Copy one row of pixels, of images in memory of any order, to channels-last memory."""
    p = geometry(args)
    row = task % p.ih * p.xh + task // p.ih * p.xn
    place = task * p.iw * p.c
    _copy_pixels(floats(p.x), row, p.xw, p.xc, p.iw, p.c, floats(p.y), place)


@helper
def _copy_groups(
    x: Any, i: int, xw: int, count: int, c: int, groups: int, strip: Any, j: int, step: int
) -> None:
    """Channels-last pixels, read in order: those of group k come to strip[j + k * step]."""
    whole = c - c % LANES
    for w in range(count):
        for group in range(groups):
            source, place = i + w * xw + group * c, j + group * step + w * c
            for k in range(0, whole, LANES):
                store(strip, place + k, load(x, source + k))
            for k in range(whole, c):
                strip[place + k] = x[source + k]


@helper
def _fill(
    p: Any, x: Any, n: int, od: int, h0: int, height: int, w0: int, width: int, strip: Any
) -> None:  # fmt: skip
    """Copy the input under some outputs: (groups, kd, height, width, c), zeros outside of x."""
    top, left = h0 * p.sh - p.ph, w0 * p.sw - p.pw
    first = min(max(0, -left), width)
    last = max(first, min(width, p.iw - left))
    size = width * p.c
    for k in range(p.kd):
        d = od * p.sd - p.pd + k * p.dd
        for r in range(height):
            read = False  # a long stride leaves rows out
            for tap in range(p.kh):
                if r >= tap * p.dh and (r - tap * p.dh) % p.sh == 0:
                    read = True
            if not read:
                continue
            h = top + r
            there = 0 <= d < p.id and 0 <= h < p.ih
            source = n * p.xn + d * p.xd + h * p.xh + (left + first) * p.xw
            together = there and p.groups > 1 and p.xc == 1
            if together:
                place, step = (k * height + r) * size + first * p.c, p.kd * height * size
                _copy_groups(x, source, p.xw, last - first, p.c, p.groups, strip, place, step)
            for group in range(p.groups):
                start = ((group * p.kd + k) * height + r) * size
                if not there:
                    _zero(strip, start, start + size)
                    continue
                _zero(strip, start, start + first * p.c)
                if not together:
                    i, j = source + group * p.c * p.xc, start + first * p.c
                    _copy_pixels(x, i, p.xw, p.xc, last - first, p.c, strip, j)
                _zero(strip, start + last * p.c, start + size)


@helper
def _block(p: Any, task: int) -> Any:
    """Which outputs a task makes: the image, the plane, the first row and column, how many."""
    across, down = -(-p.ow // p.columns), -(-p.oh // p.rows)
    w0 = task % across * p.columns
    task //= across
    h0 = task % down * p.rows
    task //= down
    rows, columns = min(p.rows, p.oh - h0), min(p.columns, p.ow - w0)
    return task // p.od, task % p.od, h0, rows, w0, columns


@helper
def _reach(p: Any, rows: int, columns: int) -> Any:
    """How many rows and columns of the input lie under a block of outputs."""
    return (rows - 1) * p.sh + (p.kh - 1) * p.dh + 1, (columns - 1) * p.sw + (p.kw - 1) * p.dw + 1


@helper
def _source(p: Any, height: int, width: int, n: int, od: int, h0: int, w0: int) -> Any:
    """Where a task finds the input under its block: first place, strides of (group, kd, h, w)."""
    if p.strip:
        row = width * p.c
        return 0, p.kd * height * row, height * row, row, p.c
    return n * p.xn + od * p.sd * p.xd + h0 * p.sh * p.xh + w0 * p.sw * p.xw, 0, p.xd, p.xh, p.xw


# ---- forward ------------------------------------------------------------------------------------


@helper
def _finish(y: Any, start: int, step: int, count: int, width: int, bias: Any, relu: int) -> None:
    """y = relu(y + bias) for `width` channels of `count` outputs, which are still in the cache."""
    zero = splat(np.float32(0))
    whole = width - width % LANES
    for k in range(0, whole, LANES):
        shift = load(bias, k)
        for i in range(count):
            v = load(y, start + i * step + k) + shift
            if relu:
                v = maximum(v, zero)
            store(y, start + i * step + k, v)
    for i in range(count):
        for k in range(whole, width):
            v = y[start + i * step + k] + bias[k]
            y[start + i * step + k] = np.float32(0) if relu and v < 0 else v


def forward(task: int, room: int, args: int) -> None:
    """Convolve one block of outputs with all filters."""
    p = geometry(args)
    x, panels, y, strip = floats(p.x), floats(p.panels), floats(p.y), floats(room)
    n, od, h0, rows, w0, columns = _block(p, task)
    height, width = _reach(p, rows, columns)
    source = x
    if p.strip:
        _fill(p, x, n, od, h0, height, w0, width, strip)
        source = strip
    first, group_step, plane, row, pixel = _source(p, height, width, n, od, h0, w0)
    depth, across = (p.kw * p.c, 1) if p.dw == 1 and pixel == p.c else (p.c, p.kw)
    if not p.strip:
        plane *= p.dd
    blocks = -(-p.o // TILE_COLUMNS)
    size = p.kd * p.kh * p.kw * p.c * TILE_COLUMNS  # of a panel
    # With few weights a row of outputs is finished at once, in order of memory; with many, a panel
    # of weights serves all rows while it is in the first cache.
    by_row = p.groups * blocks * size <= 1 << 14
    for i in range(rows * p.groups * blocks):
        if by_row:
            r, panel = i // (p.groups * blocks), i % (p.groups * blocks)
        else:
            panel, r = i // rows, i % rows
        group, ob = panel // blocks, panel % blocks
        outputs = min(TILE_COLUMNS, p.o - ob * TILE_COLUMNS)
        channel = group * p.o + ob * TILE_COLUMNS
        place = n * p.yn + od * p.yd + (h0 + r) * p.yh + w0 * p.yw + channel
        for k in range(p.kd):
            for j in range(across):
                a = first + group * group_step + k * plane + r * p.sh * row
                b = panel * size + k * (size // p.kd)
                gemm_rows(
                    columns,
                    source, a + j * p.dw * pixel, p.sw * pixel, 1, p.dh * row,
                    panels, b + j * p.c * TILE_COLUMNS, TILE_COLUMNS,
                    p.kw * p.c * TILE_COLUMNS,
                    p.kh, depth,
                    y, place, p.yw, outputs, k + j > 0,
                )  # fmt: skip
        if p.bias:
            bias = floats(p.bias + channel * 4)
            _finish(y, place, p.yw, columns, outputs, bias, p.relu)


def pack_filters(task: int, room: int, args: int) -> None:
    """Pack the filters of 16 output channels, or input channels if swapped, of a group.

    w (groups, O, C, taps) -> panels (groups, O / 16, used taps, C, 16)
    """
    p = geometry(args)
    w, panels, places, buffer = floats(p.w), floats(p.panels), integers(p.places), floats(room)
    # In a swapped convolution c and o already mean what the kernel reads and writes.
    taps, lanes, depth, lane_step, depth_step = p.taps, p.o, p.c, p.c * p.taps, p.taps
    if p.swapped:
        lane_step, depth_step = p.taps, p.o * p.taps
    blocks = -(-lanes // TILE_COLUMNS)
    group, block = task // blocks, task % blocks
    count = min(TILE_COLUMNS, lanes - block * TILE_COLUMNS)
    start = group * p.o * p.c * taps + block * TILE_COLUMNS * lane_step
    if taps == 1:  # a matrix, in one way or the other
        place = task * depth * TILE_COLUMNS
        if p.swapped:
            pack(w, start, depth_step, depth, count, panels, place)
        else:
            pack_transposed(w, start, lane_step, depth, count, panels, place)
        return
    whole, eights = count - count % LANES, taps - taps % LANES
    for k in range(depth):
        at = start + k * depth_step
        for lane in range(0, whole, LANES):
            for tap in range(0, eights, LANES):
                i, j = at + lane * lane_step + tap, tap * TILE_COLUMNS + lane
                transpose(w, i, lane_step, buffer, j, TILE_COLUMNS)
        for tap in range(taps):
            row = tap * TILE_COLUMNS
            for lane in range(0 if tap >= eights else whole, count):
                buffer[row + lane] = w[at + lane * lane_step + tap]
            for lane in range(count, TILE_COLUMNS):
                buffer[row + lane] = 0
            if places[tap] >= 0:
                j = ((task * p.used + places[tap]) * depth + k) * TILE_COLUMNS
                store(panels, j, load(buffer, row))
                store(panels, j + LANES, load(buffer, row + LANES))


# ---- gradient of the weights --------------------------------------------------------------------


def weight_chunk(task: int, room: int, args: int) -> None:
    """The sums over one chunk of the output blocks, for one part of the output channels."""
    p = geometry(args)
    x, g, partial, mine = floats(p.x), floats(p.y), floats(p.partial), floats(room)
    chunks, parts = p.chunks, p.parts
    chunk, part = task // parts, task % parts
    blocks = -(-p.o // TILE_COLUMNS)
    panels = p.groups * blocks
    low, high = panels * part // parts, panels * (part + 1) // parts
    units = p.n * p.od * -(-p.oh // p.rows) * -(-p.ow // p.columns)
    begin, end = units * chunk // chunks, units * (chunk + 1) // chunks
    tall, wide = _reach(p, p.rows, p.columns)
    strip = -(-p.strip * p.groups * p.kd * tall * wide * p.c // 16) * 16  # then panels, in lines
    taps = p.kd * p.kh * p.kw
    size = taps * p.c * TILE_COLUMNS
    if begin == end:
        first = (chunk * panels + low) * size
        _zero(partial, first, first + (high - low) * size)
    for unit in range(begin, end):
        n, od, h0, rows, w0, columns = _block(p, unit)
        height, width = _reach(p, rows, columns)
        source = x
        if p.strip:
            _fill(p, x, n, od, h0, height, w0, width, mine)
            source = mine
        first, group_step, plane, row, pixel = _source(p, height, width, n, od, h0, w0)
        depth, across = (p.kw * p.c, 1) if p.dw == 1 and pixel == p.c else (p.c, p.kw)
        if not p.strip:
            plane *= p.dd
        for panel in range(low, high):
            group, ob = panel // blocks, panel % blocks
            outputs = min(TILE_COLUMNS, p.o - ob * TILE_COLUMNS)
            place = n * p.yn + od * p.yd + h0 * p.yh + w0 * p.yw
            place += group * p.o + ob * TILE_COLUMNS
            right, bk, bt = g, p.yw, p.yh
            # Pixels of g lie far apart. They are put together if that is worth it: each is used
            # once for every number of a filter. And a tile reads 16 channels, also of fewer.
            if taps * p.c > FEW or outputs < TILE_COLUMNS:
                right, bk, bt = mine, TILE_COLUMNS, columns * TILE_COLUMNS
                for r in range(rows):
                    pack(g, place + r * p.yh, p.yw, columns, outputs, mine, strip + r * bt)
                place = strip
            for k in range(p.kd):
                for i in range(p.kh):
                    for j in range(across):
                        a = first + group * group_step + k * plane + i * p.dh * row
                        tap = (k * p.kh + i) * p.kw + j
                        gemm_rows(
                            depth,
                            source, a + j * p.dw * pixel, 1, p.sw * pixel, p.sh * row,
                            right, place, bk, bt,
                            rows, columns,
                            partial, (chunk * panels + panel) * size + tap * p.c * TILE_COLUMNS,
                            TILE_COLUMNS, TILE_COLUMNS, unit > begin,
                        )  # fmt: skip


def add_chunks(task: int, room: int, args: int) -> None:
    """Add the chunks' sums for 16 output channels, and turn them into rows of gw (O, C, taps)."""
    p = geometry(args)
    partial, gw, buffer, chunks = floats(p.partial), floats(p.gw), floats(room), p.chunks
    taps, blocks = p.kd * p.kh * p.kw, -(-p.o // TILE_COLUMNS)
    size, panels = taps * p.c * TILE_COLUMNS, p.groups * blocks
    outputs = min(TILE_COLUMNS, p.o - task % blocks * TILE_COLUMNS)
    channel = task // blocks * p.o + task % blocks * TILE_COLUMNS
    step = p.c * taps  # from a row of gw to the next
    whole, eights = outputs - outputs % LANES, taps - taps % LANES
    for chunk in range(1, chunks):  # in order of memory
        first = task * size
        for i in range(0, size, LANES):
            j = first + chunk * panels * size + i
            store(partial, first + i, load(partial, first + i) + load(partial, j))
    done = 0
    if taps == 1 and whole == TILE_COLUMNS:  # a matrix, turned over
        done = p.c - p.c % LANES
        for c in range(0, done, LANES):
            i, j = task * size + c * TILE_COLUMNS, channel * step + c
            transpose(partial, i, TILE_COLUMNS, gw, j, step)
            transpose(partial, i + LANES, TILE_COLUMNS, gw, j + LANES * step, step)
    for c in range(done, p.c):
        for tap in range(taps):
            i = task * size + (tap * p.c + c) * TILE_COLUMNS
            store(buffer, tap * TILE_COLUMNS, load(partial, i))
            store(buffer, tap * TILE_COLUMNS + LANES, load(partial, i + LANES))
        place = channel * step + c * taps
        for lane in range(0, whole, LANES):
            for tap in range(0, eights, LANES):
                i = tap * TILE_COLUMNS + lane
                transpose(buffer, i, TILE_COLUMNS, gw, place + lane * step + tap, step)
        for tap in range(taps):
            for lane in range(0 if tap >= eights else whole, outputs):
                gw[place + lane * step + tap] = buffer[tap * TILE_COLUMNS + lane]
