"""Convolution, its transpose, and the patches it is made of.

What users call: it checks its arguments and runs operations of `convolving`.

The arithmetic of sizes: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning",
2016, arXiv:1603.07285. What is called convolution here does not flip the kernel, as in PyTorch.
"""

import math
from typing import Any

import minidl_kernels as kernels
from minidl.errors import ShapeError
from minidl.ops import _checks
from minidl.ops._activations import named
from minidl.ops.activation import relu
from minidl.ops.convolving import conv, conv_input, conv_pool, conv_relu
from minidl.ops.pooling import max_pool
from minidl.ops.shape import reshape
from minidl.ops.spatial import over_batch, pairs, windows
from minidl.tape import Kink, composite, op

__all__ = [
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "fold",
    "unfold",
]


def _kinks(axes: int) -> list[Kink]:
    """Two pixels, in an image with so many axes, under a filter of one tap: for relu and pool."""

    def image(*numbers: float) -> Any:
        x: Any = list(numbers)
        for _ in range(axes - 1):
            x = [x]
        return [[x]]

    size = (1,) * (axes - 1) + (2,)
    at: dict[str, Any] = {"weight": image(1), "bias": [0]}
    return [
        Kink(
            "the convolution is 0, with activation='relu'",
            "0",
            at={"input": image(0, 1), **at, "activation": "relu"},
            gradient={"input": image(0, 1), "weight": image(1), "bias": [1]},
        ),
        Kink(
            "ties in a window, with pool",
            "the first has it",
            at={"input": image(7, 7), **at, "pool": (size, size)},
            gradient={"input": image(1, 0), "weight": image(7), "bias": [1]},
        ),
    ]


@composite(
    formula="sum over c, k of input[c, stride i + dilation k - padding] weight[o, c, k]",
    kink=_kinks(1),
)
def conv1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    activation: Any = None,
    pool: Any = None,
) -> Any:
    """The convolution of a sequence: `conv2d` with one spatial axis.

    input : (N, C, L) or (C, L), weight : (O, C / groups, K), bias : (O,) -> (N, O, L') or (O, L')
    """
    return _conv(
        "conv1d", 1, input, weight, bias, stride, padding, dilation, groups, activation, pool
    )


@composite(
    formula="sum over c, k of input[c, stride i + dilation k - padding] weight[o, c, k]",
    kink=_kinks(2),
)
def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    activation: Any = None,
    pool: Any = None,
) -> Any:
    """The convolution of an image with kernels (not flipped), plus a bias for each channel.

    input : (N, C, H, W), or (C, H, W) for one image, float
    weight : (O, C / groups, KH, KW), bias : (O,) or None, both of the input's dtype
    stride, dilation : an int, or one for each axis
    padding : zeros on both sides; an int, one for each axis, "valid" (none) or "same" (the output
        is as large as the input; stride 1 only; of an odd number of zeros the extra one is last)
    groups : channels in and out are cut into so many groups, each convolved by itself
    activation : a function of the result, or its name; "relu" is part of the convolution's kernel
    pool : then the largest of each window, `max_pool2d` without padding: the size of the window, or
        (size, stride), each an int or one for each axis. Where windows lie side by side, behind
        relu or no activation, it is part of the operation: nothing larger than its result is kept
        for the backward pass.

    Returns (N, O, H', W') with H' = floor((H + 2 padding - dilation (KH - 1) - 1) / stride) + 1,
    or as many windows of the pool as fit that. Raises ShapeError where the shapes do not fit,
    DtypeError where the dtypes do not, ValueError for an activation that has no such name.

    The same as max_pool2d(relu(conv2d(…)), …), of which `minidl.fusion(False)` makes the plain
    graph.
    """
    return _conv(
        "conv2d", 2, input, weight, bias, stride, padding, dilation, groups, activation, pool
    )


