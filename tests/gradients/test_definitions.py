"""Every op of the registry against a definition written apart from it, in float64."""

from typing import Any

import proof
import pytest
from definitions import DEFINITIONS, FILES

from minidl import ops

CASES = [
    pytest.param(name, case, id=f"{name}-{i}")
    for name, cases in proof.cases().items()
    for i, case in enumerate(cases)
]


def test_every_op_has_one_definition() -> None:
    ours = {name for name in ops.registry if "." not in name}
    assert ours - DEFINITIONS.keys() == set()
    assert sum(len(file.DEFINITIONS) for file in FILES) == len(DEFINITIONS)


@pytest.mark.parametrize(("name", "case"), CASES)
def test_agrees_with_its_definition(name: str, case: Any) -> None:
    for seed in (1, 2):
        proof.definition(name, case, seed)
