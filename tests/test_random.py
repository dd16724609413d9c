"""Random streams: their laws, their bits, their states."""

import json
import math
import threading
import zlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl import random
from minidl.errors import DtypeError, FormatError, ShapeError
from minidl.random import Stream

FLOATS = ["float16", "float32", "float64"]


@pytest.fixture(autouse=True)
def _streams_as_they_were():
    before = random.get_state()
    yield
    random.set_state(before)


# ---- a stream -----------------------------------------------------------------------------------


@given(key=st.integers(0, 2**64 - 1), counts=st.lists(st.integers(0, 9), min_size=1, max_size=4))
def test_draws_take_whole_blocks_one_after_another(key, counts):
    stream, all_words = Stream(key), Stream(key).random_words(48)
    place = 0
    for n in counts:
        np.testing.assert_array_equal(stream.random_words(n), all_words[place : place + n])
        place += -(-n // 4) * 4
    assert stream.reserve(5) == (key, place // 4)
    assert stream.counter == place // 4 + 2
    assert repr(stream) == f"Stream({key}, counter={place // 4 + 2})"


def test_the_counter_goes_round():
    stream = Stream(3, 2**128 - 1)
    words = stream.random_words(8)
    assert stream.counter == 1
    np.testing.assert_array_equal(words[4:], Stream(3).random_words(4))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (5,), (2, 3), 4])
def test_shapes_and_dtypes(shape, dtype):
    wanted = (shape,) if isinstance(shape, int) else shape
    for drawn in (
        Stream(1).uniform(shape, dtype=dtype),
        Stream(1).uniform(shape, -2, 3, dtype=dtype),
        Stream(1).normal(shape, dtype=dtype),
        Stream(1).normal(shape, 5, 0, dtype=dtype),
    ):
        assert drawn.shape == wanted
        assert drawn.dtype == dtype
    assert Stream(1).integers(0, 3, shape).shape == wanted
    assert Stream(1).integers(0, 3, shape).dtype == np.int64
    assert (Stream(1).normal(shape, 5, 0, dtype=dtype) == 5).all()


def agrees(mean: float, expected: float, spread: float, count: int) -> bool:
    """Whether a mean over `count` draws is within five of its standard deviations."""
    return abs(mean - expected) < 5 * spread / math.sqrt(count)


@pytest.mark.parametrize("dtype", FLOATS)
def test_uniform_is_uniform(dtype):
    n = 100_000
    u = Stream(11).uniform((n,), dtype=dtype).astype("float64")
    assert u.min() >= 0
    assert u.max() < 1
    assert agrees(u.mean(), 0.5, math.sqrt(1 / 12), n)
    assert agrees((u**2).mean(), 1 / 3, math.sqrt(4 / 45), n) or dtype == "float16"
    counts = np.histogram(u, 16, (0, 1))[0]
    assert ((counts - n / 16) ** 2 / (n / 16)).sum() < 45  # chi² with 15: 1 in 10⁴ beyond
    bits = {"float16": 11, "float32": 24, "float64": 53}[dtype]
    assert (u * 2.0**bits % 1 == 0).all()
    assert (u * 2.0 ** (bits - 1) % 1 != 0).any()


@given(
    low=st.floats(-1e3, 1e3, width=16),
    width=st.floats(0, 1e3, width=16),
    dtype=st.sampled_from(FLOATS),
)
def test_uniform_stays_below_its_end(low, width, dtype):
    kind = np.dtype(dtype).type
    high = float(kind(low + width))
    u = Stream(5).uniform((400,), low, high, dtype)
    assert (u >= kind(low)).all()
    assert (u < high).all() or high == low


