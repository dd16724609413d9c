"""Convolutions and poolings that are valid by construction, as the argument tuples of PyTorch.

The arithmetic of sizes: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning",
2016, arXiv:1603.07285.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from minidl.testing.layouts import LAYOUTS
from minidl.testing.strategies.arrays import arrays
from minidl.testing.strategies.values import distinct

__all__ = [
    "AveragePooling",
    "Convolution",
    "MaxPooling",
    "TransposedConvolution",
    "average_poolings",
    "convolutions",
    "max_poolings",
    "transposed_convolutions",
]

Array = np.ndarray[Any, Any]
Ints = tuple[int, ...]


class Convolution(NamedTuple):
    """The arguments of `conv1d`, `conv2d` or `conv3d`: `F.conv2d(*case)`."""

    x: Array  # (N, C, *S)
    weight: Array  # (O, C / groups, *K)
    bias: Array | None  # (O,)
    stride: Ints
    padding: Ints
    dilation: Ints
    groups: int


class TransposedConvolution(NamedTuple):
    """The arguments of `conv_transpose1d` and its kin: `F.conv_transpose2d(*case)`."""

    x: Array  # (N, C, *S)
    weight: Array  # (C, O / groups, *K)
    bias: Array | None  # (O,)
    stride: Ints
    padding: Ints
    output_padding: Ints
    groups: int
    dilation: Ints


class MaxPooling(NamedTuple):
    """The arguments of `max_pool1d` and its kin: `F.max_pool2d(*case)`."""

    x: Array  # (N, C, *S)
    kernel_size: Ints
    stride: Ints
    padding: Ints
    dilation: Ints
    ceil_mode: bool


class AveragePooling(NamedTuple):
    """The arguments of `avg_pool1d` and its kin: `F.avg_pool2d(*case)`."""

    x: Array  # (N, C, *S)
    kernel_size: Ints
    stride: Ints
    padding: Ints
    ceil_mode: bool
    count_include_pad: bool


# By the number of spatial axes: the longest kernel and dilation, and the longest axis where the
# kernel is no longer; so that a case stays at some two hundred numbers.
_KERNEL = {1: 3, 2: 3, 3: 2}
_DILATION = {1: 3, 2: 2, 3: 2}
_LENGTH = {1: 10, 2: 5, 3: 3}


class _Axis(NamedTuple):
    """One spatial axis: its length and how a kernel of length `kernel` moves along it."""

    size: int
    kernel: int
    stride: int
    padding: int
    dilation: int


@st.composite
def _axis(draw: st.DrawFn, rank: int, *, pool: bool, dilated: bool = True) -> _Axis:
    """An axis on which at least one window fits.

    A pool's padding is at most half its kernel, and the axis at least as long as its dilation:
    then each window holds a place of the axis, those of `ceil_mode` too.
    """
    kernel = draw(st.integers(1, _KERNEL[rank]))
    stride = draw(st.integers(1, 3))
    padding = draw(st.integers(0, kernel // 2 if pool else 2))
    dilation = draw(st.integers(1, _DILATION[rank])) if dilated else 1
    least = max(dilation * (kernel - 1) + 1 - 2 * padding, dilation if pool else 1)
    return _Axis(
        draw(st.integers(least, max(least, _LENGTH[rank]))), kernel, stride, padding, dilation
    )


def _rank(draw: st.DrawFn, who: str, axes: int | None) -> int:
    if axes is not None and axes not in (1, 2, 3):
        raise ValueError(f"{who}: axes is {axes}, expected 1, 2 or 3 spatial axes, or None for any")
    return axes or draw(st.integers(1, 3))


def _each(places: list[Any], name: str) -> Ints:
    return tuple([getattr(axis, name) for axis in places])


def _channels(draw: st.DrawFn) -> tuple[int, int, int]:
    """Groups, and channels in and out of one of them; at most four in all."""
    groups = draw(st.integers(1, 3))
    each = st.integers(1, 4 // groups)
    return groups, draw(each), draw(each)


def _options(draw: st.DrawFn, dtype: Any, elements: Any, layouts: Any) -> dict[str, Any]:
    """What all arrays of a case share."""
    if isinstance(dtype, st.SearchStrategy):
        dtype = draw(dtype)
    return {"dtype": dtype, "elements": elements, "layouts": layouts}


@st.composite
def convolutions(
    draw: st.DrawFn,
    axes: int | None = None,
    *,
    dtype: Any = "float64",
    elements: Any = None,
    layouts: str | Sequence[str] = LAYOUTS,
) -> Convolution:
    """Convolutions of `axes` spatial axes (None: 1 to 3) ; at least one window fits.

    dtype, elements, layouts : see `arrays`

    >>> from hypothesis import find
    >>> case = find(convolutions(2), lambda c: c.groups == 2 and c.stride == (2, 1))
    >>> case.x.shape, case.weight.shape, case.padding, case.dilation
    ((1, 2, 1, 1), (2, 1, 1, 1), (0, 0), (1, 1))
    """
    rank = _rank(draw, "convolutions", axes)
    places = [draw(_axis(rank, pool=False)) for _ in range(rank)]
    groups, c, o = _channels(draw)
    options = _options(draw, dtype, elements, layouts)
    return Convolution(
        draw(arrays((draw(st.integers(1, 2)), groups * c, *_each(places, "size")), **options)),
        draw(arrays((groups * o, c, *_each(places, "kernel")), **options)),
        draw(arrays((groups * o,), **options)) if draw(st.booleans()) else None,
        _each(places, "stride"),
        _each(places, "padding"),
        _each(places, "dilation"),
        groups,
    )


@st.composite
def transposed_convolutions(
    draw: st.DrawFn,
    axes: int | None = None,
    *,
    dtype: Any = "float64",
    elements: Any = None,
    layouts: str | Sequence[str] = LAYOUTS,
) -> TransposedConvolution:
    """Transposed convolutions with every option; the output has at least one place on each axis.

    Output padding is less than the stride.
    dtype, elements, layouts : see `arrays`

    >>> from hypothesis import find
    >>> case = find(transposed_convolutions(1), lambda c: c.stride == (2,))
    >>> case.x.shape, case.weight.shape, case.output_padding, case.dilation
    ((1, 1, 1), (1, 1, 1), (0,), (1,))
    """
    rank = _rank(draw, "transposed_convolutions", axes)
    places, more = [], []
    for _ in range(rank):
        axis = draw(_axis(rank, pool=False))._replace(size=draw(st.integers(1, 4 - rank)))
        extra = draw(st.integers(0, axis.stride - 1))
        reach = (axis.size - 1) * axis.stride + axis.dilation * (axis.kernel - 1) + extra
        places.append(axis._replace(padding=min(axis.padding, reach // 2)))
        more.append(extra)
    groups, c, o = _channels(draw)
    options = _options(draw, dtype, elements, layouts)
    return TransposedConvolution(
        draw(arrays((draw(st.integers(1, 2)), groups * c, *_each(places, "size")), **options)),
        draw(arrays((groups * c, o, *_each(places, "kernel")), **options)),
        draw(arrays((groups * o,), **options)) if draw(st.booleans()) else None,
        _each(places, "stride"),
        _each(places, "padding"),
        tuple(more),
        groups,
        _each(places, "dilation"),
    )


@st.composite
def max_poolings(
    draw: st.DrawFn,
    axes: int | None = None,
    *,
    dtype: Any = "float64",
    elements: Any = distinct,
    layouts: str | Sequence[str] = LAYOUTS,
) -> MaxPooling:
    """Max poolings of `axes` spatial axes (None: 1 to 3); no window lies wholly in the padding.

    elements : distinct by default, so that no two tie; `ties` for nothing but ties
    dtype, layouts : see `arrays`

    >>> from hypothesis import find
    >>> case = find(max_poolings(1), lambda c: c.padding == (1,) and c.dilation == (2,))
    >>> case.x.shape, case.kernel_size
    ((1, 1, 2), (2,))
    """
    rank = _rank(draw, "max_poolings", axes)
    places = [draw(_axis(rank, pool=True)) for _ in range(rank)]
    shape = (*draw(st.tuples(st.integers(1, 2), st.integers(1, 2))), *_each(places, "size"))
    return MaxPooling(
        draw(arrays(shape, **_options(draw, dtype, elements, layouts))),
        _each(places, "kernel"),
        _each(places, "stride"),
        _each(places, "padding"),
        _each(places, "dilation"),
        draw(st.booleans()),
    )


@st.composite
def average_poolings(
    draw: st.DrawFn,
    axes: int | None = None,
    *,
    dtype: Any = "float64",
    elements: Any = None,
    layouts: str | Sequence[str] = LAYOUTS,
) -> AveragePooling:
    """Average poolings of `axes` spatial axes (None: 1 to 3); none lies wholly in the padding.

    dtype, elements, layouts : see `arrays`

    >>> from hypothesis import find
    >>> case = find(average_poolings(2), lambda c: c.ceil_mode)
    >>> case.x.shape, case.kernel_size, case.count_include_pad
    ((1, 1, 1, 1), (1, 1), False)
    """
    rank = _rank(draw, "average_poolings", axes)
    places = [draw(_axis(rank, pool=True, dilated=False)) for _ in range(rank)]
    shape = (*draw(st.tuples(st.integers(1, 2), st.integers(1, 2))), *_each(places, "size"))
    return AveragePooling(
        draw(arrays(shape, **_options(draw, dtype, elements, layouts))),
        _each(places, "kernel"),
        _each(places, "stride"),
        _each(places, "padding"),
        draw(st.booleans()),
        draw(st.booleans()),
    )
