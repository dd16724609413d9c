"""Whole networks beside PyTorch's: weights by file, outputs, gradients, training, and back."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import nn, optim
from minidl.serialization import load, save

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")


def cnn(nn: Any) -> Any:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, stride=2, groups=2, bias=False),
        nn.BatchNorm2d(6, momentum=None),
        nn.ConvTranspose2d(6, 3, 3, 2, 1, 1),
        nn.InstanceNorm2d(3, affine=True, track_running_stats=True),
        nn.GELU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(12, 5),
    )


def norms(nn: Any) -> Any:
    return nn.Sequential(
        nn.Conv1d(2, 8, 3, padding="same", padding_mode="circular"),
        nn.GroupNorm(4, 8),
        nn.SiLU(),
        nn.InstanceNorm1d(8),
        nn.Conv1d(8, 4, 3),
        nn.LayerNorm(10),
        nn.RMSNorm(10),
        nn.PReLU(4),
        nn.Flatten(),
        nn.Linear(40, 5),
    )


def tagger(kind: str) -> Any:
    """Embedding, two layers in both directions over sequences of several lengths, a dense layer."""

    def make(lib: Any) -> Any:
        class Tagger(lib.Module):
            def __init__(self) -> None:
                super().__init__()
                self.embedding = lib.Embedding(20, 5, padding_idx=0)
                self.rnn = getattr(lib, kind)(5, 4, 2, batch_first=True, bidirectional=True)
                self.out = lib.Linear(8, 5)

            def forward(self, x: Any) -> Any:
                x = self.embedding(x)
                if lib is nn:
                    h, _ = self.rnn(x, lengths=LENGTHS)
                else:
                    packing = torch.nn.utils.rnn
                    x = packing.pack_padded_sequence(x, LENGTHS, True, enforce_sorted=False)
                    h, _ = packing.pad_packed_sequence(self.rnn(x)[0], True, total_length=STEPS)
                return self.out(h).reshape(-1, 5)

        return Tagger()

    return make


LENGTHS, STEPS = [7, 1, 4], 7
_rng = np.random.default_rng(0)
_beyond = np.arange(STEPS) >= np.array(LENGTHS)[:, None]
TOKENS = np.where(_beyond, 0, _rng.integers(1, 20, (3, STEPS)))
TAGS = np.where(_beyond, -100, _rng.integers(0, 5, (3, STEPS))).ravel()
LABELS = np.array([1, 0, 4])
NETWORKS = {
    "cnn": (cnn, _rng.normal(size=(3, 2, 12, 12)), LABELS),
    "norms": (norms, _rng.normal(size=(3, 2, 12)), LABELS),
    **{kind: (tagger(kind), TOKENS, TAGS) for kind in ("LSTM", "GRU", "RNN")},
}
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "SGD": {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    "Adam": {"eps": 1e-3, "amsgrad": True},
    "AdamW": {"eps": 1e-3},
    "NAdam": {"eps": 1e-3},
    "RMSprop": {"eps": 1e-3, "momentum": 0.5, "centered": True},
    "Adagrad": {"eps": 1e-3},
    "Adadelta": {},
}  # eps: where a gradient is zero but for rounding, a smaller one makes much of nothing


def there(value: Any) -> Any:
    """A state of ours as PyTorch wants it."""
    if isinstance(value, minidl.Tensor):
        return torch.from_dlpack(value)
    if isinstance(value, dict):
        return {k: there(v) for k, v in value.items()}
    return [there(v) for v in value] if isinstance(value, list) else value


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("network", NETWORKS)
def test_trained_side_by_side(network: str, optimizer: str, tmp_path: Path) -> None:
    build, x, labels = NETWORKS[network]
    torch.manual_seed(1)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # NAdam's product of momenta is of the default dtype
    try:
        theirs, ours = build(torch.nn), build(nn).double()
        safetensors.save_file(theirs.state_dict(), tmp_path / "theirs")
        assert ours.load_state_dict(load(tmp_path / "theirs")) == ([], [])
        options = OPTIMIZERS[optimizer]
        their_step = getattr(torch.optim, optimizer)(theirs.parameters(), **options)
        our_step = getattr(optim, optimizer)(ours.parameters(), **options)
        for step in range(5):
            expected, found = theirs(torch.tensor(x)), ours(minidl.tensor(x))
            np.testing.assert_allclose(found.data, expected.detach().numpy(), 1e-9, 1e-11)
            their_step.zero_grad()
            our_step.zero_grad()
            torch.nn.CrossEntropyLoss(label_smoothing=0.1)(
                expected, torch.tensor(labels)
            ).backward()
            nn.CrossEntropyLoss(label_smoothing=0.1)(found, minidl.tensor(labels)).backward()
            for (name, p), (key, q) in zip(
                theirs.named_parameters(), ours.named_parameters(), strict=True
            ):
                assert name == key
                np.testing.assert_allclose(q.grad.data, p.grad.numpy(), 1e-7, 1e-11, err_msg=name)
            if step == 2:  # each optimiser goes on from the other's state
                kept = our_step.state_dict()
                our_step = getattr(optim, optimizer)(ours.parameters())
                our_step.load_state_dict(their_step.state_dict())
                their_step = getattr(torch.optim, optimizer)(theirs.parameters())
                their_step.load_state_dict(there(kept))
            their_step.step()
            our_step.step()
    finally:
        torch.set_default_dtype(before)
    save(ours.state_dict(), tmp_path / "ours")
    for name, value in safetensors.load_file(tmp_path / "ours").items():
        expected = theirs.state_dict()[name]
        np.testing.assert_allclose(value.numpy(), expected.numpy(), 1e-9, 1e-11, err_msg=name)
        assert value.dtype == expected.dtype
    theirs.load_state_dict(safetensors.load_file(tmp_path / "ours"))
