"""A recurrent network of three layers listens: who is speaking, or which digit was said.

    python examples/rnn.py               Japanese Vowels, which come with the package: 9 speakers
    python examples/rnn.py --data fsdd   3,000 spoken digits, found or fetched (--full is the same)
    python examples/rnn.py --data fsdd --speaker theo     tested on a voice it has never heard

Each layer is h_t = f(W * h_(t-1) + U * x_t + b), as an LSTM with 128 units; what the third layer
holds after the last frame goes through two dense layers to a score for each class. Utterances of
Japanese Vowels have 7 to 29 frames: they lie in one array with zeros behind them, and `lengths`
tells the layers where each one ends. A spoken digit is (10, 64): ten frames of 64 bands, log-mel.
Writes DIR/confusion.png, who is taken for whom, and what `_common.py` says.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import _common as common
import numpy as np

import minidl
from minidl import metrics, nn, optim
from minidl.data import (
    SPOKEN_DIGITS_RATE,
    SPOKEN_DIGITS_SPEAKERS,
    DataLoader,
    TensorDataset,
    japanese_vowels,
    log_mel,
    pad_sequences,
    pooled_frames,
    spoken_digits,
)
from minidl.nn import functional as F
from minidl.training import Trainer

EPOCHS = {"vowels": 40, "fsdd": 30}
CLASSES = {"vowels": 9, "fsdd": 10}


class Listener(nn.Module):
    """(N, T, features) and the lengths (N,) -> (N, classes): a score for each class."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(features, 128, num_layers=3, batch_first=True)
        self.head = nn.Sequential(nn.Linear(128, 64, activation="relu"), nn.Linear(64, classes))

    def forward(self, frames: minidl.Tensor, lengths: minidl.Tensor) -> minidl.Tensor:
        """Read the frames; the state is that after the last frame that counts."""
        _, (h, _) = self.lstm(frames, lengths=lengths)
        return self.head(h[-1])


def load(split: str, options: argparse.Namespace) -> tuple[list[np.ndarray], np.ndarray]:
    """Sequences (T, features) float32, and labels (N,)."""
    if options.data == "vowels":
        return japanese_vowels(split)
    signals, labels = spoken_digits(split, speaker=options.speaker)
    return [pooled_frames(log_mel(signal, SPOKEN_DIGITS_RATE)) for signal in signals], labels


def prepare(options: argparse.Namespace) -> tuple[TensorDataset, TensorDataset]:
    """Training and test data of (frames, length, label), scaled by the training frames."""
    sets = [load(split, options) for split in ("train", "test")]
    frames = np.concatenate(sets[0][0])
    mean, std = frames.mean(0), frames.std(0)
    train, test = [
        TensorDataset(*pad_sequences([(x - mean) / std for x in sequences]), labels)
        for sequences, labels in sets
    ]
    return train, test


def step(model: nn.Module, batch: Any) -> tuple[Any, Any, Any]:
    """Loss, scores and labels of a batch."""
    frames, lengths, labels = batch
    scores = model(frames, lengths)
    return F.cross_entropy(scores, labels), scores, labels


def train(options: argparse.Namespace) -> tuple[Trainer, TensorDataset]:
    """Train, report each epoch, and return the trainer and the test data."""
    learned, test = prepare(options)
    batches = DataLoader(learned, batch_size=options.batch_size, shuffle=True, seed=options.seed)
    model = Listener(learned.arrays[0].shape[-1], CLASSES[options.data])
    parameters = sum(p.numel() for p in model.parameters())
    common.say(options, f"{len(learned):,} utterances, {parameters:,} parameters to learn")
    trainer = Trainer(
        model,
        optim.Adam(model.parameters(), lr=1e-3),
        step=step,
        metrics=["accuracy"],
        clip_norm=1.0,
        **common.around(options, "speaker"),
    )
    common.fit(trainer, batches, DataLoader(test, batch_size=100), options)
    return trainer, test


def picture(trainer: Trainer, test: TensorDataset, options: argparse.Namespace) -> None:
    """Draw which class of the test set is taken for which."""
    trainer.model.eval()
    matrix = metrics.ConfusionMatrix(labels=range(CLASSES[options.data]))
    with minidl.no_grad():
        for batch in DataLoader(test, batch_size=100):
            frames, lengths, labels = (x.to(device=options.device) for x in batch)
            matrix.update(trainer.model(frames, lengths), labels)
    names = [f"speaker {i + 1}" for i in range(9)] if options.data == "vowels" else None
    metrics.plot_confusion_matrix(matrix.compute(), options.out / "confusion.png", names)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the options, train, and leave pictures and figures in the folder."""
    parser = common.make_parser("rnn", __doc__, ["vowels", "fsdd"])
    parser.add_argument(
        "--speaker", choices=SPOKEN_DIGITS_SPEAKERS, help="spoken digits: test on this one alone"
    )
    options = common.begin(parser, argv)
    options.data = options.data or ("fsdd" if options.full or options.speaker else "vowels")
    if options.speaker and options.data != "fsdd":
        parser.error("--speaker is of the spoken digits: add --data fsdd")
    options.epochs = options.epochs or EPOCHS[options.data]
    options.batch_size = options.batch_size or 32

    trainer, test = train(options)
    picture(trainer, test, options)
    last = trainer.history.epochs[-1]
    figures = {"test_accuracy": last["val_accuracy"], "test_loss": last["val_loss"]}
    figures |= {"test_utterances": len(test)}
    common.leave(options, figures, trainer.seconds)
    print(
        f"test accuracy {last['val_accuracy']:.2%} of {len(test)} utterances after epoch "
        f"{last['epoch']}, test loss {last['val_loss']:.4f}, {trainer.seconds:.0f} s; pictures: "
        f"{options.out / 'confusion.png'}, {options.out / 'curves.png'}"
    )


if __name__ == "__main__":
    common.run(main)
