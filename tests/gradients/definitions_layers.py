"""What layers are: the loops of `minidl_kernels.reference`, or formulas in NumPy."""

import math
from typing import Any

import numpy as np
from definitions_numbers import power_norm

from minidl_kernels.reference import convolution, indexing, philox, pooling, recurrent

# ---- dropout and look-up ------------------------------------------------------------------------


def drop(
    x: Any,
    key: int,
    counter: int,
    p: float,
    shape: Any = None,
    scale: float = 1.0,
    value: float = 0.0,
) -> Any:
    shape = x.shape if shape is None else shape
    words = philox.philox(x, key, counter, math.prod(shape)).reshape(shape)
    return np.where(words >= p * 2.0**32, x * scale, value)


def without_chance(x: Any, p: float = 0.5, training: bool = True) -> Any:
    assert p in (0, 1) or not training
    return x * 0 if p == 1 and training else x


def rows_added(g: Any, index: Any, rows: int) -> Any:
    return indexing.index_add(g.reshape(index.size, g.shape[-1]), index.reshape(-1), rows)


# ---- windows ------------------------------------------------------------------------------------


def many(value: Any, count: int) -> tuple[int, ...]:
    value = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return value * count if len(value) == 1 else value


def in_batch(x: Any, axes: int, function: Any) -> Any:
    """A function of (N, C, *S), of one image as well."""
    if x.ndim == axes + 2:
        return function(x)
    out = function(x[None])
    return tuple(o[0] for o in out) if isinstance(out, tuple) else out[0]


def with_bias(y: Any, bias: Any) -> Any:
    return y if bias is None else y + bias.reshape(-1, *[1] * (y.ndim - 2))


