"""Losses of classes and probabilities: cross-entropy from logits, log-probabilities or either.

Labels are whole numbers (N, *S) beside an input (N, C, *S), or () beside (C,). A label equal to
`ignore_index` does not count: neither in the sum, nor in what the mean divides by.
"""

from typing import Any

import numpy as np

import minidl_kernels as kernels
from minidl.device import array_module, laid_out_like, to_host
from minidl.errors import DtypeError, LabelError, ShapeError
from minidl.ops import _checks
from minidl.ops.activation import log_softmax, logsigmoid
from minidl.ops.arithmetic import clamp, where
from minidl.ops.elementary import exp, log, log1p
from minidl.ops.indexing import gather
from minidl.ops.losses import alike, raw, reduced
from minidl.ops.reduction import mean, sum
from minidl.ops.shape import reshape
from minidl.tape import Kept, Steep, composite, mode, op

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "kl_div",
    "nll_loss",
]

_SHOWN = 4  # as many wrong labels does an error list

# ---- labels -------------------------------------------------------------------------------------


def _check_weight(name: str, x: Any, weight: Any) -> None:
    """Raise unless there is one weight for each class of x (N, C, *S), or None."""
    if weight is None:
        return
    _checks.same_device(name, input=x, weight=weight)
    _checks.same_dtype(name, input=x, weight=weight)
    if tuple(weight.shape) != (x.shape[1],):
        raise ShapeError(
            f"{name}: weight has shape {tuple(weight.shape)}, expected one for each of the "
            f"{x.shape[1]} classes"
        )


def _check_labels(name: str, x: Any, target: Any, weight: Any, ignore_index: int) -> None:
    """Raise unless x (N, C, *S) has a class for each label of target (N, *S) that counts."""
    _checks.same_device(name, input=x, target=target)
    _checks.floating(name, "input", x)
    _checks.whole(name, "target", target)
    _checks.integer(name, "ignore_index", ignore_index)
    wanted = (x.shape[0], *x.shape[2:])
    if tuple(target.shape) != wanted:
        raise ShapeError(
            f"{name}: target has shape {tuple(target.shape)}, expected {wanted}: one label for "
            f"each place of input {tuple(x.shape)}"
        )
    classes = x.shape[1]
    _check_weight(name, x, weight)
    stray = ((target < 0) | (target >= classes)) & (target != ignore_index)
    if stray.any():
        raise _stray_labels(name, to_host(target), to_host(stray), classes, ignore_index)


def _stray_labels(
    name: str, target: Any, stray: Any, classes: int, ignore_index: int
) -> LabelError:
    """The error that says which labels are no class, where the first of them are, and how many."""
    places = np.argwhere(stray).tolist()
    listed = [
        f"class {target[(*place,)]} at {place[0] if len(place) == 1 else (*place,)}"
        for place in places[:_SHOWN]
    ]
    more = ", …" if len(places) > _SHOWN else ""
    counted = target[target != ignore_index]
    if counted.min() == 1 and counted.max() == classes:
        mend = "if labels begin at 1, subtract 1"
    else:
        mend = "correct them, or give the model more outputs"
    return LabelError(
        f"{name}: target holds {', '.join(listed)}{more}, but the input has {classes} classes (0 "
        f"to {classes - 1}); {len(places)} of {target.size} labels are no class; {mend}",
        stray,
    )


def _constant(name: str, weight: Any) -> Any:
    """The array of the weights of the classes, by which there is no derivative, as in PyTorch."""
    if mode.recording and getattr(weight, "requires_grad", False):
        raise NotImplementedError(
            f"{name}: there is no derivative with respect to 'weight'; pass weight.detach() to "
            "hold it constant"
        )
    return raw(weight)


def _shares(target: Any, weight: Any, ignore_index: int) -> tuple[Any, Any, Any]:
    """Of each label: a class to look up (0 if it is ignored), whether it counts, its weight."""
    counts = target != ignore_index
    index = array_module(target).where(counts, target, 0)
    return index, counts, None if weight is None else weight[index]


