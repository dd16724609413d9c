"""Make the pictures of docs/: every one shows what a model of minidl really computed.

    python docs/pictures/make.py            all of them, about two minutes on two cores
    python docs/pictures/make.py gates      one of them

The data come with the package, the seeds are fixed. Needs matplotlib: '.[examples]'.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

import minidl
import minidl_kernels as kernels
from minidl import nn, optim
from minidl.data import (
    FASHION_MNIST_CLASSES,
    DataLoader,
    TensorDataset,
    fashion_mnist,
    japanese_vowels,
    pad_sequences,
)
from minidl.nn import functional as F

matplotlib.use("Agg")

import matplotlib.pyplot as plt

HERE = Path(__file__).parent
DPI = 80


def clothes(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 1, 28, 28) from 0 to 1, and labels."""
    images, labels = fashion_mnist(split)
    return images[:, None].astype("float32") / 255, labels


def learn(
    model: nn.Module,
    loss: Callable[..., Any],
    arrays: tuple[Any, ...],
    epochs: int,
    lr: float = 1e-3,
    batch_size: int = 32,
) -> None:
    """Train with Adam; `loss` takes what a batch holds."""
    optimizer = optim.Adam(model.parameters(), lr=lr)
    batches = DataLoader(TensorDataset(*arrays), batch_size=batch_size, shuffle=True, seed=0)
    model.train()
    for _ in range(epochs):
        for batch in batches:
            value = loss(*batch)
            optimizer.zero_grad()
            value.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
    model.eval()
    print(f"    the loss of the last batch is {value.item():.4f}")


def save(figure: Any, name: str) -> None:
    """Write docs/pictures/NAME.png."""
    path = HERE / f"{name}.png"
    options: dict[str, Any] = {"pil_kwargs": {"optimize": True, "compress_level": 9}}
    figure.savefig(path, dpi=DPI, metadata={"Software": None}, **options)
    plt.close(figure)
    print(f"    {path.name}: {path.stat().st_size / 1000:.0f} kB")


def show(axis: Any, image: Any, title: str = "", **options: Any) -> None:
    """One image without axes."""
    axis.imshow(image, **{"cmap": "gray_r", "interpolation": "nearest"} | options)
    axis.set_xticks([])
    axis.set_yticks([])
    for side in axis.spines.values():
        side.set_color("0.8")
    if title:
        axis.set_title(title, size=10)


# ---- convolution --------------------------------------------------------------------------------


def maps() -> None:
    """Filters of a trained network's first layer, and what they find in three images."""
    minidl.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, activation="relu"),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, activation="relu"),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(1600, 128, activation="relu"),
        nn.Linear(128, 10),
    )
    learn(model, lambda x, y: F.cross_entropy(model(x), y), clothes("train"), epochs=2)
    images, labels = clothes("test")
    chosen = [int(np.flatnonzero(labels == name)[k]) for name, k in ((9, 1), (0, 3), (8, 2))]
    with minidl.no_grad():
        first = model[0](minidl.tensor(images[chosen]))
        second = model[2](model[1](first)).numpy()
    first, filters = first.numpy(), model[0].weight.detach().numpy()[:, 0]
    by_taste = np.argsort(-first.std((0, 2, 3)))[:18:3]  # six filters that see different things
    later = np.argsort(-second.std((0, 2, 3)))[:6:2]
    figure, axes = plt.subplots(4, 10, figsize=(11, 5), layout="constrained")
    bound = abs(filters).max()
    axes[0, 0].set_axis_off()
    axes[0, 0].text(1, 0.5, "W", size=16, ha="right", va="center", transform=axes[0, 0].transAxes)
    for axis, k in zip(axes[0, 1:7], by_taste, strict=True):
        show(axis, filters[k], f"filter {k}", cmap="RdBu_r", vmin=-bound, vmax=bound)
    for axis, k in zip(axes[0, 7:], later, strict=True):
        axis.set_axis_off()
        axis.text(0.5, 0, f"second layer:\nchannel {k}", size=10, ha="center",
                  transform=axis.transAxes)  # fmt: skip
    for row, i, early, late in zip(axes[1:], chosen, first, second, strict=True):
        show(row[0], images[i, 0], FASHION_MNIST_CLASSES[labels[i]])
        for axis, k in zip(row[1:7], by_taste, strict=True):
            show(axis, early[k], cmap="magma", vmin=0, vmax=first[:, k].max())
        for axis, k in zip(row[7:], later, strict=True):
            show(axis, late[k], cmap="magma", vmin=0, vmax=second[:, k].max())
    save(figure, "maps")


# ---- recurrence ---------------------------------------------------------------------------------


def reach(layer: nn.Module, steps: int = 60) -> np.ndarray:
    """The norm of the gradient of the last state in each step's input, the last step first."""
    x = minidl.randn(steps, 16, 12, requires_grad=True)
    out, _ = layer(x)
    along = minidl.randn(16, 64)
    (g,) = minidl.grad(out[-1], [x], along / along.norm())
    return np.linalg.norm(g.numpy(), axis=(1, 2))[::-1]


