"""Activations: what stands between two linear maps. None overflows; each has every derivative."""

import math
from typing import Any

from minidl.device import array_module, laid_out_like
from minidl.dtypes import as_dtype
from minidl.errors import ShapeError
from minidl.ops import _checks
from minidl.ops.arithmetic import abs, clamp, square, where
from minidl.ops.elementary import exp, ndtr, tanh
from minidl.ops.reduction import sum
from minidl.ops.shape import reshape
from minidl.tape import Jump, Kink, composite, op, sum_to

__all__ = [
    "celu",
    "elu",
    "gelu",
    "glu",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "log_softmax",
    "logsigmoid",
    "mish",
    "prelu",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "tanhshrink",
    "threshold",
]


# ---- pieces of straight lines -------------------------------------------------------------------


@op(
    x=lambda g, out: where(out <= 0, 0, g),
    elementwise=True,
    formula="max(x, 0)",
    kink=Kink("x = 0", "0", at={"x": 0}, gradient={"x": 0}),
)
def relu(x: Any) -> Any:
    """x where it is positive, else 0. It keeps its output alone, which the next layer keeps too.

    V. Nair, G. Hinton, Rectified linear units improve restricted Boltzmann machines, ICML 2010.
    """
    return array_module(x).maximum(x, 0)