def _of_labels(values: Any, index: Any, counts: Any, share: Any) -> Any:
    """-values (N, C, *S) at the labels, times their weight, 0 where the label is ignored."""
    picked = -reshape(gather(values, 1, index[:, None]), index.shape)
    return where(counts, picked if share is None else picked * share, 0)


def _mean_of_labels(loss: Any, reduction: str, counts: Any, share: Any) -> Any:
    """Reduce the losses of labels: their mean is weighted, by the weights of those that count."""
    if reduction == "none":
        return loss
    if reduction == "sum":
        return sum(loss)
    total = counts.sum() if share is None else array_module(share).where(counts, share, 0).sum()
    return sum(loss) / float(total)


# ---- the fused operation ------------------------------------------------------------------------


def _label_cross_entropy_dx(g: Any, index: Any, share: Any, powers: Any, total: Any) -> Any:
    """weight (softmax(x) - one-hot(target)), 0 where the label is ignored."""
    return kernels.cross_entropy_input(g if share is None else g * share, index, powers, total)


def _label_cross_entropy_definition(x: Any, target: Any, weight: Any, ignore_index: int) -> Any:
    return _of_labels(log_softmax(x, 1), *_shares(raw(target), raw(weight), ignore_index))


@op(
    x=_label_cross_entropy_dx,
    definition=_label_cross_entropy_definition,
    quiet=True,
    formula="-weight[target] log softmax(x)[target]",
)
def label_cross_entropy(
    x: Any, target: Any, weight: Any = None, ignore_index: int = -100
) -> tuple[Any, Kept]:
    """The cross-entropy of each label, from logits: log-softmax and look-up in one.

    x : (N, C, *S) logits, target : (N, *S) labels, weight : (C,) or None -> (N, *S)

    The labels must be classes: `cross_entropy` checks that, this does not.
    """
    index, counts, share = _shares(target, weight, ignore_index)
    index = array_module(x).where(counts, index, -1)
    loss, powers, total = kernels.cross_entropy(x, index)
    loss = loss if share is None else loss * share
    return loss, Kept(index=index, share=share, powers=powers, total=total)


# ---- what users call ----------------------------------------------------------------------------


@composite(formula="-weight[target] log softmax(input)[target]; or -sum(target weight log softmax)")
def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """The cross-entropy of logits and labels, or of logits and probabilities of the classes.

    input : (N, C, *S) or (C,) logits: numbers of any size, no softmax applied
    target : (N, *S) or (): labels from 0 to C - 1, or `ignore_index`; or probabilities (floats)
        of the shape of input
    weight : (C,) weights of the classes, or None
    label_smoothing : the part of the target that is spread evenly over the classes
        (Szegedy and others 2015, arXiv:1512.00567)

    The mean of labels divides by the sum of their weights (NaN if all are ignored), that of
    probabilities by the number of places. Raises LabelError (an IndexError) for labels that are no
    class, ShapeError, DtypeError, and ValueError for a label_smoothing outside [0, 1].
    """
    _checks.choice("cross_entropy", "reduction", reduction, "none", "mean", "sum")
    if not 0 <= label_smoothing <= 1:
        raise ValueError(
            f"cross_entropy: label_smoothing is {label_smoothing}, expected from 0 to 1"
        )
    if len(input.shape) < 1:
        raise ShapeError("cross_entropy: input has no axes, expected (N, C, …) or (C,)")
    if len(input.shape) == 1:
        loss = cross_entropy(
            reshape(input, (1, -1)), reshape(target, (1, *target.shape)),
            weight, ignore_index, reduction, label_smoothing,
        )  # fmt: skip
        return reshape(loss, ()) if reduction == "none" else loss
    if target.dtype.kind == "f":
        return _cross_entropy_of_probabilities(input, target, weight, reduction, label_smoothing)
    labels, weight = raw(target), _constant("cross_entropy", weight)
    _check_labels("cross_entropy", input, labels, weight, ignore_index)
    loss = label_cross_entropy(input, labels, weight, ignore_index)
    _, counts, share = _shares(labels, weight, ignore_index)
    if label_smoothing:
        even = -log_softmax(input, 1)
        if weight is not None:
            even = even * _along_classes(weight, input)
        even = where(counts, sum(even, 1) / input.shape[1], 0)
        loss = loss * (1 - label_smoothing) + even * label_smoothing
    return _mean_of_labels(loss, reduction, counts, share)


