"""A small training run with everything in it that a checkpoint must know.

As a program, `training_run.py FOLDER SECONDS`, it resumes if it can, waits so long after each
batch, and leaves the weights and the history in FOLDER; it may be killed at any moment.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import minidl
from minidl import nn, optim
from minidl.data import DataLoader, TensorDataset
from minidl.training import EMA, Callback, Checkpoint, CSVLog, EarlyStopping, LambdaCallback
from minidl.training import Trainer as Trainer_

EPOCHS, BATCHES = 3, 7


def arrays() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 4)).astype(np.float32)
    return x, (x[:, 0] + x[:, 1] ** 2 > 0.5).astype(np.int64)


def noisy(batch: Any, stream: Any) -> Any:
    """Augmentation: what a batch becomes hangs on the loader's seed, epoch and number."""
    x, y = batch
    return minidl.tensor(x.numpy() + stream.normal(x.shape, std=0.05)), y


def loader(seed: int | None = None, prefetch: int = 0) -> DataLoader:
    return DataLoader(
        TensorDataset(*arrays()), 8, shuffle=True, seed=seed, transform=noisy, prefetch=prefetch
    )


def trainer(folder: Path, seed: int, *callbacks: Callback, **options: Any) -> Trainer_:
    """The run's trainer; another seed gives another beginning, which a resume must undo."""
    minidl.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(4, 6, activation="tanh"), nn.BatchNorm1d(6), nn.Dropout(0.3), nn.Linear(6, 2)
    )
    optimizer = optim.AdamW(model.parameters(), lr=0.02)
    return Trainer_(
        model,
        optimizer,
        nn.CrossEntropyLoss(),
        metrics=["accuracy", "f1"],
        schedule=optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=EPOCHS * BATCHES),
        clip_norm=1.0,
        callbacks=[
            CSVLog(folder / "log.csv"),
            EarlyStopping(patience=9, restore_best=True),
            EMA(0.9, warmup=True),
            *callbacks,
        ],
        checkpoint=Checkpoint(folder, **options),
    )


def result(trained: Trainer_, folder: Path) -> dict[str, Any]:
    """Everything that must be the same bits: weights, history, logs, streams, optimiser."""
    state = trained.model.state_dict()
    moments = trained.optimizer.state_dict()["state"]
    return {
        "weights": {name: t.numpy().tobytes().hex() for name, t in state.items()},
        "moments": [(m["step"], m["exp_avg"].numpy().tobytes().hex()) for m in moments.values()],
        "history": trained.history.epochs,
        "log": (folder / "log.jsonl").read_text(),
        "table": (folder / "log.csv").read_text(),
        "streams": minidl.random.get_state(),
    }


def main() -> None:
    folder, seconds = Path(sys.argv[1]), float(sys.argv[2])
    slow = LambdaCallback(on_batch_end=lambda *_: time.sleep(seconds))
    trained = trainer(folder, 1, slow, every_steps=1)
    print("begun", flush=True)
    trained.fit(loader(), EPOCHS, validation=arrays(), resume=True, verbose=0)
    (folder / "result.json").write_text(json.dumps(result(trained, folder)))


if __name__ == "__main__":
    main()
