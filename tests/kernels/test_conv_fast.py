"""Compiled convolution: each algorithm against array code, the memory it may touch, its bits.

`test_convolution.py` holds the array code to the definition. Here the shapes are large enough to
leave the paths for small ones: several blocks, full tiles and what is left of them.
"""

import concurrent.futures
import ctypes
import math
import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl_kernels as kernels
from minidl_kernels import plans
from minidl_kernels.cpu import convolution as fast
from minidl_kernels.cpu import memory, threads
from minidl_kernels.generic import convolution as generic


class Problem(NamedTuple):
    """Shapes of an input and of weights that fit, and the options."""

    x: tuple[int, ...]
    w: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int

    @property
    def options(self) -> tuple[Any, ...]:
        return self[2:]


@st.composite
def problems(draw: Any) -> Problem:
    axes = draw(st.sampled_from([1, 2, 2, 2, 3]))

    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(axes))

    kernel, stride, dilation = each(1, 4 if axes < 3 else 2), each(1, 3), each(1, 3)
    padding = tuple(zip(each(0, 3), each(0, 3), strict=True))
    spatial = [
        max(1, d * (k - 1) + 1 - sum(pads)) + more
        for k, d, pads, more in zip(kernel, dilation, padding, each(0, 15), strict=True)
    ]
    n, groups = draw(st.integers(1, 3)), draw(st.sampled_from([1, 1, 1, 2, 3, 37]))
    inputs, outputs = draw(st.sampled_from([1, 2, 3, 8, 19])), draw(st.sampled_from([1, 7, 16, 37]))
    if groups == 37:  # depthwise
        groups, inputs, outputs = draw(st.sampled_from([2, 8, 16, 19, 37])), 1, 1
    x, w = (n, groups * inputs, *spatial), (groups * outputs, inputs, *kernel)
    return Problem(x, w, stride, padding, dilation, groups)


@st.composite
def three_by_three(draw: Any) -> Problem:
    """What Winograd's algorithm takes: padding beyond the kernel, and channels of any number."""
    pads = st.tuples(st.integers(0, 3), st.integers(0, 3))
    padding = (draw(pads), draw(pads))
    height, width = (max(3 - sum(p), 1) + draw(st.integers(0, 14)) for p in padding)
    c, o = draw(st.sampled_from([1, 5, 16, 21, 70])), draw(st.sampled_from([1, 7, 16, 37]))
    x, w = (draw(st.integers(1, 3)), c, height, width), (o, c, 3, 3)
    return Problem(x, w, (1, 1), padding, (1, 1), 1)


@st.composite
def channelwise(draw: Any) -> Problem:
    """What `depthwise` makes in blocks, and its like just beyond."""
    k, step = draw(st.sampled_from([3, 5, 7])), draw(st.integers(1, 3))
    pads = st.tuples(st.integers(0, k), st.integers(0, k))
    padding = (draw(pads), draw(pads))
    sizes = [max(1, k - sum(pads)) + draw(st.integers(0, 20)) for pads in padding]
    c = draw(st.sampled_from([3, 8, 13, 16, 21, 32]))
    x, w = (draw(st.integers(1, 2)), c, *sizes), (c, 1, k, k)
    return Problem(x, w, (step, step), padding, (1, 1), c)


@st.composite
def narrow(draw: Any) -> Problem:
    """Inputs of few channels, whose gradient is spread out from each output."""
    axes = draw(st.sampled_from([1, 2, 2]))

    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(axes))

    kernel, stride, dilation = each(2, 5), each(1, 4), each(1, 3)
    padding = tuple(zip(each(0, 6), each(0, 6), strict=True))
    spatial = [
        max(1, d * (k - 1) + 1 - sum(pads)) + more
        for k, d, pads, more in zip(kernel, dilation, padding, each(0, 40), strict=True)
    ]
    c, o = draw(st.integers(1, 4)), draw(st.sampled_from([5, 16, 37]))
    x, w = (draw(st.integers(1, 3)), c, *spatial), (o, c, *kernel)
    return Problem(x, w, stride, padding, dilation, 1)


