"""compile, fit, evaluate and predict of models, on the Trainer of `minidl.training`."""

import itertools
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from minidl.conversion import as_array
from minidl.data import DataLoader, Dataset, TensorDataset
from minidl.device import is_array, to_host
from minidl.dtypes import get_default_dtype
from minidl.errors import ShapeError
from minidl.keras import losses, metrics, optimizers
from minidl.keras.callbacks import Callback, History
from minidl.keras.layers.base import Layer
from minidl.nn.module import not_offered
from minidl.tape import TensorBase
from minidl.tensor import Tensor
from minidl.training import Callback as TrainerCallback
from minidl.training import Trainer
from minidl.training.evaluation import Evaluator

__all__ = ["Fitting"]


class Targets(NamedTuple):
    """What a metric needs of a batch besides the outputs."""

    values: Any
    weights: Any
    mask: Any


class Figure:
    """A metric of Keras's kind as the Trainer wants it.

    weighted : whether sample weights count; a mask always does
    name : the figure's, which no other one has
    """

    def __init__(self, metric: Any, weighted: bool, name: str) -> None:
        self.metric, self.weighted, self.name = metric, weighted, name

    def reset(self) -> None:
        """Begin anew."""
        self.metric.reset_state()

    def compute(self) -> float:
        """Return the figure."""
        return self.metric.result()

    def update(self, outputs: Any, targets: Targets, weights: Any = None) -> None:
        """Take a batch into account."""
        weights = targets.weights if self.weighted else None
        mask = targets.mask
        if mask is not None and weights is not None:
            mask = losses.fitted("sample_weight", weights.data, mask) * mask
        self.metric.update_state(targets.values, outputs, weights if mask is None else mask)

    def state_dict(self) -> dict[str, Any]:
        """Return what is counted so far."""
        return self.metric.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it over."""
        self.metric.load_state_dict(state)


class Outputs(NamedTuple):
    """What a model computes: its outputs, what went into the last activation, and the mask."""

    values: Tensor
    logits: Tensor | None
    activation: str | None  # "softmax" or "sigmoid" where there are logits
    mask: Any


class Fitting(Layer):
    """A layer that can be compiled and trained: a model. Its outputs come from `run`."""

    optimizer: Any = None
    loss: Any = None
    history: History | None = None
    stop_training = False
    output_shape: Any = None
    _compiled: tuple[Any, Any] | None = None
    _figures: list[Figure] | None = None

    def run(self, x: Any) -> Outputs:
        """Run on a batch."""
        raise NotImplementedError(
            f"{type(self).__name__}: derive from Sequential, or use nn.Module"
        )

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        **options: Any,
    ) -> None:
        """Say how the model is trained and judged, by names or objects of `minidl.keras`.

        weighted_metrics : metrics in which sample weights and class weights count
        Options of Keras's that only say how to compute (run_eagerly, jit_compile,
        steps_per_execution) are taken and without effect; others raise NotImplementedError.
        """
        hints = ("run_eagerly", "jit_compile", "steps_per_execution", "auto_scale_loss")
        not_offered("compile", **{n: v for n, v in options.items() if n not in hints})
        self.optimizer = optimizers.get(optimizer)
        self.loss = None if loss is None else _loss(loss)
        self._compiled = _listed("metrics", metrics), _listed("weighted_metrics", weighted_metrics)
        self._figures = None

    @property
    def compiled(self) -> bool:
        """Whether `compile` was called."""
        return self._compiled is not None

    # ---- fit ------------------------------------------------------------------------------------

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: dict[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        validation_batch_size: int | None = None,
        validation_freq: int = 1,
        **options: Any,
    ) -> History:
        """Train on arrays x and y, and return the figures of each epoch.

        batch_size : default 32; shuffle : each epoch in a random order of its own
        validation_split : the share of the data, from its end and not shuffled, that is kept out
            and judged after each epoch; validation_data : (x, y) or (x, y, sample_weight) instead
        class_weight : {label: weight}; sample_weight : (N,), or (N, T) for outputs with steps
        verbose : 0 quiet, 1 or "auto" a bar or lines, 2 lines
        callbacks : a list of `keras.callbacks`

        Raises FloatingPointError for a loss that is NaN or infinite, ShapeError for arrays that do
        not fit.
        """
        not_offered("fit", validation_freq=validation_freq != 1, **options)
        for name, value in (("epochs", epochs), ("initial_epoch", initial_epoch)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
                raise ValueError(f"fit: {name} is {value!r}, expected a whole number from 0")
        self._need_compiled("fit")
        arrays = _arrays("fit", x, y, sample_weight)
        if validation_split and validation_data is None:
            arrays, validation_data = _split(arrays, validation_split)
        check = None
        if validation_data is not None:
            if not isinstance(validation_data, tuple | list) or len(validation_data) not in (2, 3):
                raise ValueError("fit: validation_data must be (x, y) or (x, y, sample_weight)")
            held = _arrays("fit: validation_data", *validation_data)
            size = batch_size if validation_batch_size is None else validation_batch_size
            check = _loader(held, size)
        if class_weight is not None:
            arrays = _weighted(arrays, class_weight)
        figures = self._prepare(arrays)
        self.optimizer.build(self.trainable_weights)
        loader = _loader(arrays, batch_size, shuffle=bool(shuffle))
        self.history = History()
        told = [*_callbacks(callbacks), self.history]
        shown = 1 if verbose == "auto" else int(verbose)
        relay = Relay(self, told, initial_epoch)
        for callback in told:
            callback.set_model(self)
            callback.set_params({"epochs": epochs, "steps": len(loader), "verbose": shown})
        trainer = Trainer(
            self,
            self.optimizer,
            step=_step,
            metrics=figures,
            device=self._device(),
            callbacks=[relay],
        )
        self.stop_training = False
        try:
            trainer.fit(loader, max(epochs - initial_epoch, 0), validation=check, verbose=shown)
        finally:
            self.eval()
        return self.history

    def _need_compiled(self, who: str) -> None:
        if self._compiled is None:
            raise ValueError(f"{who}: call compile first")
        if self.loss is None:
            raise ValueError(f"{who}: compile was given no loss")

    def _prepare(self, arrays: tuple[Any, ...]) -> list[Figure]:
        """Build the model if it is not; make the metrics for the shapes of the data, once."""
        x, y = arrays[:2]
        self.ensure_built((None, *x.shape[1:]))
        if self._figures is None:
            plain, weighted = self._compiled or ((), ())
            shapes = y.shape, self.output_shape
            found: dict[str, Figure] = {}
            for given, weighs in [(m, False) for m in plain] + [(m, True) for m in weighted]:
                metric = metrics.get(given, *shapes)
                name = _unused(metric.name, weighs, found)
                found[name] = Figure(metric, weighs, name)
            self._figures = list(found.values())
        return self._figures

    def _device(self) -> str | None:
        """Where the weights are, if that is not the host."""
        where = {str(w.device) for w in self.weights}
        return None if where <= {"cpu"} else where.pop()

    # ---- evaluate, predict ----------------------------------------------------------------------

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        return_dict: bool = False,
        **options: Any,
    ) -> Any:
        """Return the loss and the metrics of data, without learning.

        A list [loss, *metrics], the loss alone if there are no metrics, or a dict by name.
        `verbose` is taken and without effect.
        """
        not_offered("evaluate", **options)
        self._need_compiled("evaluate")
        arrays = _arrays("evaluate", x, y, sample_weight)
        judge = Evaluator(self, None, _step, self._prepare(arrays), self._device())
        found = judge.evaluate(_loader(arrays, batch_size))
        if return_dict:
            return found
        return list(found.values()) if len(found) > 1 else found["loss"]

    def predict(
        self, x: Any, batch_size: int | None = None, verbose: Any = "auto", **options: Any
    ) -> np.ndarray[Any, Any]:
        """Return the outputs for data as a NumPy array, without learning."""
        not_offered("predict", **options)
        data = _array("predict", "x", x)
        self.ensure_built((None, *data.shape[1:]))
        judge = Evaluator(self, None, None, (), self._device())
        return to_host(judge.predict(_loader((data,), batch_size)).data)


def _loss(identifier: Any) -> Any:
    if isinstance(identifier, dict | list | tuple):
        raise NotImplementedError("compile: loss for several outputs (a list) is not offered")
    return losses.loss_for(identifier)


def _listed(name: str, given: Any) -> list[Any]:
    if isinstance(given, dict):
        raise NotImplementedError(f"compile: {name} for several outputs (a dict) is not offered")
    if given is None:
        return []
    return list(given) if isinstance(given, list | tuple) else [given]


def _step(model: Any, batch: Any) -> tuple[Tensor, Any, Any]:
    """The Trainer's step: loss, outputs and targets of a batch (x, y) or (x, y, weights)."""
    x, y, *rest = batch
    weights = rest[0] if rest else None
    out, loss = model.run(x), model.loss
    if out.logits is not None and loss.logits_of == out.activation:
        values = loss.of_logits(y, out.logits)
        total = loss.reduced(values, weights, out.mask)
    else:
        total = loss(y, out.values, weights, out.mask)
    return total, out.values, Targets(y, weights, out.mask)


