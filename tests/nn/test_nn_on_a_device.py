"""Every module of the table on the stand-in for CuPy: NumPy's values, and nothing of the host."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import standin
from nn_cases import CASES, Case, Ours, evaluate

import minidl
from minidl import nn
from minidl.device import _device_packages, _module_of
from minidl.nn.utils import clip_grad_norm_
from minidl.tape import tie


@pytest.fixture(autouse=True)
def _known_as_a_device() -> Iterator[None]:
    _device_packages.add("standin")
    _module_of.cache_clear()
    yield
    _device_packages.remove("standin")
    _module_of.cache_clear()


def moved(module: nn.Module) -> nn.Module:
    for t in (*module.parameters(), *module.buffers()):
        t.data = standin.array(t.data)
    return module


class OnDevice(Ours):
    """minidl on the stand-in, as `evaluate` wants an engine."""

    @staticmethod
    def load(module: Any, state: dict[str, np.ndarray]) -> None:
        Ours.load(module, state)
        moved(module)

    @staticmethod
    def leaf(array: np.ndarray) -> Any:
        return tie(standin.array(array), None).requires_grad_(array.dtype.kind == "f")

    @staticmethod
    def constant(array: np.ndarray) -> Any:
        return tie(standin.array(array), None)

    @staticmethod
    def array(x: Any) -> np.ndarray:
        assert type(x.data) is standin.ndarray
        return standin.asnumpy(x.data)

    @staticmethod
    def call(module: Any, case: Case, args: list[Any]) -> Any:
        if case.lengths is not None:
            return module(*args, lengths=tie(standin.array(np.array(case.lengths)), None))
        return module(*args, **case.options)


@pytest.mark.parametrize("name", CASES)
def test_values_are_numpys(name: str) -> None:
    here, there = evaluate(CASES[name], Ours), evaluate(CASES[name], OnDevice)
    assert here["values"].keys() == there["values"].keys()
    for key, expected in here["values"].items():
        np.testing.assert_allclose(there["values"][key], expected, 1e-11, 1e-12, err_msg=key)
        assert there["values"][key].dtype == expected.dtype


def test_clipping_and_copies() -> None:
    model = moved(nn.Linear(3, 2))
    model(tie(standin.array(np.ones((4, 3), "float32")), None)).sum().backward()
    norm = clip_grad_norm_(model.parameters(), 1.0)
    assert type(norm.data) is standin.ndarray
    squares = sum((standin.asnumpy(p.grad.data) ** 2).sum() for p in model.parameters())
    assert squares == pytest.approx(1, rel=1e-4)
    x = tie(standin.array(np.ones((50, 40), "float32")), None)
    minidl.manual_seed(4)
    there = standin.asnumpy(nn.Dropout(0.3)(x).data)
    minidl.manual_seed(4)
    assert (nn.Dropout(0.3)(minidl.ones(50, 40)).data == there).all()