@op(
    x=lambda g, out, min_val, max_val: where((out <= min_val) | (out >= max_val), 0, g),
    elementwise=True,
    formula="min(max(x, min_val), max_val)",
    kink=[
        Kink("x = min_val", "0", at={"x": -1}, gradient={"x": 0}),
        Kink("x = max_val", "0", at={"x": 1}, gradient={"x": 0}),
    ],
)
def hardtanh(x: Any, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    """x, cut off below min_val and above max_val. Raises ValueError if min_val > max_val."""
    if min_val > max_val:
        raise ValueError(f"hardtanh: min_val is {min_val}, above max_val, {max_val}")
    xp = array_module(x)
    return xp.minimum(xp.maximum(x, min_val), max_val)


@composite(
    formula="min(max(x, 0), 6)",
    kink=[
        Kink("x = 0", "0", at={"x": 0}, gradient={"x": 0}),
        Kink("x = 6", "0", at={"x": 6}, gradient={"x": 0}),
    ],
)
def relu6(x: Any) -> Any:
    """x, cut off below 0 and above 6."""
    return hardtanh(x, 0, 6)


@op(
    x=lambda g, x, negative_slope: where(x > 0, g, g * negative_slope),
    elementwise=True,
    formula="x where x > 0 else negative_slope * x",
    kink=Kink("x = 0", "negative_slope", at={"x": 0, "negative_slope": 0.1}, gradient={"x": 0.1}),
)
def leaky_relu(x: Any, negative_slope: float = 0.01) -> Any:
    """x where it is positive, else `negative_slope` times x."""
    return where(x > 0, x, x * negative_slope)


def _by_channel(weight: Any, ndim: int) -> Any:
    """The weight in a shape that broadcasts along axis 1 of `ndim` axes."""
    return reshape(weight, (-1,) + (1,) * max(ndim - 2, 0) if ndim else ())


@op(
    x=lambda g, x, weight: where(x > 0, g, g * _by_channel(weight, x.ndim)),
    weight=lambda g, x, weight, weight_shape: reshape(
        sum_to(g * where(x > 0, 0, x), _by_channel(weight, x.ndim).shape), weight_shape
    ),
    formula="x where x > 0 else weight * x",
    kink=Kink(
        "x = 0", "weight", at={"x": [0], "weight": [0.25]}, gradient={"x": [0.25], "weight": [0]}
    ),
)
def prelu(x: Any, weight: Any) -> Any:
    """x where it is positive, else x times a weight that is learnt.

    x : (N, C, …), weight : (C,), one for each channel, or (1,) for all of any shape
    Raises ShapeError for another number of weights.

    K. He et al., Delving deep into rectifiers, ICCV 2015.
    """
    _checks.same_dtype("prelu", x=x, weight=weight)
    channels = x.shape[1] if x.ndim > 1 else 1
    if weight.size not in (1, channels) or weight.ndim > 1:
        raise ShapeError(
            f"prelu: weight has shape {weight.shape}, expected (1,) or ({channels},), "
            f"one for each channel of x {x.shape}"
        )
    return where(x > 0, x, x * _by_channel(weight, x.ndim))


@op(
    x=lambda g, x: where((x > -3) & (x < 3), g / 6, 0),
    elementwise=True,
    floats=True,
    formula="min(max(x + 3, 0), 6) / 6",
    kink=[
        Kink("x = -3", "0", at={"x": -3}, gradient={"x": 0}),
        Kink("x = 3", "0", at={"x": 3}, gradient={"x": 0}),
    ],
)
def hardsigmoid(x: Any) -> Any:
    """Three straight lines in place of a sigmoid: 0 below -3, 1 above 3."""
    xp = array_module(x)
    return xp.minimum(xp.maximum(x + 3, 0), 6) / 6


@op(
    x=lambda g, x: where(x <= -3, 0, where(x < 3, g * (x / 3 + 0.5), g)),
    elementwise=True,
    floats=True,
    quiet=True,
    formula="x * min(max(x + 3, 0), 6) / 6",
    kink=[
        Kink("x = -3", "0", at={"x": -3}, gradient={"x": 0}),
        Kink("x = 3", "1", at={"x": 3}, gradient={"x": 1}),
    ],
)
def hardswish(x: Any) -> Any:
    """x times `hardsigmoid(x)`. A. Howard et al., Searching for MobileNetV3, ICCV 2019."""
    xp = array_module(x)
    return x * xp.minimum(xp.maximum(x + 3, 0), 6) / 6


@op(
    x=lambda g, out: where(out == 0, 0, g),
    elementwise=True,
    quiet=True,
    formula="x - lambd where x > lambd, x + lambd where x < -lambd, else 0",
    kink=[
        Kink("x = -lambd", "0", at={"x": -0.5}, gradient={"x": 0}),
        Kink("x = lambd", "0", at={"x": 0.5}, gradient={"x": 0}),
    ],
)
def softshrink(x: Any, lambd: float = 0.5) -> Any:
    """x, moved by `lambd` towards 0 and no further. Raises ValueError if lambd is negative."""
    if lambd < 0:
        raise ValueError(f"softshrink: lambd is {lambd}, expected at least 0")
    xp = array_module(x)
    return x - xp.minimum(xp.maximum(x, -lambd), lambd)


@op(
    x=lambda g, x, lambd: where(abs(x) <= lambd, 0, g),
    elementwise=True,
    formula="x where |x| > lambd else 0",
    kink=[
        Jump("x = -lambd", "0", at={"x": -0.5}, gradient={"x": 0}),
        Jump("x = lambd", "0", at={"x": 0.5}, gradient={"x": 0}),
    ],
)
def hardshrink(x: Any, lambd: float = 0.5) -> Any:
    """x, with 0 in place of what lies within `lambd` of 0."""
    return where(abs(x) <= lambd, 0, x)


@op(
    x=lambda g, x, threshold: where(x <= threshold, 0, g),
    elementwise=True,
    formula="x where x > threshold else value",
    kink=Jump("x = threshold", "0", at={"x": 1, "threshold": 1, "value": 5}, gradient={"x": 0}),
)
def threshold(x: Any, threshold: float, value: float) -> Any:
    """x where it is above the threshold, else `value`."""
    return where(x <= threshold, value, x)


# ---- exponential units --------------------------------------------------------------------------


def _below(x: Any) -> Any:
    """x where it is not positive, else 0: its exponential cannot overflow."""
    return where(x > 0, 0, x)


@op(
    x=lambda g, x, alpha: where(x > 0, g, g * (alpha * exp(_below(x)))),
    elementwise=True,
    floats=True,
    formula="x where x > 0 else alpha * (e**x - 1)",
    kink=Kink("x = 0, alpha not 1", "alpha", at={"x": 0, "alpha": 0.5}, gradient={"x": 0.5}),
)
def elu(x: Any, alpha: float = 1.0) -> Any:
    """x where it is positive, else an exponential that falls to -alpha.

    D.-A. Clevert et al., Fast and accurate deep network learning by ELUs, ICLR 2016.
    """
    xp = array_module(x)
    return where(x > 0, x, alpha * xp.expm1(xp.minimum(x, 0)))


@op(
    x=lambda g, x, alpha: where(x > 0, g, g * exp(_below(x) / alpha)),
    elementwise=True,
    floats=True,
    formula="x where x > 0 else alpha * (e**(x / alpha) - 1)",
)
def celu(x: Any, alpha: float = 1.0) -> Any:
    """As `elu`, with slope 1 at 0 for every alpha. Raises ValueError if alpha is 0.

    J. Barron, Continuously differentiable exponential linear units, 2017.
    """
    if alpha == 0:
        raise ValueError("celu: alpha is 0, expected another number")
    xp = array_module(x)
    return where(x > 0, x, alpha * xp.expm1(xp.minimum(x, 0) / alpha))


_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805


@composite(
    formula="1.0507 * elu(x, 1.6733)",
    kink=Kink(
        "x = 0", "the slope below it", at={"x": 0}, gradient={"x": _SELU_SCALE * _SELU_ALPHA}
    ),
)
def selu(x: Any) -> Any:
    """`elu` with constants that keep mean 0 and variance 1 from layer to layer.

    G. Klambauer et al., Self-normalizing neural networks, NeurIPS 2017.
    """
    return _SELU_SCALE * elu(x, _SELU_ALPHA)


# ---- smooth steps and gates ---------------------------------------------------------------------


def _logistic(x: Any) -> Any:
    """1 / (1 + e**-x) of an array; where the exponential is infinite the quotient is 0."""
    return 1 / (1 + array_module(x).exp(-x))


def _log_one_plus_exp(x: Any) -> Any:
    """ln(1 + e**x) of an array, of powers that are at most 1."""
    xp = array_module(x)
    return xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.absolute(x)))


