"""Convolution, bias, relu and max pooling: as one kernel, and one after the other."""

from collections.abc import Callable
from typing import Any

import numpy as np

import minidl_kernels as kernels
from minidl.errors import ShapeError
from minidl.race.contest import Contender, Problem, Race
from minidl.race.entrants import LOOPS_WAY, Way, nbytes, numbers, rooms, torch
from minidl.race.operations import convolution
from minidl.race.operations.convolution import TILES, Shapes
from minidl_kernels import plans
from minidl_kernels.generic import epilogue as generic

__all__ = ["conv_pool"]

PASSES = ("forward",)
WAYS = [
    LOOPS_WAY,
    Way("generic", "array code, each step over all", 4),
    Way("cpu", "bias and relu with the sums, a byte for each maximum", 4),
]


def conv_pool(
    shape: tuple[int, ...] = (32, 32, 13, 13),
    weight: tuple[int, ...] | None = None,
    padding: Any = 0,
    size: int = 2,
    passes: tuple[str, ...] = PASSES,
) -> list[Race]:
    """Maximum of size x size outputs of relu(conv2d(x, w) + bias); shapes as for conv2d."""
    sizes = convolution.checked(shape, weight, 1, padding, 1, 1)
    if not 1 <= size <= min(*sizes.out[2:], 15):
        raise ShapeError(
            f"race conv_pool: windows of {size} x {size} do not fit in {sizes.out[2:]}"
        )
    small = convolution.smaller(sizes)
    if min(small.out[2:]) < size:  # a window at least
        small = small._replace(h=size + sizes.kh, w=size + sizes.kw)
    whole = _problem(sizes, size)
    part = whole if small.terms >= sizes.terms else _problem(small, size)
    found = rooms("conv_pool", whole, part, WAYS, _first)
    found.append(Contender("apart", "compiled kernels, one after the other", _apart(whole)))
    options = (sizes.x, sizes.filters, *sizes.options, np.dtype("float32"))
    chosen = plans.choose("forward", *options)
    if chosen.algorithm == "winograd":
        own = (_pooled(convolution.of_tiles(sizes, "forward"), size),)
        found = [
            c._replace(bound=TILES, scale=own) if c.name in ("cpu", "apart") else c for c in found
        ]
    remark = f"the convolution is {chosen.algorithm}: {chosen.reason}"
    return [Race(whole, found + _torch(whole), [remark])]


def _first(result: Any) -> tuple[Any]:
    return (result[0],)


def _pooled(full: Any, size: int) -> Any:
    return generic.pool(full, (size, size), False)[0]


def _problem(sizes: Shapes, size: int) -> Problem:
    inner = convolution.problem(sizes, "forward")
    (bias,) = numbers((sizes.o,), seed=2)
    x, w, *options = inner.args
    along = bias.reshape(-1, 1, 1)
    exact = _pooled(np.maximum(inner.exact[0] + along, 0), size)
    scale = _pooled(inner.scale[0] + np.abs(along), size)
    what = f"conv_pool, {sizes.x} * {sizes.filters}, padding {sizes.padding[0]}, windows of {size}"
    moved = nbytes(x, w, bias) + 5 * exact.size
    args = (x, w, *options, bias, "relu", (size, size))
    return Problem(what, args, inner.flops, moved, (exact,), (scale,))


def _apart(problem: Problem) -> Callable[[], Any]:
    x, w, *options, bias, _, size = problem.args
    conv, pool = kernels.find("conv", "cpu"), kernels.find("max_pool", "cpu")
    along = bias.reshape(-1, 1, 1)

    def run() -> Any:
        y = conv(x, w, *options)
        return pool(np.maximum(y + along, 0), size, size, (0, 0), (1, 1), False)[0]

    return run


def _torch(problem: Problem) -> list[Contender]:
    library = torch()
    if library is None:
        return []
    x, w, _, padding, _, _, bias, _, size = problem.args
    last = library.channels_last
    a, b = (library.from_numpy(np.ascontiguousarray(t)).to(memory_format=last) for t in (x, w))
    shift, pads = library.from_numpy(bias), [p[0] for p in padding]
    f = library.nn.functional

    def run() -> Any:
        return f.max_pool2d(f.relu(f.conv2d(a, b, shift, 1, pads)), size, return_indices=True)[0]

    return [Contender("torch last", "PyTorch, channels-last", run, 8, lambda y: (y.numpy(),))]
