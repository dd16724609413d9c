"""Recurrent kernels: every room against the loops of the definition, forward and back."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl_kernels as kernels
from minidl_kernels.cpu import threads
from minidl_kernels.generic import recurrent as generic
from minidl_kernels.reference import recurrent as reference

ROOMS = [generic, kernels]
BLOCKS = {"rnn": 1, "lstm": 4, "gru": 3}


class Problem:
    """Arguments of a layer and gradients of its results."""

    def __init__(
        self, kind: str, steps: int, count: int, ins: int, size: int, dtype: str, seed: int
    ) -> None:
        rng = np.random.default_rng(seed)

        def draw(*shape: int) -> Any:
            return rng.uniform(-1, 1, shape).astype(dtype)

        rows = BLOCKS[kind] * size
        self.kind, self.steps, self.count = kind, steps, count
        self.x = draw(steps, count, ins)
        self.states = [draw(count, size) for _ in range(2 if kind == "lstm" else 1)]
        self.weights = [draw(rows, ins), draw(rows, size)]
        self.biases = [draw(rows) for _ in range(2 if kind == "gru" else 1)]
        self.g_out = draw(steps, count, size)
        self.g_states = [draw(count, size) for _ in self.states]

    def forward(self, room: Any, lengths: Any, reverse: bool, *option: str) -> tuple[Any, ...]:
        function = getattr(room, self.kind)
        return function(
            self.x, *self.states, *self.weights, *self.biases, lengths, reverse, *option
        )

    def backward(
        self, room: Any, results: Any, lengths: Any, reverse: bool, *option: Any
    ) -> tuple[Any, ...]:
        kept = results[1 + len(self.states) :]
        return getattr(room, f"{self.kind}_gradient")(
            self.g_out, *self.g_states, self.x, *self.states, *self.weights, results[0], *kept,
            lengths, reverse, *option,
        )  # fmt: skip


def same(ours: Any, theirs: Any, dtype: str) -> None:
    assert len(ours) == len(theirs)
    tolerance = 1e-12 if dtype == "float64" else 2e-5
    for a, b in zip(ours, theirs, strict=True):
        if b is None:
            assert a is None
            continue
        assert a.shape == b.shape
        assert a.dtype == b.dtype == dtype
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


OPTIONS = {"rnn": [("tanh",), ("relu",)], "lstm": [()], "gru": [()]}
KINDS = [(kind, option) for kind, options in OPTIONS.items() for option in options]


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize(("kind", "option"), KINDS)
@given(
    steps=st.integers(1, 5),
    count=st.integers(0, 4),
    ins=st.integers(1, 3),
    size=st.integers(1, 4),
    reverse=st.booleans(),
    dtype=st.sampled_from(["float32", "float64"]),
    data=st.data(),
)
def test_equals_the_definition(room, kind, option, steps, count, ins, size, reverse, dtype, data):
    p = Problem(kind, steps, count, ins, size, dtype, data.draw(st.integers(0, 999)))
    lengths = None
    if data.draw(st.booleans()):
        lengths = np.array(
            data.draw(st.lists(st.integers(1, steps), min_size=count, max_size=count)), np.int64
        )
    for unused in data.draw(st.sets(st.integers(0, len(p.states)), max_size=len(p.states))):
        if unused and count:  # a gradient that nobody asks for
            p.g_states[unused - 1] = None
    for without in data.draw(st.sets(st.integers(0, len(p.states) - 1))):
        p.states[without] = None
    if data.draw(st.booleans()):
        p.biases[data.draw(st.integers(0, len(p.biases) - 1))] = None
    ours = p.forward(room, lengths, reverse, *option)
    theirs = p.forward(reference, lengths, reverse, *option)
    same(ours, theirs, dtype)
    same(
        p.backward(room, ours, lengths, reverse, *option),
        p.backward(reference, theirs, lengths, reverse, *option),
        dtype,
    )


@pytest.mark.parametrize(("kind", "option"), KINDS)
@given(
    steps=st.integers(1, 4),
    count=st.integers(1, 20),
    ins=st.integers(1, 40),
    size=st.integers(1, 40),
    reverse=st.booleans(),
    ended=st.booleans(),
    of_x=st.booleans(),
    batch_first=st.booleans(),
    fresh=st.booleans(),
    seed=st.integers(0, 999),
)
def test_tiles_of_every_size_and_the_same_bits_at_any_number_of_threads(
    kind, option, steps, count, ins, size, reverse, ended, of_x, batch_first, fresh, seed
):
    """Sizes across the borders of vectors and tiles, against the plain arrays in float64."""
    p = Problem(kind, steps, count, ins, size, "float32", seed)
    if batch_first:
        p.x = np.ascontiguousarray(p.x.transpose(1, 0, 2)).transpose(1, 0, 2)
    lengths = np.random.default_rng(seed).integers(1, steps + 1, count) if ended else None
    for a in [p.x, *p.weights, *p.biases, *p.states]:
        a /= np.float32(np.sqrt(size))
        a.flags.writeable = False
    if fresh:
        p.states[0] = None
    before, seen = threads.get_num_threads(), []
    try:
        for number in (1, 2, 1):
            threads.set_num_threads(number)
            ours = p.forward(kernels, lengths, reverse, *option)
            seen.append([*ours, *p.backward(kernels, ours, lengths, reverse, *option, of_x)])
    finally:
        threads.set_num_threads(before)
    for other in seen[1:]:
        for a, b in zip(seen[0], other, strict=True):
            assert (a is None and b is None) or a.tobytes() == b.tobytes()
    for name in ("x", "g_out"):
        setattr(p, name, getattr(p, name).astype("float64"))
    for name in ("states", "weights", "biases", "g_states"):
        found = [None if a is None else a.astype("float64") for a in getattr(p, name)]
        setattr(p, name, found)
    theirs = p.forward(generic, lengths, reverse, *option)
    theirs = [*theirs, *p.backward(generic, theirs, lengths, reverse, *option, of_x)]
    for ours, want in zip(seen[0], theirs, strict=True):
        assert (ours is None) == (want is None)
        if want is not None:  # a sum of some hundred products: 4e-6 is 30 units in the last place
            scale = max(1, np.abs(want).max())
            np.testing.assert_allclose(ours, want, rtol=0, atol=4e-6 * scale)


@pytest.mark.parametrize(
    ("room", "dtype"), [(reference, "float64"), (generic, "float64"), (kernels, "float32")]
)
@pytest.mark.parametrize(("kind", "option"), KINDS)
@pytest.mark.parametrize("reverse", [False, True])
def test_a_short_sequence_is_as_if_alone(room, dtype, kind, option, reverse):
    """What stands in x beyond an end, be it NaN, changes neither results nor gradients."""
    near = 1e-14 if dtype == "float64" else 1e-6
    p = Problem(kind, 4, 3, 2, 3, dtype, 1)
    lengths = np.array([4, 1, 3])
    for b, n in enumerate(lengths):
        p.x[n:, b] = np.nan
    results = p.forward(room, lengths, reverse, *option)
    gradients = p.backward(room, results, lengths, reverse, *option)
    sums = [0.0 for _ in gradients[1 + len(p.states) :]]
    for b, n in enumerate(lengths):
        one = Problem(kind, 4, 3, 2, 3, dtype, 1)
        one.x, one.g_out = p.x[:n, b : b + 1], p.g_out[:n, b : b + 1]
        one.states = [s[b : b + 1] for s in p.states]
        one.g_states = [s[b : b + 1] for s in p.g_states]
        alone = one.forward(room, None, reverse, *option)
        for whole, part in zip(results, alone, strict=True):
            if whole.ndim == 2:
                np.testing.assert_allclose(whole[b], part[0], atol=near)
            else:
                np.testing.assert_allclose(whole[:n, b], part[:, 0], atol=near)
                assert (whole[n:, b] == 0).all()
        gx, *rest = one.backward(room, alone, None, reverse, *option)
        np.testing.assert_allclose(gradients[0][:n, b], gx[:, 0], atol=near)
        assert (gradients[0][n:, b] == 0).all()
        for whole, part in zip(gradients[1:], rest[: len(p.states)], strict=False):
            np.testing.assert_allclose(whole[b], part[0], atol=near)
        sums = [a + g for a, g in zip(sums, rest[len(p.states) :], strict=True)]
    for whole, total in zip(gradients[1 + len(p.states) :], sums, strict=True):
        np.testing.assert_allclose(whole, total, atol=10 * near)


@pytest.mark.parametrize("room", [reference, generic])
@pytest.mark.parametrize(("kind", "option"), KINDS)
def test_the_definition_agrees_with_differences(room, kind, option):
    p = Problem(kind, 3, 2, 2, 2, "float64", 5)
    lengths = np.array([3, 2])
    count = 1 + len(p.states)
    weights = [p.g_out, *p.g_states]
    arrays = [p.x, *p.states, *p.weights, *p.biases]

    def value() -> float:
        results = p.forward(room, lengths, True, *option)[:count]
        return sum(float((w * y).sum()) for w, y in zip(weights, results, strict=True))

    gradients = p.backward(room, p.forward(room, lengths, True, *option), lengths, True, *option)
    assert len(gradients) == len(arrays)
    for array, gradient in zip(arrays, gradients, strict=True):
        assert array.shape == gradient.shape
        for i in np.ndindex(array.shape):
            before, h = array[i], 1e-6
            array[i] = before + h
            above = value()
            array[i] = before - h
            want = (above - value()) / (2 * h)
            array[i] = before
            assert abs(gradient[i] - want) < 1e-8


@pytest.mark.parametrize(
    ("room", "dtype"), [(reference, "float64"), (generic, "float64"), (kernels, "float32")]
)
@pytest.mark.parametrize(("kind", "option"), KINDS)
@pytest.mark.parametrize("reverse", [False, True])
def test_arguments_are_neither_changed_nor_given_out(room, dtype, kind, option, reverse):
    p = Problem(kind, 2, 2, 2, 2, dtype, 2)
    arrays = [p.x, *p.states, *p.weights, *p.biases, p.g_out, *p.g_states]
    for a in arrays:
        a.flags.writeable = False
    results = p.forward(room, np.array([2, 1]), reverse, *option)
    for a in results:
        a.flags.writeable = False
    gradients = p.backward(room, results, np.array([2, 1]), reverse, *option)
    made = [*results, *gradients]
    for k, a in enumerate(made):
        assert not any(np.shares_memory(a, b) for b in [*arrays, *made[:k]])


@pytest.mark.parametrize("room", [reference, generic, kernels])
@pytest.mark.parametrize("kind", BLOCKS)
def test_gates_saturate_without_a_warning(room, kind):
    p = Problem(kind, 2, 1, 1, 2, "float32", 3)
    p.weights[0] *= 1e30
    option = ("tanh",) if kind == "rnn" else ()
    results = p.forward(room, None, False, *option)
    assert all(np.isfinite(a).all() for a in results)
    _, *gradients = p.backward(room, results, None, False, *option)  # that of x has 1e30 in it
    assert all(np.isfinite(a).all() for a in gradients)


@pytest.mark.parametrize("room", [reference, generic])
@pytest.mark.parametrize(("kind", "option"), KINDS)
def test_outputs_that_nobody_used(room, kind, option):
    p = Problem(kind, 2, 2, 2, 2, "float64", 2)
    results = p.forward(room, None, False, *option)
    p.g_out, p.g_states = None, [None for _ in p.g_states]
    assert all((g == 0).all() for g in p.backward(room, results, None, False, *option))


@pytest.mark.parametrize("room", [reference, generic, kernels])
@pytest.mark.parametrize(("kind", "option"), KINDS)
@pytest.mark.parametrize("reverse", [False, True])
def test_without_a_first_state_it_is_zeros(room, kind, option, reverse):
    p = Problem(kind, 3, 2, 2, 3, "float32", 2)
    lengths = np.array([3, 2])
    count = len(p.states)
    found = []
    for states in ([np.zeros_like(s) for s in p.states], [None for _ in p.states]):
        p.states = states
        results = p.forward(room, lengths, reverse, *option)
        gx, *rest = p.backward(room, results, lengths, reverse, *option)
        assert all((g is None) == (s is None) for g, s in zip(rest, states, strict=False))
        found.append([*results, gx, *rest[count:]])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", BLOCKS)
def test_without_a_gradient_of_the_outputs_the_same_room_runs(kind, monkeypatch):
    """The door chooses by the first array that there is: only final states were used here."""
    option = ("tanh",) if kind == "rnn" else ()
    p = Problem(kind, 2, 2, 2, 2, "float32", 2)
    results = p.forward(kernels, None, False, *option)
    p.g_out = None
    monkeypatch.setattr(generic, f"{kind}_gradient", None)
    gradients = p.backward(kernels, results, None, False, *option)
    monkeypatch.undo()
    same(gradients, p.backward(generic, results, None, False, *option), "float32")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        # one step by hand, all weights and biases zero: σ = ½, tanh 0 = 0
        ("rnn", [0.0]),
        ("lstm", [0.5 * np.tanh(0.5 * 0.8)]),
        ("gru", [0.5 * 0.6]),
    ],
)
@pytest.mark.parametrize("room", [reference, generic])
def test_one_step_by_hand(room, kind, value):
    p = Problem(kind, 1, 1, 1, 1, "float64", 0)
    p.states = [np.array([[v]]) for v in ([0.6, 0.8] if kind == "lstm" else [0.6])]
    p.weights = [np.zeros_like(w) for w in p.weights]
    p.biases = [np.zeros_like(b) for b in p.biases]
    out, h_n, *_ = p.forward(room, None, False, *(("tanh",) if kind == "rnn" else ()))
    np.testing.assert_allclose(out[0, 0], value)
    np.testing.assert_allclose(h_n[0], value)


STACKS = ["lstm", "gru", "tanh", "relu"]


def stack(kind: str, sizes: tuple[int, ...], dtype: str, seed: int, fresh: bool) -> dict[str, Any]:
    """Arguments of three layers, sizes: T, B, I, H; and gradients of their results."""
    steps, count, ins, size = sizes
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> Any:
        return (rng.uniform(-1, 1, shape) / np.sqrt(size)).astype(dtype)

    rows, biases = BLOCKS.get(kind, 1) * size, 2 if kind == "gru" else 1
    states = range(2 if kind == "lstm" else 1)
    return {
        "x": draw(steps, count, ins),
        "states": [None if fresh else draw(3, count, size) for _ in states],
        "weights": [
            (draw(rows, columns), draw(rows, size), *[draw(rows) for _ in range(biases)])
            for columns in (ins, size, size)
        ],
        "g": (draw(steps, count, size), [draw(3, count, size) for _ in states]),
    }


def both_ways(room: Any, p: dict[str, Any], lengths: Any, kind: str, of_x: bool = True) -> Any:
    """All arrays that a stack gives, forward and back."""
    x, states, weights = p["x"], p["states"], p["weights"]
    out, *last, kept = room.recurrent_layers(x, states, weights, lengths, kind)
    gx, *firsts, g_weights = room.recurrent_layers_gradient(
        *p["g"], x, states, weights, kept, lengths, kind, of_x
    )
    return [out, *last, *kept, gx, *firsts, *[g for each in g_weights for g in each]]


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", STACKS)
@given(
    sizes=st.tuples(st.integers(1, 4), st.integers(0, 3), st.integers(1, 3), st.integers(1, 4)),
    ended=st.booleans(),
    fresh=st.booleans(),
    unused=st.booleans(),
    of_x=st.booleans(),
    seed=st.integers(0, 999),
)
def test_a_stack_equals_the_definition(room, dtype, kind, sizes, ended, fresh, unused, of_x, seed):
    p = stack(kind, sizes, dtype, seed, fresh)
    if unused:
        p["g"] = None, p["g"][1]
    lengths = np.random.default_rng(seed).integers(1, sizes[0] + 1, sizes[1]) if ended else None
    same(both_ways(room, p, lengths, kind, of_x), both_ways(reference, p, lengths, kind, of_x),
         dtype)  # fmt: skip


@pytest.mark.parametrize("kind", STACKS)
@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("sizes", [(4, 21, 40, 40), (4, 21, 32, 48), (3, 20, 144, 32)])
def test_a_stack_has_the_bits_of_its_layers_at_any_number_of_threads(kind, fresh, ended, sizes):
    """Sizes of several tiles and a rest, and whole ones, whose weights need no panels."""
    p = stack(kind, sizes, "float32", 3, fresh)
    lengths = np.random.default_rng(3).integers(1, sizes[0] + 1, sizes[1]) if ended else None
    function = getattr(kernels, "rnn" if kind in ("tanh", "relu") else kind)
    back = getattr(kernels, f"{function.__name__}_gradient")
    option = (kind,) if kind in ("tanh", "relu") else ()
    inputs, keeps, lasts = [p["x"]], [], []
    for k, weights in enumerate(p["weights"]):
        first = [None if s is None else s[k] for s in p["states"]]
        out, *rest = function(inputs[-1], *first, *weights, lengths, False, *option)
        inputs.append(out)
        lasts.append(rest[: len(first)])
        keeps.append(rest[len(first) :])
    g, of_last = p["g"]
    firsts, of_weights = [], []
    for k in (2, 1, 0):
        first = [None if s is None else s[k] for s in p["states"]]
        g, *rest = back(
            g, *[s[k] for s in of_last], inputs[k], *first, *p["weights"][k][:2], inputs[k + 1],
            *keeps[k], lengths, False, *option,
        )  # fmt: skip
        firsts.insert(0, rest[: len(first)])
        of_weights.insert(0, rest[len(first) :])
    stacked = [None if s[0] is None else np.stack(s) for s in zip(*firsts, strict=True)]
    want = [
        inputs[-1], *[np.stack(s) for s in zip(*lasts, strict=True)], *inputs[1:],
        *[a for each in zip(*keeps, strict=True) for a in each], g, *stacked,
        *[a for each in of_weights for a in each if a is not None],
    ]  # fmt: skip
    near = both_ways(reference, p, lengths, kind)
    before = threads.get_num_threads()
    try:
        for number in (1, 2, 1):
            threads.set_num_threads(number)
            found = both_ways(kernels, p, lengths, kind)
            for a, b in zip(found, want, strict=True):
                assert (a is None and b is None) or a.tobytes() == b.tobytes()
    finally:
        threads.set_num_threads(before)
    same(found, near, "float32")
