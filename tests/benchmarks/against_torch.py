"""Training steps and single operations in minidl, PyTorch and JAX: how their times compare.

    PYTHONPATH=.:kernels python tests/benchmarks/against_torch.py --threads 2 --json found.json
    … against_torch.py cnn lstm --clock cpu --threads 1
    … against_torch.py cnn lstm autoencoder --jax JAX/bin/python

Each engine, and each form of PyTorch (default or fused Adam, channels last or not, freed memory
kept or given back), runs in a process of its own; their rounds are interleaved. The table shows the
median of each, its quartiles, and the ratio to the best form of PyTorch, and to that of JAX's jit
for the training steps. On a machine that others use, `--clock cpu --threads 1` measures CPU time,
which they disturb less.

Needs PyTorch (the `oracle` extra). JAX takes part where it is installed (`pip install jax`), here
or beside another Python, which `--jax` names; no other row changes by it.
"""

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from works import SIZED, WORKS

KEPT = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}
SAMPLE = 0.02  # seconds: so many steps are timed together, after as many that are not
JAX = ("cnn", "lstm", "autoencoder")  # what jax_works has
SETTLE = 0.2  # seconds between samples: idle threads of the engine before spin for a while


def begin(engine: str, work: str, form: str, threads: int) -> Any:
    """Return what an engine does in one step of a work, on so many threads."""
    if engine == "jax":
        if hasattr(os, "sched_setaffinity"):  # JAX has as many threads as the process has CPUs
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
        from jax_works import WORKS as JAX_WORKS

        return JAX_WORKS[work][0](form)
    module = __import__(engine)
    module.set_num_threads(threads)
    return (WORKS | SIZED)[work][0](module, form)


def serve(step: Any, clock: str) -> None:
    """In a process of its own: print the time of a step for each line that comes in."""
    now = time.process_time if clock == "cpu" else time.perf_counter
    first = step()
    for _ in range(4):
        step()
    start = time.perf_counter()
    for _ in range(10):
        step()
    count = max(1, round(SAMPLE * 10 / (time.perf_counter() - start)))
    if first is not None:
        assert step().item() < first.item(), "it does not learn"
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
        python = options.jax if engine == "jax" else sys.executable
        command = [python, __file__, work, "--threads", count, "--clock", options.clock]
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
        title = {"minidl": "minidl", "torch": "PyTorch", "jax": "JAX"}[self.engine]
        return " ".join([title, *self.form.replace("_", " ").split()])


def forms(work: str, options: argparse.Namespace) -> list[tuple[str, str]]:
    """The engines that can do a work, each with its forms."""
    found = {"minidl": ("",), "torch": kept_or_not(WORKS[work][1])}
    if options.jax and work in JAX:
        found["jax"] = kept_or_not(("", "inline"))
    return [(engine, form) for engine in found for form in found[engine]]


def kept_or_not(forms: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{form}{memory}" for form in forms for memory in ("", " kept"))


def compare(options: argparse.Namespace, work: str) -> dict[str, Any]:
    """Time one work in all forms; return the figures and print a row."""
    runners = [Runner(options, work, *which) for which in forms(work, options)]
    for _ in range(options.rounds):
        for runner in runners:
            time.sleep(SETTLE)
            runner.round()
    for runner in runners:
        runner.close()
    found: dict[str, dict[str, list[float]]] = {"minidl": {}, "torch": {}, "jax": {}}
    for r in runners:
        found[r.engine][r.name] = [q * 1e3 for q in statistics.quantiles(r.times, n=4)]
    ours, torch, jax = found["minidl"]["minidl"], found["torch"], found["jax"]
    low, median, high = ours
    best = min(torch, key=lambda name: torch[name][1])
    theirs, plain = torch[best][1], torch["PyTorch"][1]
    row = (
        f"| {work} | {median:.3f} ({low:.3f} to {high:.3f}) | {theirs:.3f} ({best}) | "
        f"{plain:.3f} | **{median / theirs:.2f}** | {median / plain:.2f} |"
    )
    result = {"minidl": ours, "PyTorch": torch, "best": best, "ratio": median / theirs}
    if jax:
        best = min(jax, key=lambda name: jax[name][1])
        low, theirs, high = jax[best]
        row += f" {theirs:.3f} ({low:.3f} to {high:.3f}, {best}) | **{median / theirs:.2f}** |"
        result |= {"JAX": jax, "best of JAX": best, "ratio to JAX": median / theirs}
    elif options.jax:
        row += " | |"
    print(row, flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("works", nargs="*", metavar="WORK", help=f"of {', '.join(WORKS)}")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    here = sys.executable if importlib.util.find_spec("jax") else None
    parser.add_argument("--jax", metavar="PYTHON", default=here, help="a Python that has JAX")
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.works) - (WORKS | SIZED).keys():
        parser.error(f"no such work: {', '.join(sorted(unknown))}")
    if options.serve:
        engine, form = options.serve
        return serve(begin(engine, options.works[0], form, options.threads), options.clock)
    print(f"ms of {options.clock} time, {options.threads} threads, {platform.machine()}\n")
    columns = ["work", "minidl (quartiles)", "best PyTorch", "PyTorch plain", "ratio", "to plain"]
    columns += ["best JAX", "ratio"] if options.jax else []
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    found = {work: compare(options, work) for work in options.works or WORKS}
    if options.json:
        about = {"threads": options.threads, "clock": options.clock, "rounds": options.rounds}
        options.json.write_text(json.dumps(about | {"works": found}, indent=1), encoding="utf-8")
    return None


if __name__ == "__main__":
    main()
