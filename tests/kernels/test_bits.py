"""The same bits on one thread and on two, again, and with the tasks in another order.

Sums are cut into parts that know nothing of threads, and nothing depends on what memory held
before, NaN or zeros: neither the numbers nor, where results are looked at, the way they are made.

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
from minidl_kernels.cpu.compiling import compiled

@compiled
def backwards(kernel, tasks, room, step, args, value):
    memory = launch.floats(room)
    for task in range(tasks - 1, -1, -1):
        for i in range(step // 4):
            memory[i] = value
        team._call(kernel, task, room, args)

def shared(kernel, *call):
    addresses.add(kernel)
    if threads.count in LEFT:
        backwards(kernel, *call, LEFT[threads.count])
    else:
        together(kernel, *call)

def filled(*args, empty=np.empty, **options):
    array = empty(*args, **options)
    if threads.count in LEFT and array.dtype != object:
        array.fill(0 if array.dtype.kind != "f" else LEFT[threads.count])
    return array

LEFT = {3: np.nan, 4: np.float64(0)}  # with so many threads: in a row, and what memory held before
np.empty = filled

addresses, together = set(), team.together
team.together = shared
for dtype in ("float32", "float64"):
    for call in CALLS:
        found = set()
        for threads.count in (1, 2, 1, 2, 3, 4):
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
