"""Softmax with cross-entropy: the loss of labels from logits, and its gradient."""

from typing import Any

import numpy as np

from minidl.errors import ShapeError
from minidl.race.contest import Contender, Problem, Race
from minidl.race.entrants import LOOPS_WAY, Way, nbytes, numbers, rooms, torch
from minidl_kernels.generic import classification as generic

__all__ = ["softmax_cross_entropy"]

PASSES = ("forward", "input")
LOOPS = 20_000  # numbers
BOUND = 30  # of epsilon times the largest logit, or in the gradient times the gradient of the loss
SPLIT = "PyTorch leaves its exponentials to the gradient: compare the sums of both passes"
WAYS = [
    LOOPS_WAY._replace(bound=BOUND),
    Way("generic", "array code, a pass over memory for each operation", BOUND),
    Way("cpu", "compiled: eight exponentials at once", BOUND),
]


def softmax_cross_entropy(
    shape: tuple[int, ...] = (1024, 1000), passes: tuple[str, ...] = PASSES[:1]
) -> list[Race]:
    """-ln softmax(x)[label] for N rows of C logits; the shape is N,C."""
    if len(shape) != 2 or min(shape) < 1:
        raise ShapeError(f"race softmax_cross_entropy: shape is {shape}, expected N,C")
    n, c = shape
    small = max(1, min(n, LOOPS // c))
    found = []
    for kind in passes:
        kernel = "cross_entropy" if kind == "forward" else "cross_entropy_input"
        whole = _problem(n, c, kind)
        part = whole if small == n else _problem(small, c, kind)
        contenders = rooms(kernel, whole, part, WAYS, _loss if kind == "forward" else _one)
        contest = Race(whole, contenders + _torch(n, c, kind))
        if any(contender.name == "torch" for contender in contest.contenders):
            contest.remarks.append(SPLIT)
        found.append(contest)
    return found


def _loss(result: Any) -> tuple[Any]:
    return (result[0],)


def _one(result: Any) -> tuple[Any]:
    return (result,)


def _arguments(n: int, c: int) -> tuple[Any, Any]:
    return numbers((n, c))[0] * 3, np.random.default_rng(1).integers(0, c, n)


def _problem(n: int, c: int, kind: str) -> Problem:
    x, target = _arguments(n, c)
    loss, powers, total = generic.cross_entropy(x.astype(np.float64), target)
    what = f"softmax_cross_entropy {kind}, {n} rows of {c} logits"
    # Each number once: an exponential, of some twenty operations, and three more.
    if kind == "forward":
        scale = np.abs(x).max()
        moved = nbytes(x, target) + 4 * (powers.size + 2 * n)
        return Problem(what, (x, target), 23 * n * c, moved, (loss,), (scale,))
    g = np.full(n, 1 / n, np.float32)
    args = (g, target, powers.astype(np.float32), total.astype(np.float32))
    gx = generic.cross_entropy_input(g.astype(np.float64), target, powers, total)
    return Problem(what, args, 2 * n * c, nbytes(*args) + 4 * n * c, (gx,), (1 / n,))


def _torch(n: int, c: int, kind: str) -> list[Contender]:
    library = torch()
    if library is None:
        return []
    x, target = (library.from_numpy(a) for a in _arguments(n, c))
    x.requires_grad_()  # as in training: it keeps what its gradient needs
    lose = library.nn.functional.cross_entropy
    if kind == "forward":
        return [
            Contender(
                "torch", "PyTorch", lambda: lose(x, target, reduction="none"), BOUND,
                lambda loss: (loss.detach().numpy(),),
            )
        ]  # fmt: skip
    loss = lose(x, target)
    return [
        Contender(
            "torch", "PyTorch",
            lambda: library.autograd.grad(loss, x, retain_graph=True)[0], BOUND,
            lambda gx: (gx.numpy(),),
        )
    ]  # fmt: skip
