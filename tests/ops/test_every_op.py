"""Every op of the registry against PyTorch, and in float32; tests/gradients proves the rest."""

import importlib.util
from typing import Any

import numpy as np
import pytest
from cases import all_cases, arrays_of, with_arrays
from oracle import Ours, assert_equal, evaluate, outputs_of, recorded, theirs

import minidl
from minidl import ops

LIVE = importlib.util.find_spec("torch") is not None
CASES = [
    pytest.param(name, i, case, id=f"{name}-{i}")
    for name, cases in all_cases().items()
    for i, case in enumerate(cases)
]


def function(name: str) -> Any:
    return getattr(ops, name, ops.registry.get(name))


def test_every_op_of_the_registry_has_a_case() -> None:
    ours = {name for name in ops.registry if "." not in name}
    assert ours - set(all_cases()) == set()


@pytest.fixture(scope="module")
def oracle() -> Any:
    known = None if LIVE else recorded()

    def look_up(name: str, i: int, case: Any) -> Any:
        return theirs(name, case) if known is None else known.get((name, i))

    return look_up


@pytest.mark.parametrize(("name", "i", "case"), CASES)
def test_equals_pytorch(name: str, i: int, case: Any, oracle: Any) -> None:
    """Forward to 1e-9, first and second derivatives to 1e-7, in float64."""
    args, options = case.realised(7)
    ours = evaluate(function(name), Ours.leaf, Ours, case, args, options)
    if case.torch is None:
        assert ours
        return
    known = oracle(name, i, case)
    assert known is not None, "not recorded: run python tests/ops/oracle.py"
    for k, a in enumerate(arrays_of(args, options)):
        if f"in{k}" in known:
            np.testing.assert_array_equal(a, known[f"in{k}"])
    assert_equal(name, ours, known)


@pytest.mark.parametrize(("name", "i", "case"), CASES)
def test_dtype_is_kept_and_arguments_are_not_changed(name: str, i: int, case: Any) -> None:
    """float32 in, float32 out and float32 gradients; read-only arguments are no trouble."""
    args, options = case.realised(3)
    arrays = [
        a.astype("float32" if a.dtype.kind == "f" else a.dtype) for a in arrays_of(args, options)
    ]
    for a in arrays:
        a.flags.writeable = False
    constants = case.constants()
    before = [a.copy() for a in arrays]
    leaves = []
    for a, constant in zip(arrays, constants, strict=True):
        x = minidl.from_numpy(a)
        leaves.append(x.requires_grad_() if a.dtype.kind == "f" and not constant else x)
    call_args, call_options = with_arrays(args, options, leaves)
    ys = outputs_of(function(name)(*call_args, **call_options))
    wide = [y for y in ys if y.dtype == "float64"]
    if "dtype" not in options and not any(isinstance(v, np.dtype) for v in args):
        assert not wide, f"{name}: float32 became float64"
    inputs = [x for x in leaves if x.requires_grad]
    smooth = [y for y in ys if y.requires_grad]
    if smooth and inputs:
        weights = [np.ones(y.shape, y.dtype) for y in smooth]
        for g in minidl.grad(smooth, inputs, weights, allow_unused=True):
            assert g is None or g.dtype == "float32"
    for a, b in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(a, b)
