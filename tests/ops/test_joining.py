"""minidl/ops/joining.py: parts and wholes, padding against NumPy, and what is refused."""

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


shapes = hnp.array_shapes(min_dims=1, max_dims=3, max_side=5)


@given(shapes, st.data())
def test_cat_undoes_split_and_chunk(shape: Any, data: Any) -> None:
    x, dim = numbered(*shape), data.draw(st.integers(-len(shape), len(shape) - 1))
    size = data.draw(st.integers(1, 6))
    cuts = sorted(data.draw(st.lists(st.integers(0, shape[dim]), max_size=3)))
    lengths = np.diff([0, *cuts, shape[dim]]).tolist()
    for parts in [ops.split(x, size, dim), ops.split(x, lengths, dim), ops.chunk(x, size, dim)]:
        np.testing.assert_array_equal(ops.cat(parts, dim).data, x.data)
    assert [p.shape[dim] for p in ops.split(x, lengths, dim)] == lengths
    assert len(ops.chunk(x, size, dim)) <= size


@given(shapes, st.data())
def test_stack_undoes_unbind(shape: Any, data: Any) -> None:
    x, dim = numbered(*shape), data.draw(st.integers(-len(shape), len(shape) - 1))
    parts = ops.unbind(x, dim)
    assert len(parts) == shape[dim]
    assert all(np.shares_memory(p.data, x.data) for p in parts)
    np.testing.assert_array_equal(ops.stack(*parts, dim=dim).data, x.data)


NUMPYS = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@given(shapes, st.sampled_from(sorted(NUMPYS)), st.data())
def test_pad_is_numpys(shape: Any, mode: str, data: Any) -> None:
    count = data.draw(st.integers(0, len(shape)))
    pairs = [(0, 0)] * (len(shape) - count)
    for n in shape[len(shape) - count :]:
        most = {"constant": 3, "reflect": n - 1, "replicate": 3, "circular": n}[mode]
        pairs.append((data.draw(st.integers(0, most)), data.draw(st.integers(0, most))))
    flat = [n for pair in pairs[len(shape) - count :][::-1] for n in pair]
    got = ops.pad(numbered(*shape), flat, mode)
    np.testing.assert_array_equal(got.data, np.pad(numbered(*shape).data, pairs, NUMPYS[mode]))


@given(shapes, st.data())
def test_padding_is_cut_off_again(shape: Any, data: Any) -> None:
    pads = data.draw(st.lists(st.integers(0, 3), min_size=2 * len(shape), max_size=2 * len(shape)))
    wide = ops.pad(numbered(*shape), pads, value=7)
    back = ops.pad(wide, [-n for n in pads])
    np.testing.assert_array_equal(back.data, numbered(*shape).data)


def test_channels_last_is_kept() -> None:
    x = minidl.tensor(np.zeros((2, 3, 4, 5), "float32")).contiguous("channels_last")
    assert is_channels_last(ops.cat([x, x], 1).data)
    for mode in NUMPYS:
        assert is_channels_last(ops.pad(x, (1, 1, 2, 0), mode).data), mode


def test_dtypes_meet() -> None:
    assert ops.cat([numbered(2).float(), numbered(2).long()]).dtype == "float32"
    assert ops.stack([numbered(2).float(), numbered(2)]).dtype == "float64"


def test_an_unused_part_has_gradient_zero() -> None:
    x = numbered(4).requires_grad_()
    first, _ = ops.split(x, 2)
    (g,) = minidl.grad(first.sum(), x)
    assert g.data.tolist() == [1, 1, 0, 0]


REFUSED = [
    (lambda x: ops.cat([]), ShapeError, "cat: there is nothing to join"),
    (lambda x: ops.cat([x, x[:, :2]]), ShapeError, r"cat: tensor 1 has shape \(2, 2\), the first"),
    (lambda x: ops.cat([x, x[0]], 1), ShapeError, r"cat: tensor 1 has shape \(3,\)"),
    (lambda x: ops.cat([x, x], 2), IndexError, "cat: dim is 2"),
    (lambda x: ops.cat([x.sum()]), ShapeError, "cat: tensors without axes .* use stack"),
    (lambda x: ops.stack([]), ShapeError, "stack: there is nothing to join"),
    (lambda x: ops.stack([x, x[0]]), ShapeError, r"stack: tensor 1 has shape \(3,\)"),
    (lambda x: ops.stack([x], 3), IndexError, "stack: dim is 3"),
    (lambda x: ops.split(x, 0), ShapeError, "split: the length of a part is 0"),
    (lambda x: ops.split(x, [1, 2]), ShapeError, r"split: lengths \[1, 2\] do not add up"),
    (lambda x: ops.split(x.sum(), 1), ShapeError, "split: x has no axes"),
    (lambda x: ops.chunk(x, 0), ValueError, "chunk: chunks is 0"),
    (lambda x: ops.unbind(x[:0]), ShapeError, r"unbind: axis 0 of x \(0, 3\) has length 0"),
    (lambda x: ops.pad(x, (1,)), ShapeError, r"pad: pad is \(1,\), expected a pair"),
    (lambda x: ops.pad(x, (0,) * 6), ShapeError, "pad: pad is"),
    (lambda x: ops.pad(x, (-2, -2)), ShapeError, "cuts off more than"),
    (lambda x: ops.pad(x, (1, 1), "mirror"), ValueError, "pad: mode is 'mirror', expected one of"),
    (lambda x: ops.pad(x, (3, 0), "reflect"), ShapeError, "'reflect' adds at most 2 to axis 1"),
    (lambda x: ops.pad(x, (0, 4), "circular"), ShapeError, "'circular' adds at most 3 to axis 1"),
    (lambda x: ops.pad(x[:0], (0, 0, 1, 0), "replicate"), ShapeError, "adds at most 0 to axis 0"),
    (lambda x: ops.pad(x, (-1, 0), "reflect"), NotImplementedError, "pad: negative numbers"),
    (lambda x: ops.pad(x, (1, 0), "reflect", 1.0), ValueError, "pad: value is given, but mode"),
]


@pytest.mark.parametrize(("call", "error", "text"), REFUSED, ids=[t for _, _, t in REFUSED])
def test_what_is_refused_says_why(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call(numbered(2, 3))
