"""Normalisation compiled by Numba, for the two cases that lie well in memory.

    rows      statistics over the last axes: layer normalisation; a row stays in the first cache
    columns   statistics over all but the channels, which are last in memory: batch normalisation

What is summed over rows is summed in a fixed number of parts, whose sums are then added in order,
so the bits do not depend on the threads. All else is left to the array code in `generic`.
"""

from typing import Any

import numpy as np
from numba import prange

from minidl_kernels.cpu.compiling import compiled, helper
from minidl_kernels.cpu.simd import LANES, fma, load, splat, store, total
from minidl_kernels.generic import normalization as generic
from minidl_kernels.generic.arrays import channels_first, channels_last

__all__ = ["standardize", "standardize_gradient", "warm_up"]

Ints = tuple[int, ...]

PARTS = 32  # into which the rows are cut


def _case(x: Any, weight: Any, axes: Ints, shape: Ints) -> str:
    """Which of the two cases it is, "rows" or "columns"; "" for neither."""
    if x.dtype not in (np.float32, np.float64) or not x.size or (
        weight is not None and weight.dtype != x.dtype
    ):  # fmt: skip
        return ""
    kept = x.ndim - len(axes)
    if axes == tuple(range(kept, x.ndim)) and shape == (1,) * kept + x.shape[kept:]:
        return "rows" if x.flags.c_contiguous else ""
    if axes == (0, *range(2, x.ndim)) and x.ndim > 1 and channels_last(x).flags.c_contiguous:
        return "columns"
    return ""


def _vectors(count: int, dtype: Any, weight: Any, bias: Any) -> tuple[Any, Any]:
    """Weight and bias; ones and zeros where there are none."""
    weight = np.ones(count, dtype) if weight is None else np.ascontiguousarray(weight)
    bias = np.zeros(count, dtype) if bias is None else np.ascontiguousarray(bias, dtype)
    return weight.reshape(-1), bias.reshape(-1)


