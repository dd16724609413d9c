"""A convolutional network learns to tell clothes apart: Fashion-MNIST, 28x28 grey images.

    python examples/cnn.py               10,000 images that come with the package, about a minute
    python examples/cnn.py --full        all 60,000, with dropout, weight decay, one-cycle, flips
    python examples/cnn.py --full --recipe plain     all, trained as plainly as the small part

The network is y = f(W * X + b) twice, each followed by pooling, and two dense layers:
conv 32 3x3, pool, conv 64 3x3, pool, dense 128, dense 10. Writes DIR/cnn.png: some test images
with what the network takes them for, and the filters that its first layer has learnt.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import minidl
from minidl import nn, optim
from minidl.data import FASHION_MNIST_CLASSES, DataLoader, TensorDataset, fashion_mnist
from minidl.nn import functional as F
from minidl.optim.lr_scheduler import OneCycleLR

# What the plain recipe leaves out, and what a practitioner adds on the whole set.
RECIPES = {
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


def flipped(batch: Any, stream: Any) -> Any:
    """Half of the images of a batch, mirrored left to right: clothes look alike from both sides."""
    images, labels = batch
    mirror = minidl.tensor(stream.uniform((len(images), 1, 1, 1)) < 0.5)
    return minidl.where(mirror, images.flip(3), images), labels


def evaluate(model: nn.Module, images: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Mean loss, and the share of images that get the right class."""
    model.eval()
    loss, right = 0.0, 0
    with minidl.no_grad():
        for x, y in DataLoader(TensorDataset(images, labels), batch_size=500):
            scores = model(x)
            loss += F.cross_entropy(scores, y, reduction="sum").item()
            right += (scores.argmax(1) == y).sum().item()
    return loss / len(labels), right / len(labels)


def train(options: argparse.Namespace, console: Console) -> tuple[nn.Module, dict[str, Any]]:
    """Train, report each epoch, and return the network with its figures."""
    recipe = RECIPES[options.recipe]
    minidl.manual_seed(options.seed)
    images, labels = load("train", options.full)
    test_images, test_labels = load("test", options.full)
    model = build(recipe["dropout"])
    parameters = sum(p.numel() for p in model.parameters())
    console.print(f"{len(images):,} images to learn from, {parameters:,} parameters to learn")
    batches = DataLoader(
        TensorDataset(images, labels),
        batch_size=recipe["batch_size"],
        shuffle=True,
        seed=options.seed,
        transform=flipped if recipe["flips"] else None,
    )
    steps = options.epochs * len(batches)
    optimizer: optim.Optimizer
    schedule = None
    if options.recipe == "plain":
        optimizer = optim.Adam(model.parameters(), lr=recipe["lr"])
    else:
        weights = [p for p in model.parameters() if p.ndim > 1]
        biases = [p for p in model.parameters() if p.ndim == 1]
        groups = [{"params": weights}, {"params": biases, "weight_decay": 0.0}]
        optimizer = optim.AdamW(groups, lr=recipe["lr"], weight_decay=recipe["weight_decay"])
        schedule = OneCycleLR(optimizer, recipe["lr"], total_steps=steps)

    history = []
    start = time.perf_counter()
    columns = (TextColumn("epoch {task.fields[epoch]}"), BarColumn(), MofNCompleteColumn())
    columns += (TextColumn("loss {task.fields[loss]:.4f}"), TimeElapsedColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        for epoch in range(1, options.epochs + 1):
            task = bar.add_task("", total=len(batches), epoch=epoch, loss=float("nan"))
            model.train()
            total, seen = 0.0, 0
            for x, y in batches:
                loss = F.cross_entropy(model(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                if schedule is not None:
                    schedule.step()
                total, seen = total + loss.item() * len(y), seen + len(y)
                bar.update(task, advance=1, loss=total / seen)
            bar.remove_task(task)
            test_loss, accuracy = evaluate(model, test_images, test_labels)
            seconds = time.perf_counter() - start
            history.append({"epoch": epoch, "loss": total / seen, "test_loss": test_loss})
            history[-1] |= {"test_accuracy": accuracy, "seconds": round(seconds, 1)}
            console.print(
                f"epoch {epoch:2}/{options.epochs}  loss {total / seen:.4f}  "
                f"test loss {test_loss:.4f}  test accuracy {accuracy:.2%}  ({seconds:.0f} s)"
            )
    best = max(history, key=lambda h: h["test_accuracy"])
    figures = {"test_accuracy": history[-1]["test_accuracy"], "test_loss": history[-1]["test_loss"]}
    figures |= {"best_test_accuracy": best["test_accuracy"], "best_epoch": best["epoch"]}
    figures |= {"seconds": history[-1]["seconds"], "seed": options.seed, "history": history}
    return model, figures


def picture(model: nn.Module, full: bool, path: Path) -> None:
    """Draw 24 test images with predictions, and the 32 filters of the first layer."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    images, labels = load("test", full)
    chosen = np.arange(24) * (len(labels) // 24)
    model.eval()
    with minidl.no_grad():
        scores = minidl.softmax(model(minidl.tensor(images[chosen])), 1).numpy()
    figure = plt.figure(figsize=(13, 7), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(3, 2))
    left.suptitle("Test images: what the network says, and how sure it is (red: wrong)")
    for axis, i, score in zip(left.subplots(4, 6).flat, chosen, scores, strict=True):
        said = int(score.argmax())
        axis.imshow(images[i, 0], cmap="gray_r")
        axis.set_axis_off()
        color = "black" if said == labels[i] else "red"
        axis.set_title(f"{FASHION_MNIST_CLASSES[said]} {score[said]:.0%}", size=8, color=color)
    right.suptitle("The 32 filters of the first layer (blue: negative, red: positive)")
    filters = model[0].weight.detach().numpy()[:, 0]
    bound = abs(filters).max()
    for axis, filter_ in zip(right.subplots(8, 4).flat, filters, strict=True):
        axis.imshow(filter_, cmap="RdBu_r", vmin=-bound, vmax=bound)
        axis.set_axis_off()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """Read the options, train, and leave picture and figures in the folder."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--full", action="store_true", help="all 60,000 + 10,000 images")
    parser.add_argument("--recipe", choices=RECIPES, help="default: plain; with --full: tuned")
    parser.add_argument("--epochs", type=int, help="default: 8; with --full: 10")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out"), metavar="DIR")
    options = parser.parse_args()
    if options.epochs is None:
        options.epochs = 10 if options.full else 8
    if options.epochs < 1:
        parser.error("--epochs must be at least 1")
    options.recipe = options.recipe or ("tuned" if options.full else "plain")
    options.out.mkdir(parents=True, exist_ok=True)

    console = Console(highlight=False)
    model, figures = train(options, console)
    picture(model, options.full, options.out / "cnn.png")
    (options.out / "cnn.json").write_text(json.dumps(figures, indent=1) + "\n")
    minidl.save(model.state_dict(), options.out / "cnn.safetensors")
    console.print(
        f"test accuracy {figures['test_accuracy']:.2%} (best {figures['best_test_accuracy']:.2%}, "
        f"epoch {figures['best_epoch']}), test loss {figures['test_loss']:.4f}, "
        f"{figures['seconds']:.0f} s; picture: {options.out / 'cnn.png'}"
    )


if __name__ == "__main__":
    main()
