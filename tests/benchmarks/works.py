"""What the benchmarks time, written once for minidl and for PyTorch.

A work is a function of an engine (the module `minidl` or `torch`) and a form ("fused" and
"channels_last" may be among its words) that returns what is to be timed: a function without
arguments.
"""

from collections.abc import Callable
from typing import Any

Step = Callable[[], Any]

# ---- training steps: forward, loss, backward, Adam ----------------------------------------------


def cnn(engine: Any, form: str, batch: int = 32) -> Step:
    """The network of examples/cnn.py and a batch of images."""
    nn = engine.nn
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(1600, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip
    x = engine.rand(batch, 1, 28, 28)
    if "channels_last" in form:
        model = model.to(memory_format=engine.channels_last)
        x = x.to(memory_format=engine.channels_last)
    return training(engine, form, model, x, engine.randint(0, 10, (batch,)))


def lstm(engine: Any, form: str, frames: int = 10) -> Step:
    """The network of examples/rnn.py: three layers of 128 units, frames of 64 bands."""

    class Listener(engine.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = engine.nn.LSTM(64, 128, num_layers=3, batch_first=True)
            self.first, self.head = engine.nn.Linear(128, 64), engine.nn.Linear(64, 10)

        def forward(self, x: Any) -> Any:
            _, (h, _) = self.lstm(x)
            return self.head(engine.relu(self.first(h[-1])))

    x, y = engine.rand(32, frames, 64), engine.randint(0, 10, (32,))
    return training(engine, form, Listener(), x, y)


def autoencoder(engine: Any, form: str) -> Step:
    """The network of examples/autoencoder.py: 784-64-64-784, from pixels to the same pixels."""
    nn = engine.nn
    model = nn.Sequential(
        nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 784)
    )
    x = engine.rand(32, 784)
    loss = nn.functional.binary_cross_entropy_with_logits
    return training(engine, form, model, x, x, loss)


def training(engine: Any, form: str, model: Any, x: Any, y: Any, criterion: Any = None) -> Step:
    """A training step of a model on one batch."""
    criterion = criterion or engine.nn.functional.cross_entropy
    options = {"fused": True} if "fused" in form else {}
    optimizer = engine.optim.Adam(model.parameters(), lr=1e-3, **options)

    def step() -> Any:
        loss = criterion(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


# ---- single operations, forward and backward ----------------------------------------------------


def forward_and_backward(engine: Any, function: Callable[..., Any], *inputs: Any) -> Step:
    """A function of tensors that require gradients, and its gradient along ones."""
    for x in inputs:
        x.requires_grad_()
    g = engine.ones_like(function(*inputs).detach())

    def step() -> None:
        for x in inputs:
            x.grad = None
        function(*inputs).backward(g)

    return step


def conv(engine: Any, form: str, channels: int) -> Step:
    """A 3x3 convolution of (8, channels, 28, 28) to as many channels."""
    x, w = engine.rand(8, channels, 28, 28), engine.rand(channels, channels, 3, 3)
    if engine.__name__ == "minidl":
        x = x.contiguous(memory_format="channels_last")
    elif "channels_last" in form:
        x, w = (a.contiguous(memory_format=engine.channels_last) for a in (x, w))
    return forward_and_backward(
        engine, lambda x, w: engine.nn.functional.conv2d(x, w, padding=1), x, w
    )


def max_pool(engine: Any, form: str) -> Step:
    """Max pooling 2x2 of (32, 32, 26, 26), as the CNN has it."""
    x = engine.rand(32, 32, 26, 26)
    if engine.__name__ == "minidl":
        x = x.contiguous(memory_format="channels_last")
    elif "channels_last" in form:
        x = x.contiguous(memory_format=engine.channels_last)
    return forward_and_backward(engine, lambda x: engine.nn.functional.max_pool2d(x, 2), x)


def cross_entropy(engine: Any, form: str) -> Step:
    """Softmax with cross-entropy of 1024 rows of 1000 classes."""
    y = engine.randint(0, 1000, (1024,))
    x = engine.rand(1024, 1000)
    return forward_and_backward(engine, lambda x: engine.nn.functional.cross_entropy(x, y), x)


def layer_norm(engine: Any, form: str) -> Step:
    """Layer normalisation of 2048 rows of 512 numbers, with weight and bias."""
    F = engine.nn.functional
    inputs = engine.rand(2048, 512), engine.rand(512), engine.rand(512)
    return forward_and_backward(engine, lambda x, w, b: F.layer_norm(x, (512,), w, b), *inputs)


def adam(engine: Any, form: str, count: int) -> Step:
    """A step of Adam alone, over eight tensors with so many numbers together."""
    params = [engine.rand(count // 8) for _ in range(8)]
    for p in params:
        p.requires_grad_()
        p.grad = engine.rand(count // 8)
    return engine.optim.Adam(params, lr=1e-3, **({"fused": True} if "fused" in form else {})).step


def chain(engine: Any, form: str) -> Step:
    """A hundred operations on four numbers: what an operation costs beside its arithmetic."""
    x = engine.ones(4)

    def function(y: Any) -> Any:
        for _ in range(50):
            y = y * 1.01 + 0.1
        return y

    return forward_and_backward(engine, function, x)


# name: (work, the forms of PyTorch that it has)
ADAMS = ("fused", "")
LAYOUTS = ("fused", "fused channels_last", "")
WORKS: dict[str, tuple[Callable[[Any, str], Step], tuple[str, ...]]] = {
    "cnn": (cnn, LAYOUTS),
    "lstm": (lstm, ADAMS),
    "autoencoder": (autoencoder, ADAMS),
    "max_pool": (max_pool, ("", "channels_last")),
    "cross_entropy": (cross_entropy, ("",)),
    "layer_norm": (layer_norm, ("",)),
    "adam 225 k": (lambda engine, form: adam(engine, form, 225_000), ADAMS),
    "adam 4.7 M": (lambda engine, form: adam(engine, form, 4_700_000), ADAMS),
    "chain": (chain, ("",)),
}

# What grows: (its name, the work, the sizes, forms of PyTorch)
GROWTH: dict[str, tuple[str, Callable[[Any, str, int], Step], tuple[int, ...], tuple[str, ...]]] = {
    "cnn": ("images in a batch", cnn, (1, 4, 16, 64, 256), LAYOUTS[:2]),
    "conv": ("channels", conv, (8, 16, 32, 64, 128, 256), ("", "channels_last")),
    "lstm": ("frames", lstm, (1, 3, 10, 30, 100), ADAMS[:1]),
}


def sized(work: Callable[[Any, str, int], Step], size: int) -> Callable[[Any, str], Step]:
    return lambda engine, form: work(engine, form, size)


SIZED = {
    f"{name} {size}": (sized(work, size), forms)
    for name, (_, work, sizes, forms) in GROWTH.items()
    for size in sizes
}
