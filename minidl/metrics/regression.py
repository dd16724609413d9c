"""Metrics of regression: mean absolute and squared errors, their root, and R²."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.errors import ShapeError
from minidl.metrics import inputs
from minidl.metrics.base import Array, Metric

__all__ = [
    "R2",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "RootMeanSquaredError",
    "mean_absolute_error",
    "mean_squared_error",
    "r2_score",
    "root_mean_squared_error",
]


class _Regression(Metric):
    """A figure for each output, averaged over the outputs. Sums are kept in float64.

    multioutput : "uniform_average", the mean over outputs; "raw_values", an array, one figure for
        each output; or weights (D,) of the outputs
    """

    default_name: str
    averages: tuple[str, ...] = ("uniform_average", "raw_values")

    def __init__(
        self, multioutput: str | Sequence[float] = "uniform_average", name: str | None = None
    ) -> None:
        super().__init__(name or self.default_name)
        if isinstance(multioutput, str):
            if multioutput not in self.averages:
                raise ValueError(
                    f"{self.name}: multioutput is {multioutput!r}, expected one of "
                    f"{list(self.averages)} or weights"
                )
            self.multioutput: str | Array = multioutput
        else:
            self.multioutput = inputs.host(self.name, "multioutput", multioutput)

    def update(self, outputs: Any, targets: Any, weights: Any = None) -> None:
        """Take in a batch. weights : (N,), one for each sample, 0 or more."""
        o, t = inputs.batch(self.name, outputs, targets)
        if o.shape != t.shape and {o.shape, t.shape} != {o.shape[:1], (*o.shape[:1], 1)}:
            raise ShapeError(
                f"{self.name}: outputs have shape {o.shape}, targets {t.shape}; they must agree "
                "(they are not broadcast)"
            )
        o, t = inputs.finite(self.name, "outputs", o), inputs.finite(self.name, "targets", t)
        w = inputs.weights(self.name, weights, o.shape[:1])
        if not len(o):
            return
        o, t = (x.reshape(len(x), -1).astype(np.float64) for x in (o, t))
        self._add(o, t, np.ones(len(o)) if w is None else w)

    def _add(self, o: Array, t: Array, w: Array) -> None:
        """Take in outputs and targets (N, D), float64, with weights (N,)."""
        raise NotImplementedError

    def _sized(self, kept: Array, count: int) -> Array:
        """Sums that are kept for each output; zeros for `count` outputs in the first batch."""
        if kept.size == 0:
            return np.zeros(count)
        if len(kept) != count:
            raise ShapeError(f"{self.name}: {count} outputs a sample, those before had {len(kept)}")
        return kept

    def _averaged(self, figures: Array, importance: Array | None = None) -> Any:
        """The figures of the outputs as one, by `multioutput`."""
        if isinstance(self.multioutput, str):
            if self.multioutput == "raw_values":
                return figures
        else:
            importance = self.multioutput
            if importance.shape != figures.shape:
                raise ShapeError(
                    f"{self.name}: multioutput weights have shape {importance.shape}, a sample "
                    f"has {len(figures)} outputs"
                )
        return float(np.average(figures, weights=importance))


class _MeanError(_Regression):
    _state = ("sums", "weight")

    def reset(self) -> None:
        """Forget all that was seen."""
        self.sums = np.zeros(0)  # of the errors, one for each output
        self.weight = 0.0

    def _add(self, o: Array, t: Array, w: Array) -> None:
        self.sums = self._sized(self.sums, o.shape[1]) + w @ self._error(o - t)
        self.weight += math.fsum(w)

    def compute(self) -> Any:
        """Return the mean error; with multioutput="raw_values" an array, one for each output."""
        self._needs(self.weight)
        return self._averaged(self._finished(self.sums / self.weight))

    def _error(self, difference: Array) -> Array:
        raise NotImplementedError

    def _finished(self, means: Array) -> Array:
        return means


class MeanAbsoluteError(_MeanError):
    """The mean distance of outputs from targets: sum(w |output - target|) / sum(w).

    multioutput : of samples with several outputs
        "uniform_average"  the mean over outputs
        "raw_values"       no average: an array, one figure for each output
        weights (D,)       the weighted mean over outputs
    name : "mean_absolute_error" by default

    Outputs and targets are (N,), (N, 1) or (N, ...), D numbers a sample; they must agree. Weights
    are (N,).

    Raises ShapeError for shapes that differ, ValueError for NaN and infinity.

    >>> from minidl.metrics import MeanAbsoluteError
    >>> metric = MeanAbsoluteError()
    >>> metric.update([2.5, 0.0], [3.0, -0.5])
    >>> metric.update([2.0, 8.0], [2.0, 7.0])
    >>> metric.compute()
    0.5
    """

    default_name = "mean_absolute_error"

    def _error(self, difference: Array) -> Array:
        return np.abs(difference)


class MeanSquaredError(_MeanError):
    """The mean square of outputs less targets: sum(w (output - target)²) / sum(w).

    The options and errors are those of `MeanAbsoluteError`.

    >>> from minidl.metrics import MeanSquaredError
    >>> metric = MeanSquaredError()
    >>> metric.update([2.5, 0.0, 2.0, 8.0], [3.0, -0.5, 2.0, 7.0])
    >>> metric.compute()
    0.375
    """

    default_name = "mean_squared_error"

    def _error(self, difference: Array) -> Array:
        return difference * difference


class RootMeanSquaredError(MeanSquaredError):
    """The root of the mean square: sqrt(sum(w (output - target)²) / sum(w)), for each output.

    The mean over outputs is that of the roots, as in scikit-learn. The options and errors are
    those of `MeanAbsoluteError`.

    >>> from minidl.metrics import RootMeanSquaredError
    >>> metric = RootMeanSquaredError()
    >>> metric.update([3.0, 4.0], [0.0, 0.0])
    >>> metric.compute()
    3.5355
    """

    default_name = "root_mean_squared_error"

    def _finished(self, means: Array) -> Array:
        return np.sqrt(means)


class R2(_Regression):
    """The share of the targets' variance that the outputs explain.

    R² = 1 - sum(w (target - output)²) / sum(w (target - m)²), m the targets' weighted mean

    multioutput : as in `MeanAbsoluteError`; or "variance_weighted", the mean over outputs, each
        weighted by the variance of its targets
    name : "r2" by default

    An output without error has 1, even where its targets are all the same; if they are, any error
    gives 0. One sample gives NaN. All as in scikit-learn, except that targets that are all the
    same count as such whatever their mean rounds to.

    The errors are those of `MeanAbsoluteError`. The variance is updated batch by batch from the
    batches' means, which does not cancel as a sum of squares would. Source: Chan, Golub and
    LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.

    >>> from minidl.metrics import R2
    >>> metric = R2()
    >>> metric.update([2.5, 0.0], [3.0, -0.5])
    >>> metric.update([2.0, 8.0], [2.0, 7.0])
    >>> metric.compute()
    0.9486
    """

    default_name = "r2"
    averages = ("uniform_average", "raw_values", "variance_weighted")
    _state = ("count", "weight", "mean", "spread", "error")

    def reset(self) -> None:
        """Forget all that was seen."""
        self.count = 0  # samples
        self.weight = 0.0
        self.mean = np.zeros(0)  # of the targets, one for each output
        self.spread = np.zeros(0)  # sum(w (target - mean)²)
        self.error = np.zeros(0)  # sum(w (target - output)²)

    def _add(self, o: Array, t: Array, w: Array) -> None:
        mean, spread, error = (
            self._sized(kept, o.shape[1]) for kept in (self.mean, self.spread, self.error)
        )
        self.count += len(o)
        there = w > 0
        if there.any():
            o, t, w = o[there], t[there], w[there]
            weight = math.fsum(w)
            total = self.weight + weight
            center = t[0] + w @ (t - t[0]) / weight  # of equal targets: exactly they
            apart = center - mean
            spread = spread + w @ (t - center) ** 2 + apart**2 * (self.weight * weight / total)
            mean = mean + apart * (weight / total)
            error = error + w @ (t - o) ** 2
            self.weight = total
        self.mean, self.spread, self.error = mean, spread, error

    def compute(self) -> Any:
        """Return R²; with multioutput="raw_values" an array, one for each output."""
        self._needs(self.weight)
        if self.count < 2:
            return float("nan")
        constant = self.spread == 0
        figures = 1 - self.error / np.where(constant, 1, self.spread)
        figures = np.where(constant, np.where(self.error == 0, 1.0, 0.0), figures)
        by_variance = isinstance(self.multioutput, str) and self.multioutput == "variance_weighted"
        return self._averaged(figures, self.spread if by_variance and not constant.all() else None)


def mean_absolute_error(
    outputs: Any, targets: Any, weights: Any = None, multioutput: Any = "uniform_average"
) -> Any:
    """Return the mean of |output - target|: see `MeanAbsoluteError`.

    >>> from minidl.metrics import mean_absolute_error
    >>> mean_absolute_error([[0.5, 1.0], [1.0, 1.0]], [[0.0, 1.0], [1.0, 2.0]])
    0.375
    """
    return MeanAbsoluteError(multioutput).over(outputs, targets, weights)


def mean_squared_error(
    outputs: Any, targets: Any, weights: Any = None, multioutput: Any = "uniform_average"
) -> Any:
    """Return the mean of (output - target)²: see `MeanSquaredError`."""
    return MeanSquaredError(multioutput).over(outputs, targets, weights)


def root_mean_squared_error(
    outputs: Any, targets: Any, weights: Any = None, multioutput: Any = "uniform_average"
) -> Any:
    """Return the root of the mean of (output - target)²: see `RootMeanSquaredError`."""
    return RootMeanSquaredError(multioutput).over(outputs, targets, weights)


def r2_score(
    outputs: Any, targets: Any, weights: Any = None, multioutput: Any = "uniform_average"
) -> Any:
    """Return the share of the targets' variance that the outputs explain: see `R2`."""
    return R2(multioutput, "r2_score").over(outputs, targets, weights)