@op(
    x=lambda g, out: g * (out * (1 - out)),
    elementwise=True,
    floats=True,
    quiet=True,
    formula="1 / (1 + e**-x)",
)
def sigmoid(x: Any) -> Any:
    """The logistic function: from 0 through 1/2 at x = 0 to 1."""
    return _logistic(x)


@op(
    x=lambda g, x: g * sigmoid(-x),
    elementwise=True,
    floats=True,
    quiet=True,
    formula="-ln(1 + e**-x)",
)
def logsigmoid(x: Any) -> Any:
    """The logarithm of `sigmoid(x)`."""
    return -_log_one_plus_exp(-x)


@op(
    x=lambda g, x, beta, threshold: where(beta * x > threshold, g, g * sigmoid(beta * x)),
    elementwise=True,
    floats=True,
    quiet=True,
    formula="ln(1 + e**(beta * x)) / beta, but x where beta * x > threshold",
    kink=Jump(
        "beta * x = threshold (jumps by 2e-9 at 20)",
        "as below it, sigmoid(threshold)",
        at={"x": 0, "threshold": 0},
        gradient={"x": 0.5},
    ),
)
def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """A smooth `relu`; the larger beta, the closer to it."""
    z = beta * x
    return where(z > threshold, x, _log_one_plus_exp(z) / beta)


def _silu_slope(x: Any) -> Any:
    s = sigmoid(x)
    return s * (1 + x * (1 - s))


@op(
    x=lambda g, x: g * _silu_slope(x),
    elementwise=True,
    floats=True,
    quiet=True,
    formula="x * sigmoid(x)",
)
def silu(x: Any) -> Any:
    """x times its own `sigmoid`, also called swish.

    D. Hendrycks, K. Gimpel, Gaussian error linear units, 2016.
    """
    return x * _logistic(x)


def _mish_slope(x: Any) -> Any:
    t = tanh(softplus(x))
    return t + x * sigmoid(x) * (1 - t * t)


@op(
    x=lambda g, x: g * _mish_slope(x),
    elementwise=True,
    floats=True,
    quiet=True,
    formula="x * tanh(ln(1 + e**x))",
)
def mish(x: Any) -> Any:
    """x times tanh of `softplus(x)`. D. Misra, Mish, BMVC 2020."""
    return x * array_module(x).tanh(_log_one_plus_exp(x))


@composite(formula="x * (1 + erf(x / sqrt(2))) / 2")
def gelu(x: Any, *, approximate: str = "none") -> Any:
    """x times the probability that a number of the standard normal distribution is below x.

    approximate : "none", or "tanh" for `gelu_tanh`; raises ValueError for another

    D. Hendrycks, K. Gimpel, Gaussian error linear units, 2016.
    """
    _checks.choice("gelu", "approximate", approximate, "none", "tanh")
    return x * ndtr(x) if approximate == "none" else gelu_tanh(x)


_GELU_SCALE, _GELU_CUBE = math.sqrt(2 / math.pi), 0.044715


def _gelu_inner(x: Any) -> Any:
    return _GELU_SCALE * (x + _GELU_CUBE * (x * x * x))


