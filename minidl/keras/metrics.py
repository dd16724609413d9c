"""Metrics by Keras's names: running figures, updated batch by batch.

Each is a metric of `minidl.training` as well: `update`, `compute`, `reset`, `state_dict`.
"""

from collections.abc import Callable
from typing import Any

from minidl.device import array_module
from minidl.errors import ShapeError
from minidl.keras import losses
from minidl.keras.losses import as_tensor, fitted, same_rank
from minidl.nn.module import not_offered
from minidl.tape import set_recording

__all__ = [
    "Accuracy",
    "BinaryAccuracy",
    "BinaryCrossentropy",
    "CategoricalAccuracy",
    "CategoricalCrossentropy",
    "Mean",
    "MeanAbsoluteError",
    "MeanMetricWrapper",
    "MeanSquaredError",
    "Metric",
    "Precision",
    "Recall",
    "RootMeanSquaredError",
    "SparseCategoricalAccuracy",
    "SparseCategoricalCrossentropy",
    "SparseTopKCategoricalAccuracy",
    "TopKCategoricalAccuracy",
    "get",
]


class Metric:
    """A figure of all batches since `reset_state`; what it counts are its `_sums`, by name."""

    def __init__(self, name: str | None = None, dtype: Any = None) -> None:
        self.name = name or type(self).__name__.lower()
        self._sums: dict[str, float] = {}

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take a batch into account."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it counts")

    def result(self) -> float:
        """Return the figure; 0 if there was nothing."""
        raise NotImplementedError(f"{type(self).__name__} does not say its figure")

    def reset_state(self) -> None:
        """Begin anew."""
        self._sums = {}

    def _add(self, **values: float) -> None:
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value

    def _share(self, part: str, *rest: str) -> float:
        """part / (part + rest …)."""
        whole = sum([self._sums.get(name, 0.0) for name in (part, *rest)])
        return self._sums[part] / whole if whole else 0.0

    # The same under the names that the trainer knows.

    def update(self, outputs: Any, targets: Any, weights: Any = None) -> None:
        """`update_state` with the outputs first."""
        self.update_state(targets, outputs, weights)

    def compute(self) -> float:
        """`result`."""
        return self.result()

    def reset(self) -> None:
        """`reset_state`."""
        self.reset_state()

    def state_dict(self) -> dict[str, Any]:
        """Return the sums so far."""
        return dict(self._sums)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self._sums = dict(state)


