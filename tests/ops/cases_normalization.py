"""Cases of minidl/ops/normalization.py."""

from typing import Any

from cases import A, Case, P


def flat(*shape: Any) -> Any:
    """Floats that no gradient is asked of: running statistics."""
    return P(*shape, constant=True)


def by_batch(torch: Any, x: Any, weight: Any = None, bias: Any = None, eps: Any = 1e-5) -> Any:
    axes = [a for a in range(x.ndim) if a != 1]
    out = torch.nn.functional.batch_norm(x, None, None, weight, bias, True, 0.1, eps)
    return out, x.mean(axes), x.var(axes, correction=0)


def with_weight(
    torch: Any, x: Any, mean: Any, var: Any, weight: Any, bias: Any, **options: Any
) -> Any:
    """PyTorch 2.13 has no second derivative with a bias and no weight."""
    ones = torch.ones_like(bias)
    return torch.nn.functional.batch_norm(x, mean, var, ones, bias, **options)


CASES = {
    "standardize": [
        Case(A(3, 2, 4), A(2), A(2), (0, 2), (1, 2, 1), 1e-5, torch=None),
        Case(A(2, 2, 3, 2), A(6), A(6), (2, 3), (1, 2, 3, 1), 1e-5, torch=None),
        Case(A(2, 4), A(4), None, (1,), (1, 4), 1e-5, torch=None),
        Case(A(5, 2, 3), None, A(2), (0, 2), (1, 2, 1), 0.1, torch=None),
    ],
    "normalize_channels": [
        Case(A(3, 2, 2, 2), A(2), A(2), torch=by_batch),
        Case(A(5, 3), eps=1e-3, torch=by_batch),
    ],
    "batch_norm": [
        Case(A(3, 2, 2, 2), flat(2), flat(2), A(2), A(2), True),
        Case(A(4, 3), None, None, A(3), None, True, 0.1, 1e-2),
        Case(A(4, 3), None, None, None, A(3), training=True, torch=with_weight),
        Case(A(3, 2, 4), flat(2), flat(2), A(2), A(2)),
        Case(A(2, 3), flat(3), flat(3), None, A(3), eps=1e-2, torch=with_weight),
        Case(A(0, 3), flat(3), flat(3), A(3), A(3)),
        Case(A(0, 3), flat(3), flat(3), A(3), A(3), True),
    ],
    "layer_norm": [
        Case(A(3, 4), (4,), A(4), A(4)),
        Case(A(2, 3, 4), (3, 4), A(3, 4), A(3, 4), 1e-3),
        Case(A(2, 2, 3), (3,), A(3)),
        Case(A(2, 5), [5]),
        Case(A(4), (4,), A(4), A(4)),
        Case(A(0, 4), (4,), A(4), A(4)),
        Case(A(3, 1), (1,), A(1), A(1), 1.0),  # of one number: with this eps the zeros are exact
    ],
    "group_norm": [
        Case(A(2, 4, 3), 2, A(4), A(4)),
        Case(A(2, 6, 2, 2), 3, A(6), None),
        Case(A(2, 4, 2), 1, eps=1e-3),
        Case(A(3, 4), 2, A(4), A(4), 0.1),
        Case(A(2, 3, 2, 2), 3, A(3), A(3)),
    ],
    "instance_norm": [
        Case(A(2, 3, 4), weight=A(3), bias=A(3)),
        Case(A(2, 2, 2, 3)),
        Case(A(2, 3, 4), flat(3), flat(3), A(3), A(3), False),
        Case(A(5, 2, 5, 2), weight=A(2), eps=1e-2),
    ],
    "rms_norm": [
        Case(A(3, 4), (4,), A(4)),
        Case(A(2, 3, 4), (3, 4), eps=1e-3),
        Case(A(0, 4), (4,)),
    ],
    "normalize": [
        Case(A(3, 4)),
        Case(A(2, 3, 2), 1.0, -1),
        Case(A(2, 3, 2), 3, dim=(0, 2)),
        Case(A(4), dim=0, eps=10.0),
    ],
}
