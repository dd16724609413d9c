"""Freed memory that is kept for the next arrays: what is still in use must not change."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minidl
from minidl import nn, optim

ROOT = Path(__file__).parents[1]
ON_GLIBC = sys.platform.startswith("linux") and hasattr(ctypes.CDLL(None), "gnu_get_libc_version")


def resident(before: str = "", **environment: str) -> tuple[bool, float]:
    """In a new process: what `keep_freed_memory` says, and the MB left of 80 that were freed."""
    code = f"""
import os, numpy as np, minidl
{before}
def mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
level = mb()
arrays = [np.ones(1_000_000) for _ in range(10)]
assert mb() - level > 70
del arrays
print(mb() - level)
print(minidl.keep_freed_memory())"""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "kernels")])
    given = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    given |= {"PYTHONPATH": paths, "NUMPY_MADVISE_HUGEPAGE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=given | environment, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    left, told = done.stdout.split()
    return told == "True", float(left)


@pytest.mark.skipif(not ON_GLIBC, reason="this C library is not glibc")
def test_kept_and_given_back() -> None:
    assert resident() == (True, pytest.approx(80, abs=8))
    assert resident("minidl.keep_freed_memory(False)")[1] < 8
    assert resident(MINIDL_KEEP_MEMORY="0")[1] < 8
    assert resident(MALLOC_MMAP_THRESHOLD_="65536")[1] < 8  # the user has said it
    assert resident(GLIBC_TUNABLES="glibc.malloc.mmap_threshold=65536")[1] < 8


@pytest.mark.skipif(not ON_GLIBC, reason="this C library is not glibc")
def test_turning_it_off_gives_back_what_was_kept() -> None:
    late = """
arrays = [np.ones(1_000_000) for _ in range(10)]
del arrays
minidl.keep_freed_memory(False)
"""
    assert resident(late)[1] < 8


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert minidl.keep_freed_memory() is False
    monkeypatch.undo()

    def missing(name: str | None) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert minidl.keep_freed_memory() is False
    assert minidl.keep_freed_memory(False) is False


@pytest.mark.skipif(not ON_GLIBC, reason="this C library is not glibc")
def test_another_allocator_in_the_process_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    true = ctypes.CDLL

    class Process:
        malloc = true(None).calloc  # not glibc's malloc

    monkeypatch.setattr(ctypes, "CDLL", lambda name: true(name) if name else Process)
    assert minidl.keep_freed_memory() is False


@pytest.mark.parametrize("keep", [True, False])
def test_what_is_held_keeps_its_values(keep: bool) -> None:
    """Outputs, gradients, views and exports of each of 100 steps, compared at the end."""
    minidl.keep_freed_memory(keep)
    minidl.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, activation="relu"), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(676, 10)
    )
    optimizer = optim.Adam(model.parameters())
    x, y = minidl.rand(64, 1, 28, 28), minidl.randint(0, 10, (64,))
    held = []
    for _ in range(100):
        inner = model[0](x)  # 692 kB: beyond glibc's usual threshold
        out = model[3](model[2](model[1](inner)))
        optimizer.zero_grad()
        nn.functional.cross_entropy(out, y).backward()
        weight = next(iter(model.parameters())).grad
        assert weight is not None
        arrays = [
            out.detach().numpy(),
            inner.detach().numpy()[::7, 1:, ::-1],
            np.from_dlpack(inner.detach()[3:5]),
            weight.numpy(),
        ]
        held.append([(a, a.copy()) for a in arrays])
        optimizer.step()
    minidl.keep_freed_memory()
    for arrays in held:
        for a, copy in arrays:
            np.testing.assert_array_equal(a, copy)
