"""Activations as modules, and the `activation=` of layers that are y = f(W x + b).

`inplace` is taken as in PyTorch and without effect: tensors are never changed behind the tape.
"""

from collections.abc import Callable
from typing import Any

from minidl.nn import functional as F
from minidl.nn import init
from minidl.nn.formula import Formula
from minidl.nn.module import Module, empty_parameter
from minidl.ops import _checks
from minidl.ops._activations import named
from minidl.tensor import Tensor

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "SELU",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "PReLU",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softmax2d",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "Tanhshrink",
    "Threshold",
]

Activation = str | Callable[[Tensor], Tensor] | None


def checked(layer: str, activation: Activation) -> Activation:
    """Return the activation of a layer. Raises ValueError unless it is a name, callable or None."""
    named(layer, activation)
    return activation


def activated(activation: Activation, x: Tensor) -> Tensor:
    """Return f(x) for an activation that was checked."""
    if activation is None:
        return x
    return getattr(F, activation)(x) if isinstance(activation, str) else activation(x)


def shown(activation: Activation) -> str:
    """Return how a layer prints its activation: nothing if it has none."""
    if activation is None:
        return ""
    name = activation if isinstance(activation, str) else getattr(activation, "__name__", None)
    return f", activation={name or repr(activation)}"


class ReLU(Formula, function="relu", inplace=False):
    """max(x, 0)."""


class ReLU6(Formula, function="relu6", inplace=False):
    """min(max(x, 0), 6)."""


class LeakyReLU(Formula, function="leaky_relu", negative_slope=0.01, inplace=False):
    """x where x > 0, else negative_slope · x."""


class ELU(Formula, function="elu", alpha=1.0, inplace=False):
    """x where x > 0, else alpha (exp(x) - 1). Clevert et al. 2015."""


class CELU(Formula, function="celu", alpha=1.0, inplace=False):
    """x where x > 0, else alpha (exp(x / alpha) - 1). Barron 2017."""


class SELU(Formula, function="selu", inplace=False):
    """An ELU with the two factors that keep mean and variance. Klambauer et al. 2017."""


class GELU(Formula, function="gelu", approximate="none"):
    """x Φ(x), Φ the normal distribution; approximate="tanh": by tanh. Hendrycks, Gimpel 2016."""


class SiLU(Formula, function="silu", inplace=False):
    """x · sigmoid(x), also called swish."""


class Mish(Formula, function="mish", inplace=False):
    """x · tanh(softplus(x)). Misra 2019."""


class Sigmoid(Formula, function="sigmoid"):
    """1 / (1 + exp(-x))."""


class LogSigmoid(Formula, function="logsigmoid"):
    """log(sigmoid(x))."""


class Hardsigmoid(Formula, function="hardsigmoid", inplace=False):
    """min(max(x + 3, 0), 6) / 6."""


class Hardswish(Formula, function="hardswish", inplace=False):
    """x · hardsigmoid(x). Howard et al. 2019."""


class Tanh(Formula, function="tanh"):
    """tanh(x)."""


class Hardtanh(Formula, function="hardtanh", min_val=-1.0, max_val=1.0, inplace=False):
    """x brought into [min_val, max_val]."""


class Tanhshrink(Formula, function="tanhshrink"):
    """x - tanh(x)."""


class Softplus(Formula, function="softplus", beta=1.0, threshold=20.0):
    """log(1 + exp(beta x)) / beta; x itself where beta x > threshold."""


class Softsign(Formula, function="softsign"):
    """x / (1 + |x|)."""


class Softshrink(Formula, function="softshrink", lambd=0.5):
    """x moved by lambd towards zero, and zero within lambd of it."""


class Hardshrink(Formula, function="hardshrink", lambd=0.5):
    """x, but zero within lambd of zero."""


class Threshold(Formula, function="threshold", threshold=..., value=..., inplace=False):
    """x where x > threshold, else value."""


class GLU(Formula, function="glu", dim=-1):
    """a · sigmoid(b), a and b the two halves of x along dim. Dauphin et al. 2016."""


class Softmax(Formula, function="softmax", dim=None):
    """exp(x) / sum of exp(x) along dim."""


class Softmax2d(Formula, function="softmax"):
    """softmax over the channels of an image (N, C, H, W) or (C, H, W)."""

    def forward(self, input: Tensor) -> Tensor:
        """input : (N, C, H, W) or (C, H, W) -> the same shape."""
        _checks.rank("Softmax2d", "input", input, 3, 4)
        return F.softmax(input, dim=-3)


class LogSoftmax(Formula, function="log_softmax", dim=None):
    """log(softmax(x)) along dim."""


class Softmin(Formula, function="softmin", dim=None):
    """softmax(-x) along dim."""


class PReLU(Module):
    """x where x > 0, else weight · x; the slope is learnt. He et al. 2015.

    num_parameters : 1, or one for each channel; init : the first slope
    weight : (num_parameters,)
    """

    def __init__(
        self,
        num_parameters: int = 1,
        init: float = 0.25,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        (num_parameters,) = _checks.counts("PReLU", num_parameters=num_parameters)
        self.num_parameters, self.init = num_parameters, init
        self.weight = empty_parameter((num_parameters,), dtype, device)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set every slope to its first value."""
        init.constant_(self.weight, self.init)

    def forward(self, x: Tensor) -> Tensor:
        """x : (N, C, *) -> the same shape."""
        return F.prelu(x, self.weight)

    def extra_repr(self) -> str:
        """The number of slopes."""
        return f"num_parameters={self.num_parameters}"
