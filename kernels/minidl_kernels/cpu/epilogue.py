"""Bias, activation and max-pool after a convolution, compiled. Defined in `reference.epilogue`.

Bias and relu are done while the convolution writes its results (`direct`, `winograd`), and so are
windows of 2 x 2 (`conv_pool`, `winograd`), whose convolution is never in memory; backward, the same
kernels make the gradients of the convolution from that of the maxima. Other windows read the
convolution once more, eight channels at a time. A byte is kept for each maximum; backward, it says
where the gradient goes. The sums for the bias run over fixed chunks, so they are the same at any
number of threads.

Channels that do not fill vectors, and other dtypes than float32, are left to array code.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from minidl_kernels import plans
from minidl_kernels.cpu import winograd_back, winograd_forward, winograd_shallow_back
from minidl_kernels.cpu.conv_pool import direct_pool, direct_pool_weight
from minidl_kernels.cpu.convolution import (
    _rows,
    _shift,
    conv,
    conv_input,
    conv_weight,
    output_sizes,
)
from minidl_kernels.cpu.launch import floats, launch, octets, record
from minidl_kernels.cpu.memory import address, contiguous
from minidl_kernels.cpu.simd import (
    LANES,
    load,
    load_octets,
    splat,
    store,
    store_octets,
    where_equal,
    where_wins,
)
from minidl_kernels.cpu.windows import OFF, best_of, through_relu
from minidl_kernels.generic import epilogue as generic
from minidl_kernels.generic.arrays import channels_first, channels_last

__all__ = ["conv_pool", "conv_pool_gradient", "conv_relu_gradient", "warm_up"]

Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]

CHUNKS = 16  # of the sums for the bias
FUSED = ("direct", "winograd")
SHORT = 32  # numbers of a filter up to which `direct_pool_weight` is faster than the way apart
FEW = 1 << 14  # numbers below which one thread is faster


class Pool(NamedTuple):
    """Windows of (N, H, W, C), to (N, P, Q, C)."""

    n: int
    h: int
    w: int
    c: int
    p: int
    q: int
    tall: int  # a window
    wide: int
    relu: int
    x: int  # addresses: of what is pooled, or its gradient
    y: int
    place: int
    sums: int = 0  # (chunks, C)
    chunks: int = 0


_pool = record(np.dtype([(name, np.intp) for name in Pool._fields]))


def conv_pool(
    x: Any,
    w: Any,
    stride: Ints,
    padding: Pairs,
    dilation: Ints,
    groups: int,
    bias: Any,
    activation: str | None,
    size: Ints,
) -> tuple[Any, Any]:
    """Convolution, bias, activation, maximum: x (N, C, H, W) -> y, place (N, O, P, Q), uint8."""
    o, space = w.shape[0], output_sizes(x.shape[2:], w.shape[2:], stride, padding, dilation)
    out = (x.shape[0], space[0] // size[0], space[1] // size[1], o)
    options, relu = (stride, padding, dilation, groups), activation == "relu"
    choice = plans.choose("forward", x.shape, w.shape, *options, x.dtype)
    if choice.algorithm in FUSED and _alike(o, groups, size) and 0 not in (x.size, *out):
        y, place = np.empty(out, np.float32), np.empty(out, np.uint8)
        rows = _rows(channels_last(x))
        winograd = choice.algorithm == "winograd" and not choice.shallow
        if not winograd or not winograd_forward.convolve(
            rows, w, False, _before(padding), y, _shift(bias, None, o), relu, choice.deep, place
        ):
            direct_pool(rows, w, stride, padding, dilation, bias, relu, y, place)
        return channels_first(y), channels_first(place)
    full = conv(x, w, *options, bias, activation)
    n, o, height, width = full.shape
    if full.dtype != np.float32 or o % LANES or 0 in out:
        return generic.pool(full, size, relu)
    full = channels_last(full)
    y, place = np.empty(out, np.float32), np.empty(out, np.uint8)
    args = Pool(
        n, height, width, o, out[1], out[2], size[0], size[1], int(relu),
        address(full), address(y), address(place),
    )  # fmt: skip
    launch(pool_row, n * out[1], args, 0, full.size < FEW)
    return channels_first(y), channels_first(place)


def _alike(o: int, groups: int, size: Ints) -> bool:
    """Whether fused kernels take it: windows of 2 x 2, and channels in whole vectors."""
    return size == (2, 2) and groups == 1 and o % LANES == 0


def _before(padding: Pairs) -> Ints:
    return tuple([b for b, _ in padding])


def pool_row(task: int, room: int, args: int) -> None:
    """The maxima of one row of windows."""
    p = _pool(args)
    x, y, places = floats(p.x), floats(p.y), octets(p.place)
    n, row = task // p.p, task % p.p
    first = ((n * p.h + row * p.tall) * p.w) * p.c
    for column in range(p.q):
        out = (task * p.q + column) * p.c
        for c in range(0, p.c, LANES):
            at = first + column * p.wide * p.c + c
            best, place = load(x, at), splat(np.int32(0))
            for i in range(p.tall):
                for j in range(p.wide):
                    if i + j > 0:
                        value = load(x, at + (i * p.w + j) * p.c)
                        best, place = best_of(value, i * p.wide + j, best, place)
            if p.relu:
                best, place = through_relu(best, place)
            store(y, out + c, best)
            store_octets(places, out + c, place)


def conv_pool_gradient(
    g: Any,
    place: Any,
    x: Any,
    w: Any,
    stride: Ints,
    padding: Pairs,
    dilation: Ints,
    groups: int,
    size: Ints,
    of_x: bool = True,
    of_w: bool = True,
    of_bias: bool = True,
) -> tuple[Any, Any, Any]:
    """Gradients of x, w and bias from g (N, O, P, Q), that of the maxima; None if not asked for."""
    o, options = w.shape[0], (stride, padding, dilation, groups)
    if g.dtype == np.float32 and _alike(o, groups, size) and 0 not in (g.size, x.size):
        weights = plans.choose("weight", x.shape, w.shape, *options, g.dtype)
        direct = weights.algorithm == "direct" or weights.shallow
        if direct and not of_x and w[0].size <= SHORT:
            gw, gbias = direct_pool_weight(
                _contiguous(g), _contiguous(place), _rows(channels_last(x)), w.shape, stride,
                padding, dilation,
            )  # fmt: skip
            return None, gw if of_w else None, gbias if of_bias else None
        found = _winograd_gradient(g, place, None, x, w, *options, of_x, of_w, of_bias)
        if found is not None:
            return found
    space = output_sizes(x.shape[2:], w.shape[2:], stride, padding, dilation)
    g, gbias = unpool(g, place, (len(x), o, *space), size)
    return _apart(g, gbias, x, w, options, of_x, of_w, of_bias)


def conv_relu_gradient(
    g: Any,
    out: Any,
    x: Any,
    w: Any,
    stride: Ints,
    padding: Pairs,
    dilation: Ints,
    groups: int,
    of_x: bool = True,
    of_w: bool = True,
    of_bias: bool = True,
) -> tuple[Any, Any, Any]:
    """Gradients of x, w and bias from g, that of `out` (N, O, *P); None if not asked for."""
    options = stride, padding, dilation, groups
    if g.dtype == np.float32 and g.ndim == 4 and 0 not in (g.size, x.size):
        if (
            of_w
            and not of_x
            and plans.choose("weight", x.shape, w.shape, *options, g.dtype).shallow
        ):
            found = _shallow_gradient(g, out, x, w, padding, of_bias)
        else:
            found = _winograd_gradient(g, None, out, x, w, *options, of_x, of_w, of_bias)
        if found is not None:
            return found
    g, gbias = relu_gradient(g, out)
    return _apart(g, gbias, x, w, options, of_x, of_w, of_bias)


def _contiguous(x: Any) -> Any:
    return contiguous(channels_last(x))


def _winograd_gradient(
    g: Any, place: Any, mask: Any, x: Any, w: Any, stride: Ints, padding: Pairs, dilation: Ints,
    groups: int, of_x: bool, of_w: bool, of_bias: bool,
) -> Any:  # fmt: skip
    """All gradients in one pass, where both would be Winograd's and there is room; else None."""
    (o, c), options = w.shape[:2], (stride, padding, dilation, groups, g.dtype)
    for kind in ("input", "weight"):
        choice = plans.choose(kind, x.shape, w.shape, *options)
        if choice.algorithm != "winograd" or choice.deep:
            return None
    if not winograd_back.fits(len(x), c, o):
        return None
    g, place, mask = [None if a is None else _contiguous(a) for a in (g, place, mask)]
    found = winograd_back.gradients(
        _rows(channels_last(x)), w, _before(padding), g, place, mask, of_x, of_w
    )
    if found is None:
        return None
    gx, gw, gbias = found
    return None if gx is None else channels_first(gx), gw, gbias if of_bias else None


