"""Cases of minidl/ops/recurrent.py. PyTorch gets each sequence alone, cut to its length."""

import math
from typing import Any

from cases import A, Case, D, G, I, P


def alone(kind: str, blocks: int, states: int) -> Any:
    """PyTorch's layer, sequence by sequence, so that lengths and direction are beyond doubt."""

    def run(torch: Any, x: Any, *args: Any, **options: Any) -> tuple[Any, ...]:
        first, (w_ih, w_hh, *rest) = args[:states], args[states:]
        given = dict(zip(("b_ih", "b_hh", "lengths"), rest, strict=False)) | options
        b_ih, b_hh, lengths = (given.get(name) for name in ("b_ih", "b_hh", "lengths"))
        turn = options.get("reverse", False)
        bend = options.get("nonlinearity", "tanh")
        layer = getattr(torch, f"rnn_{bend}" if kind == "rnn" else kind)
        size = w_hh.shape[1]
        none = torch.zeros(blocks * size, dtype=x.dtype)
        weights = [w_ih, w_hh, none if b_ih is None else b_ih, none if b_hh is None else b_hh]
        outs, finals = [], []
        for b in range(x.shape[1]):
            n = len(x) if lengths is None else int(lengths[b])
            one = x[:n, b : b + 1]
            zeros = torch.zeros(1, 1, size, dtype=x.dtype)
            hx = tuple(zeros if s is None else s[None, b : b + 1] for s in first)
            out, *final = layer(
                one.flip(0) if turn else one, hx if states == 2 else hx[0], weights,
                True, 1, 0.0, False, False, False,
            )  # fmt: skip
            end = torch.zeros(len(x) - n, 1, size, dtype=x.dtype)
            outs.append(torch.cat([out.flip(0) if turn else out, end]))
            finals.append(final)
        return (torch.cat(outs, 1), *[torch.cat(f, 1)[0] for f in zip(*finals, strict=True)])

    return run


def stacked(
    torch: Any, x: Any, h0: Any, c0: Any, *weights: Any, kind: str = "lstm", lengths: Any = None
) -> tuple[Any, ...]:
    """PyTorch's layers, sequence by sequence."""
    function = getattr(torch, "rnn_tanh" if kind == "tanh" else kind)
    size, count = weights[1].shape[1], len(weights) // 4
    none = torch.zeros(len(weights[1]), dtype=x.dtype)
    full = [none if w is None else w for w in weights]
    zeros = torch.zeros(count, 1, size, dtype=x.dtype)
    outs, finals = [], []
    for b in range(x.shape[1]):
        n = len(x) if lengths is None else int(lengths[b])
        first = [h0, c0] if kind == "lstm" else [h0]
        hx = tuple([zeros if s is None else s[:, b : b + 1] for s in first])
        out, *final = function(
            x[:n, b : b + 1], hx if kind == "lstm" else hx[0], full,
            True, count, 0.0, False, False, False,
        )  # fmt: skip
        outs.append(torch.cat([out, torch.zeros(len(x) - n, 1, size, dtype=x.dtype)]))
        finals.append(final)
    return (torch.cat(outs, 1), *[torch.cat(f, 1) for f in zip(*finals, strict=True)])


def W(*shape: int) -> Any:
    return P(*shape, low=-1, high=1)


def S(*shape: int) -> Any:
    """Weights so small that a bias D keeps every sum away from the kink of relu at 0."""
    return P(*shape, low=-0.005, high=0.005)


def swapped(torch: Any, x: Any, h: Any, w_ih: Any, w_hh: Any, _: None, b_hh: Any) -> Any:
    """PyTorch's cell takes both biases or none."""
    return torch.rnn_relu_cell(x, h, w_ih, w_hh, torch.zeros_like(b_hh), b_hh)


def stack(blocks: int, biases: tuple[bool, bool] = (True, True)) -> list[Any]:
    """The weights of two layers, I = 2, H = 3."""
    found = []
    for inputs in (2, 3):
        both = [W(blocks * 3) if there else None for there in biases]
        found += [W(blocks * 3, inputs), W(blocks * 3, 3), *both]
    return found


