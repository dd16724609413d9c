"""Every op of the registry: against PyTorch, against differences, in every layout and dtype."""

import importlib.util
from typing import Any

import numpy as np
import pytest
from cases import all_cases, arrays_of, with_arrays
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import Ours, evaluate, outputs_of, recorded, theirs

import minidl
from minidl import ops

LIVE = importlib.util.find_spec("torch") is not None
CASES = [
    pytest.param(name, i, case, id=f"{name}-{i}")
    for name, cases in all_cases().items()
    for i, case in enumerate(cases)
]
STEP = 2.0**-10


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
    keys = {k for k in known if not k.startswith("in")}
    for key in sorted(keys | ours.keys()):
        got, want = ours.get(key), known.get(key)
        if got is None or want is None:  # one engine knows that it is zero, the other computes it
            assert np.all((got if want is None else want) == 0), key
            continue
        assert got.shape == want.shape, key
        assert got.dtype == want.dtype, key
        tolerance = 1e-9 if key.startswith("out") else 1e-7
        scale = np.max(np.abs(want[np.isfinite(want)]), initial=1e-300)
        np.testing.assert_allclose(
            got, want, rtol=tolerance, atol=tolerance * scale, err_msg=f"{name}: {key}"
        )


def laid_out(array: np.ndarray, kind: str) -> np.ndarray:
    """The same values in another layout; read-only, so that an op that writes into it fails."""
    if kind == "strided" and array.ndim:
        room = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
        room[..., ::2] = array
        array = room[..., ::2]
    elif kind == "reversed" and array.ndim:
        array = array[::-1].copy()[::-1]
    else:
        array = np.array(array, order="F" if kind == "F" else "C")
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(("name", "i", "case"), CASES)
@settings(max_examples=4)
@given(seed=st.integers(0, 2**16), layout=st.sampled_from(["C", "F", "strided", "reversed"]))
def test_derivatives_agree_with_differences(
    name: str, i: int, case: Any, seed: int, layout: str
) -> None:
    """First and second order along random directions, for random cotangents, in float64."""
    args, options = case.realised(seed)
    arrays = [laid_out(a, layout) for a in arrays_of(args, options)]
    constants = case.constants()
    smooth = [k for k, a in enumerate(arrays) if a.dtype.kind == "f" and not constants[k]]
    if not smooth or case.order < 1:
        return
    rng = np.random.default_rng(seed)

    def outputs(points: list[Any]) -> list[Any]:
        full: list[Any] = [minidl.from_numpy(a) for a in arrays]
        for k, p in zip(smooth, points, strict=True):
            full[k] = p
        new_args, new_options = with_arrays(args, options, full)
        return [
            y for y in outputs_of(function(name)(*new_args, **new_options)) if y.dtype.kind == "f"
        ]

    points = [arrays[k] for k in smooth]
    plain = outputs([minidl.from_numpy(p) for p in points])
    if not plain:
        return
    weights = [rng.uniform(0.5, 1, y.shape) * rng.choice([-1.0, 1.0], y.shape) for y in plain]

    def phi(both: list[Any]) -> Any:
        ys, ws = outputs(both[: len(points)]), both[len(points) :]
        total: Any = 0.0
        for y, w in zip(ys, ws, strict=True):
            total = ops.sum(y * w) + total
        return total

    at = [*points, *weights]
    for order in range(1, case.order + 1):
        check(phi, at, rng, case.rtol, f"{name}: order {order}")
        if order < case.order:
            phi = gradient_along(phi, [rng.uniform(0.5, 1, p.shape) for p in at])


def gradient_along(phi: Any, directions: list[np.ndarray]) -> Any:
    """x -> <direction, gradient of phi at x>: its own derivative is a Hessian-vector product."""

    def derived(points: list[Any]) -> Any:
        tracked = [
            p if p.requires_grad else minidl.tensor(p.data, requires_grad=True) for p in points
        ]
        value = phi(tracked)
        if not value.requires_grad:
            return value * 0.0
        found = minidl.grad(value, tracked, create_graph=True, allow_unused=True)
        total: Any = minidl.tensor(np.zeros(()))
        for g, d in zip(found, directions, strict=True):
            if g is not None:
                total = ops.sum(g * d) + total
        return total

    return derived


def check(phi: Any, at: list[np.ndarray], rng: Any, rtol: float, message: str) -> None:
    tensors = [minidl.tensor(p, requires_grad=True) for p in at]
    value = phi(tensors)
    if value.requires_grad:
        found = minidl.grad(value, tensors, allow_unused=True)
        analytic = [0.0 if g is None else g.data for g in found]
    else:
        analytic = [0.0] * len(at)
    directions = [rng.uniform(0.5, 1, p.shape) * rng.choice([-1.0, 1.0], p.shape) for p in at]
    products = [a * d for a, d in zip(analytic, directions, strict=True)]
    got = sum(float(np.sum(p)) for p in products)
    scale = sum(float(np.sum(abs(p))) for p in products)

    def central(h: float) -> float:
        moved = [[p + s * d for p, d in zip(at, directions, strict=True)] for s in (h, -h)]
        forth, back = [float(phi([minidl.tensor(p) for p in points]).data) for points in moved]
        return (forth - back) / (2 * h)

    want = (4 * central(STEP / 2) - central(STEP)) / 3  # extrapolated: error of order STEP**4
    magnitude = abs(float(value.data))
    # rounding in phi is magnified by 1 / STEP; truncation is relative to the derivative's size
    allowed = rtol * max(scale, abs(want)) + 1e-11 * (magnitude + scale) / STEP
    assert abs(got - want) <= allowed, f"{message}: the tape says {got!r}, differences {want!r}"


@pytest.mark.parametrize(("name", "i", "case"), CASES)
def test_dtype_is_kept_and_arguments_are_not_changed(name: str, i: int, case: Any) -> None:
    """float32 in, float32 out and float32 gradients; read-only arguments are no trouble."""
    args, options = case.realised(3)
    arrays = [
        laid_out(a.astype("float32") if a.dtype.kind == "f" else a, "C")
        for a in arrays_of(args, options)
    ]
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


@pytest.mark.parametrize(("name", "i", "case"), CASES)
def test_both_readings_of_a_derivative_agree(name: str, i: int, case: Any) -> None:
    """With arrays and with tensors: the ordinary gradient and the one that carries a graph."""
    args, options = case.realised(5)
    leaves = [
        minidl.tensor(a, requires_grad=a.dtype.kind == "f" and not c)
        for a, c in zip(arrays_of(args, options), case.constants(), strict=True)
    ]
    call_args, call_options = with_arrays(args, options, leaves)
    ys = [y for y in outputs_of(function(name)(*call_args, **call_options)) if y.requires_grad]
    inputs = [x for x in leaves if x.requires_grad]
    if not ys or not inputs or case.order < 1:
        return
    weights = [np.random.default_rng(k).uniform(0.5, 1, y.shape) for k, y in enumerate(ys)]
    options = {"allow_unused": True, "retain_graph": True}
    graphed = minidl.grad(ys, inputs, weights, create_graph=True, **options)
    for plain, other in zip(minidl.grad(ys, inputs, weights, **options), graphed, strict=True):
        if plain is None or other is None:
            assert plain is other
            continue
        np.testing.assert_allclose(plain.data, other.data, rtol=1e-11, atol=1e-11)
