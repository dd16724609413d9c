"""Tensor: an array with a place on the tape; what it does that is an op stands in methods.py."""

import builtins
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minidl import ops, random, tape
from minidl.conversion import as_array, as_index
from minidl.device import (
    array_module,
    device,
    device_of,
    is_channels_last,
    to_device,
)
from minidl.dtypes import as_dtype
from minidl.errors import DeviceError, DtypeError, ShapeError
from minidl.methods import Methods
from minidl.ops.indexing import write_index
from minidl.ops.transfer import to_place
from minidl.printing import describe
from minidl.tape import Leaf, TensorBase, mode, tensor_class, tie, touch

__all__ = ["Handle", "Tensor"]


class Handle:
    """What `register_hook` returns: `remove()` takes the hook away again."""

    def __init__(self, hooks: dict[int, Any], key: int) -> None:
        self._hooks, self._key = hooks, key

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        self._hooks.pop(self._key, None)


@tensor_class
class Tensor(Methods):
    """An array and, if a gradient may be asked of it, its place on the tape.

    data : a NumPy or CuPy array, shared and not copied; anything else is made into one
    requires_grad : whether gradients of what is computed from it may be asked for (floats only)

    Attributes: `data` (the array), `grad` (a tensor or None), `shape`, `dtype`, `device`. Methods
    have PyTorch's names and meaning. `minidl.tensor(…)` copies; `from_numpy` shares.
    """

    __slots__ = ()
    __array_ufunc__ = None  # so that `array * tensor` comes to Tensor.__rmul__

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        self.data = as_array("Tensor", data)
        self._grad = None
        self.node: Any = None
        self.born = 0
        if requires_grad:
            self.requires_grad_()

    # ---- what it is -----------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""
        return self.data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The kind of its numbers; equal to its name: `x.dtype == "float32"`."""
        return self.data.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.data.ndim

    @property
    def device(self) -> device:
        """Where it lives: "cpu" or "cuda:0"."""
        return device_of(self.data)

    @property
    def requires_grad(self) -> bool:
        """Whether it has a place on the tape; assign to ask for a gradient or to stop asking."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    @property
    def is_leaf(self) -> bool:
        """Whether a gradient ends here: it was made by the user, not by an op."""
        return self.node is None or type(self.node) is Leaf

    @property
    def grad_fn(self) -> Any:
        """The operation that made it; None for a leaf."""
        node = getattr(self.node, "node", self.node)
        return None if self.is_leaf else node.op

    @property
    def T(self) -> "Tensor":
        """The matrix transposed (for 2 axes; all axes reversed otherwise)."""
        return ops.permute(self, tuple(range(self.ndim))[::-1])

    @property
    def mT(self) -> "Tensor":
        """The last two axes swapped."""
        return ops.transpose(self, -1, -2)

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the length of one axis."""
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        """The number of axes."""
        return self.data.ndim

    def numel(self) -> int:
        """The number of elements."""
        return self.data.size

    def element_size(self) -> int:
        """The number of bytes of an element."""
        return self.data.itemsize

    def stride(self) -> tuple[int, ...]:
        """Elements to go in memory for one step along each axis."""
        return tuple([s // self.data.itemsize for s in self.data.strides])

    def is_contiguous(self, memory_format: str = "contiguous_format") -> bool:
        """Whether it lies in memory without gaps in the order of a format."""
        if memory_format == "channels_last":
            return is_channels_last(self.data)
        return bool(self.data.flags.c_contiguous)

    def is_floating_point(self) -> bool:
        """Whether its numbers are floats."""
        return self.data.dtype.kind == "f"

    # ---- gradients ------------------------------------------------------------------------------

    @property
    def grad(self) -> "Tensor | None":
        """The sum of the gradients that backward passes brought here; None before the first."""
        return self._grad

    @grad.setter
    def grad(self, value: "Tensor | None") -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(f"grad: expected a Tensor or None, got {type(value).__name__}")
            ours, given = self.data, value.data
            alike = type(ours) is type(given) is np.ndarray or value.device == self.device
            if given.shape != ours.shape or not alike:
                raise ShapeError(
                    f"grad: {value.shape} on {value.device} does not fit a tensor "
                    f"{self.shape} on {self.device}"
                )
        self._grad = value

    def requires_grad_(self, requires_grad: bool = True) -> "Tensor":
        """Ask for this tensor's gradient, or no longer. Only floats have one (DtypeError)."""
        if requires_grad and self.node is None:
            if self.data.dtype.kind != "f":
                raise DtypeError(
                    f"requires_grad: only floats have gradients, not {self.dtype} (use .float())"
                )
            self.node = Leaf(self)
        elif not requires_grad and self.node is not None:
            if not self.is_leaf:
                raise RuntimeError(
                    "requires_grad: this tensor was computed from others that require a "
                    "gradient; use .detach() for its value alone"
                )
            self.node = None
        return self

    def backward(
        self,
        gradient: Any = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Any = None,
    ) -> None:
        """Add d(self)/d(leaf) to `.grad` of every leaf below; see `minidl.backward`."""
        tape.backward(self, gradient, retain_graph, create_graph, inputs)

    def detach(self) -> "Tensor":
        """The same memory, without a place on the tape: a constant."""
        made = tie(self.data, None)
        made.born = next(tape.clock)
        return made

    def register_hook(self, hook: Callable[["Tensor"], Any]) -> Handle:
        """Call `hook(gradient)` when this tensor's gradient is complete in a backward pass.

        What the hook returns, if anything, takes the gradient's place; it must not change it.
        Raises RuntimeError if the tensor requires no gradient.
        """
        if not callable(hook):
            raise TypeError(f"register_hook: {hook!r} cannot be called")
        if self.node is None:
            raise RuntimeError("register_hook: this tensor does not require a gradient")
        if self.node.hooks is None:
            self.node.hooks = {}
        key = next(tape.clock)
        self.node.hooks[key] = hook
        return Handle(self.node.hooks, key)

    def retain_grad(self) -> None:
        """Fill `.grad` in a backward pass although this is not a leaf."""
        if self.node is None:
            raise RuntimeError("retain_grad: this tensor does not require a gradient")
        if not self.is_leaf:
            me = weakref.ref(self)

            def keep(g: Tensor) -> None:
                tensor = me()
                if tensor is not None:
                    tensor._grad = g if tensor._grad is None else tensor._grad + g

            self.register_hook(keep)

    # ---- to and from other worlds ---------------------------------------------------------------

    def _plain(self, who: str) -> Any:
        """The array on the host, refusing what would lose a gradient or copy from a device."""
        if self.node is not None:
            raise RuntimeError(f"{who}: this tensor requires a gradient; use .detach().{who}()")
        if type(self.data) is not np.ndarray:
            raise DeviceError(f"{who}: this tensor is on {self.device}; use .cpu().{who}()")
        return self.data

    def numpy(self) -> np.ndarray[Any, Any]:
        """Its array, shared and read-only. Raises RuntimeError if it requires a gradient."""
        view = self._plain("numpy").view()
        view.flags.writeable = False
        return view

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            if copy is False:
                raise ValueError(f"numpy: {array.dtype} cannot become {dtype} without a copy")
            return array.astype(dtype)
        return array.copy() if copy else array

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: Any = None,
        dl_device: Any = None,
        copy: bool | None = None,
    ) -> Any:
        if self.node is not None:
            raise BufferError("dlpack: this tensor requires a gradient; use .detach() first")
        data = self.data
        if type(data) is not np.ndarray:
            return data.__dlpack__(stream=stream)
        if not data.flags.writeable or any(s < 0 for s in data.strides):
            if copy is False:
                raise BufferError(
                    "dlpack: this memory is read-only or runs backwards and cannot be shared; "
                    "allow a copy, or export tensor.clone()"
                )
            copy = True
        return (data.copy() if copy else data).__dlpack__(stream=stream)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.data.__dlpack_device__()

    def item(self) -> Any:
        """Its only number, as Python's. Raises ShapeError if it holds another count."""
        if self.data.size != 1:
            raise ShapeError(f"item: the tensor has shape {self.shape}, expected one element")
        return self.data.item()

    def tolist(self) -> Any:
        """Its numbers as nested lists of Python's."""
        return self.data.tolist()

    def to(self, *args: Any, dtype: Any = None, device: Any = None, copy: bool = False) -> "Tensor":
        """On another device, as another dtype, or as another tensor is; itself if it is so.

        `x.to("cuda")`, `x.to("float64")`, `x.to(other)`, `x.to(device=…, dtype=…)`
        """
        for a in args:
            if isinstance(a, TensorBase):
                device, dtype = device_of(a.data), a.data.dtype
            elif isinstance(a, str) and (a == "cpu" or a.startswith("cuda")):
                device = a
            else:
                dtype = a
        result = self
        place = None if device is None else _device(device)
        if place is not None and device_of(self.data) != place:
            result = to_place(result, place, device_of(self.data))
        if dtype is not None and as_dtype(dtype) != result.data.dtype:
            result = tape.to_dtype(result, as_dtype(dtype))
        return ops.clone(result) if copy and result is self else result

    def cpu(self) -> "Tensor":
        """On the host."""
        return self.to(device="cpu")

    def cuda(self, index: int = 0) -> "Tensor":
        """On a GPU."""
        return self.to(device=f"cuda:{index}")

    def type_as(self, other: "Tensor") -> "Tensor":
        """As the dtype of another tensor."""
        return self.to(dtype=other.dtype)

    def float(self) -> "Tensor":
        """As float32."""
        return self.to(dtype="float32")

    def double(self) -> "Tensor":
        """As float64."""
        return self.to(dtype="float64")

    def half(self) -> "Tensor":
        """As float16."""
        return self.to(dtype="float16")

    def int(self) -> "Tensor":
        """As int32."""
        return self.to(dtype="int32")

    def long(self) -> "Tensor":
        """As int64."""
        return self.to(dtype="int64")

    def bool(self) -> "Tensor":
        """As truth values."""
        return self.to(dtype="bool")

    def __repr__(self) -> str:
        return describe(self)

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else repr(self)

    def __len__(self) -> builtins.int:
        if not self.data.ndim:
            raise TypeError("len: a tensor without axes has no length")
        return self.data.shape[0]

    def __iter__(self) -> Iterator["Tensor"]:
        return iter([self[i] for i in range(len(self))])

    def __bool__(self) -> builtins.bool:
        if self.data.size != 1:
            raise ShapeError(
                f"bool: the tensor has shape {self.shape}; use .any() or .all() to ask of many"
            )
        return builtins.bool(self.data.item())

    def __int__(self) -> builtins.int:
        return builtins.int(self.item())

    def __float__(self) -> builtins.float:
        return builtins.float(self.item())

    def __index__(self) -> builtins.int:
        if self.data.dtype.kind not in "iu" or self.data.size != 1:
            raise TypeError("index: only a whole number in a tensor of one element is an index")
        return self.data.item()

    def __contains__(self, value: Any) -> builtins.bool:
        return builtins.bool((self.data == getattr(value, "data", value)).any())

    def __deepcopy__(self, memo: dict[builtins.int, Any]) -> "Tensor":
        if not self.is_leaf:
            raise RuntimeError("deepcopy: only leaves can be copied; use .detach().clone()")
        made = object.__new__(type(self))
        made.data, made.node, made.born = self.data.copy(order="K"), None, 0
        made._grad = None if self.grad is None else tie(self.grad.data.copy(), None)
        if self.node is not None:
            made.node = Leaf(made)
        memo[id(self)] = made
        return made

    def __reduce__(self) -> Any:
        raise TypeError("pickle: tensors are not pickled; use minidl.save and minidl.load")

    # ---- elements, and changes in place ---------------------------------------------------------

    def __getitem__(self, index: Any) -> "Tensor":
        return ops.getitem(self, as_index(self.data, index))

    def _assign(self, out: "Tensor") -> "Tensor":
        """Take the values of `out` into this tensor's own memory, and its place on the tape."""
        if out.data.shape != self.data.shape:
            raise ShapeError(
                f"in place: the result has shape {out.shape}, this tensor {self.shape}"
            )
        if out.data.dtype.kind == "f" and self.data.dtype.kind != "f":
            raise DtypeError(f"in place: the result is {out.dtype}, this tensor {self.dtype}")
        recording = mode.recording
        if recording and self.node is not None and type(self.node) is Leaf:
            raise RuntimeError(
                "in place: a leaf that requires a gradient cannot be changed while recording; "
                "do it under minidl.no_grad()"
            )
        _writable(self.data)
        out = out.to(dtype=self.data.dtype)
        self.data[...] = out.data
        recorded = recording and (out.node is not None or self.node is not None)
        touch(self.data, recorded=recorded)
        if recorded:  # a place recorded after the change, so that this tensor is not stale itself
            self.node = tape.alias(out).node
        return self

    def __setitem__(self, index: Any, value: Any) -> None:
        index = as_index(self.data, index)
        if not isinstance(value, TensorBase):
            value = tie(as_array("setitem", value, self.data.dtype, device_of(self.data)), None)
        tracked = value.node is not None or self.node is not None
        if mode.recording and tracked:
            self._assign(ops.index_put(self, index, value))
            return
        _writable(self.data)
        if type(value.data) is not type(self.data):
            raise DeviceError(f"setitem: the value is on {value.device}, the tensor {self.device}")
        if value.data.dtype.kind == "f" and self.data.dtype.kind != "f":
            raise DtypeError(f"setitem: the value is {value.dtype}, the tensor {self.dtype}")
        try:
            write_index(self.data, index, value.data)
        except (ValueError, TypeError) as error:
            raise ShapeError(f"setitem: value {value.shape} does not fit: {error}") from None
        touch(self.data)

    def copy_(self, other: Any) -> "Tensor":
        """Take over the values of another tensor, broadcast, in this one's dtype and device."""
        other = other if isinstance(other, Tensor) else Tensor(other)
        other = other.to(device=self.device, dtype=self.dtype)
        try:
            return self._assign(ops.expand(other, self.shape))
        except ShapeError:
            raise ShapeError(f"copy_: {other.shape} does not fit into {self.shape}") from None

    def fill_(self, value: Any) -> "Tensor":
        """Set every element to a number. Raises TypeError for anything else."""
        if isinstance(value, Tensor):
            value = value.item()
        if not isinstance(value, (builtins.bool, builtins.int, builtins.float, np.generic)):
            raise TypeError(f"fill_: {value!r} is no number")
        return self._assign(tie(array_module(self.data).full_like(self.data, value), None))

    def zero_(self) -> "Tensor":
        """Set every element to zero."""
        return self.fill_(0)

    def normal_(self, mean: builtins.float = 0.0, std: builtins.float = 1.0) -> "Tensor":
        """Fill with random numbers of the normal distribution, from the stream "sample"."""
        drawn = random.stream("sample").normal(self.shape, mean, std, self.dtype)
        return self._assign(tie(to_device(drawn, self.device), None))

    def uniform_(self, low: builtins.float = 0.0, high: builtins.float = 1.0) -> "Tensor":
        """Fill with random numbers, uniform in [low, high), from the stream "sample"."""
        drawn = random.stream("sample").uniform(self.shape, low, high, self.dtype)
        return self._assign(tie(to_device(drawn, self.device), None))

    def detach_(self) -> "Tensor":
        """Take this tensor off the tape: a constant from here on."""
        self.node = None
        return self


def _writable(data: Any) -> None:
    if type(data) is np.ndarray and not data.flags.writeable:
        raise RuntimeError(
            "in place: this tensor's memory is read-only (an expanded view, or an array that was "
            "shared read-only); change a .clone() instead"
        )


def _device(name: Any) -> device:
    return device(name)
