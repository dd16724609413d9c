"""Fused operations against their plain graphs: outputs, gradients, second derivatives."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl
from minidl import nn
from minidl.nn import functional as F
from minidl.tape import observe
from minidl.testing import gradcheck


def seen(function: Any) -> list[str]:
    """The operations that run forward, in their order."""
    names = []
    with observe(lambda event: event.kind == "forward" and names.append(event.op.name)):
        function()
    return names


def drawn(*shape: int, dtype: str = "f4", seed: int = 0) -> Any:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(dtype)


def layer(*arrays: Any, function: Any, order: int = 1) -> list[Any]:
    """A function's output, its gradients along random numbers, and if asked theirs in turn."""
    tensors = [minidl.tensor(a).requires_grad_() for a in arrays]
    y = function(*tensors)
    g = minidl.tensor(drawn(*y.shape, dtype=y.dtype.name, seed=1)).requires_grad_()
    first = minidl.grad(y, tensors, g, create_graph=order == 2)
    found = [y, *first]
    if order == 2:
        along = [drawn(*t.shape, dtype=t.dtype.name, seed=2) for t in first]
        found += minidl.grad(first, [*tensors, g], along, allow_unused=True)
    return [None if t is None else t.detach().numpy() for t in found]


# ---- the switch ----------------------------------------------------------------------------------


def test_the_switch_is_a_function_and_a_context_manager() -> None:
    x, w = minidl.ones(1, 1, 4, 4), minidl.ones(1, 1, 3, 3)
    fused = lambda: seen(lambda: F.conv2d(x, w, activation="relu", pool=2))  # noqa: E731
    assert fused() == ["conv_pool"]
    with minidl.fusion(False):
        assert fused() == ["conv", "relu", "max_pool"]
        with minidl.fusion(True):
            assert fused() == ["conv_pool"]
        assert fused() == ["conv", "relu", "max_pool"]
    assert fused() == ["conv_pool"]
    minidl.fusion(False)
    try:
        assert fused() == ["conv", "relu", "max_pool"]
    finally:
        minidl.fusion()
    with pytest.raises(RuntimeError, match="inside"), minidl.fusion(False):
        raise RuntimeError("inside")
    assert fused() == ["conv_pool"]
    with pytest.raises(TypeError, match="fusion: on is 0, expected True or False"):
        minidl.fusion(0)


def test_every_fused_operation_has_a_plain_graph() -> None:
    """Layers of all kinds that have one, each with the switch on and off."""
    minidl.manual_seed(0)
    layers = [nn.LSTM(3, 4), nn.GRU(3, 4), nn.RNN(3, 4), nn.LayerNorm(3)]
    x = minidl.tensor(drawn(5, 2, 3))
    target = minidl.tensor([0, 2, 1, 1, 0])
    calls = [lambda m=m: m(x) for m in layers]
    calls.append(lambda: F.cross_entropy(x[:, 0], target))
    for call in calls:
        fused, names = call(), seen(call)
        with minidl.fusion(False):
            plain, plain_names = call(), seen(call)
        assert len(plain_names) > len(names)
        for a, b in zip(flat(fused), flat(plain), strict=True):
            np.testing.assert_allclose(a.detach(), b.detach(), rtol=1e-5, atol=1e-6)


def flat(outputs: Any) -> list[Any]:
    if isinstance(outputs, tuple):
        return [t for o in outputs for t in flat(o)]
    return [outputs]


# ---- convolutions --------------------------------------------------------------------------------


@st.composite
def convolutions(draw: Any) -> Any:
    """Arrays, and a function of them: a convolution with what may follow it."""
    axes = draw(st.sampled_from([1, 2, 2, 2, 3]))
    groups, n = draw(st.sampled_from([1, 1, 2])), draw(st.integers(0, 3))
    each, outputs = draw(st.sampled_from([1, 2, 5])), draw(st.sampled_from([1, 3, 8, 16]))
    kernel = draw(st.integers(1, 3))
    space = [kernel + draw(st.integers(3, 6)) for _ in range(axes)]
    options = {"groups": groups, "padding": draw(st.integers(0, 1))}
    options["activation"] = draw(st.sampled_from([None, "relu", "relu", "tanh", F.sigmoid]))
    options["pool"] = draw(st.sampled_from([None, 2, 2, (2, 1), (3, 2), 1, ((2,) * axes, 2)]))
    shapes = [(n, groups * each, *space), (groups * outputs, each, *[kernel] * axes)]
    if draw(st.booleans()):
        shapes.append((groups * outputs,))
    function = getattr(F, f"conv{axes}d")
    return shapes, lambda *tensors: function(*tensors, **options)


