"""What the model says of a batch, and of all of the data: loss, figures and outputs."""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from minidl import metrics as known_metrics
from minidl.autograd import no_grad
from minidl.data import DataLoader
from minidl.data.loader import shown_items
from minidl.errors import LabelError, ShapeError
from minidl.nn import Module
from minidl.tensor import Tensor
from minidl.training import nonfinite
from minidl.training.batches import (
    as_loader,
    batch_size_of,
    form_of,
    joined,
    mapped,
    moved,
    opened,
    plain,
)

__all__ = ["Evaluator"]

_TAKEN = ("epoch", "steps", "loss", "lr")  # the names in an epoch's logs that are no metrics
Step = Callable[[Any, Any], tuple[Tensor, Any, Any]]


class Evaluator:
    """A model with its loss and metrics: the part of a Trainer that does not learn."""

    def __init__(
        self,
        model: Module,
        loss: Callable[[Any, Any], Tensor] | None,
        step: Step | None,
        metrics: Any,
        device: str | None,
    ) -> None:
        if not isinstance(model, Module):
            raise TypeError(f"Trainer: model is a {type(model).__name__}, expected an nn.Module")
        if loss is not None and step is not None:
            raise ValueError("Trainer: give loss= or step=, not both: a step has its own loss")
        self.model = model if device is None else model.to(device=device)
        self.loss, self.step, self.device = loss, step, device
        alone = isinstance(metrics, str) or hasattr(metrics, "update")
        self.metrics = [known_metrics.get(m) for m in ([metrics] if alone else metrics or ())]
        names = [metric.name for metric in self.metrics]
        for name in names:
            if names.count(name) > 1 or name in _TAKEN:
                raise ValueError(
                    f"Trainer: two figures would be called {name!r}; give each metric a name of "
                    "its own (metric.name = …)"
                )

    # ---- all of the data ------------------------------------------------------------------------

    def evaluate(self, data: Any, *, batch_size: int = 32) -> dict[str, Any]:
        """Return {"loss": mean over the samples, metric: value …} of data, without learning."""
        return self._judged(as_loader("evaluate", data, batch_size, shuffle=False))

    def _judged(
        self, loader: DataLoader, between: Callable[[], None] = lambda: None
    ) -> dict[str, Any]:
        metrics = copy.deepcopy(self.metrics)
        for metric in metrics:
            metric.reset()
        loss_sum, samples = 0.0, 0
        with self._evaluating(), opened(loader, 0) as batches:
            for number, batch in enumerate(batches):
                with self._noting("the data to evaluate", loader, 0, number, batch):
                    batch = moved(batch, self.device)
                    loss, outputs, targets = self._forward(batch)
                    value, size = float(loss.item()), batch_size_of(batch)
                    if value - value != 0 and (cause := nonfinite.cause_in_data(batch)):
                        raise FloatingPointError(
                            f"evaluate: the loss is {value} in batch {number + 1}; {cause}"
                        )
                    loss_sum, samples = loss_sum + value * size, samples + size
                    self._count(metrics, outputs, targets)
                between()
        return self._figures(loss_sum, samples, metrics)

    def predict(self, data: Any, *, batch_size: int = 32) -> Any:
        """Return the model's outputs for all of the data, joined along the first axis.

        data : as in `fit`; of batches that are tuples the first part goes to the model. Outputs
            that are tuples or dicts are joined part by part.

        Raises ValueError for a loader that shuffles: the outputs would not be in the data's order.
        """
        loader = as_loader("predict", data, batch_size, shuffle=False)
        if loader.shuffle:
            raise ValueError(
                "predict: the loader shuffles, so the outputs would not be in the order of the "
                "data; pass the data set, loader.dataset, or a loader with shuffle=False"
            )
        outputs = []
        with self._evaluating(), opened(loader, 0) as batches:
            for number, batch in enumerate(batches):
                with self._noting("the data to predict", loader, 0, number, batch):
                    batch = moved(batch, self.device)
                    x = batch[0] if isinstance(batch, tuple | list) else batch
                    outputs.append(self.model(x))
        return joined("predict", outputs)

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """No recording, no dropout; each module's mode is as before afterwards."""
        modes = [(module, module.training) for module in self.model.modules()]
        self.model.eval()
        try:
            with no_grad():
                yield
        finally:
            for module, mode in modes:
                module.training = mode

    # ---- one batch ------------------------------------------------------------------------------

    def _forward(self, batch: Any) -> tuple[Tensor, Any, Any]:
        """The loss of a batch, with outputs and targets; checks what the user's parts return."""
        if self.step is not None:
            result = self.step(self.model, batch)
            if not isinstance(result, tuple) or len(result) != 3:
                raise TypeError(
                    f"step: it returned {_described(result)}; expected (loss, outputs, targets)"
                )
            loss, outputs, targets = result
        else:
            if self.loss is None:
                raise ValueError("Trainer: give loss=, or step= that returns one")
            if not isinstance(batch, tuple | list) or len(batch) != 2:
                raise ValueError(
                    f"Trainer: a batch is {form_of(batch)}, not (x, y); give step=, a function of "
                    "model and batch that returns (loss, outputs, targets)"
                )
            x, targets = batch
            outputs = self.model(x)
            loss = self.loss(outputs, targets)
        if not isinstance(loss, Tensor):
            raise TypeError(f"Trainer: the loss is a {type(loss).__name__}, expected a tensor")
        if loss.numel() != 1:
            raise ShapeError(
                f"Trainer: the loss has shape {loss.shape}, expected one number: use "
                "reduction='mean', or .mean()"
            )
        return loss, mapped(Tensor.detach, outputs), targets

    def _count(self, metrics: list[Any], outputs: Any, targets: Any) -> None:
        if metrics and targets is None:
            raise ValueError("step: it returned no targets (None), but there are metrics")
        for metric in metrics:
            metric.update(outputs, targets)

    def _figures(self, loss_sum: float, samples: int, metrics: list[Any]) -> dict[str, Any]:
        """The mean loss and each metric, by name; a metric of several figures gives several."""
        logs: dict[str, Any] = {"loss": loss_sum / samples}
        for metric in metrics:
            value = plain(metric.compute())
            if isinstance(value, Mapping):
                logs |= {f"{metric.name}_{key}": part for key, part in value.items()}
            else:
                logs[metric.name] = value
        return logs

    @contextmanager
    def _noting(
        self, what: str, loader: DataLoader, epoch: int, number: int, batch: Any
    ) -> Iterator[None]:
        """Add to an error with which batch it came, and which samples of the data are to blame."""
        try:
            yield
        except Exception as error:
            items, guilty = loader.items(epoch, number), None
            if isinstance(error, LabelError):
                guilty = nonfinite.samples(error.where, len(items))
            elif isinstance(error, FloatingPointError):
                guilty = nonfinite.samples_in_data(batch, len(items))
            if guilty is not None:
                which = f": {shown_items(items[guilty])}"
            else:
                which = f", {shown_items(items)}" if loader.shuffle else ""
            error.add_note(f"Trainer: in batch {number + 1} of {what}{which}")
            raise


def _described(value: Any) -> str:
    if isinstance(value, tuple):
        return f"{len(value)} values"
    return f"a {type(value).__name__}"
