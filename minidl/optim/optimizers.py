"""The optimisers, each with its formula; p is a parameter, g its gradient, t counts the steps.

The arithmetic is PyTorch's, in its order, so the same gradients give the same parameters. With
`weight_decay` λ the gradient is g + λ p, except where decay is decoupled from it. PyTorch's hints
foreach, fused and capturable are taken and change nothing.
"""

import math
from collections.abc import Iterable
from typing import Any

import minidl_kernels as kernels
from minidl.device import array_module
from minidl.optim.optimizer import Optimizer, check, check_betas, ignored

__all__ = ["SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "NAdam", "RMSprop"]

_MANY = math.inf


def _zeros(p: Any) -> Any:
    return array_module(p).zeros_like(p)


def _alike(keys: list[Any], *lists: list[Any]) -> Any:
    """Yield each of the keys and what the lists hold at its places: mostly one, and all."""
    if keys.count(keys[0]) == len(keys):
        yield keys[0], lists
        return
    for key in dict.fromkeys(keys):
        yield key, [[x for x, k in zip(xs, keys, strict=True) if k == key] for xs in lists]


class SGD(Optimizer):
    """Stochastic gradient descent: b = μ b + (1 - τ) g; p = p - lr b.

    momentum μ, dampening τ; nesterov: p = p - lr (g + μ b). The first b is g itself.
    Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning".
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        **hints: Any,
    ) -> None:
        ignored("SGD", hints)
        check("SGD", lr=(lr, 0, _MANY), momentum=(momentum, 0, _MANY))
        check("SGD", weight_decay=(weight_decay, 0, _MANY))
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("SGD: nesterov needs a momentum above 0 and no dampening")
        options = {"lr": lr, "momentum": momentum, "dampening": dampening}
        options |= {"weight_decay": weight_decay, "nesterov": nesterov, "maximize": maximize}
        super().__init__(params, options)

    def _update_all(
        self, ps: list[Any], gs: list[Any], states: list[dict[str, Any]], group: dict[str, Any]
    ) -> None:
        options = [group[n] for n in ("lr", "momentum", "dampening", "weight_decay", "nesterov")]
        if not group["momentum"]:
            kernels.sgd_all_(ps, gs, None, *options, False)
            return
        starts = [state.get("momentum_buffer") is None for state in states]
        for p, state, first in zip(ps, states, starts, strict=True):
            if first:
                state["momentum_buffer"] = _zeros(p)
        bufs = [state["momentum_buffer"] for state in states]
        for first, (qs, hs, own) in _alike(starts, ps, gs, bufs):
            kernels.sgd_all_(qs, hs, own, *options, first)


class Adam(Optimizer):
    """m = β1 m + (1-β1) g; v = β2 v + (1-β2) g²; p = p - lr m̂ / (√v̂ + ε).

    m̂ = m / (1-β1^t), v̂ = v / (1-β2^t); with amsgrad v̂ is the largest so far.
    Kingma and Ba 2014, arXiv 1412.6980; Reddi et al. 2018 for amsgrad.
    """

    decoupled = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        **hints: Any,
    ) -> None:
        name = type(self).__name__
        ignored(name, hints)
        check(name, lr=(lr, 0, _MANY), eps=(eps, 0, _MANY), weight_decay=(weight_decay, 0, _MANY))
        check_betas(name, betas)
        options = {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, options | {"amsgrad": amsgrad, "maximize": maximize})

    def _update_all(
        self, ps: list[Any], gs: list[Any], states: list[dict[str, Any]], group: dict[str, Any]
    ) -> None:
        amsgrad, (beta1, beta2) = group["amsgrad"], group["betas"]
        steps, ms, vs = [], [], []
        for p, state in zip(ps, states, strict=True):
            if not state:
                state.update(step=0, exp_avg=_zeros(p), exp_avg_sq=_zeros(p))
            if amsgrad and "max_exp_avg_sq" not in state:
                state["max_exp_avg_sq"] = _zeros(p)
            state["step"] += 1
            steps.append(state["step"])
            ms.append(state["exp_avg"])
            vs.append(state["exp_avg_sq"])
        largest = [[state["max_exp_avg_sq"] for state in states]] if amsgrad else []
        for step, lists in _alike(steps, ps, gs, ms, vs, *largest):
            kernels.adam_all_(
                *lists[:4], lists[4] if amsgrad else None, step, group["lr"], beta1, beta2,
                self._eps(group, step), group["weight_decay"], self.decoupled,
            )  # fmt: skip

    def _eps(self, group: dict[str, Any], step: int) -> float:
        """ε at a step."""
        return group["eps"]


class AdamW(Adam):
    """Adam with decay decoupled from the gradient: p = (1 - lr λ) p before the step.

    Loshchilov and Hutter 2017, arXiv 1711.05101.
    """

    decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        **hints: Any,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, **hints)


class NAdam(Optimizer):
    """Adam with Nesterov's momentum: the step uses the momentum that comes next.

    μ_t = β1 (1 - 0.96^(t ψ) / 2) with momentum_decay ψ; Π = product of all μ so far;
    p = p - lr ((1-μ_t) / (1-Π) g + μ_{t+1} / (1-Π μ_{t+1}) m) / (√v̂ + ε).
    Dozat 2016, "Incorporating Nesterov Momentum into Adam".
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
        **hints: Any,
    ) -> None:
        ignored("NAdam", hints)
        check("NAdam", lr=(lr, 0, _MANY), eps=(eps, 0, _MANY))
        check_betas("NAdam", betas)
        check("NAdam", weight_decay=(weight_decay, 0, _MANY))
        options = {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay}
        options |= {"momentum_decay": momentum_decay, "maximize": maximize}
        super().__init__(params, options | {"decoupled_weight_decay": decoupled_weight_decay})

    def _update(self, p: Any, g: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        if not state:
            state.update(step=0, mu_product=1.0, exp_avg=_zeros(p), exp_avg_sq=_zeros(p))
        state["step"] += 1
        t, lr, (beta1, beta2) = state["step"], group["lr"], group["betas"]
        if group["weight_decay"]:
            if group["decoupled_weight_decay"]:
                p *= 1 - lr * group["weight_decay"]
            else:
                g = g + group["weight_decay"] * p
        mu = beta1 * (1 - 0.5 * 0.96 ** (t * group["momentum_decay"]))
        mu_next = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * group["momentum_decay"]))
        state["mu_product"] *= mu
        product = state["mu_product"]
        m, v = state["exp_avg"], state["exp_avg_sq"]
        m += (1 - beta1) * (g - m)
        v *= beta2
        v += (1 - beta2) * g * g
        bottom = array_module(p).sqrt(v / (1 - beta2**t)) + group["eps"]
        p -= lr * (1 - mu) / (1 - product) * g / bottom
        p -= lr * mu_next / (1 - product * mu_next) * m / bottom


