"""A module as a function of its inputs and its parameters, for checks of derivatives."""

from typing import Any

import numpy as np
from nn_cases import Case, drawn, inputs_of, mapped, opened

import minidl
from minidl import nn


class Functional:
    """A module as a function of its inputs and parameters: it draws and counts the same each time.

    Parameters are replaced by the tensors given, where the module looks for them; buffers are put
    back after each call, and so is the stream of random numbers.
    """

    def __init__(self, case: Case) -> None:
        minidl.manual_seed(3)
        self.module, self.case = case.build(nn).double(), case
        state = {k: tuple(v.shape) for k, v in self.module.state_dict().items()}
        known = {k: drawn(k, s) for k, s in state.items() if "num_batches" not in k}
        self.module.load_state_dict(known, strict=False)
        self.module.train(case.train)
        self.places = [
            (owner, name, p)
            for owner in self.module.modules()
            for name, p in owner.named_parameters(recurse=False)
        ]
        self.inputs: list[np.ndarray] = []
        for given in inputs_of(case, 0):
            mapped(given, self.inputs.append)
        self.smooth = [k for k, a in enumerate(self.inputs) if a.dtype.kind == "f"]

    def points(self) -> tuple[np.ndarray, ...]:
        """Inputs of floats, then parameters."""
        return (*[self.inputs[k] for k in self.smooth], *[p.data for *_, p in self.places])

    def names(self) -> list[str]:
        return [f"input {k}" for k in self.smooth] + [name for _, name, _ in self.places]

    def __call__(self, *tensors: Any) -> Any:
        minidl.manual_seed(5)
        full = [minidl.tensor(a) for a in self.inputs]
        for k, t in zip(self.smooth, tensors, strict=False):
            full[k] = t
        rest = iter(full)
        args = [mapped(given, lambda _: next(rest)) for given in inputs_of(self.case, 0)]
        buffers = [(b, b.data.copy()) for b in self.module.buffers()]
        options = dict(self.case.options)
        if self.case.lengths is not None:
            options["lengths"] = self.case.lengths
        try:
            for (owner, name, _), t in zip(self.places, tensors[len(self.smooth) :], strict=True):
                replaced(owner, name, t)
            outputs = opened(self.module(*args, **options))
        finally:
            for owner, name, p in self.places:
                vars(owner)[name] = p
            for b, data in buffers:
                b.data = data
        return tuple(y for y in outputs if y.dtype.kind == "f")


def replaced(owner: Any, name: str, value: Any) -> None:
    """Put a tensor, as a parameter at its place on the tape, where a module keeps a parameter."""
    assert isinstance(vars(owner)[name], nn.Parameter)
    parameter = nn.Parameter(value.data)
    parameter.node = value.node
    vars(owner)[name] = parameter
