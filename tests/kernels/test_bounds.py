"""No kernel reads or writes beside its arrays.

Here each array lies against a page of memory whose touch would end the process. What lies further
off is found by Numba's own check of each index, which needs a cache of its own:

    NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=out/checked python -m pytest tests/kernels
"""

import contextlib
import ctypes
import math
import mmap
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from every_kernel import CALLS, Draw, results

from minidl_kernels.cpu import memory

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for memory that may not be touched")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nothing_is_touched_beside_the_arrays(dtype: str) -> None:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "kernels"), str(HERE)])
    done = subprocess.run(
        [sys.executable, "-c", f"import test_bounds; test_bounds.walled({dtype!r})"],
        env=os.environ | {"PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout.splitlines()[-1:], done.stderr)  # which call it was
    assert done.stdout.split("\n")[-2] == "done"


def walled(dtype: str) -> None:
    """Make every call with all arguments, and all memory that NumPy gives, between walls."""
    for large in (False, True):
        for behind in (True, False):
            for call, arguments in CALLS.items():
                print(call, "large" if large else "small", "behind" if behind else "before")
                sys.stdout.flush()
                kept: list[mmap.mmap] = []
                empty = between_walls(kept, behind)
                given = [copied(a, empty) for a in arguments(Draw(dtype, large))]
                expected = results(call, arguments(Draw(dtype, large)))  # and imports what it needs
                with memory_from(empty):
                    found = results(call, tuple(given))
                for a, b in zip(found, expected, strict=True):
                    np.testing.assert_array_equal(a, b)
    print("done")


@contextlib.contextmanager
def memory_from(empty: Callable[..., Any]) -> Iterator[None]:
    """Take the place of what kernels get their memory from."""

    def channels_last_memory(shape: Any, dtype: Any) -> Any:
        return np.moveaxis(empty((shape[0], *shape[2:], shape[1]), dtype), -1, 1)

    plain = np.empty
    np.empty = empty
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, instead in (("empty", empty), ("channels_last_memory", channels_last_memory)):
                given = getattr(memory, name)
                for module in [m for m in sys.modules.values() if vars(m).get(name) is given]:
                    patch.setattr(module, name, instead)
            yield
    finally:
        np.empty = plain


def between_walls(kept: list[mmap.mmap], behind: bool) -> Callable[..., Any]:
    """An `np.empty` whose memory ends where a page begins that may not be touched, or begins so."""
    libc, page, plain = ctypes.CDLL(None), mmap.PAGESIZE, np.empty

    def empty(shape: Any, dtype: Any = float) -> Any:
        if np.dtype(dtype).itemsize == 0:  # NumPy's own, that only have a shape
            return plain(shape, dtype)
        size = math.prod(shape) if isinstance(shape, tuple) else int(shape)
        size *= np.dtype(dtype).itemsize
        room = -(-max(size, 1) // page) * page
        memory = mmap.mmap(-1, room + 2 * page)
        kept.append(memory)
        start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        for wall in (start, start + page + room):
            assert libc.mprotect(ctypes.c_void_p(wall), ctypes.c_size_t(page), 0) == 0
        first = page + (room - size if behind else 0)
        x = np.frombuffer(memory, np.uint8)[first : first + size].view(dtype).reshape(shape)
        x[...] = np.nan if np.dtype(dtype).kind == "f" else 0
        return x

    return empty


def copied(x: Any, empty: Callable[..., Any]) -> Any:
    """An array, or each in a list or tuple, as it is in memory, between walls; else as it is."""
    if isinstance(x, list | tuple):
        return type(x)([copied(a, empty) for a in x])
    if not isinstance(x, np.ndarray):
        return x
    order = sorted(range(x.ndim), key=lambda axis: -x.strides[axis])
    y = empty(tuple(x.shape[axis] for axis in order), x.dtype).transpose(np.argsort(order))
    y[...] = x
    return y
