"""Cases of minidl/ops/indexing.py."""

import numpy as np
from cases import A, B, Case, Drawing, G, I, mapped

ALL = slice(None)


def brackets(torch, x, index):
    """x[index] in PyTorch."""
    return x[index]


def written(torch, x, index, value):
    """x with x[index] = value in PyTorch."""
    x = x.clone()
    x[index] = value
    return x


def put(torch, g, index, shape):
    """Zeros with g added at index in PyTorch."""
    x = torch.zeros(shape, dtype=g.dtype)
    places = torch.arange(x.numel()).reshape(x.shape)[index]
    return x.reshape(-1).index_add(0, places.reshape(-1), g.reshape(-1)).reshape(shape)


def covered(name):
    """PyTorch has no gradient for a source larger than the index: cut it first."""
    return lambda torch, x, dim, index, src: getattr(torch, name)(
        x, dim, index, src[: index.shape[0], : index.shape[1]]
    )


INDICES = [
    1,
    (ALL, -1),
    (..., None, slice(1, 3)),
    (slice(0, 0), 2),
    (0, 1, 2),
    (None, slice(None, None, 2), 0, None),
    G([[1, 0], [1, 1]]),
    (ALL, G([-1, 0, 0])),
    (G([0, 1, 0]), G([2, 0, 2])),
    (G([0, 1, 0]), ALL, G([3, 0, 3])),
    (G([[1], [0]]), ..., G([1, 2])),
    (0, ALL, G([0, 0, 3])),
    (G([1, 0]), None, G([2, 2])),
    G([True, False]),
    (ALL, G([True, False, True]), G([1, 1])),
    G(np.arange(24).reshape(2, 3, 4) % 3 == 0),
    (True, slice(0, 1)),
    G(np.zeros(0, "int64")),
]
ARRAYS = [mapped(i, lambda g: np.array(g.values), Drawing) for i in INDICES]
SHAPES = [np.zeros((2, 3, 4))[i].shape for i in ARRAYS]
SHAPES[11] = (3, 3)  # where PyTorch and NumPy differ: NumPy has the array's axis first

CASES = {
    "getitem": [Case(A(2, 3, 4), i, torch=brackets) for i in INDICES],
    "put_zeros": [
        Case(A(*shape), i, (2, 3, 4), torch=put) for i, shape in zip(INDICES, SHAPES, strict=True)
    ],
    "index_put": [
        Case(A(2, 3), (0, ALL), A(3), torch=written),
        Case(A(2, 3), (ALL, slice(1, 3)), A(2, 1), torch=written),
        Case(A(2, 3), G([1]), A(1, 1, 3), torch=written),
        Case(A(2, 3, 2), (0, ALL, G([1, 0])), A(3, 2), torch=written),
        Case(A(2, 3), (G([1, 0]), G([2, 2])), A(), torch=written),
        Case(A(2, 3), G([[True, False, True], [False] * 3]), A(2), torch=written),
        Case(A(2, 3, 2), slice(0, 2), A(3, 1), torch=written),
        Case(A(3), 1, 2.0, torch=written),
        Case(A(3), G([0, 2, 0]), A(3), torch=None),
        Case(A(2, 3), (ALL, G([1, 1, 0, 1])), A(2, 1), torch=None),
    ],
    "narrow": [Case(A(2, 5), 1, 1, 3), Case(A(4, 2), 0, -3, 2), Case(A(3), -1, 3, 0)],
    "select": [Case(A(2, 3), 1, -1), Case(A(2, 3), 0, 1), Case(A(3), -1, 0)],
    "index_select": [Case(A(2, 3), 1, I(3, 5)), Case(A(4, 2), -2, I(4, 3)), Case(A(3), 0, I(3, 0))],
    "index_add": [
        Case(A(2, 3), 1, I(3, 5), A(2, 5)),
        Case(A(4, 2), -2, I(4, 3), A(3, 2), alpha=-0.5),
    ],
    "repeat_interleave": [
        Case(A(2, 3), 2),
        Case(A(2, 3), 2, 1),
        Case(A(2, 3), G([0, 2, 1]), dim=-1),
        Case(A(3), I(4, 3)),
        Case(A(2), 0),
    ],
    "gather": [
        Case(A(2, 3), 1, I(3, 2, 5)),
        Case(A(4, 3), 0, I(4, 2, 2)),
        Case(A(3), -1, I(3, 4)),
        Case(A(2, 3, 2), -2, I(3, 2, 1, 2)),
    ],
    "scatter": [
        Case(A(2, 3), 1, G([[2, 0], [1, 0]]), A(2, 2)),
        Case(A(3, 2), 0, G([[2, 0]]), A(2, 3), torch=covered("scatter")),
        Case(A(2, 3), -1, I(3, 2, 2), 1.5),
        Case(A(2, 3), -1, I(3, 2, 2), value=1.5),
        Case(A(3), 0, G([1, 0, 1]), A(3), torch=None),
    ],
    "scatter_add": [
        Case(A(2, 3), 1, I(3, 2, 5), A(2, 5)),
        Case(A(3, 2), 0, I(3, 4, 1), A(5, 2), torch=covered("scatter_add")),
        Case(A(3), -1, I(3, 4), A(4)),
    ],
    "take_along_dim": [
        Case(A(2, 3), I(3, 2, 2), 1),
        Case(A(2, 3), I(3, 1, 2), -1),
        Case(A(1, 3), I(3, 2, 2), dim=1),
        Case(A(2, 3), I(6, 4)),
    ],
    "take": [Case(A(2, 3), I(6, 2, 2)), Case(A(2, 3), I(0, 4, low=-6))],
    "masked_select": [
        Case(A(2, 3), B(2, 3)),
        Case(A(2, 1), G([True, False, True])),
        Case(A(3), B(2, 3)),
    ],
    "nonzero": [Case(I(2, 3, 2)), Case(A(3)), Case(B(2, 2), as_tuple=True), Case(A())],
    "one_hot": [Case(I(3, 2, 2)), Case(I(3, 4), 5), Case(I(2, 0), num_classes=2)],
}
