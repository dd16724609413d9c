"""Points at which a function is probed: copies that lie in memory as the originals do."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def copy_as_laid(a: Array) -> Array:
    """Return a writable copy of `a` with the strides of `a`, in memory of its own.

    A transposed, strided or reversed array stays so, and what lies in the gaps of a strided one is
    NaN: a kernel that reads past its elements shows it. Arrays whose elements share memory
    (broadcast, overlapping windows) are copied element by element, in the same order of axes, for
    there each element is moved alone.
    """
    low = sum(min(0, (n - 1) * s) for n, s in zip(a.shape, a.strides, strict=True))
    high = sum(max(0, (n - 1) * s) for n, s in zip(a.shape, a.strides, strict=True))
    room = high - low + a.itemsize
    apart, reach = True, a.itemsize
    for s, n in sorted((abs(s), n) for s, n in zip(a.strides, a.shape, strict=True) if n > 1):
        apart = apart and s >= reach and s % a.itemsize == 0
        reach = s * (n - 1) + reach
    if a.size == 0 or not apart or room > 64 * a.nbytes + 2**16:
        return np.array(a, order="K")
    memory = np.empty(room // a.itemsize, a.dtype)
    memory[...] = np.nan if a.dtype.kind == "f" else 0
    copy: Array = np.ndarray(a.shape, a.dtype, memory, -low, a.strides)
    copy[...] = a
    return copy


def flat(arrays: list[Array]) -> Array:
    """All elements of several arrays, one after the other, in float64 and memory of their own."""
    if len(arrays) == 1:
        return np.array(arrays[0], np.float64, order="C").reshape(-1)
    parts = [np.asarray(a, np.float64).reshape(-1) for a in arrays]
    return np.concatenate(parts) if parts else np.zeros(0)


def parted(vector: Array, shapes: list[tuple[int, ...]]) -> list[Array]:
    """The inverse of `flat`."""
    sizes = [int(np.prod(shape, dtype=int)) for shape in shapes]
    ends = np.cumsum(sizes)
    return [
        vector[end - n : end].reshape(shape)
        for end, n, shape in zip(ends, sizes, shapes, strict=True)
    ]


def random_weights(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Random signs, sizes in [1/2, 1): no element so light that its derivative goes unseen."""
    weights: Array = rng.uniform(0.5, 1, shape) * rng.choice([-1.0, 1.0], shape)
    return weights


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """NumPy's warnings are no news where a function is probed at the border of its domain."""
    with np.errstate(all="ignore"):
        yield


def scale_of(p: Array) -> float:
    """A power of two near the size of an array's elements; 1 where all are zero."""
    top = largest(p)
    if top == 0:
        return 1.0
    return power_of_two(top * float(np.sqrt(np.mean((p[np.isfinite(p)] / top) ** 2))))


def largest(p: Array) -> float:
    """The largest absolute value among the finite elements; 0 where there is none."""
    return float(np.abs(p[np.isfinite(p)]).max(initial=0.0))


def power_of_two(x: float) -> float:
    """The power of two just below x."""
    return float(2.0 ** (np.frexp(x)[1] - 1))
