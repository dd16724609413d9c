"""gradcheck and its kin: what they accept, what they refuse, and what they say."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import standin
from hypothesis import given
from hypothesis import strategies as st

import minidl
from minidl import ops
from minidl.device import _device_packages, _module_of
from minidl.errors import DtypeError
from minidl.tape import op, tie
from minidl.testing import GradientError, gradcheck, gradgradcheck
from minidl.testing.layouts import laid_out

Function = Callable[..., Any]
RNG = np.random.default_rng(3)
X, Y, W = RNG.standard_normal((3, 4)), RNG.standard_normal(4), RNG.standard_normal((4, 2))


def failing(*args: Any, **options: Any) -> GradientError:
    with pytest.raises(GradientError) as caught:
        gradcheck(*args, **options)
    return caught.value


def double_sine(x: Any) -> Any:
    """Importable, for the reproduction."""
    return np.sin(x)


def its_gradient(g: Any, x: Any) -> Any:
    """Wrong by a factor."""
    return 2 * g * np.cos(x)


# ---- verdicts -----------------------------------------------------------------------------------


def test_right_derivatives_pass_to_third_order() -> None:
    found = gradcheck(lambda x, y: ops.softmax(x * y, -1), (X, Y), order=3)
    assert {c.order for c in found.checks} == {1, 2, 3}
    assert {c.argument for c in found.checks if c.order == 2} == {"x", "y", "g"}
    assert all(c.count == {"x": 12, "y": 4, "g": 12}[c.argument] for c in found.checks[:5])
    assert 0 < found.worst < 1e-9
    assert found.kinks == 0
    assert "derivatives agree up to order 3" in str(found)


@given(
    size=st.integers(-9, 9),
    scale=st.integers(-6, 6),
    index=st.integers(0, 11),
    error=st.sampled_from([0.0, 1e-6, 1e-3, -1.0, 1.0]),
)
def test_the_verdict_does_not_depend_on_scales(
    size: int, scale: int, index: int, error: float
) -> None:
    """Function times 1e-9 or 1e9, arguments in any unit: right stays right, wrong stays wrong."""
    c, s = 10.0**size, 10.0**scale

    def fn(x: Any) -> Any:
        return c * np.sin(x / s)

    def gradient(g: Any, x: Any) -> Any:
        found = c / s * g * np.cos(x / s)
        found.flat[index] *= 1 + error
        return found

    if error == 0:
        assert gradcheck(fn, (X * s,), gradient=gradient).worst < 1e-9
    else:
        wrong = failing(fn, (X * s,), gradient=gradient)
        assert wrong.problem == "wrong"
        assert wrong.index == np.unravel_index(index, X.shape)
        assert wrong.ratio == pytest.approx(1 + error, abs=1e-7)


@given(st.integers(0, 14), st.booleans(), st.integers(0, 2**16))
def test_an_offset_never_lets_a_wrong_gradient_pass(power: int, right: bool, seed: int) -> None:
    """What rounding hides is undecided: never passed when wrong, never called wrong when right."""
    factor, offset = 1.0 if right else 1.003, 10.0**power
    x = np.random.default_rng(seed).uniform(0.5, 1, 3)

    def fn(x: Any) -> Any:
        return offset + np.sin(x)

    problem, cause, vanishing = "", "", False
    try:
        found = gradcheck(fn, (x,), gradient=lambda g, x: factor * g * np.cos(x))
        vanishing = found.checks[0].vanishing
    except GradientError as error:
        problem, cause = error.problem, error.cause
    if vanishing:  # beyond 1e13 the function is constant in float64, and the report says so
        assert power > 12
    elif right:
        assert (problem == "" and power < 10) or (problem == "undecided" and power > 4)
        assert problem == "" or "rounding hides" in cause
    else:
        assert problem == "wrong" or (problem == "undecided" and power > 7)


@given(st.integers(0, 2**16), st.integers(1, 3), st.sampled_from(["sum", "whole", "two"]))
def test_networks_pass_and_one_wrong_element_is_found(seed: int, depth: int, ends: str) -> None:
    rng = np.random.default_rng(seed)
    layers = [rng.standard_normal((4, 4)) for _ in range(depth)]

    def network(x: Any, b: Any) -> Any:
        for w in layers:
            x = ops.tanh(x @ minidl.tensor(w) + b)
        return {"sum": (ops.sum(x * x),), "whole": (x,), "two": (x, ops.exp(x))}[ends]

    x, b = rng.standard_normal((2, 4)), rng.standard_normal(4)
    assert gradcheck(network, (x, b), order=2).worst < 1e-8

    def run(*arrays: Any) -> Any:
        found = tuple(y.data for y in network(*map(minidl.from_numpy, arrays)))
        return found if len(found) > 1 else found[0]

    def gradient(g: Any, *arrays: Any) -> Any:
        leaves = [minidl.tensor(a, requires_grad=True) for a in arrays]
        gs = list(g) if isinstance(g, tuple) else [g]
        found = [d.data for d in minidl.grad(list(network(*leaves)), leaves, gs)]
        found[1][2] += 1e-6 * np.abs(found[1]).max()
        return found

    wrong = failing(run, (x, b), gradient=gradient)
    assert (wrong.argument, wrong.index) == ("arrays[1]", (2,))


@op(x=lambda g, x: g * (2 * x.detach() if isinstance(x, minidl.Tensor) else 2 * x))
def cut_square(x: Any) -> Any:
    """A right first derivative, and none of the second: cut off from the graph."""
    return x * x


@op(x=lambda g, x: g * (2 * x + 1e-3 if isinstance(x, minidl.Tensor) else 2 * x))
def two_faced_square(x: Any) -> Any:
    """A derivative that says something else to tensors than to arrays."""
    return x * x


def test_a_wrong_second_derivative_is_found_behind_a_right_first() -> None:
    assert gradcheck(cut_square, (X,)).worst < 1e-9
    wrong = failing(cut_square, (X,), order=2)
    assert (wrong.order, wrong.argument, wrong.analytic) == (2, "x", 0)
    with pytest.raises(GradientError, match="order 2"):
        gradgradcheck(cut_square, (X,))
    assert gradgradcheck(ops.exp, (X,)).order == 2


def test_both_readings_of_a_derivative_are_compared() -> None:
    assert gradcheck(two_faced_square, (X,)).worst < 1e-9
    assert "create_graph" in failing(two_faced_square, (X,), order=2).summary


@pytest.mark.parametrize(
    ("fn", "x", "low", "high"),
    [
        (lambda x: np.maximum(x, 0), 0.0, 0, 1),
        (np.abs, 0.0, -1, 1),
        (lambda x: np.minimum(x, 2.0), 2.0, 0, 1),
        (lambda x: np.where(x > 1, 3 * x - 2, x * x), 1.0, 2, 3),
        (lambda x: np.abs(np.sin(x)) + x, 0.0, 0, 2),
        (lambda x: 5 * np.abs(x - 1) + 1e-3 * x, 1.0, -4.999, 5.001),
    ],
)
@given(share=st.floats(-0.5, 1.5).filter(lambda s: min(abs(s), abs(s - 1)) > 1e-6))
def test_at_a_kink_any_slope_between_those_of_the_sides_is_right(
    fn: Function, x: float, low: float, high: float, share: float
) -> None:
    slope = low + share * (high - low)
    arguments = {"fn": fn, "inputs": (np.array([x]),), "gradient": lambda g, x: g * slope}
    if 0 <= share <= 1:
        assert gradcheck(**arguments).kinks == 1
    else:
        wrong = failing(**arguments)
        assert "kink" in str(wrong)


@pytest.mark.parametrize("slope", [0, 1])
def test_the_ends_of_the_interval_are_right(slope: float) -> None:
    found = gradcheck(np.maximum, (np.zeros(3), np.zeros(3)), gradient=lambda g, x, y: (
        slope * g, (1 - slope) * g
    ))  # fmt: skip
    assert found.kinks == 6


def test_kinks_of_several_outputs_do_not_hide_one_another() -> None:
    """relu(x) and relu(-x): every choice for each is right, whatever the cotangents weigh."""

    def both(x: Any) -> Any:
        return np.maximum(x, 0), np.maximum(-x, 0)

    for seed in range(8):
        for a, b in ((0, 0), (1, 0), (0, 1), (0.5, 0.5), (1, 1)):

            def gradient(g: Any, x: Any, a: float = a, b: float = b) -> Any:
                return g[0] * np.where(x > 0, 1, a * (x == 0)) - g[1] * np.where(
                    x < 0, 1, b * (x == 0)
                )

            assert gradcheck(both, (np.array([0.0, 1]),), gradient=gradient, seed=seed).kinks == 1


def test_zeros_of_a_relu_and_a_clamp_choose_for_themselves() -> None:
    for seed in range(8):
        found = gradcheck(
            lambda x, y: (ops.relu(x), ops.clamp(y, min=0.0)), (np.zeros(3), np.zeros(3)), seed=seed
        )
        assert found.kinks == 6


def test_a_jump_is_counted_and_judged_by_its_pieces() -> None:
    (row,) = gradcheck(
        lambda x: np.where(x >= 1, 5 + 2 * x, 2 * x), (np.array([0.3, 1.0]),),
        gradient=lambda g, x: 2 * g,
    ).checks  # fmt: skip
    assert (row.jumps, row.kinks) == (1, 0)
    assert "1 jumps" in str(gradcheck(ops.sign, (np.array([0.0, 1.0]),)))


def test_infinite_slopes_at_the_border_of_a_domain() -> None:
    assert gradcheck(ops.sqrt, (np.array([0.0, 1.0]),)).kinks == 1
    assert gradcheck(ops.asin, (np.array([1.0, -1.0, 0.5]),)).kinks == 2
    wrong = failing(
        np.sqrt, (np.array([0.0, 1.0]),), gradient=lambda g, x: g / np.sqrt(4 * x + 1e-20)
    )
    assert wrong.index == (0,)


def test_derivatives_of_saturated_functions() -> None:
    """Where digits are lost inside: 1 - out is a staircase, and 1 - 1e-96 is 1."""
    assert gradcheck(ops.sigmoid, (np.array([10.0, 22.1, 29.9, 31.8, -22.0]),), order=2).checks
    x = np.array([[0.0, 220.0, -3.0], [1.0, 2.0, 300.0]])
    assert gradcheck(lambda x: ops.softmax(x, -1), (x,), order=2).checks
    assert gradcheck(lambda x: ops.sum(ops.softmax(x, -1)), (X,)).checks[0].vanishing


# ---- many elements ------------------------------------------------------------------------------


def test_random_directions_beyond_two_hundred_elements() -> None:
    (row,) = gradcheck(ops.tanh, (RNG.standard_normal((20, 30)),)).checks
    assert row.directions
    assert (row.count, row.error < 1e-9) == (5, True)


@pytest.mark.parametrize("patience", [2.0, 0.0])
def test_the_wrong_one_of_many_elements_is_pinpointed(
    patience: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them are tried where that is quick, else one direction is halved again and again."""
    monkeypatch.setattr("minidl.testing.run.PATIENCE", patience)

    def gradient(g: Any, x: Any) -> Any:
        found = g * np.cos(x)
        found[7, 21] *= 1.5
        return found

    wrong = failing(np.sin, (RNG.standard_normal((20, 30)),), gradient=gradient)
    assert wrong.index == (7, 21)
    assert wrong.ratio == pytest.approx(1.5)


