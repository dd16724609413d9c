"""An autoencoder learns to write an image of 784 pixels as 64 numbers, and to draw it from them.

    python examples/autoencoder.py               10,000 images that come with the package
    python examples/autoencoder.py --denoise     noise goes in, the clean image is to come out
    python examples/autoencoder.py --full        all 60,000

z = encoder(x) and x' = decoder(z): dense layers 784-64-64 and 64-784. Nothing but the images is
learnt from; the labels serve afterwards, to see what the code z holds. Writes
DIR/reconstructions.png: images, what went in, what came out; DIR/code.png: z in two dimensions, by
class; the network in DIR/model, for `minidl.load_model`; and what `_common.py` says.

Two yardsticks stand beside the figures. The loss, cross-entropy of each pixel, is not 0 for a
perfect copy, as grey pixels are not certain: `least_loss` is what it would be. And `pca_mse` is the
squared error of principal components, the best linear code of as many numbers for clean images.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import _common as common
import numpy as np

import minidl
from minidl import nn, optim
from minidl.data import FASHION_MNIST_CLASSES, DataLoader, TensorDataset, fashion_mnist
from minidl.training import Trainer

CODE = 64
NOISE = 0.3


def build() -> nn.Sequential:
    """Encoder and decoder; the decoder's scores become pixels by the sigmoid."""
    encoder = nn.Sequential(
        nn.Linear(784, 64, activation="relu"), nn.Linear(64, CODE, activation="relu")
    )
    decoder = nn.Sequential(nn.Linear(CODE, 784))
    return nn.Sequential(encoder, decoder)


def load(split: str, full: bool) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 784) float32 from 0 to 1, and labels (N,)."""
    images, labels = fashion_mnist(split, full=full)
    return images.reshape(-1, 784).astype("float32") / 255, labels


class Pairs:
    """Makes of a batch of images what goes in, with noise of some strength, and what shall come."""

    def __init__(self, noise: float) -> None:
        self.noise = noise

    def __call__(self, batch: Any, stream: Any) -> Any:
        """Return (x, clean); the noise is drawn from the batch's stream."""
        (clean,) = batch
        if not self.noise:
            return clean, clean
        noise = minidl.tensor(stream.normal(clean.shape))
        return (clean + self.noise * noise).clamp(0.0, 1.0), clean


def train(options: argparse.Namespace, images: np.ndarray, test: DataLoader) -> Trainer:
    """Train, report each epoch, and return the trainer with its history."""
    batches = DataLoader(
        TensorDataset(images),
        batch_size=options.batch_size,
        shuffle=True,
        seed=options.seed,
        transform=Pairs(options.denoise),
    )
    model = build()
    parameters = sum(p.numel() for p in model.parameters())
    common.say(options, f"{len(images):,} images to learn from, {parameters:,} parameters to learn")
    trainer = Trainer(
        model,
        optim.Adam(model.parameters(), lr=1e-3),
        nn.BCEWithLogitsLoss(),
        **common.around(options, "denoise"),
    )
    common.fit(trainer, batches, test, options)
    return trainer


# ---- what was learnt ----------------------------------------------------------------------------


def codes(trainer: Trainer, images: np.ndarray) -> np.ndarray:
    """z = encoder(x): (N, 784) -> (N, 64)."""
    encoder = trainer.model[0]
    with minidl.no_grad():
        return encoder(minidl.tensor(images, device=trainer.device)).cpu().numpy()


