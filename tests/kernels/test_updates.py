"""Steps of the optimisers: every room against the definition, the definition against numbers."""

import importlib.util
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl_kernels as kernels
from minidl_kernels.generic import updates as generic
from minidl_kernels.reference import updates as reference

SGD = [
    # lr, momentum, dampening, weight_decay, nesterov
    (0.1, 0, 0, 0, False),
    (0.1, 0, 0, 0.02, False),
    (0.1, 0.9, 0, 0, False),
    (0.1, 0.9, 0.3, 0.02, False),
    (0.1, 0.9, 0, 0.02, True),
]
ADAM = [
    # lr, b1, b2, eps, wd, decoupled; amsgrad
    ((0.01, 0.9, 0.999, 1e-8, 0, False), False),
    ((0.01, 0.9, 0.99, 1e-3, 0.1, False), False),
    ((0.01, 0.9, 0.99, 1e-3, 0.1, True), False),
    ((0.01, 0.8, 0.5, 1e-8, 0.1, False), True),
    ((0.01, 0.25, 0.0, 1e-8, 0, False), True),
    ((0.01, 0.0, 0.999, 1e-8, 0, False), False),
]
LAYOUTS = {
    "C": lambda a: a.copy(),
    "F": lambda a: np.array(a, order="F"),
    "strided": lambda a: np.repeat(a, 2, -1)[..., ::2] if a.ndim else a.copy(),
    "transposed": lambda a: a.T.copy().T,
}


def arrays(count, shape, dtype, layout="C", seed=0):
    rng = np.random.default_rng(seed)
    return [LAYOUTS[layout](rng.normal(size=shape).astype(dtype)) for _ in range(count)]


def same(ours, theirs):
    """To a few units in the last place: the rooms may round at other steps."""
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=8 * np.finfo(a.dtype).eps, atol=np.finfo(a.dtype).eps)


