"""How a compiled kernel is started: the threads of `team` share its tasks.

A kernel is a function `kernel(task, room, args)` of three integers. `room` is the address of memory
to work in, which belongs to the thread alone; `args` that of a record with everything else: sizes,
strides, switches and the addresses of arrays.

    ARGS = np.dtype([("x", "p"), ("y", "p"), ("n", "p")])
    arguments = record(ARGS)                       # turns an address into the record

    def double(task, room, args):
        p = arguments(args)
        x, y = floats(p.x), floats(p.y)            # float32 memory at an address
        for i in range(task * 8, min(task * 8 + 8, p.n)):
            y[i] = 2 * x[i]

    launch(double, tasks, packed, serial=False)    # task = 0, 1, …, tasks - 1, on all threads

Why not Numba's `parallel=True`: it makes compiling slow (a kernel and all it calls are compiled
four times), and each type of array another kernel. This way the loop over tasks is compiled once
for all kernels, which it calls by their address; a kernel is compiled once, in a quarter of the
time (measured: 4 s instead of 15 for the direct convolution), and serial use costs nothing more.

Which thread does which task is not fixed: a kernel must write for each task to places of its own.
"""

import struct
import threading
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import types
from numba.core import cgutils

from minidl_kernels.cpu import team, threads
from minidl_kernels.cpu.compiling import c_function
from minidl_kernels.cpu.emit import intrinsic
from minidl_kernels.cpu.memory import address, empty

__all__ = [
    "doubles",
    "floats",
    "integers",
    "launch",
    "longs",
    "octets",
    "places",
    "record",
    "words",
]

_compiled: dict[Any, Any] = {}


def launch(kernel: Callable[..., None], tasks: int, args: Any, room: int, serial: bool) -> None:
    """Run kernel(task, room, args) for every task in range(tasks); compiled at its first use.

    args : the record, an array of one element, or its fields, a tuple of at most 64 integers; the
        caller keeps the arrays alive whose addresses are in it
    room : how many float32 numbers each thread needs to work in
    serial : stay on this thread, where the work is too little to be shared
    """
    compiled = _compiled.get(kernel) or _compile(kernel)
    here = _here.desk
    mine = here.room
    if mine.size < room:
        mine = _Room(room)
        if mine.memory.size <= KEPT:
            here.room = mine
    if isinstance(args, tuple):
        _PACK[len(args)](here.fields, 0, *args)
        place = here.address
    else:
        place = address(args)
    run = team.alone if serial or tasks == 1 or threads.count == 1 else team.together
    run(compiled.address, tasks, mine.address, mine.step, place)


def _compile(kernel: Callable[..., None]) -> Any:
    signature = types.void(types.intp, types.intp, types.intp)
    compiled = c_function(kernel, "task", signature)
    _compiled[kernel] = compiled
    return compiled


def compile_loops() -> None:
    """Compile the loops over tasks, for one thread and for several, ahead of the first launch."""
    team.compile_loops((_compiled.get(_nothing) or _compile(_nothing)).address)


def _nothing(task: int, room: int, args: int) -> None:
    """A kernel without work."""


def cached_in() -> list[str | None]:
    """Where each kernel launched so far is kept on disk; None for one that cannot be."""
    return [kernel._cache.cache_path for kernel in _compiled.values()]


class _Room:
    """Memory to work in for each thread of a launch."""

    def __init__(self, size: int) -> None:
        size = -(-size // 1024) * 1024 + 80  # rows that do not begin at the same place in a cache
        room = empty((threads.most(), size), np.float32)
        self.memory, self.size, self.step = room, size, room.strides[0]
        self.address = -(-address(room) // 64) * 64  # a line of a cache; there is room behind


class _Desk:
    """What launches of one Python thread use again and again.

    room : that of the last launch, for fresh memory costs a page fault for every 4 kB
    fields, address : where the fields of a record are written; they serve one launch
    """

    def __init__(self) -> None:
        self.room = _Room(0)
        self.fields: Any = np.zeros(MOST, np.intp)
        self.address = address(self.fields)


class _Here(threading.local):
    def __init__(self) -> None:
        self.desk = _Desk()


MOST = 64  # fields of a record that is given as a tuple
_PACK = [struct.Struct(f"{count}n").pack_into for count in range(MOST + 1)]
_here = _Here()
KEPT = 16 << 20  # numbers of room, for all threads, that are kept for the next call


def _memory(dtype: Any) -> Any:
    """Make an intrinsic that turns an address into contiguous memory of a dtype, of any size."""
    kind = types.Array(dtype, 1, "C")

    @intrinsic
    def at(typing: Any, address: Any) -> Any:
        def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
            array = context.make_array(kind)(context, b)
            item = context.get_data_type(dtype)
            size = context.get_constant(types.intp, np.iinfo(np.intp).max // 16)
            step = context.get_constant(types.intp, dtype.bitwidth // 8)
            context.populate_array(
                array,
                data=b.inttoptr(args[0], item.as_pointer()),
                shape=cgutils.pack_array(b, [size]),
                strides=cgutils.pack_array(b, [step]),
                itemsize=step,
                meminfo=None,
            )
            return array._getvalue()

        return kind(types.intp), generate

    return at


floats = _memory(types.float32)
doubles = _memory(types.float64)
places = _memory(types.int32)
words = _memory(types.uint32)
longs = _memory(types.uint64)
integers = _memory(types.intp)
octets = _memory(types.uint8)


def record(dtype: Any) -> Any:
    """Make the function that turns the address of a record, in compiled code, into the record."""
    kind = numba.from_dtype(np.dtype(dtype, align=True))

    @intrinsic
    def at(typing: Any, address: Any) -> Any:
        def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
            return b.inttoptr(args[0], context.get_value_type(kind))

        return kind(types.intp), generate

    return at
