"""First values for weights, by Keras's names: functions of a shape in Keras's layout.

The axes of a weight are (*kernel, in, out), so its fans differ from those of `minidl.nn.init`,
which draws the numbers.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.nn import init
from minidl.tensor import Tensor

__all__ = [
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Initializer",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "Orthogonal",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "get",
]

_DEVIATION = 0.87962566103423978  # of a normal distribution cut off at two deviations


class Initializer:
    """Base: `fill(tensor, shape)` writes the values; calling it with a shape returns them.

    A seed of its own is not offered (NotImplementedError): `keras.utils.set_random_seed` rules.
    """

    def __init__(self, seed: int | None = None) -> None:
        if seed is not None:
            raise NotImplementedError(
                f"{type(self).__name__}: seed is not offered; keras.utils.set_random_seed(…) makes "
                "a program repeatable"
            )

    def fill(self, tensor: Tensor) -> None:
        """Write the values into a tensor."""
        raise NotImplementedError(f"{type(self).__name__} does not say its values (fill)")

    def __call__(self, shape: Sequence[int], dtype: Any = "float32") -> np.ndarray[Any, Any]:
        """Return an array (on the host) of first values."""
        values = np.zeros(tuple(shape), dtype)
        self.fill(Tensor(values))
        return values


class Constant(Initializer):
    """One number everywhere."""

    def __init__(self, value: float = 0.0) -> None:
        super().__init__()
        self.value = value

    def fill(self, tensor: Tensor) -> None:
        """Write it."""
        init.constant_(tensor, self.value)


class Zeros(Constant):
    """0 everywhere."""

    def __init__(self) -> None:
        super().__init__(0.0)


class Ones(Constant):
    """1 everywhere."""

    def __init__(self) -> None:
        super().__init__(1.0)


class RandomUniform(Initializer):
    """Uniform in [minval, maxval)."""

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None):
        super().__init__(seed)
        self.minval, self.maxval = minval, maxval

    def fill(self, tensor: Tensor) -> None:
        """Draw."""
        init.uniform_(tensor, self.minval, self.maxval)


class RandomNormal(Initializer):
    """Normal."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None):
        super().__init__(seed)
        self.mean, self.stddev = mean, stddev

    def fill(self, tensor: Tensor) -> None:
        """Draw."""
        init.normal_(tensor, self.mean, self.stddev)


class TruncatedNormal(RandomNormal):
    """Normal, given that the number lies within two deviations of the mean."""

    def fill(self, tensor: Tensor) -> None:
        """Draw."""
        reach = 2 * self.stddev
        init.trunc_normal_(tensor, self.mean, self.stddev, self.mean - reach, self.mean + reach)


class Orthogonal(Initializer):
    """Orthonormal rows, or columns if there are fewer, times gain; the last axis are columns."""

    def __init__(self, gain: float = 1.0, seed: int | None = None):
        super().__init__(seed)
        self.gain = gain

    def fill(self, tensor: Tensor) -> None:
        """Draw."""
        init.orthogonal_(Tensor(tensor.data.reshape(-1, tensor.shape[-1])), self.gain)


class VarianceScaling(Initializer):
    """Variance scale / fan.

    mode : "fan_in", "fan_out" or "fan_avg"; distribution : "truncated_normal",
    "untruncated_normal" or "uniform". Raises ValueError for others.
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
    ):
        super().__init__(seed)
        if mode not in ("fan_in", "fan_out", "fan_avg"):
            raise ValueError(f"VarianceScaling: mode is {mode!r}, expected fan_in, fan_out, …avg")
        if distribution not in ("truncated_normal", "untruncated_normal", "uniform"):
            raise ValueError(f"VarianceScaling: distribution is {distribution!r}")
        self.scale, self.mode, self.distribution = scale, mode, distribution

    def fill(self, tensor: Tensor) -> None:
        """Draw."""
        ins, outs = fans(tensor.shape)
        fan = {"fan_in": ins, "fan_out": outs, "fan_avg": (ins + outs) / 2}[self.mode]
        variance = self.scale / max(1.0, fan)
        if self.distribution == "uniform":
            bound = math.sqrt(3 * variance)
            init.uniform_(tensor, -bound, bound)
        elif self.distribution == "untruncated_normal":
            init.normal_(tensor, 0.0, math.sqrt(variance))
        else:
            deviation = math.sqrt(variance) / _DEVIATION
            init.trunc_normal_(tensor, 0.0, deviation, -2 * deviation, 2 * deviation)


def fans(shape: Sequence[int]) -> tuple[int, int]:
    """Return the number of inputs of a unit and of outputs of an input for (*kernel, in, out)."""
    if len(shape) < 2:
        size = shape[0] if shape else 1
        return size, size
    field = math.prod(shape[:-2])
    return field * shape[-2], field * shape[-1]


def _scaled(name: str, scale: float, mode: str, distribution: str, source: str) -> Any:
    """A class of VarianceScaling with its options fixed."""

    def __init__(self: Any, seed: int | None = None) -> None:
        VarianceScaling.__init__(self, scale, mode, distribution, seed)

    text = f"Variance {scale:g} / {mode}, {distribution}. {source}"
    return type(name, (VarianceScaling,), {"__init__": __init__, "__doc__": text})


_GLOROT, _HE, _LECUN = "Glorot and Bengio 2010.", "He et al. 2015.", "LeCun et al. 1998."
GlorotUniform = _scaled("GlorotUniform", 1.0, "fan_avg", "uniform", _GLOROT)
GlorotNormal = _scaled("GlorotNormal", 1.0, "fan_avg", "truncated_normal", _GLOROT)
HeUniform = _scaled("HeUniform", 2.0, "fan_in", "uniform", _HE)
HeNormal = _scaled("HeNormal", 2.0, "fan_in", "truncated_normal", _HE)
LecunUniform = _scaled("LecunUniform", 1.0, "fan_in", "uniform", _LECUN)
LecunNormal = _scaled("LecunNormal", 1.0, "fan_in", "truncated_normal", _LECUN)

_NAMES = {
    "zeros": Zeros,
    "ones": Ones,
    "constant": Constant,
    "uniform": RandomUniform,
    "random_uniform": RandomUniform,
    "normal": RandomNormal,
    "random_normal": RandomNormal,
    "truncated_normal": TruncatedNormal,
    "orthogonal": Orthogonal,
    "variance_scaling": VarianceScaling,
    "glorot_uniform": GlorotUniform,
    "glorot_normal": GlorotNormal,
    "he_uniform": HeUniform,
    "he_normal": HeNormal,
    "lecun_uniform": LecunUniform,
    "lecun_normal": LecunNormal,
}


def get(identifier: Any) -> Any:
    """Return the initializer of a name or class; a function of shape and dtype as it is.

    Raises NotImplementedError for a name that is not offered.
    """
    if isinstance(identifier, type):
        return identifier()
    if callable(identifier):
        return identifier
    if identifier not in _NAMES:
        raise NotImplementedError(
            f"initializers: {identifier!r} is not offered; there is {', '.join(_NAMES)}"
        )
    return _NAMES[identifier]()
