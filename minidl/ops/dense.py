"""Dense layers as functions: products with a weight, and rows looked up in one."""

import math
from typing import Any

import minidl_kernels as kernels
from minidl.device import array_module
from minidl.errors import ShapeError
from minidl.ops import _checks
from minidl.ops.activation import relu, sigmoid
from minidl.ops.arithmetic import where
from minidl.ops.elementary import tanh
from minidl.ops.linalg import matmul
from minidl.ops.shape import permute, reshape, swap
from minidl.tape import Kept, Kink, composite, op

__all__ = ["bilinear", "embedding", "linear"]


def _flat(x: Any) -> Any:
    """x (*, n) as a matrix (m, n)."""
    return x if len(x.shape) == 2 else reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))


ACTIVATIONS = {"relu": relu, "sigmoid": sigmoid, "tanh": tanh}  # those that kernels know


def _check_linear(x: Any, weight: Any, bias: Any, activation: str | None) -> None:
    _checks.rank("linear", "weight", weight, 2, meaning="(out, in)")
    _checks.same_dtype("linear", x=x, weight=weight, bias=bias)
    outs, ins = weight.shape
    if x.ndim == 0 or x.shape[-1] != ins:
        raise ShapeError(
            f"linear: x has shape {x.shape}, weight {weight.shape}; expected the last axis of x to "
            f"be {ins}, the weight's second"
        )
    if bias is not None and bias.shape != (outs,):
        raise ShapeError(f"linear: bias has shape {bias.shape}, expected ({outs},), as weight has")
    if activation is not None and activation not in ACTIVATIONS:
        raise ValueError(
            f"linear: activation is {activation!r}, expected one of {sorted(ACTIVATIONS)} or None; "
            "apply another one to the result"
        )


def _linear_definition(x: Any, weight: Any, bias: Any, activation: str | None) -> Any:
    _check_linear(x, weight, bias, activation)
    out = matmul(_flat(x), swap(weight))
    if bias is not None:
        out = out + bias
    if activation is not None:
        out = ACTIVATIONS[activation](out)
    return reshape(out, (*x.shape[:-1], weight.shape[0]))


def _linear_gradient(
    g: Any, wanted: tuple[str, ...], x: Any, weight: Any, activation: str | None, result: Any
) -> tuple[Any, ...]:
    of_x, of_weight, of_bias = kernels.linear_gradient(
        _flat(g), _flat(x), weight, result, activation,
        "x" in wanted, "weight" in wanted, "bias" in wanted,
    )  # fmt: skip
    found = {"x": of_x, "weight": of_weight, "bias": of_bias}
    if of_x is not None and len(x.shape) != 2:
        found["x"] = of_x.reshape(x.shape)
    return tuple([found[name] for name in wanted])


@op(
    joint=_linear_gradient,
    wrt=("x", "weight", "bias"),
    definition=_linear_definition,
    formula="x @ weight.T + bias; or relu, sigmoid or tanh of that",
    kink=Kink(
        "relu of 0",
        "0",
        at={"x": [[2]], "weight": [[3]], "bias": [-6], "activation": "relu"},
        gradient={"x": [[0]], "weight": [[0]], "bias": [0]},
    ),
)
def linear(x: Any, weight: Any, bias: Any = None, activation: str | None = None) -> Any:
    """x times the transposed weight, plus bias, and an activation at once.

    x : (*, I), weight : (O, I), bias : (O,) or None -> (*, O)
    activation : "relu", "sigmoid", "tanh" or None: f(x @ weight.T + bias) without a pass of its own

    float32 on the CPU: our own kernels, the same bits at any number of threads. Raises ShapeError
    if the sizes do not fit, DtypeError if the dtypes differ, ValueError for another activation.
    """
    _check_linear(x, weight, bias, activation)
    out = kernels.linear(_flat(x), weight, bias, activation)
    result = None if activation is None else out
    return out if x.ndim == 2 else out.reshape(*x.shape[:-1], len(weight)), Kept(result=result)


