"""Max pooling of windows of 2 x 2 in registers, and the way back: parts of fused kernels."""

from typing import Any

import numpy as np

from minidl_kernels.cpu.compiling import helper
from minidl_kernels.cpu.simd import load, load_octets, splat, where_equal, where_wins

__all__ = ["OFF", "best_of", "largest", "taken", "through_relu"]

OFF = 255  # the place of a maximum that relu does not let through


@helper
def best_of(value: Any, tap: int, best: Any, place: Any) -> Any:
    """The larger one of a value and the best so far, with its place; NaN is larger than all."""
    return (
        where_wins(value, best, value, best),
        where_wins(value, best, splat(np.int32(tap)), place),
    )


@helper
def largest(a: Any, b: Any, c: Any, d: Any, relu: int) -> Any:
    """The maximum of a window, a and b above c and d, after relu if asked for, and its place."""
    best, place = a, splat(np.int32(0))
    best, place = best_of(b, 1, best, place)
    best, place = best_of(c, 2, best, place)
    best, place = best_of(d, 3, best, place)
    if relu:
        best, place = through_relu(best, place)
    return best, place


@helper
def through_relu(best: Any, place: Any) -> Any:
    """What relu makes of a maximum, and of its place."""
    zero = splat(np.float32(0))
    return where_wins(best, zero, best, zero), where_wins(best, zero, place, splat(np.int32(OFF)))


@helper
def taken(g: Any, places: Any, i: int, tap: int) -> Any:
    """The gradient that the element `tap` of a window has of g[i]: all of it, or nothing."""
    here = splat(np.int32(tap))
    return where_equal(load_octets(places, i), here, load(g, i), splat(np.float32(0)))
