"""What a trainer needs to know of data: a loader for it, and the tensors, size and form of a batch.

A batch is a tensor, or tensors in nested tuples, lists and dicts.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from typing import Any

import numpy as np

from minidl import ops
from minidl.data import DataLoader, TensorDataset
from minidl.device import is_array, to_host
from minidl.errors import ShapeError
from minidl.tensor import Tensor

__all__ = [
    "as_loader",
    "batch_size_of",
    "form_of",
    "joined",
    "leaves",
    "mapped",
    "moved",
    "opened",
    "plain",
]


def as_loader(who: str, data: Any, batch_size: int, shuffle: bool) -> DataLoader:
    """Return a loader of the data; a DataLoader is returned as it is.

    data : a DataLoader, a Dataset (anything with a length and items), an array, or a tuple of
        arrays of equal length

    Raises TypeError for anything else, ValueError for an empty data set. Without shuffling no seed
    is drawn, so judging a model does not change how it is trained afterwards.
    """
    if isinstance(data, DataLoader):
        return data
    if isinstance(data, Tensor) or is_array(data):
        data = (data,)
    if isinstance(data, tuple | list) and data and all(_is_table(part) for part in data):
        data = TensorDataset(*data)
    elif isinstance(data, tuple) or not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
        raise TypeError(
            f"{who}: data is {_described(data)}; expected a DataLoader, a Dataset, an array or a "
            "tuple of arrays (x, y)"
        )
    elif isinstance(data, Mapping):
        raise TypeError(f"{who}: data is a dict; pass a Dataset whose items are dicts")
    if len(data) == 0:
        raise ValueError(f"{who}: the data set is empty")
    return DataLoader(data, batch_size=batch_size, shuffle=shuffle, seed=None if shuffle else 0)


def opened(loader: DataLoader, epoch: int, start: int = 0) -> AbstractContextManager[Iterator[Any]]:
    """Return an epoch's batches from number `start` on; the with-block ends the loader's thread."""
    made: Any = loader.batches(epoch, start)
    return closing(made)


def _is_table(part: Any) -> bool:
    return isinstance(part, Tensor) or is_array(part)


def _described(data: Any) -> str:
    if isinstance(data, tuple):
        return f"a tuple of {', '.join(type(part).__name__ for part in data) or 'nothing'}"
    return f"a {type(data).__name__}"


def leaves(batch: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each tensor or other value of a batch with its place: "[0]", "['x']", "" alone."""
    if isinstance(batch, Mapping):
        for key, part in batch.items():
            yield from leaves(part, f"{path}[{key!r}]")
    elif isinstance(batch, tuple | list) and not all(isinstance(part, str) for part in batch):
        for place, part in enumerate(batch):
            yield from leaves(part, f"{path}[{place}]")
    else:
        yield path, batch


def mapped(function: Callable[[Tensor], Any], batch: Any) -> Any:
    """Return the batch with each of its tensors replaced by `function(tensor)`."""
    if isinstance(batch, Tensor):
        return function(batch)
    if isinstance(batch, Mapping):
        return {key: mapped(function, part) for key, part in batch.items()}
    if isinstance(batch, tuple | list):
        parts = [mapped(function, part) for part in batch]
        if isinstance(batch, tuple) and hasattr(batch, "_fields"):
            return type(batch)(*parts)
        return type(batch)(parts)
    return batch


def moved(batch: Any, device: str | None) -> Any:
    """Return the batch with its arrays as tensors, on a device (None: where they are)."""
    if is_array(batch):
        batch = Tensor(batch)
    return batch if device is None else mapped(lambda x: x.to(device=device), batch)


def batch_size_of(batch: Any) -> int:
    """Return the number of samples: the first size of the first tensor that has axes."""
    for _, value in leaves(batch):
        shape: tuple[int, ...] = getattr(value, "shape", ())
        if shape:
            return shape[0]
    return 1


def form_of(batch: Any) -> Any:
    """Return the kind of the batch, and its keys or length, to compare with other batches'."""
    if isinstance(batch, Mapping):
        return f"a dict with the keys {sorted(map(repr, batch))}".replace('"', "")
    if isinstance(batch, tuple | list):
        return f"a {type(batch).__name__} of {len(batch)}"
    return f"a {type(batch).__name__}"


def joined(who: str, parts: list[Any]) -> Any:
    """Return the outputs of several batches as one: tensors one after another, tuples by place."""
    first = parts[0]
    if isinstance(first, tuple | list):
        return tuple(joined(who, list(column)) for column in zip(*parts, strict=True))
    if isinstance(first, Mapping):
        return {key: joined(who, [part[key] for part in parts]) for key in first}
    if not isinstance(first, Tensor):
        raise TypeError(f"{who}: the model returned a {type(first).__name__}, expected a tensor")
    if any(part.shape[1:] != first.shape[1:] for part in parts):
        shapes = sorted({part.shape[1:] for part in parts})
        raise ShapeError(
            f"{who}: outputs of the batches differ beyond their first axis: {shapes}; pad the data "
            "to one size, or call the model batch by batch"
        )
    return ops.cat(parts, dim=0)


def plain(value: Any) -> Any:
    """Return a figure as JSON can hold it: a number, or a list of a larger array."""
    if isinstance(value, Tensor):
        value = value.data
    if isinstance(value, np.generic) or is_array(value):
        return to_host(value).tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return [plain(part) for part in value]
    return value
