"""Numbers, shapes and arrays: what is drawn keeps its promises, and all of it is really drawn."""

import math

import numpy as np
import pytest
from drawn_cases import missing, never
from hypothesis import find, given
from hypothesis import strategies as st

from minidl.testing import strategies as some
from minidl.testing.layouts import LAYOUTS, laid_out, layouts_of

FLOATS = ["float16", "float32", "float64"]


def test_missing_and_never():
    numbers = st.integers(0, 3)
    assert missing(numbers, three=lambda n: n == 3, four=lambda n: n == 4) == ["four"]
    assert never(numbers, lambda n: n == 4)
    assert not never(numbers, lambda n: n == 4, lambda n: n == 3)


# ---- layouts ------------------------------------------------------------------------------------


def lies(x, layout):
    """Whether an array of distinct strides lies in memory as a layout says."""
    order = np.argsort([-abs(s) for s in x.strides], kind="stable").tolist()
    return {
        "contiguous": x.flags.c_contiguous and x.flags.writeable,
        "transposed": x.flags.f_contiguous and order == list(range(x.ndim))[::-1],
        "strided": min(x.strides, default=0) >= 2 * x.itemsize,
        "reversed": max(x.strides, default=0) < 0,
        "readonly": x.flags.c_contiguous and not x.flags.writeable,
        "channels_last": order == [0, *range(2, x.ndim), 1],
    }[layout]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "int64", "uint8", "bool"])
@pytest.mark.parametrize("shape", [(), (4,), (2, 3), (2, 3, 4), (2, 3, 4, 5)])
def test_laid_out(layout, dtype, shape):
    x = np.arange(math.prod(shape)).reshape(shape).astype(dtype)
    if layout not in layouts_of(len(shape)):
        with pytest.raises(ValueError, match="needs at least"):
            laid_out(x, layout)
        return
    y = laid_out(x, layout)
    assert lies(y, layout)
    assert y.shape == shape
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(y, x)
    assert not np.shares_memory(x, y)


def test_between_strided_elements_lies_what_would_be_noticed():
    assert np.isnan(laid_out(np.ones((2, 2)), "strided").base).sum() == 25 - 4


def test_layouts_that_do_not_exist():
    with pytest.raises(ValueError, match="layout is 'fortran', expected one of"):
        laid_out(np.ones(2), "fortran")
    with pytest.raises(ValueError, match=r"unknown layouts \['fortran'\]"):
        find(some.arrays(layouts=["fortran"]), lambda x: True)
    with pytest.raises(ValueError, match=r"no array of shape \(2,\) can be channels_last"):
        find(some.arrays((2,), layouts="channels_last"), lambda x: True)


# ---- numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
@given(data=st.data())
def test_floats(data, dtype):
    kink = data.draw(st.sampled_from([-1.0, 0.0, 0.3]))
    as_drawn = data.draw(st.sampled_from(["plain", "away", "at"]))
    options = {"away": {"away_from": [kink]}, "at": {"at": [kink]}}.get(as_drawn, {})
    x = data.draw(some.floats(-3, 5, dtype=dtype, margin=0.25, **options))
    assert -3 <= x <= 5
    assert x == 0 or abs(x) >= 2**-10
    if as_drawn == "away":
        assert abs(x - kink) >= 0.25
    elif as_drawn == "at":
        assert x == kink or abs(x - kink) >= 0.25
    if x != kink:
        assert float(np.dtype(dtype).type(x)) == x


def test_floats_reach_their_range():
    assert not missing(
        some.floats(-2, 3, away_from=[1]),
        zero=lambda x: x == 0, below=lambda x: -2 <= x < -1, between=lambda x: 0 < x < 1,
        above=lambda x: x > 1, edge=lambda x: x == 1.125, end=lambda x: x == 3,
        crooked=lambda x: x * 1024 % 1 != 0,
    )  # fmt: skip
    assert not missing(
        some.floats(at=[0.0, 6.0]), zero=lambda x: x == 0, six=lambda x: x == 6,
        below=lambda x: x < 0, other=lambda x: 0 < x < 6,
    )  # fmt: skip
    assert never(some.floats(away_from=[0.0]), lambda x: x == 0)


@pytest.mark.parametrize("dtype", FLOATS)
def test_nothing_is_subnormal(dtype):
    tiny = float(np.finfo(dtype).tiny)
    numbers = some.floats(dtype=dtype, smallest=0)
    assert never(numbers, lambda x: 0 < abs(x) < tiny)
    assert not missing(numbers, least=lambda x: x == tiny)


def test_floats_shrink_to_simple_numbers():
    assert find(some.floats(), lambda x: x > 2.5) == 3
    assert find(some.floats(away_from=[0.0]), lambda x: x < 0) == -1


def test_floats_of_which_none_is_left():
    with pytest.raises(ValueError, match=r"nothing is left of \[-0.1, 0.1\] .* margin"):
        some.floats(-0.1, 0.1, away_from=[0.0])
    with pytest.raises(ValueError, match="at least one point"):
        some.at_kinks([])


def test_at_kinks():
    assert not missing(some.at_kinks([0, 6]), zero=lambda x: x == 0, six=lambda x: x == 6)
    assert never(some.at_kinks([0, 6]), lambda x: x not in (0, 6))


@given(some.shapes(zero_size=True).flatmap(some.distinct))
def test_distinct(x):
    ordered = np.sort(x, axis=None)
    assert (np.diff(ordered) >= 0.125).all()
    assert (abs(x) >= 0.0625).all()


def test_distinct_come_in_every_order():
    assert not missing(
        some.distinct((3,)),
        up=lambda x: x[0] < x[1] < x[2], down=lambda x: x[0] > x[1] > x[2],
        top=lambda x: x.argmax() == 1,
    )  # fmt: skip


