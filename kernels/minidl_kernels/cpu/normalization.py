"""Normalisation compiled by Numba, for the cases that lie well in memory.

    rows      statistics over the last axes: layer normalisation; a row stays in the first cache
    columns   statistics over all but the channels, which are last in memory: batch normalisation
    groups    of each image, over groups of the channels, which are last in memory: group and
              instance normalisation; an image is a task and stays in the second cache

What is summed over rows is summed in a fixed number of parts, or for each image, and these sums are
then added in order, so the bits do not depend on the threads. All else is left to the array code in
`generic`. How the two latter are done stands in `channels`.
"""

import math
import struct
from typing import Any

import numpy as np

from minidl_kernels.cpu import channels
from minidl_kernels.cpu.compiling import helper
from minidl_kernels.cpu.launch import doubles, floats, launch, record
from minidl_kernels.cpu.memory import address, contiguous
from minidl_kernels.cpu.simd import LANES, fma, load, splat, store, total
from minidl_kernels.cpu.threads import SMALL
from minidl_kernels.generic import normalization as generic
from minidl_kernels.generic.arrays import channels_last

__all__ = ["standardize", "standardize_gradient", "warm_up"]

Ints = tuple[int, ...]

PARTS = 32  # into which the rows are cut


def _case(x: Any, weight: Any, axes: Ints, shape: Ints) -> str:
    """Which of the cases it is, "rows", "columns" or "groups"; "" for none."""
    if x.dtype not in (np.float32, np.float64) or not x.size or not x.flags.aligned or (
        weight is not None and weight.dtype != x.dtype
    ):  # fmt: skip
        return ""
    kept = x.ndim - len(axes)
    if axes == tuple(range(kept, x.ndim)) and shape == (1,) * kept + x.shape[kept:]:
        return "rows" if x.flags.c_contiguous else ""
    if axes == (0, *range(2, x.ndim)) and x.ndim > 1 and channels_last(x).flags.c_contiguous:
        return "columns"
    return "groups" if axes == tuple(range(2, x.ndim)) and channels.grouped(x, shape) else ""


def _vectors(count: int, dtype: Any, weight: Any, bias: Any) -> tuple[Any, Any]:
    """Weight and bias; ones and zeros where there are none."""
    weight = np.ones(count, dtype) if weight is None else contiguous(weight)
    bias = np.zeros(count, dtype) if bias is None else contiguous(bias.astype(dtype, copy=False))
    return weight.reshape(-1), bias.reshape(-1)


def standardize(
    x: Any, weight: Any, bias: Any, axes: Ints, shape: Ints, eps: float
) -> tuple[Any, Any, Any, Any]:
    """See `minidl_kernels.reference.normalization.standardize`, the definition."""
    case = _case(x, weight, axes, shape)
    if not case:
        return generic.standardize(x, weight, bias, axes, shape, eps)
    kept = tuple([1 if a in axes else n for a, n in enumerate(x.shape)])
    vectors = _vectors(math.prod(shape), x.dtype, weight, bias)
    if case == "columns":
        out, *statistics = channels.of_batch(x, *vectors, eps)
        return out, *[a.reshape(kept) for a in statistics]
    found = np.empty((3, *kept), x.dtype)
    if case == "groups":
        return channels.of_groups(x, *vectors, eps, found), found[0], found[1], found[2]
    out, rows = np.empty(x.shape, x.dtype), math.prod(kept)
    arrays = [address(a) for a in (x, x, *vectors, out, *found)]
    args = rows, x.size // rows, -(-rows // PARTS), _bits(eps), *arrays, 0
    kernel = normalize_rows if x.dtype == np.float32 else normalize_rows_of_doubles
    launch(kernel, PARTS, args, 0, x.size < SMALL)
    return out, found[0], found[1], found[2]


