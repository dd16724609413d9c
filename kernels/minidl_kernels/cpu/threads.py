"""How many threads compute, and how a launch gets them: the one policy of all compiled kernels.

A kernel with parallel loops starts through `launching`, which sees to four things:

    number    Numba's count is per Python thread; each one is told before its first launch
    safety    Numba's "workqueue" layer ends the process when two threads launch at once: there a
              lock lets one in after the other. "omp" and "tbb" take launches from any thread
    fork      after a parallel launch, GNU OpenMP ends a forked child that launches again; such a
              child computes on one thread, by the serial form of each kernel
    waiting   libgomp's idle threads spin for milliseconds on a core that BLAS then waits for: a
              product of 256x256 matrices and a loop in turn took 9 ms, of which 0.7 were work. So
              they are told to give up after ten thousand turns, some 0.5 ms: longer than Python
              takes from one kernel to the next, for a thread that sleeps is late at the next

Numba is not imported before the first launch. Choose its layer with NUMBA_THREADING_LAYER.
"""

import importlib
import os
import sys
import threading
from typing import Any

__all__ = ["get_num_threads", "layer", "set_num_threads"]

SMALL = 16384  # elements: below it a launch costs more than a second thread saves


def _from_environment() -> int:
    """NUMBA_NUM_THREADS, else OMP_NUM_THREADS, else the CPUs that this process may use."""
    for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(name, "").partition(",")[0].strip()
        if text.isdecimal() and int(text) > 0:
            return int(text)
    return cpus()


def cpus() -> int:
    """The CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


count = _from_environment()  # how many threads a launch may use
lock: Any = None  # what a launch holds, where launches must come one after the other
_layer: str | None = None
_orphaned = False  # a forked child whose parent had the threads
_starting = threading.Lock()


class _Here(threading.local):
    count = 0  # what Numba was told in this Python thread


here = _Here()


def get_num_threads() -> int:
    """Return how many threads the CPU kernels use at most."""
    return count


def set_num_threads(n: int) -> None:
    """Use at most n threads: in minidl's CPU kernels, and in the BLAS that NumPy calls.

    n : from 1; more than there are CPUs is taken as their number, for more would only wait for
        each other. Where NUMBA_NUM_THREADS is set, its number is the limit

    The default is NUMBA_NUM_THREADS or OMP_NUM_THREADS, else the number of CPUs. Kernels give the
    same bits at any number; products in float64, which are BLAS's, only at a fixed one. Raises
    ValueError for an n below 1, TypeError for what is no whole number, and RuntimeError for more
    than one thread in a forked child whose parent had already computed on several.
    """
    global count
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"set_num_threads: n is {n!r}, expected a whole number")
    n = n.__index__()
    if n < 1:
        raise ValueError(f"set_num_threads: n is {n}, expected at least 1")
    if _orphaned and n > 1:
        raise RuntimeError(
            "set_num_threads: this process was forked from one that had computed on several "
            "threads, which a fork does not copy; it can use one. Start it by spawn or forkserver "
            "(multiprocessing.get_context), or fork before the first computation"
        )
    n = min(n, _most())
    import threadpoolctl

    threadpoolctl.threadpool_limits(limits=n, user_api="blas")
    count = n


def _most() -> int:
    """The most threads that Numba can be asked for: it is settled when Numba is imported."""
    numba = sys.modules.get("numba")
    if numba is not None:
        return int(numba.config.NUMBA_NUM_THREADS)
    text = os.environ.get("NUMBA_NUM_THREADS", "")
    return int(text) if text.isdecimal() and int(text) > 0 else cpus()


def layer() -> str | None:
    """Return Numba's threading layer, "omp", "tbb" or "workqueue"; None before the first launch."""
    return _layer


def enter() -> None:
    """Make this Python thread ready to launch: start the layer, and tell it how many threads."""
    global count, lock, _layer
    numba: Any = importlib.import_module("numba")
    with _starting:
        if _layer is None:
            count = min(count, int(numba.config.NUMBA_NUM_THREADS))
            spins = "GOMP_SPINCOUNT"
            told = spins in os.environ or "OMP_WAIT_POLICY" in os.environ
            if not told:
                os.environ[spins] = "10000"  # libgomp reads it when it is loaded, which is here
            try:
                numba.set_num_threads(count)
            finally:
                if not told:
                    del os.environ[spins]
            _layer = numba.threading_layer()
            lock = threading.Lock() if _layer == "workqueue" else None
    wanted = count
    numba.set_num_threads(wanted)
    here.count = wanted


def _forget_threads() -> None:
    """In a forked child: of the threads only the one that forked is there."""
    global count, lock, _orphaned, _starting
    _starting = threading.Lock()
    if lock is not None:
        lock = threading.Lock()  # another thread may have held it
    if _layer is not None or _numba_has_started():
        count, _orphaned = 1, True


def _numba_has_started() -> bool:
    """Whether someone else's function has already run in parallel."""
    numba = sys.modules.get("numba")
    try:
        return numba is not None and bool(numba.threading_layer())
    except (AttributeError, ValueError):  # half imported; not started
        return False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
