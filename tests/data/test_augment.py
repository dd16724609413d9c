"""Augmentation: what may come out, how often, and that batch and stream alone decide."""

from collections import namedtuple

import numpy as np
import pytest
import standin
from hypothesis import given
from hypothesis import strategies as st

import minidl
from minidl.data import DataLoader, TensorDataset
from minidl.data.augment import Compose, Crop, Flip, Normalize, Shift
from minidl.device import _device_packages, _module_of
from minidl.errors import DtypeError, ShapeError
from minidl.random import Stream

ALL = [
    Flip(),
    Flip(1.0),
    Shift(2),
    Shift(1, "reflect"),
    Crop(3),
    Crop((2, 4), padding=2),
    Crop(5, padding=1, mode="reflect"),
    Normalize(0.5, 2.0),
    Compose([Flip(), Shift(1), Normalize([0.0, 1.0, 2.0], 0.5)]),
]
each = pytest.mark.parametrize("change", ALL, ids=repr)


def images(n=5, c=3, h=5, w=4, dtype=np.float32):
    return np.arange(1, 1 + n * c * h * w).reshape(n, c, h, w).astype(dtype)


def channels_last(x):
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


# ---- all of them --------------------------------------------------------------------------------


@each
def test_a_function_of_batch_and_stream(change):
    x = images()
    kept = x.copy()
    first = change(x, Stream(3).fork(1)).data
    np.testing.assert_array_equal(change(minidl.tensor(x), Stream(3).fork(1)).data, first)
    np.testing.assert_array_equal(x, kept)
    assert not np.shares_memory(first, x)


@each
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64"])
def test_dtype_device_and_order_stay(change, dtype):
    x = images(2, dtype=dtype)
    out = change(x, Stream(0))
    assert isinstance(out, minidl.Tensor)
    whole = dtype == "uint8" and "Normalize" in repr(change)
    assert out.dtype.name == ("float32" if whole else dtype)
    last = change(channels_last(x), Stream(0)).data
    np.testing.assert_array_equal(last, out.data)
    assert out.data.flags.c_contiguous
    assert np.moveaxis(last, 1, -1).flags.c_contiguous


@pytest.fixture
def on_a_device():
    """Makes minidl take the stand-in's arrays for a GPU's."""
    _device_packages.add("standin")
    _module_of.cache_clear()
    yield
    _device_packages.remove("standin")
    _module_of.cache_clear()


@each
@pytest.mark.usefixtures("on_a_device")
def test_the_same_on_a_device(change):
    for x in (images(), channels_last(images())):
        expected = change(x, Stream(4)).data
        out = change(standin.array(x), Stream(4)).data
        assert type(out) is standin.ndarray
        assert out.strides == expected.strides
        np.testing.assert_array_equal(standin.asnumpy(out), expected)


@each
def test_the_first_part_of_a_batch_is_changed(change):
    Pair = namedtuple("Pair", "x y")
    x, y = images(), np.arange(5)
    out = change(x, Stream(1)).data
    for batch in ((x, y), [x, y], Pair(x, y)):
        got = change(batch, Stream(1))
        assert type(got) is type(batch)
        np.testing.assert_array_equal(got[0].data, out)
        assert got[1] is y


@each
def test_no_images(change):
    """An empty batch passes."""
    assert len(change(images(0), Stream(0))) == 0


@pytest.mark.parametrize(
    ("batch", "error", "reason"),
    [
        ({"x": images()}, DtypeError, "a tuple that begins with one; got dict"),
        ((), DtypeError, "got tuple"),
        (images()[0], ShapeError, r"\(N, C, H, W\); got shape \(3, 5, 4\)"),
    ],
)
def test_no_batch_of_images(batch, error, reason):
    with pytest.raises(error, match=f"Flip: .*{reason}"):
        Flip()(batch, Stream(0))


def test_in_a_loader():
    data = TensorDataset(images(20), np.arange(20))
    options = {"transform": Compose([Crop(4, padding=1), Flip()]), "seed": 4, "shuffle": True}
    one, two = (list(DataLoader(data, 8, prefetch=n, **options)) for n in (0, 2))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a[0].data, b[0].data)
        assert a[1].tolist() == b[1].tolist()


# ---- each ---------------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32), p=st.floats(0, 1), n=st.integers(1, 9))
def test_flip(seed, p, n):
    x = images(n)
    out = Flip(p)(x, Stream(seed)).data
    for before, after in zip(x, out, strict=True):
        assert (after == before).all() or (after == before[..., ::-1]).all()


def test_flip_as_often_as_asked_for():
    x = images(4000, 1, 1, 2)
    for p in (0.0, 0.25, 1.0):
        share = (Flip(p)(x, Stream(0)).data != x).any((1, 2, 3)).mean()
        assert abs(share - p) <= 4 * (p * (1 - p) / 4000) ** 0.5


