"""How vectors of eight lanes are said in LLVM's language: what `simd` and `gemm` are written with.

`b` is llvmlite's builder, which appends instructions to the function that is being compiled.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending, types
from numba.core import cgutils

__all__ = [
    "INT",
    "INT64",
    "LANES",
    "address",
    "alignment",
    "call",
    "constant",
    "element",
    "fused",
    "intrinsic",
    "invoke",
    "lanes",
    "masked_load",
    "masked_store",
    "opaque",
    "prefetch",
    "splatted",
    "vector_of",
]

LANES = 8
INT, INT64 = ir.IntType(32), ir.IntType(64)

# An intrinsic is written with one argument, Numba's typing, more than it is called with.
intrinsic: Any = extending.intrinsic


_KINDS = {types.float32: ir.FloatType(), types.float64: ir.DoubleType(), types.int32: INT}


def vector_of(dtype: Any, count: int = LANES) -> Any:
    """LLVM's type of eight (or `count`) lanes of a dtype of Numba: float32, float64 or int32."""
    return ir.VectorType(_KINDS[dtype], count)


def splatted(b: Any, number: Any, count: int = LANES) -> Any:
    """A number in every lane."""
    vector = ir.VectorType(number.type, count)
    first = b.insert_element(ir.Constant(vector, ir.Undefined), number, INT(0))
    return b.shuffle_vector(first, ir.Constant(vector, ir.Undefined), lanes([0] * count))


def lanes(numbers: list[int]) -> Any:
    """A vector of integers that is known: which lanes a shuffle takes."""
    return ir.Constant(ir.VectorType(INT, len(numbers)), numbers)


def constant(vector: Any, number: float) -> Any:
    """A number that is known, in every lane."""
    number = float(np.float32(number)) if vector.element == ir.FloatType() else float(number)
    return ir.Constant(vector, [ir.Constant(vector.element, number)] * vector.count)


def _suffix(vector: Any) -> str:
    """How LLVM's intrinsics name a type of vector."""
    kinds = {ir.FloatType(): "f32", ir.DoubleType(): "f64", INT: "i32"}
    return f"v{vector.count}{kinds[vector.element]}"


def invoke(b: Any, name: str, result: Any, *args: Any) -> Any:
    """Call a function of C, or one of LLVM's by its whole name."""
    kind = ir.FunctionType(result, [a.type for a in args])
    return b.call(cgutils.get_or_insert_function(b.module, kind, name), args)


def call(b: Any, name: str, result: Any, *args: Any) -> Any:
    """Call LLVM's intrinsic `name` for this type of vector."""
    return invoke(b, f"{name}.{_suffix(args[0].type)}", result, *args)


def fused(b: Any, x: Any, y: Any, z: Any) -> Any:
    """x * y + z."""
    # fmuladd, not fma: without the instruction, fma would be a call into the C library.
    return call(b, "llvm.fmuladd", x.type, x, y, z)


def element(context: Any, b: Any, array: Any, value: Any, index: Any) -> Any:
    """The address of array[index]: `array` is the type, `value` the array."""
    return b.gep(context.make_array(array)(context, b, value).data, [index])


def address(context: Any, b: Any, array: Any, value: Any, index: Any) -> Any:
    """The address of array[index] as that of a vector."""
    pointer = element(context, b, array, value, index)
    return b.bitcast(pointer, vector_of(array.dtype).as_pointer())


def _mask(b: Any, vector: Any, count: Any) -> Any:
    """True in the first `count` lanes of a type of vector."""
    numbers = splatted(b, b.trunc(count, INT), vector.count)
    return b.icmp_signed("<", lanes(list(range(vector.count))), numbers)


def masked_load(b: Any, pointer: Any, count: Any) -> Any:
    """The first `count` lanes from memory, zeros in the others."""
    vector = pointer.type.pointee
    suffix = _suffix(vector)
    mask, align = _mask(b, vector, count), INT(alignment(vector))
    nothing, name = ir.Constant(vector, [0] * vector.count), f"llvm.masked.load.{suffix}.p0{suffix}"
    return invoke(b, name, vector, pointer, align, mask, nothing)


def masked_store(b: Any, pointer: Any, value: Any, count: Any) -> None:
    """The first `count` lanes to memory."""
    suffix = _suffix(value.type)
    mask, align = _mask(b, value.type, count), INT(alignment(value.type))
    name = f"llvm.masked.store.{suffix}.p0{suffix}"
    invoke(b, name, ir.VoidType(), value, pointer, align, mask)


def prefetch(b: Any, pointer: Any, write: bool) -> None:
    """Ask for the cache line at an address, which need not be one of ours: nothing is read."""
    place = b.bitcast(pointer, ir.IntType(8).as_pointer())
    invoke(b, "llvm.prefetch.p0i8", ir.VoidType(), place, INT(int(write)), INT(3), INT(1))


def opaque(b: Any, number: Any) -> Any:
    """The same number or address, of which LLVM now knows nothing: it costs no instruction."""
    return b.asm(ir.FunctionType(number.type, [number.type]), "", "=r,0", [number], False)


def alignment(vector: Any) -> int:
    """What an address of a vector is a multiple of: an array promises its items' alignment."""
    return 8 if vector.element == ir.DoubleType() else 4
