"""Cases of minidl/ops/dense.py, dropout.py and attention.py."""

from typing import Any

from cases import A, B, Case, G, I

SEED = (7, 3)  # a key and a counter


def rows_added(torch: Any, g: Any, index: Any, rows: Any) -> Any:
    flat = g.reshape(-1, g.shape[-1])
    return torch.zeros(rows, g.shape[-1], dtype=g.dtype).index_add(0, index.reshape(-1), flat)


# Masks are drawn anew at each call, so these look at what is not random; `drop` has its own place.
WITHOUT_CHANCE = [Case(1.0), Case(0.0), Case(0.5, False)]


def linear(torch: Any, x: Any, weight: Any, bias: Any = None, activation: Any = None) -> Any:
    out = torch.nn.functional.linear(x, weight, bias)
    return out if activation is None else getattr(torch, activation)(out)


CASES = {
    "linear": [
        Case(A(4, 3), A(2, 3), A(2)),
        Case(A(3), A(2, 3)),
        Case(A(2, 3, constant=True), A(2, 3)),
        Case(A(2, 2, 3), A(4, 3), A(4)),
        Case(A(2, 0, 3), A(2, 3), A(2)),
        Case(A(2, 0), A(3, 0), A(3)),
        *[
            Case(A(4, 3), A(2, 3), bias, f, torch=linear)
            for f, bias in (("relu", A(2)), ("sigmoid", A(2)), ("tanh", None))
        ],
        Case(A(2, 2, 3), A(4, 3), A(4), "tanh", torch=linear),
    ],
    "bilinear": [
        Case(A(2, 3), A(2, 4), A(5, 3, 4), A(5)),
        Case(A(3), A(2), A(2, 3, 2)),
        Case(A(2, 2, 3), A(2, 2, 2), A(1, 3, 2)),
    ],
    "embedding": [
        Case(I(4, 3), A(4, 2)),
        Case(I(3, 2, 5, low=1), A(3, 2), 0),
        Case(I(2, 6), A(3, 2), padding_idx=-1),
        Case(I(3), A(3, 2)),
        Case(G([1, 0, 1]), A(3, 2), 1, differences=False),  # its own row has no gradient
        Case(I(3, 2), A(3, 0)),
        Case(I(3, 0), A(3, 2), torch=lambda torch, index, weight: weight[index]),
    ],
    "rows_added": [
        Case(A(5, 2), I(3, 5), 3, torch=rows_added),
        Case(A(2, 3, 2), I(4, 2, 3), 4, torch=rows_added),
        Case(A(7, 2), G([0, 2, 1, 2, 1, 1, 2]), 3, torch=rows_added),
        Case(A(0, 2), I(3, 0), 3, torch=rows_added),
    ],
    "drop": [
        Case(A(3, 4), *SEED, 0.5, torch=None),
        Case(A(2, 3, 4), *SEED, 0.3, (2, 3, 1), 2.0, -1.0, torch=None),
        Case(A(2, 3), *SEED, 1.0, torch=None),
    ],
    "dropout": [Case(A(2, 3), *c.args) for c in WITHOUT_CHANCE],
    "dropout1d": [Case(A(2, 3, 2), *c.args) for c in WITHOUT_CHANCE],
    "dropout2d": [Case(A(2, 3, 2, 2), *c.args) for c in WITHOUT_CHANCE],
    "dropout3d": [Case(A(2, 3, 2, 1, 2), *c.args) for c in WITHOUT_CHANCE],
    "alpha_dropout": [Case(A(2, 3), *c.args) for c in WITHOUT_CHANCE],
    "scaled_dot_product_attention": [
        Case(A(2, 3, 4), A(2, 5, 4), A(2, 5, 2)),
        Case(A(3, 4), A(3, 4), A(3, 4), is_causal=True),
        Case(A(2, 2, 3, 4), A(2, 2, 5, 4), A(2, 2, 5, 3), B(3, 5)),
        Case(A(1, 3, 4), A(1, 2, 4), A(1, 2, 4), A(3, 2), scale=0.7),
        Case(A(2, 3), A(4, 3), A(4, 1), B(1, 4), 1.0),
    ],
}
