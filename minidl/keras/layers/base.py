"""Layer: what Keras's layers share. Its weights lie in Keras's layout and are made by `build`."""

import inspect
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from minidl.conversion import as_array
from minidl.device import device_of, to_device, to_host
from minidl.dtypes import get_default_dtype
from minidl.errors import ShapeError
from minidl.keras import activations, initializers
from minidl.nn.module import Module, Parameter, not_offered
from minidl.tape import TensorBase, tie, touch
from minidl.tensor import Tensor

__all__ = ["Input", "InputLayer", "Layer", "Shape", "auto_name", "forget_names"]

Shape = tuple[int | None, ...]  # None: of any size; the batch comes first
_counts: Counter[str] = Counter()


def auto_name(kind: str) -> str:
    """Return the name that Keras gives: "conv2d", "conv2d_1" … for Conv2D."""
    snake = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", kind)
    snake = re.sub("([a-z])([A-Z])", r"\1_\2", snake).lower()
    _counts[snake] += 1
    return snake if _counts[snake] == 1 else f"{snake}_{_counts[snake] - 1}"


def forget_names() -> None:
    """Count layers' names from the start again."""
    _counts.clear()


class Layer(Module):
    """A module whose weights are made when the shape of its input is known.

    name : default: the class's name, counted
    trainable : whether its weights are learnt; may be set at any time before `fit`
    input_shape : the shape of one input, for the first layer of a model (input_dim: of a vector)

    A subclass makes its weights in `build(input_shape)` and says what it computes in
    `call(x, mask)`. Shapes have the batch in front, None for what may be of any size; a mask is
    a boolean array (N, T), False for steps that do not count. Outside of `fit` a layer is in
    evaluation mode. Options that are not known raise NotImplementedError.
    """

    supports_masking: ClassVar[bool] = True  # whether a mask goes on to the next layer
    _ranks: tuple[int, ...] = ()  # how many axes the input may have; (): any number

    def __init__(
        self,
        *,
        name: str | None = None,
        trainable: bool = True,
        dtype: Any = None,
        input_shape: Sequence[int | None] | None = None,
        batch_input_shape: Sequence[int | None] | None = None,
        input_dim: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        who = type(self).__name__
        not_offered(who, **options)
        not_offered(who, dtype=dtype not in (None, "float32"))
        self.name = auto_name(who) if name is None else name
        self.training = False
        self.built = False
        self.built_shape: Shape | None = None  # for which `ensure_built` made the weights
        self._trainable = trainable
        self._sizes: dict[int, int] = {}  # what build has fixed of the input's axes
        self.given_shape: Shape | None = None
        if batch_input_shape is not None:
            self.given_shape = tuple(batch_input_shape)
        elif input_dim is not None:
            self.given_shape = (None, input_dim)
        elif input_shape is not None:
            self.given_shape = (None, *input_shape)

    @property
    def final(self) -> Any:
        """The activation with which the layer ends, or None; see `before`."""
        return None

    # ---- what a subclass says -------------------------------------------------------------------

    def build(self, input_shape: Shape) -> None:
        """Make the weights for an input shape (with the batch)."""

    def call(self, x: Tensor, mask: Any = None) -> Tensor:
        """Compute the output."""
        raise NotImplementedError(f"{type(self).__name__}: it does not say what it computes (call)")

    def before(self, x: Tensor, mask: Any = None) -> Tensor:
        """What goes into the activation `final`, for layers that end in one."""
        raise NotImplementedError(f"{type(self).__name__} does not end in an activation")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the output for an input shape."""
        return input_shape

    def compute_mask(self, x: Any, mask: Any = None) -> Any:
        """Return the mask of the output; a layer that passes none on says so in a warning."""
        if mask is not None and not self.supports_masking:
            warnings.warn(
                f"{type(self).__name__} {self.name!r} does not support masks: what follows takes "
                "all steps as if they counted",
                stacklevel=2,
            )
            return None
        return mask

    def masked(self, x: Tensor, mask: Any) -> tuple[Tensor, Any]:
        """Run, and return output and mask."""
        return self(x, mask=mask), self.compute_mask(x, mask)

    # ---- weights --------------------------------------------------------------------------------

    def add_weight(
        self, name: str, shape: Sequence[int], initializer: Any, trainable: bool = True
    ) -> Any:
        """Make a weight, as attribute `name`: a parameter, or a buffer if not `trainable`."""
        values = initializers.get(initializer)(tuple(shape), get_default_dtype())
        values = to_device(as_array(type(self).__name__, values, get_default_dtype()), None)
        if trainable:
            setattr(self, name, Parameter(values, requires_grad=self._trainable))
        else:
            self.register_buffer(name, tie(values, None))
        return getattr(self, name)

    @property
    def weights(self) -> list[Any]:
        """All weights in Keras's order: a layer's own, learnt ones first, then those below."""
        own = [(m._own(Parameter), m._own_buffers(persistent=True)) for m in self.modules()]
        return [w for learnt, kept in own for _, w in (*learnt, *kept)]

    @property
    def trainable_weights(self) -> list[Any]:
        """The weights that are learnt."""
        return [w for w in self.weights if w.requires_grad]

    @property
    def non_trainable_weights(self) -> list[Any]:
        """The weights that are not learnt."""
        return [w for w in self.weights if not w.requires_grad]

    @property
    def trainable(self) -> bool:
        """Whether the weights are learnt."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for module in self.modules():
            if isinstance(module, Layer):
                module._trainable = value
        self.requires_grad_(value)

    def get_weights(self) -> list[np.ndarray[Any, Any]]:
        """Return copies of the weights as NumPy arrays, in Keras's order and layout."""
        return [to_host(w.data).copy() for w in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set the weights, given as `get_weights` returns them, all or nothing.

        Raises ValueError for another number of them, ShapeError for shapes that differ.
        """
        own = self.weights
        if len(weights) != len(own):
            raise ValueError(
                f"set_weights: {self.name} has {len(own)} weights, got {len(weights)}"
                + ("" if self.built else "; it is not built yet: give it its input's shape first")
            )
        values = [as_array("set_weights", w) for w in weights]
        for place, (value, weight) in enumerate(zip(values, own, strict=True)):
            if value.shape != weight.shape:
                raise ShapeError(
                    f"set_weights: weight {place} of {self.name} has shape {weight.shape}, "
                    f"got {value.shape}"
                )
        for value, weight in zip(values, own, strict=True):
            weight.data[...] = to_device(value.astype(weight.dtype), device_of(weight.data))
            touch(weight.data)

    def count_params(self) -> int:
        """Return how many numbers the weights have. Raises ValueError for a layer not built."""
        if not self.built:
            raise ValueError(
                f"count_params: {self.name} is not built: its input's shape is unknown"
            )
        return sum(w.numel() for w in self.weights)

    def config_options(self) -> dict[str, Any]:
        """Return the options with which the constructor makes this layer again, for `save_model`.

        They are read from the attributes of their names. How weights begin is left out, for they
        are loaded; so are options of which one value alone is offered.
        """
        found: dict[str, Any] = {"name": self.name, "trainable": self._trainable}
        if self.given_shape is not None:
            found["batch_input_shape"] = self.given_shape
        for kind in type(self).__mro__[: type(self).__mro__.index(Layer)]:
            own = vars(kind).get("__init__")
            for name in inspect.signature(own).parameters if own else ():
                if name != "self" and not name.endswith("_initializer") and hasattr(self, name):
                    found.setdefault(name, activations.name_of(getattr(self, name)))
        return found

    # ---- running --------------------------------------------------------------------------------

    def ensure_built(self, input_shape: Shape) -> None:
        """Build the layer once, after a check of the number of axes."""
        if not self.built:
            self._check(input_shape)
            self.build(input_shape)
            self.built, self.built_shape = True, tuple(input_shape)

    def forward(self, x: Any, training: bool | None = None, mask: Any = None) -> Tensor:
        """Run the layer on a tensor or array; it is built if it was not.

        training : None leaves the mode as it is: evaluation, except within `fit`
        """
        if isinstance(x, InputLayer):
            raise NotImplementedError(
                f"{type(self).__name__}: calling a layer on an Input (the functional API) is not "
                "offered; use Sequential"
            )
        if training is not None and bool(training) != self.training:
            self.train(bool(training))
            try:
                return self.forward(x, None, mask)
            finally:
                self.train(not training)
        x = self._taken(x)
        self.ensure_built((None, *x.shape[1:]))
        self._check(x.shape)
        return self.call(x, mask)

    def _taken(self, x: Any) -> Tensor:
        """The input as a tensor of floats, of the weights' dtype."""
        if not isinstance(x, TensorBase):
            x = tie(to_device(as_array(type(self).__name__, x), None), None)
        if x.dtype == get_default_dtype():
            return x
        return x.to(next((w.dtype for w in self.weights), get_default_dtype()))

    def _check(self, shape: Shape) -> None:
        """Raise ShapeError unless the input has the axes that the layer was built for."""
        ranks = self._ranks
        fits = (not ranks or len(shape) in ranks) and all(
            -len(shape) <= axis < len(shape) and shape[axis] in (size, None)
            for axis, size in self._sizes.items()
        )
        if not fits:
            wanted = [f"{' or '.join(map(str, ranks))} axes with the batch"] if ranks else []
            wanted += [f"axis {axis} of size {size}" for axis, size in self._sizes.items()]
            raise ShapeError(
                f"{type(self).__name__} {self.name!r}: the input has shape {shape}, expected "
                + ", ".join(wanted)
            )

    def known(self, size: int | None, what: str) -> int:
        """Return a size of the input, or raise ShapeError if it is open."""
        if size is None:
            raise ShapeError(f"{type(self).__name__} {self.name!r}: {what} must be known, not None")
        return size

    def extra_repr(self) -> str:
        """The name."""
        return f"name={self.name!r}"


class InputLayer(Layer):
    """The shape of a model's input; no layer of its own in `model.layers`."""

    def __init__(
        self,
        shape: Sequence[int | None] | None = None,
        batch_size: int | None = None,
        dtype: Any = None,
        batch_shape: Sequence[int | None] | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name=name, **options)
        if (shape is None) == (batch_shape is None) and self.given_shape is None:
            raise ValueError("Input: give shape=, that of one input without the batch")
        if batch_shape is not None:
            self.given_shape = tuple(batch_shape)
        elif shape is not None:
            whole = hasattr(shape, "__index__")
            self.given_shape = (batch_size, *((shape,) if whole else tuple(shape)))

    def call(self, x: Tensor, mask: Any = None) -> Tensor:
        """x itself."""
        return x


def Input(
    shape: Sequence[int | None] | None = None,
    batch_size: int | None = None,
    dtype: Any = None,
    batch_shape: Sequence[int | None] | None = None,
    name: str | None = None,
    **options: Any,
) -> InputLayer:
    """Return the description of an input, to stand first in `Sequential`.

    shape : that of one input, None for an axis of any size; dtype is taken and without effect
    """
    return InputLayer(shape, batch_size, dtype, batch_shape, name, **options)
