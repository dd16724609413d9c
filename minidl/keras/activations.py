"""Activations by Keras's names and with its options' defaults: functions of a tensor."""

from collections.abc import Callable
from typing import Any

from minidl import ops
from minidl.ops import elu, exp, hardsigmoid, mish, relu, relu6, selu, sigmoid, silu, softsign, tanh
from minidl.tensor import Tensor

__all__ = [
    "elu",
    "exponential",
    "gelu",
    "get",
    "hard_sigmoid",
    "leaky_relu",
    "linear",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "softsign",
    "swish",
    "tanh",
]

exponential, hard_sigmoid, swish = exp, hardsigmoid, silu


def linear(x: Tensor) -> Tensor:
    """x itself."""
    return x


def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """exp(x) / sum(exp(x)) along an axis."""
    return ops.softmax(x, axis)


def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    """The logarithm of `softmax`."""
    return ops.log_softmax(x, axis)


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x))."""
    return ops.softplus(x)


def leaky_relu(x: Tensor, negative_slope: float = 0.2) -> Tensor:
    """x where x > 0, else negative_slope · x (Keras's default slope is 0.2, PyTorch's 0.01)."""
    return ops.leaky_relu(x, negative_slope)


def gelu(x: Tensor, approximate: bool = False) -> Tensor:
    """x Φ(x), Φ the normal distribution function; `approximate`: by tanh."""
    return ops.gelu(x, approximate="tanh" if approximate else "none")


def name_of(value: Any) -> Any:
    """Return the name of an activation of this module; anything else as it is."""
    names = (name for name in __all__ if name != "get" and globals()[name] is value)
    return next(names, value)


def get(identifier: Any) -> Callable[[Tensor], Tensor]:
    """Return the activation of a name; a function itself; `linear` for None.

    Raises NotImplementedError for a name that is not offered.
    """
    if identifier is None:
        return linear
    if callable(identifier):
        return identifier
    if identifier not in __all__ or identifier == "get":
        names = ", ".join(name for name in __all__ if name != "get")
        raise NotImplementedError(f"activations: {identifier!r} is not offered; there is {names}")
    return globals()[identifier]
