"""How the cost of a step grows with batch, channels and length, in minidl and in PyTorch.

    PYTHONPATH=.:kernels python tests/benchmarks/growth.py
    … growth.py lstm --threads 2 --clock wall --plot growth.png

Each engine and form in a process of its own, rounds interleaved, as in `against_torch.py`; PyTorch
with freed memory kept, and its best form counts. Needs PyTorch (the `oracle` extra).
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

from against_torch import SETTLE, Runner
from works import GROWTH

Row = tuple[int, float, float]  # size, ms in minidl, ms in PyTorch


def measured(options: argparse.Namespace, name: str) -> list[Row]:
    _, _, sizes, forms = GROWTH[name]
    rows = []
    for size in sizes:
        work = f"{name} {size}"
        runners = [Runner(options, work, "minidl", "")]
        runners += [Runner(options, work, "torch", f"{form} kept") for form in forms]
        for _ in range(options.rounds):
            for runner in runners:
                time.sleep(SETTLE)
                runner.round()
        for runner in runners:
            runner.close()
        ours, *theirs = (statistics.median(runner.times) * 1e3 for runner in runners)
        rows.append((size, ours, min(theirs)))
    return rows


def plotted(found: dict[str, list[Row]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(found), 3.5), layout="constrained")
    for axis, (name, rows) in zip(
        figure.subplots(1, len(found), squeeze=False).flat, found.items(), strict=True
    ):
        sizes, ours, theirs = zip(*rows, strict=True)
        axis.loglog(sizes, ours, "o-", label="minidl")
        axis.loglog(sizes, theirs, "s--", label="PyTorch, its best form")
        axis.set(title=name, xlabel=GROWTH[name][0], ylabel="ms a step")
        axis.set_xticks(sizes, map(str, sizes))
        axis.minorticks_off()
        axis.legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("works", nargs="*", metavar="WORK", help=f"of {', '.join(GROWTH)}")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="cpu")
    parser.add_argument("--plot", type=Path, help="draw it there as well (needs matplotlib)")
    options: Any = parser.parse_args()
    if unknown := set(options.works) - GROWTH.keys():
        parser.error(f"no such work: {', '.join(sorted(unknown))}")
    print(f"ms of {options.clock} time a step, {options.threads} threads")
    found = {}
    for name in options.works or GROWTH:
        what = GROWTH[name][0]
        print(f"\n| {name}: {what} | minidl | a unit | PyTorch | ratio |\n|---|---|---|---|---|")
        found[name] = measured(options, name)
        for size, ours, theirs in found[name]:
            print(
                f"| {size} | {ours:.3g} | {ours / size:.3g} | {theirs:.3g} | {ours / theirs:.2f} |",
                flush=True,
            )
    if options.plot:
        plotted(found, options.plot)


if __name__ == "__main__":
    main()
