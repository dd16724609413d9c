"""The contenders that stand for every kernel: its rooms, CUDA where there is one, PyTorch.

`rooms` looks into the folders of `minidl_kernels`, so a kernel that is written later races as well.
"""

import importlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

import minidl_kernels as kernels
from minidl.device import cupy
from minidl.errors import DeviceError
from minidl.race.contest import Contender, Problem

__all__ = ["Way", "cut", "magnitude", "nbytes", "numbers", "rooms", "torch"]

BOUND = 4.0  # of sums of products in float32, where the operation says nothing else
LOOPS = 120_000  # terms of a sum that plain loops may take: a fraction of a second


class Way(NamedTuple):
    """A room of the kernels: what is done there and how large its error may be."""

    room: str
    how: str
    bound: float


LOOPS_WAY = Way("reference", "plain loops in Python", 1)


def rooms(
    kernel: str,
    problem: Problem,
    small: Problem,
    ways: Sequence[Way],
    read: Callable[[Any], Sequence[Any]] = lambda result: (result,),
) -> list[Contender]:
    """The kernel as each of its rooms has it, and with CUDA where there is a GPU.

    small : the problem for plain loops, `problem` itself where that is small enough
    ways : what to say of the rooms; a room without the kernel is left out
    """
    found = []
    for way in ways:
        function = _own(kernel, way.room)
        if function is not None:
            slow = way.room == "reference"
            args = (small if slow else problem).args
            name = "loops" if slow else way.room
            contender = Contender(name, way.how, _call(function, args), way.bound, read)
            part = small if slow and small is not problem else None
            found.append(contender._replace(problem=part))
    fast = [way.bound for way in ways if way.room != "reference"]
    return found + list(_cuda(kernel, problem, max(fast, default=BOUND), read))


def _own(kernel: str, room: str) -> Callable[..., Any] | None:
    """The function of a kernel in this very room, None where another room stands in."""
    path = f"minidl_kernels.{room}.{kernels.KERNELS[kernel]}"
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name is None or not path.startswith(error.name):
            raise  # a module that the kernel itself needs is missing
        return None
    function: Callable[..., Any] | None = getattr(module, kernel, None)
    return function


def _call(function: Callable[..., Any], args: Sequence[Any]) -> Callable[[], Any]:
    """The call, on copies of the arguments that are changed in place where its name says so."""
    name = getattr(function, "__name__", "")
    if name.endswith("_"):
        args = [a.copy() if isinstance(a, np.ndarray) else a for a in args]

        def run() -> Any:
            function(*args)
            return args

        return run
    return lambda: function(*args)


def _cuda(
    kernel: str, problem: Problem, bound: float, read: Callable[[Any], Sequence[Any]]
) -> Iterator[Contender]:
    """The kernel on the GPU, its arguments there already; nothing where there is none."""
    try:
        cp = cupy()
    except DeviceError:
        return
    args = [cp.asarray(a) if isinstance(a, np.ndarray) else a for a in problem.args]
    yield Contender(
        "cuda", "CUDA, or CuPy where that is as good", _call(kernels.find(kernel, "cuda"), args),
        bound, lambda result: [cp.asnumpy(r) for r in read(result)],
        cp.cuda.get_current_stream().synchronize, here=False,
    )  # fmt: skip


# ---- PyTorch ------------------------------------------------------------------------------------


def torch() -> Any:
    """PyTorch, or None where it is not installed."""
    try:
        import torch
    except ImportError:
        return None
    return torch


# ---- problems -----------------------------------------------------------------------------------


def numbers(*shapes: Sequence[int], seed: int = 0) -> list[Any]:
    """Normally distributed float32 arrays, always the same."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape, np.float32) for shape in shapes]


def nbytes(*arrays: Any) -> int:
    """Bytes of all arrays together."""
    return sum(a.nbytes for a in arrays)


def magnitude(x: Any) -> Any:
    """|x| in float64, for scales."""
    return np.abs(x).astype(np.float64)


def cut(
    sizes: dict[str, int], least: dict[str, int], cost: Callable[..., float], most: float = LOOPS
) -> dict[str, int]:
    """Halve the largest of the sizes until the cost is small enough, none below its least."""
    sizes = dict(sizes)
    while cost(**sizes) > most:
        room = {k: v / least.get(k, 1) for k, v in sizes.items() if v > least.get(k, 1)}
        if not room:
            break
        name = max(room, key=lambda k: (sizes[k], k))
        sizes[name] = max(least.get(name, 1), math.ceil(sizes[name] / 2))
    return sizes
