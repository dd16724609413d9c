"""Pooling of sequences (N, T, C) and images (N, H, W, C): by windows, and of the whole."""

import math
from typing import Any, ClassVar

from minidl import ops
from minidl.device import array_module
from minidl.errors import ShapeError
from minidl.keras.layers.base import Layer, Shape
from minidl.keras.layers.convolution import (
    channels_back,
    channels_first,
    flat,
    same_padding,
    windows_along,
)
from minidl.keras.layers.core import channels_last
from minidl.nn import functional as F
from minidl.ops import _checks
from minidl.tape import tie
from minidl.tensor import Tensor

__all__ = [
    "AveragePooling1D",
    "AveragePooling2D",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "MaxPooling1D",
    "MaxPooling2D",
]


class _Pooling(Layer):
    """Pooling by windows.

    pool_size : of a window; strides : None is pool_size; padding : "valid" leaves out what fills
    no window, "same" lets windows reach over the border
    """

    supports_masking = False
    _axes: ClassVar[int]

    def __init__(
        self,
        pool_size: Any = 2,
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        who = type(self).__name__
        channels_last(self, data_format)
        self.pool_size = _checks.sizes(who, "pool_size", pool_size, self._axes, 1)
        self.strides = (
            self.pool_size
            if strides is None
            else _checks.sizes(who, "strides", strides, self._axes, 1)
        )
        self.padding = str(padding).lower()
        _checks.choice(who, "padding", self.padding, "valid", "same")

    def _pool(self, x: Tensor) -> Tensor:
        """Pool x (N, C, *S) whose windows fit."""
        raise NotImplementedError

    def _pool_padded(self, x: Tensor, around: tuple[int, ...]) -> Tensor:
        """Pool x (N, C, *S) that is to be continued; what is added must not count."""
        raise NotImplementedError

    def call(self, x: Tensor, mask: Any = None) -> Tensor:
        """x : (N, *S, C) -> (N, *windows, C)."""
        x = channels_first(x)
        around: tuple[int, ...] = ()
        if self.padding == "same":
            once = (1,) * self._axes
            around = flat(same_padding(x.shape[2:], self.pool_size, self.strides, once))
        out = self._pool_padded(x, around) if any(around) else self._pool(x)
        return channels_back(out)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(N, *windows, C). Raises ShapeError if no window fits."""
        each = zip(input_shape[1:-1], self.pool_size, self.strides, strict=True)
        counts = [windows_along(n, k, s, 1, self.padding) for n, k, s in each]
        if any(n is not None and n < 1 for n in counts):
            raise ShapeError(
                f"{type(self).__name__} {self.name!r}: a window {self.pool_size} does not fit "
                f"into the input {input_shape}"
            )
        return (input_shape[0], *counts, input_shape[-1])


class _MaxPooling(_Pooling):
    def _pool(self, x: Tensor) -> Tensor:
        pool = F.max_pool1d if self._axes == 1 else F.max_pool2d
        return pool(x, self.pool_size, self.strides)

    def _pool_padded(self, x: Tensor, around: tuple[int, ...]) -> Tensor:
        return self._pool(F.pad(x, around, value=-math.inf))


class _AveragePooling(_Pooling):
    def _pool(self, x: Tensor) -> Tensor:
        pool = F.avg_pool1d if self._axes == 1 else F.avg_pool2d
        return pool(x, self.pool_size, self.strides)

    def _pool_padded(self, x: Tensor, around: tuple[int, ...]) -> Tensor:
        ones = tie(array_module(x.data).ones((1, 1, *x.shape[2:]), x.dtype), None)
        return self._pool(F.pad(x, around)) / self._pool(F.pad(ones, around))


class MaxPooling1D(_MaxPooling):
    """The largest of each window of a sequence; see `MaxPooling2D`."""

    _axes = 1
    _ranks = (3,)


class MaxPooling2D(_MaxPooling):
    """The largest of each window of an image.

    pool_size : one int or two, of a window; strides : None is pool_size; padding : "valid" leaves
    out what fills no window, "same" lets windows reach over the border
    """

    _axes = 2
    _ranks = (4,)


class AveragePooling1D(_AveragePooling):
    """The mean of each window of a sequence; see `MaxPooling2D`."""

    _axes = 1
    _ranks = (3,)


class AveragePooling2D(_AveragePooling):
    """The mean of each window of an image, of what lies within it; see `MaxPooling2D`."""

    _axes = 2
    _ranks = (4,)


class _Global(Layer):
    """Pooling of all places. keepdims : the pooled axes stay, with size 1."""

    supports_masking = False
    _axes: ClassVar[tuple[int, ...]]

    def __init__(
        self, data_format: str | None = None, keepdims: bool = False, **options: Any
    ) -> None:
        super().__init__(**options)
        channels_last(self, data_format)
        self.keepdims = keepdims

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(N, C), with ones between if keepdims."""
        between = (1,) * len(self._axes) if self.keepdims else ()
        return (input_shape[0], *between, input_shape[-1])


class _GlobalAverage(_Global):
    def call(self, x: Tensor, mask: Any = None) -> Tensor:
        """x : (N, *S, C) -> (N, C)."""
        return ops.mean(x, self._axes, self.keepdims)


class _GlobalMax(_Global):
    def call(self, x: Tensor, mask: Any = None) -> Tensor:
        """x : (N, *S, C) -> (N, C)."""
        return ops.amax(x, self._axes, self.keepdims)


class GlobalAveragePooling1D(_GlobalAverage):
    """The mean over all steps; with a mask, over those that count."""

    _axes = (1,)
    _ranks = (3,)

    def call(self, x: Tensor, mask: Any = None) -> Tensor:
        """x : (N, T, C) -> (N, C)."""
        if mask is None:
            return super().call(x)
        counts = tie(mask[:, :, None].astype(x.dtype), None)
        return ops.sum(x * counts, 1, self.keepdims) / ops.sum(counts, 1, self.keepdims)

    def compute_mask(self, x: Any, mask: Any = None) -> Any:
        """None: the steps are gone."""
        return None


class GlobalAveragePooling2D(_GlobalAverage):
    """The mean over all pixels."""

    _axes = (1, 2)
    _ranks = (4,)


class GlobalMaxPooling1D(_GlobalMax):
    """The largest over all steps."""

    _axes = (1,)
    _ranks = (3,)


class GlobalMaxPooling2D(_GlobalMax):
    """The largest over all pixels."""

    _axes = (1, 2)
    _ranks = (4,)
