"""docs/gradients.md has a row for every operation with a derivative, and for nothing else."""

import re

import page
import proof

from minidl.tape import registry


def test_every_operation_with_a_derivative_has_a_row() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| `(\w+)` \|", text, re.M))
    smooth = {
        name
        for name in registry
        if "." not in name
        and any(
            case.differences and case.order and proof.Subject(name, case, 2).has_gradient()
            for case in proof.cases()[name]
        )
    }
    assert rows == smooth, "run python tests/gradients/page.py"


def test_errors_are_rounded_up_to_a_power_of_ten() -> None:
    assert [page.power(e) for e in (0.0, 3e-15, 1e-9, 1.1e-9)] == [
        "1e-12",
        "1e-12",
        "1e-09",
        "1e-08",
    ]