# ---- what comes in ------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["transposed", "strided", "reversed", "readonly"])
def test_arguments_reach_the_function_as_they_lie(layout: str) -> None:
    x, seen = laid_out(X, layout), set()
    before = x.copy()

    def fn(x: Any, y: Any) -> Any:
        seen.add((x.data.strides, x.data.flags.writeable))
        return ops.sin(x) * y

    gradcheck(fn, (x, Y), order=2)
    assert {strides for strides, _ in seen} == {x.strides}
    np.testing.assert_array_equal(x, before)


def test_the_same_array_may_come_twice() -> None:
    assert len(gradcheck(ops.mul, (X, X)).checks) == 2
    assert gradcheck(lambda x, y: x * y, (X, X), gradient=lambda g, x, y: (g * y, g * x)).checks
    assert failing(lambda x, y: x * y, (X, X), gradient=lambda g, x, y: (g * y, 2 * g * x))


def test_numbers_none_and_whole_numbers_pass_through() -> None:
    def fn(x: Any, index: Any, factor: float, nothing: None) -> Any:
        assert nothing is None
        assert isinstance(index, minidl.Tensor)
        return ops.take(x, index) * factor

    (row,) = gradcheck(fn, (Y, np.array([0, 0, 3]), 2.5, None)).checks
    assert row.argument == "x"


