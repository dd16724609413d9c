"""Dense layers, y = f(x Wᵀ + b), and the layers that only reshape."""

import math
from typing import Any

from minidl.nn import functional as F
from minidl.nn import init
from minidl.nn.activation import Activation, activated, checked, shown
from minidl.nn.module import Module, empty_parameter
from minidl.ops import _checks
from minidl.tensor import Tensor

__all__ = ["Bilinear", "Flatten", "Identity", "Linear", "Unflatten"]


FUSED = ("relu", "sigmoid", "tanh")  # activations that the product applies to its result at once


class Identity(Module):
    """x itself, whatever arguments it is made with."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__()

    def forward(self, x: Any) -> Any:
        """x -> x."""
        return x


class Linear(Module):
    """y = f(x Wᵀ + b).

    in_features, out_features : sizes of the last axis of x and y
    bias : whether there is a b
    activation : f, the name of an activation or a function; default: none

    weight : (out_features, in_features), uniform in ±1/√in_features as in PyTorch; bias :
    (out_features,), likewise

    Examples
    --------
    >>> import minidl
    >>> from minidl import nn
    >>> layer = nn.Linear(784, 64, activation="relu")
    >>> layer(minidl.zeros(32, 784)).shape
    (32, 64)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: str | None = None,
        dtype: Any = None,
        *,
        activation: Activation = None,
    ) -> None:
        super().__init__()
        in_features, out_features = _checks.counts(
            "Linear", in_features=in_features, out_features=out_features
        )
        self.in_features, self.out_features = in_features, out_features
        self.activation = checked("Linear", activation)
        self.weight = empty_parameter((out_features, in_features), dtype, device)
        self.bias = empty_parameter((out_features,), dtype, device) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features else 0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """x : (*, in_features) -> (*, out_features)."""
        if self.activation in FUSED:
            return F.linear(x, self.weight, self.bias, self.activation)
        return activated(self.activation, F.linear(x, self.weight, self.bias))

    def extra_repr(self) -> str:
        """The sizes."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}{shown(self.activation)}"
        )


class Bilinear(Module):
    """y[o] = x1ᵀ W[o] x2 + b[o].

    weight : (out_features, in1_features, in2_features); bias : (out_features,); both uniform in
    ±1/√in1_features
    """

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        (in1_features,) = _checks.counts("Bilinear", 1, in1_features=in1_features)
        in2_features, out_features = _checks.counts(
            "Bilinear", in2_features=in2_features, out_features=out_features
        )
        self.in1_features, self.in2_features = in1_features, in2_features
        self.out_features = out_features
        self.weight = empty_parameter((out_features, in1_features, in2_features), dtype, device)
        self.bias = empty_parameter((out_features,), dtype, device) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        bound = 1 / math.sqrt(self.in1_features)
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """x1 : (*, in1_features), x2 : (*, in2_features) -> (*, out_features)."""
        return F.bilinear(x1, x2, self.weight, self.bias)

    def extra_repr(self) -> str:
        """The sizes."""
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )


class Flatten(Module):
    """The axes from start_dim to end_dim made into one: (N, C, H, W) -> (N, C·H·W)."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Tensor) -> Tensor:
        """x : any -> fewer axes."""
        return F.flatten(x, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """The axes."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """One axis made into several."""

    def __init__(self, dim: int, unflattened_size: Any) -> None:
        super().__init__()
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def forward(self, x: Tensor) -> Tensor:
        """x : any -> more axes."""
        return F.unflatten(x, self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        """The axis and the sizes."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
