"""The scripts that minidl began with, run by minidl.keras and by Keras on the same real data.

    PYTHONPATH=.:kernels python tests/benchmarks/against_keras.py cnn --keras ~/keras/bin/python
    PYTHONPATH=.:kernels python tests/benchmarks/against_keras.py table

Each engine trains once for each seed, in a process of its own and on one thread, and is judged on
the test set. `--keras` is a Python with Keras 3 and PyTorch (`pip install keras==3.15.*
torch==2.13.0`). Fashion-MNIST comes with minidl, 10,000 images to learn from and 2,000 to test on;
the spoken digits of `rnn` are found or fetched.

Mean and standard error of each run stand in against_keras.json; `--keep` adds a run to it. `table`
prints the table of docs/results.md from it: the runs, and for each script all of its seeds pooled.
The rule: at least 15 seeds an engine, all seeds ever kept count, and a figure may differ by so many
standard errors that of all six figures of equal engines one exceeds it once in twenty times
(Welch's t, Bonferroni's correction). If a pooled figure differs by more, the status is 1.
"""

import argparse
import importlib
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

EPOCHS = {"cnn": 3, "rnn": 10, "autoencoder": 5}
PACKAGES = {"minidl": "minidl.keras", "Keras": "keras"}
THREADS = ("OMP", "OPENBLAS", "MKL", "NUMBA")
FIGURES = ("loss", "accuracy")
COMPARISONS = len(EPOCHS) * len(FIGURES)
LEVEL = 0.05  # how often one of all the figures of equal engines is taken for a difference
KEPT = Path(__file__).with_suffix(".json")
SCRIPTS = Path(__file__).parents[1] / "keras"  # where seed_scripts.py is


# ---- data ---------------------------------------------------------------------------------------


