"""Convolution of NumPy arrays: which kernel runs, and what it is told. Defined in `reference`.

`minidl_kernels.plans` chooses by shape. Here the arguments are put into the numbers the compiled
kernels take: one or two spatial axes are three with leading axes of one place, and any array that
fills its memory without gaps is read where it is, through its strides.

float64 and float16 are left to the array code in `generic`: they are for checking and for storage.
"""

import functools
import itertools
import math
from typing import Any

import numpy as np

from minidl_kernels import plans
from minidl_kernels.cpu import (
    depthwise,
    direct,
    spreading,
    winograd_forward,
    winograd_shallow,
    winograd_shallow_back,
    winograd_weight,
)
from minidl_kernels.cpu.launch import launch
from minidl_kernels.cpu.memory import address, contiguous, empty, flat
from minidl_kernels.generic import convolution as generic
from minidl_kernels.generic.arrays import channels_first, channels_last

__all__ = ["conv", "conv_input", "conv_weight", "warm_up"]

output_sizes = functools.lru_cache(1024)(generic.output_sizes)

Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]

FEW = 1 << 17  # multiplications below which one thread is faster than the start of two
STRIP = 1 << 16  # numbers in a strip: 256 kB, half of the cache that is a core's own
PANEL = 256  # pixels of a block for the weights: a panel of g, 16 kB, stays in the first cache
READ = 16  # numbers read again, in the time that one takes to be copied to a strip or added
TASKS = 16  # at least so many, where there is work: fixed, for the sums must not know the threads


def conv(
    x: Any,
    w: Any,
    stride: Ints,
    padding: Pairs,
    dilation: Ints,
    groups: int,
    bias: Any = None,
    activation: str | None = None,
) -> Any:
    """Convolution, plus a bias (O,), then "relu": x (N, C, *S), w -> (N, O, *P), channels-last."""
    (n, c), o, kernel = x.shape[:2], len(w), w.shape[2:]
    out = output_sizes(x.shape[2:], kernel, stride, padding, dilation)
    options = (stride, padding, dilation, groups, x.dtype)
    choice = plans.choose("forward", x.shape, w.shape, *options)
    if choice.algorithm == "im2col" or 0 in (n, c, o, *out):
        return generic.conv(x, w, stride, padding, dilation, groups, bias, activation)
    y = empty((n, *out, o), x.dtype)
    before = tuple(b for b, _ in padding)
    shift = _shift(bias, activation, o)
    relu = activation == "relu"
    x = channels_last(x)
    if choice.algorithm == "depthwise":
        _depthwise(x, w, kernel, (stride, before, dilation), y, shift, relu)
        return channels_first(y)
    if choice.algorithm == "winograd" and _winograd(choice, x, w, False, before, y, shift, relu):
        return channels_first(y)
    taps = _all_taps(math.prod(kernel))
    _direct(x, w, False, taps, kernel, stride, before, dilation, groups, y, shift, relu)
    return channels_first(y)


def _winograd(
    choice: plans.Choice, x: Any, w: Any, turned: bool, before: Ints, y: Any, bias: Any = None,
    relu: bool = False,
) -> bool:  # fmt: skip
    """Write into y, by Winograd's algorithm in one of its forms; returns whether it is finite."""
    x = _rows(x)
    if choice.shallow:
        return winograd_shallow.convolve(x, w, turned, before, y, bias, relu)
    return winograd_forward.convolve(x, w, turned, before, y, bias, relu, choice.deep)


def _shift(bias: Any, activation: str | None, o: int) -> Any:
    """The bias as kernels take it: zeros for none before an activation, None if nothing is done."""
    if bias is not None:
        return contiguous(bias.astype(np.float32, copy=False))
    return np.zeros(o, np.float32) if activation else None


