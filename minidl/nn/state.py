"""Loading a state into tensors by name: everything is checked before anything is changed."""

import difflib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from minidl.conversion import as_array
from minidl.creation import from_dlpack
from minidl.device import device_of, is_array, to_device
from minidl.errors import FormatError
from minidl.tape import TensorBase, touch

__all__ = ["IncompatibleKeys", "load_into"]


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict(strict=False)` left out."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"IncompatibleKeys(missing_keys={self[0]}, unexpected_keys={self[1]})"


def load_into(
    who: str, own: dict[str, Any], state: Mapping[str, Any], strict: bool
) -> IncompatibleKeys:
    """Copy the state into the tensors `own` of a module named `who`, or raise FormatError."""
    if not isinstance(state, Mapping):
        raise TypeError(f"load_state_dict: expected a dict, got {type(state).__name__}")
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    problems: list[str] = []
    if strict:
        problems += [f"missing: {name} {own[name].shape}" for name in missing]
        problems += _unexpected(unexpected, missing, state)
    ready: dict[str, Any] = {}
    for name, tensor in own.items():
        if name not in state:
            continue
        try:
            ready[name] = _fitting(state[name], tensor.data)
        except (ValueError, TypeError, BufferError, RuntimeError) as error:
            problems.append(f"misfit: {name} {error}")
    if problems:
        raise FormatError(
            f"load_state_dict: the state does not fit {who}:\n  " + "\n  ".join(problems)
        )
    for name, array in ready.items():
        own[name].data[...] = array
        touch(own[name].data)
    return IncompatibleKeys(missing, unexpected)


def _unexpected(names: list[str], missing: list[str], state: Mapping[str, Any]) -> list[str]:
    """A line for each name that the module does not have, with the one that may be meant."""
    prefix = str(names[0]).partition(".")[0] + "." if names else ""
    if missing and set(missing) <= {str(n).removeprefix(prefix) for n in names}:
        return [f"unexpected: the names begin with {prefix!r}; take it off before loading"]
    lines = []
    for name in names:
        shape = getattr(state[name], "shape", None)
        close = difflib.get_close_matches(str(name), missing, n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        lines.append(f"unexpected: {name} {'' if shape is None else tuple(shape)}{hint}")
    return lines


def _fitting(value: Any, target: Any) -> Any:
    """The value as an array of `target`'s shape, dtype and device; raises with the reason if none.

    A float too large for the dtype becomes infinite, as in PyTorch.
    """
    array = _array(value)
    if array.shape != target.shape:
        raise ValueError(f"has shape {array.shape}, the module's is {target.shape}")
    if array.dtype.kind != target.dtype.kind:
        raise ValueError(f"is {array.dtype}, the module's is {target.dtype}")
    with np.errstate(over="ignore"):
        converted = array.astype(target.dtype, copy=False)
    if array.dtype.kind != "f" and (converted != array).any():
        raise ValueError(f"is {array.dtype} and does not fit into {target.dtype}")
    if not getattr(target.flags, "writeable", True):
        raise ValueError("cannot be loaded: the module's memory is read-only")
    return to_device(converted, device_of(target))


def _array(value: Any) -> Any:
    """An array of a tensor of ours, an array, or another library's tensor."""
    if isinstance(value, TensorBase):
        return value.data
    if is_array(value) or not hasattr(value, "__dlpack__"):
        return as_array("load_state_dict", value)
    value = value.detach() if hasattr(value, "detach") else value  # PyTorch exports no leaves
    return from_dlpack(value).data
