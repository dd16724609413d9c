"""A dense layer and its gradients, as plain loops: the definition."""

import math
from typing import Any

import numpy as np

__all__ = ["linear", "linear_gradient"]


def linear(x: Any, w: Any, bias: Any, activation: str | None) -> Any:
    """A dense layer, with sums in float64.

    x : (M, K), w : (N, K), bias : (N,) or None -> (M, N) of x's dtype
    activation : "relu", "sigmoid", "tanh" or None

        y[m, n] = f(sum over k of x[m, k] * w[n, k], plus bias[n])
    """
    (m, depth), n = x.shape, w.shape[0]
    y = np.empty((m, n))
    for i in range(m):
        for j in range(n):
            total = 0.0 if bias is None else float(bias[j])
            for k in range(depth):
                total += float(x[i, k]) * float(w[j, k])
            y[i, j] = _activated(total, activation)
    return y.astype(x.dtype)


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
    """Gradients of x, w and bias from g (M, N), that of the layer's result; None if not asked for.

    out : the result (M, N), from which f' is known; not looked at without an activation

        s[m, n] = g[m, n] * f'(…), where f' = 1 unless there is an f:
            relu      0 where out <= 0, else 1
            sigmoid   out (1 - out)
            tanh      1 - out²
        gx[m, k] = sum over n of s[m, n] * w[n, k]
        gw[n, k] = sum over m of s[m, n] * x[m, k]
        gbias[n] = sum over m of s[m, n]
    """
    (m, n), depth = g.shape, x.shape[1]
    gx, gw, gbias = np.zeros((m, depth)), np.zeros((n, depth)), np.zeros(n)
    for i in range(m):
        for j in range(n):
            s = float(g[i, j])
            if activation is not None:
                s = _scaled(s, float(out[i, j]), activation)
            gbias[j] += s
            for k in range(depth):
                gx[i, k] += s * float(w[j, k])
                gw[j, k] += s * float(x[i, k])
    found = []
    for wanted, a in ((of_x, gx), (of_w, gw), (of_bias, gbias)):
        found.append(a.astype(g.dtype) if wanted else None)
    return found[0], found[1], found[2]


def _activated(a: float, activation: str | None) -> float:
    if activation is None:
        return a
    if activation == "relu":
        return 0.0 if a <= 0 else a
    if activation == "tanh":
        return math.tanh(a)
    if a < 0:
        return math.exp(a) / (1 + math.exp(a))
    return 1 / (1 + math.exp(-a))


def _scaled(g: float, out: float, activation: str) -> float:
    if activation == "relu":
        return 0.0 if out <= 0 else g
    return g * (out * (1 - out)) if activation == "sigmoid" else g * (1 - out * out)
