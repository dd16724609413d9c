"""Convolutions of sequences (N, T, C) and images (N, H, W, C)."""

from collections.abc import Sequence
from typing import Any, ClassVar

from minidl import ops
from minidl.errors import ShapeError
from minidl.keras.layers.base import Shape
from minidl.keras.layers.core import Activated, channels_last, positive
from minidl.nn import functional as F
from minidl.ops import _checks
from minidl.tensor import Tensor

__all__ = ["Conv1D", "Conv2D", "SeparableConv2D", "channels_back", "channels_first", "same_padding"]


def channels_first(x: Tensor) -> Tensor:
    """(N, *S, C) as (N, C, *S): a view, which is how the engine's images lie in memory."""
    return ops.permute(x, (0, x.ndim - 1, *range(1, x.ndim - 1)))


def channels_back(x: Tensor) -> Tensor:
    """(N, C, *S) as (N, *S, C)."""
    return ops.permute(x, (0, *range(2, x.ndim), 1))


def same_padding(
    sizes: Sequence[int], window: Sequence[int], strides: Sequence[int], dilation: Sequence[int]
) -> list[tuple[int, int]]:
    """(before, after) for each axis, so that ceil(size / stride) windows fit; the odd one after."""
    pairs = []
    for n, k, s, d in zip(sizes, window, strides, dilation, strict=True):
        missing = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
        pairs.append((missing // 2, missing - missing // 2))
    return pairs


def flat(pairs: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """Pairs as `F.pad` wants them: the last axis first."""
    return tuple([n for pair in reversed(pairs) for n in pair])


def windows_along(
    n: int | None, window: int, stride: int, dilation: int, padding: str
) -> int | None:
    """How many windows fit along an axis; None if its size is open."""
    if n is None:
        return None
    if padding != "valid":
        return -(-n // stride)
    return (n - dilation * (window - 1) - 1) // stride + 1


class _Convolution(Activated):
    """What the convolutions share: the options, and the arithmetic of shapes."""

    supports_masking = False
    _axes: ClassVar[int]
    _paddings: ClassVar[tuple[str, ...]] = ("valid", "same")

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any,
        padding: str,
        data_format: str | None,
        dilation_rate: Any,
        activation: Any,
        use_bias: bool,
        bias_initializer: Any,
        **options: Any,
    ) -> None:
        super().__init__(activation, **options)
        who, n = type(self).__name__, self._axes
        channels_last(self, data_format)
        self.filters = positive(self, "filters", filters)
        self.kernel_size = _checks.sizes(who, "kernel_size", kernel_size, n, 1)
        self.strides = _checks.sizes(who, "strides", strides, n, 1)
        self.dilation_rate = _checks.sizes(who, "dilation_rate", dilation_rate, n, 1)
        self.padding = str(padding).lower()
        _checks.choice(who, "padding", self.padding, *self._paddings)
        self.use_bias, self.bias_initializer = use_bias, bias_initializer

    def _channels(self, input_shape: Shape) -> int:
        """The number of channels of the input, checked."""
        channels = self.known(input_shape[-1], "the number of channels")
        self._sizes = {-1: channels}
        return channels

    def _add_bias(self) -> None:
        shape = (self.filters,)
        self.bias = self.add_weight("bias", shape, self.bias_initializer) if self.use_bias else None

    def _padded(self, x: Tensor) -> Tensor:
        """x (N, C, *S) with zeros around it."""
        if self.padding == "valid":
            return x
        if self.padding == "causal":
            pairs = [(self.dilation_rate[0] * (self.kernel_size[0] - 1), 0)]
        else:
            pairs = same_padding(x.shape[2:], self.kernel_size, self.strides, self.dilation_rate)
        return F.pad(x, flat(pairs)) if any(map(any, pairs)) else x

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(N, *windows, filters). Raises ShapeError if no window fits."""
        each = zip(
            input_shape[1:-1], self.kernel_size, self.strides, self.dilation_rate, strict=True
        )
        counts = [windows_along(n, k, s, d, self.padding) for n, k, s, d in each]
        if any(n is not None and n < 1 for n in counts):
            raise ShapeError(
                f"{type(self).__name__} {self.name!r}: a kernel {self.kernel_size} does not fit "
                f"into the input {input_shape}"
            )
        return (input_shape[0], *counts, self.filters)


class _Conv(_Convolution):
    """A kernel (*kernel_size, in / groups, filters) slides over the input; it is not flipped."""

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        **options: Any,
    ) -> None:
        super().__init__(
            filters, kernel_size, strides, padding, data_format, dilation_rate, activation,
            use_bias, bias_initializer, **options,
        )  # fmt: skip
        self.groups = positive(self, "groups", groups)
        self.kernel_initializer = kernel_initializer
        if filters % groups:
            raise ValueError(f"{type(self).__name__}: groups {groups} do not divide {filters}")

    def build(self, input_shape: Shape) -> None:
        """Make kernel and bias."""
        channels = self._channels(input_shape)
        if channels % self.groups:
            raise ShapeError(
                f"{type(self).__name__} {self.name!r}: groups {self.groups} do not divide the "
                f"{channels} channels of the input {input_shape}"
            )
        shape = (*self.kernel_size, channels // self.groups, self.filters)
        self.kernel = self.add_weight("kernel", shape, self.kernel_initializer)
        self._add_bias()

    def call(self, x: Tensor, mask: Any = None) -> Tensor:
        """activation(before(x)); relu, which asks for no axis, is part of the convolution."""
        if self.activation is ops.relu:
            return self._convolved(x, ops.relu)
        return self.activation(self._convolved(x, None))

    def before(self, x: Tensor, mask: Any = None) -> Tensor:
        """x : (N, *S, in) -> (N, *windows, filters)."""
        return self._convolved(x, None)

    def _convolved(self, x: Tensor, activation: Any) -> Tensor:
        n = self._axes
        convolve = F.conv1d if n == 1 else F.conv2d
        weight = ops.permute(self.kernel, (n + 1, n, *range(n)))
        out = convolve(
            self._padded(channels_first(x)), weight, self.bias, self.strides, 0,
            self.dilation_rate, self.groups, activation,
        )  # fmt: skip
        return channels_back(out)


class Conv1D(_Conv):
    """Convolution of sequences (N, T, C); see `Conv2D`. padding may also be "causal"."""

    _axes = 1
    _ranks = (3,)
    _paddings = ("valid", "same", "causal")


class Conv2D(_Conv):
    """Convolution of images (N, H, W, C) with kernels (kh, kw, C / groups, filters).

    filters : how many channels come out; kernel_size, strides, dilation_rate : one int or two
    padding : "valid" (none) or "same" (with stride 1 the image keeps its size)
    """

    _axes = 2
    _ranks = (4,)


class SeparableConv2D(_Convolution):
    """Each channel convolved by itself, then all mixed in each pixel. Chollet 2017.

    depthwise_kernel : (kh, kw, C, depth_multiplier)
    pointwise_kernel : (1, 1, C · depth_multiplier, filters)
    """

    _axes = 2
    _ranks = (4,)

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = (1, 1),
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = (1, 1),
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        **options: Any,
    ) -> None:
        super().__init__(
            filters, kernel_size, strides, padding, data_format, dilation_rate, activation,
            use_bias, bias_initializer, **options,
        )  # fmt: skip
        self.depth_multiplier = positive(self, "depth_multiplier", depth_multiplier)
        self.depthwise_initializer = depthwise_initializer
        self.pointwise_initializer = pointwise_initializer

    def build(self, input_shape: Shape) -> None:
        """Make both kernels and the bias."""
        channels, times = self._channels(input_shape), self.depth_multiplier
        shape = (*self.kernel_size, channels, times)
        self.depthwise_kernel = self.add_weight(
            "depthwise_kernel", shape, self.depthwise_initializer
        )
        shape = (1, 1, channels * times, self.filters)
        self.pointwise_kernel = self.add_weight(
            "pointwise_kernel", shape, self.pointwise_initializer
        )
        self._add_bias()

    def before(self, x: Tensor, mask: Any = None) -> Tensor:
        """x : (N, H, W, C) -> (N, H', W', filters)."""
        channels = x.shape[-1]
        each = ops.reshape(
            ops.permute(self.depthwise_kernel, (2, 3, 0, 1)),
            (channels * self.depth_multiplier, 1, *self.kernel_size),
        )
        x = self._padded(channels_first(x))
        x = F.conv2d(x, each, None, self.strides, 0, self.dilation_rate, channels)
        mixed = F.conv2d(x, ops.permute(self.pointwise_kernel, (3, 2, 0, 1)), self.bias)
        return channels_back(mixed)
