"""A model as a folder: saved, and built again without the script that made it."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import nn
from minidl.errors import FormatError
from minidl.nn import functional as F
from minidl.nn.config import load_model, save_model

ROOT = Path(__file__).parents[2]


def same(a: nn.Module, b: nn.Module) -> None:
    assert repr(a) == repr(b)
    mine, other = a.state_dict(), b.state_dict()
    assert list(mine) == list(other)
    for name, tensor in mine.items():
        assert tensor.dtype == other[name].dtype
        np.testing.assert_array_equal(tensor.numpy(), other[name].numpy())


MODELS: dict[str, Any] = {
    "row": lambda: nn.Sequential(
        nn.Conv2d(1, 4, (3, 2), stride=2, padding="valid", bias=False, activation="relu"),
        nn.BatchNorm2d(4, momentum=None),
        nn.MaxPool2d((2, 1), ceil_mode=True),
        nn.Flatten(),
        nn.Linear(8, 2),
        nn.Softmax(dim=1),
    ),
    "named": lambda: nn.Sequential({"first": nn.Linear(2, 3), "last": nn.ReLU()}),
    "same padding": lambda: nn.Conv1d(2, 4, 3, padding="same", groups=2, padding_mode="reflect"),
    "transposed": lambda: nn.ConvTranspose2d(2, 3, 3, stride=2, output_padding=1, dilation=2),
    "lstm": lambda: nn.LSTM(3, 4, 2, bias=False, batch_first=True, dropout=0.1, bidirectional=True),
    "rnn": lambda: nn.RNN(3, 4, nonlinearity="relu"),
    "cells": lambda: nn.ModuleList([nn.GRUCell(2, 3), nn.RNNCell(2, 3, False, "relu")]),
    "embedding": lambda: nn.Embedding(5, 3, padding_idx=-1),
    "norms": lambda: nn.ModuleDict(
        {
            "a": nn.LayerNorm((2, 3), bias=False),
            "b": nn.GroupNorm(2, 4, eps=1e-3),
            "c": nn.RMSNorm(4),
        }
    ),
    "losses": lambda: nn.CrossEntropyLoss(
        weight=minidl.tensor([1.0, 2.0]), label_smoothing=0.1, ignore_index=1
    ),
    "weighted": lambda: nn.BCEWithLogitsLoss(pos_weight=minidl.tensor([3.0])),
    "parameters": lambda: nn.ParameterDict({"a": minidl.ones(2), "b": minidl.zeros(1, 3)}),
    "a list": lambda: nn.ParameterList([minidl.ones(2), minidl.zeros(1, 3)]),
    "infinity": lambda: nn.Hardtanh(-float("inf"), 1.0),
    "dropouts": lambda: nn.Sequential(nn.Dropout(0.3, inplace=True), nn.AlphaDropout(0.1)),
    "pads": lambda: nn.Sequential(nn.ZeroPad2d((1, 2, 3, 4)), nn.ConstantPad1d(2, -1.5)),
    "upsampling": lambda: nn.UpsamplingBilinear2d(scale_factor=2),
    "function": lambda: nn.Linear(2, 2, activation=F.gelu),
    "float64": lambda: nn.Linear(2, 2, dtype="float64"),
    "identity": lambda: nn.Identity(),
    "bilinear": lambda: nn.Bilinear(2, 3, 4, bias=False),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_comes_back_as_it_was(name: str, tmp_path: Path) -> None:
    model = MODELS[name]()
    streams = minidl.random.get_state()
    save_model(model, tmp_path)
    again = load_model(tmp_path)
    assert minidl.random.get_state() == streams  # building it draws nothing that others miss
    same(model, again)


def test_every_module_of_nn_is_built_from_its_attributes(tmp_path: Path) -> None:
    """Each option of each constructor is found again in an attribute, or known not to be one."""
    known = {
        "device", "dtype", "inplace", "args", "options",
        "proj_size", "max_norm", "norm_type", "scale_grad_by_freq", "sparse",  # not offered
    }  # fmt: skip
    import inspect

    made = [module for build in MODELS.values() for module in build().modules()]
    made += [nn.GRU(2, 3), nn.LSTMCell(2, 3), nn.Conv3d(1, 1, 1), nn.InstanceNorm1d(2)]
    for module in made:
        if isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict):
            continue
        if isinstance(module, nn.ParameterList | nn.ParameterDict):
            continue
        for option in inspect.signature(type(module)).parameters:
            assert option in known or hasattr(module, option), (type(module).__name__, option)


def test_shared_modules_and_parameters_stay_shared(tmp_path: Path) -> None:
    layer = nn.Linear(3, 3)
    model = nn.Sequential(layer, nn.ReLU(), layer, nn.Linear(3, 3))
    model[3].weight = layer.weight
    save_model(model, tmp_path)
    again = load_model(tmp_path)
    assert again[0] is again[2]
    assert again[3].weight is again[0].weight
    assert again[3].bias is not again[0].bias
    same(model, again)


def test_mode_and_frozen_parameters_come_back(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout()).eval()
    model[0].bias.requires_grad_(False)
    save_model(model, tmp_path)
    again = load_model(tmp_path)
    assert not again.training
    assert not again[1].training
    assert [p.requires_grad for p in again.parameters()] == [True, False]


def test_it_loads_in_a_program_that_knows_nothing_of_it(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 3, activation="tanh"), nn.Linear(3, 2)).eval()
    save_model(model, tmp_path)
    code = (
        "import sys, minidl; from minidl.nn.config import load_model; "
        "print(load_model(sys.argv[1])(minidl.ones(1, 4)).tolist())"
    )
    paths = os.pathsep.join([str(ROOT), str(ROOT / "kernels")])
    out = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert out.stdout.strip() == str(model(minidl.ones(1, 4)).tolist())


class Mine(nn.Module):
    def forward(self, x: Any) -> Any:
        return x


def changed() -> nn.Module:
    layer = nn.Linear(2, 2)
    layer.weight = nn.Parameter(np.zeros((3, 2), "float32"))
    return layer


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: nn.Sequential(nn.Linear(1, 1), Mine()), "1 is a Mine, a class that is not of"),
        (lambda: nn.Linear(1, 1, activation=lambda x: x), "the model: activation is <function"),
        (changed, "was changed after it was made"),
        (lambda: "a text", "got a str, expected an nn.Module"),
    ],
)
def test_what_cannot_be_saved_says_what_to_do(build: Any, text: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=text) as error:
        save_model(build(), tmp_path / "model")
    if "got a str" not in text:
        assert "state_dict()" in str(error.value)
    assert not (tmp_path / "model").exists()


def test_saving_again_replaces_and_leaves_nothing_behind(tmp_path: Path) -> None:
    save_model(nn.Linear(2, 2), tmp_path)
    model = nn.Linear(3, 3)
    save_model(model, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    same(model, load_model(tmp_path))


def test_a_failure_while_saving_keeps_the_old_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = nn.Linear(2, 2)
    save_model(model, tmp_path)

    def fail(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "full")

    replace, calls = os.replace, 0

    def at(place: int) -> Any:
        def replaced(*args: Any) -> None:
            nonlocal calls
            calls += 1
            return fail() if calls == place else replace(*args)

        return replaced

    for place in (1, 2, 3):
        calls = 0
        monkeypatch.setattr(os, "replace", at(place))
        with pytest.raises(
            OSError, match="No space left on device; what was there before is as it was; make"
        ) as error:
            save_model(nn.Linear(2, 2), tmp_path)
        assert error.value.__suppress_context__
        monkeypatch.setattr(os, "replace", replace)
        same(model, load_model(tmp_path))
        assert not list(tmp_path.glob(".*"))


def test_where_there_was_no_model_a_full_disk_leaves_nothing(tmp_path: Path, room: Any) -> None:
    text = "save_model: cannot write .*/new: File too large; make room"
    with room(1000), pytest.raises(OSError, match=text):
        save_model(nn.Linear(100, 100), tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def config_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "config.json").read_text())


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda c: c | {"format": 9}, "has format 9, this minidl reads 1"),
        (lambda c: c | {"model": {"class": "os.system", "options": {}}}, "'os.system' is no mod"),
        (lambda c: c | {"model": {"class": "minidl.nn.init", "options": {}}}, "is no module of"),
        (lambda c: c | {"model": {"class": "minidl.nn.Linear", "options": {}}}, "missing"),
        (lambda c: c | {"weights": "../../etc/passwd"}, "is missing"),
        (lambda c: {"format": 1}, "cannot be read"),
        (
            lambda c: c
            | {"model": {"class": "minidl.nn.Linear", "options": {
                "in_features": 2, "out_features": 2, "activation": {"$function": "__import__"}}}},
            "which is not of this format",
        ),
    ],
)  # fmt: skip
def test_a_bad_folder_is_refused(change: Any, text: str, tmp_path: Path) -> None:
    save_model(nn.Linear(2, 2), tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(change(config_of(tmp_path))))
    with pytest.raises(FormatError, match=text):
        load_model(tmp_path)


def test_missing_and_damaged_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="holds no config.json"):
        load_model(tmp_path)
    save_model(nn.Linear(2, 2), tmp_path)
    weights = next(tmp_path.glob("weights-*"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(FormatError, match="is not as it was written"):
        load_model(tmp_path)
