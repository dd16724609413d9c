"""What the tape keeps and gives back, changes in place that it sees, hooks."""

import gc
import weakref

import numpy as np
import pytest

import minidl
from minidl import ops
from minidl.errors import DtypeError, ShapeError


def leaf(*values: float, dtype: str = "float64") -> minidl.Tensor:
    return minidl.tensor(values, dtype=dtype, requires_grad=True)


# ---- memory -------------------------------------------------------------------------------------


def test_memory_goes_back_without_the_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        for create_graph in (False, True):
            array = np.ones(10)
            gone = weakref.ref(array)
            x = minidl.from_numpy(array).requires_grad_()
            y = x * x / x
            y.backward(np.ones(10), create_graph=create_graph)
            del array, x, y
            assert gone() is None
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_what_no_derivative_needs_is_not_kept() -> None:
    x = leaf(1.0)
    h = x + 1.0
    gone = weakref.ref(h.data)
    y = h + 1.0  # the derivative of a sum needs nothing
    del h
    assert gone() is None
    assert y.requires_grad


# ---- changes in place ---------------------------------------------------------------------------


def test_a_changed_argument_is_refused() -> None:
    x, w = leaf(2.0), leaf(3.0)
    y = x * w
    with minidl.no_grad():
        w.mul_(10.0)
    with pytest.raises(RuntimeError, match="mul: y, which its derivative needs, was changed"):
        y.backward()


def test_a_change_through_a_view_is_refused() -> None:
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    y = x * ops.reshape(w, (2,))
    with minidl.no_grad():
        w[0] = 100.0
    with pytest.raises(RuntimeError, match="was changed in place"):
        y.backward(np.ones(2))


def test_a_changed_output_is_refused() -> None:
    x, w = leaf(2.0), leaf(3.0)
    y = x / w
    with minidl.no_grad():
        y.mul_(2.0)
    with pytest.raises(RuntimeError, match="div: its output, which its derivative needs"):
        y.backward()


def test_a_change_that_no_derivative_minds_is_allowed() -> None:
    x = leaf(2.0)
    y = x + 1.0
    y.mul_(3.0)
    y.backward()
    assert x.grad.tolist() == [3.0]


def test_assignment_has_gradients() -> None:
    x, w = leaf(1.0, 2.0, 3.0), leaf(5.0)
    y = x * 1.0
    y[1:2] = w * 2.0
    (y * np.array([1.0, 10.0, 100.0])).sum().backward()
    assert x.grad.tolist() == [1.0, 0.0, 100.0]
    assert w.grad.tolist() == [20.0]


def test_a_buffer_filled_step_by_step() -> None:
    x = leaf(2.0)
    buffer = minidl.zeros(3, dtype="float64")
    h = x
    for i in range(3):
        buffer[i] = h[0]
        h = h * x
    buffer.sum().backward()
    assert x.grad.tolist() == [1 + 2 * 2.0 + 3 * 4.0]


def test_a_stale_view_is_refused() -> None:
    """PyTorch would rewrite the view's history; we say so instead of forgetting the gradient."""
    x = leaf(5.0)
    buffer = minidl.zeros(2, dtype="float64")
    view = buffer[0:1]
    view.add_(x)  # the memory of `buffer` changes with a gradient that `buffer` does not know
    with pytest.raises(RuntimeError, match="shares memory with a tensor that was changed in place"):
        buffer * 2.0
    assert (buffer.detach() * 2.0).tolist() == [10.0, 0.0]


def test_a_leaf_cannot_be_changed_while_recording() -> None:
    x = leaf(1.0)
    with pytest.raises(RuntimeError, match=r"in place: a leaf .*no_grad"):
        x.add_(1.0)
    with pytest.raises(RuntimeError, match="in place: a leaf"):
        x[0] = 1.0
    with minidl.no_grad():
        x.add_(1.0)
    assert x.tolist() == [2.0]
    assert x.requires_grad


def test_read_only_memory_is_refused() -> None:
    array = np.ones(2)
    array.flags.writeable = False
    with pytest.raises(RuntimeError, match="read-only"):
        minidl.from_numpy(array).add_(1.0)
    with pytest.raises(RuntimeError, match="read-only"):
        ops.expand(minidl.tensor([1.0]), (3,)).zero_()


def test_a_change_in_place_keeps_shape_and_kind() -> None:
    with pytest.raises(ShapeError, match=r"in place: the result has shape \(2,\), this tensor"):
        minidl.tensor([1.0]).add_(minidl.tensor([1.0, 2.0]))
    with pytest.raises(DtypeError, match="in place: the result is float32, this tensor int64"):
        minidl.tensor([1]).add_(1.5)


# ---- hooks --------------------------------------------------------------------------------------


def test_hooks_see_the_whole_gradient_and_may_replace_it() -> None:
    x = leaf(2.0)
    h = x * 3.0
    seen = []
    handle = h.register_hook(lambda g: seen.append(g.item()))
    h.register_hook(lambda g: g * 10.0)
    x.register_hook(lambda g: seen.append(g.item()))
    y = h * h + h  # two uses of h: the hook runs once, on their sum
    y.backward(retain_graph=True)
    assert seen == [13.0, 390.0]
    assert x.grad.item() == 390.0
    handle.remove()
    y.backward()
    assert seen == [13.0, 390.0, 390.0]


def test_retain_grad() -> None:
    x = leaf(2.0)
    h = x * 3.0
    h.retain_grad()
    (h * h).backward()
    assert h.grad.item() == 12.0


def test_a_hook_of_the_wrong_shape_is_refused() -> None:
    x = leaf(2.0)
    h = x * 3.0
    h.register_hook(lambda g: minidl.zeros(3))
    with pytest.raises(ShapeError, match="hook: returned shape"):
        h.backward()
