"""A convolutional network learns to tell clothes apart: Fashion-MNIST, 28x28 grey images.

    python examples/cnn.py               10,000 images that come with the package, about a minute
    python examples/cnn.py --full        all 60,000, with dropout, weight decay, one-cycle, flips
    python examples/cnn.py --full --recipe plain     all, trained as plainly as the small part

The network is y = f(W * X + b) twice, each followed by pooling, and two dense layers:
conv 32 3x3, pool, conv 64 3x3, pool, dense 128, dense 10. Writes DIR/cnn.png: some test images
with what the network takes them for, and the filters that its first layer has learnt; the network
itself in DIR/model, for `minidl.load_model`; and what `_common.py` says.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import _common as common
import numpy as np

import minidl
from minidl import nn, optim
from minidl.data import FASHION_MNIST_CLASSES, DataLoader, Flip, TensorDataset, fashion_mnist
from minidl.optim.lr_scheduler import OneCycleLR
from minidl.training import Trainer

# What the plain recipe leaves out, and what a practitioner adds on the whole set.
RECIPES: dict[str, dict[str, Any]] = {
    "plain": {"batch_size": 32, "dropout": 0.0, "flips": False, "lr": 1e-3, "weight_decay": 0.0},
    "tuned": {"batch_size": 64, "dropout": 0.3, "flips": True, "lr": 4e-3, "weight_decay": 0.05},
}


def build(dropout: float) -> nn.Sequential:
    """(N, 1, 28, 28) -> (N, 10): a score for each class."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, activation="relu"),  # (N, 32, 26, 26)
        nn.MaxPool2d(2),  # (N, 32, 13, 13)
        nn.Conv2d(32, 64, 3, activation="relu"),  # (N, 64, 11, 11)
        nn.MaxPool2d(2),  # (N, 64, 5, 5)
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(64 * 5 * 5, 128, activation="relu"),
        nn.Dropout(dropout),
        nn.Linear(128, 10),
    )


def load(split: str, full: bool) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 1, 28, 28) float32 from 0 to 1, and labels (N,)."""
    images, labels = fashion_mnist(split, full=full)
    return images[:, None].astype("float32") / 255, labels


def train(options: argparse.Namespace) -> Trainer:
    """Train, report each epoch, and return the trainer with its history."""
    recipe = RECIPES[options.recipe]
    images, labels = load("train", options.full)
    batches = DataLoader(
        TensorDataset(images, labels),
        batch_size=options.batch_size,
        shuffle=True,
        seed=options.seed,
        transform=Flip() if recipe["flips"] else None,  # clothes look alike from both sides
    )
    test = DataLoader(TensorDataset(*load("test", options.full)), batch_size=500)

    model = build(recipe["dropout"])
    optimizer: optim.Optimizer
    schedule = None
    if options.recipe == "plain":
        optimizer = optim.Adam(model.parameters(), lr=recipe["lr"])
    else:
        weights = [p for p in model.parameters() if p.ndim > 1]
        biases = [p for p in model.parameters() if p.ndim == 1]
        groups = [{"params": weights}, {"params": biases, "weight_decay": 0.0}]
        optimizer = optim.AdamW(groups, lr=recipe["lr"], weight_decay=recipe["weight_decay"])
        steps = options.epochs * len(batches)
        schedule = OneCycleLR(optimizer, recipe["lr"], total_steps=steps)

    parameters = sum(p.numel() for p in model.parameters())
    common.say(options, f"{len(images):,} images to learn from, {parameters:,} parameters to learn")
    same = ("recipe", "epochs") if schedule else ("recipe",)  # the cycle ends with the last epoch
    trainer = Trainer(
        model,
        optimizer,
        nn.CrossEntropyLoss(),
        metrics=["accuracy"],
        schedule=schedule,
        **common.around(options, *same),
    )
    common.fit(trainer, batches, test, options)
    return trainer


def picture(trainer: Trainer, full: bool, path: Path) -> None:
    """Draw 24 test images with predictions, and the 32 filters of the first layer."""
    from matplotlib.figure import Figure

    images, labels = load("test", full)
    chosen = np.arange(24) * (len(labels) // 24)
    scores = minidl.softmax(trainer.predict(images[chosen]), 1).numpy()
    figure = Figure(figsize=(13, 7), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(3, 2))
    left.suptitle("What the network takes test images for, and how sure it is (red: wrong)")
    for axis, i, score in zip(left.subplots(4, 6).flat, chosen, scores, strict=True):
        said = int(score.argmax())
        axis.imshow(images[i, 0], cmap="gray_r")
        axis.set_axis_off()
        title, color = f"{FASHION_MNIST_CLASSES[said]} {score[said]:.0%}", "black"
        if said != labels[i]:
            title, color = f"{title}\nis {FASHION_MNIST_CLASSES[labels[i]]}", "red"
        axis.set_title(title, size=8, color=color)
    right.suptitle("The 32 filters of the first layer (blue: negative, red: positive)")
    filters = trainer.model[0].weight.detach().cpu().numpy()[:, 0]
    bound = abs(filters).max()
    for axis, filter_ in zip(right.subplots(8, 4).flat, filters, strict=True):
        axis.imshow(filter_, cmap="RdBu_r", vmin=-bound, vmax=bound)
        axis.set_axis_off()
    figure.savefig(path, dpi=110)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the options, train, and leave picture and figures in the folder."""
    parser = common.make_parser("cnn", __doc__, ["fashion_mnist"])
    parser.add_argument("--recipe", choices=RECIPES, help="default: plain; with --full: tuned")
    options = common.begin(parser, argv)
    options.data = options.data or "fashion_mnist"
    options.epochs = options.epochs or (10 if options.full else 8)
    options.recipe = options.recipe or ("tuned" if options.full else "plain")
    options.batch_size = options.batch_size or RECIPES[options.recipe]["batch_size"]

    trainer = train(options)
    picture(trainer, options.full, options.out / "cnn.png")
    minidl.save_model(trainer.model, options.out / "model")
    last = trainer.history.epochs[-1]
    best = trainer.history.best("val_accuracy", "max")
    figures = {"test_accuracy": last["val_accuracy"], "test_loss": last["val_loss"]}
    figures |= {"best_test_accuracy": best["val_accuracy"], "best_epoch": best["epoch"]}
    common.leave(options, figures, trainer.seconds)
    print(
        f"test accuracy {last['val_accuracy']:.2%} after epoch {last['epoch']} "
        f"(the best was {best['val_accuracy']:.2%}, epoch {best['epoch']}), test loss "
        f"{last['val_loss']:.4f}, {trainer.seconds:.0f} s; picture: {options.out / 'cnn.png'}"
    )


if __name__ == "__main__":
    common.run(main)
