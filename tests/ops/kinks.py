"""Every kink that the registry declares, evaluated by us and by PyTorch.

PyTorch's values are taken live where it is installed, else from tests/oracle/kinks.json. Record
them anew (in an environment with the `oracle` extra):

    python tests/ops/kinks.py
"""

import functools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

import minidl
from minidl import ops
from minidl.tape import Kink, registry

RECORD = Path(__file__).parents[1] / "oracle" / "kinks.json"
KINKS = {
    f"{name}: {kink.where}": (name, kink)
    for name, thing in registry.items()
    if "." not in name
    for kink in thing.facts.kinks
}
# What PyTorch calls an argument of ours; for all other arguments the names are the same, or they
# are tensors and stand in the same order.
_THEIR_NAMES = {"pow": {"y": "exponent"}, "sort": {"x": "input"}}


def function(name: str) -> Any:
    """The function that users call, or the op from the registry."""
    return getattr(ops, name, registry[name])


def arguments(kink: Kink, leaf: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The call of a kink, and the tensors among it that are tracked.

    leaf(array, requires_grad) makes a tensor
    """
    call, tracked = {}, {}
    for name, value in kink.at.items():
        if name in kink.gradient:
            call[name] = tracked[name] = leaf(np.array(value, "float64"), True)
        else:
            call[name] = leaf(np.array(value), False) if isinstance(value, list) else value
    return call, tracked


def first(outputs: Any) -> Any:
    """The output that a kink is about: the first of several."""
    return outputs[0] if isinstance(outputs, tuple) else outputs


def ours(name: str, kink: Kink) -> dict[str, Any]:
    """The gradients at a kink by our tape."""
    call, tracked = arguments(kink, lambda a, t: minidl.tensor(a, requires_grad=t))
    out = first(function(name)(**call))
    g = np.ones(out.shape) if kink.g is None else np.array(kink.g, "float64")
    found = minidl.grad(out, list(tracked.values()), g, allow_unused=True)
    return {n: None if x is None else x.data for n, x in zip(tracked, found, strict=True)}


def theirs(name: str, kink: Kink) -> dict[str, Any] | None:
    """The gradients at a kink by PyTorch, computed now; None if it has no counterpart."""
    import torch

    call, tracked = arguments(kink, lambda a, t: torch.tensor(a, requires_grad=t))
    out = first(_theirs(torch, name, call))
    g = torch.ones_like(out) if kink.g is None else torch.tensor(kink.g, dtype=out.dtype)
    found = torch.autograd.grad(out, list(tracked.values()), g, allow_unused=True)
    return {n: None if x is None else x.numpy() for n, x in zip(tracked, found, strict=True)}


def _theirs(torch: Any, name: str, call: dict[str, Any]) -> Any:
    """PyTorch's function of a call with our names: tensors in order, options by name."""
    F = torch.nn.functional
    if name in ("rnn", "rnn_relu_cell"):
        x, *rest = [v for v in call.values() if isinstance(v, torch.Tensor)]
        return torch.rnn_relu_cell(x[0] if name == "rnn" else x, *rest)

    def layer(x: Any, w: Any, bias: Any, activation: Any, size: Any) -> Any:
        axes = x.ndim - 2
        y = getattr(torch, f"conv{axes}d")(x, w, bias)
        y = torch.relu(y) if activation else y
        return getattr(F, f"max_pool{axes}d")(y, size[0] if axes == 1 else size) if size else y

    if name in ("conv1d", "conv2d", "conv3d"):
        size = call.get("pool", [None])[0]
        tensors = [call[n] for n in ("input", "weight", "bias")]
        return layer(*tensors, call.get("activation"), size)
    if name == "linear":
        return torch.relu(F.linear(*[v for v in call.values() if isinstance(v, torch.Tensor)]))
    own = {
        "max_pool": (F.max_pool1d, ["x", "size", "stride"]),
        "adaptive_max_pool": (F.adaptive_max_pool1d, ["x", "output_size"]),
        "bernoulli_nll": (F.binary_cross_entropy, ["x", "target"]),
        "median_of_all": (torch.median, ["x"]),
        "conv_relu": (lambda *a: torch.relu(torch.conv2d(*a)), ["x", "w", "bias"]),
        "conv_pool": (layer, ["x", "w", "bias", "activation", "size"]),
    }
    if name in own:
        call_them, names = own[name]
        values = [call[n] for n in names]
        if name == "bernoulli_nll":
            return call_them(*values, reduction="none")
        return call_them(*values)
    place = next(p for p in (F, torch, torch.special, torch.Tensor) if hasattr(p, name))
    tensors = [v for v in call.values() if isinstance(v, torch.Tensor)]
    renamed = _THEIR_NAMES.get(name, {})
    options = {renamed.get(n, n): v for n, v in call.items() if not isinstance(v, torch.Tensor)}
    return getattr(place, name)(*tensors, **options)


def record() -> None:
    """Write what PyTorch says at every kink to `RECORD`."""
    found = {}
    for key, (name, kink) in KINKS.items():
        values = theirs(name, kink)
        found[key] = {n: None if v is None else _plain(v.tolist()) for n, v in values.items()}
    text = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(found.items()))
    RECORD.write_text("{\n" + text + "\n}\n", encoding="utf-8")
    print(f"{RECORD}: {len(found)} kinks")


def _plain(value: Any) -> Any:
    """Lists and numbers as JSON has them: infinities and NaN become words."""
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return value if math.isfinite(value) else str(value)


@functools.cache
def recorded() -> dict[str, dict[str, Any]]:
    """All that was recorded."""
    return {
        key: {n: None if v is None else np.array(v, "float64") for n, v in values.items()}
        for key, values in json.loads(RECORD.read_text(encoding="utf-8")).items()
    }


if __name__ == "__main__":
    record()
