"""What `import minidl` loads: little, so that it is quick; the rest when it is first asked for."""

import os
import subprocess
import sys
from pathlib import Path

import minidl

ROOT = Path(__file__).parents[1]
HEAVY = ("numba", "llvmlite", "rich", "urllib.request", "threadpoolctl", "cupy", "torch",
         "hypothesis", "matplotlib", "scipy")  # fmt: skip


def run(code: str) -> str:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "kernels")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def test_import_loads_nothing_heavy() -> None:
    code = f"import sys, minidl; print([m for m in {HEAVY} if m in sys.modules])"
    assert run(code) == "[]"


def test_arithmetic_without_a_kernel_needs_no_compiler() -> None:
    code = """
import sys, minidl
x = minidl.tensor([1.0, 2.0], requires_grad=True)
(x * x).sum().backward()
print("numba" in sys.modules)"""
    assert run(code) == "False"


def test_parts_are_loaded_when_they_are_asked_for() -> None:
    code = """
import minidl
assert not {"data", "metrics", "training", "keras"} & vars(minidl).keys()
print(minidl.data.__name__, minidl.training.Trainer.__name__, minidl.keras.Sequential.__name__)
from minidl import metrics
print(metrics is minidl.metrics)"""
    assert run(code).split() == ["minidl.data", "Trainer", "Sequential", "True"]


def test_all_names_are_there() -> None:
    assert {"data", "keras", "metrics", "testing", "training"} <= set(dir(minidl))
    for name in minidl.__all__:
        assert hasattr(minidl, name)