def conv_input(
    g: Any, w: Any, shape: Ints, stride: Ints, padding: Pairs, dilation: Ints, groups: int
) -> Any:
    """Gradient with respect to x: g (N, O, *P), w (O, C / groups, *K) -> `shape` (N, C, *S)."""
    n, c, *spatial = shape
    options = (stride, padding, dilation, groups, g.dtype)
    choice = plans.choose("input", shape, w.shape, *options)
    if choice.algorithm == "im2col" or 0 in (n, c, *g.shape, *spatial):
        return generic.conv_input(g, w, shape, stride, padding, dilation, groups)
    kernel = w.shape[2:]
    if choice.algorithm == "winograd":
        gx = empty((n, *spatial, c), g.dtype)
        before = tuple(2 - b for b, _ in padding)
        if _winograd(choice, channels_last(g), w, True, before, gx):
            return channels_first(gx)
    if choice.algorithm == "spread":
        return channels_first(_spread(_rows(channels_last(g)), w, shape, stride, padding, dilation))
    if choice.algorithm == "depthwise":
        gx = empty((n, *spatial, c), g.dtype)
        before = tuple(b for b, _ in padding)
        _depthwise(channels_last(g), w, kernel, (stride, before, dilation), gx, swapped=True)
        return channels_first(gx)
    parts, whole = _phases(tuple(spatial), tuple(kernel), stride, padding, dilation)
    gx = (empty if whole else np.zeros)((n, *spatial, c), g.dtype)
    g, ones = channels_last(g), (1,) * len(stride)
    for here, taps, sizes, before, spread in parts:
        _direct(g, w, True, taps, sizes, ones, before, spread, groups, gx[:, *here])
    return channels_first(gx)


@functools.lru_cache(1024)
def _phases(
    spatial: Ints, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints
) -> tuple[Any, bool]:
    """`phases` of all axes together, and whether they are all places of the input.

    Each is the places, where each tap comes among those used (-1: it isn't), how many these are on
    each axis, their padding, their dilation.
    """
    axes = [phases(*axis) for axis in zip(spatial, kernel, stride, padding, dilation, strict=True)]
    found = []
    for phase in itertools.product(*axes):
        starts, used, before, spread = zip(*phase, strict=True)
        sizes = tuple(map(len, used))
        taps = np.full(kernel, -1, np.intp)
        taps[np.ix_(*used)] = np.arange(math.prod(sizes)).reshape(sizes)
        here = tuple(slice(i, None, step) for i, step in zip(starts, stride, strict=True))
        found.append((here, taps.reshape(-1), sizes, before, spread))
    return found, all(len(axis) == step for axis, step in zip(axes, stride, strict=True))


@functools.lru_cache(64)
def _all_taps(count: int) -> Any:
    return np.arange(count, dtype=np.intp)


