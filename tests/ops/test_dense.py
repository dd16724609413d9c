"""Dense layers, dropout and attention beside what `test_every_op` shows."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl
from minidl import ops
from minidl.device import channels_last, is_channels_last
from minidl.errors import DtypeError, ShapeError
from minidl.ops.dense import rows_added
from minidl.ops.dropouts import drop

RNG = np.random.default_rng(0)


def tracked(*shape: Any) -> Any:
    return minidl.tensor(RNG.normal(size=shape), requires_grad=True)


# ---- linear and embedding -----------------------------------------------------------------------


def test_linear_on_more_axes_is_linear_on_rows() -> None:
    x, w, b = tracked(2, 3, 4), tracked(5, 4), tracked(5)
    rows = ops.linear(ops.reshape(x, (6, 4)), w, b)
    np.testing.assert_array_equal(ops.linear(x, w, b).data.reshape(6, 5), rows.data)


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_linear_with_an_activation_is_both_after_each_other(activation: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    found = []
    for f in (activation, None):
        x, w, b = (
            minidl.tensor(rng.normal(size=size).astype(dtype), requires_grad=True)
            for size in ((3, 20, 40), (30, 40), (30,))
        )
        y = ops.linear(x, w, b, f)
        y = y if f else getattr(ops, activation)(y)
        found.append([y, *minidl.grad(y, [x, w, b], np.ones(y.shape, dtype))])
        rng = np.random.default_rng(0)
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=tolerance, atol=tolerance)


def test_the_result_of_linear_is_needed_for_an_activation_alone() -> None:
    x, w = tracked(4, 3), tracked(2, 3)
    y = ops.linear(x, w)
    y.data[...] = 0
    ops.sum(y).backward()
    y = ops.linear(x, w, None, "tanh")
    y += 1
    with pytest.raises(RuntimeError, match="linear: its output, which its derivative needs"):
        ops.sum(y).backward()


@pytest.mark.parametrize("padding_idx", [1, -2])
def test_the_padding_row_is_looked_up_but_gets_no_gradient(padding_idx: Any) -> None:
    table = tracked(3, 2)
    index = minidl.tensor([[1, 0], [2, 1], [0, 0]])
    out = ops.embedding(index, table, padding_idx)
    np.testing.assert_array_equal(out.data, table.data[index.data])
    (grad,) = minidl.grad(out, table, np.ones((3, 2, 2)), create_graph=True)
    assert grad.tolist() == [[3, 3], [0, 0], [1, 1]]
    (plain,) = minidl.grad(ops.embedding(index, table, padding_idx), table, np.ones((3, 2, 2)))
    assert plain.tolist() == grad.tolist()


@given(rows=st.integers(1, 5), count=st.integers(0, 9), seed=st.integers(0, 99))
def test_embedding_and_rows_added_are_adjoint(rows: Any, count: Any, seed: Any) -> None:
    rng = np.random.default_rng(seed)
    index, w, g = (
        rng.integers(0, rows, count),
        rng.normal(size=(rows, 2)),
        rng.normal(size=(count, 2)),
    )
    left = np.vdot(ops.embedding(index, w), g)
    assert left == pytest.approx(np.vdot(w, rows_added(g, index, rows)), abs=1e-12)


# ---- dropout ------------------------------------------------------------------------------------


@given(p=st.floats(0.05, 0.95), seed=st.integers(0, 2**32))
def test_dropout_leaves_out_a_share_p_and_scales_the_rest(p: Any, seed: Any) -> None:
    minidl.manual_seed(seed)
    x = minidl.tensor(np.ones(4000), requires_grad=True)
    out = ops.dropout(x, p)
    kept = out.data != 0
    np.testing.assert_allclose(out.data[kept], 1 / (1 - p))
    assert abs(kept.mean() - (1 - p)) < 6 * math.sqrt(p * (1 - p) / 4000)
    (grad,) = minidl.grad(out, x, np.ones(4000))
    np.testing.assert_array_equal(grad.data, out.data)  # the same mask


def test_the_seed_decides_and_the_stream_moves_on() -> None:
    x = minidl.tensor(np.ones(64))
    runs = []
    for _ in range(2):
        minidl.manual_seed(5)
        runs.append([ops.dropout(x).tolist() for _ in range(2)])
    assert runs[0] == runs[1]
    assert runs[0][0] != runs[0][1]


def test_what_does_not_drop_is_the_tensor_itself_and_draws_nothing() -> None:
    x = minidl.tensor(np.ones(8))
    minidl.manual_seed(5)
    first = ops.dropout(x).tolist()
    minidl.manual_seed(5)
    assert ops.dropout(x, 0.5, False) is x
    assert ops.dropout(x, 0.0) is x
    assert ops.dropout(x).tolist() == first


def test_infinity_is_dropped_to_0() -> None:
    out = drop(minidl.tensor([math.inf] * 64), 1, 0, 0.5)
    assert set(out.tolist()) == {0, math.inf}


def test_p_of_1_leaves_zeros_and_no_gradient() -> None:
    for function in (ops.dropout, ops.alpha_dropout):
        x = minidl.tensor(np.full(4, 3.0), requires_grad=True)
        out = function(x, 1.0, True)
        assert out.tolist() == minidl.grad(out, x, np.ones(4))[0].tolist() == [0] * 4


@pytest.mark.parametrize("p", [1e-12, 1 - 1e-12])
def test_p_next_to_the_ends(p: Any) -> None:
    out = ops.dropout(minidl.tensor(np.ones(100)), p)
    assert (out.data != 0).all() == (p < 0.5)


def test_the_mask_does_not_depend_on_the_layout_and_the_layout_stays() -> None:
    array = RNG.normal(size=(2, 3, 4, 5))
    plain = drop(minidl.tensor(array), 9, 4, 0.5)
    last = drop(minidl.from_numpy(channels_last(array)), 9, 4, 0.5)
    np.testing.assert_array_equal(plain.data, last.data)
    assert is_channels_last(last.data)


@pytest.mark.parametrize(
    ("function", "shape", "axes"),
    [
        (ops.dropout1d, (8, 9, 3), 1),
        (ops.dropout1d, (40, 3), 1),
        (ops.dropout2d, (8, 9, 3, 2), 2),
        (ops.dropout3d, (8, 9, 3, 2, 2), 3),
        (ops.dropout3d, (40, 2, 2, 2), 3),
    ],
)
def test_channels_go_or_stay_whole(function: Any, shape: Any, axes: Any) -> None:
    out = function(minidl.tensor(np.ones(shape)), 0.5).data
    channels = out.reshape(math.prod(shape[:-axes]), -1)
    assert set(channels[:, 0]) == {0, 2}
    np.testing.assert_array_equal(channels, channels[:, :1] * np.ones_like(channels))


def test_alpha_dropout_keeps_mean_and_variance() -> None:
    minidl.manual_seed(1)
    x = np.random.default_rng(1).normal(size=40000)
    out = ops.alpha_dropout(minidl.tensor(x), 0.3, True).data
    assert abs(out.mean()) < 0.03
    assert abs(out.var() - 1) < 0.05
    values, counts = np.unique(out, return_counts=True)
    assert counts.max() == pytest.approx(0.3 * 40000, rel=0.05)  # the dropped share one value
    p, alpha = 0.3, -1.7580993408473766
    a = 1 / math.sqrt((1 - p) * (1 + p * alpha**2))
    assert values[counts.argmax()] == pytest.approx(a * alpha * (1 - p))


# ---- attention ----------------------------------------------------------------------------------


def test_a_query_that_may_look_nowhere_gets_zeros_and_finite_gradients() -> None:
    q, k, v = tracked(2, 3), tracked(4, 3), tracked(4, 2)
    bools = np.array([[False] * 4, [True, False, True, True]])
    for mask in (bools, np.where(bools, 0.0, -math.inf)):
        out = ops.scaled_dot_product_attention(q, k, v, minidl.tensor(mask))
        assert out.tolist()[0] == [0, 0]
        dq, dk, dv = minidl.grad(out, [q, k, v], np.ones((2, 2)))
        assert dq.tolist()[0] == [0, 0, 0]
        assert not dk.data[1].any()
        assert not dv.data[1].any()
        assert np.isfinite(dk.data).all()


def test_causal_sees_no_later_key() -> None:
    q, k, v = tracked(3, 2), tracked(3, 2), tracked(3, 2)
    out = ops.scaled_dot_product_attention(q, k, v, is_causal=True)
    np.testing.assert_allclose(out.data[0], v.data[0])
    (dv,) = minidl.grad(out[:2], v, np.ones((2, 2)))
    assert dv.tolist()[2] == [0, 0]


def test_equal_scores_give_the_mean() -> None:
    v = tracked(4, 2)
    out = ops.scaled_dot_product_attention(tracked(1, 3) * 0, tracked(4, 3), v)
    np.testing.assert_allclose(out.data[0], v.data.mean(0))


def test_attention_in_float16_forms_its_scores_in_float32() -> None:
    x = minidl.tensor([[900.0, 0.0], [0.0, 900.0]], dtype="float16", requires_grad=True)
    out = ops.scaled_dot_product_attention(x, x, x)
    assert out.tolist() == x.tolist()
    assert out.dtype == minidl.grad(out.sum(), x)[0].dtype == "float16"


def test_attention_dropout_scales_what_it_keeps() -> None:
    v = minidl.tensor(np.ones((50, 1)))
    q, k = minidl.tensor(np.zeros((20, 2))), minidl.tensor(np.zeros((50, 2)))
    out = ops.scaled_dot_product_attention(q, k, v, dropout_p=0.5).data
    np.testing.assert_allclose(out * 25, np.round(out * 25), atol=1e-9)
    assert 0.8 < out.mean() < 1.2
    assert len(np.unique(np.round(out, 6))) > 1


# ---- what is refused ----------------------------------------------------------------------------

X, W, TABLE = np.ones((2, 3)), np.ones((5, 3)), np.ones((4, 2))
I = np.array([0, 3])

REFUSED = [
    (ShapeError, r"linear: x has shape \(2, 3\), weight \(3, 5\); expected the last axis .* be 5",
     lambda t: ops.linear(t(X), t(W.T))),
    (ShapeError, r"bias has shape \(3,\), expected \(5,\)", lambda t: ops.linear(
        t(X), t(W), t(X[0]))),
    (ShapeError, "linear: x has shape", lambda t: ops.linear(t(X[0, 0]), t(W))),
    (ShapeError, "linear: weight has shape", lambda t: ops.linear(t(X), t(W[0]))),
    (DtypeError, "x is float64, weight is float32", lambda t: ops.linear(
        t(X), t(W.astype("float32")))),
    (ValueError, r"linear: activation is 'gelu', expected one of \['relu', 'sigmoid', 'tanh'\]",
     lambda t: ops.linear(t(X), t(W), None, "gelu")),
    (ShapeError, "bilinear: input1 has shape", lambda t: ops.bilinear(
        t(X), t(X), t(np.ones((2, 3, 4))))),
    (ShapeError, "bilinear: bias has shape", lambda t: ops.bilinear(
        t(X), t(X), t(np.ones((2, 3, 3))), t(X[0]))),
    (IndexError, r"embedding: input holds 4, but weight has 4 rows \(0 to 3\)",
     lambda t: ops.embedding(t(I + 1), t(TABLE))),
    (IndexError, "input holds -1", lambda t: ops.embedding(t(I - 1), t(TABLE))),
    (IndexError, "rows_added: input holds 3", lambda t: rows_added(t(X), t(I), 3)),
    (DtypeError, "embedding: input is float64", lambda t: ops.embedding(t(X), t(TABLE))),
    (ValueError, "padding_idx is 4", lambda t: ops.embedding(t(I), t(TABLE), 4)),
    (NotImplementedError, "embedding: max_norm", lambda t: ops.embedding(
        t(I), t(TABLE), max_norm=1.0)),
    (NotImplementedError, "embedding: sparse", lambda t: ops.embedding(
        t(I), t(TABLE), sparse=True)),
    (NotImplementedError, "embedding: scale_grad_by_freq", lambda t: ops.embedding(
        t(I), t(TABLE), scale_grad_by_freq=True)),
    (ValueError, "dropout: p is 1.5", lambda t: ops.dropout(t(X), 1.5)),
    (ValueError, "alpha_dropout: p is -1", lambda t: ops.alpha_dropout(t(X), -1)),
    (DtypeError, "dropout: x is int64", lambda t: ops.dropout(t(I))),
    (ShapeError, r"for \(N, C, L\) use dropout1d", lambda t: ops.dropout2d(t(np.ones((2, 3, 4))))),
    (ShapeError, "dropout3d: x has shape", lambda t: ops.dropout3d(t(X))),
    (ValueError, "not both", lambda t: ops.scaled_dot_product_attention(
        t(X), t(X), t(X), t(X), is_causal=True)),
    (DtypeError, "attn_mask is int64", lambda t: ops.scaled_dot_product_attention(
        t(X), t(X), t(X), t(np.ones((2, 2), int)))),
    (ShapeError, "query is", lambda t: ops.scaled_dot_product_attention(t(X), t(TABLE), t(TABLE))),
    (ShapeError, "query has shape", lambda t: ops.scaled_dot_product_attention(
        t(X[0]), t(X), t(X))),
]  # fmt: skip


@pytest.mark.parametrize(("error", "text", "call"), REFUSED)
def test_what_is_refused(error: Any, text: Any, call: Any) -> None:
    with pytest.raises(error, match=text):
        call(minidl.tensor)
