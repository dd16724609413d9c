"""Every op of the registry: derivatives, layouts, float32, the same bits, nothing changed."""

from typing import Any

import proof
import pytest

from minidl import ops

CASES = [
    pytest.param(name, case, id=f"{name}-{i}")
    for name, cases in proof.cases().items()
    for i, case in enumerate(cases)
]


def test_every_op_has_a_case() -> None:
    ours = {name for name in ops.registry if "." not in name}
    assert ours - proof.cases().keys() == set()


@pytest.mark.parametrize(("name", "case"), CASES)
def test_both_readings_of_a_derivative_agree(name: str, case: Any) -> None:
    proof.both_readings(name, case)


@pytest.mark.parametrize(("name", "case"), CASES)
def test_each_output_alone(name: str, case: Any) -> None:
    proof.each_output_alone(name, case)


@pytest.mark.parametrize(("name", "case"), CASES)
def test_layout_does_not_matter_and_arguments_are_not_changed(name: str, case: Any) -> None:
    proof.layouts(name, case)


@pytest.mark.parametrize(("name", "case"), CASES)
def test_float32_is_as_exact_as_the_condition_allows(name: str, case: Any) -> None:
    proof.single(name, case)


@pytest.mark.parametrize(("name", "case"), CASES)
def test_the_same_bits_twice(name: str, case: Any) -> None:
    proof.repeated(name, case)


@pytest.mark.parametrize(("name", "case"), CASES)
def test_derivatives_agree_with_differences(name: str, case: Any) -> None:
    """First and second order, the third for some; what has no derivative is flat."""
    proof.derivatives(name, case)
