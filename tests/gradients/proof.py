"""What is proved of one case of an op: pieces that the tests run, and the mutants must not survive.

Each piece raises AssertionError (or the op's own error) where the op is wrong.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import standin
from cases import Case, all_cases, arrays_of, with_arrays
from cases_of_nothing import EMPTY
from kinks import KINKS
from kinks import ours as at_kink
from oracle import (
    RECORD_OF_NOTHING,
    SEED,
    Ours,
    assert_equal,
    cotangent,
    evaluate,
    outputs_of,
    recorded,
)

import minidl
from minidl import ops
from minidl.device import _device_packages, _module_of
from minidl.tape import tie
from minidl.testing import gradcheck

LAYOUTS = ("C", "F", "strided", "reversed", "offset", "channels_last")
# Derivatives of a third order are checked for some of each kind: each is built by the tape from the
# same table, so that what differs between ops is proved at the second.
THIRD = ("exp", "mul", "pow", "matmul", "tanh", "conv2d", "softmax", "div", "sigmoid", "sum",
         "einsum", "getitem", "gru_cell", "logsumexp", "layer_norm", "cumprod")  # fmt: skip


@functools.cache
def cases() -> dict[str, list[Case]]:
    """Every case of every op."""
    return all_cases()


def function(name: str) -> Any:
    """The op of a name."""
    return getattr(ops, name, ops.registry.get(name))


def laid_out(array: np.ndarray, kind: str) -> np.ndarray:
    """The same values in another layout; read-only, so that an op that writes into it fails."""
    if kind == "strided" and array.ndim:
        room = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
        room[..., ::2] = array
        array = room[..., ::2]
    elif kind == "reversed" and array.ndim:
        array = array[::-1].copy()[::-1]
    elif kind == "offset":
        room = np.zeros(array.size + 1, array.dtype)
        room[1:] = array.reshape(-1)
        array = room[1:].reshape(array.shape)
    elif kind == "channels_last" and array.ndim > 2:
        array = np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)
    else:
        array = np.array(array, order="F" if kind == "F" else "C")
    array.flags.writeable = False
    return array


class Subject:
    """A case with its arrays drawn: a function of those that have a gradient.

    arrays : all, in the order of `cases.arrays_of`; smooth : places of those with a gradient
    """

    def __init__(self, name: str, case: Case, seed: int, dtype: str = "float64") -> None:
        self.name, self.case = name, case
        self.args, self.options = case.realised(seed)
        self.arrays = [
            a.astype(dtype) if a.dtype.kind == "f" else a
            for a in arrays_of(self.args, self.options)
        ]
        held = case.constants()
        self.smooth = [k for k, a in enumerate(self.arrays) if a.dtype.kind == "f" and not held[k]]

    @property
    def points(self) -> list[np.ndarray]:
        """The arrays that have a gradient."""
        return [self.arrays[k] for k in self.smooth]

    def outputs(self, *points: Any, arrays: list[Any] | None = None) -> tuple[Any, ...]:
        """All outputs, with tensors in place of the arrays that have a gradient."""
        full = [minidl.from_numpy(np.array(a)) for a in (self.arrays if arrays is None else arrays)]
        for k, p in zip(self.smooth, points, strict=True):
            full[k] = p
        args, options = with_arrays(self.args, self.options, full)
        return tuple(outputs_of(function(self.name)(*args, **options)))

    def floats(self, *points: Any) -> tuple[Any, ...]:
        """The outputs that are floats: what a derivative is of."""
        return tuple(y for y in self.outputs(*points) if y.dtype.kind == "f")

    def has_gradient(self) -> bool:
        """Whether any output depends on a point by way of the tape."""
        leaves = [minidl.tensor(p, requires_grad=True) for p in self.points]
        return bool(leaves) and any(y.requires_grad for y in self.floats(*leaves))


def gradients(subject: Subject, points: list[Any], arrays: list[Any] | None = None) -> list[Any]:
    """Outputs, then gradients along fixed cotangents, as arrays; None where there is none."""
    leaves = [minidl.from_numpy(p).requires_grad_() for p in points]
    ys = subject.outputs(*leaves, arrays=arrays)
    found: list[Any] = [y.data for y in ys]
    smooth = [y for y in ys if y.requires_grad]
    if smooth and leaves:
        weights = [cotangent(y.shape, i).astype(y.dtype) for i, y in enumerate(smooth)]
        grads = minidl.grad(smooth, leaves, weights, allow_unused=True)
        found += [None if g is None else g.data for g in grads]
    return found


# ---- the pieces ---------------------------------------------------------------------------------


def definition(name: str, case: Case, seed: int = 1) -> None:
    """Outputs are those of a definition written apart from the op, but for rounding."""
    from definitions import DEFINITIONS

    args, options = case.realised(seed)
    tensors = [minidl.tensor(a) for a in arrays_of(args, options)]
    new_args, new_options = with_arrays(args, options, tensors)
    found = outputs_of(function(name)(*new_args, **new_options))
    expected = outputs_of(DEFINITIONS[name](*args, **options))
    assert len(found) == len(expected)
    for k, (got, want) in enumerate(zip(found, expected, strict=True)):
        want, got = np.asarray(want), np.array(got.data)
        assert got.shape == want.shape, f"{name}: output {k}"
        if got.dtype.kind != "f":
            np.testing.assert_array_equal(got, want, err_msg=f"{name}: output {k}")
            continue
        # Whole numbers may become float32; sums are of a dozen numbers, so 64 units are generous.
        close(got, want, 64 * float(np.finfo(got.dtype).eps), f"{name}: output {k}")


def close(got: np.ndarray, want: np.ndarray, units: float, message: str) -> None:
    """Equal to so many parts of the number itself and of the largest in the array."""
    scale = np.max(np.abs(want[np.isfinite(want)]), initial=0.0)
    np.testing.assert_allclose(got, want, units, units * scale, err_msg=message)


def derivatives(name: str, case: Case, seed: int = 2) -> Any:
    """First and second order against differences, the third for some; a report, or None.

    Where there is no gradient the outputs must be flat.
    """
    subject = Subject(name, case, seed)
    if not any(p.size for p in subject.points):
        return None
    if not subject.has_gradient():
        flat(subject)
        return None
    outputs = subject.floats(*[minidl.tensor(p) for p in subject.points])
    if (
        case.order < 1
        or not case.differences
        or not all(np.isfinite(y.data).all() for y in outputs)
    ):
        return None
    order = 3 if name in THIRD and case.order > 1 else 2
    return gradcheck(
        subject.floats, tuple(subject.points), order=order, seed=seed, name=name, atol=case.atol
    )


def flat(subject: Subject) -> None:
    """An op without a derivative is constant about a point that is on none of its jumps."""
    rng = np.random.default_rng(0)
    here = subject.floats(*[minidl.tensor(p) for p in subject.points])
    moved = subject.floats(*[minidl.tensor(nudged(p, rng)) for p in subject.points])
    for a, b in zip(here, moved, strict=True):
        np.testing.assert_array_equal(a.data, b.data, err_msg=f"{subject.name} is not flat")


def layouts(name: str, case: Case, seed: int = 3, kinds: tuple[str, ...] = LAYOUTS) -> None:
    """Outputs and gradients do not depend on the arguments' layout, and these are not changed.

    To 1e-12 of the scale: products of matrices add up in another order for another layout.
    """
    subject = Subject(name, case, seed)
    before = [a.copy() for a in subject.arrays]
    expected = gradients(subject, subject.points)
    for kind in kinds:
        arrays = [laid_out(a, kind) for a in subject.arrays]
        found = gradients(subject, [arrays[k] for k in subject.smooth], arrays)
        for k, (got, want) in enumerate(zip(found, expected, strict=True)):
            assert (got is None) == (want is None), f"{name}: {kind}: result {k}"
            if want is not None:
                close(got, want, 1e-12, f"{name}: {kind}: result {k}")
        for array, old in zip(arrays, before, strict=True):
            np.testing.assert_array_equal(array, old, err_msg=f"{name}: an argument was changed")


def repeated(name: str, case: Case, seed: int = 4) -> None:
    """The same call gives the same bits."""
    subject = Subject(name, case, seed)
    first, second = [gradients(subject, subject.points) for _ in range(2)]
    for a, b in zip(first, second, strict=True):
        assert (a is None and b is None) or a.tobytes() == b.tobytes(), name


def both_readings(name: str, case: Case, seed: int = 5) -> None:
    """A derivative on arrays (the ordinary pass) and on tensors (with a graph) is the same."""
    subject = Subject(name, case, seed)
    leaves = [minidl.tensor(p, requires_grad=True) for p in subject.points]
    ys = [y for y in subject.floats(*leaves) if y.requires_grad]
    if not ys or not leaves or case.order < 1:
        return
    weights = [cotangent(y.shape, i) for i, y in enumerate(ys)]
    how: dict[str, Any] = {"allow_unused": True, "retain_graph": True}
    graphed = minidl.grad(ys, leaves, weights, create_graph=True, **how)
    for plain, other in zip(minidl.grad(ys, leaves, weights, **how), graphed, strict=True):
        assert (plain is None) == (other is None), name
        if plain is not None and other is not None:
            close(plain.data, other.data, 1e-11, name)


def each_output_alone(name: str, case: Case, seed: int = 8) -> None:
    """Of several outputs each may be used alone: their gradients add up to the whole."""
    subject = Subject(name, case, seed)
    leaves = [minidl.tensor(p, requires_grad=True) for p in subject.points]
    ys = [y for y in subject.floats(*leaves) if y.requires_grad]
    if len(ys) < 2 or not leaves or case.order < 1:
        return
    weights = [np.asarray(cotangent(y.shape, i)) for i, y in enumerate(ys)]
    how: dict[str, Any] = {"allow_unused": True, "retain_graph": True}
    whole = minidl.grad(ys, leaves, weights, **how)
    parts = [minidl.grad(y, leaves, w, **how) for y, w in zip(ys, weights, strict=True)]
    for of_whole, of_parts in zip(whole, zip(*parts, strict=True), strict=True):
        found = [g.data for g in of_parts if g is not None]
        assert (of_whole is None) == (not found), name
        if of_whole is not None:
            close(np.asarray(sum(found)), of_whole.data, 1e-11, name)


# ---- float32 ------------------------------------------------------------------------------------

EPS = float(np.finfo("float32").eps)
TINY = float(np.finfo("float32").tiny)  # below it float32 has fewer digits, or none


def nudged(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Every element moved by about one rounding of float32, up or down."""
    signs = rng.choice([-1.0, 1.0], array.shape)
    return np.asarray(array * (1 + EPS * rng.uniform(0.5, 1, array.shape) * signs))


