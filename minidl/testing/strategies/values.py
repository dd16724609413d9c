"""Numbers to fill arrays with: away from kinks or exactly at them, distinct or tied.

Nothing here is ever subnormal: GPUs and fast-math builds flush such numbers to zero.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

__all__ = ["at_kinks", "distinct", "floats", "ties"]

Array = np.ndarray[Any, Any]


def floats(
    low: float = -8.0,
    high: float = 8.0,
    *,
    dtype: Any = "float64",
    away_from: Sequence[float] = (),
    at: Sequence[float] = (),
    margin: float = 0.125,
    smallest: float = 2.0**-10,
) -> st.SearchStrategy[float]:
    """Finite floats in [low, high] that `dtype` holds exactly; simple numbers are tried first.

    away_from : points (kinks, poles) to which no number is nearer than `margin`
    at : points that may be met exactly, else no number is nearer to them than `margin`
    smallest : no number but zero is smaller in magnitude; never below the dtype's smallest normal
        number, so that no subnormal is drawn

    Raises ValueError if nothing is left to draw.

    >>> from hypothesis import find
    >>> find(floats(away_from=[0.0]), lambda x: True)
    1.0
    >>> find(floats(at=[1.5]), lambda x: 1 < x < 2)
    1.5
    """
    kind = np.dtype(dtype)
    least = max(smallest, float(np.finfo(kind).tiny))
    holes = [(p - margin, p + margin) for p in (*away_from, *at)]
    exact = [float(p) for p in at if low <= p <= high]
    if low <= 0 <= high and not any(a < 0 < b for a, b in holes):
        exact.append(0.0)
    pieces = _without(float(low), float(high), [(-least, least), *holes], kind)
    if not exact and not pieces:
        raise ValueError(
            f"floats: nothing is left of [{low}, {high}] at a distance of {margin} from "
            f"{sorted({*away_from, *at})}; widen the range or lessen the margin"
        )
    width = {2: 16, 4: 32, 8: 64}[kind.itemsize]
    choices: list[st.SearchStrategy[float]] = [st.sampled_from(exact)] if exact else []
    for a, b in sorted(pieces, key=lambda piece: (min(map(abs, piece)), -piece[1])):
        choices.append(st.floats(a, b, width=width, allow_subnormal=False))  # type: ignore[arg-type]
    return st.one_of(choices)


def _without(
    low: float, high: float, holes: list[tuple[float, float]], kind: np.dtype[Any]
) -> list[tuple[float, float]]:
    """The closed intervals left of [low, high] without open holes, with ends that `kind` holds."""
    pieces = [(low, high)]
    for a, b in holes:
        cut = [((lo, min(hi, a)), (max(lo, b), hi)) for lo, hi in pieces]
        pieces = [piece for pair in cut for piece in pair if piece[0] <= piece[1]]
    inward = [(_rounded(a, kind, math.inf), _rounded(b, kind, -math.inf)) for a, b in pieces]
    return [(a, b) for a, b in inward if a <= b]


def _rounded(x: float, kind: np.dtype[Any], towards: float) -> float:
    """Return the number of `kind` nearest to x on one side of it."""
    near = kind.type(x)
    if float(near) != x and (float(near) < x) == (towards > 0):
        near = np.nextafter(near, kind.type(towards))
    return float(near)


def at_kinks(points: Sequence[float]) -> st.SearchStrategy[float]:
    """Exactly the given points and nothing else, for elements that all stand at a kink.

    >>> from hypothesis import find
    >>> find(at_kinks([0.0, 6.0]), lambda x: x > 1)
    6.0
    """
    if not points:
        raise ValueError("at_kinks: expected at least one point")
    return st.sampled_from([float(p) for p in points])


def distinct(
    shape: tuple[int, ...], *, dtype: Any = "float64", gap: float = 0.125
) -> st.SearchStrategy[Array]:
    """Arrays without ties: no two elements nearer than `gap`, none nearer to 0 than half of it.

    For max, sort, median and pooling, whose derivatives jump where elements change order.

    >>> from hypothesis import find
    >>> find(distinct((4,)), lambda x: True)
    array([-0.1875, -0.0625,  0.0625,  0.1875])
    """
    size = math.prod(shape)

    def placed(order: list[int]) -> Array:
        values = (np.array(order, "float64") - size // 2 + 0.5) * gap
        return values.reshape(shape).astype(dtype)

    return st.permutations(range(size)).map(placed)


@st.composite
def ties(
    draw: st.DrawFn,
    shape: tuple[int, ...],
    *,
    axis: int | None = None,
    dtype: Any = "float64",
    gap: float = 0.5,
) -> Array:
    """Arrays of a shape in which every value stands at least twice: nothing but ties.

    axis : None for the whole array; else each line along this axis has its own ties. Where there
        is a single element there is nothing to tie.

    >>> from hypothesis import find
    >>> find(ties((2, 3), axis=1), lambda x: True)
    array([[0.5, 0.5, 0.5],
           [0.5, 0.5, 0.5]])
    """
    x = np.zeros(shape)
    lines = x.reshape(1, -1) if axis is None else np.moveaxis(x, axis, -1)
    for place in np.ndindex(lines.shape[:-1]):
        size = lines.shape[-1]
        count = draw(st.integers(1, max(1, size // 2)))
        pairs = [k for k in range(count) for _ in range(2)][:size]
        rest = draw(st.lists(st.integers(0, count - 1), min_size=size - len(pairs),
                             max_size=size - len(pairs)))  # fmt: skip
        order = draw(st.permutations(pairs + rest)) if count > 1 else pairs + rest
        lines[place] = (np.array(order, "float64") + 1) * gap
    return x.astype(dtype)


def filled(shape: tuple[int, ...], dtype: Any, elements: Any) -> st.SearchStrategy[Array]:
    """Arrays of a shape; `elements` as `arrays` takes it (None: numbers of the dtype)."""
    from hypothesis.extra import numpy as hnp

    kind = np.dtype(dtype)
    if callable(elements) and not isinstance(elements, st.SearchStrategy):
        made: Callable[..., st.SearchStrategy[Array]] = elements
        return made(shape).map(lambda x: np.asarray(x, kind).reshape(shape))
    if elements is None and kind.kind == "f":
        elements = floats(dtype=kind)
    elif elements is None:
        low, high = (0, 1) if kind.kind == "b" else (0 if kind.kind == "u" else -8, 8)
        elements = st.integers(low, high).map(kind.type)
    else:
        elements = elements.map(kind.type)
    # With a fill some elements are drawn and the others share a value: large cases stay cheap, and
    # a failure shrinks in shape, for what is left out need not move.
    return hnp.arrays(kind, shape, elements=elements, fill=elements)
