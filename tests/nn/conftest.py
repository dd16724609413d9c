"""Makes `nn_cases` and the `standin` for CuPy importable by these tests, and seeds each of them."""

import sys
from pathlib import Path

import pytest

import minidl

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]


@pytest.fixture(autouse=True)
def _same_numbers_in_any_order() -> None:
    minidl.manual_seed(0)
