"""Random numbers from streams, each a function of a key and a counter and of nothing else.

The words come from Philox4x32-10 (Salmon et al. 2011), which mixes a counter with a key: no word
depends on the one before, so a stream's state is two whole numbers. All further arithmetic is
IEEE's +, -, *, / and square root in a fixed order, so a seed gives the same bits on every machine.
"""

import math
import operator
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

import minidl_kernels as kernels
from minidl.dtypes import as_dtype
from minidl.errors import DtypeError, FormatError, ShapeError

__all__ = ["Stream", "get_state", "initial_seed", "manual_seed", "set_state", "stream"]

NAMES = ("init", "shuffle", "dropout", "augment", "sample")  # the place is part of the key: append
GENERATOR = "philox4x32-10"
_KEYS, _COUNTERS = 2**64, 2**128
_FORKS = 2**127  # the counter of fork 0: draws, counted from 0, never come so far
_CHUNK = 1 << 14  # pairs of normals made together: they stay in the processor's cache
_HOST = np.empty(0)
_one_block = kernels.find("philox", "reference")  # for one block plain numbers are the fastest

Array = np.ndarray[Any, Any]
_lock = threading.RLock()


class Stream:
    """A sequence of random numbers: the blocks of four words that `key` gives from `counter` on.

    Every draw takes whole blocks. Threads may share a stream: no word is given out twice, but who
    gets which is then left to chance; `fork` gives each a stream of its own.

    Parameters
    ----------
    key : int
        0 … 2^64 - 1; another key is another, independent stream.
    counter : int
        Number of the next block, 0 … 2^128 - 1.

    Raises
    ------
    ValueError
        A key or counter out of its range or no whole number.

    Examples
    --------
    >>> from minidl.random import Stream
    >>> Stream(0).random_words(4).tolist()
    [1713891541, 3781805453, 3159862348, 2600524760]
    >>> a, b = Stream(1), Stream(1)
    >>> bool((a.normal((3,)) == b.normal((3,))).all())
    True
    """

    def __init__(self, key: int, counter: int = 0) -> None:
        self.key = _whole("Stream", "key", key, _KEYS)
        self.counter = _whole("Stream", "counter", counter, _COUNTERS)

    def __repr__(self) -> str:
        return f"Stream({self.key}, counter={self.counter})"

    def reserve(self, n: int) -> tuple[int, int]:
        """Return (key, counter) of the next n words, for a kernel that draws them; pass over them.

        They are rounded up to blocks: the counter moves on by ceil(n / 4).
        """
        n = _whole("reserve", "n", n, _KEYS)
        with _lock:
            first = self.counter
            self.counter = (first + -(-n // 4)) % _COUNTERS
            return self.key, first

    def random_words(self, n: int) -> Array:
        """Return n words, uint32, every value equally likely."""
        return kernels.philox(_HOST, *self.reserve(n), n)

    def uniform(
        self, shape: int | Sequence[int], low: float = 0, high: float = 1, dtype: Any = "float32"
    ) -> Array:
        """Return numbers of equal likelihood in [low, high).

        The fraction of the way has all the bits below 1 that the dtype offers: 53, 24 or 11.
        Raises ValueError for low > high, DtypeError for a dtype that is not float.
        """
        shape, kind = _shape("uniform", shape), _float("uniform", dtype)
        if not low <= high:
            raise ValueError(f"uniform: low is {low}, high is {high}; low must not be above high")
        count = math.prod(shape)
        if kind == "float64":
            out = _fraction(self.random_words(2 * count))
        else:
            bits = 24 if kind == "float32" else 11
            words = self.random_words(count) >> np.uint32(32 - bits)
            out = words.astype(kind) * kind.type(2.0**-bits)
        if (low, high) != (0, 1):
            ends = kind.type(low), kind.type(high)
            out = ends[0] + (ends[1] - ends[0]) * out
            out = np.minimum(out, np.nextafter(ends[1], ends[0]))  # rounding may reach `high`
        return out.reshape(shape)

    def normal(
        self, shape: int | Sequence[int], mean: float = 0, std: float = 1, dtype: Any = "float32"
    ) -> Array:
        """Return numbers from the normal distribution.

        Two from two uniform ones u, v: √(-2 log u) times cos 2πv and sin 2πv (Box and Muller
        1958), in float64 and then rounded. u and v have 32 bits, so the largest is 6.66 std; for
        float64 they have 53, and it is 8.57. Raises ValueError for a negative std, DtypeError for
        a dtype that is not float.
        """
        shape, kind = _shape("normal", shape), _float("normal", dtype)
        if not std >= 0:
            raise ValueError(f"normal: std is {std}, expected at least 0")
        count = math.prod(shape)
        pairs = -(-count // 2)
        wide = 2 if kind == "float64" else 1
        words = self.random_words(2 * pairs * wide).reshape(pairs, 2, wide)
        out = np.empty((pairs, 2), kind)
        for start in range(0, pairs, _CHUNK):
            part = words[start : start + _CHUNK]
            if wide == 2:
                u, v = _fraction(part[:, 0]) + 2.0**-53, _fraction(part[:, 1])
            else:
                u, v = (part[:, 0, 0] + 1.0) * 2.0**-32, part[:, 1, 0] * 2.0**-32
            length = np.sqrt(-2.0 * _log(u)) * float(std)
            for place, direction in enumerate(_cos_sin(v)):
                out[start : start + _CHUNK, place] = length * direction + float(mean)
        return out.reshape(-1)[:count].reshape(shape)

    def integers(self, low: int, high: int, shape: int | Sequence[int]) -> Array:
        """Return whole numbers (int64) in [low, high).

        No value is likelier than another by more than one part in 2^32. Raises ValueError for an
        empty range or one beyond int64.
        """
        shape = _shape("integers", shape)
        low, high = operator.index(low), operator.index(high)
        if low >= high or low < -(2**63) or high > 2**63:
            raise ValueError(f"integers: [{low}, {high}) is no range within int64")
        count, span = math.prod(shape), high - low
        if span <= 2**32:  # the upper part of a product with 64 bits, formed in two steps
            words = self.random_words(2 * count).astype(np.uint64)
            scaled = (words[0::2] * np.uint64(span) >> np.uint64(32)) + words[1::2] * np.uint64(
                span
            )
            out = (scaled >> np.uint64(32)).astype(np.int64) + low
        else:  # too wide for that, and rare: Python's own numbers
            blocks = self.random_words(4 * count).astype("<u4").tobytes()
            drawn = [int.from_bytes(blocks[16 * i : 16 * i + 16], "little") for i in range(count)]
            out = np.array([low + x % span for x in drawn], np.int64)
        return out.reshape(shape)

    def permutation(self, n: int) -> Array:
        """Return the numbers 0 … n - 1 (int64) in an order by chance: that of n random keys."""
        n = _whole("permutation", "n", n, 2**48)
        return np.argsort(self.random_words(2 * n).astype("<u4").view("<u8"), kind="stable")

    def fork(self, *numbers: int) -> "Stream":
        """Return an independent stream, a function of this one's key and the numbers alone.

        What was drawn here does not count. `fork(a, b)` is `fork(a).fork(b)`. The numbers are
        0 … 2^64 - 1; raises ValueError for others and for none.
        """
        if not numbers:
            raise ValueError("fork: expected one number or more")
        key = self.key
        for number in numbers:
            place = _FORKS + _whole("fork", "a number", number, _KEYS)
            low, high = _one_block(_HOST, key, place, 2).tolist()
            key = high << 32 | low
        return Stream(key)

    def state(self) -> dict[str, int]:
        """Return where the stream stands, as JSON can store it."""
        with _lock:
            return {"key": self.key, "counter": self.counter}

    def set_state(self, state: dict[str, int]) -> None:
        """Go on from where `state()` was taken. Raises FormatError, changing nothing."""
        found = _read("Stream.set_state", state)
        with _lock:
            self.key, self.counter = found


# ---- checks -------------------------------------------------------------------------------------


def _whole(who: str, name: str, value: Any, end: int) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ValueError(f"{who}: {name} is {value!r}, expected a whole number")
    if not 0 <= (number := operator.index(value)) < end:
        raise ValueError(f"{who}: {name} is {number}, expected 0 … 2^{end.bit_length() - 1} - 1")
    return number


def _shape(who: str, shape: Any) -> tuple[int, ...]:
    found = (shape,) if hasattr(shape, "__index__") else tuple(shape)
    if not all(hasattr(n, "__index__") and n >= 0 for n in found):
        raise ShapeError(f"{who}: {shape} is no shape; expected whole numbers from 0")
    return tuple([operator.index(n) for n in found])


def _float(who: str, dtype: Any) -> np.dtype[Any]:
    found = as_dtype(dtype)
    if found.kind != "f":
        raise DtypeError(f"{who}: dtype is {found.name}, expected a float dtype")
    return found


def _keys(who: str, name: str, value: Any, expected: set[str]) -> None:
    if not isinstance(value, dict) or value.keys() != expected:
        came = sorted(map(str, value)) if isinstance(value, dict) else type(value).__name__
        raise FormatError(f"{who}: {name} must have the keys {sorted(expected)}, got {came}")


def _number(who: str, name: str, value: Any, end: int) -> int:
    try:
        return _whole(who, name, value, end)
    except ValueError as error:
        raise FormatError(str(error)) from None


def _read(who: str, state: Any) -> tuple[int, int]:
    _keys(who, "the state", state, {"key", "counter"})
    return (
        _number(who, "key", state["key"], _KEYS),
        _number(who, "counter", state["counter"], _COUNTERS),
    )


# ---- functions that give the same bits everywhere, unlike the C library's ------------------------


def _fraction(words: Array) -> Array:
    """Numbers in [0, 1) with 53 bits, each from two words that lie side by side."""
    pairs = words.reshape(-1, 2)
    return ((pairs[:, 0] >> 5) * 2.0**26 + (pairs[:, 1] >> 6)) * 2.0**-53


def _series(x: Array, coefficients: list[float]) -> Array:
    """Sum of coefficients[i] x^i, by Horner's rule."""
    total = np.full_like(x, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        total *= x
        total += c
    return total


def _log(x: Array) -> Array:
    """Natural logarithm of positive numbers: 2 artanh((m-1) / (m+1)) + e log 2 for x = m 2^e."""
    m, e = np.frexp(x)
    small = m < math.sqrt(0.5)
    m = np.where(small, 2 * m, m)  # in [√½, √2), so that the series below is short
    s = (m - 1) / (m + 1)
    return (e - small) * _LOG2 + s * _series(s * s, _ARTANH)


def _cos_sin(turns: Array) -> tuple[Array, Array]:
    """Cosine and sine of a number of turns in [0, 1)."""
    quarter = np.floor(4 * turns + 0.5)
    angle = (4 * turns - quarter) * _QUARTER  # within an eighth of a turn
    square = angle * angle
    c, s = _series(square, _COS), angle * _series(square, _SIN)
    odd = quarter % 2 == 1
    cos, sin = np.where(odd, s, c), np.where(odd, c, s)
    cos *= np.where((quarter == 1) | (quarter == 2), -1.0, 1.0)
    sin *= np.where((quarter == 2) | (quarter == 3), -1.0, 1.0)
    return cos, sin


_LOG2, _QUARTER = 0.6931471805599453, 1.5707963267948966
_ARTANH = [2 / (2 * i + 1) for i in range(11)]
_COS = [(-1) ** i / math.factorial(2 * i) for i in range(10)]
_SIN = [(-1) ** i / math.factorial(2 * i + 1) for i in range(10)]


# ---- the streams of the engine ------------------------------------------------------------------

_seed = 0
_streams = {name: Stream(0).fork(place) for place, name in enumerate(NAMES)}


def manual_seed(seed: int) -> None:
    """Set every stream back to the beginning that a seed gives it; at first the seed is 0.

    seed : 0 … 2^64 - 1. Raises ValueError for anything else.
    """
    global _seed
    root = Stream(_whole("manual_seed", "seed", seed, _KEYS))
    with _lock:
        _seed = root.key
        for place, name in enumerate(NAMES):
            _streams[name].set_state(root.fork(place).state())


def initial_seed() -> int:
    """Return the seed that the streams began with."""
    return _seed


def stream(name: str) -> Stream:
    """Return one of the engine's streams, so that what one part draws moves no other.

    name : "init" (first weights), "shuffle" (order of data), "dropout", "augment" (changes to
    data), "sample" (`randn` and so on). Raises ValueError for another.
    """
    found = _streams.get(name)
    if found is None:
        raise ValueError(f"stream: there is no stream {name!r}; choose one of {', '.join(NAMES)}")
    return found


def get_state() -> dict[str, Any]:
    """Return the seed and the state of every stream, as JSON can store it."""
    with _lock:
        states = {name: each.state() for name, each in _streams.items()}
        return {"generator": GENERATOR, "seed": _seed, "streams": states}


def set_state(state: dict[str, Any]) -> None:
    """Set every stream to where `get_state` found it.

    Raises FormatError, changing nothing, for a state that is not whole.
    """
    global _seed
    who = "random.set_state"
    _keys(who, "the state", state, {"generator", "seed", "streams"})
    if state["generator"] != GENERATOR:
        raise FormatError(f"{who}: the state is of {state['generator']!r}, expected {GENERATOR!r}")
    seed = _number(who, "seed", state["seed"], _KEYS)
    _keys(who, "streams", state["streams"], set(NAMES))
    found = {name: _read(f"{who}: stream {name!r}", state["streams"][name]) for name in NAMES}
    with _lock:
        _seed = seed
        for name, (key, counter) in found.items():
            _streams[name].key, _streams[name].counter = key, counter
