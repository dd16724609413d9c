"""Joining and taking apart: cat, stack, split and their kin, and padding. All of them linear."""

import math
from typing import Any

from minidl.device import array_module, stride_order
from minidl.dtypes import agree
from minidl.errors import ShapeError
from minidl.ops import _checks
from minidl.ops.shape import flip, inverse, reshape, room_like
from minidl.tape import composite, op

__all__ = ["cat", "chunk", "pad", "split", "stack", "unbind"]


def _skipped(shape: tuple[int, ...], ndim: int) -> bool:
    """Whether `cat` passes over a tensor: an empty vector among tensors of more axes."""
    return shape == (0,) and ndim > 1


def _cat_gradient(g: Any, tensors_shape: Any, dim: int) -> Any:
    ndim, dim = len(g.shape), dim % len(g.shape)
    parts = split(g, [0 if _skipped(s, ndim) else s[dim] for s in tensors_shape], dim)
    return tuple(
        [
            reshape(p, (0,)) if _skipped(s, ndim) else p
            for p, s in zip(parts, tensors_shape, strict=True)
        ]
    )


@op(tensors=_cat_gradient, linear_in=("tensors",), formula="the tensors one behind another")
def cat(*tensors: Any, dim: int = 0) -> Any:
    """The tensors one behind another along `dim`: `cat([x, y], 1)`.

    tensors : of one shape but for `dim`; other dtypes meet as in arithmetic. An empty vector of
        shape (0,) fits everywhere and adds nothing.

    The result lies in memory as the first tensor does. Raises ShapeError if shapes do not fit.
    """
    if not tensors:
        raise ShapeError("cat: there is nothing to join, expected at least one tensor")
    ndim = max([t.ndim for t in tensors])
    if not ndim:
        raise ShapeError("cat: tensors without axes cannot be joined; use stack")
    dim = _checks.axis("cat", dim, ndim)
    parts = agree(list(tensors))
    parts = [t for t in parts if not _skipped(t.shape, ndim)]
    first = parts[0]
    for i, t in enumerate(parts):
        same = t.shape[:dim] == first.shape[:dim] and t.shape[dim + 1 :] == first.shape[dim + 1 :]
        if t.ndim != ndim or not same:
            raise ShapeError(
                f"cat: tensor {i} has shape {t.shape}, the first {first.shape}; "
                f"they may differ in the length of axis {dim} alone"
            )
    return _joined(parts, dim)


def _joined(parts: list[Any], dim: int) -> Any:
    """The arrays one behind another, in memory as the first of them."""
    first = parts[0]
    xp = array_module(first)
    if first.flags.c_contiguous:
        return xp.concatenate(parts, axis=dim)
    order = stride_order(first)
    joined = xp.concatenate([p.transpose(order) for p in parts], axis=order.index(dim))
    return joined.transpose(inverse(order))


@op(tensors=lambda g, dim: unbind(g, dim), linear_in=("tensors",), formula="out[i] = tensors[i]")
def stack(*tensors: Any, dim: int = 0) -> Any:
    """The tensors side by side along a new axis: `stack([x, y])`.

    tensors : all of one shape; dim : where the new axis stands in the result
    Raises ShapeError if shapes differ.
    """
    if not tensors:
        raise ShapeError("stack: there is nothing to join, expected at least one tensor")
    first = tensors[0].shape
    for i, t in enumerate(tensors):
        if t.shape != first:
            raise ShapeError(f"stack: tensor {i} has shape {t.shape}, the first {first}")
    dim = _checks.axis("stack", dim, len(first) + 1)
    parts = agree(list(tensors))
    return _joined([p.reshape((*first[:dim], 1, *first[dim:])) for p in parts], dim)


@op(x=lambda g, dim: cat(*g, dim=dim), linear_in=("x",), formula="consecutive parts of x")
def split(x: Any, split_size_or_sections: Any, dim: int = 0) -> tuple[Any, ...]:
    """Consecutive parts of x along `dim`, as a tuple of views.

    split_size_or_sections : the length of each part (the last may be shorter), or a sequence of
        lengths that add up to the axis

    Raises ShapeError if the lengths do not add up.
    """
    dim = _checks.axis("split", dim, x.ndim)
    length = _length("split", x, dim)
    size = split_size_or_sections
    if hasattr(size, "__index__"):
        if size < 0 or (size == 0 and length):
            raise ShapeError(f"split: the length of a part is {size}, expected at least 1")
        sizes = [min(size, length - start) for start in range(0, length, size or 1)] or [0]
    else:
        sizes = list(size)
        if not sizes or min(sizes) < 0 or sum(sizes) != length:
            raise ShapeError(f"split: lengths {sizes} do not add up to axis {dim} of x {x.shape}")
    before: tuple[Any, ...] = (slice(None),) * dim
    parts, start = [], 0
    for n in sizes:
        parts.append(x[(*before, slice(start, start + n))])
        start += n
    return tuple(parts)


def _length(who: str, x: Any, dim: int) -> int:
    if not x.ndim:
        raise ShapeError(f"{who}: x has no axes and cannot be taken apart")
    return x.shape[dim]


