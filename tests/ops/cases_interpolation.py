"""Cases of minidl/ops/interpolation.py."""

from typing import Any

from cases import A, Case

INDEX = (2, 0, 0, 1)


def _taken(torch: Any, x: Any, index: Any, dim: int) -> Any:
    return x.index_select(dim, torch.tensor(index))


def _back(torch: Any, g: Any, index: Any, dim: int, size: int) -> Any:
    shape = [size if i == dim else n for i, n in enumerate(g.shape)]
    return g.new_zeros(shape).index_add(dim, torch.tensor(index), g)


CASES = {
    "resample": [
        Case(A(2, 2, 3), INDEX, 2, torch=_taken),
        Case(A(1, 2, 4, 2), INDEX, 2, torch=_taken),
    ],
    "resample_back": [
        Case(A(2, 2, 4), INDEX, 2, 4, torch=_back),
        Case(A(1, 2, 4, 2), INDEX, 2, 3, torch=_back),
    ],
    "interpolate": [
        Case(A(2, 2, 3), 5),
        Case(A(1, 2, 2, 3), scale_factor=2),
        Case(A(1, 2, 4, 5), (3, 2)),
        Case(A(1, 1, 4, 3), None, (1.7, 0.6)),
        Case(A(1, 1, 4, 3), scale_factor=1.7, recompute_scale_factor=True),
        Case(A(1, 1, 2, 1, 2), scale_factor=(1, 2, 1.5)),
        Case(A(1, 2, 4), 7, mode="linear"),
        Case(A(1, 2, 4), 3, None, "linear", True),
        Case(A(1, 2, 3, 4), scale_factor=2, mode="bilinear"),
        Case(A(1, 2, 3, 4), scale_factor=2, mode="bilinear", align_corners=True),
        Case(A(2, 1, 4, 3), (2, 5), mode="bilinear", align_corners=False),
        Case(A(1, 1, 3, 4), (1, 4), mode="bilinear", align_corners=True),
        Case(A(1, 1, 3, 4), scale_factor=1.7, mode="bilinear"),
        Case(A(1, 1, 3, 4), scale_factor=1.7, mode="bilinear", recompute_scale_factor=True),
        Case(A(1, 1, 1, 1), (2, 3), mode="bilinear"),
    ],
}
