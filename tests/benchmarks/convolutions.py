"""Convolutions and their gradients in minidl's kernels and in PyTorch, shape by shape.

    PYTHONPATH=.:kernels python tests/benchmarks/convolutions.py --threads 2 --json out.json

Each engine runs in a process of its own, both in float32: PyTorch with NCHW and with channels-last
memory, and each of these with freed memory given back and kept; its best time counts. The engines
take turns on each shape; the median of the rounds counts. `--cpu` measures the processor's time
instead of the clock's, which on one thread says more on a busy machine.

Needs PyTorch (the `oracle` extra).
"""

import argparse
import ctypes
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

# name: batch, channels in, height and width, channels out, kernel, stride, padding, groups
CASES = {
    "64 56x56 64": (8, 64, 56, 64, 3, 1, 1, 1),
    "128 28x28 128": (8, 128, 28, 128, 3, 1, 1, 1),
    "256 14x14 256": (8, 256, 14, 256, 3, 1, 1, 1),
    "512 7x7 512": (8, 512, 7, 512, 3, 1, 1, 1),
    "3 224x224 64": (4, 3, 224, 64, 3, 1, 1, 1),
    "depthwise 128 28x28": (8, 128, 28, 128, 3, 1, 1, 128),
    "1x1 128 28x28 256": (8, 128, 28, 256, 1, 1, 0, 1),
    "seed 1 28x28 32": (32, 1, 28, 32, 3, 1, 0, 1),
    "seed 32 13x13 64": (32, 32, 13, 64, 3, 1, 0, 1),
    "7x7/2 3 224x224 64": (4, 3, 224, 64, 7, 2, 3, 1),
    "3x3/2 64 56x56 128": (8, 64, 56, 128, 3, 2, 1, 1),
    "1x1/2 256 14x14 512": (8, 256, 14, 512, 1, 2, 0, 1),
    "groups 128 28x28 128": (8, 128, 28, 128, 3, 1, 1, 8),
}
SQUARE = list(CASES)[:4]  # the 3x3 shapes
KINDS = ("forward", "input", "weight")
ENGINES = ("minidl", "torch", "torch keep", "torch last", "torch last keep")


def minidl(case: str) -> dict[str, Callable[[], Any]]:
    """The three kernels, on channels-last memory as the engine leaves it."""
    import minidl_kernels as kernels

    n, c, size, o, k, step, pad, groups = CASES[case]
    rng = np.random.default_rng(0)

    def images(*shape: int) -> Any:
        return np.moveaxis(rng.normal(size=shape).astype("f4"), -1, 1)

    x, w = images(n, size, size, c), rng.normal(size=(o, c // groups, k, k)).astype("f4")
    options = ((step, step), ((pad, pad), (pad, pad)), (1, 1), groups)
    y = kernels.conv(x, w, *options)
    g = images(n, *y.shape[2:], o)
    return {
        "forward": lambda: kernels.conv(x, w, *options),
        "input": lambda: kernels.conv_input(g, w, x.shape, *options),
        "weight": lambda: kernels.conv_weight(g, x, w.shape, *options),
    }


def torch(case: str, last: bool) -> dict[str, Callable[[], Any]]:
    """The same in PyTorch."""
    import torch

    n, c, size, o, k, step, pad, groups = CASES[case]
    x, w = torch.randn(n, c, size, size), torch.randn(o, c // groups, k, k)
    if last:
        x, w = (a.to(memory_format=torch.channels_last) for a in (x, w))
    g = torch.randn_like(torch.nn.functional.conv2d(x, w, None, step, pad, 1, groups))
    options = ([step] * 2, [pad] * 2, [1, 1], False, [0, 0], groups)

    def gradient(*wanted: bool) -> Any:
        return torch.ops.aten.convolution_backward(g, x, w, None, *options, [*wanted, False])

    return {
        "forward": lambda: torch.nn.functional.conv2d(x, w, None, step, pad, 1, groups),
        "input": lambda: gradient(True, False),
        "weight": lambda: gradient(False, True),
    }


def work(engine: str, threads: int, cpu: bool) -> None:
    """Answer each line "case<TAB>kind" with the least time of a few calls, in milliseconds."""
    if engine == "minidl":
        import minidl as engine_module

        engine_module.set_num_threads(threads)
    else:
        import torch as torch_module

        torch_module.set_num_threads(threads)
        torch_module.set_grad_enabled(False)
        if "keep" in engine:
            libc = ctypes.CDLL(None)
            libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
            libc.mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD
    clock = time.process_time if cpu else time.perf_counter
    made: dict[str, dict[str, Callable[[], Any]]] = {}
    for line in sys.stdin:
        case, kind = line.rstrip("\n").split("\t")
        if case not in made:
            made = {case: minidl(case) if engine == "minidl" else torch(case, "last" in engine)}
        run = made[case][kind]
        run()
        times = []
        for _ in range(5):
            start = clock()
            run()
            times.append(clock() - start)
        print(statistics.median(times) * 1e3, flush=True)


def main() -> None:
    """Run all engines in turns and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--json")
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work(args.worker, args.threads, args.cpu)
        return
    flags = ["--threads", str(args.threads), *["--cpu"] * args.cpu]
    workers = {
        engine: subprocess.Popen(
            [sys.executable, __file__, "--worker", engine, *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": str(args.threads)},
        )
        for engine in ENGINES
    }

    def ask(engine: str, case: str, kind: str) -> float:
        worker = workers[engine]
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(f"{case}\t{kind}\n")
        worker.stdin.flush()
        return float(worker.stdout.readline())

    results: dict[str, Any] = {}
    unit = "process ms" if args.cpu else "ms"
    print(f"| shape | pass | minidl {unit} | GFLOP/s | PyTorch best | form | ratio | spread |")
    print("|---|---|---|---|---|---|---|---|")
    for case, (n, c, size, o, k, step, pad, groups) in CASES.items():
        if args.only not in case:
            continue
        pixels = n * ((size + 2 * pad - k) // step + 1) ** 2
        flops = 2 * pixels * o * c // groups * k * k
        for kind in KINDS:
            rounds = [
                {engine: ask(engine, case, kind) for engine in ENGINES} for _ in range(args.rounds)
            ]
            median = {e: statistics.median(r[e] for r in rounds) for e in ENGINES}
            best = min(ENGINES[1:], key=median.__getitem__)
            ratio = median["minidl"] / median[best]
            ratios = [r["minidl"] / min(r[e] for e in ENGINES[1:]) for r in rounds]
            spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
            ours, speed = median["minidl"], flops / median["minidl"] / 1e6
            form = best.removeprefix("torch").strip() or "NCHW"
            print(
                f"| {case} | {kind} | {ours:.2f} | {speed:.0f} | {median[best]:.2f} | {form} "
                f"| {ratio:.2f} | {spread} |",
                flush=True,
            )
            results[f"{case}, {kind}"] = {"ms": median, "ratio": ratio}
    square = [
        results[f"{case}, {kind}"]["ratio"]
        for case in SQUARE
        if args.only in case
        for kind in KINDS
    ]
    if square:
        mean = math.prod(square) ** (1 / len(square))
        print(f"\n3x3 shapes, geometric mean of the ratios: {mean:.2f}")
    for worker in workers.values():
        worker.terminate()
        worker.communicate()
    if args.json:
        with open(args.json, "w") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
