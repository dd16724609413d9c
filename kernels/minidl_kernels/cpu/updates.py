"""Steps of the optimisers in compiled code: all parameters in one launch, one pass over memory.

The arithmetic is that of `generic.updates`, operation by operation, in the dtype of the parameter,
and gives the same bits. There each operation is a pass over memory; here a number is read once.

All parameters are cut into pieces of one size, which are the tasks of a launch: many small tensors
and a large one share the threads alike. Where the arrays lie and how they are cut is found out at
the first step and kept as long as they live; at the next steps only the gradients are new.
"""

import functools
import itertools
import math
import operator
import struct
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl_kernels.cpu import threads
from minidl_kernels.cpu.compiling import helper
from minidl_kernels.cpu.launch import doubles, floats, integers, launch, record
from minidl_kernels.cpu.memory import address, flat
from minidl_kernels.cpu.simd import LANES, fma, load, splat
from minidl_kernels.cpu.simd import total as lanes_total
from minidl_kernels.generic import updates as generic

__all__ = ["adam_", "adam_all_", "sgd_", "sgd_all_", "square_sum", "warm_up"]

PIECE = 4096  # numbers in a task: five arrays of them stay in the first cache
MOST = 256  # sets of arrays that are remembered

# What a kernel is told: addresses, how many tensors there are, and the numbers of the formula.
_HEAD = [("arrays", "p"), ("gradients", "p"), ("pieces", "p"), ("count", "p")]
_SGD = ("lr", "momentum", "share", "decay", "nesterov", "first")
_ADAM = ("b1", "b2", "root", "rate", "eps", "kept", "added", "largest")
_sgd_record = record(_HEAD + [(name, "d") for name in _SGD])
_adam_record = record(_HEAD + [(name, "d") for name in _ADAM])


# ---- the arrays of a launch ---------------------------------------------------------------------


class _Plan:
    """The arrays that a step changes, as a launch sees them: where they lie, how they are cut."""

    def __init__(self, lists: Sequence[Sequence[Any]], names: Sequence[str]) -> None:
        params = lists[0]
        self.layouts = [(p.shape, p.strides, p.dtype) for p in params]
        self.wide, self.mask = params[0].dtype == np.float64, params[0].itemsize - 1
        self.pieces, self.serial = _shared(tuple([p.size for p in params]), threads.most())
        self.arrays = np.array([[address(a) for a in arrays] for arrays in lists], np.intp)
        self.starts = frozenset(self.arrays.ravel().tolist())
        self.gradients: Any = np.zeros(len(params), np.intp)
        self.record: Any = np.zeros(len(_HEAD) + len(names))
        self.write = struct.Struct(f"{len(_HEAD)}n{len(names)}d").pack_into
        self.write_gradients = struct.Struct(f"{len(params)}n").pack_into
        known = (self.arrays, self.gradients, self.pieces)
        self.head = (*map(address, known), len(params))
        self.alive: list[Any] = []

    def launch(self, kernels: Any, params: Any, gradients: Any, *numbers: float) -> bool:
        """Run the kernel of the dtype on all pieces; False if a gradient is no array like p."""
        if [(g.shape, g.strides, g.dtype) for g in gradients] != self.layouts:
            both = list(zip(gradients, params, strict=True))
            if any(type(g) is not np.ndarray or g.dtype != p.dtype for g, p in both):
                return False
            gradients = [
                g if (g.shape, g.strides) == (p.shape, p.strides) else _copy(g, p) for g, p in both
            ]
        places = [address(g) for g in gradients]
        askew = functools.reduce(operator.or_, places) & self.mask
        if askew or not self.starts.isdisjoint(places):  # a gradient lies in what is written to
            gradients = [_copy(g, p) for g, p in zip(gradients, params, strict=True)]
            places = [address(g) for g in gradients]
        self.write_gradients(self.gradients, 0, *places)
        self.write(self.record, 0, *self.head, *numbers)
        launch(kernels[self.wide], len(self.pieces), self.record, 0, self.serial)
        return True


