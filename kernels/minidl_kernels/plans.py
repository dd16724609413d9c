"""Which algorithm a convolution runs on the CPU, and why: a function of shape, dtype and switches.

| algorithm | how | error |
|---|---|---|
| "im2col" | windows copied into a matrix, and one product of matrices | 4 |
| "direct" | tiles of that product straight from the image, nothing copied | 4 |
| "spread" | for the gradient of an input of few channels: a product for each window, added up | 4 |
| "depthwise" | sums of shifted rows, for a filter for each channel | 4 |
| "winograd" | a quarter of the multiplications of a 3 x 3 kernel, for more additions | 100 |

The error of a result is at most so many times epsilon * conv(|x|, |w|), tested on random numbers.
For "winograd" that holds with many channels; all inputs of a tile enter each of its outputs, so in
general it is 50 times epsilon times the sum over channels of max |x|, in the tile, times sum |w|.
A number that is not finite passes through all of them alike: "winograd" sees it in its results,
and then "direct" does the work again.

The choice is never a matter of timing or of a warm cache, so that a run can be repeated to the bit.
It compares estimates of the work, in multiply-adds that a core could do in the time, with factors
that were measured: a number that is transformed costs as much as some hundred multiply-adds.
"""

import contextlib
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Choice", "Plan", "algorithm", "conv2d_plan", "exact_convolution"]

Ints = tuple[int, ...]

ALGORITHMS = ("im2col", "direct", "winograd")
TRANSFORM = 500  # multiply-adds in the time that a channel of a tile takes to be transformed
SHALLOW = 1600, 60  # … that a tile takes with few channels, and a tile of an output channel
FILTER = 400  # … that a filter takes, 3 x 3 numbers to 6 x 6
CACHED = 2 << 20  # numbers that stay in the last cache while others pass: 8 MB
NARROW = 4  # channels
TILES = 160  # tiles of 16 outputs, 36 numbers each, that stay in a core's own cache

_forced: str | None = None
_exact = False


class Choice(NamedTuple):
    """An algorithm and the reason for it."""

    algorithm: str
    reason: str
    deep: bool = False  # "winograd" with few tiles and many channels: by channels, not by tiles
    shallow: bool = False  # … with at most four channels: tiles that never leave the registers


class Plan(NamedTuple):
    """What runs forward, for the gradient of the input, and for that of the weights."""

    forward: Choice
    input: Choice
    weight: Choice

    def __str__(self) -> str:
        return "\n".join(
            f"{kind:8} {choice.algorithm:9} {choice.reason}"
            for kind, choice in zip(self._fields, self, strict=True)
        )


def conv2d_plan(
    input: Ints,
    weight: Ints,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    dtype: Any = "float32",
) -> Plan:
    """Say which algorithms `conv2d` runs for an input (N, C, H, W) and weights (O, C, KH, KW).

    stride, padding, dilation : an int, or one for each axis; padding also pairs (before, after)

    >>> print(conv2d_plan((8, 64, 56, 56), (64, 64, 3, 3), padding=1))
    forward  winograd  231 M multiply-adds of 925 M, and transforms
    input    winograd  231 M multiply-adds of 925 M, and transforms
    weight   winograd  231 M multiply-adds of 925 M, and transforms
    >>> conv2d_plan((8, 64, 56, 56), (64, 64, 3, 3), stride=2).forward
    Choice(algorithm='direct', reason='not 3 x 3 with steps of 1', deep=False, shallow=False)
    """
    axes = len(weight) - 2
    steps, spread = (
        tuple(v) if isinstance(v, (tuple, list)) else (v,) * axes for v in (stride, dilation)
    )
    around = padding if isinstance(padding, (tuple, list)) else (padding,) * axes
    pads = tuple(tuple(p) if isinstance(p, (tuple, list)) else (p, p) for p in around)
    args = (tuple(input), tuple(weight), steps, pads, spread, groups, np.dtype(dtype))
    return Plan(*(choose(kind, *args) for kind in Plan._fields))


