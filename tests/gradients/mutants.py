"""Mutants of derivatives: one expression of their source changed at a time, by `ast`.

What is mutated: the derivatives in the tables above ops (lambdas and functions), joint derivatives,
definitions of fused ops, gradient kernels, and the helpers that these call within their module.
"""

import ast
import copy
import functools
import importlib
import inspect
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from minidl.ops import registry

ROOT = Path(__file__).parents[2]
OPS = sorted(
    [p for p in (ROOT / "minidl/ops").glob("*.py") if p.name != "__init__.py"]
    + [ROOT / "minidl/tape/operation.py"]
)
# Of the kernels those in array code: compiled ones cannot be replaced while a program runs, and
# tests/kernels holds them against the reference and as adjoints.
KERNELS = sorted(
    p
    for p in (ROOT / "kernels/minidl_kernels/generic").glob("*.py")
    if p.stem not in ("__init__", "arrays")
)
_ENDINGS = ("_input", "_weight", "_gradient", "fold", "index_add")
# A sum of float16 made in float32 differs where there are thousands of terms: tests/kernels.
_PYTHONS = {
    "wide",
    "len",
    "range",
    "tuple",
    "list",
    "isinstance",
    "hasattr",
    "type",
    "array_module",
}
_COMMUTE = {"max", "min", "swapaxes", "maximum", "minimum"}
_OF_SPEED = {"chunk", "chunks", "_chunks"}  # the sizes of pieces; any gives the same
_NO_MATTER = {"strict", "copy"}  # options that change no value: of zip, and of astype
_MOVES = {"transpose", "swap", "swapaxes", "permute", "flip", "moveaxis", "T", "mT", "_turned"}


@dataclass(frozen=True)
class Target:
    """A function whose body is mutated: where it stands in the source, and the living object."""

    file: str
    name: str  # "mul.x" for a derivative of a table, "_pow_x" for a function
    node: ast.Lambda | ast.FunctionDef
    function: FunctionType


@dataclass(frozen=True)
class Mutant:
    """One change: `before` became `after`, the `nth` such change in the function."""

    target: Target
    kind: str
    before: str
    after: str
    nth: int
    code: CodeType

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What names it when lines move: the function, the expressions, and which of equal ones."""
        return (self.target.name, self.before, self.after, self.nth)

    def __str__(self) -> str:
        return f"{self.target.file}: {self.target.name}: {self.before}  ->  {self.after}"


# ---- what is mutated ----------------------------------------------------------------------------


def targets(paths: list[Path] | None = None) -> list[Target]:
    """Every function that computes a derivative, in the order of the source."""
    found: list[Target] = []
    for path in [*OPS, *KERNELS] if paths is None else paths:
        tree = ast.parse(path.read_text())
        module = importlib.import_module(module_name(path))
        functions = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}
        tables = path in OPS
        roots = _of_tables(tree) if tables else _of_kernels(functions)
        here = str(path.relative_to(ROOT))
        for name, node in roots:
            if isinstance(node, ast.Lambda):
                op, argument = name.split(".")
                made = registry[op]
                living = (
                    made.derivatives[argument][0]
                    if argument in made.derivatives
                    else (getattr(made, argument))
                )
                found.append(Target(here, name, node, living))
        names = [n.id for _, n in roots if isinstance(n, ast.Name)]
        names += [n.name for _, n in roots if isinstance(n, ast.FunctionDef)]
        called = [name for _, node in roots for name in _called(node)]
        found += [
            Target(here, name, functions[name], _living(module, name))
            for name in _closure([*names, *called], functions, module)
        ]
    return found


def module_name(path: Path) -> str:
    """The name under which a source file is imported."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[1:] if parts[0] == "kernels" else parts)


def _living(module: ModuleType, name: str) -> FunctionType:
    function = inspect.unwrap(getattr(module, name))
    return getattr(function, "py_func", function)


def _decorator(node: ast.FunctionDef, name: str) -> ast.Call | None:
    for d in node.decorator_list:
        if isinstance(d, ast.Call) and isinstance(d.func, ast.Name) and d.func.id == name:
            return d
    return None


def _of_tables(tree: ast.Module) -> list[tuple[str, Any]]:
    """The derivatives, joint derivatives and definitions that the decorators `@op` name."""
    found = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and (table := _decorator(node, "op")):
            made = registry[node.name]
            found += [
                (f"{node.name}.{keyword.arg}", keyword.value)
                for keyword in table.keywords
                if keyword.arg in made.derivatives or keyword.arg in ("joint", "definition")
            ]
    return found


