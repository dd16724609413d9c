"""Cases of minidl/ops/pooling.py."""

from typing import Any

from cases import A, Case, D, I


def _max_pool(torch: Any, x: Any, *rest: Any) -> Any:
    return torch.nn.functional.max_pool2d(x, *rest[:5], return_indices=rest[5])


def _put(torch: Any, g: Any, index: Any, shape: Any) -> Any:
    flat = g.new_zeros((shape[0], shape[1], shape[2] * shape[3]))
    return flat.scatter_add(2, index.flatten(2), g.flatten(2)).reshape(shape)


def _take(torch: Any, x: Any, index: Any) -> Any:
    return x.flatten(2).gather(2, index.flatten(2)).reshape(index.shape)


def _avg_pool(torch: Any, x: Any, *rest: Any) -> Any:
    return torch.nn.functional.avg_pool2d(x, *rest)


def _shared_out(torch: Any, g: Any, shape: Any, *rest: Any) -> Any:
    return torch.func.vjp(lambda x: _avg_pool(torch, x, *rest), g.new_zeros(shape))[1](g)[0]


def _adaptive(torch: Any, x: Any, size: Any, return_indices: bool) -> Any:
    return torch.nn.functional.adaptive_max_pool2d(x, size, return_indices)


CASES = {
    "max_pool": [
        Case(D(1, 2, 4, 3), (2, 2), (2, 1), (0, 1), (1, 1), False, False, torch=_max_pool),
        Case(D(1, 2, 3, 3), (2, 2), (2, 2), (0, 0), (1, 1), True, True, torch=_max_pool),
    ],
    "max_pool_input": [Case(A(2, 2, 2, 3), I(6, 2, 2, 2, 3), (2, 2, 3, 2), torch=_put)],
    "max_pool_take": [Case(A(2, 2, 3, 2), I(6, 2, 2, 2, 3), torch=_take)],
    "max_pool1d": [
        Case(D(2, 2, 5), 2),
        Case(D(2, 6), 3, 2, 1, 2),
        Case(D(1, 2, 5), 2, ceil_mode=True, return_indices=True),
    ],
    "max_pool2d": [
        Case(D(2, 2, 4, 4), 2),
        Case(D(1, 2, 5, 4), (3, 2), (2, 1), (1, 0)),
        Case(D(2, 5, 5), 2, 2, 1, 2, True, True),
        Case(D(1, 1, 4, 5), 3, stride=1, return_indices=True),
        Case(D(1, 1, 2, 2), 3, 2, ceil_mode=True),
        Case(D(0, 2, 4, 4), 2),
    ],
    "max_pool3d": [
        Case(D(1, 2, 2, 4, 3), 2, 1),
        Case(D(1, 3, 4, 4), (2, 2, 3), 2, (1, 0, 1), 1, True, True),
    ],
    "avg_pool": [
        Case(A(1, 2, 4, 3), (2, 2), (2, 1), (1, 0), False, False, None, torch=_avg_pool),
    ],
    "avg_pool_input": [
        Case(A(1, 2, 3, 2), (1, 2, 4, 3), (2, 2), (2, 1), (1, 0), False, True, 3, torch=_shared_out)
    ],
    "avg_pool1d": [
        Case(A(2, 2, 5), 2),
        Case(A(2, 5), 3, 2, 1, count_include_pad=False),
        Case(A(1, 1, 6), 3, 2, 1, True),
    ],
    "avg_pool2d": [
        Case(A(2, 2, 4, 4), 2),
        Case(A(1, 2, 5, 4), (3, 2), (2, 1), (1, 0)),
        Case(A(2, 5, 4), 3, 2, 1, True, False),
        Case(A(1, 1, 4, 4), 3, 2, 1, ceil_mode=True),
        Case(A(1, 1, 4, 3), 2, divisor_override=3),
        Case(A(1, 1, 5, 5), 2, 2, 0, True, True, 7),
    ],
    "avg_pool3d": [
        Case(A(1, 2, 2, 4, 3), 2, 1),
        Case(A(1, 3, 4, 4), (2, 2, 3), 2, (1, 0, 1), True, False),
    ],
    "adaptive_avg_pool1d": [Case(A(2, 2, 6), 3), Case(A(2, 5), 3), Case(A(1, 1, 2), (4,))],
    "adaptive_avg_pool2d": [
        Case(A(2, 2, 4, 6), (2, 3)),
        Case(A(1, 2, 5, 3), 2),
        Case(A(2, 3, 4), (None, 3)),
        Case(A(1, 2, 3, 3), 1),
    ],
    "adaptive_max_pool": [
        Case(D(1, 2, 4, 4), (2, 2), False, torch=_adaptive),
        Case(D(1, 2, 5, 3), (2, 2), True, torch=_adaptive),
    ],
    "adaptive_max_pool1d": [
        Case(D(2, 2, 6), 3),
        Case(D(2, 5), 3, True),
        Case(D(1, 1, 2), 4),
    ],
    "adaptive_max_pool2d": [
        Case(D(2, 2, 4, 6), (2, 3)),
        Case(D(1, 2, 5, 3), 2),
        Case(D(2, 3, 4), (None, 3), return_indices=True),
        Case(D(1, 2, 3, 3), 1),
        Case(D(0, 2, 3, 3), 2),
    ],
}