def test_tensors_and_names_of_arguments() -> None:
    found = gradcheck(ops.matmul, (minidl.tensor(X), minidl.tensor(W)), wrt="y", name="product")
    assert [c.argument for c in found.checks] == ["y"]
    assert found.name == "product"
    assert [c.argument for c in gradcheck(ops.matmul, (X, W), wrt=[-2]).checks] == ["x"]
    found = gradcheck(lambda *xs: ops.cat(xs, 0), (X, X))
    assert [c.argument for c in found.checks] == ["xs[0]", "xs[1]"]


@pytest.fixture
def _known_as_a_device() -> Iterator[None]:
    _device_packages.add("standin")
    _module_of.cache_clear()
    yield
    _device_packages.remove("standin")
    _module_of.cache_clear()


@pytest.mark.usefixtures("_known_as_a_device")
def test_tensors_of_a_device_are_checked_there() -> None:
    """On the stand-in for CuPy; differences are taken on the host."""
    seen = set()

    def fn(x: Any, y: Any) -> Any:
        seen.add(type(x.data))
        return ops.softmax(x * y, -1)

    x, y = tie(standin.asarray(X), None), tie(standin.asarray(Y), None)
    assert gradcheck(fn, (x, y), order=2).worst < 1e-8
    assert seen == {standin.ndarray}


