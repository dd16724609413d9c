"""First values for weights, written into tensors in place under PyTorch's names.

All numbers are drawn on the host from the "init" stream of `minidl.random`, so a seed gives the
same network on every device. Nothing here is recorded on the tape.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from minidl import random
from minidl.device import device_of, to_device
from minidl.errors import DtypeError, ShapeError
from minidl.tape import touch
from minidl.tensor import Tensor

__all__ = [
    "calculate_gain",
    "constant_",
    "dirac_",
    "eye_",
    "fan_in_and_out",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "sparse_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]

_GAINS = {
    "linear": 1.0,
    "sigmoid": 1.0,
    "tanh": 5 / 3,
    "relu": math.sqrt(2),
    "selu": 3 / 4,
    **{f"conv{n}d": 1.0 for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": 1.0 for n in (1, 2, 3)},
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the factor by which weights are larger so that an activation keeps the variance.

    nonlinearity : name of an activation or of a layer that has none; param : the slope of
        "leaky_relu", 0.01 if None. Raises ValueError for an unknown name.
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        return math.sqrt(2 / (1 + slope**2))
    if nonlinearity not in _GAINS:
        names = ", ".join([*_GAINS, "leaky_relu"])
        raise ValueError(f"calculate_gain: {nonlinearity!r} is unknown; choose one of {names}")
    return _GAINS[nonlinearity]


def fan_in_and_out(shape: Sequence[int]) -> tuple[int, int]:
    """Return how many inputs a unit of a weight (out, in, *kernel) has, and how many outputs.

    Raises ShapeError for fewer than two axes.
    """
    if len(shape) < 2:
        raise ShapeError(f"init: the fan of shape {tuple(shape)} is undefined: it needs two axes")
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def _write(tensor: Tensor, values: Any) -> Tensor:
    """Put values made on the host into a tensor's memory."""
    tensor.data[...] = to_device(np.asarray(values), device_of(tensor.data))
    touch(tensor.data)
    return tensor


def _drawable(who: str, tensor: Tensor, generator: Any) -> None:
    """Refuse dtypes that are no floats, and a generator: numbers come from the "init" stream."""
    if generator is not None:
        raise NotImplementedError(f"{who}: generator is not offered; see minidl.manual_seed")
    if tensor.data.dtype.kind != "f":
        raise DtypeError(f"{who}: the tensor is {tensor.dtype}, expected a float dtype")


def _matrix(who: str, tensor: Tensor) -> None:
    if tensor.ndim != 2:
        raise ShapeError(f"{who}: the tensor has shape {tensor.shape}, expected 2 axes")


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Fill with numbers uniform in [a, b)."""
    _drawable("uniform_", tensor, generator)
    return _write(tensor, random.stream("init").uniform(tensor.shape, a, b, tensor.dtype))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Fill with numbers from the normal distribution."""
    _drawable("normal_", tensor, generator)
    return _write(tensor, random.stream("init").normal(tensor.shape, mean, std, tensor.dtype))


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Any = None,
) -> Tensor:
    """Fill with numbers from the normal distribution, given that they lie in [a, b].

    A uniform number between the bounds' probabilities goes through the inverse distribution
    function. Raises ValueError if the interval lies so far out that it has no probability.
    """
    _drawable("trunc_normal_", tensor, generator)
    unit = NormalDist()
    low, high = unit.cdf((a - mean) / std), unit.cdf((b - mean) / std)
    if not low < high:
        raise ValueError(f"trunc_normal_: [{a}, {b}] has no probability at mean {mean}, std {std}")
    drawn = random.stream("init").uniform(tensor.shape, low, high, "float64")
    drawn = np.clip(drawn, np.finfo(float).tiny, 1 - 2.0**-53)
    points = np.fromiter(map(unit.inv_cdf, drawn.ravel()), float, drawn.size)
    return _write(tensor, np.clip(mean + std * points, a, b).reshape(tensor.shape))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one number."""
    return _write(tensor, val)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with ones."""
    return _write(tensor, 1)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with zeros."""
    return _write(tensor, 0)


def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix with ones on the diagonal, zeros elsewhere: a dense layer's identity."""
    _matrix("eye_", tensor)
    return _write(tensor, np.eye(tensor.shape[0], tensor.shape[1]))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fill a kernel (out, in, *K) so that the convolution passes its input on unchanged.

    groups : in each group of outputs, output i is input i. Raises ValueError unless they divide.
    """
    if tensor.ndim not in (3, 4, 5):
        raise ShapeError(f"dirac_: the tensor has shape {tensor.shape}, expected 3 to 5 axes")
    out, width, *kernel = tensor.shape
    if groups < 1 or out % groups:
        raise ValueError(f"dirac_: {out} outputs cannot be divided into {groups} groups")
    values = np.zeros(tensor.shape)
    middle = tuple([k // 2 for k in kernel])
    for group in range(groups):
        for i in range(min(out // groups, width)):
            values[(group * (out // groups) + i, i, *middle)] = 1
    return _write(tensor, values)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Fill uniformly with variance gain² · 2 / (fan_in + fan_out). Glorot and Bengio 2010."""
    bound = gain * math.sqrt(6 / (sum(fan_in_and_out(tensor.shape)) or 1))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Fill normally with variance gain² · 2 / (fan_in + fan_out). Glorot and Bengio 2010."""
    std = gain * math.sqrt(2 / (sum(fan_in_and_out(tensor.shape)) or 1))
    return normal_(tensor, 0.0, std, generator)


def _kaiming_std(who: str, tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"{who}: mode is {mode!r}, expected 'fan_in' or 'fan_out'")
    fan = fan_in_and_out(tensor.shape)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan) if fan else 0.0


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Fill uniformly with variance gain² / fan. He et al. 2015.

    a : the slope of a leaky_relu that follows; mode : "fan_in" keeps the variance of values,
    "fan_out" that of gradients
    """
    bound = math.sqrt(3) * _kaiming_std("kaiming_uniform_", tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Fill normally with variance gain² / fan. He et al. 2015."""
    std = _kaiming_std("kaiming_normal_", tensor, a, mode, nonlinearity)
    return normal_(tensor, 0.0, std, generator)


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Fill so that rows (or columns, if there are fewer) are orthonormal, times gain.

    Further axes count with the second. Saxe et al. 2013; Q of a normal matrix's QR
    decomposition, with signs that make it uniform (Mezzadri 2007).
    """
    _drawable("orthogonal_", tensor, generator)
    if tensor.ndim < 2:
        raise ShapeError(f"orthogonal_: the tensor has shape {tensor.shape}, expected 2 axes")
    if tensor.numel() == 0:
        return tensor
    rows = tensor.shape[0]
    columns = tensor.numel() // rows
    drawn = random.stream("init").normal((max(rows, columns), min(rows, columns)), dtype="float64")
    q, r = np.linalg.qr(drawn)
    q = q * np.where(np.diag(r) < 0, -1.0, 1.0)
    return _write(tensor, gain * (q if rows >= columns else q.T).reshape(tensor.shape))


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """Fill a matrix normally, then set a share of each column to zero. Martens 2010."""
    _matrix("sparse_", tensor)
    _drawable("sparse_", tensor, generator)
    rows, columns = tensor.shape
    stream = random.stream("init")
    values = stream.normal(tensor.shape, 0.0, std, tensor.dtype)
    for column in range(columns):
        values[stream.permutation(rows)[: math.ceil(sparsity * rows)], column] = 0
    return _write(tensor, values)
