"""Models by Keras's names: `Sequential`, a stack of layers with `compile`, `fit` and the rest."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from minidl import ops
from minidl.errors import FormatError
from minidl.files import writing
from minidl.keras import activations
from minidl.keras.fitting import Fitting, Outputs
from minidl.keras.layers.base import InputLayer, Layer, Shape
from minidl.keras.summary import print_summary
from minidl.nn.containers import ModuleList
from minidl.serialization import load, save
from minidl.tensor import Tensor

__all__ = ["Model", "Sequential"]


class Model(Fitting):
    """What models share. The functional API, Model(inputs, outputs), is not offered."""

    def __init__(self, *args: Any, name: str | None = None, **options: Any) -> None:
        if args or options.keys() & {"inputs", "outputs"}:
            raise NotImplementedError(
                "Model: inputs and outputs (the functional API) are not offered; use Sequential, "
                "or minidl.nn.Module for networks of other forms"
            )
        super().__init__(name=name, **options)
        self.layers: Any = ModuleList()

    # ---- files ----------------------------------------------------------------------------------

    def save_weights(self, filepath: str | os.PathLike[str], overwrite: bool = True) -> None:
        """Write the weights to a file, in the safetensors format whatever its ending.

        Raises FileExistsError if there is one and not `overwrite`, ValueError if the model is not
        built.
        """
        if not self.built:
            raise ValueError("save_weights: the model is not built: it has no weights yet")
        if not overwrite and Path(filepath).exists():
            raise FileExistsError(f"save_weights: {os.fspath(filepath)} is there already")
        with writing("save_weights", filepath):
            save(self.state_dict(), filepath)

    def load_weights(self, filepath: str | os.PathLike[str]) -> None:
        """Read what `save_weights` wrote, all or nothing.

        Raises FormatError if it is another kind of file, or of another model.
        """
        with open(filepath, "rb") as file:
            if file.read(4) == b"\x89HDF":
                raise FormatError(
                    f"load_weights: {os.fspath(filepath)} is Keras's HDF5 file, which is not read "
                    "here; pass the arrays of Keras's model.get_weights() to set_weights"
                )
        if not self.built:
            raise ValueError("load_weights: the model is not built: give its input's shape first")
        self.load_state_dict(load(filepath))

    def save(self, filepath: Any, **options: Any) -> NoReturn:
        """Not offered in Keras's formats; `minidl.save_model` writes a folder."""
        raise NotImplementedError(
            "save: Keras's formats of whole models are not offered; use save_weights, or "
            "minidl.save_model(model, folder), which minidl.load_model reads"
        )

    def summary(  # type: ignore[override]
        self,
        line_length: int | None = None,
        print_fn: Callable[[str], Any] | None = None,
    ) -> None:
        """Print the layers with output shapes and numbers of parameters, as Keras does."""
        print_summary(self, line_length, print_fn)