@pytest.fixture(params=["direct", "winograd", "deep"])
def algorithm(request: pytest.FixtureRequest) -> Iterator[str]:
    """Force an algorithm for each test that asks for it."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "deep":
            choose = plans.choose
            patch.setattr(plans, "choose", lambda *args: choose(*args)._replace(deep=True))
        with kernels.algorithm("direct" if request.param == "direct" else "winograd"):
            yield request.param


def numbers(shape: tuple[int, ...], seed: int = 0) -> Any:
    """Channels-last, as the kernels leave it."""
    x = np.random.default_rng(seed).normal(size=(shape[0], *shape[2:], shape[1])).astype("f4")
    return np.moveaxis(x, -1, 1)


def weights(shape: tuple[int, ...]) -> Any:
    return np.random.default_rng(1).normal(size=shape).astype("f4")


def all_three(p: Problem) -> list[Any]:
    x, w = numbers(p.x), weights(p.w)
    y = fast.conv(x, w, *p.options)
    g = numbers(y.shape, 2)
    gx = fast.conv_input(g, w, x.shape, *p.options)
    return [y, gx, fast.conv_weight(g, x, w.shape, *p.options)]


def exact(p: Problem) -> list[Any]:
    x, w = numbers(p.x).astype("f8"), weights(p.w).astype("f8")
    y = generic.conv(x, w, *p.options)
    g = numbers(y.shape, 2).astype("f8")
    gx = generic.conv_input(g, w, x.shape, *p.options)
    return [y, gx, generic.conv_weight(g, x, w.shape, *p.options)]


def lengths(p: Problem) -> list[int]:
    """How many products a sum has at most: in the output, and in the two gradients."""
    taps, (o, each) = math.prod(p.w[2:]), p.w[:2]
    pixels = p.x[0] * math.prod(generic.output_sizes(p.x[2:], p.w[2:], *p.options[:3]))
    return [each * taps, o // p.groups * taps, pixels]


def within(ours: Any, expected: Any, bound: float) -> None:
    assert ours.dtype == np.float32
    assert ours.shape == expected.shape
    if expected.size:
        assert np.abs(ours - expected).max() <= bound


# ---- every option ----------------------------------------------------------------------------

EPSILON = float(np.finfo("f4").eps)


@given(problems())
def test_equals_array_code(p: Problem) -> None:
    equal(p)


@given(channelwise())
def test_depthwise_equals_array_code(p: Problem) -> None:
    equal(p)


@given(narrow())
def test_few_channels_equal_array_code(p: Problem) -> None:
    equal(p)


def equal(p: Problem) -> None:
    """A sum of k products of normal numbers errs by some sqrt(k) roundings of a sum of sqrt(k)."""
    for ours, expected, k in zip(all_three(p), exact(p), lengths(p), strict=True):
        within(ours, expected, 4 * EPSILON * max(k, 4))


def test_each_algorithm_keeps_its_bound(algorithm: str) -> None:
    """The bounds of the table in `plans`, in units of epsilon * conv(|x|, |w|)."""
    bound = EPSILON * {"direct": 4, "winograd": 100, "deep": 100}[algorithm]

    @given(three_by_three(), st.sampled_from([1e-15, 1.0, 1e12]))
    def check(p: Problem, scale: float) -> None:
        x, w = numbers(p.x) * np.float32(scale), weights(p.w)
        y = fast.conv(x, w, *p.options)
        g = numbers(y.shape, 2)
        wide = [a.astype("f8") for a in (x, w, g)]
        for ours, f in (
            (y, lambda x, w, g: generic.conv(x, w, *p.options)),
            (
                fast.conv_input(g, w, p.x, *p.options),
                lambda x, w, g: generic.conv_input(g, w, p.x, *p.options),
            ),
            (
                fast.conv_weight(g, x, p.w, *p.options),
                lambda x, w, g: generic.conv_weight(g, x, p.w, *p.options),
            ),
        ):
            largest = f(*map(np.abs, wide)).max(initial=0)
            within(ours, f(*wide), bound * largest)

    check()


@given(st.one_of(problems(), channelwise()), st.sampled_from([None, "relu"]), st.booleans())
def test_bias_and_activation(p: Problem, activation: str | None, biased: bool) -> None:
    x, w = numbers(p.x), weights(p.w)
    bias = np.linspace(-2, 2, len(w)).astype("f4") if biased else None
    plain = fast.conv(x, w, *p.options)
    if bias is not None:
        plain = plain + bias.reshape(-1, *[1] * (x.ndim - 2))
    if activation:
        plain = np.maximum(plain, 0)
    y = fast.conv(x, w, *p.options, bias, activation)
    np.testing.assert_allclose(y, plain, rtol=1e-6, atol=1e-5)


def test_bias_and_activation_by_each_algorithm(algorithm: str) -> None:
    x, w = numbers((2, 21, 10, 11)), weights((37, 21, 3, 3))
    options = ((1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    bias = np.linspace(-20, 20, 37).astype("f4")
    expected = np.maximum(generic.conv(x, w, *options) + bias.reshape(-1, 1, 1), 0)
    y = fast.conv(x, w, *options, bias, "relu")
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
    assert (y == 0).any()


@given(
    size=st.integers(1, 20),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 4),
    pads=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    dilation=st.integers(1, 4),
)
def test_phases_have_each_place_and_tap_once(
    size: int, kernel: int, stride: int, pads: tuple[int, int], dilation: int
) -> None:
    """What the phases say is which (input, output, tap) belong together, and nothing else."""
    found = []
    for r, taps, before, spread in fast.phases(size, kernel, stride, pads, dilation):
        for i, q in enumerate(range(r, size, stride)):
            found += [(q, i - before + j * spread, tap) for j, tap in enumerate(taps)]
    expected = [
        (q, (q + pads[0] - k * dilation) // stride, k)
        for q in range(size)
        for k in range(kernel)
        if (q + pads[0] - k * dilation) % stride == 0
    ]
    assert sorted(found) == sorted(expected)


# ---- memory ----------------------------------------------------------------------------


def layouts(x: Any) -> list[Any]:
    """The same values in memory of every kind, read-only."""
    order = np.ascontiguousarray(x)
    backwards = np.ascontiguousarray(x[..., ::-1])[..., ::-1]
    gaps = np.repeat(x, 2, axis=1)[:, ::2]
    turned = np.ascontiguousarray(np.swapaxes(x, 0, -1)).swapaxes(0, -1)
    odd = np.empty(x.nbytes + 1, np.uint8)[1:].view("f4").reshape(x.shape)
    odd[...] = x
    found = [x, order, backwards, gaps, turned, odd]
    for one in found:
        one.flags.writeable = False
    return found


@given(problems())
def test_layouts(p: Problem) -> None:
    y, gx, gw = all_three(p)
    for x, w, g in zip(
        layouts(numbers(p.x)), layouts(weights(p.w)), layouts(numbers(y.shape, 2)), strict=True
    ):
        np.testing.assert_allclose(fast.conv(x, w, *p.options), y, rtol=1e-5, atol=1e-5)
        ours = fast.conv_input(g, w, x.shape, *p.options)
        np.testing.assert_allclose(ours, gx, rtol=1e-5, atol=1e-5)
        ours = fast.conv_weight(g, x, w.shape, *p.options)
        np.testing.assert_allclose(ours, gw, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(2, 64, 33, 37), (3, 37, 64, 32), (1, 19, 9, 30, 31)])
def test_large_planes_are_turned(shape: tuple[int, ...]) -> None:
    x = np.arange(math.prod(shape), dtype="f4").reshape(shape)
    last = np.moveaxis(x, 1, -1)
    turned = fast._rows(last)
    assert turned.flags.c_contiguous
    np.testing.assert_array_equal(turned, last)


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for memory that may not be touched")
def test_nothing_is_read_or_written_outside() -> None:
    """Every array, the kernels' own too, lies against a page whose touch would end the process."""
    folders = [*sys.path, os.path.dirname(__file__)]
    program = f"import sys; sys.path[:0] = {folders!r}; import test_conv_fast as t; t.guarded()"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "done\n", done.stderr


