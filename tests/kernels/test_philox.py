"""Philox4x32-10 against its published answers, and every room against the definition."""

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
