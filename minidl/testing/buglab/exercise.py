"""An exercise: a function, a wrong derivative of it, the right one, and what the check must say.

It comes in one of three forms, told apart by what is given:

- `forward` and a gradient: a NumPy function f(*inputs) and `gradient(g, *inputs)`, which returns an
  array, or a tuple with None for what has no gradient;
- a layer: a class with `forward(*inputs)`, which may remember things, and `backward(g)`;
- a function of minidl's tensors, such as an operation made by `op`.
"""

import importlib
import inspect
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.tape import Op
from minidl.tape.registry import Facts

TOPICS = (  # in the order in which one might go through them
    "broadcasting", "elementwise", "reductions", "losses", "kinks", "indexing", "matrices",
    "normalization", "memory", "images", "recurrence",
)  # fmt: skip
exercises: dict[str, "Exercise"] = {}  # by name, in the order in which they were loaded
_IMPORTS = (
    (r"\bnp\.", "import numpy as np\n"),
    (r"\bops\.", "from minidl import ops"),
    (r"\bKept\(", "from minidl.tape import Kept, op"),
    (r"^(?!.*\bKept\().*@op\(", "from minidl.tape import op"),
)


class AnswerError(ValueError):
    """An answer that the lab cannot look at: no file, another name, another function."""


@dataclass(frozen=True)
class Exercise:
    """One bug.

    name, topic : what it is listed under; level : 1 (easy) to 3
    wrong, right : the derivative as planted and as mended
    forward : the function, None where `wrong` and `right` compute it themselves
    make_inputs : a function of a NumPy generator that returns the inputs of the check
    check : the function of minidl.testing that must catch it, by name
    told : words that the cause must contain
    hints, solution : what readers are told, if they ask
    helpers : further functions that the code uses, shown with it
    """

    name: str
    level: int
    topic: str
    wrong: Any
    right: Any
    forward: Callable[..., Any] | None
    make_inputs: Callable[[np.random.Generator], tuple[Any, ...]]
    check: str
    told: tuple[str, ...]
    hints: tuple[str, str]
    solution: str
    helpers: tuple[Callable[..., Any], ...]

    @property
    def title(self) -> str:
        """What is computed: the first line of the function's own docstring."""
        return ((self.forward or self.wrong).__doc__ or "").partition("\n")[0]

    @property
    def target(self) -> str:
        """The name of what is to be mended, as the reader sees it."""
        if self.forward is not None:
            return f"{self.forward.__name__}_gradient"
        return re.sub("_?wrong$", "", self.wrong.__name__, flags=re.IGNORECASE)

    def inputs(self) -> tuple[Any, ...]:
        """Return the inputs of the check: new arrays, the same at each call."""
        return self.make_inputs(np.random.default_rng(0))

    def code(self) -> str:
        """Return the exercise as Python text that runs by itself, the bug in it."""
        parts = [*self.helpers, *([self.forward] if self.forward else []), self.wrong]
        text = "\n\n\n".join(_source(part) for part in parts)
        text = re.sub(rf"\b{self.wrong.__name__}\b", self.target, text)
        imports = "\n".join(line for sign, line in _IMPORTS if re.search(sign, text, re.DOTALL))
        return f"{imports.strip()}\n\n\n{text}\n".lstrip()

    def examine(self, candidate: Any, seed: int = 0) -> Any:
        """Check a candidate (`wrong`, `right`, or a reader's) and return the report.

        Raises GradientError if its derivative is wrong, AnswerError if it belongs to another
        function than the exercise's.
        """
        from minidl import testing  # its checks stand beside this package, not below it

        if self.forward is None:
            _same_function(self, candidate)
        function, gradient = self._sides(candidate)
        check = getattr(testing, self.check)
        return check(function, self.inputs(), gradient=gradient, name=self.name, seed=seed)

    def _sides(self, candidate: Any) -> tuple[Callable[..., Any], Callable[..., Any] | None]:
        """Return the function and its gradient, None where the tape knows that."""
        if self.forward is not None:
            return self.forward, candidate
        return _layer(candidate) if inspect.isclass(candidate) else (candidate, None)


def exercise(
    name: str,
    *,
    level: int,
    topic: str,
    wrong: Any,
    right: Any,
    inputs: Callable[[np.random.Generator], tuple[Any, ...]],
    told: tuple[str, ...],
    hints: tuple[str, str],
    solution: str,
    forward: Callable[..., Any] | None = None,
    check: str = "gradcheck",
    helpers: tuple[Callable[..., Any], ...] = (),
) -> None:
    """Enter an exercise; see `Exercise` for what is what."""
    if name in exercises:
        raise ValueError(f"exercise {name!r} is there twice")
    exercises[name] = Exercise(
        name, level, topic, wrong, right, forward, inputs, check, told, hints,
        textwrap.dedent(solution).strip(), helpers,
    )  # fmt: skip


def op(**derivatives: Callable[..., Any]) -> Callable[[Callable[..., Any]], Op]:
    """Make an operation as `minidl.tape.op` does, without entering it in minidl's register."""

    def make(forward: Callable[..., Any]) -> Op:
        return Op(forward, derivatives, facts=Facts("", (), "all numbers", ()))

    return make


def library() -> dict[str, Exercise]:
    """Return all exercises by name, topic by topic; loaded when they are first asked for."""
    importlib.import_module("minidl.testing.buglab.bugs")
    return dict(sorted(exercises.items(), key=lambda item: TOPICS.index(item[1].topic)))


def _source(thing: Any) -> str:
    return inspect.getsource(inspect.unwrap(thing)).strip()


def _layer(layer: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Make a function and its gradient of a class that remembers between forward and backward."""

    def function(*inputs: Any) -> Any:
        return layer().forward(*inputs)

    def gradient(g: Any, *inputs: Any) -> Any:
        used = layer()
        used.forward(*inputs)
        return used.backward(g)

    signature = inspect.signature(layer.forward)
    arguments = list(signature.parameters.values())[1:]  # without self
    function.__signature__ = signature.replace(parameters=arguments)  # type: ignore[attr-defined]
    function.__name__ = layer.__name__
    return function, gradient


def _same_function(task: Exercise, candidate: Any) -> None:
    """Refuse a candidate whose values are not those of the right version."""

    def values(side: Any) -> Any:
        out = task._sides(side)[0](*task.inputs())
        return np.asarray(out.detach() if hasattr(out, "detach") else out)

    found, expected = values(candidate), values(task.right)
    if found.shape != expected.shape or not np.allclose(found, expected, rtol=1e-12, atol=1e-12):
        raise AnswerError(
            f"{task.target}: it no longer computes the same function; at the inputs of the check "
            f"expected {np.array2string(expected, precision=4)}, "
            f"got {np.array2string(found, precision=4)}"
        )
