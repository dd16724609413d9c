"""Operations of every kind: several outputs, kept values, joint derivatives, definitions."""

import copy
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import ops
from minidl.tape import Kept, op


def leaf(*values: float, dtype: str = "float64") -> minidl.Tensor:
    return minidl.tensor(values, dtype=dtype, requires_grad=True)


# ---- several outputs, kept values, joint derivatives, definitions -------------------------------


@op(x=lambda g: ops.where(g[0] == g[0], g[0] + 2.0 * g[1], 0.0))
def twice(x: Any) -> Any:
    """Two outputs: x and 2 x."""
    return x.copy(), 2 * x


def test_an_unused_output_counts_as_zero() -> None:
    x = leaf(1.0, 2.0)
    twice(x)[1].backward(np.ones(2))
    assert x.grad.tolist() == [2.0, 2.0]
    a, b = twice(x)
    ga, gb = minidl.grad((a * b).sum(), [a, b])
    assert (ga.tolist(), gb.tolist()) == (b.tolist(), a.tolist())


@op(x=lambda g, mask: ops.where(mask, g, 0.0))
def positive_part(x: Any) -> Any:
    """An op that keeps a mask."""
    mask = x > 0
    return x * mask, Kept(mask=mask)


def test_kept_values() -> None:
    x = leaf(-1.0, 2.0)
    y = positive_part(x)
    y.backward(np.ones(2))
    assert (y.tolist(), x.grad.tolist()) == ([-0.0, 2.0], [0.0, 1.0])


def _affine_gradient(g: Any, wanted: Any, x: Any, w: Any) -> Any:
    found = {"x": lambda: g * w, "w": lambda: g * x, "b": lambda: g}
    _affine_gradient.wanted = wanted
    return tuple([found[name]() for name in wanted])


@op(joint=_affine_gradient, wrt=("x", "w", "b"))
def affine(x: Any, w: Any, b: Any = None) -> Any:
    """X w + b with one derivative for all three."""
    return x * w if b is None else x * w + b


def test_a_joint_derivative_is_told_what_is_wanted() -> None:
    x, w, b = leaf(2.0), leaf(3.0), leaf(1.0)
    affine(x, w.detach(), b).backward()
    assert _affine_gradient.wanted == ("x", "b")
    assert (x.grad.item(), b.grad.item()) == (3.0, 1.0)
    minidl.grad(affine(x, w), w)
    assert _affine_gradient.wanted == ("w",)
    (g,) = minidl.grad(affine(x, w), w, create_graph=True)
    assert minidl.grad(g, x)[0].item() == 1.0


def _cube_by_ops(x: Any) -> Any:
    return x * x * x


def _cube_slope(g: Any, x: Any) -> Any:
    assert type(g) is np.ndarray
    assert type(x) is np.ndarray
    return 3 * x**2 * g


@op(x=_cube_slope, definition=_cube_by_ops)
def cube(x: Any) -> Any:
    """A fused op: its derivative sees arrays only."""
    return x**3


def test_a_fused_op_is_differentiated_by_its_definition() -> None:
    x = leaf(2.0)
    (g,) = minidl.grad(cube(x), x)
    assert g.item() == 12.0
    (g,) = minidl.grad(cube(x), x, create_graph=True)
    (h,) = minidl.grad(g, x, create_graph=True)
    assert (g.item(), h.item(), minidl.grad(h, x)[0].item()) == (12.0, 12.0, 6.0)


def test_arguments_of_a_definition_are_watched() -> None:
    x = leaf(2.0)
    y = cube(x)
    with minidl.no_grad():
        x.add_(1.0)
    with pytest.raises(RuntimeError, match="cube: x, which its derivative needs, was changed"):
        minidl.grad(y, x, create_graph=True)


@op(parts=lambda g, parts_shape: [g * (i + 1.0) for i in range(len(parts_shape))])
def weighted(*parts: Any) -> Any:
    """1 a + 2 b + 3 c + …"""
    total = 0.0
    for i, part in enumerate(parts):
        total = total + part * (i + 1.0)
    return total


def test_variadic_ops() -> None:
    x, y = leaf(1.0), leaf(2.0)
    for call in (lambda: weighted(x, x.detach(), y), lambda: weighted([x, x.detach(), y])):
        gx, gy = minidl.grad(call(), [x, y])
        assert (gx.item(), gy.item()) == (1.0, 3.0)


def test_an_operation_is_not_copied() -> None:
    assert copy.copy(ops.tanh) is ops.tanh
    assert copy.deepcopy([ops.tanh, ops.cross_entropy]) == [ops.tanh, ops.cross_entropy]