def _of_kernels(functions: dict[str, ast.FunctionDef]) -> list[tuple[str, Any]]:
    return [(n, f) for n, f in functions.items() if n.endswith(_ENDINGS) and n[0] != "_"]


def _called(node: ast.AST) -> list[str]:
    return [n.id for n in ast.walk(node) if isinstance(n, ast.Name)]


def _closure(
    names: list[str], functions: dict[str, ast.FunctionDef], module: ModuleType
) -> list[str]:
    """The plain functions of a module among `names`, and those that they call in turn."""
    found: list[str] = []
    waiting = [n for n in names if n in functions]
    while waiting:
        name = waiting.pop(0)
        node = functions[name]
        is_op = _decorator(node, "op") or _decorator(node, "composite")
        if name in found or is_op or "check" in name or name in _OF_SPEED:
            continue
        if not isinstance(_living(module, name), FunctionType):
            continue
        found.append(name)
        waiting += [n for n in _called(node) if n in functions]
    return sorted(found, key=lambda n: functions[n].lineno)


# ---- how it is mutated --------------------------------------------------------------------------


def mutants(target: Target) -> list[Mutant]:
    """All mutants of a function; the same change at two places is told apart by its number."""
    found: list[Mutant] = []
    seen: dict[tuple[str, str], int] = {}
    if isinstance(target.node, ast.Lambda):
        body: list[ast.AST] = [target.node.body]
    else:
        body = [*target.node.body]
    for node in [n for part in body for n in _places(part)]:
        before = ast.unparse(node)
        for kind, changed in _changes(node):
            after = "pass"
            if changed is not None:
                after = ast.unparse(ast.fix_missing_locations(changed))
            if after == before:
                continue
            nth = seen[before, after] = seen.get((before, after), -1) + 1
            code = _compiled(target, node, changed)
            found.append(Mutant(target, kind, before, after, nth, code))
    return found


def _places(node: ast.AST) -> Iterator[ast.AST]:
    """The expressions and statements that count; not annotations, strings or error messages."""
    if isinstance(node, (ast.Raise, ast.Assert, ast.JoinedStr, ast.Import, ast.ImportFrom)):
        return
    if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in _OF_SPEED:
        return
    if isinstance(node, ast.AnnAssign):
        yield from _places(node.value) if node.value else ()
        return
    if isinstance(node, (ast.FunctionDef, ast.Lambda)):
        inner = node.body if isinstance(node.body, list) else [node.body]
        for n in inner:
            yield from _places(n)
        return
    yield node
    for child in ast.iter_child_nodes(node):
        if getattr(child, "arg", "") not in _NO_MATTER:
            yield from _places(child)


def _binary(node: ast.BinOp, op: ast.operator) -> ast.BinOp:
    return ast.BinOp(node.left, op, node.right)


def _changes(node: ast.AST) -> Iterator[tuple[str, ast.AST | None]]:
    for change in _CHANGES.get(type(node), ()):
        yield from change(node)


def _of_binop(node: ast.BinOp) -> Iterator[tuple[str, ast.AST]]:
    match node.op:
        case ast.Mult():
            yield "factor dropped", node.left
            yield "factor dropped", node.right
            yield "factor inverted", _binary(node, ast.Div())
        case ast.Div():
            yield "factor dropped", node.left
            yield "factor inverted", _binary(node, ast.Mult())
        case ast.Add():
            yield "term dropped", node.left
            yield "term dropped", node.right
            yield "sign changed", _binary(node, ast.Sub())
        case ast.Sub():
            yield "term dropped", node.left
            yield "term dropped", ast.UnaryOp(ast.USub(), node.right)
            yield "sign changed", _binary(node, ast.Add())
            yield "swapped", ast.BinOp(node.right, ast.Sub(), node.left)
        case ast.Pow():
            yield "factor dropped", node.left
        case ast.MatMult():
            yield "swapped", ast.BinOp(node.right, ast.MatMult(), node.left)


def _of_unary(node: ast.UnaryOp) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node.op, (ast.USub, ast.Not, ast.Invert)):
        yield "sign changed", node.operand


