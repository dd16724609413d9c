"""A step of Adam over one array of parameters."""

from typing import Any

import numpy as np

from minidl.errors import ShapeError
from minidl.race.contest import Contender, Problem, Race
from minidl.race.entrants import LOOPS_WAY, Way, nbytes, numbers, rooms, torch
from minidl_kernels.generic import updates as generic

__all__ = ["adam"]

PASSES = ("forward",)
LOOPS = 20_000
WAYS = [
    LOOPS_WAY._replace(bound=4),
    Way("generic", "ten operations, each a pass over memory", 4),
    Way("cpu", "compiled: one pass over memory", 4),
]
STEP, LR, B1, B2, EPS = 3, 1e-3, 0.9, 0.999, 1e-8


def adam(shape: tuple[int, ...] = (225_034,), passes: tuple[str, ...] = PASSES) -> list[Race]:
    """One step of Adam for P parameters; the shape is P."""
    if len(shape) != 1 or shape[0] < 1:
        raise ShapeError(f"race adam: shape is {shape}, expected P, 1 at least")
    whole = _problem(shape[0])
    part = whole if shape[0] <= LOOPS else _problem(LOOPS)
    contenders = rooms("adam_", whole, part, WAYS, lambda args: [args[0], *args[2:4]])
    return [Race(whole, contenders + _torch(whole))]


def _problem(size: int) -> Problem:
    p, g, m, v = numbers((size,), (size,), (size,), (size,))
    args = (p, g, m, v * v, None, STEP, LR, B1, B2, EPS, 0.0, False)
    wide: list[Any] = [a.astype(np.float64) if isinstance(a, np.ndarray) else a for a in args]
    generic.adam_(*wide)
    exact = (wide[0], *wide[2:4])
    scale = (np.abs(p) + np.abs(wide[0] - p), np.abs(m) + np.abs(g), v * v + g * g)
    return Problem(
        f"adam, a step for {size} parameters", args, 14 * size, 7 * nbytes(p), exact, scale
    )


def _torch(problem: Problem) -> list[Contender]:
    library = torch()
    if library is None:
        return []
    p, g, m, v = (library.from_numpy(a.copy()) for a in problem.args[:4])
    found = []
    for name, how, fused in (
        ("torch", "PyTorch, its default", False),
        ("torch fused", "PyTorch, fused=True", True),
    ):
        parameter = p.clone().requires_grad_()
        parameter.grad = g.clone()
        optimizer = library.optim.Adam([parameter], lr=LR, fused=fused)
        state = {"exp_avg": m.clone(), "exp_avg_sq": v.clone(), "step": library.tensor(STEP - 1.0)}
        optimizer.state[parameter] = state
        found.append(Contender(name, how, optimizer.step, 4, _read(parameter, state)))
    return found


def _read(parameter: Any, state: Any) -> Any:
    def read(_: Any) -> Any:
        return [
            a.detach().numpy().copy() for a in (parameter, state["exp_avg"], state["exp_avg_sq"])
        ]

    return read
