"""Pooling and resampling as modules: fewer positions, or more.

`stride=None` stands for the kernel's size. Sizes are an int, or one int for each spatial axis.
"""

from typing import Any, ClassVar

from minidl.nn.formula import Formula

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "Upsample",
    "UpsamplingBilinear2d",
    "UpsamplingNearest2d",
]


class _MaxPool(Formula):
    """The largest number of each window; return_indices: also where it stood, flat."""

    def __init_subclass__(cls, function: str) -> None:
        super().__init_subclass__(
            function,
            kernel_size=...,
            stride=None,
            padding=0,
            dilation=1,
            return_indices=False,
            ceil_mode=False,
        )


class MaxPool1d(_MaxPool, function="max_pool1d"):
    """The largest number of each window of a sequence: (N, C, L) -> (N, C, L')."""


class MaxPool2d(_MaxPool, function="max_pool2d"):
    """The largest number of each window of an image: (N, C, H, W) -> (N, C, H', W')."""


class MaxPool3d(_MaxPool, function="max_pool3d"):
    """The largest number of each window of a volume: (N, C, D, H, W) -> (N, C, D', H', W')."""


class AvgPool1d(
    Formula,
    function="avg_pool1d",
    kernel_size=...,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
):
    """The mean of each window of a sequence: (N, C, L) -> (N, C, L')."""


class AvgPool2d(
    Formula,
    function="avg_pool2d",
    kernel_size=...,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
):
    """The mean of each window of an image: (N, C, H, W) -> (N, C, H', W')."""


class AvgPool3d(
    Formula,
    function="avg_pool3d",
    kernel_size=...,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
):
    """The mean of each window of a volume: (N, C, D, H, W) -> (N, C, D', H', W')."""


class AdaptiveAvgPool1d(Formula, function="adaptive_avg_pool1d", output_size=...):
    """Means of windows chosen so that the output has a size: (N, C, L) -> (N, C, output_size)."""


class AdaptiveAvgPool2d(Formula, function="adaptive_avg_pool2d", output_size=...):
    """Means of windows chosen so that the output has a size; None keeps an axis."""


class AdaptiveMaxPool1d(
    Formula, function="adaptive_max_pool1d", output_size=..., return_indices=False
):
    """Largest numbers of windows chosen so that the output has a size."""


class AdaptiveMaxPool2d(
    Formula, function="adaptive_max_pool2d", output_size=..., return_indices=False
):
    """Largest numbers of windows chosen so that the output has a size; None keeps an axis."""


class Upsample(
    Formula,
    function="interpolate",
    size=None,
    scale_factor=None,
    mode="nearest",
    align_corners=None,
    recompute_scale_factor=None,
):
    """The input at more positions: the nearest number or, mode "(bi)linear", a mean of two."""


class UpsamplingNearest2d(Formula, function="interpolate", size=None, scale_factor=None):
    """An image at more positions, each with the nearest number."""


class UpsamplingBilinear2d(Formula, function="interpolate", size=None, scale_factor=None):
    """An image at more positions, linear between the old ones; the corners stay where they are."""

    _fixed: ClassVar[dict[str, Any]] = {"mode": "bilinear", "align_corners": True}
