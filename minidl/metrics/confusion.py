"""The confusion matrix: which class was taken for which, as an array and as a picture."""

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.errors import ShapeError
from minidl.files import write_picture
from minidl.metrics import inputs
from minidl.metrics.base import Array, Metric

__all__ = ["ConfusionMatrix", "confusion_matrix", "plot_confusion_matrix"]


class ConfusionMatrix(Metric):
    """C[i, j], the number (or weight) of samples of class i that were predicted to be class j.

    labels : the classes and their order; a sample with another class as target or prediction is
        left out. Default: all that occur in outputs or targets, ascending
    normalize : None for counts; "true" for shares of a row, C[i, j] / sum_j C[i, j]; "pred" of a
        column; "all" of the whole. A share of nothing is 0.
    threshold, class_axis, and what outputs and targets may be: see `Accuracy`
    name : "confusion_matrix" by default

    Raises ShapeError for shapes that do not fit; ValueError for NaN, labels that are no whole
    numbers or not among the classes, and options with other values.

    >>> from minidl.metrics import ConfusionMatrix
    >>> matrix = ConfusionMatrix()
    >>> matrix.update([2, 0, 1, 1], [2, 0, 1, 0])
    >>> matrix.compute()
    array([[1, 1, 0],
           [0, 1, 0],
           [0, 0, 1]])
    """

    _state = ("seen", "counts")

    def __init__(
        self,
        labels: Sequence[int] | None = None,
        normalize: str | None = None,
        threshold: float = 0.5,
        class_axis: int = -1,
        name: str = "confusion_matrix",
    ) -> None:
        self.normalize, self.threshold, self.class_axis = normalize, threshold, class_axis
        super().__init__(name)
        if normalize not in (None, "true", "pred", "all"):
            raise ValueError(
                f"{name}: normalize is {normalize!r}, expected None, 'true', 'pred' or 'all'"
            )
        self.labels = inputs.chosen_labels(name, labels)

    def reset(self) -> None:
        """Forget all that was seen."""
        self.seen = np.zeros(0, np.int64)  # the labels that have occurred, ascending
        self.counts = np.zeros((0, 0), np.int64)  # true classes down, predicted ones across

    def update(self, outputs: Any, targets: Any, weights: Any = None) -> None:
        """Take in a batch. weights : (N,), or one for each label."""
        predicted, actual = inputs.predictions(
            self.name, outputs, targets, self.threshold, self.class_axis
        )
        w = inputs.weights(self.name, weights, actual.shape)
        found, old, p, a = inputs.numbered(self.seen, predicted, actual)
        counts = inputs.tally(a * len(found) + p, w, len(found) ** 2)
        counts = counts.reshape(len(found), len(found))
        self.counts = inputs.added(counts, self.counts, np.ix_(old, old))
        self.seen = found

    @property
    def classes(self) -> Array:
        """The classes of the rows and columns."""
        return self.seen if self.labels is None else self.labels

    def compute(self) -> Array:
        """Return the matrix (C, C): int64, or float64 where weights or shares make it so.

        Raises ValueError if no sample has come, or none of the classes `labels`.
        """
        matrix = self._counted()
        if self.normalize is None:
            return matrix
        axis = {"true": 1, "pred": 0, "all": None}[self.normalize]
        whole = matrix.sum(axis, keepdims=True)
        return np.where(whole == 0, 0.0, matrix / np.where(whole == 0, 1, whole))

    def _counted(self) -> Array:
        self._needs(self.counts.sum())
        known, place = inputs.places(self.classes, self.seen)
        if not self.counts[place].any():
            raise ValueError(
                f"{self.name}: none of the labels {self.classes.tolist()} is in the targets"
            )
        matrix = np.zeros((len(self.classes),) * 2, self.counts.dtype)
        matrix[np.ix_(known, known)] = self.counts[np.ix_(place, place)]
        return matrix

    def plot(
        self, path: str | os.PathLike[str], names: Sequence[Any] | None = None, title: str = ""
    ) -> None:
        """Write the matrix that `compute` returns as a picture: see `plot_confusion_matrix`.

        names : one for each of `classes`; default: these
        title : default: how many samples there are and what share of them is right
        """
        names = self.classes.tolist() if names is None else names
        plot_confusion_matrix(self.compute(), path, names, title or _summary(self._counted()))


