"""What an op declares to be linear, with its other arguments held, is linear: no differences."""

import numpy as np
import pytest
from cases import all_cases

from minidl.ops import registry
from minidl.tape.operation import Op
from minidl.testing import check_linear


def is_checked(op, argument, case):
    if not case.differences:
        return False  # by design its gradient is no derivative, so not the adjoint either
    x = case.realised(3)[0][op.positional.index(argument)]
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


CASES = [
    pytest.param(op, argument, case, id=f"{name}-{argument}-{i}")
    for name, cases in all_cases().items()
    for op in [registry[name]]
    if isinstance(op, Op) and not op.variadic
    for argument in op.facts.linear_in
    for i, case in enumerate(cases)
    if is_checked(op, argument, case)
]


@pytest.mark.parametrize(("op", "argument", "case"), CASES)
def test_declared_linearity(op, argument, case):
    args, options = case.realised(3)
    place = op.positional.index(argument)
    report = check_linear(lambda *a: op(*a, **options), tuple(args), place, name=op.name)
    assert report.worst < 1e-12


def test_most_linear_ops_are_here():
    assert len({case.id.split("-")[0] for case in CASES}) > 40