def _gelu_tanh_slope(x: Any) -> Any:
    x = clamp(x, -12, 12)  # beyond, the slope is 0 or 1 to the last bit; float16 squares overflow
    t = tanh(_gelu_inner(x))
    inner_slope = _GELU_SCALE * (1 + 3 * _GELU_CUBE * (x * x))
    return 0.5 * (1 + t + x * (1 - t * t) * inner_slope)


@op(
    x=lambda g, x: g * _gelu_tanh_slope(x),
    elementwise=True,
    floats=True,
    quiet=True,
    formula="x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) / 2",
)
def gelu_tanh(x: Any) -> Any:
    """`gelu` with its probability approximated, as in GPT-2: differs by less than 0.0005."""
    return 0.5 * x * (1 + array_module(x).tanh(_gelu_inner(x)))


@op(
    x=lambda g, x: g / square(1 + abs(x)),
    elementwise=True,
    floats=True,
    quiet=True,
    formula="x / (1 + |x|)",
)
def softsign(x: Any) -> Any:
    """A slow step from -1 to 1."""
    return x / (1 + array_module(x).absolute(x))


@composite(formula="x - tanh(x)")
def tanhshrink(x: Any) -> Any:
    """x less its `tanh`: flat at 0, straight far from it."""
    return x - tanh(x)


@composite(formula="a * sigmoid(b), where a and b are the halves of x along dim")
def glu(x: Any, dim: int = -1) -> Any:
    """The first half of x along `dim`, each number let through by the `sigmoid` of its partner.

    Raises ShapeError if the axis has an odd length.
    Y. Dauphin et al., Language modeling with gated convolutional networks, ICML 2017.
    """
    dim = _checks.axis("glu", dim, x.ndim)
    if x.ndim == 0 or x.shape[dim] % 2:
        raise ShapeError(f"glu: x has shape {x.shape}; axis {dim} must have an even length")
    half = x.shape[dim] // 2
    before = (slice(None),) * dim
    return x[*before, slice(half)] * sigmoid(x[*before, slice(half, None)])


# ---- along an axis ------------------------------------------------------------------------------


def _prepared(op: str, x: Any, dim: int | None, dtype: Any) -> tuple[Any, tuple[int, ...]]:
    """x less its largest number along `dim`, and the axes, after the checks."""
    if dim is None:
        raise ValueError(f"{op}: dim is missing; say along which axis the numbers belong together")
    _checks.axis(op, dim, x.ndim)
    if dtype is not None:
        x = x.astype(as_dtype(dtype))
    _checks.floating(op, "x", x)
    axes = _checks.axes(op, dim, x.ndim)
    return (x - x.max(axis=axes, keepdims=True) if x.size else x), axes


@op(
    x=lambda g, out, dim: out * (g - sum(g * out, dim, True)),
    quiet=True,
    formula="e**x / (sum of e**x along dim)",
    domain="all numbers; NaN where the largest along dim is infinite",
)
def softmax(x: Any, dim: int | None = None, *, dtype: Any = None) -> Any:
    """Positive numbers that sum to 1 along `dim`, in the proportions of e**x.

    x : floats, dim : an axis; it must be given -> the shape of x, in `dtype` if that is given
    Raises ValueError without a dim, IndexError if there is no such axis, DtypeError for no floats.
    """
    given = x
    x, axes = _prepared("softmax", x, dim, dtype)
    e = array_module(x).exp(x)
    return laid_out_like(e / sum(e, axes, True), given)


@op(
    x=lambda g, out, dim: g - exp(out) * sum(g, dim, True),
    quiet=True,
    formula="x - ln(sum of e**x along dim)",
    domain="all numbers; NaN where the largest along dim is infinite",
)
def log_softmax(x: Any, dim: int | None = None, *, dtype: Any = None) -> Any:
    """The logarithm of `softmax(x, dim)`, without forming it. Arguments and errors are the same."""
    given = x
    x, axes = _prepared("log_softmax", x, dim, dtype)
    xp = array_module(x)
    return laid_out_like(x - xp.log(sum(xp.exp(x), axes, True)), given)


@composite(formula="softmax of -x along dim")
def softmin(x: Any, dim: int | None = None, *, dtype: Any = None) -> Any:
    """`softmax` of -x: the smallest number gets the largest share."""
    return softmax(-x, dim, dtype=dtype)
