"""Cases of minidl/ops/reduction.py."""

import math
from typing import Any

from cases import A, B, Case, D, G, I

NANS = G([[math.nan, 1.0, 3.0], [2.0, -1.0, 0.5]])


def infinite(torch: Any, x: Any, dim: int, correction: int) -> Any:
    return x.abs().sum(dim) * math.inf


CASES = {
    "sum": [
        Case(A(2, 3)),
        Case(A(2, 3, 4), (0, -1)),
        Case(A(2, 3), 1, True),
        Case(A(0, 3), 0),
        Case(I(5, 2, 3), 0),
        Case(B(2, 3)),
        Case(A()),
    ],
    "mean": [Case(A(2, 3)), Case(A(2, 3), 0, keepdim=True), Case(A(2, 3, 2), (0, 2)), Case(A())],
    "nansum": [
        Case(A(2, 3)),
        Case(A(2, 3), 1, True),
        Case(I(5, 2, 3), 0),
        Case(A(2, 3), 1),
        Case(NANS, 1),
    ],
    "var": [
        Case(A(2, 3)),
        Case(A(2, 3, 2), (0, 2), keepdim=True),
        Case(A(2, 3), 1, False),
        Case(A(2, 3), 0, True, True),
        Case(A(2, 4), 1, correction=2),
        Case(A(2, 3), 1, correction=4, order=0, torch=infinite),  # PyTorch says so, with a warning
    ],
    "std": [
        Case(A(2, 3)),
        Case(A(2, 3, 2), (0, -1), keepdim=True),
        Case(A(2, 3), 1, False),
        Case(A(4), correction=0),
    ],
    "var_mean": [Case(A(2, 3)), Case(A(2, 3), 1, False, True), Case(A(2, 4), (0, 1), correction=0)],
    "amax": [
        Case(D(2, 3)),
        Case(D(2, 3, 2), (0, 2)),
        Case(D(2, 3), 1, True),
        Case(I(9, 2, 3), 0),
        # PyTorch gives NaN to all elements beside a NaN; here the NaN has the gradient
        Case(NANS, 1, order=1, torch=lambda t, x, dim: t.stack([x[0, 0], x[1].amax()])),
    ],
    "amin": [Case(D(2, 3)), Case(D(2, 3, 2), (0, 2)), Case(D(2, 3), 1, True), Case(B(2, 3), 0)],
    "logsumexp": [
        Case(A(2, 3), 1),
        Case(A(2, 3, 2), (0, 2), True),
        Case(A(2, 3), (0, 1)),
        Case(A(0, 3), 0, order=0),
        Case(A(), 0),
    ],
    "norm": [
        Case(A(2, 3)),
        Case(A(2, 3), 2, 1),
        Case(A(2, 3), "fro", (0, 1), True),
        Case(A(2, 3), 1, 1),
        Case(A(2, 3), 3, 0, True),
        Case(A(2, 3), 1.5),
        Case(A(2, 3), 0.5, 1),
        Case(A(2, 3), -1, 1),
        Case(A(2, 3), 0, 1),
        Case(D(5), math.inf),
        Case(D(2, 3), math.inf, 1),
        Case(A(2, 1), -math.inf, 1, True),
        Case(A(0, 3), 2, 0),
    ],
    "all": [Case(B(2, 3)), Case(B(2, 3, 2), (0, 2)), Case(A(2, 3), 1, True), Case(A(0, 2), 0)],
    "any": [Case(B(2, 3)), Case(B(2, 3, 2), (0, 2)), Case(A(2, 3), 1, True), Case(A(0, 2), 0)],
    "count_nonzero": [Case(I(3, 2, 3)), Case(I(3, 2, 3), 1), Case(B(2, 3, 2), (0, 2))],
}