def single(name: str, case: Case, seed: int = 6) -> None:
    """In float32 outputs and gradients are those of float64, as far as the op's condition allows.

    The condition is measured: how much the results in float64 spread when the inputs move by
    rounding of float32. Allowed is 8 times that spread (8 draws see most of it), and, for the
    roundings within, EPS times the root of the number of terms, of the scale of the result.
    """
    subject = Subject(name, case, seed, "float32")
    if "dtype" in case.options or any(isinstance(a, np.dtype) for a in case.args):
        return
    found = gradients(subject, subject.points)
    wide = Subject(name, case, seed)
    wide.arrays = [a.astype("float64") if a.dtype.kind == "f" else a for a in subject.arrays]
    expected = gradients(wide, wide.points)
    rng = np.random.default_rng(seed)
    spreads = [np.zeros(np.shape(e)) if e is not None else None for e in expected]
    centre = list(wide.arrays)
    for _ in range(8):
        wide.arrays = [nudged(a, rng) if a.dtype.kind == "f" else a for a in centre]
        for k, moved in enumerate(gradients(wide, wide.points)):
            if moved is not None and moved.dtype.kind == "f":
                with np.errstate(invalid="ignore"):
                    change = np.abs(moved - expected[k])
                spreads[k] = np.fmax(spreads[k], change)
    terms = max([a.size for a in subject.arrays], default=1)
    for k, (got, want, spread) in enumerate(zip(found, expected, spreads, strict=True)):
        assert (got is None) == (want is None), f"{name}: result {k}"
        if want is None or want.dtype.kind != "f":
            if want is not None:
                np.testing.assert_array_equal(got, want, err_msg=f"{name}: result {k}")
            continue
        assert got.dtype == "float32", f"{name}: result {k} is {got.dtype}"
        scale = np.max(np.abs(want[np.isfinite(want)]), initial=0.0)
        allowed = 8 * spread + 4 * EPS * max(terms, 1) ** 0.5 * scale + TINY
        with np.errstate(invalid="ignore"):
            wrong = ~((np.abs(got - want) <= allowed) | (got == want) | (np.isnan(want)))
        assert not wrong.any(), (
            f"{name}: result {k}: float32 {got[wrong][0]!r}, float64 {want[wrong][0]!r}, "
            f"allowed {allowed[wrong][0]!r}"
        )


