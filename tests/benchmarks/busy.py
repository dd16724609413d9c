"""What busy neighbours cost: products and training steps alone, and beside processes that compute.

    PYTHONPATH=.:kernels python tests/benchmarks/busy.py --threads 2 --busy 2

Milliseconds of wall time, median and the ninth of ten; the last row is a product of NumPy's in
float64, which is BLAS's, and a convolution of minidl's, in turn.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from works import WORKS

import minidl
from minidl_kernels.cpu.launch import _nothing, launch

NEIGHBOUR = "while True: pass"


def works() -> dict[str, Callable[[], Any]]:
    """What is timed, by name."""
    a, b, c = (minidl.rand(n, n) for n in (128, 256, 768))
    wide, conv = np.random.default_rng(0).random((256, 256)), minidl.nn.Conv2d(16, 16, 3)
    x = minidl.rand(8, 16, 28, 28)
    return {
        "a launch of nothing": lambda: launch(_nothing, 2, (0,), 0, False),
        "product, 128": lambda: a @ a,
        "product, 256": lambda: b @ b,
        "product, 768": lambda: c @ c,
        **{name: WORKS[name][0](minidl, "") for name in ("autoencoder", "cnn", "lstm")},
        "BLAS and minidl in turn": lambda: (wide @ wide, conv(x)),
    }


def timed(work: Callable[[], Any], count: int) -> tuple[float, float]:
    """Median and ninth tenth of so many calls, in milliseconds, after a fifth as many."""
    for _ in range(count // 5):
        work()
    times = []
    for _ in range(count):
        begun = time.perf_counter()
        work()
        times.append((time.perf_counter() - begun) * 1e3)
    times.sort()
    return times[count // 2], times[count * 9 // 10]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2, help="of minidl and of BLAS")
    parser.add_argument("--busy", type=int, default=2, help="processes that compute beside")
    parser.add_argument("--calls", type=int, default=100, help="of each work")
    options = parser.parse_args()
    minidl.set_num_threads(options.threads)
    print(f"| ms, {options.threads} threads | alone | beside {options.busy} busy processes |")
    print("|---|---|---|")
    found = {name: [timed(work, options.calls)] for name, work in works().items()}
    neighbours = [subprocess.Popen([sys.executable, "-c", NEIGHBOUR]) for _ in range(options.busy)]
    try:
        for name, work in works().items():
            found[name].append(timed(work, options.calls))
    finally:
        for neighbour in neighbours:
            neighbour.kill()
    for name, columns in found.items():
        print(f"| {name} | " + " | ".join(f"{m:.3g} ({q:.3g})" for m, q in columns) + " |")


if __name__ == "__main__":
    main()
