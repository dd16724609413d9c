"""Losses beside what `test_every_op` shows: kinks, extremes, nothing at all, what is refused."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl
from minidl import ops
from minidl.errors import DtypeError, LabelError, ShapeError


def gradient(function: Any, *arrays: Any) -> Any:
    """The loss and its gradients with respect to all arrays."""
    leaves = [minidl.tensor(np.asarray(a, float), requires_grad=True) for a in arrays]
    loss = function(*leaves)
    return loss.tolist(), *[g.tolist() for g in minidl.grad(ops.sum(loss), leaves)]


# ---- kinks: PyTorch 2.13's values ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "want"),
    [(ops.l1_loss, [1, -1, 0]), (ops.smooth_l1_loss, [1, -1, 0]), (ops.huber_loss, [1, -1, 0])],
)
def test_gradient_of_errors_at_their_kinks(loss: Any, want: Any) -> None:
    zeros = np.zeros(3)
    assert gradient(lambda x: loss(x, minidl.tensor(zeros), "sum"), [1, -1, 0])[1] == want


@pytest.mark.parametrize("loss", [ops.smooth_l1_loss, ops.huber_loss])
def test_the_round_bottom_has_its_second_derivative(loss: Any) -> None:
    x = minidl.tensor([0.0, 0.5, -2.0], requires_grad=True)
    (g,) = minidl.grad(loss(x, minidl.zeros_like(x), "sum"), x, create_graph=True)
    assert minidl.grad(g.sum(), x)[0].tolist() == [1, 1, 0]


@pytest.mark.parametrize("loss", [ops.smooth_l1_loss, ops.huber_loss])
def test_large_errors_are_not_squared(loss: Any) -> None:
    x = minidl.tensor([3e4, -math.inf, 0.5], dtype="float16", requires_grad=True)
    out = loss(x, minidl.tensor([0, 0, 0], dtype="float16"), "none")
    assert out.tolist() == [3e4, math.inf, 0.125]
    assert minidl.grad(out.sum(), x)[0].tolist() == [1, -1, 0.5]


def test_cross_entropy_of_many_classes_in_float16_adds_up_in_float32() -> None:
    x = minidl.zeros((1, 5000, 2), dtype="float16")
    loss = ops.cross_entropy(x, minidl.tensor([[0, 1]]))
    assert loss.item() == np.float16(math.log(5000))


def test_hinges_pass_the_gradient_at_the_margin() -> None:
    labels = minidl.tensor([1.0, -1.0])
    hinge = lambda x: ops.hinge_embedding_loss(x, labels, reduction="sum")  # noqa: E731
    assert gradient(hinge, [1, 1]) == (1.0, [1, -1])
    rank = lambda x, y: ops.margin_ranking_loss(x, y, minidl.tensor([1.0]))  # noqa: E731
    assert gradient(rank, [1], [1]) == (0.0, [-1], [1])
    triplet = lambda a, p, n: ops.triplet_margin_loss(a, p, n, p=1.0, eps=0.0)  # noqa: E731
    assert gradient(triplet, [[0]], [[1]], [[2]])[0] == 0
    assert gradient(triplet, [[0]], [[1]], [[2]])[2:] == ([[1]], [[-1]])


def test_what_is_brought_to_eps_keeps_its_gradient() -> None:
    zeros = minidl.tensor(np.zeros(3))
    nll = lambda v: ops.gaussian_nll_loss(zeros + 1, zeros, v, eps=0.5, reduction="sum")  # noqa: E731
    np.testing.assert_allclose(gradient(nll, [0, 0.25, 0.7])[1], [-1, -1, 0.5 / 0.7 - 0.5 / 0.49])
    one = minidl.tensor(np.ones(2))
    cosine = lambda x: ops.cosine_similarity(x, one, 0, eps=0.5)  # noqa: E731
    np.testing.assert_allclose(gradient(cosine, [0, 0])[1], [math.sqrt(2), math.sqrt(2)])


def test_cosine_embedding_loss_of_zeros_is_finite() -> None:
    call = lambda x: ops.cosine_embedding_loss(x, x, minidl.tensor([1.0]))  # noqa: E731
    assert gradient(call, [[0, 0]]) == (1.0, [[0, 0]])


def test_cosine_similarity_repeats_before_it_measures() -> None:
    x = minidl.tensor([[3.0], [4.0]])
    assert ops.cosine_similarity(x, minidl.tensor([[1.0]]), 0).item() == pytest.approx(
        7 / (5 * math.sqrt(2))
    )


# ---- extremes -----------------------------------------------------------------------------------


def test_binary_cross_entropy_at_0_and_1() -> None:
    call = lambda x, t: ops.binary_cross_entropy(x, t, reduction="none")  # noqa: E731
    loss, dx, dt = gradient(call, [0, 1, 0, 1], [0, 0, 1, 1])
    assert loss == [0, 100, 100, 0]
    assert dx == [0, 1e12, -1e12, 0]
    assert dt == [math.inf, -math.inf, math.inf, -math.inf]


def test_logits_of_any_size() -> None:
    call = lambda x: ops.binary_cross_entropy_with_logits(  # noqa: E731
        x, minidl.tensor([0.0, 0.0, 1.0, 1.0], dtype="float64"), reduction="none"
    )
    assert gradient(call, [-1e4, 1e4, -1e4, 1e4]) == ([0, 1e4, 1e4, 0], [0, 1, -1, 0])
    small = ops.binary_cross_entropy_with_logits(minidl.tensor([-20.0]), minidl.tensor([0.0]))
    assert small.item() == pytest.approx(math.exp(-20), rel=1e-5)
    label = minidl.tensor([0])
    assert ops.cross_entropy(minidl.tensor([[1e30, -1e30]]), label).item() == 0
    assert ops.cross_entropy(minidl.tensor([[-math.inf, 0.0]]), label).item() == math.inf
    assert math.isnan(ops.cross_entropy(minidl.tensor([[-math.inf] * 2]), label).item())


def test_kl_div_of_a_target_of_zero() -> None:
    loss, dx, _ = gradient(lambda x, t: ops.kl_div(x, t, "sum"), [[-1, -1]], [[0, 1]])
    assert (loss, dx) == (1, [[0, -1]])


@given(shift=st.floats(-1e3, 1e3), seed=st.integers(0, 999))
def test_cross_entropy_ignores_a_shift_and_its_gradient_sums_to_zero(shift: Any, seed: Any) -> None:
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(size=(4, 3)), minidl.tensor(rng.integers(0, 3, 4))
    call = lambda x: ops.cross_entropy(x, labels)  # noqa: E731
    loss, dx = gradient(call, logits)
    assert gradient(call, logits + shift)[0] == pytest.approx(loss, abs=1e-9)
    np.testing.assert_allclose(np.sum(dx, 1), 0, atol=1e-12)
    both = ops.nll_loss(ops.log_softmax(minidl.tensor(logits), 1), labels)
    assert both.item() == pytest.approx(loss)


# ---- labels that do not count -------------------------------------------------------------------


@pytest.mark.parametrize("loss", [ops.cross_entropy, ops.nll_loss])
def test_ignored_labels_count_nowhere(loss: Any) -> None:
    x = np.array([[1.0, math.inf], [0.0, -1.0]])
    labels = minidl.tensor([-100, 1])
    alone = gradient(lambda x: loss(x, labels[1:]), x[1:])
    value, dx = gradient(lambda x: loss(x, labels), x)
    assert value == alone[0]
    assert dx == [[0, 0], *alone[1]]
    assert loss(minidl.tensor(x), labels, reduction="none").tolist()[0] == 0
    assert loss(minidl.tensor(x[:1]), labels[:1], reduction="sum").item() == 0
    assert math.isnan(loss(minidl.tensor(x[:1]), labels[:1]).item())


def test_narrow_and_unsigned_labels_serve() -> None:
    x = minidl.tensor([[0.0, 1.0], [2.0, 0.0]])
    want = ops.cross_entropy(x, minidl.tensor([1, 0])).item()
    for dtype in ("uint8", "int32"):
        assert ops.cross_entropy(x, minidl.tensor([1, 0], dtype=dtype)).item() == want


def test_cross_entropy_keeps_float16() -> None:
    x = minidl.tensor(np.zeros((2, 3), "float16"), requires_grad=True)
    loss = ops.cross_entropy(x, minidl.tensor([0, 1]))
    assert (loss.dtype, minidl.grad(loss, x)[0].dtype) == ("float16", "float16")


# ---- nothing at all -----------------------------------------------------------------------------

NONE = np.zeros((0, 3), "float32")
PAIRS = [
    ops.mse_loss, ops.l1_loss, ops.smooth_l1_loss, ops.huber_loss, ops.kl_div,
    ops.binary_cross_entropy, ops.binary_cross_entropy_with_logits, ops.hinge_embedding_loss,
    ops.poisson_nll_loss, lambda x, y, **how: ops.gaussian_nll_loss(x, y, x, **how),
    lambda x, y, **how: ops.cross_entropy(x, minidl.tensor(np.zeros(0, int)), **how),
    lambda x, y, **how: ops.cross_entropy(x, y, **how),
    lambda x, y, **how: ops.nll_loss(x, minidl.tensor(np.zeros(0, int)), **how),
]  # fmt: skip


@pytest.mark.parametrize("loss", PAIRS)
def test_of_nothing_the_mean_is_nan_and_the_sum_0(loss: Any) -> None:
    x = minidl.tensor(NONE)
    assert math.isnan(loss(x, x, reduction="mean").item())
    assert loss(x, x, reduction="sum").item() == 0
    assert loss(x, x, reduction="none").tolist() == []


# ---- what is refused ----------------------------------------------------------------------------

X, Y = np.ones((2, 3), "float32"), np.array([0, 2])
REFUSED = [
    (ShapeError, r"mse_loss: input is \(2, 3\), target is \(3,\); the shapes must be equal",
     lambda t: ops.mse_loss(t(X), t(X[0]))),
    (ShapeError, "binary_cross_entropy: input is", lambda t: ops.binary_cross_entropy(
        t(X), t(X[:1]))),
    (DtypeError, "mse_loss: input is int64, expected a float", lambda t: ops.mse_loss(t(Y), t(Y))),
    (ValueError, "l1_loss: reduction is 'avg'", lambda t: ops.l1_loss(t(X), t(X), "avg")),
    (ValueError, "kl_div: reduction is 'avg'", lambda t: ops.kl_div(t(X), t(X), "avg")),
    (ValueError, "delta is 0", lambda t: ops.huber_loss(t(X), t(X), delta=0)),
    (ValueError, "beta is -1", lambda t: ops.smooth_l1_loss(t(X), t(X), beta=-1)),
    (ValueError, "margin is 0", lambda t: ops.triplet_margin_loss(t(X), t(X), t(X), 0)),
    (ValueError, "outside \\[0, 1\\]; apply sigmoid", lambda t: ops.binary_cross_entropy(
        t(X + 1), t(X))),
    (ValueError, "var has a negative", lambda t: ops.gaussian_nll_loss(t(X), t(X), t(-X))),
    (ShapeError, r"var is \(3,\), expected \(2, 3\)", lambda t: ops.gaussian_nll_loss(
        t(X), t(X), t(X[0]))),
    (ShapeError, "do not broadcast", lambda t: ops.cosine_similarity(t(X), t(X[:, :2]))),
    (ShapeError, r"target is \(3,\), expected \(2,\)", lambda t: ops.cosine_embedding_loss(
        t(X), t(X), t(X[0]))),
    (LabelError, "nll_loss: target holds class -1 at", lambda t: ops.nll_loss(t(X), t(Y - 1))),
    (ShapeError, r"cross_entropy: target has shape \(1,\), expected \(2,\)",
     lambda t: ops.cross_entropy(t(X), t(Y[:1]))),
    (ShapeError, "one for each of the 3 classes", lambda t: ops.cross_entropy(
        t(X), t(Y), t(X[:, 0]))),
    (DtypeError, "labels must be whole numbers", lambda t: ops.cross_entropy(t(X), t(X[:, 0]))),
    (ShapeError, "must have the shape of input", lambda t: ops.cross_entropy(t(X), t(X[:, :2]))),
    (DtypeError, "input is int64", lambda t: ops.cross_entropy(t(X.astype(int)), t(Y))),
    (DtypeError, "nll_loss: target is float32", lambda t: ops.nll_loss(t(X), t(X[:, 0]))),
    (DtypeError, "weight is float64", lambda t: ops.cross_entropy(t(X), t(Y), t(np.ones(3)))),
    (NotImplementedError, r"pass weight.detach\(\)", lambda t: ops.cross_entropy(
        t(X), t(Y), t(X[0], requires_grad=True))),
    (NotImplementedError, "nll_loss: there is no derivative", lambda t: ops.nll_loss(
        t(X), t(Y), t(X[0], requires_grad=True))),
    (ShapeError, r"mse_loss: input is \(2, 3\), weight is \(3,\)", lambda t: ops.mse_loss(
        t(X), t(X), weight=t(X[0]))),
    (ValueError, "label_smoothing is 2", lambda t: ops.cross_entropy(
        t(X), t(Y), label_smoothing=2)),
    (ValueError, "cross_entropy: reduction is 'batchmean'", lambda t: ops.cross_entropy(
        t(X), t(Y), reduction="batchmean")),
    (ShapeError, "input has no axes", lambda t: ops.cross_entropy(t(X[0, 0]), t(Y[0]))),
    (ShapeError, "input has no axes", lambda t: ops.nll_loss(t(X[0, 0]), t(Y[0]))),
]  # fmt: skip


@pytest.mark.parametrize(("error", "text", "call"), REFUSED)
def test_what_is_refused(error: Any, text: Any, call: Any) -> None:
    with pytest.raises(error, match=text):
        call(minidl.tensor)


def wrong_labels(loss: Any, classes: int, labels: Any) -> LabelError:
    target = np.array(labels)
    x = np.zeros((len(target), classes, *target.shape[1:]), "float32")
    with pytest.raises(LabelError) as error:
        loss(minidl.tensor(x), minidl.tensor(target))
    assert error.value.where.shape == target.shape
    return error.value


@pytest.mark.parametrize("loss", [ops.cross_entropy, ops.nll_loss])
def test_wrong_labels_are_named_with_their_places(loss: Any) -> None:
    error = wrong_labels(loss, 3, [0, 12, 2, -1, -100])  # -100: ignore_index, which is no mistake
    assert str(error) == (
        f"{loss.__name__}: target holds class 12 at 1, class -1 at 3, but the input has 3 classes "
        "(0 to 2); 2 of 5 labels are no class; correct them, or give the model more outputs"
    )
    assert error.where.tolist() == [False, True, False, True, False]


def test_of_many_wrong_labels_the_first_are_shown() -> None:
    error = wrong_labels(ops.cross_entropy, 2, [[0, 5], [5, 5], [5, 5]])
    shown = "class 5 at (0, 1), class 5 at (1, 0), class 5 at (1, 1), class 5 at (2, 0), …, but"
    assert shown in str(error)
    assert "5 of 6 labels are no class" in str(error)


def test_labels_that_begin_at_1_are_told_to_begin_at_0() -> None:
    assert str(wrong_labels(ops.cross_entropy, 3, [1, 3, 2, -100])).endswith(
        "if labels begin at 1, subtract 1"
    )
    assert "subtract" not in str(wrong_labels(ops.cross_entropy, 3, [0, 3, 2]))
    assert "subtract" not in str(wrong_labels(ops.cross_entropy, 3, [1, 4, 2]))
