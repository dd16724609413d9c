"""minidl/ops/indexing.py: every index against NumPy, gradients as sums, and what is refused."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minidl
from minidl import ops
from minidl.errors import DtypeError, ShapeError
from minidl.ops._places import check_index
from minidl.ops.indexing import write_index


def numbered(*shape: int, requires_grad: bool = False) -> Any:
    values = np.arange(1.0, 1 + np.prod(shape, dtype=int)).reshape(shape)
    return minidl.tensor(values, requires_grad=requires_grad)


def numpys(x: np.ndarray, index: Any) -> np.ndarray:
    """x[index] as NumPy has it, but single numbers are taken before arrays, as in PyTorch."""
    parts = index if isinstance(index, tuple) else (index,)
    if any(isinstance(p, np.ndarray) for p in parts) and not any(p is ... for p in parts):
        numbers = tuple([p if type(p) is int else slice(None) for p in parts if p is not None])
        rest = tuple([p for p in parts if type(p) is not int])
        return x[(*numbers, ...)][rest]
    return x[index]


@st.composite
def shapes_and_indices(draw: Any) -> tuple[tuple[int, ...], Any]:
    """A shape, and ints, slices, None and arrays for its first axes, or a mask."""
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, max_side=4))
    if draw(st.booleans()):
        return shape, draw(
            hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True, max_dims=7)
        )
    spread = draw(hnp.array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=3))
    parts: list[Any] = []
    for n in shape[: draw(st.integers(1, len(shape)))]:
        kind = draw(st.sampled_from(["array", "array", "slice", "int", "mask", "none"]))
        if kind == "none":
            parts.append(None)
        if kind == "int":
            parts.append(draw(st.integers(-n, n - 1)))
        elif kind == "slice":
            parts.append(draw(st.slices(n)))
        elif kind == "mask" and not any(isinstance(p, np.ndarray) for p in parts):
            count = spread[-1]  # as many places as the arrays are long, so that they broadcast
            if count <= n:
                mask = np.arange(n) < count
                parts.append(mask)
                continue
            parts.append(slice(None))
        else:
            whole = st.integers(-n, n - 1)
            parts.append(draw(hnp.arrays("int64", spread, elements=whole)))
    return shape, tuple(parts)


@given(shapes_and_indices())
def test_getitem_is_numpys_and_its_gradient_adds_up(drawn: Any) -> None:
    shape, index = drawn
    x = numbered(*shape, requires_grad=True)
    want = numpys(x.data, index)
    y = x[index]
    np.testing.assert_array_equal(y.data, want)
    weights = np.arange(1.0, 1 + want.size).reshape(want.shape)
    (g,) = minidl.grad(y, x, minidl.tensor(weights))
    places = numpys(np.arange(x.data.size).reshape(shape), index)
    added = np.zeros(x.data.size)
    np.add.at(added, places, weights)
    np.testing.assert_array_equal(g.data, added.reshape(shape))


@given(shapes_and_indices(), st.booleans())
def test_index_put_writes_and_only_what_remains_has_a_gradient(drawn: Any, single: bool) -> None:
    shape, index = drawn
    x = numbered(*shape, requires_grad=True)
    places = np.asarray(numpys(np.arange(x.data.size).reshape(shape), index))
    value = -numbered(*(() if single else places.shape)).detach()
    value.requires_grad_()
    want, serial = x.data.copy().reshape(-1), np.full(x.data.size, -1)
    wide = np.broadcast_to(value.data, places.shape)
    for k, (place, v) in enumerate(zip(places.reshape(-1), wide.reshape(-1), strict=True)):
        want[place], serial[place] = v, k
    y = ops.index_put(x, index, value)
    np.testing.assert_array_equal(y.data, want.reshape(shape))
    weights = np.arange(1.0, 1 + x.data.size)
    gx, gv = minidl.grad(y, [x, value], minidl.tensor(weights.reshape(shape)))
    np.testing.assert_array_equal(gx.data.reshape(-1), np.where(serial < 0, weights, 0))
    want_gv = np.zeros(places.size)
    want_gv[serial[serial >= 0]] = weights[serial >= 0]
    want_gv = want_gv.sum() if single else want_gv.reshape(places.shape)
    np.testing.assert_array_equal(gv.data, want_gv)


@given(shapes_and_indices())
def test_write_index_is_index_put_in_place(drawn: Any) -> None:
    shape, index = drawn
    x = np.zeros(shape)
    value = np.arange(1.0, 1 + numpys(x, index).size).reshape(numpys(x, index).shape)
    want = ops.index_put(x, index, value)
    write_index(x, index, value)
    np.testing.assert_array_equal(x, want)


def test_basic_indices_are_views() -> None:
    x = numbered(2, 3)
    for index in [0, (0, 1), (slice(None), 1), (..., None), slice(None, None, -1)]:
        assert np.shares_memory(x[index].data, x.data), index
    assert not np.shares_memory(x[minidl.tensor([0])].data, x.data)


def test_numbers_are_taken_before_arrays_as_in_pytorch() -> None:
    assert numbered(2, 3, 4)[0, :, [0, 1]].shape == (3, 2)  # NumPy: (2, 3)


def test_indices_of_small_dtypes_do_not_overflow() -> None:
    x = numbered(2, 200, requires_grad=True)
    (g,) = minidl.grad(x[:, np.array([-1, -1], "int8")].sum(), x)
    assert g.data[:, 199].tolist() == [2, 2]
    assert g.data.sum() == 4


REFUSED = [
    (3, "getitem: index 3 is out of bounds"),
    ([0, 3], "getitem: index 3 is out of range for axis 0 of length 2 .*shape \\(2, 3\\)"),
    ((slice(None), [-4]), "getitem: index -4 is out of range for axis 1 of length 3"),
    ((0, 0, [0]), "getitem: indices for 3 axes, but the tensor has shape \\(2, 3\\)"),
    ((..., [0], ...), "getitem: '...' stands twice"),
    (np.array([True]), "getitem: a mask of shape \\(1,\\) does not fit"),
    (([0, 1], [0, 1, 2]), "getitem: .*could not be broadcast"),
    ("x", "getitem: 'x' is no index"),
    (1.5, "getitem: 1.5 is no index"),
    ((0, (0.5,)), "getitem: an array of float64 is no index"),
    (np.array([1, 0], "uint8"), "getitem: an index of uint8 is taken for a mask by PyTorch"),
]


@pytest.mark.parametrize(("index", "text"), REFUSED, ids=[t for _, t in REFUSED])
def test_getitem_refuses(index: Any, text: str) -> None:
    with pytest.raises(IndexError, match=text):
        numbered(2, 3)[index]


@pytest.mark.parametrize("index", [3, (0, -4), (0, 0, 0), [2], np.array([True])])
def test_check_index_refuses_in_the_name_of_the_caller(index: Any) -> None:
    with pytest.raises(IndexError, match="^setitem: "):
        check_index("setitem", index, (2, 3))


def test_index_put_refuses() -> None:
    x = numbered(2, 3)
    with pytest.raises(ShapeError, match="^index_put: "):
        ops.index_put(x, 0, numbered(2))
    with pytest.raises(ShapeError, match="^index_put: "):
        ops.index_put(x, np.array([0, 0]), numbered(2, 2))
    with pytest.raises(DtypeError, match="index_put: value is float64, x is int64"):
        ops.index_put(x.long(), 0, x[0])
    with pytest.raises(IndexError, match="index_put: index 5"):
        ops.index_put(x, 5, 0)


ALONG = [
    (lambda x: ops.narrow(x, 1, 2, 2), IndexError, "narrow: start 2 and length 2 leave axis 1"),
    (lambda x: ops.narrow(x, 1, -4, 1), IndexError, "narrow: start -4"),
    (lambda x: ops.select(x, 0, 2), IndexError, "select: index 2 is out of range for axis 0"),
    (lambda x: ops.select(x, 2, 0), IndexError, "select: dim is 2"),
    (lambda x: ops.index_select(x, 0, I([-1])), IndexError, "index_select: index -1 is out"),
    (lambda x: ops.index_select(x, 0, I([[0]])), ShapeError, "index_select: index has shape"),
    (lambda x: ops.index_select(x, 0, x), DtypeError, "index_select: index is float64"),
    (lambda x: ops.index_add(x, 0, I([0]), x), ShapeError, "index_add: source has shape"),
    (lambda x: ops.index_add(x, 0, I([0]), x.float()), DtypeError, "index_add: x is float64"),
    (lambda x: ops.gather(x, 1, I([[3]])), IndexError, "gather: index 3 is out of range"),
    (lambda x: ops.gather(x, 1, I([0])), ShapeError, "gather: index has shape \\(1,\\)"),
    (lambda x: ops.gather(x, 1, I([[0]] * 3)), ShapeError, "x \\(2, 3\\) in any axis but 1"),
    (lambda x: ops.scatter(x, 0, I([[0]])), TypeError, "scatter: give either src or value"),
    (lambda x: ops.scatter(x, 1, I([[0] * 4]), x), ShapeError, "src \\(2, 3\\) in any axis"),
    (lambda x: ops.scatter(x, 0, I([[2]]), 1.0), IndexError, "scatter: index 2"),
    (lambda x: ops.scatter_add(x, 0, I([[0]]), x.float()), DtypeError, "scatter_add: x is"),
    (lambda x: ops.take_along_dim(x, I([0]), 1), ShapeError, "take_along_dim: indices"),
    (lambda x: ops.take(x, I([6])), IndexError, "take: index 6 is out of range"),
    (lambda x: ops.masked_select(x, I([1, 1, 0])), DtypeError, "masked_select: mask is int64"),
    (lambda x: ops.masked_select(x, x[:, :2] > 0), ShapeError, "^masked_select: "),
    (lambda x: ops.one_hot(I([2]), 2), ValueError, "one_hot: x holds numbers outside \\[0, 2\\)"),
    (lambda x: ops.one_hot(I([-1])), ValueError, "one_hot: "),
    (lambda x: ops.one_hot(I([])), ValueError, "one_hot: x is empty; give num_classes"),
    (lambda x: ops.repeat_interleave(x, -1), ValueError, "repeat_interleave: repeats -1"),
    (lambda x: ops.repeat_interleave(x, I([1, 2]), 1), ShapeError, "2 repeats for axis 1"),
]


def I(values: Any) -> Any:  # noqa: E743 (as in the cases)
    return minidl.tensor(np.array(values, "int64"))


@pytest.mark.parametrize(("call", "error", "text"), ALONG, ids=[t for _, _, t in ALONG])
def test_what_is_refused_says_why(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call(numbered(2, 3))


def test_slices_along_an_axis_are_views() -> None:
    x = numbered(3, 4)
    assert np.shares_memory(ops.narrow(x, 1, 1, 2).data, x.data)
    assert np.shares_memory(ops.select(x, 0, 1).data, x.data)


def test_one_hot_and_nonzero_have_no_gradient() -> None:
    x = numbered(3, requires_grad=True)
    assert not ops.nonzero(x).requires_grad
    assert ops.one_hot(I([0, 2])).data.tolist() == [[1, 0, 0], [0, 0, 1]]
    assert ops.nonzero(numbered(2, 2) > 2, as_tuple=True)[1].data.tolist() == [0, 1]


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**16))
def test_scatter_undoes_gather_of_a_permutation(n: int, m: int, seed: int) -> None:
    index = np.argsort(np.random.default_rng(seed).random((n, m)), axis=0)
    x = numbered(n, m)
    there = ops.gather(x, 0, I(index))
    back = ops.scatter(minidl.zeros_like(x), 0, I(index), there)
    np.testing.assert_array_equal(back.data, x.data)
    np.testing.assert_array_equal(
        ops.take_along_dim(x, I(index), 0).data, np.take_along_axis(x.data, index, 0)
    )


def test_float16_sums_keep_their_dtype() -> None:
    x = minidl.tensor(np.ones(2, "float16"), requires_grad=True)
    (g,) = minidl.grad(x[[0, 0, 1]].sum(), x)
    assert g.dtype == "float16"
    assert g.data.tolist() == [2, 1]


def test_a_changed_index_is_noticed_in_backward() -> None:
    x, index = numbered(3, requires_grad=True), minidl.tensor([0, 1])
    y = x[index]
    index.fill_(2)
    with pytest.raises(RuntimeError, match="getitem: .*changed in place"):
        y.sum().backward()
