"""Resizing: a linear map along each spatial axis, of one tap (nearest) or two (linear)."""

import math
from functools import lru_cache
from typing import Any

import numpy as np

from minidl.device import array_module, stride_order
from minidl.errors import ShapeError
from minidl.ops import _checks
from minidl.tape import TensorBase, composite, op

__all__ = ["interpolate"]

_AXES = {"nearest": (3, 4, 5), "linear": (3,), "bilinear": (4,)}  # of the input, by mode


@op(
    x=lambda g, x_shape, index, dim: resample_back(g, index, dim, x_shape[dim]),
    linear_in=("x",),
    formula="x[…, index, …] along dim",
)
def resample(x: Any, index: tuple[int, ...], dim: int) -> Any:
    """The slices of x along `dim` at the places `index`, unchecked.

    The axes of the result lie in memory in the order of those of x.
    """
    order = stride_order(x)
    places = array_module(x).asarray(index)
    return x.transpose(order).take(places, axis=order.index(dim)).transpose(_inverse(order))


@op(
    g=lambda h, index, dim: resample(h, index, dim),
    linear_in=("g",),
    formula="gradient of resample along g: slices summed at their places",
)
def resample_back(g: Any, index: tuple[int, ...], dim: int, size: int) -> Any:
    """The adjoint of `resample`: slices of g along `dim` summed at the places `index` of `size`."""
    xp, order = array_module(g), stride_order(g)
    g, axis = g.transpose(order), order.index(dim)
    out = xp.zeros((*g.shape[:axis], size, *g.shape[axis + 1 :]), g.dtype)
    before = (slice(None),) * axis
    for sources, places in _runs(index):
        out[*before, places] += g[*before, sources]
    return out.transpose(_inverse(order))


@lru_cache(maxsize=64)
def _runs(index: tuple[int, ...]) -> list[tuple[slice, slice]]:
    """Which slices go where, as (sources, places) in a fixed order; no place twice in one of them.

    The first slice for each place, then the second, and so on: when an image grows these are long
    runs of evenly spaced slices.
    """
    seen: dict[int, int] = {}
    rounds: list[list[tuple[int, int]]] = []
    for pair in enumerate(index):
        nth = seen[pair[1]] = seen.get(pair[1], -1) + 1
        if nth == len(rounds):
            rounds.append([])
        rounds[nth].append(pair)
    runs: list[list[tuple[int, int]]] = []
    for pairs in rounds:
        runs.append(pairs[:1])
        for pair in pairs[1:]:
            if _continues(runs[-1], pair):
                runs[-1].append(pair)
            else:
                runs.append([pair])
    return [(_spaced([s for s, _ in run]), _spaced([p for _, p in run])) for run in runs]


def _continues(run: list[tuple[int, int]], pair: tuple[int, int]) -> bool:
    step = pair[0] - run[-1][0], pair[1] - run[-1][1]
    return min(step) > 0 and (
        len(run) == 1 or step == (run[1][0] - run[0][0], run[1][1] - run[0][1])
    )


def _spaced(numbers: list[int]) -> slice:
    step = numbers[1] - numbers[0] if len(numbers) > 1 else 1
    return slice(numbers[0], numbers[-1] + 1, step)


def _inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(range(len(order)), key=order.__getitem__))


