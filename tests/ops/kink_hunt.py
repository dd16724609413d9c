"""The hunt for kinks: slopes from two sides at zeros, ones, ties and bounds, by one argument each.

Only arguments by which an operation has a derivative are moved. A kink shows in slopes of two sides
that stay apart when the step shrinks, a jump or an infinite slope in quotients that grow.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from cases import Case, Drawing, arrays_of, mapped, with_arrays

import minidl

STEP, FACTOR = 2.0**-24, 64.0  # and, to see what shrinks and what grows, a step 64 times smaller


def hunted(function: Callable[..., Any], names: list[str], case: Case) -> dict[str, set[str]]:
    """What is found: for each argument the kinds of its kinks, as `Kink.kind` has them.

    names : of the arguments that are arrays, in their order
    """
    args, options = case.realised(7)
    arrays = arrays_of(args, options)
    found: dict[str, set[str]] = {}
    smooth = [k for k in range(len(arrays)) if _tracked(function, args, options, arrays, k)]
    for base in _places(case, arrays, smooth):
        for k in smooth:
            for kind in _kinds(function, args, options, base, k):
                found.setdefault(names[k], set()).add(kind)
    return found


def names_of(positional: list[str], case: Case) -> list[str]:
    """The argument that each array of a case belongs to."""
    found: list[str] = []
    last = len(positional) - 1
    for i, a in enumerate(case.args):
        mapped(a, lambda _, i=i: found.append(positional[min(i, last)]), Drawing)
    for name, a in sorted(case.options.items()):
        mapped(a, lambda _, name=name: found.append(name), Drawing)
    return found


def _outputs(function: Any, args: Any, options: Any, tensors: list[Any]) -> list[Any]:
    new_args, new_options = with_arrays(args, options, tensors)
    out = function(*new_args, **new_options)
    outputs = out if isinstance(out, (tuple, list)) else [out]
    return [y for y in outputs if y.dtype.kind == "f"]


def _tracked(function: Any, args: Any, options: Any, arrays: list[Any], k: int) -> bool:
    """Whether the function has a derivative by array k."""
    if arrays[k].dtype.kind != "f" or not arrays[k].size:
        return False
    tensors = [minidl.tensor(a, requires_grad=i == k) for i, a in enumerate(arrays)]
    try:
        return any(y.requires_grad for y in _outputs(function, args, options, tensors))
    except NotImplementedError:  # there is no derivative with respect to it
        return False


def _places(case: Case, arrays: list[Any], smooth: list[int]) -> Iterator[list[Any]]:
    """The arguments where kinks are likely: zeros, ones, bounds (the case's own numbers), ties."""
    numbers: list[float] = []
    for a in [*case.args, *case.options.values()]:
        mapped(a, lambda v: numbers.extend([float(v), -float(v)]), (int, float))
    points = sorted({0.0, 0.5, 1.0, -1.0, 3.0, -3.0, 6.0, *numbers})
    points = [p for p in points if abs(p) < 50 and (p == 0 or abs(p) > 1e-3)]

    def full(which: list[int], value: float) -> list[Any]:
        return [np.full(a.shape, value) if k in which else a for k, a in enumerate(arrays)]

    for p in points:
        yield full(smooth, p)
        if len(smooth) > 1:
            for k in smooth:
                yield full([k], p)
    for seed in range(2):
        rng = np.random.default_rng(seed)
        yield [
            rng.choice([0.0, 1.0] if seed else points, a.shape) if k in smooth else a
            for k, a in enumerate(arrays)
        ]
    for j in smooth:
        for k in smooth:
            if j < k and arrays[j].shape == arrays[k].shape:
                for p in {0.0, *numbers}:
                    yield [arrays[j] + p if i == k else a for i, a in enumerate(arrays)]


def _kinds(function: Any, args: Any, options: Any, base: list[Any], k: int) -> set[str]:
    """The kinds of kinks that array k shows at a place."""
    rng = np.random.default_rng([k, base[k].size])
    direction = rng.uniform(0.5, 1, base[k].shape) * rng.choice([-1.0, 1.0], base[k].shape)

    def values(h: float) -> Any:
        moved = [a + h * direction if i == k else a for i, a in enumerate(base)]
        try:
            outputs = _outputs(function, args, options, [minidl.tensor(a) for a in moved])
        except ValueError:  # outside its domain, as bernoulli_nll says
            return None
        return np.concatenate([y.data.reshape(-1) for y in outputs])

    return kinds_of(values, [float(np.max(abs(base[k]), initial=1))])


def kinds_of(values: Callable[[float], Any], sizes: list[float]) -> set[str]:
    """The kinds of kinks that `values`, a function of a number to an array or None, has at 0.

    sizes : of the numbers from which the values are computed, whose rounding they carry
    """
    with np.errstate(all="ignore"):
        y = values(0.0)
        if y is None or np.isnan(y).any():
            return set()
        nan = np.full(y.shape, math.nan)
        sides = [[values(s * h) for h in (STEP, STEP / FACTOR)] for s in (1, -1)]
        sides = [[nan if v is None else v for v in side] for side in sides]
        if (np.isinf(y) & (np.isfinite(sides[0][1]) | np.isfinite(sides[1][1]))).any():
            return {"infinite slope"}
        slopes = [
            [s * (v - y) / h for v, h in zip(side, (STEP, STEP / FACTOR), strict=True)]
            for s, side in zip((1, -1), sides, strict=True)
        ]
        noise = 2.0**-46 * max(*sizes, float(np.max(abs(y), initial=1))) / (STEP / FACTOR)
        found = set()
        for far, near in slopes:
            grown = abs(near) / abs(far)
            big = abs(near) > 1 + 8 * noise
            if ((grown > 0.9 * FACTOR) & big).any():
                found.add("jump")
            elif ((grown > 2) & big).any():
                found.add("infinite slope")
        if not found:
            apart = [abs(up - down) for up, down in zip(*slopes, strict=True)]
            clear = 1e-3 * (1 + abs(slopes[0][1])) + 8 * noise
            if ((apart[1] > clear) & (apart[1] > apart[0] / 4)).any():
                found.add("kink")
    return found