def conv(axes: int) -> Any:
    def run(
        x: Any,
        weight: Any,
        bias: Any = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        activation: str | None = None,
        pool: Any = None,
    ) -> Any:
        stride, dilation = many(stride, axes), many(dilation, axes)
        total = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
        if padding == "same":
            around = tuple((t // 2, t - t // 2) for t in total)
        else:
            around = tuple((p, p) for p in many(0 if padding == "valid" else padding, axes))
        call = lambda x: convolution.conv(x, weight, stride, around, dilation, groups)  # noqa: E731
        y = in_batch(x, axes, lambda x: with_bias(call(x), bias))
        y = y if activation is None else {"relu": ramp, "tanh": np.tanh}[activation](y)
        return y if pool is None else max_pool(axes)(y, *(pool if type(pool) is tuple else [pool]))

    return run


def ramp(y: Any) -> Any:
    return np.where(y > 0, y, 0)


def conv_pool(x: Any, w: Any, bias: Any, *rest: Any) -> Any:
    *options, activation, size = rest
    y = with_bias(convolution.conv(x, w, *options), bias)
    y = ramp(y) if activation == "relu" else y
    return pooling.max_pool(y, size, size, (0, 0), (1, 1), False)[0]


def conv_transpose(axes: int) -> Any:
    def run(
        x: Any,
        weight: Any,
        bias: Any = None,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        dilation: Any = 1,
    ) -> Any:
        stride, padding = many(stride, axes), many(padding, axes)
        extra, dilation = many(output_padding, axes), many(dilation, axes)

        def spread(x: Any) -> Any:
            """Every element adds its kernel at its place; then the padding is cut off."""
            room = [
                (n - 1) * s + d * (k - 1) + 1 + e
                for n, s, d, k, e in zip(
                    x.shape[2:], stride, dilation, weight.shape[2:], extra, strict=True
                )
            ]
            each, of_group = weight.shape[1], weight.shape[0] // groups
            out = np.zeros((x.shape[0], each * groups, *room))
            for n, c, *p in np.ndindex(x.shape):
                for o, *k in np.ndindex(weight.shape[1:]):
                    q = [i * s + j * d for i, s, j, d in zip(p, stride, k, dilation, strict=True)]
                    out[n, c // of_group * each + o, *q] += x[n, c, *p] * weight[c, o, *k]
            cut = [slice(p, n - p) for p, n in zip(padding, room, strict=True)]
            return with_bias(out[:, :, *cut], bias)

        return in_batch(x, axes, spread)

    return run


def patches(kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Any:
    around = tuple((p, p) for p in many(padding, 2))
    return many(kernel_size, 2), many(stride, 2), around, many(dilation, 2)


def unfold(x: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    grid = patches(kernel_size, dilation, padding, stride)
    return in_batch(x, 2, lambda x: convolution.unfold(x, *grid))


def fold(
    cols: Any,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Any:
    size, *grid = patches(kernel_size, dilation, padding, stride)

    def back(cols: Any) -> Any:
        shape = (cols.shape[0], cols.shape[1] // math.prod(size), *many(output_size, 2))
        return convolution.fold(cols, shape, size, *grid)

    return back(cols) if cols.ndim == 3 else back(cols[None])[0]


def max_pool(axes: int) -> Any:
    def run(
        x: Any,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Any:
        stride = kernel_size if stride is None else stride
        how = [many(v, axes) for v in (kernel_size, stride, padding, dilation)]
        out = in_batch(x, axes, lambda x: pooling.max_pool(x, *how, ceil_mode))
        return out if return_indices else out[0]

    return run


def avg_pool(axes: int) -> Any:
    def run(
        x: Any,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: Any = False,
        count_include_pad: bool = True,
        divisor_override: Any = None,
    ) -> Any:
        stride = kernel_size if stride is None else stride
        how = [many(v, axes) for v in (kernel_size, stride, padding)]
        rest = (ceil_mode, count_include_pad, divisor_override)
        return in_batch(x, axes, lambda x: pooling.avg_pool(x, *how, *rest))

    return run


def adaptive(choose: Any, axes: int) -> Any:
    """choose(window (…)) -> value; each window is floor(i n / m) to ceil((i + 1) n / m)."""

    def run(x: Any, output_size: Any, return_indices: bool = False) -> Any:
        space = x.shape[-axes:]
        goal = [n if m is None else m for m, n in zip(many(output_size, axes), space, strict=True)]
        lead = x.shape[: x.ndim - axes]
        out, index = np.zeros((*lead, *goal)), np.zeros((*lead, *goal), int)
        places = np.arange(math.prod(space)).reshape(space)
        for at in np.ndindex(out.shape):
            window = tuple(
                slice(i * n // m, -(-(i + 1) * n // m))
                for i, n, m in zip(at[len(lead) :], space, goal, strict=True)
            )
            seen = x[at[: len(lead)]][window]
            out[at] = choose(seen)
            index[at] = places[window].reshape(-1)[int(np.argmax(seen))]
        return (out, index) if return_indices else out

    return run


# ---- normalisation ------------------------------------------------------------------------------


def standardize(x: Any, weight: Any, bias: Any, axes: Any, shape: Any, eps: float) -> Any:
    mean = x.mean(axis=axes, keepdims=True) if x.size else np.zeros(shape)
    var = ((x - mean) ** 2).mean(axis=axes, keepdims=True) if x.size else np.zeros(shape)
    out = (x - mean) / np.sqrt(var + eps)
    out = out if weight is None else out * weight.reshape(shape)
    return (out if bias is None else out + bias.reshape(shape)), mean, var


def channels(x: Any) -> tuple[int, ...]:
    return (1, x.shape[1], *[1] * (x.ndim - 2))


def normalize_channels(x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    axes = tuple(a for a in range(x.ndim) if a != 1)
    out, mean, var = standardize(x, weight, bias, axes, channels(x), eps)
    return out, mean.reshape(-1), var.reshape(-1)


def batch_norm(
    x: Any,
    mean: Any,
    var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    if training:
        return normalize_channels(x, weight, bias, eps)[0]
    shape = channels(x)
    out = (x - mean.reshape(shape)) / np.sqrt(var.reshape(shape) + eps)
    out = out if weight is None else out * weight.reshape(shape)
    return out if bias is None else out + bias.reshape(shape)


def instance_norm(
    x: Any,
    mean: Any = None,
    var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    if not use_input_stats:
        return batch_norm(x, mean, var, weight, bias, eps=eps)
    return standardize(x, weight, bias, tuple(range(2, x.ndim)), channels(x), eps)[0]


def group_norm(x: Any, groups: int, weight: Any = None, bias: Any = None, eps: Any = 1e-5) -> Any:
    rows = x.reshape(x.shape[0], groups, -1)
    out = standardize(rows, None, None, (2,), (1, 1, 1), eps)[0].reshape(x.shape)
    out = out if weight is None else out * weight.reshape(channels(x))
    return out if bias is None else out + bias.reshape(channels(x))


def layer_norm(x: Any, shape: Any, weight: Any = None, bias: Any = None, eps: Any = 1e-5) -> Any:
    axes = tuple(range(x.ndim - len(shape), x.ndim))
    return standardize(x, weight, bias, axes, shape, eps)[0] if x.size else x


def rms_norm(x: Any, shape: Any, weight: Any = None, eps: Any = None) -> Any:
    axes = tuple(range(x.ndim - len(shape), x.ndim))
    eps = np.finfo(x.dtype).eps if eps is None else eps
    out = x / np.sqrt((x * x).mean(axis=axes, keepdims=True) + eps)
    return out if weight is None else out * weight


def normalize(x: Any, p: float = 2.0, dim: Any = 1, eps: float = 1e-12) -> Any:
    return x / np.maximum(power_norm(x, p, dim, True), eps)


# ---- recurrence ---------------------------------------------------------------------------------


def both(b_ih: Any, b_hh: Any) -> Any:
    return b_hh if b_ih is None else b_ih if b_hh is None else b_ih + b_hh


def rnn(
    x: Any,
    h0: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any = None,
    b_hh: Any = None,
    lengths: Any = None,
    reverse: bool = False,
    nonlinearity: str = "tanh",
) -> Any:
    return recurrent.rnn(x, h0, w_ih, w_hh, both(b_ih, b_hh), lengths, reverse, nonlinearity)


def lstm(
    x: Any,
    h0: Any,
    c0: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any = None,
    b_hh: Any = None,
    lengths: Any = None,
    reverse: bool = False,
) -> Any:
    return recurrent.lstm(x, h0, c0, w_ih, w_hh, both(b_ih, b_hh), lengths, reverse)[:3]


def gru(
    x: Any,
    h0: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any = None,
    b_hh: Any = None,
    lengths: Any = None,
    reverse: bool = False,
) -> Any:
    return recurrent.gru(x, h0, w_ih, w_hh, b_ih, b_hh, lengths, reverse)[:2]


def recurrent_layers(
    x: Any, h0: Any, c0: Any, *weights: Any, kind: str = "lstm", lengths: Any = None
) -> Any:
    """One layer after another."""
    lasts = []
    for k in range(len(weights) // 4):
        first = [None if s is None else s[k] for s in (h0, c0)][: 2 if kind == "lstm" else 1]
        step = {"lstm": lstm, "gru": gru}.get(kind, rnn)
        x, *last = step(x, *first, *weights[4 * k : 4 * k + 4], lengths)
        lasts.append(last)
    return x, *[np.stack(each) for each in zip(*lasts, strict=True)]


def cell(layer: Any, **options: Any) -> Any:
    """One step is a sequence of one step."""

    def run(x: Any, states: Any, *weights: Any) -> Any:
        states = states if isinstance(states, tuple) else (states,)
        out = layer(x[None], *states, *weights, **options)[1:]
        return out if len(out) > 1 else out[0]

    return run


DEFINITIONS = {
    "drop": drop,
    "dropout": without_chance,
    "dropout1d": without_chance,
    "dropout2d": without_chance,
    "dropout3d": without_chance,
    "alpha_dropout": lambda x, p=0.5, training=False: without_chance(x, p, training),
    "embedding": lambda index, weight, padding_idx=None: np.take(weight, index, 0),
    "rows_added": rows_added,
    "conv": lambda x, w, bias, *rest: with_bias(convolution.conv(x, w, *rest), bias),
    "conv_relu": lambda x, w, bias, *rest: ramp(with_bias(convolution.conv(x, w, *rest), bias)),
    "conv_pool": conv_pool,
    "conv_input": convolution.conv_input,
    "conv_weight": convolution.conv_weight,
    "conv1d": conv(1),
    "conv2d": conv(2),
    "conv3d": conv(3),
    "conv_transpose1d": conv_transpose(1),
    "conv_transpose2d": conv_transpose(2),
    "conv_transpose3d": conv_transpose(3),
    "unfold": unfold,
    "fold": fold,
    "max_pool": lambda x, *how: pooling.max_pool(x, *how[:-1])[: 2 if how[-1] else 1],
    "max_pool_input": pooling.max_pool_input,
    "max_pool_take": lambda x, index: np.take_along_axis(
        x.reshape(*x.shape[:2], -1), index.reshape(*x.shape[:2], -1), 2
    ).reshape(index.shape),
    "max_pool1d": max_pool(1),
    "max_pool2d": max_pool(2),
    "max_pool3d": max_pool(3),
    "avg_pool": pooling.avg_pool,
    "avg_pool_input": pooling.avg_pool_input,
    "avg_pool1d": avg_pool(1),
    "avg_pool2d": avg_pool(2),
    "avg_pool3d": avg_pool(3),
    "adaptive_avg_pool1d": adaptive(np.mean, 1),
    "adaptive_avg_pool2d": adaptive(np.mean, 2),
    "adaptive_max_pool": adaptive(np.max, 2),
    "adaptive_max_pool1d": adaptive(np.max, 1),
    "adaptive_max_pool2d": adaptive(np.max, 2),
    "standardize": standardize,
    "normalize_channels": normalize_channels,
    "batch_norm": batch_norm,
    "instance_norm": instance_norm,
    "group_norm": group_norm,
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "normalize": normalize,
    "rnn": rnn,
    "lstm": lstm,
    "gru": gru,
    "recurrent_layers": recurrent_layers,
    "rnn_tanh_cell": cell(rnn),
    "rnn_relu_cell": cell(rnn, nonlinearity="relu"),
    "lstm_cell": cell(lstm),
    "gru_cell": cell(gru),
}
