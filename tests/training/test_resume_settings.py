"""Resuming is exact in each setting that keeps a state of its own, wherever it was stopped."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import nn, ops, optim
from minidl.data import DataLoader, Dataset, TensorDataset, pad_sequences
from minidl.nn import functional as F
from minidl.optim import lr_scheduler as rates
from minidl.serialization import read_metadata
from minidl.training import (
    EMA,
    BestModel,
    Callback,
    Checkpoint,
    EarlyStopping,
    LambdaCallback,
    Schedule,
    Trainer,
)
from minidl.training.snapshot import pack

EPOCHS, COUNT = 3, 22
rng = np.random.default_rng(0)
X = rng.normal(size=(COUNT, 4)).astype("float32")
Y = (X[:, 0] > X[:, 1]).astype("int64")


class Sequences(Dataset):
    """Sequences of 1 to 5 steps with their label, as dicts."""

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> Any:
        return {"x": X[: index % 5 + 1], "y": int(Y[index])}


def padded(items: list[Any]) -> dict[str, Any]:
    x, lengths = pad_sequences([item["x"] for item in items])
    return {"x": x, "lengths": lengths, "y": minidl.tensor([item["y"] for item in items])}


class Reader(nn.Module):
    """A GRU in both directions, read off at the end of each sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(4, 3, batch_first=True, bidirectional=True)
        self.out = nn.Linear(6, 2)

    def forward(self, x: Any, lengths: Any) -> Any:
        _, h = self.gru(x, lengths=lengths)
        return self.out(ops.cat([h[0], h[1]], dim=1))


