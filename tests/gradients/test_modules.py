"""Every module of `nn`: derivatives by its inputs and by every parameter, first and second order.

Driven by `nn.__all__`: a new module without a case here or in tests/nn/nn_cases.py fails.
"""

from typing import Any

import numpy as np
import pytest
from functional import Functional
from nn_cases import CASES, ROWS, Case

from minidl import nn
from minidl.testing import check_jvp_vjp, gradcheck


class Listed(nn.Module):
    """Modules and parameters kept in lists and dicts."""

    def __init__(self, nn: Any) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(3, 2), nn.Linear(2, 2)])
        self.named = nn.ModuleDict({"last": nn.Linear(2, 3)})
        self.scales = nn.ParameterList([nn.Parameter(np.ones(2)), nn.Parameter(np.ones(2))])
        self.shifts = nn.ParameterDict({"a": nn.Parameter(np.ones(3))})

    def forward(self, x: Any) -> Any:
        for layer, scale in zip(self.layers, self.scales, strict=True):
            x = layer(x).tanh() * scale
        return self.named["last"](x) + self.shifts["a"]


# What tests/nn has no case for: PyTorch has none, or its chance is another.
OWN: dict[str, Case] = {
    "lists": Case(Listed, (2, 3)),
    "dropout": Case(lambda nn: nn.Dropout(0.4), (3, 4)),
    "dropout1d": Case(lambda nn: nn.Dropout1d(0.4), (2, 3, 4)),
    "dropout2d": Case(lambda nn: nn.Dropout2d(0.4), (2, 3, 2, 2)),
    "dropout3d": Case(lambda nn: nn.Dropout3d(0.4), (2, 3, 2, 1, 2)),
    "alpha_dropout": Case(lambda nn: nn.AlphaDropout(0.4), (3, 4)),
    "adaptive_max_pool1d": Case(lambda nn: nn.AdaptiveMaxPool1d(2), (1, 2, 5)),
    "instance_norm3d": Case(lambda nn: nn.InstanceNorm3d(2, affine=True), (2, 2, 2, 1, 2)),
    "circular_pad1d": Case(lambda nn: nn.CircularPad1d(1), (1, 2, 3)),
    "zero_pad1d": Case(lambda nn: nn.ZeroPad1d((1, 2)), (1, 2, 3)),
    "embedding": Case(lambda nn: nn.Embedding(4, 3), ROWS),  # a padding row has no gradient
    "activation in a layer": Case(lambda nn: nn.Linear(3, 2, activation="gelu"), (2, 3)),
    "activation of a convolution": Case(
        lambda nn: nn.Conv2d(1, 2, 2, activation="tanh"), (1, 1, 3, 3)
    ),
}
NOT_LAYERS = {"Module", "Parameter", "Formula"}  # what layers are made of
EVERY = CASES | OWN


def test_every_module_has_a_case() -> None:
    layers = {
        name
        for name in nn.__all__
        if isinstance(getattr(nn, name), type) and issubclass(getattr(nn, name), nn.Module)
    }
    seen = {type(m).__name__ for case in EVERY.values() for m in case.build(nn).modules()}
    assert layers - seen - NOT_LAYERS == set()


@pytest.mark.parametrize("name", EVERY)
def test_derivatives_by_inputs_and_parameters(name: str) -> None:
    module = Functional(EVERY[name])
    points = module.points()
    if name in NETWORKS:
        check_jvp_vjp(module, points, name=name)
        return
    report = gradcheck(module, points, order=2, name=name)
    assert len({c.argument for c in report.checks if c.order == 1}) == len(points)


# Made of modules that are checked element by element elsewhere: along random directions here.
NETWORKS = {"cnn", "cnn-eval", "lstm-deep", "gru-deep"}
