"""Shapes, dtypes, and arrays in every layout, alone or in groups that broadcast."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from minidl.testing.layouts import LAYOUTS, laid_out, layouts_of
from minidl.testing.strategies.values import filled

__all__ = ["arrays", "broadcastable", "dtypes", "same_twice", "shapes"]

Array = np.ndarray[Any, Any]
_DTYPES = {
    "float": ("float64", "float32"),
    "half": ("float16",),
    "int": ("int64", "int32", "int16", "int8"),
    "uint": ("uint8",),
    "bool": ("bool",),
}


@st.composite
def shapes(
    draw: st.DrawFn,
    min_dims: int = 0,
    max_dims: int = 3,
    *,
    min_side: int = 1,
    max_side: int = 4,
    max_size: int = 60,
    zero_size: bool = False,
) -> tuple[int, ...]:
    """Shapes of `min_dims` to `max_dims` axes with at most `max_size` elements.

    zero_size : sides of length zero are drawn as well

    >>> from hypothesis import find
    >>> find(shapes(), lambda shape: len(shape) == 2)
    (1, 1)
    >>> find(shapes(zero_size=True), lambda shape: math.prod(shape) == 0)
    (0,)
    """
    found: list[int] = []
    ndim = draw(st.integers(min_dims, max_dims))
    for i in range(ndim):
        room = max_size // (math.prod(found) or 1) // min_side ** (ndim - i - 1)
        sides = list(range(min_side, min(max_side, max(room, min_side)) + 1))
        found.append(draw(st.sampled_from([*sides, 0] if zero_size else sides)))
    return tuple(found)


def dtypes(*kinds: str) -> st.SearchStrategy[np.dtype[Any]]:
    """Dtypes of some kinds: "float" (64 and 32 bits; the default), "half", "int", "uint", "bool".

    >>> from hypothesis import find
    >>> find(dtypes("float", "int"), lambda d: d.itemsize == 4)
    dtype('float32')
    """
    for kind in kinds:
        if kind not in _DTYPES:
            raise ValueError(f"dtypes: kind is {kind!r}, expected one of {list(_DTYPES)}")
    names = [name for kind in kinds or ("float",) for name in _DTYPES[kind]]
    return st.sampled_from([np.dtype(name) for name in names])


@st.composite
def arrays(
    draw: st.DrawFn,
    shape: tuple[int, ...] | st.SearchStrategy[tuple[int, ...]] | None = None,
    *,
    dtype: Any = "float64",
    elements: Any = None,
    layouts: str | Sequence[str] = LAYOUTS,
) -> Array:
    """Arrays of every layout; the simplest is small, contiguous and zero.

    shape : a shape, or a strategy of shapes (default: `shapes()`)
    dtype : a dtype or a strategy of dtypes
    elements : a strategy of numbers (default: `floats(dtype=…)`, whole numbers or truth values);
        or a function of the shape that returns a strategy of arrays, such as `distinct` or `ties`
    layouts : one or several of LAYOUTS: contiguous, transposed, strided, reversed, readonly,
        channels_last; those that the shape has too few axes for are left out

    >>> from hypothesis import find
    >>> find(arrays(), lambda x: x.flags.f_contiguous and not x.flags.c_contiguous).shape
    (2, 2)
    >>> find(arrays((2, 2), layouts="transposed"), lambda x: x.all()).strides
    (8, 16)
    """
    if shape is None:
        shape = shapes()
    if isinstance(shape, st.SearchStrategy):
        shape = draw(shape)
    if isinstance(dtype, st.SearchStrategy):
        dtype = draw(dtype)
    wanted = (layouts,) if isinstance(layouts, str) else tuple(layouts)
    if strangers := set(wanted) - set(LAYOUTS):
        raise ValueError(f"arrays: unknown layouts {sorted(strangers)}, expected {list(LAYOUTS)}")
    possible = [layout for layout in layouts_of(len(shape)) if layout in wanted]
    if not possible:
        raise ValueError(
            f"arrays: no array of shape {shape} can be {' or '.join(wanted)}: it has too few axes"
        )
    x = draw(filled(shape, dtype, elements))
    return laid_out(x, draw(st.sampled_from(possible)))


def same_twice(array: st.SearchStrategy[Array] | None = None) -> st.SearchStrategy[tuple[Any, Any]]:
    """One array as two arguments, the very same object: x * x, where gradients must add up.

    >>> from hypothesis import find
    >>> x, y = find(same_twice(arrays((2,))), lambda pair: True)
    >>> x is y
    True
    """
    return (arrays() if array is None else array).map(lambda x: (x, x))


@st.composite
def broadcastable(
    draw: st.DrawFn,
    count: int = 2,
    *,
    max_dims: int = 3,
    max_side: int = 3,
    zero_size: bool = False,
    dtype: Any = "float64",
    elements: Any = None,
    layouts: str | Sequence[str] = LAYOUTS,
) -> tuple[Array, ...]:
    """Tuples of `count` arrays that broadcast with each other, scalars () among them.

    zero_size : sides of length zero are drawn as well; dtype, elements, layouts : see `arrays`

    >>> from hypothesis import find
    >>> x, y = find(broadcastable(), lambda pair: pair[0].shape < pair[1].shape)
    >>> x.shape, y.shape
    ((), (1,))
    """
    whole = draw(shapes(0, max_dims, max_side=max_side, zero_size=zero_size))
    if isinstance(dtype, st.SearchStrategy):
        dtype = draw(dtype)
    found = []
    for _ in range(count):
        kept = draw(st.integers(0, len(whole)))
        sides = whole[len(whole) - kept :]
        shape = tuple([side if draw(st.booleans()) else 1 for side in sides])
        found.append(draw(arrays(shape, dtype=dtype, elements=elements, layouts=layouts)))
    return tuple(found)
