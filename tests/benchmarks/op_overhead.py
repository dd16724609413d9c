"""What one operation costs on top of NumPy's own work, forward and backward together.

    PYTHONPATH=.:kernels python tests/benchmarks/op_overhead.py

A chain of y = y * 1.01 + 0.1 on 4 elements, recorded and walked backwards, less the same products
and sums on bare arrays. Rounds of both are interleaved; the median of the differences counts.
"""

import argparse
import gc
import statistics
import time
from typing import Any

import numpy as np

import minidl

LENGTH = 2000  # steps of the chain: two operations each


def chain(y: Any) -> Any:
    for _ in range(LENGTH):
        y = y * 1.01 + 0.1
    return y


def recorded(x: Any, g: np.ndarray) -> float:
    start = time.process_time()
    chain(x).backward(g)
    return time.process_time() - start


def bare(x: np.ndarray, g: np.ndarray) -> float:
    start = time.process_time()
    chain(x)
    for _ in range(LENGTH):
        g = g * 1.01
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=101)
    rounds = parser.parse_args().rounds
    array, g = np.ones(4, "float32"), np.full(4, 1e-9, "float32")
    x = minidl.tensor(array, requires_grad=True)
    gc.disable()  # its pauses fall on whoever allocates
    over = []
    for _ in range(rounds):
        x.grad = None
        over.append((recorded(x, g) - bare(array, g)) / (2 * LENGTH) * 1e6)
    low, median, high = statistics.quantiles(over, n=4)
    print(f"{median:.2f} µs an operation over NumPy (quartiles {low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