def _along_classes(weight: Any, x: Any) -> Any:
    return reshape(weight, (-1, *(1,) * (len(x.shape) - 2)))


def _cross_entropy_of_probabilities(
    input: Any, target: Any, weight: Any, reduction: str, label_smoothing: float
) -> Any:
    if tuple(target.shape) != tuple(input.shape):
        hint = "; labels must be whole numbers (use .long())"
        kind = DtypeError if len(target.shape) == len(input.shape) - 1 else ShapeError
        raise kind(
            f"cross_entropy: target is {target.dtype} {tuple(target.shape)}; probabilities must "
            f"have the shape of input {tuple(input.shape)}{hint}"
        )
    _checks.floating("cross_entropy", "input", input)
    _check_weight("cross_entropy", input, weight)
    classes = input.shape[1]
    if label_smoothing:
        target = target * (1 - label_smoothing) + label_smoothing / classes
    loss = -log_softmax(input, 1) * target
    if weight is not None:
        loss = loss * _along_classes(weight, input)
    return reduced("cross_entropy", sum(loss, 1), reduction)


@composite(formula="-weight[target] input[target]")
def nll_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Any:
    """The negative log-likelihood of labels: from log-probabilities, as `log_softmax` gives them.

    input : (N, C, *S) or (C,), target : (N, *S) or (): labels from 0 to C - 1, or `ignore_index`
    weight : (C,) weights of the classes, or None; the mean divides by the sum of the labels'

    Raises LabelError (an IndexError) for labels that are no class, ShapeError, DtypeError.
    """
    _checks.choice("nll_loss", "reduction", reduction, "none", "mean", "sum")
    if len(input.shape) < 1:
        raise ShapeError("nll_loss: input has no axes, expected (N, C, …) or (C,)")
    labels, weight = raw(target), _constant("nll_loss", weight)
    if len(input.shape) == 1:
        loss = nll_loss(
            reshape(input, (1, -1)), labels.reshape(1, *labels.shape), weight, ignore_index,
            reduction,
        )  # fmt: skip
        return reshape(loss, ()) if reduction == "none" else loss
    _check_labels("nll_loss", input, labels, weight, ignore_index)
    shares = _shares(labels, weight, ignore_index)
    return _mean_of_labels(_of_labels(input, *shares), reduction, *shares[1:])


# ---- probabilities ------------------------------------------------------------------------------


@op(
    x=lambda g, x, target: g * (x - target) / clamp((1 - x) * x, 1e-12),
    target=lambda g, x: g * (log1p(-x) - log(x)),
    elementwise=True,
    quiet=True,
    formula="-(target log x + (1 - target) log(1 - x)), the logarithms at least -100",
    domain="0 <= x <= 1",
    kink=[
        Steep("x = 0", "1e12 at most", at={"x": [0], "target": [1.0]}, gradient={"x": [-1e12]}),
        Steep("x = 1", "1e12 at most", at={"x": [1], "target": [0.0]}, gradient={"x": [1e12]}),
    ],
)
def bernoulli_nll(x: Any, target: Any) -> Any:
    """The cross-entropy of probabilities x and targets, element by element.

    Raises ValueError for an x outside [0, 1].
    """
    if not ((x >= 0) & (x <= 1)).all():
        raise ValueError(
            "binary_cross_entropy: input has an element outside [0, 1]; apply sigmoid first, or "
            "use binary_cross_entropy_with_logits"
        )
    if not ((target >= 0) & (target <= 1)).all():
        raise ValueError("binary_cross_entropy: target has an element outside [0, 1], or NaN")
    xp = array_module(x)
    return -(target * xp.maximum(xp.log(x), -100) + (1 - target) * xp.maximum(xp.log1p(-x), -100))


