"""What a machine can do at most: how fast it multiplies and adds, and how fast memory comes.

Both are measured, by the means that the kernels have themselves: the register tile on data in the
first cache, and a copy of arrays that fit in no cache. Between them they bound every kernel:

    operations a second  <=  min(peak, bandwidth * operations for each byte moved)

S. Williams, A. Waterman and D. Patterson, "Roofline: an insightful visual performance model for
multicore architectures", 2009.
"""

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Machine", "clock_of", "crowd", "measure"]

DEPTH = 256  # of the tile: 6 kB of its left side, 16 kB of its right
REPEATS = 500  # of these in a task: a quarter of a millisecond
COPIED = 8 << 20  # numbers: 32 MB read and 32 MB written


class Machine(NamedTuple):
    """A processor as measured: operations and bytes a second, on a number of threads."""

    name: str
    threads: int
    peak: float
    bandwidth: float

    def roof(self, intensity: float) -> float:
        """The operations a second that can be had at most with so many for each byte."""
        return min(self.peak, self.bandwidth * intensity)


def clock_of(threads: int) -> Callable[[], float]:
    """On one thread its own CPU time, which other processes disturb least; else the wall's."""
    return time.thread_time if threads == 1 else time.perf_counter


def crowd(threads: int) -> str:
    """A warning if other programs keep the processor busy, for times on the wall's clock; or ""."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    count = os.cpu_count() or 1
    if threads == 1 or load < 0.75 * count:
        return ""
    return (
        f"the machine is busy, with a load of {load:.1f} on {count} CPUs: times on {threads} "
        "threads will be too long; --threads 1 counts CPU time"
    )


def measure(threads: int) -> Machine:
    """Measure peak (float32) and bandwidth on as many threads as minidl's kernels now use."""
    from minidl_kernels.cpu import limits

    clock = clock_of(threads)
    tasks = 4 * threads
    operations = 2 * 6 * 16 * DEPTH * REPEATS * tasks
    x, y = np.ones(COPIED, np.float32), np.zeros(COPIED, np.float32)
    peak = operations / _best(lambda: limits.multiply(tasks, REPEATS, DEPTH), clock)
    return Machine(_name(), threads, peak, 2 * x.nbytes / _best(lambda: limits.copy(x, y), clock))


def _best(run: Callable[[], Any], clock: Callable[[], float], samples: int = 40) -> float:
    """The shortest time: a limit is what is reached when nothing disturbs."""
    run()
    found = []
    for _ in range(samples):
        start = clock()
        run()
        found.append(clock() - start)
    return min(found)


def _name() -> str:
    """The processor's name, as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
