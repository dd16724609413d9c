"""What all metrics share: a state that is reset, saved and loaded; and the mean of a loss."""

import abc
import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from minidl.errors import FormatError
from minidl.metrics import inputs

__all__ = ["MeanLoss", "Metric"]

Array = np.ndarray[Any, Any]


class Metric(abc.ABC):
    """A figure over many batches: `update` with each of them, `compute` when they are through.

    name : what logs call it; its errors begin with it

    A metric keeps counts, sums or scores, never the batches' own figures: those cannot be averaged
    (precision, ROC-AUC, a smaller last batch). So batches give what the whole gives. They may come
    in any order: counts are exact, sums of floats agree but for rounding.

    A subclass lists in `_state` the attributes that hold what was seen, and `reset` makes each of
    them anew: a number or a NumPy array.
    """

    _state: tuple[str, ...] = ()

    def __init__(self, name: str) -> None:
        self.name = name
        self.reset()

    @abc.abstractmethod
    def reset(self) -> None:
        """Forget all that was seen."""

    @abc.abstractmethod
    def update(self, outputs: Any, targets: Any, weights: Any = None) -> None:
        """Take in a batch: tensors (of any device), arrays or lists, batch first.

        weights : (N,), one for each sample, 0 or more; default: 1 each
        """

    @abc.abstractmethod
    def compute(self) -> Any:
        """Return the figure of all batches since `reset`, a float unless the metric says so.

        Raises ValueError if no sample has come, or none with a weight above 0.
        """

    def state_dict(self) -> dict[str, Any]:
        """Return what was seen: numbers and NumPy arrays, copies."""
        return {key: copy.copy(getattr(self, key)) for key in self._state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned; arrays may have become lists or tensors meanwhile.

        Raises FormatError for the state of another metric; then nothing is changed.
        """
        if state.keys() != set(self._state):
            raise FormatError(
                f"{self.name}: a state holds {', '.join(self._state)}; "
                f"got {', '.join(map(str, state)) or 'nothing'}"
            )
        empty = copy.copy(self)
        empty.reset()
        found = {key: self._restored(key, getattr(empty, key), state[key]) for key in self._state}
        for key, value in found.items():
            setattr(self, key, value)

    def _restored(self, key: str, empty: Any, value: Any) -> Any:
        """`value` as an array or a number, whichever the attribute of an empty metric is."""
        array = inputs.host(self.name, f"the state's {key!r}", value)
        if isinstance(empty, np.ndarray):
            if array.ndim == 0:
                raise FormatError(f"{self.name}: the state's {key!r} is {value!r}, not an array")
            return array.copy() if array.size else empty
        if array.ndim:
            raise FormatError(f"{self.name}: the state's {key!r} is an array, not a number")
        return array.item()

    def over(self, outputs: Any, targets: Any, weights: Any = None) -> Any:
        """Return the figure of these arrays alone: reset, update, compute."""
        self.reset()
        self.update(outputs, targets, weights)
        return self.compute()

    def _needs(self, total: Any) -> None:
        """Raise ValueError unless samples have come whose weights sum to more than 0."""
        if not total > 0:
            raise ValueError(
                f"{self.name}: nothing to compute: no sample has come, or none with a weight "
                "above 0; call update(outputs, targets) first"
            )

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r})"


class MeanLoss(Metric):
    """The mean over samples of a loss that comes batch by batch: sum(n * loss) / sum(n).

    name : "loss" by default

    Batches count by their samples, so a smaller last batch weighs less.

    >>> from minidl.metrics import MeanLoss
    >>> loss = MeanLoss()
    >>> loss.update(0.5, weights=32)
    >>> loss.update(2.0, weights=16)
    >>> loss.compute()
    1.0
    """

    _state = ("total", "weight")

    def __init__(self, name: str = "loss") -> None:
        super().__init__(name)

    def reset(self) -> None:
        """Forget all that was seen."""
        self.total, self.weight = 0.0, 0.0

    def update(self, outputs: Any, targets: Any = None, weights: Any = None) -> None:
        """Take in losses; NaN and infinity are taken as they are, for the mean to show them.

        outputs : the loss of a batch, one number; or (N,), one for each sample
        targets : not used
        weights : the number of samples that the one number is the mean of; or (N,)
        """
        losses = inputs.host(self.name, "outputs", outputs).astype(np.float64)
        if losses.ndim == 0 and weights is not None:
            weights = inputs.host(self.name, "weights", weights).reshape(-1)
        losses = losses.reshape(-1)
        counts = inputs.weights(self.name, weights, losses.shape)
        if counts is None:
            counts = np.ones(losses.shape)
        kept = counts > 0  # a loss of no weight may be NaN
        with np.errstate(all="ignore"):
            self.total += float((losses[kept] * counts[kept]).sum())
        self.weight += float(counts.sum())

    def compute(self) -> float:
        """Return the mean. Raises ValueError if no sample has come."""
        self._needs(self.weight)
        return self.total / self.weight
