"""Every op with arrays of no elements: what PyTorch gives, or one clear error.

EMPTY : calls that give what PyTorch gives (values, gradients, shapes, dtypes)
REFUSED : calls that raise an error with the op's name; where PyTorch gives something, it is said
"""

from typing import Any

import numpy as np
from cases import A, B, Case, G, I, P

from minidl.device import device

_UNARY = """neg reciprocal square abs sign sqrt rsqrt exp exp2 expm1 log log2 log10 log1p erf ndtr
sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh ceil floor trunc round relu relu6
hardtanh leaky_relu hardswish hardsigmoid softshrink hardshrink elu celu selu sigmoid logsigmoid
softplus silu mish gelu softsign tanhshrink isnan isinf isfinite logical_not zeros_like t flatten
squeeze clone tril triu sum nansum mean var std all any count_nonzero prod dropout alpha_dropout
unbind sort argsort diagonal"""
_BINARY = """add sub mul div floor_divide remainder pow maximum minimum logaddexp atan2 eq ne lt
le gt ge logical_and logical_or logical_xor isclose mse_loss l1_loss smooth_l1_loss huber_loss"""
CONV = ((1,), ((0, 0),), (1,), 1)
NONE = G(np.zeros((0, 2), "int64"))


def without(name: str) -> Any:
    """PyTorch has it as a method alone."""
    return lambda torch, x, *args: getattr(x, name)(*args)