def guarded() -> None:
    libc, page, kept = ctypes.CDLL(None), mmap.PAGESIZE, []
    empty = np.empty
    at_the_end = True

    def against_a_wall(shape: Any, dtype: Any = float) -> Any:
        size = math.prod(shape) if isinstance(shape, tuple) else int(shape)
        size *= np.dtype(dtype).itemsize
        room = -(-max(size, 1) // page) * page
        pages = mmap.mmap(-1, room + 2 * page)
        kept.append(pages)
        start = ctypes.addressof(ctypes.c_char.from_buffer(pages))
        for wall in (start, start + page + room):
            assert libc.mprotect(ctypes.c_void_p(wall), ctypes.c_size_t(page), 0) == 0
        first = page + (room - size if at_the_end else 0)
        x = np.frombuffer(pages, np.uint8)[first : first + size].view(dtype).reshape(shape)
        x[...] = np.nan if np.dtype(dtype).kind == "f" else 0
        return x

    def copied(x: Any) -> Any:
        x = np.moveaxis(x, 1, -1)
        y = against_a_wall(x.shape, x.dtype)
        y[...] = x
        return np.moveaxis(y, -1, 1)

    for p in SHAPES:
        for at_the_end in (True, False):  # noqa: B007, against_a_wall reads it
            x, w = copied(numbers(p.x)), weights(p.w)
            g = copied(numbers(generic.conv(x, w, *p.options).shape, 2))
            np.empty = fast.empty = against_a_wall  # type: ignore[assignment]
            try:
                y = fast.conv(x, w, *p.options, np.ones(len(w), "f4"), "relu")
                gx = fast.conv_input(g, w, x.shape, *p.options)
                gw = fast.conv_weight(g, x, w.shape, *p.options)
            finally:
                np.empty, fast.empty = empty, memory.empty
            assert all(np.isfinite(result).all() for result in (y, gx, gw))
    print("done")


# ---- bits ----------------------------------------------------------------------------

SHAPES = [
    Problem((3, 19, 13, 30), (37, 19, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    Problem((8, 32, 13, 13), (64, 32, 3, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    Problem((2, 48, 14, 14), (64, 48, 1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    Problem((2, 24, 15, 15), (36, 12, 3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1), 2),
    Problem((2, 43, 15, 15), (43, 1, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 43),
    Problem((3, 3, 33, 30), (37, 3, 3, 4), (2, 1), ((1, 2), (1, 3)), (1, 1), 1),
    Problem((2, 1, 300), (16, 1, 9), (4,), ((4, 4),), (1,), 1),
    Problem((2, 12, 15, 10), (12, 1, 5, 5), (2, 2), ((2, 4), (4, 3)), (1, 1), 12),
    Problem((2, 21, 15, 10), (21, 1, 4, 3), (2, 1), ((2, 3), (3, 2)), (1, 2), 21),
]


@pytest.mark.parametrize("p", SHAPES, ids=range(len(SHAPES)))
def test_the_same_bits_at_any_number_of_threads(p: Problem, algorithm: str) -> None:
    before, seen = threads.get_num_threads(), set()
    try:
        for count in (1, 2, 1, 2):
            threads.set_num_threads(count)
            seen.add(tuple(result.tobytes() for result in all_three(p)))
    finally:
        threads.set_num_threads(before)
    assert len(seen) == 1


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # of NumPy, infinity - infinity
def test_nan_and_infinity_pass_through_as_in_array_code(algorithm: str) -> None:
    p = Problem((2, 19, 13, 14), (37, 19, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    x, w = numbers(p.x), weights(p.w)
    x[0, 3, 5, 6], x[1, 2, 0, 0], x[1, 4, 7, 8] = np.nan, np.inf, -np.inf
    g = numbers((2, 37, 13, 14), 2)
    g[1, 1, 12, 13], g[0, 5, 4, 4] = np.nan, np.inf
    wide = [a.astype("f8") for a in (x, w, g)]
    same(fast.conv(x, w, *p.options), generic.conv(*wide[:2], *p.options))
    gx = fast.conv_input(g, w, p.x, *p.options)
    same(gx, generic.conv_input(wide[2], wide[1], p.x, *p.options))
    gw = fast.conv_weight(g, x, p.w, *p.options)
    same(gw, generic.conv_weight(wide[2], wide[0], p.w, *p.options))
    y = fast.conv(x, w, *p.options, None, "relu")
    same(y, np.maximum(generic.conv(*wide[:2], *p.options), 0))


@pytest.mark.parametrize("k", [3, 4])  # in blocks, and by a list of taps
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_depthwise_padding_is_not_multiplied(k: int) -> None:
    """A tap outside of the image has no part, not even a weight or gradient of infinity."""
    p = Problem((2, 19, 13, 14), (19, 1, k, k), (1, 1), ((1, 2), (2, 1)), (1, 1), 19)
    x, w = numbers(p.x), weights(p.w)
    x[0, 3, 5, 6], x[1, 2, 0, 0], w[5, 0, 0, 1], w[6, 0, 2, 2] = np.nan, np.inf, np.nan, np.inf
    g = numbers(generic.conv(x, w, *p.options).shape, 2)
    g[1, 1, 0, 0], g[0, 7, 4, 4], g[0, 8, -1, -1] = np.nan, np.inf, np.inf
    wide = [a.astype("f8") for a in (x, w, g)]
    same(fast.conv(x, w, *p.options), generic.conv(*wide[:2], *p.options))
    gx = fast.conv_input(g, w, p.x, *p.options)
    same(gx, generic.conv_input(wide[2], wide[1], p.x, *p.options))
    gw = fast.conv_weight(g, x, p.w, *p.options)
    same(gw, generic.conv_weight(wide[2], wide[0], p.w, *p.options))


def test_what_overflows_on_the_way_alone_does_not_overflow(algorithm: str) -> None:
    """Winograd's sums reach 100 times the numbers; the result is then that of "direct"."""
    x, w = numbers((1, 16, 9, 9)) * np.float32(1e36), weights((16, 16, 3, 3)) / np.float32(16)
    options = ((1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    y = fast.conv(x, w, *options)
    expected = generic.conv(x.astype("f8"), w, *options)
    np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e33)


def same(ours: Any, expected: Any) -> None:
    """The same numbers are not finite, each in its way."""
    for kind in (np.isnan, np.isposinf, np.isneginf):
        np.testing.assert_array_equal(kind(ours), kind(expected))
        assert kind is np.isneginf or kind(expected).any()


# ---- the plan ----------------------------------------------------------------------------


def test_the_plan_says_what_runs() -> None:
    plan = kernels.conv2d_plan((8, 64, 56, 56), (64, 64, 3, 3), padding=1)
    assert {choice.algorithm for choice in plan} == {"winograd"}
    assert not any(choice.deep for choice in plan)
    plan = kernels.conv2d_plan((8, 512, 7, 7), (512, 512, 3, 3), padding=1)
    assert {(choice.algorithm, choice.deep) for choice in plan} == {("winograd", True)}
    assert kernels.conv2d_plan((4, 1, 28, 28), (32, 1, 3, 3)).forward.algorithm == "direct"
    assert kernels.conv2d_plan((4, 3, 224, 224), (64, 3, 3, 3)).input.algorithm == "spread"
    assert kernels.conv2d_plan((8, 32, 28, 28), (1, 32, 3, 3)).forward.algorithm == "winograd"
    assert kernels.conv2d_plan((8, 8, 56, 56), (8, 8, 3, 3)).weight.algorithm == "winograd"
    assert kernels.conv2d_plan((8, 64, 56, 56), (64, 64, 3, 3), 2).weight.algorithm == "direct"
    assert kernels.conv2d_plan((8, 64, 9, 9), (64, 64, 1, 1)).input.algorithm == "direct"
    wide = kernels.conv2d_plan((8, 64, 56, 56), (64, 64, 3, 3), dtype="float64")
    assert wide.forward == (
        "im2col",
        "compiled kernels are for float32, this is float64",
        False,
        False,
    )


def test_switches_are_undone() -> None:
    args = ((8, 64, 56, 56), (64, 64, 3, 3), 1, ((1, 1), (1, 1)))
    before = kernels.conv2d_plan(*args)
    with kernels.exact_convolution():
        plan = kernels.conv2d_plan(*args)
        assert {choice.algorithm for choice in plan} == {"direct"}
        with kernels.exact_convolution(False):
            assert kernels.conv2d_plan(*args) == before
    for name in ("direct", "im2col"):
        with kernels.algorithm(name):
            assert {choice.algorithm for choice in kernels.conv2d_plan(*args)} == {name}
    assert kernels.conv2d_plan(*args) == before
    with pytest.raises(ValueError, match="algorithm: name is 'fft'; expected one of"):
        kernels.algorithm("fft")


def test_two_python_threads_at_once(algorithm: str) -> None:
    """Each has memory of its own to work in."""
    p = SHAPES[1]
    expected = [result.tobytes() for result in all_three(p)]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for results in pool.map(all_three, [p] * 8):
            assert [result.tobytes() for result in results] == expected
