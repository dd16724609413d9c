"""Convolution: its identities, its layout, and what it says of what does not fit."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl
from minidl.device import channels_last, is_channels_last
from minidl.errors import DtypeError, ShapeError
from minidl.ops import convolution as ops
from minidl.ops import convolving


def drawn(*shape: int, seed: int = 0, dtype: Any = "float64") -> np.ndarray:
    return np.random.default_rng([seed, *shape]).uniform(-1, 1, shape).astype(dtype)


def conv2d_by_loops(x: Any, w: Any, bias: Any, s: int, p: int, d: int, groups: int) -> np.ndarray:
    """The definition, one output at a time."""
    x = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
    outputs, inner, height, width = w.shape
    rows = (x.shape[2] - d * (height - 1) - 1) // s + 1
    columns = (x.shape[3] - d * (width - 1) - 1) // s + 1
    out = np.empty((x.shape[0], outputs, rows, columns))
    for n, o, i, j in np.ndindex(out.shape):
        first = o // (outputs // groups) * inner
        window = x[n, first : first + inner, s * i :: d, s * j :: d][:, :height, :width]
        out[n, o, i, j] = (window * w[o]).sum() + bias[o]
    return out


@st.composite
def convolutions(draw: Any) -> Any:
    """Two arrays, a bias and options that fit one another."""
    whole = lambda low, high: draw(st.integers(low, high))  # noqa: E731
    groups, stride, dilation, padding = whole(1, 3), whole(1, 3), whole(1, 2), whole(0, 2)
    size = (whole(1, 3), whole(1, 3))
    space = [max(1, dilation * (k - 1) + 1 - 2 * padding) + whole(0, 3) for k in size]
    x = drawn(whole(1, 2), groups * whole(1, 2), *space)
    w = drawn(groups * whole(1, 2), x.shape[1] // groups, *size, seed=1)
    return x, w, drawn(len(w), seed=2), stride, padding, dilation, groups


@given(convolutions())
def test_conv2d_is_its_definition(case: Any) -> None:
    np.testing.assert_allclose(ops.conv2d(*case), conv2d_by_loops(*case), rtol=1e-12, atol=1e-12)


@given(convolutions())
def test_the_three_operations_are_adjoint(case: Any) -> None:
    x, w, _, stride, padding, dilation, groups = case
    rest = (stride,) * 2, ((padding, padding),) * 2, (dilation,) * 2, groups
    y = convolving.conv(x, w, None, *rest)
    g = drawn(*y.shape, seed=3)
    want = np.vdot(g, y)
    for got in (
        np.vdot(convolving.conv_input(g, w, x.shape, *rest), x),
        np.vdot(convolving.conv_weight(g, x, w.shape, *rest), w),
    ):
        np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-12)


@given(convolutions())
def test_conv2d_is_a_product_with_the_windows(case: Any) -> None:
    x, w, _, stride, padding, dilation, _ = case
    w = drawn(3, x.shape[1], *w.shape[2:])
    columns = ops.unfold(x, w.shape[2:], dilation, padding, stride)
    out = ops.conv2d(x, w, None, stride, padding, dilation)
    got = (w.reshape(3, -1) @ columns).reshape(out.shape)
    np.testing.assert_allclose(got, out, rtol=1e-11, atol=1e-12)


@given(convolutions())
def test_conv_transpose2d_undoes_the_size_of_conv2d(case: Any) -> None:
    x, w, _, stride, padding, dilation, groups = case
    y = ops.conv2d(x, w, None, stride, padding, dilation, groups)
    extra = [
        n - ((m - 1) * stride - 2 * padding + dilation * (k - 1) + 1)
        for n, m, k in zip(x.shape[2:], y.shape[2:], w.shape[2:], strict=True)
    ]
    back = ops.conv_transpose2d(y, w, None, stride, padding, extra, groups, dilation)
    assert back.shape == x.shape
    np.testing.assert_allclose(np.vdot(back, x), np.vdot(y, y), rtol=1e-11)


@given(st.integers(1, 5), st.integers(1, 3), st.integers(1, 6))
def test_same_keeps_the_size_and_pads_the_end_first(k: int, d: int, n: int) -> None:
    x, w = drawn(1, 1, n), drawn(1, 1, k)
    out = ops.conv1d(x, w, padding="same", dilation=d)
    total = d * (k - 1)
    padded = np.pad(x, ((0, 0), (0, 0), (total // 2, total - total // 2)))
    np.testing.assert_array_equal(out, ops.conv1d(padded, w, dilation=d))
    assert out.shape == x.shape


def test_fold_sums_what_unfold_repeats() -> None:
    counts = ops.fold(ops.unfold(np.ones((1, 1, 3, 3)), 2), (3, 3), 2)
    np.testing.assert_array_equal(counts[0, 0], [[1, 2, 1], [2, 4, 2], [1, 2, 1]])


@pytest.mark.parametrize("function", [ops.conv2d, ops.conv_transpose2d])
def test_channels_last_stays(function: Any) -> None:
    """In the output and in the gradient of the input; a bias does not change it."""
    x = minidl.from_numpy(channels_last(drawn(2, 3, 5, 4, dtype="float32"))).requires_grad_()
    w = minidl.from_numpy(drawn(3, 3, 3, 3, dtype="float32"))
    y = function(x, w, minidl.from_numpy(drawn(3, dtype="float32")))
    assert is_channels_last(y.data)
    (g,) = minidl.grad(y, x, minidl.from_numpy(np.ones_like(y.data)), create_graph=True)
    assert is_channels_last(g.data)


@pytest.mark.parametrize("function", [ops.conv2d, ops.conv_transpose2d])
def test_infinities_stay_where_the_kernel_reaches(function: Any) -> None:
    x = np.zeros((1, 1, 6, 6))
    x[0, 0, 0, 0] = np.inf
    out = function(x, np.ones((1, 1, 2, 2)))
    assert np.isinf(out[0, 0, 0, 0])
    assert np.isfinite(out[0, 0, 2:, 2:]).all()


def call(name: str, x: Any, w: Any, *bias: Any, **options: Any) -> Any:
    arrays = [np.zeros(s, "float32") for s in (x, w, *bias)]
    return getattr(ops, name)(*arrays, **options)


IMAGE, KERNEL = (32, 3, 28, 28), (8, 3, 3, 3)


@pytest.mark.parametrize(
    ("name", "shapes", "options", "error", "text"),
    [
        ("conv2d", (IMAGE, (8, 1, 3, 3)), {}, ShapeError,
         "conv2d: input has 3 channels (32, 3, 28, 28) but weight expects 1 (8, 1, 3, 3)"),
        ("conv2d", (IMAGE, (8, 3, 3, 3)), {"groups": 2}, ShapeError,
         "conv2d: input has 3 channels (32, 3, 28, 28) but weight expects 6 (8, 3, 3, 3) "
         "in 2 groups"),
        ("conv1d", ((1, 6, 5), (4, 2, 3)), {"groups": 3}, ShapeError,
         "conv1d: weight (4, 2, 3) has 4 output channels, which 3 groups do not divide"),
        ("conv2d", ((3,), KERNEL), {}, ShapeError,
         "conv2d: input has shape (3,), expected 3 or 4 axes"),
        ("conv2d", (IMAGE, (3, 3, 3)), {}, ShapeError,
         "conv2d: weight has shape (3, 3, 3), expected 4 axes"),
        ("conv2d", (IMAGE, KERNEL, (3,)), {}, ShapeError,
         "conv2d: bias has shape (3,), expected (8,)"),
        ("conv2d", ((1, 3, 2, 9), KERNEL), {}, ShapeError,
         "conv2d: a kernel that extends over (3, 3) does not fit the input, (2, 9), "
         "with padding (2, 9)"),
        ("conv2d", ((1, 3, 2, 9), KERNEL), {"padding": (1, 0), "dilation": 2}, ShapeError,
         "conv2d: a kernel that extends over (5, 5) does not fit the input, (2, 9), "
         "with padding (4, 9)"),
        ("conv2d", (IMAGE, KERNEL), {"padding": "same", "stride": (1, 2)}, ValueError,
         "conv2d: padding 'same' needs stride 1, got (1, 2)"),
        ("conv2d", (IMAGE, KERNEL), {"padding": "full"}, ValueError,
         "conv2d: padding is 'full', expected one of ['same', 'valid']"),
        ("conv2d", (IMAGE, KERNEL), {"padding": -1}, ValueError,
         "conv2d: padding is -1, expected at least 0"),
        ("conv2d", (IMAGE, KERNEL), {"stride": 0}, ValueError,
         "conv2d: stride is 0, expected at least 1"),
        ("conv2d", (IMAGE, KERNEL), {"stride": (1, 1, 1)}, ValueError,
         "conv2d: stride is (1, 1, 1), expected an int or 2 ints"),
        ("conv2d", (IMAGE, KERNEL), {"groups": 0}, ValueError,
         "conv2d: groups is 0, expected a positive int"),
        ("conv_transpose2d", (IMAGE, (8, 3, 3, 3)), {}, ShapeError,
         "conv_transpose2d: input has 3 channels (32, 3, 28, 28) but weight expects 8 "
         "(8, 3, 3, 3)"),
        ("conv_transpose2d", (IMAGE, (3, 3, 3, 3)), {"groups": 2}, ShapeError,
         "conv_transpose2d: input (32, 3, 28, 28) has 3 channels, which 2 groups do not divide"),
        ("conv_transpose1d", ((3, 4), (3, 2, 3)), {"stride": 2, "output_padding": 2}, ValueError,
         "conv_transpose1d: output_padding is (2,), expected less than stride (2,) "
         "or dilation (1,)"),
        ("conv_transpose1d", ((3, 4), (3, 2, 3)), {"dilation": 3, "output_padding": 2},
         NotImplementedError, "conv_transpose1d: output_padding (2,)"),
        ("conv_transpose1d", ((3, 1), (3, 2, 3)), {"padding": 2}, ShapeError,
         "conv_transpose1d: the output would have size (-1,)"),
    ],
)  # fmt: skip
def test_refuses(name: str, shapes: Any, options: Any, error: Any, text: str) -> None:
    with pytest.raises(error) as caught:
        call(name, *shapes, **options)
    assert str(caught.value).startswith(text)


def test_refuses_dtypes() -> None:
    x, w = np.zeros((1, 1, 3, 3), "float32"), np.zeros((1, 1, 2, 2))
    with pytest.raises(DtypeError, match="conv2d: input is float32, weight is float64; they must"):
        ops.conv2d(x, w)
    with pytest.raises(DtypeError, match="conv2d: input is int64, expected a float dtype"):
        ops.conv2d(x.astype("int64"), w)


@pytest.mark.parametrize(
    ("shape", "size", "text"),
    [
        (
            (1, 6, 4),
            2,
            "fold: input (1, 6, 4) has 6 rows, expected a multiple of kernel_size 2 x 2",
        ),
        ((8, 3), 2, "fold: input (8, 3) has 3 columns, expected 4: 2 x 2 windows fit output_size"),
        ((8, 4), 4, "fold: a kernel that extends over (4, 4) does not fit"),
        ((8,), 2, "fold: input has shape (8,), expected 2 or 3 axes"),
    ],
)
def test_fold_refuses(shape: Any, size: int, text: str) -> None:
    with pytest.raises(ShapeError) as caught:
        ops.fold(np.zeros(shape), (3, 3), size)
    assert str(caught.value).startswith(text)