def test_zero_size_arguments_have_nothing_to_compare() -> None:
    (row,) = gradcheck(ops.exp, (np.zeros((0, 3)),)).checks
    assert row.count == 0


# ---- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "options", "error", "text"),
    [
        ((X.astype("float32"),), {}, DtypeError, "'x' of exp is float32; differences need float64"),
        ((np.arange(3),), {}, DtypeError, "no argument of exp is an array of floats"),
        ((X.astype(complex),), {}, DtypeError, "complex"),
        ((np.full(3, np.nan),), {}, ValueError, "no finite number"),
        ((X,), {"wrt": "z"}, ValueError, "the arguments are ['x']"),
        ((X,), {"wrt": 3}, ValueError, "there are 1 arguments"),
        ((X,), {"order": 0}, ValueError, "expected 1, 2 or more"),
        ((X,), {"rtol": -1}, ValueError, "rtol is -1"),
    ],
)
def test_bad_arguments_are_named(
    inputs: Any, options: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error) as caught:
        gradcheck(ops.exp, inputs, **options)
    assert text in str(caught.value)


def impure(x: Any) -> Any:
    x.data[0] = 0
    return x * 2


_calls = iter(range(10**9))


@pytest.mark.parametrize(
    ("fn", "problem", "text"),
    [
        (lambda x: x + next(_calls), "not deterministic", "two calls at the same arguments"),
        (impure, "changes its inputs", "the function changes its argument 'x'"),
        (lambda x: ops.log(x - 100), "nan", "the output holds NaN, first at [0, 0]"),
        (lambda x: (x, ops.log(x * 0)), "nan", "output 1 holds infinity, first at [0, 0]"),
        (lambda x: ops.exp(x.detach()), "no gradient path", "'x' is wrong"),
        (lambda x: minidl.tensor(np.ones(3)), "no gradient path", "nothing to check"),
    ],
)
def test_functions_that_cannot_be_checked_are_named(fn: Function, problem: str, text: str) -> None:
    wrong = failing(fn, (X,))
    assert wrong.problem == problem
    assert text in str(wrong)


