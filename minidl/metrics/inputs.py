"""How metrics read what they are given: tensors, arrays and lists, checked, as NumPy arrays."""

from typing import Any

import numpy as np

from minidl.device import is_array, to_host
from minidl.errors import DtypeError, ShapeError
from minidl.tensor import Tensor

Array = np.ndarray[Any, Any]


def host(name: str, argument: str, value: Any) -> Array:
    """Return a tensor, an array (of any device) or a list as a NumPy array of numbers or bools."""
    if isinstance(value, Tensor):
        value = value.data
    if is_array(value):
        array = to_host(value)
    else:
        try:
            array = np.asarray(value)
        except ValueError:
            raise ShapeError(f"{name}: {argument} is a list of rows that differ in shape") from None
        if array.size == 0 and isinstance(value, list | tuple):
            array = array.astype(np.int64)  # an empty list says nothing of its dtype
    if array.dtype.kind not in "biuf":
        raise DtypeError(f"{name}: {argument} of dtype {array.dtype}; expected numbers or bools")
    return array


def batch(name: str, outputs: Any, targets: Any) -> tuple[Array, Array]:
    """Return outputs and targets as NumPy arrays of as many samples each."""
    o, t = host(name, "outputs", outputs), host(name, "targets", targets)
    if not o.ndim or not t.ndim or len(o) != len(t):
        raise ShapeError(
            f"{name}: outputs and targets have one sample for each index of their first axis; "
            f"got shapes {o.shape} and {t.shape}"
        )
    return o, t


def finite(name: str, argument: str, x: Array, infinite: bool = False) -> Array:
    """Return `x`, or raise ValueError if it holds NaN (or infinity, unless it may)."""
    bad = np.isnan(x) if infinite else ~np.isfinite(x)
    if bad.any():
        raise ValueError(f"{name}: {argument} hold {x[bad][0]} at index {_place(bad)}")
    return x


def labels(name: str, argument: str, x: Array) -> Array:
    """Return whole numbers of any dtype as int64. Raises ValueError for others."""
    if x.dtype.kind == "f":
        bad = ~(np.abs(x) < 2**63) | (x != np.trunc(x))
        if bad.any():
            raise ValueError(
                f"{name}: {argument} hold {x[bad][0]} at index {_place(bad)}; labels are whole "
                "numbers"
            )
    return x.astype(np.int64)


def within(name: str, x: Array, count: int, reason: str) -> None:
    """Raise ValueError if a label in `x` is not in 0 … count - 1."""
    bad = (x < 0) | (x >= count)
    if bad.any():
        raise ValueError(
            f"{name}: targets hold {x[bad][0]} at index {_place(bad)}; {reason}, so labels are "
            f"0 … {count - 1}"
        )


def weights(name: str, given: Any, shape: tuple[int, ...]) -> Array | None:
    """Return weights for what has `shape`, flat: int64 or float64; None for none.

    A weight (N,) of a sample goes to each of its elements, where `shape` has more axes.
    """
    if given is None:
        return None
    w = host(name, "weights", given)
    if w.shape not in (shape[:1], shape):
        wanted = " or ".join(str(s) for s in dict.fromkeys((shape[:1], shape)))
        raise ShapeError(f"{name}: weights have shape {w.shape}, expected {wanted}")
    w = finite(name, "weights", w).astype(np.float64 if w.dtype.kind == "f" else np.int64)
    if (w < 0).any():
        raise ValueError(
            f"{name}: weights hold {w[w < 0][0]} at index {_place(w < 0)}; a weight is 0 or more"
        )
    return np.broadcast_to(w.reshape(w.shape + (1,) * (len(shape) - w.ndim)), shape).reshape(-1)


