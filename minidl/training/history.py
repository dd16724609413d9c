"""What a training run reached, epoch by epoch, and its curves."""

import math
import os
from typing import Any

from minidl.files import write_picture

__all__ = ["History"]


class History:
    """The figures of each epoch: nothing of clocks, so equal runs have equal histories.

    epochs : one dict for each epoch: "epoch" (from 1), "steps" (batches so far), "loss", each
        metric, the same with "val_" before it where there is validation data, and "lr"

    Examples
    --------
    >>> from minidl.training import History
    >>> History([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}]).history
    {'loss': [0.5, 0.25]}
    """

    def __init__(self, epochs: list[dict[str, Any]] | None = None) -> None:
        self.epochs = [] if epochs is None else epochs

    @property
    def history(self) -> dict[str, list[Any]]:
        """Name -> its value in each epoch; None where an epoch has no such figure."""
        names: dict[str, None] = {}
        for logs in self.epochs:
            names |= dict.fromkeys(logs)
        shown = [name for name in names if name not in ("epoch", "steps")]
        return {name: [logs.get(name) for logs in self.epochs] for name in shown}

    def best(self, monitor: str = "val_loss", mode: str = "min") -> dict[str, Any]:
        """Return the figures of the epoch in which one was smallest, or with mode "max" largest.

        Raises KeyError if no epoch has that figure as a number.
        """
        found = [logs for logs in self.epochs if _is_figure(logs.get(monitor))]
        if not found:
            raise KeyError(f"History: no epoch has a number {monitor!r}; there is {self.names()}")
        sign = 1 if mode == "min" else -1
        return min(found, key=lambda logs: sign * logs[monitor])

    def names(self) -> list[str]:
        """Return the names of the figures."""
        return list(self.history)

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Draw the curves, one panel for each figure, training and validation together.

        path : where to write the picture; its ending says as what (.png, .svg, .pdf)

        Returns Matplotlib's Figure. Raises ImportError that says how to install Matplotlib, and
        ValueError if there is no epoch yet.
        """
        try:
            from matplotlib.figure import Figure
            from matplotlib.ticker import MaxNLocator
        except ImportError:
            raise ImportError(
                "History.plot needs Matplotlib: pip install 'minidl[examples]'"
            ) from None
        table = {
            name: values
            for name, values in self.history.items()
            if any(_is_figure(value) for value in values)
        }
        if not table:
            raise ValueError("History.plot: there is no epoch to draw yet")
        panels = list(dict.fromkeys(name.removeprefix("val_") for name in table))
        columns = 2 if len(panels) == 4 else min(3, len(panels))
        rows = math.ceil(len(panels) / columns)
        figure = Figure(figsize=(4.8 * columns, 3.4 * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        epochs = [logs.get("epoch", i + 1) for i, logs in enumerate(self.epochs)]
        for axis, name in zip(axes, panels, strict=False):
            for key, label, color in (
                (name, "training", "tab:blue"),
                (f"val_{name}", "validation", "tab:orange"),
            ):
                if key in table:
                    values = [v if _is_figure(v) else math.nan for v in table[key]]
                    axis.plot(epochs, values, color=color, label=label, marker=".", linewidth=1.8)
            axis.set_title({"lr": "learning rate"}.get(name, name.replace("_", " ")))
            axis.set_xlabel("epoch")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            axis.grid(alpha=0.3)
            if f"val_{name}" in table:
                axis.legend()
        for axis in axes[len(panels) :]:
            axis.set_axis_off()
        if path is not None:
            write_picture("History.plot", path, figure, dpi=120)
        return figure

    def __repr__(self) -> str:
        return f"History({len(self.epochs)} epochs: {', '.join(self.names())})"


def _is_figure(value: Any) -> bool:
    """Whether a value is a single number that a curve can show."""
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
