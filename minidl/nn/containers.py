"""Modules that hold others: in a row, in a list, by name; and parameters likewise."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from minidl.nn.joining import run
from minidl.nn.module import Module, Parameter

__all__ = ["ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"]


class _Listed(Module):
    """What the lists share: entries are attributes named "0", "1", …; subclasses say of what."""

    _kind: type = Module

    def __init__(self, entries: Iterable[Any] = ()) -> None:
        super().__init__()
        self._replace(entries)

    def _entries(self) -> list[Any]:
        return [value for _, value in self._own(self._kind)]

    def _replace(self, entries: Iterable[Any]) -> None:
        """Hold just these entries, named by their numbers."""
        entries = list(entries)
        for entry in entries:
            if not isinstance(entry, self._kind):
                raise TypeError(
                    f"{type(self).__name__}: an entry is {type(entry).__name__}, "
                    f"expected {self._kind.__name__}"
                )
        for name, _ in self._own(self._kind):
            delattr(self, name)
        for i, entry in enumerate(entries):
            setattr(self, str(i), entry)

    def _name(self, index: Any) -> str:
        """The name of the entry at an index, which may be negative."""
        names = [name for name, _ in self._own(self._kind)]
        position = index.__index__()
        if not -len(names) <= position < len(names):
            raise IndexError(f"{type(self).__name__}: index {position}, it holds {len(names)}")
        return names[position]

    def __len__(self) -> int:
        return len(self._entries())

    def __iter__(self) -> Iterator[Any]:
        return iter(self._entries())

    def __contains__(self, entry: Any) -> bool:
        return any(entry is e for e in self._entries())

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._part(dict(self._own(self._kind)[index]))
        return getattr(self, self._name(index))

    def _part(self, entries: dict[str, Any]) -> Any:
        return type(self)(list(entries.values()))

    def __setitem__(self, index: int, entry: Any) -> None:
        setattr(self, self._name(index), self._accepted(entry))

    def __delitem__(self, index: Any) -> None:
        entries = self._entries()
        if not isinstance(index, slice):
            self._name(index)
        del entries[index]
        self._replace(entries)

    def _accepted(self, entry: Any) -> Any:
        if not isinstance(entry, self._kind):
            raise TypeError(
                f"{type(self).__name__}: expected {self._kind.__name__}, got {type(entry).__name__}"
            )
        return entry

    def append(self, entry: Any) -> Any:
        """Add an entry at the end; returns the list itself."""
        self._replace([*self._entries(), self._accepted(entry)])
        return self

    def extend(self, entries: Iterable[Any]) -> Any:
        """Add entries at the end; returns the list itself."""
        self._replace([*self._entries(), *entries])
        return self

    def __iadd__(self, entries: Iterable[Any]) -> Any:
        return self.extend(entries)

    def __add__(self, entries: Iterable[Any]) -> Any:
        return type(self)().extend(self).extend(entries)

    def insert(self, index: int, entry: Any) -> Any:
        """Put an entry before the one at an index; returns the list itself."""
        entries = self._entries()
        entries.insert(index, self._accepted(entry))
        self._replace(entries)
        return self

    def pop(self, index: int = -1) -> Any:
        """Take an entry out and return it."""
        entry = self[index]
        del self[index]
        return entry


class Sequential(_Listed):
    """Modules one after the other: each takes what the one before it gives.

    modules : modules, or one dict {name: module}; without names they are "0", "1", …
    Indexing gives a module, a slice a Sequential of the same modules.

    A convolution runs with the ReLU and the MaxPool2d behind it as one operation, Linear with ReLU,
    Sigmoid or Tanh, unless there are hooks on one of them or `minidl.fusion(False)` says otherwise.
    The result is the same.

    Examples
    --------
    >>> from minidl import nn
    >>> nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    Sequential(
      (0): Flatten(start_dim=1, end_dim=-1)
      (1): Linear(in_features=4, out_features=2, bias=True)
    )
    """

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self.add_module(name, self._accepted(module))
        else:
            self._replace(modules)

    def forward(self, x: Any) -> Any:
        """x : whatever the first module takes -> what the last one gives."""
        return run(self._entries(), x)

    def _part(self, entries: dict[str, Any]) -> Any:
        return type(self)(entries)  # the names stay, as in PyTorch

    def append(self, module: Module) -> "Sequential":
        """Add a module at the end; returns the Sequential itself."""
        self.add_module(str(len(self)), self._accepted(module))
        return self

    def extend(self, modules: Iterable[Module]) -> "Sequential":
        """Add modules at the end; returns the Sequential itself."""
        for module in modules:
            self.append(module)
        return self


class ModuleList(_Listed):
    """A list of modules that belong to the module that holds it. It has no forward of its own."""

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__(() if modules is None else modules)

    def __repr__(self) -> str:
        lines, start = [], 0
        for text, alike in groupby(map(repr, self._entries())):
            count = len(list(alike))
            place = f"({start}-{start + count - 1}): {count} x" if count > 1 else f"({start}):"
            lines.append(f"{place} {text}".replace("\n", "\n  "))
            start += count
        name = type(self).__name__
        return "\n  ".join([f"{name}(", *lines]) + "\n)" if lines else f"{name}()"


class ParameterList(_Listed):
    """A list of parameters that belong to the module that holds it; tensors become parameters."""

    _kind = Parameter

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__(() if values is None else values)

    def _replace(self, entries: Iterable[Any]) -> None:
        super()._replace([self._accepted(e) for e in entries])

    def _accepted(self, entry: Any) -> Parameter:
        return entry if isinstance(entry, Parameter) else Parameter(entry)

    def extra_repr(self) -> str:
        """One line for each parameter."""
        return _listed(self._own(Parameter))


class _Named(Module):
    """What the dicts share."""

    _kind: type = Module

    def _accepted(self, name: str, entry: Any) -> Any:
        if not isinstance(entry, self._kind):
            raise TypeError(
                f"{type(self).__name__}: {name!r} must be a {self._kind.__name__}, "
                f"got {type(entry).__name__}"
            )
        return entry

    def __init__(self, entries: Any) -> None:
        super().__init__()
        self.update({} if entries is None else entries)

    def update(self, entries: Any) -> None:
        """Add or replace entries: a dict, or (name, entry) pairs."""
        pairs = entries.items() if hasattr(entries, "items") else entries
        for name, entry in pairs:
            self[name] = entry

    def __setitem__(self, name: str, entry: Any) -> None:
        entry = self._accepted(name, entry)
        self._new_name(self._kind.__name__.lower(), name)
        setattr(self, name, entry)

    def __getitem__(self, name: str) -> Any:
        return dict(self._own(self._kind))[name]

    def __delitem__(self, name: str) -> None:
        self[name]
        delattr(self, name)

    def __len__(self) -> int:
        return len(self._own(self._kind))

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, name: object) -> bool:
        return name in self.keys()

    def keys(self) -> list[str]:
        """The names, in order."""
        return [name for name, _ in self._own(self._kind)]

    def values(self) -> list[Any]:
        """The entries, in order."""
        return [entry for _, entry in self._own(self._kind)]

    def items(self) -> list[tuple[str, Any]]:
        """(name, entry) pairs, in order."""
        return self._own(self._kind)

    def pop(self, name: str) -> Any:
        """Take an entry out and return it."""
        entry = self[name]
        del self[name]
        return entry

    def clear(self) -> None:
        """Take all entries out."""
        for name in self.keys():
            del self[name]


class ModuleDict(_Named):
    """Modules by name that belong to the module that holds it. It has no forward of its own."""

    def __init__(self, modules: Any = None) -> None:
        super().__init__(modules)


class ParameterDict(_Named):
    """Parameters by name that belong to the module that holds it; tensors become parameters."""

    _kind = Parameter

    def __init__(self, parameters: Any = None) -> None:
        super().__init__(parameters)

    def _accepted(self, name: str, entry: Any) -> Parameter:
        return entry if isinstance(entry, Parameter) else Parameter(entry)

    def extra_repr(self) -> str:
        """One line for each parameter."""
        return _listed(self._own(Parameter))


def _listed(named: list[tuple[str, Any]]) -> str:
    return "".join(f"\n({name}): Parameter {p.shape} {p.dtype}" for name, p in named)[1:]