def choose(
    kind: str,
    x: Ints,
    w: Ints,
    stride: Ints,
    padding: Any,
    dilation: Ints,
    groups: int,
    dtype: Any,
) -> Choice:
    """The algorithm of one kind, "forward", "input" or "weight"; options in full."""
    return _choose(kind, x, w, stride, padding, dilation, groups, dtype, _forced, _exact)


@functools.lru_cache(1024)
def _choose(
    kind: str,
    x: Ints,
    w: Ints,
    stride: Ints,
    padding: Any,
    dilation: Ints,
    groups: int,
    dtype: Any,
    forced: str | None,
    exact: bool,
) -> Choice:
    if dtype != np.float32:
        return Choice("im2col", f"compiled kernels are for float32, this is {dtype}")
    if forced == "im2col":
        return Choice("im2col", "forced")
    if groups > 1 and w[1] == 1:
        if w[0] == groups:
            return Choice("depthwise", "a filter for each channel")
        return Choice("im2col", "several filters for each channel")
    if forced == "direct":
        return Choice("direct", "forced")
    narrow = groups == 1 and w[1] <= NARROW and len(w) < 5 and w[2] > 1
    if kind == "input" and narrow and forced is None:
        taps, (o, c) = math.prod(w[2:]), w[:2]
        columns = -(-taps * c // 16)
        if columns * o + 2 * taps * c < taps * o:  # in products of 16 numbers, for each output
            reason = f"{c} channels would fill {c} of 16 columns, with the taps {columns} times all"
            return Choice("spread", reason)
    simple = len(w) == 4 and set(stride) == set(dilation) == {1} and groups == 1
    if not simple or w[2:] != (3, 3):
        return Choice("direct", "not 3 x 3 with steps of 1")
    if exact:
        return Choice("direct", "exact_convolution leaves Winograd out")
    n, (o, c) = x[0], w[:2]
    p, q = (s + sum(pads) - 2 for s, pads in zip(x[2:], padding, strict=True))
    if kind == "input":  # a convolution of g with C outputs
        p, q, c, o = x[2], x[3], o, c
    each = n * p * q * 9 * c
    direct = each * o
    tiles = n * -(-p // 4) * -(-q // 4)
    products = tiles * 36 * c * o
    shallow = c <= NARROW and o % 16 == 0
    if shallow:
        work = products + tiles * (SHALLOW[0] + SHALLOW[1] * o)
    else:
        work = products + tiles * TRANSFORM * (c + o) + FILTER * c * o
    reason = f"{products / 1e6:.3g} M multiply-adds of {direct / 1e6:.3g} M, and transforms"
    wide = 16 if kind == "weight" else 8  # a tile has 16 columns, or half as many of outputs
    if work >= each * -(-o // wide) * wide and forced != "winograd":
        return Choice("direct", f"Winograd: {reason}, would take as long")
    if shallow:
        return Choice("winograd", f"{reason} in registers", shallow=True)
    few = tiles <= TILES if kind != "weight" else 36 * tiles * (c + o) <= 2 * CACHED
    deep = 36 * c * o > CACHED and few
    return Choice("winograd", reason + (", a few channels at a time" if deep else ""), deep)


def exact_convolution(on: bool = True) -> contextlib.AbstractContextManager[None]:
    """Leave out Winograd's algorithm, whose rounding errors are some ten times as large.

    Takes effect at once; as a context manager it is undone at the end.
    """

    def put(value: Any) -> None:
        global _exact
        _exact = value

    return _set(put, _exact, bool(on))


def algorithm(name: str | None) -> contextlib.AbstractContextManager[None]:
    """Force the algorithm of convolutions where it can do them; None chooses by shape again.

    name : "im2col", "direct", "winograd" or None

    Takes effect at once; as a context manager it is undone at the end. Raises ValueError for
    another name.
    """
    if name is not None and name not in ALGORITHMS:
        raise ValueError(f"algorithm: name is {name!r}; expected one of {ALGORITHMS} or None")

    def put(value: Any) -> None:
        global _forced
        _forced = value

    return _set(put, _forced, name)


def _set(put: Callable[[Any], None], before: Any, now: Any) -> Any:
    put(now)

    @contextlib.contextmanager
    def undo() -> Iterator[None]:
        try:
            yield
        finally:
            put(before)

    return undo()
