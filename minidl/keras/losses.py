"""Losses by Keras's names: functions (y_true, y_pred) of one value for each sample, and objects.

Classes are the last axis. Probabilities are held in [1e-7, 1 - 1e-7] as in Keras; a model whose
last activation is softmax or sigmoid passes what went into it instead, and nothing is lost.
"""

from collections.abc import Callable
from typing import Any

from minidl import ops
from minidl.conversion import as_array
from minidl.device import array_module, device_of
from minidl.errors import ShapeError
from minidl.nn.module import not_offered
from minidl.tape import TensorBase, tie
from minidl.tensor import Tensor

__all__ = [
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "Huber",
    "KLDivergence",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "SparseCategoricalCrossentropy",
    "as_tensor",
    "binary_crossentropy",
    "categorical_crossentropy",
    "get",
    "huber",
    "kl_divergence",
    "loss_for",
    "mean_absolute_error",
    "mean_squared_error",
    "same_rank",
    "sparse_categorical_crossentropy",
]

_EPSILON = 1e-7
_NO_LABEL = -(2**62)  # what the op passes over; -100 must not be passed over here

# ---- shapes -------------------------------------------------------------------------------------


def as_tensor(y: Any, like: Any = None) -> Tensor:
    """Return a tensor, on the device of `like` and, if it holds floats, of its dtype."""
    if not isinstance(y, TensorBase):
        y = tie(as_array("loss", y, None, None if like is None else device_of(like.data)), None)
    if like is not None and y.dtype.kind == "f" and y.dtype != like.dtype:
        y = y.to(like.dtype)
    return y


def same_rank(a: Any, b: Any) -> tuple[Any, Any]:
    """Make (N, …) and (N, …, 1) alike, as Keras does: one axis of size 1 is added or taken off."""
    if a.ndim == b.ndim + 1 and a.shape[-1] == 1:
        return (a, ops.unsqueeze(b, -1)) if b.ndim == 1 else (ops.squeeze(a, -1), b)
    if b.ndim == a.ndim + 1 and b.shape[-1] == 1:
        return (ops.unsqueeze(a, -1), b) if a.ndim == 1 else (a, ops.squeeze(b, -1))
    return a, b


def _numbers(name: str, y_true: Any, y_pred: Any) -> tuple[Tensor, Tensor]:
    """Both as tensors of floats of one shape."""
    y_pred = as_tensor(y_pred)
    y_true = as_tensor(y_true, y_pred)
    if y_true.dtype != y_pred.dtype:
        y_true = y_true.to(y_pred.dtype)
    y_true, y_pred = same_rank(y_true, y_pred)
    if y_true.shape != y_pred.shape:
        raise ShapeError(
            f"{name}: the targets have shape {y_true.shape}, the outputs {y_pred.shape}; they "
            "must be equal"
        )
    return y_true, y_pred


def _held(p: Tensor) -> Tensor:
    return ops.clamp(p, _EPSILON, 1 - _EPSILON)


# ---- functions ----------------------------------------------------------------------------------


def sparse_categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, ignore_class: int | None = None
) -> Tensor:
    """-log of the probability of the label.

    y_true : labels (N, …) or (N, …, 1); y_pred : probabilities, or logits, (N, …, C) -> (N, …)
    Raises ShapeError, and IndexError for a label that is no class. `ignore_class` is not offered.
    """
    not_offered("sparse_categorical_crossentropy", ignore_class=ignore_class is not None)
    y_pred = as_tensor(y_pred)
    y_true = as_tensor(y_true, y_pred)
    lead, classes = y_pred.shape[:-1], y_pred.shape[-1]
    if y_true.shape not in (lead, (*lead, 1)):
        raise ShapeError(
            f"sparse_categorical_crossentropy: the labels have shape {y_true.shape}, the outputs "
            f"{y_pred.shape}; expected labels {lead}"
        )
    labels = ops.reshape(y_true, (-1,)).to("int64")
    rows = ops.reshape(y_pred, (-1, classes))
    if from_logits:
        loss = ops.cross_entropy(rows, labels, None, _NO_LABEL, "none")
    else:
        loss = ops.nll_loss(ops.log(_held(rows)), labels, None, _NO_LABEL, "none")
    return ops.reshape(loss, lead)


def categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0
) -> Tensor:
    """-sum of target · log probability over the classes; y_true and y_pred : (N, …, C) -> (N, …).

    Probabilities are divided by their sum. label_smoothing : the part of the target that is
    spread evenly over the classes
    """
    y_true, y_pred = _numbers("categorical_crossentropy", y_true, y_pred)
    if label_smoothing:
        y_true = y_true * (1 - label_smoothing) + label_smoothing / y_pred.shape[-1]
    if from_logits:
        logs = ops.log_softmax(y_pred, -1)
    else:
        logs = ops.log(_held(y_pred / ops.sum(y_pred, -1, True)))
    return -ops.sum(y_true * logs, -1)


def binary_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0
) -> Tensor:
    """The mean over the last axis of -(t log p + (1 - t) log(1 - p)); targets t from 0 to 1."""
    y_true, y_pred = _numbers("binary_crossentropy", y_true, y_pred)
    if label_smoothing:
        y_true = y_true * (1 - label_smoothing) + 0.5 * label_smoothing
    if from_logits:
        loss = ops.binary_cross_entropy_with_logits(y_pred, y_true, reduction="none")
    else:
        p = _held(y_pred)
        loss = -(y_true * ops.log(p) + (1 - y_true) * ops.log(1 - p))
    return ops.mean(loss, -1)


def mean_squared_error(y_true: Any, y_pred: Any) -> Tensor:
    """The mean over the last axis of the squared difference."""
    y_true, y_pred = _numbers("mean_squared_error", y_true, y_pred)
    return ops.mean(ops.square(y_pred - y_true), -1)


def mean_absolute_error(y_true: Any, y_pred: Any) -> Tensor:
    """The mean over the last axis of the absolute difference."""
    y_true, y_pred = _numbers("mean_absolute_error", y_true, y_pred)
    return ops.mean(ops.abs(y_pred - y_true), -1)


def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> Tensor:
    """The mean over the last axis of d² / 2 where |d| <= delta, else delta (|d| - delta / 2)."""
    y_true, y_pred = _numbers("huber", y_true, y_pred)
    return ops.mean(ops.huber_loss(y_pred, y_true, "none", delta), -1)


def kl_divergence(y_true: Any, y_pred: Any) -> Tensor:
    """The sum over the last axis of t log(t / p), both held in [1e-7, 1]."""
    y_true, y_pred = _numbers("kl_divergence", y_true, y_pred)
    t, p = ops.clamp(y_true, _EPSILON, 1.0), ops.clamp(y_pred, _EPSILON, 1.0)
    return ops.sum(t * ops.log(t / p), -1)


# ---- objects ------------------------------------------------------------------------------------