def images(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Fashion-MNIST, the part that comes with minidl: (N, 28, 28) from 0 to 1, and the classes."""
    from minidl.data import fashion_mnist

    x, labels = fashion_mnist(split)
    return x.astype("float32") / 255, labels


def sounds(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Spoken digits: (N, 10, 64), ten frames of 64 bands in decibels, and the digits."""
    from minidl.data import SPOKEN_DIGITS_RATE, log_mel, pooled_frames, spoken_digits

    signals, labels = spoken_digits(split)
    return np.stack([pooled_frames(log_mel(s, SPOKEN_DIGITS_RATE)) for s in signals]), labels


def arrays(script: str) -> dict[str, Any]:
    """What the script trains on and is judged by, by the names that the script gives it."""
    load = sounds if script == "rnn" else images
    (x, y), (x_test, y_test) = load("train"), load("test")
    if script == "rnn":
        mean, std = x.mean((0, 1)), x.std((0, 1))
        x, x_test = (x - mean) / std, (x_test - mean) / std
    elif script == "cnn":
        x, x_test = x[..., None], x_test[..., None]
    else:
        x, x_test = x.reshape(-1, 784), x_test.reshape(-1, 784)
        y, y_test = x, x_test  # the images themselves
    return {"X_train": x, "y_train": y, "X_test": x_test, "y_test": y_test}


# ---- in a process of its own --------------------------------------------------------------------


def work(engine: str, script: str, epochs: int, seeds: range, data: str) -> None:
    """Run the script for each seed; print what the trained model gives, a line of JSON each."""
    package = PACKAGES[engine]
    if engine == "Keras":
        importlib.import_module("torch").set_num_threads(1)
    utils = importlib.import_module(f"{package}.utils")
    sys.path.append(str(SCRIPTS))
    text = importlib.import_module("seed_scripts").SCRIPTS[script]
    text = text.replace("import tensorflow as tf\n", "").replace("tensorflow.keras", package)
    program = text.replace("epochs=10,", f"epochs={epochs}, verbose=0,")
    warnings.simplefilter("ignore")  # Keras: input_shape= of a layer is out of fashion
    with np.load(data) as file:
        given = dict(file)
    for seed in seeds:
        start = time.perf_counter()
        utils.set_random_seed(seed)
        names: dict[str, Any] = dict(given)
        exec(program, names)
        model = names["model"]
        found = model.evaluate(given["X_test"], given["y_test"], verbose=0, return_dict=True)
        found = {name: float(found[name]) for name in ("loss", "accuracy")}
        found |= {"seconds": time.perf_counter() - start, "parameters": model.count_params()}
        print(json.dumps(found), flush=True)


# ---- both, and the comparison -------------------------------------------------------------------


def run(engine: str, options: argparse.Namespace, data: Path) -> list[dict[str, float]]:
    """Start the engine's process; return what it finds for each seed, printed as it comes."""
    python = options.keras if engine == "Keras" else sys.executable
    words = [python, __file__, options.script, f"--epochs={options.epochs}"]
    words += [f"--seeds={options.seeds}", f"--first={options.first}"]
    words += [f"--engine={engine}", f"--data={data}"]
    one = {f"{library}_NUM_THREADS": "1" for library in THREADS} | {"KERAS_BACKEND": "torch"}
    found = []
    with subprocess.Popen(
        words, env=os.environ | one, text=True, stdout=subprocess.PIPE
    ) as process:
        for line in process.stdout or ():
            found.append(json.loads(line))
            print(
                f"{engine:7}seed {options.first + len(found) - 1}: loss {found[-1]['loss']:.4f}, "
                f"accuracy {found[-1]['accuracy']:.4f}, {found[-1]['seconds']:.0f} s",
                flush=True,
            )
    if process.returncode:
        sys.exit(f"{engine} ended with status {process.returncode}")
    return found


# ---- figures ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Runs:
    """What a script reached with some seeds: of each engine and figure, mean and standard error."""

    script: str
    epochs: int
    seeds: list[tuple[int, int]]  # first and last of each run
    figures: dict[str, dict[str, tuple[float, float]]]

    @property
    def count(self) -> int:
        return sum(last - first + 1 for first, last in self.seeds)


def recorded() -> list[Runs]:
    """Return the runs that are kept."""
    return [
        Runs(
            row["script"],
            row["epochs"],
            [(first, last) for first, last in row["seeds"]],
            {
                engine: {name: (mean, error) for name, (mean, error) in figures.items()}
                for engine, figures in row["figures"].items()
            },
        )
        for row in json.loads(KEPT.read_text(encoding="utf-8"))
    ]


def keep(runs: Runs) -> None:
    """Add a run to those that are kept. Exits where one of its seeds has been run before."""
    rows = recorded()
    for row in rows:
        for (first, last), (begin, end) in itertools.product(row.seeds, runs.seeds):
            same = (row.script, row.epochs) == (runs.script, runs.epochs)
            if same and first <= end and begin <= last:
                sys.exit(f"seeds {first} to {last} have been kept before")
    lines = ",\n".join(json.dumps(asdict(row)) for row in [*rows, runs])
    KEPT.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def of_seeds(options: argparse.Namespace, found: dict[str, list[dict[str, float]]]) -> Runs:
    """Return mean and standard error of what the engines found."""
    figures = {
        engine: {
            name: (
                statistics.mean(values := [row[name] for row in rows]),
                statistics.stdev(values) / math.sqrt(len(values)),
            )
            for name in FIGURES
        }
        for engine, rows in found.items()
    }
    seeds = [(options.first, options.first + options.seeds - 1)]
    return Runs(options.script, options.epochs, seeds, figures)


def pooled(runs: Sequence[Runs]) -> Runs:
    """Return several runs of one script as one: as if all of its seeds had been run together.

    A run of n seeds with mean m and standard error e has a sum of squares about m of n (n - 1) e²;
    about the mean M of all it has n (m - M)² more.
    """
    total = sum(run.count for run in runs)
    figures: dict[str, dict[str, tuple[float, float]]] = {engine: {} for engine in PACKAGES}
    for engine, name in itertools.product(PACKAGES, FIGURES):
        parts = [(run.count, *run.figures[engine][name]) for run in runs]
        mean = sum(n * m for n, m, _ in parts) / total
        squares = sum(n * (n - 1) * e**2 + n * (m - mean) ** 2 for n, m, e in parts)
        figures[engine][name] = mean, math.sqrt(squares / (total - 1) / total)
    seeds = [each for run in runs for each in run.seeds]
    return Runs(runs[0].script, runs[0].epochs, seeds, figures)


def difference(runs: Runs, name: str) -> tuple[float, float]:
    """Return by how many standard errors the engines differ in a figure, and how many may be.

    B. L. Welch, Biometrika 34, 28-35, 1947: t = (a - b) / √(v + w) of v + w, the squares of the
    standard errors, has about (v + w)² / (v²/(n - 1) + w²/(n - 1)) degrees of freedom.
    """
    from scipy.stats import t  # comes with scikit-learn, minidl[examples]

    (a, error_a), (b, error_b) = [runs.figures[engine][name] for engine in PACKAGES]
    v, w = error_a**2, error_b**2
    freedom = (runs.count - 1) * (v + w) ** 2 / (v**2 + w**2)
    return abs(a - b) / math.sqrt(v + w), float(t.ppf(1 - LEVEL / COMPARISONS / 2, freedom))


def row(runs: Runs) -> str:
    """Return a row of the table."""
    shown = [f"{first} to {last}" for first, last in runs.seeds]
    seeds = shown[0] if len(shown) == 1 else f"{runs.count}: {', '.join(shown)}"
    cells = [f"{runs.script}, {runs.epochs}", seeds]
    for engine in PACKAGES:
        (loss, e), (accuracy, d) = (runs.figures[engine][name] for name in FIGURES)
        digits = 5 if runs.script == "autoencoder" else 4
        cells.append(f"{loss:.{digits}f} ± {e:.{digits}f}, {100 * accuracy:.2f} ± {100 * d:.2f} %")
    found = [difference(runs, name) for name in FIGURES]
    cells.append(", ".join(f"**{t:.2f}**" if t > 2 else f"{t:.2f}" for t, _ in found))
    cells.append(", ".join(f"{most:.2f}" for _, most in found))
    return f"| {' | '.join(cells)} |"


def table(runs: Sequence[Runs]) -> tuple[list[str], bool]:
    """Return the table, and whether each pooled figure is within what equal engines may differ."""
    head = "script, epochs | seeds | minidl: loss, accuracy | Keras: loss, accuracy"
    lines = [f"| {head} | difference | allowed |", "|---|---|---|---|---|---|"]
    good = True

    def kind(run: Runs) -> tuple[int, int]:
        return list(EPOCHS).index(run.script), run.epochs

    for _, group in itertools.groupby(sorted(runs, key=kind), kind):
        parts = list(group)
        together = pooled(parts)
        shown = parts if len(parts) == 1 else [*parts, together]
        lines += [row(run) for run in shown]
        good &= all(t <= most for t, most in (difference(together, name) for name in FIGURES))
    return lines, good


def several(text: str) -> int:
    """Return a whole number from 2: one seed has no standard error."""
    if (number := int(text)) < 2:
        raise argparse.ArgumentTypeError(f"must be at least 2, not {number}")
    return number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("script", choices=[*EPOCHS, "table"])
    add("--seeds", type=several, default=15, metavar="N", help="how many (default: 15)")
    add("--first", type=int, default=0, metavar="SEED", help="the first seed (default: 0)")
    add("--epochs", type=int, metavar="N", help=f"default: {EPOCHS}")
    add("--keras", default=sys.executable, metavar="PYTHON", help="the Python that has Keras")
    add("--keep", action="store_true", help=f"add the run to {KEPT.name}")
    add("--engine", choices=PACKAGES, help=argparse.SUPPRESS)
    add("--data", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.script == "table":
        return show(recorded())
    options.epochs = options.epochs or EPOCHS[options.script]
    if options.engine:
        seeds = range(options.first, options.first + options.seeds)
        return work(options.engine, options.script, options.epochs, seeds, options.data)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "data.npz")
        given = arrays(options.script)
        np.savez(data, **given)
        found = {engine: run(engine, options, data) for engine in PACKAGES}
    counts = {row["parameters"] for rows in found.values() for row in rows}
    if len(counts) > 1:
        sys.exit(f"the models differ: {counts} parameters")
    print(
        f"\n{options.script}: {counts.pop():,} parameters, {len(given['X_train']):,} examples to "
        f"learn from, {len(given['X_test']):,} to test on, {options.epochs} epochs"
    )
    runs = of_seeds(options, found)
    if options.keep:
        keep(runs)
    show([runs])


def show(runs: Sequence[Runs]) -> None:
    """Print the table; exit with status 1 if engines differ by more than is allowed."""
    lines, good = table(runs)
    print("", *lines, sep="\n", flush=True)
    if not good:
        sys.exit("they differ by more than equal engines would, but for one time in twenty")


if __name__ == "__main__":
    main()
