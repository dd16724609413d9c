"""Every op of the registry against a definition written apart from it, in float64."""

from typing import Any

import definitions_arrays
import definitions_layers
import definitions_losses
import definitions_numbers
import numpy as np
import pytest
from cases import all_cases, arrays_of, with_arrays
from oracle import outputs_of

import minidl
from minidl import ops

FILES = (definitions_numbers, definitions_arrays, definitions_layers, definitions_losses)
DEFINITIONS = {name: d for file in FILES for name, d in file.DEFINITIONS.items()}
CASES = [
    pytest.param(name, case, id=f"{name}-{i}")
    for name, cases in all_cases().items()
    for i, case in enumerate(cases)
]


def function(name: str) -> Any:
    return getattr(ops, name, ops.registry.get(name))


def test_every_op_has_one_definition() -> None:
    ours = {name for name in ops.registry if "." not in name}
    assert ours - DEFINITIONS.keys() == set()
    assert sum(len(file.DEFINITIONS) for file in FILES) == len(DEFINITIONS)


def agree(name: str, case: Any, seed: int) -> None:
    """The op's outputs are the definition's but for rounding: 64 units of the output's own dtype.

    Whole numbers may become float32, the default; sums are of a dozen numbers, so 64 is generous.
    """
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
        allowed = 64 * float(np.finfo(got.dtype).eps)
        finite = np.abs(want[np.isfinite(want)])
        np.testing.assert_allclose(
            got, want, allowed, allowed * np.max(finite, initial=0.0), err_msg=f"{name}: output {k}"
        )


@pytest.mark.parametrize(("name", "case"), CASES)
def test_agrees_with_its_definition(name: str, case: Any) -> None:
    for seed in (1, 2):
        agree(name, case, seed)