def _shallow_gradient(g: Any, out: Any, x: Any, w: Any, padding: Pairs, of_bias: bool) -> Any:
    """Gradients of weights and bias of a layer with few channels and relu; None if not finite."""
    gw, before = np.empty(w.shape, np.float32), _before(padding)
    x, g, out = _rows(channels_last(x)), _contiguous(g), _contiguous(out)
    gbias = winograd_shallow_back.gradient(x, g, before, gw, out)
    return None if gbias is None else (None, gw, gbias if of_bias else None)


def _apart(
    g: Any, gbias: Any, x: Any, w: Any, options: Any, of_x: bool, of_w: bool, of_bias: bool
) -> tuple[Any, Any, Any]:
    """The gradients one by one, from g, that of the convolution."""
    return (
        conv_input(g, w, x.shape, *options) if of_x else None,
        conv_weight(g, x, w.shape, *options) if of_w else None,
        gbias if of_bias else None,
    )


def unpool(g: Any, place: Any, shape: Ints, size: Ints) -> tuple[Any, Any]:
    """The gradient before the activation, (N, O, H, W), and that of the bias, (O,)."""
    n, o, height, width = shape
    if g.dtype != np.float32 or o % LANES or 0 in g.shape:
        return generic.unpool(g, place, shape, size)
    g, place = _contiguous(g), _contiguous(place)
    gy, sums = np.empty((n, height, width, o), g.dtype), np.empty((CHUNKS, o), g.dtype)
    p, q = g.shape[1:3]
    args = Pool(
        n, height, width, o, p, q, size[0], size[1], 0, address(gy), address(g), address(place),
        address(sums), CHUNKS,
    )  # fmt: skip
    launch(unpool_rows, CHUNKS, args, 0, gy.size < FEW)
    return channels_first(gy), sums.sum(axis=0)


