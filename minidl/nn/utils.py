"""Gradients of many parameters: clipped together; parameters as one vector and back."""

from collections.abc import Iterable
from typing import Any

import numpy as np

import minidl_kernels as kernels
from minidl import ops
from minidl.device import array_module
from minidl.errors import ShapeError
from minidl.tape import tie, touch
from minidl.tensor import Tensor

__all__ = ["clip_grad_norm_", "clip_grad_value_", "parameters_to_vector", "vector_to_parameters"]


def _with_gradients(parameters: Any) -> list[Any]:
    """Those of the parameters that have a gradient."""
    given = [parameters] if isinstance(parameters, Tensor) else parameters
    return [p for p in given if p.grad is not None]


def clip_grad_norm_(
    parameters: Iterable[Tensor] | Tensor,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale all gradients so that their norm, taken together, is at most `max_norm`.

    norm_type : the order of the norm, inf for the largest absolute value
    error_if_nonfinite : raise RuntimeError if the norm is infinite or NaN

    The factor is min(1, max_norm / (norm + 1e-6)); where the norm is infinite or NaN, what comes of
    it is NaN, as in PyTorch. Returns the norm before. Pascanu et al. 2013.
    """
    parameters = _with_gradients(parameters)
    if not parameters:
        return tie(np.zeros((), "float32"), None)
    gradients = [p.grad.data for p in parameters]
    xp, dtype = array_module(gradients[0]), gradients[0].dtype
    with np.errstate(all="ignore"):
        if norm_type == 2:
            total = xp.sqrt(kernels.square_sum(gradients)).astype(dtype)
        else:
            parts = xp.stack([_norm(g, norm_type).astype(dtype) for g in gradients])
            total = _norm(parts, norm_type)
        if error_if_nonfinite and not bool(xp.isfinite(total)):
            raise RuntimeError(f"clip_grad_norm_: the norm of the gradients is {float(total)}")
        factor = xp.minimum(max_norm / (total + 1e-6), 1.0)
        if xp is np and factor == 1:
            return tie(np.asarray(total), None)  # nothing to scale: no pass over the gradients
        for p in parameters:  # new arrays: two parameters may share the memory of their gradients
            p.grad = tie(p.grad.data * factor.astype(p.grad.dtype), None)
    return tie(xp.asarray(total), None)


def _norm(x: Any, order: float) -> Any:
    """The norm of all elements of an array, which may be empty; float16 is summed as float32."""
    if not x.size:
        return x.sum()
    wide = x.astype("float32") if x.dtype == "float16" else x
    return ops.norm(wide, float(order)).astype(x.dtype)


def clip_grad_value_(parameters: Iterable[Tensor] | Tensor, clip_value: float) -> None:
    """Bring every element of the gradients into [-clip_value, clip_value]."""
    for p in _with_gradients(parameters):
        g = p.grad.data
        p.grad = tie(array_module(g).clip(g, -clip_value, clip_value), None)


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """Return all parameters behind one another as one vector; gradients pass through."""
    return ops.cat([ops.reshape(p, (-1,)) for p in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Write the parts of a vector into the parameters, in order.

    Raises ShapeError unless it has as many elements as they have together.
    """
    parameters = list(parameters)
    needed = sum(p.numel() for p in parameters)
    if vec.shape != (needed,):
        raise ShapeError(f"vector_to_parameters: vec has shape {vec.shape}, expected ({needed},)")
    start = 0
    for p in parameters:
        p.data[...] = vec.data[start : start + p.numel()].reshape(p.shape)
        touch(p.data)
        start += p.numel()
