"""minidl/ops/shape.py: inverses, views and copies, memory layout, and what is refused."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minidl
from minidl import ops
from minidl.device import is_channels_last
from minidl.errors import ShapeError


def numbered(*shape: int) -> Any:
    return minidl.tensor(np.arange(np.prod(shape, dtype=float)).reshape(shape))


shapes = hnp.array_shapes(min_dims=1, max_dims=4, max_side=4)


@given(shapes, st.data())
def test_flip_roll_and_movedim_undo_themselves(shape: Any, data: Any) -> None:
    x, axis = numbered(*shape), st.integers(-len(shape), len(shape) - 1)
    dim, other = data.draw(axis), data.draw(axis)
    shift = data.draw(st.integers(-9, 9))
    for back in [
        ops.flip(ops.flip(x, dim), (dim,)),
        ops.roll(ops.roll(x, shift, dim), -shift, dim),
        ops.roll(ops.roll(x, shift), -shift),
        ops.movedim(ops.movedim(x, dim, other), other, dim),
        ops.unflatten(ops.flatten(x), 0, shape),
        ops.squeeze(ops.unsqueeze(x, dim), dim),
    ]:
        np.testing.assert_array_equal(back.data, x.data)


@given(shapes, st.data())
def test_against_numpy(shape: Any, data: Any) -> None:
    x = numbered(*shape)
    sizes = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=5))
    np.testing.assert_array_equal(ops.tile(x, sizes).data, np.tile(x.data, sizes))
    if len(sizes) >= len(shape):
        np.testing.assert_array_equal(ops.repeat(x, sizes).data, np.tile(x.data, sizes))
    k = data.draw(st.integers(-5, 5))
    if len(shape) > 1:
        d1, d2 = data.draw(st.permutations(range(len(shape))))[:2]
        np.testing.assert_array_equal(
            ops.diagonal(x, k, d1, d2).data, np.diagonal(x.data, k, d1, d2)
        )
        np.testing.assert_array_equal((ops.tril(x, k) + ops.triu(x, k + 1)).data, x.data)
    if len(shape) == 1:
        np.testing.assert_array_equal(ops.diag(x, k).data, np.diag(x.data, k))
        np.testing.assert_array_equal(ops.diag(ops.diag(x, k), k).data, x.data)


def test_which_share_memory_and_which_copy() -> None:
    x = numbered(2, 1, 2)
    for view in [
        ops.view(x, (4,)),
        ops.flatten(x),
        ops.squeeze(x),
        ops.unsqueeze(x, 0),
        ops.movedim(x, 0, 1),
        ops.diagonal(x, 0, 0, 2),
        ops.contiguous(x),
        ops.broadcast_to(x, (3, 2, 1, 2)),
        ops.squeeze(x.transpose(0, 2), 1),
    ]:
        assert np.shares_memory(view.data, x.data)
    for copy in [
        ops.clone(x),
        ops.flip(x, 0),
        ops.flip(x, ()),
        ops.roll(x, 0),
        ops.repeat(x, (1,) * 3),
    ]:
        assert not np.shares_memory(copy.data, x.data)


def test_a_diagonal_can_be_written_through() -> None:
    x = numbered(2, 3)
    x.diagonal(1).fill_(9)
    assert x.data.tolist() == [[0, 9, 2], [3, 4, 9]]


def test_layouts() -> None:
    x = numbered(2, 3, 4, 5)
    last = ops.contiguous(x, "channels_last")
    assert is_channels_last(last.data)
    assert not last.is_contiguous()
    assert ops.contiguous(last, "channels_last").data is last.data
    np.testing.assert_array_equal(last.data, x.data)
    assert is_channels_last(ops.clone(last).data)
    assert is_channels_last(ops.flip(last, 2).data)
    assert is_channels_last(ops.roll(last, 1, 2).data)
    assert ops.clone(last, memory_format="contiguous_format").is_contiguous()
    assert not np.shares_memory(ops.clone(last, memory_format="channels_last").data, last.data)
    assert ops.contiguous(ops.sum(x)).shape == ()


REFUSED = [
    (lambda x: ops.view(x.transpose(0, 1), (6,)), ShapeError, "view: .*; use .reshape"),
    (lambda x: ops.view(x, (4,)), ShapeError, r"view: x \(2, 3\) has 6 elements"),
    (lambda x: x.view("float32"), NotImplementedError, r"view: .*\.to\(dtype\)"),
    (lambda x: ops.flatten(x, 1, 0), ShapeError, "flatten: start_dim 1 comes after end_dim 0"),
    (lambda x: ops.flatten(x, 2), IndexError, "flatten: start_dim is 2"),
    (lambda x: ops.unflatten(x, 1, (2, 2)), ShapeError, r"unflatten: sizes \(2, 2\) do not fit"),
    (lambda x: ops.unflatten(x, 1, (-1, 2)), ShapeError, "unflatten: sizes"),
    (lambda x: ops.unflatten(x, 1, ()), ShapeError, "unflatten: sizes"),
    (lambda x: ops.squeeze(x, 2), IndexError, "squeeze: dim is 2"),
    (lambda x: ops.squeeze(x, (0, -2)), ValueError, "squeeze: dim .* names an axis twice"),
    (lambda x: ops.unsqueeze(x, 3), IndexError, "unsqueeze: dim is 3"),
    (lambda x: ops.t(x.reshape(1, 2, 3)), ShapeError, "t: x has shape"),
    (lambda x: ops.movedim(x, (0, 1), 0), ShapeError, "movedim: .* differ in number"),
    (lambda x: ops.movedim(x, 2, 0), IndexError, "movedim: dim is 2"),
    (lambda x: ops.broadcast_to(x, (3,)), ShapeError, "expand: x"),
    (lambda x: ops.repeat(x, (2,)), ShapeError, r"repeat: sizes \(2,\) are fewer"),
    (lambda x: ops.tile(x, (-1,)), ShapeError, "tile: sizes"),
    (lambda x: ops.flip(x, 2), IndexError, "flip: dim is 2"),
    (lambda x: ops.roll(x, (1, 1), 0), ValueError, "roll: 2 shifts but 1 dims"),
    (lambda x: ops.roll(x, (1, 1)), ValueError, "roll: 2 shifts but no dims"),
    (lambda x: ops.contiguous(x, "channels_last"), ShapeError, "contiguous: channels_last needs"),
    (lambda x: ops.clone(x, memory_format="c"), ValueError, "clone: memory_format is 'c'"),
    (lambda x: ops.diagonal(x, 0, 0, 0), ShapeError, "diagonal: .* two different axes"),
    (lambda x: ops.diag(x.reshape(1, 2, 3)), ShapeError, "diag: x has shape"),
    (lambda x: ops.diag_embed(x.sum()), ShapeError, "diag_embed: x has no axes"),
    (lambda x: ops.tril(x[0]), ShapeError, "tril: x has shape"),
]


@pytest.mark.parametrize(("call", "error", "text"), REFUSED, ids=[t for _, _, t in REFUSED])
def test_what_is_refused_says_why(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call(numbered(2, 3))