def scores_and_labels(name: str, o: Array, t: Array, class_axis: int = -1) -> tuple[Array, Array]:
    """Return scores with their classes last, (..., C), and int64 labels (...).

    The targets are labels (...), labels with an axis of length 1 for the classes, or one-hot rows
    of the shape of the outputs (any that sum to 1: the greatest wins). The labels' range is not
    checked. Raises ShapeError where the shapes do not fit.
    """
    if not -o.ndim <= class_axis < o.ndim:
        raise ShapeError(f"{name}: outputs of shape {o.shape} have no class_axis {class_axis}")
    o = np.moveaxis(finite(name, "outputs", o, infinite=True), class_axis, -1)
    if t.ndim == o.ndim:
        t = np.moveaxis(t, class_axis, -1)
        if t.shape == o.shape:
            sums = t.sum(-1, dtype=np.float64)
            bad = ~np.isclose(sums, 1, atol=1e-3)
            if bad.any():
                raise ValueError(
                    f"{name}: targets of the outputs' shape {o.shape} are one-hot, but the row at "
                    f"index {_place(bad)} sums to {sums[bad][0]:g}, not 1; for labels that do "
                    "not exclude each other pass outputs.ravel() and targets.ravel()"
                )
            return o, t.argmax(-1)
        if t.shape[-1] == 1:
            t = t[..., 0]
    if t.shape != o.shape[:-1]:
        hint = ""
        if o.ndim > 2 and t.shape == o.shape[:1] + o.shape[2:]:
            hint = "; where axis 1 holds the classes, pass class_axis=1"
        raise ShapeError(
            f"{name}: scores of shape {o.shape}, classes last, go with labels of shape "
            f"{o.shape[:-1]} or one-hot rows; got targets of shape {t.shape}{hint}"
        )
    return o, labels(name, "targets", t)


def predictions(
    name: str, outputs: Any, targets: Any, threshold: float, class_axis: int
) -> tuple[Array, Array]:
    """Return predicted and true labels, int64, of one shape, by the rule told in `Accuracy`."""
    o, t = batch(name, outputs, targets)
    classes = o.shape[class_axis] if -o.ndim <= class_axis < o.ndim and o.ndim > 1 else 1
    if classes > 1 and (o.ndim == t.ndim + 1 or o.dtype.kind == "f"):
        scores, t = scores_and_labels(name, o, t, class_axis)
        within(name, t, classes, f"the scores are of {classes} classes")
        return scores.argmax(-1), t
    if o.ndim == t.ndim + 1 and o.shape[-1] == 1:
        o = o[..., 0]
    elif t.ndim == o.ndim + 1 and t.shape[-1] == 1:
        t = t[..., 0]
    if o.shape != t.shape:
        raise ShapeError(
            f"{name}: outputs of shape {o.shape} do not go with targets of shape {t.shape}; "
            "expected labels or probabilities of the targets' shape, or scores with one more axis"
        )
    t = labels(name, "targets", t)
    if o.dtype.kind != "f":
        return labels(name, "outputs", o), t
    within(name, t, 2, "the outputs are floats, taken as the probability of class 1")
    return (finite(name, "outputs", o, infinite=True) > threshold).astype(np.int64), t


def tally(index: Array, weights: Array | None, count: int) -> Array:
    """Return how often, or with how much weight, each of 0 … count - 1 occurs: int64 or float64."""
    if weights is None:
        return np.bincount(index, minlength=count)
    totals = np.bincount(index, weights, minlength=count)
    return totals if weights.dtype.kind == "f" else totals.astype(np.int64)


def numbered(seen: Array, predicted: Array, actual: Array) -> tuple[Array, Array, Array, Array]:
    """Return all labels that occur, ascending, and where among them stand the three given, flat."""
    parts = [seen, predicted.reshape(-1), actual.reshape(-1)]
    found, place = np.unique(np.concatenate(parts), return_inverse=True)
    ends = np.cumsum([len(part) for part in parts])
    return found, place[: ends[0]], place[ends[0] : ends[1]], place[ends[1] :]


def added(counts: Array, before: Array, where: Any) -> Array:
    """Return `counts` with those from `before` added at `where`: float64 if one of them is."""
    total = counts.astype(np.result_type(counts, before))
    total[where] += before
    return total


def places(wanted: Array, seen: Array) -> tuple[Array, Array]:
    """Return which of the wanted labels are in `seen` (ascending), and where those stand in it."""
    known = np.isin(wanted, seen)
    return known, np.searchsorted(seen, wanted[known])


def chosen_labels(name: str, given: Any) -> Array | None:
    """Return the option `labels=` as int64, checked to be distinct; None for none."""
    if given is None:
        return None
    found = host(name, "labels", list(given))
    if found.ndim != 1 or found.size == 0:
        raise ValueError(f"{name}: labels must hold at least one label; got {given!r}")
    found = labels(name, "labels", found)
    if len(np.unique(found)) < len(found):
        raise ValueError(f"{name}: labels hold a label twice: {found.tolist()}")
    return found


def _place(bad: Array) -> Any:
    """The index of the first element that is true."""
    place = tuple(int(i) for i in np.argwhere(bad)[0])
    return place[0] if len(place) == 1 else place
