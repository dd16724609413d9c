"""How an array lies in memory: the same values in every layout that a user's array may have."""

from typing import Any

import numpy as np

__all__ = ["LAYOUTS", "laid_out", "layouts_of"]

# A layout, and from how many axes on there is such a thing.
_FROM = {
    "contiguous": 0,
    "transposed": 2,
    "strided": 1,
    "reversed": 1,
    "readonly": 0,
    "channels_last": 3,
}
LAYOUTS = tuple(_FROM)


def layouts_of(ndim: int) -> tuple[str, ...]:
    """Return the layouts that an array of so many axes may have.

    >>> layouts_of(2)
    ('contiguous', 'transposed', 'strided', 'reversed', 'readonly')
    """
    return tuple([name for name, least in _FROM.items() if ndim >= least])


def laid_out(x: np.ndarray[Any, Any], layout: str) -> np.ndarray[Any, Any]:
    """Return a copy of `x`, of the same shape, dtype and values, that lies in memory as asked.

    contiguous : row by row (C order)
    transposed : the axes in the opposite order in memory (Fortran order)
    strided : every second element of a larger array on each axis; NaN (or -1) lies between, so
        that who reads past the strides is found out
    reversed : backwards on each axis (negative strides)
    readonly : contiguous, and writing to it raises
    channels_last : (N, C, ...) with C moving fastest

    Raises ValueError for an unknown layout, or one that needs more axes.

    >>> laid_out(np.arange(6.0).reshape(2, 3), "reversed").strides
    (-24, -8)
    """
    if layout not in _FROM:
        raise ValueError(f"laid_out: layout is {layout!r}, expected one of {list(LAYOUTS)}")
    if x.ndim < _FROM[layout]:
        raise ValueError(
            f"laid_out: x has shape {x.shape}, but {layout!r} needs at least {_FROM[layout]} axes"
        )
    x = np.array(x, order="C")
    if layout == "transposed":
        return np.ascontiguousarray(x.T).T
    if layout == "strided":
        between = -1 if x.dtype.kind == "i" else np.nan if x.dtype.kind == "f" else 1
        buffer = np.full([2 * n + 1 for n in x.shape], between, x.dtype)
        view = buffer[(slice(1, None, 2),) * x.ndim]
        view[...] = x
        return view
    if layout == "reversed":
        backwards = (slice(None, None, -1),) * x.ndim
        return np.ascontiguousarray(x[backwards])[backwards]
    if layout == "channels_last":
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    x.flags.writeable = layout != "readonly"
    return x
