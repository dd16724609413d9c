"""Normalisation with Keras's defaults: momentum is the share of the old, eps is 1e-3."""

import math
from collections.abc import Sequence
from typing import Any

from minidl import ops
from minidl.device import array_module
from minidl.errors import ShapeError
from minidl.keras.layers.base import Layer, Shape
from minidl.nn import functional as F
from minidl.nn.module import not_offered
from minidl.ops.normalization import normalize_channels
from minidl.tape import tie, touch
from minidl.tensor import Tensor

__all__ = ["BatchNormalization", "LayerNormalization"]


class BatchNormalization(Layer):
    """Each channel to mean 0 and variance 1, times gamma, plus beta. Ioffe and Szegedy 2015.

    momentum : running = momentum · running + (1 - momentum) · new, with the biased variance
    axis : that of the channels; center, scale : whether there is a beta, a gamma

    gamma, beta, moving_mean, moving_variance : (channels,). With trainable=False it uses the
    running statistics in training as well.
    """

    moving_mean: Any
    moving_variance: Any

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.axis, self.momentum, self.epsilon = axis, momentum, epsilon
        self.center, self.scale = center, scale
        self.beta_initializer, self.gamma_initializer = beta_initializer, gamma_initializer
        self.moving_mean_initializer = moving_mean_initializer
        self.moving_variance_initializer = moving_variance_initializer

    def build(self, input_shape: Shape) -> None:
        """Make the four vectors."""
        if not (len(input_shape) >= 2 and -len(input_shape) <= self.axis < len(input_shape)):
            raise ShapeError(
                f"BatchNormalization {self.name!r}: the input {input_shape} has no axis {self.axis}"
            )
        shape = (self.known(input_shape[self.axis], f"axis {self.axis} of the input"),)
        self._sizes = {self.axis: shape[0]}
        self.gamma = self.beta = None
        if self.scale:
            self.gamma = self.add_weight("gamma", shape, self.gamma_initializer)
        if self.center:
            self.beta = self.add_weight("beta", shape, self.beta_initializer)
        self.add_weight("moving_mean", shape, self.moving_mean_initializer, trainable=False)
        self.add_weight("moving_variance", shape, self.moving_variance_initializer, trainable=False)

    def call(self, x: Tensor, mask: Any = None) -> Tensor:
        """x : any shape -> the same."""
        x = ops.movedim(x, self.axis, 1)
        if self.training and self.trainable:
            not_offered("BatchNormalization", mask=mask is not None)
            out = self._by_batch(x)
        else:
            mean, var = self.moving_mean, self.moving_variance
            out = ops.batch_norm(x, mean, var, self.gamma, self.beta, False, 0.0, self.epsilon)
        return ops.movedim(out, 1, self.axis)

    def _by_batch(self, x: Tensor) -> Tensor:
        """x (N, C, *S) normalised by its own statistics, towards which the running ones move."""
        if math.prod(x.shape[:1] + x.shape[2:]) == 1:  # a last batch of one: variance 0
            x = x.detach()
            mean = ops.reshape(x, (-1,))
            var = tie(array_module(mean.data).zeros_like(mean.data), None)
            out = ops.batch_norm(x, mean, var, self.gamma, self.beta, False, 0.0, self.epsilon)
        else:
            out, mean, var = normalize_channels(x, self.gamma, self.beta, self.epsilon)
        for running, new in ((self.moving_mean, mean), (self.moving_variance, var)):
            running.data[...] = self.momentum * running.data + (1 - self.momentum) * new.data
            touch(running.data)
        return out


class LayerNormalization(Layer):
    """Each sample to mean 0 and variance 1 over the last axes. Ba et al. 2016.

    axis : the last axis, or the last ones; gamma, beta : of their sizes
    """

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.axis = axis
        self.axes = tuple(axis) if isinstance(axis, Sequence) else (axis,)
        self.epsilon, self.center, self.scale = epsilon, center, scale
        self.beta_initializer, self.gamma_initializer = beta_initializer, gamma_initializer

    def build(self, input_shape: Shape) -> None:
        """Make gamma and beta."""
        rank = len(input_shape)
        axes = sorted([a + rank if a < 0 else a for a in self.axes])
        if axes != list(range(rank - len(axes), rank)) or axes[0] < 1:
            raise NotImplementedError(
                f"LayerNormalization {self.name!r}: axis {self.axes} is not offered for an input "
                f"{input_shape}; it must name the last axes"
            )
        self.shape = tuple([self.known(input_shape[a], f"axis {a} of the input") for a in axes])
        self._sizes = {a - rank: input_shape[a] for a in axes}  # type: ignore[misc]
        self.gamma = self.beta = None
        if self.scale:
            self.gamma = self.add_weight("gamma", self.shape, self.gamma_initializer)
        if self.center:
            self.beta = self.add_weight("beta", self.shape, self.beta_initializer)

    def call(self, x: Tensor, mask: Any = None) -> Tensor:
        """x : any shape -> the same."""
        return F.layer_norm(x, self.shape, self.gamma, self.beta, self.epsilon)
