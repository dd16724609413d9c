"""Normalisation in channels-last memory: rows of C numbers, statistics along the rows.

    of a batch     each channel over all rows: batch normalisation
    of groups      some neighbouring channels over the rows of an image: group normalisation, and
                   instance normalisation with groups of one channel

Both are made of two steps, with eight channels in a vector:

    sums     of a, of (a - centre)², or of a (x - centre), over rows
    change   (x - centre) slope + shift, and for gradients + g of_g, number by number

Each takes several rows at a time, so that what belongs to a column is read once for them; and four
numbers that are first added to each other lose less than four that are added to a long sum.
"""

from typing import Any

import numpy as np

from minidl_kernels.cpu.compiling import helper
from minidl_kernels.cpu.launch import doubles, floats, launch, record
from minidl_kernels.cpu.memory import address, channels_last_memory, contiguous
from minidl_kernels.cpu.simd import LANES, fma, load, load_first, store, store_first
from minidl_kernels.cpu.threads import SMALL
from minidl_kernels.generic.arrays import channels_last

__all__ = [
    "gradient_of_batch",
    "gradient_of_groups",
    "grouped",
    "of_batch",
    "of_groups",
]

Ints = tuple[int, ...]

PARTS = 32  # into which the rows of a batch are cut
CENTRE, SLOPE, SHIFT, OF_G, SUMS, PRODUCTS = range(6)  # rows of C numbers to work with

# ---- a batch ------------------------------------------------------------------------------------

_BATCH = ("rows", "c", "what", "x", "g", "vectors", "out")
_batch = record(np.dtype([(name, np.intp) for name in _BATCH]))


def of_batch(x: Any, weight: Any, bias: Any, eps: float) -> tuple[Any, Any, Any, Any]:
    """The result, and mean, variance and 1 / sqrt(variance + eps) of each channel."""
    c, count = x.shape[1], x.size // x.shape[1]
    centre = _column_sums(x, x, np.zeros(c, x.dtype), 0) / x.dtype.type(count)
    var = _column_sums(x, x, centre, 1) / x.dtype.type(count)
    rstd = 1 / np.sqrt(var + x.dtype.type(eps))
    return _changed(x, None, centre, rstd * weight, bias, None), centre, var, rstd


