"""What the kernels in plain array code share: the array module, layouts, the taps of a window.

Images are (N, C, *S) in meaning and (N, *S, C) in memory. A kernel takes the channels-last view of
what comes in, works along the contiguous channels, and gives back the channels-first view.
"""

import itertools
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

__all__ = [
    "array_module",
    "channels_first",
    "channels_last",
    "empty_like",
    "stride_order",
    "taps",
    "wide",
]

Ints = tuple[int, ...]
Slices = tuple[slice, ...]


def array_module(x: Any) -> Any:
    """Return the module whose functions take x: NumPy, or the package x comes from (CuPy)."""
    if isinstance(x, np.ndarray):
        return np
    return sys.modules[type(x).__module__.partition(".")[0]]


# The axes for `transpose`, by their number: NumPy's moveaxis takes 8 microseconds to find them.
_LAST = {n: (0, *range(2, n), 1) for n in range(2, 9)}
_FIRST = {n: (0, n - 1, *range(1, n - 1)) for n in range(2, 9)}


def channels_last(x: Any) -> Any:
    """(N, C, *S) -> (N, *S, C), a view."""
    return x.transpose(_LAST[x.ndim])


def channels_first(x: Any) -> Any:
    """(N, *S, C) -> (N, C, *S), a view."""
    return x.transpose(_FIRST[x.ndim])


def stride_order(x: Any) -> tuple[int, ...]:
    """Return the axes of `x` from the one that moves slowest in memory to the fastest."""
    return tuple(sorted(range(x.ndim), key=lambda axis: (-abs(x.strides[axis]), axis)))


def empty_like(x: Any, dtype: Any = None) -> Any:
    """Return a new array of the shape, and in the order in memory, of `x`; values undefined."""
    xp = array_module(x)
    if type(x) is np.ndarray:
        return np.empty_like(x, dtype)
    order = stride_order(x)
    back = sorted(range(x.ndim), key=order.__getitem__)
    return xp.empty([x.shape[axis] for axis in order], dtype or x.dtype).transpose(back)


def wide(dtype: Any) -> Any:
    """The dtype to add up in: float32 for float16, else the dtype itself."""
    return np.dtype(np.float32) if dtype == np.float16 else dtype


def taps(
    spatial: Sequence[int],
    out: Sequence[int],
    size: Sequence[int],
    stride: Sequence[int],
    before: Sequence[int],
    dilation: Sequence[int],
) -> Iterator[tuple[Ints, Slices, Slices]]:
    """Yield (k, outputs, inputs) for each place k in a window, in C order.

    `inputs` slices, out of (N, *spatial, C), what tap k of every window lies on; `outputs` slices,
    out of (N, *out, C), the windows whose tap k lies in the input and not in the padding.
    """
    axes = [
        [(k, *_overlap(k * d - b, o, s, step)) for k in range(n)]
        for s, o, n, step, b, d in zip(spatial, out, size, stride, before, dilation, strict=True)
    ]
    for places in itertools.product(*axes):
        k, outputs, inputs = zip(*places, strict=True)
        yield k, (slice(None), *outputs), (slice(None), *inputs)


def _overlap(offset: int, out: int, size: int, stride: int) -> tuple[slice, slice]:
    """The p in range(out) with 0 <= p * stride + offset < size, and where they lie, as slices."""
    first = max(0, -(offset // stride))
    last = max(first, min(out, (size - 1 - offset) // stride + 1))
    start = first * stride + offset
    return slice(first, last), slice(start, start + (last - first) * stride, stride)
