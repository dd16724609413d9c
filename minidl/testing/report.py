"""What a check found: a Report when all is well, a GradientError that tells all when it is not."""

import importlib
import inspect
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minidl.testing.points import Array

LARGEST_SHOWN = 2000  # elements: more are not written out in a reproduction


class GradientError(AssertionError):
    """A derivative is wrong, or cannot be checked; `str()` says where, by how much and why.

    Attributes
    ----------
    op : the name of the function
    problem : "wrong", "undecided", "shape", "nan", "not deterministic", "changes its inputs",
        "no gradient path", "stale" or "not linear"
    argument : name of the argument, or None
    index : place of the element, a tuple; None where a direction was tried
    order : of the derivative
    analytic, numeric : what the derivative under test says, and what differences say
    ratio : analytic / numeric, or None
    cause : the likely cause, one plain sentence; "" where none is recognised
    reproduction : five lines of Python that fail in the same way; "" where they cannot be given
    """

    def __init__(
        self,
        op: str,
        summary: str,
        *,
        problem: str = "wrong",
        argument: str | None = None,
        index: tuple[int, ...] | None = None,
        order: int = 1,
        analytic: float | None = None,
        numeric: float | None = None,
        bound: float | None = None,
        cause: str = "",
        notes: Sequence[str] = (),
        reproduction: str = "",
    ) -> None:
        self.op, self.summary, self.problem = op, summary, problem
        self.argument, self.index, self.order = argument, index, order
        self.analytic, self.numeric, self.bound = analytic, numeric, bound
        self.cause, self.notes, self.reproduction = cause, tuple(notes), reproduction
        super().__init__(summary)

    @property
    def ratio(self) -> float | None:
        """Analytic / numeric; None where either is missing or the numeric one is zero."""
        if self.analytic is None or self.numeric is None or self.numeric == 0:
            return None
        return self.analytic / self.numeric

    def __str__(self) -> str:
        lines = [f"{self.op}: {self.summary}"]
        if self.analytic is not None:
            lines.append(f"    analytic   {self.analytic!r}")
        if self.numeric is not None:
            plus = "" if self.bound is None else f"  (within {self.bound:.1e})"
            lines.append(f"    numeric    {self.numeric!r}{plus}")
        if self.ratio is not None:
            lines.append(f"    ratio      {self.ratio:.10g}")
        lines += [f"    {note}" for note in self.notes]
        if self.cause:
            lines.append(_folded(f"likely cause: {self.cause}"))
        if self.reproduction:
            lines.append("to see it again:")
            lines += [f"    {line}" for line in self.reproduction.splitlines()]
        return "\n".join(lines)


def _folded(text: str) -> str:
    """Fold a long line; what goes on is indented."""
    return textwrap.fill(
        text, 100, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )


@dataclass(frozen=True)
class Check:
    """What was found for one argument at one order.

    count : elements, or directions where `directions`, that were compared
    kinks, jumps : how many of them lie at a kink or a jump of the function and were judged by
        one-sided slopes
    error : the largest difference between analytic and numeric, relative to the scale of the
        derivative; tightness : the largest difference relative to what was allowed (below 1)
    resolution : the largest error bound of the numeric derivative, relative to the scale
    vanishing : analytic and numeric are both zero to the rounding of the function itself, so error
        and resolution are relative to the function over its argument
    """

    argument: str
    order: int
    count: int
    kinks: int = 0
    jumps: int = 0
    error: float = 0.0
    tightness: float = 0.0
    resolution: float = 0.0
    directions: bool = False
    vanishing: bool = False