def windows(x, size, border, mode):
    """All windows of one image, by the definition: one slice at a time."""
    around = ((0, 0), (border, border), (border, border))
    wide = np.pad(x, around, mode="constant" if mode == "zero" else "reflect")
    rows, columns = (
        range(have + 2 * border - want + 1) for have, want in zip(x.shape[1:], size, strict=True)
    )
    return [wide[:, i : i + size[0], j : j + size[1]] for i in rows for j in columns]


@given(
    seed=st.integers(0, 2**32),
    size=st.tuples(st.integers(1, 5), st.integers(1, 4)),
    border=st.integers(0, 3),
    mode=st.sampled_from(["zero", "reflect"]),
)
def test_crop_is_one_of_the_windows(seed, size, border, mode):
    x = images(4)
    out = Crop(size, padding=border, mode=mode)(x, Stream(seed)).data
    for before, after in zip(x, out, strict=True):
        assert any((after == window).all() for window in windows(before, size, border, mode))


@pytest.mark.parametrize("change", [Shift(1), Crop((5, 4), padding=1)])
def test_every_shift_is_equally_likely(change):
    """Chi-squared over the 9 places, 8 degrees of freedom, 0.999 quantile."""
    x = np.repeat(images(1), 3600, 0)
    out = change(x, Stream(5)).data
    counts = [(out == w).all((1, 2, 3)).sum() for w in windows(x[0], (5, 4), 1, "zero")]
    assert sum(counts) == 3600
    assert sum((count - 400) ** 2 / 400 for count in counts) < 26.1


def test_shift_is_a_crop_of_the_same_size():
    x = images()
    for mode in ("zero", "reflect"):
        a = Shift(2, mode)(x, Stream(7)).data
        np.testing.assert_array_equal(a, Crop((5, 4), 2, mode)(x, Stream(7)).data)
        assert a.shape == x.shape
    np.testing.assert_array_equal(Shift(0)(x, Stream(7)).data, x)


def test_normalize():
    x = images()
    mean, std = x.mean((0, 2, 3)), x.std((0, 2, 3))
    out = Normalize(mean, std)(x, Stream(0)).data
    np.testing.assert_allclose(out.mean((0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(out.std((0, 2, 3)), 1, rtol=1e-5)
    one = Normalize(1.0, [2.0])(images(dtype=np.uint8), Stream(0)).data
    np.testing.assert_array_equal(one, ((images(dtype=np.uint8) - 1.0) / 2).astype(np.float32))


def test_compose_gives_each_a_stream_of_its_own():
    """What stands before does not change the draws of what stands after."""
    x = images(50)
    a = Compose([Normalize(0, 1), Flip()])(x, Stream(2)).data
    b = Compose([Shift(0), Flip()])(x, Stream(2)).data
    np.testing.assert_array_equal(a, b)
    assert (a != Compose([Flip(), Normalize(0, 1)])(x, Stream(2)).data).any()
    seen = Compose([lambda batch, stream: (*batch, stream.key)] * 2)((), Stream(2))
    assert seen == (Stream(2).fork(0).key, Stream(2).fork(1).key)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Flip(1.5), "Flip: p is a probability, 0 to 1; got 1.5"),
        (lambda: Flip(float("nan")), "got nan"),
        (lambda: Shift(-1), "Shift: k is a whole number from 0; got -1"),
        (lambda: Shift(1.5), "got 1.5"),
        (lambda: Shift(1, "edge"), "Shift: mode is 'zero' or 'reflect', not 'edge'"),
        (lambda: Crop(0), "Crop: size must be 1 or more, got 0"),
        (lambda: Crop((3, -1)), r"got \(3, -1\)"),
        (lambda: Crop(3, padding=True), "Crop: padding is a whole number"),
        (lambda: Normalize(0, 0), "Normalize: std must be above 0; got 0"),
        (lambda: Normalize(0, [1, -1]), "above 0"),
        (lambda: Normalize(float("inf"), 1), "must be finite"),
        (lambda: Normalize([[0.0]], 1), "one number for each channel"),
    ],
)
def test_refuses(make, reason):
    with pytest.raises(ValueError, match=reason):
        make()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (Crop(6), r"Crop: a window of \(6, 6\) does not fit images of \(5, 4\) with 0 pixels"),
        (Crop((5, 7), padding=1), "with 1 pixels around"),
        (Shift(4, "reflect"), r"Shift: 4 pixels cannot be mirrored from images of \(5, 4\)"),
        (Normalize([0, 1], 1), r"mean has 2 numbers, .*\(5, 3, 5, 4\) have 3 channels"),
        (Normalize(0, [1, 2]), "std has 2 numbers"),
    ],
)
def test_refuses_images(change, reason):
    with pytest.raises(ShapeError, match=reason):
        change(images(), Stream(0))
