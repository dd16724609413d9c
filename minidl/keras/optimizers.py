"""Optimisers by Keras's names, with its options and update rules.

They are optimisers of `minidl.optim` that get their parameters later, from `build`; where Keras's
rule differs (where ε stands, in which order lr and momentum work) it is written out here.
"""

import math
from collections.abc import Iterable
from typing import Any

from minidl import optim
from minidl.device import array_module
from minidl.nn.module import not_offered
from minidl.nn.utils import clip_grad_norm_, clip_grad_value_
from minidl.tape import touch
from minidl.tensor import Tensor

__all__ = ["SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Nadam", "Optimizer", "RMSprop", "get"]


class Optimizer(optim.Optimizer):
    """What they share.

    learning_rate : a number, which may be set at any time
    rule : the options of the update, by the names that `_update` finds in its group
    weight_decay : before each step p = (1 - learning_rate · weight_decay) p
    clipnorm, clipvalue, global_clipnorm : the largest norm of a gradient, the largest number in
        it, the largest norm of all together
    """

    def __init__(
        self,
        learning_rate: Any,
        rule: dict[str, Any] | None = None,
        *,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        who = type(self).__name__
        not_offered(who, **options)
        if sum(c is not None for c in (clipnorm, clipvalue, global_clipnorm)) > 1:
            raise ValueError(f"{who}: give one of clipnorm, clipvalue and global_clipnorm")
        self.name = name or who.lower()
        self.decay = weight_decay or 0.0
        self.clipnorm, self.clipvalue = clipnorm, clipvalue
        self.global_clipnorm = global_clipnorm
        self.defaults: dict[str, Any] = {"lr": _rate(who, learning_rate)} | (rule or {})
        self.state = {}
        self.param_groups = []

    @property
    def learning_rate(self) -> float:
        """The factor of the steps."""
        return self.param_groups[0]["lr"] if self.param_groups else self.defaults["lr"]

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.defaults["lr"] = _rate(type(self).__name__, value)
        for group in self.param_groups:
            group["lr"] = self.defaults["lr"]

    def build(self, variables: Iterable[Tensor]) -> None:
        """Take the parameters to change; what is known of them is kept if they are the same."""
        wanted = list(variables)
        known = [p for group in self.param_groups for p in group["params"]]
        if [id(p) for p in wanted] != [id(p) for p in known]:
            optim.Optimizer.__init__(self, wanted, self.defaults)

    def step(self, closure: Any = None) -> Any:
        """Clip the gradients, let the weights decay, and update."""
        params = [p for g in self.param_groups for p in g["params"] if p.grad is not None]
        if self.clipnorm is not None:
            for p in params:
                clip_grad_norm_([p], self.clipnorm)
        if self.global_clipnorm is not None:
            clip_grad_norm_(params, self.global_clipnorm)
        if self.clipvalue is not None:
            clip_grad_value_(params, self.clipvalue)
        if self.decay:
            for p in params:
                p.data[...] *= 1 - self.learning_rate * self.decay
                touch(p.data)
        return super().step(closure)


def _rate(who: str, value: Any) -> float:
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise NotImplementedError(
            f"{who}: learning_rate={value!r} is not offered; give a number, and change it in a "
            "callback (ReduceLROnPlateau, or optimizer.learning_rate = …)"
        )
    if not float(value) >= 0:
        raise ValueError(f"{who}: learning_rate is {value}, expected at least 0")
    return float(value)


def _zeros(p: Any) -> Any:
    return array_module(p).zeros_like(p)


class SGD(Optimizer):
    """m = momentum · m - lr g; p = p + m, or with nesterov p + momentum · m - lr g."""

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        **options: Any,
    ) -> None:
        if not 0 <= momentum <= 1:
            raise ValueError(f"SGD: momentum is {momentum}, expected 0 to 1")
        super().__init__(learning_rate, {"momentum": momentum, "nesterov": nesterov}, **options)

    def _update(self, p: Any, g: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        lr, momentum = group["lr"], group["momentum"]
        if not momentum:
            p -= lr * g
            return
        m = state.setdefault("momentum", _zeros(p))
        m *= momentum
        m -= lr * g
        p += momentum * m - lr * g if group["nesterov"] else m


class RMSprop(Optimizer):
    """v = ρ v + (1 - ρ) g²; p = p - lr g / √(v + ε), with ε under the root.

    centered : v less the square of the gradient's running mean; momentum: m = momentum · m + step
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **options: Any,
    ) -> None:
        rule = {"rho": rho, "momentum": momentum, "epsilon": epsilon, "centered": centered}
        super().__init__(learning_rate, rule, **options)

    def _update(self, p: Any, g: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        rho = group["rho"]
        v = state.setdefault("velocity", _zeros(p))
        v *= rho
        v += (1 - rho) * g * g
        spread = v + group["epsilon"]
        if group["centered"]:
            mean = state.setdefault("average_gradient", _zeros(p))
            mean *= rho
            mean += (1 - rho) * g
            spread -= mean * mean
        step = group["lr"] * g / array_module(p).sqrt(spread)
        if group["momentum"]:
            m = state.setdefault("momentum", _zeros(p))
            m *= group["momentum"]
            m += step
            step = m
        p -= step


class Adagrad(Optimizer):
    """s = s + g²; p = p - lr g / √(s + ε), with ε under the root; s is 0.1 at first."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        **options: Any,
    ) -> None:
        rule = {"initial_accumulator_value": initial_accumulator_value, "epsilon": epsilon}
        super().__init__(learning_rate, rule, **options)

    def _update(self, p: Any, g: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        if not state:
            state["accumulator"] = _zeros(p) + group["initial_accumulator_value"]
        s = state["accumulator"]
        s += g * g
        p -= group["lr"] * g / array_module(p).sqrt(s + group["epsilon"])


class Adadelta(Optimizer, optim.Adadelta):
    """See `minidl.optim.Adadelta`."""

    def __init__(
        self, learning_rate: Any = 0.001, rho: float = 0.95, epsilon: float = 1e-7, **options: Any
    ) -> None:
        rule = {"rho": rho, "eps": epsilon, "weight_decay": 0.0}
        Optimizer.__init__(self, learning_rate, rule, **options)


class Adam(Optimizer, optim.Adam):
    """p = p - lr √(1-β2^t) / (1-β1^t) m / (√v + ε): ε is added to √v before its correction.

    m and v are told at `minidl.optim.Adam`. Kingma and Ba 2014 (end of section 2).
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **options: Any,
    ) -> None:
        rule: dict[str, Any] = {"betas": (beta_1, beta_2), "eps": epsilon, "amsgrad": amsgrad}
        rule["weight_decay"] = 0.0  # that of the engine's rule; here `step` sees to it
        Optimizer.__init__(self, learning_rate, rule, **options)

    def _eps(self, group: dict[str, Any], step: int) -> float:
        eps: float = group["eps"]
        return eps / math.sqrt(1 - group["betas"][1] ** step)


class AdamW(Adam):
    """Adam with weight_decay 0.004 if nothing else is said."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float | None = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **options: Any,
    ) -> None:
        options |= {"weight_decay": weight_decay}
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, **options)