def confusion_matrix(outputs: Any, targets: Any, weights: Any = None, **options: Any) -> Array:
    """Return C[i, j], the samples of class i predicted as j; options are `ConfusionMatrix`'s.

    >>> from minidl.metrics import confusion_matrix
    >>> confusion_matrix([0.2, 0.9, 0.6], [0, 1, 0])
    array([[1, 1],
           [0, 1]])
    """
    return ConfusionMatrix(**options).over(outputs, targets, weights)


# ---- the picture --------------------------------------------------------------------------------


def plot_confusion_matrix(
    matrix: Any,
    path: str | os.PathLike[str],
    names: Sequence[Any] | None = None,
    title: str = "",
) -> None:
    """Write a confusion matrix as a picture; the suffix of `path` says of which format.

    The colour of a cell is its share of its row, so that a rare class shows like a frequent one;
    right answers are blue, mistakes are red. Its number is what the matrix holds; it is left out
    where that is 0, or where there is no room for numbers.

    matrix : (C, C), true classes down, predicted ones across
    names : one for each class; default: their numbers
    title : default: of counts, how many there are and what share of them is right

    Raises ShapeError for a matrix that is not square, ValueError for another number of names,
    ImportError without matplotlib.
    """
    counts = inputs.host("plot_confusion_matrix", "matrix", matrix)
    if counts.ndim != 2 or not 0 < len(counts) == counts.shape[1]:
        raise ShapeError(f"plot_confusion_matrix: a matrix (C, C) is wanted, not {counts.shape}")
    inputs.finite("plot_confusion_matrix", "matrix entries", counts)
    if (counts < 0).any():
        raise ValueError("plot_confusion_matrix: matrix entries are counts or shares, 0 or more")
    size = len(counts)
    texts = [str(name) for name in (range(size) if names is None else names)]
    if len(texts) != size:
        raise ValueError(
            f"plot_confusion_matrix: {len(texts)} names for {size} classes; give "
            "ConfusionMatrix(labels=range(n)) to have a row also for a class that does not occur"
        )
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError(
            "plot_confusion_matrix: needs matplotlib, which is not installed: "
            "pip install 'minidl[examples]'"
        ) from None

    rows = counts.sum(1, keepdims=True)
    colours = _colours(counts / np.where(rows == 0, 1, rows))
    side = min(max(0.62 * size, 2.6), 9.0)  # of the matrix, in inches
    cell = side / size
    figure = Figure(figsize=(side + 2.2, side + 1.9), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(colours)
    there = np.argwhere(counts)  # an empty cell says 0
    numbers = [_number(float(counts[i, j])) for i, j in there]
    widest = max(map(len, numbers), default=1)
    points = min(10.0, 72 * cell / 2, 72 * 0.85 * cell / (0.6 * widest))  # digits are 0.6 wide
    if points >= 7:  # else too small to read: colours alone
        for (i, j), number in zip(there, numbers, strict=True):
            dark = colours[i, j] @ (0.21, 0.72, 0.07) < 0.5  # as the eye sees red, green and blue
            colour = "white" if dark else "#222222"
            axes.text(j, i, number, ha="center", va="center", fontsize=points, color=colour)
        axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="#e8e8e8", linewidth=0.8)
    named = range(0, size, math.ceil(0.25 / cell))  # as many names as have room
    slant = max(len(texts[i]) for i in named) > 3
    axes.set_xticks(
        named,
        [texts[i] for i in named],
        rotation=45 if slant else 0,
        ha="right" if slant else "center",
        rotation_mode="anchor" if slant else "default",
    )
    axes.set_yticks(named, [texts[i] for i in named])
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(title or _summary(counts), fontsize=11)
    write_picture("ConfusionMatrix.plot", path, figure, dpi=150)


def _colours(shares: Array) -> Array:
    """The colour of each cell, (C, C, 3): from white to blue on the diagonal, elsewhere to red."""
    blue, red = np.array([0.03, 0.30, 0.58]), np.array([0.70, 0.10, 0.10])
    full = np.where(np.eye(len(shares), dtype=bool)[..., None], blue, red)
    return 1 + np.sqrt(shares)[..., None] * (full - 1)  # the root, for small shares to show


def _number(value: float) -> str:
    """A count as it is; a share with two digits; 0.004 as <.01, for it is not nothing."""
    if value == int(value):
        return f"{int(value)}"
    return "<.01" if value < 0.005 else f"{value:.2f}"


def _summary(counts: Array) -> str:
    """How many samples there are and what share of them is right; nothing of shares and weights."""
    total = counts.sum()
    if total == 0 or counts.dtype.kind == "f":
        return ""
    return f"{total} samples, {counts.trace() / total:.1%} right"
