"""How a case of an op is written: its arguments with drawings in place of arrays.

    CASES = {"linear": [Case(A(4, 3), A(2, 3), A(2)), Case(A(3), A(2, 3), bias=None)]}

A drawing is realised from a seed, so that one case serves differences, layouts, dtypes and the
comparison with PyTorch, which gets the very same arguments under the same name.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Drawing:
    """An array to be drawn: `kind` says from what, `shape` how many."""

    kind: str
    shape: tuple[int, ...]
    low: float = 0
    high: float = 0
    constant: bool = False  # no gradient is asked of it
    values: Any = None  # of kind "given": the array, the same for every seed

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        size = math.prod(self.shape)
        if self.kind == "smooth":  # signs at random, none within 1/8 of zero
            values = rng.uniform(0.125, 2, size) * rng.choice([-1, 1], size)
        elif self.kind == "range":
            values = rng.uniform(self.low, self.high, size)
        elif self.kind == "distinct":  # no two closer than 1/8, none within 1/16 of zero
            values = (rng.permutation(size) - size // 2 + 0.5) / 8
        elif self.kind == "whole":
            values = rng.integers(int(self.low), int(self.high), size)
        elif self.kind == "truth":
            values = rng.integers(0, 2, size).astype(bool)
        elif self.kind == "given":
            values = np.array(self.values)
        else:
            raise ValueError(self.kind)
        return values.reshape(self.shape)


def A(*shape: int, constant: bool = False) -> Drawing:
    """Floats of both signs, away from zero."""
    return Drawing("smooth", shape, constant=constant)


def P(*shape: int, low: float = 0.25, high: float = 2.0, constant: bool = False) -> Drawing:
    """Floats in [low, high): positive by default; P(3, low=-0.9, high=0.9) for asin."""
    return Drawing("range", shape, low, high, constant)


def D(*shape: int, constant: bool = False) -> Drawing:
    """Distinct floats, for sort, max, pooling: no ties nearby."""
    return Drawing("distinct", shape, constant=constant)


def I(high: int, *shape: int, low: int = 0) -> Drawing:  # noqa: E743 (short on purpose, as A, P, D)
    """Whole numbers (int64) in [low, high)."""
    return Drawing("whole", shape, low, high)


def G(values: Any) -> Drawing:
    """An array that is given, not drawn: an index, say."""
    return Drawing("given", np.shape(values), values=values)


def B(*shape: int) -> Drawing:
    """Truth values."""
    return Drawing("truth", shape)


class Case:
    """One call of an op: arguments (drawings, numbers, lists of drawings, …) and options.

    order : to which order derivatives are checked by differences and against PyTorch
    torch : None if PyTorch has no such function; a function of (torch, *args, **options) where
        PyTorch says it otherwise; default: the function of the same name
    differences : False where the gradient is a convention, and not the derivative
    atol : for derivatives against differences: what rounding leaves of numbers that cancel (say
        why)
    """

    def __init__(
        self,
        *args: Any,
        order: int = 2,
        torch: Callable[..., Any] | str | None = "same",
        atol: float | None = None,
        differences: bool = True,
        **options: Any,
    ) -> None:
        self.args, self.options = args, options
        self.order, self.torch = order, torch
        self.atol, self.differences = atol, differences

    def realised(self, seed: int) -> tuple[list[Any], dict[str, Any]]:
        """Draw: the arguments with arrays in place of drawings."""
        rng = np.random.default_rng(seed)
        args = [mapped(a, lambda d: d.draw(rng), Drawing) for a in self.args]
        options = {
            k: mapped(v, lambda d: d.draw(rng), Drawing) for k, v in sorted(self.options.items())
        }
        return args, options

    def constants(self) -> list[bool]:
        """Of each drawing, in the order of `arrays_of`, whether it is held constant."""
        found: list[bool] = []
        for a in [*self.args, *[v for _, v in sorted(self.options.items())]]:
            mapped(a, lambda d: found.append(d.constant), Drawing)
        return found


def mapped(tree: Any, function: Callable[[Any], Any], kind: type | tuple[type, ...]) -> Any:
    """The tree with `function` applied to every leaf of a kind; lists and tuples are walked."""
    if isinstance(tree, kind):
        return function(tree)
    if isinstance(tree, (list, tuple)):
        return type(tree)([mapped(t, function, kind) for t in tree])
    return tree


def arrays_of(args: list[Any], options: dict[str, Any]) -> list[np.ndarray]:
    """All arrays among the arguments, in order."""
    found: list[np.ndarray] = []
    for a in [*args, *options.values()]:
        mapped(a, found.append, np.ndarray)
    return found


def with_arrays(args: list[Any], options: dict[str, Any], new: list[Any]) -> Any:
    """The arguments with their arrays replaced, in order."""
    rest = iter(new)
    args = [mapped(a, lambda _: next(rest), np.ndarray) for a in args]
    return args, {k: mapped(v, lambda _: next(rest), np.ndarray) for k, v in options.items()}


def all_cases() -> dict[str, list[Case]]:
    """Every `CASES` of the files `cases_*.py` beside this one."""
    import importlib.util
    from pathlib import Path

    found: dict[str, list[Case]] = {}
    for path in sorted(Path(__file__).parent.glob("cases_*.py")):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        twice = found.keys() & module.CASES.keys()
        assert not twice, f"{path.name}: {sorted(twice)} have cases elsewhere"
        found |= module.CASES
    return found