class Nadam(Optimizer, optim.NAdam):
    """See `minidl.optim.NAdam`, with momentum_decay 1."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **options: Any,
    ) -> None:
        rule: dict[str, Any] = {"betas": (beta_1, beta_2), "eps": epsilon}
        rule |= {"weight_decay": 0.0, "decoupled_weight_decay": False, "momentum_decay": 1.0}
        Optimizer.__init__(self, learning_rate, rule, **options)


_CLASSES: dict[str, type[Optimizer]] = {
    kind.__name__.lower(): kind for kind in (SGD, RMSprop, Adagrad, Adadelta, Adam, AdamW, Nadam)
}


def get(identifier: Any) -> Optimizer:
    """Return the optimiser of a name; an object as it is.

    Raises NotImplementedError for a name that is not offered, TypeError for what is no optimiser.
    """
    if isinstance(identifier, Optimizer):
        return identifier
    if isinstance(identifier, type) and issubclass(identifier, Optimizer):
        return identifier()  # type: ignore[call-arg]
    if not isinstance(identifier, str):
        raise TypeError(
            f"optimizers: {identifier!r} is none of minidl.keras.optimizers; give a name or an "
            "object of them"
        )
    if identifier.lower() not in _CLASSES:
        raise NotImplementedError(
            f"optimizers: {identifier!r} is not offered; there is {', '.join(_CLASSES)}"
        )
    return _CLASSES[identifier.lower()]()  # type: ignore[call-arg]