def recurrent(kind: type[nn.Module], **options: Any) -> nn.Module:
    """A layer 12 -> 64 with orthogonal recurrent weights, as Keras draws them, and no bias."""
    minidl.manual_seed(1)
    layer = kind(12, 64, **options)
    blocks = layer.weight_hh_l0.detach().split(64)
    with minidl.no_grad():
        layer.weight_hh_l0.copy_(minidl.cat([nn.init.orthogonal_(w) for w in blocks]))
        layer.bias_ih_l0.zero_()
        layer.bias_hh_l0.zero_()
    return layer


def reaches() -> None:
    """How far back a gradient reaches, before any training."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained", sharey=True)
    for scale, color in ((0.7, "C0"), (1.0, "C1"), (1.3, "C3")):
        layer = recurrent(nn.RNN, nonlinearity="relu")
        with minidl.no_grad():
            layer.weight_hh_l0.mul_(scale * 2**0.5)  # relu halves what comes back
        left.semilogy(reach(layer), color=color, label=f"RNN, relu, W = {scale} √2 Q")
    layer = recurrent(nn.RNN)
    left.semilogy(reach(layer), color="C2", label="RNN, tanh, W = Q")
    for bias, color in ((0.0, "C0"), (1.0, "C1"), (4.0, "C3")):
        layer = recurrent(nn.LSTM)
        with minidl.no_grad():
            layer.bias_ih_l0[64:128].fill_(bias)
        label = f"LSTM, forget bias {bias:g}: f ≈ {1 / (1 + np.exp(-bias)):.2f}"
        right.semilogy(reach(layer), color=color, label=label)
    layer = recurrent(nn.GRU)
    right.semilogy(reach(layer), color="C2", label="GRU")
    left.set_ylabel("gradient of the last state in the input")
    for axis in (left, right):
        axis.set_xlabel("steps back")
        axis.grid(color="0.9")
        axis.legend(fontsize=9)
    save(figure, "reaches")


def gates() -> None:
    """What a trained LSTM does while it hears one utterance."""
    minidl.manual_seed(0)
    sequences, speakers = japanese_vowels("train")
    padded, lengths = pad_sequences(sequences)
    lstm, head = nn.LSTM(12, 32, batch_first=True), nn.Linear(32, 9)
    model = nn.Sequential(lstm, head)
    with minidl.no_grad():
        lstm.bias_ih_l0[32:64].fill_(1.0)

    def loss(x: Any, n: Any, y: Any) -> Any:
        _, (h, _) = lstm(x, lengths=n)
        return F.cross_entropy(head(h[0]), y)

    learn(model, loss, (padded, lengths, speakers), epochs=40, lr=3e-3)
    sequences, speakers = japanese_vowels("test")
    padded, lengths = pad_sequences(sequences)
    with minidl.no_grad():
        _, (h, _) = lstm(minidl.tensor(padded), lengths=lengths)
        right = (head(h[0]).argmax(1).numpy() == speakers).mean()
        print(f"    {right:.1%} of the test utterances are told right")
        place = int(np.flatnonzero(lengths == 22)[3])
        x = sequences[place]
        out, _ = lstm(minidl.tensor(x))
        chance = F.softmax(head(out), 1).numpy()
    weights = [p.detach().numpy() for p in (lstm.weight_ih_l0, lstm.weight_hh_l0)]
    bias = (lstm.bias_ih_l0 + lstm.bias_hh_l0).detach().numpy()
    zero = np.zeros((1, 32), "float32")
    *_, opened, cells = kernels.lstm(x[:, None], zero, zero, *weights, bias, None, False)
    i, f, _, o = np.split(opened[:, 0].T, 4)
    order = np.argsort(f.mean(1))
    figure, axes = plt.subplots(
        2, 3, figsize=(11, 5), layout="constrained", sharex=True, height_ratios=(2, 3)
    )
    shared: dict[str, Any] = {"aspect": "auto", "interpolation": "nearest", "origin": "lower"}
    bound = abs(cells).max()
    for axis, what, title, colors, low, high in (
        (axes[0, 0], x.T, "input: 12 coefficients", "RdBu_r", -2, 2),
        (axes[1, 0], i[order], "input gate i", "viridis", 0, 1),
        (axes[1, 1], f[order], "forget gate f", "viridis", 0, 1),
        (axes[1, 2], o[order], "output gate o", "viridis", 0, 1),
        (axes[0, 1], cells[:, 0].T[order], "state c", "RdBu_r", -bound, bound),
    ):
        drawn = axis.imshow(what, cmap=colors, vmin=low, vmax=high, **shared)
        axis.set_title(title, size=10)
        figure.colorbar(drawn, ax=axis)
    for speaker in range(9):
        true = speaker == speakers[place]
        axes[0, 2].plot(chance[:, speaker], color="C3" if true else "0.7", lw=2 if true else 1)
    axes[0, 2].set_title("what it would say now (red: the speaker)", size=10)
    for axis in axes[1]:
        axis.set_xlabel("step")
    axes[0, 0].set_yticks([0, 5, 10])
    axes[1, 0].set_ylabel("unit, by mean f")
    save(figure, "gates")


# ---- autoencoders -------------------------------------------------------------------------------


def autoencoder(code: int) -> tuple[nn.Module, nn.Module]:
    """Encoder 784 -> 256 -> code, and the decoder back; scores, to be read through a sigmoid."""
    encoder = nn.Sequential(nn.Linear(784, 256, activation="relu"), nn.Linear(256, code))
    decoder = nn.Sequential(nn.Linear(code, 256, activation="relu"), nn.Linear(256, 784))
    return encoder, decoder


def reconstruct(code: int, epochs: int, noise: float = 0.0) -> tuple[nn.Module, nn.Module]:
    """A trained encoder and decoder; with noise on the input it learns to take it away."""
    minidl.manual_seed(0)
    encoder, decoder = autoencoder(code)

    def loss(x: Any) -> Any:
        seen = x + noise * minidl.randn(*x.shape) if noise else x
        return F.binary_cross_entropy_with_logits(decoder(encoder(seen)), x)

    images = clothes("train")[0].reshape(-1, 784)
    learn(nn.Sequential(encoder, decoder), loss, (images,), epochs, batch_size=64)
    return encoder, decoder


def through(encoder: nn.Module, decoder: nn.Module, x: np.ndarray) -> np.ndarray:
    """What comes back."""
    with minidl.no_grad():
        return F.sigmoid(decoder(encoder(minidl.tensor(x)))).numpy()


def reconstructions() -> None:
    """Test images and what is left of them after codes of several sizes."""
    images, labels = clothes("test")
    x = images.reshape(-1, 784)
    chosen = [int(np.flatnonzero(labels == k)[1]) for k in range(10)]
    rows = [("x", x[chosen])]
    for code in (2, 8, 64):
        back = through(*reconstruct(code, epochs=15), x)
        error = ((back - x) ** 2).mean()
        rows.append((f"{code} numbers\n{error:.4f}", back[chosen]))
    stream = np.random.default_rng(0)
    noisy = x + 0.5 * stream.standard_normal(x.shape).astype("float32")
    cleaned = through(*reconstruct(64, epochs=15, noise=0.5), noisy)
    rows.append((f"with noise\n{((noisy - x) ** 2).mean():.4f}", noisy[chosen]))
    rows.append((f"cleaned\n{((cleaned - x) ** 2).mean():.4f}", cleaned[chosen]))
    figure, axes = plt.subplots(len(rows), 10, figsize=(9, 5.6), layout="constrained")
    for line, (name, found) in zip(axes, rows, strict=True):
        for axis, one in zip(line, found, strict=True):
            show(axis, one.reshape(28, 28), vmin=0, vmax=1)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", size=10)
    save(figure, "reconstructions")


def codes() -> None:
    """Where test images lie in a plane of codes, and what the decoder makes of that plane."""
    encoder, decoder = reconstruct(2, epochs=15)
    images, labels = clothes("test")
    with minidl.no_grad():
        z = encoder(minidl.tensor(images.reshape(-1, 784))).numpy()
    low, high = np.quantile(z, 0.02, axis=0), np.quantile(z, 0.98, axis=0)
    across = np.linspace(low[0], high[0], 11, dtype="float32")
    up = np.linspace(high[1], low[1], 11, dtype="float32")
    grid = np.stack(np.meshgrid(across, up), -1).reshape(-1, 2)
    with minidl.no_grad():
        made = F.sigmoid(decoder(minidl.tensor(grid))).numpy()
    made = (made * 15).round() / 15  # sixteen greys make a small file
    sheet = made.reshape(11, 11, 28, 28).swapaxes(1, 2).reshape(11 * 28, 11 * 28)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.4), layout="constrained")
    for k, name in enumerate(FASHION_MNIST_CLASSES):
        mine = z[labels == k]
        left.scatter(*mine.T, s=6, color=plt.get_cmap("tab10")(k), label=name, linewidths=0)
    left.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xlabel="z[0]", ylabel="z[1]")
    left.set_title("codes z of 2,000 test images", size=10)
    figure.legend(fontsize=8, markerscale=2, ncols=10, columnspacing=1, loc="outside lower center")
    show(right, sheet, "the decoder on a grid over the same plane", vmin=0, vmax=1)
    save(figure, "codes")


PICTURES = {f.__name__: f for f in (maps, reaches, gates, reconstructions, codes)}

if __name__ == "__main__":
    for name in sys.argv[1:] or PICTURES:
        print(name)
        PICTURES[name]()
