"""Cases of minidl/ops/sorting.py."""

from cases import A, B, Case, D, I

CASES = {
    "argmax": [Case(D(2, 3)), Case(D(2, 3), 1), Case(D(2, 3), 0, True), Case(D(2, 3), None, True)],
    "argmin": [Case(D(2, 3)), Case(D(2, 3), 1), Case(D(2, 3), -2, keepdim=True), Case(D(), 0)],
    "max": [
        Case(D(2, 3)),
        Case(D(2, 3), 1),
        Case(D(2, 3), 0, True),
        Case(A(2, 3), A(3)),
        Case(A(2, 3), other=A(3)),
        Case(D(), 0),
    ],
    "min": [Case(D(2, 3)), Case(D(2, 3), 1), Case(D(2, 3), -2, True), Case(A(2, 3), A(3))],
    "argsort": [Case(D(2, 4)), Case(D(4, 2), 0, True), Case(I(9, 1, 1)), Case(D())],
    "sort": [
        Case(D(2, 4)),
        Case(D(4, 2), 0, True),
        Case(D(2, 3), 1, False),
        Case(B(1, 1)),
        Case(D()),
    ],
    "topk": [
        Case(D(2, 5), 2),
        Case(D(5, 2), 3, 0),
        Case(D(2, 5), 2, 1, False),
        Case(D(2, 3), 3),
        Case(D(2, 3), 0),
        Case(D(2, 3, 4), 2, -2),
        Case(D(), 1),
    ],
    "picked": [Case(A(2, 3), I(3, 2, 1), 1, torch=None)],
    "put_picked": [Case(A(2, 1), (2, 3), I(3, 2, 1), 1, torch=None)],
    "topk_indices": [Case(D(2, 5), 2, 1, True, torch=None), Case(D(5), 4, 0, False, torch=None)],
    "median": [
        Case(D(2, 3)),
        Case(D(2, 2)),
        Case(D(2, 4), 1),
        Case(D(3, 2), 0, True),
        Case(D(), 0),
    ],
    "median_of_all": [Case(D(5), torch=lambda torch, x: torch.median(x))],
    "median_index": [Case(D(2, 4), 1, torch=lambda torch, x, dim: x.median(dim, True).indices)],
}
