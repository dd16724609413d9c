"""Convolutions and their gradients in minidl's kernels and in PyTorch, shape by shape.

    PYTHONPATH=.:kernels python tests/benchmarks/convolutions.py --threads 2 --json out.json

Each engine runs in a process of its own, both in float32: PyTorch with NCHW and with channels-last
memory, and each of these with freed memory given back and kept; its best time counts. Beside them
stands im2col, windows copied into a matrix and one product of BLAS, with minidl's memory: no shape
should take longer than that. The engines take turns on each shape; the median of the rounds counts.
`--cpu` measures the processor's time instead of the clock's, which on one thread says more on a
busy machine.

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
from typing import Any, NamedTuple

import numpy as np


class Case(NamedTuple):
    """A convolution with as many spatial axes as `size` has; the other options hold for each."""

    batch: int
    channels: int
    size: tuple[int, ...]
    outputs: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    dilation: int = 1

    def options(self) -> Any:
        """Stride, padding, dilation and groups as minidl's kernels take them."""
        axes = len(self.size)
        pads = ((self.padding, self.padding),) * axes
        return (self.stride,) * axes, pads, (self.dilation,) * axes, self.groups

    def weight(self) -> tuple[int, ...]:
        """The shape of the weights."""
        return self.outputs, self.channels // self.groups, *(self.kernel,) * len(self.size)


def square(*args: int) -> Case:
    """A case of images as high as wide."""
    batch, channels, size, *rest = args
    return Case(batch, channels, (size, size), *rest)


CASES = {
    "64 56x56 64": square(8, 64, 56, 64, 3, 1, 1),
    "128 28x28 128": square(8, 128, 28, 128, 3, 1, 1),
    "256 14x14 256": square(8, 256, 14, 256, 3, 1, 1),
    "512 7x7 512": square(8, 512, 7, 512, 3, 1, 1),
    "3 224x224 64": square(4, 3, 224, 64, 3, 1, 1),
    "depthwise 128 28x28": square(8, 128, 28, 128, 3, 1, 1, 128),
    "1x1 128 28x28 256": square(8, 128, 28, 256, 1),
    "seed 1 28x28 32": square(32, 1, 28, 32, 3),
    "seed 32 13x13 64": square(32, 32, 13, 64, 3),
    "7x7/2 3 224x224 64": square(4, 3, 224, 64, 7, 2, 3),
    "3x3/2 64 56x56 128": square(8, 64, 56, 128, 3, 2, 1),
    "1x1/2 256 14x14 512": square(8, 256, 14, 512, 1, 2),
    "groups 128 28x28 128": square(8, 128, 28, 128, 3, 1, 1, 8),
    "depthwise/2 144 56x56": square(8, 144, 56, 144, 3, 2, 1, 144),
    "depthwise 7x7 96 28x28": square(8, 96, 28, 96, 7, 1, 3, 96),
    "dilated 64 28x28 64": square(8, 64, 28, 64, 3, 1, 2, 1, 2),
    "odd 37 27x27 51": square(8, 37, 27, 51, 3, 1, 1),
    "5x5 48 27x27 128": square(8, 48, 27, 128, 5, 1, 2),
    "1-d 64 1000 64": Case(8, 64, (1000,), 64, 5, 1, 2),
    "1-d 1 16000 32": Case(8, 1, (16000,), 32, 9, 4, 4),
    "3-d 16 12x28x28 32": Case(2, 16, (12, 28, 28), 32, 3, 1, 1),
    "small 16 8x8 16": square(1, 16, 8, 16, 3, 1, 1),
}
SQUARE = list(CASES)[:4]  # 3x3, as in the middle of large networks
SAMPLE = 0.01  # seconds: so long calls are timed in a row, after as many that are not
SETTLE = 0.1  # seconds between samples: idle threads of the engine before spin for a while
KINDS = ("forward", "input", "weight")
OURS = ("minidl", "im2col")
TORCH = ("torch", "torch keep", "torch last", "torch last keep")


