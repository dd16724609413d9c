"""Cases of minidl/ops/activation.py. D draws odd multiples of 1/16: never near a kink."""

from cases import A, Case, D, I, P

# The derivative p (g - <p, g>) for probabilities of almost 1 and 0 is 1e-100 or so, and computed as
# what is left of numbers of size 1 that cancel.
SATURATED = 1e-12

CASES = {
    "relu": [Case(D(2, 3)), Case(I(4, 5, low=-4))],
    "relu6": [Case(D(8, 14)), Case(I(9, 5, low=-4))],
    "hardtanh": [Case(D(4, 6)), Case(D(4, 6), -0.5, 0.25), Case(I(9, 5), 2, 4)],
    "leaky_relu": [Case(D(2, 3)), Case(D(2, 3), 0.25), Case(D(2, 3), negative_slope=-1.5)],
    "prelu": [
        Case(D(2, 3, 2), A(3)),
        Case(D(2, 3), A(1)),
        Case(D(2, 3), A()),
        Case(D(4), A(1)),
        Case(D(), A(1)),
        Case(D(2, 2, 1, 2), A(2)),
    ],
    "hardsigmoid": [  # PyTorch has no second derivative of its own
        Case(D(8, 8), order=1),
        Case(D(8, 8), torch=lambda torch, x: torch.nn.functional.relu6(x + 3) / 6),
    ],
    "hardswish": [Case(D(8, 8))],
    "softshrink": [Case(D(4, 6)), Case(D(2, 3), 0.125)],
    "hardshrink": [Case(D(4, 6)), Case(D(2, 3), lambd=0.125)],
    "threshold": [Case(D(2, 3), 0.125, -2.0), Case(I(9, 5), 4, 2)],
    "elu": [Case(A(2, 3)), Case(A(2, 3), 0.5), Case(P(3, low=720, high=800))],
    "celu": [Case(A(2, 3)), Case(A(2, 3), alpha=0.5), Case(P(3, low=720, high=800))],
    "selu": [Case(A(2, 3))],
    "sigmoid": [Case(A(2, 3)), Case(P(6, low=-40, high=40))],
    "logsigmoid": [Case(A(2, 3)), Case(P(6, low=-40, high=40))],
    "softplus": [Case(A(2, 3)), Case(D(4, 3), 2.0, 1.0), Case(P(6, low=-60, high=19))],
    "silu": [Case(A(2, 3)), Case(P(6, low=-30, high=30))],
    "mish": [Case(A(2, 3)), Case(P(6, low=-30, high=19))],
    "gelu": [
        Case(A(2, 3)),
        Case(P(6, low=-6, high=6)),
        Case(A(2, 3), approximate="tanh"),
        Case(P(6, low=-6, high=6), approximate="tanh"),
    ],
    "gelu_tanh": [
        Case(A(2, 3), torch=lambda torch, x: torch.nn.functional.gelu(x, approximate="tanh")),
    ],
    "softsign": [Case(A(2, 3))],
    "tanhshrink": [Case(A(2, 3))],
    "glu": [Case(A(2, 4)), Case(A(4, 3), 0), Case(A(2, 2, 3), dim=1)],
    "softmax": [
        Case(A(2, 3), 1),
        Case(A(2, 3), 0),
        Case(A(2, 3, 2), dim=-2),
        Case(A(), 0),
        Case(A(0, 3), 0),
        Case(P(2, 3, low=-900, high=900), -1, atol=SATURATED),
    ],
    "log_softmax": [
        Case(A(2, 3), 1),
        Case(A(2, 3), 0),
        Case(A(2, 3, 2), dim=-2),
        Case(A(), 0),
        Case(A(0, 3), 0),
        Case(P(2, 3, low=-900, high=900), -1, atol=SATURATED),
    ],
    "softmin": [Case(A(2, 3), 1), Case(A(2, 3), dim=0)],
}
