"""How a tensor looks in print: its numbers, and what else one would want to know of it."""

from typing import Any

import numpy as np

from minidl.device import device_of, to_host
from minidl.dtypes import get_default_dtype

__all__ = ["describe"]


def describe(tensor: Any) -> str:
    """Return the text of a tensor: values, then shape, dtype, device and gradient where not usual.

    Long tensors are shown by their first and last elements, with the shape said.
    """
    data = to_host(tensor.data)
    values = np.array2string(
        data, precision=4, suppress_small=True, separator=", ", threshold=1000, prefix="tensor("
    )
    notes = []
    if data.size > 1000 or data.size == 0:
        notes.append(f"shape={data.shape}")
    if data.dtype not in (get_default_dtype(), np.dtype("int64"), np.dtype(bool)) or not data.size:
        notes.append(f"dtype={data.dtype}")
    if device_of(tensor.data) != "cpu":
        notes.append(f"device={str(device_of(tensor.data))!r}")
    if tensor.node is not None:
        made_by = tensor.grad_fn
        notes.append("requires_grad=True" if made_by is None else f"grad_fn=<{made_by.name}>")
    return ", ".join([f"tensor({values}", *notes]) + ")"
