"""What a network consists of: its layers with output shapes, parameters, operations and memory."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minidl import random
from minidl.device import to_device
from minidl.dtypes import as_dtype
from minidl.nn.convolution import _Conv, _ConvTranspose
from minidl.nn.linear import Bilinear, Linear
from minidl.nn.module import Module
from minidl.nn.recurrent import _Cell, _Recurrent
from minidl.tape import TensorBase, set_recording, tie, touch
from minidl.tensor import Tensor

__all__ = ["Row", "Summary", "summary"]


@dataclass
class Row:
    """One call of a layer. `flops` is None where they are not counted."""

    name: str
    kind: str
    shapes: list[tuple[int, ...]]
    parameters: int
    flops: int | None
    activation_bytes: int


@dataclass
class Summary:
    """The layers in the order in which they ran, and the totals; its text is a table.

    flops : two for each multiplication with addition in convolutions, dense and recurrent layers
        (biases, activations, pooling and normalisation are not counted)
    parameter_bytes : of parameters and buffers; activation_bytes : of all layers' outputs
    """

    rows: list[Row] = field(default_factory=list)
    parameters: int = 0
    trainable: int = 0
    flops: int = 0
    parameter_bytes: int = 0
    activation_bytes: int = 0

    def __str__(self) -> str:
        head = ("layer", "kind", "output", "parameters", "FLOPs")
        body = [
            (
                row.name,
                row.kind,
                ", ".join(map(str, row.shapes)) or "-",
                f"{row.parameters:,}" if row.parameters else "-",
                "-" if row.flops is None else f"{row.flops:,}",
            )
            for row in self.rows
        ]
        widths = [max(len(cells[i]) for cells in (head, *body)) for i in range(len(head))]
        lines = [_line(cells, widths) for cells in (head, *body)]
        rule = "-" * len(lines[0])
        total = [
            f"parameters   {self.parameters:,} ({self.trainable:,} to learn), "
            f"{_bytes(self.parameter_bytes)} with buffers",
            f"activations  {_bytes(self.activation_bytes)}, the outputs of all layers",
            f"FLOPs        {self.flops:,}: 2 for each multiply-add of convolutions, dense and "
            "recurrent layers",
        ]
        return "\n".join([lines[0], rule, *lines[1:], rule, *total])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Texts to the left, numbers (the last two) to the right."""
    left = [c.ljust(w) for c, w in zip(cells[:3], widths, strict=False)]
    right = [c.rjust(w) for c, w in zip(cells[3:], widths[3:], strict=True)]
    return "  ".join([*left, *right])


def _bytes(n: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if n < 1024:
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.1f} {unit}"
        n /= 1024
    return f"{n:.1f} GiB"


def summary(
    model: Module, *inputs: Any, input_size: Any = None, dtype: Any = None, **options: Any
) -> Summary:
    """Run a model once and return what its layers did; the model is left as it was.

    inputs : what the model is called with; or
    input_size : the shape of its input with the batch, or a list of shapes: then the inputs are
        zeros of `dtype` (default: that of the model's first parameter)
    options : further arguments of the model by name

    It runs in evaluation mode, unrecorded. Modules that hold others are not listed, and parameters
    of their own count in the total only; a layer that is called twice is listed twice, its
    parameters counted once.

    Examples
    --------
    >>> from minidl import nn
    >>> report = nn.summary(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), input_size=(2, 4))
    >>> report.parameters, report.flops, report.rows[1].shapes
    (15, 48, [(2, 3)])
    """
    if (input_size is None) == (not inputs):
        raise ValueError("summary: give either inputs or input_size")
    for value in inputs:
        if isinstance(value, tuple | list) and all(isinstance(n, int) for n in value):
            raise TypeError(
                f"summary: an input is {value!r}, numbers and no tensor; write "
                f"input_size={value!r} if it is the shape of the input"
            )
    if input_size is not None:
        inputs = _zeros(model, input_size, dtype)
    result = Summary()
    names = {id(m): name or type(m).__name__ for name, m in model.named_modules()}
    counted: set[int] = set()
    layers = [m for m in model.modules() if not any(True for _ in m.children())]

    def note(module: Module, args: tuple[Any, ...], out: Any) -> None:
        outputs = _tensors(out)
        own = [p for p in module.parameters() if id(p) not in counted]
        counted.update(id(p) for p in own)
        result.rows.append(
            Row(
                names[id(module)],
                type(module).__name__,
                [t.shape for t in outputs],
                sum(p.numel() for p in own),
                _flops(module, args, outputs),
                sum(t.data.nbytes for t in outputs),
            )
        )

    training = {m: m.training for m in model.modules()}
    buffers = [(m, name, t, t.data.copy()) for m in model.modules() for name, t in m._own_buffers()]
    hooks = {m: m._hooks for m in layers}
    handles = [m.register_forward_hook(note) for m in layers]
    streams = random.get_state()
    try:
        model.eval()
        with set_recording(False):
            model(*inputs, **options)
    finally:
        for handle in handles:
            handle.remove()
        for m, before in hooks.items():
            m._hooks = before
        for m, mode in training.items():
            m.training = mode
        for m, name, t, values in buffers:
            object.__setattr__(m, name, t)
            if (t.data != values).any():
                t.data[...] = values
                touch(t.data)
        random.set_state(streams)
    parameters = list(model.parameters())
    result.parameters = sum(p.numel() for p in parameters)
    result.trainable = sum(p.numel() for p in parameters if p.requires_grad)
    result.parameter_bytes = sum(t.data.nbytes for t in (*parameters, *model.buffers()))
    result.flops = sum(row.flops or 0 for row in result.rows)
    result.activation_bytes = sum(row.activation_bytes for row in result.rows)
    return result


def _zeros(model: Module, input_size: Any, dtype: Any) -> tuple[Tensor, ...]:
    """Inputs of given shapes, on the model's device."""
    several = len(input_size) > 0 and isinstance(input_size[0], Sequence)
    first = next(model.parameters(), None)
    if dtype is None:
        dtype = "float32" if first is None else first.dtype
    where = None if first is None else first.device
    return tuple(
        tie(to_device(np.zeros(tuple(shape), as_dtype(dtype)), where), None)
        for shape in (input_size if several else [input_size])
    )


def _tensors(out: Any) -> list[Any]:
    """The tensors of an output, which may be nested."""
    if isinstance(out, TensorBase):
        return [out]
    if isinstance(out, dict):
        out = list(out.values())
    if isinstance(out, (list, tuple)):
        return [t for o in out for t in _tensors(o)]
    return []


def _flops(module: Module, args: tuple[Any, ...], outputs: list[Any]) -> int | None:
    """Two for each multiply-add, or None for a layer of another type."""
    if not outputs or not args or not isinstance(args[0], TensorBase):
        return None
    x, out = args[0].data, outputs[0].data
    if isinstance(module, _Conv):
        return 2 * out.size * math.prod(module.weight.shape[1:])
    if isinstance(module, _ConvTranspose):
        return 2 * x.size * math.prod(module.weight.shape[1:])
    if isinstance(module, Linear):
        return 2 * out.size * module.in_features
    if isinstance(module, Bilinear):
        return 2 * out.size * (module.in1_features + 1) * module.in2_features
    if isinstance(module, (_Recurrent, _Cell)):
        steps = math.prod(x.shape[:-1])  # of time and batch
        weights = [p.numel() for p in module.parameters() if p.ndim == 2]
        return 2 * steps * sum(weights)
    return None