@composite(formula="input at other places, along each spatial axis: the nearest or a mean of two")
def interpolate(
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Any:
    """The input resized along its spatial axes.

    input : (N, C, *S), with one to three spatial axes
    size : the sizes of the output, or scale_factor : floor(S scale_factor); a number, or one for
        each axis; exactly one of the two is given
    mode : "nearest" (input[floor(i scale)], any dtype), or "linear" (one spatial axis) and
        "bilinear" (two): the mean of the two nearest, weighted by their nearness
    align_corners : for the linear modes; True puts the centres of the first and last elements on
        one another, False (the default) their outer edges
    recompute_scale_factor : True computes the scale from the sizes; by default scale_factor is the
        scale, though size times scale_factor is rounded

    Raises NotImplementedError for PyTorch's other modes and antialias=True.
    """
    if mode not in _AXES:
        if mode not in ("bicubic", "trilinear", "area", "nearest-exact"):
            raise ValueError(f"interpolate: mode is {mode!r}, expected one of {list(_AXES)}")
        raise NotImplementedError(f"interpolate: mode={mode!r} is not offered, {list(_AXES)} are")
    if antialias:
        raise NotImplementedError("interpolate: antialias=True is not offered")
    if mode == "nearest" and align_corners is not None:
        raise ValueError("interpolate: align_corners is for the modes 'linear' and 'bilinear'")
    _checks.rank("interpolate", "input", input, *_AXES[mode], meaning=f"(mode {mode!r})")
    if mode != "nearest":
        _checks.floating("interpolate", "input", input)
    space = input.shape[2:]
    goal, factors = _goal(space, size, scale_factor, recompute_scale_factor)
    if min(space) < 1 or min(goal) < 1:
        raise ShapeError(f"interpolate: no size may be 0: input {input.shape}, output {goal}")
    data = input.data if isinstance(input, TensorBase) else input
    xp, out = array_module(data), input
    for dim, (n, m, factor) in enumerate(zip(space, goal, factors, strict=True), 2):
        if n == m:  # left as it is, as in PyTorch, even if scale_factor is not quite 1
            continue
        if mode == "nearest":
            out = resample(out, _nearest(n, m, factor), dim)
            continue
        low, high, weight = _taps(n, m, factor, bool(align_corners), data.dtype.itemsize > 4)
        shape = (m, *[1] * (input.ndim - dim - 1))
        share = xp.asarray(weight, dtype=data.dtype).reshape(shape)
        rest = xp.asarray(1 - weight, dtype=data.dtype).reshape(shape)
        out = resample(out, low, dim) * rest + resample(out, high, dim) * share
    return out


def _goal(space: Any, size: Any, scale_factor: Any, recompute: bool | None) -> Any:
    """The sizes of the output, and for each axis the factor that was given, or None."""
    count = len(space)
    if (size is None) == (scale_factor is None):
        raise ValueError("interpolate: give either size or scale_factor")
    if size is not None:
        if recompute:
            raise ValueError("interpolate: recompute_scale_factor=True needs scale_factor")
        return _checks.sizes("interpolate", "size", size, count), [None] * count
    given = tuple(scale_factor) if isinstance(scale_factor, (tuple, list)) else (scale_factor,)
    factors = [float(f) for f in (given * count if len(given) == 1 else given)]
    if len(factors) != count or min(factors) <= 0:
        raise ValueError(
            f"interpolate: scale_factor is {scale_factor!r}, expected a positive number "
            f"or {count} of them"
        )
    goal = tuple([math.floor(n * f) for n, f in zip(space, factors, strict=True)])
    return goal, [None] * count if recompute else factors


@lru_cache(maxsize=64)
def _nearest(n: int, m: int, factor: float | None) -> tuple[int, ...]:
    """For each of m places the nearest of n, by PyTorch's rule, in float32 as there."""
    scale = np.float32(1 / factor if factor is not None else n / m)
    places = np.floor(np.arange(m, dtype="float32") * scale)
    return tuple(np.minimum(places.astype("int64"), n - 1).tolist())


@lru_cache(maxsize=64)
def _taps(n: int, m: int, factor: float | None, align_corners: bool, double: bool) -> Any:
    """For each of m places the two of n about it, and the weight of the second."""
    kind: Any = np.float64 if double else np.float32
    places = np.arange(m, dtype=kind)
    if align_corners:
        source = places * kind((n - 1) / (m - 1) if m > 1 else 0)
    else:
        scale = kind(1 / factor if factor is not None else n / m)
        source = np.maximum((places + kind(0.5)) * scale - kind(0.5), kind(0))
    low = np.minimum(np.floor(source).astype("int64"), n - 1)
    weight = np.clip(source - low.astype(kind), 0, 1)
    return tuple(low.tolist()), tuple(np.minimum(low + 1, n - 1).tolist()), weight
