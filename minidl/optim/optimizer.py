"""What all optimisers share: parameter groups, state, saving and loading of both."""

from collections.abc import Callable, Iterable
from typing import Any

from minidl.creation import tensor
from minidl.device import array_module
from minidl.errors import FormatError, ShapeError
from minidl.tape import set_recording, tie, touch
from minidl.tensor import Tensor

__all__ = ["Optimizer"]


class Optimizer:
    """Changes parameters in place by their gradients; a subclass says how.

    In `_update` it says it for one parameter, in `_update_all` for all of a group together.

    params : tensors that require a gradient, or dicts {"params": tensors, option: value} for
        groups with options of their own
    defaults : the options of the groups that do not set them

    `param_groups` is PyTorch's list of dicts; `state[p]` holds what is kept for a parameter.
    Raises ValueError for an empty list or a parameter given twice, TypeError for what is no leaf.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError("optimizer: params must be a list of tensors, got a single one")
        self.defaults = defaults
        self.state: dict[Tensor, dict[str, Any]] = {}
        self.param_groups: list[dict[str, Any]] = []
        groups = list(params)
        if not groups:
            raise ValueError("optimizer: the list of parameters is empty")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Add a group of parameters; options that it does not set are the defaults."""
        params = group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        known = {id(p) for g in self.param_groups for p in g["params"]}
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(f"optimizer: a parameter is a {type(p).__name__}, not a tensor")
            if not p.is_leaf:
                raise TypeError(
                    f"optimizer: a tensor of shape {p.shape} was computed from others; "
                    "only leaves can be trained"
                )
            if id(p) in known:
                raise ValueError(f"optimizer: a parameter of shape {p.shape} is given twice")
            known.add(id(p))
        if strangers := group.keys() - self.defaults.keys() - {"params", "initial_lr"}:
            raise ValueError(f"optimizer: a group has unknown options {sorted(strangers)}")
        self.param_groups.append(self.defaults | group | {"params": params})

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, or with `set_to_none=False` fill them with zeros."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none:
                    p._grad = None
                elif p.grad is not None:
                    p.grad = tie(array_module(p.grad.data).zeros_like(p.grad.data), None)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        closure : runs the forward and backward pass again; its loss is returned
        """
        loss = None
        if closure is not None:
            with set_recording(True):
                loss = closure()
        for group in self.param_groups:
            ps, gs, states = [], [], []
            for p in group["params"]:
                if p._grad is None:
                    continue
                array, g = p.data, p._grad.data
                if g.shape != array.shape:
                    raise ShapeError(f"optimizer: .grad has shape {g.shape}, its tensor {p.shape}")
                state = self.state.get(p)
                if state is None:
                    state = self.state[p] = {}
                ps.append(array)
                gs.append(g)
                states.append(state)
            if group.get("maximize"):
                gs = [-g for g in gs]
            if ps:
                self._update_all(ps, gs, states, group)
                touch(*ps)
        return loss

    def _update_all(
        self, ps: list[Any], gs: list[Any], states: list[dict[str, Any]], group: dict[str, Any]
    ) -> None:
        """Change the arrays of a group; a subclass that has a kernel for all at once uses it."""
        for p, g, state in zip(ps, gs, states, strict=True):
            self._update(p, g, state, group)

    def _update(self, p: Any, g: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Change the array `p` in place by its gradient `g`; keep what is needed in `state`."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it updates (_update)")

    # ---- saving and loading ---------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return {"state": {number: …}, "param_groups": […]} in PyTorch's form.

        Parameters are numbered in the order of the groups; arrays come as tensors that share
        memory with the state.
        """
        numbers: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            for p in group["params"]:
                numbers[id(p)] = len(numbers)
            groups.append(group | {"params": [numbers[id(p)] for p in group["params"]]})
        state = {
            numbers[id(p)]: {
                k: tie(v, None) if hasattr(v, "strides") else v for k, v in values.items()
            }
            for p, values in self.state.items()
        }
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned; all is checked before anything is changed.

        Raises FormatError if the groups, their sizes, or the shapes of the state do not fit.
        """
        try:
            groups = [dict(g) for g in state["param_groups"]]
            values = {int(number): dict(entries) for number, entries in state["state"].items()}
            sizes = [len(g["params"]) for g in groups]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise FormatError(f"optimizer: this is no optimiser's state ({error})") from None
        mine = [len(g["params"]) for g in self.param_groups]
        if sizes != mine:
            raise FormatError(f"optimizer: the state has groups of {sizes} parameters, here {mine}")
        for group in groups:
            if missing := self.defaults.keys() - group.keys():
                raise FormatError(f"optimizer: a group lacks the options {sorted(missing)}")
        params = {
            number: p
            for saved, group in zip(groups, self.param_groups, strict=True)
            for number, p in zip(saved["params"], group["params"], strict=True)
        }
        loaded: dict[Tensor, dict[str, Any]] = {}
        for number, entries in values.items():
            if number not in params:
                raise FormatError(f"optimizer: the state names parameter {number}; there is none")
            p = params[number]
            loaded[p] = {k: _entry(k, v, p) for k, v in entries.items()}
        self.state = loaded
        for saved, group in zip(groups, self.param_groups, strict=True):
            group.update({k: v for k, v in saved.items() if k != "params"})

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            options = ", ".join(f"{k}={v}" for k, v in sorted(group.items()) if k != "params")
            lines.append(f"  group {i}: {len(group['params'])} tensors, {options}")
        return "\n".join([*lines, ")"])


def _entry(name: str, value: Any, p: Tensor) -> Any:
    """One value of a saved state as an array on the parameter's device; numbers stay numbers."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    data = tensor(value, device=p.device).data
    if name == "step" or name == "mu_product":
        return data.item()
    if data.shape != p.shape:
        raise FormatError(f"optimizer: {name} has shape {data.shape}, its parameter {p.shape}")
    placed = array_module(data).zeros_like(p.data)  # in memory as the parameter is
    placed[...] = data
    return placed


_HINTS = frozenset({"foreach", "fused", "capturable"})  # how PyTorch computes, not what


def ignored(name: str, options: dict[str, Any]) -> None:
    """Let pass PyTorch's hints on how to compute. Raises for other options that are not offered."""
    for option, value in options.items():
        if option == "differentiable":
            if value:
                raise NotImplementedError(f"{name}: differentiable is not offered")
        elif option not in _HINTS:
            raise TypeError(f"{name}: there is no option {option!r}")


def check(name: str, **limits: tuple[float, float, float]) -> None:
    """Raise ValueError unless each option lies in [low, high]."""
    for option, (value, low, high) in limits.items():
        if isinstance(value, bool) or not hasattr(value, "__float__"):
            raise TypeError(f"{name}: {option} is {value!r}, expected a number")
        if not low <= value <= high:
            raise ValueError(f"{name}: {option} is {value}, expected {low} to {high}")


def check_betas(name: str, betas: Any) -> None:
    """Raise unless betas are two numbers from 0 to 1, without 1."""
    if not isinstance(betas, tuple | list) or len(betas) != 2:
        raise ValueError(f"{name}: betas is {betas!r}, expected two numbers")
    check(name, beta1=(betas[0], 0, 1 - 1e-16), beta2=(betas[1], 0, 1 - 1e-16))