EMPTY: dict[str, list[Case]] = {name: [Case(A(0, 3))] for name in _UNARY.split()}
EMPTY |= {name: [Case(A(0, 3), A(3)), Case(A(2, 0), A(2, 1))] for name in _BINARY.split()}
EMPTY |= {name: [Case(A(0, 3), A(0, 3))] for name in _BINARY.split() if name.endswith("loss")}
EMPTY |= {
    "hardsigmoid": [Case(A(0, 3), order=1)],
    "abs": [Case(A(0, 3), order=1)],
    "gelu_tanh": [
        Case(A(0, 3), torch=lambda torch, x: torch.nn.functional.gelu(x, approximate="tanh"))
    ],
    "floor_divide": [Case(A(0, 3), A(3), order=0)],
    "where": [Case(B(0, 3), A(0, 3), A(3))],
    "masked_fill": [Case(A(0, 3), B(3), 0.5)],
    "clamp": [Case(A(0, 3), -0.5, 0.5)],
    "clamp_min": [Case(A(0, 3), 0.5, torch=lambda torch, x, m: torch.clamp_min(x, m))],
    "clamp_max": [Case(A(0, 3), 0.5, torch=lambda torch, x, m: torch.clamp_max(x, m))],
    "lerp": [Case(A(0, 3), A(3), 0.25)],
    "prelu": [Case(A(0, 3), A(3))],
    "threshold": [Case(A(0, 3), 0.125, -2.0)],
    "glu": [Case(A(0, 4)), Case(A(2, 0))],
    "softmax": [Case(A(0, 3), 1), Case(A(0, 3), 0)],
    "log_softmax": [Case(A(0, 3), 1), Case(A(0, 3), 0)],
    "softmin": [Case(A(0, 3), 1)],
    # ---- shapes ----
    "reshape": [Case(A(0, 3), (3, 0))],
    "view": [Case(A(0, 3), (2, 0))],
    "unflatten": [Case(A(0, 6), 1, (2, 3), torch=without("unflatten"))],
    "unsqueeze": [Case(A(0, 3), 1)],
    "permute": [Case(A(0, 3, 2), (2, 0, 1))],
    "transpose": [Case(A(0, 3), 0, 1)],
    "swapaxes": [Case(A(0, 3), 0, 1)],
    "movedim": [Case(A(0, 3), 0, 1)],
    "expand": [Case(A(1, 3), (0, 3), torch=without("expand"))],
    "broadcast_to": [Case(A(1, 3), (0, 3))],
    "repeat": [Case(A(0, 3), (2, 1), torch=without("repeat"))],
    "tile": [Case(A(0, 3), (2,))],
    "flip": [Case(A(0, 3), (0, 1))],
    "roll": [Case(A(0, 3), 1, 0), Case(A(0, 3), 1)],
    "contiguous": [Case(A(0, 3), torch=without("contiguous"))],
    "put_diagonal": [Case(A(0), (0, 3), torch=lambda torch, g, shape: g.new_zeros(shape))],
    "diag_embed": [Case(A(0, 3)), Case(A(2, 0))],
    "diag": [Case(A(0)), Case(A(0, 3))],
    # ---- reductions ----
    "sum": [Case(A(0, 3)), Case(A(0, 3), 0), Case(A(0, 3), 1)],
    "mean": [Case(A(0, 3)), Case(A(0, 3), 0), Case(A(0, 3), 1)],
    "prod": [Case(A(0, 3)), Case(A(0, 3), 0)],
    "var_mean": [Case(A(0, 3), 1), Case(A(0, 3))],
    "var": [Case(A(0, 3), 1), Case(A(0, 3), 0)],
    "std": [Case(A(0, 3), 1), Case(A(0, 3), 0)],
    "amax": [Case(A(0, 3), 1)],
    "amin": [Case(A(0, 3), 1)],
    "logsumexp": [Case(A(0, 3), 0, order=0), Case(A(0, 3), 1)],
    "norm": [Case(A(0, 3)), Case(A(0, 3), 1, 0),
             Case(A(0, 3), 3, order=1)],
    "cumsum": [Case(A(0, 3), 0)],
    "cumprod": [Case(A(0, 3), 0)],
    "shifted": [Case(A(0, 3), 1, 1, torch=lambda torch, x, by, dim: x.clone())],
    "recurrence": [Case(A(0, 3), A(0, 3), 1, torch=lambda torch, a, b, dim: a * b)],
    "argmax": [Case(A(0, 3), 1)],
    "argmin": [Case(A(0, 3), 1)],
    "max": [Case(A(0, 3), 1)],
    "min": [Case(A(0, 3), 1)],
    "topk": [Case(A(0, 3), 2)],
    "topk_indices": [Case(A(0, 3), 2, 1, True, torch=None)],
    "median": [Case(A(0, 3), 1), Case(A(0, 3))],
    "median_of_all": [Case(A(0, 3), torch=lambda torch, x: torch.median(x))],
    "median_index": [Case(A(0, 3), 1, torch=lambda torch, x, dim: x.median(dim, True).indices)],
    "picked": [Case(A(0, 3), G(np.zeros((0, 1), "int64")), 1, torch=None)],
    "put_picked": [Case(A(0, 1), (0, 3), G(np.zeros((0, 1), "int64")), 1, torch=None)],
    # ---- products ----
    "matmul": [Case(A(0, 3), A(3, 2)), Case(A(2, 0), A(0, 3)), Case(A(0, 2, 3), A(3, 2)),
               Case(A(0), A(0))],
    "mm": [Case(A(0, 3), A(3, 2)), Case(A(2, 0), A(0, 3))],
    "bmm": [Case(A(0, 2, 3), A(0, 3, 2))],
    "mv": [Case(A(2, 0), A(0)), Case(A(0, 3), A(3))],
    "dot": [Case(A(0), A(0))],
    "outer": [Case(A(0), A(3))],
    "addmm": [Case(A(2), A(0, 3), A(3, 2))],
    "baddbmm": [Case(A(2, 1), A(0, 2, 3), A(0, 3, 1))],
    "tensordot": [Case(A(0, 3), A(3, 2), 1), Case(A(2, 0), A(0, 3), 1)],
    "trace": [Case(A(0, 0))],
    "kron": [Case(A(0, 3), A(2, 2))],
    "einsum": [Case("ij,jk->ik", A(0, 3), A(3, 2)), Case("ij->", A(0, 3))],
    "linear": [Case(A(0, 3), A(2, 3), A(2)), Case(A(2, 0), A(3, 0), A(3))],
    "bilinear": [Case(A(0, 3), A(0, 4), A(5, 3, 4), A(5))],
    "embedding": [Case(NONE, A(3, 2), torch=lambda torch, index, weight: weight[index])],
    "rows_added": [Case(A(0, 2, 3), NONE, 4,
                        torch=lambda torch, g, i, n: g.sum((0, 1)).expand(n, 3))],
    "scaled_dot_product_attention": [Case(A(0, 3, 4), A(0, 5, 4), A(0, 5, 2)),
                                     Case(A(2, 0, 4), A(2, 5, 4), A(2, 5, 2))],
    # ---- places ----
    "getitem": [Case(A(0, 3), (slice(None), 1), torch=lambda torch, x, i: x[i]),
                Case(A(2, 3), G(np.zeros(0, "int64")), torch=lambda torch, x, i: x[i])],
    "put_zeros": [Case(A(0, 3), G(np.zeros(0, "int64")), (2, 3),
                       torch=lambda torch, g, i, shape: g.sum().expand(shape))],
    "index_put": [Case(A(0, 3), (slice(None), 1), A(0),
                       torch=lambda torch, x, i, v: x + v.sum())],
    "narrow": [Case(A(0, 3), 1, 1, 2), Case(A(2, 3), 1, 1, 0)],
    "select": [Case(A(0, 3), 1, -1)],
    "index_select": [Case(A(0, 3), 1, I(3, 5)), Case(A(3), 0, I(3, 0))],
    "index_add": [Case(A(0, 3), 1, I(3, 5), A(0, 5)), Case(A(2, 3), 1, I(3, 0), A(2, 0))],
    "repeat_interleave": [Case(A(0, 3), 2), Case(A(0, 3), 2, 1)],
    "gather": [Case(A(0, 3), 1, G(np.zeros((0, 2), "int64"))), Case(A(2, 3), 1, I(3, 2, 0))],
    "scatter": [Case(A(0, 3), 1, NONE, A(0, 2)), Case(A(2, 3), 1, I(3, 2, 0), A(2, 0))],
    "scatter_add": [Case(A(0, 3), 1, NONE, A(0, 2)), Case(A(2, 3), 1, I(3, 2, 0), A(2, 0))],
    "take_along_dim": [Case(A(0, 3), NONE, 1)],
    "take": [Case(A(2, 3), I(3, 0)), Case(A(0), G(np.zeros(0, "int64")))],
    "masked_select": [Case(A(0, 3), B(3)), Case(A(2, 3), G(np.zeros((2, 3), bool)))],
    "nonzero": [Case(A(0, 3))],
    "one_hot": [Case(I(3, 0), 4)],
    "cat": [Case([A(0, 3), A(2, 3)]), Case([A(0), A(0)])],
    "stack": [Case([A(0, 3), A(0, 3)])],
    "split": [Case(A(0, 3), 2), Case(A(2, 3), [0, 3], 1)],
    "chunk": [Case(A(0, 3), 2)],
    "unbind": [Case(A(0, 3), 1)],
    "constant_pad_nd": [Case(A(0, 3), (1, 2)), Case(A(2, 0), (1, 2), 0.5)],
    "pad": [Case(A(0, 3), (1, 2)), Case(A(0, 2, 4), (1, 1), mode="reflect")],
    # ---- windows ----
    "conv": [Case(A(0, 2, 5), A(3, 2, 3), None, *CONV,
                  torch=lambda torch, x, w, *_: torch.conv1d(x, w))],
    "conv_relu": [Case(A(0, 2, 5), A(3, 2, 3), None, *CONV,
                       torch=lambda torch, x, w, *_: torch.relu(torch.conv1d(x, w)))],
    "conv_pool": [Case(A(0, 2, 3, 5), A(3, 2, 2, 2), None, (1, 1), ((0, 0), (0, 0)), (1, 1), 1,
                       "relu", (2, 2), torch=lambda torch, x, w, *_: torch.nn.functional.max_pool2d(
                           torch.relu(torch.conv2d(x, w)), 2))],
    "conv_input": [Case(A(0, 3, 3), A(3, 2, 3), (0, 2, 5), *CONV,
                        torch=lambda torch, g, w, *_: torch.conv_transpose1d(g, w))],
    "conv_weight": [Case(A(0, 3, 3), A(0, 2, 5), (3, 2, 3), *CONV,
                         torch=lambda torch, g, x, shape, *_: (g.sum() + x.sum()).expand(shape))],
    "conv1d": [Case(A(0, 2, 6), A(3, 2, 3), A(3))],
    "conv2d": [Case(A(0, 2, 3, 3), A(1, 2, 2, 2), A(1))],
    "conv3d": [Case(A(0, 2, 3, 3, 3), A(1, 2, 2, 2, 2))],
    "conv_transpose1d": [Case(A(0, 2, 3), A(2, 3, 3), A(3))],
    "conv_transpose2d": [Case(A(0, 2, 3, 2), A(2, 3, 2, 3), A(3))],
    "conv_transpose3d": [Case(A(0, 2, 2, 1, 2), A(2, 1, 2, 2, 2))],
    "unfold": [Case(A(0, 2, 3, 4), 2)],
    "fold": [Case(A(0, 8, 6), (3, 4), 2)],
    "max_pool": [Case(A(0, 2, 4), (2,), (2,), (0,), (1,), False, False,
                      torch=lambda torch, x, *_: torch.nn.functional.max_pool1d(x, 2))],
    "max_pool_input": [Case(A(0, 2, 2), G(np.zeros((0, 2, 2), "int64")), (0, 2, 4),
                            torch=lambda torch, g, i, shape: g.repeat(1, 1, 2))],
    "max_pool_take": [Case(A(0, 2, 4), G(np.zeros((0, 2, 2), "int64")),
                           torch=lambda torch, x, i: x[:, :, :2])],
    "max_pool1d": [Case(A(0, 2, 5), 2)],
    "max_pool2d": [Case(A(0, 2, 4, 4), 2)],
    "max_pool3d": [Case(A(0, 2, 2, 4, 4), 2)],
    "avg_pool": [Case(A(0, 2, 4), (2,), (2,), (0,), False, True, None,
                      torch=lambda torch, x, *_: torch.nn.functional.avg_pool1d(x, 2))],
    "avg_pool_input": [Case(A(0, 2, 2), (0, 2, 4), (2,), (2,), (0,), False, True, None,
                            torch=lambda torch, g, *_: g.repeat(1, 1, 2))],
    "avg_pool1d": [Case(A(0, 2, 5), 2)],
    "avg_pool2d": [Case(A(0, 2, 4, 4), 2)],
    "avg_pool3d": [Case(A(0, 2, 2, 4, 4), 2)],
    "adaptive_avg_pool1d": [Case(A(0, 2, 6), 3)],
    "adaptive_avg_pool2d": [Case(A(0, 2, 4, 6), 2)],
    "adaptive_max_pool": [Case(A(0, 2, 4, 4), (2, 2), False,
                               torch=lambda torch, x, size, _: (
                                   torch.nn.functional.adaptive_max_pool2d(x, size)))],
    "adaptive_max_pool1d": [Case(A(0, 2, 6), 3)],
    "adaptive_max_pool2d": [Case(A(0, 2, 4, 6), 2)],
    "resample": [Case(A(0, 2, 3), (2, 0), 2, torch=lambda torch, x, i, dim: x[:, :, list(i)])],
    "resample_back": [Case(A(0, 2, 2), (2, 0), 2, 3,
                           torch=lambda torch, g, i, dim, n: g.new_zeros(0, 2, n) + g.sum())],
    "interpolate": [Case(A(0, 2, 3), 5), Case(A(0, 1, 3, 4), scale_factor=2, mode="bilinear")],
    "dropout1d": [Case(A(0, 3, 2), 0.0)],
    "dropout2d": [Case(A(0, 3, 2, 2), 0.0)],
    "dropout3d": [Case(A(0, 3, 2, 1, 2), 0.0)],
    "drop": [Case(A(0, 3), 7, 3, 0.5, torch=lambda torch, x, *_: x * 2)],
    # ---- normalisation ----
    "standardize": [Case(A(0, 2), A(2), A(2), (0,), (1, 2), 1e-5, torch=None)],
    "normalize_channels": [Case(A(0, 3), A(3), A(3), torch=None)],
    "batch_norm": [Case(A(0, 3), P(3, constant=True), P(3, constant=True), A(3), A(3))],
    "layer_norm": [Case(A(0, 4), (4,), A(4), A(4))],
    "group_norm": [Case(A(0, 4, 3), 2, A(4), A(4))],
    "instance_norm": [Case(A(0, 3, 4), weight=A(3), bias=A(3), torch=None)],  # PyTorch: IndexError
    "rms_norm": [Case(A(0, 4), (4,))],
    "normalize": [Case(A(0, 3))],
    # ---- losses ----
    "gaussian_nll_loss": [Case(A(0, 3), A(0, 3), G(np.ones((0, 3))))],
    "poisson_nll_loss": [Case(A(0), A(0, constant=True))],
    "cosine_similarity": [Case(A(0, 3), A(0, 3)), Case(A(2, 0), A(2, 0))],
    "pairwise_distance": [Case(A(0, 3), A(0, 3))],
    "cosine_embedding_loss": [Case(A(0, 3), A(0, 3), A(0, constant=True))],
    "margin_ranking_loss": [Case(A(0), A(0), A(0, constant=True))],
    "hinge_embedding_loss": [Case(A(0), A(0, constant=True))],
    "triplet_margin_loss": [Case(A(0, 3), A(0, 3), A(0, 3))],
    "label_cross_entropy": [Case(A(0, 3), G(np.zeros(0, "int64")), torch=None)],
    "cross_entropy": [Case(A(0, 3), I(3, 0)), Case(A(0, 3), I(3, 0), reduction="sum")],
    "nll_loss": [Case(A(0, 3), I(3, 0)), Case(A(0, 3), I(3, 0), reduction="none")],
    "bernoulli_nll": [Case(A(0, 3), A(0, 3), torch=None)],
    "logistic_loss": [Case(A(0), A(0), torch=None)],
    "mean_logistic_loss": [
        Case(A(0), A(0), torch=lambda torch, *args:
             torch.nn.functional.binary_cross_entropy_with_logits(*args))
    ],
    "binary_cross_entropy": [Case(A(0), A(0))],
    "binary_cross_entropy_with_logits": [Case(A(0), A(0))],
    "kl_div": [Case(A(0), G(np.ones(0)), reduction="sum")],
    # ---- recurrence ----
    "rnn": [Case(A(1, 0, 2), A(0, 3), A(3, 2), A(3, 3), torch=None)],
    "lstm": [Case(A(1, 0, 2), A(0, 3), A(0, 3), A(12, 2), A(12, 3), torch=None)],
    "gru": [Case(A(1, 0, 2), A(0, 3), A(9, 2), A(9, 3), torch=None)],
    "recurrent_layers": [
        Case(A(1, 0, 2), None, None, A(12, 2), A(12, 3), None, None, torch=None)
    ],
    "rnn_tanh_cell": [Case(A(0, 3), A(0, 4), A(4, 3), A(4, 4))],
    "rnn_relu_cell": [Case(A(0, 3), A(0, 4), A(4, 3), A(4, 4))],
    "lstm_cell": [Case(A(0, 3), (A(0, 2), A(0, 2)), A(8, 3), A(8, 2))],
    "gru_cell": [Case(A(0, 3), A(0, 2), A(6, 3), A(6, 2))],
    # ---- what the tape needs itself ----
    "to_place": [Case(A(0, 3), device("cpu"), device("cpu"), torch=None)],
    "alias": [Case(A(0, 3), torch=None)],
    "to_dtype": [Case(A(0, 3), np.dtype("float64"), torch=None)],
    "sum_to": [Case(A(0, 2, 3), (1, 3), torch=lambda torch, x, shape: x.sum_to_size(shape))],
    "expand_to": [Case(A(1, 3), (0, 2, 3), torch=lambda torch, x, shape: x.expand(shape))],
}  # fmt: skip