class Sequential(Model):
    """Layers one after another.

    layers : Layers, and models; an `Input` first, or `input_shape=` of the first layer, gives the
        shape of the input, and the weights are made at once, else when the first data come

    Examples
    --------
    >>> from minidl.keras import Sequential, layers
    >>> model = Sequential([layers.Input((784,)), layers.Dense(10, activation="softmax")])
    >>> model.count_params()
    7850
    """

    def __init__(self, layers: Sequence[Layer] = (), name: str | None = None, **options: Any):
        super().__init__(name=name, **options)
        for layer in layers:
            self.add(layer)

    def add(self, layer: Layer) -> None:
        """Put a layer at the end. Raises ValueError for an Input that does not come first."""
        if not isinstance(layer, Layer):
            raise TypeError(
                f"Sequential: {layer!r} is no layer of minidl.keras; give one of keras.layers"
            )
        if isinstance(layer, InputLayer):
            if self.layers or self.given_shape is not None:
                raise ValueError("Sequential: an Input comes first, and once")
            self.given_shape = layer.given_shape
            return
        if layer in self.layers:
            raise ValueError(f"Sequential: layer {layer.name!r} is in this model already")
        if not self.layers and self.given_shape is None:
            self.given_shape = layer.given_shape
        if not self.built and self.given_shape is not None:
            self._fix(self.given_shape)
        if self.built:
            shape = self.output_shape
            layer.ensure_built(shape)
            layer.compute_output_shape(shape)  # refuses what does not fit
        self.layers.append(layer)

    def pop(self) -> Layer:
        """Take the last layer away and return it. Raises ValueError if there is none."""
        if not self.layers:
            raise ValueError("pop: there is no layer")
        return self.layers.pop()

    def _fix(self, input_shape: Shape) -> None:
        """From now on the input has this shape."""
        self.input_shape = tuple(input_shape)
        self._ranks = (len(input_shape),)
        self._sizes = {a: n for a, n in enumerate(input_shape) if a and n is not None}
        self.built = True

    def build(self, input_shape: Shape) -> None:
        """Make the weights for an input shape, with the batch."""
        if not self.layers:
            raise ValueError(f"Sequential {self.name!r}: it has no layers")
        shape = self.input_shape = tuple(input_shape)
        for layer in self.layers:
            layer.ensure_built(shape)
            shape = layer.compute_output_shape(shape)
        self.built = True

    @property
    def output_shape(self) -> Shape:
        """The shape of the output, with None for the batch."""
        return self.compute_output_shape(self.input_shape)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the output for an input shape."""
        for layer in self.layers:
            input_shape = layer.compute_output_shape(input_shape)
        return input_shape

    @property
    def final(self) -> Any:
        """The activation of the last layer."""
        return self.layers[-1].final if self.layers else None

    def _taken(self, x: Any) -> Tensor:
        """The input as the first layer wants it; a last axis of size 1 is added or taken off."""
        if not self.layers:
            raise ValueError(f"Sequential {self.name!r}: it has no layers")
        x = self.layers[0]._taken(x)
        if self._ranks and x.ndim == self._ranks[0] - 1 and self.input_shape[-1] == 1:
            return ops.unsqueeze(x, -1)
        if self._ranks and x.ndim == self._ranks[0] + 1 and x.shape[-1] == 1:
            return ops.squeeze(x, -1)
        return x

    def run(self, x: Any) -> Outputs:
        """Run on a batch; the mask is that of the output."""
        x = self._taken(x)
        self.ensure_built((None, *x.shape[1:]))
        self._check(x.shape)
        return self._through(x, None)

    def _through(self, x: Tensor, mask: Any) -> Outputs:
        for layer in list(self.layers)[:-1]:
            x, mask = layer.masked(x, mask)
        last = self.layers[-1]
        if isinstance(last, Sequential):
            return last._through(last._taken(x), mask)
        for name in ("softmax", "sigmoid"):
            if last.final is getattr(activations, name):
                logits = last.before(x, mask)
                return Outputs(last.final(logits), logits, name, last.compute_mask(x, mask))
        values, mask = last.masked(x, mask)
        return Outputs(values, None, None, mask)

    def call(self, x: Tensor, mask: Any = None) -> Tensor:
        """Run the layers."""
        return self._through(x, mask).values

    def masked(self, x: Tensor, mask: Any) -> tuple[Tensor, Any]:
        """Return output and mask, from one run."""
        out = self._through(self._taken(x), mask)
        return out.values, out.mask

    def compute_mask(self, x: Any, mask: Any = None) -> Any:
        """Return the mask of the output, which takes a run."""
        return self._through(self._taken(x), mask).mask

    def before(self, x: Tensor, mask: Any = None) -> Any:
        """What goes into the last activation, a softmax or sigmoid."""
        return self._through(x, mask).logits

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """Return a layer by its name or its place. Raises ValueError if there is none."""
        if index is not None:
            return self.layers[index]
        for layer in self.layers:
            if layer.name == name:
                return layer
        names = ", ".join(layer.name for layer in self.layers)
        raise ValueError(f"get_layer: no layer is called {name!r}; there is {names}")
