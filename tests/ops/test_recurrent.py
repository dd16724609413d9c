"""rnn, lstm, gru: kernel against definition, lengths, biases that may be missing, errors."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl
import minidl_kernels as kernels
from minidl import ops
from minidl.errors import DtypeError, ShapeError

BLOCKS = {"rnn": 1, "lstm": 4, "gru": 3}
KINDS = list(BLOCKS)


def arguments(kind: str, steps: int = 3, count: int = 2, ins: int = 2, size: int = 3) -> list[Any]:
    rng = np.random.default_rng(4)
    rows = BLOCKS[kind] * size
    shapes = [(steps, count, ins), (count, size), (rows, ins), (rows, size), (rows,), (rows,)]
    if kind == "lstm":
        shapes.insert(1, (count, size))
    return [minidl.tensor(rng.uniform(-1, 1, s), requires_grad=True) for s in shapes]


def weighed(outputs: Any) -> Any:
    """One number in which every element of every output counts."""
    rng = np.random.default_rng(5)
    total: Any = 0.0
    for y in outputs:
        total = total + ops.sum(y * minidl.tensor(rng.uniform(0.5, 1, y.shape)))
    return total


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("room", [None, "reference"])
@given(
    lengths=st.one_of(st.none(), st.lists(st.integers(1, 3), min_size=2, max_size=2)),
    reverse=st.booleans(),
)
def test_the_kernels_do_what_the_definition_says(kind, room, lengths, reverse):
    op, args = getattr(ops, kind), arguments(kind)
    options = {"nonlinearity": "relu"} if kind == "rnn" else {}
    want = op.definition(*args, lengths, reverse=reverse, **options)
    want_gradients = minidl.grad(weighed(want), args)
    with kernels.use(room):
        got = op(*args, lengths, reverse=reverse, **options)
        gradients = minidl.grad(weighed(got), args)
    for a, b in zip([*got, *gradients], [*want, *want_gradients], strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("reverse", [False, True])
def test_layers_are_chains_of_their_cells(reverse):
    order = [2, 1, 0] if reverse else [0, 1, 2]
    x, h, c, *weights = arguments("lstm")
    out, h_n, c_n = ops.lstm(x, h, c, *weights, reverse=reverse)
    for t in order:
        h, c = ops.lstm_cell(x[t], (h, c), *weights)
        np.testing.assert_allclose(out[t].data, h.data, rtol=1e-13)
    np.testing.assert_allclose(h_n.data, h.data, rtol=1e-13)
    np.testing.assert_allclose(c_n.data, c.data, rtol=1e-13)
    for kind, cell in (("gru", ops.gru_cell), ("rnn", ops.rnn_tanh_cell)):
        x, h, *weights = arguments(kind)
        out, h_n = getattr(ops, kind)(x, h, *weights, reverse=reverse)
        for t in order:
            h = cell(x[t], h, *weights)
            np.testing.assert_allclose(out[t].data, h.data, rtol=1e-13)
        np.testing.assert_allclose(h_n.data, h.data, rtol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reverse", [False, True])
def test_what_lies_beyond_an_end_does_not_count(kind, reverse):
    op, (x, *rest) = getattr(ops, kind), arguments(kind)
    padded = x.data.copy()
    padded[2:, 0] = np.nan
    y = minidl.tensor(padded, requires_grad=True)
    runs = [op(z, *rest, minidl.tensor([2, 3]), reverse=reverse) for z in (x, y)]
    for a, b in zip(*runs, strict=True):
        np.testing.assert_array_equal(a.data, b.data)
    assert (runs[0][0].data[2:, 0] == 0).all()
    for a, b in zip(
        *[minidl.grad(weighed(r), [z, *rest]) for r, z in zip(runs, (x, y), strict=True)],
        strict=True,
    ):
        np.testing.assert_array_equal(a.data, b.data)


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_bias_is_one_of_zeros(kind):
    op = getattr(ops, kind)
    *args, b_ih, b_hh = arguments(kind)
    zeros = minidl.tensor(np.zeros(b_ih.shape))
    for given_biases, full in [
        ((b_ih, None), (b_ih, zeros)),
        ((None, b_hh), (zeros, b_hh)),
        ((None, None), (zeros, zeros)),
    ]:
        ours, theirs = op(*args, *given_biases), op(*args, *full)
        inputs = [*args, *[b for b in given_biases if b is not None]]
        results = [[*y, *minidl.grad(weighed(y), inputs)] for y in (ours, theirs)]
        for a, b in zip(*results, strict=True):
            np.testing.assert_allclose(a.data, b.data, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_missing_state_is_one_of_zeros(kind, graph, reverse):
    op, args = getattr(ops, kind), arguments(kind)
    count = 2 if kind == "lstm" else 1
    found = []
    for state in (None, minidl.tensor(np.zeros((2, 3)))):
        args[1 : 1 + count] = [state] * count
        y = op(*args, [2, 3], reverse=reverse)
        inputs = [a for a in args if a is not None and a.requires_grad]
        gradients = minidl.grad(weighed(y), inputs, create_graph=graph)
        second = minidl.grad(weighed(gradients), inputs) if graph else ()
        found.append([*y, *gradients, *second])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_share_no_memory(kind):
    """An optimiser may scale one gradient in place and must not scale another."""
    args = arguments(kind)
    minidl.backward(weighed(getattr(ops, kind)(*args)))
    gradients = [a.grad.data for a in args]
    for k, g in enumerate(gradients):
        assert not any(np.shares_memory(g, other) for other in gradients[:k])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("which", [0, 1, -1])
def test_one_output_alone_may_be_used(kind, which):
    op, args = getattr(ops, kind), arguments(kind)
    got = minidl.grad(weighed([op(*args)[which]]), args)
    options = {"nonlinearity": "tanh"} if kind == "rnn" else {}
    out = op.definition(*args, None, reverse=False, **options)[which]
    want = minidl.grad(weighed([out]), args)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-12, atol=1e-13)


def test_the_slope_of_relu_at_zero_is_zero():
    x, h = minidl.tensor(np.zeros((1, 1, 1)), requires_grad=True), minidl.tensor(np.zeros((1, 1)))
    w = minidl.tensor(np.ones((1, 1)))
    for graph in (False, True):
        out, _ = ops.rnn(x, h, w, w, nonlinearity="relu")
        (g,) = minidl.grad(ops.sum(out), x, create_graph=graph)
        assert g.item() == 0


def replaced(kind: str, place: int, value: Any) -> list[Any]:
    args = arguments(kind)
    args[place] = minidl.tensor(value)
    return args


ERRORS = [
    ("rnn", 0, np.zeros((3, 2)), ShapeError, r"rnn: x has shape \(3, 2\), expected 3 \(steps, ba"),
    ("gru", 0, np.zeros((0, 2, 2)), ShapeError, r"gru: x \(0, 2, 2\) has no steps"),
    (
        "lstm",
        0,
        np.zeros((3, 2, 5)),
        ShapeError,
        r"lstm: w_ih has shape \(12, 2\), expected \(12, 5",
    ),
    (
        "lstm",
        1,
        np.zeros((3, 3)),
        ShapeError,
        r"lstm: h0 has shape \(3, 3\), expected \(2, 3\) for",
    ),
    (
        "lstm",
        2,
        np.zeros((2, 4)),
        ShapeError,
        r"lstm: c0 has shape \(2, 4\), expected \(2, 3\) for",
    ),
    (
        "rnn",
        3,
        np.zeros(3),
        ShapeError,
        r"rnn: w_hh has shape \(3,\), expected 2 \(gates \* hidden",
    ),
    ("gru", 3, np.zeros((3, 3)), ShapeError, r"gru: w_hh has shape \(3, 3\), expected \(9, 3\)"),
    ("gru", 4, np.zeros((1, 9)), ShapeError, r"gru: b_ih has shape \(1, 9\), expected \(9,\)"),
    ("rnn", 5, np.zeros(4), ShapeError, r"rnn: b_hh has shape \(4,\), expected \(3,\)"),
    (
        "rnn",
        5,
        np.zeros(3, "float32"),
        DtypeError,
        "rnn: .*b_hh is float32; they must have one dty",
    ),
    ("gru", 0, np.zeros((3, 2, 2), "int64"), DtypeError, "gru: x is int64, expected a float dtype"),
]


@pytest.mark.parametrize(("kind", "place", "value", "error", "text"), ERRORS)
def test_arguments_that_do_not_fit(kind, place, value, error, text):
    with pytest.raises(error, match=text):
        getattr(ops, kind)(*replaced(kind, place, value))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("lengths", "error", "text"),
    [
        ([0, 3], ValueError, r"lengths are \[0, 3\], expected 1 … 3, the steps of x"),
        ([1, 4], ValueError, r"lengths are \[1, 4\], expected 1 … 3"),
        ([3], ShapeError, r"lengths has shape \(1,\), expected \(2,\): one for each sequence"),
        (3, ShapeError, r"lengths has shape \(\), expected \(2,\)"),
        ([1.0, 2.0], DtypeError, "lengths is float64, expected whole numbers"),
    ],
)
def test_lengths_that_do_not_fit(kind, lengths, error, text):
    with pytest.raises(error, match=f"^{kind}: {text}"):
        getattr(ops, kind)(*arguments(kind), lengths)


def test_unknown_nonlinearity():
    with pytest.raises(ValueError, match="^rnn: nonlinearity is 'sin', expected one of"):
        ops.rnn(*arguments("rnn"), nonlinearity="sin")


# ---- layers one on another ----------------------------------------------------------------------

STACKS = {"lstm": "lstm", "gru": "gru", "tanh": "rnn"}


def stacked(kind: str, dtype: str = "float64") -> tuple[list[Any], list[Any]]:
    """x and the first states of three layers, and their weights."""
    rng = np.random.default_rng(6)
    rows = BLOCKS[STACKS[kind]] * 3
    shapes = [(rows, 2), (rows, 3), (rows,), (rows,), *[(rows, 3), (rows, 3), (rows,), (rows,)] * 2]
    draw = lambda *s: minidl.tensor(rng.uniform(-1, 1, s).astype(dtype), requires_grad=True)  # noqa: E731
    states = [draw(3, 2, 3), draw(3, 2, 3) if kind == "lstm" else None]
    return [draw(4, 2, 2), *states], [draw(*s) for s in shapes]


@pytest.mark.parametrize("kind", STACKS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("lengths", [None, [4, 2]])
def test_a_stack_is_its_layers(kind, dtype, lengths):
    """By the kernels and as its definition, and every gradient; some weights are held constant."""
    (x, h0, c0), weights = stacked(kind, dtype)
    for held in (1, 4, 11):
        weights[held] = weights[held].detach()
    inputs = [a for a in (x, h0, c0, *weights) if a is not None and a.requires_grad]
    found = []
    for fused in (True, False):
        with minidl.fusion(fused):
            y = ops.recurrent_layers(x, h0, c0, *weights, kind=kind, lengths=lengths)
        found.append([*y, *minidl.grad(weighed(y), inputs)])
    near = 1e-12 if dtype == "float64" else 2e-6
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=near, atol=near)


def test_gradients_of_a_stack_share_no_memory():
    (x, h0, c0), weights = stacked("lstm", "float32")
    minidl.backward(weighed(ops.recurrent_layers(x, h0, c0, *weights)))
    gradients = [a.grad.data for a in (x, h0, c0, *weights)]
    for k, g in enumerate(gradients):
        assert not any(np.shares_memory(g, other) for other in gradients[:k])


def test_what_a_stack_gave_out_may_not_change_before_its_gradient():
    (x, h0, c0), weights = stacked("lstm")
    out, _, _ = ops.recurrent_layers(x, h0, c0, *weights)
    total = ops.sum(out)
    with minidl.no_grad():
        out.zero_()
    with pytest.raises(RuntimeError, match="recurrent_layers: its output, which its derivative"):
        minidl.backward(total)


STACK_ERRORS = [
    (lambda x, h, c, w: ops.recurrent_layers(x, h, c, *w[:6]), ShapeError, "got 6 weights"),
    (lambda x, h, c, w: ops.recurrent_layers(x, h, c), ShapeError, "got 0 weights, expected w_ih"),
    (lambda x, h, c, w: ops.recurrent_layers(x, h, c, *w, kind="elman"), ValueError,
     "kind is 'elman', expected one of"),
    (lambda x, h, c, w: ops.recurrent_layers(x, h, c, *w, kind="gru"), ShapeError,
     "c0 is given, expected None: only an LSTM"),
    (lambda x, h, c, w: ops.recurrent_layers(x, h[0], c, *w), ShapeError,
     r"h0 has shape \(2, 3\), expected \(3, 2, 3\) for x"),
    (lambda x, h, c, w: ops.recurrent_layers(x, h, c[:2], *w), ShapeError,
     r"c0 has shape \(2, 2, 3\), expected \(3, 2, 3\) for x"),
    (lambda x, h, c, w: ops.recurrent_layers(x, h, c, *w[:4], w[0], *w[5:]), ShapeError,
     r"w_ih of layer 1 has shape \(12, 2\), expected \(12, 3\) for x \(4, 2, 3\)"),
    (lambda x, h, c, w: ops.recurrent_layers(x, h, c, *w[:4], None, *w[5:]), TypeError,
     r"w_ih of layer 1 is None, expected a tensor of shape \(12, 3\)"),
    (lambda x, h, c, w: ops.recurrent_layers(x, h, c, w[0], None, *w[2:]), TypeError,
     r"w_hh is None, expected a tensor \(gates"),
    (lambda x, h, c, w: ops.recurrent_layers(x, h, c, *w[:11], w[11].float()), DtypeError,
     "b_hh of layer 2 is float32; they must have one dtype"),
    (lambda x, h, c, w: ops.recurrent_layers(x, h, c, *w, lengths=[5, 1]), ValueError,
     r"lengths are \[5, 1\], expected 1 … 4"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "text"), STACK_ERRORS)
def test_stacks_that_do_not_fit(call, error, text):
    (x, h0, c0), weights = stacked("lstm")
    with pytest.raises(error, match=f"recurrent_layers: .*{text}"):
        call(x, h0, c0, weights)
