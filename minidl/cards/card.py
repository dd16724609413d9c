"""The card of one operation: all that the registry and its source know of it, on half a page."""

import difflib
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any

from minidl import ops
from minidl.cards import cost, source
from minidl.cards.entries import function_of
from minidl.cards.kinks import example
from minidl.cards.measured import measured
from minidl.tape import Composite, Op

_WIDTH = 13  # of the left column


class Card:
    """An operation's card; `str` and `repr` are the page, the attributes what stands on it.

    name, signature, formula, domain, linear_in, kinks : from the registry
    derivatives : pairs of an argument and an expression, `functions` : what these call
    made_of : of a composite, the operations it called in the example
    measured : example, memory, cost and errors as recorded; {} for an operation of your own
    """

    def __init__(self, name: str) -> None:
        entry = ops.registry[name]
        facts = entry.facts
        self.name, self.entry = name, entry
        self.signature = f"{name.rpartition('.')[2]}({_parameters(function_of(entry))})"
        self.description = inspect.cleandoc(entry.__doc__ or "")
        self.formula, self.domain, self.linear_in = facts.formula, facts.domain, facts.linear_in
        self.kinks = facts.kinks
        self.measured = measured().get(name, {}) if "." not in name else {}
        self.made_of = self.measured.get("ops", []) if isinstance(entry, Composite) else []
        self.derivatives = [] if isinstance(entry, Composite) else source.derivatives(entry)
        self.functions = [] if isinstance(entry, Composite) else source.functions(entry)

    def __str__(self) -> str:
        parts = [self.signature, textwrap.indent(self.description, "    "), ""]
        for head, lines in self._rows():
            for i, line in enumerate(lines):
                parts.append(f"{'' if i else head:<{_WIDTH}}{line}".rstrip())
        return "\n".join(parts)

    __repr__ = __str__

    def _rows(self) -> Iterator[tuple[str, list[str]]]:
        yield "formula", [self.formula]
        yield "domain", [self.domain]
        if self.linear_in:
            yield "linear in", [", ".join(self.linear_in)]
        yield "kinks", self._kinks()
        yield "derivatives", self._derivatives()
        yield "saved", self._saved()
        if self.measured:
            yield "example", [self.measured["example"] + ", float32"]
            yield "", [*self._memory(), *self._cost()]
            yield "worst error", self._errors()
        place = function_of(self.entry).__module__.replace(".", "/")
        yield "source", [f"{place}.py"]

    def _kinks(self) -> list[str]:
        lines = []
        for k in self.kinks:
            lines.append(f"{k.where}: {k.value} ({k.kind})")
            lines.append(f"    {example(k)}")
            if k.pytorch:
                lines.append(f"    PyTorch: {k.pytorch}")
        if lines or not self.made_of:
            return lines or ["none"]
        kinked = [n for n in self.made_of if ops.registry[n].facts.kinks]
        return [f"none but those of {', '.join(kinked)}" if kinked else "none"]

    def _derivatives(self) -> list[str]:
        if isinstance(self.entry, Composite):
            made = ", ".join(self.made_of)
            return [f"those of what it is made of, in the example: {made}" if made else "none"]
        if not self.derivatives:
            return ["none: constant almost everywhere"]
        lines: list[str] = []
        for argument, expression in self.derivatives:
            left = ", ".join([f"d{a}" for a in argument.split(", ")])
            first, *rest = expression.splitlines()
            lines += [f"{left} = {first}", *[f"    {line}" for line in rest]]
        for function in self.functions:
            lines += ["", *function.splitlines()]
        if self.entry.definition is not None:
            lines += ["", "Of higher order: those of its definition, written with operations."]
        return lines

    def _saved(self) -> list[str]:
        if isinstance(self.entry, Composite):
            return ["what the operations it is made of save"]
        kept = saved(self.entry)
        if self.entry.definition is not None:
            return [", ".join([*kept, "all arguments, for its definition"])]
        return [", ".join(kept) or "nothing"]

    def _memory(self) -> list[str]:
        found = self.measured["saved"]
        if not found:
            return ["saves nothing for the backward pass"]
        total = sum(size for _, size, _ in found)
        new = sum(size for _, size, kind in found if kind == "own")
        own = f"{self.name}."
        of = ", ".join([f"{name.removeprefix(own)} {size:,}" for name, size, _ in found])
        shared = "none of it" if new == total else f"all but {new:,}" if new else "all of it"
        return [f"saves {total:,} bytes, {shared} shared with arguments or result: {of}"]

    def _cost(self) -> list[str]:
        flops, moved = self.measured["flops"], self.measured["bytes"]
        if flops is None:
            return [f"moves {moved:,} bytes"]
        least = "at least " if self.measured["partly"] else ""
        how = "" if isinstance(self.entry, Composite) else cost.formula(self.entry)
        counted = f" ({how})" if how and flops else ""
        return [f"{least}{flops:,} operations{counted}, moves {moved:,} bytes"]

    def _errors(self) -> list[str]:
        lines = []
        for against, what in (("differences", "differences"), ("pytorch", "PyTorch")):
            orders = self.measured[against]
            names = {"0": "values", "1": "first derivatives", "2": "second"}
            parts = [f"{names[order]} {bound}" for order, bound in orders.items()]
            if parts:
                lines.append(f"below, against {what}: {', '.join(parts)}")
        return lines or ["nothing to compare: no derivative, no counterpart in PyTorch"]


def saved(op: Op) -> list[str]:
    """What an op keeps where all its arguments are tracked, as its derivatives name it."""
    needs = [n for _, named in op.derivatives.values() for n in named] + [*op.joint_names]
    return list(dict.fromkeys(needs))


def _parameters(function: Any) -> str:
    """The parameters of a function, without the types."""
    signature = inspect.signature(function)
    plain = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return str(signature.replace(parameters=plain, return_annotation=signature.empty))[1:-1]


def card(operation: Any) -> Card:
    """The card of an operation: formula, shapes, kinks, derivatives, memory, cost, worst errors.

    operation : its name ("conv2d"; of your own "module.name"), or the operation itself
    Raises ValueError for an unknown name, and says which are like it.

    >>> print(card("square"))  # doctest: +ELLIPSIS
    square(x)
        x * x; truth values become whole numbers (int64).
    <BLANKLINE>
    formula      x * x
    domain       all numbers
    kinks        none
    derivatives  dx = g * (2 * x)
    saved        x
    ...
    """
    name = operation if isinstance(operation, str) else _name_of(operation)
    if name in ops.registry:
        return Card(name)
    short = name.rpartition(".")[2]  # "F.relu", "minidl.ops.relu"
    if short in ops.registry and name.startswith(("F.", "nn.", "ops.", "minidl.", "torch.")):
        return Card(short)
    near = difflib.get_close_matches(short, [*ops.registry], n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise ValueError(f"card: there is no operation {name!r}{hint}")


def _name_of(operation: Any) -> str:
    for name, entry in ops.registry.items():
        if operation is entry or operation is getattr(entry, "function", None):
            return name
    return str(getattr(operation, "__name__", operation))
