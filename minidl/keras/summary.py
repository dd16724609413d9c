"""The table of a model's layers, drawn as Keras draws it."""

import math
import shutil
from collections.abc import Callable, Iterable
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

__all__ = ["print_summary"]

_WIDTHS = (0.45, 0.80, 1.0)  # where the columns end


def print_summary(
    model: Any, line_length: int | None = None, print_fn: Callable[[str], Any] | None = None
) -> None:
    """Print layers, output shapes and numbers of parameters.

    line_length : default: 88, or less on a narrower terminal
    print_fn : gets the whole text instead
    """
    width = line_length or min(88, shutil.get_terminal_size().columns - 4)
    ends = [int(share * width) for share in _WIDTHS]
    sizes = [end - start for end, start in zip(ends, [0, *ends], strict=False)]
    if min(sizes) < 4:
        raise ValueError(f"summary: line_length {width} is too short")
    heads = ("Layer (type)", "left"), ("Output Shape", "left"), ("Param #", "right")
    columns = [
        Column(head, justify=side, width=size)  # type: ignore[arg-type]
        for (head, side), size in zip(heads, sizes, strict=True)
    ]
    table = Table(*columns, width=width, show_lines=True)
    shape = model.input_shape if model.built else None
    for layer in model.layers:
        shape = None if shape is None else layer.compute_output_shape(shape)
        table.add_row(
            f"{escape(layer.name)} ({type(layer).__name__})",
            "?" if shape is None else f"({', '.join(map(str, shape))})",
            f"{layer.count_params():,}" if layer.built else "0 (unbuilt)",
        )
    learnt, kept = _size(model.trainable_weights), _size(model.non_trainable_weights)
    totals = {"Trainable params": learnt, "Non-trainable params": kept}
    optimizer = model.optimizer
    if optimizer is not None and optimizer.state:
        held = [v for state in optimizer.state.values() for v in state.values()]
        count, size = _size([v for v in held if hasattr(v, "nbytes")])
        totals["Optimizer params"] = count + 2, size + 8  # the step and the learning rate
    whole = [sum(column) for column in zip(*totals.values(), strict=True)]
    lines = {"Total params": whole} | totals
    console = Console(highlight=False, force_terminal=False if print_fn else None)
    with console.capture() as capture:
        console.print(f'[bold]Model: "{escape(model.name)}"[/]')
        console.print(table)
        for name, (count, size) in lines.items():
            console.print(f"[bold] {name}: [/]{count:,} ({_readable(size)})")
    (print_fn or print)(capture.get() if print_fn else capture.get().rstrip("\n"))


def _size(weights: Iterable[Any]) -> tuple[int, int]:
    """How many numbers, and how many bytes."""
    arrays = [getattr(w, "data", w) if not hasattr(w, "nbytes") else w for w in weights]
    return sum(math.prod(a.shape) for a in arrays), sum(a.nbytes for a in arrays)


def _readable(size: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1024:
            return f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} TB"
