"""Makes `keras_cases` importable by these tests, and seeds each of them."""

import sys
from pathlib import Path

import pytest

from minidl import keras

sys.path.insert(0, str(Path(__file__).parent))
collect_ignore = ["record.py"]  # it needs Keras


@pytest.fixture(autouse=True)
def _same_numbers_and_names_in_any_order() -> None:
    keras.utils.set_random_seed(0)
    keras.utils.clear_session()
