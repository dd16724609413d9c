"""Optimisers and schedules: the same numbers as PyTorch's, live or recorded; state; bad options.

Record anew (in an environment with the `oracle` extra): python tests/optim/test_optim.py
"""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl
from minidl import optim
from minidl.errors import FormatError
from minidl.optim import lr_scheduler

LIVE = importlib.util.find_spec("torch") is not None
RECORD = Path(__file__).parents[1] / "oracle" / "optim.json"
SHAPES = [(3, 2), (4,)]

OPTIMIZERS = {
    "SGD": [
        {"lr": 0.1},
        {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.13},
        {"lr": 0.1, "momentum": 0.9, "nesterov": True},
        {"lr": 0.1, "maximize": True},
    ],
    "Adam": [{}, {"lr": 0.1, "weight_decay": 0.13}, {"amsgrad": True, "betas": (0.5, 0.6)}],
    "AdamW": [{}, {"lr": 0.1, "weight_decay": 0.3, "amsgrad": True}],
    "NAdam": [{}, {"weight_decay": 0.13}, {"weight_decay": 0.13, "decoupled_weight_decay": True}],
    "RMSprop": [{}, {"momentum": 0.9, "centered": True, "weight_decay": 0.13}],
    "Adagrad": [{}, {"lr_decay": 0.1, "weight_decay": 0.13, "initial_accumulator_value": 0.5}],
    "Adadelta": [{}, {"lr": 0.5, "rho": 0.8, "weight_decay": 0.13}],
}
SCHEDULERS = {
    "StepLR": [{"step_size": 3, "gamma": 0.5}],
    "MultiStepLR": [{"milestones": [2, 5, 5], "gamma": 0.5}],
    "ConstantLR": [{}, {"factor": 0.5, "total_iters": 3}],
    "LinearLR": [{}, {"start_factor": 0.1, "end_factor": 0.5, "total_iters": 7}],
    "ExponentialLR": [{"gamma": 0.9}],
    "CosineAnnealingLR": [{"T_max": 10, "eta_min": 0.01}],
    "CosineAnnealingWarmRestarts": [{"T_0": 3, "T_mult": 2, "eta_min": 0.01}],
    "OneCycleLR": [
        {"max_lr": 0.4, "total_steps": 20},
        {"max_lr": [0.4, 0.2], "epochs": 4, "steps_per_epoch": 5, "three_phase": True},
        {"max_lr": 0.4, "total_steps": 20, "anneal_strategy": "linear", "cycle_momentum": False},
    ],
    "LambdaLR": [{"lr_lambda": lambda t: 1 / (1 + t)}],
}
OPTIMIZER_CASES = [(n, i) for n, cases in OPTIMIZERS.items() for i in range(len(cases))]
SCHEDULER_CASES = [(n, i) for n, cases in SCHEDULERS.items() for i in range(len(cases))]


