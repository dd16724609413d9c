"""What is built on the tape: observers, anomaly mode, functional derivatives, checkpoints."""

import weakref
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import tape
from minidl.errors import ShapeError


def leaf(*values: float, dtype: str = "float64") -> minidl.Tensor:
    return minidl.tensor(values, dtype=dtype, requires_grad=True)


# ---- observation --------------------------------------------------------------------------------


def test_observers_see_every_op_with_the_users_line() -> None:
    events: list[Any] = []
    x = leaf(2.0)
    with tape.observe(events.append):
        y = x.detach() * 3.0 + x
        y.backward()
    kinds = [(e.kind, e.op.name) for e in events]
    assert kinds == [("forward", "mul"), ("forward", "add"), ("backward", "add")]
    assert all("test_autograd.py" in e.line for e in events)
    assert events[1].output.item() == 8.0
    assert events[2].gradient.item() == 1.0
    x * 2.0
    assert len(events) == 3


def test_anomaly_mode_names_operation_and_line() -> None:
    x = leaf(0.0)
    with minidl.detect_anomaly(), pytest.raises(FloatingPointError, match=r"div: .*infinity.*test"):
        1.0 / x
    y = x / leaf(1.0)
    with (
        minidl.detect_anomaly(),
        pytest.raises(FloatingPointError, match=r"div: gradient 0 of its backward pass holds NaN"),
    ):
        y.backward(np.array([np.nan]))


# ---- functional ---------------------------------------------------------------------------------


def _cubic(x: Any) -> Any:
    return (x * x * x).sum()


def test_vjp_jvp_hvp_jacobian_hessian() -> None:
    x = minidl.tensor([1.0, 2.0], dtype="float64")
    v = minidl.tensor([1.0, -1.0], dtype="float64")
    value, g = minidl.vjp(_cubic, x)
    assert (value.item(), g.tolist()) == (9.0, [3.0, 12.0])
    assert minidl.jvp(_cubic, x, v)[1].item() == -9.0
    assert minidl.hvp(_cubic, x, v)[1].tolist() == [6.0, -12.0]
    assert minidl.hessian(_cubic, x).tolist() == [[6.0, 0.0], [0.0, 12.0]]
    jacobian = minidl.jacobian(lambda x, y: (x * y, x + y), (x, v))
    assert [[b.tolist() for b in row] for row in jacobian] == [
        [[[1.0, 0.0], [0.0, -1.0]], [[1.0, 0.0], [0.0, 2.0]]],
        [[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]]],
    ]
    assert not value.requires_grad


def test_functional_derivatives_nest() -> None:
    x = minidl.tensor([1.0, 2.0], dtype="float64", requires_grad=True)
    _, g = minidl.vjp(_cubic, x, create_graph=True)
    assert minidl.grad(g.sum(), x)[0].tolist() == [6.0, 12.0]
    third = minidl.jacobian(lambda x: minidl.hessian(_cubic, x, create_graph=True), x)
    assert third.shape == (2, 2, 2)
    assert (third.data[0, 0, 0], third.data[1, 1, 1], abs(third.data).sum()) == (6.0, 6.0, 12.0)


def test_functional_errors() -> None:
    x = minidl.tensor([1.0, 2.0])
    with pytest.raises(ShapeError, match="vjp: give v"):
        minidl.vjp(lambda x: x * 2.0, x)
    with pytest.raises(ShapeError, match=r"vjp: v has shape \(3,\), expected \(2,\)"):
        minidl.vjp(lambda x: x * 2.0, x, minidl.zeros(3))
    with pytest.raises(TypeError, match="jvp: the function must return tensors, got float"):
        minidl.jvp(lambda x: 1.0, x, x)


def test_checkpoint_gives_the_same_gradients() -> None:
    w = leaf(3.0)
    for create_graph in (False, True):
        x = leaf(2.0)
        plain = x * w * x
        saved = minidl.checkpoint(lambda h: h * w * h, x)
        assert saved.item() == plain.item()
        expected = minidl.grad(plain, [x, w], create_graph=create_graph)
        found = minidl.grad(saved * 1.0, [x, w], create_graph=create_graph)
        assert [g.item() for g in found] == [g.item() for g in expected]
        if create_graph:
            assert minidl.grad(found[0], w)[0].item() == minidl.grad(expected[0], w)[0].item()


def test_checkpoint_keeps_nothing_of_its_inside() -> None:
    inside = []

    def function(x: Any) -> Any:
        h = x * x
        inside.append(weakref.ref(h.data))
        return h * h

    x = leaf(2.0)
    y = minidl.checkpoint(function, x)
    assert inside[0]() is None
    y.backward()
    assert x.grad.item() == 32.0
    assert len(inside) == 2


def test_checkpoint_where_a_parameter_is_used_outside_as_well() -> None:
    w = leaf(3.0)
    h = w * 2.0
    minidl.checkpoint(lambda h: h * w, h).backward()
    assert w.grad.item() == 12.0
