"""Attention: a mean of values, weighted by how well their keys match a query."""

import math
from typing import Any

import numpy as np

from minidl.device import array_module
from minidl.errors import DtypeError, ShapeError
from minidl.ops.activation import softmax
from minidl.ops.arithmetic import where
from minidl.ops.dropouts import dropout
from minidl.ops.linalg import matmul
from minidl.ops.losses import raw
from minidl.ops.shape import transpose
from minidl.tape import composite, to_dtype

__all__ = ["scaled_dot_product_attention"]


def _check_shapes(name: str, query: Any, key: Any, value: Any) -> None:
    """Raise ShapeError unless the last two axes are (L, E), (S, E) and (S, V)."""
    for what, x in (("query", query), ("key", key), ("value", value)):
        if len(x.shape) < 2:
            raise ShapeError(f"{name}: {what} has shape {tuple(x.shape)}, expected 2 axes or more")
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise ShapeError(
            f"{name}: query is {tuple(query.shape)}, key {tuple(key.shape)}, value "
            f"{tuple(value.shape)}; expected (*, L, E), (*, S, E), (*, S, V)"
        )


def _check_mask(name: str, mask: Any, scores: tuple[int, ...]) -> None:
    """Raise unless a mask is of bools or floats and broadcasts to the shape of the scores."""
    if mask.dtype.kind not in "bf":
        raise DtypeError(f"{name}: attn_mask is {mask.dtype}, expected bool or floats")
    shape = tuple(mask.shape)
    fits = zip(shape[::-1], scores[::-1], strict=False)
    if len(shape) > len(scores) or any(n not in (1, m) for n, m in fits):
        raise ShapeError(
            f"{name}: attn_mask has shape {shape}, expected {scores} (*, L, S) or what "
            "broadcasts to it"
        )


@composite(
    formula="softmax(query @ key.T scale + mask) @ value",
    domain="all numbers; 0, and so is the gradient, for a query of which all is masked",
)
def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
) -> Any:
    """For each query a mean of the values, weighted by softmax(<query, key> scale).

    query : (*, L, E), key : (*, S, E), value : (*, S, V) -> (*, L, V)
    attn_mask : what broadcasts to (*, L, S): bool, True where a key takes part, or floats that are
        added; a query that may look nowhere gets zeros
    is_causal : query i sees the keys 0 to i only; not together with attn_mask (ValueError)
    dropout_p : likelihood of leaving a weight out; as PyTorch's it has no `training`: pass 0
    scale : 1 / sqrt(E) by default

    Raises ShapeError if the shapes do not fit, DtypeError for a mask of whole numbers.
    Source: Vaswani and others (2017), arXiv:1706.03762.
    """
    name = "scaled_dot_product_attention"
    _check_shapes(name, query, key, value)
    if query.dtype == key.dtype == value.dtype == "float16":  # in it the scores would overflow
        wide = [to_dtype(x, np.dtype("float32")) for x in (query, key, value)]
        out = scaled_dot_product_attention(*wide, attn_mask, dropout_p, is_causal, scale=scale)
        return to_dtype(out, np.dtype("float16"))
    if is_causal:
        if attn_mask is not None:
            raise ValueError(f"{name}: give attn_mask or is_causal, not both")
        ones = array_module(raw(query)).ones((query.shape[-2], key.shape[-2]), bool)
        attn_mask = array_module(ones).tril(ones)
    if scale is None:
        scale = 1 / math.sqrt(query.shape[-1] or 1)
    scores = matmul(query * scale, transpose(key, -1, -2))
    if attn_mask is None:
        weights = softmax(scores, -1)
    else:
        _check_mask(name, attn_mask, tuple(scores.shape))
        if attn_mask.dtype.kind == "b":
            scores = where(attn_mask, scores, -math.inf)
        else:
            scores = scores + attn_mask
        nowhere = (raw(scores) == -math.inf).all(axis=-1, keepdims=True)
        weights = where(nowhere, 0, softmax(where(nowhere, 0, scores), -1))
    if dropout_p:
        weights = dropout(weights, dropout_p)
    return matmul(weights, value)
