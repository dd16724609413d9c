"""DataLoader: every item once, in an order that seed and epoch alone decide."""

from collections import namedtuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl
from minidl import random
from minidl.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    Subset,
    TensorDataset,
    default_collate,
)
from minidl.errors import DtypeError, ShapeError


class Squares(Dataset):
    """A data set that is asked item by item."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        assert type(index) is int
        return np.full((2,), index, np.float32), index**2


def as_arrays(count):
    """The same data, in arrays."""
    x = np.arange(count)
    return TensorDataset(np.repeat(x.astype(np.float32)[:, None], 2, 1), x**2)


def epoch(loader):
    return [tuple(part.tolist() for part in batch) for batch in loader]


def seen(loader):
    return [y for _, labels in epoch(loader) for y in labels]


# ---- order --------------------------------------------------------------------------------------


@given(
    count=st.integers(1, 30),
    batch_size=st.integers(1, 12),
    shuffle=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_each_item_once_in_batches_of_the_size(count, batch_size, shuffle, seed):
    loader = DataLoader(Squares(count), batch_size, shuffle, seed=seed)
    sizes = [len(labels) for _, labels in epoch(loader)]
    assert len(sizes) == len(loader)
    assert sizes[:-1] == [batch_size] * (len(sizes) - 1)
    assert 1 <= sizes[-1] <= batch_size
    squares = [i**2 for i in range(count)]
    assert sorted(seen(loader)) == squares
    if not shuffle:
        assert seen(loader) == squares


@given(count=st.integers(1, 30), batch_size=st.integers(1, 12), seed=st.integers(0, 100))
def test_whole_batches_at_once_equal_item_by_item(count, batch_size, seed):
    """A TensorDataset, a Subset of it and a list give what a plain data set gives."""
    expected = epoch(DataLoader(Squares(count), batch_size, shuffle=True, seed=seed))
    backwards = np.arange(count)[::-1]
    for data in (
        as_arrays(count),
        Subset(Subset(as_arrays(count), backwards), backwards),
        [Squares(count)[i] for i in range(count)],
        ConcatDataset([as_arrays(count)]),
    ):
        assert epoch(DataLoader(data, batch_size, shuffle=True, seed=seed)) == expected


@given(count=st.integers(1, 30), batch_size=st.integers(1, 12))
def test_drop_last(count, batch_size):
    if count < batch_size:
        with pytest.raises(ValueError, match=rf"no batch: {count} items, batch_size {batch_size}"):
            DataLoader(Squares(count), batch_size, drop_last=True)
        return
    loader = DataLoader(Squares(count), batch_size, drop_last=True, shuffle=True, seed=0)
    sizes = [len(labels) for _, labels in epoch(loader)]
    assert sizes == [batch_size] * (count // batch_size)
    assert len(loader) == len(sizes)


def test_order_is_a_function_of_seed_and_epoch():
    first = DataLoader(Squares(40), 8, shuffle=True, seed=3)
    epochs = [seen(first) for _ in range(3)]
    assert len({tuple(order) for order in epochs}) == 3
    assert first.epoch == 3

    random.stream("shuffle").permutation(5)  # what others draw changes nothing
    second = DataLoader(Squares(40), 5, shuffle=True, seed=3)
    second.set_epoch(2)
    assert seen(second) == epochs[2]
    second.set_epoch(0)
    assert [seen(second), seen(second)] == epochs[:2]
    assert seen(DataLoader(Squares(40), 8, shuffle=True, seed=4)) not in epochs
    np.testing.assert_array_equal(second.order(1) ** 2, epochs[1])


def test_an_epoch_broken_off_and_two_at_once():
    """An epoch counts when it is begun; two that run side by side do not disturb each other."""
    loader = DataLoader(Squares(20), 4, shuffle=True, seed=1)
    expected = [epoch(loader), epoch(loader)]
    loader.set_epoch(0)
    one, two = iter(loader), iter(loader)
    pairs = list(zip(one, two, strict=True))
    assert epoch(pair[0] for pair in pairs) == expected[0]
    assert epoch(pair[1] for pair in pairs) == expected[1]
    assert loader.epoch == 2


def test_seed_drawn_once_from_the_global_stream():
    def draw(seed):
        random.manual_seed(seed)
        loaders = [DataLoader(Squares(30), 30, shuffle=True) for _ in range(2)]
        return [seen(loader) for loader in loaders]

    one, two = draw(1)
    assert draw(1) == [one, two]
    assert one != two
    assert draw(2)[0] != one


def test_shuffled_places_are_uniform():
    """Item 0 comes to every place about equally often (chi-squared, 9 degrees, 0.999 quantile)."""
    loader = DataLoader(Squares(10), 10, shuffle=True, seed=0)
    places = [int(np.flatnonzero(loader.order(e) == 0)[0]) for e in range(2000)]
    counts = np.bincount(places, minlength=10)
    assert ((counts - 200) ** 2 / 200).sum() < 27.9


# ---- batches ------------------------------------------------------------------------------------


def test_batches_are_tensors_of_their_own():
    x = np.zeros((4, 2), np.float32)
    ((batch,),) = DataLoader(TensorDataset(x), 4)
    assert isinstance(batch, minidl.Tensor)
    assert not batch.requires_grad
    x += 1
    assert batch.tolist() == [[0, 0]] * 4


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "uint8", "bool"])
def test_dtype_of_arrays_stays(dtype):
    x = np.ones((3, 2), dtype)
    for data in (TensorDataset(x), [(row,) for row in x], [(row[0],) for row in x]):
        assert next(iter(DataLoader(data, 2)))[0].dtype == x.dtype


def test_channels_last_stays():
    """A batch of channels-last images lies channels-last, on both ways to it."""
    x = np.moveaxis(np.arange(2 * 4 * 5 * 3, dtype=np.float32).reshape(2, 4, 5, 3), -1, 1)
    for data in (TensorDataset(x), [(image,) for image in x]):
        ((batch,),) = DataLoader(data, 2)
        np.testing.assert_array_equal(batch.data, x)
        assert batch.data.strides == x.strides


def test_transform():
    """It gets batch and stream; the stream's draws depend on seed, epoch and batch alone."""

    def jitter(batch, stream):
        assert isinstance(batch[0], minidl.Tensor)
        return batch[1].tolist(), stream.permutation(20).tolist()

    def run(epochs, **options):
        loader = DataLoader(as_arrays(6), 2, transform=jitter, **options)
        return [list(loader) for _ in range(epochs)]

    both = run(2, seed=5)
    assert run(2, seed=5) == both
    draws = [draw for one in both for _, draw in one]
    assert len({tuple(draw) for draw in draws}) == 6
    assert [draw for one in run(2, seed=5, shuffle=True) for _, draw in one] == draws
    assert run(1, seed=6) != both[:1]


