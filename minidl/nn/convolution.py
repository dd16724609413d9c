"""Convolutions, y = f(W * x + b), their transposes, and patches."""

import math
from typing import Any, ClassVar

from minidl.nn import functional as F
from minidl.nn import init
from minidl.nn.activation import Activation, activated, checked, shown
from minidl.nn.formula import Formula
from minidl.nn.module import Module, empty_parameter
from minidl.ops import _checks
from minidl.tensor import Tensor

__all__ = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "Fold",
    "Unfold",
]

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _Convolution(Module):
    """What all convolutions share: sizes, the parameters and how they are drawn at first."""

    _axes: ClassVar[int]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: int,
        padding_mode: str,
        activation: Activation,
    ) -> None:
        super().__init__()
        who, n = type(self).__name__, self._axes
        in_channels, out_channels, groups = _checks.counts(
            who, in_channels=in_channels, out_channels=out_channels, groups=groups
        )
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{who}: {in_channels} and {out_channels} channels cannot be split into "
                f"{groups} groups"
            )
        _checks.choice(who, "padding_mode", padding_mode, *PADDING_MODES)
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = _checks.sizes(who, "kernel_size", kernel_size, n, 1)
        self.stride = _checks.sizes(who, "stride", stride, n, 1)
        self.dilation = _checks.sizes(who, "dilation", dilation, n, 1)
        self.padding = padding
        if isinstance(padding, str):
            _checks.choice(who, "padding", padding, "same", "valid")
            if padding == "same" and any(s != 1 for s in self.stride):
                raise ValueError(f"{who}: padding='same' needs stride 1, got {self.stride}")
        else:
            self.padding = _checks.sizes(who, "padding", padding, n)
        self.padding_mode = padding_mode
        self.activation = checked(who, activation)

    def _make(self, rows: int, columns: int, bias: bool, dtype: Any, device: Any) -> None:
        """Make weight (rows, columns, *kernel_size) and bias, and draw them."""
        self.weight = empty_parameter((rows, columns, *self.kernel_size), dtype, device)
        self.bias = empty_parameter((self.out_channels,), dtype, device) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew, uniform in ±1/√fan_in."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in = init.fan_in_and_out(self.weight.shape)[0]
            bound = 1 / math.sqrt(fan_in) if fan_in else 0
            init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        """The sizes, and the options that are not the usual ones."""
        usual = {"padding": 0, "dilation": 1, "output_padding": 0, "groups": 1}
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        text += f", stride={self.stride}"
        for name, number in usual.items():
            value = getattr(self, name, number)
            if value not in (number, (number,) * self._axes):
                text += f", {name}={value}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text + shown(self.activation)