def unpool_rows(task: int, room: int, args: int) -> None:
    """Put the gradients of a chunk of rows of windows in their places, zeros around them."""
    p = _pool(args)
    gy, g, places, sums = floats(p.x), floats(p.y), octets(p.place), floats(p.sums)
    zero, off = splat(np.float32(0)), splat(np.int32(OFF))
    for c in range(0, p.c, LANES):
        store(sums, task * p.c + c, zero)
    rows = p.n * p.p
    for unit in range(rows * task // p.chunks, rows * (task + 1) // p.chunks):
        n, row = unit // p.p, unit % p.p
        last = p.h if row == p.p - 1 else (row + 1) * p.tall
        for r in range(row * p.tall, last):
            i = r - row * p.tall
            line = (n * p.h + r) * p.w * p.c
            for column in range(p.q):
                at = (unit * p.q + column) * p.c
                for c in range(0, p.c, LANES):
                    v, place = load(g, at + c), load_octets(places, at + c)
                    for j in range(p.wide):
                        # -1 is no place: in rows that no window has
                        here = splat(np.int32(i * p.wide + j if i < p.tall else -1))
                        kept = where_equal(place, here, v, zero)
                        store(gy, line + (column * p.wide + j) * p.c + c, kept)
                    if i == 0:
                        kept = where_equal(place, off, zero, v)
                        store(sums, task * p.c + c, load(sums, task * p.c + c) + kept)
            for k in range(p.q * p.wide * p.c, p.w * p.c, LANES):
                store(gy, line + k, zero)


def relu_gradient(g: Any, y: Any) -> tuple[Any, Any]:
    """The gradient through relu(z + bias): g, y (N, O, *P) -> of z, and of bias (O,)."""
    o = g.shape[1]
    if g.dtype != np.float32 or y.dtype != np.float32 or o % LANES or not g.size:
        return generic.relu_gradient(g, y)
    g, y = contiguous(channels_last(g)), contiguous(channels_last(y))
    gz, sums = np.empty(g.shape, g.dtype), np.empty((CHUNKS, o), g.dtype)
    pixels = math.prod(g.shape[:-1])
    args = Pool(
        pixels, 1, 1, o, 1, 1, 1, 1, 1, address(gz), address(g), address(y), address(sums), CHUNKS
    )
    launch(mask_pixels, CHUNKS, args, 0, g.size < FEW)
    return channels_first(gz), sums.sum(axis=0)


def mask_pixels(task: int, room: int, args: int) -> None:
    """The gradients of a chunk of pixels, where y is positive or NaN, and their sum."""
    p = _pool(args)
    gz, g, y, sums, zero = floats(p.x), floats(p.y), floats(p.place), floats(p.sums), np.float32(0)
    begin, end = p.n * task // p.chunks * p.c, p.n * (task + 1) // p.chunks * p.c
    for c in range(0, p.c, LANES):
        store(sums, task * p.c + c, splat(zero))
    for at in range(begin, end, p.c):
        for c in range(0, p.c, LANES):
            kept = where_wins(load(y, at + c), splat(zero), load(g, at + c), splat(zero))
            store(gz, at + c, kept)
            store(sums, task * p.c + c, load(sums, task * p.c + c) + kept)


def warm_up(dtype: str) -> None:
    """Call each kernel once."""
    x, bias = np.zeros((4, 16, 10, 10), dtype), None
    for kernel, size in ((1, (2, 2)), (3, (2, 2)), (3, (1, 2))):
        w, options = np.zeros((16, 16, kernel, kernel), dtype), ((1, 1), ((0, 0),) * 2, (1, 1), 1)
        with plans.algorithm("winograd"):
            y, place = conv_pool(x, w, *options, bias, "relu", size)
            conv_pool_gradient(y, place, x, w, *options, size, of_x=kernel == 3)
    relu_gradient(x, x)
