"""Batches of a data set, in an order that is a function of seed and epoch and of nothing else."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from minidl.data.dataset import draw_seed, plain_array, shuffle_stream, take
from minidl.data.prefetch import Prefetcher
from minidl.device import array_module, is_array
from minidl.dtypes import get_default_dtype
from minidl.errors import DtypeError, FormatError, ShapeError
from minidl.random import Stream
from minidl.tensor import Tensor

__all__ = ["DataLoader", "default_collate"]

_SHOWN = 64  # items of a batch that an error names


class DataLoader:
    """Iterates over a data set in batches of tensors; each `for` over it is one epoch.

    Parameters
    ----------
    dataset : Dataset, or anything with a length and items
    batch_size : int
    shuffle : bool
        Every epoch in a random order of its own.
    drop_last : bool
        Leave out the last batch where it is smaller than `batch_size`.
    collate_fn : callable, optional
        Makes a batch of a list of items. Default: `default_collate`.
    seed : int, optional
        Default: drawn once, here, from the stream "shuffle" of `minidl.random`.
    transform : callable, optional
        transform(batch, stream) -> batch, applied to each batch: augmentation, conversion. The
        stream's draws are a function of (seed, epoch, number of the batch).
    prefetch : int
        So many batches are made ahead, in a thread, while the caller works on the one before. They
        are the same bits as with 0, which makes each when it is asked for.

    Attributes
    ----------
    seed : int
    epoch : int
        Number of the epoch that the next `for` runs through; 0 at first, one more each time.

    Raises
    ------
    ValueError
        An empty data set, `batch_size` < 1, `prefetch` < 0, or `drop_last` that would leave no
        batch.

    Examples
    --------
    >>> import numpy as np
    >>> from minidl.data import DataLoader, TensorDataset
    >>> data = TensorDataset(np.arange(10))
    >>> [x.tolist() for x, in DataLoader(data, batch_size=4)]
    [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool = False,
        drop_last: bool = False,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        seed: int | None = None,
        transform: Callable[[Any, Stream], Any] | None = None,
        prefetch: int = 0,
    ) -> None:
        batch_size = _whole("batch_size", batch_size, 1)
        if len(dataset) == 0:
            raise ValueError("DataLoader: the data set is empty")
        if drop_last and len(dataset) < batch_size:
            raise ValueError(
                f"DataLoader: drop_last=True leaves no batch: {len(dataset)} items, batch_size "
                f"{batch_size}"
            )
        self.dataset, self.batch_size = dataset, batch_size
        self.shuffle, self.drop_last = shuffle, drop_last
        self.collate_fn, self.transform = collate_fn, transform
        self.prefetch = _whole("prefetch", prefetch, 0)
        self.seed = draw_seed() if seed is None else seed
        self.epoch = 0
        self._stream = shuffle_stream(self.seed)

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        count = len(self.dataset)
        return (count if self.drop_last else count + self.batch_size - 1) // self.batch_size

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the epoch that the next `for` runs through."""
        self.epoch = epoch

    def order(self, epoch: int) -> np.ndarray[Any, Any]:
        """Return the indices of the items in the order of `epoch`."""
        count = len(self.dataset)
        return self._stream.fork(0, epoch).permutation(count) if self.shuffle else np.arange(count)

    def items(self, epoch: int, number: int) -> np.ndarray[Any, Any]:
        """Return the indices of the items of batch `number`, from 0, of `epoch`."""
        return self.order(epoch)[number * self.batch_size : (number + 1) * self.batch_size]

    def __iter__(self) -> Iterator[Any]:
        epoch, self.epoch = self.epoch, self.epoch + 1  # counted when begun, not when first asked
        return self.batches(epoch)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Any]:
        """Return an iterator over the batches of `epoch`, from number `start` on.

        No batch before `start` is made, and `self.epoch` stays: the way back into the middle of an
        epoch. The iterator has `close()`, which ends it early. Raises ValueError where `start` is
        not in 0 … len(self).
        """
        start = _whole("start", start, 0)
        if start > len(self):
            raise ValueError(f"DataLoader: start is {start}, an epoch has {len(self)} batches")
        made = self._batches(epoch, start)
        return Prefetcher(made, self.prefetch) if self.prefetch else made

    def state_dict(self) -> dict[str, int]:
        """Return what the order of the next epochs hangs on, `seed` and `epoch`, for JSON."""
        return {"seed": int(self.seed), "epoch": int(self.epoch)}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Take over what `state_dict` gave. Raises FormatError, changing nothing."""
        if not isinstance(state, Mapping) or state.keys() != {"seed", "epoch"}:
            raise FormatError(f"DataLoader: the state has the keys seed and epoch, not {state!r}")
        try:
            seed, epoch = (_whole(name, state[name], 0) for name in ("seed", "epoch"))
            stream = shuffle_stream(seed)
        except ValueError as error:
            raise FormatError(str(error)) from None
        self.seed, self.epoch, self._stream = seed, epoch, stream

    def _batches(self, epoch: int, start: int) -> Iterator[Any]:
        order = self.order(epoch)
        for number in range(start, len(self)):
            indices = order[number * self.batch_size : (number + 1) * self.batch_size]
            try:
                batch = self._batch(indices)
                if self.transform is not None:
                    batch = self.transform(batch, self._stream.fork(1, epoch, number))
            except Exception as error:
                error.add_note(f"DataLoader: making a batch of {shown_items(indices)}")
                raise
            yield batch

    def _batch(self, indices: np.ndarray[Any, Any]) -> Any:
        arrays = take(self.dataset, indices) if self.collate_fn is None else None
        if arrays is not None:
            return tuple(Tensor(array) for array in arrays)
        return (self.collate_fn or default_collate)([self.dataset[int(i)] for i in indices])


