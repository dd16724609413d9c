"""Mutants are made as they should, known ones are caught, and the list of equivalent ones holds."""

from typing import Any

import mutate
import proof
import pytest
from equivalent import EQUIVALENT
from mutants import OPS, Mutant, Target, mutants, targets

ARITHMETIC = [path for path in OPS if path.stem in ("arithmetic", "linalg", "elementary")]


def of(name: str, all_of: Any = None) -> list[Mutant]:
    """All mutants of the function of a name."""
    (target,) = [t for t in (all_of or targets(ARITHMETIC)) if t.name == name]
    return mutants(target)


KNOWN = {
    "factor dropped": ("mul.x", "g * y", "g", "mul"),
    "factor inverted": ("mul.y", "g * x", "g / x", "mul"),
    "sign changed": ("neg.x", "-g", "g", "neg"),
    "term dropped": ("lerp.x", "1 - weight", "1", "lerp"),
    "arguments swapped": ("where.x", "where(condition, g, 0)", "where(condition, 0, g)", "where"),
    "transpose dropped": ("_matmul_dy", "swap(x)", "x", "matmul"),
    "function dropped": ("sin.x", "cos(x)", "x", "sin"),
    "axis or number changed": ("square.x", "2", "3", "square"),
    "condition inverted": ("maximum.x", "x < y", "x >= y", "maximum"),
}


@pytest.mark.parametrize("kind", KNOWN)
def test_a_known_mutant_is_made_and_caught(kind: str) -> None:
    name, before, after, op = KNOWN[kind]
    mutant = next(m for m in of(name) if (m.before, m.after) == (before, after))
    assert mutant.kind == kind
    pairs = [(op, case) for case in proof.cases()[op]]
    undo = mutate.planted(mutant)
    try:
        verdict = mutate.killer(pairs, (proof.derivatives,))
    finally:
        undo()
    assert verdict is not None
    assert verdict.startswith(f"derivatives of {op}: ")
    assert mutate.killer(pairs[:1], (proof.derivatives,)) is None  # it is gone


def test_every_table_and_gradient_kernel_is_a_target() -> None:
    from minidl.ops import registry

    names = {t.name for t in targets()}
    tables = {
        f"{name}.{argument}"
        for name, thing in registry.items()
        if "." not in name
        for argument, (derivative, _) in getattr(thing, "derivatives", {}).items()
        if derivative.__name__ == "<lambda>"
    }
    assert tables - names == set()
    kernels = {"conv_input", "conv_weight", "max_pool_input", "avg_pool_input", "index_add", "fold",
               "rnn_gradient", "lstm_gradient", "gru_gradient", "cross_entropy_input"}  # fmt: skip
    assert kernels - names == set()
    assert {"_standardize_gradient", "_lstm_definition", "_pow_x", "shared"} - names == set()


def test_which_cases_run_a_function(monkeypatch: pytest.MonkeyPatch) -> None:
    few = {name: proof.cases()[name] for name in ("mul", "sin")}
    monkeypatch.setattr(proof, "cases", lambda: few)
    (target,) = [t for t in targets(ARITHMETIC) if t.name == "sin.x"]
    concerned = mutate.reached()[target.function.__code__]
    assert {name for name, _ in concerned} == {"sin"}


def test_the_list_of_equivalent_mutants_matches_what_there_is() -> None:
    """An entry that no mutant has is about code that has changed since.

    `tests/mutate.py` refuses each; here some may be old, so that a formula can be rewritten without
    an hour of mutants.
    """
    wanted = {key[0] for key in EQUIVALENT}
    known: list[Target] = [t for t in targets() if t.name in wanted]
    keys = {m.key for t in known for m in mutants(t)}
    assert len(EQUIVALENT.keys() - keys) <= len(EQUIVALENT) / 4
    assert all(len(reason) > 10 for reason in EQUIVALENT.values())
