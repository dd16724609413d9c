"""Cases of minidl/ops/joining.py."""

from cases import A, Case, I

CASES = {
    "cat": [
        Case([A(2, 3), A(1, 3)]),
        Case([A(2, 3), A(2, 1), A(2, 0)], 1),
        Case([A(2, 3, 2), A(2, 3, 2)], dim=-2),
        Case([A(0), A(2, 3)], dim=-1),
        Case([A(2), I(5, 3)]),
    ],
    "stack": [
        Case([A(2, 3), A(2, 3)]),
        Case([A(2, 3), A(2, 3), A(2, 3)], dim=-1),
        Case([A(), A()]),
        Case([A(2, 0)], 1),
    ],
    "split": [
        Case(A(5, 2), 2),
        Case(A(2, 5), [1, 0, 4], dim=-1),
        Case(A(2, 3), 7, 1),
        Case(A(0, 3), 2),
    ],
    "chunk": [Case(A(5, 2), 3), Case(A(2, 4), 2, dim=1), Case(A(2, 0), 3, -1), Case(A(4), 3)],
    "unbind": [Case(A(2, 3)), Case(A(2, 3), -1), Case(A(3)), Case(A(2, 0), 0)],
    "constant_pad_nd": [Case(A(2, 3), (1, 2), 0.5), Case(A(2, 3), (-1, 1, 1, -1))],
    "pad": [
        Case(A(2, 3), (1, 2)),
        Case(A(1, 2, 3), (1, 0, 0, 2), value=2.5),
        Case(A(3, 4), (-1, 2, 1, -2), "constant", -1),
        Case(A(2), (-1, -1)),
        Case(A(1, 2, 4), (3, 2), mode="reflect"),
        Case(A(1, 1, 3, 4), (1, 2, 2, 0), mode="reflect"),
        Case(A(1, 1, 3, 4), (0, 2, 5, 1), mode="replicate"),
        Case(A(1, 1, 3, 2), (2, 1, 0, 3), mode="circular"),
        Case(A(2, 3), (), "constant"),
    ],
}
