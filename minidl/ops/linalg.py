"""Products: matrix product and its kin."""

import functools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import minidl_kernels as kernels
from minidl.errors import ShapeError
from minidl.ops import _checks
from minidl.ops.reduction import sum
from minidl.ops.shape import diagonal, permute, reshape, swap
from minidl.tape import composite, op

__all__ = [
    "addmm",
    "baddbmm",
    "bmm",
    "dot",
    "einsum",
    "kron",
    "matmul",
    "mm",
    "mv",
    "outer",
    "tensordot",
    "trace",
]


def _matmul_dx(g: Any, x_shape: Any, y: Any) -> Any:
    if len(y.shape) == 1:  # (..., n, k) @ (k,): an outer product
        return reshape(g, (*g.shape, 1)) * y
    if len(x_shape) == 1:  # (k,) @ (..., k, m)
        return reshape(
            matmul(reshape(g, (*g.shape[:-1], 1, g.shape[-1])), swap(y)),
            (*g.shape[:-1], x_shape[0]),
        )
    return matmul(g, swap(y))


def _matmul_dy(g: Any, x: Any, y_shape: Any) -> Any:
    if len(x.shape) == 1:
        if len(y_shape) == 1:
            return g * x
        return reshape(x, (*x.shape, 1)) * reshape(g, (*g.shape[:-1], 1, g.shape[-1]))
    if len(y_shape) == 1:
        return sum(x * reshape(g, (*g.shape, 1)), tuple(range(len(x.shape) - 1)))
    if len(y_shape) == 2 < len(x.shape):  # one product over all rows, not one for each matrix
        rows = math.prod(x.shape[:-1])
        x, g = reshape(x, (rows, x.shape[-1])), reshape(g, (rows, g.shape[-1]))
    return matmul(swap(x), g)


@op(x=_matmul_dx, y=_matmul_dy, broadcasts=True, linear_in=("x", "y"), formula="x @ y")
def matmul(x: Any, y: Any) -> Any:
    """x @ y over the last two axes; leading axes broadcast.

    x : (..., n, k), y : (..., k, m) -> (..., n, m); a vector (k,) counts as a row on the left and
    as a column on the right, and its axis is gone from the result.

    float32 on the CPU: our own kernels, the same bits at any number of threads. Raises ShapeError
    where the inner sizes differ, DtypeError where the dtypes do.
    """
    if not (getattr(x, "ndim", 0) and getattr(y, "ndim", 0)):
        raise ShapeError("matmul: both arguments need an axis at least; use * for scalars")
    _checks.same_dtype("matmul", x=x, y=y)
    inner = y.shape[-2] if y.ndim > 1 else y.shape[0]
    if x.shape[-1] != inner:
        hint = "; did you mean y.T?" if y.ndim == 2 and y.shape[1] == x.shape[-1] else ""
        raise ShapeError(f"matmul: inner sizes differ: x is {x.shape}, y is {y.shape}{hint}")
    if x.dtype.char != "f":  # kernels are for float32
        return x @ y
    if x.ndim > 1 and y.ndim > 1:
        return kernels.matmul(x, y)
    if x.ndim > 1:
        return kernels.matmul(x, y[:, None])[..., 0]
    if y.ndim > 1:
        return kernels.matmul(x[None], y)[..., 0, :]
    return kernels.matmul(x[None], y[:, None])[0, 0]


# ---- the product under its narrower names -------------------------------------------------------


def _product(op: str, x: Any, y: Any, x_axes: int, y_axes: int) -> Any:
    """x @ y, for shapes that `op` takes."""
    for name, a, axes in (("x", x, x_axes), ("y", y, y_axes)):
        if len(a.shape) != axes:
            raise ShapeError(
                f"{op}: {name} has shape {tuple(a.shape)}, expected {axes} axes; "
                "matmul takes any number and broadcasts"
            )
    inner = y.shape[-2] if y_axes > 1 else y.shape[0]
    if x.shape[-1] != inner:
        hint = "; did you mean y.mT?" if y_axes > 1 and y.shape[-1] == x.shape[-1] else ""
        raise ShapeError(
            f"{op}: inner sizes differ: x is {tuple(x.shape)}, y is {tuple(y.shape)}{hint}"
        )
    return matmul(x, y)


@composite(formula="x @ y")
def mm(x: Any, y: Any) -> Any:
    """The product of two matrices, (n, k) and (k, m) -> (n, m); ShapeError for anything else."""
    return _product("mm", x, y, 2, 2)


