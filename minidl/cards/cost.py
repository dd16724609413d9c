"""What an operation costs: floating-point operations by a formula, bytes by its arguments.

A multiplication with an addition counts as two operations, an elementary function of one element as
one. Bytes are those of the arguments and of the output, each read or written once; an operation
that returns a view of its argument moves none.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.ops.spatial import windows
from minidl.tape import Event, TensorBase

_ELEMENT = "1 for each element of the result"
_INPUT = "1 for each element of x"
_CONV = "2 for each element of the result (of g) and of one filter: C / groups times the kernel"
_CONV_POOL = _CONV.replace("result (of g)", "convolution")
_RECURRENT = "2 T B (elements of w_ih + elements of w_hh)"

_WINDOWS = "1 for each element of the result and of the window"

Formula = Callable[[list[Any], Any], int]  # of the arguments, tensors as arrays, and of the output


def _times(n: int) -> Formula:
    return lambda a, out: n * a[0].size


def _recurrent(arrays: list[Any], first: int) -> int:
    x, w_ih, w_hh = arrays[0], arrays[first], arrays[first + 1]
    return 2 * math.prod(x.shape[:2]) * (w_ih.size + w_hh.size)


def _recurrent_layers(arrays: list[Any]) -> int:
    steps, weights = math.prod(arrays[0].shape[:2]), arrays[3:]
    return 2 * steps * sum([w.size for w in weights if w is not None and w.ndim == 2])


def _conv_pool(a: list[Any]) -> int:
    x, w, _, *options = a[:6]
    places = windows("conv_pool", x.shape[2:], w.shape[2:], *options)
    return 2 * x.shape[0] * math.prod(places) * w.size


_FORMULAS: dict[str, tuple[str, Formula]] = {
    "matmul": ("2 for each element of the result and of the inner axis",
               lambda a, out: 2 * out.size * a[0].shape[-1]),
    "linear": ("2 for each element of the result and of the inner axis",
               lambda a, out: 2 * out.size * a[0].shape[-1]),
    "conv": (_CONV, lambda a, out: 2 * out.size * math.prod(a[1].shape[1:])),
    "conv_relu": (_CONV, lambda a, out: 2 * out.size * math.prod(a[1].shape[1:])),
    "conv_pool": (_CONV_POOL, lambda a, out: _conv_pool(a)),
    "conv_input": (_CONV, lambda a, out: 2 * a[0].size * math.prod(a[1].shape[1:])),
    "conv_weight": (_CONV, lambda a, out: 2 * a[0].size * math.prod(out.shape[1:])),
    "rnn": (_RECURRENT, lambda a, out: _recurrent(a, 2)),
    "gru": (_RECURRENT, lambda a, out: _recurrent(a, 2)),
    "lstm": (_RECURRENT, lambda a, out: _recurrent(a, 3)),
    "recurrent_layers": (_RECURRENT, lambda a, out: _recurrent_layers(a)),
    **dict.fromkeys(
        ("sum", "mean", "amax", "amin", "nansum", "prod", "cumsum", "cumprod", "sum_to",
         "count_nonzero", "median_of_all"),
        (_INPUT, lambda a, out: a[0].size),
    ),
    **dict.fromkeys(
        ("max_pool", "avg_pool"), (_WINDOWS, lambda a, out: out.size * math.prod(a[1]))
    ),
    **{
        name: (f"about {n} for each element of x", _times(n))
        for name, n in (
            ("norm", 2), ("mean_logistic_loss", 2), ("logsumexp", 4), ("var", 4), ("std", 4),
            ("softmax", 5), ("log_softmax", 5), ("label_cross_entropy", 5), ("standardize", 7),
        )
    },
    **dict.fromkeys(
        ("masked_fill", "where", "drop", "prelu", "rows_added"),
        (_ELEMENT, lambda a, out: out.size),
    ),
}  # fmt: skip


def formula(op: Any) -> str:
    """In words, how the operations of an op are counted; "" if they are not."""
    if op.elementwise:
        return _ELEMENT
    return _FORMULAS.get(op.name, ("", None))[0]


def counted(event: Event) -> tuple[int | None, int]:
    """Operations (None if no formula is known) and bytes of an op that ran."""
    values = [a.data if isinstance(a, TensorBase) else a for a in event.arguments]
    arrays = [v for v in values if isinstance(v, np.ndarray)]
    outputs = event.output if isinstance(event.output, tuple) else (event.output,)
    results = [y.data for y in outputs]
    if any(np.shares_memory(results[0], a) for a in arrays):
        return 0, 0
    moved = sum(a.nbytes for a in arrays) + sum(y.nbytes for y in results)
    if event.op.elementwise:
        return results[0].size, moved
    known = _FORMULAS.get(event.op.name)
    return (None if known is None else known[1](values, results[0])), moved
