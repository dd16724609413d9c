"""Training steps and single operations in minidl and in PyTorch: how their times compare.

    PYTHONPATH=.:kernels python tests/benchmarks/against_torch.py --threads 2 --json found.json
    … against_torch.py cnn lstm --clock cpu --threads 1

Each engine, and each form of PyTorch (default or fused Adam, channels last or not, freed memory
kept or given back), runs in a process of its own; their rounds are interleaved. The table shows the
median of each, its quartiles, and the ratio to the best form of PyTorch. On a machine that others
use, `--clock cpu --threads 1` measures CPU time, which they disturb less. Needs PyTorch (the
`oracle` extra).
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from works import WORKS

KEPT = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}
SAMPLE = 0.02  # seconds: so many steps are timed together, after as many that are not
SETTLE = 0.2  # seconds between samples: idle threads of the engine before spin for a while


def serve(engine: Any, work: str, form: str, clock: str) -> None:
    """In a process of its own: print the time of a step for each line that comes in."""
    now = time.process_time if clock == "cpu" else time.perf_counter
    step = WORKS[work][0](engine, form)
    for _ in range(5):
        step()
    start = time.perf_counter()
    for _ in range(10):
        step()
    count = max(1, round(SAMPLE * 10 / (time.perf_counter() - start)))
    print("ready", flush=True)
    for _ in sys.stdin:
        for _ in range(count):
            step()  # the caches, and the second core, are this process's again
        start = now()
        for _ in range(count):
            step()
        print((now() - start) / count, flush=True)


class Runner:
    """A process that times one work in one form."""

    def __init__(self, options: argparse.Namespace, work: str, engine: str, form: str) -> None:
        self.engine, self.form, self.times = engine, form, list[float]()
        count = str(options.threads)
        names = ("OMP", "OPENBLAS", "NUMBA", "MKL")
        environment = os.environ | {f"{name}_NUM_THREADS": count for name in names}
        if "kept" in form:
            environment |= KEPT
        command = [sys.executable, __file__, work, "--threads", count, "--clock", options.clock]
        self.process = subprocess.Popen(
            [*command, "--serve", engine, form],
            env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        if self.process.stdout.readline() != "ready\n":
            raise SystemExit(f"{engine} {form} did not start")

    def round(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.times.append(float(self.process.stdout.readline()))

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()

    @property
    def name(self) -> str:
        if self.engine == "minidl":
            return "minidl"
        return f"PyTorch {self.form.replace('_', ' ')}".strip()


def compare(options: argparse.Namespace, work: str) -> dict[str, Any]:
    """Time one work in all forms; return the figures and print a row."""
    forms = [f"{form}{memory}" for form in WORKS[work][1] for memory in ("", " kept")]
    runners = [Runner(options, work, "minidl", "")]
    runners += [Runner(options, work, "torch", form) for form in forms]
    for _ in range(options.rounds):
        for runner in runners:
            time.sleep(SETTLE)
            runner.round()
    for runner in runners:
        runner.close()
    quartiles = {r.name: [q * 1e3 for q in statistics.quantiles(r.times, n=4)] for r in runners}
    ours = quartiles.pop("minidl")
    best = min(quartiles, key=lambda name: quartiles[name][1])
    low, median, high = ours
    theirs = quartiles[best][1]
    plain = quartiles["PyTorch"][1]
    print(
        f"| {work} | {median:.3f} ({low:.3f} to {high:.3f}) | {theirs:.3f} ({best}) | "
        f"{plain:.3f} | **{median / theirs:.2f}** | {median / plain:.2f} |",
        flush=True,
    )
    return {"minidl": ours, "PyTorch": quartiles, "best": best, "ratio": median / theirs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("works", nargs="*", metavar="WORK", help=f"of {', '.join(WORKS)}")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.works) - set(WORKS):
        parser.error(f"no such work: {', '.join(sorted(unknown))}")
    if options.serve:
        engine = __import__(options.serve[0])
        engine.set_num_threads(options.threads)
        return serve(engine, options.works[0], options.serve[1], options.clock)
    print(f"ms of {options.clock} time, {options.threads} threads, {platform.machine()}\n")
    print("| work | minidl (quartiles) | best PyTorch | PyTorch plain | ratio | to plain |")
    print("|---|---|---|---|---|---|")
    found = {work: compare(options, work) for work in options.works or WORKS}
    if options.json:
        about = {"threads": options.threads, "clock": options.clock, "rounds": options.rounds}
        options.json.write_text(json.dumps(about | {"works": found}, indent=1), encoding="utf-8")
    return None


if __name__ == "__main__":
    main()
