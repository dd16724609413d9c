"""Every module of the table against PyTorch: state, outputs, gradients; weights there and back."""

import importlib.util
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nn_cases import CASES, Ours, Theirs, evaluate

import minidl
from minidl import nn
from minidl.serialization import save

LIVE = importlib.util.find_spec("torch") is not None
RECORD = Path(__file__).parents[1] / "oracle" / "nn_state.json"


@pytest.fixture(scope="module")
def known() -> Any:
    """What PyTorch says of a case, live where it is installed, else as recorded."""
    recorded = json.loads(RECORD.read_text())

    def look_up(name: str) -> Any:
        if LIVE:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return evaluate(CASES[name], Theirs)
        entry = recorded[name]
        values = {k: np.array(x).reshape(shape) for k, (shape, x) in entry["values"].items()}
        return {"state": entry["state"], "values": values}

    return look_up


@pytest.mark.parametrize("name", CASES)
def test_equals_pytorch(name: str, known: Any) -> None:
    case = CASES[name]
    ours, theirs = evaluate(case, Ours), known(name)
    assert ours["state"] == theirs["state"]
    assert list(ours["state"]) == list(theirs["state"])  # in the same order
    assert ours["values"].keys() == theirs["values"].keys()
    for key, expected in theirs["values"].items():
        found = ours["values"][key]
        np.testing.assert_allclose(found, expected, rtol=case.rtol, atol=1e-11, err_msg=key)
        assert found.shape == expected.shape


def test_the_record_has_every_case() -> None:
    recorded = json.loads(RECORD.read_text())
    assert list(recorded) == list(CASES), "run python tests/nn/record.py"


@pytest.mark.parametrize("name", ["cnn", "lstm-deep", "gru-deep", "embedding", "group_norm"])
def test_weights_load_there_and_back(name: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    safetensors = pytest.importorskip("safetensors.torch")
    theirs, ours = CASES[name].build(torch.nn), CASES[name].build(nn)
    assert ours.load_state_dict(theirs.state_dict()) == ([], [])
    for key, value in theirs.state_dict().items():
        assert (ours.state_dict()[key].data == value.numpy()).all()
        assert str(ours.state_dict()[key].dtype) == str(value.dtype).removeprefix("torch.")

    minidl.manual_seed(5)
    other = CASES[name].build(nn)
    save(other.state_dict(), tmp_path / "weights.safetensors")
    theirs.load_state_dict(safetensors.load_file(tmp_path / "weights.safetensors"))
    for key, value in theirs.state_dict().items():
        assert (other.state_dict()[key].data == value.numpy()).all()
    theirs.load_state_dict({k: torch.from_dlpack(v) for k, v in ours.state_dict().items()})


@pytest.mark.parametrize(
    "build",
    [
        lambda nn: nn.Linear(50, 40),
        lambda nn: nn.Conv2d(4, 30, 3),
        lambda nn: nn.ConvTranspose2d(4, 30, 3),
        lambda nn: nn.LSTM(20, 30),
        lambda nn: nn.GRUCell(20, 30),
        lambda nn: nn.Bilinear(9, 8, 30),
        lambda nn: nn.Embedding(50, 40),
    ],
)
def test_first_weights_are_distributed_as_pytorchs(build: Any) -> None:
    """Both seeded, and 200 modules pooled: 6000 numbers or more have a std known to 1 %."""
    torch = pytest.importorskip("torch")
    minidl.manual_seed(0)
    torch.manual_seed(0)
    ours = [build(nn).state_dict() for _ in range(200)]
    theirs = [build(torch.nn).state_dict() for _ in range(200)]
    for name in theirs[0]:
        found = np.concatenate([state[name].data.ravel() for state in ours])
        expected = np.concatenate([state[name].numpy().ravel() for state in theirs])
        assert abs(found.mean()) < 4 * expected.std() / found.size**0.5, name
        assert found.std() == pytest.approx(expected.std(), rel=0.04), name
        if "Embedding" not in repr(build(nn)):  # uniform, so it has ends
            assert abs(found).max() == pytest.approx(abs(expected).max(), rel=0.005), name


@pytest.mark.parametrize(
    "build",
    [
        lambda nn: nn.Conv2d(1, 2, 3, padding=1, dilation=2, groups=1, bias=False),
        lambda nn: nn.ConvTranspose1d(2, 4, 3, 2, 1, 1, groups=2),
        lambda nn: nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.Tanh(), nn.BatchNorm1d(3))),
        lambda nn: nn.ModuleDict({"a": nn.GroupNorm(1, 3), "b": nn.ModuleList([nn.ReLU()])}),
        lambda nn: nn.LSTM(2, 3, num_layers=2, batch_first=True, bidirectional=True),
        lambda nn: nn.Sequential(
            nn.Embedding(4, 3, padding_idx=0), nn.Dropout(), nn.Softmax(dim=1)
        ),
        lambda nn: nn.GRUCell(2, 3),
        lambda nn: nn.ModuleList([nn.Linear(1, 1), nn.Linear(1, 1), nn.Sequential(nn.Tanh())]),
        lambda nn: nn.Sequential(),
    ],
)
def test_repr_is_pytorchs(build: Any) -> None:
    torch = pytest.importorskip("torch")
    assert repr(build(nn)) == repr(build(torch.nn))
