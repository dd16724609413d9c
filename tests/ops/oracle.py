"""What PyTorch says of every case: live where it is installed, else as recorded in tests/oracle.

Record anew (in an environment with the `oracle` extra):

    python tests/ops/oracle.py
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from cases import Case, all_cases, arrays_of, with_arrays

TESTS = Path(__file__).parents[1]
RECORD = TESTS / "oracle" / "ops.npz"
RECORD_OF_NOTHING = TESTS / "oracle" / "ops_of_nothing.npz"  # of arrays without elements
SEED = 7


def cotangent(shape: tuple[int, ...], salt: int) -> np.ndarray:
    """A random weight for each element of an output or gradient, the same for both engines."""
    rng = np.random.default_rng([SEED, salt, *shape])
    return rng.uniform(0.5, 1, shape) * rng.choice([-1.0, 1.0], shape)


def outputs_of(y: Any) -> list[Any]:
    """The outputs as a list: tuples and named tuples are opened."""
    return list(y) if isinstance(y, (tuple, list)) else [y]


def evaluate(
    call: Any, leaf: Any, engine: Any, case: Case, args: list[Any], options: dict[str, Any]
) -> dict[str, np.ndarray]:
    """Outputs, gradients and gradients of <gradient, weights>, by the engine's own means.

    leaf(array, requires_grad) makes a tensor; engine has grad(outputs, inputs, …) as PyTorch's
    """
    arrays, constants = arrays_of(args, options), case.constants()
    tracked = [a.dtype.kind == "f" and not c for a, c in zip(arrays, constants, strict=True)]
    leaves = [leaf(a, t) for a, t in zip(arrays, tracked, strict=True)]
    inputs = [x for x, t in zip(leaves, tracked, strict=True) if t]
    args, options = with_arrays(args, options, leaves)
    outputs = outputs_of(call(*args, **options))
    result = {f"out{i}": engine.numpy(y) for i, y in enumerate(outputs)}
    smooth = [(i, y) for i, y in enumerate(outputs) if y.requires_grad]
    if not smooth or not inputs or case.order < 1:
        return result
    weights = [leaf(cotangent(tuple(y.shape), i), True) for i, y in smooth]
    second = case.order > 1
    grads = engine.grad(
        [y for _, y in smooth], inputs, weights,
        create_graph=second, retain_graph=True, allow_unused=True,
    )  # fmt: skip
    for i, g in enumerate(grads):
        if g is not None:
            result[f"grad{i}"] = engine.numpy(g)
    chosen = [(i, g) for i, g in enumerate(grads) if g is not None and g.requires_grad]
    if second and chosen:
        again = engine.grad(
            [g for _, g in chosen], [*inputs, *weights],
            [leaf(cotangent(tuple(g.shape), 100 + i), False) for i, g in chosen],
            allow_unused=True,
        )  # fmt: skip
        for i, h in enumerate(again):
            if h is not None:
                result[f"second{i}"] = engine.numpy(h)
    return result


class Ours:
    """minidl, as `evaluate` wants an engine."""

    @staticmethod
    def numpy(x: Any) -> np.ndarray:
        return np.array(x.data)

    @staticmethod
    def grad(*args: Any, **options: Any) -> Any:
        import minidl

        return minidl.grad(*args, **options)

    @staticmethod
    def leaf(array: np.ndarray, requires_grad: bool) -> Any:
        import minidl

        return minidl.tensor(array, requires_grad=requires_grad)


class Theirs:
    """PyTorch, as `evaluate` wants an engine."""

    @staticmethod
    def numpy(x: Any) -> np.ndarray:
        return np.array(x.numpy(force=True))

    @staticmethod
    def grad(*args: Any, **options: Any) -> Any:
        import torch

        return torch.autograd.grad(*args, **options)

    @staticmethod
    def leaf(array: np.ndarray, requires_grad: bool) -> Any:
        import torch

        return torch.tensor(np.array(array, order="C"), requires_grad=requires_grad)


def torchs(name: str, case: Case) -> Any:
    """PyTorch's function for a case, or None."""
    import torch

    if case.torch is None:
        return None
    if case.torch != "same":
        return lambda *args, **options: case.torch(torch, *args, **options)
    for place in (torch.nn.functional, torch, torch.special, torch.Tensor):
        if hasattr(place, name):
            return getattr(place, name)
    raise AttributeError(f"PyTorch has no function {name!r}: say torch=None or torch=function")


def theirs(name: str, case: Case) -> dict[str, np.ndarray] | None:
    """PyTorch's values of a case, computed now; None if it has no counterpart."""
    call = torchs(name, case)
    if call is None:
        return None
    return evaluate(call, Theirs.leaf, Theirs, case, *case.realised(SEED))


def record(table: dict[str, list[Case]], path: Path) -> None:
    """Write what PyTorch says of every case of a table."""
    found: dict[str, np.ndarray] = {}
    for name, cases in table.items():
        for i, case in enumerate(cases):
            values = theirs(name, case)
            if values is not None:
                arrays = arrays_of(*case.realised(SEED))
                values |= {f"in{k}": a for k, a in enumerate(arrays)}
                found |= {f"{name}.{i}.{key}": v for key, v in values.items()}
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(path, **found)
    print(f"{path}: {len(found)} arrays, {path.stat().st_size} bytes")


def recorded(path: Path = RECORD) -> dict[tuple[str, int], dict[str, np.ndarray]]:
    """All that was recorded, by op and number of the case."""
    found: dict[tuple[str, int], dict[str, np.ndarray]] = {}
    with np.load(path, allow_pickle=False) as archive:
        for key in archive.files:
            name, number, what = key.rsplit(".", 2)
            found.setdefault((name, int(number)), {})[what] = archive[key]
    return found


def assert_equal(name: str, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Outputs to 1e-9, first and second derivatives to 1e-7, in float64.

    Where one engine knows that a derivative is zero, and has none, the other may compute it.
    """
    for key in sorted({k for k in theirs if not k.startswith("in")} | ours.keys()):
        got, want = ours.get(key), theirs.get(key)
        if got is None or want is None:
            assert np.all((got if want is None else want) == 0), f"{name}: {key}"
            continue
        assert got.shape == want.shape, f"{name}: {key}"
        assert got.dtype == want.dtype, f"{name}: {key}"
        tolerance = 1e-9 if key.startswith("out") else 1e-7
        scale = np.max(np.abs(want[np.isfinite(want)]), initial=1e-300)
        np.testing.assert_allclose(
            got, want, rtol=tolerance, atol=tolerance * scale, err_msg=f"{name}: {key}"
        )


if __name__ == "__main__":
    import sys

    sys.path.append(str(TESTS / "gradients"))
    from cases_of_nothing import EMPTY

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns of the variance of nothing
        record(all_cases(), RECORD)
        record(EMPTY, RECORD_OF_NOTHING)
