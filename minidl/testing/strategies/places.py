"""Where in an array: axes to reduce over, and index expressions."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

__all__ = ["axes", "indices", "with_axes", "with_index"]

Array = np.ndarray[Any, Any]
KINDS = ("basic", "advanced", "boolean", "mixed")


def axes(
    ndim: int, *, none: bool = True, single: bool = True, several: bool = True,
    negative: bool = True,
) -> st.SearchStrategy[Any]:  # fmt: skip
    """What `axis=` may be for an array of `ndim` axes: None, an int, a tuple; counted from the end.

    none, single, several, negative : which of them are drawn. A tuple names no axis twice and at
    least one; without axes (ndim 0) there is None, or () where None is not wanted.

    >>> from hypothesis import find
    >>> find(axes(3), lambda a: isinstance(a, tuple))
    (0,)
    """
    choices: list[st.SearchStrategy[Any]] = [st.none()] if none else []
    signs = [0, -ndim] if negative else [0]
    if ndim and single:
        choices.append(st.integers(-ndim if negative else 0, ndim - 1))
    if ndim and several:
        choices.append(
            st.lists(
                st.builds(
                    lambda a, shift: a + shift, st.integers(0, ndim - 1), st.sampled_from(signs)
                ),
                min_size=1,
                max_size=ndim,
                unique_by=lambda a: a % ndim,
            ).map(tuple)
        )
    if not choices and several:
        choices.append(st.just(()))
    if not choices:
        raise ValueError(f"axes: with ndim {ndim} and these options there is nothing to draw")
    return st.one_of(choices)


def with_axes(array: st.SearchStrategy[Array], **options: bool) -> st.SearchStrategy[Any]:
    """Pairs (x, axis): an array and axes of it; options as of `axes`.

    >>> from hypothesis import find
    >>> from minidl.testing.strategies import arrays
    >>> find(with_axes(arrays((2,))), lambda pair: pair[1] is not None)
    (array([0., 0.]), 0)
    """
    return array.flatmap(lambda x: st.tuples(st.just(x), axes(x.ndim, **options)))


def with_index(array: st.SearchStrategy[Array], **options: Any) -> st.SearchStrategy[Any]:
    """Pairs (x, index) for x[index]; options as of `indices`.

    >>> from hypothesis import find
    >>> from minidl.testing.strategies import arrays
    >>> x, index = find(with_index(arrays((2, 3))), lambda pair: pair[0][pair[1]].shape == (3,))
    >>> index
    0
    """
    return array.flatmap(lambda x: st.tuples(st.just(x), indices(x.shape, **options)))


@st.composite
def indices(
    draw: st.DrawFn,
    shape: tuple[int, ...],
    kinds: str | Sequence[str] = KINDS,
    *,
    newaxis: bool = True,
    negative_steps: bool = False,
    empty: bool = False,
    numbers_beside_arrays: bool = False,
) -> Any:
    """Index expressions that fit an array of a shape; without axes or elements, basic ones alone.

    kinds : "basic" (numbers, slices, None, Ellipsis), "advanced" (arrays of whole numbers that
        broadcast; places may repeat), "boolean" (one mask over the leading axes), "mixed" (arrays,
        masks, slices, None and Ellipsis beside each other)
    newaxis : None is drawn; negative_steps : slices run backwards as well (PyTorch has none)
    empty : selections without elements are drawn as well
    numbers_beside_arrays : single numbers in "mixed": NumPy takes one for another array, PyTorch
        and minidl take it first, so that the result's axes may stand in another order

    >>> from hypothesis import find
    >>> find(indices((3, 4), "basic"), lambda i: np.zeros((3, 4))[i].shape == (4,))
    0
    >>> find(indices((3,), "boolean"), lambda i: True)
    array([ True, False, False])
    """
    chosen = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    if strangers := set(chosen) - set(KINDS):
        raise ValueError(f"indices: unknown kinds {sorted(strangers)}, expected {list(KINDS)}")
    kind = draw(st.sampled_from(chosen)) if math.prod(shape) and shape else "basic"
    if kind == "boolean":
        return draw(_mask(shape[: draw(st.integers(1, len(shape)))], empty))
    array_like = kind != "basic"
    used = draw(st.integers(array_like, len(shape)))  # of so many axes the index says something
    front = used - draw(st.integers(0, used))  # so many in front, the others behind an Ellipsis
    if array_like and used == len(shape):
        front = used  # "..." for no axis between two arrays: NumPy and PyTorch differ
    placed = [*range(front), *range(len(shape) - used + front, len(shape))]
    if array_like:
        items = _with_arrays(
            draw, [shape[a] for a in placed], kind == "advanced", numbers_beside_arrays,
            negative_steps, empty,
        )  # fmt: skip
    else:
        items = [draw(_item(shape[a], True, negative_steps, empty)) for a in placed]
    dots, new, tupled = [draw(st.booleans()) for _ in range(3)]
    if front < used or dots:
        items.insert(front, Ellipsis)
    if newaxis and kind != "advanced" and new:
        items.insert(draw(st.integers(0, len(items))), None)
    return tuple(items) if tupled or len(items) != 1 else items[0]


def _with_arrays(
    draw: st.DrawFn, sides: list[int], all_arrays: bool, numbers: bool, backwards: bool, empty: bool
) -> list[Any]:
    """For each side an array, a mask, a slice or a number; at least one array or mask."""
    count = draw(st.integers(0 if empty else 1, 3))  # of places that each array names
    flat = not all_arrays or draw(st.booleans())
    lead = draw(st.integers(0, len(sides) - 1))
    items: list[Any] = []
    for i, n in enumerate(sides):
        choices = ["array"]
        if not all_arrays:
            choices = ["array", "mask"] if i == lead else ["slice", "array", "mask"]
        what = draw(st.sampled_from([c for c in choices if c != "mask" or count <= n]))
        if what == "mask":
            items.append(np.isin(np.arange(n), draw(st.permutations(range(n)))[:count]))
        elif what == "array":
            size = (count,) if flat else (draw(st.sampled_from([1, 2])), count)
            items.append(draw(hnp.arrays("int64", size, elements=st.integers(-n, n - 1))))
        else:
            items.append(draw(_item(n, numbers, backwards, empty)))
    sizes = [len(x) for x in items if isinstance(x, np.ndarray) and x.ndim == 2]
    return [x[:1] if 1 in sizes and 2 in sizes and i % 2 else x for i, x in enumerate(items)]


@st.composite
def _mask(draw: st.DrawFn, shape: tuple[int, ...], empty: bool) -> Array:
    """Truth values of which, unless `empty`, at least one is true."""
    mask = draw(hnp.arrays("bool", shape, elements=st.booleans(), fill=st.nothing()))
    if not empty or draw(st.booleans()):
        mask.flat[draw(st.integers(0, mask.size - 1))] = True
    return mask


def _item(n: int, numbers: bool, backwards: bool, empty: bool) -> st.SearchStrategy[Any]:
    """A number or a slice for an axis of length n."""
    slices = _slice(n, backwards, empty)
    return st.integers(-n, n - 1) | slices if n and numbers else slices


@st.composite
def _slice(draw: st.DrawFn, n: int, backwards: bool, empty: bool) -> slice:
    """A slice of an axis of length n, in any of the ways to write it."""
    first = draw(st.integers(0, max(n - 1, 0)))
    step = draw(st.integers(1, max(n, 1)))
    most = len(range(first, n, step))
    count = draw(st.integers(min(most, 0 if empty else 1), most))
    last = first + step * (count - 1)
    if backwards and count and draw(st.booleans()):
        stop = None if first == 0 else first - 1
        return slice(last, stop, -step)
    stop = last + 1 if count else first
    start = draw(st.sampled_from([first, first - n if n else 0, *([None] if first == 0 else [])]))
    ends = [stop, *([None, n + 1] if stop == n else []), *([stop - n] if 0 < stop < n else [])]
    return slice(
        start,
        draw(st.sampled_from(ends)),
        draw(st.sampled_from([step, None])) if step == 1 else step,
    )