@pytest.mark.parametrize("dtype", FLOATS)
def test_normal_is_normal(dtype):
    n = 100_000
    z = Stream(12).normal((n,), dtype=dtype).astype("float64")
    for power, expected, spread in [(1, 0, 1), (2, 1, 2**0.5), (3, 0, 15**0.5), (4, 3, 96**0.5)]:
        assert agrees((z**power).mean(), expected, spread, n), power
    assert agrees((z[::2] * z[1::2]).mean(), 0, 1, n // 2)
    edges = [-1.9600, -0.6745, 0, 0.6745, 1.9600]
    below = [0.025, 0.25, 0.5, 0.75, 0.975]
    for edge, share in zip(edges, below, strict=True):
        assert agrees((z < edge).mean(), share, 0.5, n), edge
    scaled = Stream(12).normal((n,), 3, 0.5, dtype).astype("float64")
    np.testing.assert_allclose(scaled, 3 + 0.5 * z, rtol=2e-3 if dtype == "float16" else 1e-6)


@pytest.mark.parametrize("chunk", [1, 7])
def test_normals_do_not_depend_on_the_chunk(chunk, monkeypatch):
    want = [Stream(2).normal((51,), dtype=d) for d in FLOATS]
    monkeypatch.setattr(random, "_CHUNK", chunk)
    for dtype, values in zip(FLOATS, want, strict=True):
        np.testing.assert_array_equal(Stream(2).normal((51,), dtype=dtype), values)
        np.testing.assert_array_equal(Stream(2).normal((6,), dtype=dtype), values[:6])


@pytest.mark.parametrize(
    ("draw", "expected"),
    [
        (lambda s: s.random_words(999), 3541856459),
        (lambda s: s.uniform((999,)), 2013471825),
        (lambda s: s.uniform((999,), -1, 1, "float64"), 2966096798),
        (lambda s: s.normal((999,)), 3323727498),
        (lambda s: s.normal((999,), 1, 2, "float64"), 407524907),
        (lambda s: s.integers(-5, 1000, (999,)), 67655941),
        (lambda s: s.integers(0, 2**40, (99,)), 2968846466),
        (lambda s: s.permutation(999), 2743238102),
        (lambda s: s.fork(3, 4).random_words(4), 2628103109),
    ],
)
def test_the_bits_are_the_same_everywhere(draw, expected):
    """Recorded on x86-64; no operation used may differ in its last bit on another machine."""
    drawn = draw(Stream(2**33 + 7))
    assert zlib.crc32(drawn.astype(drawn.dtype.newbyteorder("<")).tobytes()) == expected


@given(x=st.floats(2.0**-53, 1))
def test_own_functions_are_as_good_as_the_librarys(x):
    np.testing.assert_allclose(random._log(np.array([x])), math.log(x), rtol=1e-15, atol=1e-300)
    if x < 1:
        (cos,), (sin,) = random._cos_sin(np.array([x]))
        assert abs(cos - math.cos(2 * math.pi * x)) < 2e-15
        assert abs(sin - math.sin(2 * math.pi * x)) < 2e-15


def test_eighths_of_a_turn():
    cos, sin = random._cos_sin(np.arange(8) / 8)
    r = math.sqrt(0.5)
    np.testing.assert_allclose(cos, [1, r, 0, -r, -1, -r, 0, r], atol=1e-16)
    np.testing.assert_allclose(sin, [0, r, 1, r, 0, -r, -1, -r], atol=1e-16)


@pytest.mark.parametrize("high", [1, 2, 7, 1000])
def test_integers_are_equally_likely(high):
    n = 70_000
    drawn = Stream(13).integers(-1, high - 1, (n,))
    assert drawn.min() == -1
    assert drawn.max() == high - 2
    share = n / high
    chi = ((np.bincount(drawn + 1, minlength=high) - share) ** 2 / share).sum()
    assert chi <= high - 1 + 5 * math.sqrt(2 * high)


@given(low=st.integers(-(2**63), 2**63 - 1), high=st.integers(-(2**63) + 1, 2**63))
def test_integers_of_any_range(low, high):
    if low >= high:
        with pytest.raises(ValueError, match="is no range within int64"):
            Stream(1).integers(low, high, (2,))
        return
    drawn = Stream(1).integers(low, high, (50,)).tolist()
    assert all(low <= x < high for x in drawn)
    middle = (low + high) // 2
    assert high - low < 1000 or min(drawn) < middle <= max(drawn)


def test_integers_at_the_edge_of_the_two_ways():
    for span in (2**32 - 1, 2**32, 2**32 + 1):
        drawn = Stream(8).integers(0, span, (2000,)) / span
        assert agrees(drawn.mean(), 0.5, math.sqrt(1 / 12), 2000)
        assert drawn.max() > 0.99


@given(n=st.integers(0, 40), key=st.integers(0, 2**64 - 1))
def test_permutation(n, key):
    order = Stream(key).permutation(n)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(n))


def test_every_order_is_equally_likely():
    stream = Stream(4)
    counts = Counter(tuple(stream.permutation(3).tolist()) for _ in range(600))
    assert len(counts) == 6
    assert sum((c - 100) ** 2 / 100 for c in counts.values()) < 25  # chi² with 5


# ---- forks, threads, states ---------------------------------------------------------------------


def test_forks_are_functions_of_key_and_numbers():
    parent = Stream(9)
    first = parent.fork(1, 2).random_words(8).tolist()
    assert parent.counter == 0
    parent.random_words(100)
    assert parent.fork(1, 2).random_words(8).tolist() == first
    assert parent.fork(1).fork(2).random_words(8).tolist() == first
    keys = {
        parent.fork(*numbers).key for numbers in [(0,), (1,), (2,), (0, 1), (1, 0), (2**64 - 1,)]
    }
    assert len(keys | {9, Stream(10).fork(1).key}) == 8
    drawn = np.array([Stream(9).fork(i).normal(100, dtype="float64") for i in range(100)])
    assert np.abs(np.corrcoef(drawn) - np.eye(100)).max() < 0.55


def test_threads_get_no_word_twice():
    stream, found = Stream(6), []

    def draw() -> None:
        for _ in range(200):
            found.append(stream.reserve(4)[1])  # noqa: PERF401 (append is what threads may do)

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(800))


