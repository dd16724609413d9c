"""What a checkpoint knows of a training run, taken from a Trainer and given back to it."""

import os
import platform
import warnings
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from minidl import random
from minidl.data import DataLoader
from minidl.errors import FormatError
from minidl_kernels.cpu.threads import get_num_threads

if TYPE_CHECKING:
    from minidl.training.trainer import Trainer

__all__ = ["capture", "environment", "restore"]


def capture(trainer: "Trainer", loader: DataLoader, check: DataLoader | None) -> dict[str, Any]:
    """Return all but the model's weights: what the rest of the run is a function of."""
    return {
        "made_by": signature(trainer, loader),
        "environment": environment(trainer),
        "epoch": trainer.epoch,
        "batch": trainer.batch,
        "steps": trainer.steps,
        "loss_sum": trainer.loss_sum,
        "samples": trainer.samples,
        "stopped": trainer.stopped,
        "seconds": trainer.seconds,
        "history": trainer.history.epochs,
        "streams": random.get_state(),
        "loader": loader.state_dict(),
        "validation": None if check is None else check.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "callbacks": [callback.state_dict() for callback in trainer.callbacks],
        "metrics": [metric.state_dict() for metric in trainer.metrics],
    }


def restore(
    trainer: "Trainer",
    loader: DataLoader,
    check: DataLoader | None,
    state: dict[str, Any],
    weights: dict[str, Any],
) -> None:
    """Bring a trainer to where `capture` was called.

    Raises FormatError that lists what differs, before anything is changed, for a checkpoint of
    another model, optimiser, data or set of callbacks; warns where threads or versions differ.
    """
    _compare(state, signature(trainer, loader))
    different = _differences(state["environment"], environment(trainer))
    if different:
        warnings.warn(
            "resume: the last bits may differ from an undisturbed run, for the checkpoint was "
            "made with another " + "; ".join(different),
            stacklevel=3,
        )
    trainer.model.load_state_dict(weights)
    for callback, values in zip(trainer.callbacks, state["callbacks"], strict=True):
        callback.load_state_dict(values)
    trainer.optimizer.load_state_dict(state["optimizer"])  # after a schedule, whose rates it has
    for metric, values in zip(trainer.metrics, state["metrics"], strict=True):
        metric.load_state_dict(values)
    loader.load_state_dict(state["loader"])
    if check is not None and state["validation"] is not None:
        check.load_state_dict(state["validation"])
    for name in ("epoch", "batch", "steps", "loss_sum", "samples", "stopped", "seconds"):
        setattr(trainer, name, state[name])
    trainer.history.epochs[:] = state["history"]
    random.set_state(state["streams"])


# ---- is it the same run? ------------------------------------------------------------------------


def signature(trainer: "Trainer", loader: DataLoader) -> dict[str, Any]:
    """Return what must be the same for a checkpoint to fit."""
    return {
        "model": {
            name: f"{tensor.dtype} {tuple(tensor.shape)}"
            for name, tensor in trainer.model.state_dict().items()
        },
        "optimizer": _kind(trainer.optimizer),
        "groups of parameters": [len(g["params"]) for g in trainer.optimizer.param_groups],
        "callbacks": [_kind(callback) for callback in trainer.callbacks],
        "metrics": [metric.name for metric in trainer.metrics],
        "samples of data": len(loader.dataset),
        "batches an epoch": len(loader),
    }


def _kind(value: Any) -> str:
    inner = getattr(value, "schedule", None)
    return type(value).__name__ + (f"({_kind(inner)})" if inner is not None else "")


def _compare(state: dict[str, Any], mine: dict[str, Any]) -> None:
    try:
        saved = state["made_by"]
        problems = _tensors(saved["model"], mine["model"])
        problems += [
            f"{name}: {saved[name]} in the checkpoint, {value} here"
            for name, value in mine.items()
            if name != "model" and saved[name] != value
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"checkpoint: it holds no training run ({error!r})") from None
    if problems:
        raise FormatError(
            "checkpoint: it is of another run, so nothing was loaded:\n  " + "\n  ".join(problems)
            + "\nGive another checkpoint folder, or make model, optimizer and data as they were"
        )  # fmt: skip


def _tensors(saved: dict[str, str], mine: dict[str, str]) -> list[str]:
    lines = [
        f"model: {name} is {saved.get(name, 'not there')} in the checkpoint, "
        f"{mine.get(name, 'not there')} here"
        for name in dict.fromkeys([*saved, *mine])
        if saved.get(name) != mine.get(name)
    ]
    return lines if len(lines) <= 6 else [*lines[:5], f"model: and {len(lines) - 5} more"]


# ---- is it the same machine? --------------------------------------------------------------------


def environment(trainer: "Trainer") -> dict[str, Any]:
    """Return what the last bits of a product of matrices may hang on."""
    from minidl import __version__

    found = {
        "minidl": __version__,
        "numpy": np.__version__,
        "numba": metadata.version("numba"),
        "python": platform.python_version(),
        "device": str(next((p.device for p in trainer.model.parameters()), "cpu")),
        "machine": platform.machine(),
        "CPU features": _cpu_features(),
        "number of CPUs": _cpus(),
        "threads": get_num_threads(),
    }
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    return found | {name: os.environ.get(name) for name in names}


def _cpus() -> int | None:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _cpu_features() -> list[str]:
    config: Any = np.show_config(mode="dicts")
    return list(config.get("SIMD Extensions", {}).get("found", []))


def _differences(saved: dict[str, Any], mine: dict[str, Any]) -> list[str]:
    names = dict.fromkeys([*saved, *mine])
    return [
        f"{name} ({saved.get(name)}, now {mine.get(name)})"
        for name in names
        if saved.get(name) != mine.get(name)
    ]
