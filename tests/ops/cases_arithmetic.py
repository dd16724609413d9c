"""Cases of minidl/ops/arithmetic.py.

D draws odd multiples of 1/16, so a bound near an even multiple is never near a kink or a tie.
"""

from cases import A, B, Case, D, Drawing, I, P

ZEROS = Drawing("given", (3,), constant=True, values=[0.0, 0.0, 2.0])

CASES = {
    "add": [Case(A(2, 3), A(3)), Case(A(2, 1), A(1, 3))],
    "sub": [Case(A(2, 3), A(3))],
    "mul": [Case(A(2, 3), A(2, 1)), Case(A(), A(2))],
    "div": [Case(A(2, 3), A(3)), Case(2.0, A(3), torch=lambda torch, x, y: x / y)],
    "neg": [Case(A(2, 3))],
    "reciprocal": [Case(A(2, 3)), Case(I(5, 3, low=1))],
    "floor_divide": [
        Case(A(2, 3), A(3), order=0),  # PyTorch records it, but has no derivative
        Case(I(9, 4, low=-9), 4),
        Case(I(9, 4, low=-9), I(0, 4, low=-5)),
    ],
    "remainder": [
        Case(P(2, 3, low=2.2, high=2.8), P(3, low=0.95, high=1.05)),
        Case(P(2, 3, low=-2.8, high=-2.2), P(3, low=0.95, high=1.05)),
        Case(P(3, low=2.2, high=2.8), P(low=-1.05, high=-0.95)),
        Case(I(9, 4, low=-9), -4),
    ],
    "pow": [
        Case(P(2, 3), A(3)),
        Case(A(2, 3), 2),
        Case(A(2, 3), 3),
        Case(A(2, 3), -1),
        Case(A(2, 3), 1.0),
        Case(A(2, 3), 0),
        Case(P(2, 3), 0.5),
        Case(P(2, 3), -2.5),
        Case(2.5, A(2, 3)),
        Case(A(2, 3), I(4, 3, low=-2)),
        Case(0.0, A(3, 4), order=1),  # PyTorch's second derivatives are NaN where x is 0
        Case(0.0, P(2, 3), order=1),
        Case(ZEROS, P(3), order=1),
        Case(I(5, 3), I(4, 3)),
    ],
    "square": [Case(A(2, 3)), Case(B(2, 3))],
    "where": [Case(B(2, 3), A(2, 3), A(3)), Case(B(3), A(2, 3), 0.0), Case(B(3), A(), A(2, 1))],
    "masked_fill": [
        Case(A(2, 3), B(3), 0.5),
        Case(A(2, 3), B(2, 3), A()),
        Case(A(3), B(2, 3), float("-inf"), order=0),
    ],
    "maximum": [
        Case(D(2, 3), P(3, low=-0.03, high=0.03)),
        Case(D(4), 0.25, torch=lambda torch, x, y: x.clamp(min=y)),
        Case(I(9, 4, low=-9), D(4)),
    ],
    "minimum": [
        Case(D(2, 3), P(3, low=-0.03, high=0.03)),
        Case(D(4), 0.25, torch=lambda torch, x, y: x.clamp(max=y)),
        Case(I(9, 4, low=-9), D(4)),
    ],
    "clamp": [
        Case(D(2, 6), -0.25, 0.5),
        Case(D(2, 6), min=0),
        Case(D(2, 6), max=0.25),
        Case(D(2, 6), 0.5, -0.25),
        Case(D(2, 6), P(6, low=-0.27, high=-0.23), P(2, 1, low=0.23, high=0.27)),
        Case(D(2, 6), P(6, low=0.23, high=0.27), P(2, 1, low=-0.27, high=-0.23)),
        Case(D(2, 6), min=P(6, low=-0.02, high=0.02)),
        Case(D(2, 6), max=P(low=-0.02, high=0.02)),
        Case(I(9, 4), 2, 5),
    ],
    "clamp_min": [
        Case(D(2, 3), 0.125, torch=lambda torch, x, min: torch.clamp_min(x, min)),
        Case(D(2, 3), min=P(3, low=-0.02, high=0.02), torch=lambda t, x, min: t.clamp_min(x, min)),
    ],
    "clamp_max": [
        Case(D(2, 3), 0.125, torch=lambda torch, x, max: torch.clamp_max(x, max)),
        Case(D(2, 3), max=P(3, low=-0.02, high=0.02), torch=lambda t, x, max: t.clamp_max(x, max)),
    ],
    "abs": [  # PyTorch's second derivative is a "ZeroTensor", which it does not give to NumPy
        Case(A(2, 3), order=1),
        Case(A(2, 3), torch=lambda torch, x: torch.where(x > 0, x, -x)),
        Case(I(5, 4, low=-5)),
    ],
    "sign": [Case(A(2, 3)), Case(I(5, 4, low=-5)), Case(B(2, 3))],
    "lerp": [
        Case(A(2, 3), A(3), 0.25),
        Case(A(2, 3), A(3), 0.75),
        Case(A(2, 3), A(3), A(2, 1)),
        Case(A(2, 3), A(2, 3), weight=P(3, low=0.6, high=1.5)),
    ],
    "zeros_like": [Case(A(2, 3))],
}