@given(convolutions(), st.sampled_from(["f4", "f8"]), st.sampled_from([1, 2]))
def test_a_fused_convolution_equals_the_plain_graph(case: Any, dtype: str, order: int) -> None:
    """Forward to the bit, for the kernels are the same; a gradient sums the same terms."""
    shapes, function = case
    arrays = [drawn(*shape, dtype=dtype) for shape in shapes]
    fused = layer(*arrays, function=function, order=order)
    with minidl.fusion(False):
        plain = layer(*arrays, function=function, order=order)
    np.testing.assert_array_equal(fused[0], plain[0])
    for a, b in zip(fused, plain, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert a.dtype == b.dtype
            tolerance = {4: 2e-5, 8: 1e-13}[a.itemsize]  # of sums of some hundred terms
            scale = np.abs(b).max(initial=1)
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("pool", [None, 2], ids=["relu", "pool"])
def test_larger_than_a_tile_in_float32(pool: Any) -> None:
    """So large that threads share the work; channels that fill vectors."""
    arrays = drawn(4, 3, 31, 30), drawn(16, 3, 3, 3), drawn(16)
    function = lambda *t: F.conv2d(*t, activation="relu", pool=pool)  # noqa: E731
    fused = layer(*arrays, function=function)
    with minidl.fusion(False):
        plain = layer(*arrays, function=function)
    np.testing.assert_array_equal(fused[0], plain[0])
    for a, b in zip(fused, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * np.abs(b).max())


@pytest.mark.parametrize(
    "options", [{}, {"pool": 2}, {"pool": (2, 1)}, {"padding": "same"}], ids=str
)
def test_derivatives_to_second_order(options: Any) -> None:
    arrays = drawn(2, 2, 5, 4, dtype="f8"), drawn(3, 2, 2, 2, dtype="f8"), drawn(3, dtype="f8")
    function = lambda *t: F.conv2d(*t, activation="relu", **options)  # noqa: E731
    gradcheck(function, arrays, order=2)


def test_only_what_is_wanted_is_computed() -> None:
    x, w = minidl.tensor(drawn(1, 1, 4, 4)), minidl.tensor(drawn(2, 1, 3, 3)).requires_grad_()
    y = F.conv2d(x, w, activation="relu")
    assert [p is w.node for p in y.node.parents] == [True]
    (gw,) = minidl.grad(y.sum(), [w])
    assert gw.shape == w.shape


def test_a_change_in_place_of_the_output_is_seen() -> None:
    x, w = minidl.tensor(drawn(1, 1, 4, 4)), minidl.tensor(drawn(2, 1, 3, 3)).requires_grad_()
    y = F.conv2d(x, w, activation="relu")
    with minidl.no_grad():
        y.mul_(2)
    with pytest.raises(RuntimeError, match="conv_relu: its output, which its derivative needs"):
        y.sum().backward()


def test_what_does_not_fit_is_named() -> None:
    x, w = minidl.ones(1, 1, 4, 4), minidl.ones(1, 1, 3, 3)
    with pytest.raises(ValueError, match="conv2d: activation is 'rellu'; give a function or one"):
        F.conv2d(x, w, activation="rellu")
    with pytest.raises(minidl.ShapeError, match=r"max_pool2d: a kernel that extends over \(3, 3\)"):
        F.conv2d(x, w, pool=3)
    with pytest.raises(ValueError, match="conv2d: pool is 0, expected at least 1"):
        F.conv2d(x, w, pool=0)
    with pytest.raises(ValueError, match="expected a size or"):
        F.conv2d(x, w, pool=(2, 2, 2))


def test_nothing_large_is_kept_behind_a_pool() -> None:
    """x and w, which are there anyhow, and a byte for each number of the result."""
    x = minidl.tensor(drawn(2, 3, 18, 18))
    w = minidl.tensor(drawn(8, 3, 3, 3)).requires_grad_()
    y = F.conv2d(x, w, activation="relu", pool=2)
    saved = [v for v in y.node.saved if isinstance(v, np.ndarray)]
    new = [v for v in saved if v is not x.data and v is not w.data]
    assert [(v.dtype, v.shape) for v in new] == [(np.dtype("u1"), y.shape)]
