"""Layers around a layer: in both directions of a sequence, and at each of its steps."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from minidl import ops
from minidl.errors import ShapeError
from minidl.keras.layers.base import Layer, Shape
from minidl.keras.layers.recurrent import Recurrent
from minidl.ops import _checks
from minidl.tensor import Tensor

__all__ = ["Bidirectional", "TimeDistributed"]


class Bidirectional(Layer):
    """A recurrent layer read from the front and, with weights of its own, from the end.

    layer : an LSTM, GRU or SimpleRNN that has not run yet
    merge_mode : "concat", "sum", "mul" or "ave" of both outputs; 0 at steps that do not count
    Schuster and Paliwal 1997.
    """

    _ranks = (3,)

    def __init__(
        self,
        layer: Recurrent,
        merge_mode: str | None = "concat",
        backward_layer: Any = None,
        **options: Any,
    ) -> None:
        if not isinstance(layer, Recurrent):
            raise TypeError(f"Bidirectional: expected a recurrent layer, got {layer!r}")
        if layer.built:
            raise ValueError(f"Bidirectional: {layer.name!r} has run; give a layer without weights")
        if merge_mode is None:
            raise NotImplementedError("Bidirectional: merge_mode=None (a list) is not offered")
        _checks.choice("Bidirectional", "merge_mode", merge_mode, "concat", "sum", "mul", "ave")
        if layer.given_shape is not None:
            options.setdefault("batch_input_shape", layer.given_shape)
        super().__init__(**options)
        self.merge_mode = merge_mode
        self.forward_layer, self.backward_layer = layer, backward_layer
        if backward_layer is None:
            self.backward_layer = deepcopy(layer)
            self.backward_layer.go_backwards = not layer.go_backwards
            self.backward_layer.name = f"backward_{layer.name}"
            layer.name = f"forward_{layer.name}"
        elif (
            not isinstance(backward_layer, Recurrent)
            or backward_layer.go_backwards == layer.go_backwards
            or backward_layer.return_sequences != layer.return_sequences
        ):
            raise ValueError(
                "Bidirectional: backward_layer must be a recurrent layer that differs in "
                "go_backwards and agrees in return_sequences"
            )

        for one in (self.forward_layer, self.backward_layer):
            one.zero_output_for_mask = True

    def config_options(self) -> dict[str, Any]:
        """As of other layers; the first layer is the option `layer`."""
        return {"layer": self.forward_layer} | super().config_options()

    def build(self, input_shape: Shape) -> None:
        """Build both layers."""
        self.forward_layer.ensure_built(input_shape)
        self.backward_layer.ensure_built(input_shape)
        self._sizes = dict(self.forward_layer._sizes)

    def call(self, x: Tensor, mask: Any = None) -> Tensor:
        """x : (N, T, inputs) -> both outputs, merged; those of the second in the order of x."""
        a, b = self.forward_layer(x, mask=mask), self.backward_layer(x, mask=mask)
        if self.forward_layer.return_sequences:
            b = ops.flip(b, (1,))
        if self.merge_mode == "concat":
            return ops.cat((a, b), -1)
        if self.merge_mode == "mul":
            return a * b
        return a + b if self.merge_mode == "sum" else (a + b) / 2

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """As of the layer; "concat" doubles the last axis if both have one size."""
        *lead, units = self.forward_layer.compute_output_shape(input_shape)
        if self.merge_mode == "concat":
            units += self.backward_layer.units
        return (*lead, units)

    def compute_mask(self, x: Any, mask: Any = None) -> Any:
        """As of the layer."""
        return self.forward_layer.compute_mask(x, mask)


class TimeDistributed(Layer):
    """A layer applied to each step of a sequence (N, T, …), with the same weights."""

    def __init__(self, layer: Layer, **options: Any) -> None:
        if not isinstance(layer, Layer):
            raise TypeError(f"TimeDistributed: expected a layer, got {layer!r}")
        super().__init__(**options)
        self.layer = layer

    @property
    def final(self) -> Any:
        """The layer's activation."""
        return self.layer.final

    def build(self, input_shape: Shape) -> None:
        """Build the layer for one step."""
        if len(input_shape) < 3:
            raise ShapeError(
                f"TimeDistributed {self.name!r}: the input has shape {input_shape}, expected steps "
                "behind the batch: (N, T, …)"
            )
        self.layer.ensure_built((input_shape[0], *input_shape[2:]))

    def _each(self, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        out = function(ops.reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:])))
        return ops.reshape(out, (*x.shape[:2], *out.shape[1:]))

    def before(self, x: Tensor, mask: Any = None) -> Tensor:
        """What goes into the layer's activation, at each step."""
        return self._each(self.layer.before, x)

    def call(self, x: Tensor, mask: Any = None) -> Tensor:
        """x : (N, T, …) -> (N, T, …)."""
        return self._each(self.layer, x)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """That of the layer, with the steps behind the batch."""
        first, steps, *rest = input_shape
        return (first, steps, *self.layer.compute_output_shape((first, *rest))[1:])