REFUSED: dict[str, list[Case]] = {
    "amax": [Case(A(0, 3)), Case(A(0, 3), 0)],
    "amin": [Case(A(0, 3)), Case(A(0, 3), 0)],
    "max": [Case(A(0, 3)), Case(A(0, 3), 0)],
    "min": [Case(A(0, 3)), Case(A(0, 3), 0)],
    "argmax": [Case(A(0, 3)), Case(A(0, 3), 0)],
    "argmin": [Case(A(0, 3)), Case(A(0, 3), 0)],
    "median": [Case(A(0, 3), 0)],
    "topk": [Case(A(0, 3), 2, 0)],
    "norm": [Case(A(0, 3), float("inf"))],
    "conv2d": [Case(A(1, 2, 0, 3), A(1, 2, 2, 2)), Case(A(1, 2, 3, 3), A(0, 2, 2, 2))],
    "max_pool2d": [Case(A(1, 2, 0, 4), 2)],
    "avg_pool2d": [Case(A(1, 2, 0, 4), 2)],
    "interpolate": [Case(A(1, 2, 0), 5)],
    "cat": [Case([])],
    "stack": [Case([])],
    "one_hot": [Case(I(3, 0))],
    "rnn": [Case(A(0, 2, 2), A(2, 3), A(3, 2), A(3, 3))],
    "lstm": [Case(A(0, 2, 2), A(2, 3), A(2, 3), A(12, 2), A(12, 3))],
    "gru": [Case(A(0, 2, 2), A(2, 3), A(9, 2), A(9, 3))],
    "recurrent_layers": [Case(A(0, 2, 2), None, None, A(12, 2), A(12, 3), None, None)],
    "take": [Case(A(0), G(np.zeros(1, "int64")))],
    "index_select": [Case(A(0, 3), 0, G(np.zeros(1, "int64")))],
    "select": [Case(A(0, 3), 0, 0)],
    "getitem": [Case(A(0, 3), 0)],
    "embedding": [Case(G(np.zeros(1, "int64")), A(0, 3))],
    "pad": [Case(A(1, 1, 0), (1, 1), mode="reflect")],
}
