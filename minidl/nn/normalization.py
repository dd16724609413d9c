"""Normalisation layers: numbers brought to mean 0 and variance 1, then scaled and shifted."""

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from minidl.device import to_device
from minidl.errors import ShapeError
from minidl.nn import functional as F
from minidl.nn import init
from minidl.nn.module import Module, Parameter, empty_parameter
from minidl.ops import _checks
from minidl.tape import tie, touch
from minidl.tensor import Tensor

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "GroupNorm",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "LayerNorm",
    "RMSNorm",
]


class _Affine(Module):
    """What all of them share: a weight and a bias, of which either may be missing."""

    weight: Parameter | None
    bias: Parameter | None

    def reset_parameters(self) -> None:
        """Set weight to one and bias to zero."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


class _Running(_Affine):
    """What layers with statistics for each channel share.

    num_features : C, the number of channels
    momentum : the share of the new in the running statistics; None: the mean of all so far
    affine : whether there is a weight for each channel and, unless bias=False, a bias
    track_running_stats : whether running statistics are kept and used in evaluation

    weight, bias : (C,), one and zero at first; buffers running_mean, running_var : (C,);
    num_batches_tracked : whole number
    """

    _ranks: ClassVar[tuple[int, ...]]
    running_mean: Any
    running_var: Any
    num_batches_tracked: Any

    def __init__(
        self,
        num_features: int,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
        device: str | None,
        dtype: Any,
        bias: bool,
    ) -> None:
        super().__init__()
        (num_features,) = _checks.counts(type(self).__name__, num_features=num_features)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.weight = empty_parameter(num_features, dtype, device) if affine else None
        self.bias = empty_parameter(num_features, dtype, device) if affine and bias else None
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, None)
        if track_running_stats:
            self.running_mean = empty_parameter(num_features, dtype, device).detach()
            self.running_var = empty_parameter(num_features, dtype, device).detach()
            self.num_batches_tracked = tie(to_device(np.zeros((), "int64"), device), None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forget the running statistics: mean 0, variance 1, no batch seen."""
        if self.track_running_stats:
            init.zeros_(self.running_mean)
            init.ones_(self.running_var)
            init.zeros_(self.num_batches_tracked)

    def reset_parameters(self) -> None:
        """Set everything to its first value."""
        self.reset_running_stats()
        super().reset_parameters()

    def _check(self, x: Tensor) -> None:
        _checks.tensor(type(self).__name__, "x", x)
        if x.ndim not in self._ranks:
            wanted = " or ".join(map(str, self._ranks))
            raise ShapeError(
                f"{type(self).__name__}: x has shape {x.shape}, expected {wanted} axes"
            )

    def extra_repr(self) -> str:
        """The options."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, bias={self.bias is not None}, "
            f"track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_Running):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: str | None = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias
        )

    def forward(self, x: Tensor) -> Tensor:
        """x : (N, C, *S) -> the same shape; a batch's own statistics are used in training."""
        self._check(x)
        own = self.training or self.running_mean is None
        keep = self.training and self.track_running_stats
        out = F.batch_norm(
            x,
            self.running_mean if keep or not own else None,
            self.running_var if keep or not own else None,
            self.weight,
            self.bias,
            own,
            self._share() if keep else 0.0,
            self.eps,
        )
        if keep:  # only now, so that a batch that was refused does not count
            self.num_batches_tracked.data[...] += 1
            touch(self.num_batches_tracked.data)
        return out

    def _share(self) -> float:
        """The share of the next batch in the running statistics."""
        if self.momentum is None:
            return 1 / (1 + float(self.num_batches_tracked.data))
        return self.momentum


class BatchNorm1d(_BatchNorm):
    """Normalise each channel over the batch: x (N, C) or (N, C, L). Ioffe and Szegedy 2015."""

    _ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Normalise each channel over batch and image: x (N, C, H, W). Ioffe and Szegedy 2015."""

    _ranks = (4,)


class BatchNorm3d(_BatchNorm):
    """Normalise each channel over batch and volume: x (N, C, D, H, W)."""

    _ranks = (5,)


class _InstanceNorm(_Running):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: str | None = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias
        )

    def forward(self, x: Tensor) -> Tensor:
        """x : (N, C, *S) or (C, *S) -> the same shape."""
        self._check(x)
        if x.ndim == self._ranks[0]:
            return self.forward(x.reshape((1, *x.shape))).reshape(x.shape)
        own = self.training or self.running_mean is None
        return F.instance_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            own,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )


class InstanceNorm1d(_InstanceNorm):
    """Normalise each channel of each sequence by itself: x (N, C, L) or (C, L)."""

    _ranks = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """Normalise each channel of each image by itself: x (N, C, H, W) or (C, H, W)."""

    _ranks = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """Normalise each channel of each volume by itself: x (N, C, D, H, W) or (C, D, H, W)."""

    _ranks = (4, 5)


class GroupNorm(_Affine):
    """Normalise each sample over groups of channels: x (N, C, *). Wu and He 2018.

    num_groups : must divide num_channels (ValueError); weight, bias : (num_channels,) if affine
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: str | None = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        num_groups, num_channels = _checks.counts(
            "GroupNorm", num_groups=num_groups, num_channels=num_channels
        )
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(
                f"GroupNorm: {num_channels} channels cannot be split into {num_groups} groups"
            )
        self.num_groups, self.num_channels = num_groups, num_channels
        self.eps, self.affine = eps, affine
        self.weight = empty_parameter(num_channels, dtype, device) if affine else None
        self.bias = empty_parameter(num_channels, dtype, device) if affine and bias else None
        self.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """x : (N, C, *) -> the same shape."""
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """The options."""
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class _Trailing(_Affine):
    """What LayerNorm and RMSNorm share: normalisation over the last axes."""

    eps: float | None

    def __init__(
        self, normalized_shape: Any, elementwise_affine: bool, dtype: Any, device: Any
    ) -> None:
        super().__init__()
        several = isinstance(normalized_shape, Iterable) and not isinstance(normalized_shape, str)
        self.normalized_shape = tuple(
            _checks.integer(type(self).__name__, "normalized_shape", n)
            for n in (normalized_shape if several else [normalized_shape])
        )
        self.elementwise_affine = elementwise_affine
        given = elementwise_affine
        self.weight = empty_parameter(self.normalized_shape, dtype, device) if given else None

    def extra_repr(self) -> str:
        """The options."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class LayerNorm(_Trailing):
    """Normalise over the last axes, whose sizes are `normalized_shape`. Ba et al. 2016.

    weight, bias : normalized_shape, one and zero at first; bias=False leaves the bias out
    """

    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(normalized_shape, elementwise_affine, dtype, device)
        self.eps = eps
        given = elementwise_affine and bias
        self.bias = empty_parameter(self.normalized_shape, dtype, device) if given else None
        self.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """x : (*, *normalized_shape) -> the same shape."""
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """The options."""
        return f"{super().extra_repr()}, bias={self.bias is not None}"


class RMSNorm(_Trailing):
    """Divide by the root of the mean square over the last axes. Zhang and Sennrich 2019.

    eps : added to the mean square; None: the dtype's own. weight : normalized_shape
    """

    def __init__(
        self,
        normalized_shape: Any,
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(normalized_shape, elementwise_affine, dtype, device)
        self.eps, self.bias = eps, None
        self.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """x : (*, *normalized_shape) -> the same shape."""
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)
