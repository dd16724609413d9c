"""What the examples share: their options, a run that can be resumed, and what it leaves behind.

Every example writes into `--out DIR`:

    results.json    the figures of the last epoch, with seed, device, versions and command
    log.jsonl       a line for each epoch; "val_" stands before the figures of the test set
    curves.png      the same as curves, and the example's own pictures beside it
    checkpoint/     what `--resume` goes on from, unless `--checkpoint` names another folder

The test set is looked at after each epoch and decides nothing: no epoch is chosen by it.
"""

import argparse
import json
import platform
import shlex
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import minidl
from minidl import DeviceError, FormatError
from minidl.files import replace, write_picture, writing
from minidl.training import Callback, Checkpoint, History, JSONLog, Trainer

RESULTS = "results.json"


def make_parser(name: str, doc: str, data: Sequence[str]) -> argparse.ArgumentParser:
    """Return a parser with the options of every example; an example adds its own.

    data : the names that `--data` takes, the default first
    """
    parser = argparse.ArgumentParser(prog=f"{name}.py", description=doc.partition("\n")[0])
    parser.set_defaults(name=name)
    add = parser.add_argument
    add("--data", choices=data, help=f"what to learn from (default: {data[0]})")
    add("--full", action="store_true", help="the whole data set, found or fetched, and not a part")
    add("--epochs", type=at_least_one, metavar="N")
    add("--batch-size", type=at_least_one, metavar="N")
    add("--seed", type=int, default=0, metavar="N", help="of weights, order and noise (default: 0)")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="where to compute (default: cpu)")
    add("--out", type=Path, default=Path("out", name), metavar="DIR", help=f"default: out/{name}")
    add("--checkpoint", type=Path, metavar="DIR", help="default: the folder checkpoint in --out")
    add("--resume", action="store_true", help="go on from the checkpoint; without one, start")
    add("--quiet", action="store_true", help="print the last line alone")
    return parser


def at_least_one(text: str) -> int:
    """Return a whole number from 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


def begin(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the options, seed minidl and make the folder."""
    words = sys.argv[1:] if argv is None else list(argv)
    options = parser.parse_args(words)
    options.command = shlex.join(["python", f"examples/{options.name}.py", *words])
    options.checkpoint = options.checkpoint or options.out / "checkpoint"
    with writing("--out", options.out):
        options.out.mkdir(parents=True, exist_ok=True)
    minidl.manual_seed(options.seed)
    return options


def say(options: argparse.Namespace, text: str) -> None:
    """Print a line, unless all is to be quiet."""
    if not options.quiet:
        print(text, flush=True)


# ---- training -----------------------------------------------------------------------------------


class SameRun(Callback):
    """Keeps the options in the checkpoint, so that one of another run is refused.

    Where the run is not refused, the figures of an older one go away.
    """

    def __init__(self, run: dict[str, Any], out: Path) -> None:
        self.run, self.out = run, out

    def on_fit_begin(self, trainer: Trainer) -> None:
        forget(self.out)

    def state_dict(self) -> dict[str, Any]:
        return {"run": self.run}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        saved = state["run"]
        differ = [
            f"{name} {saved.get(name)}" for name in self.run if saved.get(name) != self.run[name]
        ]
        if differ:
            raise FormatError(
                f"checkpoint: it is of a run with {', '.join(differ)}; give the same options, "
                "another --checkpoint, or leave out --resume to start afresh"
            )


def around(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Return what a Trainer is given beside model and data, by the options.

    names : options that a resumed run must have as before, besides data, batch size and seed
    """
    same = {name: getattr(options, name) for name in ("data", "full", "batch_size", "seed", *names)}
    return {
        "device": options.device,
        "callbacks": [JSONLog(options.out / "log.jsonl"), SameRun(same, options.out)],
        "checkpoint": Checkpoint(options.checkpoint, every_seconds=30),
    }


def fit(trainer: Trainer, train: Any, test: Any, options: argparse.Namespace) -> History:
    """Train for `--epochs`, from the start or from the checkpoint, and draw the curves."""
    history = trainer.fit(
        train,
        options.epochs,
        validation=test,
        resume=options.resume,
        verbose=0 if options.quiet else 1,
    )
    options.epochs = len(history.epochs)  # more, if the checkpoint had more
    curves(history, options.out / "curves.png")
    return history


def curves(history: History, path: Path) -> None:
    """Draw the history; what it was validated on is called what it is, the test set."""
    left_out = {"lr"} if len(set(history.history["lr"])) == 1 else set()
    epochs = [{k: v for k, v in logs.items() if k not in left_out} for logs in history.epochs]
    figure = History(epochs).plot()
    for axis in figure.axes:
        legend = axis.get_legend()
        for text in legend.get_texts() if legend else ():
            text.set_text(text.get_text().replace("validation", "test"))
    write_picture("curves", path, figure, dpi=120)


# ---- what is left behind ------------------------------------------------------------------------


def leave(options: argparse.Namespace, figures: dict[str, Any], seconds: float) -> None:
    """Write results.json: the figures, and all that is needed to get them again."""
    versions = {"minidl": minidl.__version__, "python": platform.python_version()}
    versions |= {"numpy": np.__version__, "numba": metadata.version("numba")}
    if options.device == "cuda":
        import cupy

        versions["cupy"] = cupy.__version__
    results = figures | {
        "seconds": round(seconds, 1),
        "epochs": options.epochs,
        "seed": options.seed,
        "device": options.device,
        "versions": versions,
        "command": options.command,
    }
    text = json.dumps(results, indent=1, ensure_ascii=False)
    write(options.out / RESULTS, text + "\n")


def forget(out: Path) -> None:
    """Take the figures of an older run away."""
    (out / RESULTS).unlink(missing_ok=True)


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    with writing("results", path):
        replace(path, text.encode())


def run(main: Callable[[], None]) -> None:
    """Run an example; what the user can mend is said in a line, without a traceback."""
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command with --resume goes on")
    except (DeviceError, FormatError, OSError) as error:
        sys.exit(f"error: {error}")
