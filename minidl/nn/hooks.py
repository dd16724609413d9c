"""Calling a module that has hooks. A module without any never comes here."""

from collections.abc import Callable
from typing import Any

from minidl.tape import Facts, Op, TensorBase, tie

__all__ = ["call_with_hooks"]


def call_with_hooks(
    module: Any, hooks: dict[str, dict[int, Any]], args: tuple[Any, ...], options: dict[str, Any]
) -> Any:
    """Call `module.forward` between its hooks; see the `register_…_hook` methods of Module."""
    for hook in tuple(hooks["forward_pre"].values()):
        changed = hook(module, args)
        if changed is not None:
            args = changed if isinstance(changed, tuple) else (changed,)
    backward = tuple(hooks["full_backward"].values())
    if backward:
        args, out = _gated(module, backward, args, options)
    else:
        out = module.forward(*args, **options)
    for hook in tuple(hooks["forward"].values()):
        changed = hook(module, args, out)
        if changed is not None:
            out = changed
    return out


def _gated(
    module: Any, hooks: tuple[Any, ...], args: tuple[Any, ...], options: dict[str, Any]
) -> Any:
    """Call forward between two gates that see the gradients come in and go out: (args, out)."""
    grad_output: tuple[Any, ...] = ()

    def arriving(gradients: tuple[Any, ...]) -> tuple[Any, ...]:
        nonlocal grad_output
        grad_output = gradients
        if not entrances:
            leaving((None,) * len(args))
        return gradients

    def leaving(grad_input: tuple[Any, ...]) -> tuple[Any, ...]:
        for hook in hooks:
            changed = hook(module, grad_input, grad_output)
            if changed is not None:
                grad_input = changed if isinstance(changed, tuple) else (changed,)
        return grad_input

    args, entrances = _through(args, leaving)
    out = module.forward(*args, **options)
    if isinstance(out, tuple):
        return args, _through(out, arriving)[0]
    return args, _through((out,), arriving)[0][0]


def _through(
    values: tuple[Any, ...], seen: Callable[[tuple[Any, ...]], tuple[Any, ...]]
) -> tuple[tuple[Any, ...], list[int]]:
    """Pass the tracked tensors among `values` through an identity whose derivative is `seen`.

    `seen` gets and returns one gradient for each value, None for the others. Returns the values
    and the places of the tracked ones.
    """
    places = [i for i, v in enumerate(values) if isinstance(v, TensorBase) and v.node is not None]
    if not places:
        return values, places

    def derivative(g: Any) -> tuple[Any, ...]:
        plain = not isinstance(g[0], TensorBase)  # an ordinary backward pass runs on arrays
        found: list[Any] = [None] * len(values)
        for i, gradient in zip(places, g, strict=True):
            found[i] = tie(gradient, None) if plain else gradient
        changed = seen(tuple(found))
        return tuple([changed[i].data if plain else changed[i] for i in places])

    def gate(*tensors: Any) -> Any:
        return tensors

    identity = Op(gate, {"tensors": derivative}, facts=Facts("x", (), "all numbers", ()))
    result = list(values)
    for i, passed in zip(places, identity(*[values[i] for i in places]), strict=True):
        result[i] = passed
    return tuple(result), places
