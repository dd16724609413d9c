"""The arithmetic of the comparison with Keras, and that docs/results.md shows what it gives."""

import importlib.util
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def program() -> Any:
    path = ROOT / "tests" / "benchmarks" / "against_keras.py"
    spec = importlib.util.spec_from_file_location("against_keras", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    del sys.modules[spec.name]
    return module


def runs_of(program: Any, first: int, found: Any) -> Any:
    """The run in which both engines found these figures, the same for loss and accuracy."""
    error = found.std(ddof=1) / math.sqrt(len(found))
    figures = dict.fromkeys(program.FIGURES, (found.mean(), error))
    seeds = [(first, first + len(found) - 1)]
    return program.Runs("cnn", 3, seeds, dict.fromkeys(program.PACKAGES, figures))


@given(st.lists(st.integers(2, 9), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
def test_pooled_runs_are_as_one_run_of_all_seeds(program: Any, sizes: Any, seed: int) -> None:
    found = np.random.default_rng(seed).normal(3.0, 2.0, sum(sizes))
    parts = np.split(found, np.cumsum(sizes)[:-1])
    pooled = program.pooled([runs_of(program, 100 * i, part) for i, part in enumerate(parts)])
    whole = runs_of(program, 0, found)
    assert pooled.count == whole.count == len(found)
    for engine in program.PACKAGES:
        for name in program.FIGURES:
            np.testing.assert_allclose(pooled.figures[engine][name], whole.figures[engine][name])


def test_how_much_equal_engines_may_differ(program: Any) -> None:
    pytest.importorskip("scipy")

    def between(seeds: int, a: float, b: float) -> tuple[float, float]:
        engines = {"minidl": {"loss": (1.0, a)}, "Keras": {"loss": (2.0, b)}}
        return program.difference(program.Runs("cnn", 3, [(0, seeds - 1)], engines), "loss")

    # The quantile 1 - 0.05/12 of Student's t: with 28 and 8 degrees of freedom, and with 4.
    assert between(15, 0.3, 0.3) == pytest.approx((1 / (0.3 * math.sqrt(2)), 2.839), abs=1e-3)
    assert between(5, 0.3, 0.3)[1] == pytest.approx(3.479, abs=1e-3)
    assert between(5, 0.3, 1e-9)[1] == pytest.approx(4.851, abs=1e-3)


def test_results_show_the_table_that_the_program_prints(program: Any) -> None:
    pytest.importorskip("scipy")
    lines, good = program.table(program.recorded())
    assert good
    assert "\n".join(lines) in (ROOT / "docs" / "results.md").read_text(encoding="utf-8")


def test_a_difference_of_the_pooled_runs_is_reported(program: Any) -> None:
    pytest.importorskip("scipy")
    figures = {"minidl": (0.5, 0.01), "Keras": (0.6, 0.01)}
    apart = {engine: dict.fromkeys(program.FIGURES, pair) for engine, pair in figures.items()}
    lines, good = program.table([program.Runs("rnn", 10, [(0, 14)], apart)])
    assert not good
    assert "**7.07**, **7.07**" in lines[-1]