@composite(
    formula="sum over c, k of input[c, stride i + dilation k - padding] weight[o, c, k]",
    kink=_kinks(3),
)
def conv3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    activation: Any = None,
    pool: Any = None,
) -> Any:
    """The convolution of a volume: `conv2d` with three spatial axes.

    input : (N, C, D, H, W) or (C, D, H, W), weight : (O, C / groups, KD, KH, KW), bias : (O,)
    """
    return _conv(
        "conv3d", 3, input, weight, bias, stride, padding, dilation, groups, activation, pool
    )


@composite(formula="the adjoint of conv1d in its input, applied to input, plus bias")
def conv_transpose1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """The transposed convolution of a sequence: `conv_transpose2d` with one spatial axis.

    input : (N, C, L) or (C, L), weight : (C, O / groups, K), bias : (O,) -> (N, O, L') or (O, L')
    """
    return _conv_transpose(
        "conv_transpose1d",
        1,
        input,
        weight,
        bias,
        stride,
        padding,
        output_padding,
        groups,
        dilation,
    )


@composite(formula="the adjoint of conv2d in its input, applied to input, plus bias")
def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """The transposed convolution of an image: each number spreads a kernel over the output.

    input : (N, C, H, W), or (C, H, W) for one image, float
    weight : (C, O / groups, KH, KW), bias : (O,) or None, both of the input's dtype
    stride, padding, dilation, groups : those of the convolution whose gradient this is
    output_padding : rows added at the end, fewer than stride or dilation: of the sizes that a
        strided convolution takes to the same size, the one that is meant

    Returns (N, O, H', W') with
    H' = (H - 1) stride - 2 padding + dilation (KH - 1) + output_padding + 1.
    Raises ShapeError where the shapes do not fit, DtypeError where the dtypes do not.
    """
    return _conv_transpose(
        "conv_transpose2d",
        2,
        input,
        weight,
        bias,
        stride,
        padding,
        output_padding,
        groups,
        dilation,
    )


@composite(formula="the adjoint of conv3d in its input, applied to input, plus bias")
def conv_transpose3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """The transposed convolution of a volume: `conv_transpose2d` with three spatial axes.

    input : (N, C, D, H, W) or (C, D, H, W), weight : (C, O / groups, KD, KH, KW), bias : (O,)
    """
    return _conv_transpose(
        "conv_transpose3d",
        3,
        input,
        weight,
        bias,
        stride,
        padding,
        output_padding,
        groups,
        dilation,
    )


def _conv(
    op: str,
    count: int,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    activation: Any,
    pool: Any,
) -> Any:
    _check_arrays(op, count, input, weight, bias, groups)
    stride = _checks.sizes(op, "stride", stride, count, 1)
    dilation = _checks.sizes(op, "dilation", dilation, count, 1)
    size = weight.shape[2:]
    around = _padding(op, padding, size, stride, dilation)
    channels, outputs = input.shape[-1 - count], weight.shape[0]
    if channels != weight.shape[1] * groups:
        raise ShapeError(
            f"{op}: input has {channels} channels {input.shape} but weight expects "
            f"{weight.shape[1] * groups} {weight.shape}{_in_groups(groups)}"
        )
    if outputs % groups:
        raise ShapeError(
            f"{op}: weight {weight.shape} has {outputs} output channels, "
            f"which {groups} groups do not divide"
        )
    _check_bias(op, bias, outputs)
    space = windows(op, input.shape[-count:], size, stride, around, dilation)
    function = named(op, activation)
    args = (weight, bias, stride, around, dilation, groups)
    if pool is None and function is relu:
        return over_batch(op, count, input, lambda x: conv_relu(x, *args))
    if pool is None:
        out = over_batch(op, count, input, lambda x: conv(x, *args))
        return out if function is None else function(out)
    size, step = _pool(op, pool, space)
    if count == 2 and function in (None, relu) and size == step and math.prod(size) < 255:
        name = None if function is None else "relu"
        return over_batch(op, count, input, lambda x: conv_pool(x, *args, name, size))
    out = _conv(op, count, input, weight, bias, stride, padding, dilation, groups, function, None)
    none, ones = (0,) * count, (1,) * count
    return over_batch(op, count, out, lambda y: max_pool(y, size, step, none, ones, False, False))