def standardize_gradient(
    x: Any,
    weight: Any,
    axes: Ints,
    shape: Ints,
    centre: Any,
    rstd: Any,
    g: Any,
    g_mean: Any,
    g_var: Any,
    wanted: tuple[str, ...],
) -> tuple[Any, ...]:
    """See `minidl_kernels.reference.normalization.standardize_gradient`, the definition."""
    case = _case(x, weight, axes, shape)
    if not case or g is None or g_mean is not None or g_var is not None or g.dtype != x.dtype:
        return generic.standardize_gradient(
            x, weight, axes, shape, centre, rstd, g, g_mean, g_var, wanted
        )
    count = math.prod(shape)
    w, zeros = _vectors(count, x.dtype, weight, None)
    centre, rstd = contiguous(centre), contiguous(rstd)
    if case == "columns":
        gx, gw, gb = channels.gradient_of_batch(
            x, w, zeros, centre.reshape(-1), rstd.reshape(-1), g
        )
    elif case == "groups":
        gx, gw, gb = channels.gradient_of_groups(x, w, centre, rstd, g)
    else:
        g, rows = contiguous(g), x.size // count
        gx, partial = np.empty(x.shape, x.dtype), np.empty((PARTS, 2, count), x.dtype)
        arrays = [address(a) for a in (x, g, w, zeros, gx, centre, rstd, rstd, partial)]
        args = rows, count, -(-rows // PARTS), 0, *arrays
        kernel = rows_gradient if x.dtype == np.float32 else rows_gradient_of_doubles
        launch(kernel, PARTS, args, 0, x.size < SMALL)
        gw, gb = partial.sum(axis=0)
    found = {"x": gx, "weight": gw, "bias": gb}
    return tuple([found[name] for name in wanted])


def _bits(number: float) -> int:
    """A float64 as the integer of the same bits: records are packed from integers."""
    return int(struct.unpack("q", struct.pack("d", number))[0])


# ---- rows ---------------------------------------------------------------------------------------

_ADDRESSES = ("x", "g", "weight", "bias", "out", "centre", "var", "rstd", "partial")
_rows = record(
    np.dtype(
        [(name, np.intp) for name in ("rows", "size", "each")]
        + [("eps", np.float64)]
        + [(name, np.intp) for name in _ADDRESSES]
    )
)


def normalize_rows(task: int, room: int, args: int) -> None:
    """A part of the rows."""
    p = _rows(args)
    _normalize_rows(
        p, task, floats(p.x), floats(p.weight), floats(p.bias), floats(p.out), floats(p.centre),
        floats(p.var), floats(p.rstd), np.float32(p.size), np.float32(p.eps),
    )  # fmt: skip


def normalize_rows_of_doubles(task: int, room: int, args: int) -> None:
    """The same in float64."""
    p = _rows(args)
    _normalize_rows(
        p, task, doubles(p.x), doubles(p.weight), doubles(p.bias), doubles(p.out),
        doubles(p.centre), doubles(p.var), doubles(p.rstd), np.float64(p.size), p.eps,
    )  # fmt: skip


@helper
def _normalize_rows(
    p: Any, task: int, x: Any, weight: Any, bias: Any, out: Any, centre: Any, var: Any, rstd: Any,
    count: Any, eps: Any,
) -> None:  # fmt: skip
    size, whole = p.size, p.size - p.size % LANES
    for row in range(task * p.each, min(task * p.each + p.each, p.rows)):
        start = row * size
        mean = _sum(x, start, size) / count
        square = _squares(x, start, size, mean) / count
        scale = x.dtype.type(1) / np.sqrt(square + eps)
        centre[row], var[row], rstd[row] = mean, square, scale
        means, scales = splat(mean), splat(scale)
        for j in range(0, whole, LANES):
            hat = (load(x, start + j) - means) * scales
            store(out, start + j, fma(hat, load(weight, j), load(bias, j)))
        for j in range(whole, size):
            out[start + j] = (x[start + j] - mean) * scale * weight[j] + bias[j]


@helper
def _sum(x: Any, start: int, size: int) -> Any:
    """The sum of a row, in 32 sums side by side: an addition waits for the one before."""
    a = b = c = d = splat(x.dtype.type(0))
    whole = size - size % (4 * LANES)
    for i in range(start, start + whole, 4 * LANES):
        a, b = a + load(x, i), b + load(x, i + LANES)
        c, d = c + load(x, i + 2 * LANES), d + load(x, i + 3 * LANES)
    added = total((a + b) + (c + d))
    for i in range(start + whole, start + size):
        added += x[i]
    return added


@helper
def _squares(x: Any, start: int, size: int, mean: Any) -> Any:
    """The sum of the squares of what is above or below the mean."""
    a = b = c = d = splat(x.dtype.type(0))
    means, whole = splat(mean), size - size % (4 * LANES)
    for i in range(start, start + whole, 4 * LANES):
        e, f = load(x, i) - means, load(x, i + LANES) - means
        g, h = load(x, i + 2 * LANES) - means, load(x, i + 3 * LANES) - means
        a, b, c, d = fma(e, e, a), fma(f, f, b), fma(g, g, c), fma(h, h, d)
    added = total((a + b) + (c + d))
    for i in range(start + whole, start + size):
        added += (x[i] - mean) * (x[i] - mean)
    return added


def rows_gradient(task: int, room: int, args: int) -> None:
    """The gradients of a part of the rows, and their sums for weight and bias."""
    p = _rows(args)
    _rows_gradient(
        p, task, floats(p.g), floats(p.x), floats(p.weight), floats(p.centre), floats(p.rstd),
        floats(p.out), floats(p.partial), np.float32(p.size),
    )  # fmt: skip


def rows_gradient_of_doubles(task: int, room: int, args: int) -> None:
    """The same in float64."""
    p = _rows(args)
    _rows_gradient(
        p, task, doubles(p.g), doubles(p.x), doubles(p.weight), doubles(p.centre),
        doubles(p.rstd), doubles(p.out), doubles(p.partial), np.float64(p.size),
    )  # fmt: skip


@helper
def _rows_gradient(
    p: Any, task: int, g: Any, x: Any, weight: Any, centre: Any, rstd: Any, gx: Any, partial: Any,
    count: Any,
) -> None:  # fmt: skip
    size, none = p.size, x.dtype.type(0)
    whole, pairs = size - size % LANES, size - size % (2 * LANES)
    gw, gb = task * 2 * size, task * 2 * size + size
    for j in range(gw, gw + 2 * size):
        partial[j] = none
    for row in range(task * p.each, min(task * p.each + p.each, p.rows)):
        start, mean, scale = row * size, centre[row], rstd[row]
        means, scales = splat(mean), splat(scale)
        sums = products = more_sums = more_products = splat(none)
        for j in range(0, pairs, 2 * LANES):
            slope, hat = load(g, start + j), (load(x, start + j) - means) * scales
            weighted = slope * load(weight, j)
            sums, products = sums + weighted, fma(weighted, hat, products)
            store(partial, gw + j, fma(slope, hat, load(partial, gw + j)))
            store(partial, gb + j, load(partial, gb + j) + slope)
            k = j + LANES
            slope, hat = load(g, start + k), (load(x, start + k) - means) * scales
            weighted = slope * load(weight, k)
            more_sums, more_products = more_sums + weighted, fma(weighted, hat, more_products)
            store(partial, gw + k, fma(slope, hat, load(partial, gw + k)))
            store(partial, gb + k, load(partial, gb + k) + slope)
        added, product = total(sums + more_sums), total(products + more_products)
        for j in range(pairs, size):
            slope_, hat_ = g[start + j], (x[start + j] - mean) * scale
            added += slope_ * weight[j]
            product += slope_ * weight[j] * hat_
            partial[gw + j] += slope_ * hat_
            partial[gb + j] += slope_
        added, product = added / count, product / count
        constant, share = splat(added), splat(product)
        for j in range(0, whole, LANES):
            hat = (load(x, start + j) - means) * scales
            rest = load(g, start + j) * load(weight, j) - constant - hat * share
            store(gx, start + j, rest * scales)
        for j in range(whole, size):
            hat_ = (x[start + j] - mean) * scale
            gx[start + j] = (g[start + j] * weight[j] - added - hat_ * product) * scale


def warm_up(dtype: str) -> None:
    """Call each kernel once."""
    for shape, axes, vector in (
        ((2, 3), (1,), (1, 3)),
        ((2, 3), (0,), (1, 3)),
        ((1, 3, 2), (2,), (1, 3, 1)),
    ):
        x, w = np.zeros(shape, dtype), np.ones(3, dtype)
        x = np.moveaxis(np.moveaxis(x, 1, -1).copy(), -1, 1)
        out, centre, _, rstd = standardize(x, w, w, axes, vector, 1e-5)
        standardize_gradient(x, w, axes, vector, centre, rstd, out, None, None, ("x",))