# ---- what tests/ops proves, for the mutants -----------------------------------------------------


@functools.cache
def _said_by_pytorch() -> Any:
    return recorded()


def pytorch(name: str, case: Case) -> None:
    """Outputs, first and second derivatives are those recorded of PyTorch."""
    known = _said_by_pytorch().get((name, cases()[name].index(case)))
    if known is not None:
        args, options = case.realised(SEED)
        assert_equal(name, evaluate(function(name), Ours.leaf, Ours, case, args, options), known)


def kinks(name: str, case: Case) -> None:
    """The gradients at the op's kinks are the declared ones (for the first of its cases)."""
    if case is not cases()[name][0]:
        return
    for of, kink in KINKS.values():
        if of == name:
            found = at_kink(name, kink)
            for argument, want in kink.gradient.items():
                got = 0.0 if found[argument] is None else found[argument]
                wanted = np.broadcast_to(np.array(want, "float64"), np.shape(got))
                np.testing.assert_allclose(got, wanted, 1e-8, 1e-11, err_msg=f"{name}: a kink")


class OnDevice(Ours):
    """minidl on the stand-in for a device, as `evaluate` wants an engine."""

    @staticmethod
    def numpy(x: Any) -> np.ndarray:
        """What comes back from the device; nothing may have left it by itself."""
        assert type(x.data) is standin.ndarray
        return standin.asnumpy(x.data)

    @staticmethod
    def leaf(array: np.ndarray, requires_grad: bool) -> Any:
        """A tensor on the device."""
        return tie(standin.array(array), None).requires_grad_(requires_grad)


