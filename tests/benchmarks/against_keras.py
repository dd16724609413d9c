"""The scripts that minidl began with, run by minidl.keras and by Keras on the same real data.

    PYTHONPATH=.:kernels python tests/benchmarks/against_keras.py cnn --keras ~/keras/bin/python

Each engine trains once for each seed, in a process of its own and on one thread, and is judged on
the test set. What they find may differ by twice the standard error of the difference; if it
differs by more, the program ends with status 1. `--keras` is a Python with Keras 3 and PyTorch
(`pip install keras==3.15.* torch==2.13.0`). Fashion-MNIST comes with minidl, 10,000 images to learn
from and 2,000 to test on; the spoken digits of `rnn` are found or fetched.
"""

import argparse
import importlib
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

EPOCHS = {"cnn": 3, "rnn": 10, "autoencoder": 5}
PACKAGES = {"minidl": "minidl.keras", "Keras": "keras"}
THREADS = ("OMP", "OPENBLAS", "MKL", "NUMBA")
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


def mean_and_error(values: list[float]) -> tuple[float, float]:
    """The mean, and its standard error."""
    return statistics.mean(values), statistics.stdev(values) / math.sqrt(len(values))


def compare(found: dict[str, list[dict[str, float]]]) -> float:
    """Print a table; return the greatest difference, in standard errors of the difference."""
    rows = {engine: f"{engine:11}" for engine in found}
    last, greatest = "difference ", 0.0
    for name in ("loss", "accuracy"):
        (a, error_a), (b, error_b) = figures = [
            mean_and_error([row[name] for row in of_seeds]) for of_seeds in found.values()
        ]
        for engine, (mean, error) in zip(found, figures, strict=True):
            rows[engine] += f"  {name} {mean:.5f} ± {error:.5f}"
        errors = abs(a - b) / math.hypot(error_a, error_b) if a != b else 0.0
        last += f"  {name} {a - b:+.5f}, {errors:.2f} standard errors"
        greatest = max(greatest, errors)
    for engine, of_seeds in found.items():
        rows[engine] += f"  {statistics.mean(row['seconds'] for row in of_seeds):.1f} s a seed"
    print("", *rows.values(), last, sep="\n", flush=True)
    return greatest


def several(text: str) -> int:
    """Return a whole number from 2: one seed has no standard error."""
    if (number := int(text)) < 2:
        raise argparse.ArgumentTypeError(f"must be at least 2, not {number}")
    return number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("script", choices=EPOCHS)
    add("--seeds", type=several, default=5, metavar="N")
    add("--first", type=int, default=0, metavar="SEED", help="the first seed (default: 0)")
    add("--epochs", type=int, metavar="N", help=f"default: {EPOCHS}")
    add("--keras", default=sys.executable, metavar="PYTHON", help="the Python that has Keras")
    add("--engine", choices=PACKAGES, help=argparse.SUPPRESS)
    add("--data", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.epochs = options.epochs or EPOCHS[options.script]
    if options.engine:
        seeds = range(options.first, options.first + options.seeds)
        return work(options.engine, options.script, options.epochs, seeds, options.data)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "data.npz")
        given = arrays(options.script)
        np.savez(data, **given)
        found = {engine: run(engine, options, data) for engine in PACKAGES}
    counts = {row["parameters"] for of_seeds in found.values() for row in of_seeds}
    if len(counts) > 1:
        sys.exit(f"the models differ: {counts} parameters")
    print(
        f"\n{options.script}: {counts.pop():,} parameters, {len(given['X_train']):,} examples to "
        f"learn from, {len(given['X_test']):,} to test on, {options.epochs} epochs"
    )
    if compare(found) > 2:
        sys.exit("they differ by more than twice the standard error")


if __name__ == "__main__":
    main()