def _of_call(node: ast.Call) -> Iterator[tuple[str, ast.AST]]:
    name = getattr(node.func, "id", getattr(node.func, "attr", ""))
    for i in range(len(node.args) - 1) if name not in _COMMUTE else ():
        first, second = node.args[i : i + 2]
        if not isinstance(first, ast.Starred) and not isinstance(second, ast.Starred):
            args = [*node.args[:i], second, first, *node.args[i + 2 :]]
            yield "arguments swapped", ast.Call(node.func, args, node.keywords)
    if name in _MOVES:
        inner = node.func.value if isinstance(node.func, ast.Attribute) and (
            not _is_module(node.func.value)) else node.args[0] if node.args else None  # fmt: skip
        if inner is not None:
            yield "transpose dropped", inner
        return
    plain = isinstance(node.func, ast.Name) and name not in _PYTHONS
    if plain and node.args and not isinstance(node.args[0], ast.Starred):
        yield "function dropped", node.args[0]


def _is_module(node: ast.AST) -> bool:
    return (isinstance(node, ast.Name) and node.id in ("xp", "np", "math")) or isinstance(
        node, ast.Call
    )


def _of_attribute(node: ast.Attribute) -> Iterator[tuple[str, ast.AST]]:
    if node.attr in _MOVES and isinstance(node.ctx, ast.Load) and node.attr in ("T", "mT"):
        yield "transpose dropped", node.value


def _of_constant(node: ast.Constant) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node.value, bool):
        yield "option changed", ast.Constant(not node.value)
    elif isinstance(node.value, int):
        yield "axis or number changed", ast.Constant(node.value + 1)
    elif isinstance(node.value, float):
        yield "axis or number changed", ast.Constant(2 * node.value + 1e-3)


_OPPOSITE = {ast.Lt: ast.GtE, ast.GtE: ast.Lt, ast.Gt: ast.LtE, ast.LtE: ast.Gt,
             ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
             ast.In: ast.NotIn, ast.NotIn: ast.In}  # fmt: skip


def _of_compare(node: ast.Compare) -> Iterator[tuple[str, ast.AST]]:
    if len(node.ops) == 1:
        opposite = _OPPOSITE[type(node.ops[0])]()
        yield "condition inverted", ast.Compare(node.left, [opposite], node.comparators)


def _of_choice(node: ast.IfExp) -> Iterator[tuple[str, ast.AST]]:
    yield "condition inverted", ast.IfExp(node.test, node.orelse, node.body)


_INVERSE = {ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Add: ast.Sub, ast.Sub: ast.Add}


def _of_augmented(node: ast.AugAssign) -> Iterator[tuple[str, ast.AST | None]]:
    yield "statement dropped", None
    if type(node.op) in _INVERSE:
        yield "inverted", ast.AugAssign(node.target, _INVERSE[type(node.op)](), node.value)
    if isinstance(node.op, ast.Add):
        yield "accumulation forgotten", ast.Assign([node.target], node.value)


def _of_statement(node: ast.Expr) -> Iterator[tuple[str, ast.AST | None]]:
    if isinstance(node.value, ast.Call):
        yield "statement dropped", None


_CHANGES: dict[type, tuple[Callable[[Any], Iterator[tuple[str, ast.AST | None]]], ...]] = {
    ast.BinOp: (_of_binop,),
    ast.UnaryOp: (_of_unary,),
    ast.Call: (_of_call,),
    ast.Attribute: (_of_attribute,),
    ast.Constant: (_of_constant,),
    ast.Compare: (_of_compare,),
    ast.IfExp: (_of_choice,),
    ast.AugAssign: (_of_augmented,),
    ast.Expr: (_of_statement,),
}


class _Replace(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> Any:
        return self.new if node is self.old else self.generic_visit(node)


def _compiled(target: Target, old: ast.AST, new: ast.AST | None) -> CodeType:
    """The code of a function with one node replaced."""
    memo: dict[int, Any] = {}
    whole = copy.deepcopy(target.node, memo)
    fresh = ast.Pass() if new is None else copy.deepcopy(new)
    changed = _Replace(memo[id(old)], fresh).visit(whole)
    if isinstance(changed, ast.Lambda):
        tree: ast.AST = ast.Expression(changed)
    else:
        changed.decorator_list = []
        tree = ast.Module([changed], [])
    ast.fix_missing_locations(tree)
    mode = "eval" if isinstance(changed, ast.Lambda) else "exec"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a mutant makes little sense is not news
        outer = compile(tree, target.file, mode)
    name = "<lambda>" if isinstance(changed, ast.Lambda) else changed.name
    return next(c for c in outer.co_consts if isinstance(c, CodeType) and c.co_name == name)


@functools.cache
def all_mutants() -> tuple[Mutant, ...]:
    """Every mutant of every derivative."""
    return tuple(m for t in targets() for m in mutants(t))