@composite(formula="out[o] = input1 @ weight[o] @ input2 + bias[o]")
def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Any:
    """A product of input1 and input2 for each output, each with its own matrix between.

    input1 : (*, I), input2 : (*, J), weight : (O, I, J), bias : (O,) or None -> (*, O)
    Raises ShapeError if the sizes do not fit.
    """
    _checks.rank("bilinear", "weight", weight, 3, meaning="(out, in1, in2)")
    _checks.same_dtype("bilinear", input1=input1, input2=input2, weight=weight, bias=bias)
    outs, ins1, ins2 = weight.shape
    lead = input1.shape[:-1]
    if tuple(input1.shape) != (*lead, ins1) or tuple(input2.shape) != (*lead, ins2):
        raise ShapeError(
            f"bilinear: input1 has shape {tuple(input1.shape)}, input2 {tuple(input2.shape)}, "
            f"expected the same axes and then {ins1} and {ins2}, as weight {tuple(weight.shape)} "
            "has"
        )
    if bias is not None and tuple(bias.shape) != (outs,):
        raise ShapeError(f"bilinear: bias has shape {tuple(bias.shape)}, expected ({outs},)")
    count = math.prod(lead)
    matrix = reshape(permute(weight, (1, 0, 2)), (ins1, outs * ins2))
    rows = reshape(matmul(reshape(input1, (count, ins1)), matrix), (count, outs, ins2))
    out = reshape(matmul(rows, reshape(input2, (count, ins2, 1))), (*lead, outs))
    return out if bias is None else out + bias


# ---- rows looked up -----------------------------------------------------------------------------


def _check_rows(name: str, index: Any, rows: int) -> None:
    """Raise unless the indices are whole numbers from 0 to rows - 1."""
    _checks.whole(name, "input", index)
    stray = (index < 0) | (index >= rows)
    if stray.any():
        raise IndexError(
            f"{name}: input holds {int(index[stray][0])}, but weight has {rows} rows "
            f"(0 to {rows - 1})"
        )


def _embedding_dweight(g: Any, input: Any, weight_shape: Any, padding_idx: Any) -> Any:
    if padding_idx is not None:
        counts = input != padding_idx % weight_shape[0]
        g = where(reshape(counts, (*input.shape, 1)), g, 0)
    return rows_added(g, input, weight_shape[0])


@op(
    weight=_embedding_dweight,
    linear_in=("weight",),
    formula="weight[input]; no gradient for the row padding_idx",
)
def embedding(
    input: Any,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Any:
    """The rows of a table that whole numbers name.

    input : any shape, from 0 to V - 1, weight : (V, D) -> (*input.shape, D)
    padding_idx : the row that gets no gradient (it may count from the end), or None

    Raises IndexError for an index that is no row, ValueError for a padding_idx that is none,
    NotImplementedError for max_norm, scale_grad_by_freq and sparse.
    """
    asked = {"max_norm": max_norm, "scale_grad_by_freq": scale_grad_by_freq, "sparse": sparse}
    for option, value in asked.items():
        if value:
            raise NotImplementedError(f"embedding: {option} is not offered")
    _checks.rank("embedding", "weight", weight, 2, meaning="(rows, size)")
    rows = weight.shape[0]
    if padding_idx is not None and not (
        -rows <= _checks.integer("embedding", "padding_idx", padding_idx) < rows
    ):
        raise ValueError(f"embedding: padding_idx is {padding_idx}, but weight has {rows} rows")
    _check_rows("embedding", input, rows)
    return weight[input]


@op(
    g=lambda g, index: embedding(index, g),
    linear_in=("g",),
    formula="out[r] = sum of g[i] where index[i] == r",
)
def rows_added(g: Any, index: Any, rows: int) -> Any:
    """The rows of g added up where their index is equal: the adjoint of `embedding`.

    g : (*, D), index : (*) from 0 to rows - 1 -> (rows, D)
    """
    _check_rows("rows_added", index, rows)
    if not g.size:
        return array_module(g).zeros((rows, g.shape[-1]), g.dtype)
    return kernels.index_add(_flat(g), index.reshape(-1), rows)