def minidl(name: str, im2col: bool) -> dict[str, Callable[[], Any]]:
    """The three kernels, on channels-last memory as the engine leaves it."""
    import minidl_kernels as kernels

    case, rng = CASES[name], np.random.default_rng(0)
    kernels.algorithm("im2col" if im2col else None)

    def images(*shape: int) -> Any:
        return np.moveaxis(rng.normal(size=shape).astype("f4"), -1, 1)

    x, options = images(case.batch, *case.size, case.channels), case.options()
    w = rng.normal(size=case.weight()).astype("f4")
    y = kernels.conv(x, w, *options)
    g = images(case.batch, *y.shape[2:], case.outputs)
    return {
        "forward": lambda: kernels.conv(x, w, *options),
        "input": lambda: kernels.conv_input(g, w, x.shape, *options),
        "weight": lambda: kernels.conv_weight(g, x, w.shape, *options),
    }


def torch(name: str, last: bool) -> dict[str, Callable[[], Any]]:
    """The same in PyTorch."""
    import torch

    case = CASES[name]
    axes = len(case.size)
    x, w = torch.randn(case.batch, case.channels, *case.size), torch.randn(case.weight())
    if last and axes > 1:
        form = torch.channels_last if axes == 2 else torch.channels_last_3d
        x, w = (a.to(memory_format=form) for a in (x, w))
    conv = getattr(torch.nn.functional, f"conv{axes}d")
    how = case.stride, case.padding, case.dilation, case.groups
    g = torch.randn_like(conv(x, w, None, *how))
    lists = ([v] * axes for v in how[:3])
    options = (*lists, False, [0] * axes, case.groups)

    def gradient(*wanted: bool) -> Any:
        return torch.ops.aten.convolution_backward(g, x, w, None, *options, [*wanted, False])

    return {
        "forward": lambda: conv(x, w, None, *how),
        "input": lambda: gradient(True, False),
        "weight": lambda: gradient(False, True),
    }


def work(engine: str, threads: int, cpu: bool) -> None:
    """Answer each line "case<TAB>kind" with the median time of some calls, in milliseconds."""
    if engine in OURS:
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
            ours = engine in OURS
            made = {
                case: minidl(case, engine == "im2col") if ours else torch(case, "last" in engine)
            }
        run = made[case][kind]
        timed(run, clock)
        print(statistics.median(timed(run, clock)) * 1e3, flush=True)


def timed(run: Callable[[], Any], clock: Callable[[], float]) -> list[float]:
    """The times of some calls in a row, which take SAMPLE together."""
    times: list[float] = []
    while len(times) < 5 or sum(times) < SAMPLE:
        start = clock()
        run()
        times.append(clock() - start)
    return times


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
        for engine in (*OURS, *TORCH)
    }

    def ask(engine: str, case: str, kind: str) -> float:
        worker = workers[engine]
        if not args.cpu:
            time.sleep(SETTLE)
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(f"{case}\t{kind}\n")
        worker.stdin.flush()
        return float(worker.stdout.readline())

    results: dict[str, Any] = {}
    unit = "process ms" if args.cpu else "ms"
    columns = f"minidl {unit} | GFLOP/s | PyTorch best | form | ratio | spread | im2col"
    print(f"| shape | pass | {columns} |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, case in CASES.items():
        if args.only not in name:
            continue
        reach = case.dilation * (case.kernel - 1)
        out = [(s + 2 * case.padding - reach - 1) // case.stride + 1 for s in case.size]
        flops = 2 * case.batch * math.prod(out) * math.prod(case.weight())
        for kind in KINDS:
            rounds = [
                {engine: ask(engine, name, kind) for engine in workers} for _ in range(args.rounds)
            ]
            median = {e: statistics.median(r[e] for r in rounds) for e in workers}
            best = min(TORCH, key=median.__getitem__)
            ours, speed = median["minidl"], flops / median["minidl"] / 1e6
            ratio = ours / median[best]
            ratios = [r["minidl"] / min(r[e] for e in TORCH) for r in rounds]
            spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
            form = best.removeprefix("torch").strip() or "NCHW"
            print(
                f"| {name} | {kind} | {ours:.2f} | {speed:.0f} | {median[best]:.2f} | {form} "
                f"| {ratio:.2f} | {spread} | {median['im2col']:.2f} |",
                flush=True,
            )
            results[f"{name}, {kind}"] = {"ms": median, "ratio": ratio}
    ratios = [
        results[f"{case}, {kind}"]["ratio"]
        for case in SQUARE
        if args.only in case
        for kind in KINDS
    ]
    if ratios:
        mean = math.prod(ratios) ** (1 / len(ratios))
        print(f"\n3x3 shapes, geometric mean of the ratios: {mean:.2f}")
    for worker in workers.values():
        worker.terminate()
        worker.communicate()
    if args.json:
        with open(args.json, "w") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