def test_state_of_a_stream():
    stream = Stream(5)
    stream.random_words(3)
    state = json.loads(json.dumps(stream.state()))
    assert state == {"key": 5, "counter": 1}
    want = stream.normal((5,)).tolist()
    other = Stream(0)
    other.set_state(state)
    assert other.normal((5,)).tolist() == want


BROKEN = [
    None,
    {},
    {"key": 1},
    {"key": 1, "counter": 0, "more": 0},
    {"key": -1, "counter": 0},
    {"key": 2**64, "counter": 0},
    {"key": 1, "counter": 2**128},
    {"key": 1.0, "counter": 0},
    {"key": True, "counter": 0},
    {"key": "1", "counter": 0},
]


@pytest.mark.parametrize("state", BROKEN)
def test_a_broken_state_of_a_stream_changes_nothing(state):
    stream = Stream(5, 6)
    with pytest.raises(FormatError, match=r"^Stream\.set_state: "):
        stream.set_state(state)
    assert stream.state() == {"key": 5, "counter": 6}


def draws() -> list[list[int]]:
    return [random.stream(name).random_words(4).tolist() for name in random.NAMES]


def test_manual_seed_resets_every_stream():
    held = random.stream("init")
    random.manual_seed(3)
    first = draws()
    assert random.initial_seed() == 3
    assert draws() != first
    random.manual_seed(3)
    assert draws() == first
    assert len({str(words) for words in first}) == len(random.NAMES)
    random.manual_seed(np.int64(4))
    assert random.initial_seed() == 4
    assert held is random.stream("init")
    assert all(a != b for a, b in zip(first, draws(), strict=True))


def test_a_draw_moves_no_other_stream():
    random.manual_seed(1)
    want = random.stream("dropout").random_words(4).tolist()
    random.manual_seed(1)
    random.stream("init").normal((100,))
    assert random.stream("dropout").random_words(4).tolist() == want


def test_state_of_all_streams():
    random.manual_seed(8)
    random.stream("sample").normal((3,))
    state = json.loads(json.dumps(random.get_state()))
    want = draws()
    random.manual_seed(2)
    random.set_state(state)
    assert random.initial_seed() == 8
    assert draws() == want


def broken_states() -> list[tuple[str, object]]:
    def changed(**parts: object) -> dict[str, object]:
        return random.get_state() | parts

    streams = random.get_state()["streams"]
    missing = {name: state for name, state in streams.items() if name != "init"}
    last = {**streams, "sample": {"key": 0, "counter": -1}}
    return [
        ("got NoneType", None),
        ("the state must have the keys", {"seed": 1}),
        ("is of 'mt19937'", changed(generator="mt19937")),
        ("seed is -1", changed(seed=-1)),
        ("streams must have the keys", changed(streams=missing)),
        ("streams must have the keys", changed(streams={**streams, "more": streams["init"]})),
        ("stream 'sample': counter is -1", changed(streams=last)),
    ]


@pytest.mark.parametrize(("text", "state"), broken_states())
def test_a_broken_state_changes_nothing(text, state):
    random.manual_seed(77)
    before = random.get_state()
    with pytest.raises(FormatError, match=text):
        random.set_state(state)
    assert random.get_state() == before


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: random.manual_seed(-1), ValueError, "manual_seed: seed is -1, expected 0"),
        (lambda: random.manual_seed(2**64), ValueError, r"expected 0 … 2\^64 - 1"),
        (lambda: random.manual_seed(1.5), ValueError, "seed is 1.5, expected a whole number"),
        (lambda: random.manual_seed(True), ValueError, "expected a whole number"),
        (lambda: random.stream("noise"), ValueError, "no stream 'noise'; choose one of init"),
        (lambda: Stream(-1), ValueError, "Stream: key is -1"),
        (lambda: Stream(0, 2**128), ValueError, "Stream: counter is"),
        (lambda: Stream(0).fork(), ValueError, "fork: expected one number"),
        (lambda: Stream(0).fork(-1), ValueError, "fork: a number is -1"),
        (lambda: Stream(0).reserve(-1), ValueError, "reserve: n is -1"),
        (lambda: Stream(0).permutation(-1), ValueError, "permutation: n is -1"),
        (lambda: Stream(0).integers(3, 3, 2), ValueError, r"integers: \[3, 3\) is no range"),
        (lambda: Stream(0).uniform(2, 1, 0), ValueError, "uniform: low is 1, high is 0"),
        (lambda: Stream(0).uniform(2, math.nan), ValueError, "uniform: low is nan"),
        (lambda: Stream(0).normal(2, 0, -1), ValueError, "normal: std is -1"),
        (lambda: Stream(0).normal((2, -1)), ShapeError, r"normal: \(2, -1\) is no shape"),
        (lambda: Stream(0).uniform((2.5,)), ShapeError, r"uniform: \(2.5,\) is no shape"),
        (lambda: Stream(0).normal(2, dtype="int64"), DtypeError, "normal: dtype is int64"),
        (lambda: Stream(0).uniform(2, dtype="bool"), DtypeError, "uniform: dtype is bool"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call()