class _Conv(_Convolution):
    """A kernel slides over the input; arguments and parameters are told at `Conv2d`."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: str | None = None,
        dtype: Any = None,
        *,
        activation: Activation = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups,
            padding_mode, activation,
        )  # fmt: skip
        self._make(out_channels, in_channels // groups, bias, dtype, device)

    def forward(self, x: Tensor) -> Tensor:
        """x : (N, in_channels, *S) or (in_channels, *S) -> (N, out_channels, *S')."""
        return self._convolved(x, self.activation)

    def _convolved(self, x: Tensor, activation: Activation, pool: Any = None) -> Tensor:
        """Convolve x, and what `conv2d` does behind that."""
        padding = self.padding
        if self.padding_mode != "zeros" and padding != "valid":
            x, padding = F.pad(x, self._widths(), mode=self.padding_mode), 0
        convolve = getattr(F, f"conv{self._axes}d")
        return convolve(
            x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups,
            activation, pool,
        )  # fmt: skip

    def _widths(self) -> tuple[int, ...]:
        """The padding as `pad` takes it: (before, after) from the last axis on."""
        if self.padding == "same":
            total = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
            pairs = [(t // 2, t - t // 2) for t in total]
        else:
            pairs = [(p, p) for p in self.padding]
        return tuple([width for pair in reversed(pairs) for width in pair])


class Conv1d(_Conv):
    """As `Conv2d`, for a sequence: x (N, C, L) or (C, L)."""

    _axes = 1


class Conv2d(_Conv):
    """y = f(W * x + b): a kernel slides over the input.

    in_channels, out_channels : of x and y; groups : parts of the channels that do not meet
    kernel_size, stride, dilation : an int, or one for each spatial axis
    padding : likewise, or "same" (y as large as x) or "valid" (none)
    padding_mode : what stands in the padding: "zeros", "reflect", "replicate" or "circular"
    activation : f, the name of an activation or a function; default: none

    weight : (out_channels, in_channels / groups, *kernel_size); bias : (out_channels,); both
    uniform in ±1/√fan_in

    x : (N, C, H, W) or (C, H, W), an image
    """

    _axes = 2


class Conv3d(_Conv):
    """As `Conv2d`, for a volume: x (N, C, D, H, W) or (C, D, H, W)."""

    _axes = 3


class _ConvTranspose(_Convolution):
    """The adjoint of a convolution; arguments and parameters are told at `ConvTranspose2d`."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: str | None = None,
        dtype: Any = None,
        *,
        activation: Activation = None,
    ) -> None:
        who = type(self).__name__
        if padding_mode != "zeros":
            raise ValueError(f"{who}: padding_mode is {padding_mode!r}, only 'zeros' has a meaning")
        if isinstance(padding, str):
            raise ValueError(f"{who}: padding is {padding!r}, expected ints")
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups,
            padding_mode, activation,
        )  # fmt: skip
        self.output_padding = _checks.sizes(who, "output_padding", output_padding, self._axes)
        self._make(in_channels, out_channels // groups, bias, dtype, device)

    def forward(self, x: Tensor, output_size: Any = None) -> Tensor:
        """x : (N, in_channels, *S) or (in_channels, *S) -> (N, out_channels, *S').

        output_size : S', in place of output_padding
        """
        _checks.tensor(type(self).__name__, "x", x)
        extra = self.output_padding if output_size is None else self._extra(x, output_size)
        convolve = getattr(F, f"conv_transpose{self._axes}d")
        y = convolve(
            x, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation
        )
        return activated(self.activation, y)

    def _extra(self, x: Tensor, output_size: Any) -> tuple[int, ...]:
        """The output_padding that gives a size. Raises ValueError if none does."""
        who, n = type(self).__name__, self._axes
        several = isinstance(output_size, tuple | list)
        given = output_size[-n:] if several else output_size
        wanted = _checks.sizes(who, "output_size", given, n)
        found = []
        for n, m, k, s, p, d in zip(
            x.shape[-self._axes :], wanted, self.kernel_size, self.stride, self.padding,
            self.dilation, strict=True,
        ):  # fmt: skip
            least = (n - 1) * s - 2 * p + d * (k - 1) + 1
            if not least <= m < least + s:
                raise ValueError(
                    f"{type(self).__name__}: output_size is {wanted}; for this input "
                    f"an axis may be {least} to {least + s - 1}, not {m}"
                )
            found.append(m - least)
        return tuple(found)


class ConvTranspose1d(_ConvTranspose):
    """As `ConvTranspose2d`, for a sequence: x (N, C, L) or (C, L)."""

    _axes = 1


class ConvTranspose2d(_ConvTranspose):
    """y = f(Wᵀ * x + b): each number of x spreads a kernel over y; the adjoint of a convolution.

    The arguments are those of the convolution that would make x of y.
    output_padding : positions to add at one end, where several sizes of y would give that of x

    weight : (in_channels, out_channels / groups, *kernel_size); bias : (out_channels,)

    x : (N, C, H, W) or (C, H, W), an image
    """

    _axes = 2


class ConvTranspose3d(_ConvTranspose):
    """As `ConvTranspose2d`, for a volume: x (N, C, D, H, W) or (C, D, H, W)."""

    _axes = 3


class Unfold(Formula, function="unfold", kernel_size=..., dilation=1, padding=0, stride=1):
    """The patches of an image as columns: (N, C, H, W) -> (N, C · kernel's size, patches)."""


class Fold(
    Formula, function="fold", output_size=..., kernel_size=..., dilation=1, padding=0, stride=1
):
    """Patches summed back into an image: the adjoint of Unfold."""