def default_collate(items: Sequence[Any]) -> Any:
    """Make one batch of a list of items, all of one form.

    Arrays and tensors of one shape are stacked along a new first axis into a tensor of their
    dtype. Python numbers become a tensor: whole numbers int64, others of the default dtype. Tuples,
    lists (into a tuple) and dicts are gone into; texts stay a list.

    Raises ShapeError where shapes, lengths or keys of the items differ, and DtypeError for items
    that cannot be stacked.

    >>> from minidl.data import default_collate
    >>> batch = default_collate([{"x": 1.5, "y": (1, "a")}, {"x": 2.5, "y": (2, "b")}])
    >>> batch["x"].tolist(), batch["y"][0].tolist(), batch["y"][1]
    ([1.5, 2.5], [1, 2], ['a', 'b'])
    """
    first = items[0]
    if isinstance(first, str | bytes):
        return list(items)
    if isinstance(first, Mapping):
        for place, item in enumerate(items):
            if not isinstance(item, Mapping) or item.keys() != first.keys():
                raise _differ(place, "the keys", list(first), item)
        return {key: default_collate([item[key] for item in items]) for key in first}
    if isinstance(first, tuple | list):
        for place, item in enumerate(items):
            if not isinstance(item, tuple | list) or len(item) != len(first):
                raise _differ(place, "the length", len(first), item)
        columns = [default_collate(column) for column in zip(*items, strict=True)]
        return type(first)(*columns) if hasattr(first, "_fields") else tuple(columns)
    if all(_is_number(item) for item in items):
        return Tensor(_numbers(items))
    arrays = [
        plain_array(
            "default_collate",
            f"item {place}",
            np.asarray(item) if isinstance(item, np.generic) or _is_number(item) else item,
        )
        for place, item in enumerate(items)
    ]
    for place, array in enumerate(arrays):
        if array.shape != arrays[0].shape:
            raise _differ(place, "the shape", arrays[0].shape, array)
    return Tensor(array_module(arrays[0]).stack(arrays))


def shown_items(indices: np.ndarray[Any, Any]) -> str:
    """Return a text that names items of a data set, for errors."""
    if len(indices) == 1:
        return f"item {indices[0]} of the data set"
    more = ", …" if len(indices) > _SHOWN else ""
    return f"items {', '.join(map(str, indices[:_SHOWN]))}{more} of the data set"


def _whole(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ValueError(f"DataLoader: {name} is a whole number, not {value!r}")
    if value < least:
        raise ValueError(f"DataLoader: {name} must be {least} or more, got {value}")
    return int(value)


def _is_number(item: Any) -> bool:
    """Whether `item` is one of Python's numbers: NumPy's have a dtype of their own, which stays."""
    return isinstance(item, int | float) and not isinstance(item, np.generic)


def _numbers(items: Sequence[Any]) -> np.ndarray[Any, Any]:
    if any(isinstance(item, float) for item in items):
        return np.asarray(items, get_default_dtype())
    if all(isinstance(item, bool) for item in items):
        return np.asarray(items, np.bool_)
    try:
        return np.asarray(items, np.int64)
    except OverflowError:
        raise DtypeError(f"default_collate: a number does not fit int64: {max(items)}") from None


def _differ(place: int, what: str, expected: Any, item: Any) -> ShapeError:
    came = repr(item)
    if is_array(item):
        came = f"of shape {item.shape}"
    elif isinstance(item, Mapping):
        came = f"a dict with {list(item)}"
    elif isinstance(item, tuple | list):
        came = f"of length {len(item)}"
    return ShapeError(
        f"DataLoader: items of a batch differ: item 0 has {what} {expected}, item {place} is "
        f"{came:.80}; pad or choose in collate_fn"
    )
