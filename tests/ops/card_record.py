"""What the cards say that must be measured: memory, cost and the worst errors of every operation.

Write minidl/cards/measured.json anew (a minute or two; in an environment with the `oracle` extra,
or else with PyTorch's values as they are recorded):

    export PYTHONPATH=.:kernels
    python tests/ops/card_record.py && python -m minidl.cards

With names of operations only these are measured: `python tests/ops/card_record.py conv2d relu`.

An error is written as a power of ten above three times the worst one measured, and never below
1e-14, so that another machine's rounding gives the same file.
"""

import json
import math
import sys
from typing import Any

import numpy as np
from cases import A, Case, I, all_cases, arrays_of, mapped, with_arrays
from oracle import Ours, evaluate, outputs_of, recorded

import minidl
from minidl import ops
from minidl.cards.cost import counted
from minidl.cards.measured import RECORD, measured
from minidl.device import owner
from minidl.tape import Port, observe, registry
from minidl.testing import GradientError, gradcheck

# Examples of a size at which memory and cost mean something; else a case of the tests is taken.
IMAGES, SEQUENCE = A(32, 16, 28, 28), A(50, 32, 64)  # (N, C, H, W) and (T, B, I)
EXAMPLES = {
    "conv": Case(IMAGES, A(32, 16, 3, 3), A(32), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    "conv2d": Case(IMAGES, A(32, 16, 3, 3), A(32), padding=1),
    "max_pool2d": Case(IMAGES, 2),
    "avg_pool2d": Case(IMAGES, 2),
    "relu": Case(IMAGES),
    "linear": Case(A(32, 784), A(128, 784), A(128)),
    "matmul": Case(A(32, 784), A(784, 128)),
    "batch_norm": Case(IMAGES, None, None, A(16), A(16), training=True),
    "layer_norm": Case(A(32, 50, 64), (64,), A(64), A(64)),
    "softmax": Case(A(32, 10), 1),
    "log_softmax": Case(A(32, 10), 1),
    "cross_entropy": Case(A(32, 10), I(10, 32)),
    "mse_loss": Case(A(32, 10), A(32, 10, constant=True)),
    "embedding": Case(I(1000, 32, 50), A(1000, 64)),
    "rnn": Case(SEQUENCE, A(32, 128), A(128, 64), A(128, 128), A(128), A(128)),
    "lstm": Case(SEQUENCE, A(32, 128), A(32, 128), A(512, 64), A(512, 128), A(512), A(512)),
    "gru": Case(SEQUENCE, A(32, 128), A(384, 64), A(384, 128), A(384), A(384)),
    "recurrent_layers": Case(
        SEQUENCE,
        None,
        None,
        A(512, 64),
        A(512, 128),
        A(512),
        A(512),
        A(512, 128),
        A(512, 128),
        A(512),
        A(512),
    ),
    "scaled_dot_product_attention": Case(A(8, 4, 50, 16), A(8, 4, 50, 16), A(8, 4, 50, 16)),
}


def function(name: str) -> Any:
    return getattr(ops, name, registry[name])


def example_of(name: str, cases: list[Case]) -> Case:
    """The call that a card shows: one that has a gradient, if any does."""
    if name in EXAMPLES:
        return EXAMPLES[name]
    return next((c for c in cases if any(_smooth(c, arrays_of(*c.realised(7))))), cases[0])


def _smooth(case: Case, arrays: list[Any]) -> list[bool]:
    """Of each array whether its gradient is asked for."""
    constants = case.constants()
    return [a.dtype.kind == "f" and not c for a, c in zip(arrays, constants, strict=True)]


# ---- an example: what runs, what is saved, what it costs ----------------------------------------


def run(name: str, case: Case) -> dict[str, Any]:
    """Call an operation in float32 and look on."""
    args, options = case.realised(7)
    arrays = [a.astype("float32") if a.dtype.kind == "f" else a for a in arrays_of(args, options)]
    leaves = [
        minidl.tensor(a, requires_grad=t)
        for a, t in zip(arrays, _smooth(case, arrays), strict=True)
    ]
    events: list[Any] = []
    args, options = with_arrays(args, options, leaves)
    minidl.manual_seed(0)
    with observe(events.append):
        outputs = outputs_of(function(name)(*args, **options))
    costs = [counted(e) for e in events]
    known = [flops for flops, _ in costs if flops is not None]
    return {
        "example": f"{name}({described(args, options)})",
        "ops": list(dict.fromkeys(e.op.name for e in events)),
        "saved": kept(outputs, leaves),
        "flops": sum(known) if known and (sum(known) or len(known) == len(costs)) else None,
        "partly": len(known) < len(costs),
        "bytes": sum(size for _, size in costs),
    }


def described(args: list[Any], options: dict[str, Any]) -> str:
    """The arguments of a call, tensors as their shapes."""

    def shown(value: Any) -> str:
        if isinstance(value, minidl.Tensor):
            kind = "" if value.dtype == "float32" else f"{value.dtype} "
            return f"{kind}{tuple(value.shape)}"
        if isinstance(value, (list, tuple)) and any(isinstance(v, minidl.Tensor) for v in value):
            return f"[{', '.join([shown(v) for v in value])}]"
        return repr(value)

    return ", ".join([*map(shown, args), *[f"{k}={shown(v)}" for k, v in options.items()]])


def kept(outputs: list[Any], leaves: list[Any]) -> list[list[Any]]:
    """Every array that the tape holds: [op.name, bytes, "argument", "result" or "own"]."""
    nodes: dict[int, Any] = {}
    ahead = [y.node for y in outputs if y.node is not None]
    while ahead:
        node = ahead.pop()
        node = node.node if isinstance(node, Port) else node
        if id(node) not in nodes and hasattr(node, "saved"):
            nodes[id(node)] = node
            ahead += node.parents
    known = {id(owner(x.data)): "argument" for x in leaves}
    known |= {id(owner(y.data)): "result" for y in outputs}
    found: dict[int, list[Any]] = {}
    for node in sorted(nodes.values(), key=lambda n: n.order):
        names = [_label(node.op, entry) for entry in node.recipe.keep]
        values = list(zip(names, node.saved, strict=False))
        if node.op.definition is not None:
            arguments = node.saved[-1][0]
            values += list(zip(node.op.names_of(len(arguments)), arguments, strict=True))
        for label, value in values:
            arrays: list[Any] = []
            mapped(value, arrays.append, np.ndarray)
            for array in arrays:
                memory = owner(array)
                kind = known.get(id(memory), "own")
                found.setdefault(id(memory), [f"{node.op.name}.{label}", array.nbytes, kind])
    return list(found.values())


def _label(op: Any, entry: tuple[str, Any]) -> str:
    what, which = entry
    if what in ("value", "shape"):
        return str(op.positional[which])
    if what in ("values", "shapes"):
        return str(op.variadic)
    return "out" if what == "out" else str(which)


# ---- the worst errors ---------------------------------------------------------------------------


def rounded_up(error: float) -> str:
    """A power of ten with room above an error, at least 1e-14."""
    return f"1e{max(math.ceil(math.log10(max(3 * error, 1e-14))), -14)}"


def against_differences(name: str, cases: list[Case]) -> dict[str, float]:
    """The worst error of each order, over all cases, of the scale of the derivative."""
    worst: dict[str, float] = {}
    for case in cases:
        args, options = case.realised(7)
        arrays = arrays_of(args, options)
        places = [k for k, t in enumerate(_smooth(case, arrays)) if t and arrays[k].size]
        if not places or case.order < 1:
            continue

        def call(*xs: Any, places: Any = places, case: Case = case) -> Any:
            args, options = case.realised(7)
            full = [minidl.tensor(a) for a in arrays_of(args, options)]
            for k, x in zip(places, xs, strict=True):
                full[k] = x.reshape(full[k].shape)
            args, options = with_arrays(args, options, full)
            ys = [y for y in outputs_of(function(name)(*args, **options)) if y.dtype.kind == "f"]
            return ys[0] if len(ys) == 1 else tuple(ys)

        points = tuple([np.atleast_1d(arrays[k]) for k in places])
        if not _has_a_path(call, points):
            continue
        try:
            report = gradcheck(call, points, order=case.order, name=name)
        except GradientError:  # too flat for relative errors; or else it is wrong
            gradcheck(call, points, order=case.order, name=name, rtol=case.rtol, atol=1e-9)
            continue
        for check in report.checks:
            key = str(check.order)
            worst[key] = max(worst.get(key, 0.0), check.error)
    return worst


def _has_a_path(call: Any, arrays: Any) -> bool:
    out = call(*[minidl.tensor(a, requires_grad=True) for a in arrays])
    return any(y.requires_grad for y in outputs_of(out))


def against_pytorch(name: str, cases: list[Case], known: Any) -> dict[str, float]:
    """The worst error of values ("0") and of each order, of the scale of each array."""
    worst: dict[str, float] = {}
    for i, case in enumerate(cases):
        theirs = known.get((name, i))
        if theirs is None:
            continue
        ours = evaluate(function(name), Ours.leaf, Ours, case, *case.realised(7))
        for key in ours.keys() & theirs.keys():
            want = theirs[key]
            fine = np.isfinite(want) if want.dtype.kind == "f" else np.zeros(want.shape, bool)
            if fine.any():
                order = {"o": "0", "g": "1", "s": "2"}[key[0]]
                scale = np.max(abs(want[fine])) or 1.0
                error = float(np.max(abs(ours[key][fine] - want[fine])) / scale)
                worst[order] = max(worst.get(order, 0.0), error)
    return worst


def record(names: list[str]) -> None:
    """Measure all operations, or some anew, and write `RECORD`."""
    known, lines = recorded(), []
    for name, cases in sorted(all_cases().items()):
        if name not in registry:
            continue
        if names and name not in names:
            lines.append(f"{json.dumps(name)}: {json.dumps(measured()[name])}")
            continue
        found = run(name, example_of(name, cases))
        for key, errors in (
            ("differences", against_differences(name, cases)),
            ("pytorch", against_pytorch(name, cases, known)),
        ):
            found[key] = {order: rounded_up(e) for order, e in sorted(errors.items())}
        lines.append(f"{json.dumps(name)}: {json.dumps(found)}")
    RECORD.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"{RECORD}: {len(lines)} operations")


if __name__ == "__main__":
    record(sys.argv[1:])
