"""Cases of the ops that the tape needs itself (minidl/tape/operation.py)."""

import numpy as np
from cases import A, Case

from minidl.device import device

CASES = {
    "to_place": [Case(A(2, 3), device("cpu"), device("cpu"), torch=None)],
    "alias": [Case(A(2, 3), torch=None)],
    "to_dtype": [Case(A(2, 3), np.dtype("float64"), torch=None)],
    "sum_to": [Case(A(4, 2, 3), (1, 3), torch=lambda torch, x, shape: x.sum_to_size(shape))],
    "expand_to": [Case(A(1, 3), (4, 2, 3), torch=lambda torch, x, shape: x.expand(shape))],
}