def on_a_device(name: str, case: Case) -> None:
    """On the stand-in for CuPy values and derivatives are NumPy's: kernels differ by device."""
    if name == "to_place":
        return
    args, options = case.realised(11)
    here = evaluate(function(name), Ours.leaf, Ours, case, args, options)
    _device_packages.add("standin")
    _module_of.cache_clear()
    try:
        there = evaluate(function(name), OnDevice.leaf, OnDevice, case, args, options)
    finally:
        _device_packages.remove("standin")
        _module_of.cache_clear()
    assert here.keys() == there.keys()
    for key, want in here.items():
        np.testing.assert_allclose(there[key], want, 1e-11, 1e-12, err_msg=f"{name}: {key}")


@functools.cache
def _said_of_nothing() -> Any:
    return recorded(RECORD_OF_NOTHING)


def of_nothing(name: str, case: Case) -> None:
    """With arrays of no elements the op gives what was recorded (for the first of its cases)."""
    if case is not cases()[name][0]:
        return
    for i, empty in enumerate(EMPTY[name]):
        args, options = empty.realised(SEED)
        ours = evaluate(function(name), Ours.leaf, Ours, empty, args, options)
        if (known := _said_of_nothing().get((name, i))) is not None:
            assert_equal(name, ours, known)


PIECES: tuple[Callable[[str, Case], Any], ...] = (
    derivatives, definition, both_readings, each_output_alone, kinks, of_nothing, pytorch,
    on_a_device, layouts, single,
)  # fmt: skip
