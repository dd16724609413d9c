"""Dense layers, embeddings, dropout, and the layers that only reshape."""

import math
from collections.abc import Sequence
from typing import Any

from minidl import ops
from minidl.conversion import as_array
from minidl.device import to_device
from minidl.errors import ShapeError
from minidl.keras import activations
from minidl.keras.layers.base import Layer, Shape
from minidl.nn import functional as F
from minidl.nn.linear import FUSED
from minidl.nn.module import not_offered
from minidl.tape import TensorBase, tie
from minidl.tensor import Tensor

__all__ = ["Activated", "Activation", "Dense", "Dropout", "Embedding", "Flatten", "Reshape"]


class Activated(Layer):
    """A layer that ends in an activation: `before` computes what goes into it."""

    def __init__(self, activation: Any = None, **options: Any) -> None:
        super().__init__(**options)
        self.activation = activations.get(activation)

    @property
    def final(self) -> Any:
        """The activation."""
        return self.activation

    def call(self, x: Tensor, mask: Any = None) -> Tensor:
        """activation(before(x))."""
        return self.activation(self.before(x, mask))


class Activation(Activated):
    """A function by its name, or any function of a tensor."""

    def before(self, x: Tensor, mask: Any = None) -> Tensor:
        """x itself."""
        return x


class Dense(Activated):
    """y = activation(x kernel + bias) for the last axis of x.

    kernel : (inputs, units), bias : (units,)
    """

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        **options: Any,
    ) -> None:
        super().__init__(activation, **options)
        self.units, self.use_bias = positive(self, "units", units), use_bias
        self.kernel_initializer, self.bias_initializer = kernel_initializer, bias_initializer

    def build(self, input_shape: Shape) -> None:
        """Make kernel and bias."""
        if len(input_shape) < 2:
            raise ShapeError(f"Dense {self.name!r}: the input has shape {input_shape}, no features")
        inputs = self.known(input_shape[-1], "the last axis of the input")
        self._sizes = {-1: inputs}
        self.kernel = self.add_weight("kernel", (inputs, self.units), self.kernel_initializer)
        self.bias = (
            self.add_weight("bias", (self.units,), self.bias_initializer) if self.use_bias else None
        )

    def call(self, x: Tensor, mask: Any = None) -> Tensor:
        """activation(before(x)), in one operation where `linear` knows the activation."""
        name = next((n for n in FUSED if self.activation is getattr(ops, n)), None)
        if name is None:
            return self.activation(self.before(x, mask))
        return F.linear(x, ops.transpose(self.kernel, 0, 1), self.bias, name)

    def before(self, x: Tensor, mask: Any = None) -> Tensor:
        """x : (N, …, inputs) -> (N, …, units)."""
        return F.linear(x, ops.transpose(self.kernel, 0, 1), self.bias)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The last axis becomes `units`."""
        return (*input_shape[:-1], self.units)


class Embedding(Layer):
    """A row of a table for each whole number.

    embeddings : (input_dim, output_dim), uniform in ±0.05 at first
    mask_zero : 0 stands for padding: the layers that follow pass over those steps
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        mask_zero: bool = False,
        input_length: int | None = None,
        **options: Any,
    ) -> None:
        if input_length is not None:
            options.setdefault("input_shape", (input_length,))
        super().__init__(**options)
        self.input_dim = positive(self, "input_dim", input_dim)
        self.output_dim = positive(self, "output_dim", output_dim)
        self.embeddings_initializer, self.mask_zero = embeddings_initializer, mask_zero

    def build(self, input_shape: Shape) -> None:
        """Make the table."""
        shape = (self.input_dim, self.output_dim)
        self.embeddings = self.add_weight("embeddings", shape, self.embeddings_initializer)

    def _taken(self, x: Any) -> Tensor:
        """Whole numbers, which may come as floats."""
        if not isinstance(x, TensorBase):
            x = tie(to_device(as_array("Embedding", x), None), None)
        return x if x.dtype.kind in "iu" else x.to("int64")

    def call(self, x: Tensor, mask: Any = None) -> Tensor:
        """x : (N, T) -> (N, T, output_dim)."""
        return F.embedding(x, self.embeddings)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """An axis of size `output_dim` is added."""
        return (*input_shape, self.output_dim)

    def compute_mask(self, x: Any, mask: Any = None) -> Any:
        """Where the input is not 0."""
        return self._taken(x).data != 0 if self.mask_zero else None


class Dropout(Layer):
    """In training, numbers become 0 with probability `rate`, the rest is divided by 1 - rate."""

    def __init__(
        self,
        rate: float,
        noise_shape: Any = None,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        not_offered("Dropout", noise_shape=noise_shape, seed=seed is not None)
        if not 0 <= rate <= 1:
            raise ValueError(f"Dropout: rate is {rate}, expected 0 to 1")
        self.rate = rate

    def call(self, x: Tensor, mask: Any = None) -> Tensor:
        """x : any shape -> the same."""
        return F.dropout(x, self.rate, self.training)


class Flatten(Layer):
    """(N, a, b, …) -> (N, a b …), the last axis fastest: of images rows, columns, channels."""

    supports_masking = False

    def __init__(self, data_format: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        channels_last(self, data_format)

    def call(self, x: Tensor, mask: Any = None) -> Tensor:
        """x : (N, *) -> (N, product)."""
        return ops.reshape(x, (x.shape[0], math.prod(x.shape[1:])))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The axes behind the batch become one."""
        sizes = input_shape[1:]
        return (input_shape[0], None if None in sizes else math.prod(sizes))  # type: ignore[arg-type]


class Reshape(Layer):
    """(N, *) -> (N, *target_shape); one size may be -1: what is left."""

    supports_masking = False

    def __init__(self, target_shape: Sequence[int], **options: Any) -> None:
        super().__init__(**options)
        self.target_shape = tuple(target_shape)
        if self.target_shape.count(-1) > 1:
            raise ValueError(f"Reshape: target_shape {self.target_shape} has more than one -1")

    def call(self, x: Tensor, mask: Any = None) -> Tensor:
        """x : (N, *) -> (N, *target_shape)."""
        return ops.reshape(x, (x.shape[0], *self.compute_output_shape(x.shape)[1:]))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Fill in what -1 stands for. Raises ShapeError if the sizes do not fit."""
        sizes, wanted = input_shape[1:], self.target_shape
        if None in sizes:
            return (input_shape[0], *[None if n == -1 else n for n in wanted])
        count, fixed = math.prod(sizes), math.prod([n for n in wanted if n != -1])  # type: ignore[arg-type]
        if (count % fixed if fixed else count) or (-1 not in wanted and count != fixed):
            raise ShapeError(
                f"Reshape {self.name!r}: {sizes} holds {count} numbers, which do not fit into "
                f"{wanted}"
            )
        return (input_shape[0], *[count // fixed if n == -1 else n for n in wanted])


# ---- shared checks ------------------------------------------------------------------------------


def positive(layer: Layer, name: str, value: Any) -> int:
    """Return a whole number above 0, or raise ValueError."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
        raise ValueError(f"{type(layer).__name__}: {name} is {value!r}, expected 1 or more")
    return int(value)


def channels_last(layer: Layer, data_format: str | None) -> None:
    """Refuse images with the channels first."""
    if data_format not in (None, "channels_last"):
        raise NotImplementedError(
            f"{type(layer).__name__}: data_format={data_format!r} is not offered; images are "
            "(N, H, W, C), 'channels_last'"
        )
