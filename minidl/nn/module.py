"""Module: a part of a network that owns parameters, buffers and other modules."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

import numpy as np

from minidl.conversion import as_array
from minidl.device import array_module, to_device
from minidl.dtypes import as_dtype, get_default_dtype
from minidl.errors import DtypeError
from minidl.nn.hooks import call_with_hooks
from minidl.nn.state import IncompatibleKeys, load_into
from minidl.tape import TensorBase, clock, tie
from minidl.tensor import Handle, Tensor

__all__ = ["Module", "Parameter", "empty_parameter", "not_offered"]


class Parameter(Tensor):
    """A tensor that a module learns: assigned to a module, it is one of its `parameters()`.

    data : a tensor or array, shared and not copied; requires_grad : False to hold it fixed
    """

    __slots__ = ()

    def __init__(self, data: Any = (), requires_grad: bool = True) -> None:
        super().__init__(as_array("Parameter", data), requires_grad)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


def empty_parameter(shape: Any, dtype: Any = None, device: str | None = None) -> Parameter:
    """Return a parameter of a shape, to be filled by `nn.init`; until then it is zero."""
    dtype = get_default_dtype() if dtype is None else as_dtype(dtype)
    return Parameter(to_device(np.zeros(shape, dtype), device))


def not_offered(who: str, **options: Any) -> None:
    """Raise NotImplementedError for an option of PyTorch's that was set but is not offered."""
    for name, value in options.items():
        if value is not None and value is not False:
            raise NotImplementedError(f"{who}: {name} is not offered")


def _no_forward(self: "Module", *args: Any, **options: Any) -> NoReturn:
    raise NotImplementedError(f"{type(self).__name__}: it does not say what it computes (forward)")