def _unused(name: str, weighted: bool, taken: Iterable[str]) -> str:
    """The name of a figure, changed as Keras does if another has it: weighted_…, …_1, …_2."""
    names = [name, f"weighted_{name}"] if weighted else [name]
    numbered = (f"{names[-1]}_{number}" for number in itertools.count(1))
    return next(n for n in itertools.chain(names, numbered) if n not in taken)


# ---- data ---------------------------------------------------------------------------------------


def _loader(arrays: tuple[Any, ...], batch_size: int | None, shuffle: bool = False) -> DataLoader:
    """Batches of arrays, 32 by default. Only shuffling takes a seed from the streams."""
    size = 32 if batch_size is None else batch_size
    return DataLoader(TensorDataset(*arrays), size, shuffle=shuffle, seed=None if shuffle else 0)


def _array(who: str, name: str, value: Any) -> Any:
    """The data as an array: floats of the default dtype, whole numbers as they are."""
    if isinstance(value, dict | tuple):
        raise NotImplementedError(
            f"{who}: several inputs (a {type(value).__name__}) are not offered"
        )
    if value is None:
        raise ValueError(f"{who}: {name} is missing")
    if isinstance(value, Dataset | DataLoader):
        raise NotImplementedError(
            f"{who}: {name} as a {type(value).__name__} is not offered; give arrays, or train with "
            "minidl.training.Trainer"
        )
    if not isinstance(value, list | TensorBase) and not is_array(value):
        value = np.asarray(value)  # tables of other libraries
    array = as_array(f"{who}: {name}", value)
    if array.ndim == 0:
        raise ShapeError(f"{who}: {name} is a single number, expected (N, …)")
    return array.astype(get_default_dtype()) if array.dtype.kind == "f" else array