def phases(size: int, kernel: int, stride: int, pads: tuple[int, int], dilation: int) -> Any:
    """The inputs of a strided convolution along an axis, by their place modulo the stride.

    Of the places q = r, r + stride, … each lies under the same taps k: where the output position
    p = (q + before - k * dilation) / stride is whole. So their gradient is a convolution of g with
    these taps alone, in falling order, of stride 1. Returns (r, taps, its padding, its dilation)
    for each r that has any.
    """
    found = []
    for r in range(min(stride, size)):
        used = [k for k in range(kernel) if (r + pads[0] - k * dilation) % stride == 0][::-1]
        if used:
            first = (r + pads[0] - used[0] * dilation) // stride
            found.append((r, used, -first, dilation // math.gcd(stride, dilation)))
    return found


def conv_weight(
    g: Any, x: Any, shape: Ints, stride: Ints, padding: Pairs, dilation: Ints, groups: int
) -> Any:
    """Gradient with respect to w: g (N, O, *P), x (N, C, *S) -> `shape` (O, C / groups, *K)."""
    o, each, *kernel = shape
    options = (stride, padding, dilation, groups, g.dtype)
    choice = plans.choose("weight", x.shape, shape, *options)
    if choice.algorithm == "im2col" or 0 in (*g.shape, *x.shape, *shape):
        return generic.conv_weight(g, x, shape, stride, padding, dilation, groups)
    g, x = _rows(channels_last(g)), channels_last(x)
    before = tuple(b for b, _ in padding)
    if choice.algorithm == "winograd":
        gw, x = empty(shape, g.dtype), _rows(x)
        if choice.shallow:
            finite = winograd_shallow_back.gradient(x, g, before, gw) is not None
        else:
            finite = winograd_weight.gradient(x, g, before, gw, choice.deep)
        if finite:
            return gw
    if choice.algorithm == "depthwise":
        return _depthwise_weight(x, g, kernel, (stride, before, dilation)).reshape(shape)
    x, p = _geometry(x, o, kernel, stride, before, dilation, groups, g, PANEL)
    taps, panels = math.prod(kernel), groups * -(-p.o // 16)
    units = p.n * p.od * -(-p.oh // p.rows) * -(-p.ow // p.columns)
    size = panels * taps * each * 16
    chunks, parts = _shares(panels, units, size, _strip(p) if p.strip else _strip(p) // READ)
    partial, gw = empty(chunks * size, g.dtype), empty((o, each, taps), g.dtype)
    args = p._replace(
        x=address(x), y=address(g), gw=address(gw), partial=address(partial),
        chunks=chunks, parts=parts,
    )  # fmt: skip
    room = p.strip * _strip(p) + 16 + p.rows * p.columns * 16 + taps * 16
    launch(direct.weight_chunk, chunks * parts, args, room, _few(p))
    launch(direct.add_chunks, panels, args, room, _few(p))
    return gw.reshape(shape)


@functools.lru_cache(1024)
def _shares(panels: int, units: int, size: int, strip: int) -> tuple[int, int]:
    """Cut the sums for weights into (chunks of the units) x (parts of the panels) tasks.

    Each part fills all strips, or reads what would be in them, each chunk adds `size` sums: what
    moves the fewest numbers.
    """
    most = max(1, min(TASKS, units, (2 << 20) // size))
    cuts = [(chunks, min(panels, -(-TASKS // chunks))) for chunks in range(1, most + 1)]
    return min(cuts, key=lambda cut: cut[0] * size + cut[1] * units * strip)


def _direct(
    x: Any,
    w: Any,
    swapped: bool,
    taps: Any,
    kernel: Any,
    stride: Any,
    before: Any,
    dilation: Any,
    groups: int,
    y: Any,
    bias: Any = None,
    relu: bool = False,
) -> None:
    """Write into y (N, *P, O) the convolution of x (N, *S, C), both channels-last."""
    x, p = _geometry(x, y.shape[-1], kernel, stride, before, dilation, groups, y)
    w = contiguous(w)
    used, blocks = math.prod(kernel), groups * -(-p.o // 16)
    panels = empty(blocks * used * p.c * 16, y.dtype)
    args = p._replace(
        x=address(x), w=address(w), panels=address(panels), places=address(taps), y=address(y),
        taps=taps.size, used=used, swapped=int(swapped),
        bias=0 if bias is None else address(bias), relu=int(relu),
    )  # fmt: skip
    room = max(p.strip * _strip(p), -(-taps.size // 8) * 8 * 16)
    tasks = p.n * p.od * -(-p.oh // p.rows) * -(-p.ow // p.columns)
    launch(direct.pack_filters, blocks, args, room, _few(p))
    launch(direct.forward, tasks, args, room, _few(p))


def _spread(g: Any, w: Any, shape: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Any:
    """`conv_input` for few channels, from g (N, *P, O) to (N, *S, C)."""
    (n, c, *spatial), o, kernel = shape, len(w), w.shape[2:]
    gx, taps = empty((n, *spatial, c), g.dtype), math.prod(kernel)
    wide = -(-taps * c // 16) * 16
    filters = np.zeros((o, wide), g.dtype)
    filters[:, : taps * c] = w.reshape(o, c, taps).swapaxes(1, 2).reshape(o, taps * c)
    panels = np.ascontiguousarray(filters.reshape(o, -1, 16).swapaxes(0, 1))
    before = tuple(b for b, _ in padding)
    _, p = _geometry(g, c, kernel, stride, before, dilation, 1, gx)
    reach = (p.kh - 1) * p.dh + 1
    args = p._replace(
        x=address(g), panels=address(panels), y=address(gx),
        rows=max(-(-p.oh // -(-TASKS // n)), min(p.oh, 4 * reach)),
    )  # fmt: skip
    launch(spreading.spread, n * -(-p.oh // args.rows), args, p.iw * wide, _few(p))
    return gx


def _rows(x: Any) -> Any:
    """(N, *S, C), float32, in contiguous memory; itself if it is so. Planes turn in blocks."""
    if x.flags.c_contiguous or x.size < FEW:
        return contiguous(x)
    memory, (xn, *xs, xc) = flat(x)
    n, *sizes, c = x.shape
    if any(one != size * other for one, size, other in zip(xs, sizes[1:], xs[1:], strict=False)):
        return contiguous(x)  # the pixels of an image do not follow each other
    y, pixels = empty(x.shape, x.dtype), math.prod(sizes)
    rows = -(-TASKS // n) if pixels >= 64 * TASKS and pixels % (8 * -(-TASKS // n)) == 0 else 1
    p = direct.Geometry(*[0] * 34)._replace(
        ih=rows, iw=pixels // rows, c=c, xn=xn, xh=pixels // rows * xs[-1], xw=xs[-1], xc=xc,
        x=address(memory), y=address(y),
    )  # fmt: skip
    launch(direct.turn, n * rows, p, 0, False)
    return y


def _depthwise(
    x: Any, w: Any, kernel: Any, options: Any, y: Any, bias: Any = None, relu: bool = False,
    swapped: bool = False,
) -> None:  # fmt: skip
    """Write into y (N, *P, C) the convolution of x (N, *S, C), or the gradient of its input.

    options : stride, padding in front, dilation; swapped : x is the gradient, y that of the input
    """
    stride, before, dilation = options
    if swapped and set(stride) == set(dilation) == {1}:  # a convolution with the kernel turned over
        w, swapped = w[..., *[slice(None, None, -1)] * len(kernel)], False
        before = tuple(k - 1 - b for k, b in zip(kernel, before, strict=True))
    x, p = _channelwise(_rows(x), y, kernel, (stride, before, dilation))
    w = np.ascontiguousarray(w.reshape(len(w), -1).T)
    args = p._replace(
        x=address(x), w=address(w), y=address(y),
        bias=0 if bias is None else address(bias), relu=int(relu), swapped=int(swapped),
    )  # fmt: skip
    if not swapped and _in_blocks(p):
        tasks = p.n * -(-p.oh // depthwise.ROWS)
        launch(depthwise.forward(p.kh, p.sh), tasks, args, 0, _few(p))
    else:
        launch(depthwise.general, p.n * p.od * p.oh, args, 4 * p.kd * p.kh * p.kw, _few(p))


def _depthwise_weight(x: Any, g: Any, kernel: Any, options: Any) -> Any:
    """The gradient of the weights, (C, taps)."""
    x, p = _channelwise(_rows(x), g, kernel, options)
    taps, c = math.prod(kernel), p.groups
    if _in_blocks(p):
        run, units, wide = depthwise.weight_chunk(p.kh, p.sh), p.n * -(-p.oh // 2), -(-c // 8) * 8
    else:
        run, units, wide = depthwise.general_weight, p.n * p.od * p.oh, c
    chunks = min(TASKS, units)
    partial = empty((chunks, taps, wide), g.dtype)
    args = p._replace(x=address(x), y=address(g), partial=address(partial), chunks=chunks)
    launch(run, chunks, args, 0, _few(p))
    sums = partial.sum(axis=0)
    if wide > c:
        sums[:, c - c % 8 : c] = sums[:, wide - c % 8 :]
    return np.ascontiguousarray(sums[:, :c].T)


def _in_blocks(p: direct.Geometry) -> bool:
    """Whether `depthwise` has a kernel made for this one, and a block of outputs fits in y."""
    square = p.kd == p.od == p.id == 1 and p.kh == p.kw and p.sh == p.sw and p.dh == p.dw == 1
    large = p.oh >= depthwise.ROWS and p.ow >= depthwise.PIXELS and p.groups >= 8
    over = p.pw < p.kw and (p.ow - 1) * p.sw - p.pw < p.iw  # each output lies over some input
    return square and p.kh in (3, 5, 7) and p.sh in (1, 2) and large and over


def _channelwise(x: Any, y: Any, kernel: Any, options: Any) -> tuple[Any, direct.Geometry]:
    """`_geometry` for `depthwise`."""
    stride, before, dilation = options
    return _geometry(x, x.shape[-1], kernel, stride, before, dilation, x.shape[-1], y)


def _geometry(
    x: Any,
    o: int,
    kernel: Any,
    stride: Any,
    before: Any,
    dilation: Any,
    groups: int,
    y: Any,
    most: int = 1 << 20,
) -> tuple[Any, direct.Geometry]:
    """The memory of x (N, *S, C), and the numbers that describe its convolution to y (N, *P, O)."""
    n, *sizes, c = x.shape
    out, alike = y.shape[1:-1], x.flags.c_contiguous
    one_tap = math.prod(kernel) == math.prod(stride) == groups == 1 and not any(before)
    if one_tap and alike and y.flags.c_contiguous and [*out] == sizes:  # one long row of pixels
        n, sizes, out = 1, [n * math.prod(sizes)], (n * math.prod(sizes),)
        kernel, stride, before, dilation = (1,), (1,), (0,), (1,)
        x, y = x.reshape(1, *sizes, c), y.reshape(1, *out, y.shape[-1])
    memory, strides = flat(x)
    steps = tuple(step // y.itemsize for step in y.strides[:-1])
    options = (tuple(kernel), tuple(stride), tuple(before), tuple(dilation), groups)
    return memory, _numbers((n, *sizes, c), (*out, o), *options, strides, steps, alike, most)


@functools.lru_cache(1024)
def _numbers(
    x: Ints,
    y: Ints,
    kernel: Ints,
    stride: Ints,
    before: Ints,
    dilation: Ints,
    groups: int,
    strides: Ints,
    steps: Ints,
    alike: bool,
    most: int,
) -> direct.Geometry:
    """`_geometry` from shapes and strides alone; kept, for a network asks for the same ones."""
    (n, *sizes, c), (*out, o) = x, y
    inside = all(
        b == 0 and (p - 1) * step + (k - 1) * d < s
        for p, step, b, k, d, s in zip(out, stride, before, kernel, dilation, sizes, strict=True)
    )

    def three(values: Any, missing: int) -> list[int]:
        return [*[missing] * (3 - len(values)), *map(int, values)]

    (xn, *xs, xc), (yn, *ys) = strides, steps
    follow = xn == out[0] * stride[0] * xs[0] and yn == out[0] * ys[0]
    if len(out) == 2 and kernel[0] == 1 and before[0] == 0 and follow:
        n, out, sizes = 1, [n * out[0], out[1]], [n * sizes[0], sizes[1]]  # one tall image
    numbers = [
        n, *three(out, 1), *three(sizes, 1), c // groups, o // groups, groups,
        *three(kernel, 1), *three(stride, 1), *three(before, 0), *three(dilation, 1),
        xn, *three(xs, 0), xc, yn, *three(ys, 0), 1, 1, int(not (inside and alike and groups == 1)),
    ]  # fmt: skip
    return _blocks(direct.Geometry(*numbers), most)


def _blocks(p: direct.Geometry, most: int) -> direct.Geometry:
    """Cut the output into blocks of at most so many pixels, whose input fits a strip.

    And into enough of them for the threads.
    """
    columns = -(-p.ow // -(-p.ow // most))
    while columns > 24 and _strip(p._replace(columns=columns)) > STRIP:
        columns = -(-columns // 2)
    columns = -(-columns // 6) * 6 if columns < p.ow else columns
    p = p._replace(columns=columns)
    if p.ow > 48 and p.oh * p.od * p.n < TASKS:
        wanted = max(24, -(-p.ow * p.oh * p.od * p.n // TASKS))
        p = p._replace(columns=min(columns, -(-wanted // 6) * 6))
    rows = 1
    across = p.n * p.od * -(-p.ow // p.columns)
    while rows < min(16, p.oh):
        more = p._replace(rows=rows + 1)
        if (
            more.rows * p.columns > most
            or _strip(more) > STRIP
            or across * -(-p.oh // (rows + 1)) < TASKS
        ):
            break
        rows += 1
    return p._replace(rows=-(-p.oh // -(-p.oh // rows)))


def _strip(p: direct.Geometry) -> int:
    """Numbers in a strip: the input under a block of outputs."""
    tall = (p.rows - 1) * p.sh + (p.kh - 1) * p.dh + 1
    wide = (p.columns - 1) * p.sw + (p.kw - 1) * p.dw + 1
    return p.groups * p.kd * tall * wide * p.c


def _few(p: direct.Geometry) -> bool:
    work = p.n * p.od * p.oh * p.ow * p.groups * p.o * p.c * p.kd * p.kh * p.kw
    return work < FEW


def warm_up(dtype: str) -> None:
    """Call each kernel once, on so much that it is shared among threads."""
    x, w = np.zeros((1, 16, 16, 16), dtype), np.zeros((16, 16, 3, 3), dtype)
    for name, groups in (("direct", 1), ("winograd", 1), (None, 16)):
        with plans.algorithm(name):
            options, part = ((1, 1), ((0, 0), (0, 0)), (1, 1), groups), w[:, : 16 // groups]
            g = conv(x, part, *options)
            conv_input(g, part, x.shape, *options)
            conv_weight(g, x, part.shape, *options)
    conv_input(x, w[:, :1], (1, 1, 18, 18), (1, 1), ((0, 0), (0, 0)), (1, 1), 1)
    for stride in ((2, 2), (1, 2)):  # of depthwise convolutions there are several kernels
        options, part = (stride, ((1, 1), (1, 1)), (1, 1), 16), w[:, :1]
        g = conv(x, part, *options)
        conv_input(g, part, x.shape, *options)
        conv_weight(g, x, part.shape, *options)
    if dtype == "float32":
        x, g = np.zeros((1, 6, 6, 16), dtype), np.zeros((1, 4, 4, 16), dtype)
        winograd_forward.convolve(x, w, False, (0, 0), g, deep=True)
        winograd_weight.gradient(x, g, (0, 0), np.empty_like(w), deep=True)
        for c in (1, 3):  # images in grey and in colours
            x = np.zeros((1, 6, 6, c), dtype)
            winograd_shallow.convolve(x, w[:, :c], False, (0, 0), g)
            winograd_shallow_back.gradient(x, g, (0, 0), np.empty((16, c, 3, 3), dtype))
