"""Cases of minidl/ops/comparison.py."""

from cases import A, B, Case, D, I

COMPARED = [
    Case(I(2, 2, 3), I(2, 3)),
    Case(D(2, 3), 0.0625),
    Case(A(2, 3), A(2, 1)),
    Case(I(3, 4), A(4)),
]
COMBINED = [Case(B(2, 3), B(3)), Case(I(2, 6), A(6)), Case(B(4), I(2, 4))]

CASES = {
    "eq": COMPARED,
    "ne": COMPARED,
    "lt": COMPARED,
    "le": COMPARED,
    "gt": COMPARED,
    "ge": COMPARED,
    "isnan": [Case(A(2, 3)), Case(I(3, 3))],
    "isinf": [Case(A(2, 3)), Case(I(3, 3))],
    "isfinite": [Case(A(2, 3)), Case(I(3, 3))],
    "logical_and": COMBINED,
    "logical_or": COMBINED,
    "logical_xor": COMBINED,
    "logical_not": [Case(B(2, 3)), Case(I(2, 4)), Case(A(3))],
    "isclose": [
        Case(A(2, 3), A(3)),
        Case(A(2, 3), A(3), 0.5, 0.25),
        Case(I(3, 6), I(3, 6)),
        Case(B(2, 3), B(3)),
        Case(A(2, 3), A(3), atol=2.0, equal_nan=True),
    ],
}
