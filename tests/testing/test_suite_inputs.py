"""How the suite is called: as a decorator, with inputs of every kind, for functions of PyTorch."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_engine

import minidl
from minidl.errors import DtypeError
from minidl.tape import op
from minidl.testing import GradientError, OpError, assert_op_correct, check_op
from minidl.testing import strategies as some
from minidl.testing.suite import CHECKS

ROOT = Path(__file__).parents[2]


def failing(fn, inputs=None, **options):
    with pytest.raises(OpError) as caught:
        assert_op_correct(fn, inputs, **options)
    return caught.value


# ---- the decorator ------------------------------------------------------------------------------


def test_decorator_returns_the_function():
    def right(x):
        return x * x

    assert check_op([(3,)])(right) is right
    with pytest.raises(GradientError, match="fails 1 of"):

        @check_op([(3,)])
        @op(x=lambda g, x: g * x)
        def wrong(x):
            return x * x


# ---- inputs -------------------------------------------------------------------------------------


def test_specifications_of_inputs():
    seen = []

    def keep(x, y, n, i):
        seen.append((x.shape, y.numpy().tolist() if not y.requires_grad else None, n, i.dtype))
        return x * n + y.sum()

    specifications = [(2, 3), lambda rng: np.ones(2), 3, np.arange(4)]
    assert assert_op_correct(keep, specifications, wrt=0, order=1, skip=["float32"])
    assert seen[0] == ((2, 3), [1, 1], 3, np.int64)


def test_strategy_without_the_check_of_derivatives():
    report = assert_op_correct(times, some.same_twice(), skip=["derivatives"], max_examples=3)
    assert report.derivatives is None
    assert report.worst == 0
    assert report.skipped["derivatives"] == "left out by skip="


def test_same_seed_same_inputs():
    drawn = []

    def keep(x):
        drawn.append(x.data.copy())
        return x * 1.0

    for seed in (1, 1, 2):
        assert_op_correct(keep, [(3,)], seed=seed, skip=CHECKS)
    first, again, other = drawn[::2]
    assert (first == again).all()
    assert (first != other).all()


@pytest.mark.parametrize(
    ("fn", "inputs", "options", "error", "text"),
    [
        (lambda x: x, None, {}, TypeError, "inputs are needed"),
        (lambda x: x, [(2,)], {"skip": ["speed"]}, ValueError, r"skip names \['speed'\]"),
        (lambda x: x, (np.arange(3),), {}, DtypeError, "none has a derivative"),
        (lambda x: x, (np.ones(3, "float32"),), {}, DtypeError, "differences need float64"),
        (3, [(2,)], {}, TypeError, "fn is a int"),
        (lambda x, y: x @ y, [(2, 3), (2, 3)], {}, minidl.ShapeError, "matmul"),
    ],
    ids=["none", "skip", "whole", "float32", "function", "shapes"],
)
def test_bad_input(fn, inputs, options, error, text):
    with pytest.raises(error, match=text):
        assert_op_correct(fn, inputs, **options)


# ---- tensors of other engines --------------------------------------------------------------------


def times(x, y):
    return x * y


def test_functions_of_an_engine_with_the_same_methods():
    report = assert_op_correct(
        times, [(2, 3), (2, 3)], convert=tiny_engine.Tensor, reference=np.multiply, broadcasts=True
    )
    assert {*report.passed} >= {
        "repeatability", "arguments unchanged", "forward", "derivatives", "float32", "layouts",
        "shared argument", "broadcasting",
    }  # fmt: skip
    assert report.derivatives.order == 1  # there is no autograd.grad for a second
    assert report.skipped["device"] == "no device= was given"
    images = some.arrays(some.shapes(3, 4, max_side=2))
    assert assert_op_correct(
        times, images.map(lambda x: (x, x)), convert=tiny_engine.Tensor, max_examples=5
    )


def test_wrong_functions_of_an_engine_with_the_same_methods():
    error = failing(tiny_engine.halved, [(2, 3)], convert=tiny_engine.Tensor)
    assert list(error.failures) == ["derivatives"]
    assert error.ratio == pytest.approx(0.5)
    error = failing(
        tiny_engine.first_alone, [(2, 3), (2, 3)], convert=tiny_engine.Tensor, broadcasts=True
    )
    assert list(error.failures) == ["broadcasting"]
    assert "the gradient of 'x' has shape (2, 3), the argument ()" in str(error)


def test_functions_of_pytorch():
    torch = pytest.importorskip("torch")
    report = assert_op_correct(
        torch.mul, [(2, 3), (2, 3)], convert=torch.tensor, reference=np.multiply, broadcasts=True
    )
    assert {*report.passed} >= {
        "forward", "derivatives", "float32", "layouts", "shared argument", "broadcasting",
    }  # fmt: skip
    assert assert_op_correct(
        torch.matmul, some.matmul_operands(), convert=lambda x: torch.tensor(x.copy()),
        max_examples=5,
    )  # fmt: skip


def test_wrong_function_of_pytorch():
    torch = pytest.importorskip("torch")

    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            return g * ctx.saved_tensors[0]

    error = failing(Wrong.apply, [(2, 3)], convert=torch.tensor, name="wrong")
    assert list(error.failures) == ["derivatives"]
    assert error.ratio == pytest.approx(0.5)


# ---- what is imported ---------------------------------------------------------------------------


def test_neither_hypothesis_nor_torch_is_imported():
    program = (
        "import sys, numpy as np, minidl, minidl.testing as t\n"
        "t.assert_op_correct(minidl.tanh)\n"
        "t.gradcheck(minidl.tanh, np.ones(2))\n"
        "print(sorted({'hypothesis', 'torch', 'pytest'} & {*sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True,
        env={"PYTHONPATH": ".:kernels", "PATH": ""},
    )  # fmt: skip
    assert done.stdout == "[]\n", done.stderr
