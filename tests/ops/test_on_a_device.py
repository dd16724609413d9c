"""Every op on the stand-in for CuPy: the values of NumPy, nothing of the host, and the layout."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import standin
from cases import A, all_cases
from oracle import Ours, evaluate, outputs_of

import minidl
from minidl import ops
from minidl.device import _device_packages, _module_of, is_channels_last
from minidl.tape import tie

CASES = [
    pytest.param(name, case, id=f"{name}-{i}")
    for name, cases in all_cases().items()
    for i, case in enumerate(cases)
    if name != "to_place"  # whose one purpose is to leave the device
]


@pytest.fixture(autouse=True)
def _known_as_a_device() -> Iterator[None]:
    _device_packages.add("standin")
    _module_of.cache_clear()
    yield
    _device_packages.remove("standin")
    _module_of.cache_clear()


class OnDevice(Ours):
    """minidl on the stand-in, as `evaluate` wants an engine."""

    @staticmethod
    def numpy(x: Any) -> np.ndarray:
        assert type(x.data) is standin.ndarray
        return standin.asnumpy(x.data)

    @staticmethod
    def leaf(array: np.ndarray, requires_grad: bool) -> Any:
        return tie(standin.array(array), None).requires_grad_(requires_grad)


def function(name: str) -> Any:
    return getattr(ops, name, ops.registry.get(name))


@pytest.mark.parametrize(("name", "case"), CASES)
def test_values_are_numpys(name: str, case: Any) -> None:
    args, options = case.realised(11)
    if not any(isinstance(a, (np.ndarray, list)) for a in args):
        pytest.fail("a case without arrays")
    here = evaluate(function(name), Ours.leaf, Ours, case, args, options)
    there = evaluate(function(name), OnDevice.leaf, OnDevice, case, args, options)
    assert here.keys() == there.keys()
    for key, want in here.items():
        assert there[key].dtype == want.dtype, key
        np.testing.assert_allclose(there[key], want, rtol=1e-11, atol=1e-12, err_msg=key)


# Ops of one tensor, elementwise or nearly so: what comes in channels-last goes out channels-last.
NEUTRAL = [
    "neg exp sigmoid tanh relu gelu silu softplus abs sqrt square clone",
    "leaky_relu elu hardtanh floor",
]


@pytest.mark.parametrize("where", ["numpy", "device"])
@pytest.mark.parametrize("name", " ".join(NEUTRAL).split())
def test_channels_last_goes_through(name: str, where: str) -> None:
    """Forward and gradient; on a device the results of its own functions are in C order."""
    array = np.abs(A(2, 3, 4, 5).draw(np.random.default_rng(0))).transpose(0, 2, 3, 1).copy()
    images = array.transpose(0, 3, 1, 2)
    data = images if where == "numpy" else standin.asarray(array).transpose(0, 3, 1, 2)
    x = tie(data, None).requires_grad_()
    y = function(name)(x)
    assert is_channels_last(y.data)
    weight = tie(data, None)
    (g,) = minidl.grad(y, x, weight)
    assert is_channels_last(g.data)
    for z in (x + y, x * 2.0, ops.where(x > 1.0, x, y), ops.maximum(x, y)):
        assert is_channels_last(outputs_of(z)[0].data)
