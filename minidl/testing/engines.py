"""The engines whose tensors can be checked: minidl, and those like PyTorch."""

import contextlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl import autograd, tape
from minidl.device import array_module, to_host
from minidl.tape import TensorBase, tie
from minidl.testing.points import Array


class Minidl:
    """How minidl's tensors are made, tracked and differentiated."""

    kind = "minidl"
    classes: tuple[type, ...] = (TensorBase,)

    def lift(self, array: Array, like: Any) -> Any:
        """Return a tensor over `array`, on the device of `like` (in C order, if no host)."""
        on_host = not isinstance(like, TensorBase) or isinstance(like.data, np.ndarray)
        return tie(array if on_host else array_module(like.data).asarray(array), None)

    def array(self, tensor: Any) -> Array:
        """Return the values of a tensor on the host."""
        return to_host(tensor.data)

    def kind_of(self, tensor: Any) -> str:
        """Return "f" for floats, as in `dtype.kind`."""
        return str(tensor.data.dtype.kind)

    def quiet(self) -> Any:
        """Return a with-block in which nothing is recorded."""
        return autograd.no_grad()

    def loud(self) -> Any:
        """Return a with-block in which operations are recorded."""
        return autograd.enable_grad()

    def grad(self, ys: Any, xs: Any, us: Any, graph: bool) -> Sequence[Any]:
        """Return Σ Jᵀu for each of `xs`, None where there is no path."""
        return tape.grad(ys, xs, us, retain_graph=True, create_graph=graph, allow_unused=True)


class TorchLike:
    """The same for tensors with PyTorch's methods; their package is never imported here."""

    kind = "torch-like"

    def __init__(self, example: Any) -> None:
        self.classes: tuple[type, ...] = (type(example),)
        package = sys.modules[type(example).__module__.partition(".")[0]]
        self.autograd = getattr(package, "autograd", None)
        self.no_grad = getattr(package, "no_grad", contextlib.nullcontext)
        self.enable_grad = getattr(package, "enable_grad", contextlib.nullcontext)

    def lift(self, array: Array, like: Any) -> Any:
        """Return a copy of `like` that holds the values of `array`."""
        made = like.detach().clone()
        if made.numpy().shape != array.shape:
            made = made.new_zeros(array.shape)
        made.numpy()[...] = array
        return made

    def array(self, tensor: Any) -> Array:
        """Return the values of a tensor on the host."""
        return np.asarray(tensor.detach().numpy())

    def kind_of(self, tensor: Any) -> str:
        """Return "f" for floats, as in `dtype.kind`."""
        return str(self.array(tensor).dtype.kind)

    def quiet(self) -> Any:
        """Return a with-block in which nothing is recorded."""
        return self.no_grad()

    def loud(self) -> Any:
        """Return a with-block in which operations are recorded."""
        return self.enable_grad()

    def grad(self, ys: Any, xs: Any, us: Any, graph: bool) -> Sequence[Any]:
        """Return Σ Jᵀu for each of `xs`, None where there is no path."""
        if self.autograd is not None:
            found: Sequence[Any] = self.autograd.grad(
                ys, xs, us, retain_graph=True, create_graph=graph, allow_unused=True
            )
            return found
        if graph:
            raise NotImplementedError(
                "this engine has no autograd.grad, so orders above 1 cannot be checked"
            )
        for y, u in zip(ys, us, strict=True):
            y.backward(u, retain_graph=True)
        return [x.grad for x in xs]


def is_torch_like(x: Any) -> bool:
    """Whether `x` is a tensor of an engine like PyTorch: it has the three methods needed here."""
    wanted = ("detach", "requires_grad_", "numpy")
    return not isinstance(x, (np.ndarray, TensorBase)) and all(hasattr(x, m) for m in wanted)
