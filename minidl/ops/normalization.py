"""Normalisation: numbers brought to mean 0 and variance 1 over some axes, then scaled and shifted.

One fused operation, `standardize`, serves batch, instance, group and layer normalisation: they
differ only in the axes over which they take the mean and in those along which the weight lies.
All keep the layout in memory of x, in the result and in its gradient.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import minidl_kernels as kernels
from minidl.errors import ShapeError
from minidl.ops import _checks
from minidl.ops.arithmetic import clamp
from minidl.ops.elementary import rsqrt
from minidl.ops.reduction import mean, norm
from minidl.ops.shape import reshape
from minidl.tape import Kept, Kink, composite, op, to_dtype

__all__ = [
    "batch_norm",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "normalize",
    "rms_norm",
]

# ---- the fused operation ------------------------------------------------------------------------


def _standardize_gradient(
    g: Any, wanted: Any, x: Any, weight: Any, axes: Any, shape: Any, centre: Any, rstd: Any
) -> tuple[Any, ...]:
    """With x̂ = (x - mean) rstd, ĝ = g weight:  dx = rstd (ĝ - mean(ĝ) - x̂ mean(ĝ x̂))."""
    return kernels.standardize_gradient(x, weight, axes, shape, centre, rstd, *g, wanted)


def _standardize_definition(
    x: Any, weight: Any, bias: Any, axes: Any, shape: Any, eps: float
) -> tuple[Any, Any, Any]:
    centre = mean(x, axes, True)
    d = x - centre
    var = mean(d * d, axes, True)
    out = d * rsqrt(var + eps)
    if weight is not None:
        out = out * reshape(weight, shape)
    return (out if bias is None else out + reshape(bias, shape)), centre, var


@op(
    joint=_standardize_gradient,
    wrt=("x", "weight", "bias"),
    definition=_standardize_definition,
    quiet=True,
    formula="(x - mean) / sqrt(var + eps) * weight + bias; mean and biased var of x over axes",
)
def standardize(
    x: Any, weight: Any, bias: Any, axes: Any, shape: Any, eps: float
) -> tuple[Any, Any, Any, Kept]:
    """x brought to mean 0 and variance 1 over `axes`, times weight plus bias.

    x : floats, any shape; weight, bias : of one axis, or None; axes : ascending
    shape : that of weight and bias beside x: as many axes as x, of length one where they repeat
    -> the result, and mean and biased variance of x with the axes kept at length one (0 of none)
    """
    out, centre, var, rstd = kernels.standardize(x, weight, bias, axes, shape, eps)
    return out, centre, var, Kept(centre=centre, rstd=rstd)


def _standardized(
    name: str, x: Any, weight: Any, bias: Any, axes: tuple[int, ...], shape: Any, eps: float
) -> tuple[Any, Any, Any]:
    """`standardize`, after checks; float16 is computed in float32, as its sums would overflow."""
    _checks.floating(name, "x", x)
    _checks.same_dtype(name, x=x, weight=weight, bias=bias)
    _check_eps(name, eps)
    if x.dtype.itemsize > 2:
        return standardize(x, weight, bias, axes, shape, eps)
    wide = np.dtype("float32")
    x, weight, bias = [a if a is None else to_dtype(a, wide) for a in (x, weight, bias)]
    out, centre, var = standardize(x, weight, bias, axes, shape, eps)
    return to_dtype(out, np.dtype("float16")), centre, var


def _check_eps(name: str, eps: Any) -> None:
    """Raise ValueError unless eps is a number from 0: below it variances would become NaN."""
    if not isinstance(eps, (int, float, np.number)) or not eps >= 0:
        raise ValueError(f"{name}: eps is {eps!r}, expected a number, at least 0")


def check_channels(name: str, x: Any, **vectors: Any) -> None:
    """Raise ShapeError unless x is (N, C, …) and every vector given (C,), statistics of floats."""
    _checks.tensor(name, "x", x)
    if len(x.shape) < 2:
        raise ShapeError(f"{name}: x has shape {x.shape}, expected (N, C, …)")
    for what, v in vectors.items():
        if v is None:
            continue
        _checks.tensor(name, what, v)
        if v.shape != x.shape[1:2]:
            raise ShapeError(
                f"{name}: {what} has shape {v.shape}, expected one number for each of the "
                f"{x.shape[1]} channels of x {x.shape}"
            )
        if what.startswith("running"):
            _checks.floating(name, what, v)


def _along_channels(x: Any) -> tuple[int, ...]:
    return (1, x.shape[1], *(1,) * (len(x.shape) - 2))


# ---- per channel --------------------------------------------------------------------------------


@composite(formula="(x - mean) / sqrt(var + eps) * weight + bias; statistics per channel")
def normalize_channels(
    x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> tuple[Any, Any, Any]:
    """Batch normalisation by x's own statistics, and these: (result, mean (C,), var (C,)).

    x : (N, C, *S), weight, bias : (C,) or None; mean and var (biased: divided by the count) are
    taken over N and S. They are what a layer keeps running averages of.

    Raises ValueError for a single value per channel: its variance says nothing.
    """
    check_channels("batch_norm", x, weight=weight, bias=bias)
    shape = _along_channels(x)
    axes = (0, *range(2, len(x.shape)))
    if math.prod([x.shape[a] for a in axes]) == 1:
        raise ValueError(
            f"batch_norm: x {tuple(x.shape)} has one value per channel, training needs more; use "
            "a larger batch, or drop the last incomplete one (drop_last=True)"
        )
    out, centre, var = _standardized("batch_norm", x, weight, bias, axes, shape, eps)
    return out, reshape(centre, shape[1:2]), reshape(var, shape[1:2])


@composite(formula="(x - mean) / sqrt(var + eps) * weight + bias; statistics per channel")
def batch_norm(
    x: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """x normalised channel by channel: by its own statistics in training, else by running ones.

    x : (N, C, *S), the vectors : (C,), weight, bias : or None -> like x, in x's layout

    An op changes nothing, so `momentum` is not used here and the running statistics stay as they
    are: the layer updates them, with what `normalize_channels` returns.
    Raises ValueError in training for a single value per channel, and without running statistics
    otherwise. Source: Ioffe and Szegedy (2015), arXiv:1502.03167.
    """
    if training:
        check_channels("batch_norm", x, running_mean=running_mean, running_var=running_var)
        return normalize_channels(x, weight, bias, eps)[0]
    if running_mean is None or running_var is None:
        raise ValueError("batch_norm: running_mean and running_var are needed unless training")
    return _by_running("batch_norm", x, running_mean, running_var, weight, bias, eps)


def _by_running(
    name: str, x: Any, running_mean: Any, running_var: Any, weight: Any, bias: Any, eps: float
) -> Any:
    """Normalise by given statistics: a scale and a shift for each channel."""
    check_channels(
        name, x, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias
    )
    _checks.floating(name, "x", x)
    _check_eps(name, eps)
    scale = rsqrt(running_var + eps)
    if weight is not None:
        scale = scale * weight
    shift = -running_mean * scale
    if bias is not None:
        shift = shift + bias
    shape = _along_channels(x)
    out = x * reshape(scale, shape) + reshape(shift, shape)
    return out if out.dtype == x.dtype else to_dtype(out, x.dtype)


@composite(formula="(x - mean) / sqrt(var + eps) * weight + bias; per sample and channel")
def instance_norm(
    x: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """x normalised for each sample and channel by itself, or by running statistics.

    x : (N, C, *S), the vectors : (C,), weight, bias : or None -> like x, in x's layout

    `momentum` is not used: as for `batch_norm`, the layer updates the running statistics.
    Raises ValueError for a single value per sample and channel.
    Source: Ulyanov, Vedaldi and Lempitsky (2016), arXiv:1607.08022.
    """
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise ValueError(
                "instance_norm: running_mean and running_var are needed with use_input_stats=False"
            )
        return _by_running("instance_norm", x, running_mean, running_var, weight, bias, eps)
    check_channels(
        "instance_norm", x,
        running_mean=running_mean, running_var=running_var, weight=weight, bias=bias,
    )  # fmt: skip
    if math.prod(x.shape[2:]) == 1:
        raise ValueError(
            f"instance_norm: x {tuple(x.shape)} has one value per sample and channel; expected more"
        )
    axes = tuple(range(2, len(x.shape)))
    return _standardized("instance_norm", x, weight, bias, axes, _along_channels(x), eps)[0]


@composite(formula="(x - mean) / sqrt(var + eps) * weight + bias; per sample and group of channels")
def group_norm(
    x: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """x normalised for each sample over groups of neighbouring channels.

    x : (N, C, *S), C a multiple of num_groups, weight, bias : (C,) or None -> like x
    Raises ShapeError if the channels cannot be split so, ValueError if a group holds one value
    over the whole batch. Source: Wu and He (2018), arXiv:1803.08494.
    """
    check_channels("group_norm", x, weight=weight, bias=bias)
    n, c, *sizes = x.shape
    num_groups = _checks.integer("group_norm", "num_groups", num_groups)
    if num_groups < 1 or c % num_groups:
        raise ShapeError(f"group_norm: {c} channels cannot be split into {num_groups} groups")
    if math.prod(x.shape) == num_groups:
        raise ValueError(f"group_norm: x {tuple(x.shape)} has one value per group; expected more")
    inner = reshape(x, (n, num_groups, c // num_groups, *sizes))
    axes = tuple(range(2, len(inner.shape)))
    shape = (1, num_groups, c // num_groups, *(1,) * len(sizes))
    out = _standardized("group_norm", inner, weight, bias, axes, shape, eps)[0]
    return reshape(out, (n, c, *sizes))


# ---- over the last axes -------------------------------------------------------------------------


def _trailing(name: str, x: Any, normalized_shape: Any, **vectors: Any) -> tuple[int, ...]:
    """The last axes of x, after a check that they, and the weights, have the shape named."""
    given = normalized_shape
    wanted = tuple(given) if isinstance(given, Sequence) else (given.__index__(),)
    if not wanted or tuple(x.shape[-len(wanted) :]) != wanted:
        raise ShapeError(
            f"{name}: x has shape {tuple(x.shape)}, expected its last axes to be "
            f"normalized_shape {wanted}"
        )
    for what, v in vectors.items():
        if v is not None and tuple(v.shape) != wanted:
            raise ShapeError(f"{name}: {what} has shape {tuple(v.shape)}, expected {wanted}")
    return tuple(range(len(x.shape) - len(wanted), len(x.shape)))


@composite(formula="(x - mean) / sqrt(var + eps) * weight + bias; statistics over the last axes")
def layer_norm(
    x: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """x normalised over its last axes, which have `normalized_shape` (an int or a tuple).

    x : (*, *normalized_shape), weight, bias : of normalized_shape, or None -> like x
    Raises ShapeError if the shapes differ. Source: Ba, Kiros and Hinton (2016), arXiv:1607.06450.
    """
    axes = _trailing("layer_norm", x, normalized_shape, weight=weight, bias=bias)
    shape = tuple([n if a in axes else 1 for a, n in enumerate(x.shape)])
    weight, bias = [v if v is None or len(axes) == 1 else reshape(v, (-1,)) for v in (weight, bias)]
    return _standardized("layer_norm", x, weight, bias, axes, shape, eps)[0]


@composite(formula="x / sqrt(mean of x² over the last axes + eps) * weight")
def rms_norm(x: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None) -> Any:
    """x divided by its root mean square over the last axes.

    x : (*, *normalized_shape), weight : of normalized_shape, or None -> like x
    eps : by default the machine epsilon of the dtype in which is computed: float32 for float16

    Raises ShapeError if the shapes differ. Source: Zhang and Sennrich (2019), arXiv:1910.07467.
    """
    _checks.floating("rms_norm", "x", x)
    axes = _trailing("rms_norm", x, normalized_shape, weight=weight)
    wide = x if x.dtype.itemsize > 2 else to_dtype(x, np.dtype("float32"))
    if eps is None:
        eps = float(np.finfo(wide.dtype).eps)
    out = wide * rsqrt(mean(wide * wide, axes, True) + eps)
    if weight is not None:
        out = out * weight
    return out if out.dtype == x.dtype else to_dtype(out, x.dtype)


@composite(
    formula="x / max(norm of x along dim, eps)",
    kink=Kink(
        "norm = eps",
        "as above it",
        at={"x": [3, 4], "dim": 0, "eps": 5},
        gradient={"x": [0.128, -0.096]},
        g=[1, 0],
    ),
)
def normalize(x: Any, p: float = 2.0, dim: Any = 1, eps: float = 1e-12) -> Any:
    """x divided by its p-norm along `dim` (an int or a tuple), but by no less than `eps`."""
    return x / clamp(norm(x, p, dim, True), eps)
