"""How many threads compute: the one number that all compiled kernels, and BLAS, go by.

What the threads are, and how a launch shares its work among them, is in `team`.
"""

import os

__all__ = ["get_num_threads", "set_num_threads"]

SMALL = 16384  # elements: below it a launch costs more than a second thread saves


def cpus() -> int:
    """The CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _told(name: str) -> int | None:
    """The number of threads that a variable of the environment asks for."""
    text = os.environ.get(name, "").partition(",")[0].strip()
    return int(text) if text.isdecimal() and int(text) > 0 else None


_most = _told("NUMBA_NUM_THREADS") or cpus()
count = min(_told("NUMBA_NUM_THREADS") or _told("OMP_NUM_THREADS") or _most, _most)


def most() -> int:
    """The most threads that can be set."""
    return _most


def get_num_threads() -> int:
    """Return how many threads the CPU kernels use at most."""
    return count


def set_num_threads(n: int) -> None:
    """Use at most n threads: in minidl's CPU kernels, and in the BLAS that NumPy calls.

    n : from 1; more than there are CPUs is taken as their number, for more would only wait for
        each other. Where NUMBA_NUM_THREADS is set, its number is the limit

    The default is NUMBA_NUM_THREADS or OMP_NUM_THREADS, else the number of CPUs. Kernels give the
    same bits at any number; products in float64, which are BLAS's, only at a fixed one. Raises
    ValueError for an n below 1, TypeError for what is no whole number.
    """
    global count
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"set_num_threads: n is {n!r}, expected a whole number")
    n = n.__index__()
    if n < 1:
        raise ValueError(f"set_num_threads: n is {n}, expected at least 1")
    n = min(n, _most)
    import threadpoolctl

    threadpoolctl.threadpool_limits(limits=n, user_api="blas")
    count = n