def layer(kind: str, blocks: int, states: int = 1) -> list[Case]:
    """T = 3, B = 2, I = 2, H = 3; each option alone, and all together."""
    x, first = A(3, 2, 2), [W(2, 3) for _ in range(states)]
    weights, biases = [W(blocks * 3, 2), W(blocks * 3, 3)], [W(blocks * 3), W(blocks * 3)]
    torch = alone(kind, blocks, states)
    return [
        Case(x, *first, *weights, *biases, torch=torch),
        Case(x, *first, *weights, torch=torch, reverse=True),
        Case(A(3, 1, 2), *[None] * states, *weights, *biases, [2], torch=torch),
        Case(x, *first, *weights, biases[0], None, [3, 1], torch=torch),
        Case(x, *first, *weights, b_hh=biases[1], lengths=[2, 1], reverse=True, torch=torch),
        Case(A(4, 3, 1), *[W(3, 1)] * states, W(blocks, 1), W(blocks, 1), None, None,
             I(5, 3, low=1), torch=torch, reverse=True),
        Case(A(1, 0, 2), *[A(0, 3)] * states, *weights, torch=None),
        # Beyond an end there may be anything.
        Case(G([[[0.5], [-0.3]], [[1.5], [math.nan]]]), *[W(2, 1)] * states, W(blocks, 1),
             W(blocks, 1), W(blocks), None, [2, 1], torch=torch, differences=False),
    ]  # fmt: skip


CASES = {
    "rnn": [
        *layer("rnn", 1),
        Case(A(3, 2, 2), W(2, 3), S(3, 2), S(3, 3), D(3), None, [1, 3], torch=alone("rnn", 1, 1),
             nonlinearity="relu"),
    ],
    "lstm": layer("lstm", 4, 2),
    "gru": layer("gru", 3),
    "recurrent_layers": [
        Case(A(3, 2, 2), W(2, 2, 3), W(2, 2, 3), *stack(4), torch=stacked),
        Case(A(3, 2, 2), None, None, *stack(4, (True, False)), lengths=[3, 1], torch=stacked),
        Case(A(3, 2, 2), W(2, 2, 3), None, *stack(4, (False, True)), torch=stacked),
        Case(A(3, 2, 2), W(2, 2, 3), None, *stack(3), kind="gru", lengths=[2, 3], torch=stacked),
        Case(A(3, 2, 2), None, None, *stack(3, (False, False)), kind="gru", torch=stacked),
        Case(A(3, 2, 2), W(2, 2, 3), None, *stack(1), kind="tanh", torch=stacked),
        Case(A(3, 1, 2), W(1, 1, 3), W(1, 1, 3), *stack(4)[:4], torch=stacked),
        Case(A(1, 0, 2), A(2, 0, 3), None, *stack(3), kind="gru", torch=None),
    ],
    "rnn_tanh_cell": [
        Case(A(2, 3), A(2, 4), W(4, 3), W(4, 4), W(4), W(4)),
        Case(A(2, 3), A(2, 4), W(4, 3), W(4, 4)),
    ],
    "rnn_relu_cell": [
        Case(A(2, 3), W(2, 4), S(4, 3), S(4, 4), D(4), S(4)),
        Case(A(2, 3), W(2, 4), S(4, 3), S(4, 4), None, D(4), torch=swapped),
    ],
    "lstm_cell": [
        Case(A(2, 3), (A(2, 2), A(2, 2)), W(8, 3), W(8, 2), W(8), W(8)),
        Case(A(2, 3), (A(2, 2), A(2, 2)), W(8, 3), W(8, 2)),
    ],
    "gru_cell": [
        Case(A(2, 3), A(2, 2), W(6, 3), W(6, 2), W(6), W(6)),
        Case(A(2, 3), A(2, 2), W(6, 3), W(6, 2)),
    ],
}  # fmt: skip