@functools.lru_cache(MOST)
def _cut(sizes: tuple[int, ...]) -> tuple[Any, bool]:
    """Pieces of arrays of these sizes: array, start and end; and whether one thread will do."""
    pieces = [
        (i, start, min(start + PIECE, size))
        for i, size in enumerate(sizes)
        for start in range(0, size, PIECE)
    ]
    return np.array(pieces, np.intp).reshape(-1, 3), sum(sizes) < threads.SMALL


def _shared(sizes: tuple[int, ...], shares: int) -> tuple[Any, bool]:
    """The same pieces: those of the first share of all arrays, then of the second, and so on.

    The threads, which take tasks in their order, so keep to the part of each array that they wrote
    as a gradient, in their own cache.
    """
    pieces, serial = _cut(sizes)
    array, start, end = pieces.T
    share = (start + end) * shares // (2 * np.array(sizes, np.intp)[array])
    return np.ascontiguousarray(pieces[np.argsort(share, kind="stable")]), serial


_plans: dict[tuple[Any, ...], _Plan] = {}  # by the identities of the arrays, and gone with them


def _plan(names: Sequence[str], *lists: Sequence[Any]) -> _Plan | None:
    """What a launch must know of the arrays that it changes; None if one launch cannot do it."""
    key = (names, *[id(a) for arrays in lists for a in arrays])
    plan = _plans.get(key)
    if plan is None and _are_fit(lists):
        plan = _Plan(lists, names)
        forget = functools.partial(_forget, key)
        plan.alive = [weakref.ref(a, forget) for arrays in lists for a in arrays]
        if len(_plans) >= MOST:
            _plans.clear()
        _plans[key] = plan
    return plan


def _forget(key: tuple[Any, ...], _: Any) -> None:
    _plans.pop(key, None)


def _are_fit(lists: Sequence[Sequence[Any]]) -> bool:
    """Whether all arrays are of one float dtype, each as its parameter, and none overlaps another.

    A parameter has no gaps, its axes in any order.
    """
    if not lists[0]:
        return False
    dtype, ends = lists[0][0].dtype, []
    if dtype != np.float32 and dtype != np.float64:
        return False
    for arrays in zip(*lists, strict=True):
        p = arrays[0]
        for a in arrays:
            if type(a) is not np.ndarray or a.dtype != dtype or a.shape != p.shape:
                return False
            if a.strides != p.strides or not (a.flags.aligned and a.flags.writeable):
                return False
            ends.append((address(a), address(a) + a.nbytes))
        order = sorted(range(p.ndim), key=lambda axis: -p.strides[axis])
        if not p.transpose(order).flags.c_contiguous:
            return False
    ends.sort()
    return all(end <= start for (_, end), (start, _) in itertools.pairwise(ends))


def _copy(g: Any, p: Any) -> Any:
    """A gradient in the memory order of its parameter."""
    copy = np.empty_like(p)
    copy[...] = g
    return copy


@helper
def _piece(a: Any, task: int) -> tuple[int, int, int]:
    """Which tensor a task belongs to, and from where to where its numbers are."""
    pieces = integers(a.pieces)
    return pieces[3 * task], pieces[3 * task + 1], pieces[3 * task + 2]


@helper
def _place(a: Any, which: int, tensor: int) -> int:
    """The address of one of a tensor's arrays: 0 is the parameter itself."""
    return integers(a.arrays)[which * a.count + tensor]


# ---- SGD ----------------------------------------------------------------------------------------


def sgd_(p: Any, g: Any, buf: Any, *options: Any) -> None:
    """See `minidl_kernels.reference.updates.sgd_`, the definition."""
    if not _sgd([p], [g], None if buf is None else [buf], *options):
        generic.sgd_(p, g, buf, *options)