def _arrays(who: str, x: Any, y: Any, weights: Any = None) -> tuple[Any, ...]:
    """x, y and, if given, weights, checked to be of one length."""
    found = [_array(who, "x", x), _array(who, "y", y)]
    if weights is not None:
        found.append(_array(who, "sample_weight", weights).astype(get_default_dtype()))
    sizes = [len(a) for a in found]
    if len(set(sizes)) > 1:
        names = ("x", "y", "sample_weight")
        shown = ", ".join(f"{n} {size}" for n, size in zip(names, sizes, strict=False))
        raise ShapeError(f"{who}: the numbers of samples differ: {shown}")
    return tuple(found)


def _split(arrays: tuple[Any, ...], share: float) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """The first samples to learn from, the last to judge by."""
    if not 0 < share < 1:
        raise ValueError(f"fit: validation_split is {share}, expected between 0 and 1")
    count = len(arrays[0])
    end = math.floor(count * (1 - share))
    if not 0 < end < count:
        raise ValueError(f"fit: validation_split={share} leaves one part of {count} samples empty")
    return tuple(a[:end] for a in arrays), tuple(a[end:] for a in arrays)


def _weighted(arrays: tuple[Any, ...], class_weight: dict[int, float]) -> tuple[Any, ...]:
    """The arrays, and for each sample the weight of its class."""
    x, y, *rest = arrays
    if not isinstance(class_weight, dict):
        raise TypeError(
            f"fit: class_weight is a {type(class_weight).__name__}, expected {{label: weight}}"
        )
    if rest:
        raise ValueError("fit: give class_weight or sample_weight, not both")
    labels = to_host(y)
    if labels.ndim > 1:
        labels = labels.argmax(-1) if labels.shape[-1] > 1 else labels[..., 0]
    if labels.ndim != 1:
        raise ShapeError(f"fit: class_weight needs one label for each sample, y is {y.shape}")
    weights = np.ones(len(labels), get_default_dtype())
    for label, weight in class_weight.items():
        weights[labels == label] = weight
    return x, y, weights


