"""Recording and replaying: derivatives of programs, what goes wrong, the prototype's traps."""

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl
from minidl import ops
from minidl.errors import ShapeError
from minidl.tape import op


def leaf(*values: float, dtype: str = "float64") -> minidl.Tensor:
    return minidl.tensor(values, dtype=dtype, requires_grad=True)


# ---- derivatives --------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "sub", "mul"]), st.integers(0, 20), st.integers(0, 20)),
    max_size=12,
)


@given(STEPS)
def test_random_programs(steps: list[tuple[str, int, int]]) -> None:
    """Straight-line programs that use values again and again, against dual numbers."""
    value, dual = [minidl.tensor(0.5, dtype="float64", requires_grad=True)], [(0.5, 1.0)]
    for name, i, j in steps:
        i, j = i % len(value), j % len(value)
        (a, da), (b, db) = dual[i], dual[j]
        value.append(getattr(ops, name)(value[i], value[j]))
        results = {
            "add": (a + b, da + db),
            "sub": (a - b, da - db),
            "mul": (a * b, da * b + a * db),
        }
        dual.append(results[name])
    found = minidl.grad(value[-1], value[:1], allow_unused=True)[0]
    assert np.isclose(found.data, dual[-1][1], rtol=1e-12, atol=1e-300)


@given(STEPS)
def test_random_programs_to_third_order(steps: list[tuple[str, int, int]]) -> None:
    """The same programs are polynomials; all their derivatives are known."""
    x = minidl.tensor(0.5, dtype="float64", requires_grad=True)
    value, polynomial = [x], [np.polynomial.Polynomial([0, 1])]
    for name, i, j in steps[:5]:
        i, j = i % len(value), j % len(value)
        value.append(getattr(ops, name)(value[i], value[j]))
        p, q = polynomial[i], polynomial[j]
        polynomial.append({"add": p + q, "sub": p - q, "mul": p * q}[name])
    y, p = value[-1], polynomial[-1]
    for _ in range(3):
        p = p.deriv()
        if not y.requires_grad:
            assert abs(p(0.5)) < 1e-12
            return
        (y,) = minidl.grad(y, x, create_graph=True, allow_unused=True)
        if y is None:
            assert abs(p(0.5)) < 1e-12
            return
        assert np.isclose(y.data, p(0.5), rtol=1e-9, atol=1e-12)


def test_a_value_used_2_to_the_60_ways_takes_sixty_steps() -> None:
    x = y = leaf(1.0)
    for _ in range(60):
        y = y + y
    y.backward(np.ones(1))
    assert x.grad.data == 2.0**60


def test_a_graph_of_a_million_operations() -> None:
    """Neither the walk nor the release of the graph recurses."""
    x = y = leaf(1.0)
    for _ in range(1_000_000):
        y = y + 1.0
    y.backward()
    assert x.grad.data == 1.0
    del y
    z = x
    for _ in range(1_000_000):
        z = z + 1.0
    del z  # a graph that was never walked goes as well


def test_grad_computes_only_what_is_asked_for() -> None:
    seen = []

    @op(x=lambda g, y: seen.append("x") or g * y, y=lambda g, x: seen.append("y") or g * x)
    def product(x: Any, y: Any) -> Any:
        return x * y

    x, w = leaf(2.0), leaf(3.0)
    (g,) = minidl.grad(product(x, w), x)
    assert g.tolist() == [3.0]
    assert seen == ["x"]


def test_grad_of_an_input_that_lies_above_another() -> None:
    x = leaf(3.0)
    h = x * x
    gx, gh = minidl.grad(h * h, [x, h])
    assert gx.tolist() == [4 * 27.0]
    assert gh.tolist() == [18.0]


def test_grad_leaves_no_trace_in_grad() -> None:
    x, w = leaf(2.0), leaf(3.0)
    minidl.grad(x * w, x)
    assert x.grad is None
    assert w.grad is None


def test_unused_inputs() -> None:
    x, w = leaf(2.0), leaf(3.0)
    with pytest.raises(RuntimeError, match=r"grad: input 1 of shape \(1,\) was not used"):
        minidl.grad(x * x, [x, w])
    assert minidl.grad(x * x, [x, w], allow_unused=True)[1] is None


def test_backward_accumulates_and_grad_outputs_weigh() -> None:
    x = leaf(1.0, 2.0)
    (x * 3.0).backward(np.array([1.0, 10.0]))
    before = x.grad
    (x * 3.0).backward(np.array([1.0, 10.0]))
    assert x.grad.tolist() == [6.0, 60.0]
    assert before.tolist() == [3.0, 30.0]


def test_backward_for_chosen_inputs_only() -> None:
    x, w = leaf(2.0), leaf(3.0)
    (x * w).backward(inputs=[w])
    assert x.grad is None
    assert w.grad.tolist() == [2.0]


# ---- what goes wrong is said --------------------------------------------------------------------


