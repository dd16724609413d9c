"""First weights: their statistics, bounds and special forms; clipping; vectors of parameters."""

import math
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import nn
from minidl.errors import DtypeError, ShapeError
from minidl.nn import init
from minidl.nn.utils import (
    clip_grad_norm_,
    clip_grad_value_,
    parameters_to_vector,
    vector_to_parameters,
)


def empty(*shape: int) -> nn.Parameter:
    return nn.Parameter(np.zeros(shape, "float32"))


@pytest.mark.parametrize(
    ("fill", "std", "bound"),
    [
        (lambda t: init.uniform_(t, -1, 1), 1 / math.sqrt(3), 1),
        (lambda t: init.normal_(t, 0, 2), 2, None),
        (lambda t: init.xavier_uniform_(t), math.sqrt(2 / 900), math.sqrt(6 / 900)),
        (lambda t: init.xavier_normal_(t, 3), 3 * math.sqrt(2 / 900), None),
        (lambda t: init.kaiming_uniform_(t, math.sqrt(5)), 1 / math.sqrt(3 * 600), 600**-0.5),
        (
            lambda t: init.kaiming_normal_(t, mode="fan_out", nonlinearity="relu"),
            300**-0.5 * 2**0.5,
            None,
        ),
        (lambda t: init.trunc_normal_(t, std=0.5, a=-1, b=1), 0.5 * 0.8796, 1),
    ],
)
def test_spread(fill: Any, std: float, bound: float | None) -> None:
    t = empty(100, 200, 3)
    assert fill(t) is t
    assert t.requires_grad
    assert abs(t.data.mean()) < 4 * std / math.sqrt(60000)
    assert t.data.std() == pytest.approx(std, rel=0.02)
    if bound is not None:
        assert abs(t.data).max() <= bound
        assert abs(t.data).max() > 0.99 * bound


