"""The `activation=` of layers y = f(W x + b): names, and the functions that they stand for."""

from typing import Any

from minidl.ops import activation as activations
from minidl.ops.elementary import tanh

__all__: list[str] = []

# Functions of one tensor that need no further option.
NAMES = (
    "celu", "elu", "gelu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu",
    "logsigmoid", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "softplus", "softshrink",
    "softsign", "tanh", "tanhshrink",
)  # fmt: skip


def named(op: str, activation: Any) -> Any:
    """Return the function of an activation, or None for none.

    activation : one of NAMES, a function, or None. Raises ValueError for anything else.
    """
    if activation is None or callable(activation):
        return activation
    if activation not in NAMES:
        raise ValueError(
            f"{op}: activation is {activation!r}; give a function or one of {', '.join(NAMES)}"
        )
    return tanh if activation == "tanh" else getattr(activations, activation)
