"""Cases of minidl/ops/elementary.py. D draws odd multiples of 1/16: never near a jump."""

from cases import A, Case, D, I, P

CASES = {
    "sqrt": [Case(P(2, 3)), Case(I(9, 3, low=1))],
    "rsqrt": [Case(P(2, 3))],
    "exp": [Case(A(2, 3)), Case(A())],
    "exp2": [Case(A(2, 3))],
    "expm1": [Case(A(2, 3))],
    "log": [Case(P(2, 3))],
    "log2": [Case(P(2, 3))],
    "log10": [Case(P(2, 3))],
    "log1p": [Case(P(2, 3, low=-0.75))],
    "logaddexp": [
        Case(A(2, 3), A(3)),
        # PyTorch's second derivative is NaN; ours is 0 where it is less than rounding leaves, 1e-68
        Case(P(3, low=-900, high=900), P(3, low=-900, high=900), order=1, atol=1e-12),
    ],
    "erf": [Case(A(2, 3)), Case(P(2, 6, low=-7, high=7)), Case(P(2, 3, low=-0.01, high=0.01))],
    "ndtr": [Case(A(2, 3)), Case(P(2, 6, low=-6, high=6))],
    "sin": [Case(A(2, 3))],
    "cos": [Case(A(2, 3))],
    "tan": [Case(P(2, 3, low=-1.25, high=1.25))],
    "asin": [Case(P(2, 3, low=-0.75, high=0.75))],
    "acos": [Case(P(2, 3, low=-0.75, high=0.75))],
    "atan": [Case(A(2, 3))],
    "atan2": [Case(A(2, 3), A(3))],
    "sinh": [Case(A(2, 3))],
    "cosh": [Case(A(2, 3))],
    "tanh": [Case(A(2, 3))],
    "asinh": [Case(A(2, 3))],
    "acosh": [Case(P(2, 3, low=1.5, high=3))],
    "atanh": [Case(P(2, 3, low=-0.75, high=0.75))],
    "ceil": [Case(D(4, 6)), Case(I(5, 3))],
    "floor": [Case(D(4, 6)), Case(I(5, 3))],
    "trunc": [Case(D(4, 6)), Case(I(5, 3))],
    "round": [
        Case(D(4, 6)),
        Case(D(2, 3), decimals=1),
        Case(P(4, low=101, high=104), decimals=-1),
        Case(I(5, 3)),
    ],
}
