"""Metrics of how well scores rank: the area under the ROC curve, and average precision."""

import abc
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minidl.errors import ShapeError
from minidl.metrics import inputs
from minidl.metrics.base import Array, Metric

__all__ = ["ROCAUC", "AveragePrecision", "average_precision_score", "roc_auc_score"]

NAN = float("nan")


class _Ranking(Metric):
    """Scores, targets and weights are kept, all of them: a rank is known when the last has come."""

    _state = ("scores", "targets", "weights")
    averages: tuple[str | None, ...] = ("macro", "micro", "weighted", None)

    def __init__(
        self, average: str | None, labels: Sequence[int] | None, from_logits: bool, name: str
    ) -> None:
        self.average, self.from_logits = average, from_logits
        super().__init__(name)
        if average not in self.averages:
            raise ValueError(
                f"{name}: average is {average!r}, expected one of {list(self.averages)}"
            )
        self.labels = inputs.chosen_labels(name, labels)
        if self.labels is not None and (np.diff(self.labels) < 0).any():
            raise ValueError(f"{name}: labels must ascend; got {self.labels.tolist()}")

    def reset(self) -> None:
        """Forget all that was seen."""
        self.scores: Array = np.zeros(0)  # (N,) or (N, C)
        self.targets = np.zeros(0, np.int64)
        self.weights = np.zeros(0)
        self._batches: list[tuple[Array, Array, Array]] = []  # those that are not joined yet

    def update(self, outputs: Any, targets: Any, weights: Any = None) -> None:
        """Take in a batch. weights : (N,), one for each sample, 0 or more."""
        o, t = inputs.batch(self.name, outputs, targets)
        o, t = (x.reshape(len(x)) if x.shape == (len(x), 1) else x for x in (o, t))
        if o.ndim not in (1, 2) or t.ndim not in (1, o.ndim):
            raise ShapeError(
                f"{self.name}: outputs must have shape (N,) or (N, C) and targets (N,); got "
                f"{o.shape} and {t.shape}"
            )
        if o.ndim == 2:
            o, t = inputs.scores_and_labels(self.name, o, t)
        else:
            o = inputs.finite(self.name, "outputs", o, infinite=True)
            t = inputs.labels(self.name, "targets", t)
        o = o.astype(o.dtype if o.dtype.kind == "f" else np.float64)  # a copy, to be kept
        w = inputs.weights(self.name, weights, t.shape)
        if len(t):
            self._batches.append(
                (self._checked(o, t), t, np.ones(len(t)) if w is None else w * 1.0)
            )

    def _checked(self, o: Array, t: Array) -> Array:
        """The scores to keep, of the shape of those before, with labels that may come."""
        first = self.scores if len(self.targets) else self._batches[0][0] if self._batches else o
        if first.shape[1:] != o.shape[1:]:
            raise ShapeError(
                f"{self.name}: outputs have shape {o.shape}, those before had {first.shape}"
            )
        if self.labels is not None:
            columns = 2 if o.ndim == 1 else o.shape[1]
            if len(self.labels) != columns:
                raise ValueError(
                    f"{self.name}: {len(self.labels)} labels for outputs of {columns} classes"
                )
            if len(strangers := np.setdiff1d(t, self.labels)):
                raise ValueError(
                    f"{self.name}: targets hold {strangers[0]}, which is not among the labels "
                    f"{self.labels.tolist()}"
                )
        if o.ndim == 2 and self.from_logits:
            powers = np.exp(o.astype(np.float64) - o.max(1, keepdims=True))
            return powers / powers.sum(1, keepdims=True)
        return o

    def _join(self) -> None:
        kept = [(self.scores, self.targets, self.weights)] if len(self.targets) else []
        if self._batches:
            self.scores, self.targets, self.weights = map(
                np.concatenate, zip(*kept, *self._batches, strict=True)
            )
            self._batches = []

    def state_dict(self) -> dict[str, Any]:
        """Return scores, targets and weights of all samples: NumPy arrays, copies."""
        self._join()
        return super().state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned; arrays may have become lists or tensors."""
        super().load_state_dict(state)
        self._batches = []

    def compute(self) -> Any:
        """Return the figure; for more than two classes and `average=None` one for each class.

        Raises ValueError if no sample has come, or other classes than there are columns.
        """
        self._join()
        self._needs(self.weights.sum())
        if self.scores.ndim == 1 or self.scores.shape[1] == 2:
            scores = self.scores if self.scores.ndim == 1 else self.scores[:, 1]
            return self._binary(self.targets == self._positive(), scores, self.weights)
        classes = np.unique(self.targets) if self.labels is None else self.labels
        if len(classes) != self.scores.shape[1]:
            raise ValueError(
                f"{self.name}: the targets are of {len(classes)} classes, the outputs have "
                f"{self.scores.shape[1]} columns; say which classes the columns are, as "
                "labels=range(10)"
            )
        return self._over_classes(classes)

    def _over_classes(self, classes: Array) -> Any:
        """Each class against the rest, averaged."""
        members = self.targets[:, None] == classes
        if self.average == "micro":
            weights = np.repeat(self.weights, len(classes))
            return self._binary(members.ravel(), self.scores.ravel(), weights)
        figures = np.array(
            [
                self._binary(members[:, c], self.scores[:, c], self.weights)
                for c in range(len(classes))
            ]
        )
        if self.average is None:
            return figures
        if self.average == "macro":
            return float(figures.mean())
        support = self.weights @ members
        return float(np.average(np.where(support == 0, 0, figures), weights=support))

    @abc.abstractmethod
    def _positive(self) -> int:
        """The positive class of two."""

    @staticmethod
    @abc.abstractmethod
    def _binary(positive: Array, scores: Array, weights: Array) -> float:
        """The figure of one class against the rest."""


def _curve(positive: Array, scores: Array, weights: Array) -> tuple[Array, Array]:
    """Weights of true and false positives where all scores from a threshold up count as positive.

    One threshold for each score that occurs, from the highest down; samples of no weight are not
    there.
    """
    there = weights > 0
    positive, scores, weights = positive[there], scores[there], weights[there]
    order = np.argsort(-scores, kind="stable")
    positive, scores, weights = positive[order], scores[order], weights[order]
    last = np.append(np.flatnonzero(scores[1:] != scores[:-1]), len(scores) - 1)
    true = np.cumsum(np.where(positive, weights, 0))[last]
    false = np.cumsum(np.where(positive, 0, weights))[last]
    return true, false


class ROCAUC(_Ranking):
    """The area under the ROC curve: the chance that a positive sample scores above a negative one.

    AUC = sum over pairs (i positive, j negative) of w_i w_j ([s_i > s_j] + [s_i = s_j] / 2)
    / sum over pairs of w_i w_j. It is the area under the curve of the true-positive rate over the
    false-positive rate, by trapezoids.

    average : of more than two classes
        "macro"     the mean over classes, or pairs of classes
        "weighted"  weighted by how often each class, or pair, occurs in the targets
        "micro"     all columns as one; only "ovr"
        None        no average: an array, one figure for each class; only "ovr"
    multi_class : "ovr", each class against the rest (Fawcett, 2006); "ovo", each pair of classes
        by itself, both ways (Hand and Till, 2001), without weights
    labels : the classes of the columns, ascending; default: those that occur in the targets
    from_logits : outputs are logits; softmax makes probabilities of them
    name : "roc_auc" by default

    Outputs are scores (N,) or (N, 1) of the greater label of two, or probabilities (N, C) that sum
    to 1. Targets are labels (N,), (N, 1) or one-hot rows (N, C).

    The figure is NaN where only one class occurs; so is "macro" of a class that `labels` names and
    the targets lack, while "weighted" and "ovo" leave it out. All as in scikit-learn.

    Raises ShapeError for other shapes; ValueError for NaN, rows that do not sum to 1, labels that
    are not among `labels`, and weights with "ovo".

    >>> from minidl.metrics import ROCAUC
    >>> metric = ROCAUC()
    >>> metric.update([0.1, 0.4], [0, 0])
    >>> metric.update([0.35, 0.8], [1, 1])
    >>> metric.compute()
    0.75
    """

    def __init__(
        self,
        average: str | None = "macro",
        multi_class: str = "ovr",
        labels: Sequence[int] | None = None,
        from_logits: bool = False,
        name: str = "roc_auc",
    ) -> None:
        self.multi_class = multi_class
        super().__init__(average, labels, from_logits, name)
        if multi_class not in ("ovr", "ovo"):
            raise ValueError(f"{name}: multi_class is {multi_class!r}, expected 'ovr' or 'ovo'")
        if multi_class == "ovo" and average not in ("macro", "weighted"):
            raise ValueError(f"{name}: average={average!r} is not offered for multi_class='ovo'")

    def update(self, outputs: Any, targets: Any, weights: Any = None) -> None:
        """Take in a batch. weights : (N,), one for each sample, 0 or more; none with "ovo"."""
        if self.multi_class == "ovo" and weights is not None:
            raise ValueError(f"{self.name}: multi_class='ovo' takes no weights")
        super().update(outputs, targets, weights)

    def _checked(self, o: Array, t: Array) -> Array:
        o = super()._checked(o, t)
        if o.ndim == 2:
            bad = ~np.isclose(o.sum(1, dtype=np.float64), 1, atol=1e-3 if o.itemsize == 2 else 1e-5)
            if bad.any():
                raise ValueError(
                    f"{self.name}: the row at index {bad.argmax()} of the outputs sums to "
                    f"{o[bad.argmax()].sum():g}, not 1; give probabilities, or from_logits=True"
                )
        return o

    def _positive(self) -> int:
        """The greater label."""
        classes = np.unique(self.targets)
        if len(classes) > 2:
            raise ValueError(
                f"{self.name}: the targets are of {len(classes)} classes; outputs must then have "
                f"shape (N, {len(classes)})"
            )
        return int(classes[-1] if self.labels is None else self.labels[1])

    def _over_classes(self, classes: Array) -> Any:
        if self.multi_class == "ovr":
            return super()._over_classes(classes)
        present = [c for c in range(len(classes)) if (self.targets == classes[c]).any()]
        figures, sizes = [], []
        for a, b in itertools.combinations(present, 2):
            of_a = self.targets == classes[a]
            pair = of_a | (self.targets == classes[b])
            scores, ones, of_a = self.scores[pair], np.ones(pair.sum()), of_a[pair]
            both = self._binary(of_a, scores[:, a], ones) + self._binary(~of_a, scores[:, b], ones)
            figures.append(both / 2)
            sizes.append(pair.sum())
        if not figures:
            return NAN
        return float(np.average(figures, weights=sizes if self.average == "weighted" else None))

    @staticmethod
    def _binary(positive: Array, scores: Array, weights: Array) -> float:
        true, false = (np.append(0, x) for x in _curve(positive, scores, weights))
        if not (true[-1] > 0 and false[-1] > 0):
            return NAN
        area = (np.diff(false) * (true[1:] + true[:-1])).sum() / 2
        return float(area / (true[-1] * false[-1]))


class AveragePrecision(_Ranking):
    """The mean of the precision over the recall: AP = sum_n (R_n - R_(n-1)) P_n.

    P_n, R_n : precision and recall where the n highest of the scores that occur count as positive;
        the area under the precision-recall curve by steps, without interpolation

    average : of more than two classes, each against the rest
        "macro"     the mean over classes
        "weighted"  weighted by how often each class occurs in the targets
        "micro"     all columns as one
        None        no average: an array, one figure for each class
    labels : the classes of the columns, ascending; default: those that occur in the targets
    pos_label : the class that scores (N,) are of
    from_logits : outputs are logits; softmax makes probabilities of them
    name : "average_precision" by default

    Outputs are scores (N,) or (N, 1) of the class `pos_label`, or (N, C). Of two columns the second
    counts. Targets are labels (N,), (N, 1) or one-hot rows (N, C). A class that does not occur in
    the targets has 0.

    Raises ShapeError for other shapes; ValueError for NaN, and for labels that are not among
    `labels`.

    >>> from minidl.metrics import AveragePrecision
    >>> metric = AveragePrecision()
    >>> metric.update([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    >>> metric.compute()
    0.8333
    """

    def __init__(
        self,
        average: str | None = "macro",
        labels: Sequence[int] | None = None,
        pos_label: int = 1,
        from_logits: bool = False,
        name: str = "average_precision",
    ) -> None:
        self.pos_label = pos_label
        super().__init__(average, labels, from_logits, name)

    def _positive(self) -> int:
        if self.labels is not None:
            return int(self.labels[1])
        classes = np.unique(self.targets)
        if len(classes) > 2:
            raise ValueError(
                f"{self.name}: the targets are of {len(classes)} classes; outputs must then have "
                f"shape (N, {len(classes)})"
            )
        if len(classes) == 2 and self.pos_label not in classes:
            raise ValueError(
                f"{self.name}: pos_label is {self.pos_label}, but the classes are "
                f"{classes.tolist()}"
            )
        return self.pos_label

    @staticmethod
    def _binary(positive: Array, scores: Array, weights: Array) -> float:
        true, false = _curve(positive, scores, weights)
        if not len(true) or true[-1] == 0:
            return 0.0
        return float((np.diff(true, prepend=0) / true[-1] * (true / (true + false))).sum())


def roc_auc_score(outputs: Any, targets: Any, weights: Any = None, **options: Any) -> Any:
    """Return the area under the ROC curve; options (multi_class="ovr", …) are `ROCAUC`'s.

    >>> from minidl.metrics import roc_auc_score
    >>> roc_auc_score([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    0.75
    """
    return ROCAUC(**{"name": "roc_auc_score"} | options).over(outputs, targets, weights)


def average_precision_score(outputs: Any, targets: Any, weights: Any = None, **options: Any) -> Any:
    """Return the average precision; options (average="macro", …) are `AveragePrecision`'s.

    >>> from minidl.metrics import average_precision_score
    >>> average_precision_score([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    0.8333
    """
    name = {"name": "average_precision_score"}
    return AveragePrecision(**name | options).over(outputs, targets, weights)