@pytest.mark.parametrize("axis", [None, 0, -1])
@given(data=st.data())
def test_ties(data, axis):
    x = data.draw(some.shapes(1, 3, min_side=2).flatmap(lambda s: some.ties(s, axis=axis)))
    lines = (
        x.reshape(1, -1) if axis is None else np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis])
    )
    for line in lines:
        assert np.unique(line, return_counts=True)[1].min() >= 2


def test_ties_of_several_values():
    assert not missing(
        some.ties((5,)),
        one=lambda x: len(set(x)) == 1, two=lambda x: len(set(x)) == 2,
        apart=lambda x: x[0] == x[4] != x[1],
    )  # fmt: skip
    assert find(some.ties((1,)), lambda x: True).shape == (1,)


# ---- shapes, dtypes, arrays ---------------------------------------------------------------------


@given(data=st.data())
def test_shapes(data):
    least = data.draw(st.integers(0, 2))
    most = data.draw(st.integers(least, 4))
    side = data.draw(st.integers(1, 2))
    shape = data.draw(some.shapes(least, most, min_side=side, max_side=5, max_size=40))
    assert least <= len(shape) <= most
    assert all(side <= n <= 5 for n in shape)
    assert math.prod(shape) <= 40


def test_shapes_vary():
    assert not missing(
        some.shapes(zero_size=True),
        scalar=lambda s: s == (), empty=lambda s: 0 in s, large=lambda s: math.prod(s) > 20,
        three=lambda s: len(s) == 3 and min(s) > 1, one=lambda s: len(s) > 1 and 1 in s,
    )  # fmt: skip
    assert never(some.shapes(), lambda s: 0 in s)


def test_dtypes():
    kinds = ["float", "half", "int", "uint", "bool"]
    names = ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"]
    assert not missing(some.dtypes(*kinds), **{n: (lambda d, n=n: d == n) for n in names})
    assert never(some.dtypes(), lambda d: d not in ("float32", "float64"))
    with pytest.raises(ValueError, match="kind is 'complex'"):
        some.dtypes("complex")


@given(data=st.data())
def test_arrays(data):
    dtype = data.draw(some.dtypes("float", "half", "int", "uint", "bool"))
    shape = data.draw(some.shapes(zero_size=True))
    x = data.draw(some.arrays(shape, dtype=dtype))
    assert type(x) is np.ndarray
    assert x.dtype == dtype
    assert x.shape == shape
    assert np.isfinite(x).all()


def test_arrays_lie_in_every_layout():
    images = some.arrays(some.shapes(3, 4, min_side=2, max_side=3))
    assert not missing(images, **{n: (lambda x, n=n: lies(x, n)) for n in LAYOUTS})
    only = some.arrays((2, 3), layouts=["reversed", "strided"])
    assert never(only, lambda x: not lies(x, "reversed") and not lies(x, "strided"))


def test_elements_of_arrays():
    assert find(some.arrays((2, 2), elements=some.floats(1, 2)), lambda x: True).tolist() == [
        [1, 1],
        [1, 1],
    ]
    x = find(some.arrays((3,), elements=some.distinct, dtype="float32"), lambda x: True)
    assert x.dtype == np.float32
    assert len(set(x)) == 3
    assert not missing(
        some.arrays((2,), dtype=some.dtypes()),
        single=lambda x: x.dtype == "float32", double=lambda x: x.dtype == "float64",
        tie=lambda x: x[0] == x[1], no_tie=lambda x: x[0] != x[1],
    )  # fmt: skip


@given(some.same_twice())
def test_same_twice(pair):
    x, y = pair
    assert x is y


@given(st.integers(1, 3).flatmap(lambda n: some.broadcastable(n, zero_size=True)))
def test_broadcastable(group):
    np.broadcast_shapes(*[x.shape for x in group])  # raises if they do not


def test_broadcastable_groups_vary():
    def shapes(group):
        return tuple(x.shape for x in group)

    assert not missing(
        some.broadcastable(2),
        scalar=lambda g: () in shapes(g) and g[0].ndim + g[1].ndim > 0,
        one=lambda g: any(1 in s for s in shapes(g)) and max(x.size for x in g) > 1,
        axis_missing=lambda g: 0 < g[0].ndim < g[1].ndim,
        both_stretch=lambda g: np.broadcast(*g).size > max(g[0].size, g[1].size),
        same=lambda g: g[0].shape == g[1].shape and g[0].size > 1,
        mixed_layouts=lambda g: g[0].flags.c_contiguous != g[1].flags.c_contiguous,
    )  # fmt: skip
    assert never(some.broadcastable(2), lambda g: g[0].size == 0)
    assert not missing(some.broadcastable(2, zero_size=True), zero=lambda g: g[0].size == 0)


# ---- shrinking ----------------------------------------------------------------------------------


def test_failures_shrink_to_small_cases():
    x = find(some.arrays(), lambda x: x.ndim == 2 and (x > 1).any())
    assert x.shape == (1, 1)
    assert x.flags.c_contiguous
    assert x.item() == 2
    x, y = find(some.matmul_operands(), lambda pair: pair[0].ndim == 2 and pair[1].ndim == 2)
    assert x.shape == y.shape == (1, 1)
    case = find(some.convolutions(), lambda c: c.x.ndim == 4 and c.x.any())
    assert case.x.shape == case.weight.shape == (1, 1, 1, 1)
    assert case[2:] == (None, (1, 1), (0, 0), (1, 1), 1)
    case = find(some.max_poolings(2), lambda c: c.x.size > 1)
    assert case.x.size == 2
    batch = find(some.sequences(), lambda b: len(b.lengths) > 1)
    assert batch.x.shape == (2, 1, 1)
