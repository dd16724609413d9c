"""Resizing: known values, its identities, layout, and what is refused."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl
from minidl.device import channels_last, is_channels_last
from minidl.errors import DtypeError, ShapeError
from minidl.ops.interpolation import interpolate, resample_back

ROW = np.array([[[0.0, 1.0, 4.0]]])


@pytest.mark.parametrize(
    ("options", "want"),
    [
        ({"scale_factor": 2}, [0, 0, 1, 1, 4, 4]),
        ({"size": 2}, [0, 1]),
        ({"size": 5, "mode": "linear", "align_corners": True}, [0, 0.5, 1, 2.5, 4]),
        ({"scale_factor": 2, "mode": "linear"}, [0, 0.25, 0.75, 1.75, 3.25, 4]),
        ({"size": 1, "mode": "linear"}, [1]),
        ({"size": 1, "mode": "linear", "align_corners": True}, [0]),
    ],
)
def test_known_values(options: Any, want: Any) -> None:
    np.testing.assert_allclose(interpolate(ROW, **options)[0, 0], want, rtol=1e-15)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3))
def test_nearest_by_a_whole_factor_repeats_and_its_gradient_sums(h: int, w: int, k: int) -> None:
    x = minidl.tensor(np.random.default_rng([h, w]).normal(size=(2, 1, h, w)), requires_grad=True)
    y = interpolate(x, scale_factor=k)
    np.testing.assert_array_equal(y.data, x.data.repeat(k, 2).repeat(k, 3))
    weights = np.random.default_rng(k).normal(size=y.shape)
    (g,) = minidl.grad(y, x, weights)
    blocks = weights.reshape(2, 1, h, k, w, k).sum((3, 5))
    np.testing.assert_allclose(g.data, blocks, rtol=1e-12, atol=1e-14)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12))
def test_the_adjoint_sums_slices_that_go_to_one_place(index: list[int]) -> None:
    g = np.random.default_rng(len(index)).normal(size=(2, 3, len(index)))
    want = np.zeros((5, 2, 3))
    np.add.at(want, index, np.moveaxis(g, 2, 0))
    got = resample_back(g, tuple(index), 2, 5)
    np.testing.assert_allclose(np.moveaxis(got, 2, 0), want, rtol=1e-12, atol=1e-14)


@given(st.integers(2, 5), st.integers(2, 9))
def test_linear_with_corners_keeps_a_straight_line(n: int, m: int) -> None:
    got = interpolate(np.linspace(-1, 2, n)[None, None], m, mode="linear", align_corners=True)
    np.testing.assert_allclose(got[0, 0], np.linspace(-1, 2, m), rtol=1e-12, atol=1e-14)


def test_a_constant_stays_constant() -> None:
    got = interpolate(np.full((1, 2, 3, 4), 7.0), scale_factor=1.7, mode="bilinear")
    np.testing.assert_allclose(got, 7, rtol=1e-15)


def test_infinities_stay_where_they_are() -> None:
    x = np.array([[[np.inf, 1.0, 2.0, 3.0]]])
    np.testing.assert_array_equal(interpolate(x, 8)[0, 0, :3], [np.inf, np.inf, 1])
    assert np.isfinite(interpolate(x, 8, mode="linear")[0, 0, 4:]).all()


def test_whole_numbers_by_nearest() -> None:
    got = interpolate(minidl.tensor([[[1, 2]]]), 4)
    assert got.dtype == "int64"
    np.testing.assert_array_equal(got.data[0, 0], [1, 1, 2, 2])


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_channels_last_stays(mode: str) -> None:
    x = minidl.from_numpy(channels_last(np.ones((2, 3, 4, 5), "float32"))).requires_grad_()
    y = interpolate(x, scale_factor=2, mode=mode)
    assert is_channels_last(y.data)
    (g,) = minidl.grad(y, x, minidl.from_numpy(np.ones_like(y.data)), create_graph=True)
    assert is_channels_last(g.data)


@pytest.mark.parametrize(
    ("args", "options", "error", "text"),
    [
        ((), {}, ValueError, "interpolate: give either size or scale_factor"),
        ((2, 2), {}, ValueError, "interpolate: give either size or scale_factor"),
        ((0,), {}, ShapeError, "interpolate: no size may be 0"),
        ((), {"scale_factor": (1, 2)}, ValueError, "interpolate: scale_factor is (1, 2), expected"),
        ((), {"scale_factor": -1}, ValueError, "interpolate: scale_factor is -1, expected"),
        ((2,), {"align_corners": False}, ValueError, "interpolate: align_corners is for"),
        ((2,), {"mode": "bilinear"}, ShapeError,
         "interpolate: input has shape (1, 1, 3), expected 4 (mode 'bilinear') axes"),
        ((2,), {"recompute_scale_factor": True}, ValueError, "interpolate: recompute_scale_factor"),
        ((2,), {"mode": "cubic"}, ValueError, "interpolate: mode is 'cubic', expected one of"),
        ((2,), {"mode": "bicubic"}, NotImplementedError, "interpolate: mode='bicubic'"),
        ((2,), {"mode": "trilinear"}, NotImplementedError, "interpolate: mode='trilinear'"),
        ((2,), {"mode": "area"}, NotImplementedError, "interpolate: mode='area'"),
        ((2,), {"mode": "nearest-exact"}, NotImplementedError, "interpolate: mode='nearest-exact'"),
        ((2,), {"mode": "linear", "antialias": True}, NotImplementedError,
         "interpolate: antialias=True"),
    ],
)  # fmt: skip
def test_refuses(args: Any, options: Any, error: Any, text: str) -> None:
    with pytest.raises(error) as caught:
        interpolate(ROW, *args, **options)
    assert str(caught.value).startswith(text)


def test_linear_refuses_whole_numbers() -> None:
    with pytest.raises(DtypeError, match="interpolate: input is int64, expected a float dtype"):
        interpolate(ROW.astype("int64"), 2, mode="linear")