@pytest.mark.parametrize(
    ("fn", "error", "text"),
    [
        (lambda x: 3, TypeError, "returned a int, expected a tensor"),
        (lambda x: x > 0, DtypeError, "no array of floats (nothing)"),
        (lambda x: x.to(minidl.float32), DtypeError, "returned float32 for float64 arguments"),
        (7, TypeError, "fn is a int, expected a function"),
    ],
)
def test_functions_of_the_wrong_type(fn: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        gradcheck(fn, (X,))
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("gradient", "text"),
    [
        (lambda g, x, y: (g, g), "the gradient of 'y' has shape (3, 4), the argument (4,)"),
        (lambda g, x, y: (g.T, g.sum(0)), "a transpose is missing or too many"),
        (lambda g, x, y: (g.reshape(-1), g.sum(0)), "a reshape back is missing"),
        (lambda g, x, y: (g, g.sum()), "summed over an axis too many"),
        (lambda g, x, y: (g, g, g), "returned 3 arrays, expected one for each of the 2"),
        (lambda g, x, y: (g, g.sum(0, keepdims=True)), "a reshape back is missing"),
    ],
)
def test_gradients_of_the_wrong_shape_are_named(gradient: Any, text: str) -> None:
    wrong = failing(lambda x, y: x + y, (X, Y), gradient=gradient)
    assert wrong.problem == "shape"
    assert text in str(wrong)


def test_a_gradient_that_writes_into_what_it_was_given() -> None:
    def gradient(g: Any, x: Any) -> Any:
        g *= np.cos(x)
        return g

    assert failing(np.sin, (X,), gradient=gradient).problem == "changes its inputs"


def test_a_stale_saved_value_is_found() -> None:
    kept: dict[str, Any] = {}

    class Scaled:
        """A layer that keeps its input for a later call to overwrite."""

        @staticmethod
        @op(x=lambda g: g * np.exp(kept["x"]))
        def call(x: Any) -> Any:
            kept["x"] = x
            return np.exp(x)

    wrong = failing(Scaled.call, (X,))
    assert wrong.problem == "stale"
    assert "later call overwrites" in wrong.cause


def test_digits_lost_inside_are_undecided() -> None:
    wrong = failing(
        lambda x: np.sin(x.astype("float32")).astype(float), (X,),
        gradient=lambda g, x: g * np.cos(x),
    )  # fmt: skip
    assert wrong.problem == "undecided"
    assert "float32 constant or cast" in wrong.cause
    assert gradcheck(
        lambda x: np.sin(x.astype("float32")).astype(float), (X,),
        gradient=lambda g, x: g * np.cos(x), rtol=1e-3,
    ).checks  # fmt: skip


def test_a_second_order_of_a_gradient_by_hand() -> None:
    with pytest.raises(NotImplementedError, match="check the gradient as a function of its own"):
        gradcheck(np.sin, (X,), gradient=lambda g, x: g * np.cos(x), order=2)
    assert gradcheck(
        lambda g, x: g * np.cos(x), (X, 2 * X),
        gradient=lambda u, g, x: (u * np.cos(x), -u * g * np.sin(x)),
    ).checks  # fmt: skip


# ---- what an error says -------------------------------------------------------------------------


def test_an_error_says_all_and_can_be_seen_again() -> None:
    wrong = failing(double_sine, (X,), gradient=its_gradient)
    assert (wrong.op, wrong.argument, wrong.order) == ("double_sine", "x", 1)
    assert wrong.analytic == pytest.approx(2 * wrong.numeric)
    text = str(wrong)
    for part in (
        "analytic",
        "numeric",
        "ratio      2",
        "12 of 12 elements",
        "likely cause: factor 2",
    ):
        assert part in text
    assert len(wrong.reproduction.splitlines()) <= 5
    with pytest.raises(GradientError) as again:
        exec(wrong.reproduction, {})
    assert (again.value.index, again.value.analytic) == (wrong.index, wrong.analytic)


def test_a_function_that_cannot_be_imported_has_no_reproduction() -> None:
    scale = 2.0
    assert failing(np.sin, (X,), gradient=lambda g, x: scale * g * np.cos(x)).reproduction == ""
