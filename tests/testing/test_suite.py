"""One line checks a whole operation, and each way to be wrong is found by the check of its name."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st

import minidl
from minidl import ops
from minidl.device import _device_packages, _module_of
from minidl.nn import functional as F
from minidl.tape import op
from minidl.testing import GradientError, assert_op_correct
from minidl.testing import strategies as some
from minidl.testing.suite import CHECKS, OpError

ROOT = Path(__file__).parents[2]


def failing(fn, inputs=None, **options):
    with pytest.raises(OpError) as caught:
        assert_op_correct(fn, inputs, **options)
    return caught.value


# ---- right ones ---------------------------------------------------------------------------------


@op(x=lambda g, y: g * y, y=lambda g, x: g * x, elementwise=True, linear_in=("x", "y"))
def times(x, y):
    """x * y."""
    return x * y


def test_right_op_passes_every_check():
    report = assert_op_correct(times, reference=np.multiply, device=np.array)
    assert report.passed == CHECKS
    assert not report.skipped
    assert 0 < report.worst < 1e-9
    assert "times: 11 checks passed" in str(report)


def test_what_is_not_checked_says_why():
    report = assert_op_correct(lambda x: ops.sum(x * x), [(3,)], skip=["layouts"], name="energy")
    assert report.name == "energy"
    assert report.skipped == {
        "forward": "no reference= was given",
        "layouts": "left out by skip=",
        "shared argument": "no two arguments have one shape",
        "broadcasting": "not declared (broadcasts=True, or @op(elementwise=True))",
        "zero size": "not declared (zero_size=True, or the arguments to try)",
        "linearity": "not declared (linear_in=)",
        "device": "no device= was given",
    }
    assert "layouts              not checked: left out by skip=" in str(report)


@pytest.mark.parametrize(
    ("fn", "inputs", "options"),
    [
        (ops.matmul, some.matmul_operands(), {"reference": np.matmul, "linear_in": ["x", "y"]}),
        (ops.einsum, some.einsum_operands(2), {"reference": np.einsum}),
        (F.conv2d, some.convolutions(2), {"max_examples": 5}),
        (F.max_pool2d, some.max_poolings(2), {"max_examples": 5}),
        (lambda x, i: x[i], some.with_index(some.arrays()), {"linear_in": [0]}),
        (ops.sum, some.with_axes(some.arrays(), none=False), {"linear_in": [0]}),
        (ops.maximum, some.same_twice(some.arrays((2,), elements=some.at_kinks([0, 1]))), {}),
        (ops.relu, some.arrays(elements=some.floats(at=[0.0])), {}),
        (ops.neg, (np.ones((1, 2, 2)),), {}),
        (lambda x: ops.softmax(x, 1), [(3, 4)], {"zero_size": [(0, 4)]}),
        (lambda x: ops.split(x, 2), [(4, 3)], {"linear_in": [0]}),
        (lambda x: ops.max(x, 0), (np.array([[1.0, 2], [3, 0]]),), {}),
    ],
    ids=[
        "matmul",
        "einsum",
        "conv2d",
        "max_pool2d",
        "index",
        "sum",
        "maximum",
        "relu",
        "axis of one",
        "softmax",
        "split",
        "max",
    ],
)
def test_ops_of_minidl_pass(fn, inputs, options):
    report = assert_op_correct(fn, inputs, **options)
    assert {"repeatability", "derivatives", "float32", "layouts"} <= {*report.passed}


def test_strategies_are_tried_often():
    seen = []

    def square(x):
        seen.append(x.shape)
        return x * x

    report = assert_op_correct(square, some.arrays(), max_examples=12)
    assert report.cases == 12
    assert len(set(seen)) > 3
    assert "checks passed in 12 cases" in str(report)


# ---- NumPy functions with a gradient written by hand --------------------------------------------


def softplus(x):
    return np.logaddexp(x, 0)


def softplus_gradient(g, x):
    return g / (1 + np.exp(-x))


def scaled(x, w):
    return x * w


def scaled_gradient(g, x, w):
    return g * w, (g * x).sum(0)


def test_numpy_functions():
    report = assert_op_correct(
        softplus, [(3, 4)], gradient=softplus_gradient, reference=lambda x: np.log(1 + np.exp(x))
    )
    assert {"forward", "derivatives", "float32", "layouts", "repeatability"} <= {*report.passed}
    assert "by hand" in report.skipped["shared argument"]
    assert report.derivatives.order == 1
    inputs = st.tuples(some.arrays((3, 2)), some.arrays((2,)))
    assert assert_op_correct(scaled, inputs, gradient=scaled_gradient, max_examples=5)


def test_numpy_function_with_a_wrong_gradient():
    error = failing(scaled, [(3, 4), (4,)], gradient=lambda g, x, w: (g * w, g * x))
    assert error.check == "derivatives"
    assert "shape (3, 4), the argument (4,)" in str(error)
    assert "broadcasting is not undone" in error.cause


def test_numpy_function_that_does_not_undo_broadcasting():
    error = failing(scaled, [(3, 4), (3, 4)], gradient=lambda g, x, w: (g * w, g * x),
                    broadcasts=True)  # fmt: skip
    assert list(error.failures) == ["broadcasting"]
    assert "the gradient of 'x' has shape (3, 4), the argument ()" in str(error)


# ---- every check finds what it is for -----------------------------------------------------------


def test_wrong_derivative():
    @op(x=lambda g, x: g * x)
    def halved(x):
        return x * x

    error = failing(halved, [(2, 3)])
    assert list(error.failures) == ["derivatives"]
    assert error.check == "derivatives"
    assert error.argument == "x"
    assert error.ratio == pytest.approx(0.5)
    text = str(error)
    assert text.startswith("halved fails 1 of 5 checks: derivatives\nderivatives: the derivative")
    assert "analytic" in text
    assert "passed: repeatability, arguments unchanged, float32, layouts" in text


def test_wrong_second_derivative():
    def constant_inside(g, x):
        return g * 3.0 * x * (x.detach() if isinstance(x, minidl.Tensor) else x)

    @op(x=constant_inside)
    def cube(x):
        return x * x * x

    error = failing(cube, [(2,)])
    assert error.check == "derivatives"
    assert error.order == 2
    assert assert_op_correct(cube, [(2,)], order=1)


def test_random_numbers():
    rng = np.random.default_rng(0)
    error = failing(lambda x: x * float(rng.uniform()), [(3,)], name="noisy")
    assert list(error.failures) == ["repeatability"]  # the others would only say so again
    assert "differs between two runs" in str(error)


def test_changed_argument():
    def doubled(x):
        x *= 2
        return x

    error = failing(doubled, [(3,)], gradient=lambda g, x: 2 * g)
    assert "arguments unchanged" in error.failures
    assert "'x'" in str(error.failures["arguments unchanged"])


def test_changed_gradient():
    def gradient(g, x):
        g *= 2 * x
        return g

    error = failing(lambda x: x * x, [(3,)], gradient=gradient, name="square")
    assert error.check == "arguments unchanged"
    assert "changes the gradient g that comes in" in str(error)


def test_wrong_values():
    error = failing(ops.exp, reference=np.expm1)
    assert error.check == "forward"
    assert "compared with the reference" in str(error)
    assert error.index == (0, 0)
    assert "6 of 6 elements differ" in str(error)
    error = failing(lambda x: ops.max(x, 0), [(2, 3)], reference=lambda x: x.max(0), name="max")
    assert "there are 2 outputs, of the reference 1" in str(error)


@op(x=lambda g: g * np.sqrt(2.0))
def promoted(x):
    return x * np.sqrt(np.float64(2))


def half(x):
    return (x * 1.0).astype("float16").astype(x.dtype) if x.dtype == "float32" else x * 1.0


def variance(x):
    """By the formula that cancels."""
    return (x * x).mean() - x.mean() ** 2


def variance_gradient(g, x):
    return g * 2 * (x - x.mean()) / x.size


def test_float32():
    error = failing(promoted, [(3,)])
    assert list(error.failures) == ["float32"]
    assert "float32 arguments give the output in float64" in str(error)
    assert "NumPy scalar" in error.cause

    error = failing(half, [(3,)], gradient=lambda g, x: g)
    assert list(error.failures) == ["float32"]
    assert "smaller dtype" in error.cause
    assert error.summary.startswith("the output in float32 is ")

    error = failing(lambda x: x * 2, [(3,)], gradient=lambda g, x: g.astype("float64") * 2)
    assert "the gradient of 'x', which is float32, is float64" in str(error)


def test_float32_is_judged_by_conditioning():
    numbers = (1000 + np.linspace(-1, 1, 20),)
    error = failing(variance, numbers, gradient=variance_gradient, skip=["derivatives"])
    assert list(error.failures) == ["float32"]
    assert "cancellation" in error.cause
    two_steps = lambda x: ((x - x.mean()) ** 2).mean()  # noqa: E731
    assert assert_op_correct(two_steps, numbers, gradient=variance_gradient, skip=["derivatives"])
    assert assert_op_correct(ops.exp, (np.linspace(10, 20, 6),))  # an error of eps grows 20-fold


@op(x=lambda g: 2.0 * g)
def as_it_lies(x):
    return np.ravel(x, order="K").reshape(x.shape) * 2


def test_layouts():
    error = failing(as_it_lies, [(2, 3)])
    assert "layouts" in error.failures
    assert "with transposed arguments" in error.failures["layouts"].summary
    assert "strides are not respected" in error.failures["layouts"].cause


def test_read_only_arguments():
    def careful(x):  # changes its argument and mends it
        x += 1
        y = x * 2
        x -= 1
        return y - 2

    error = failing(careful, (np.array([1.0, 2.0]),), gradient=lambda g, x: 2 * g)
    assert "with readonly arguments it raises ValueError" in error.failures["layouts"].summary


def test_lost_layout_of_an_elementwise_op():
    @op(x=lambda g: g, elementwise=True)
    def copied(x):
        return np.array(x, order="C")

    error = failing(copied, [(2, 3, 4)], order=1)
    assert "the output of transposed arguments is not transposed itself" in str(error)


def test_shared_argument():
    def product(x, y):
        return x * y if x is not y else x * y.detach()

    error = failing(product, [(3,), (3,)])
    assert list(error.failures) == ["shared argument"]
    assert "the gradient of a tensor given twice" in str(error)


def test_broadcasting():
    def added(x, y):
        return x + y if x.ndim == y.ndim else x - y

    error = failing(added, [(2, 3), (2, 3)], broadcasts=True)
    assert list(error.failures) == ["broadcasting"]
    assert "with 'x' of shape () beside (2, 3)" in str(error)

    def mean_of_gradient(g, x, w):
        lead = g.ndim - w.ndim
        return g * w if x.shape == g.shape else g.sum() * w, (g * x).mean(tuple(range(lead)))

    error = failing(scaled, [(3, 4), (4,)], gradient=mean_of_gradient)
    assert "derivatives" in error.failures


def test_zero_size():
    def mean(x):
        return ops.sum(x) / x.data.shape[0] if len(x) else 1 / len(x)

    error = failing(mean, [(3,)], zero_size=[(0,)], name="mean")
    assert list(error.failures) == ["zero size"]
    assert "it raises ZeroDivisionError" in str(error)


def test_linearity():
    error = failing(lambda x: 2 * x + 1, [(3,)], linear_in=[0], name="affine")
    assert list(error.failures) == ["linearity"]


@pytest.fixture
def standin(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tests")
    import standin

    _device_packages.add("standin")
    _module_of.cache_clear()
    yield standin
    _device_packages.remove("standin")
    _module_of.cache_clear()


def test_device(standin):
    assert "device" in assert_op_correct(times, device=standin.asarray).passed

    @op(x=lambda g, x: g * 2 * x)
    def on_the_host(x):
        return np.square(x)

    error = failing(on_the_host, [(3,)], device=standin.asarray)
    assert list(error.failures) == ["device"]
    assert "on the device it raises DtypeError: on_the_host: operand 'ndarray'" in str(error)

    @op(x=lambda g: 2.0 * g)
    def brought_back(x):
        return standin.asnumpy(x) * 2 if not isinstance(x, np.ndarray) else x * 2

    error = failing(brought_back, [(3,)], device=standin.asarray)
    assert "on the device it" in error.failures["device"].summary


def test_device_by_name():
    assert "device" in assert_op_correct(times, device="cpu").passed
    report = assert_op_correct(softplus, [(3,)], gradient=softplus_gradient, device="cpu")
    assert report.skipped["device"] == "only functions of minidl's tensors are moved to a device"


# ---- what a failure says ------------------------------------------------------------------------


def wrong_scaled_gradient(g, x, w):
    return g * w, 2 * g * x


def test_reproduction_runs():
    error = failing(scaled, [(2,), (2,)], gradient=wrong_scaled_gradient)
    lines = error.reproduction.splitlines()
    assert len(lines) <= 5
    assert "minidl.testing." in lines[-1]


def test_reproduction_of_a_trait_runs_the_suite():
    error = failing(as_it_lies, [(2, 3)], skip=["derivatives"])
    assert "minidl.testing.assert_op_correct(as_it_lies, inputs)" in error.reproduction
    names = {}
    with pytest.raises(GradientError, match="as_it_lies fails"):
        exec(error.reproduction, names)


def test_hypothesis_shrinks_what_fails():
    @op(x=lambda g, x: g * ops.where(x > 2.0, 0.0, 1.0))
    def mostly(x):
        return x * 1.0

    with pytest.raises(OpError) as caught:
        assert_op_correct(mostly, some.arrays(), max_examples=300)
    assert caught.value.check == "derivatives"
    assert "inputs=array(" in "".join(caught.value.__notes__)
    assert "Explanation" not in "".join(caught.value.__notes__)
    (line,) = [x for x in "".join(caught.value.__notes__).splitlines() if "inputs=" in x]
    assert len(line) < 60


def test_several_failures_are_all_named():
    @op(x=lambda g, x: g * x)
    def both(x):
        return np.square(np.float64(1) * x)

    error = failing(both, [(3,)])
    assert list(error.failures) == ["derivatives", "float32"]
    assert "\nfloat32: float32 arguments give" in str(error)
