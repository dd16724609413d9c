"""Vectors of sixteen float32, a line of the cache, and of four: beside those of eight in `simd`.

With AVX-512 one of sixteen is one register, with AVX2 two, and so on; the arithmetic is the same.
The operators, `fma` and `where_greater` of `simd` take them too.
"""

from typing import Any

from llvmlite import ir
from numba import types

from minidl_kernels.cpu.emit import INT, element, intrinsic, lanes, splatted, vector_of
from minidl_kernels.cpu.simd import Vector

__all__ = [
    "WIDE",
    "WIDTH",
    "alike",
    "folded",
    "load_four",
    "load_wide",
    "settle",
    "store_four",
    "store_past",
    "store_wide",
    "wide",
    "wide_address",
]

WIDTH = 16
WIDE, FOUR = Vector(types.float32, WIDTH), Vector(types.float32, 4)


def wide_address(b: Any, pointer: Any, count: int = WIDTH) -> Any:
    """The address of a number as that of a vector of sixteen, or `count`."""
    return b.bitcast(pointer, vector_of(types.float32, count).as_pointer())


@intrinsic
def load_wide(typing: Any, x: Any, i: Any) -> Any:
    """x[i : i + 16] as a vector."""

    def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
        return b.load(wide_address(b, element(context, b, sig.args[0], *args)), align=4)

    return WIDE(x, types.intp), generate


@intrinsic
def store_wide(typing: Any, x: Any, i: Any, v: Any) -> Any:
    """x[i : i + 16] = v."""

    def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
        pointer = wide_address(b, element(context, b, sig.args[0], *args[:2]))
        b.store(args[2], pointer, align=4)
        return context.get_dummy_value()

    return types.void(x, types.intp, WIDE), generate


@intrinsic
def load_four(typing: Any, x: Any, i: Any) -> Any:
    """x[i : i + 4] as a vector."""

    def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
        return b.load(wide_address(b, element(context, b, sig.args[0], *args), 4), align=4)

    return FOUR(x, types.intp), generate


@intrinsic
def store_four(typing: Any, x: Any, i: Any, v: Any) -> Any:
    """x[i : i + 4] = v."""

    def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
        pointer = wide_address(b, element(context, b, sig.args[0], *args[:2]), 4)
        b.store(args[2], pointer, align=4)
        return context.get_dummy_value()

    return types.void(x, types.intp, FOUR), generate


@intrinsic
def store_past(typing: Any, x: Any, i: Any, v: Any) -> Any:
    """x[i : i + 16] = v, past the caches, where &x[i] is a multiple of 64; `settle` must follow.

    For results that no cache would hold until they are read: an ordinary store first reads the line
    that it then overwrites.
    """

    def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
        pointer = wide_address(b, element(context, b, sig.args[0], *args[:2]))
        written = b.store(args[2], pointer, align=64)
        written.set_metadata("nontemporal", b.module.add_metadata([INT(1)]))
        return context.get_dummy_value()

    return types.void(x, types.intp, WIDE), generate


@intrinsic
def settle(typing: Any) -> Any:
    """Have all that this thread has stored, past the caches too, seen by the others from now on."""

    def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
        b.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def wide(typing: Any, number: Any) -> Any:
    """A vector with a float32 in every lane."""
    return WIDE(types.float32), lambda context, b, sig, args: splatted(b, args[0], WIDTH)


@intrinsic
def alike(typing: Any, x: Any, number: Any) -> Any:
    """The number in every lane of a vector of float32 like x."""

    def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
        return splatted(b, b.fptrunc(args[1], ir.FloatType()), sig.args[0].count)

    return x(x, types.float64), generate


@intrinsic
def folded(typing: Any, x: Any) -> Any:
    """The sum of both halves, a vector of eight."""

    def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
        v, half = args[0], WIDTH // 2
        low = b.shuffle_vector(v, v, lanes(list(range(half))))
        return b.fadd(low, b.shuffle_vector(v, v, lanes(list(range(half, WIDTH)))))

    return Vector(types.float32)(WIDE), generate