def gradient_of_batch(
    x: Any, weight: Any, zeros: Any, centre: Any, rstd: Any, g: Any
) -> tuple[Any, Any, Any]:
    """The gradients of x, weight and bias."""
    g = contiguous(channels_last(g)).transpose(0, x.ndim - 1, *range(1, x.ndim - 1))
    each = x.dtype.type(x.size // x.shape[1])
    gb = _column_sums(g, g, zeros, 0)
    gw = _column_sums(g, x, centre, 2) * rstd
    slope, shift = -gw * rstd * rstd * weight / each, -gb * rstd * weight / each
    return _changed(x, g, centre, slope, shift, rstd * weight), gw, gb


def _column_sums(a: Any, x: Any, centre: Any, what: int) -> Any:
    """Sums over all rows: of a (0), of (a - centre)² (1), or of a (x - centre) (2)."""
    partial = np.empty((PARTS, centre.size), a.dtype)
    args = (
        a.size // centre.size, centre.size, what, address(x), address(a), address(centre),
        address(partial),
    )  # fmt: skip
    kernel = sums_of_part if a.dtype == np.float32 else sums_of_part_of_doubles
    launch(kernel, PARTS, args, 0, a.size < SMALL)
    return partial.sum(axis=0)


def sums_of_part(task: int, room: int, args: int) -> None:
    """The sums of a part of the rows."""
    p = _batch(args)
    _sums_of_part(p, task, floats(p.g), floats(p.x), floats(p.vectors), floats(p.out))


def sums_of_part_of_doubles(task: int, room: int, args: int) -> None:
    """The same in float64."""
    p = _batch(args)
    _sums_of_part(p, task, doubles(p.g), doubles(p.x), doubles(p.vectors), doubles(p.out))


@helper
def _sums_of_part(p: Any, task: int, a: Any, x: Any, centre: Any, out: Any) -> None:
    first, last = p.rows * task // PARTS, p.rows * (task + 1) // PARTS
    _sums(p.what, a, x, first, last, p.c, centre, 0, out, task * p.c)


def _changed(x: Any, g: Any, centre: Any, slope: Any, shift: Any, of_g: Any) -> Any:
    """(x - centre) slope + shift, and + g of_g if there is a g."""
    out = channels_last_memory(x.shape, x.dtype)
    vectors = np.empty((OF_G + 1, centre.size), x.dtype)
    vectors[CENTRE], vectors[SLOPE], vectors[SHIFT] = centre, slope, shift
    vectors[OF_G] = 0 if of_g is None else of_g
    args = (
        x.size // centre.size, centre.size, int(g is not None), address(x),
        address(x if g is None else g), address(vectors), address(out),
    )  # fmt: skip
    kernel = change_part if x.dtype == np.float32 else change_part_of_doubles
    launch(kernel, PARTS, args, 0, x.size < SMALL)
    return out


def change_part(task: int, room: int, args: int) -> None:
    """A part of the rows."""
    p = _batch(args)
    first, last = p.rows * task // PARTS, p.rows * (task + 1) // PARTS
    x, g, vectors, out = floats(p.x), floats(p.g), floats(p.vectors), floats(p.out)
    _change(p.what, x, g, first, last, p.c, vectors, out)


def change_part_of_doubles(task: int, room: int, args: int) -> None:
    """The same in float64."""
    p = _batch(args)
    first, last = p.rows * task // PARTS, p.rows * (task + 1) // PARTS
    x, g, vectors, out = doubles(p.x), doubles(p.g), doubles(p.vectors), doubles(p.out)
    _change(p.what, x, g, first, last, p.c, vectors, out)


# ---- groups of an image -------------------------------------------------------------------------

_GROUPS = ("rows", "c", "d", "x", "g", "weight", "bias", "out", "centre", "var", "rstd", "partial")
_GROUP = np.dtype([*[(name, np.intp) for name in _GROUPS], ("eps", np.float64)])
_groups = record(_GROUP)


def grouped(x: Any, shape: Ints) -> bool:
    """Whether x is (N, C, *S) or (N, G, C / G, *S), weight a number for each of the C, last."""
    channels = 2 if x.ndim > 2 and shape[2] == x.shape[2] > 1 else 1
    if shape != (1, *x.shape[1 : 1 + channels], *(1,) * (x.ndim - 1 - channels)):
        return False
    return bool(_rows_of(x, channels).flags.c_contiguous)


def _rows_of(x: Any, channels: int) -> Any:
    """(N, *channels, *S) -> (N, *S, *channels), a view."""
    return x.transpose(0, *range(1 + channels, x.ndim), *range(1, 1 + channels))


def _group_args(
    x: Any, g: Any, weight: Any, bias: Any, out: Any, found: Any, partial: Any, eps: float
) -> Any:
    c = weight.size
    arrays = [address(a) for a in (x, g, weight, bias, out, *found, partial)]
    numbers = (x.size // (x.shape[0] * c), c, c // x.shape[1], *arrays, eps)
    return np.array([numbers], _GROUP)


def of_groups(x: Any, weight: Any, bias: Any, eps: float, found: Any) -> Any:
    """The result; mean, variance and 1 / sqrt(variance + eps) go to `found`."""
    out = np.empty_like(x)
    args = _group_args(x, x, weight, bias, out, found, x, eps)
    single = x.dtype == np.float32
    kernel = groups_of_image if single else groups_of_image_of_doubles
    launch(kernel, x.shape[0], args, 5 * weight.size * (1 if single else 2), x.size < SMALL)
    return out


def gradient_of_groups(x: Any, weight: Any, centre: Any, rstd: Any, g: Any) -> tuple[Any, Any, Any]:
    """The gradients of x, weight and bias."""
    if g.strides != x.strides or not g.flags.aligned:
        given, g = g, np.empty_like(x)
        g[...] = given
    gx, partial = np.empty_like(x), np.empty((x.shape[0], 2, weight.size), x.dtype)
    args = _group_args(x, g, weight, weight, gx, (centre, rstd, rstd), partial, 0.0)
    single = x.dtype == np.float32
    kernel = gradient_of_image if single else gradient_of_image_of_doubles
    launch(kernel, x.shape[0], args, 6 * weight.size * (1 if single else 2), x.size < SMALL)
    gw, gb = partial.sum(axis=0)
    return gx, gw, gb


def groups_of_image(task: int, room: int, args: int) -> None:
    """One image."""
    p = _groups(args)
    _groups_of_image(
        p, task, floats(room), floats(p.x), floats(p.weight), floats(p.bias), floats(p.out),
        floats(p.centre), floats(p.var), floats(p.rstd), np.float32(p.rows * p.d),
        np.float32(p.eps),
    )  # fmt: skip


def groups_of_image_of_doubles(task: int, room: int, args: int) -> None:
    """The same in float64."""
    p = _groups(args)
    _groups_of_image(
        p, task, doubles(room), doubles(p.x), doubles(p.weight), doubles(p.bias), doubles(p.out),
        doubles(p.centre), doubles(p.var), doubles(p.rstd), np.float64(p.rows * p.d), p.eps,
    )  # fmt: skip


@helper
def _groups_of_image(
    p: Any, task: int, v: Any, x: Any, weight: Any, bias: Any, out: Any, centre: Any, var: Any,
    rstd: Any, count: Any, eps: Any,
) -> None:  # fmt: skip
    c, groups, first, last = p.c, p.c // p.d, p.rows * task, p.rows * (task + 1)
    _sums(0, x, x, first, last, c, v, CENTRE * c, v, SUMS * c)
    for k in range(groups):
        mean = _added(v, SUMS * c + k * p.d, p.d) / count
        centre[task * groups + k] = mean
        for j in range(k * p.d, (k + 1) * p.d):
            v[CENTRE * c + j] = mean
    _sums(1, x, x, first, last, c, v, CENTRE * c, v, SUMS * c)
    for k in range(groups):
        square = _added(v, SUMS * c + k * p.d, p.d) / count
        scale = x.dtype.type(1) / np.sqrt(square + eps)
        var[task * groups + k], rstd[task * groups + k] = square, scale
        for j in range(k * p.d, (k + 1) * p.d):
            v[SLOPE * c + j], v[SHIFT * c + j] = scale * weight[j], bias[j]
    _change(0, x, x, first, last, c, v, out)


@helper
def _added(v: Any, start: int, count: int) -> Any:
    """The sum of some numbers that lie together."""
    added = v[start]
    for j in range(start + 1, start + count):
        added += v[j]
    return added


def gradient_of_image(task: int, room: int, args: int) -> None:
    """The gradient of one image, and its share in those of weight and bias."""
    p = _groups(args)
    _gradient_of_image(
        p, task, floats(room), floats(p.g), floats(p.x), floats(p.weight), floats(p.centre),
        floats(p.rstd), floats(p.out), floats(p.partial), np.float32(p.rows * p.d),
    )  # fmt: skip


def gradient_of_image_of_doubles(task: int, room: int, args: int) -> None:
    """The same in float64."""
    p = _groups(args)
    _gradient_of_image(
        p, task, doubles(room), doubles(p.g), doubles(p.x), doubles(p.weight), doubles(p.centre),
        doubles(p.rstd), doubles(p.out), doubles(p.partial), np.float64(p.rows * p.d),
    )  # fmt: skip


@helper
def _gradient_of_image(
    p: Any, task: int, v: Any, g: Any, x: Any, weight: Any, centre: Any, rstd: Any, gx: Any,
    partial: Any, count: Any,
) -> None:  # fmt: skip
    c, groups, first, last = p.c, p.c // p.d, p.rows * task, p.rows * (task + 1)
    for k in range(groups):
        for j in range(k * p.d, (k + 1) * p.d):
            v[CENTRE * c + j] = centre[task * groups + k]
    _sums(0, g, x, first, last, c, v, CENTRE * c, v, SUMS * c)
    _sums(2, g, x, first, last, c, v, CENTRE * c, v, PRODUCTS * c)
    for k in range(groups):
        scale = rstd[task * groups + k]
        added = product = x.dtype.type(0)
        for j in range(k * p.d, (k + 1) * p.d):
            of_hat = v[PRODUCTS * c + j] * scale
            partial[task * 2 * c + j], partial[(task * 2 + 1) * c + j] = of_hat, v[SUMS * c + j]
            added += v[SUMS * c + j] * weight[j]
            product += of_hat * weight[j]
        for j in range(k * p.d, (k + 1) * p.d):
            v[SLOPE * c + j] = -product / count * scale * scale
            v[SHIFT * c + j] = -added / count * scale
            v[OF_G * c + j] = scale * weight[j]
    _change(1, x, g, first, last, c, v, gx)


# ---- what they are made of ----------------------------------------------------------------------


@helper
def _sums(
    what: int, a: Any, x: Any, first: int, last: int, c: int, centre: Any, centre_at: int,
    sums: Any, sums_at: int,
) -> None:  # fmt: skip
    """Sums over rows: of a (0), of (a - centre)² (1), or of a (x - centre) (2), by column."""
    for j in range(sums_at, sums_at + c):
        sums[j] = a.dtype.type(0)
    whole, fours = c - c % LANES, (last - (last - first) % 4) * c
    for at in range(first * c, fours, 4 * c):
        for j in range(0, whole, LANES):
            middle = load(centre, centre_at + j)
            one, two = _term(what, a, x, at + j, middle), _term(what, a, x, at + c + j, middle)
            three = _term(what, a, x, at + 2 * c + j, middle)
            four = _term(what, a, x, at + 3 * c + j, middle)
            added = load(sums, sums_at + j) + ((one + two) + (three + four))
            store(sums, sums_at + j, added)
    for at in range(first * c, last * c, c):
        for j in range(0 if at >= fours else whole, c, LANES):
            left = min(c - j, LANES)
            value, middle = load_first(a, at + j, left), load_first(centre, centre_at + j, left)
            if what == 1:
                value = (value - middle) * (value - middle)
            elif what == 2:
                value = value * (load_first(x, at + j, left) - middle)
            value = load_first(sums, sums_at + j, left) + value
            store_first(sums, sums_at + j, value, left)


@helper
def _term(what: int, a: Any, x: Any, at: int, centre: Any) -> Any:
    value = load(a, at)
    if what == 1:
        value = value - centre
        value = value * value
    elif what == 2:
        value = value * (load(x, at) - centre)
    return value


@helper
def _change(what: int, x: Any, g: Any, first: int, last: int, c: int, v: Any, out: Any) -> None:
    """(x - centre) slope + shift (0), or that and g of_g (1)."""
    whole, pairs = c - c % LANES, last - (last - first) % 2
    for row in range(first, pairs, 2):  # two, so that what belongs to a column is read once
        for j in range(0, whole, LANES):
            at = row * c + j
            centre, slope = load(v, CENTRE * c + j), load(v, SLOPE * c + j)
            shift = load(v, SHIFT * c + j)
            one = fma(load(x, at) - centre, slope, shift)
            two = fma(load(x, at + c) - centre, slope, shift)
            if what == 1:
                of_g = load(v, OF_G * c + j)
                one, two = fma(load(g, at), of_g, one), fma(load(g, at + c), of_g, two)
            store(out, at, one)
            store(out, at + c, two)
    for row in range(first, last):
        for j in range(0 if row == pairs else whole, c):
            at = row * c + j
            number = (x[at] - v[CENTRE * c + j]) * v[SLOPE * c + j] + v[SHIFT * c + j]
            if what == 1:
                number += g[at] * v[OF_G * c + j]
            out[at] = number
