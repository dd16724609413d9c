"""Cases of minidl/ops/reduction.py."""

from cases import A, Case

CASES = {
    "sum": [Case(A(2, 3)), Case(A(2, 3, 4), (0, -1)), Case(A(2, 3), 1, True), Case(A(0, 3), 0)],
    "mean": [Case(A(2, 3)), Case(A(2, 3), 0, keepdim=True)],
}
