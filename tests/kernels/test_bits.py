"""The same bits on one thread and on two, and again: sums are cut into parts that do not know.

Every kernel is called, and in these calls everything that is compiled to be shared among threads is
shared: what a new kernel brings fails here until `every_kernel` has a call that uses it.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from every_kernel import CALLS

import minidl_kernels as kernels

ROOT = Path(__file__).parents[2]
PROGRAM = """
import hashlib, importlib, inspect, pkgutil
import numpy as np
from every_kernel import CALLS, Draw, results
from minidl_kernels import cpu
from minidl_kernels.cpu import launch, team, threads

def shared(kernel, *call):
    addresses.add(kernel)
    together(kernel, *call)

addresses, together = set(), team.together
team.together = shared
for dtype in ("float32", "float64"):
    for call in CALLS:
        found = set()
        for threads.count in (1, 2, 1, 2):
            arrays = results(call, CALLS[call](Draw(dtype, large=True)))
            bits = b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)
            found.add(hashlib.sha256(bits).hexdigest())
        print(dtype, call, len(found), sep="\t")
seen = {task for task, made in launch._compiled.items() if made.address in addresses}
for name in sorted(module.name for module in pkgutil.iter_modules(cpu.__path__)):
    for made in vars(importlib.import_module(f"{cpu.__name__}.{name}")).values():
        task = inspect.isfunction(made) and [*inspect.signature(made).parameters] == TASK
        if task and made not in seen:
            print("alone", made.__module__, made.__name__, sep="\t")
"""
# Sums by index are one task; what `race` measures a machine with, and what starts the threads, are
# no kernels.
OTHERS = [
    *(["alone", "minidl_kernels.cpu.indexing", f"add_rows{kind}"] for kind in ("", "_of_doubles")),
    ["alone", "minidl_kernels.cpu.launch", "_nothing"],
    *(["alone", "minidl_kernels.cpu.limits", name] for name in ("_copy", "_multiply")),
]


def test_every_kernel_is_called() -> None:
    assert {call.partition(":")[0] for call in CALLS} == set(kernels.KERNELS)


@pytest.mark.slow
def test_the_same_bits_at_any_number_of_threads() -> None:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "kernels"), str(Path(__file__).parent)])
    environment = {"PYTHONPATH": paths, "NUMBA_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", f"TASK = ['task', 'room', 'args']{PROGRAM}"],
        env=os.environ | environment, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    calls = [[dtype, call, "1"] for dtype in ("float32", "float64") for call in CALLS]
    assert lines[: len(calls)] == calls
    assert sorted(lines[len(calls) :]) == OTHERS
