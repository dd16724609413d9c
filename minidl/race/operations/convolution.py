"""Two-dimensional convolution, its gradients, and every algorithm that the plan knows."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import minidl_kernels as kernels
from minidl.errors import ShapeError
from minidl.race.contest import Contender, Problem, Race
from minidl.race.entrants import LOOPS_WAY, cut, magnitude, nbytes, numbers, rooms, torch
from minidl_kernels import plans
from minidl_kernels.generic import convolution as generic

__all__ = ["Shapes", "checked", "conv2d", "of_tiles", "problem", "smaller"]

PASSES = ("forward", "input", "weight")
KERNELS = {"forward": "conv", "input": "conv_input", "weight": "conv_weight"}
HOW = {
    "im2col": "windows copied into a matrix, one product",
    "direct": "register tiles straight from the image",
    "depthwise": "sums of shifted rows, in registers",
    "spread": "a product for each window, added up",
    "winograd": "F(4x4, 3x3): 36 products for 144",
}

TILES = 50  # Winograd's bound, of the scale of its tiles: measured 24 with one channel, 8 with many

Pair = tuple[int, int]


class Shapes(NamedTuple):
    """Sizes of a convolution: x (n, c, h, w), filters (o, c / groups, kh, kw), options."""

    n: int
    c: int
    h: int
    w: int
    o: int
    kh: int
    kw: int
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int

    @property
    def x(self) -> tuple[int, ...]:
        """Of the image."""
        return self[:4]

    @property
    def filters(self) -> tuple[int, ...]:
        """Of the weights."""
        return self.o, self.c // self.groups, self.kh, self.kw

    @property
    def out(self) -> tuple[int, ...]:
        """Of the result."""
        return self.n, self.o, *generic.output_sizes(self[2:4], self[5:7], *self.options[:3])

    @property
    def options(self) -> tuple[Any, ...]:
        """What kernels take: stride, padding in pairs, dilation, groups."""
        return self.stride, tuple((p, p) for p in self.padding), self.dilation, self.groups

    @property
    def terms(self) -> int:
        """Products in the sum that defines it, those in the padding included."""
        return math.prod(self.out) * math.prod(self.filters[1:])


def conv2d(
    shape: tuple[int, ...] = (8, 64, 56, 56),
    weight: tuple[int, ...] | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    passes: tuple[str, ...] = PASSES[:1],
) -> list[Race]:
    """Convolution of an image (N, C, H, W) with filters (O, C / groups, KH, KW).

    weight : C filters of 3 x 3 unless given; stride, padding, dilation : an int, or two
    """
    sizes = checked(shape, weight, stride, padding, dilation, groups)
    return [_race(sizes, kind) for kind in passes]


def checked(
    shape: Any, weight: Any, stride: Any, padding: Any, dilation: Any, groups: Any
) -> Shapes:
    """The sizes of a convolution. Raises ShapeError that says what does not fit."""
    if len(shape) != 4:
        raise ShapeError(f"race conv2d: shape is {shape}, expected N,C,H,W")
    n, c, h, w = shape
    if groups < 1 or c % groups:
        raise ShapeError(f"race conv2d: {c} channels do not divide into {groups} groups")
    weight = weight or (c, c // groups, 3, 3)
    if len(weight) != 4 or weight[1] != c // groups or weight[0] % groups:
        raise ShapeError(
            f"race conv2d: weight is {weight}, expected (O, {c // groups}, KH, KW) for {c} "
            f"channels in {groups} groups, with O a multiple of {groups}"
        )
    (kh, kw), o = weight[2:], weight[0]
    steps, pads = _pair("stride", stride, 1), _pair("padding", padding, 0)
    sizes = Shapes(n, c, h, w, o, kh, kw, steps, pads, _pair("dilation", dilation, 1), groups)
    if min(*shape, *weight, *sizes.out) < 1:
        raise ShapeError(
            f"race conv2d: {shape} with weight {weight} gives {sizes.out}; every size must be 1 "
            "at least (more padding, or a larger image)"
        )
    return sizes


def _pair(name: str, value: Any, low: int) -> Pair:
    """An int, or two, as two."""
    pair = (value,) if isinstance(value, int) else tuple(value)
    if len(pair) not in (1, 2) or min(pair) < low:
        raise ShapeError(f"race conv2d: {name} is {value}, expected one or two from {low}")
    return pair[0], pair[-1]


def _race(sizes: Shapes, kind: str) -> Race:
    whole = problem(sizes, kind)
    small = smaller(sizes)
    part = whole if small == sizes else problem(small, kind)
    found = rooms(KERNELS[kind], whole, part, [LOOPS_WAY])
    options = (sizes.x, sizes.filters, *sizes.options, np.dtype("float32"))
    chosen, remarks = plans.choose(kind, *options), []
    for name in dict.fromkeys([*plans.ALGORITHMS, chosen.algorithm]):
        force = name if name in plans.ALGORITHMS else None  # the plan's own for such shapes
        with plans.algorithm(force):
            forced = plans.choose(kind, *options)
        if forced.algorithm != name:
            remarks.append(f"{name}: not for this shape ({forced.reason})")
            continue
        found.append(
            Contender(
                name, HOW.get(name, ""), _forced(force, KERNELS[kind], whole.args),
                TILES if name == "winograd" else 4,
                more=0 if forced.shallow else _more(name, sizes, kind),  # in registers
                scale=(of_tiles(sizes, kind),) if name == "winograd" else None,
            )
        )  # fmt: skip
    remarks.insert(0, f"minidl chooses {chosen.algorithm}: {chosen.reason}")
    return Race(whole, _sorted(found) + _torch(whole, sizes, kind), remarks)


def _sorted(found: list[Contender]) -> list[Contender]:
    """What computes elsewhere at the end."""
    return sorted(found, key=lambda c: not c.here)


def _forced(name: str | None, kernel: str, args: tuple[Any, ...]) -> Callable[[], Any]:
    function = kernels.find(kernel, "cpu")

    def run() -> Any:
        with plans.algorithm(name):
            return function(*args)

    return run


def problem(sizes: Shapes, kind: str) -> Problem:
    """The convolution, or one of its gradients, of numbers that are always the same."""
    n, c, h, w = sizes.x
    image, filters, out = numbers((n, h, w, c), sizes.filters, (n, *sizes.out[2:], sizes.o))
    x, g = np.moveaxis(image, -1, 1), np.moveaxis(out, -1, 1)  # channels-last in memory
    first, second, shape = {
        "forward": (x, filters, ()),
        "input": (g, filters, (sizes.x,)),
        "weight": (g, x, (sizes.filters,)),
    }[kind]
    function = getattr(generic, KERNELS[kind])
    rest = (*shape, *sizes.options)
    exact = function(first.astype(np.float64), second.astype(np.float64), *rest)
    scale = function(magnitude(first), magnitude(second), *rest)
    what = f"conv2d {kind}, {sizes.x} * {sizes.filters}"
    for name, usual in (("stride", 1), ("padding", 0), ("dilation", 1)):
        down, across = getattr(sizes, name)
        if (down, across) != (usual, usual):
            what += f", {name} {across if across == down else (down, across)}"
    if sizes.groups > 1:
        what += f", groups {sizes.groups}"
    moved = nbytes(x, filters, g)
    return Problem(what, (first, second, *rest), 2 * sizes.terms, moved, (exact,), (scale,))


def smaller(sizes: Shapes) -> Shapes:
    """The same with fewer images, channels and pixels, for plain loops."""
    taps = tuple(d * (k - 1) + 1 for d, k in zip(sizes.dilation, sizes[5:7], strict=True))
    groups = sizes.groups

    def resized(n: int, h: int, w: int, c: int, o: int) -> Shapes:
        return sizes._replace(n=n, h=h, w=w, c=c * groups, o=o * groups)

    now = {"n": sizes.n, "h": sizes.h, "w": sizes.w, "c": sizes.c // groups, "o": sizes.o // groups}
    least = {"h": min(sizes.h, taps[0] + 2), "w": min(sizes.w, taps[1] + 2)}
    return resized(**cut(now, least, lambda **k: resized(**k).terms))


def of_tiles(sizes: Shapes, kind: str) -> Any:
    """The scale of Winograd's errors: all inputs of a tile enter every one of its outputs.

    max of |x| over the 6 x 6 inputs of a tile, times the sum of |w|, added up over channels
    """
    n, c, h, w = sizes.x
    image, filters, out = numbers((n, h, w, c), sizes.filters, (n, *sizes.out[2:], sizes.o))
    x, g = np.moveaxis(image, -1, 1), np.moveaxis(out, -1, 1)
    weights = magnitude(filters).sum((2, 3))
    if kind == "forward":
        found = np.einsum("ncij,oc->noij", _largest(x, sizes.padding, sizes.out[2:]), weights)
        return _spread(found, sizes.out[2:])
    if kind == "input":
        around = (2 - sizes.padding[0], 2 - sizes.padding[1])
        found = np.einsum("noij,oc->ncij", _largest(g, around, (h, w)), weights)
        return _spread(found, (h, w))
    p, q = sizes.out[2:]
    tiles = np.zeros((n, sizes.o, -(-p // 4) * 4, -(-q // 4) * 4))
    tiles[:, :, :p, :q] = magnitude(g)
    sums = tiles.reshape(n, sizes.o, tiles.shape[2] // 4, 4, tiles.shape[3] // 4, 4).sum((3, 5))
    most = _largest(x, sizes.padding, (p, q))
    return np.einsum("ncij,noij->oc", most, sums)[:, :, None, None]


def _largest(x: Any, padding: Pair, out: tuple[int, ...]) -> Any:
    """The largest |x| under each tile of 4 x 4 outputs, from 6 x 6 inputs: (N, C, tiles)."""
    (n, c, h, w), (up, left) = x.shape, padding
    down, across = -(-out[0] // 4), -(-out[1] // 4)
    wide = np.zeros((n, c, 4 * down + 2, 4 * across + 2))
    rows, columns = min(h + up, wide.shape[2]), min(w + left, wide.shape[3])
    wide[:, :, max(up, 0) : rows, max(left, 0) : columns] = magnitude(x)[
        :, :, max(-up, 0) : rows - up, max(-left, 0) : columns - left
    ]
    windows = np.lib.stride_tricks.sliding_window_view(wide, (6, 6), (2, 3))[:, :, ::4, ::4]
    return windows.max((4, 5))


def _spread(tiles: Any, out: tuple[int, ...]) -> Any:
    """A number of each tile for each of its outputs."""
    return tiles.repeat(4, axis=2).repeat(4, axis=3)[:, :, : out[0], : out[1]]


def _more(name: str, sizes: Shapes, kind: str) -> float:
    """Bytes that an algorithm writes and reads again beside arguments and results."""
    n, _, p, q = sizes.x if kind == "input" else sizes.out
    if name == "im2col":
        taps = sizes.kh * sizes.kw
        return 8 * math.prod(sizes.out) // sizes.o * sizes.c * taps if taps > 1 else 0
    if name == "winograd":
        tiles = n * -(-p // 4) * -(-q // 4)
        return 8 * 36 * (tiles * (sizes.c + sizes.o) + sizes.c * sizes.o)
    return 0


def _torch(problem: Problem, sizes: Shapes, kind: str) -> list[Contender]:
    library = torch()
    if library is None:
        return []
    first, second, *_ = problem.args
    found = []
    for name, how, layout in (
        ("torch", "PyTorch, NCHW in memory", library.contiguous_format),
        ("torch last", "PyTorch, channels-last", library.channels_last),
    ):
        a, b = (
            library.from_numpy(np.ascontiguousarray(t)).contiguous(memory_format=layout)
            for t in (first, second)
        )
        run = _torch_call(library, sizes, kind, a, b)
        found.append(Contender(name, how, run, 8, lambda result: (result.numpy(),)))
    return found


def _torch_call(library: Any, sizes: Shapes, kind: str, a: Any, b: Any) -> Callable[[], Any]:
    options = (sizes.stride, sizes.padding, sizes.dilation)
    if kind == "forward":
        convolve = library.nn.functional.conv2d
        return lambda: convolve(a, b, None, *options, sizes.groups)
    back = library.ops.aten.convolution_backward
    other = library.empty(1).expand(sizes.x if kind == "input" else sizes.filters)
    x, w = (other, b) if kind == "input" else (b, other)
    rest = ([0], *options, False, [0, 0], sizes.groups, [kind == "input", kind == "weight", False])
    return lambda: back(a, x, w, *rest)[0 if kind == "input" else 1]
