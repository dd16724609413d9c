"""Data sets: things with a length and items, and ways to cut and join them."""

import abc
import bisect
import itertools
import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl import random
from minidl.device import array_module, is_array
from minidl.dtypes import as_dtype
from minidl.errors import DtypeError, ShapeError
from minidl.tensor import Tensor

__all__ = ["ConcatDataset", "Dataset", "Subset", "TensorDataset", "random_split"]

Array = Any  # a NumPy or CuPy array


class Dataset(abc.ABC):
    """Examples that can be counted and asked for by number: what a `DataLoader` reads.

    A subclass defines `__len__` and `__getitem__(index)` for 0 <= index < len(self). An item is an
    array, a number, or a tuple or dict of such.
    """

    @abc.abstractmethod
    def __len__(self) -> int:
        """Return the number of examples."""

    @abc.abstractmethod
    def __getitem__(self, index: int) -> Any:
        """Return the example at `index`."""


class TensorDataset(Dataset):
    """Examples that lie in arrays, one along the first axis of each.

    Parameters
    ----------
    *arrays : tensors or arrays (N, ...)
        They are not copied. An item is the tuple of their parts at one index, each a tensor.

    Raises
    ------
    ShapeError
        First sizes differ, or an array has no axes.
    DtypeError
        An array of a dtype that minidl does not offer, or something that is no array.

    Examples
    --------
    >>> import numpy as np
    >>> from minidl.data import TensorDataset
    >>> data = TensorDataset(np.eye(3, dtype=np.float32), np.arange(3))
    >>> len(data)
    3
    >>> x, y = data[1]
    >>> x.shape, y.item()
    ((3,), 1)
    """

    def __init__(self, *arrays: Any) -> None:
        if not arrays:
            raise ValueError("TensorDataset: expected one array or more, got none")
        self.arrays = tuple(
            plain_array("TensorDataset", f"array {place}", array)
            for place, array in enumerate(arrays)
        )
        shapes = [array.shape for array in self.arrays]
        if any(not shape or shape[0] != shapes[0][0] for shape in shapes):
            raise ShapeError(
                "TensorDataset: arrays are indexed by their first axis and must agree in its size; "
                f"got shapes {', '.join(map(str, shapes))}"
            )

    def __len__(self) -> int:
        return self.arrays[0].shape[0]

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        return tuple(Tensor(array[index, ...]) for array in self.arrays)


class Subset(Dataset):
    """The items of `dataset` at `indices`, in that order.

    dataset : Dataset or sequence
    indices : whole numbers, 0 <= index < len(dataset); IndexError for another
    """

    def __init__(self, dataset: Any, indices: Sequence[int] | np.ndarray[Any, Any]) -> None:
        self.dataset = dataset
        self.indices = np.asarray(indices, np.int64 if len(indices) == 0 else None)
        if self.indices.ndim != 1 or self.indices.dtype.kind not in "iu":
            raise DtypeError(
                "Subset: indices are a sequence of whole numbers; got "
                f"{self.indices.dtype.name} of shape {self.indices.shape}"
            )
        outside = self.indices[(self.indices < 0) | (self.indices >= len(dataset))]
        if outside.size:
            raise IndexError(f"Subset: index {outside[0]} is not in 0 … {len(dataset) - 1}")

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[int(self.indices[index])]


class ConcatDataset(Dataset):
    """The items of several data sets, one set after the other.

    datasets : one or more; ValueError for none
    """

    def __init__(self, datasets: Sequence[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("ConcatDataset: expected one data set or more, got none")
        self.ends = list(itertools.accumulate(len(dataset) for dataset in self.datasets))

    def __len__(self) -> int:
        return self.ends[-1]

    def __getitem__(self, index: int) -> Any:
        wanted = index + len(self) if index < 0 else index
        if not 0 <= wanted < len(self):
            raise IndexError(f"ConcatDataset: index {index} is not in 0 … {len(self) - 1}")
        which = bisect.bisect_right(self.ends, wanted)
        return self.datasets[which][wanted - (self.ends[which - 1] if which else 0)]


def random_split(
    dataset: Any, lengths: Sequence[int] | Sequence[float], seed: int | None = None
) -> list[Subset]:
    """Cut a data set at random into parts that share no item and leave none out.

    Parameters
    ----------
    dataset : Dataset or sequence
    lengths : sequence of int, or of float
        Whole numbers that sum to len(dataset), or fractions that sum to 1. A fraction is rounded
        down; what is left goes to the first parts, one item each, as in PyTorch.
    seed : int, optional
        The split is a function of it and of the lengths. Default: drawn from the stream "shuffle".

    Returns
    -------
    list of Subset

    Raises
    ------
    ValueError
        Lengths are negative or do not sum to the whole.

    Examples
    --------
    >>> from minidl.data import random_split
    >>> train, valid = random_split(range(10), [0.8, 0.2], seed=1)
    >>> len(train), len(valid)
    (8, 2)
    """
    count = len(dataset)
    if any(not math.isfinite(length) or length < 0 for length in lengths):
        raise ValueError(f"random_split: lengths must not be negative; got {list(lengths)}")
    if any(isinstance(length, float) for length in lengths):
        if not math.isclose(math.fsum(lengths), 1):
            raise ValueError(f"random_split: fractions must sum to 1; got {list(lengths)}")
        sizes = [math.floor(count * length) for length in lengths]
        for place in range(count - sum(sizes)):
            sizes[place % len(sizes)] += 1
    else:
        sizes = [operator.index(length) for length in lengths]  # type: ignore[arg-type]
    if sum(sizes) != count:
        raise ValueError(
            f"random_split: lengths {list(lengths)} sum to {sum(sizes)}, the data set has {count} "
            "items; for a share of it write a fraction such as 0.8"
        )
    order = shuffle_stream(draw_seed() if seed is None else seed).fork(2).permutation(count)
    ends = itertools.accumulate(sizes)
    return [Subset(dataset, order[end - size : end]) for end, size in zip(ends, sizes, strict=True)]


# ---- shared with the loader ---------------------------------------------------------------------


def plain_array(name: str, argument: str, value: Any) -> Array:
    """Return the array of a tensor, or an array as it is, checked to be data and of our dtypes."""
    if isinstance(value, Tensor):
        if value.requires_grad:
            raise DtypeError(
                f"{name}: {argument} requires a gradient, which data cannot pass on; pass "
                "x.detach()"
            )
        value = value.data
    if not is_array(value):
        raise DtypeError(
            f"{name}: {argument} is a {type(value).__name__}; expected a tensor or an array"
        )
    try:
        as_dtype(value.dtype)
    except DtypeError as error:
        raise DtypeError(f"{name}: {argument}: {error}") from None
    return value


def take(dataset: Any, indices: np.ndarray[Any, Any]) -> tuple[Array, ...] | None:
    """Return the arrays of a whole batch at once, or None where items must be asked for singly."""
    if type(dataset) is Subset:
        return take(dataset.dataset, dataset.indices[indices])
    if type(dataset) is TensorDataset:
        return tuple(array[array_module(array).asarray(indices)] for array in dataset.arrays)
    return None


def draw_seed() -> int:
    """Return a seed drawn from the stream "shuffle": a function of the global seed and the turn."""
    return int(random.stream("shuffle").integers(0, 2**31, ()))


def shuffle_stream(seed: int) -> Any:
    """Return the stream of a loader or a split with this seed."""
    return random.Stream(seed)
