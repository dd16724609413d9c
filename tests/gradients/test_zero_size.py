"""Every op with arrays of no elements: PyTorch's result, or one clear error that names the op."""

import importlib.util
import warnings
from typing import Any

import pytest
from cases_of_nothing import EMPTY, REFUSED
from oracle import RECORD_OF_NOTHING, Ours, assert_equal, evaluate, recorded, theirs
from proof import function

from minidl import ops

LIVE = importlib.util.find_spec("torch") is not None


def flattened(table: Any) -> list[Any]:
    return [
        pytest.param(name, i, case, id=f"{name}-{i}")
        for name, cases in table.items()
        for i, case in enumerate(cases)
    ]


@pytest.fixture(scope="module")
def oracle() -> Any:
    known = None if LIVE else recorded(RECORD_OF_NOTHING)

    def look_up(name: str, i: int, case: Any) -> Any:
        if known is not None:
            return known.get((name, i))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch warns of the variance of nothing
            return theirs(name, case)

    return look_up


def test_every_op_is_in_the_table() -> None:
    ours = {name for name in ops.registry if "." not in name}
    assert ours - EMPTY.keys() == set()


@pytest.mark.parametrize(("name", "i", "case"), flattened(EMPTY))
def test_of_nothing_is_pytorchs(name: str, i: int, case: Any, oracle: Any) -> None:
    args, options = case.realised(7)
    ours = evaluate(function(name), Ours.leaf, Ours, case, args, options)
    if case.torch is None:  # shapes alone: PyTorch has no such op, or raises an error of its own
        assert ours["out0"].size == 0
        return
    known = oracle(name, i, case)
    assert known is not None, "not recorded: run python tests/ops/oracle.py"
    assert_equal(name, ours, known)


@pytest.mark.parametrize(("name", "i", "case"), flattened(REFUSED))
def test_what_is_refused_names_the_op(name: str, i: int, case: Any) -> None:
    args, options = case.realised(7)
    with pytest.raises((ValueError, IndexError), match=rf"^{name}: ") as caught:
        evaluate(function(name), Ours.leaf, Ours, case, args, options)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