class RMSprop(Optimizer):
    """v = α v + (1-α) g²; p = p - lr g / (√v + ε).

    centered: v - (running mean of g)² under the root; momentum μ: b = μ b + g / (√v + ε).
    Tieleman and Hinton 2012, lecture 6.5 of "Neural Networks for Machine Learning".
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
        **hints: Any,
    ) -> None:
        ignored("RMSprop", hints)
        check("RMSprop", lr=(lr, 0, _MANY), eps=(eps, 0, _MANY), momentum=(momentum, 0, _MANY))
        check("RMSprop", alpha=(alpha, 0, _MANY), weight_decay=(weight_decay, 0, _MANY))
        options = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay}
        options |= {"momentum": momentum, "centered": centered, "maximize": maximize}
        super().__init__(params, options)

    def _update(self, p: Any, g: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        if not state:
            state.update(step=0, square_avg=_zeros(p))
            if group["momentum"]:
                state["momentum_buffer"] = _zeros(p)
            if group["centered"]:
                state["grad_avg"] = _zeros(p)
        state["step"] += 1
        alpha = group["alpha"]
        if group["weight_decay"]:
            g = g + group["weight_decay"] * p
        v = state["square_avg"]
        v *= alpha
        v += (1 - alpha) * g * g
        spread = v
        if group["centered"]:
            mean = state["grad_avg"]
            mean += (1 - alpha) * (g - mean)
            spread = v - mean * mean
        g = g / (array_module(p).sqrt(spread) + group["eps"])
        if group["momentum"]:
            b = state["momentum_buffer"]
            b *= group["momentum"]
            b += g
            g = b
        p -= group["lr"] * g


class Adagrad(Optimizer):
    """s = s + g²; p = p - lr_t g / (√s + ε), lr_t = lr / (1 + (t-1) lr_decay).

    Duchi, Hazan and Singer 2011, "Adaptive Subgradient Methods".
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
        **hints: Any,
    ) -> None:
        ignored("Adagrad", hints)
        check("Adagrad", lr=(lr, 0, _MANY), lr_decay=(lr_decay, 0, _MANY), eps=(eps, 0, _MANY))
        check("Adagrad", weight_decay=(weight_decay, 0, _MANY))
        check("Adagrad", initial_accumulator_value=(initial_accumulator_value, 0, _MANY))
        options = {"lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay, "eps": eps}
        options |= {"initial_accumulator_value": initial_accumulator_value, "maximize": maximize}
        super().__init__(params, options)

    def _update(self, p: Any, g: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        if not state:
            state.update(step=0, sum=_zeros(p) + group["initial_accumulator_value"])
        state["step"] += 1
        if group["weight_decay"]:
            g = g + group["weight_decay"] * p
        lr = group["lr"] / (1 + (state["step"] - 1) * group["lr_decay"])
        s = state["sum"]
        s += g * g
        p -= lr * g / (array_module(p).sqrt(s) + group["eps"])


class Adadelta(Optimizer):
    """v = ρ v + (1-ρ) g²; Δ = √(u + ε) / √(v + ε) g; u = ρ u + (1-ρ) Δ²; p = p - lr Δ.

    Zeiler 2012, arXiv 1212.5701.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        **hints: Any,
    ) -> None:
        ignored("Adadelta", hints)
        check("Adadelta", lr=(lr, 0, _MANY), rho=(rho, 0, 1), eps=(eps, 0, _MANY))
        check("Adadelta", weight_decay=(weight_decay, 0, _MANY))
        options = {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, options | {"maximize": maximize})

    def _update(self, p: Any, g: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        if not state:
            state.update(step=0, square_avg=_zeros(p), acc_delta=_zeros(p))
        state["step"] += 1
        xp, rho, eps = array_module(p), group["rho"], group["eps"]
        if group["weight_decay"]:
            g = g + group["weight_decay"] * p
        v, u = state["square_avg"], state["acc_delta"]
        v *= rho
        v += (1 - rho) * g * g
        delta = xp.sqrt(u + eps) / xp.sqrt(v + eps) * g
        u *= rho
        u += (1 - rho) * delta * delta
        p -= group["lr"] * delta