class Mean(Metric):
    """The mean of values, weighted if there are weights."""

    def __init__(self, name: str = "mean", dtype: Any = None) -> None:
        super().__init__(name)

    def update_state(self, values: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Take values into account. sample_weight : of their shape, or of its first axes."""
        values = as_tensor(values).data.astype("float64")
        if sample_weight is None:
            self._add(total=float(values.sum()), count=float(values.size))
            return
        weights = as_tensor(sample_weight, as_tensor(values)).data.astype("float64")
        weights = array_module(values).broadcast_to(
            fitted(f"metric {self.name}: sample_weight", weights, values), values.shape
        )
        self._add(total=float((values * weights).sum()), count=float(weights.sum()))

    def result(self) -> float:
        """The mean so far; 0 of none."""
        count = self._sums.get("count", 0.0)
        return self._sums["total"] / count if count else 0.0


class MeanMetricWrapper(Mean):
    """The mean of a function (y_true, y_pred), with options."""

    def __init__(self, fn: Callable[..., Any], name: str | None = None, **options: Any) -> None:
        super().__init__(str(name or getattr(fn, "__name__", type(fn).__name__)))
        self.function, self.options = fn, options

    def update_state(  # type: ignore[override]
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        """Take a batch into account."""
        with set_recording(False):
            values = self.function(y_true, y_pred, **self.options)
        super().update_state(values, sample_weight)


# ---- what is right of each sample ----------------------------------------------------------------


def _labels(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    """Labels (N, …) and scores (N, …, C) as arrays."""
    y_pred = as_tensor(y_pred)
    labels, scores = as_tensor(y_true, y_pred).data, y_pred.data
    if labels.ndim == scores.ndim and labels.shape[-1] == 1:
        labels = labels[..., 0]
    if labels.shape != scores.shape[:-1]:
        raise ShapeError(
            f"accuracy: the labels have shape {labels.shape}, the outputs {scores.shape}; expected "
            f"labels {scores.shape[:-1]}"
        )
    return labels, scores


def _alike(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    """Both as arrays of one shape."""
    y_pred = as_tensor(y_pred)
    y_true, y_pred = same_rank(as_tensor(y_true, y_pred), y_pred)
    if y_true.shape != y_pred.shape:
        raise ShapeError(
            f"metric: the targets have shape {y_true.shape}, the outputs {y_pred.shape}; they must "
            "be equal"
        )
    return y_true.data, y_pred.data


def accuracy(y_true: Any, y_pred: Any) -> Any:
    """Whether target and output are equal."""
    y_true, y_pred = _alike(y_true, y_pred)
    return (y_true == y_pred).astype("float32")


def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Any:
    """Whether the output is above the threshold where the target is 1."""
    y_true, y_pred = _alike(y_true, y_pred)
    return (y_true == (y_pred > threshold)).astype("float32")


def categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """Whether the largest output is at the largest target."""
    y_true, y_pred = _alike(y_true, y_pred)
    return (y_true.argmax(-1) == y_pred.argmax(-1)).astype("float32")


def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """Whether the largest output is at the label."""
    labels, scores = _labels(y_true, y_pred)
    return (labels == scores.argmax(-1)).astype("float32")


def sparse_top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> Any:
    """Whether the label's output is among the k largest; of equal ones all are."""
    labels, scores = _labels(y_true, y_pred)
    xp = array_module(scores)
    own = xp.take_along_axis(scores, labels.astype("int64")[..., None], -1)
    return ((scores > own).sum(-1) < k).astype("float32")


def top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> Any:
    """As `sparse_top_k_categorical_accuracy`, with the largest target as label."""
    y_true, y_pred = _alike(y_true, y_pred)
    return sparse_top_k_categorical_accuracy(y_true.argmax(-1), y_pred, k)


def _named(function: Callable[..., Any], name: str, **defaults: Any) -> Callable[..., Any]:
    """The constructor of a MeanMetricWrapper: its options, and a name."""

    def __init__(self: Any, *args: Any, **given: Any) -> None:
        options = dict(zip((*defaults, "name"), args, strict=False)) | given
        not_offered(
            type(self).__name__,
            **{o: v for o, v in options.items() if o not in {*defaults, "name", "dtype"}},
        )
        own = {option: options.get(option, value) for option, value in defaults.items()}
        MeanMetricWrapper.__init__(self, function, options.get("name") or name, **own)

    return __init__


class Accuracy(MeanMetricWrapper):
    """The share of outputs equal to their targets."""

    __init__ = _named(accuracy, "accuracy")


class BinaryAccuracy(MeanMetricWrapper):
    """The share of outputs on the right side of a threshold."""

    __init__ = _named(binary_accuracy, "binary_accuracy", threshold=0.5)


class CategoricalAccuracy(MeanMetricWrapper):
    """The share of samples whose largest output is at the largest target."""

    __init__ = _named(categorical_accuracy, "categorical_accuracy")


class SparseCategoricalAccuracy(MeanMetricWrapper):
    """The share of samples whose largest output is at the label."""

    __init__ = _named(sparse_categorical_accuracy, "sparse_categorical_accuracy")


class TopKCategoricalAccuracy(MeanMetricWrapper):
    """The share of samples whose largest target is among the k largest outputs."""

    __init__ = _named(top_k_categorical_accuracy, "top_k_categorical_accuracy", k=5)


class SparseTopKCategoricalAccuracy(MeanMetricWrapper):
    """The share of samples whose label is among the k largest outputs."""

    __init__ = _named(sparse_top_k_categorical_accuracy, "sparse_top_k_categorical_accuracy", k=5)


class MeanSquaredError(MeanMetricWrapper):
    """The mean of squared differences."""

    __init__ = _named(losses.mean_squared_error, "mean_squared_error")


class RootMeanSquaredError(MeanSquaredError):
    """The root of the mean of squared differences."""

    __init__ = _named(losses.mean_squared_error, "root_mean_squared_error")

    def result(self) -> float:
        """The root of the mean so far."""
        return super().result() ** 0.5


class MeanAbsoluteError(MeanMetricWrapper):
    """The mean of absolute differences."""

    __init__ = _named(losses.mean_absolute_error, "mean_absolute_error")


class BinaryCrossentropy(MeanMetricWrapper):
    """The mean of `losses.binary_crossentropy`."""

    __init__ = _named(
        losses.binary_crossentropy, "binary_crossentropy", from_logits=False, label_smoothing=0.0
    )


class CategoricalCrossentropy(MeanMetricWrapper):
    """The mean of `losses.categorical_crossentropy`."""

    __init__ = _named(
        losses.categorical_crossentropy, "categorical_crossentropy", from_logits=False,
        label_smoothing=0.0,
    )  # fmt: skip


class SparseCategoricalCrossentropy(MeanMetricWrapper):
    """The mean of `losses.sparse_categorical_crossentropy`."""

    __init__ = _named(
        losses.sparse_categorical_crossentropy, "sparse_categorical_crossentropy",
        from_logits=False,
    )  # fmt: skip


class _Found(Metric):
    """Precision and recall: counts of outputs above a threshold."""

    def __init__(
        self,
        thresholds: float | None = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name)
        many = isinstance(thresholds, (list, tuple))
        not_offered(
            type(self).__name__,
            thresholds=many,
            top_k=top_k is not None,
            class_id=class_id is not None,
        )
        self.threshold = 0.5 if thresholds is None else thresholds

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take a batch into account; targets and outputs of one shape."""
        y_true, y_pred = _alike(y_true, y_pred)
        true, found = y_true != 0, y_pred > self.threshold
        weights = array_module(y_pred).ones(y_pred.shape, "float64")
        if sample_weight is not None:
            given = as_tensor(sample_weight, as_tensor(y_pred)).data
            weights = weights * fitted(f"metric {self.name}: sample_weight", given, y_pred)
        self._add(
            right=float((weights * (true & found)).sum()),
            wrong=float((weights * (~true & found)).sum()),
            missed=float((weights * (true & ~found)).sum()),
        )


class Precision(_Found):
    """Of what is found, the share that is right."""

    def result(self) -> float:
        """right / (right + wrong)."""
        return self._share("right", "wrong")


class Recall(_Found):
    """Of what is to be found, the share that was."""

    def result(self) -> float:
        """right / (right + missed)."""
        return self._share("right", "missed")


_CLASSES: dict[str, type[Metric]] = {
    "binary_accuracy": BinaryAccuracy,
    "categorical_accuracy": CategoricalAccuracy,
    "sparse_categorical_accuracy": SparseCategoricalAccuracy,
    "top_k_categorical_accuracy": TopKCategoricalAccuracy,
    "sparse_top_k_categorical_accuracy": SparseTopKCategoricalAccuracy,
    "mean_squared_error": MeanSquaredError,
    "mse": MeanSquaredError,
    "root_mean_squared_error": RootMeanSquaredError,
    "rmse": RootMeanSquaredError,
    "mean_absolute_error": MeanAbsoluteError,
    "mae": MeanAbsoluteError,
    "binary_crossentropy": BinaryCrossentropy,
    "categorical_crossentropy": CategoricalCrossentropy,
    "sparse_categorical_crossentropy": SparseCategoricalCrossentropy,
    "precision": Precision,
    "recall": Recall,
}


def get(identifier: Any, true: tuple[Any, ...] = (), pred: tuple[Any, ...] = ()) -> Metric:
    """Return the metric of a name, or of a function (y_true, y_pred); an object as it is.

    true, pred : the shapes of targets and outputs. By them "accuracy" is resolved as in Keras 3:
        one output is binary; labels without the outputs' last axis, or with size 1 there, are
        sparse; else targets and outputs are one-hot

    Raises NotImplementedError for a name that is not offered.
    """
    if isinstance(identifier, Metric):
        return identifier
    if isinstance(identifier, type) and issubclass(identifier, Metric):
        return identifier()
    if callable(identifier):
        return MeanMetricWrapper(identifier)
    name = str(identifier)
    if name.lower() in ("accuracy", "acc"):
        if not true or not pred:
            raise ValueError(
                "metrics: 'accuracy' needs the shapes; give a class such as BinaryAccuracy"
            )
        return _accuracy_for(true, pred)(name=name)
    by_class = {kind.__name__: kind for kind in _CLASSES.values()}
    if name not in _CLASSES and name not in by_class:
        raise NotImplementedError(
            f"metrics: {identifier!r} is not offered; there is accuracy, {', '.join(_CLASSES)}"
        )
    return (by_class.get(name) or _CLASSES[name])(name=name)


def _accuracy_for(true: tuple[Any, ...], pred: tuple[Any, ...]) -> Any:
    if pred[-1] == 1:
        return BinaryAccuracy
    if len(true) < len(pred) or (true[-1] == 1 and pred[-1] > 1):
        return SparseCategoricalAccuracy
    return CategoricalAccuracy
