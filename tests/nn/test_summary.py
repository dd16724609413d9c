"""The table of a network's layers."""

import math

import pytest

import minidl
from minidl import nn, random


def test_numbers_by_hand() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, groups=1), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 4 * 4, 5)
    )
    report = nn.summary(model, input_size=(2, 3, 6, 6))
    conv = 2 * (2 * 8 * 4 * 4) * (3 * 3 * 3)
    dense = 2 * 2 * 5 * 128
    assert [row.flops for row in report.rows] == [conv, None, None, dense]
    assert report.flops == conv + dense
    assert [row.parameters for row in report.rows] == [224, 16, 0, 645]
    assert report.parameters == report.trainable == 885
    assert report.parameter_bytes == 885 * 4 + 16 * 4 + 8  # with the buffers of batch_norm
    assert report.activation_bytes == 4 * (256 * 3 + 10)
    assert report.rows[0].shapes == [(2, 8, 4, 4)]
    text = str(report)
    assert text.splitlines()[0].split() == ["layer", "kind", "output", "parameters", "FLOPs"]
    assert "(2, 8, 4, 4)" in text
    assert "885 (885 to learn), 3.5 KiB with buffers" in text
    assert "2 for each multiply-add" in text


def test_a_module_tells_it_of_itself() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    assert str(model.summary(input_size=(2, 4))) == str(nn.summary(model, input_size=(2, 4)))
    assert model.summary(minidl.ones(5, 4)).rows[1].shapes == [(5, 3)]
    with pytest.raises(TypeError, match=r"write input_size=\(2, 4\) if it is the shape"):
        model.summary((2, 4))


def test_the_model_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(), nn.Linear(2, 2))
    model[1].eval()
    model[2].weight.requires_grad_(False)
    before = {name: t.tolist() for name, t in model.state_dict().items()}
    drawn = random.get_state()
    report = nn.summary(model, minidl.ones(4, 2))
    assert [m.training for m in model.modules()] == [True, True, False, True]
    assert {name: t.tolist() for name, t in model.state_dict().items()} == before
    assert all(m._hooks is None for m in model.modules())
    assert random.get_state() == drawn
    assert report.trainable == report.parameters - 4
    with pytest.raises(ValueError, match="either inputs or input_size"):
        nn.summary(model)


def test_buffers_that_forward_changes_are_put_back() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", minidl.zeros(1))
            self.register_buffer("last", minidl.zeros(1))

        def forward(self, x: minidl.Tensor) -> minidl.Tensor:
            self.calls.add_(1)
            self.last = x.sum().reshape(1)
            return x

    model = Counting()
    last = model.last
    nn.summary(model, minidl.ones(2))
    assert model.calls.item() == 0
    assert model.last is last


def test_the_model_is_left_as_it_was_by_an_error() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(3, 2))
    with pytest.raises(ValueError, match="linear"):
        nn.summary(model, input_size=(1, 2))
    assert model.training
    assert all(m._hooks is None for m in model.modules())


def test_recurrent_layers_and_shared_ones() -> None:
    report = nn.summary(nn.LSTM(3, 4, 2, bidirectional=True), input_size=(5, 2, 3))
    weights = 2 * (16 * 3 + 16 * 4) + 2 * (16 * 8 + 16 * 4)
    assert report.flops == 2 * 5 * 2 * weights
    assert report.rows[0].shapes == [(5, 2, 8), (4, 2, 4), (4, 2, 4)]
    layer = nn.Linear(2, 2)
    shared = nn.summary(nn.Sequential(layer, layer), input_size=(1, 2))
    assert [row.parameters for row in shared.rows] == [6, 0]
    assert shared.parameters == 6
    both = nn.summary(nn.Bilinear(2, 3, 4), input_size=[(1, 2), (1, 3)])
    assert both.flops == 2 * 4 * math.prod((3, 3))
    assert nn.summary(nn.ConvTranspose1d(2, 3, 4), input_size=(1, 2, 5)).flops == 2 * 10 * 12
    assert nn.summary(nn.Embedding(4, 3), minidl.tensor([1, 2])).rows[0].shapes == [(2, 3)]