class Loss:
    """A function of targets and outputs, reduced to one number.

    reduction : "sum_over_batch_size" (the mean over all values), "sum" or None
    logits_of : the activation, by name, whose input the loss takes as well

    A subclass defines `call(y_true, y_pred)`, one value for each sample (and step).
    """

    logits_of: str | None = None

    def __init__(
        self,
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        if reduction not in ("sum_over_batch_size", "mean", "sum", "none", None):
            raise ValueError(f"{type(self).__name__}: reduction is {reduction!r}")
        self.name = name or type(self).__name__
        self.reduction = reduction

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        """Return the loss of each sample."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it computes (call)")

    def __call__(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None, mask: Any = None
    ) -> Tensor:
        """Return the loss.

        sample_weight : (N,), or one number for each value; the mean still divides by their count
        mask : boolean, of the values' shape; values that are out do not count
        """
        return self.reduced(self.call(y_true, y_pred), sample_weight, mask)

    def reduced(self, values: Tensor, sample_weight: Any = None, mask: Any = None) -> Tensor:
        """Weigh the values and reduce them."""
        if mask is not None:
            kept = array_module(mask).asarray(mask)
            share = kept.astype(values.dtype)
            if self.reduction in ("sum_over_batch_size", "mean"):
                share = share * (kept.size / max(int(kept.sum()), 1))
            values = values * tie(fitted("mask", share, values), None)
        if sample_weight is not None:
            weights = as_tensor(sample_weight, values).data.astype(values.dtype)
            values = values * tie(fitted("sample_weight", weights, values), None)
        if self.reduction in (None, "none"):
            return values
        return ops.sum(values) if self.reduction == "sum" else ops.mean(values)


def fitted(name: str, weights: Any, values: Any) -> Any:
    """Weights (an array) with axes of size 1 added behind, or taken off, to go with the values."""
    if weights.ndim == values.ndim + 1 and weights.shape[-1] == 1:
        weights = weights[..., 0]
    if weights.shape != values.shape[: weights.ndim]:
        raise ShapeError(
            f"{name}: it has shape {weights.shape}, there are values of shape {values.shape}"
        )
    return weights.reshape(*weights.shape, *[1] * (values.ndim - weights.ndim))


class Wrapped(Loss):
    """A loss that is a function of (y_true, y_pred), with options."""

    def __init__(
        self,
        function: Callable[..., Tensor],
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name or getattr(function, "__name__", type(function).__name__), reduction)
        self.function, self.options = function, options

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        """Call the function."""
        return as_tensor(self.function(y_true, y_pred, **self.options))


class _Crossentropy(Wrapped):
    """A cross-entropy, which can take logits."""

    def __init__(
        self, function: Callable[..., Tensor], logits_of: str, from_logits: bool, **options: Any
    ) -> None:
        super().__init__(function, from_logits=from_logits, **options)
        self.logits_of = None if from_logits else logits_of

    def of_logits(self, y_true: Any, logits: Tensor) -> Tensor:
        """The loss of each sample, of what goes into the activation `logits_of`."""
        return self.function(y_true, logits, **self.options | {"from_logits": True})


class SparseCategoricalCrossentropy(_Crossentropy):
    """See `sparse_categorical_crossentropy`."""

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str = "sparse_categorical_crossentropy",
    ) -> None:
        not_offered(type(self).__name__, ignore_class=ignore_class is not None)
        function = sparse_categorical_crossentropy
        super().__init__(function, "softmax", from_logits, reduction=reduction, name=name)


class CategoricalCrossentropy(_Crossentropy):
    """See `categorical_crossentropy`."""

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "categorical_crossentropy",
    ) -> None:
        not_offered(type(self).__name__, axis=axis != -1)
        super().__init__(
            categorical_crossentropy, "softmax", from_logits, label_smoothing=label_smoothing,
            reduction=reduction, name=name,
        )  # fmt: skip


class BinaryCrossentropy(_Crossentropy):
    """See `binary_crossentropy`."""

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "binary_crossentropy",
    ) -> None:
        not_offered(type(self).__name__, axis=axis != -1)
        super().__init__(
            binary_crossentropy, "sigmoid", from_logits, label_smoothing=label_smoothing,
            reduction=reduction, name=name,
        )  # fmt: skip


class MeanSquaredError(Wrapped):
    """See `mean_squared_error`."""

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str = "mean_squared_error"
    ) -> None:
        super().__init__(mean_squared_error, reduction, name)


class MeanAbsoluteError(Wrapped):
    """See `mean_absolute_error`."""

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str = "mean_absolute_error"
    ) -> None:
        super().__init__(mean_absolute_error, reduction, name)


class Huber(Wrapped):
    """See `huber`."""

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str = "huber_loss",
    ) -> None:
        super().__init__(huber, reduction, name, delta=delta)


class KLDivergence(Wrapped):
    """See `kl_divergence`."""

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str = "kl_divergence"
    ) -> None:
        super().__init__(kl_divergence, reduction, name)


_CLASSES: dict[Callable[..., Tensor], type[Loss]] = {
    sparse_categorical_crossentropy: SparseCategoricalCrossentropy,
    categorical_crossentropy: CategoricalCrossentropy,
    binary_crossentropy: BinaryCrossentropy,
    mean_squared_error: MeanSquaredError,
    mean_absolute_error: MeanAbsoluteError,
    huber: Huber,
    kl_divergence: KLDivergence,
}
_NAMES: dict[str, Callable[..., Tensor]] = {f.__name__: f for f in _CLASSES} | {
    "bce": binary_crossentropy,
    "mse": mean_squared_error,
    "mae": mean_absolute_error,
    "kld": kl_divergence,
}


def get(identifier: Any) -> Any:
    """Return the function of a name, or an object of a class's name; others as they are.

    Raises NotImplementedError for a name that is not offered.
    """
    if not isinstance(identifier, str):
        return identifier
    by_class = {kind.__name__: kind for kind in _CLASSES.values()}
    if identifier in by_class:
        return by_class[identifier]()
    if identifier.lower() not in _NAMES:
        raise NotImplementedError(
            f"losses: {identifier!r} is not offered; there is {', '.join(_NAMES)}"
        )
    return _NAMES[identifier.lower()]


def loss_for(identifier: Any) -> Loss:
    """Return the loss object of a name, a class, or a function (y_true, y_pred)."""
    found = get(identifier)
    if isinstance(found, Loss):
        return found
    if isinstance(found, type) and issubclass(found, Loss):
        return found()
    if not callable(found):
        raise TypeError(f"losses: {identifier!r} is no name, function or Loss")
    return _CLASSES[found]() if found in _CLASSES else Wrapped(found)
