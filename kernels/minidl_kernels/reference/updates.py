"""Steps of the optimisers, number by number, in the arithmetic and the order of PyTorch."""

import math
from typing import Any

import numpy as np

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
    """Stochastic gradient descent: b = μ b + (1 - τ) g, p = p - lr b; writes to p and buf.

    p, g : parameter and gradient, of one shape and dtype; g is not changed
    buf : the momentum b, or None where `momentum` is 0
    momentum, dampening : μ, τ; nesterov : the step is g + μ b instead of b
    weight_decay : λ, g becomes g + λ p
    first : no momentum yet, so b becomes g itself
    """
    for i in np.ndindex(p.shape):
        step = g[i] + weight_decay * p[i] if weight_decay else g[i]
        if momentum:
            buf[i] = step if first else momentum * buf[i] + (1 - dampening) * step
            step = step + momentum * buf[i] if nesterov else buf[i]
        p[i] = p[i] - lr * step


def sgd_all_(ps: list[Any], gs: list[Any], bufs: list[Any] | None, *options: Any) -> None:
    """`sgd_` of several parameters with the same options; bufs : None where `momentum` is 0."""
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
    """Adam: m = β1 m + (1-β1) g, v = β2 v + (1-β2) g², p = p - lr m̂ / (√v̂ + ε).

    m̂ = m / (1-β1^t), v̂ = v / (1-β2^t). Writes to p, m, v and vmax.

    p, g : parameter and gradient, of one shape and dtype; g is not changed
    m, v : the running means; vmax : the largest v so far (amsgrad), or None
    step : t, 1 for the first
    wd : λ, g becomes g + λ p; decoupled (AdamW): p becomes (1 - lr λ) p before the step instead
    """
    root, rate = math.sqrt(1 - b2**step), lr / (1 - b1**step)
    for i in np.ndindex(p.shape):
        slope = g[i]
        if wd and decoupled:
            p[i] = p[i] * (1 - lr * wd)
        elif wd:
            slope = slope + wd * p[i]
        if b1 > 0.5:  # of two equal formulas the one that loses less
            m[i] = m[i] + (1 - b1) * (slope - m[i])
        else:
            m[i] = slope - b1 * (slope - m[i])
        v[i] = b2 * v[i] + (1 - b2) * slope * slope
        spread = v[i]
        if vmax is not None:
            vmax[i] = spread = np.maximum(vmax[i], v[i])
        p[i] = p[i] - rate * m[i] / (np.sqrt(spread) / root + eps)


def adam_all_(
    ps: list[Any],
    gs: list[Any],
    ms: list[Any],
    vs: list[Any],
    vmaxs: list[Any] | None,
    *options: Any,
) -> None:
    """`adam_` of several parameters with the same options, at the same step."""
    for i, (p, g, m, v) in enumerate(zip(ps, gs, ms, vs, strict=True)):
        adam_(p, g, m, v, None if vmaxs is None else vmaxs[i], *options)


@np.errstate(all="ignore")
def square_sum(xs: list[Any]) -> Any:
    """The sum of the squares of all numbers in several arrays: an array () of float64.

    A kernel may sum parts of an array in its own dtype, and is infinite where that is.
    """
    total = np.zeros(())
    for x in xs:
        for i in np.ndindex(x.shape):
            total = total + np.float64(x[i]) ** 2
    return np.asarray(total)
