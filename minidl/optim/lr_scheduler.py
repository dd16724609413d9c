"""Schedules of the learning rate.

Each is a function of the count of steps alone, lr(t) = base lr times a factor that `factor(t)`
states, so a schedule resumes exactly and can be read off its formula. Names, options and values
are PyTorch's (its closed forms).
"""

import bisect
import math
from collections.abc import Callable, Sequence
from typing import Any

from minidl.errors import FormatError
from minidl.optim.optimizer import Optimizer

__all__ = [
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "OneCycleLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
    "WarmupLR",
]


def _checked(who: str, optimizer: Any, **counts: int) -> Optimizer:
    """Return the optimizer. Raises TypeError for what is none, ValueError for a count below 1."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{who}: {type(optimizer).__name__} is no Optimizer")
    for name, count in counts.items():
        if count <= 0:
            raise ValueError(f"{who}: {name} is {count}, expected more than 0")
    return optimizer


class LRScheduler:
    """Sets the learning rate of each group to `lr_at(t, base)` after each `step()`.

    optimizer : its groups' `lr` when the schedule is made are the base rates
    last_epoch : the count of steps done before; -1 starts anew

    As a rate is a function of the count, of two schedules for one optimiser the last to step
    decides (PyTorch's multiply): put them one after another with `SequentialLR`, or multiply in a
    `LambdaLR`.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.optimizer = _checked(type(self).__name__, optimizer)
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise ValueError(
                    f"{type(self).__name__}: group {i} has no 'initial_lr' to resume from"
                )
        self.base_lrs = [float(group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch: float = last_epoch
        self.step()

    def factor(self, t: float) -> float:
        """The factor on the base rate after t steps."""
        raise NotImplementedError(f"{type(self).__name__} does not say its factor")

    def lr_at(self, t: float, base: float, group: int) -> float:
        """The rate of a group after t steps."""
        return base * self.factor(t)

    def step(self) -> None:
        """Count one step and set the rates."""
        self.last_epoch += 1
        self._set(self.last_epoch)

    def _set(self, t: float) -> None:
        for i, (group, base) in enumerate(
            zip(self.optimizer.param_groups, self.base_lrs, strict=True)
        ):
            group["lr"] = self.lr_at(t, base, i)

    def get_last_lr(self) -> list[float]:
        """The rate of each group as it is now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """What is needed to resume, as JSON can hold it; the optimiser is saved apart."""
        return {"last_epoch": self.last_epoch, "base_lrs": list(self.base_lrs)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume where `state_dict` was taken. Raises FormatError for another schedule's state."""
        mine = self.state_dict()
        if not isinstance(state, dict) or state.keys() != mine.keys():
            raise FormatError(f"{type(self).__name__}: expected a state with {sorted(mine)}")
        try:
            count, base_lrs = state["last_epoch"] + 0, [float(base) for base in state["base_lrs"]]
        except (TypeError, ValueError) as error:
            raise FormatError(f"{type(self).__name__}: not its state ({error})") from None
        if len(base_lrs) != len(self.base_lrs):
            raise FormatError(f"{type(self).__name__}: the state has another number of groups")
        self.last_epoch, self.base_lrs = count, base_lrs
        self._set(count)


class LambdaLR(LRScheduler):
    """base · function(t); one function, or one for each group."""

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        count = len(optimizer.param_groups)
        many = isinstance(lr_lambda, Sequence)
        self.lr_lambdas = list(lr_lambda) if many else [lr_lambda] * count  # type: ignore[arg-type]
        if len(self.lr_lambdas) != count:
            raise ValueError(f"LambdaLR: {len(self.lr_lambdas)} functions for {count} groups")
        super().__init__(optimizer, last_epoch)

    def lr_at(self, t: float, base: float, group: int) -> float:
        return base * self.lr_lambdas[group](t)  # type: ignore[operator, arg-type]


class StepLR(LRScheduler):
    """base · γ^⌊t / step_size⌋."""

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        _checked("StepLR", optimizer, step_size=step_size)
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def factor(self, t: float) -> float:
        return self.gamma ** (t // self.step_size)


class MultiStepLR(LRScheduler):
    """base · γ^(number of milestones reached)."""

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Sequence[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def factor(self, t: float) -> float:
        return self.gamma ** bisect.bisect_right(self.milestones, t)


class ConstantLR(LRScheduler):
    """base · factor for the first total_iters steps, then base."""

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 1.0 / 3,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 <= factor <= 1:
            raise ValueError(f"ConstantLR: factor is {factor}, expected 0 to 1")
        self.start, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def factor(self, t: float) -> float:
        return self.start if t < self.total_iters else 1.0


class LinearLR(LRScheduler):
    """base times a factor on a straight line from start_factor to end_factor in total_iters."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1 or not 0 <= end_factor <= 1:
            raise ValueError("LinearLR: the factors must lie in (0, 1] and [0, 1]")
        _checked("LinearLR", optimizer, total_iters=total_iters)
        self.start_factor, self.end_factor = start_factor, end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def factor(self, t: float) -> float:
        done = min(t, self.total_iters) / self.total_iters
        return self.start_factor + (self.end_factor - self.start_factor) * done


class ExponentialLR(LRScheduler):
    """base · γ^t."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def factor(self, t: float) -> float:
        return self.gamma**t


class CosineAnnealingLR(LRScheduler):
    """eta_min + (base - eta_min) (1 + cos(π t / T_max)) / 2.

    Loshchilov and Hutter 2016, arXiv 1608.03983, without restarts.
    """

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        _checked("CosineAnnealingLR", optimizer, T_max=T_max)
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def lr_at(self, t: float, base: float, group: int) -> float:
        return _cosine(base, self.eta_min, t / self.T_max)


class CosineAnnealingWarmRestarts(LRScheduler):
    """The cosine over T_0 steps, started again, each time T_mult times as long.

    Loshchilov and Hutter 2016, arXiv 1608.03983. `step(t)` sets the count `last_epoch`, which may
    be a fraction; a plain `step()` goes on from there.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        if T_0 < 1 or T_mult < 1:
            raise ValueError(f"CosineAnnealingWarmRestarts: T_0 {T_0} and T_mult {T_mult} from 1")
        self.T_0, self.T_mult, self.eta_min = T_0, T_mult, eta_min
        super().__init__(optimizer, last_epoch)

    def step(self, epoch: float | None = None) -> None:
        """Count one step, or set the count to `epoch`."""
        now = self.last_epoch + 1 if epoch is None else epoch
        if now < 0:
            raise ValueError(f"CosineAnnealingWarmRestarts: epoch is {now}, expected at least 0")
        self._set(now)
        self.last_epoch = now

    def lr_at(self, t: float, base: float, group: int) -> float:
        length: float = self.T_0
        while t >= length:
            t, length = t - length, length * self.T_mult
        return _cosine(base, self.eta_min, t / length)


def _cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2


class OneCycleLR(LRScheduler):
    """Up from max_lr / div_factor to max_lr in pct_start of the steps, then down to almost nothing.

    The momentum (or β1) moves the other way. Smith and Topin 2017, arXiv 1708.07120.

    total_steps, or epochs and steps_per_epoch; one `step()` after each batch, and no more than
    total_steps of them (ValueError).
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError("OneCycleLR: give total_steps, or epochs and steps_per_epoch")
            total_steps = epochs * steps_per_epoch
        if total_steps < 1:
            raise ValueError(f"OneCycleLR: total_steps is {total_steps}, expected at least 1")
        if not 0 <= pct_start <= 1:
            raise ValueError(f"OneCycleLR: pct_start is {pct_start}, expected 0 to 1")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"OneCycleLR: anneal_strategy is {anneal_strategy!r}: cos or linear")
        self.total_steps, self.cosine = total_steps, anneal_strategy == "cos"
        count = len(optimizer.param_groups)
        tops = list(max_lr) if isinstance(max_lr, Sequence) else [max_lr] * count
        if len(tops) != count:
            raise ValueError(f"OneCycleLR: {len(tops)} values of max_lr for {count} groups")
        self.ends = [pct_start * total_steps - 1, total_steps - 1.0]
        if three_phase:
            self.ends.insert(1, 2 * pct_start * total_steps - 2)
        self.momentum_range = (base_momentum, max_momentum)
        self.cycle_momentum = cycle_momentum
        self.levels: list[list[float]] = []
        for group, top in zip(optimizer.param_groups, tops, strict=True):
            low = top / div_factor
            last = low / final_div_factor
            self.levels.append([low, top, low, last] if three_phase else [low, top, last])
            if last_epoch == -1:
                group["initial_lr"] = low
            if cycle_momentum and not ({"momentum", "betas"} & group.keys()):
                raise ValueError("OneCycleLR: the optimiser has no momentum or betas to cycle")
        super().__init__(optimizer, last_epoch)

    def _between(self, start: float, end: float, done: float) -> float:
        return _cosine(start, end, done) if self.cosine else start + (end - start) * done

    def _along(self, levels: Sequence[float], t: float) -> float:
        """The value after t steps on the way through the levels, one phase between each two."""
        begin = 0.0
        for i, end in enumerate(self.ends):
            if t <= end or i == len(self.ends) - 1:
                done = (t - begin) / (end - begin) if end > begin else 1.0
                return self._between(levels[i], levels[i + 1], done)
            begin = end
        return levels[-1]

    def lr_at(self, t: float, base: float, group: int) -> float:
        return self._along(self.levels[group], t)

    def _set(self, t: float) -> None:
        if t > self.total_steps:
            raise ValueError(
                f"OneCycleLR: step {int(t)} of a cycle that has {self.total_steps} steps"
            )
        super()._set(t)
        if self.cycle_momentum:
            low, high = self.momentum_range
            levels = [high, low, high, high][: len(self.ends) + 1]
            for group in self.optimizer.param_groups:
                momentum = self._along(levels, t)
                if "betas" in group:
                    group["betas"] = (momentum, *group["betas"][1:])
                else:
                    group["momentum"] = momentum


class SequentialLR(LRScheduler):
    """One schedule after another; each counts its own steps from its milestone on.

    The count is the whole state: the schedules follow from it.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                f"SequentialLR: {len(schedulers)} schedules need {len(schedulers) - 1} "
                f"milestones, got {len(milestones)}"
            )
        if any(s.optimizer is not optimizer for s in schedulers):
            raise ValueError("SequentialLR: the schedules must be of the same optimizer")
        self.schedulers, self.milestones = list(schedulers), list(milestones)
        super().__init__(optimizer, last_epoch)

    def _set(self, t: float) -> None:
        which = bisect.bisect_right(self.milestones, t)
        begin = self.milestones[which - 1] if which else 0
        scheduler = self.schedulers[which]
        scheduler.last_epoch = int(t - begin)
        scheduler._set(t - begin)


class WarmupLR(SequentialLR):
    """From almost nothing up to the base rate in `steps` steps on a line, then another schedule.

    after : the schedule that follows, made for the same optimiser; default: the base rate stays
    Goyal et al. 2017, arXiv 1706.02677, section 2.2.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        steps: int,
        after: LRScheduler | None = None,
        start_factor: float = 1e-3,
    ) -> None:
        if steps < 1:
            raise ValueError(f"WarmupLR: steps is {steps}, expected at least 1")
        rise = LinearLR(optimizer, start_factor, 1.0, steps)
        super().__init__(optimizer, [rise, after or ConstantLR(optimizer, 1.0, 0)], [steps])


class ReduceLROnPlateau:
    """Multiplies the rate by `factor` when a figure has not got better for `patience` steps.

    mode : "min" (a loss) or "max" (an accuracy); threshold, threshold_mode : how much better
        counts ("rel": by a share of the best, "abs": by an amount)
    cooldown : steps to wait after a reduction; min_lr : no lower; eps : smaller changes are left
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        if factor >= 1:
            raise ValueError(f"ReduceLROnPlateau: factor is {factor}, expected less than 1")
        if mode not in ("min", "max") or threshold_mode not in ("rel", "abs"):
            raise ValueError("ReduceLROnPlateau: mode is min or max, threshold_mode rel or abs")
        self.optimizer = _checked("ReduceLROnPlateau", optimizer)
        count = len(optimizer.param_groups)
        self.min_lrs = list(min_lr) if isinstance(min_lr, Sequence) else [min_lr] * count
        if len(self.min_lrs) != count:
            raise ValueError(f"ReduceLROnPlateau: {len(self.min_lrs)} of min_lr, {count} groups")
        self.mode, self.threshold_mode = mode, threshold_mode
        self.drop, self.patience, self.threshold = factor, patience, threshold
        self.cooldown, self.eps = cooldown, eps
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = self.last_epoch = 0

    def step(self, metrics: Any) -> None:
        """Look at the figure; reduce the rates if it has been bad for too long. NaN is bad."""
        value = float(metrics)
        self.last_epoch += 1
        if self._better(value):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            for group, least in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
                new = max(group["lr"] * self.drop, least)
                if group["lr"] - new > self.eps:
                    group["lr"] = new
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0

    def _better(self, value: float) -> bool:
        sign = 1 if self.mode == "min" else -1
        if self.threshold_mode == "rel":
            return sign * value < sign * self.best * (1 - sign * self.threshold)
        return sign * value < sign * self.best - self.threshold

    def get_last_lr(self) -> list[float]:
        """The rate of each group as it is now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """What is needed to resume."""
        names = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume where `state_dict` was taken."""
        if not isinstance(state, dict) or state.keys() != self.state_dict().keys():
            raise FormatError(f"ReduceLROnPlateau: expected {sorted(self.state_dict())}")
        for name, value in state.items():
            setattr(self, name, value)
