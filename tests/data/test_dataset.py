"""Data sets, and cutting and joining them: nothing is lost, nothing comes twice."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl
from minidl import random
from minidl.data import ConcatDataset, Dataset, Subset, TensorDataset, random_split
from minidl.errors import DtypeError, ShapeError


def test_tensor_dataset():
    x, y = np.arange(6, dtype=np.float32).reshape(3, 2), minidl.tensor([7, 8, 9])
    data = TensorDataset(x, y)
    assert isinstance(data, Dataset)
    assert len(data) == 3
    for index in (1, -2):
        row, label = data[index]
        assert isinstance(row, minidl.Tensor)
        assert (row.tolist(), label.tolist()) == ([2.0, 3.0], 8)
        assert (row.dtype, label.dtype) == (np.float32, np.int64)
    with pytest.raises(IndexError):
        data[3]
    assert [label.item() for _, label in data] == [7, 8, 9]  # Python's old way to iterate ends


@pytest.mark.parametrize(
    ("arrays", "error", "reason"),
    [
        ((), ValueError, "got none"),
        ((np.zeros(3), np.zeros((4, 3))), ShapeError, r"got shapes \(3,\), \(4, 3\)"),
        ((np.zeros(()),), ShapeError, r"got shapes \(\)"),
        (([1, 2],), DtypeError, "array 0 is a list; expected a tensor or an array"),
        ((np.zeros(2), np.array(["a", "b"])), DtypeError, "TensorDataset: array 1: .*offered"),
        ((minidl.tensor([1.0], requires_grad=True),), DtypeError, "requires a gradient"),
    ],
)
def test_tensor_dataset_refuses(arrays, error, reason):
    with pytest.raises(error, match=reason):
        TensorDataset(*arrays)


def test_dataset_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Dataset()


@given(st.lists(st.integers(0, 9)))
def test_subset(indices):
    subset = Subset("abcdefghij", indices)
    assert [subset[i] for i in range(len(subset))] == ["abcdefghij"[i] for i in indices]


@pytest.mark.parametrize("index", [-1, 3])
def test_subset_refuses_what_is_not_there(index):
    with pytest.raises(IndexError, match=rf"index {index} is not in 0 … 2"):
        Subset("abc", [0, index])


@pytest.mark.parametrize("indices", [[0.0, 1.0], [[0, 1]], np.array([True, False])])
def test_subset_refuses_what_is_no_index(indices):
    with pytest.raises(DtypeError, match="whole numbers"):
        Subset("abc", indices)


@given(st.lists(st.text(max_size=4), min_size=1, max_size=5))
def test_concat(parts):
    """It is the concatenation, counted from either end."""
    joined, data = "".join(parts), ConcatDataset(parts)
    assert len(data) == len(joined)
    assert [data[i] for i in range(len(data))] == list(joined)
    assert [data[i] for i in range(-len(data), 0)] == list(joined)
    for outside in (len(data), -len(data) - 1):
        with pytest.raises(IndexError, match=f"index {outside} is not"):
            data[outside]


def test_concat_of_nothing():
    with pytest.raises(ValueError, match="got none"):
        ConcatDataset([])


SIZES = st.lists(st.integers(0, 10), min_size=1, max_size=4)


@given(SIZES, st.integers(0, 2**32 - 1))
def test_random_split_is_disjoint_and_exhaustive(sizes, seed):
    parts = random_split(range(sum(sizes)), sizes, seed=seed)
    assert [len(part) for part in parts] == sizes
    assert sorted(item for part in parts for item in part) == list(range(sum(sizes)))
    again = random_split(range(sum(sizes)), sizes, seed=seed)
    assert [list(part) for part in again] == [list(part) for part in parts]


@given(st.integers(0, 50), st.sampled_from([[1.0], [0.5, 0.5], [0.7, 0.2, 0.1], [1 / 3] * 3]))
def test_random_split_by_fractions(count, fractions):
    """PyTorch's rule: rounded down, the rest one by one to the first parts."""
    parts = random_split(range(count), fractions, seed=0)
    down = [int(np.floor(count * f)) for f in fractions]
    rest = count - sum(down)
    assert [len(part) for part in parts] == [d + (i < rest) for i, d in enumerate(down)]
    assert sorted(item for part in parts for item in part) == list(range(count))


def test_random_split_shuffles():
    first, second = (list(random_split(range(50), [25, 25], seed=s)[0]) for s in (1, 2))
    assert first != second
    assert first != sorted(first)


def test_random_split_without_seed_follows_the_global_one():
    def draw(seed):
        random.manual_seed(seed)
        return [list(random_split(range(50), [50])[0]) for _ in range(2)]

    one, two = draw(1)
    assert draw(1) == [one, two]
    assert one != two
    assert draw(2)[0] != one


@pytest.mark.parametrize(
    ("lengths", "reason"),
    [
        ([3, 3], "sum to 6, the data set has 5 items"),
        ([1], "write a fraction"),
        ([], "sum to 0"),
        ([0.5, 0.6], "fractions must sum to 1"),
        ([6, -1], "negative"),
        ([float("nan"), 0.5], "negative"),
    ],
)
def test_random_split_refuses(lengths, reason):
    with pytest.raises(ValueError, match=reason):
        random_split(range(5), lengths, seed=0)
