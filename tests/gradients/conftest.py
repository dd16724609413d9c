"""Makes cases, definitions and the stand-in for CuPy importable by these tests, and seeds them."""

import sys
from pathlib import Path

import pytest

import minidl

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), *[str(HERE.parent / name) for name in ("ops", "nn")], str(HERE.parent)]


@pytest.fixture(autouse=True)
def _same_numbers_in_any_order() -> None:
    minidl.manual_seed(0)
