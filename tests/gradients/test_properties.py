"""Shapes and configurations that Hypothesis draws: values of the definition, and derivatives.

What these operations are linear in is checked as an adjoint, <f(x), g> = <x, fᵀ(g)>, exact but for
rounding and without differences; `thorough` (HYPOTHESIS_PROFILE) draws a thousand of each.
"""

import math
from typing import Any

import numpy as np
from definitions import DEFINITIONS
from hypothesis import given
from hypothesis import strategies as st
from proof import close

import minidl
from minidl import ops
from minidl.testing import check_linear, gradcheck
from minidl.testing import strategies as some

AXES = st.shared(st.integers(1, 3), key="axes")


def tensors(args: Any) -> list[Any]:
    return [minidl.tensor(a) if isinstance(a, np.ndarray) else a for a in args]


def agrees(name: str, *args: Any, **options: Any) -> None:
    """The op's values are the definition's."""
    found = getattr(ops, name)(*tensors(args), **options)
    expected = DEFINITIONS[name](*args, **options)
    pairs = zip(found, expected, strict=True) if isinstance(found, tuple) else [(found, expected)]
    for got, want in pairs:
        assert got.shape == np.shape(want)
        close(got.data, np.asarray(want), 1e-13, name)


@given(axes=AXES, case=AXES.flatmap(some.convolutions))
def test_convolution(axes: int, case: Any) -> None:
    name = f"conv{axes}d"
    agrees(name, *case)
    x, weight, bias, *rest = case
    conv = getattr(ops, name)
    check_linear(lambda x, w: conv(x, w, None, *rest), (x, weight), 0, name=name)
    check_linear(lambda x, w: conv(x, w, None, *rest), (x, weight), 1, name=name)
    if bias is not None:
        gradcheck(lambda b: conv(minidl.tensor(x), minidl.tensor(weight), b, *rest), (bias,))


@given(axes=AXES, case=AXES.flatmap(some.transposed_convolutions))
def test_transposed_convolution(axes: int, case: Any) -> None:
    name = f"conv_transpose{axes}d"
    x, weight, _, stride, padding, extra, *rest = case
    if any(e - p >= s for e, p, s in zip(extra, padding, stride, strict=True)):
        return  # not offered: rows that no window of the convolution reaches
    agrees(name, *case)
    run = lambda x, w: getattr(ops, name)(x, w, None, stride, padding, extra, *rest)  # noqa: E731
    check_linear(run, (x, weight), 0, name=name)
    check_linear(run, (x, weight), 1, name=name)


@given(axes=AXES, case=AXES.flatmap(some.max_poolings))
def test_max_pooling(axes: int, case: Any) -> None:
    name = f"max_pool{axes}d"
    agrees(name, *case, True)
    x, *rest = case
    gradcheck(lambda x: getattr(ops, name)(x, *rest), (x,), order=2, name=name)


@given(axes=AXES, case=AXES.flatmap(some.average_poolings), divisor=st.none() | st.integers(1, 5))
def test_average_pooling(axes: int, case: Any, divisor: int | None) -> None:
    name = f"avg_pool{axes}d"
    rest = [*case[1:], *([] if axes == 1 else [divisor])]
    agrees(name, case.x, *rest)
    check_linear(lambda x: getattr(ops, name)(x, *rest), (case.x,), name=name)


@given(operands=some.matmul_operands())
def test_matmul(operands: Any) -> None:
    agrees("matmul", *operands)
    check_linear(ops.matmul, operands, 0)
    check_linear(ops.matmul, operands, 1)


@given(case=some.einsum_operands())
def test_einsum(case: Any) -> None:
    equation, *operands = case
    agrees("einsum", equation, *operands)
    for k in range(len(operands)):
        check_linear(lambda *xs: ops.einsum(equation, *xs), tuple(operands), k, name=equation)


@given(case=some.with_index(some.arrays(some.shapes(1, 3))))
def test_indexing(case: Any) -> None:
    """Reading, and writing into a copy: what is read elsewhere gets the gradient."""
    x, index = case
    agrees("getitem", x, index)
    check_linear(lambda x: ops.getitem(x, index), (x,), name="getitem")
    value = np.random.default_rng(0).standard_normal(x[index].shape)
    agrees("index_put", x, index, value)
    gradcheck(lambda x, v: ops.index_put(x, index, v), (x, value), name="index_put")


REDUCTIONS = ["sum", "mean", "var", "std", "amax", "amin", "logsumexp", "norm", "nansum"]


@given(
    name=st.sampled_from(REDUCTIONS),
    case=some.with_axes(some.arrays(some.shapes(1, 3, min_side=2), elements=some.distinct)),
    keepdim=st.booleans(),
)
def test_reductions(name: str, case: Any, keepdim: bool) -> None:
    x, dim = case
    if name == "logsumexp" and dim is None:
        dim = tuple(range(x.ndim))
    where = {"dim": dim, "keepdim": keepdim}
    agrees(name, x, **where)
    gradcheck(lambda x: getattr(ops, name)(x, **where), (x,), order=2, name=name)


BINARY = ["add", "sub", "mul", "div", "maximum", "minimum", "atan2", "logaddexp", "pow"]


@given(name=st.sampled_from(BINARY), pair=some.broadcastable(2))
def test_broadcasting(name: str, pair: Any) -> None:
    """Derivatives have the shape of their argument: what was repeated is added up."""
    x, y = pair
    x, y = [np.where(np.abs(a) < 0.125, 0.5, a) for a in (x, y)]  # away from 0, where / ends
    if name == "pow":
        x = 0.25 + np.abs(x) % 3
        y = y % 3
    if name in ("maximum", "minimum"):
        y = np.floor(y) + 0.4375  # away from ties
        x = np.floor(x)
    x, y = [np.asarray(np.clip(a, -20, 20)) for a in (x, y)]
    agrees(name, x, y)
    report = gradcheck(getattr(ops, name), (x, y), order=2, name=name)
    assert report.worst < math.inf


@given(case=some.sequences(), reverse=st.booleans(), kind=st.sampled_from(["rnn", "lstm", "gru"]))
def test_sequences_with_lengths(case: Any, reverse: bool, kind: str) -> None:
    """What lies beyond an end has no part in anything."""
    x, lengths = case.x.swapaxes(0, 1), case.lengths
    rng = np.random.default_rng(1)
    rows = 2 * {"rnn": 1, "lstm": 4, "gru": 3}[kind]
    first = [rng.standard_normal((x.shape[1], 2)) for _ in range(2 if kind == "lstm" else 1)]
    weights = [rng.standard_normal((rows, n)) / 2 for n in (x.shape[2], 2)]
    args = (np.clip(x, -3, 3), *first, *weights)
    agrees(kind, *args, None, None, lengths, reverse=reverse)
    run = lambda *a: getattr(ops, kind)(*a, None, None, lengths, reverse=reverse)  # noqa: E731
    gradcheck(run, args, name=kind)
