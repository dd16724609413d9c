"""Numeric derivatives: error bounds are honest, a kink at the point is told from one near it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minidl.testing import differences
from minidl.testing.differences import SAFETY, Close, Probe, element_lines, examine, first_look
from minidl.testing.layouts import LAYOUTS, laid_out, layouts_of
from minidl.testing.points import copy_as_laid
from minidl.testing.subjects import Level, subject_of

Function = Callable[[Any], Any]
# Functions with their derivatives; what they are scaled by is drawn.
SMOOTH: dict[str, tuple[Function, Function]] = {
    "sin": (np.sin, np.cos),
    "exp": (np.exp, np.exp),
    "tanh": (np.tanh, lambda x: 1 / np.cosh(x) ** 2),
    "cube": (lambda x: x**3, lambda x: 3 * x * x),
    "line": (lambda x: 3 * x, lambda x: 3 + 0 * x),
    "bell": (lambda x: np.exp(-9 * x * x), lambda x: -18 * x * np.exp(-9 * x * x)),
    "wave": (lambda x: np.sin(9 * x), lambda x: 9 * np.cos(9 * x)),
    "log": (lambda x: np.log(x * x + 0.01), lambda x: 2 * x / (x * x + 0.01)),
}
POINTS = st.floats(-3, 3).filter(lambda x: abs(x) > 1e-3)
SLOPES = st.floats(0.25, 4) | st.floats(-4, -0.25)


def probe_of(fn: Function, x: Any) -> Probe:
    array = np.asarray(x, np.float64)
    quiet = np.errstate(all="ignore")(fn)
    subject = subject_of("test", quiet, (array,), gradient=lambda g, x: g)
    rng = np.random.default_rng(0)
    return Probe(Level(subject, 1, rng), rng)


def closely(fn: Function, x: float) -> Close:
    """A closer look at a function of one number."""
    probe = probe_of(fn, x)
    return examine(probe, element_lines(probe, 0)[0])


@given(st.sampled_from(sorted(SMOOTH)), POINTS, st.floats(-6, 6), st.floats(-6, 6))
def test_error_bounds_are_honest(name: str, x: float, size: float, scale: float) -> None:
    """The true derivative lies within the bound, which is small, for any unit of x and y."""
    f, slope = SMOOTH[name]
    c, s = 10.0**size, 10.0**scale
    probe = probe_of(lambda z: c * f(z / s), x * s)
    found = first_look(probe, element_lines(probe, 0), np.ones((1, 1)))
    true = c / s * slope(x)
    bound = SAFETY * found.error[0, 0]
    if not found.odd[0]:
        assert abs(found.value[0, 0] - true) <= bound
    close = examine(probe, element_lines(probe, 0)[0])
    bound = SAFETY * close.error[0]
    assert not close.kink
    assert not close.jump
    assert abs(close.low[0] - true) <= bound
    assert bound <= 1e-7 * (abs(true) + c / s * max(1.0, abs(f(x))))


@given(POINTS, SLOPES, SLOPES, st.floats(-2, 2))
def test_a_kink_at_the_point_is_found_with_its_slopes(
    x: float, left: float, right: float, bend: float
) -> None:
    assume(abs(left - right) > 0.1)

    def fn(z: Any) -> Any:
        return np.where(z > x, right, left) * (z - x) + np.sin(bend * z)

    smooth = bend * np.cos(bend * x)
    close = closely(fn, x)
    assert close.kink
    assert not close.jump
    np.testing.assert_allclose(close.low, smooth + min(left, right), atol=1e-6)
    np.testing.assert_allclose(close.high, smooth + max(left, right), atol=1e-6)


@given(POINTS, SLOPES, SLOPES, st.floats(-7, -1.5), st.booleans())
def test_a_kink_beside_the_point_does_not_count(
    x: float, left: float, right: float, distance: float, above: bool
) -> None:
    assume(abs(left - right) > 0.1)
    away = abs(x) * 10.0**distance
    place = x + away if above else x - away

    def fn(z: Any) -> Any:
        return np.where(z > place, right, left) * (z - place) + np.sin(z)

    close = closely(fn, x)
    true = np.cos(x) + (left if above else right)
    assert not close.kink
    assert abs(close.low[0] - true) <= SAFETY * close.error[0]
    assert close.error[0] <= 1e-6


@given(POINTS, SLOPES, SLOPES, st.floats(-14, -7), st.booleans())
def test_a_kink_too_near_to_be_told_from_the_point_deceives_nobody(
    x: float, left: float, right: float, distance: float, above: bool
) -> None:
    """It counts as a kink, or the bound is as large as the doubt."""
    assume(abs(left - right) > 0.1)
    away = abs(x) * 10.0**distance
    place = x + away if above else x - away
    close = closely(lambda z: np.where(z > place, right, left) * (z - place) + np.sin(z), x)
    true, bound = np.cos(x) + (left if above else right), SAFETY * close.error[0]
    assert close.low[0] - bound <= true <= close.high[0] + bound


@given(POINTS, st.floats(0.1, 3), SLOPES, SLOPES)
def test_a_jump_at_the_point_leaves_the_slopes_of_its_pieces(
    x: float, jump: float, left: float, right: float
) -> None:
    close = closely(lambda z: np.where(z >= x, jump + right * (z - x), left * (z - x)), x)
    assert close.jump
    np.testing.assert_allclose(sorted([left, right]), [close.low[0], close.high[0]], atol=1e-6)


@given(POINTS, st.floats(0.1, 3), st.floats(-5, -1.5))
def test_a_jump_beside_the_point_does_not_count(x: float, jump: float, distance: float) -> None:
    place = x + abs(x) * 10.0**distance
    close = closely(lambda z: np.where(z >= place, jump, 0.0) + np.sin(z), x)
    assert not close.jump
    assert abs(close.low[0] - np.cos(x)) <= SAFETY * close.error[0]
    assert close.error[0] <= 1e-4  # steps below 1e-5 |x|, down to 1e-7 |x|: rounding over these


@pytest.mark.parametrize(
    ("fn", "x", "slopes"),
    [
        (lambda z: z**1.5, 0.0, (0, 0)),
        (np.sqrt, 0.0, (np.inf, np.inf)),
        (np.arcsin, 1.0, (np.inf, np.inf)),
        (np.arccos, -1.0, (-np.inf, -np.inf)),
        (lambda z: np.sqrt(np.abs(z)), 0.0, (-np.inf, np.inf)),
        (lambda z: np.sqrt(np.maximum(z, 0)), 0.0, (0, np.inf)),
        (lambda z: np.log(z), 1e-9, (1e9, 1e9)),
        (lambda z: z * np.sqrt(1 - z), 1.0, (-np.inf, -np.inf)),
    ],
)
def test_borders_of_domains_are_looked_at_from_inside(
    fn: Function, x: float, slopes: tuple[float, float]
) -> None:
    close = closely(fn, x)
    np.testing.assert_allclose([close.low[0], close.high[0]], slopes, rtol=1e-6, atol=1e-4)


@given(st.floats(1e-9, 1e-6))
def test_steps_fit_a_small_element_beside_large_ones(x: float) -> None:
    """The step begins at the scale of the array and shrinks until it stays inside the domain."""
    probe = probe_of(np.log, np.array([x, 1.0, 2.0]))
    close = examine(probe, element_lines(probe, 0)[0])
    assert abs(close.low[0] - 1 / x) <= SAFETY * close.error[0]
    assert close.error[0] <= 1e-6 / x


def test_a_function_that_refuses_its_argument_is_blind_there() -> None:
    def fn(z: Any) -> Any:
        if z != 1:
            raise ValueError("only 1 is taken")
        return z * 2.0

    assert closely(fn, 1.0).blind


@given(st.floats(0.5, 2), st.sampled_from([1e3, 1e6, 1e9]))
def test_lost_digits_are_seen(x: float, offset: float) -> None:
    """(x + offset) - offset has the noise of offset, though nothing in its value says so."""
    probe = probe_of(lambda z: (z + offset) - offset, np.array([x, 0.3 * x, 0.7]))
    digit = np.spacing(offset)
    assert (probe.noise > digit / 20).all()  # 0.87 on average, of a dozen samples
    assert (probe.noise < 20 * digit).all()


def test_a_staircase_is_not_taken_for_a_constant() -> None:
    """1 - 1 / (1 + e**-x) near 30 comes in steps of 1e-16; close by it seems not to change."""

    def fn(x: Any) -> Any:
        return 1 - 1 / (1 + np.exp(-x))

    for x in (29.9, 30.7, 31.4):
        close = closely(fn, x)
        assert abs(close.low[0] + np.exp(-x)) <= SAFETY * close.error[0]


def test_an_output_that_does_not_change_may_hide_a_slope_below_its_last_digit() -> None:
    probe = probe_of(lambda x: 1 + 1e-20 * x, np.array([0.7]))
    lines = element_lines(probe, 0)
    assert 1e-20 < first_look(probe, lines, np.ones((1, 1))).error[0, 0] < 1e-12
    assert 1e-20 < examine(probe, lines[0]).error[0] < 1e-12


def test_noise_is_no_more_than_rounding_where_there_is_none_else() -> None:
    for f, _ in SMOOTH.values():
        probe = probe_of(f, np.array([0.7, -0.4]))
        size = np.abs(probe.here) + np.abs(f(np.array([0.7, -0.4]))).max()
        assert (probe.noise <= 100 * differences.EPS * size).all()


@given(st.data())
def test_copies_lie_as_the_originals(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    a = laid_out(np.arange(float(np.prod(shape))).reshape(shape), data.draw(
        st.sampled_from(layouts_of(len(shape)))
    ))  # fmt: skip
    copy = copy_as_laid(a)
    np.testing.assert_array_equal(copy, a)
    assert copy.strides == a.strides
    assert copy.flags.writeable
    assert not np.shares_memory(copy, a)


def test_elements_that_share_memory_are_moved_alone() -> None:
    a = np.broadcast_to(np.array([1.0, 2.0]), (3, 2))
    copy = copy_as_laid(a)
    copy[0, 0] = 5
    np.testing.assert_array_equal(copy, [[5, 2], [1, 2], [1, 2]])
    windows = np.lib.stride_tricks.sliding_window_view(np.arange(4.0), 2)
    copy = copy_as_laid(windows)
    copy[0, 1] = 9
    assert copy[1, 0] == 1


def test_gaps_hold_nan() -> None:
    copy = copy_as_laid(laid_out(np.ones(3), "strided"))
    assert np.isnan(np.lib.stride_tricks.as_strided(copy, (2,), (8,))[1])
    assert set(LAYOUTS) >= {"strided", "reversed"}
