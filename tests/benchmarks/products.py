"""Products of matrices: minidl's kernels, NumPy's BLAS and PyTorch, over shapes and layouts.

    PYTHONPATH=.:kernels python tests/benchmarks/products.py --threads 2
    PYTHONPATH=.:kernels python tests/benchmarks/products.py --threads 1 --clock cpu

Each engine is a process of its own, so that no pool of threads waits for another one's, and rounds
are interleaved; of all rounds the least time counts, for what else runs only adds to it. N is a
matrix that lies row by row, T one that is transposed. PyTorch's column needs PyTorch.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

SHAPES: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = [
    *[("square", (n, n), (n, n)) for n in (16, 32, 64, 96, 128, 256, 512, 1024)],
    ("tall", (2000, 64), (64, 64)),
    ("wide", (64, 64), (64, 2000)),
    ("long sums", (64, 4096), (4096, 64)),
    ("few rows", (16, 256), (256, 1024)),
    ("row", (1, 1024), (1024, 1024)),
    ("column", (1024, 1024), (1024, 1)),
    ("stack", (8, 128, 64), (8, 64, 128)),
    ("stack, one matrix", (32, 10, 64), (64, 64)),
]
LAYOUTS = ("NN", "NT", "TN")
SETTLE = 0.04  # seconds in which the pool of threads of the last engine gives up its CPU


def operand(engine: str, shape: tuple[int, ...], transposed: bool) -> Any:
    if transposed:
        shape = (*shape[:-2], shape[-1], shape[-2])
    x: Any = np.random.default_rng(0).normal(size=shape).astype("f4")
    if engine == "torch":
        import torch

        x = torch.from_numpy(x)
    return x.swapaxes(-1, -2) if transposed else x


def product(engine: str, threads: int) -> Callable[[Any, Any], Any]:
    if engine == "torch":
        import torch

        torch.set_num_threads(threads)
        return torch.matmul
    import minidl
    import minidl_kernels

    minidl.set_num_threads(threads)
    return minidl_kernels.matmul if engine == "minidl" else np.matmul


def serve(engine: str, threads: int, clock: Callable[[], float]) -> None:
    """For every line that comes: the seconds of one product, of the shape with this number."""
    multiply, cases = product(engine, threads), {}
    for line in sys.stdin:
        number = int(line)
        if number not in cases:
            _, a, b = SHAPES[number // len(LAYOUTS)]
            left, right = LAYOUTS[number % len(LAYOUTS)]
            cases[number] = operand(engine, a, left == "T"), operand(engine, b, right == "T")
            for _ in range(3):
                multiply(*cases[number])
        a, b = cases[number]
        times = []
        for _ in range(9):
            repeats = max(1, 1_000_000 // (a.shape[-1] * b.shape[-1] * a.shape[-2]))
            start = clock()
            for _ in range(repeats):
                multiply(a, b)
            times.append((clock() - start) / repeats)
        print(min(times), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.engine:
        clock = time.process_time if options.clock == "cpu" else time.perf_counter
        serve(options.engine, options.threads, clock)
        return
    engines = ["minidl", "numpy"] + ["torch"] * bool(importlib.util.find_spec("torch"))
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, *sys.argv[1:], "--engine", engine], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=os.environ | {"OPENBLAS_NUM_THREADS": str(options.threads)},
        )
        for engine in engines
    ]  # fmt: skip
    print(f"microseconds, {options.threads} threads: {', '.join(engines)}; ratio to NumPy's")
    print(f"| product | {' | '.join(LAYOUTS)} |\n|{'---|' * (len(LAYOUTS) + 1)}")
    for k, (name, a, b) in enumerate(SHAPES):
        cells = []
        for layout in range(len(LAYOUTS)):
            times: list[list[float]] = [[] for _ in engines]
            for _ in range(options.rounds):
                for process, found in zip(processes, times, strict=True):
                    assert process.stdin
                    assert process.stdout
                    time.sleep(SETTLE)
                    print(k * len(LAYOUTS) + layout, file=process.stdin, flush=True)
                    found.append(float(process.stdout.readline()))
            least = [min(found) * 1e6 for found in times]
            ratio = least[0] / least[1]
            cells.append(", ".join(f"{t:.3g}" for t in least) + f"; {ratio:.2f}")
        print(f"| {name}, {a} @ {b} | {' | '.join(cells)} |", flush=True)
    for process in processes:
        process.kill()


if __name__ == "__main__":
    main()
