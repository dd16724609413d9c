"""Metrics of classification that count: accuracy, top-k, precision, recall, F-scores."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.errors import ShapeError
from minidl.metrics import inputs
from minidl.metrics.base import Array, Metric

__all__ = [
    "F1",
    "Accuracy",
    "FBeta",
    "Precision",
    "Recall",
    "TopK",
    "accuracy",
    "f1_score",
    "fbeta_score",
    "precision",
    "recall",
    "top_k_accuracy",
]

# ---- right or wrong -----------------------------------------------------------------------------


class _Hits(Metric):
    """A share of samples: sum(w where hit) / sum(w)."""

    _state = ("hits", "total")

    def reset(self) -> None:
        """Forget all that was seen."""
        self.hits: int | float = 0
        self.total: int | float = 0

    def _count(self, hit: Array, weights: Any) -> None:
        w = inputs.weights(self.name, weights, hit.shape)
        hit = hit.reshape(-1)
        self.hits += int(hit.sum()) if w is None else w[hit].sum().item()
        self.total += hit.size if w is None else w.sum().item()

    def compute(self) -> float:
        """Return the share of hits. Raises ValueError if no sample has come."""
        self._needs(self.total)
        return self.hits / self.total


class Accuracy(_Hits):
    """The share of predictions that are right: sum(w where predicted = target) / sum(w).

    threshold : a probability above it means class 1 (0.0 for logits)
    class_axis : the axis of scores that holds the classes, -1 or 1
    name : "accuracy" by default

    What the outputs mean follows from the shapes, as "accuracy" does in Keras 3:

    ==================  ==========================  ===========================================
    outputs             targets                     the prediction is
    ==================  ==========================  ===========================================
    scores (…, C)       labels (…) or (…, 1)        the class of the greatest score, first of equals
    scores (…, C)       one-hot (…, C)              the same, compared with the greatest target
    floats (…, 1)       labels 0, 1: (…, 1), (…)    1 where outputs > threshold
    floats (N,)         labels 0, 1: (N,) or (N, 1) 1 where outputs > threshold
    whole numbers, (…)  labels (…)                  the outputs: they are labels
    ==================  ==========================  ===========================================

    C is 2 or more. Keras differs in the two last rows: it has no rule of its own for them.

    Raises ShapeError for shapes that do not fit; ValueError for NaN in scores, labels that are no
    whole numbers or not among the classes, rows of targets that are not one-hot.

    >>> from minidl.metrics import Accuracy
    >>> metric = Accuracy()
    >>> metric.update([[0.1, 0.9], [0.8, 0.2]], [1, 1])
    >>> metric.update([[0.3, 0.7], [0.6, 0.4]], [1, 0])
    >>> metric.compute()
    0.75
    """

    def __init__(
        self, threshold: float = 0.5, class_axis: int = -1, name: str = "accuracy"
    ) -> None:
        self.threshold, self.class_axis = threshold, class_axis
        super().__init__(name)

    def update(self, outputs: Any, targets: Any, weights: Any = None) -> None:
        """Take in a batch. weights : (N,), or one for each label."""
        predicted, actual = inputs.predictions(
            self.name, outputs, targets, self.threshold, self.class_axis
        )
        self._count(predicted == actual, weights)


class TopK(_Hits):
    """The share of samples whose target is among the k highest scores.

    sum(w where rank < k) / sum(w), the rank being the number of classes that score higher. Of
    equal scores the class with the greater number ranks higher, as in scikit-learn's
    top_k_accuracy_score.

    k : 5 by default
    class_axis : the axis of scores that holds the classes, -1 or 1
    name : "top_5_accuracy" or so by default

    Outputs are scores (..., C), targets are labels (...) or one-hot rows.

    Raises ShapeError for other shapes; ValueError for NaN and for labels outside of 0 … C - 1.

    >>> from minidl.metrics import TopK
    >>> metric = TopK(2)
    >>> metric.update([[0.2, 0.3, 0.5], [0.7, 0.2, 0.1]], [1, 2])
    >>> metric.compute()
    0.5
    """

    def __init__(self, k: int = 5, class_axis: int = -1, name: str | None = None) -> None:
        self.k, self.class_axis = k, class_axis
        super().__init__(name or f"top_{k}_accuracy")
        if k < 1:
            raise ValueError(f"{self.name}: k must be 1 or more, got {k}")

    def update(self, outputs: Any, targets: Any, weights: Any = None) -> None:
        """Take in a batch. weights : (N,), or one for each label."""
        o, t = inputs.batch(self.name, outputs, targets)
        if o.ndim < 2:
            raise ShapeError(f"{self.name}: outputs have shape {o.shape}, expected scores (N, C)")
        scores, actual = inputs.scores_and_labels(self.name, o, t, self.class_axis)
        classes = scores.shape[-1]
        inputs.within(self.name, actual, classes, f"the scores are of {classes} classes")
        own = np.take_along_axis(scores, actual[..., None], -1)
        equal_after = (scores == own) & (np.arange(classes) > actual[..., None])
        rank = ((scores > own) | equal_after).sum(-1)
        self._count(rank < self.k, weights)


# ---- precision and recall -----------------------------------------------------------------------


class _ByClass(Metric):
    """A ratio of counts by class, averaged over the classes. The options stand in `Precision`."""

    default_name: str
    _state = ("seen", "counts")

    def __init__(
        self,
        average: str | None = "binary",
        labels: Sequence[int] | None = None,
        pos_label: int = 1,
        zero_division: float = 0.0,
        threshold: float = 0.5,
        class_axis: int = -1,
        name: str | None = None,
    ) -> None:
        self.average, self.pos_label, self.zero_division = average, pos_label, float(zero_division)
        self.threshold, self.class_axis = threshold, class_axis
        super().__init__(name or self.default_name)
        if average not in (averages := ("binary", "micro", "macro", "weighted", None)):
            raise ValueError(f"{self.name}: average is {average!r}, expected one of {averages}")
        if self.zero_division not in (0, 1) and not np.isnan(self.zero_division):
            raise ValueError(
                f"{self.name}: zero_division is {zero_division!r}, expected 0, 1 or NaN"
            )
        self.labels = inputs.chosen_labels(self.name, labels)

    def reset(self) -> None:
        """Forget all that was seen."""
        self.seen = np.zeros(0, np.int64)  # the labels that have occurred, ascending
        self.counts = np.zeros((3, 0), np.int64)  # hits, predicted, actual: one column a label

    def update(self, outputs: Any, targets: Any, weights: Any = None) -> None:
        """Take in a batch. weights : (N,), or one for each label."""
        predicted, actual = inputs.predictions(
            self.name, outputs, targets, self.threshold, self.class_axis
        )
        w = inputs.weights(self.name, weights, actual.shape)
        found, old, p, a = inputs.numbered(self.seen, predicted, actual)
        hit = p == a
        counts = np.stack(
            [
                inputs.tally(a[hit], None if w is None else w[hit], len(found)),
                inputs.tally(p, w, len(found)),
                inputs.tally(a, w, len(found)),
            ]
        )
        self.counts = inputs.added(counts, self.counts, np.s_[:, old])
        self.seen = found

    @property
    def classes(self) -> Array:
        """The classes that `compute` counts: of `average=None`, one for each figure."""
        if self.average == "binary":
            return np.array([self.pos_label])
        return self.seen if self.labels is None else self.labels

    def compute(self) -> Any:
        """Return the figure; with `average=None` an array, one figure for each of `classes`.

        Raises ValueError if no sample has come, or for average="binary" and other classes.
        """
        self._needs(self.counts[2].sum())
        if self.average == "binary":
            self._check_binary()
        counts = np.zeros((3, len(self.classes)), self.counts.dtype)
        known, place = inputs.places(self.classes, self.seen)
        counts[:, known] = self.counts[:, place]
        if self.average == "micro":
            counts = counts.sum(1, keepdims=True)
        hits, predicted, actual = counts
        figures = self._figure(hits, predicted, actual)
        if self.average is None:
            return figures
        kept = ~np.isnan(figures)
        if not kept.any():
            return float("nan")
        importance = actual[kept] if self.average == "weighted" else np.ones(kept.sum())
        if not importance.any():
            importance = np.ones(kept.sum())
        return float(np.average(figures[kept], weights=importance))

    def _check_binary(self) -> None:
        if len(self.seen) > 2:
            raise ValueError(
                f"{self.name}: average='binary' is for two classes, {len(self.seen)} have come; "
                "choose 'micro', 'macro', 'weighted' or None"
            )
        if len(self.seen) == 2 and self.pos_label not in self.seen:
            raise ValueError(
                f"{self.name}: pos_label is {self.pos_label}, but the classes are "
                f"{self.seen.tolist()}"
            )

    def _figure(self, hits: Array, predicted: Array, actual: Array) -> Array:
        raise NotImplementedError

    def _ratio(self, numerator: Array, denominator: Array) -> Array:
        zero = denominator == 0
        return np.where(zero, self.zero_division, numerator / np.where(zero, 1, denominator))


class Precision(_ByClass):
    """Of what was predicted to be a class, the share that is: TP / (TP + FP).

    TP : weight of the samples of the class that were predicted to be so
    FP : weight of the samples of other classes that were predicted to be of it
    average : how the classes become one figure
        "binary"    the figure of the class `pos_label`; no more than two classes may occur
        "micro"     counts are summed over classes first
        "macro"     the mean over classes
        "weighted"  the mean over classes, weighted by how often each occurs in the targets
        None        no average: an array, one figure for each class
    labels : the classes to count and their order; default: all that occur in outputs or targets,
        ascending. The others still count as mistakes.
    pos_label : the class that "binary" is about
    zero_division : 0, 1 or NaN, the figure of a class where the denominator is 0; means leave NaN
        out
    threshold, class_axis, and what outputs and targets may be: see `Accuracy`
    name : "precision" by default

    Raises ShapeError for shapes that do not fit; ValueError for NaN, labels that are no whole
    numbers or not among the classes, and options with other values.

    >>> from minidl.metrics import Precision
    >>> metric = Precision(average=None)
    >>> metric.update([0, 1, 1, 2], [0, 1, 2, 2])
    >>> metric.compute().tolist()
    [1.0, 0.5, 1.0]
    """

    default_name = "precision"

    def _figure(self, hits: Array, predicted: Array, actual: Array) -> Array:
        return self._ratio(hits, predicted)


class Recall(_ByClass):
    """Of what is of a class, the share that was predicted to be: TP / (TP + FN).

    TP : weight of the samples of the class that were predicted to be so
    FN : weight of the samples of the class that were predicted to be of another

    The options, averages and errors are those of `Precision`.

    >>> from minidl.metrics import Recall
    >>> metric = Recall("macro")
    >>> metric.update([0, 1, 1, 2], [0, 1, 2, 2])
    >>> round(metric.compute(), 4)
    0.8333
    """

    default_name = "recall"

    def _figure(self, hits: Array, predicted: Array, actual: Array) -> Array:
        return self._ratio(hits, actual)


class FBeta(_ByClass):
    """The weighted harmonic mean of precision P and recall R.

    F = (1 + b²) P R / (b² P + R) = (1 + b²) TP / ((1 + b²) TP + b² FN + FP)

    beta : how many times as much recall counts as precision does; 0 is precision, infinity recall

    The other options, averages and errors are those of `Precision`. Source: van Rijsbergen,
    "Information Retrieval", 1979.

    >>> from minidl.metrics import FBeta
    >>> metric = FBeta(2.0)
    >>> metric.update([1, 1, 0, 1], [1, 0, 0, 0])
    >>> round(metric.compute(), 4)
    0.7143
    """

    default_name = "fbeta"

    def __init__(self, beta: float = 1.0, average: str | None = "binary", **options: Any) -> None:
        super().__init__(average, **options)
        self.beta = float(beta)
        if not self.beta >= 0:
            raise ValueError(f"{self.name}: beta must be 0 or more, got {beta}")

    def _figure(self, hits: Array, predicted: Array, actual: Array) -> Array:
        if self.beta == 0:
            return self._ratio(hits, predicted)
        if np.isinf(self.beta):
            return self._ratio(hits, actual)
        return self._ratio((1 + self.beta**2) * hits, self.beta**2 * actual + predicted)


class F1(FBeta):
    """The harmonic mean of precision P and recall R: 2 P R / (P + R) = 2 TP / (2 TP + FN + FP).

    The options, averages and errors are those of `Precision`.

    >>> from minidl.metrics import F1
    >>> metric = F1("macro")
    >>> metric.update([0, 1, 1, 2], [0, 1, 2, 2])
    >>> round(metric.compute(), 4)
    0.7778
    """

    default_name = "f1"

    def __init__(self, average: str | None = "binary", **options: Any) -> None:
        super().__init__(1.0, average, **options)


# ---- whole arrays at once -----------------------------------------------------------------------


def accuracy(outputs: Any, targets: Any, weights: Any = None, **options: Any) -> float:
    """Return the share of predictions that are right; options and errors are `Accuracy`'s.

    >>> from minidl.metrics import accuracy
    >>> accuracy([2, 0, 1, 1], [2, 0, 1, 0])
    0.75
    """
    return Accuracy(**options).over(outputs, targets, weights)


def top_k_accuracy(
    outputs: Any, targets: Any, weights: Any = None, k: int = 5, **options: Any
) -> float:
    """Return the share of samples whose target is among the k highest scores: see `TopK`."""
    return TopK(k, **options).over(outputs, targets, weights)


def precision(outputs: Any, targets: Any, weights: Any = None, **options: Any) -> Any:
    """Return TP / (TP + FP); options (average="binary", …) and errors are `Precision`'s.

    >>> from minidl.metrics import precision
    >>> precision([1, 1, 0, 1], [1, 0, 0, 1])
    0.6667
    """
    return Precision(**options).over(outputs, targets, weights)


def recall(outputs: Any, targets: Any, weights: Any = None, **options: Any) -> Any:
    """Return TP / (TP + FN); options (average="binary", …) and errors are `Precision`'s.

    >>> from minidl.metrics import recall
    >>> recall([1, 1, 0, 1], [1, 0, 1, 1])
    0.6667
    """
    return Recall(**options).over(outputs, targets, weights)


def f1_score(outputs: Any, targets: Any, weights: Any = None, **options: Any) -> Any:
    """Return 2 TP / (2 TP + FN + FP); options (average="binary", …) and errors are `Precision`'s.

    >>> from minidl.metrics import f1_score
    >>> f1_score([0, 2, 1, 0, 0, 1], [0, 1, 2, 0, 1, 2], average="macro")
    0.2667
    """
    return F1(**{"name": "f1_score"} | options).over(outputs, targets, weights)


def fbeta_score(
    outputs: Any, targets: Any, weights: Any = None, beta: float = 1.0, **options: Any
) -> Any:
    """Return the F-score in which recall counts beta times as much as precision: see `FBeta`."""
    return FBeta(beta, **{"name": "fbeta_score"} | options).over(outputs, targets, weights)