def numbers(salt: int, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers that every machine computes alike, without a generator."""
    count = int(np.prod(shape))
    values = np.array([((salt * 37 + i * 11) % 23 - 11) / 8 for i in range(count)])
    return values.reshape(shape)


def trajectory(engine: Any, tensor: Any, name: str, options: dict[str, Any]) -> list[Any]:
    """The parameters after 20 steps along given gradients, in two groups."""
    params = [tensor(numbers(k, shape)) for k, shape in enumerate(SHAPES)]
    groups = [{"params": params[:1]}, {"params": params[1:], "lr": 0.05}]
    optimizer = getattr(engine, name)(groups, **options)
    for step in range(20):
        for k, p in enumerate(params):
            p.grad = tensor(numbers(7 + step + 3 * k, SHAPES[k])).detach()
        optimizer.step()
    return [np.asarray(p.detach().numpy()).tolist() for p in params]


def rates(engine: Any, tensor: Any, name: str, options: dict[str, Any]) -> list[Any]:
    """Rates and momenta of both groups over 20 steps."""
    params = [tensor(numbers(k, shape)) for k, shape in enumerate(SHAPES)]
    groups = [{"params": params[:1]}, {"params": params[1:], "lr": 0.05}]
    optimizer = engine.SGD(groups, lr=0.1, momentum=0.5)
    scheduler = getattr(engine.lr_scheduler, name)(optimizer, **options)
    found = []
    for _ in range(20):
        found.append([[g["lr"], g["momentum"]] for g in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return found


def combined(engine: Any, tensor: Any) -> list[Any]:
    """Warm-up, then a cosine, by SequentialLR; and rates that a plateau reduces."""
    optimizer = engine.SGD([tensor(numbers(1, (2,)))], lr=0.1)
    parts = [
        engine.lr_scheduler.LinearLR(optimizer, 0.1, 1.0, 4),
        engine.lr_scheduler.CosineAnnealingLR(optimizer, 10),
        engine.lr_scheduler.ExponentialLR(optimizer, 0.5),
    ]
    scheduler = engine.lr_scheduler.SequentialLR(optimizer, parts, [4, 9])
    found = []
    for _ in range(15):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def plateau(engine: Any, tensor: Any, mode: str, threshold_mode: str) -> list[Any]:
    optimizer = engine.SGD([tensor(numbers(1, (2,)))], lr=1.0)
    scheduler = engine.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode, 0.5, 1, 0.01, threshold_mode, 1, 0.1
    )
    found = []
    for value in [5, 4, 4.5, 3.99, 3.999, 4, 4, 4, 4, 6, 3, 7, 7, 7, 7, 7, 7, float("nan"), 1]:
        scheduler.step(value)
        found.append(optimizer.param_groups[0]["lr"])
    return found


def ours(values: np.ndarray) -> minidl.Tensor:
    return minidl.tensor(values, requires_grad=True)


def theirs() -> dict[str, Any]:
    """All that PyTorch says, computed now."""
    import torch

    def tensor(values: np.ndarray) -> Any:
        return torch.tensor(values, requires_grad=True)

    engine = torch.optim
    found: dict[str, Any] = {}
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # NAdam's product of momenta is of the default dtype
    for n, i in OPTIMIZER_CASES:
        found[f"{n}.{i}"] = trajectory(engine, tensor, n, OPTIMIZERS[n][i])
    torch.set_default_dtype(before)
    for n, i in SCHEDULER_CASES:
        found[f"{n}.{i}"] = rates(engine, tensor, n, SCHEDULERS[n][i])
    found["SequentialLR"] = combined(engine, tensor)
    for mode in ("min", "max"):
        for threshold in ("rel", "abs"):
            found[f"plateau.{mode}.{threshold}"] = plateau(engine, tensor, mode, threshold)
    return found


@pytest.fixture(scope="module")
def oracle() -> dict[str, Any]:
    return theirs() if LIVE else json.loads(RECORD.read_text())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "i"), OPTIMIZER_CASES)
def test_twenty_steps_equal_pytorchs(name: str, i: int, oracle: Any) -> None:
    found = trajectory(optim, ours, name, OPTIMIZERS[name][i])
    for mine, expected in zip(found, oracle[f"{name}.{i}"], strict=True):
        np.testing.assert_allclose(mine, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("name", "i"), SCHEDULER_CASES)
def test_rates_equal_pytorchs(name: str, i: int, oracle: Any) -> None:
    found = rates(optim, ours, name, SCHEDULERS[name][i])
    np.testing.assert_allclose(found, oracle[f"{name}.{i}"], rtol=1e-12, atol=1e-15)


def test_sequences_equal_pytorchs(oracle: Any) -> None:
    np.testing.assert_allclose(combined(optim, ours), oracle["SequentialLR"], rtol=1e-12)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold", ["rel", "abs"])
def test_plateaus_equal_pytorchs(mode: str, threshold: str, oracle: Any) -> None:
    expected = oracle[f"plateau.{mode}.{threshold}"]
    assert plateau(optim, ours, mode, threshold) == expected
    assert min(expected) < 1


@pytest.mark.parametrize(("name", "i"), OPTIMIZER_CASES)
@given(cut=st.integers(0, 6))
def test_a_loaded_state_goes_on_with_the_same_bits(name: str, i: int, cut: int) -> None:
    def run(restart: bool) -> list[bytes]:
        params = [ours(numbers(k, shape)) for k, shape in enumerate(SHAPES)]
        optimizer = getattr(optim, name)(params, **OPTIMIZERS[name][i])
        for step in range(7):
            if restart and step == cut:
                state = optimizer.state_dict()
                optimizer = getattr(optim, name)(params, lr=123.0)
                optimizer.load_state_dict(state)
            for k, p in enumerate(params):
                p.grad = minidl.tensor(numbers(step + k, SHAPES[k]))
            optimizer.step()
        return [p.data.tobytes() for p in params]

    assert run(True) == run(False)


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize(("name", "i"), [c for c in OPTIMIZER_CASES if c[0] in ("SGD", "AdamW")])
@given(
    present=st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=3, max_size=6),
    moved=st.integers(0, 5),
)
def test_all_together_equal_each_alone(
    name: str, i: int, kind: str, present: list[list[bool]], moved: int
) -> None:
    """Whichever have a gradient at a step, and when arrays change places in between."""

    def run(together: bool) -> list[list[float]]:
        shapes = [(3, 2), (4,), (1, 5)]
        params = [
            minidl.tensor(numbers(k, s), dtype=kind, requires_grad=True)
            for k, s in enumerate(shapes)
        ]
        make, options = getattr(optim, name), OPTIMIZERS[name][i]
        each = [make(params, **options)] if together else [make([p], **options) for p in params]
        for step, row in enumerate(present):
            if step == moved:
                params[0].data = params[0].data.copy()
                for optimizer in each:
                    optimizer.load_state_dict(optimizer.state_dict())
            for k, (p, there) in enumerate(zip(params, row, strict=True)):
                g = minidl.tensor(numbers(step + 5 * k, shapes[k]), dtype=kind)
                p.grad = g if there else None
            for optimizer in each:
                optimizer.step()
        return [p.tolist() for p in params]

    assert run(True) == run(False)


@pytest.mark.parametrize(("name", "i"), SCHEDULER_CASES)
def test_a_schedule_resumes_exactly(name: str, i: int) -> None:
    def made() -> tuple[Any, Any]:
        params = [[ours(numbers(0, (2,)))], [ours(numbers(1, (2,)))]]
        groups = [{"params": params[0]}, {"params": params[1], "lr": 0.05}]
        optimizer = optim.SGD(groups, lr=0.1, momentum=0.5)
        return optimizer, getattr(lr_scheduler, name)(optimizer, **SCHEDULERS[name][i])

    optimizer, scheduler = made()
    for _ in range(6):
        scheduler.step()
    state = json.loads(json.dumps(scheduler.state_dict()))
    other, resumed = made()
    resumed.load_state_dict(state)
    for _ in range(5):
        assert [g["lr"] for g in other.param_groups] == [g["lr"] for g in optimizer.param_groups]
        scheduler.step()
        resumed.step()
    before = resumed.state_dict()
    for bad in ({"wrong": 1}, before | {"last_epoch": "x"}, before | {"base_lrs": [None, 1.0]}):
        with pytest.raises(FormatError, match=name):
            resumed.load_state_dict(bad)
    assert resumed.state_dict() == before


def test_restarts_go_on_from_a_fraction() -> None:
    optimizer = optim.SGD([ours(numbers(0, (2,)))], lr=0.1)
    scheduler = lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 3, 2)
    found = []
    for t in (0.5, 1.25, None, None, 7.5, None, None):
        scheduler.step(t)
        found.append(round(scheduler.get_last_lr()[0], 9))
    expected = [0.09330127, 0.062940952, 0.014644661, 0.099572243]  # PyTorch 2.13's
    assert found == [*expected, 0.014644661, 0.001703709, 0.099572243]
    other = optim.SGD([ours(numbers(0, (2,)))], lr=0.1)
    resumed = lr_scheduler.CosineAnnealingWarmRestarts(other, 3, 2)
    resumed.load_state_dict(scheduler.state_dict())
    assert resumed.get_last_lr() == scheduler.get_last_lr()


def test_warmup_rises_and_stays() -> None:
    optimizer = optim.SGD([ours(numbers(0, (2,)))], lr=1.0)
    scheduler = lr_scheduler.WarmupLR(optimizer, 4, start_factor=0.2)
    found = []
    for _ in range(6):
        found.append(round(optimizer.param_groups[0]["lr"], 12))
        scheduler.step()
    assert found == [0.2, 0.4, 0.6, 0.8, 1.0, 1.0]


def test_one_cycle_ends() -> None:
    optimizer = optim.SGD([ours(numbers(0, (2,)))], lr=1.0, momentum=0.9)
    scheduler = lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=3)
    for _ in range(3):
        scheduler.step()
    with pytest.raises(ValueError, match="OneCycleLR: step 4 of a cycle that has 3 steps"):
        scheduler.step()


def test_float32_parameters_stay_float32_and_keep_their_memory() -> None:
    for name, cases in OPTIMIZERS.items():
        p = minidl.tensor(numbers(0, (3, 2)), dtype="float32", requires_grad=True)
        memory = p.data
        optimizer = getattr(optim, name)([p], **cases[-1])
        p.grad = minidl.ones(3, 2)
        before = p.tolist()
        optimizer.step()
        assert p.data is memory
        assert p.dtype == "float32"
        assert p.tolist() != before
        assert p.grad.tolist() == minidl.ones(3, 2).tolist()


def test_a_step_is_a_change_in_place() -> None:
    p = ours(numbers(3, (2,)))
    y = (p * p).sum()
    p.grad = minidl.tensor(numbers(2, (2,)))
    optim.SGD([p], lr=0.1).step()
    with pytest.raises(RuntimeError, match="was changed in place"):
        y.backward()


def test_closure_zero_grad_and_groups() -> None:
    p, q = ours(numbers(3, (2,))), ours(numbers(4, (2,)))
    optimizer = optim.SGD([p], lr=0.1)
    optimizer.add_param_group({"params": q, "lr": 0.5})

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (p * p).sum() + q.sum()
        loss.backward()
        return loss

    before = q.data.copy()
    assert optimizer.step(closure).requires_grad
    np.testing.assert_allclose(q.data, before - 0.5)
    optimizer.zero_grad(set_to_none=False)
    assert not p.grad.data.any()
    p.grad = minidl.tensor([np.inf, np.nan])
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0, 0]
    optimizer.zero_grad()
    assert p.grad is None
    assert "group 1: 1 tensors" in repr(optimizer)


def test_bad_parameters_and_options() -> None:
    p = ours(numbers(0, (2,)))
    with pytest.raises(ValueError, match="the list of parameters is empty"):
        optim.SGD([])
    with pytest.raises(TypeError, match="got a single one"):
        optim.SGD(p)
    with pytest.raises(TypeError, match="a parameter is a float"):
        optim.SGD([1.0])
    with pytest.raises(TypeError, match="only leaves can be trained"):
        optim.SGD([p * 2.0])
    with pytest.raises(ValueError, match="given twice"):
        optim.SGD([p, p])
    with pytest.raises(ValueError, match=r"unknown options \['speed'\]"):
        optim.SGD([{"params": [p], "speed": 1}])
    for lr in ("0.1", None):
        with pytest.raises(TypeError, match=f"SGD: lr is {lr!r}, expected a number"):
            optim.SGD([p], lr=lr)
    for kind in (optim.Adam, optim.AdamW, optim.NAdam):
        with pytest.raises(ValueError, match=f"{kind.__name__}: betas is .*, expected two numbers"):
            kind([p], betas=(0.9,))
    with pytest.raises(ValueError, match="SGD: lr is -1"):
        optim.SGD([p], lr=-1)
    with pytest.raises(ValueError, match="nesterov needs"):
        optim.SGD([p], nesterov=True)
    with pytest.raises(ValueError, match="Adam: beta1 is 1"):
        optim.Adam([p], betas=(1.0, 0.9))
    with pytest.raises(TypeError, match="is no Optimizer"):
        lr_scheduler.StepLR(p, 3)
    with pytest.raises(TypeError, match="ReduceLROnPlateau: Tensor is no Optimizer"):
        lr_scheduler.ReduceLROnPlateau(p)
    optimizer = optim.AdamW([p], foreach=True, fused=None, capturable=False)  # PyTorch's hints
    with pytest.raises(NotImplementedError, match="AdamW: differentiable is not offered"):
        optim.AdamW([p], differentiable=True)
    with pytest.raises(TypeError, match="SGD: there is no option 'speed'"):
        optim.SGD([p], speed=1)
    for make in (
        lambda: lr_scheduler.StepLR(optimizer, 0),
        lambda: lr_scheduler.CosineAnnealingLR(optimizer, 0),
        lambda: lr_scheduler.LinearLR(optimizer, total_iters=0),
    ):
        with pytest.raises(ValueError, match="is 0, expected more than 0"):
            make()


def test_a_foreign_state_is_refused_whole() -> None:
    p, q = ours(numbers(0, (2,))), ours(numbers(0, (3,)))
    one, other = optim.Adam([p]), optim.Adam([q])
    p.grad, q.grad = minidl.zeros(2), minidl.zeros(3)
    one.step()
    other.step()
    before = one.state[p]["exp_avg"]
    for state, message in [
        (other.state_dict(), r"exp_avg has shape \(3,\), its parameter \(2,\)"),
        ({}, "no optimiser's state"),
        (one.state_dict() | {"state": {"first": {}}}, "no optimiser's state"),
        (one.state_dict() | {"state": {0: 3}}, "no optimiser's state"),
        (optim.Adam([p, q]).state_dict(), "groups of .2. parameters, here .1."),
        (optim.SGD([p]).state_dict(), "a group lacks the options"),
    ]:
        with pytest.raises(FormatError, match=message):
            one.load_state_dict(state)
    assert one.state[p]["exp_avg"] is before


def test_moving_average() -> None:
    p = ours(np.array([1.0, 2.0]))
    average = optim.ExponentialMovingAverage([p], decay=0.9)
    with minidl.no_grad():
        p.fill_(11.0)
    average.update()
    with average.applied():
        np.testing.assert_allclose(p.data, [2.0, 2.9])
    np.testing.assert_allclose(p.data, [11.0, 11.0])
    state = average.state_dict()
    other = optim.ExponentialMovingAverage([ours(np.zeros(2))])
    other.load_state_dict(state)
    np.testing.assert_allclose(other.averages[0], [2.0, 2.9])
    assert other.num_updates == 1
    with pytest.raises(FormatError, match="shapes"):
        optim.ExponentialMovingAverage([ours(np.zeros(3))]).load_state_dict(state)
    half = minidl.tensor([0.0], dtype="float16", requires_grad=True)
    slow = optim.ExponentialMovingAverage([half])
    with minidl.no_grad():
        half.fill_(1.0)
    for _ in range(1000):
        slow.update()
    assert slow.averages[0][0] == pytest.approx(1 - 0.999**1000, rel=1e-4)
    slow.copy_to()
    assert half.dtype == "float16"
    average.copy_to()
    np.testing.assert_allclose(p.data, [2.0, 2.9])
    with pytest.raises(ValueError, match="decay is 2"):
        optim.ExponentialMovingAverage([p], decay=2)


if __name__ == "__main__":
    RECORD.write_text(json.dumps(theirs()))
