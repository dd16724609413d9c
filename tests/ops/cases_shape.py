"""Cases of minidl/ops/shape.py."""

from cases import A, Case


def method(name):
    """PyTorch has it as a method alone."""
    return lambda torch, x, *args, **options: getattr(x, name)(*args, **options)


CASES = {
    "reshape": [Case(A(2, 3), (3, 2)), Case(A(2, 3), (-1,)), Case(A(0, 3), (3, 0))],
    "view": [Case(A(2, 3), (1, 2, 1, -1)), Case(A(), (1, 1)), Case(A(0, 3), (3, 0))],
    "flatten": [Case(A(2, 3, 2)), Case(A(2, 3, 2), 1), Case(A(2, 3, 2), 0, -2), Case(A())],
    "unflatten": [
        Case(A(2, 6), 1, (2, 3), torch=method("unflatten")),
        Case(A(6, 2), -2, (3, -1), torch=method("unflatten")),
    ],
    "squeeze": [
        Case(A(1, 3, 1)),
        Case(A(1, 3, 1), -1),
        Case(A(1, 3, 1), (0, 1)),
        Case(A(1, 3, 1), ()),
        Case(A(3), 0),
    ],
    "unsqueeze": [Case(A(2, 3), 1), Case(A(2, 3), -1), Case(A(), 0)],
    "permute": [Case(A(2, 3, 4), (2, 0, 1)), Case(A(2, 3), (-1, 0))],
    "transpose": [Case(A(2, 3, 4), 0, -1)],
    "swapaxes": [Case(A(2, 3, 4), 0, -1)],
    "t": [Case(A(2, 3)), Case(A(3)), Case(A())],
    "movedim": [
        Case(A(2, 3, 4), 0, 2),
        Case(A(2, 3, 4), (0, -1), (1, 0)),
        Case(A(2, 3, 4), (2, 1, 0), (0, 1, 2)),
    ],
    "expand": [
        Case(A(1, 3), (4, 2, 3), torch=method("expand")),
        Case(A(1, 3), (2, -1), torch=method("expand")),
    ],
    "broadcast_to": [Case(A(3, 1), (2, 3, 2)), Case(A(), (2,))],
    "repeat": [
        Case(A(2, 3), (2, 1, 3), torch=method("repeat")),
        Case(A(2), (0,), torch=method("repeat")),
        Case(A(), (2, 2), torch=method("repeat")),
    ],
    "tile": [Case(A(2, 3), (2,)), Case(A(3), (2, 2)), Case(A(2, 1), (1, 3))],
    "flip": [Case(A(2, 3), (0,)), Case(A(2, 3, 2), (0, -1)), Case(A(2), ())],
    "roll": [
        Case(A(2, 3), 1),
        Case(A(2, 3), 4, 1),
        Case(A(2, 3), (-1, 1), (0, -1)),
        Case(A(3), (1, 1), (0, 0)),
    ],
    "clone": [Case(A(2, 3)), Case(A(1, 2, 2, 2), memory_format="channels_last", torch=None)],
    "contiguous": [
        Case(A(2, 3), torch=method("contiguous")),
        Case(A(1, 2, 2, 2), "channels_last", torch=None),
    ],
    "diagonal": [
        Case(A(3, 3)),
        Case(A(2, 4), 1),
        Case(A(4, 2, 3), -1, 0, 2),
        Case(A(2, 3), offset=5),
        Case(A(2, 3, 2), dim1=-1, dim2=0),
    ],
    "put_diagonal": [
        Case(
            A(3, 2),
            (2, 3, 4),
            1,
            0,
            2,
            torch=lambda torch, g, shape, *where: torch.diagonal_scatter(
                torch.zeros(shape, dtype=g.dtype), g, *where
            ),
        )
    ],
    "diag_embed": [Case(A(3)), Case(A(2, 3), 1), Case(A(2, 3), -1, 0, 2), Case(A(2, 2), 1, 2, 0)],
    "diag": [Case(A(3)), Case(A(3), -1), Case(A(2, 3), 1), Case(A(2, 3), diagonal=-1)],
    "tril": [Case(A(3, 3)), Case(A(2, 3, 4), 1), Case(A(3, 2), diagonal=-1)],
    "triu": [Case(A(3, 3)), Case(A(2, 3, 4), 1), Case(A(3, 2), diagonal=-1)],
}
