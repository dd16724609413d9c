"""What ops of numbers are, written apart from minidl: number by number, or in NumPy's float64."""

import math
from typing import Any

import numpy as np


def each(function: Any) -> Any:
    """A function of Python numbers, for every element of arrays that broadcast."""
    return lambda *arrays: np.vectorize(function, otypes=[float])(*arrays)


def over(dim: Any) -> Any:
    """An axis, or axes, as NumPy takes them."""
    return tuple(dim) if isinstance(dim, list) else dim


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def normal(x: float) -> float:
    return math.erfc(-x / math.sqrt(2)) / 2


def clamp(x: Any, min: Any = None, max: Any = None) -> Any:
    low = x if min is None else np.where(x < min, min, x)
    return low if max is None else np.where(low > max, max, low)


def elu(x: float, alpha: float = 1.0, beta: float = 1.0) -> float:
    return x if x > 0 else alpha * math.expm1(x / beta)


def rounded(x: Any, decimals: int = 0) -> Any:
    if np.asarray(x).dtype.kind != "f":
        return x
    return each(lambda v: float(round(v, decimals)))(x)


def log_sum(x: Any, dim: Any, keepdim: bool = False) -> Any:
    largest = x.max(axis=over(dim), keepdims=True, initial=-math.inf) if x.size else 0.0
    total = np.exp(x - largest).sum(axis=over(dim), keepdims=True)
    with np.errstate(divide="ignore"):
        out = np.log(total) + largest
    return out if keepdim else out.reshape(np.sum(x, axis=over(dim)).shape)


def spread(
    x: Any,
    dim: Any = None,
    unbiased: Any = True,
    keepdim: Any = False,
    correction: Any = None,
) -> Any:
    less = float(unbiased) if correction is None else correction
    mean = x.mean(axis=over(dim), keepdims=True)
    squares = ((x - mean) ** 2).sum(axis=over(dim), keepdims=keepdim)
    with np.errstate(divide="ignore"):
        return squares / max(x.size / mean.size - less, 0.0)


def power_norm(x: Any, p: Any = "fro", dim: Any = None, keepdim: bool = False) -> Any:
    how = {"axis": over(dim), "keepdims": keepdim}
    size = np.abs(x)
    if p in (math.inf, -math.inf):
        return (size.max if p > 0 else size.min)(**how)
    if p == 0:
        return (size > 0).sum(**how).astype(float)
    p = 2 if p == "fro" else p
    return (size**p).sum(**how) ** (1 / p)


def running(step: Any, a: Any, dim: int) -> Any:
    """y_i = step(y_(i-1), a_i) along an axis, beginning with a_0."""
    if not a.ndim:
        return a
    out = np.moveaxis(np.array(a), dim, 0)
    for i in range(1, len(out)):
        out[i] = step(out[i - 1], out[i])
    return np.moveaxis(out, 0, dim)


def shifted(x: Any, by: int, dim: int, fill: float = 0.0) -> Any:
    rows = np.moveaxis(x, dim, 0)
    out = [rows[i - by] if 0 <= i - by < len(rows) else np.full_like(rows[0], fill)
           for i in range(len(rows))]  # fmt: skip
    return np.moveaxis(np.array(out), 0, dim)


def recurrence(a: Any, b: Any, dim: int) -> Any:
    a, b = np.moveaxis(a, dim, 0), np.moveaxis(b, dim, 0)
    out = np.zeros_like(b)
    for i in range(len(b)):
        out[i] = b[i] + (a[i] * out[i - 1] if i else 0)
    return np.moveaxis(out, 0, dim)


def softmax(x: Any, dim: int) -> Any:
    return np.exp(x - log_sum(x, dim, True)) if x.ndim else np.ones(())


def log_softmax(x: Any, dim: int) -> Any:
    return x - log_sum(x, dim, True) if x.ndim else np.zeros(())


def glu(x: Any, dim: int = -1) -> Any:
    a, b = np.split(x, 2, dim)
    return a * each(sigmoid)(b)


