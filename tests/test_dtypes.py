"""Every row of the tables in docs/dtypes.md, against minidl and, where it is there, PyTorch."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl
from minidl.dtypes import DTYPES, agree, as_dtype, promote_types, result_type
from minidl.errors import DtypeError

PAGE = Path(__file__).parents[1] / "docs" / "dtypes.md"
KINDS = {
    "bool": ["bool"],
    "whole number": ["uint8", "int8", "int16", "int32", "int64"],
    "float": ["float16", "float32", "float64"],
}
REFUSALS = ("RuntimeError", "TypeError", "ValueError")


def tables() -> list[list[list[str]]]:
    """The tables of the page: of each its rows, the heading first, of each its cells."""
    found: list[list[list[str]]] = [[]]
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("|"):
            if not re.fullmatch(r"[|\-]+", line):
                found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
        elif found[-1]:
            found.append([])
    return [table for table in found if table]


PAIRS, SCALARS, WITHOUT_AXES, OPERATIONS, REFUSED = tables()


def by_kind() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """(expression, what it gives: pairs of a dtype of x and a cell) of the tables with a column
    or a row for each kind of dtype.
    """
    heading, *rows = OPERATIONS
    for expression, *cells in rows:
        yield expression.strip("`"), opened(heading[1:], cells)
    heading, *rows = SCALARS
    for number, *cells in zip(*SCALARS, strict=True):
        if number.startswith("`"):
            yield f"x + {number.strip('`')}", opened([row[0] for row in rows], cells)


def opened(kinds: list[str], cells: list[str]) -> list[tuple[str, str]]:
    """One pair for each dtype of the kinds."""
    pairs = zip(kinds, cells, strict=True)
    return [(dtype, cell) for kind, cell in pairs for dtype in KINDS[kind]]


EXPRESSIONS = [pytest.param(*row, id=row[0]) for row in by_kind()]


def outcome(expression: str, engine: Any, dtype: str) -> str:
    """The name of the dtype that an expression of x = ones(2) gives, or of the error it raises."""
    kind = getattr(engine, dtype) if engine is not minidl else dtype
    if engine is not minidl:
        expression = re.sub(r'"(\w+)"', r"minidl.\1", expression)
    names = {"minidl": engine, "np": np, "x": engine.ones(2, dtype=kind)}
    try:
        return str(eval(expression, names).dtype).removeprefix("torch.")
    except (TypeError, ValueError, ZeroDivisionError) as error:
        return type(error).__name__
    except RuntimeError:  # PyTorch's for most things; never ours here
        return "RuntimeError"


def expected(cell: str, dtype: str) -> str:
    default = minidl.get_default_dtype().name
    return {"own": dtype, "default": default}.get(cell.rstrip("*"), cell.rstrip("*"))


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


# ---- the page ------------------------------------------------------------------------------------


def test_the_page_has_all_pairs() -> None:
    heading, *rows = PAIRS
    assert heading[1:] == [row[0] for row in rows]
    assert set(heading[1:]) == set(DTYPES) == {d for kind in KINDS.values() for d in kind}


@pytest.mark.parametrize("row", PAIRS[1:], ids=lambda row: row[0])
def test_pairs(row: list[str]) -> None:
    a, *cells = row
    for b, cell in zip(PAIRS[0][1:], cells, strict=True):
        x, y = minidl.ones(2, dtype=a), minidl.ones(2, dtype=b)
        assert promote_types(a, b) == result_type(x, y) == cell
        assert (x + y).dtype == (y * x).dtype == minidl.maximum(x, y).dtype == cell
        assert minidl.where(x > 0, x, y).dtype == cell
        assert (x == y).dtype == "bool"
        alone = minidl.ones((), dtype=a), minidl.ones((), dtype=b)
        assert result_type(*alone) == (alone[0] + alone[1]).dtype == cell


@pytest.mark.parametrize("row", PAIRS[1:], ids=lambda row: row[0])
def test_pairs_in_pytorch(row: list[str], torch: Any) -> None:
    for b, cell in zip(PAIRS[0][1:], row[1:], strict=True):
        found = torch.promote_types(getattr(torch, row[0]), getattr(torch, b))
        assert found == getattr(torch, cell)


@pytest.mark.parametrize("row", WITHOUT_AXES[1:], ids="-".join)
def test_tensors_without_axes_are_weak(row: list[str]) -> None:
    x, y = minidl.ones(2, dtype=row[0]), minidl.ones((), dtype=row[1])
    assert (x + y).dtype == (y + x).dtype == result_type(x, y) == result_type(y, x) == row[2]


@pytest.mark.parametrize("row", WITHOUT_AXES[1:], ids="-".join)
def test_tensors_without_axes_in_pytorch(row: list[str], torch: Any) -> None:
    a, b, want = [getattr(torch, name) for name in row]
    assert (torch.ones(2, dtype=a) + torch.ones((), dtype=b)).dtype == want


@pytest.mark.parametrize("default", ["float32", "float64"])
@pytest.mark.parametrize(("expression", "cells"), EXPRESSIONS)
def test_expressions(expression: str, cells: list[tuple[str, str]], default: str) -> None:
    minidl.set_default_dtype(default)
    try:
        for dtype, cell in cells:
            assert outcome(expression, minidl, dtype) == expected(cell, dtype), dtype
    finally:
        minidl.set_default_dtype("float32")


@pytest.mark.parametrize(("expression", "cells"), EXPRESSIONS)
def test_expressions_in_pytorch(expression: str, cells: list[tuple[str, str]], torch: Any) -> None:
    """They agree where there is no star, and differ where there is one."""
    for dtype, cell in cells:
        found, want = outcome(expression, torch, dtype), expected(cell, dtype)
        same = found in REFUSALS if want.endswith("Error") else found == want
        assert same != cell.endswith("*"), (dtype, found)


@pytest.mark.parametrize(("expression", "error"), REFUSED[1:])
def test_what_is_refused(expression: str, error: str) -> None:
    found = outcome(expression.strip("`"), minidl, "float32")
    assert found == error.rstrip("*")


@pytest.mark.parametrize(("expression", "error"), REFUSED[1:])
def test_what_pytorch_refuses(expression: str, error: str, torch: Any) -> None:
    found = outcome(expression.strip("`"), torch, "float32")
    assert (found in REFUSALS) != error.endswith("*"), found


# ---- the functions -------------------------------------------------------------------------------


def test_promotion_is_a_join() -> None:
    """Commutative, associative, idempotent; bool is neutral."""
    for a, b, c in itertools.product(DTYPES, repeat=3):
        assert promote_types(a, b) == promote_types(b, a)
        assert promote_types(promote_types(a, b), c) == promote_types(a, promote_types(b, c))
        assert promote_types(a, a) == promote_types(a, "bool") == a


@pytest.mark.parametrize(
    ("values", "want"),
    [
        ([], "float32"),
        ([True], "bool"),
        ([2], "int64"),
        ([2.5], "float32"),
        ([True, 2, 2.5], "float32"),
        ([None, 2], "int64"),
        ([np.zeros(2, "int8"), 2], "int8"),
        ([np.zeros(2, "int8"), 2.5], "float32"),
        ([np.zeros(2, "float16"), np.zeros((), "float64"), 2.5], "float16"),
        ([np.zeros((), "float64"), 2.5], "float64"),
        ([np.zeros(2, "int8"), np.float64(2)], "float32"),
        ([np.zeros(2, "bool"), np.zeros((), "int8"), 2], "int8"),
    ],
)
def test_result_type(values: list[Any], want: str) -> None:
    assert result_type(*values) == want


def test_as_dtype() -> None:
    for name, dtype in DTYPES.items():
        assert as_dtype(name) is dtype
        assert as_dtype(dtype.type) == as_dtype(dtype) == dtype == name
    assert as_dtype(bool) == "bool"
    assert as_dtype(int) == "int64"
    assert as_dtype(float) == "float32"
    for other in ("complex64", "float128x", str, object, "uint16", np.dtype(">f4"), "<U3", 3):
        with pytest.raises(DtypeError, match="is not offered; choose one of float16"):
            as_dtype(other)


def test_default_dtype() -> None:
    assert minidl.get_default_dtype() == "float32"
    minidl.set_default_dtype(np.float64)
    try:
        assert as_dtype(float) == result_type(1.5) == minidl.get_default_dtype() == "float64"
        assert result_type(np.zeros(2, "float32"), 1.5) == "float32"
        assert (minidl.tensor([1]) / 2).dtype == minidl.exp(minidl.tensor([1])).dtype == "float64"
    finally:
        minidl.set_default_dtype("float32")
    for other in ("int64", "bool"):
        with pytest.raises(DtypeError, match=f"expected a float dtype, got {other}"):
            minidl.set_default_dtype(other)


def test_agreement() -> None:
    x, y = np.ones(2, "float32"), np.ones((2, 2), "float32")
    left, right, number = agree([x, y, 2.5])
    assert left is x
    assert right is y
    assert number == 2.5
    left, right, nothing = agree([x, y.astype("float64"), None])
    assert left.dtype == right.dtype == "float64"
    assert nothing is None


@pytest.mark.parametrize("dtype", KINDS["float"])
def test_numpy_scalars_within_a_derivative_keep_their_dtype(dtype: str) -> None:
    """There they are arrays without axes, as NumPy's operators return them."""
    a, b = np.ones((), dtype) * 2, np.ones((), dtype) / 3
    assert all(v.dtype == dtype for v in agree([a, b], tensors=False))
    assert minidl.exp(a).dtype == minidl.where(a > b, a, b).dtype == dtype


def test_gradients_have_their_tensors_dtype() -> None:
    for a, b in itertools.product(KINDS["float"], repeat=2):
        x = minidl.ones(2, dtype=a, requires_grad=True)
        y = minidl.ones((), dtype=b, requires_grad=True)
        z = x * y / (x + y)
        gx, gy = minidl.grad(minidl.sum(z), [x, y])
        assert (gx.dtype, gy.dtype) == (a, b)