@composite(formula="x in a number of parts of one length, the last perhaps shorter")
def chunk(x: Any, chunks: int, dim: int = 0) -> tuple[Any, ...]:
    """At most `chunks` parts of x along `dim`, all but the last of one length; a tuple of views.

    Raises ValueError if `chunks` is below one.
    """
    if _checks.integer("chunk", "chunks", chunks) < 1:
        raise ValueError(f"chunk: chunks is {chunks}, expected at least 1")
    dim = _checks.axis("chunk", dim, len(x.shape))
    length = _length("chunk", x, dim)
    return split(x, -(-length // chunks) if length else [0] * chunks, dim)


@op(x=lambda g, dim: stack(*g, dim=dim), linear_in=("x",), formula="out_i = x[i] along dim")
def unbind(x: Any, dim: int = 0) -> tuple[Any, ...]:
    """The slices of x along `dim`, which is gone in them; a tuple of views.

    Raises ShapeError for an axis of length zero, which has no slices.
    """
    dim = _checks.axis("unbind", dim, x.ndim)
    length = _length("unbind", x, dim)
    if not length:
        raise ShapeError(f"unbind: axis {dim} of x {x.shape} has length 0, there are no slices")
    before: tuple[Any, ...] = (slice(None),) * dim
    return tuple([x[(*before, i, ...)] for i in range(length)])


# ---- padding ------------------------------------------------------------------------------------


def _pairs(who: str, pad: Any, shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """What to add (before, after) each axis; `pad` names the last axis first."""
    if not isinstance(pad, (tuple, list)):
        raise TypeError(f"{who}: pad is {pad!r}, expected a tuple (before, after, …)")
    pad = tuple([_checks.integer(who, "pad", n) for n in pad])
    if len(pad) % 2 or len(pad) > 2 * len(shape):
        raise ShapeError(
            f"{who}: pad is {pad}, expected a pair (before, after) for each of the last axes of "
            f"x {shape}, the last axis first"
        )
    given = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)]
    return [(0, 0)] * (len(shape) - len(given)) + given[::-1]


@op(
    x=lambda g, pad: constant_pad_nd(g, [-n for n in pad]),
    formula="x with value around it",
)
def constant_pad_nd(x: Any, pad: Any, value: Any = 0) -> Any:
    """x with a number around it; see `pad`. What is negative in `pad` is cut off instead."""
    pairs = _pairs("constant_pad_nd", pad, x.shape)
    shape = tuple([n + a + b for n, (a, b) in zip(x.shape, pairs, strict=True)])
    if any(n < 0 for n in shape):
        raise ShapeError(f"constant_pad_nd: pad {tuple(pad)} cuts off more than x {x.shape} has")
    out = room_like(x, shape)
    out[...] = value
    # The part of x that remains, and where it lies: both end where the shorter of the two ends.
    there = [
        slice(max(a, 0), max(a, 0, n - max(b, 0))) for n, (a, b) in zip(shape, pairs, strict=True)
    ]
    here = [
        slice(max(-a, 0), max(-a, 0, n - max(-b, 0)))
        for n, (a, b) in zip(x.shape, pairs, strict=True)
    ]
    out[tuple(there)] = x[tuple(here)]
    return out


@composite(formula="x continued beyond its borders")
def pad(x: Any, pad: Any, mode: str = "constant", value: Any = None) -> Any:
    """x continued beyond its borders.

    pad : (before, after) for the last axis, then for the one before it, and so on
    mode : "constant" (with `value`, default 0; negative numbers in `pad` cut off), "reflect"
        (mirrored, the border itself not repeated), "replicate" (the border repeated), "circular"
        (the other end)

    Raises ShapeError where x is too short to be mirrored or wrapped.
    """
    _checks.choice("pad", "mode", mode, "constant", "reflect", "replicate", "circular")
    if mode == "constant":
        _pairs("pad", pad, x.shape)
        if isinstance(value, (tuple, list)):
            raise TypeError(f"pad: value is {value!r}, expected a number")
        return constant_pad_nd(x, tuple(pad), 0 if value is None else value)
    if value is not None:
        raise ValueError(f"pad: value is given, but mode {mode!r} takes none")
    pairs = _pairs("pad", pad, x.shape)
    if min([0, *pad]) < 0:
        raise NotImplementedError(f"pad: negative numbers in pad {tuple(pad)} with mode {mode!r}")
    for dim, (before, after) in enumerate(pairs):
        if before or after:
            x = _continued(x, dim, before, after, mode)
    return x


def _continued(x: Any, dim: int, before: int, after: int, mode: str) -> Any:
    """x continued along one axis."""
    n = x.shape[dim]
    longest = {"reflect": n - 1, "circular": n, "replicate": math.inf if n else 0}[mode]
    if max(before, after) > longest:
        raise ShapeError(
            f"pad: mode {mode!r} adds at most {longest} to axis {dim} of x {x.shape}, "
            f"asked for {(before, after)}"
        )
    if mode == "circular":
        start, _ = split(x, [after, n - after], dim)
        _, end = split(x, [n - before, before], dim)
        return cat(end, x, start, dim=dim)
    if mode == "reflect":
        _, start, _ = split(x, [1, before, n - 1 - before], dim)
        _, end, _ = split(x, [n - 1 - after, after, 1], dim)
        return cat(flip(start, dim), x, flip(end, dim), dim=dim)
    start, _ = split(x, [1, n - 1], dim)
    _, end = split(x, [n - 1, 1], dim)
    return cat(*[start] * before, x, *[end] * after, dim=dim)
