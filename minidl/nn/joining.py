"""Which modules of a `Sequential` run as one operation: a layer with what stands behind it.

    Conv2d, ReLU, MaxPool2d   ->   F.conv2d(…, activation="relu", pool=(size, stride))
    Linear, Tanh              ->   F.linear(…, activation="tanh")

Joined is what gives the same result: modules of minidl itself, not of a subclass, on which nobody
listens. The modules stay as they are; only the call goes past those that are behind.
"""

from collections.abc import Sequence
from typing import Any

from minidl.fusion import is_on
from minidl.nn import functional as F
from minidl.nn.activation import ReLU, Sigmoid, Tanh
from minidl.nn.convolution import Conv1d, Conv2d, Conv3d
from minidl.nn.linear import Linear
from minidl.nn.module import Module
from minidl.nn.pooling import MaxPool2d

__all__ = ["run"]

_CONVOLUTIONS: frozenset[type] = frozenset({Conv1d, Conv2d, Conv3d})
_OF_LINEAR: dict[type, str] = {ReLU: "relu", Sigmoid: "sigmoid", Tanh: "tanh"}


def run(modules: Sequence[Module], x: Any) -> Any:
    """Call modules one after the other, joined where they can be."""
    i, count = 0, len(modules)
    while i < count:
        module: Any = modules[i]
        i += 1
        if type(module) in _CONVOLUTIONS and i < count and is_on() and _is_plain(module):
            activation, pool = module.activation, None
            if activation is None and _follows(modules, i, ReLU):
                activation, i = "relu", i + 1
            if type(module) is Conv2d and (activation in (None, "relu") or activation is F.relu):
                pool = _pool(modules, i)
                i += pool is not None
            x = module._convolved(x, activation, pool)
        elif type(module) is Linear and is_on() and (activation := _behind_linear(modules, i)):
            x, i = F.linear(x, module.weight, module.bias, activation), i + 1
        else:
            x = module(x)
    return x


def _follows(modules: Sequence[Module], i: int, kind: type) -> bool:
    return i < len(modules) and type(modules[i]) is kind and _is_plain(modules[i])


def _behind_linear(modules: Sequence[Module], i: int) -> str | None:
    """The activation that comes next, if the product before it takes it along."""
    layer: Any = modules[i - 1]
    if i == len(modules) or layer.activation is not None:
        return None
    both = _is_plain(layer) and _is_plain(modules[i])
    return _OF_LINEAR.get(type(modules[i])) if both else None


def _pool(modules: Sequence[Module], i: int) -> Any:
    """Size and stride of the max pooling that comes next, or None if it is no plain one."""
    if not _follows(modules, i, MaxPool2d):
        return None
    pool: Any = modules[i]
    if pool.return_indices or pool.ceil_mode:
        return None
    if pool.padding not in (0, (0, 0)) or pool.dilation not in (1, (1, 1)):
        return None
    size = pool.kernel_size
    step = size if pool.stride is None else pool.stride
    return (size, step) if _is_size(size) and _is_size(step) else None


def _is_size(value: Any) -> bool:
    """Whether a size is right, for of a wrong one the pooling itself has to speak."""
    both = value if type(value) is tuple and len(value) == 2 else (value,)
    return all(type(v) is int and v > 0 for v in both)


def _is_plain(module: Module) -> bool:
    """Whether nobody listens to a module, and its `forward` is its class's."""
    hooks = module._hooks
    return (hooks is None or not any(hooks.values())) and "forward" not in module.__dict__
