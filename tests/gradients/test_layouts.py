"""Channels-last stays channels-last: through every elementwise op, conv, pools and norms.

On NumPy and on the stand-in for a device, whose own functions answer in C order.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import standin
from cases import arrays_of, with_arrays
from oracle import outputs_of
from proof import cases, function

import minidl
from minidl import ops
from minidl.device import _device_packages, _module_of, is_channels_last
from minidl.tape import registry, tie

SHAPE = (2, 3, 4, 5)


@pytest.fixture(autouse=True)
def _known_as_a_device() -> Iterator[None]:
    _device_packages.add("standin")
    _module_of.cache_clear()
    yield
    _device_packages.remove("standin")
    _module_of.cache_clear()


def images(array: np.ndarray, where: str) -> Any:
    """A tensor of these values, channels-last in memory, as a view of a contiguous array."""
    memory = np.ascontiguousarray(np.moveaxis(array, 1, -1))
    data = memory if where == "numpy" else standin.asarray(memory)
    return tie(data.transpose(0, 3, 1, 2), None)


ELEMENTWISE = sorted(
    name for name, thing in registry.items() if getattr(thing, "elementwise", False)
)
# Written with elementwise ops, or of another kind, but layout-neutral all the same.
NEUTRAL = """relu6 selu gelu tanhshrink clamp_min clamp_max clone alias dropout where masked_fill
softmax log_softmax"""


@pytest.mark.parametrize("where", ["numpy", "device"])
@pytest.mark.parametrize("name", [*ELEMENTWISE, *NEUTRAL.split()])
def test_an_elementwise_op_keeps_it(name: str, where: str) -> None:
    """Forward and gradient, by every argument that has one."""
    case = cases()[name][0]
    args, options = case.realised(0)
    rng = np.random.default_rng(0)
    leaves = []
    for a in arrays_of(args, options):
        values = rng.permutation(np.resize(a.reshape(-1), np.prod(SHAPE))).reshape(SHAPE)
        x = images(values, where)
        leaves.append(x.requires_grad_() if values.dtype.kind == "f" else x)
    if name in ("softmax", "log_softmax"):
        options = {"dim": 1}
        args = args[:1]
    if name == "masked_fill":
        args = [*args[:2], 0.5]
        leaves = leaves[:2]
    new_args, new_options = with_arrays(args, options, leaves)
    for y in outputs_of(function(name)(*new_args, **new_options)):
        assert y.shape == SHAPE
        assert is_channels_last(y.data)
        if y.requires_grad:
            inputs = [x for x in leaves if x.requires_grad]
            weight = images(rng.uniform(0.5, 1, SHAPE), where)
            for g in minidl.grad(y, inputs, weight, allow_unused=True, retain_graph=True):
                assert g is None or is_channels_last(g.data)


WINDOWS: dict[str, Callable[..., Any]] = {
    "conv2d": lambda x, w: ops.conv2d(x, w, padding=1),
    "conv2d in groups": lambda x, w: ops.conv2d(x, w[:, :1], padding=1, groups=3),
    "conv2d strided": lambda x, w: ops.conv2d(x, w, stride=2, padding=1),
    "conv_transpose2d": lambda x, w: ops.conv_transpose2d(x, w, stride=2),
    "max_pool2d": lambda x, w: ops.max_pool2d(x, 2, padding=1),
    "avg_pool2d": lambda x, w: ops.avg_pool2d(x, 2, 1),
    "adaptive_avg_pool2d": lambda x, w: ops.adaptive_avg_pool2d(x, (2, 5)),
    "adaptive_max_pool2d": lambda x, w: ops.adaptive_max_pool2d(x, 2),
    "batch_norm": lambda x, w: ops.batch_norm(x, None, None, w[0, :, 0, 0], None, True),
    "instance_norm": lambda x, w: ops.instance_norm(x),
    "interpolate nearest": lambda x, w: ops.interpolate(x, scale_factor=2),
    "interpolate bilinear": lambda x, w: ops.interpolate(x, (7, 6), mode="bilinear"),
    "dropout2d": lambda x, w: ops.dropout2d(x, 0.4),
}


@pytest.mark.parametrize("where", ["numpy", "device"])
@pytest.mark.parametrize("what", WINDOWS)
def test_convolutions_pools_and_norms_keep_it(what: str, where: str) -> None:
    rng = np.random.default_rng(1)
    x = images(rng.standard_normal(SHAPE), where).requires_grad_()
    w = images(rng.standard_normal((3, 3, 3, 3)), where)
    y = WINDOWS[what](x, w)
    assert is_channels_last(y.data)
    weight = images(rng.uniform(0.5, 1, y.shape), where)
    (g,) = minidl.grad(y, x, weight)
    assert is_channels_last(g.data)