def test_special_forms() -> None:
    assert init.eye_(empty(2, 3)).tolist() == [[1, 0, 0], [0, 1, 0]]
    assert init.constant_(empty(2), 3).tolist() == [3, 3]
    x = minidl.randn(1, 4, 5, 5)
    for groups in (1, 2):
        kernel = init.dirac_(empty(4, 4 // groups, 3, 3), groups)
        assert (
            minidl.nn.functional.conv2d(x, kernel, padding=1, groups=groups).data == x.data
        ).all()
    for shape in ((5, 3), (3, 5), (4, 2, 3)):
        rows = init.orthogonal_(empty(*shape), gain=2).data.reshape(shape[0], -1)
        product = rows @ rows.T if rows.shape[0] <= rows.shape[1] else rows.T @ rows
        np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-5)
    sparse = init.sparse_(empty(10, 4), 0.25, std=1).data
    assert ((sparse == 0).sum(0) == 3).all()
    assert init.orthogonal_(empty(0, 3)).shape == (0, 3)
    assert init.xavier_normal_(init.xavier_uniform_(empty(0, 0))).shape == (0, 0)


def test_fills_set_every_element() -> None:
    assert init.ones_(empty(2)).tolist() == [1, 1]
    assert init.zeros_(init.ones_(empty(2))).tolist() == [0, 0]


def test_the_seed_decides() -> None:
    minidl.manual_seed(1)
    first = nn.Linear(3, 4).weight.tolist()
    minidl.randn(7)  # another stream
    second = nn.Linear(3, 4).weight.tolist()
    minidl.manual_seed(1)
    assert nn.Linear(3, 4).weight.tolist() == first != second


@pytest.mark.parametrize(
    ("name", "param", "gain"),
    [
        ("linear", None, 1),
        ("conv2d", None, 1),
        ("sigmoid", None, 1),
        ("tanh", None, 5 / 3),
        ("relu", None, math.sqrt(2)),
        ("leaky_relu", 0.2, math.sqrt(2 / 1.04)),
        ("leaky_relu", None, math.sqrt(2 / 1.0001)),
        ("selu", None, 0.75),
    ],
)
def test_gain(name: str, param: float | None, gain: float) -> None:
    assert init.calculate_gain(name, param) == pytest.approx(gain)


def test_errors() -> None:
    with pytest.raises(
        ValueError, match="calculate_gain: 'swish' is unknown; choose one of linear"
    ):
        init.calculate_gain("swish")
    with pytest.raises(ShapeError, match=r"the fan of shape \(3,\) is undefined"):
        init.kaiming_uniform_(empty(3))
    with pytest.raises(ValueError, match="mode is 'fan', expected"):
        init.kaiming_normal_(empty(3, 3), mode="fan")
    with pytest.raises(ShapeError, match="eye_: the tensor has shape"):
        init.eye_(empty(3))
    with pytest.raises(ShapeError, match="dirac_"):
        init.dirac_(empty(3, 3))
    with pytest.raises(ValueError, match="cannot be divided"):
        init.dirac_(empty(3, 3, 3), 2)
    with pytest.raises(ShapeError, match="orthogonal_"):
        init.orthogonal_(empty(3))
    with pytest.raises(DtypeError, match="normal_: the tensor is int64"):
        init.normal_(minidl.tensor([1]))
    for name in (
        "uniform_", "normal_", "trunc_normal_", "orthogonal_", "xavier_uniform_",
        "xavier_normal_", "kaiming_uniform_", "kaiming_normal_",
    ):  # fmt: skip
        with pytest.raises(NotImplementedError, match="generator is not offered"):
            getattr(init, name)(empty(2, 2), generator=3)
    with pytest.raises(NotImplementedError, match="sparse_: generator is not offered"):
        init.sparse_(empty(2, 2), 0.5, generator=3)
    with pytest.raises(ValueError, match="has no probability"):
        init.trunc_normal_(empty(3), mean=0, std=1, a=90, b=91)


# ---- gradients together -------------------------------------------------------------------------


def with_gradients(*gradients: list[float]) -> list[nn.Parameter]:
    parameters = [nn.Parameter(np.zeros(len(g), "float32")) for g in gradients]
    for p, g in zip(parameters, gradients, strict=True):
        p.grad = minidl.tensor(g)
    return parameters


def test_clip_grad_norm() -> None:
    parameters = [*with_gradients([3.0, 0.0], [4.0]), nn.Parameter([1.0])]
    assert clip_grad_norm_(parameters, 1.0).item() == 5
    np.testing.assert_allclose(parameters[0].grad.data, [0.6, 0], rtol=1e-5)
    assert parameters[0].grad.dtype == "float32"
    assert clip_grad_norm_(parameters, 10.0).item() == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(parameters[1].grad.data, [0.8], rtol=1e-5)
    parameters = with_gradients([3.0, -7.0], [4.0])
    assert clip_grad_norm_(parameters, 1.0, norm_type=math.inf).item() == 7
    assert clip_grad_norm_(with_gradients([3.0, -7.0]), 1.0, 1).item() == 10
    assert clip_grad_norm_([], 1.0).item() == 0
    assert clip_grad_norm_(with_gradients([2.0])[0], 1.0).item() == 2
    bad = with_gradients([math.inf])
    with pytest.raises(RuntimeError, match="the norm of the gradients is inf"):
        clip_grad_norm_(bad, 1.0, error_if_nonfinite=True)


def test_clip_grad_norm_of_infinite_and_of_small_floats() -> None:
    parameters = with_gradients([math.inf, 1.0], [2.0])
    assert clip_grad_norm_(parameters, 1.0).item() == math.inf
    assert math.isnan(parameters[0].grad.data[0])
    assert parameters[1].grad.tolist() == [0]
    parameters = with_gradients([math.nan], [2.0])
    assert math.isnan(clip_grad_norm_(parameters, 1.0).item())
    assert math.isnan(parameters[1].grad.item())
    half = nn.Parameter(minidl.zeros(2).half())
    half.grad = minidl.tensor([300.0, 400.0]).half()  # whose squares float16 does not hold
    norm = clip_grad_norm_(half, 1.0)
    assert (norm.item(), norm.dtype, half.grad.dtype) == (500, "float16", "float16")
    np.testing.assert_allclose(half.grad.data, [0.6, 0.8], rtol=1e-3)
    assert clip_grad_norm_(with_gradients([3.0, 0.0], [4.0]), 9.0, norm_type=0).item() == 2
    assert clip_grad_norm_(with_gradients([], [4.0]), 9.0, norm_type=math.inf).item() == 4


def test_clipping_gradients_that_share_memory() -> None:
    a, b = nn.Parameter([1.0]), nn.Parameter([2.0])
    ((a + b) * 30).sum().backward()
    clip_grad_norm_([a, b], 1.0)
    assert a.grad.item() == b.grad.item() == pytest.approx(0.5**0.5, rel=1e-5)
    w = nn.Parameter(np.zeros((2, 2), "float32"))
    w.sum().backward()  # its gradient is a read-only view
    clip_grad_value_(w, 0.5)
    assert w.grad.tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_parameters_as_a_vector() -> None:
    model = nn.Linear(2, 1)
    vector = parameters_to_vector(model.parameters())
    assert vector.shape == (3,)
    vector.sum().backward()
    assert model.weight.grad.tolist() == [[1, 1]]
    vector_to_parameters(minidl.tensor([1.0, 2.0, 3.0]), model.parameters())
    assert (model.weight.tolist(), model.bias.tolist()) == ([[1, 2]], [3])
    with pytest.raises(ShapeError, match=r"vec has shape \(2,\), expected \(3,\)"):
        vector_to_parameters(minidl.ones(2), model.parameters())