def sgd_all_(ps: Any, gs: Any, bufs: Any, *options: Any) -> None:
    """See `minidl_kernels.reference.updates.sgd_all_`, the definition."""
    if not _sgd(ps, gs, bufs, *options):
        for i, (p, g) in enumerate(zip(ps, gs, strict=True)):
            sgd_(p, g, None if bufs is None else bufs[i], *options)


def _sgd(
    ps: Any,
    gs: Any,
    bufs: Any,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    first: bool,
) -> bool:
    """Make the step in one launch; False if that cannot be done."""
    plan = _plan(_SGD, ps) if bufs is None else _plan(_SGD, ps, bufs)
    numbers = lr, momentum, 1 - dampening, weight_decay, nesterov, first
    return plan is not None and plan.launch((_sgd32, _sgd64), ps, gs, *numbers)


def _sgd32(task: int, room: int, args: int) -> None:
    a = _sgd_record(args)
    i, start, end = _piece(a, task)
    p, g = floats(_place(a, 0, i)), floats(integers(a.gradients)[i])
    buf = floats(_place(a, 1 if a.momentum != 0 else 0, i))
    _sgd_part(p[start:end], g[start:end], buf[start:end], a)


def _sgd64(task: int, room: int, args: int) -> None:
    a = _sgd_record(args)
    i, start, end = _piece(a, task)
    p, g = doubles(_place(a, 0, i)), doubles(integers(a.gradients)[i])
    buf = doubles(_place(a, 1 if a.momentum != 0 else 0, i))
    _sgd_part(p[start:end], g[start:end], buf[start:end], a)


@helper
def _sgd_part(p: Any, g: Any, buf: Any, a: Any) -> None:
    number = p.dtype.type
    lr, momentum, share, decay = number(a.lr), number(a.momentum), number(a.share), number(a.decay)
    for i in range(p.size):
        step = g[i]
        if a.decay != 0:
            step = step + decay * p[i]
        if a.momentum != 0:
            b = step
            if a.first == 0:
                b = momentum * buf[i] + (step if a.share == 1 else share * step)
            buf[i] = b
            step = step + momentum * b if a.nesterov != 0 else b
        p[i] = p[i] - lr * step


# ---- Adam ---------------------------------------------------------------------------------------


def adam_(p: Any, g: Any, m: Any, v: Any, vmax: Any, *options: Any) -> None:
    """See `minidl_kernels.reference.updates.adam_`, the definition."""
    if not _adam([p], [g], [m], [v], None if vmax is None else [vmax], *options):
        generic.adam_(p, g, m, v, vmax, *options)


def adam_all_(ps: Any, gs: Any, ms: Any, vs: Any, vmaxs: Any, *options: Any) -> None:
    """See `minidl_kernels.reference.updates.adam_all_`, the definition."""
    if not _adam(ps, gs, ms, vs, vmaxs, *options):
        for i, (p, g, m, v) in enumerate(zip(ps, gs, ms, vs, strict=True)):
            adam_(p, g, m, v, None if vmaxs is None else vmaxs[i], *options)


def _adam(
    ps: Any,
    gs: Any,
    ms: Any,
    vs: Any,
    vmaxs: Any,
    step: int,
    lr: float,
    b1: float,
    b2: float,
    eps: float,
    wd: float,
    decoupled: bool,
) -> bool:
    """Make the step in one launch; False if that cannot be done."""
    plan = _plan(_ADAM, ps, ms, vs) if vmaxs is None else _plan(_ADAM, ps, ms, vs, vmaxs)
    root, rate = 1 / math.sqrt(1 - b2**step), lr / (1 - b1**step)
    kept, added = (1 - lr * wd, 0.0) if decoupled else (1.0, wd)
    numbers = b1, b2, root, rate, eps, kept, added, vmaxs is not None
    return plan is not None and plan.launch((_adam32, _adam64), ps, gs, *numbers)


