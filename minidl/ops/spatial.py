"""What operations over images share: the batch axis, and how many windows fit an axis."""

from collections.abc import Callable, Sequence
from typing import Any

from minidl.errors import ShapeError
from minidl.ops import _checks
from minidl.ops.shape import reshape

__all__: list[str] = []  # helpers only: none of these is an operation


def over_batch(op: str, count: int, input: Any, function: Callable[[Any], Any]) -> Any:
    """`function` of `input` (N, C, *S); of (C, *S) as of a batch of one, whose axis goes again.

    count : the number of axes in S. Raises ShapeError for another number of axes.
    """
    _checks.rank(op, "input", input, count + 1, count + 2)
    if input.ndim == count + 2:
        return function(input)
    out = function(reshape(input, (1, *input.shape)))
    if isinstance(out, tuple):
        return tuple([reshape(o, o.shape[1:]) for o in out])
    return reshape(out, out.shape[1:])


def pairs(padding: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """The same padding before and after, for each axis."""
    return tuple([(p, p) for p in padding])


def windows(
    op: str,
    space: Sequence[int],
    size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    ceil_mode: bool = False,
) -> tuple[int, ...]:
    """How many windows fit each axis: floor((n + padding - dilation (size - 1) - 1) / stride) + 1.

    With `ceil_mode` the division rounds up, but no window begins in the padding behind the input.
    Raises ShapeError if there is none.
    """
    found = []
    for n, k, s, (before, after), d in zip(space, size, stride, padding, dilation, strict=True):
        room = n + before + after - d * (k - 1) - 1
        count = (room + s - 1 if ceil_mode else room) // s + 1
        if ceil_mode and (count - 1) * s >= n + before:
            count -= 1
        found.append(count)
    if min(found) < 1 or min(size) < 1 or min(space) < 1:
        padded = tuple([n + b + a for n, (b, a) in zip(space, padding, strict=True)])
        extent = tuple([d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True)])
        raise ShapeError(
            f"{op}: a kernel that extends over {extent} does not fit the input, "
            f"{tuple(space)}, with padding {padded}; use a smaller kernel or more padding"
        )
    return tuple(found)
