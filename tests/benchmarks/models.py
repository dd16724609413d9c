"""The models that the benchmarks train, written once for minidl and for PyTorch."""

from collections.abc import Callable
from typing import Any


def cnn(engine: Any, layout: str) -> tuple[Any, tuple[Any, ...]]:
    """The network of examples/cnn.py and a batch of 32 images."""
    nn = engine.nn
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(1600, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip
    x = engine.rand(32, 1, 28, 28)
    if layout == "channels_last" and hasattr(model, "to"):
        model = model.to(memory_format=engine.channels_last)
        x = x.to(memory_format=engine.channels_last)
    return model, (x, engine.randint(0, 10, (32,)))


def lstm(engine: Any, layout: str) -> tuple[Any, tuple[Any, ...]]:
    """The network of examples/rnn.py: three layers of 128 units, 10 frames of 64 bands."""

    class Listener(engine.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = engine.nn.LSTM(64, 128, num_layers=3, batch_first=True)
            self.first, self.head = engine.nn.Linear(128, 64), engine.nn.Linear(64, 10)

        def forward(self, x: Any) -> Any:
            _, (h, _) = self.lstm(x)
            return self.head(engine.relu(self.first(h[-1])))

    return Listener(), (engine.rand(32, 10, 64), engine.randint(0, 10, (32,)))


def autoencoder(engine: Any, layout: str) -> tuple[Any, tuple[Any, ...]]:
    """The network of examples/autoencoder.py: 784-64-64-784, from pixels to the same pixels."""
    nn = engine.nn
    model = nn.Sequential(
        nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 784)
    )
    x = engine.rand(32, 784)
    return model, (x, x)


MODELS = {"cnn": cnn, "lstm": lstm, "autoencoder": autoencoder}


def step_of(
    engine: Any, name: str, layout: str = "nchw", **adam: Any
) -> tuple[Callable[[], Any], Any]:
    """One training step (forward, loss, backward, Adam) as a function, and the model."""
    F = engine.nn.functional
    network, (x, y) = MODELS[name](engine, layout)
    optimizer = engine.optim.Adam(network.parameters(), lr=1e-3, **adam)
    criterion = F.binary_cross_entropy_with_logits if name == "autoencoder" else F.cross_entropy

    def step() -> Any:
        loss = criterion(network(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step, network
