"""What products of matrices are, and what is made of them: formulas in NumPy."""

import math
from typing import Any

import numpy as np
from definitions_numbers import softmax


def linear(x: Any, weight: Any, bias: Any = None, activation: str | None = None) -> Any:
    out = np.einsum("...i,oi->...o", x, weight)
    out = out if bias is None else out + bias
    if activation == "relu":
        return np.where(out <= 0, 0, out)
    if activation == "sigmoid":
        return 1 / (1 + np.exp(-out))
    return out if activation is None else np.tanh(out)


def bilinear(x: Any, y: Any, weight: Any, bias: Any = None) -> Any:
    out = np.einsum("...i,oij,...j->...o", x, weight, y)
    return out if bias is None else out + bias


def matmul(x: Any, y: Any) -> Any:
    left, right = "" if x.ndim == 1 else "i", "" if y.ndim == 1 else "k"
    dots = ["..." if a.ndim > 2 else "" for a in (x, y)]
    return np.einsum(f"{dots[0]}{left}j,{dots[1]}j{right}->{max(dots)}{left}{right}", x, y)


def added(x: Any, product: Any, beta: float = 1, alpha: float = 1) -> Any:
    return beta * x + alpha * product


def tensordot(a: Any, b: Any, dims: Any = 2) -> Any:
    return np.tensordot(a, b, dims)


def kron(x: Any, y: Any) -> Any:
    return np.kron(x, y)


def einsum(equation: str, *operands: Any) -> Any:
    """The sum over all labels of the product of all elements: nothing is contracted in pairs."""
    if isinstance(operands[0], list):
        operands = tuple(operands[0])
    inputs, arrow, output = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    hidden = max(
        x.ndim - len(t.replace("...", ""))
        for t, x in zip(terms, operands, strict=True)
        if "..." in t or x.ndim == len(t)
    )
    capitals = "ABCDE"[: max(hidden, 0)]

    def full(term: str, axes: int) -> str:
        n = axes - len(term.replace("...", ""))
        return term.replace("...", capitals[len(capitals) - n :])

    terms = [full(t, x.ndim) for t, x in zip(terms, operands, strict=True)]
    every = "".join(terms)
    if arrow:
        output = output.replace("...", capitals)
    else:
        output = capitals + "".join(sorted(c for c in set(every) - set(capitals)
                                           if every.count(c) == 1))  # fmt: skip
    sizes: dict[str, int] = {}
    for term, x in zip(terms, operands, strict=True):
        for label, n in zip(term, x.shape, strict=True):
            sizes[label] = n if sizes.get(label, 1) == 1 else sizes[label]
    out = np.zeros([sizes[c] for c in output])
    for at in np.ndindex(*sizes.values()):
        place = dict(zip(sizes, at, strict=True))
        product = 1.0
        for term, x in zip(terms, operands, strict=True):
            here = tuple(place[c] if n > 1 else 0 for c, n in zip(term, x.shape, strict=True))
            product *= x[here]
        out[tuple(place[c] for c in output)] += product
    return out


def attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: Any = None,
) -> Any:
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = np.einsum("...le,...se->...ls", query, key) * scale
    if is_causal:
        attn_mask = np.tril(np.ones(scores.shape[-2:], bool))
    if attn_mask is not None:
        scores = np.where(attn_mask, scores, -np.inf) if attn_mask.dtype == bool else (
            scores + attn_mask)  # fmt: skip
    weights = np.zeros(scores.shape)
    for at in np.ndindex(scores.shape[:-1]):
        if np.any(scores[at] > -np.inf):  # a query that may look nowhere gets zeros
            weights[at] = softmax(scores[at], 0)
    assert dropout_p in (0, 1)  # what is not random
    return np.einsum("...ls,...sv->...lv", weights * (1 - dropout_p), value)


DEFINITIONS = {
    "linear": linear,
    "bilinear": bilinear,
    "matmul": matmul,
    "mm": matmul,
    "bmm": matmul,
    "mv": matmul,
    "dot": matmul,
    "outer": lambda x, y: np.einsum("i,j->ij", x, y),
    "addmm": lambda x, a, b, **scale: added(x, matmul(a, b), **scale),
    "baddbmm": lambda x, a, b, **scale: added(x, matmul(a, b), **scale),
    "tensordot": tensordot,
    "trace": lambda x: sum(x[i, i] for i in range(min(x.shape))),
    "kron": kron,
    "einsum": einsum,
    "scaled_dot_product_attention": attention,
}