def test_a_second_backward_says_what_to_do() -> None:
    x = leaf(2.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    with pytest.raises(RuntimeError, match="mul: backward ran through here already .*retain_graph"):
        y.backward()


def test_backward_without_a_gradient_path() -> None:
    with pytest.raises(RuntimeError, match="does not depend on any tensor that requires"):
        minidl.tensor([1.0]).backward()
    with pytest.raises(RuntimeError, match="dtype is int64"):
        minidl.tensor([1]).backward()


def test_backward_of_many_numbers_needs_a_gradient() -> None:
    with pytest.raises(ShapeError, match=r"the output has shape \(2,\); give a gradient"):
        (leaf(1.0, 2.0) * 2.0).backward()
    with pytest.raises(ShapeError, match=r"the gradient has shape \(3,\), the output \(2,\)"):
        (leaf(1.0, 2.0) * 2.0).backward(np.ones(3))


def test_inputs_that_require_no_gradient() -> None:
    x = leaf(1.0)
    with pytest.raises(RuntimeError, match="input 0 does not require a gradient"):
        minidl.grad(x * x, minidl.tensor([1.0]))
    with pytest.raises(TypeError, match="input 0 is a ndarray"):
        minidl.grad(x * x, [x.detach().numpy()])


def test_a_library_error_names_the_op_and_its_arguments() -> None:
    with pytest.raises(ShapeError, match=r"add: .*x is \(2,\) float64, y is \(3,\) float64"):
        leaf(1.0, 2.0) + leaf(1.0, 2.0, 3.0)


def test_wrong_calls() -> None:
    x = leaf(1.0)
    with pytest.raises(TypeError, match="mul: argument 'y' is missing"):
        ops.mul(x)
    with pytest.raises(TypeError, match="neg: there is no argument 'nonsense'"):
        ops.neg(x, nonsense=1)
    with pytest.raises(TypeError, match="mul: argument 'x' is given twice"):
        ops.mul(x, x, x=x)
    with pytest.raises(TypeError, match="neg: takes 1 arguments, got 2"):
        ops.neg(x, x)


def test_a_missing_derivative_is_named() -> None:
    @op(x=lambda g: g)
    def shifted(x: Any, by: Any) -> Any:
        return x + by

    with pytest.raises(NotImplementedError, match=r"no derivative with respect to 'by'.*detach"):
        shifted(leaf(1.0), leaf(1.0))


def test_a_derivative_that_names_nonsense() -> None:
    with pytest.raises(TypeError, match="derivatives for .'z'.: no such arguments"):

        @op(z=lambda g: g)
        def wrong(x: Any) -> Any:
            return x

    @op(x=lambda g, nonsense: g)
    def vague(x: Any) -> Any:
        return x

    with pytest.raises(TypeError, match="names 'nonsense', which is no argument"):
        vague(leaf(1.0))


def test_a_derivative_of_the_wrong_shape_is_caught() -> None:
    @op(x=lambda g: g)
    def first(x: Any) -> Any:
        return x[:1]

    x = leaf(1.0, 2.0)
    with pytest.raises(AssertionError, match=r"first: a derivative has shape \(1,\)"):
        first(x).backward()


# ---- the prototype's traps ----------------------------------------------------------------------


def test_a_subclass_is_a_tensor() -> None:
    class Special(minidl.Tensor):
        __slots__ = ()

    x = Special(np.ones(2), requires_grad=True)
    y = ops.mul(x, y=Special(np.full(2, 3.0)))
    y.backward(np.ones(2))
    assert x.grad.tolist() == [3.0, 3.0]


def test_tensors_given_by_name_are_seen() -> None:
    x, w = leaf(2.0), leaf(3.0)
    ops.mul(y=w, x=x).backward()
    assert (x.grad.tolist(), w.grad.tolist()) == ([3.0], [2.0])


def test_a_users_op_named_add_does_not_replace_ours() -> None:
    before = ops.registry["add"]

    @op(x=lambda g: g, y=lambda g: g)
    def add(x: Any, y: Any) -> Any:
        return x * 0 + y * 0

    assert ops.registry["add"] is before
    assert any(name.endswith(".add") and name != "add" for name in ops.registry)
    x = leaf(1.0)
    (x + x).backward()
    assert x.grad.tolist() == [2.0]


def test_a_cast_to_whole_numbers_ends_the_gradient() -> None:
    assert not leaf(1.5).long().requires_grad


def test_numpys_scalars_are_weak() -> None:
    x = minidl.tensor([1.0])
    for y in (x * np.sqrt(2), np.float64(2) * x, x + np.float64(1), x / np.float64(3)):
        assert y.dtype == "float32"


def test_gradients_share_no_memory() -> None:
    x, y = leaf(1.0), leaf(1.0)
    g = np.ones(1)
    (x + y).backward(g)
    assert not np.shares_memory(x.grad.data, y.grad.data)
    assert not np.shares_memory(x.grad.data, g)


def test_recording_comes_back_after_an_exception() -> None:
    with pytest.raises(ZeroDivisionError), minidl.no_grad():
        1 / 0  # noqa: B018
    assert (leaf(1.0) * 2.0).requires_grad


def test_no_grad_is_per_thread_and_nests() -> None:
    found = []
    with minidl.no_grad():
        thread = threading.Thread(target=lambda: found.append(minidl.is_grad_enabled()))
        thread.start()
        thread.join()
        with minidl.enable_grad():
            found.append((leaf(1.0) * 2.0).requires_grad)
        found.append((leaf(1.0) * 2.0).requires_grad)
    assert found == [True, True, False]


@minidl.no_grad()
def _doubled(x: minidl.Tensor) -> minidl.Tensor:
    return x * 2.0


def test_no_grad_as_a_decorator() -> None:
    assert not _doubled(leaf(1.0)).requires_grad
