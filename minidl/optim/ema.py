"""A running average of weights, which often generalises better than the last ones."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from minidl.creation import tensor
from minidl.device import device_of, to_device
from minidl.errors import FormatError
from minidl.tape import tie, touch
from minidl.tensor import Tensor

__all__ = ["ExponentialMovingAverage"]


class ExponentialMovingAverage:
    """average = decay · average + (1 - decay) · weight, after each `update()`.

    parameters : the tensors to average, e.g. `model.parameters()`
    decay : from 0 to 1; warmup: use min(decay, (1 + t) / (10 + t)) at update t, so that the
        average does not remember the start for long
    Polyak and Juditsky 1992; the warm-up is TensorFlow's (Inception, Szegedy et al. 2015).
    """

    def __init__(
        self, parameters: Iterable[Tensor], decay: float = 0.999, warmup: bool = False
    ) -> None:
        if not 0 <= decay <= 1:
            raise ValueError(f"ExponentialMovingAverage: decay is {decay}, expected 0 to 1")
        self.parameters = list(parameters)
        self.decay, self.warmup, self.num_updates = decay, warmup, 0
        self.averages = [  # float16 would not hold the small steps
            p.data.astype(np.promote_types(p.data.dtype, "float32")) for p in self.parameters
        ]

    def update(self) -> None:
        """Move the averages towards the weights as they are now."""
        self.num_updates += 1
        decay = self.decay
        if self.warmup:
            decay = min(decay, (1 + self.num_updates) / (10 + self.num_updates))
        for average, p in zip(self.averages, self.parameters, strict=True):
            average += (1 - decay) * (p.data - average)

    def copy_to(self) -> None:
        """Write the averages into the parameters, for good."""
        for average, p in zip(self.averages, self.parameters, strict=True):
            p.data[...] = average
            touch(p.data)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Inside the with-block the parameters are their averages; then they are as before."""
        before = [p.data.copy() for p in self.parameters]
        self.copy_to()
        try:
            yield
        finally:
            for old, p in zip(before, self.parameters, strict=True):
                p.data[...] = old
                touch(p.data)

    def state_dict(self) -> dict[str, Any]:
        """What is needed to resume: the averages (sharing memory) and the count."""
        return {
            "decay": self.decay,
            "num_updates": self.num_updates,
            "averages": [tie(a, None) for a in self.averages],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume where `state_dict` was taken. Raises FormatError where the shapes differ."""
        try:
            averages = [tensor(a, device="cpu").data for a in state["averages"]]
            decay, count = float(state["decay"]), int(state["num_updates"])
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"ExponentialMovingAverage: not its state ({error})") from None
        shapes, mine = [a.shape for a in averages], [a.shape for a in self.averages]
        if shapes != mine:
            raise FormatError(f"ExponentialMovingAverage: shapes {shapes}, expected {mine}")
        for mine_, loaded in zip(self.averages, averages, strict=True):
            mine_[...] = to_device(loaded, device_of(mine_))
        self.decay, self.num_updates = decay, count
