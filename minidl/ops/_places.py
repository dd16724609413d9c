"""What an index means: its parts checked and brought into the order in which they are applied."""

from typing import Any, NamedTuple

import numpy as np

from minidl.device import array_module, is_array
from minidl.tape import TensorBase

ALL = slice(None)
_BASIC = {int, slice, type(None), type(...)}


class Place(NamedTuple):
    """An index in two steps: `x[basic][picks]`.

    basic : numbers, slices and None: gives a view
    picks : for each axis of that view `ALL` or an int64 array, or for several of them one mask,
        if that is the only array; empty if there is none
    repeats : whether an element may be picked more than once
    """

    basic: tuple[Any, ...]
    picks: tuple[Any, ...]
    repeats: bool


def is_basic(index: Any) -> bool:
    """Whether an index is made of ints, slices, None and Ellipsis alone."""
    return _BASIC.issuperset(map(type, index if type(index) is tuple else (index,)))


def resolved(who: str, index: Any, shape: tuple[int, ...], xp: Any) -> Place:
    """Return what an index means for a tensor of a shape. Raises IndexError if it does not fit.

    As in PyTorch: single numbers are taken first, then the arrays. These broadcast; their axes
    stand where the arrays stood, or in front if another axis lies between them. A mask beside other
    arrays stands for the arrays of the places where it is true.
    """
    items = [_item(who, i, xp) for i in (index if type(index) is tuple else (index,))]
    taken = sum([_taken(i) for i in items])
    dots = [i for i, item in enumerate(items) if item is Ellipsis]
    if taken > len(shape) or len(dots) > 1:
        what = "'...' stands twice" if len(dots) > 1 else f"indices for {taken} axes"
        raise IndexError(f"{who}: {what}, but the tensor has shape {shape}")
    at = dots[0] if dots else len(items)
    items[at : at + 1] = [ALL] * (len(shape) - taken)
    alone = sum([is_array(i) or isinstance(i, bool) for i in items]) == 1
    basic: list[Any] = []
    picks: list[Any] = []
    axis, arrays, repeats = 0, False, False
    for item in items:
        if item is None or isinstance(item, slice):
            basic.append(item)
            picks.append(ALL)
        elif isinstance(item, bool):  # a new axis, of length one or zero
            basic.append(None)
            picks.append(xp.arange(int(item)))
            arrays = True
        elif isinstance(item, int):
            if not -shape[axis] <= item < shape[axis]:
                raise outside(who, item, axis, shape)
            basic.append(item)
        else:
            mask = item.dtype.kind == "b"
            check_mask(who, item, axis, shape) if mask else check_range(who, item, axis, shape)
            basic += [ALL] * _taken(item)
            picks += item.nonzero() if mask and not alone else (item,)
            arrays, repeats = True, repeats or not mask
        axis += _taken(item)
    return Place(tuple(basic), tuple(picks) if arrays else (), repeats)


def _item(who: str, item: Any, xp: Any) -> Any:
    """One part of an index: an int, a bool, a slice, None, Ellipsis, or an array with axes."""
    if isinstance(item, TensorBase):
        item = item.data
    if isinstance(item, (list, tuple, range)):
        item = xp.asarray(item) if len(item) else xp.zeros(0, "int64")
    if getattr(item, "ndim", None) == 0:
        item = item.item()
    if item is None or item is Ellipsis or isinstance(item, (int, slice)):
        return item
    if is_array(item) and item.dtype == "uint8":
        raise IndexError(
            f"{who}: an index of uint8 is taken for a mask by PyTorch, for places by NumPy; use "
            ".bool() or .long()"
        )
    if is_array(item) and item.dtype.kind in "bi":
        return item if item.dtype.kind == "b" else item.astype("int64", copy=False)
    shown = f"an array of {item.dtype}" if is_array(item) else repr(item)
    raise IndexError(
        f"{who}: {shown} is no index; use ints, slices, None, ..., whole numbers or a mask"
    )


def _taken(item: Any) -> int:
    """How many axes of the tensor a part of an index stands for."""
    if item is None or item is Ellipsis or isinstance(item, bool):
        return 0
    return item.ndim if is_array(item) and item.dtype.kind == "b" else 1


def outside(who: str, value: int, axis: int, shape: tuple[int, ...]) -> IndexError:
    """Return the error for a number that is no index of an axis."""
    return IndexError(
        f"{who}: index {value} is out of range for axis {axis} of length {shape[axis]} "
        f"(the tensor has shape {shape})"
    )


def check_range(
    who: str, index: Any, axis: int, shape: tuple[int, ...], negative: bool = True
) -> None:
    """Raise IndexError unless every number is an index of an axis: a device would not."""
    n = shape[axis]
    wrong = (index < (-n if negative else 0)) | (index >= n)
    if wrong.any():
        raise outside(who, index[wrong][0].item(), axis, shape)


def check_mask(who: str, mask: Any, axis: int, shape: tuple[int, ...]) -> None:
    """Raise IndexError unless a mask has the lengths of the axes that it stands for."""
    if mask.shape != shape[axis : axis + mask.ndim]:
        raise IndexError(
            f"{who}: a mask of shape {mask.shape} does not fit the tensor's {shape} at axis {axis}"
        )


def check_index(who: str, index: Any, shape: tuple[int, ...]) -> None:
    """Raise IndexError, in the name of `who`, unless an index fits a tensor of a shape."""
    arrays = [i for i in (index if type(index) is tuple else (index,)) if is_array(i)]
    resolved(who, index, shape, array_module(arrays[0]) if arrays else np)


def taken_from(x: Any, place: Place) -> Any:
    """Return the elements of an array at a place."""
    seen = x[(*place.basic, ...)]  # the dots make it a view even where one number is left
    return seen[place.picks] if place.picks else seen
