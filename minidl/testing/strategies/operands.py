"""Operands that fit each other: products of matrices, einsum, and batches of sequences."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from minidl.testing.layouts import LAYOUTS
from minidl.testing.strategies.arrays import arrays
from minidl.testing.strategies.values import filled

__all__ = ["Sequences", "einsum_operands", "matmul_operands", "sequences"]

Array = np.ndarray[Any, Any]


@st.composite
def matmul_operands(
    draw: st.DrawFn,
    *,
    vectors: bool = True,
    batches: bool = True,
    max_side: int = 3,
    zero_size: bool = False,
    dtype: Any = "float64",
    elements: Any = None,
    layouts: str | Sequence[str] = LAYOUTS,
) -> tuple[Array, Array]:
    """Pairs (x, y) for x @ y: vectors, matrices, and batches of matrices that broadcast.

    vectors, batches : whether they are drawn; zero_size : sides of zero as well, inner ones too
    dtype, elements, layouts : see `arrays`

    >>> from hypothesis import find
    >>> x, y = find(matmul_operands(), lambda pair: pair[0].ndim == 3 and pair[1].ndim == 2)
    >>> x.shape, y.shape
    ((1, 1, 1), (1, 1))
    """
    side = st.sampled_from([*range(1, max_side + 1), *([0] if zero_size else [])])
    m, k, n = draw(st.tuples(side, side, side))
    x_shape: tuple[int, ...] = (m, k)
    y_shape: tuple[int, ...] = (k, n)
    if vectors and draw(st.integers(0, 3)) == 0:
        x_shape = (k,)
    if vectors and draw(st.integers(0, 3)) == 0:
        y_shape = (k,)
    if batches and draw(st.booleans()):
        whole = tuple(draw(st.lists(side, min_size=1, max_size=2)))
        if len(x_shape) == 2:
            x_shape = draw(_part_of(whole)) + x_shape
        if len(y_shape) == 2:
            y_shape = draw(_part_of(whole)) + y_shape
    options = {"dtype": dtype, "elements": elements, "layouts": layouts}
    return draw(arrays(x_shape, **options)), draw(arrays(y_shape, **options))


@st.composite
def _part_of(draw: st.DrawFn, whole: tuple[int, ...]) -> tuple[int, ...]:
    """A shape that broadcasts to `whole`."""
    if draw(st.booleans()):
        return whole
    sides = whole[len(whole) - draw(st.integers(0, len(whole))) :]
    return tuple([side if draw(st.booleans()) else 1 for side in sides])


@st.composite
def einsum_operands(
    draw: st.DrawFn,
    max_operands: int = 3,
    *,
    diagonals: bool = True,
    ellipsis: bool = True,
    implicit: bool = True,
    max_side: int = 3,
    dtype: Any = "float64",
    elements: Any = None,
    layouts: str | Sequence[str] = LAYOUTS,
) -> tuple[Any, ...]:
    """Tuples (equation, *operands) for einsum: products, sums, transposes, outer products, batches.

    diagonals : a letter may stand twice in a term; ellipsis : terms with "..." for further axes
    implicit : equations without "->" as well; dtype, elements, layouts : see `arrays`

    >>> from hypothesis import find
    >>> case = find(einsum_operands(), lambda case: "->" in case[0] and len(case) == 3)
    >>> case[0], [x.shape for x in case[1:]]
    (',->', [(), ()])
    """
    sizes = {letter: draw(st.integers(1, max_side)) for letter in "ijkl"}
    further = draw(st.lists(st.integers(1, 2), max_size=2)) if ellipsis else []
    letters = st.lists(st.sampled_from("ijkl"), max_size=3)
    part = _part_of(tuple(further))
    terms, shapes = [], []
    for _ in range(draw(st.integers(1, max_operands))):
        term = draw(letters)
        term = term if diagonals else list(dict.fromkeys(term))
        shape = [sizes[letter] for letter in term]
        if bool(further) and draw(st.booleans()):
            place = draw(st.integers(0, len(term)))
            term.insert(place, "...")
            shape[place:place] = [*draw(part)]
        terms.append("".join(term))
        shapes.append(tuple(shape))
    equation = ",".join(terms)
    if not implicit or draw(st.booleans()):
        known = sorted(set(equation) - {".", ","})
        output = draw(st.lists(st.sampled_from(known), unique=True)) if known else []
        if "..." in equation:
            output.insert(draw(st.integers(0, len(output))), "...")
        equation += "->" + "".join(output)
    options = {"dtype": dtype, "elements": elements, "layouts": layouts}
    return (equation, *[draw(arrays(shape, **options)) for shape in shapes])


class Sequences(NamedTuple):
    """A batch of sequences of unequal length, and how long each is."""

    x: Array
    lengths: Array

    @property
    def mask(self) -> Array:
        """(N, T) truth values: true where a sequence has not ended."""
        return np.arange(int(self.lengths.max(initial=0))) < self.lengths[:, None]


@st.composite
def sequences(
    draw: st.DrawFn,
    *,
    max_count: int = 3,
    max_length: int = 4,
    max_features: int = 3,
    batch_first: bool = True,
    descending: bool = False,
    zero_lengths: bool = False,
    padding: float = 0.0,
    dtype: Any = "float64",
    elements: Any = None,
) -> Sequences:
    """Batches (x, lengths): x (N, T, F), or (T, N, F), lengths (N,) int64, the longest T.

    batch_first : (N, T, F); descending : the longest first; zero_lengths : sequences may be empty
        (never all of them); padding : what stands behind a sequence's end (NaN finds who reads it)
    dtype, elements : see `arrays`

    >>> from hypothesis import find
    >>> batch = find(sequences(padding=np.nan), lambda batch: not batch.mask.all())
    >>> batch.x.tolist(), batch.lengths.tolist()
    ([[[0.0], [nan]], [[0.0], [0.0]]], [1, 2])
    """
    least = 0 if zero_lengths else 1
    count = draw(st.integers(1, max_count))
    found = draw(st.lists(st.integers(least, max_length), min_size=count, max_size=count))
    if not any(found):
        found[0] = 1
    lengths = np.array(sorted(found, reverse=True) if descending else found, "int64")
    if isinstance(dtype, st.SearchStrategy):
        dtype = draw(dtype)
    shape = (count, int(lengths.max()), draw(st.integers(1, max_features)))
    x = draw(filled(shape, dtype, elements))
    batch = Sequences(x, lengths)
    x[~batch.mask] = padding
    return batch if batch_first else Sequences(np.ascontiguousarray(x.swapaxes(0, 1)), lengths)
