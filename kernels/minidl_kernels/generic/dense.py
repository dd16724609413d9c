"""A dense layer from the products of the library of the arrays: BLAS for NumPy, cuBLAS for CuPy."""

from typing import Any

import numpy as np

from minidl_kernels.generic.arrays import array_module, wide

__all__ = ["linear", "linear_gradient"]


@np.errstate(all="ignore")
def linear(x: Any, w: Any, bias: Any, activation: str | None) -> Any:
    """See `minidl_kernels.reference.dense.linear`, the definition."""
    dtype = wide(x.dtype)
    y = x.astype(dtype, copy=False) @ w.astype(dtype, copy=False).T
    if bias is not None:
        y += bias
    if activation is not None:
        y = _activated(y, activation)
    return y.astype(x.dtype, copy=False)


@np.errstate(all="ignore")
def linear_gradient(
    g: Any,
    x: Any,
    w: Any,
    out: Any,
    activation: str | None,
    of_x: bool = True,
    of_w: bool = True,
    of_bias: bool = True,
) -> tuple[Any, Any, Any]:
    """See `minidl_kernels.reference.dense.linear_gradient`, the definition."""
    kept, dtype = g.dtype, wide(g.dtype)
    g, x, w = (a.astype(dtype, copy=False) for a in (g, x, w))
    if activation is not None:
        g = _scaled(g, out.astype(dtype, copy=False), activation)
    gx = (g @ w).astype(kept, copy=False) if of_x else None
    gw = (g.T @ x).astype(kept, copy=False) if of_w else None
    gbias = g.sum(axis=0).astype(kept, copy=False) if of_bias else None
    return gx, gw, gbias


def _activated(y: Any, activation: str) -> Any:
    xp = array_module(y)
    if activation == "relu":
        return xp.maximum(y, 0)
    if activation == "tanh":
        return xp.tanh(y)
    small = xp.exp(-xp.absolute(y))  # at most 1: it cannot overflow
    return xp.where(y < 0, small, 1) / (1 + small)


def _scaled(g: Any, out: Any, activation: str) -> Any:
    if activation == "relu":
        return array_module(g).where(out <= 0, 0, g)
    return g * (out * (1 - out)) if activation == "sigmoid" else g * (1 - out * out)
