"""Cases of minidl/ops/scans.py."""

from cases import A, Case, I, P

CASES = {
    "cumsum": [Case(A(2, 3), 1), Case(A(4, 2), -2), Case(I(5, 2, 3), 0), Case(A(), 0)],
    "cumprod": [Case(P(2, 5), 1), Case(A(4, 2), -2), Case(I(5, 2, 3), 0), Case(A(), 0)],
    "prod": [
        Case(A(2, 3)),
        Case(A(2, 4), 1),
        Case(A(3, 2), 0, True),
        Case(I(5, 2, 3)),
        Case(A(0, 3), 0),
        Case(A()),
    ],
    "shifted": [
        Case(A(2, 4), 1, 1, torch=None),
        Case(A(4, 2), -1, 0, 1.0, torch=None),
        Case(A(1, 2), 1, 0, torch=None),
    ],
    "recurrence": [Case(A(2, 5), A(2, 5), 1, torch=None), Case(A(4, 2), A(4, 2), 0, torch=None)],
}
