"""Steps of the optimisers by whole arrays, in place, with one array of room beside them."""

import math
from typing import Any

import numpy as np

from minidl_kernels.generic.arrays import array_module, wide

__all__ = ["adam_", "adam_all_", "sgd_", "sgd_all_", "square_sum"]


@np.errstate(all="ignore")
def sgd_(
    p: Any,
    g: Any,
    buf: Any,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    first: bool,
) -> None:
    """See `minidl_kernels.reference.updates.sgd_`, the definition."""
    if weight_decay:
        g = g + float(weight_decay) * p
    if momentum:
        if first:
            buf[...] = g
        else:
            buf *= float(momentum)
            buf += float(1 - dampening) * g if dampening else g
        g = g + float(momentum) * buf if nesterov else buf
    p -= float(lr) * g


def sgd_all_(ps: list[Any], gs: list[Any], bufs: list[Any] | None, *options: Any) -> None:
    """See `minidl_kernels.reference.updates.sgd_all_`, the definition."""
    for i, (p, g) in enumerate(zip(ps, gs, strict=True)):
        sgd_(p, g, None if bufs is None else bufs[i], *options)


@np.errstate(all="ignore")
def adam_(
    p: Any,
    g: Any,
    m: Any,
    v: Any,
    vmax: Any,
    step: int,
    lr: float,
    b1: float,
    b2: float,
    eps: float,
    wd: float,
    decoupled: bool,
) -> None:
    """See `minidl_kernels.reference.updates.adam_`, the definition."""
    xp = array_module(p)
    lr, b1, b2, eps, wd = float(lr), float(b1), float(b2), float(eps), float(wd)
    if wd and decoupled:
        p *= 1 - lr * wd
    elif wd:
        g = g + wd * p
    room = xp.empty_like(p)
    xp.subtract(g, m, out=room)
    if b1 > 0.5:
        room *= 1 - b1
        m += room
    else:
        room *= b1
        xp.subtract(g, room, out=m)
    xp.multiply(g, 1 - b2, out=room)
    room *= g
    v *= b2
    v += room
    if vmax is not None:
        xp.maximum(vmax, v, out=vmax)
    xp.sqrt(v if vmax is None else vmax, out=room)
    room *= 1 / math.sqrt(1 - b2**step)
    room += eps
    xp.divide(m, room, out=room)
    room *= lr / (1 - b1**step)
    p -= room


def adam_all_(
    ps: list[Any],
    gs: list[Any],
    ms: list[Any],
    vs: list[Any],
    vmaxs: list[Any] | None,
    *options: Any,
) -> None:
    """See `minidl_kernels.reference.updates.adam_all_`, the definition."""
    for i, (p, g, m, v) in enumerate(zip(ps, gs, ms, vs, strict=True)):
        adam_(p, g, m, v, None if vmaxs is None else vmaxs[i], *options)


@np.errstate(all="ignore")
def square_sum(xs: list[Any]) -> Any:
    """See `minidl_kernels.reference.updates.square_sum`, the definition."""
    xp = array_module(xs[0])
    total = xp.zeros((), "float64")
    for x in xs:
        flat = x.astype(wide(x.dtype), copy=False).ravel(order="K")
        if flat.size:
            total = total + xp.einsum("i,i->", flat, flat)  # no room for x * x
    return xp.asarray(total)
