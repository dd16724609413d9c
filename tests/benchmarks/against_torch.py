"""One training step of a model in minidl and in PyTorch: the ratio of their times.

    PYTHONPATH=.:kernels python tests/benchmarks/against_torch.py cnn --threads 2

Each engine runs in a process of its own; rounds are interleaved, and the median of the rounds'
ratios counts. Needs PyTorch (the `oracle` extra).
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

ENGINES = ("minidl", "torch")


def cnn(engine: Any) -> tuple[Any, tuple[Any, ...]]:
    """The network of examples/cnn.py and a batch of 32 images."""
    nn = engine.nn
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(1600, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip
    return model, (engine.rand(32, 1, 28, 28), engine.randint(0, 10, (32,)))


def lstm(engine: Any) -> tuple[Any, tuple[Any, ...]]:
    """An LSTM of 128 units over 50 steps of 64 numbers, batch 32, and a dense layer."""

    class Last(engine.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = engine.nn.LSTM(64, 128, batch_first=True)
            self.head = engine.nn.Linear(128, 10)

        def forward(self, x: Any) -> Any:
            return self.head(self.lstm(x)[0][:, -1])

    return Last(), (engine.rand(32, 50, 64), engine.randint(0, 10, (32,)))


MODELS = {"cnn": cnn, "lstm": lstm}


def step_of(engine: Any, model: str) -> Callable[[], None]:
    network, (x, y) = MODELS[model](engine)
    optimizer = engine.optim.Adam(network.parameters(), lr=1e-3)

    def step() -> None:
        loss = engine.nn.functional.cross_entropy(network(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def work(name: str, model: str, threads: int) -> None:
    """In a process of its own: time one step for each line that comes in."""
    engine = __import__(name)
    if name == "torch":
        engine.set_num_threads(threads)
    step = step_of(engine, model)
    for _ in range(10):
        step()
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        step()
        print(time.perf_counter() - start, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=201)
    parser.add_argument("--engine", choices=ENGINES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.engine:
        return work(options.engine, options.model, options.threads)
    count = str(options.threads)
    threads = {f"{library}_NUM_THREADS": count for library in ("OMP", "OPENBLAS", "NUMBA")}
    processes = []
    for engine in ENGINES:
        command = [sys.executable, __file__, options.model, "--threads", count, "--engine", engine]
        processes.append(
            subprocess.Popen(
                command, env=os.environ | threads, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )
        )  # fmt: skip
        processes[-1].stdout.readline()  # ready
    times: list[list[float]] = []
    for _ in range(options.rounds):
        times.append([])
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
            times[-1].append(float(process.stdout.readline()))
    for process in processes:
        process.stdin.close()
        process.wait()
    ours, theirs = (np.median(column) * 1e3 for column in zip(*times, strict=True))
    low, ratio, high = statistics.quantiles([a / b for a, b in times], n=4)
    print(
        f"{options.model}, {count} threads: minidl {ours:.2f} ms, PyTorch {theirs:.2f} ms, "
        f"ratio {ratio:.2f} (quartiles {low:.2f} to {high:.2f})"
    )


if __name__ == "__main__":
    main()
