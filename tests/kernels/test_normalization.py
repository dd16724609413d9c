"""Normalisation: every room against the loops of the definition, in every layout."""

import importlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl_kernels as kernels
from minidl_kernels.generic import normalization as generic
from minidl_kernels.reference import normalization as reference

ROOMS = [pytest.param(generic, id="generic"), pytest.param(kernels, id="door")]


class Problem(NamedTuple):
    """What `standardize` takes."""

    x: Any
    weight: Any
    bias: Any
    axes: tuple[int, ...]
    shape: tuple[int, ...]
    eps: float


@st.composite
def problems(draw: Any, dtype: str | None = None) -> Problem:
    """Layer, batch, group and instance normalisation of arrays in some layout."""
    dtype = dtype or draw(st.sampled_from(["f4", "f8"]))
    kind = draw(st.sampled_from(["layer", "layers", "batch", "group", "instance"]))
    n, c = draw(st.sampled_from([1, 2, 35])), draw(st.sampled_from([1, 3, 8, 17, 34]))
    sizes = draw(st.sampled_from([(), (3,), (2, 3)])) if kind in ("layer", "batch") else (2, 3)
    x_shape: tuple[int, ...] = (n, *sizes, c) if kind.startswith("layer") else (n, c, *sizes)
    if kind == "group":
        x_shape = (n, 2, c, *sizes)
    last = len(x_shape) - 1
    axes, shape = {
        "layer": ((last,), (*(1,) * last, c)),
        "layers": ((last - 1, last), (1, 1, *x_shape[2:])),
        "batch": ((0, *range(2, last + 1)), (1, c, *(1,) * len(sizes))),
        "group": ((2, 3, 4), (1, 2, c, 1, 1)),
        "instance": ((2, 3), (1, c, 1, 1)),
    }[kind]
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    x = (rng.normal(size=x_shape) * 2 + draw(st.sampled_from([0, 5]))).astype(dtype)
    layout = draw(st.sampled_from(["C", "last", "backwards", "gaps"]))
    if layout == "last" and kind == "group":
        x = np.ascontiguousarray(x.transpose(0, 3, 4, 1, 2)).transpose(0, 3, 4, 1, 2)
    elif layout == "last":
        x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    elif layout == "backwards":
        x = np.ascontiguousarray(x[::-1])[::-1]
    elif layout == "gaps":
        x = np.repeat(x, 2, -1)[..., ::2]
    count = int(np.prod(shape))
    weight, bias = (
        rng.normal(size=count).astype(dtype) if draw(st.booleans()) else None for _ in range(2)
    )
    return Problem(x, weight, bias, axes, shape, draw(st.sampled_from([1e-5, 0.1])))


def close(ours: Any, expected: Any) -> None:
    """To what sums in float32 lose over some hundred numbers around 5, divided by a small root."""
    assert ours.dtype == expected.dtype
    assert ours.shape == expected.shape
    tolerance = {4: 2e-4, 8: 1e-11}[ours.dtype.itemsize]
    np.testing.assert_allclose(ours, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("room", ROOMS)
@given(p=problems(), which=st.sets(st.sampled_from(["x", "weight", "bias"]), min_size=1))
def test_standardize_equals_the_definition(room: Any, p: Problem, which: set[str]) -> None:
    p.x.flags.writeable = False
    found, expected = room.standardize(*p), reference.standardize(*p)
    spread = np.sqrt(expected[2]).min() > 1e-2 or p.eps > 1e-2
    if not spread:
        return  # of equal numbers the deviation is rounding alone, and 1 / it anything
    for ours, theirs in zip(found, expected, strict=True):
        close(ours, theirs)
    rng = np.random.default_rng(0)
    g = rng.normal(size=p.x.shape).astype(p.x.dtype)
    wanted = tuple(sorted(which))
    stats = [rng.normal(size=found[1].shape).astype(g.dtype) for _ in range(2)]
    for gs in ([g, None, None], [g, *stats], [None, stats[0], None]):
        arguments = (p.x, p.weight, p.axes, p.shape, *expected[1::2], *gs, wanted)
        ours = room.standardize_gradient(*arguments)
        for a, b in zip(ours, reference.standardize_gradient(*arguments), strict=True):
            close(a, b)


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_nan_and_infinity_stay_in_their_group(room: Any, dtype: str) -> None:
    x = np.arange(60, dtype=dtype).reshape(3, 20)
    x[0, 2], x[1, 19] = np.nan, np.inf
    out, centre, var, _ = room.standardize(x, None, None, (1,), (1, 20), 1e-5)
    assert np.isnan(out[:2]).all()
    assert np.isfinite(out[2]).all()
    assert np.isposinf(centre[1])
    assert np.isnan(var[:2]).all()
    out = room.standardize(x, None, None, (0,), (1, 20), 1e-5)[0]
    assert np.isnan(out[:, [2, 19]]).all()
    assert np.isfinite(np.delete(out, [2, 19], 1)).all()


def test_what_is_compiled() -> None:
    case = importlib.import_module("minidl_kernels.cpu.normalization")._case
    plain = np.zeros((4, 6, 3, 5), "f4")
    last = np.moveaxis(np.ascontiguousarray(np.moveaxis(plain, 1, -1)), -1, 1)
    for x, columns, groups in ((last, "columns", "groups"), (plain, "", "")):
        assert case(x, None, (0, 2, 3), (1, 6, 1, 1)) == columns
        assert case(x, None, (2, 3), (1, 6, 1, 1)) == groups
        for g in (1, 2, 6):
            x5 = x.reshape(4, g, 6 // g, 3, 5)
            assert case(x5, None, (2, 3, 4), (1, g, 6 // g, 1, 1)) == groups
    assert case(plain, None, (3,), (1, 1, 1, 5)) == "rows"
    assert case(plain, None, (2, 3), (1, 1, 3, 5)) == "rows"
    assert case(last, None, (3,), (1, 1, 1, 5)) == ""
    assert case(plain.astype("f2"), None, (3,), (1, 1, 1, 5)) == ""


@given(p=problems("f4"))
def test_the_layout_is_kept(p: Problem) -> None:
    out, centre, _, rstd = kernels.standardize(*p)
    gx = kernels.standardize_gradient(
        p.x, p.weight, p.axes, p.shape, centre, rstd, out, None, None, ("x",)
    )[0]
    axes = [a for a, n in enumerate(p.x.shape) if n > 1]

    def order(a: Any) -> list[int]:
        return sorted(axes, key=lambda axis: -abs(a.strides[axis]))

    assert order(out) == order(gx) == order(p.x)


@given(p=problems("f4"))
def test_on_a_device(p: Problem) -> None:
    """The same code on the stand-in for CuPy, which refuses what CuPy lacks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[1])
        device = importlib.import_module("standin")
    x, weight, bias = (a if a is None else device.asarray(a) for a in p[:3])
    found = generic.standardize(x, weight, bias, *p[3:])
    for ours, theirs in zip(found, generic.standardize(*p), strict=True):
        close(device.asnumpy(ours), theirs)
    g, wanted = device.asarray(np.ones(p.x.shape, "f4")), ("x", "weight", "bias")
    gradients = generic.standardize_gradient(
        x, weight, p.axes, p.shape, *found[1::2], g, None, None, wanted
    )
    assert device.asnumpy(gradients[0]).shape == p.x.shape
