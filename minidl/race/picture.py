"""The roofline: how fast each contender was, beside what the machine's peak and memory allow."""

from collections.abc import Sequence
from typing import Any

from minidl.files import write_picture
from minidl.race.contest import Time
from minidl.race.machine import Machine

__all__ = ["draw", "figure_class"]

COLORS = ("tab:blue", "tab:orange", "tab:green", "tab:red", "tab:purple", "tab:brown", "tab:pink")
MARKERS = "os^DvPX"
APART = 0.055  # of the height: between two labels


def figure_class() -> Any:
    """Matplotlib's Figure. Raises ImportError that says what to install."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("race --plot needs Matplotlib: pip install 'minidl[examples]'") from None
    return Figure


def draw(path: str, machine: Machine, races: Sequence[tuple[str, Sequence[Time]]]) -> None:
    """Write the picture: a panel for each race, given as its title and the times."""
    figure = figure_class()(figsize=(8.6, 4.4 * len(races)), layout="constrained")
    panels = figure.subplots(len(races), 1, squeeze=False)[:, 0]
    for axis, (title, times) in zip(panels, races, strict=True):
        _panel(axis, machine, title, [t for t in times if t.here])
    write_picture("race --plot", path, figure, dpi=120)


def _panel(axis: Any, machine: Machine, title: str, times: Sequence[Time]) -> None:
    ridge = machine.peak / machine.bandwidth
    left = min(ridge, *(t.intensity for t in times)) / 4
    right = max(ridge, *(t.intensity for t in times)) * 4
    bottom = min(t.rate for t in times) / 4e9
    top = max(machine.peak, *(t.rate for t in times)) * 6e-9
    axis.set(xscale="log", yscale="log", xlim=(left, right), ylim=(bottom, top))
    corners = (left, ridge, right)
    roof = [machine.roof(x) / 1e9 for x in corners]
    axis.plot(corners, roof, color="black", linewidth=1.6)
    axis.fill_between(corners, roof, top, color="black", alpha=0.06, linewidth=0)
    said = f"peak {_rate(machine.peak)}, memory {machine.bandwidth / 1e9:.0f} GB/s, "
    said += f"{machine.threads} thread{'s' if machine.threads > 1 else ''}"
    axis.text(0.02, 0.03, said, transform=axis.transAxes, fontsize=8)
    above = "above the roof: fewer operations than the definition's, or arrays that stay in a cache"
    axis.text(0.02, 0.97, above, transform=axis.transAxes, fontsize=7, va="top", color="0.35")
    to_axes = axis.transScale + axis.transLimits
    ordered = sorted(times, key=lambda t: t.rate)
    heights = _spread([float(to_axes.transform((1, t.rate / 1e9))[1]) for t in ordered])
    for t, height in zip(ordered, heights, strict=True):
        k = [other.name for other in times].index(t.name)  # a name has one colour in all panels
        color, place = COLORS[k % len(COLORS)], (t.intensity, t.rate / 1e9)
        face = "white" if t.part < 1 else color  # hollow: extrapolated
        marker = MARKERS[k % len(MARKERS)]
        axis.plot(*place, marker, color=color, markerfacecolor=face, markersize=7, alpha=0.9)
        text = f"{t.name}: {_rate(t.rate)}{' (extrapolated)' if t.part < 1 else ''}"
        axis.annotate(
            text, place, (1.03, height), textcoords="axes fraction", va="center", fontsize=8,
            color=color, annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.7, "alpha": 0.6},
        )  # fmt: skip
    axis.set_title(title, fontsize=10)
    axis.set_xlabel("operations for each byte moved")
    axis.set_ylabel("GFLOP/s, of the definition's operations")
    axis.grid(True, which="major", alpha=0.25)


def _rate(x: float) -> str:
    return f"{x / 1e9:.3g} GFLOP/s"


def _spread(heights: list[float]) -> list[float]:
    """Heights in growing order moved apart, so that labels do not lie on each other."""
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + APART) if placed else max(height, APART / 2))
    limit = 1 - APART / 2
    for k in range(len(placed) - 1, -1, -1):
        placed[k] = min(placed[k], limit)
        limit = placed[k] - APART
    return placed