class Module:
    """What networks are made of. A subclass defines `forward` and is called like a function.

    Parameters, modules and buffers are plain attributes; what kind an attribute is shows from its
    class, and of buffers the names are kept. Their order is that in which they were assigned.

    Examples
    --------
    >>> from minidl import nn
    >>> class Half(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.factor = nn.Parameter([0.5])
    ...
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> Half().state_dict()
    {'factor': tensor([0.5])}
    """

    training: bool
    forward: Callable[..., Any] = _no_forward
    _buffers: dict[str, bool]  # name -> whether it belongs to the state_dict
    _hooks: dict[str, dict[int, Any]] | None = None  # kind -> hooks; None: call forward at once

    def __init__(self) -> None:
        self._buffers = {}
        self.training = True

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Call `forward`, between the hooks if there are any."""
        if self._hooks is None:
            return self.forward(*args, **options)
        return call_with_hooks(self, self._hooks, args, options)

    # ---- what it owns ---------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        owned = self.__dict__
        if isinstance(value, (Parameter, Module)):
            if "_buffers" not in owned:
                raise AttributeError(
                    f"{type(self).__name__}: call super().__init__() before assigning {name!r}"
                )
            self._buffers.pop(name, None)
        elif value is not None:
            before = owned.get(name)
            if isinstance(before, (Parameter, Module)):
                kind = "parameter" if isinstance(before, Parameter) else "module"
                raise TypeError(
                    f"{type(self).__name__}: {name!r} is a {kind}, got {_kind(value)}; "
                    f"assign an nn.{kind.capitalize()}, or None to take it away"
                )
            if name in owned.get("_buffers", ()) and not isinstance(value, TensorBase):
                raise TypeError(
                    f"{type(self).__name__}: {name!r} is a buffer, got {_kind(value)}; "
                    "assign a tensor, or None"
                )
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        self._buffers.pop(name, None)

    def _new_name(self, kind: str, name: str) -> None:
        """Raise unless a parameter, buffer or module may be registered under this name."""
        who = type(self).__name__
        if "_buffers" not in self.__dict__:
            raise AttributeError(f"{who}: call super().__init__() before adding a {kind}")
        if not isinstance(name, str):
            raise TypeError(f"{who}: the name of a {kind} must be a string, got {name!r}")
        if name == "" or "." in name:
            raise KeyError(f"{who}: {name!r} cannot name a {kind}: no empty name, no dots")
        known = self.__dict__.get(name)
        if kind == "buffer":
            same = name in self._buffers
        else:
            same = isinstance(known, Parameter if kind == "parameter" else Module)
        if (known is not None and not same) or hasattr(type(self), name):
            raise KeyError(f"{who}: there is already an attribute {name!r}")

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter under a name; None stands for one that is left out, as a bias may be."""
        self._new_name("parameter", name)
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(f"{type(self).__name__}: {name!r} must be an nn.Parameter or None")
        setattr(self, name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is no parameter but moves and, if `persistent`, is saved with them."""
        self._new_name("buffer", name)
        if tensor is not None and not isinstance(tensor, TensorBase):
            raise TypeError(f"{type(self).__name__}: {name!r} must be a tensor or None")
        object.__setattr__(self, name, tensor)
        self._buffers[name] = persistent

    def add_module(self, name: str, module: "Module | None") -> None:
        """Add a module under a name."""
        self._new_name("module", name)
        if module is not None and not isinstance(module, Module):
            raise TypeError(
                f"{type(self).__name__}: {name!r} must be a module, got {_kind(module)}"
            )
        setattr(self, name, module)

    register_module = add_module

    def _own(self, kind: type) -> list[tuple[str, Any]]:
        return [(name, v) for name, v in self.__dict__.items() if isinstance(v, kind)]

    def _own_buffers(self, persistent: bool = False) -> list[tuple[str, Any]]:
        if "_buffers" not in self.__dict__:
            raise AttributeError(f"{_kind(self)}: its __init__ does not call super().__init__()")
        return [
            (name, self.__dict__[name])
            for name, saved in self._buffers.items()
            if self.__dict__[name] is not None and (saved or not persistent)
        ]

    def named_children(self) -> Iterator[tuple[str, "Module"]]:
        """Yield name and module of each module directly below; a shared one once."""
        return _distinct(self._own(Module))

    def children(self) -> Iterator["Module"]:
        """Yield each module directly below."""
        return (module for _, module in self.named_children())

    def named_modules(
        self, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, "Module"]]:
        """Yield dotted name and module of this module and all below, parents first."""

        def walk(module: Module, prefix: str) -> Iterator[tuple[str, Module]]:
            if remove_duplicate:
                if id(module) in seen:
                    return
                seen.add(id(module))
            yield prefix, module
            for name, child in module._own(Module):
                yield from walk(child, _joined(prefix, name))

        seen: set[int] = set()
        return walk(self, prefix)

    def modules(self, remove_duplicate: bool = True) -> Iterator["Module"]:
        """Yield this module and all below; a shared one once."""
        return (module for _, module in self.named_modules("", remove_duplicate))

    def _named(
        self, of: Callable[["Module"], Any], prefix: str, recurse: bool, distinct: bool
    ) -> Iterator[tuple[str, Any]]:
        modules = self.named_modules(prefix, distinct) if recurse else [(prefix, self)]
        found = ((_joined(path, name), t) for path, m in modules for name, t in of(m))
        return _distinct(found) if distinct else found

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Yield dotted name and parameter of this module and those below; a shared one once."""
        return self._named(lambda m: m._own(Parameter), prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Yield the parameters of this module and those below; a shared one once."""
        return (p for _, p in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield dotted name and tensor of the buffers of this module and those below."""
        return self._named(Module._own_buffers, prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Yield the buffers of this module and those below."""
        return (b for _, b in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> "Module":
        """Return the module of a dotted name; "" is this one. Raises AttributeError if none is."""
        module = self
        for name in target.split(".") if target else ():
            found = module.__dict__.get(name)
            if not isinstance(found, Module):
                raise AttributeError(f"get_submodule: {_kind(module)} has no module {name!r}")
            module = found
        return module

    def get_parameter(self, target: str) -> Parameter:
        """Return the parameter of a dotted name. Raises AttributeError if there is none."""
        path, _, name = target.rpartition(".")
        found = self.get_submodule(path).__dict__.get(name)
        if not isinstance(found, Parameter):
            raise AttributeError(f"get_parameter: {_kind(self)} has no parameter {target!r}")
        return found

    def get_buffer(self, target: str) -> Tensor:
        """Return the buffer of a dotted name. Raises AttributeError if there is none."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if name not in module._buffers:
            raise AttributeError(f"get_buffer: {_kind(self)} has no buffer {target!r}")
        return module.__dict__[name]

    # ---- saving and loading ---------------------------------------------------------------------

    def _named_state(self) -> Iterator[tuple[str, Any]]:
        def own(module: Module) -> list[tuple[str, Any]]:
            return module._own(Parameter) + module._own_buffers(persistent=True)

        return self._named(own, "", recurse=True, distinct=False)

    def state_dict(self, *, prefix: str = "") -> dict[str, Tensor]:
        """Return {dotted name: tensor} of parameters and persistent buffers, sharing memory.

        Names and shapes are PyTorch's. Write it to a file with `minidl.save`.
        prefix : put before every name
        """
        return {prefix + name: t.detach() for name, t in self._named_state()}

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copy tensors by name into the parameters and buffers, all or nothing.

        state_dict : {dotted name: tensor or array}, e.g. from `minidl.load`, or PyTorch's own
            tensors; floats of another width are converted
        strict : whether missing and unexpected names are refused

        Returns (missing_keys, unexpected_keys). Raises FormatError that lists what does not fit;
        nothing is changed then. `assign` is not offered (NotImplementedError).
        """
        not_offered("load_state_dict", assign=assign)
        return load_into(type(self).__name__, dict(self._named_state()), state_dict, strict)

    # ---- modes, devices, dtypes -----------------------------------------------------------------

    def train(self, mode: bool = True) -> "Module":
        """Set this module and those below to training (dropout on) or, with False, evaluation."""
        if not isinstance(mode, bool):
            raise TypeError(f"train: mode must be a bool, got {mode!r}")
        self.training = mode
        for child in self.children():
            child.train(mode)
        return self

    def eval(self) -> "Module":
        """Set this module and those below to evaluation: no dropout, running statistics used."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> "Module":
        """Ask for the gradients of all parameters, or hold them fixed."""
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or with `set_to_none=False` fill with zeros."""
        for p in self.parameters():
            if set_to_none:
                p.grad = None
            elif p.grad is not None:
                p.grad = tie(array_module(p.grad.data).zeros_like(p.grad.data), None)

    def apply(self, fn: Callable[["Module"], Any]) -> "Module":
        """Call `fn` on all modules below and then on this one; e.g. to initialise them."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def to(self, *args: Any, device: str | None = None, dtype: Any = None) -> "Module":
        """Move parameters and buffers to a device, or convert those that are floats to a dtype.

        `model.to("cuda")`, `model.to("float64")`, `model.to(tensor)`; the parameters stay the
        same objects, so an optimiser keeps hold of them. Raises DtypeError for no float dtype.
        """
        for a in args:
            if isinstance(a, TensorBase):
                device, dtype = a.device, a.dtype  # type: ignore[attr-defined]
            elif isinstance(a, str) and (a == "cpu" or a.startswith("cuda")):
                device = a
            elif a is not None:
                dtype = a
        wanted = None if dtype is None else as_dtype(dtype)
        if wanted is not None and wanted.kind != "f":
            raise DtypeError(f"to: a module is converted to a float dtype only, not {wanted}")

        def moved(data: Any) -> Any:
            data = data if device is None else to_device(data, device)
            convert = wanted is not None and data.dtype.kind == "f" and data.dtype != wanted
            return data.astype(wanted) if convert else data

        for tensor in (*self.parameters(), *self.buffers()):
            tensor.data = moved(tensor.data)
            if tensor.grad is not None:
                tensor.grad = tie(moved(tensor.grad.data), None)
        return self

    def cpu(self) -> "Module":
        """Move everything to the host."""
        return self.to("cpu")

    def cuda(self, device: int | str | None = None) -> "Module":
        """Move everything to a GPU, by its number or name; None: the first."""
        return self.to(device if isinstance(device, str) else f"cuda:{device or 0}")

    def float(self) -> "Module":
        """Convert floats to float32."""
        return self.to(dtype="float32")

    def double(self) -> "Module":
        """Convert floats to float64."""
        return self.to(dtype="float64")

    def half(self) -> "Module":
        """Convert floats to float16."""
        return self.to(dtype="float16")

    # ---- hooks ----------------------------------------------------------------------------------

    def _add_hook(self, kind: str, hook: Callable[..., Any], options: dict[str, bool]) -> Handle:
        not_offered(f"register_{kind}_hook", **options)
        if self._hooks is None:
            self._hooks = {"forward_pre": {}, "forward": {}, "full_backward": {}}
        key = next(clock)
        self._hooks[kind][key] = hook
        return Handle(self._hooks[kind], key)

    def register_forward_pre_hook(self, hook: Callable[..., Any], **options: bool) -> Handle:
        """Call `hook(module, args)` before forward; what it returns, if anything, is the args.

        Hooks are called in the order in which they were registered; PyTorch's options prepend,
        with_kwargs and always_call are not offered (NotImplementedError).
        """
        return self._add_hook("forward_pre", hook, options)

    def register_forward_hook(self, hook: Callable[..., Any], **options: bool) -> Handle:
        """Call `hook(module, args, output)` after forward; what it returns becomes the output."""
        return self._add_hook("forward", hook, options)

    def register_full_backward_hook(self, hook: Callable[..., Any], **options: bool) -> Handle:
        """Call `hook(module, grad_input, grad_output)` in a backward pass, with tuples of tensors.

        They belong to the positional arguments and the outputs; None stands for what needs no
        gradient. A tuple that the hook returns takes the place of `grad_input`.
        """
        return self._add_hook("full_backward", hook, options)

    # ---- copies and print -----------------------------------------------------------------------

    def __deepcopy__(self, memo: dict[int, Any]) -> "Module":
        from copy import deepcopy

        made = object.__new__(type(self))
        memo[id(self)] = made
        made.__dict__.update({k: deepcopy(v, memo) for k, v in self.__dict__.items()})
        return made

    def __copy__(self) -> "Module":
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        made._buffers = dict(self._buffers)
        return made

    def __reduce__(self) -> Any:
        raise TypeError("pickle: modules are not pickled; save model.state_dict() with minidl.save")

    def summary(
        self, *inputs: Any, input_size: Any = None, dtype: Any = None, **options: Any
    ) -> Any:
        """Return the layers with shapes, parameters, FLOPs and memory: `minidl.nn.summary`."""
        from minidl.nn.summary import summary  # which knows the layers, and they Module

        return summary(self, *inputs, input_size=input_size, dtype=dtype, **options)

    def extra_repr(self) -> str:
        """Return what to print of the module's own options; a subclass may define it."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        parts = extra.split("\n") if "\n" in extra else []
        for name, child in self._own(Module):
            parts.append(f"({name}): " + repr(child).replace("\n", "\n  "))
        if not parts:
            return f"{type(self).__name__}({extra})"
        return "\n  ".join([f"{type(self).__name__}(", *parts]) + "\n)"


def _kind(value: Any) -> str:
    return type(value).__name__


def _joined(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _distinct(named: Any) -> Iterator[tuple[str, Any]]:
    """Each object once, under its first name."""
    seen: set[int] = set()
    for name, value in named:
        if id(value) not in seen:
            seen.add(id(value))
            yield name, value
