"""What is on the tape, and what happened to the memory that it refers to."""

import itertools
import threading
import weakref
from collections.abc import Callable
from typing import Any

from minidl.device import owner

clock = itertools.count(1)  # ticks at everything recorded and at every change in place


class _Mode(threading.local):
    recording = True  # per thread: one thread's no_grad() is nobody else's


mode = _Mode()


class set_recording:
    """Record operations, or do not, inside a with-block; put back even when the block raises."""

    __slots__ = ("before", "on")

    def __init__(self, on: bool) -> None:
        self.on = on

    def __enter__(self) -> None:
        self.before, mode.recording = mode.recording, self.on

    def __exit__(self, *_: object) -> None:
        mode.recording = self.before


class TensorBase:
    """What the tape knows of a tensor; `tensor.py` makes the class that users see.

    data : the array;  _grad : None or a tensor;  node : its place on the tape, None unless a
    gradient may be asked of it;  born : the time at which an untracked view was taken
    """

    __slots__ = ("__weakref__", "_grad", "born", "data", "node")
    data: Any
    _grad: Any
    node: Any
    born: int


_class: type = TensorBase
_new = object.__new__


def tensor_class(cls: type) -> type:
    """Tell the tape the class of the tensors that it makes; a class decorator, used once."""
    global _class
    _class = cls
    return cls


class Leaf:
    """Where a gradient ends. It refers to its tensor weakly, so the tape keeps no tensor alive."""

    __slots__ = ("hooks", "order", "tensor")
    hooks: dict[int, Any] | None

    def __init__(self, tensor: Any) -> None:
        self.tensor = weakref.ref(tensor)
        self.order, self.hooks = next(clock), None

    @property
    def shape(self) -> Any:
        """The shape of its tensor; None if that is gone."""
        tensor = self.tensor()
        return None if tensor is None else tensor.data.shape


class Node:
    """One recorded operation. It refers to its parents' nodes and never to a tensor.

    So there are no reference cycles, and no array is kept but those in `saved`.
    """

    __slots__ = ("dtype", "hooks", "line", "op", "order", "parents", "recipe", "saved", "shape")
    dtype: Any  # of the output, as is its shape; lists where there are several outputs
    shape: Any
    hooks: dict[int, Any] | None
    line: str
    op: Any
    order: int
    parents: list[Any]
    recipe: Any
    saved: Any  # a list of what the derivatives need; None once it was used


class Port:
    """One output of an operation that has several."""

    __slots__ = ("dtype", "hooks", "index", "node", "order", "shape")
    hooks: dict[int, Any] | None

    def __init__(self, node: Node, index: int, array: Any) -> None:
        self.node, self.index, self.order = node, index, node.order
        self.shape, self.dtype, self.hooks = array.shape, array.dtype, None

    def __eq__(self, other: object) -> bool:
        return type(other) is Port and other.node is self.node and other.index == self.index

    def __hash__(self) -> int:
        return hash((id(self.node), self.index))


def tie(array: Any, node: Any) -> Any:
    """A Tensor of an array that belongs at `node`: the constructor without its checks."""
    tensor: Any = _new(_class)
    tensor.data = array
    tensor._grad = None
    tensor.node = node
    tensor.born = 0
    return tensor


# ---- changes in place ---------------------------------------------------------------------------
# The counter belongs to the memory, so all views share it: it is kept by the array that owns the
# memory and dies with it. A node knows when it saved its values (`order`), so nothing is counted
# while recording; a backward pass compares times.

changed: dict[int, tuple[int, Any]] = {}  # id(owner) -> (time of the last change, weak reference)
rebased: dict[int, tuple[int, Any]] = {}  # the same, for changes that were recorded on the tape
last_change = 0


def _forgetter(table: dict[int, Any], key: int) -> Callable[[Any], Any]:
    """What takes an entry out of a table when the memory that it is about goes."""
    return lambda _: table.pop(key, None)


def touch(*arrays: Any, recorded: bool = False) -> None:
    """Note that the memory of `arrays` was changed in place, and that saved values in it are stale.

    recorded : the change carried a gradient, so other tensors that share the memory no longer
        agree with their place on the tape
    """
    global last_change
    time = next(clock)
    for array in arrays:
        memory = array if array.base is None else owner(array)
        key = id(memory)
        for table in (changed, rebased) if recorded else (changed,):
            entry = table.get(key)
            reference = weakref.ref(memory, _forgetter(table, key)) if entry is None else entry[1]
            table[key] = (time, reference)
    last_change = time


def changed_since(array: Any, time: int) -> bool:
    """Whether the memory of `array` was changed in place after `time`."""
    return last_change > time and changed.get(id(owner(array)), (0,))[0] > time
