"""Cases of minidl/ops/convolution.py."""

from typing import Any

from cases import A, Case


def _conv(torch: Any, x: Any, w: Any, bias: Any, *rest: Any) -> Any:
    stride, padding, dilation, groups = rest
    before = tuple(p for pair in reversed(padding) for p in pair)
    function = (torch.conv1d, torch.conv2d, torch.conv3d)[len(stride) - 1]
    padded = torch.nn.functional.pad(x, before)
    return function(padded, w, bias, stride, 0, dilation, groups)


def _in_x(torch: Any, g: Any, w: Any, shape: Any, *rest: Any) -> Any:
    return torch.func.vjp(lambda x: _conv(torch, x, w, None, *rest), g.new_zeros(shape))[1](g)[0]


def _in_w(torch: Any, g: Any, x: Any, shape: Any, *rest: Any) -> Any:
    return torch.func.vjp(lambda w: _conv(torch, x, w, None, *rest), g.new_zeros(shape))[1](g)[0]


def _same(torch: Any, x: Any, w: Any, padding: str) -> Any:
    """Even kernels: the extra zero comes last (PyTorch warns once of its copy, so it is told)."""
    left = [(k - 1) // 2 for k in w.shape[2:]]
    around = [n for k, b in zip(w.shape[:1:-1], left[::-1], strict=True) for n in (b, k - 1 - b)]
    return torch.conv2d(torch.nn.functional.pad(x, around), w)


def _relu(torch: Any, *args: Any) -> Any:
    return torch.relu(_conv(torch, *args))


def _pool(torch: Any, x: Any, w: Any, bias: Any, *rest: Any) -> Any:
    *options, activation, size = rest
    y = _conv(torch, x, w, bias, *options)
    return torch.nn.functional.max_pool2d(torch.relu(y) if activation else y, size)


def _layer(torch: Any, x: Any, w: Any, bias: Any, activation: Any, pool: Any) -> Any:
    y = getattr(torch, activation)(torch.conv2d(x, w, bias))
    return torch.nn.functional.max_pool2d(y, *(pool if isinstance(pool, tuple) else (pool,)))


CASES = {
    "conv": [
        Case(A(2, 2, 5), A(3, 2, 3), A(3), (2,), ((1, 0),), (1,), 1, torch=_conv),
        Case(A(1, 2, 4, 3), A(2, 1, 2, 2), None, (1, 1), ((0, 1), (1, 0)), (1, 2), 2, torch=_conv),
    ],
    "conv_relu": [
        Case(A(2, 2, 5), A(3, 2, 3), A(3), (2,), ((1, 0),), (1,), 1, torch=_relu),
        Case(A(1, 2, 4, 3), A(2, 1, 2, 2), None, (1, 1), ((0, 1), (1, 0)), (1, 2), 2, torch=_relu),
    ],
    "conv_pool": [
        Case(
            A(2, 2, 6, 4),
            A(3, 2, 2, 2),
            A(3),
            (1, 1),
            ((0, 0), (1, 0)),
            (1, 1),
            1,
            "relu",
            (2, 2),
            torch=_pool,
        ),
        Case(
            A(1, 2, 6, 7),
            A(2, 1, 2, 2),
            None,
            (1, 2),
            ((0, 1), (1, 0)),
            (1, 2),
            2,
            None,
            (3, 1),
            torch=_pool,
        ),
    ],
    "conv_input": [
        Case(A(2, 3, 3), A(3, 2, 3), (2, 2, 6), (2,), ((1, 0),), (1,), 1, torch=_in_x),
        Case(
            A(1, 2, 3, 2),
            A(2, 1, 2, 2),
            (1, 2, 3, 3),
            (1, 1),
            ((0, 1), (0, 0)),
            (1, 1),
            2,
            torch=_in_x,
        ),
    ],
    "conv_weight": [
        Case(A(2, 3, 3), A(2, 2, 6), (3, 2, 3), (2,), ((1, 0),), (1,), 1, torch=_in_w),
        Case(
            A(1, 2, 3, 2),
            A(1, 2, 3, 3),
            (2, 1, 2, 2),
            (1, 1),
            ((0, 1), (0, 0)),
            (1, 1),
            2,
            torch=_in_w,
        ),
    ],
    "conv1d": [
        Case(A(2, 2, 6), A(3, 2, 3), A(3)),
        Case(A(2, 6), A(3, 2, 2), None, 2, 1, 2),
        Case(A(1, 2, 5), A(4, 1, 3), bias=A(4), padding="same", groups=2),
        Case(A(1, 1, 5), A(1, 1, 2), padding="valid", dilation=(3,)),
        Case(A(3, 2, 4), A(2, 2, 2), stride=2),
    ],
    "conv2d": [
        Case(A(2, 2, 4, 3), A(3, 2, 3, 2), A(3)),
        Case(A(1, 2, 5, 6), A(2, 2, 3, 3), A(2), stride=2, padding=1),
        Case(A(1, 2, 4, 5), A(2, 2, 2, 3), None, (2, 1), (0, 2), (1, 2)),
        Case(A(1, 4, 3, 3), A(2, 2, 2, 2), A(2), groups=2),
        Case(A(1, 10, 3, 3), A(4, 5, 2, 2), groups=2, padding=(1, 0)),
        Case(A(2, 5, 2, 3), A(1, 5, 2, 2)),
        Case(A(1, 3, 3, 4), A(6, 1, 3, 3), padding="same", groups=3),  # depthwise
        Case(A(2, 3, 3), A(2, 2, 1, 1)),
        Case(A(3, 2, 3, 2), A(3, 2, 1, 1)),
        Case(A(1, 2, 2, 3), A(2, 2, 1, 1), padding=1),
        Case(A(1, 4, 2, 3), A(2, 2, 1, 2), groups=2),  # as many rows as groups
        Case(A(1, 1, 4, 4), A(1, 1, 2, 4), padding="same", torch=_same),
        Case(A(2, 4, 4), A(1, 2, 3, 3), dilation=2, padding=2),  # one image
        Case(A(0, 2, 3, 3), A(1, 2, 2, 2), A(1)),
        Case(A(1, 1, 6, 5), A(1, 1, 1, 2), stride=3),
        Case(A(1, 2, 7, 6), A(3, 2, 2, 3), A(3), activation="relu", pool=2, torch=_layer),
        Case(A(1, 2, 6, 6), A(2, 2, 3, 3), A(2), activation="tanh", pool=(2, 1), torch=_layer),
    ],
    "conv3d": [
        Case(A(1, 2, 3, 2, 3), A(2, 2, 2, 2, 2), A(2)),
        Case(A(2, 3, 2, 4), A(2, 1, 2, 2, 2), None, (1, 1, 2), (0, 1, 0), (2, 1, 1), 2),
    ],
    "conv_transpose1d": [
        Case(A(2, 2, 3), A(2, 3, 3), A(3)),
        Case(A(2, 3), A(2, 1, 3), A(2), 2, 1, 1, 2),
        Case(A(1, 1, 3), A(1, 1, 2), stride=1, padding=1, output_padding=1, dilation=2),
    ],
    "conv_transpose2d": [
        Case(A(1, 2, 3, 2), A(2, 3, 2, 3), A(3)),
        Case(A(1, 2, 2, 3), A(2, 1, 3, 3), None, 2, 1, 1),
        Case(A(2, 2, 2), A(2, 2, 2, 2), A(4), (2, 3), 0, (0, 1), 2, (1, 2)),
        Case(A(1, 1, 2, 2), A(1, 1, 2, 2), stride=3, output_padding=2),
    ],
    "conv_transpose3d": [Case(A(1, 2, 2, 1, 2), A(2, 1, 2, 2, 2), A(1), 2, 1, 1)],
    "unfold": [
        Case(A(2, 2, 3, 4), 2),
        Case(A(1, 1, 5, 4), (3, 2), 1, 1, 2),
        Case(A(2, 4, 5), (2, 1), dilation=(2, 1), padding=(1, 0), stride=(1, 3)),
    ],
    "fold": [
        Case(A(2, 8, 6), (3, 4), 2),
        Case(A(1, 6, 9), (5, 4), (3, 2), 1, 1, 2),
        Case(A(4, 8), (4, 4), (2, 1), (2, 1), (1, 0), (1, 3)),
    ],
}