def test_collate_fn_gets_the_items():
    loader = DataLoader(as_arrays(3), 2, collate_fn=lambda items: [y.item() for _, y in items])
    assert list(loader) == [[0, 1], [4]]


def test_collate_of_numbers():
    batch = default_collate([(1, 2.5, True, np.float64(1)), (2, 3, False, np.float64(2))])
    assert [part.dtype.name for part in batch] == ["int64", "float32", "bool", "float64"]
    assert [part.tolist() for part in batch] == [[1, 2], [2.5, 3.0], [True, False], [1.0, 2.0]]


def test_collate_goes_into_tuples_dicts_and_leaves_texts():
    Pair = namedtuple("Pair", "text image")
    items = [{"a": Pair(f"t{i}", np.full((2, 2), i)), "b": [minidl.tensor(i)]} for i in range(3)]
    batch = default_collate(items)
    assert isinstance(batch["a"], Pair)
    assert batch["a"].text == ["t0", "t1", "t2"]
    assert batch["a"].image.shape == (3, 2, 2)
    assert batch["b"][0].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("items", "error", "reason"),
    [
        ([np.zeros(3), np.zeros(3), np.zeros(4)], ShapeError, r"\(3,\), item 2 is of shape \(4,\)"),
        ([(1, 2), (1, 2, 3)], ShapeError, r"the length 2, item 1 is of length 3"),
        ([(1, 2), 3], ShapeError, "the length 2, item 1 is 3"),
        ([{"a": 1}, {"b": 1}], ShapeError, r"keys \['a'\], item 1 is a dict with \['b'\]"),
        ([1, np.zeros(2)], ShapeError, r"the shape \(\), item 1 is of shape \(2,\)"),
        ([None, None], DtypeError, "item 0 is a NoneType"),
        ([1, None], DtypeError, "item 1 is a NoneType"),
        ([1, 2**63], DtypeError, f"does not fit int64: {2**63}"),
        ([np.zeros(2, complex)], DtypeError, "item 0: .*offered"),
        ([minidl.tensor([1.0], requires_grad=True)], DtypeError, "item 0 requires a gradient"),
    ],
)
def test_collate_refuses(items, error, reason):
    with pytest.raises(error, match=reason):
        default_collate(items)


@pytest.mark.parametrize(
    ("count", "batch_size", "reason"),
    [
        (0, 1, "the data set is empty"),
        (3, 0, "1 or more, got 0"),
        (3, -2, "1 or more, got -2"),
        (3, 2.5, "a whole number, not 2.5"),
        (3, True, "a whole number, not True"),
    ],
)
def test_loader_refuses(count, batch_size, reason):
    with pytest.raises(ValueError, match=reason):
        DataLoader(Squares(count), batch_size)


def test_an_error_of_the_data_says_which_items():
    class Broken(Squares):
        def __getitem__(self, index):
            return 1 // (index - 7)

    loader = DataLoader(Broken(10), 4, shuffle=True, seed=2)
    number = next(n for n in range(3) if 7 in loader.items(0, n))
    for prefetch in (0, 1):
        loader.prefetch = prefetch
        with pytest.raises(ZeroDivisionError) as error:
            list(loader.batches(0))
        items = ", ".join(str(i) for i in loader.items(0, number))
        assert error.value.__notes__ == [
            f"DataLoader: making a batch of items {items} of the data set"
        ]
