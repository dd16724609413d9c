"""Cases of minidl/ops/arithmetic.py."""

from cases import A, B, Case

CASES = {
    "add": [Case(A(2, 3), A(3)), Case(A(2, 1), A(1, 3))],
    "sub": [Case(A(2, 3), A(3))],
    "mul": [Case(A(2, 3), A(2, 1)), Case(A(), A(2))],
    "div": [Case(A(2, 3), A(3)), Case(2.0, A(3), torch=lambda torch, x, y: x / y)],
    "neg": [Case(A(2, 3))],
    "where": [Case(B(2, 3), A(2, 3), A(3)), Case(B(3), A(2, 3), 0.0)],
    "zeros_like": [Case(A(2, 3))],
}
