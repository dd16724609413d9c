"""Max pooling over two axes, and its gradient."""

import math
from typing import Any

import numpy as np

from minidl.errors import ShapeError
from minidl.race.contest import Contender, Problem, Race
from minidl.race.entrants import LOOPS_WAY, Way, cut, nbytes, numbers, rooms, torch
from minidl_kernels.generic import pooling as generic

__all__ = ["max_pool"]

PASSES = ("forward", "input")
BOUND = 4  # of the gradient: where windows overlap, a place holds a sum
WAYS = [
    LOOPS_WAY._replace(bound=0),
    Way("generic", "a place of all windows at once", 0),
    Way("cpu", "compiled: a window at once, along channels", 0),
]


def max_pool(
    shape: tuple[int, ...] = (8, 64, 56, 56),
    size: int = 2,
    stride: int | None = None,
    padding: int = 0,
    passes: tuple[str, ...] = PASSES[:1],
) -> list[Race]:
    """Maximum of windows of size x size in an image (N, C, H, W); their stride is the size."""
    stride = stride or size
    if len(shape) != 4 or min(*shape, size, stride) < 1 or not 0 <= 2 * padding <= size:
        raise ShapeError(
            f"race max_pool: shape is {shape}, size {size}, stride {stride}, padding {padding}; "
            "expected N,C,H,W, sizes from 1, and padding of half a window at most"
        )
    options = ((size,) * 2, (stride,) * 2, (padding,) * 2, (1, 1), False)
    if min(generic.output_sizes(shape[2:], *options)) < 1:
        raise ShapeError(f"race max_pool: a window of {size} x {size} does not fit in {shape}")
    sizes = dict(zip("nchw", shape, strict=True))
    least = {"h": min(shape[2], size + 2), "w": min(shape[3], size + 2)}
    small = cut(sizes, least, lambda **s: math.prod(s.values()))
    found = []
    for kind in passes:
        whole = _problem(shape, options, kind)
        part = whole if small == sizes else _problem(tuple(small.values()), options, kind)
        kernel, read = ("max_pool", tuple) if kind == "forward" else ("max_pool_input", _one)
        bound = 0 if kind == "forward" else BOUND
        ways = [way._replace(bound=bound) for way in WAYS]
        contenders = rooms(kernel, whole, part, ways, read)
        found.append(Race(whole, contenders + _torch(shape, options, kind)))
    return found


def _one(result: Any) -> tuple[Any]:
    return (result,)


def _input(shape: tuple[int, ...]) -> Any:
    n, c, h, w = shape
    return np.moveaxis(numbers((n, h, w, c))[0], -1, 1)


def _problem(shape: tuple[int, ...], options: Any, kind: str) -> Problem:
    x = _input(shape)
    out, index = generic.max_pool(x, *options)
    what = f"max_pool {kind}, {shape}, windows of {options[0]}, stride {options[1]}"
    if kind == "forward":
        comparisons = out.size * math.prod(options[0])
        exact = (out.astype(np.float64), index.astype(np.float64))
        return Problem(what, (x, *options), comparisons, nbytes(x, out, index), exact, (1.0, 1.0))
    gx = generic.max_pool_input(out.astype(np.float64), index, shape)
    args = (out, index, shape, options[:-1])
    scale = generic.max_pool_input(np.abs(out).astype(np.float64), index, shape)
    return Problem(what, args, out.size, nbytes(x, out, index), (gx,), (scale,))


def _torch(shape: tuple[int, ...], options: Any, kind: str) -> list[Contender]:
    library = torch()
    if library is None:
        return []
    size, stride, padding, dilation, ceil_mode = options
    x = library.from_numpy(_input(shape)).requires_grad_(kind == "input")
    pool = library.nn.functional.max_pool2d
    call = (size, stride, padding, dilation, ceil_mode, True)  # with the places, as in training
    if kind == "forward":
        return [
            Contender(
                "torch last", "PyTorch, channels-last", lambda: pool(x, *call), 0,
                lambda result: [r.detach().numpy() for r in result],
            )
        ]  # fmt: skip
    out, _ = pool(x, *call)
    g = out.detach()
    return [
        Contender(
            "torch last", "PyTorch, channels-last",
            lambda: library.autograd.grad(out, x, g, retain_graph=True)[0], BOUND,
            lambda gx: (gx.numpy(),),
        )
    ]  # fmt: skip