@composite(formula="x[b] @ y[b]")
def bmm(x: Any, y: Any) -> Any:
    """Products of matrices in batches of equal size, (b, n, k) and (b, k, m) -> (b, n, m).

    Raises ShapeError for anything else: nothing broadcasts.
    """
    if len(x.shape) == len(y.shape) == 3 and x.shape[0] != y.shape[0]:
        raise ShapeError(
            f"bmm: batches differ: x is {tuple(x.shape)}, y is {tuple(y.shape)}; matmul broadcasts"
        )
    return _product("bmm", x, y, 3, 3)


@composite(formula="x @ y")
def mv(x: Any, y: Any) -> Any:
    """A matrix times a vector, (n, k) and (k,) -> (n,); ShapeError for anything else."""
    return _product("mv", x, y, 2, 1)


@composite(formula="sum of x * tensor")
def dot(x: Any, tensor: Any) -> Any:
    """The inner product of two vectors of one length; ShapeError for anything else."""
    return _product("dot", x, tensor, 1, 1)


@composite(formula="x_i * y_j")
def outer(x: Any, y: Any) -> Any:
    """The outer product of two vectors, (n,) and (m,) -> (n, m); ShapeError for anything else."""
    for name, a in (("x", x), ("y", y)):
        if len(a.shape) != 1:
            raise ShapeError(f"outer: {name} has shape {tuple(a.shape)}, expected a vector")
    return reshape(x, (*x.shape, 1)) * y


def _scaled_sum(op: str, x: Any, product: Any, beta: float, alpha: float) -> Any:
    lead = len(product.shape) - len(x.shape)
    fits = zip(x.shape, product.shape[max(lead, 0) :], strict=False)
    if lead < 0 or [n for n, m in fits if n not in (1, m)]:
        raise ShapeError(
            f"{op}: input {tuple(x.shape)} does not broadcast to the product {product.shape}"
        )
    _checks.same_dtype(op, input=x, product=product)
    product = product if alpha == 1 else product * alpha
    if beta == 0:  # what is not wanted may even be NaN
        return product
    return (x if beta == 1 else x * beta) + product