def neighbours_say(known: np.ndarray, labels: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The class of each that most of its 5 nearest among the known have."""
    found = []
    for part in np.array_split(asked, max(1, len(asked) // 500)):
        distance = (known**2).sum(1) - 2 * part @ known.T
        nearest = labels[np.argpartition(distance, 5, axis=1)[:, :5]]
        found.append((nearest[:, :, None] == np.arange(10)).sum(1).argmax(1))
    return np.concatenate(found)


def principal(x: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean of (N, D), and the `count` directions (D, count) in which it varies most."""
    mean = x.mean(0)
    _, vectors = np.linalg.eigh(np.cov(x - mean, rowvar=False))
    return mean, vectors[:, ::-1][:, :count].astype(x.dtype)


def entropy(x: np.ndarray) -> float:
    """The cross-entropy of pixels with themselves: the loss of a perfect copy."""
    p = np.clip(x.astype("float64"), 1e-12, 1 - 1e-12)
    return float(-(p * np.log(p) + (1 - p) * np.log1p(-p)).mean())


def judge(
    trainer: Trainer, learned: tuple[Any, Any], inputs: np.ndarray, test: tuple[Any, Any]
) -> tuple[dict[str, float], np.ndarray]:
    """The figures, and the images that come out for the inputs."""
    (images, labels), (clean, right) = learned, test
    drawn = minidl.sigmoid(trainer.predict(inputs, batch_size=500)).cpu().numpy()
    mean, directions = principal(images, CODE)
    linear = mean + (inputs - mean) @ directions @ directions.T
    known, asked = codes(trainer, images), codes(trainer, inputs)
    figures = {
        "test_loss": trainer.history.epochs[-1]["val_loss"],
        "least_loss": entropy(clean),
        "test_mse": float(((drawn - clean) ** 2).mean()),
        "pca_mse": float(((linear - clean) ** 2).mean()),
        "neighbour_accuracy_of_code": float((neighbours_say(known, labels, asked) == right).mean()),
        "neighbour_accuracy_of_pixels": float(
            (neighbours_say(images, labels, inputs) == right).mean()
        ),
    }
    return figures, drawn


def picture(rows: dict[str, np.ndarray], path: Path) -> None:
    """Draw the images of each row; a column is an image and what became of it."""
    from matplotlib.figure import Figure

    columns = len(next(iter(rows.values())))
    figure = Figure(figsize=(1.1 * columns, 1.25 * len(rows) + 0.2), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for line, (name, images) in zip(axes, rows.items(), strict=True):
        line[0].set_title(name, loc="left", size=10)
        for axis, image in zip(line, images, strict=True):
            axis.imshow(image.reshape(28, 28), cmap="gray_r", vmin=0, vmax=1)
            axis.set_axis_off()
    figure.savefig(path, dpi=120)


def picture_of_code(z: np.ndarray, labels: np.ndarray, path: Path) -> None:
    """Draw z in the two directions in which it varies most, a colour for each class."""
    from matplotlib.figure import Figure

    mean, directions = principal(z, 2)
    points = (z - mean) @ directions
    share = points.var(0).sum() / z.var(0).sum()
    figure = Figure(figsize=(8.5, 6.5), layout="constrained")
    axis = figure.subplots()
    colors = [f"C{label}" for label in labels[:2000]]  # in the data's order: no class hides another
    axis.scatter(*points[:2000].T, s=8, alpha=0.5, color=colors, linewidths=0)
    for label, name in enumerate(FASHION_MNIST_CLASSES):
        axis.scatter([], [], s=50, color=f"C{label}", label=name)
    axis.set_title(
        f"The code z of test images: 2 of {CODE} dimensions, {share:.0%} of its variance"
    )
    axis.set_xlabel("first principal direction")
    axis.set_ylabel("second principal direction")
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    figure.savefig(path, dpi=120)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the options, train, and leave pictures and figures in the folder."""
    parser = common.make_parser("autoencoder", __doc__, ["fashion_mnist"])
    parser.add_argument(
        "--denoise",
        type=float,
        nargs="?",
        const=NOISE,
        default=0.0,
        metavar="STRENGTH",
        help=f"put noise of this standard deviation on the pixels that go in ({NOISE})",
    )
    options = common.begin(parser, argv)
    if not 0 <= options.denoise < float("inf"):
        parser.error("--denoise must be 0 or more")
    options.data = options.data or "fashion_mnist"
    options.epochs = options.epochs or 20
    options.batch_size = options.batch_size or 32

    learned, (clean, labels) = load("train", options.full), load("test", options.full)
    test = DataLoader(
        TensorDataset(clean), batch_size=500, seed=options.seed, transform=Pairs(options.denoise)
    )
    inputs = np.concatenate([x.numpy() for x, _ in test.batches(0)])
    trainer = train(options, learned[0], test)
    figures, drawn = judge(trainer, learned, inputs, (clean, labels))

    chosen = [int(i) for kind in range(10) for i in np.flatnonzero(labels == kind)[:1]]
    rows = {"test images": clean[chosen]}
    if options.denoise:
        rows[f"with noise of {options.denoise:g}: what goes in"] = inputs[chosen]
    rows[f"drawn from {CODE} numbers"] = drawn[chosen]
    picture(rows, options.out / "reconstructions.png")
    picture_of_code(codes(trainer, inputs), labels, options.out / "code.png")
    minidl.save_model(trainer.model, options.out / "model")
    common.leave(options, figures, trainer.seconds)
    print(
        f"test loss {figures['test_loss']:.4f} (a perfect copy: {figures['least_loss']:.4f}), "
        f"mean squared error {figures['test_mse']:.4f} (principal components: "
        f"{figures['pca_mse']:.4f}); class by the 5 nearest neighbours: "
        f"{figures['neighbour_accuracy_of_code']:.1%} by z, "
        f"{figures['neighbour_accuracy_of_pixels']:.1%} by pixels; {trainer.seconds:.0f} s; "
        f"pictures: {options.out / 'reconstructions.png'}, {options.out / 'code.png'}"
    )


if __name__ == "__main__":
    common.run(main)