def _pool(op: str, pool: Any, space: Any) -> tuple[Any, Any]:
    """Size and step of the windows of a pool over an output, one int for each axis."""
    count, parts = len(space), pool if isinstance(pool, (tuple, list)) else (pool, pool)
    if len(parts) != 2:
        raise ValueError(f"{op}: pool is {pool!r}, expected a size or (size, stride)")
    size, step = [_checks.sizes(op, "pool", part, count, 1) for part in parts]
    windows(f"max_pool{count}d", space, size, step, pairs([0] * count), (1,) * count)
    return size, step


def _conv_transpose(
    op: str,
    count: int,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> Any:
    _check_arrays(op, count, input, weight, bias, groups)
    stride = _checks.sizes(op, "stride", stride, count, 1)
    padding = _checks.sizes(op, "padding", padding, count)
    extra = _checks.sizes(op, "output_padding", output_padding, count)
    dilation = _checks.sizes(op, "dilation", dilation, count, 1)
    channels, outputs = input.shape[-1 - count], weight.shape[1] * groups
    if channels != weight.shape[0]:
        raise ShapeError(
            f"{op}: input has {channels} channels {input.shape} but weight expects "
            f"{weight.shape[0]} {weight.shape}"
        )
    if channels % groups:
        raise ShapeError(
            f"{op}: input {input.shape} has {channels} channels, "
            f"which {groups} groups do not divide"
        )
    _check_bias(op, bias, outputs)
    space, around = _enlarged(op, input, weight, stride, padding, extra, dilation)

    def transposed(x: Any) -> Any:
        shape = (x.shape[0], outputs, *space)
        out = conv_input(x, weight, shape, stride, around, dilation, groups)
        return out if bias is None else out + reshape(bias, (-1, *[1] * count))

    return over_batch(op, count, input, transposed)


def _enlarged(
    op: str, input: Any, weight: Any, stride: Any, padding: Any, extra: Any, dilation: Any
) -> tuple[Any, Any]:
    """The sizes that a transposed convolution gives, and the padding of the convolution it undoes.

    extra : the option `output_padding`
    """
    each = list(zip(stride, padding, extra, dilation, strict=True))
    if any(e >= max(s, d) for s, _, e, d in each):
        raise ValueError(
            f"{op}: output_padding is {extra}, expected less than stride {stride} "
            f"or dilation {dilation}"
        )
    if any(e - p >= s for s, p, e, _ in each):  # rows that no window of the convolution reaches
        raise NotImplementedError(
            f"{op}: output_padding {extra} that exceeds padding {padding} by a stride {stride} "
            "is not offered; pad the result instead"
        )
    space = tuple(
        [
            (n - 1) * s - 2 * p + d * (k - 1) + e + 1
            for n, k, (s, p, e, d) in zip(
                input.shape[2 - weight.ndim :], weight.shape[2:], each, strict=True
            )
        ]
    )
    if min(space) < 1:
        raise ShapeError(
            f"{op}: the output would have size {space}: input {input.shape}, weight "
            f"{weight.shape}, stride {stride}, padding {padding}"
        )
    return space, tuple([(p, max(p - e, 0)) for _, p, e, _ in each])


def _check_arrays(op: str, count: int, input: Any, weight: Any, bias: Any, groups: int) -> None:
    _checks.rank(op, "input", input, count + 1, count + 2)
    _checks.rank(op, "weight", weight, count + 2)
    _checks.floating(op, "input", input)
    _checks.same_dtype(op, input=input, weight=weight, bias=bias)
    if _checks.integer(op, "groups", groups) < 1:
        raise ValueError(f"{op}: groups is {groups!r}, expected a positive int")
    if 0 in weight.shape:
        raise ShapeError(f"{op}: weight has shape {tuple(weight.shape)}: an axis is empty")


def _check_bias(op: str, bias: Any, outputs: int) -> None:
    if bias is not None and bias.shape != (outputs,):
        raise ShapeError(f"{op}: bias has shape {bias.shape}, expected ({outputs},)")


def _in_groups(groups: int) -> str:
    return f" in {groups} groups" if groups > 1 else ""


def _padding(op: str, padding: Any, size: Any, stride: Any, dilation: Any) -> Any:
    """Zeros before and after, for each axis."""
    if not isinstance(padding, str):
        return pairs(_checks.sizes(op, "padding", padding, len(size)))
    _checks.choice(op, "padding", padding, "same", "valid")
    if padding == "valid":
        return pairs([0] * len(size))
    if any(s > 1 for s in stride):
        raise ValueError(f"{op}: padding 'same' needs stride 1, got {stride}; give numbers")
    total = [d * (k - 1) for k, d in zip(size, dilation, strict=True)]
    return tuple([(t // 2, t - t // 2) for t in total])


# ---- patches ------------------------------------------------------------------------------------


def _patches(op: str, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Any:
    """The numbers of a grid of windows: size, stride, padding in pairs, dilation."""
    return (
        _checks.sizes(op, "kernel_size", kernel_size, 2, 1),
        _checks.sizes(op, "stride", stride, 2, 1),
        pairs(_checks.sizes(op, "padding", padding, 2)),
        _checks.sizes(op, "dilation", dilation, 2, 1),
    )


@op(
    input=lambda g, input_shape, kernel_size, dilation, padding, stride: fold(
        g, input_shape[-2:], kernel_size, dilation, padding, stride
    ),
    linear_in=("input",),
    formula="out[n, (c, k), i] = input[n, c, stride i + dilation k - padding]",
)
def unfold(
    input: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Any:
    """The windows of a convolution, one column each: conv2d is a matrix product with them.

    input : (N, C, H, W) or (C, H, W)
    kernel_size, dilation, padding, stride : an int, or one for each axis

    Returns (N, C KH KW, L), with L the number of windows, or (C KH KW, L). `fold` is its adjoint.
    Raises ShapeError if no window fits.
    """
    _checks.rank("unfold", "input", input, 3, 4)
    size, stride, padding, dilation = _patches("unfold", kernel_size, dilation, padding, stride)
    windows("unfold", input.shape[-2:], size, stride, padding, dilation)
    x = input if input.ndim == 4 else input[None]
    columns = kernels.unfold(x, size, stride, padding, dilation)
    return columns if input.ndim == 4 else columns[0]


@op(
    input=lambda g, kernel_size, dilation, padding, stride: unfold(
        g, kernel_size, dilation, padding, stride
    ),
    linear_in=("input",),
    formula="out[n, c, y] = sum of input[n, (c, k), i] where stride i + dilation k - padding = y",
)
def fold(
    input: Any,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Any:
    """Columns put back to where `unfold` takes them from, and summed where windows overlap.

    input : (N, C KH KW, L) or (C KH KW, L), output_size : (H, W) -> (N, C, H, W) or (C, H, W)
    Raises ShapeError if the columns are not those of such windows.
    """
    _checks.rank("fold", "input", input, 2, 3)
    space = _checks.sizes("fold", "output_size", output_size, 2, 1)
    size, stride, padding, dilation = _patches("fold", kernel_size, dilation, padding, stride)
    rows, columns = windows("fold", space, size, stride, padding, dilation)
    if input.shape[-2] % (size[0] * size[1]):
        raise ShapeError(
            f"fold: input {input.shape} has {input.shape[-2]} rows, "
            f"expected a multiple of kernel_size {size[0]} x {size[1]}"
        )
    if input.shape[-1] != rows * columns:
        raise ShapeError(
            f"fold: input {input.shape} has {input.shape[-1]} columns, expected {rows * columns}: "
            f"{rows} x {columns} windows fit output_size {space}"
        )
    x = input if input.ndim == 3 else input[None]
    shape = (x.shape[0], x.shape[1] // (size[0] * size[1]), *space)
    out = kernels.fold(x, shape, size, stride, padding, dilation)
    return out if input.ndim == 3 else out[0]
