"""The LSTM over whole sequences, forward and backward."""

from typing import Any

import numpy as np

from minidl.errors import ShapeError
from minidl.race.contest import Contender, Problem, Race
from minidl.race.entrants import LOOPS_WAY, Way, cut, nbytes, numbers, rooms, torch
from minidl_kernels.generic import recurrent as generic

__all__ = ["lstm"]

PASSES = ("forward", "backward")
LOOPS = 4_000_000  # terms: its loops run over sequences and steps, with a product in each
# Of epsilon times the largest number of a result: sums of H products for each of T steps.
BOUND = 60
WAYS = [
    LOOPS_WAY._replace(how="a step of one sequence after the other", bound=BOUND),
    Way("generic", "a step of all sequences at once, BLAS", BOUND),
    Way("cpu", "compiled: tiles, gates eight at a time", BOUND),
]


def lstm(
    shape: tuple[int, ...] = (10, 32, 64, 128), passes: tuple[str, ...] = PASSES[:1]
) -> list[Race]:
    """LSTM layer over T steps of B sequences of I numbers, H units; the shape is T,B,I,H."""
    if len(shape) != 4 or min(shape) < 1:
        raise ShapeError(f"race lstm: shape is {shape}, expected T,B,I,H, each 1 at least")
    sizes = dict(zip("tbih", shape, strict=True))
    cost = lambda t, b, i, h: t * b * 4 * h * (i + h)  # noqa: E731
    small = cut(sizes, {}, cost, LOOPS)
    found = []
    for kind in passes:
        make = _forward if kind == "forward" else _backward
        whole = make(*shape)
        part = whole if small == sizes else make(*small.values())
        kernel = "lstm" if kind == "forward" else "lstm_gradient"
        read = _states if kind == "forward" else tuple
        contenders = rooms(kernel, whole, part, WAYS, read)
        found.append(Race(whole, contenders + _torch(whole, kind, *shape)))
    return found


def _states(result: Any) -> Any:
    """The states that are given out and the last ones, without what the gradient needs."""
    return result[:3]


def _arguments(t: int, b: int, i: int, h: int) -> list[Any]:
    x, h0, c0, w_ih, w_hh, bias = numbers(
        (t, b, i), (b, h), (b, h), (4 * h, i), (4 * h, h), (4 * h,)
    )
    return [x, h0, c0, *(w * np.float32(h**-0.5) for w in (w_ih, w_hh, bias))]


def _forward(t: int, b: int, i: int, h: int) -> Problem:
    args = _arguments(t, b, i, h)
    wide: list[Any] = [a.astype(np.float64) for a in args]
    exact = generic.lstm(*[*wide, None, False])[:3]
    return _of("forward", (t, b, i, h), (*args, None, False), exact, 2, args)


def _backward(t: int, b: int, i: int, h: int) -> Problem:
    args = _arguments(t, b, i, h)
    (g,) = numbers((t, b, h), seed=1)
    wide: list[Any] = [a.astype(np.float64) for a in args]
    out, _, _, gates, cells = generic.lstm(*[*wide, None, False])
    back: list[Any] = [g.astype(np.float64), None, None, *wide[:5], out, gates, cells, None, False]
    exact = generic.lstm_gradient(*back)
    kept = [a.astype(np.float32) for a in (out, gates, cells)]
    rest = (g, None, None, *args[:5], *kept, None, False)
    return _of("backward", (t, b, i, h), rest, exact, 4, [g, *args, *kept])


def _of(
    kind: str, sizes: tuple[int, ...], args: tuple[Any, ...], exact: Any, each: int, arrays: Any
) -> Problem:
    t, b, i, h = sizes
    moved = nbytes(*arrays) + sum(e.size for e in exact) * 4
    scale = tuple(np.abs(e).max() for e in exact)
    what = f"lstm {kind}, {t} steps of ({b}, {i}), {h} units"
    return Problem(what, args, each * t * b * 4 * h * (i + h), moved, tuple(exact), scale)


def _torch(problem: Problem, kind: str, t: int, b: int, i: int, h: int) -> list[Contender]:
    library = torch()
    if library is None:
        return []
    x, h0, c0, w_ih, w_hh, bias = (library.from_numpy(a) for a in _arguments(t, b, i, h))
    layer = library.nn.LSTM(i, h)
    with library.no_grad():
        new = (w_ih, w_hh, bias, library.zeros_like(bias))
        for parameter, value in zip(layer.parameters(), new, strict=True):
            parameter.copy_(value)
    x, h0, c0 = (a.requires_grad_() for a in (x, h0[None], c0[None]))
    if kind == "forward":  # as in training: it keeps what its gradient needs

        def read(result: Any) -> Any:
            out, (h_n, c_n) = result
            return [a.detach().numpy() for a in (out, h_n[0], c_n[0])]

        return [Contender("torch", "PyTorch", lambda: layer(x, (h0, c0)), BOUND, read)]
    out, _ = layer(x, (h0, c0))
    wanted = [x, h0, c0, *list(layer.parameters())[:3]]
    g = library.from_numpy(problem.args[0])
    return [
        Contender(
            "torch", "PyTorch",
            lambda: library.autograd.grad(out, wanted, g, retain_graph=True), BOUND,
            lambda found: [a.numpy()[0] if k in (1, 2) else a.numpy() for k, a in enumerate(found)],
        )
    ]  # fmt: skip
