"""Cases of minidl/ops/linalg.py."""

from cases import A, Case

CASES = {
    "matmul": [
        Case(A(2, 3), A(3, 4)),
        Case(A(3), A(3)),
        Case(A(2, 3), A(3)),
        Case(A(3), A(3, 2)),
        Case(A(3), A(2, 3, 2)),
        Case(A(2, 1, 3, 2), A(4, 2, 3)),
        Case(A(4, 2, 3), A(3)),
    ],
}