class Sampling(nn.Module):
    """Draws in evaluation as well, as a variational autoencoder may."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x: Any) -> Any:
        return self.layer(x) + minidl.randn(len(x), 2)


def read(model: Any, batch: Any) -> Any:
    scores = model(batch["x"], batch["lengths"])
    return F.cross_entropy(scores, batch["y"]), scores, batch["y"]


def plain(folder: Path, optimizer: Any, model: nn.Module | None = None, **options: Any) -> Trainer:
    model = model or nn.Sequential(
        nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(0.4), nn.Linear(5, 2)
    )
    made = optimizer(model.parameters())
    if "schedule" in options:
        options["schedule"] = options["schedule"](made)
    return Trainer(model, made, F.cross_entropy, **options)


def gru(folder: Path, **options: Any) -> Trainer:
    model = Reader()
    groups = [{"params": model.gru.parameters()}, {"params": model.out.parameters(), "lr": 0.1}]
    return Trainer(
        model, optim.RMSprop(groups, lr=0.02, momentum=0.5, centered=True), step=read,
        metrics=["accuracy", "confusion_matrix"], clip_norm=0.1, **options,
    )  # fmt: skip


SETTINGS: dict[str, Callable[..., Trainer]] = {
    "gru": gru,
    "momentum, a schedule of a schedule": lambda folder, **o: plain(
        folder, lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
        schedule=lambda opt: rates.SequentialLR(
            opt, [rates.LinearLR(opt, 0.1, total_iters=1), rates.CosineAnnealingLR(opt, 4)], [1]
        ), **o,
    ),
    "amsgrad, a function as schedule": lambda folder, **o: plain(
        folder, lambda p: optim.Adam(p, lr=0.05, amsgrad=True),
        schedule=lambda opt: Schedule(rates.LambdaLR(opt, lambda step: 0.9**step), "batch"), **o,
    ),
    "plateau, early stopping, averages": lambda folder, **o: plain(
        folder, lambda p: optim.NAdam(p, lr=0.05),
        schedule=lambda opt: rates.ReduceLROnPlateau(opt, factor=0.5, patience=0), **o
        | {"callbacks": [
            EarlyStopping("val_loss", patience=1, restore_best=True), EMA(0.8),
            BestModel(folder / "best.safetensors"), BestModel(), *o["callbacks"],
        ]},
    ),
    "draws in evaluation": lambda folder, **o: plain(
        folder, lambda p: optim.Adagrad(p, lr=0.1), Sampling(), metrics=["f1"], **o
    ),
}  # fmt: skip


def data(name: str, prefetch: int) -> tuple[Any, Any]:
    if name != "gru":
        loader = DataLoader(TensorDataset(X, Y), 5, shuffle=True, prefetch=prefetch)
        return loader, (X, Y)
    loader = DataLoader(Sequences(), 5, shuffle=True, collate_fn=padded, prefetch=prefetch)
    return loader, DataLoader(Sequences(), 8, collate_fn=padded)


def run(
    name: str, folder: Path, seed: int, *callbacks: Callback, epochs: int = EPOCHS, **options: Any
) -> dict[str, Any]:
    """Train, resuming where there is a checkpoint; return all that must be equal in the end."""
    minidl.manual_seed(seed)
    checkpoint = Checkpoint(folder, every_steps=options.pop("every_steps", None))
    trainer = SETTINGS[name](folder, callbacks=list(callbacks), checkpoint=checkpoint, **options)
    loader, validation = data(name, prefetch=seed % 3)
    trainer.fit(loader, epochs, validation=validation, resume=True, verbose=0)
    arrays: dict[str, Any] = {}
    tree = pack(
        {
            "weights": trainer.model.state_dict(),
            "optimizer": trainer.optimizer.state_dict(),
            "callbacks": [c.state_dict() for c in trainer.callbacks if c not in callbacks],
            "streams": minidl.random.get_state(),
            "loader": loader.state_dict(),
            "history": trainer.history.epochs,
            "place": [trainer.epoch, trainer.batch, trainer.steps, trainer.stopped],
        },
        arrays,
    )
    best = folder / "best.safetensors"
    return {
        "state": tree,
        "arrays": {k: minidl.tensor(a).numpy().tobytes().hex() for k, a in arrays.items()},
        "log": (folder / "log.jsonl").read_text(),
        "best": kept(best) if best.exists() else None,
    }


def kept(path: Path) -> Any:
    """What a file of weights holds; the order of its texts is left to chance by the format."""
    tensors = {name: t.numpy().tobytes() for name, t in minidl.load(path).items()}
    return tensors, read_metadata(path)


class Stopped(BaseException):
    """The program ends here."""


def at(step: int, what: Callable[[], Any]) -> Callback:
    return LambdaCallback(on_batch_end=lambda trainer, now, logs: what() if now == step else None)


def stop() -> None:
    raise Stopped


@pytest.mark.parametrize("name", SETTINGS)
def test_stopped_within_and_between_epochs(name: str, tmp_path: Path) -> None:
    def other() -> Callback:
        return at(0, stop)

    straight = run(name, tmp_path / "straight", 1, other())
    for first, second in [(3, 9), (6, 7), (11, 12)]:
        folder = tmp_path / str(first)
        for seed, step in ((1, first), (8, second)):
            with pytest.raises(Stopped):
                run(name, folder, seed, at(step, stop), every_steps=2)
        assert run(name, folder, 9, other(), every_steps=2) == straight


@pytest.mark.parametrize(
    "name", ["gru", "draws in evaluation", "momentum, a schedule of a schedule"]
)
def test_more_epochs_than_before(name: str, tmp_path: Path) -> None:
    straight = run(name, tmp_path / "straight", 1)
    run(name, tmp_path / "more", 1, epochs=1)
    run(name, tmp_path / "more", 7, epochs=2)
    assert run(name, tmp_path / "more", 8) == straight


def test_ctrl_c_while_a_model_that_draws_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = run("draws in evaluation", tmp_path / "straight", 1)
    forward, seen = Sampling.forward, []

    def interrupting(self: Any, x: Any) -> Any:
        if not self.training:
            seen.append(1)
            if len(seen) == 1:
                signal.raise_signal(signal.SIGINT)
        return forward(self, x)

    monkeypatch.setattr(Sampling, "forward", interrupting)
    with pytest.raises(KeyboardInterrupt):
        run("draws in evaluation", tmp_path / "broken", 1)
    assert run("draws in evaluation", tmp_path / "broken", 5) == straight


def test_a_second_fit_is_resumed_from_its_own_beginning(tmp_path: Path) -> None:
    """Stopped before its first checkpoint, it must not go on with that of the fit before."""

    def both(folder: Path, step: int, resume: bool) -> tuple[Any, Any]:
        minidl.manual_seed(3)
        trainer = plain(folder, lambda p: optim.Adam(p, lr=0.02), checkpoint=folder)
        if not resume:
            trainer.fit((X, Y), 2, batch_size=5, verbose=0)
        trainer.callbacks.append(at(step, stop))
        history = trainer.fit((X, Y), 2, batch_size=5, resume=resume, verbose=0)
        return history.epochs, [p.detach().numpy().tobytes() for p in trainer.model.parameters()]

    straight = both(tmp_path / "straight", 99, False)
    with pytest.raises(Stopped):
        both(tmp_path / "broken", 3, False)
    assert Checkpoint(tmp_path / "broken").load()[0]["epoch"] == 0  # type: ignore[index]
    minidl.manual_seed(4)
    again = plain(tmp_path, lambda p: optim.Adam(p, lr=0.02), checkpoint=tmp_path / "broken")
    again.callbacks.append(at(99, stop))
    history = again.fit((X, Y), 2, batch_size=5, resume=True, verbose=0)
    weights = [p.detach().numpy().tobytes() for p in again.model.parameters()]
    assert (history.epochs, weights) == straight