def standardize(
    x: Any, weight: Any, bias: Any, axes: Ints, shape: Ints, eps: float
) -> tuple[Any, Any, Any, Any]:
    """See `minidl_kernels.reference.normalization.standardize`, the definition."""
    case = _case(x, weight, axes, shape)
    if not case:
        return generic.standardize(x, weight, bias, axes, shape, eps)
    kept = tuple([1 if a in axes else n for a, n in enumerate(x.shape)])
    if case == "rows":
        found = np.empty((3, *kept), x.dtype)
        centre, var, rstd = found.reshape(3, -1)
        vectors = _vectors(x.size // centre.size, x.dtype, weight, bias)
        out = np.empty(x.shape, x.dtype)
        _rows.sized(x.size, x.reshape(-1), *vectors, float(eps), out.reshape(-1), centre, var, rstd)
        return out, found[0], found[1], found[2]
    rows = channels_last(x)
    c, out = x.shape[1], np.empty(rows.shape, x.dtype)
    weight, bias = _vectors(c, x.dtype, weight, bias)
    memory = rows.reshape(-1)
    centre = _column_sums(memory, memory, np.zeros(c, x.dtype), 0) / (x.size // c)
    var = _column_sums(memory, memory, centre, 1) / (x.size // c)
    rstd = 1 / np.sqrt(var + x.dtype.type(eps))
    _columns.sized(x.size, memory, memory, centre, rstd * weight, bias, bias, out.reshape(-1), 0)
    return channels_first(out), *[a.reshape(kept) for a in (centre, var, rstd)]


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
    count = centre.size if case == "columns" else x.size // centre.size
    w, zeros = _vectors(count, x.dtype, weight, None)
    centre, rstd = centre.reshape(-1), rstd.reshape(-1)
    if case == "rows":
        gx, partial = np.empty(x.shape, x.dtype), np.zeros((PARTS, 2, count), x.dtype)
        _rows_gradient.sized(
            x.size, np.ascontiguousarray(g).reshape(-1), x.reshape(-1), w, centre, rstd,
            gx.reshape(-1), partial,
        )  # fmt: skip
        gw, gb = partial.sum(axis=0)
    else:
        rows, gs = channels_last(x), np.ascontiguousarray(channels_last(g))
        room, x_memory, g_memory = np.empty(rows.shape, x.dtype), rows.reshape(-1), gs.reshape(-1)
        gb = _column_sums(g_memory, g_memory, zeros, 0)
        gw = _column_sums(g_memory, x_memory, centre, 2) * rstd
        each = x.size // count
        slope, shift = -gw * rstd * rstd * w / each, -gb * rstd * w / each
        _columns.sized(
            x.size, x_memory, g_memory, centre, slope, shift, rstd * w, room.reshape(-1), 1
        )
        gx = channels_first(room)
    found = {"x": gx, "weight": gw, "bias": gb}
    return tuple([found[name] for name in wanted])


# ---- rows ---------------------------------------------------------------------------------------


@compiled(parallel=True)
def _rows(
    x: Any, weight: Any, bias: Any, eps: float, out: Any, centre: Any, var: Any, rstd: Any
) -> None:
    number = x.dtype.type
    size = weight.size
    whole, count = size - size % LANES, number(size)
    each = -(-centre.size // PARTS)
    for part in prange(PARTS):
        for row in range(part * each, min(part * each + each, centre.size)):
            start = row * size
            mean = _sum(x, start, size) / count
            square = _squares(x, start, size, mean) / count
            scale = number(1) / np.sqrt(square + number(eps))
            centre[row], var[row], rstd[row] = mean, square, scale
            means, scales = splat(mean), splat(scale)
            for j in range(0, whole, LANES):
                hat = (load(x, start + j) - means) * scales
                store(out, start + j, fma(hat, load(weight, j), load(bias, j)))
            for j in range(whole, size):
                out[start + j] = (x[start + j] - mean) * scale * weight[j] + bias[j]


@helper
def _sum(x: Any, start: int, size: int) -> Any:
    """The sum of a row, in sixteen sums side by side."""
    a = b = splat(x.dtype.type(0))
    whole = size - size % (2 * LANES)
    for i in range(start, start + whole, 2 * LANES):
        a = a + load(x, i)
        b = b + load(x, i + LANES)
    added = total(a + b)
    for i in range(start + whole, start + size):
        added += x[i]
    return added


@helper
def _squares(x: Any, start: int, size: int, mean: Any) -> Any:
    """The sum of the squares of what is above or below the mean."""
    a = b = splat(x.dtype.type(0))
    means, whole = splat(mean), size - size % (2 * LANES)
    for i in range(start, start + whole, 2 * LANES):
        d, e = load(x, i) - means, load(x, i + LANES) - means
        a, b = fma(d, d, a), fma(e, e, b)
    added = total(a + b)
    for i in range(start + whole, start + size):
        added += (x[i] - mean) * (x[i] - mean)
    return added


@compiled(parallel=True)
def _rows_gradient(
    g: Any, x: Any, weight: Any, centre: Any, rstd: Any, gx: Any, partial: Any
) -> None:
    number = x.dtype.type
    size = weight.size
    whole, count = size - size % LANES, number(size)
    each = -(-centre.size // PARTS)
    for part in prange(PARTS):
        gw, gb = partial[part, 0], partial[part, 1]
        for row in range(part * each, min(part * each + each, centre.size)):
            start, mean, scale = row * size, centre[row], rstd[row]
            means, scales = splat(mean), splat(scale)
            sums = products = splat(number(0))
            for j in range(0, whole, LANES):
                slope, hat = load(g, start + j), (load(x, start + j) - means) * scales
                weighted = slope * load(weight, j)
                sums, products = sums + weighted, fma(weighted, hat, products)
                store(gw, j, fma(slope, hat, load(gw, j)))
                store(gb, j, load(gb, j) + slope)
            added, product = total(sums), total(products)
            for j in range(whole, size):
                slope_, hat_ = g[start + j], (x[start + j] - mean) * scale
                added += slope_ * weight[j]
                product += slope_ * weight[j] * hat_
                gw[j] += slope_ * hat_
                gb[j] += slope_
            added, product = added / count, product / count
            constant, share = splat(added), splat(product)
            for j in range(0, whole, LANES):
                hat = (load(x, start + j) - means) * scales
                rest = load(g, start + j) * load(weight, j) - constant - hat * share
                store(gx, start + j, rest * scales)
            for j in range(whole, size):
                hat_ = (x[start + j] - mean) * scale
                gx[start + j] = (g[start + j] * weight[j] - added - hat_ * product) * scale


# ---- columns ------------------------------------------------------------------------------------


def _column_sums(a: Any, x: Any, centre: Any, what: int) -> Any:
    """Sums over rows, by column: of a (0), of (a - centre)² (1), or of a (x - centre) (2)."""
    partial = np.zeros((PARTS, centre.size), a.dtype)
    _sums.sized(a.size, a, x, centre, what, partial)
    return partial.sum(axis=0)


@compiled(parallel=True)
def _sums(a: Any, x: Any, centre: Any, what: int, partial: Any) -> None:
    size = centre.size
    whole, rows = size - size % LANES, a.size // size
    each = -(-rows // PARTS)
    for part in prange(PARTS):
        sums = partial[part]
        for row in range(part * each, min(part * each + each, rows)):
            start = row * size
            for j in range(0, whole, LANES):
                value = load(a, start + j)
                if what == 1:
                    value = value - load(centre, j)
                    value = value * value
                elif what == 2:
                    value = value * (load(x, start + j) - load(centre, j))
                store(sums, j, load(sums, j) + value)
            for j in range(whole, size):
                number = a[start + j]
                if what == 1:
                    number = (number - centre[j]) * (number - centre[j])
                elif what == 2:
                    number = number * (x[start + j] - centre[j])
                sums[j] += number


@compiled(parallel=True)
def _columns(
    x: Any, g: Any, centre: Any, slope: Any, shift: Any, of_g: Any, out: Any, what: int
) -> None:
    """(x - centre) slope + shift (0), or that and g of_g (1), column by column."""
    size = centre.size
    whole, rows = size - size % LANES, x.size // size
    each = -(-rows // PARTS)
    for part in prange(PARTS):
        for row in range(part * each, min(part * each + each, rows)):
            start = row * size
            for j in range(0, whole, LANES):
                value = fma(load(x, start + j) - load(centre, j), load(slope, j), load(shift, j))
                if what == 1:
                    value = fma(load(g, start + j), load(of_g, j), value)
                store(out, start + j, value)
            for j in range(whole, size):
                number = (x[start + j] - centre[j]) * slope[j] + shift[j]
                if what == 1:
                    number += g[start + j] * of_g[j]
                out[start + j] = number


def warm_up(dtype: str) -> None:
    """Call each kernel once."""
    x, w = np.zeros((2, 3), dtype), np.ones(3, dtype)
    for axes, shape in (((1,), (1, 3)), ((0,), (1, 3))):
        out, centre, _, rstd = standardize(x, w, w, axes, shape, 1e-5)
        standardize_gradient(x, w, axes, shape, centre, rstd, out, None, None, ("x",))