def prelu(x: Any, weight: Any) -> Any:
    if weight.size > 1:
        weight = weight.reshape(-1, *[1] * (x.ndim - 2))
    return np.where(x > 0, x, weight.reshape(()) * x if weight.size == 1 else weight * x)


def summed(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    return np.sum(x, axis=over(dim), keepdims=keepdim)


def chosen(name: str) -> Any:
    return lambda x, dim=None, keepdim=False: getattr(np, name)(x, axis=over(dim), keepdims=keepdim)


SELU = 1.6732632423543772, 1.0507009873554805


def gelu(x: Any, approximate: str = "none") -> Any:
    return gelu_tanh(x) if approximate == "tanh" else each(lambda v: v * normal(v))(x)


def gelu_tanh(x: Any) -> Any:
    inner = lambda v: math.sqrt(2 / math.pi) * (v + 0.044715 * v * v * v)  # noqa: E731
    return each(lambda v: v * sigmoid(2 * inner(v)))(x)


DEFINITIONS = {
    "add": lambda x, y: np.add(x, y),
    "sub": lambda x, y: np.subtract(x, y),
    "mul": lambda x, y: np.multiply(x, y),
    "div": each(lambda x, y: x / y),
    "neg": lambda x: 0 - x,
    "reciprocal": each(lambda x: 1 / x),
    "floor_divide": each(lambda x, y: float(x // y)),
    "remainder": each(lambda x, y: x - y * math.floor(x / y)),
    "pow": each(lambda x, y: math.inf if x == 0 > y else float(x) ** float(y)),
    "square": lambda x: np.multiply(x, x, dtype=None if x.dtype.kind == "f" else "int64"),
    "where": lambda condition, x, y: np.where(condition, x, y),
    "masked_fill": lambda x, mask, value: np.where(mask, value, x),
    "maximum": lambda x, y: np.where(np.greater(x, y), x, y),
    "minimum": lambda x, y: np.where(np.less(x, y), x, y),
    "clamp": clamp,
    "clamp_min": lambda x, min: clamp(x, min),
    "clamp_max": lambda x, max: clamp(x, None, max),
    "abs": lambda x: np.where(x < 0, -x, x),
    "sign": lambda x: (np.greater(x, 0).astype(int) - np.less(x, 0)).astype(x.dtype),
    "lerp": lambda x, end, weight: x + weight * (end - x),
    "zeros_like": lambda x: 0 * x,
    "sqrt": each(math.sqrt),
    "rsqrt": each(lambda x: 1 / math.sqrt(x)),
    "exp": each(math.exp),
    "exp2": each(lambda x: 2.0**x),
    "expm1": each(math.expm1),
    "log": each(math.log),
    "log2": each(math.log2),
    "log10": each(math.log10),
    "log1p": each(math.log1p),
    "logaddexp": each(lambda x, y: max(x, y) + math.log1p(math.exp(-abs(x - y)))),
    "erf": each(math.erf),
    "ndtr": each(normal),
    "sin": each(math.sin),
    "cos": each(math.cos),
    "tan": each(math.tan),
    "asin": each(math.asin),
    "acos": each(math.acos),
    "atan": each(math.atan),
    "atan2": each(math.atan2),
    "sinh": each(math.sinh),
    "cosh": each(math.cosh),
    "tanh": each(math.tanh),
    "asinh": each(math.asinh),
    "acosh": each(math.acosh),
    "atanh": each(math.atanh),
    "ceil": each(math.ceil),
    "floor": each(math.floor),
    "trunc": each(math.trunc),
    "round": rounded,
    "relu": lambda x: clamp(x, 0),
    "hardtanh": lambda x, min_val=-1, max_val=1: clamp(x, min_val, max_val),
    "relu6": lambda x: clamp(x, 0, 6),
    "leaky_relu": lambda x, negative_slope=0.01: np.where(x > 0, x, negative_slope * x),
    "prelu": prelu,
    "hardsigmoid": lambda x: clamp(x + 3, 0, 6) / 6,
    "hardswish": lambda x: x * clamp(x + 3, 0, 6) / 6,
    "softshrink": lambda x, lambd=0.5: np.sign(x) * clamp(np.abs(x) - lambd, 0),
    "hardshrink": lambda x, lambd=0.5: np.where(np.abs(x) > lambd, x, 0),
    "threshold": lambda x, threshold, value: np.where(x > threshold, x, value),
    "elu": lambda x, alpha=1.0: each(elu)(x, alpha),
    "celu": lambda x, alpha=1.0: each(elu)(x, alpha, alpha),
    "selu": lambda x: SELU[1] * each(elu)(x, SELU[0]),
    "sigmoid": each(sigmoid),
    "logsigmoid": each(lambda x: -softplus(-x)),
    "softplus": lambda x, beta=1.0, threshold=20.0: np.where(
        beta * x > threshold, x, each(softplus)(beta * x) / beta
    ),
    "silu": each(lambda x: x * sigmoid(x)),
    "mish": each(lambda x: x * math.tanh(softplus(x))),
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "softsign": each(lambda x: x / (1 + abs(x))),
    "tanhshrink": each(lambda x: x - math.tanh(x)),
    "glu": glu,
    "softmax": softmax,
    "log_softmax": log_softmax,
    "softmin": lambda x, dim: softmax(-x, dim),
    # ---- comparisons ----
    "eq": lambda x, y: np.equal(x, y),
    "ne": lambda x, y: ~np.equal(x, y),
    "lt": lambda x, y: np.less(x, y),
    "le": lambda x, y: ~np.less(y, x),
    "gt": lambda x, y: np.less(y, x),
    "ge": lambda x, y: ~np.less(x, y),
    "isnan": lambda x: x != x,
    "isinf": lambda x: np.abs(x) == math.inf,
    "isfinite": lambda x: np.abs(x) < math.inf,
    "logical_and": lambda x, y: (x != 0) & (y != 0),
    "logical_or": lambda x, y: (x != 0) | (y != 0),
    "logical_xor": lambda x, y: (x != 0) ^ (y != 0),
    "logical_not": lambda x: x == 0,
    "isclose": lambda x, y, rtol=1e-5, atol=1e-8, equal_nan=False: (
        np.abs(np.subtract(x, y, dtype=float)) <= atol + rtol * np.abs(y.astype(float))
    ),
    # ---- reductions ----
    "sum": summed,
    "nansum": lambda x, dim=None, keepdim=False: summed(np.where(x == x, x, 0), dim, keepdim),
    "mean": lambda x, dim=None, keepdim=False: (
        summed(x, dim, keepdim) / (x.size / summed(x, dim).size)
    ),
    "var": spread,
    "std": lambda *args, **options: spread(*args, **options) ** 0.5,
    "var_mean": lambda x, dim=None, unbiased=True, keepdim=False, correction=None: (
        spread(x, dim, unbiased, keepdim, correction),
        x.mean(axis=over(dim), keepdims=keepdim),
    ),
    "amax": chosen("max"),
    "amin": chosen("min"),
    "logsumexp": log_sum,
    "norm": power_norm,
    "all": lambda x, dim=None, keepdim=False: summed(x == 0, dim, keepdim) == 0,
    "any": lambda x, dim=None, keepdim=False: summed(x != 0, dim, keepdim) > 0,
    "count_nonzero": lambda x, dim=None: summed(x != 0, dim),
    "cumsum": lambda x, dim: running(lambda a, b: a + b, x, dim),
    "cumprod": lambda x, dim: running(lambda a, b: a * b, x, dim),
    "prod": chosen("prod"),
    "shifted": shifted,
    "recurrence": recurrence,
    # ---- what the tape needs itself ----
    "alias": lambda x: x,
    "to_dtype": lambda x, dtype: x.astype(dtype),
    "to_place": lambda x, where, source: x,
    "sum_to": lambda x, shape: np.einsum("kij->j", x).reshape(shape),
    "expand_to": lambda x, shape: x + np.zeros(shape),
}
