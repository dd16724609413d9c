"""Layer normalisation: rows brought to mean 0 and variance 1, and the gradient."""

from typing import Any

import numpy as np

from minidl.errors import ShapeError
from minidl.race.contest import Contender, Problem, Race
from minidl.race.entrants import LOOPS_WAY, Way, nbytes, numbers, rooms, torch
from minidl_kernels.generic import normalization as generic

__all__ = ["layer_norm"]

PASSES = ("forward", "backward")
LOOPS = 20_000  # numbers
BOUND = 40  # of epsilon times the largest number of a result
EPS = 1e-5
WAYS = [
    LOOPS_WAY._replace(bound=BOUND),
    Way("generic", "array code, a pass over memory for each operation", BOUND),
    Way("cpu", "compiled: a row stays in the first cache", BOUND),
]


def layer_norm(
    shape: tuple[int, ...] = (2048, 512), passes: tuple[str, ...] = PASSES[:1]
) -> list[Race]:
    """(x - mean) / sqrt(var + eps) * weight + bias for N rows of D numbers; the shape is N,D."""
    if len(shape) != 2 or min(shape) < 1:
        raise ShapeError(f"race layer_norm: shape is {shape}, expected N,D, each 1 at least")
    n, d = shape
    small = max(1, min(n, LOOPS // d))
    found = []
    for kind in passes:
        kernel = "standardize" if kind == "forward" else "standardize_gradient"
        whole = _problem(n, d, kind)
        part = whole if small == n else _problem(small, d, kind)
        read = _first if kind == "forward" else tuple
        found.append(Race(whole, rooms(kernel, whole, part, WAYS, read) + _torch(n, d, kind)))
    return found


def _first(result: Any) -> tuple[Any]:
    return (result[0],)


def _problem(n: int, d: int, kind: str) -> Problem:
    x, weight, bias, g = numbers((n, d), (d,), (d,), (n, d))
    wide = [a.astype(np.float64) for a in (x, weight, bias)]
    out, centre, _, rstd = generic.standardize(*[*wide, (1,), (1, d), EPS])
    what = f"layer_norm {kind}, {n} rows of {d}"
    if kind == "forward":
        args = (x, weight, bias, (1,), (1, d), EPS)
        moved = nbytes(x, weight, bias) + 4 * n * (d + 3)
        return Problem(what, args, 7 * n * d, moved, (out,), (np.abs(out).max(),))
    rest = (None, None, ("x", "weight", "bias"))
    exact = generic.standardize_gradient(
        *[*wide[:2], (1,), (1, d), centre, rstd, g.astype(np.float64), *rest]
    )
    kept = [a.astype(np.float32) for a in (centre, rstd)]
    args = (x, weight, (1,), (1, d), *kept, g, *rest)
    moved = nbytes(x, weight, g, *kept) + 4 * (n * d + 2 * d)
    return Problem(what, args, 16 * n * d, moved, tuple(exact), tuple(_most(e) for e in exact))


def _most(x: Any) -> Any:
    return np.abs(x).max()


def _torch(n: int, d: int, kind: str) -> list[Contender]:
    library = torch()
    if library is None:
        return []
    x, weight, bias, g = (library.from_numpy(a) for a in numbers((n, d), (d,), (d,), (n, d)))
    wanted = [a.requires_grad_() for a in (x, weight, bias)]  # it keeps what its gradient needs
    normalize = library.nn.functional.layer_norm

    def forward() -> Any:
        return normalize(x, (d,), weight, bias, EPS)

    if kind == "forward":
        return [Contender("torch", "PyTorch", forward, BOUND, lambda out: (out.detach().numpy(),))]
    out = forward()
    return [
        Contender(
            "torch", "PyTorch",
            lambda: library.autograd.grad(out, wanted, g, retain_graph=True), BOUND,
            lambda found: [a.numpy() for a in found],
        )
    ]  # fmt: skip