@pytest.mark.parametrize("room", [generic, kernels])
@pytest.mark.parametrize("options", SGD)
@given(
    shape=st.sampled_from([(), (0,), (5,), (3, 4), (2, 3, 2)]),
    layout=st.sampled_from(sorted(LAYOUTS)),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_sgd_equals_the_definition(room, options, shape, layout, dtype):
    p, g1, g2 = arrays(3, shape, dtype, layout)
    q, buf, other = p.copy(), np.zeros_like(p), np.zeros_like(p)
    used = options[1] != 0
    kept = g1.copy()
    for place, g in enumerate([g1, g2, g1]):
        before = (p, buf) if used else (p,)
        assert room.sgd_(p, g, buf if used else None, *options, place == 0) is None
        reference.sgd_(q, g, other if used else None, *options, place == 0)
        same(before, (q, other) if used else (q,))
    np.testing.assert_array_equal(g1, kept)


@pytest.mark.parametrize("room", [generic, kernels])
@pytest.mark.parametrize(("options", "amsgrad"), ADAM)
@given(
    shape=st.sampled_from([(), (0,), (5,), (3, 4), (2, 3, 2)]),
    layout=st.sampled_from(sorted(LAYOUTS)),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_adam_equals_the_definition(room, options, amsgrad, shape, layout, dtype):
    p, g1, g2 = arrays(3, shape, dtype, layout)
    ours = [p, *[np.zeros_like(p) for _ in range(2 + amsgrad)]]
    theirs = [a.copy() for a in ours]
    kept = g1.copy()
    for step, g in enumerate([g1, g2, g1], 1):
        last = () if amsgrad else (None,)
        assert room.adam_(p, g, *ours[1:], *last, step, *options) is None
        reference.adam_(theirs[0], g, *theirs[1:], *last, step, *options)
        same(ours, theirs)
    np.testing.assert_array_equal(g1, kept)


SHAPES = st.lists(
    st.sampled_from([(), (0,), (5,), (3, 4), (2, 3, 2), (4099,)]), min_size=1, max_size=4
)
KINDS = st.lists(st.sampled_from(sorted(LAYOUTS)), min_size=4, max_size=4)


@pytest.mark.parametrize("room", [generic, kernels])
@pytest.mark.parametrize("options", SGD)
@given(shapes=SHAPES, layouts=KINDS, of_g=KINDS, dtype=st.sampled_from(["float32", "float64"]))
def test_sgd_of_several_equals_one_after_the_other(room, options, shapes, layouts, of_g, dtype):
    pairs = list(zip(shapes, layouts, strict=False))
    ps = [arrays(1, shape, dtype, layout, i)[0] for i, (shape, layout) in enumerate(pairs)]
    gs = [arrays(1, s, dtype, layout, 9)[0] for s, layout in zip(shapes, of_g, strict=False)]
    qs, bufs = [p.copy() for p in ps], [np.zeros_like(p) for p in ps]
    others = [b.copy() for b in bufs]
    for first in (True, False):
        room.sgd_all_(ps, gs, bufs if options[1] else None, *options, first)
        for q, g, b in zip(qs, gs, others, strict=True):
            generic.sgd_(q, g, b if options[1] else None, *options, first)
    for ours, theirs in zip(ps + bufs, qs + others, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("room", [generic, kernels])
@pytest.mark.parametrize(("options", "amsgrad"), ADAM)
@given(shapes=SHAPES, layouts=KINDS, of_g=KINDS, dtype=st.sampled_from(["float32", "float64"]))
def test_adam_of_several_equals_one_after_the_other(
    room, options, amsgrad, shapes, layouts, of_g, dtype
):
    pairs = list(zip(shapes, layouts, strict=False))
    ps = [arrays(1, shape, dtype, layout, i)[0] for i, (shape, layout) in enumerate(pairs)]
    gs = [arrays(1, s, dtype, layout, 9)[0] for s, layout in zip(shapes, of_g, strict=False)]
    kept = [[np.zeros_like(p) for p in ps] for _ in range(2 + amsgrad)]
    qs, others = [p.copy() for p in ps], [[a.copy() for a in row] for row in kept]
    for step in (1, 2):
        room.adam_all_(ps, gs, *kept[:2], kept[2] if amsgrad else None, step, *options)
        for i, (q, g) in enumerate(zip(qs, gs, strict=True)):
            last = others[2][i] if amsgrad else None
            generic.adam_(q, g, others[0][i], others[1][i], last, step, *options)
    for ours, theirs in zip([ps, *kept], [qs, *others], strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


def test_of_several_none_at_all():
    for room in (reference, generic, kernels):
        room.sgd_all_([], [], None, 0.1, 0, 0, 0, False, False)
        room.adam_all_([], [], [], [], None, 1, *ADAM[0][0])


@pytest.mark.parametrize("room", [generic, kernels])
def test_several_that_lie_in_one_memory_change_one_after_the_other(room):
    memory = np.arange(9000, dtype="float32")
    p, q = memory[:6000], memory[3000:]
    room.sgd_all_([p, q], [np.ones_like(p), np.ones_like(q)], None, 0.5, 0, 0, 0, False, False)
    expected = np.arange(9000) - 0.5
    expected[3000:6000] -= 0.5
    np.testing.assert_array_equal(memory, expected)


def test_a_gradient_that_is_another_parameter_is_read_before_the_step():
    p, q = arrays(2, (9000,), "float32")
    expected = p - np.float32(0.5) * q, q - np.float32(0.5) * p
    kernels.sgd_all_([p, q], [q, p], None, 0.5, 0, 0, 0, False, False)
    np.testing.assert_array_equal((p, q), expected)


def test_gradients_of_any_memory():
    (p,) = arrays(1, (3, 4), "float32")
    askew = np.frombuffer(b"x" + np.ones(12, "float32").tobytes(), "float32", offset=1)
    for g in (
        np.broadcast_to(np.float32(1), (3, 4)),
        np.ones((3, 4), "float32")[::-1, ::-1],
        np.ones((3, 4)),
        np.ones((3, 4), "float16"),
        askew.reshape(3, 4),
    ):
        g.flags.writeable = False
        before = p.copy()
        kernels.sgd_all_([p], [g], None, 0.5, 0, 0, 0, False, False)
        np.testing.assert_array_equal(p, before - np.float32(0.5))


def test_a_gradient_of_another_shape_is_never_read_beyond_its_end():
    p, m, v = (np.ones(9, np.float32) for _ in range(3))
    with pytest.raises(ValueError, match="broadcast"):
        kernels.adam_(p, np.ones(3, np.float32), m, v, None, 1, 0.1, 0.9, 0.99, 1e-8, 0.0, False)
    assert (p == 1).all()


def test_read_only_parameters_are_refused():
    p = np.zeros(3, "float32")
    p.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        kernels.sgd_all_([p], [np.ones(3, "float32")], None, 0.5, 0, 0, 0, False, False)
    assert not p.any()


def test_what_is_known_of_arrays_goes_with_them():
    from minidl_kernels.cpu import updates

    before = len(updates._plans)
    ps, gs = arrays(3, (5,), "float32"), arrays(3, (5,), "float32")
    for _ in range(2):
        kernels.sgd_all_(ps, gs, None, 0.5, 0, 0, 0, False, False)
    assert len(updates._plans) == before + 1
    ps[1] = ps[1].astype("float64")  # its identity may be given to another array now
    gs[1] = gs[1].astype("float64")
    assert len(updates._plans) == before
    expected = ps[1] - 0.5 * gs[1]
    kernels.sgd_all_(ps, gs, None, 0.5, 0, 0, 0, False, False)
    np.testing.assert_array_equal(ps[1], expected)


@pytest.mark.parametrize("room", [generic, kernels])
@given(
    shapes=st.lists(
        st.sampled_from([(), (0,), (5,), (3, 44), (2, 3, 2), (4099,)]), min_size=1, max_size=4
    ),
    layouts=KINDS,
    dtype=st.sampled_from(["float16", "float32", "float64"]),
)
def test_the_sum_of_squares_equals_the_definition(room, shapes, layouts, dtype):
    pairs = enumerate(zip(shapes, layouts, strict=False))
    xs = [arrays(1, shape, dtype, layout, i)[0] for i, (shape, layout) in pairs]
    found, expected = room.square_sum(xs), reference.square_sum(xs)
    assert (found.shape, found.dtype) == ((), np.float64)
    # Sums of float32 are float32 within a piece: 4096 squares, 32 of them side by side.
    np.testing.assert_allclose(found, expected, rtol=1e-12 if dtype == "float64" else 1e-5)


@pytest.mark.parametrize("room", [reference, generic, kernels])
def test_the_sum_of_squares_of_nan_and_infinity(room):
    for number, expected in ((np.nan, np.nan), (-np.inf, np.inf), (3.0, 9.0)):
        for place in (0, 31, 32, 40):
            x = np.zeros(41, "float32")
            x[place] = number
            np.testing.assert_equal(room.square_sum([np.zeros(3, "float32"), x]), expected)


def test_two_steps_of_sgd_by_hand():
    p, buf = np.array([1.0]), np.zeros(1)
    reference.sgd_(p, np.array([2.0]), buf, 0.5, 0.5, 0.25, 1.0, False, True)
    assert (p[0], buf[0]) == (-0.5, 3)  # 2 + 1 · 1; 1 - 0.5 · 3
    reference.sgd_(p, np.array([1.0]), buf, 0.5, 0.5, 0.25, 1.0, False, False)
    assert (p[0], buf[0]) == (-1.4375, 1.875)  # 0.5 · 3 + 0.75 · (1 - 0.5)
    p, buf = np.array([1.0]), np.zeros(1)
    reference.sgd_(p, np.array([2.0]), buf, 0.5, 0.5, 0, 0, True, True)
    assert p[0] == -0.5  # 1 - 0.5 · (2 + 0.5 · 2)


def test_first_step_of_adam_by_hand():
    p, m, v = np.array([1.0]), np.zeros(1), np.zeros(1)
    reference.adam_(p, np.array([-3.0]), m, v, None, 1, 0.1, 0.9, 0.75, 1.0, 0.5, True)
    assert math.isclose(m[0], -0.3)
    assert math.isclose(v[0], 2.25)
    assert math.isclose(p[0], 0.95 + 0.1 * 3 / (3 + 1))


@pytest.mark.parametrize("room", [reference, generic, kernels])
def test_amsgrad_keeps_the_largest(room):
    p, m, v, vmax = np.zeros(1), np.zeros(1), np.zeros(1), np.array([7.0])
    room.adam_(p, np.array([1.0]), m, v, vmax, 1, 1.0, 0.9, 0.75, 0.0, 0.0, False)
    assert (v[0], vmax[0]) == (0.25, 7)
    assert math.isclose(p[0], -1 / math.sqrt(7 / 0.25))


@pytest.mark.parametrize("room", [reference, generic, kernels])
def test_infinite_gradients_pass_without_a_warning(room):
    p = np.zeros(3, np.float32)
    g = np.array([np.inf, np.nan, 1e38], np.float32)
    room.sgd_(p, g, np.zeros_like(p), 100.0, 0.9, 0, 0, False, True)
    assert np.isneginf(p[0])
    assert np.isnan(p[1])
    p = np.zeros(3, np.float32)
    room.adam_(p, g, p.copy(), p.copy(), None, 1, 0.1, 0.9, 0.999, 1e-8, 0, False)
    assert np.isnan(p[:2]).all()
    assert p[2] == 0  # v overflowed to infinity


@pytest.mark.parametrize("room", [reference, generic, kernels])
def test_rates_may_be_numbers_of_numpy(room):
    """A float64 of NumPy does not widen a float32 array."""
    p, g = arrays(2, (3,), "float32")
    q = p.copy()
    room.sgd_(p, g, None, np.float64(0.1), 0, 0, 0, False, True)
    room.sgd_(q, g, None, 0.1, 0, 0, 0, False, True)
    np.testing.assert_allclose(p, q, rtol=1e-6)
    assert p.dtype == np.float32


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not here")
@pytest.mark.parametrize("room", [reference, generic])
def test_both_equal_pytorch(room):
    import torch

    gradients = arrays(5, (4, 3), "float64", seed=3)
    start = arrays(1, (4, 3), "float64", seed=4)[0]

    def theirs(kind, **options):
        p = torch.tensor(start, requires_grad=True)
        optimizer = kind([p], **options)
        for g in gradients:
            p.grad = torch.tensor(g)
            optimizer.step()
        return p.detach().numpy()

    for lr, momentum, dampening, decay, nesterov in SGD:
        p, buf = start.copy(), np.zeros_like(start)
        for i, g in enumerate(gradients):
            room.sgd_(p, g, buf, lr, momentum, dampening, decay, nesterov, i == 0)
        want = theirs(
            torch.optim.SGD, lr=lr, momentum=momentum, dampening=dampening,
            weight_decay=decay, nesterov=nesterov,
        )  # fmt: skip
        np.testing.assert_allclose(p, want, rtol=1e-14, atol=1e-15)
    for (lr, b1, b2, eps, decay, decoupled), amsgrad in ADAM:
        p, m, v, vmax = start.copy(), *[np.zeros_like(start) for _ in range(3)]
        for step, g in enumerate(gradients, 1):
            room.adam_(
                p, g, m, v, vmax if amsgrad else None, step, lr, b1, b2, eps, decay, decoupled
            )
        want = theirs(
            torch.optim.AdamW if decoupled else torch.optim.Adam, lr=lr, betas=(b1, b2), eps=eps,
            weight_decay=decay, amsgrad=amsgrad,
        )  # fmt: skip
        np.testing.assert_allclose(p, want, rtol=1e-13, atol=1e-14)
