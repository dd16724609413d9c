"""What keeping freed memory gives and costs: a large relu, training steps, and peak memory.

    PYTHONPATH=.:kernels python tests/benchmarks/memory.py

Each row is a process of its own. Peak memory is that of 20 training steps above the level after
import and model creation (VmHWM, set to zero before the steps); `loaded` is the same where another
model of the kind has made a step before, so that libraries and kernels are there. PyTorch's rows
need PyTorch.
"""

import argparse
import ctypes
import gc
import importlib.util
import json
import os
import re
import resource
import statistics
import subprocess
import sys
from typing import Any

from works import WORKS

KEEP = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}
FORMS = [  # name, engine, environment
    ("minidl", "minidl", {}),
    ("minidl, memory given back", "minidl", {"MINIDL_KEEP_MEMORY": "0"}),
    ("PyTorch", "torch", {}),
    ("PyTorch, memory kept", "torch", KEEP),
]


MODELS = ("cnn", "lstm", "autoencoder")


def status(name: str) -> float:
    """VmRSS or VmHWM of this process, in MB."""
    with open("/proc/self/status", encoding="ascii") as file:
        found = re.search(rf"{name}:\s+(\d+) kB", file.read())
    assert found
    return int(found[1]) / 1024


def forget_peak() -> None:
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def give_back() -> None:
    """Free memory goes to the system once, so that the next level is an honest one."""
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def work(engine: Any, what: str) -> dict[str, float]:
    if what == "relu":
        x = engine.rand(12_800_000)  # 51 MB
        times = []
        for _ in range(30):
            start = cpu()
            engine.relu(x)
            times.append(cpu() - start)
        return {"ms": statistics.median(times) * 1e3}
    found = {}
    for name in ("peak", "loaded"):
        step = WORKS[what][0](engine, "")
        level = status("VmRSS")
        found.setdefault("level", level)
        forget_peak()
        for _ in range(20):
            step()
        found[name] = status("VmHWM") - level
        if name == "peak":
            del step
            gc.collect()
            give_back()
    times = []
    for _ in range(60):
        start = cpu()
        step()
        times.append(cpu() - start)
    return {"ms": statistics.median(times) * 1e3} | found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--what", nargs="*", default=["relu", *MODELS])
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        engine = __import__(options.work[0])
        engine.set_num_threads(1)
        print(json.dumps(work(engine, options.work[1])))
        return
    for what in options.what:
        for name, engine, environment in FORMS:
            if importlib.util.find_spec(engine) is None:
                continue
            out = subprocess.run(
                [sys.executable, __file__, "--work", engine, what],
                env=os.environ | environment, capture_output=True, text=True, check=True,
            ).stdout  # fmt: skip
            found = json.loads(out)
            figures = "".join(f", {k} {v:.1f} MB" for k, v in found.items() if k != "ms")
            print(f"{what}, {name}: {found['ms']:.2f} ms of CPU time{figures}", flush=True)


if __name__ == "__main__":
    main()