@composite(formula="beta * input + alpha * (mat1 @ mat2)")
def addmm(input: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """beta * input + alpha * (mat1 @ mat2), for two matrices.

    input : broadcasts to the product (n, m); with beta = 0 it is not looked at
    Raises ShapeError if the shapes do not fit.
    """
    return _scaled_sum("addmm", input, _product("addmm", mat1, mat2, 2, 2), beta, alpha)


@composite(formula="beta * input + alpha * (batch1[b] @ batch2[b])")
def baddbmm(input: Any, batch1: Any, batch2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """beta * input + alpha * bmm(batch1, batch2); `input` as in `addmm`."""
    return _scaled_sum("baddbmm", input, bmm(batch1, batch2), beta, alpha)


# ---- over any axes ------------------------------------------------------------------------------


def _arranged(x: Any, order: Sequence[int], shape: Sequence[int] | None = None) -> Any:
    """x with its axes in another order, then in another shape; nothing is done in vain."""
    if tuple(order) != tuple(range(len(x.shape))):
        x = permute(x, tuple(order))
    return x if shape is None or tuple(shape) == tuple(x.shape) else reshape(x, tuple(shape))


def _contracted(a: Any, b: Any, of_a: Any, of_b: Any) -> Any:
    """The product summed over inner axes, as one product of matrices.

    of_a : the axes of a: (batch, its own, inner); of_b : the axes of b: (batch, inner, its own)
    Returns batch axes, own axes of a, own axes of b.
    """

    def matrices(x: Any, axes: Any) -> Any:
        batch, rows, columns = [[x.shape[i] for i in group] for group in axes]
        shape = (*batch, math.prod(rows), math.prod(columns))
        return _arranged(x, [i for group in axes for i in group], shape)

    out = matmul(matrices(a, of_a), matrices(b, of_b))
    own = [a.shape[i] for i in of_a[1]] + [b.shape[i] for i in of_b[2]]
    return _arranged(out, range(len(out.shape)), (*out.shape[:-2], *own))


@composite(formula="sum of a * b over pairs of axes")
def tensordot(a: Any, b: Any, dims: Any = 2) -> Any:
    """The sum of a * b over pairs of axes; the other axes of a, then those of b, remain.

    dims : a number n: the last n axes of a with the first n of b; or two lists of axes
    Raises ShapeError if the axes of a pair differ in length.
    """
    if hasattr(dims, "__index__"):
        n = dims.__index__()
        if not 0 <= n <= min(len(a.shape), len(b.shape)):
            raise ShapeError(f"tensordot: dims is {n}: a is {a.shape}, b is {b.shape}")
        dims = (range(len(a.shape) - n, len(a.shape)), range(n))
    if len(dims) != 2:
        raise ValueError(f"tensordot: dims is {dims!r}, expected an int or two lists of axes")
    of_a, of_b = [
        tuple([_checks.axis("tensordot", d, len(x.shape)) for d in given])
        for x, given in zip((a, b), dims, strict=True)
    ]
    twice = len({*of_a}) < len(of_a) or len({*of_b}) < len(of_b)
    if twice or [a.shape[i] for i in of_a] != [b.shape[i] for i in of_b]:
        raise ShapeError(
            f"tensordot: axes {of_a} of a {tuple(a.shape)} do not pair with axes {of_b} of b "
            f"{tuple(b.shape)}"
        )
    rest_a = tuple([i for i in range(len(a.shape)) if i not in of_a])
    rest_b = tuple([i for i in range(len(b.shape)) if i not in of_b])
    return _contracted(a, b, ((), rest_a, of_a), ((), of_b, rest_b))


@composite(formula="sum of the diagonal of x")
def trace(x: Any) -> Any:
    """The sum of the diagonal of a matrix; ShapeError for anything else."""
    if len(x.shape) != 2:
        raise ShapeError(f"trace: x has shape {tuple(x.shape)}, expected a matrix")
    return sum(diagonal(x))


@composite(formula="x with each element replaced by it times y")
def kron(x: Any, y: Any) -> Any:
    """The Kronecker product: blocks x_ij * y. The tensor with fewer axes gets leading ones."""
    axes = max(len(x.shape), len(y.shape))
    left = (1,) * (axes - len(x.shape)) + tuple(x.shape)
    right = (1,) * (axes - len(y.shape)) + tuple(y.shape)
    rows = reshape(x, tuple([n for length in left for n in (length, 1)]))
    blocks = rows * reshape(y, tuple([n for length in right for n in (1, length)]))
    return reshape(blocks, tuple([i * j for i, j in zip(left, right, strict=True)]))


# ---- einsum -------------------------------------------------------------------------------------
# A term is a list of labels, one for each axis: letters, and for the axes of "..." the numbers
# -1, -2, ... from the right, as they broadcast.


@functools.lru_cache(256)
def _plan(equation: str, shapes: tuple[Any, ...]) -> tuple[list[Any], list[Any], dict[Any, int]]:
    """The terms of the operands and of the output, and the length of each label."""
    inputs, arrow, last = equation.replace(" ", "").partition("->")
    parts = inputs.split(",")
    if len(parts) != len(shapes):
        raise ValueError(
            f"einsum: {equation!r} has {len(parts)} terms, but {len(shapes)} operands came"
        )
    terms = []
    for i, (part, shape) in enumerate(zip(parts, shapes, strict=True)):
        term = _labels(equation, part, len(shape) - len(part.replace("...", "")))
        if len(term) != len(shape):
            raise ShapeError(
                f"einsum: {part!r} has {len(term)} letters, but operand {i} has shape {shape}"
            )
        terms.append(term)
    every = [label for term in terms for label in term]
    dots = sorted({label for label in every if isinstance(label, int)})
    if arrow:
        output = _labels(equation, last, len(dots))
    else:  # the letters that stand once, in their order
        output = dots + sorted([c for c in every if isinstance(c, str) and every.count(c) == 1])
    for label in output:
        if label not in every or output.count(label) > 1:
            raise ValueError(
                f"einsum: in the output of {equation!r} {label!r} stands twice, or in no operand"
            )
    return terms, output, _sizes(terms, shapes)


def _labels(equation: str, part: str, hidden: int) -> list[Any]:
    """The labels of one term, with `hidden` numbers in place of its dots."""
    before, dots, after = part.partition("...")
    if not all(c.isascii() and c.isalpha() for c in before + after):
        raise ValueError(
            f"einsum: {part!r} in {equation!r} is no term; it is made of letters and one '...'"
        )
    return [*before, *(range(-hidden, 0) if dots else ()), *after]


def _sizes(terms: list[list[Any]], shapes: tuple[Any, ...]) -> dict[Any, int]:
    """The length of each label; an axis of length one fits every length."""
    sizes: dict[Any, int] = {}
    for i, (term, shape) in enumerate(zip(terms, shapes, strict=True)):
        for label, n in zip(term, shape, strict=True):
            known = sizes.get(label, 1)
            if n != known and 1 not in (n, known):
                name = "an axis of '...'" if isinstance(label, int) else repr(label)
                raise ShapeError(f"einsum: {name} is {known}, but {n} in operand {i} {shape}")
            sizes[label] = n if known == 1 else known
    return sizes


def _simplified(x: Any, term: list[Any], sizes: dict[Any, int]) -> tuple[Any, list[Any]]:
    """x with repeated labels replaced by the diagonal, and without axes that only broadcast."""
    for label in dict.fromkeys(term):
        while term.count(label) > 1:
            first = term.index(label)
            second = term.index(label, first + 1)
            if x.shape[first] != x.shape[second]:
                raise ShapeError(
                    f"einsum: {label!r} stands for axes of different lengths of {tuple(x.shape)}"
                )
            x = diagonal(x, 0, first, second)
            term = [c for i, c in enumerate(term) if i not in (first, second)] + [label]
    kept = [i for i, c in enumerate(term) if x.shape[i] == sizes[c]]
    if len(kept) < len(term):
        x = reshape(x, tuple([x.shape[i] for i in kept]))
    return x, [term[i] for i in kept]


def _summed(x: Any, term: list[Any], kept: Iterable[Any]) -> tuple[Any, list[Any]]:
    """x summed over the axes whose labels are not kept."""
    kept = {*kept}
    gone = tuple([i for i, label in enumerate(term) if label not in kept])
    return (sum(x, gone) if gone else x), [label for label in term if label in kept]


def _joined(x: Any, of_x: list[Any], y: Any, of_y: list[Any], kept: set[Any]) -> Any:
    """The product of two operands, summed over the shared labels that are not kept."""
    x, of_x = _summed(x, of_x, kept | {*of_y})
    y, of_y = _summed(y, of_y, kept | {*of_x})
    batch = [c for c in of_x if c in of_y and c in kept]
    inner = [c for c in of_x if c in of_y and c not in kept]
    left, right = [c for c in of_x if c not in of_y], [c for c in of_y if c not in of_x]
    in_x = [[of_x.index(c) for c in group] for group in (batch, left, inner)]
    in_y = [[of_y.index(c) for c in group] for group in (batch, inner, right)]
    if inner:
        out = _contracted(x, y, in_x, in_y)
    else:
        order = in_x[0] + in_x[1]
        shape = [x.shape[i] for i in order] + [1] * len(right)
        x = _arranged(x, order, shape)
        order, own = in_y[0] + in_y[2], len(in_y[0])
        shape = [y.shape[i] for i in order]
        out = x * _arranged(y, order, shape[:own] + [1] * len(left) + shape[own:])
    return out, batch + left + right


@composite(formula="products of the operands, summed over the letters that the output lacks")
def einsum(equation: str, *operands: Any) -> Any:
    """Sums of products after Einstein's convention: `einsum("bij,bjk->bik", x, y)`.

    equation : a term for each operand with a letter for each axis, "->" and the output's letters.
        A letter that the output lacks is summed over; one that stands twice in a term means the
        diagonal; "..." stands for any further axes, which broadcast. Without "->" the output has
        the axes of "..." and, in alphabetical order, the letters that stand once.
    operands : tensors of one dtype, or one list of them; axes of length one broadcast

    Operands are joined from left to right, each pair by one product of matrices.
    Raises ValueError for a malformed equation, ShapeError where lengths differ.
    """
    if not isinstance(equation, str):
        raise TypeError("einsum: expected an equation such as 'ij,jk->ik', then the operands")
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    _checks.same_dtype("einsum", **{f"operand {i}": x for i, x in enumerate(operands)})
    shapes = tuple([tuple(x.shape) for x in operands])
    terms, output, sizes = _plan(equation, shapes)
    pairs = [_simplified(x, term, sizes) for x, term in zip(operands, terms, strict=True)]
    out, term = pairs[0]
    for i, (x, other) in enumerate(pairs[1:], 2):
        out, term = _joined(out, term, x, other, {*output}.union(*terms[i:]))
    out, term = _summed(out, term, output)
    return _arranged(out, [term.index(label) for label in output])