# ---- callbacks ----------------------------------------------------------------------------------


def _callbacks(given: Any) -> list[Callback]:
    found = [] if given is None else list(given) if isinstance(given, Iterable) else [given]
    for callback in found:
        if not isinstance(callback, Callback):
            raise TypeError(
                f"fit: {callback!r} is no callback; derive it from minidl.keras.callbacks.Callback"
            )
        for name in dir(callback):
            if name.startswith("on_") and not hasattr(Callback, name):
                raise NotImplementedError(f"{type(callback).__name__}: {name} is not offered")
    return found


class Relay(TrainerCallback):
    """Tells Keras's callbacks what the Trainer tells its own."""

    def __init__(self, model: Any, callbacks: list[Callback], first: int) -> None:
        self.model, self.callbacks, self.first = model, callbacks, first
        self.logs: dict[str, Any] = {}
        by_batch = Callback.on_train_batch_end
        self.watching = [
            c
            for c in callbacks
            if getattr(c.on_train_batch_end, "__func__", c.on_train_batch_end) is not by_batch
        ]

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Before the first epoch."""
        for callback in self.callbacks:
            callback.on_train_begin({})

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        """Before an epoch."""
        for callback in self.callbacks:
            callback.on_epoch_begin(self.first + epoch, {})

    def on_batch_end(self, trainer: Trainer, step: int, logs: dict[str, Any]) -> None:
        """After a batch: the figures of the epoch so far."""
        if not self.watching:
            return
        so_far = {metric.name: metric.compute() for metric in trainer.metrics}
        so_far["loss"] = trainer.loss_sum / trainer.samples
        for callback in self.watching:
            callback.on_train_batch_end(trainer.batch - 1, dict(so_far))
        self._obey(trainer)

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: dict[str, Any]) -> None:
        """After an epoch: its figures under Keras's names, in Keras's order."""
        names = sorted(logs.keys() - {"epoch", "steps", "lr"}, key=lambda n: (n[:4] == "val_", n))
        self.logs = {name: logs[name] for name in names}
        for callback in self.callbacks:
            callback.on_epoch_end(self.first + epoch, self.logs)
        self._obey(trainer)

    def on_fit_end(self, trainer: Trainer) -> None:
        """After the last epoch."""
        for callback in self.callbacks:
            callback.on_train_end(self.logs)

    def _obey(self, trainer: Trainer) -> None:
        if self.model.stop_training and trainer.stopped is None:
            trainer.stop("a callback set stop_training")