@composite(
    formula="-weight (target log(input) + (1 - target) log(1 - input)), logarithms at least -100",
    domain="0 <= input <= 1",
    kink=[
        Steep(
            "input = 0",
            "1e12 at most",
            at={"input": [0], "target": [1.0]},
            gradient={"input": [-1e12]},
        ),
        Steep(
            "input = 1",
            "1e12 at most",
            at={"input": [1], "target": [0.0]},
            gradient={"input": [1e12]},
        ),
    ],
)
def binary_cross_entropy(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean"
) -> Any:
    """The cross-entropy of probabilities `input` and targets from 0 to 1, of one shape.

    weight : None, or what broadcasts to that shape. Raises ShapeError, and ValueError for an
    input outside [0, 1].
    """
    alike("binary_cross_entropy", input=input, target=target)
    loss = bernoulli_nll(input, target)
    return reduced("binary_cross_entropy", loss if weight is None else loss * weight, reduction)


def _logistic_loss_definition(x: Any, target: Any) -> Any:
    return -(target * logsigmoid(x) + (1 - target) * logsigmoid(-x))


@op(
    x=lambda g, x, target: laid_out_like(kernels.logistic_loss_input(g, x, target), x, g),
    target=lambda g, x: laid_out_like(-g * x, g),
    definition=_logistic_loss_definition,
    elementwise=True,
    floats=True,
    formula="-(target log sigmoid(x) + (1 - target) log sigmoid(-x))",
)
def logistic_loss(x: Any, target: Any) -> Any:
    """The cross-entropy of logits and probabilities, element by element."""
    return kernels.logistic_loss(x, target)


def _evenly(g: Any, x: Any) -> Any:
    """The part of the gradient of a mean over x that each element gets, an array without axes."""
    return array_module(g).asarray(g / x.size)


@op(
    x=lambda g, x, target: laid_out_like(kernels.logistic_loss_input(_evenly(g, x), x, target), x),
    target=lambda g, x: laid_out_like(-_evenly(g, x) * x, x),
    definition=lambda x, target: mean(_logistic_loss_definition(x, target)),
    formula="mean of -(target log sigmoid(x) + (1 - target) log sigmoid(-x))",
    domain="at least one element; NaN of none",
)
def mean_logistic_loss(x: Any, target: Any) -> Any:
    """The mean of `logistic_loss`; x and target of one shape and dtype, float32 or float64."""
    return kernels.mean_logistic_loss(x, target)


@composite(
    formula="-weight (pos_weight target log sigmoid(input) + (1 - target) log sigmoid(-input))"
)
def binary_cross_entropy_with_logits(
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Any:
    """The cross-entropy of logits and targets from 0 to 1: exact for logits of any size.

    input, target : of one shape; weight, pos_weight : None, or what broadcasts to it
    Raises ShapeError unless the shapes are equal.
    """
    alike("binary_cross_entropy_with_logits", input=input, target=target)
    if pos_weight is None:
        plain = weight is None and reduction == "mean" and input.dtype == target.dtype
        if plain and input.dtype.itemsize > 2 and 0 not in input.shape:
            return mean_logistic_loss(input, target)
        loss = logistic_loss(input, target)
    else:
        loss = -(target * pos_weight * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    if weight is not None:
        loss = loss * weight
    return reduced("binary_cross_entropy_with_logits", loss, reduction)


@composite(
    formula="target (log target - input), 0 where target is 0; input: log-probabilities",
    kink=Steep(
        "target = 0",
        "-input, as if log 0 were 0",
        at={"input": [-2], "target": [0]},
        gradient={"input": [0], "target": [2]},
        pytorch="NaN, as a product of 0 and infinity",
    ),
)
def kl_div(input: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Any:
    """The divergence of Kullback and Leibler from `input` to `target`, element by element.

    input : log-probabilities; target : probabilities of that shape, or their logarithms
    (log_target); reduction : "batchmean", the sum divided by the length of the first axis, is the
    divergence; "mean" divides by the number of all elements

    Raises ShapeError unless the shapes are equal.
    """
    alike("kl_div", input=input, target=target)
    _checks.choice("kl_div", "reduction", reduction, "none", "mean", "sum", "batchmean")
    if log_target:
        loss = exp(target) * (target - input)
    else:
        loss = target * (log(where(target > 0, target, 1)) - input)
    if reduction != "batchmean":
        return reduced("kl_div", loss, reduction)
    if len(input.shape) == 0:
        return loss
    return sum(loss) / float(input.shape[0] or "nan")
