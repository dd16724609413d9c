"""Cases of minidl/ops/shape.py."""

from cases import A, Case

CASES = {
    "reshape": [Case(A(2, 3), (3, 2)), Case(A(2, 3), (-1,)), Case(A(0, 3), (3, 0))],
    "permute": [Case(A(2, 3, 4), (2, 0, 1)), Case(A(2, 3), (-1, 0))],
    "transpose": [Case(A(2, 3, 4), 0, -1)],
    "expand": [
        Case(A(1, 3), (4, 2, 3), torch=lambda torch, x, shape: x.expand(shape)),
        Case(A(1, 3), (2, -1), torch=lambda torch, x, shape: x.expand(shape)),
    ],
}
