"""Philox4x32-10 and dropout: published answers, and every room against the definition."""

import importlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl_kernels as kernels
from minidl_kernels.generic import philox as generic
from minidl_kernels.reference import philox as reference

LIKE = np.empty(0)
ROOMS = [reference.philox, generic.philox, kernels.philox]
# The known answers of Random123, kat_vectors: counter (lowest word first), key, words.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


@pytest.mark.parametrize("philox", ROOMS)
@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_published_answers(philox, counter, key, words):
    key = sum(word << 32 * i for i, word in enumerate(key))
    counter = sum(word << 32 * i for i, word in enumerate(counter))
    got = philox(LIKE, key, counter, 4)
    assert got.dtype == np.uint32
    assert [f"{word:08x}" for word in got.tolist()] == words.split()


@given(
    key=st.integers(0, 2**64 - 1),
    counter=st.one_of(
        st.integers(0, 2**128 - 1),
        st.sampled_from([0, 2**32 - 2, 2**64 - 2, 2**96 - 2, 2**128 - 2]),  # a carry lies within
    ),
    n=st.integers(0, 30),
    chunk=st.integers(1, 5),
)
def test_generic_equals_the_definition(key, counter, n, chunk):
    before, generic.CHUNK = generic.CHUNK, chunk
    try:
        got = generic.philox(LIKE, key, counter, n)
    finally:
        generic.CHUNK = before
    np.testing.assert_array_equal(got, reference.philox(LIKE, key, counter, n))


def test_the_door_equals_the_definition_over_many_blocks():
    n = 4 * generic.CHUNK + 6
    got = kernels.philox(LIKE, 7, 2**64 - 9, n)
    assert got.shape == (n,)
    for block in (0, 8, 9, generic.CHUNK - 1, generic.CHUNK):
        want = reference.philox(LIKE, 7, 2**64 - 9 + block, 4)
        np.testing.assert_array_equal(got[4 * block : 4 * block + 4], want)


@pytest.mark.gpu
def test_on_a_gpu_the_same_words():
    import cupy

    like = cupy.empty(0)
    for philox in (generic.philox, kernels.philox):
        got = philox(like, 2**40 + 5, 2**64 - 2, 4001)
        assert isinstance(got, cupy.ndarray)
        np.testing.assert_array_equal(got.get(), reference.philox(LIKE, 2**40 + 5, 2**64 - 2, 4001))


# ---- dropout -------------------------------------------------------------------------------------


@st.composite
def dropouts(draw):
    """Arguments of `dropout`: x in some layout, with what is not finite, and a shape."""
    shape = draw(st.sampled_from([(), (0, 3), (5,), (1030,), (3, 1, 4), (2, 9, 5, 7), (3, 17, 40)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    x = np.asarray(rng.normal(size=shape), draw(st.sampled_from(["f2", "f4", "f8"])))
    x = np.where(rng.random(shape) < 0.1, x.dtype.type(draw(st.sampled_from([np.nan, np.inf]))), x)
    layout = draw(st.sampled_from(["C", "last", "backwards", "gaps"])) if x.ndim > 2 else "C"
    if layout == "last":
        x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    elif layout == "backwards":
        x = np.ascontiguousarray(x[::-1])[::-1]
    elif layout == "gaps":
        x = np.repeat(x, 2, -1)[..., ::2]
    if len(shape) > 2 and draw(st.booleans()):
        shape = (*shape[:2], *(1,) * (len(shape) - 2))
    counter = draw(st.sampled_from([0, 7, 2**64 - 2, 2**128 - 3]))
    p = draw(st.sampled_from([0.0, 0.1, 0.5, 1 - 2**-40, 1.0]))
    value = draw(st.sampled_from([0.0, -1.5]))
    return x, draw(st.integers(0, 2**64 - 1)), counter, p, shape, 1.3, value


@pytest.mark.parametrize("room", [generic, kernels], ids=["generic", "door"])
@given(case=dropouts())
def test_dropout_equals_the_definition(room, case):
    x = case[0]
    x.flags.writeable = False
    out, expected = room.dropout(*case), reference.dropout(*case)
    np.testing.assert_array_equal(out, expected)
    assert out.dtype == x.dtype
    axes = [axis for axis, n in enumerate(x.shape) if n > 1]
    if x.size and all(s > 0 for s in x.strides):
        assert sorted(axes, key=lambda a: -out.strides[a]) == sorted(
            axes, key=lambda a: -x.strides[a]
        )


def test_dropout_over_many_blocks():
    """Word i belongs to element i, counted row by row, also where threads share the work."""
    rng = np.random.default_rng(0)
    for shape in ((70001,), (3, 19, 41, 37)):
        x = rng.normal(size=shape).astype("f4")
        stays = kernels.philox(LIKE, 5, 2**64 - 9, x.size) >= 2**30
        expected = np.where(stays.reshape(shape), x * np.float32(2), 0)
        last = np.ascontiguousarray(np.moveaxis(x, 1, -1)) if x.ndim > 2 else x[:, None]
        for a in (x, np.moveaxis(last, -1, 1).reshape(shape), np.repeat(x, 2, -1)[..., ::2]):
            found = kernels.dropout(a, 5, 2**64 - 9, 0.25, shape, 2.0, 0.0)
            np.testing.assert_array_equal(found, expected)


@given(case=dropouts())
def test_dropout_on_a_device(case):
    """The same code on the stand-in for CuPy, which refuses what CuPy lacks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[1])
        device = importlib.import_module("standin")
    out = generic.dropout(device.asarray(case[0]), *case[1:])
    np.testing.assert_array_equal(device.asnumpy(out), reference.dropout(*case))
