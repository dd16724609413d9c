"""The derivatives of an operation as they stand in its file: read from the source, not retold."""

import ast
import functools
import linecache
import textwrap
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

from minidl.tape import Op


@functools.lru_cache(maxsize=64)
def _parsed(filename: str) -> tuple[str, ast.Module] | None:
    """The text of a file and its syntax tree; None if there is no such text."""
    text = "".join(linecache.getlines(filename))
    return (text, ast.parse(text)) if text else None


def _definition(function: Callable[..., Any]) -> tuple[str, ast.FunctionDef] | None:
    """The text of the file that a function stands in, and its definition."""
    code = function.__code__
    parsed = _parsed(code.co_filename)
    if parsed is None:
        return None
    for node in ast.walk(parsed[1]):
        if isinstance(node, ast.FunctionDef) and node.name == code.co_name:
            first = min([node.lineno, *[d.lineno for d in node.decorator_list]])
            if first == code.co_firstlineno:
                return parsed[0], node
    return None


def _text(source: str, node: ast.AST) -> str:
    """The text of a node, its lines moved to the left margin."""
    text = ast.get_source_segment(source, node, padded=True) or ""
    first, newline, rest = text.lstrip().partition("\n")
    if not newline:
        return first
    return first + "\n" + textwrap.dedent(rest)


def derivatives(op: Op) -> list[tuple[str, str]]:
    """Pairs of an argument and the expression of its derivative: ("x", "g * y").

    A derivative that is a function of its own reads as a call of it, which `functions` shows.
    A joint derivative has the arguments together: ("x, weight, bias", "_gradient(g, …)").
    """
    if op.joint is not None:
        names = ", ".join([a for a in (*op.positional, op.variadic) if a in op.differentiable])
        return [(names, _call(op.joint))]
    lambdas = {name: text for name, text, _ in _lambdas(op)}
    return [(name, lambdas.get(name) or _call(d)) for name, (d, _) in op.derivatives.items()]


def _call(function: Callable[..., Any]) -> str:
    code = function.__code__
    return f"{code.co_name}({', '.join(code.co_varnames[: code.co_argcount])})"


def _lambdas(op: Op) -> Iterator[tuple[str, str, ast.Lambda]]:
    """The lambdas in the decorator above an operation: argument, text of the body, node."""
    found = _definition(op.forward)
    if found is None:
        return
    source, node = found
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call):
            for keyword in decorator.keywords:
                if isinstance(keyword.value, ast.Lambda) and keyword.arg in op.derivatives:
                    yield str(keyword.arg), _text(source, keyword.value.body), keyword.value


def functions(op: Op) -> list[str]:
    """The source of the private functions that the derivatives are made of, each once.

    Operations that they call have cards of their own.
    """
    found: dict[str, str] = {}
    lambdas = {name: node for name, _, node in _lambdas(op)}
    own = {"": op.joint} if op.joint is not None else {n: d for n, (d, _) in op.derivatives.items()}
    for name, function in own.items():
        if name in lambdas:
            _helpers(function, lambdas[name], found)
        else:
            _collect(function, found)
    return list(found.values())


def _collect(function: Callable[..., Any], found: dict[str, str]) -> None:
    place = _definition(function)
    if place is None or function.__name__ in found:
        return
    source, node = place
    found[function.__name__] = textwrap.dedent(
        "\n".join(source.splitlines()[node.lineno - 1 : node.end_lineno])
    )
    _helpers(function, node, found)


def _helpers(function: Callable[..., Any], node: ast.AST, found: dict[str, str]) -> None:
    """The private functions of its own file that a function names, in the order of the text."""
    names = [n for n in ast.walk(node) if isinstance(n, ast.Name) and n.id.startswith("_")]
    for name in sorted(names, key=lambda n: (n.lineno, n.col_offset)):
        helper = function.__globals__.get(name.id)
        if isinstance(helper, FunctionType):
            _collect(helper, found)
