"""Every option of rnn, lstm and gru, as operations and as modules: values and derivatives."""

import itertools
from typing import Any

import numpy as np
import pytest
from cases import Case, P
from definitions_layers import gru, lstm, rnn
from functional import Functional
from nn_cases import Case as ModuleCase
from proof import Subject, close, definition

import minidl
from minidl.testing import check_jvp_vjp, gradcheck

KINDS = {"rnn": ("rnn", {}), "rnn relu": ("rnn", {"nonlinearity": "relu"}),
         "lstm": ("lstm", {}), "gru": ("gru", {})}  # fmt: skip
BLOCKS, STATES = {"rnn": 1, "lstm": 4, "gru": 3}, {"rnn": 1, "lstm": 2, "gru": 1}


def call(kind: str, bias: str, lengths: bool, reverse: bool) -> tuple[str, Case]:
    """T = 3, B = 2, I = 1, H = 2; small numbers, so that nothing saturates."""
    name, options = KINDS[kind]
    rows = 2 * BLOCKS[name]
    some = lambda *shape: P(*shape, low=-0.9, high=0.9)  # noqa: E731
    both = [some(rows) if which in bias else None for which in ("ih", "hh")]
    case = Case(
        some(3, 2, 1), *[some(2, 2)] * STATES[name], some(rows, 1), some(rows, 2), *both,
        [3, 2] if lengths else None, reverse=reverse, **options,
    )  # fmt: skip
    return name, case


CALLS = list(itertools.product(KINDS, ["ih hh", "ih", "hh", "none"], [False, True], [False, True]))


@pytest.mark.parametrize(("kind", "bias", "lengths", "reverse"), CALLS)
def test_an_operation_with_every_option(kind: str, bias: str, lengths: bool, reverse: bool) -> None:
    """The reference's values; second order by its definition, written with ops."""
    name, case = call(kind, bias, lengths, reverse)
    definition(name, case)
    subject = Subject(name, case, 3)
    order = 2 if bias == "ih hh" else 1  # a bias left out changes no other derivative
    gradcheck(subject.floats, tuple(subject.points), order=order, name=kind)


OPTIONS = list(
    itertools.product(KINDS, [1, 2], [False, True], [False, True], [False, True], [False, True])
)


def build(kind: str, layers: int, both_ways: bool, batch_first: bool, bias: bool) -> Any:
    name, options = KINDS[kind]
    return lambda nn: getattr(nn, name.upper())(
        2, 2, layers, bias=bias, batch_first=batch_first, bidirectional=both_ways, **options
    )


def defined(kind: str, module: Any, x: Any, states: Any, lengths: Any) -> Any:
    """Layer by layer, one direction and then the other, by the reference's loops."""
    name, options = KINDS[kind]
    step = {"rnn": rnn, "lstm": lstm, "gru": gru}[name]
    weights = {k: p.data for k, p in module.named_parameters()}
    x = x.swapaxes(0, 1) if module.batch_first else x
    ways = 2 if module.bidirectional else 1
    finals: list[Any] = []
    for layer in range(module.num_layers):
        outs = []
        for way in range(ways):
            place = layer * ways + way
            first = [s[place] if s is not None else np.zeros((x.shape[1], 2)) for s in states]
            end = f"_l{layer}{'_reverse' if way else ''}"
            own = [weights.get(f"{part}{end}")
                   for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]  # fmt: skip
            out, *last = step(x, *first, *own, lengths, reverse=bool(way), **options)
            outs.append(out)
            finals.append(last)
        x = np.concatenate(outs, -1)
    out = x.swapaxes(0, 1) if module.batch_first else x
    return (out, *[np.stack(f) for f in zip(*finals, strict=True)])


@pytest.mark.parametrize(("kind", "layers", "both_ways", "batch_first", "bias", "more"), OPTIONS)
def test_a_module_with_every_option(
    kind: str, layers: int, both_ways: bool, batch_first: bool, bias: bool, more: bool
) -> None:
    """`more`: with initial states and lengths. Values, and <u, J v> = <Jᵀu, v> by all at once."""
    count = layers * (2 if both_ways else 1)
    state = (count, 2, 2)
    states = (state, state) if kind == "lstm" else state
    inputs = ((2, 3, 2) if batch_first else (3, 2, 2), *([states] if more else []))
    case = ModuleCase(
        build(kind, layers, both_ways, batch_first, bias), *inputs, lengths=[2, 3] if more else None
    )
    module = Functional(case)
    assert len(module.places) == count * (4 if bias else 2)
    points = module.points()
    x, *given = module.inputs
    expected = defined(kind, module.module, x, given or [None] * (1 + (kind == "lstm")),
                       case.lengths)  # fmt: skip
    found = module(*[minidl.tensor(p) for p in points])
    for got, want in zip(found, expected, strict=True):
        close(got.data, want, 1e-13, kind)
    check_jvp_vjp(module, points, name=kind)
