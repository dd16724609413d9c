"""Functions under the names of torch.nn.functional: the ops, and two that keep statistics.

`F.relu`, `F.conv2d`, `F.cross_entropy` … are the ops themselves (`minidl.ops`). Batch and instance
normalisation here also update running statistics, which an op must not.
"""

import math
from typing import Any

from minidl import ops
from minidl.ops import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    alpha_dropout,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    bilinear,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    celu,
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    cosine_embedding_loss,
    cosine_similarity,
    cross_entropy,
    dropout,
    dropout1d,
    dropout2d,
    dropout3d,
    elu,
    embedding,
    flatten,
    fold,
    gaussian_nll_loss,
    gelu,
    glu,
    group_norm,
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    hinge_embedding_loss,
    huber_loss,
    interpolate,
    kl_div,
    l1_loss,
    layer_norm,
    leaky_relu,
    linear,
    log_softmax,
    logsigmoid,
    margin_ranking_loss,
    max_pool1d,
    max_pool2d,
    max_pool3d,
    mish,
    mse_loss,
    nll_loss,
    normalize,
    one_hot,
    pad,
    pairwise_distance,
    poisson_nll_loss,
    prelu,
    relu,
    relu6,
    rms_norm,
    scaled_dot_product_attention,
    selu,
    sigmoid,
    silu,
    smooth_l1_loss,
    softmax,
    softmin,
    softplus,
    softshrink,
    softsign,
    tanh,
    tanhshrink,
    threshold,
    triplet_margin_loss,
    unflatten,
    unfold,
)
from minidl.ops.normalization import check_channels, normalize_channels
from minidl.tape import touch
from minidl.tensor import Tensor

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "alpha_dropout",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_norm",
    "bilinear",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "celu",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "elu",
    "embedding",
    "flatten",
    "fold",
    "gaussian_nll_loss",
    "gelu",
    "glu",
    "group_norm",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hinge_embedding_loss",
    "huber_loss",
    "instance_norm",
    "interpolate",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "logsigmoid",
    "margin_ranking_loss",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "mish",
    "mse_loss",
    "nll_loss",
    "normalize",
    "one_hot",
    "pad",
    "pairwise_distance",
    "poisson_nll_loss",
    "prelu",
    "relu",
    "relu6",
    "rms_norm",
    "scaled_dot_product_attention",
    "selu",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
    "triplet_margin_loss",
    "unflatten",
    "unfold",
]

# ---- normalisation with running statistics ------------------------------------------------------


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel, by its own statistics in training, else by the running ones.

    input : (N, C, *S); the vectors : (C,). In training the running statistics that are given change
    in place: (1 - momentum) · old + momentum · new, the new variance without bias. An empty batch
    leaves them as they are.
    See `minidl.ops.batch_norm`, which changes nothing.
    """
    if not training:
        return ops.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    check_channels("batch_norm", input, running_mean=running_mean, running_var=running_var)
    out, mean, var = normalize_channels(input, weight, bias, eps)
    count = input.shape[0] * math.prod(input.shape[2:])
    if count:
        _move(running_mean, mean.data, momentum)
        _move(running_var, var.data * (count / (count - 1)), momentum)
    return out


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel of each sample, by its own statistics or by the running ones.

    input : (N, C, *S); the vectors : (C,). Running statistics that are given change as in
    `batch_norm`, towards the mean of the samples' statistics.
    """
    out = ops.instance_norm(
        input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps
    )
    if use_input_stats and running_mean is not None and all(input.shape):
        space, values = tuple(range(2, input.ndim)), input.detach()
        _move(running_mean, ops.mean(values, (0, *space)).data, momentum)
        _move(running_var, ops.mean(ops.var(values, space), 0).data, momentum)
    return out


def _move(running: Tensor | None, new: Any, momentum: float) -> None:
    """Move a running statistic towards a new value, in place."""
    if running is not None:
        running.data[...] = (1 - momentum) * running.data + momentum * new
        touch(running.data)