def _adam32(task: int, room: int, args: int) -> None:
    a = _adam_record(args)
    i, start, end = _piece(a, task)
    p, g = floats(_place(a, 0, i)), floats(integers(a.gradients)[i])
    m, v, vmax = floats(_place(a, 1, i)), floats(_place(a, 2, i)), floats(_vmax(a, i))
    _adam_part(p[start:end], g[start:end], m[start:end], v[start:end], vmax[start:end], a)


def _adam64(task: int, room: int, args: int) -> None:
    a = _adam_record(args)
    i, start, end = _piece(a, task)
    p, g = doubles(_place(a, 0, i)), doubles(integers(a.gradients)[i])
    m, v, vmax = doubles(_place(a, 1, i)), doubles(_place(a, 2, i)), doubles(_vmax(a, i))
    _adam_part(p[start:end], g[start:end], m[start:end], v[start:end], vmax[start:end], a)


@helper
def _vmax(a: Any, tensor: int) -> int:
    return _place(a, 3 if a.largest != 0 else 2, tensor)


@helper
def _adam_part(p: Any, g: Any, m: Any, v: Any, vmax: Any, a: Any) -> None:
    number = p.dtype.type
    slow, largest, decays, adds = a.b1 > 0.5, a.largest != 0, a.kept != 1, a.added != 0
    share = number(1 - a.b1 if slow else a.b1)  # of two equal formulas the one that loses less
    b2, rest, root, rate = number(a.b2), number(1 - a.b2), number(a.root), number(a.rate)
    eps, kept, added = number(a.eps), number(a.kept), number(a.added)
    for i in range(p.size):
        x, slope = p[i], g[i]
        if decays:
            x = x * kept
        if adds:
            slope = slope + added * x
        change = (slope - m[i]) * share
        mean = m[i] + change if slow else slope - change
        square = v[i] * b2 + slope * rest * slope
        m[i], v[i] = mean, square
        if largest:
            square = np.maximum(vmax[i], square)
            vmax[i] = square
        p[i] = x - mean / (np.sqrt(square) * root + eps) * rate


# ---- the norm of all gradients ------------------------------------------------------------------

_squares_record = record([("arrays", "p"), ("pieces", "p"), ("sums", "p")])
_STEP = 4 * LANES  # four sums side by side: an addition need not wait for the one before


def square_sum(xs: list[Any]) -> Any:
    """See `minidl_kernels.reference.updates.square_sum`, the definition."""
    if not xs or any(type(x) is not np.ndarray or x.dtype != np.float32 for x in xs):
        return generic.square_sum(xs)
    xs = [x if x.flags.c_contiguous and x.flags.aligned else flat(x)[0] for x in xs]
    pieces, serial = _cut(tuple([x.size for x in xs]))
    places, sums = np.array([address(x) for x in xs], np.intp), np.empty(len(pieces))
    args = address(places), address(pieces), address(sums)
    launch(_square_sums, len(pieces), args, 0, serial)
    return np.asarray(sums.sum())


def _square_sums(task: int, room: int, args: int) -> None:
    a = _squares_record(args)
    i, start, end = _piece(a, task)
    x = floats(integers(a.arrays)[i])
    one = two = three = four = splat(np.float32(0))
    whole = end - (end - start) % _STEP
    for k in range(start, whole, _STEP):
        v, w = load(x, k), load(x, k + LANES)
        one, two = fma(v, v, one), fma(w, w, two)
        v, w = load(x, k + 2 * LANES), load(x, k + 3 * LANES)
        three, four = fma(v, v, three), fma(w, w, four)
    rest = np.float32(0)
    for k in range(whole, end):
        rest += x[k] * x[k]
    doubles(a.sums)[task] = lanes_total((one + two) + (three + four)) + rest


def warm_up(dtype: str) -> None:
    """Call each kernel once."""
    p, g, m, v = (np.zeros(1, dtype) for _ in range(4))
    sgd_(p, g, m, 0.1, 0.9, 0, 0, False, True)
    adam_(p, g, m, v, None, 1, 0.1, 0.9, 0.999, 1e-8, 0, False)
    square_sum([g])
