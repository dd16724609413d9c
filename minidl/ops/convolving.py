"""The operations that convolutions are made of.

Three, each linear in both arguments, are one another's derivatives at any order: `conv`,
`conv_input` (its adjoint in x) and `conv_weight` (its adjoint in w). Two are fused, the layers of a
network in one: `conv_relu` and `conv_pool`, with max pooling behind. What is between the layers is
not written to memory where a kernel can do without: it ends in relu and the pool, and back, makes
all gradients from that of the pool's result.
"""

from typing import Any

import minidl_kernels as kernels
from minidl.ops.activation import relu
from minidl.ops.pooling import max_pool
from minidl.ops.reduction import sum
from minidl.tape import Kept, Kink, op

__all__: list[str] = []  # users call `conv2d` and its kin

# ---- the three operations -----------------------------------------------------------------------


@op(
    x=lambda g, w, x_shape, stride, padding, dilation, groups: conv_input(
        g, w, x_shape, stride, padding, dilation, groups
    ),
    w=lambda g, x, w_shape, stride, padding, dilation, groups: conv_weight(
        g, x, w_shape, stride, padding, dilation, groups
    ),
    bias=lambda g: sum(g, (0, *range(2, len(g.shape)))),
    formula="out[n, o, i] = sum over c, k of x[n, c, stride i + dilation k - padding] w[o, c, k]"
    " + bias[o]",
)
def conv(x: Any, w: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """The convolution of x with w, for one to three spatial axes; unchecked.

    x : (N, C, *S), w : (O, C / groups, *K), bias : (O,) or None -> (N, O, *windows)
    stride, dilation : one int for each spatial axis; padding : one pair (before, after)
    """
    return kernels.conv(x, w, stride, padding, dilation, groups, bias)


@op(
    g=lambda h, w, stride, padding, dilation, groups: conv(
        h, w, None, stride, padding, dilation, groups
    ),
    w=lambda h, g, w_shape, stride, padding, dilation, groups: conv_weight(
        g, h, w_shape, stride, padding, dilation, groups
    ),
    linear_in=("g", "w"),
    formula="gradient of conv(x, w) in x along g; its own is conv",
)
def conv_input(
    g: Any, w: Any, shape: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> Any:
    """The adjoint of `conv` in x, the transposed convolution; unchecked.

    g : (N, O, *windows), w : (O, C / groups, *K), shape : that of x -> (N, C, *S)
    """
    return kernels.conv_input(g, w, shape, stride, padding, dilation, groups)


@op(
    g=lambda h, x, stride, padding, dilation, groups: conv(
        x, h, None, stride, padding, dilation, groups
    ),
    x=lambda h, g, x_shape, stride, padding, dilation, groups: conv_input(
        g, h, x_shape, stride, padding, dilation, groups
    ),
    linear_in=("g", "x"),
    formula="gradient of conv(x, w) in w along g; its own is conv",
)
def conv_weight(
    g: Any, x: Any, shape: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> Any:
    """The adjoint of `conv` in w; unchecked.

    g : (N, O, *windows), x : (N, C, *S), shape : that of w -> (O, C / groups, *K)
    """
    return kernels.conv_weight(g, x, shape, stride, padding, dilation, groups)


# ---- the fused operations -----------------------------------------------------------------------

# Two pixels under a filter of one tap: where a window has a tie, and relu its kink.
_ONE_TAP = {
    "w": [[[[1]]]], "bias": [0],
    "stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1,
}  # fmt: skip


def _asked(wanted: Any, of_x: Any, of_w: Any, of_bias: Any) -> tuple[Any, ...]:
    """Those of the three gradients that are wanted, in that order."""
    found = {"x": of_x, "w": of_w, "bias": of_bias}
    return tuple([found[name] for name in wanted])


def _conv_relu_gradient(
    g: Any, wanted: Any, x: Any, w: Any, out: Any, stride: Any, padding: Any, dilation: Any,
    groups: int,
) -> tuple[Any, ...]:  # fmt: skip
    names = [name in wanted for name in ("x", "w", "bias")]
    found = kernels.conv_relu_gradient(g, out, x, w, stride, padding, dilation, groups, *names)
    return _asked(wanted, *found)


@op(
    joint=_conv_relu_gradient,
    wrt=("x", "w", "bias"),
    definition=lambda x, w, bias, stride, padding, dilation, groups: relu(
        conv(x, w, bias, stride, padding, dilation, groups)
    ),
    formula="max(conv(x, w) + bias, 0)",
    kink=Kink(
        "conv(x, w) + bias = 0",
        "0",
        at={"x": [[[[0, 1]]]], **_ONE_TAP},
        gradient={"x": [[[[0, 1]]]], "w": [[[[1]]]], "bias": [1]},
    ),
)
def conv_relu(
    x: Any, w: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> Any:  # fmt: skip
    """`conv`, then `relu`, in one; unchecked. The arguments are those of `conv`.

    It keeps its output for the mask, as relu does; the layer that follows keeps it too.
    """
    return kernels.conv(x, w, stride, padding, dilation, groups, bias, "relu")


def _conv_pool_gradient(
    g: Any, wanted: Any, x: Any, w: Any, place: Any, stride: Any, padding: Any, dilation: Any,
    groups: int, size: Any,
) -> tuple[Any, ...]:  # fmt: skip
    options = stride, padding, dilation, groups, size
    names = [name in wanted for name in ("x", "w", "bias")]
    return _asked(wanted, *kernels.conv_pool_gradient(g, place, x, w, *options, *names))


def _conv_pool_definition(
    x: Any, w: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int,
    activation: str | None, size: Any,
) -> Any:  # fmt: skip
    y = conv(x, w, bias, stride, padding, dilation, groups)
    y = relu(y) if activation == "relu" else y
    return max_pool(y, size, size, (0, 0), (1, 1), False, False)


@op(
    joint=_conv_pool_gradient,
    wrt=("x", "w", "bias"),
    definition=_conv_pool_definition,
    formula="max of activation(conv(x, w) + bias) over each window",
    kink=[
        Kink(
            "ties in a window",
            "the first has it",
            at={"x": [[[[7, 7]]]], **_ONE_TAP, "activation": None, "size": (1, 2)},
            gradient={"x": [[[[1, 0]]]], "w": [[[[7]]]], "bias": [1]},
        ),
        Kink(
            "conv(x, w) + bias = 0, with relu",
            "0",
            at={"x": [[[[0, -1]]]], **_ONE_TAP, "activation": "relu", "size": (1, 2)},
            gradient={"x": [[[[0, 0]]]], "w": [[[[0]]]], "bias": [0]},
        ),
    ],
)
def conv_pool(
    x: Any, w: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int,
    activation: str | None, size: Any,
) -> Any:  # fmt: skip
    """`conv` of images, then `relu` or nothing, then `max_pool`, in one; unchecked.

    activation : "relu" or None; size : of the windows, which lie side by side, two ints; they hold
        fewer than 255 elements. The other arguments are those of `conv`, with two spatial axes.

    It keeps one byte for each window, which of its elements won, and no output of the convolution.
    """
    options = stride, padding, dilation, groups
    out, place = kernels.conv_pool(x, w, *options, bias, activation, size)
    return out, Kept(place=place)