@dataclass
class Report:
    """What a check found when it found nothing wrong: a row for each argument and order."""

    name: str
    order: int
    checks: list[Check] = field(default_factory=list)

    @property
    def worst(self) -> float:
        """The largest error relative to the scale of its derivative."""
        return max((check.error for check in self.checks), default=0.0)

    @property
    def kinks(self) -> int:
        """How many elements were judged by one-sided slopes."""
        return sum(check.kinks for check in self.checks)

    def __str__(self) -> str:
        head = ("argument", "order", "checked", "kinks", "error", "of bound", "resolution", "")
        rows = [head]
        for c in self.checks:
            count = f"{c.count} directions" if c.directions else str(c.count)
            kinks = str(c.kinks) + (f" + {c.jumps} jumps" if c.jumps else "")
            numbers = (f"{c.error:.1e}", f"{c.tightness:.2f}", f"{c.resolution:.1e}")
            note = "vanishes" if c.vanishing and c.count else ""
            rows.append((c.argument, str(c.order), count, kinks, *numbers, note))
        widths = [max(len(row[k]) for row in rows) for k in range(len(head))]
        lines = [
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join([f"{self.name}: derivatives agree up to order {self.order}", *lines])


# ---- reproduction -------------------------------------------------------------------------------


def reproduction(
    check: str,
    fn: Callable[..., Any],
    inputs: Sequence[Any],
    gradient: Callable[..., Any] | None = None,
    **options: Any,
) -> str:
    """At most five lines of Python that run the same check on the same numbers."""
    lines, words = ["import numpy as np, minidl"], []
    found = imported(fn)
    grad_found = None if gradient is None else imported(gradient)
    if found is None or (gradient is not None and grad_found is None):
        return ""
    for line, _ in filter(None, (found, grad_found)):
        if line not in lines:
            lines.append(line)
    for x in inputs:
        text = written(x)
        if text is None:
            return ""
        words.append(text)
    given = [f"{k}={v!r}" for k, v in options.items() if v is not None]
    if grad_found is not None:
        given.insert(0, f"gradient={grad_found[1]}")
    lines.append(f"inputs = ({', '.join(words)},)")
    lines.append(f"minidl.testing.{check}({', '.join([found[1], 'inputs', *given])})")
    lines[0] = "import numpy as np, minidl.testing"
    return "\n".join(lines)


def imported(fn: Any) -> tuple[str, str] | None:
    """A line that imports a function, and the expression that names it then; None if none does."""
    module, name = getattr(fn, "__module__", None), getattr(fn, "__qualname__", None)
    name = name or getattr(fn, "__name__", None)
    if module is None or name is None:
        return None
    if name.isidentifier() and module.startswith("minidl.ops"):
        return "from minidl import ops", f"ops.{name}"
    if module == "__main__":  # a script: what it is called when another imports it
        file = getattr(sys.modules["__main__"], "__file__", None)
        known = fn is getattr(sys.modules["__main__"], name, None)
        here = (f"from {Path(file).stem} import {name}", name) if file and known else None
        return here or _from_source(fn)
    try:
        thing: Any = importlib.import_module(module)
        for part in name.split("."):
            thing = getattr(thing, part)
    except (ImportError, AttributeError):
        return _from_source(fn)
    if thing is not fn:
        return _from_source(fn)
    first = name.partition(".")[0]
    return f"from {module} import {first}", name


def _from_source(fn: Any) -> tuple[str, str] | None:
    """The text of a function of one line that uses nothing around it."""
    code = getattr(fn, "__code__", None)
    if code is None or code.co_freevars or fn.__name__ != "<lambda>":
        return None
    known = {"np", "minidl", "ops", "abs", "min", "max", "sum", "float", "len", "range"}
    if any(n in getattr(fn, "__globals__", {}) and n not in known for n in code.co_names):
        return None
    try:
        source = inspect.getsource(fn)
    except (OSError, TypeError):
        return None
    if source.count("lambda") != 1:
        return None
    text = source[source.index("lambda") :].splitlines()[0].strip()
    while text:  # cut what stands behind the lambda on its line
        try:
            compiled = compile(text, "<lambda>", "eval")
        except SyntaxError:
            text = text[:-1].rstrip()
            continue
        inner = [c for c in compiled.co_consts if hasattr(c, "co_code")]
        if len(inner) == 1 and inner[0].co_code == code.co_code:
            prefix = "from minidl import ops; " if "ops" in code.co_names else ""
            return f"{prefix}fn = {text}", "fn"
        text = text[:-1].rstrip()
    return None


def written(x: Any) -> str | None:
    """Python that makes an argument again, with every digit; None where it is too large.

    >>> written((np.array([1.0, 0.1]), slice(1, None), "sum"))
    "(np.array([1.0, 0.1]), slice(1, None, None), 'sum')"
    """
    if isinstance(x, (bool, int, float, str, slice)) or x is None or x is Ellipsis:
        return repr(x)
    if isinstance(x, (list, tuple)):
        parts = [text for text in map(written, x) if text is not None]
        if len(parts) < len(x):
            return None
        inside = ", ".join(parts)
        return f"[{inside}]" if isinstance(x, list) else f"({inside}{',' * (len(x) == 1)})"
    data = x if isinstance(x, np.ndarray) else getattr(x, "data", x)
    if not isinstance(data, np.ndarray):
        if not hasattr(x, "detach"):
            return None
        data = np.asarray(x.detach().numpy())
    if data.size > LARGEST_SHOWN:
        return None
    text = _array_text(data)
    return text if isinstance(x, np.ndarray) else f"minidl.tensor({text})"


def _array_text(a: Array) -> str:
    numbers = repr(a.tolist()).replace("nan", "np.nan").replace("inf", "np.inf")
    kind = "" if a.dtype in (np.float64, np.int64, np.bool_) and a.size else f", np.{a.dtype.name}"
    if a.size == 0:
        return f"np.zeros({a.shape}{kind})"
    order = ', order="F"' if a.flags.f_contiguous and not a.flags.c_contiguous else ""
    return f"np.array({numbers}{kind}{order})"
