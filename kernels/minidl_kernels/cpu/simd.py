"""Vectors of eight numbers for Numba: what one instruction of the processor works on.

A processor adds and multiplies 4 to 16 numbers with one instruction. Numba's compiler finds such
instructions in simple loops only, so here they are written down. A `Vector` is eight lanes of
float32 or float64 (or int32, to be compared and chosen); in compiled code it is a value like any
other:

    @njit
    def scale_and_shift(x, y, a, b):              # 1-d arrays whose size is a multiple of LANES
        for i in range(0, x.size, LANES):
            store(y, i, fma(load(x, i), splat(a), splat(b)))

`+ - * /` and unary `-` work lane by lane. `load` and `store` take a 1-d contiguous array and an
index. Like all compiled code they check no bounds: where fewer than eight numbers are left,
`load_first` and `store_first` touch the first n only and nothing beyond them.

What is emitted is LLVM's own vector code, for no machine in particular: LLVM makes one instruction
of it where there is AVX, two with SSE or NEON, and does the same arithmetic on all of them (a
product that is added at once is rounded once or twice, as the machine has it).
"""

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import lower_builtin, models, register_model

from minidl_kernels.cpu.emit import (
    INT,
    LANES,
    address,
    alignment,
    call,
    constant,
    element,
    fused,
    intrinsic,
    lanes,
    masked_load,
    masked_store,
    opaque,
    prefetch,
    splatted,
    vector_of,
)

__all__ = [
    "FASTMATH",
    "LANES",
    "Vector",
    "absolute",
    "ask_for",
    "exp",
    "exp_below",
    "fma",
    "load",
    "load_every",
    "load_first",
    "load_octets",
    "load_same",
    "maximum",
    "minimum",
    "on_the_spot",
    "sigmoid",
    "splat",
    "sqrt",
    "store",
    "store_first",
    "store_octets",
    "tanh",
    "total",
    "transpose",
    "where_equal",
    "where_greater",
    "where_wins",
]


# For `njit(fastmath=)`: what may be reordered, with NaN and infinity still what they are.
FASTMATH = {"contract", "reassoc", "nsz", "arcp"}

_OCTETS = ir.VectorType(ir.IntType(8), 8)


class Vector(types.Type):
    """Numba's type of eight (or `count`) lanes of `dtype`: numba's float32, float64 or int32."""

    def __init__(self, dtype: Any, count: int = LANES) -> None:
        self.dtype, self.count = dtype, count
        super().__init__(name=f"Vector({dtype}, {count})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    """A vector is handed around as LLVM's vector."""

    def __init__(self, manager: Any, vector: Any) -> None:
        super().__init__(manager, vector, vector_of(vector.dtype, vector.count))


# ---- memory -------------------------------------------------------------------------------------


@intrinsic
def load(typing: Any, x: Any, i: Any) -> Any:
    """x[i : i + 8] as a vector."""

    def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
        pointer = address(context, b, sig.args[0], *args)
        return b.load(pointer, align=alignment(pointer.type.pointee))

    return Vector(x.dtype)(x, types.intp), generate


@intrinsic
def store(typing: Any, x: Any, i: Any, v: Any) -> Any:
    """x[i : i + 8] = v."""

    def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
        b.store(args[2], address(context, b, sig.args[0], *args[:2]), align=alignment(args[2].type))
        return context.get_dummy_value()

    return types.void(x, types.intp, v), generate


@intrinsic
def ask_for(typing: Any, x: Any, i: Any) -> Any:
    """Have the memory around x[i] brought into the cache; i may lie outside of x."""

    def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
        prefetch(b, element(context, b, sig.args[0], *args), write=False)
        return context.get_dummy_value()

    return types.void(x, types.intp), generate


@intrinsic
def load_octets(typing: Any, x: Any, i: Any) -> Any:
    """x[i : i + 8] of uint8 as a vector of int32."""

    def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
        place = element(context, b, sig.args[0], *args)
        whole = b.load(b.bitcast(place, _OCTETS.as_pointer()), align=1)
        return b.zext(whole, vector_of(types.int32))

    return Vector(types.int32)(x, types.intp), generate


@intrinsic
def store_octets(typing: Any, x: Any, i: Any, v: Any) -> Any:
    """x[i : i + 8] = v, whose lanes are int32 from 0 to 255, into uint8."""

    def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
        place = element(context, b, sig.args[0], *args[:2])
        b.store(b.trunc(args[2], _OCTETS), b.bitcast(place, _OCTETS.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(x, types.intp, v), generate


@intrinsic
def load_first(typing: Any, x: Any, i: Any, n: Any) -> Any:
    """x[i : i + n] in the first n lanes, zeros in the others; memory beyond is not touched."""

    def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
        return masked_load(b, address(context, b, sig.args[0], *args[:2]), args[2])

    return Vector(x.dtype)(x, types.intp, types.intp), generate


@intrinsic
def store_first(typing: Any, x: Any, i: Any, v: Any, n: Any) -> Any:
    """x[i : i + n] = the first n lanes of v; memory beyond is not touched."""

    def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
        masked_store(b, address(context, b, sig.args[0], *args[:2]), args[2], args[3])
        return context.get_dummy_value()

    return types.void(x, types.intp, v, types.intp), generate


@intrinsic
def load_every(typing: Any, x: Any, i: Any, step: Any) -> Any:
    """x[i], x[i + step], … as a vector: eight reads, for numbers that do not lie together."""

    def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
        array, first, step_ = args
        vector = ir.Constant(vector_of(sig.args[0].dtype), ir.Undefined)
        for k in range(LANES):
            place = b.add(first, b.mul(step_, step_.type(k)))
            number = b.load(element(context, b, sig.args[0], array, place))
            vector = b.insert_element(vector, number, INT(k))
        return vector

    return Vector(x.dtype)(x, types.intp, types.intp), generate


@intrinsic
def load_same(typing: Any, x: Any, i: Any) -> Any:
    """x[i] in every lane."""

    def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
        return splatted(b, b.load(element(context, b, sig.args[0], *args)))

    return Vector(x.dtype)(x, types.intp), generate


@intrinsic
def transpose(typing: Any, x: Any, i: Any, row: Any, y: Any, j: Any, column: Any) -> Any:
    """y[j + column * b + a] = x[i + row * a + b] for a and b from 0 to 7: a block of 8 x 8.

    Three rounds of exchange in registers: pairs of lanes, then fours, then halves.
    """
    n = types.intp

    def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
        _, i_, row_, _, j_, column_ = args
        align = 4 if sig.args[0].dtype == types.float32 else 8

        def at(array: int, start: Any, step: Any, k: int) -> Any:
            place = b.add(start, b.mul(step, step.type(k)))
            return address(context, b, sig.args[array], args[array], place)

        rows = [b.load(at(0, i_, row_, k), align=align) for k in range(LANES)]
        for span in (1, 2, 4):
            # Lane blocks of `span` off the diagonal change places between rows k and k + span.
            low = [k + LANES - span if k & span else k for k in range(LANES)]
            high = [k + LANES if k & span else k + span for k in range(LANES)]
            for k in range(LANES):
                if not k & span:
                    one, other = rows[k], rows[k + span]
                    rows[k] = b.shuffle_vector(one, other, lanes(low))
                    rows[k + span] = b.shuffle_vector(one, other, lanes(high))
        for k, row in enumerate(rows):
            b.store(row, at(3, j_, column_, k), align=align)
        return context.get_dummy_value()

    return types.void(x, n, n, y, n, n), generate


@intrinsic
def on_the_spot(typing: Any, i: Any) -> Any:
    """The index i, for sums with it to be made where they are used.

    Else LLVM makes all sums of a loop ahead of it, and where there are more than registers it reads
    them from memory at each turn: more reads than additions would take.
    """
    return types.intp(types.intp), lambda context, b, sig, args: opaque(b, args[0])


# ---- arithmetic ---------------------------------------------------------------------------------


@intrinsic
def splat(typing: Any, number: Any) -> Any:
    """A vector with `number`, a float32, float64 or int32, in every lane."""
    return Vector(number)(number), lambda context, b, sig, args: splatted(b, args[0])


@intrinsic
def fma(typing: Any, x: Any, y: Any, z: Any) -> Any:
    """x * y + z, in one instruction where the machine has it."""
    return x(x, x, x), lambda context, b, sig, args: fused(b, *args)


def _lane_by_lane(operation: Any, name: str) -> None:
    """Let Numba use LLVM's `name` where compiled code applies an operator to vectors."""

    class Template(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            if all(isinstance(a, Vector) and a == args[0] for a in args):
                return signature(args[0], *args)
            return None

    infer_global(operation)(Template)

    def lower(context: Any, b: Any, sig: Any, args: Any) -> Any:
        return getattr(b, name)(*args)

    lower_builtin(operation, *[Vector] * (1 if operation is operator.neg else 2))(lower)


for _operation, _name in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
    (operator.neg, "fneg"),
):
    _lane_by_lane(_operation, _name)


def _extreme(b: Any, comparison: str, x: Any, y: Any) -> Any:
    best = b.select(b.fcmp_ordered(comparison, x, y), x, y)  # y if either is NaN
    return b.select(b.fcmp_unordered("uno", x, x), x, best)


@intrinsic
def maximum(typing: Any, x: Any, y: Any) -> Any:
    """The larger one, NaN if either is NaN."""
    return x(x, x), lambda context, b, sig, args: _extreme(b, ">", *args)


@intrinsic
def minimum(typing: Any, x: Any, y: Any) -> Any:
    """The smaller one, NaN if either is NaN."""
    return x(x, x), lambda context, b, sig, args: _extreme(b, "<", *args)


@intrinsic
def where_equal(typing: Any, x: Any, y: Any, a: Any, b: Any) -> Any:
    """a where x == y, else b; x and y of int32."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.icmp_signed("==", args[0], args[1]), args[2], args[3])

    return a(x, x, a, a), generate


@intrinsic
def where_greater(typing: Any, x: Any, y: Any, a: Any, b: Any) -> Any:
    """a where x > y, else b (so b where either is NaN)."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", args[0], args[1]), args[2], args[3])

    return a(x, x, a, a), generate


@intrinsic
def where_wins(typing: Any, x: Any, y: Any, a: Any, b: Any) -> Any:
    """a where x > y or x is NaN, else b: whether x takes the place of y as the largest so far."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        larger = builder.fcmp_ordered(">", args[0], args[1])
        nan = builder.fcmp_unordered("uno", args[0], args[0])
        return builder.select(builder.or_(larger, nan), args[2], args[3])

    return a(x, x, a, a), generate


@intrinsic
def absolute(typing: Any, x: Any) -> Any:
    """|x|."""
    return x(x), lambda context, b, sig, args: call(b, "llvm.fabs", args[0].type, args[0])


@intrinsic
def sqrt(typing: Any, x: Any) -> Any:
    """The square root, rounded correctly."""
    return x(x), lambda context, b, sig, args: call(b, "llvm.sqrt", args[0].type, args[0])


@intrinsic
def total(typing: Any, x: Any) -> Any:
    """The sum of the eight lanes, as ((0 + 4) + (2 + 6)) + ((1 + 5) + (3 + 7))."""

    def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
        v = args[0]
        for half in (4, 2, 1):
            low = b.shuffle_vector(v, v, lanes(list(range(half))))
            v = b.fadd(low, b.shuffle_vector(v, v, lanes(list(range(half, 2 * half)))))
        return b.extract_element(v, INT(0))

    return x.dtype(x), generate


# ---- functions of float32 -----------------------------------------------------------------------


def _polynomial(b: Any, x: Any, coefficients: tuple[float, ...]) -> Any:
    """Horner's rule, from the highest power."""
    p = constant(x.type, coefficients[0])
    for c in coefficients[1:]:
        p = fused(b, p, x, constant(x.type, c))
    return p


def _exp(b: Any, x: Any) -> Any:
    """e^x = 2^n e^r with r = x - n log 2, |r| <= log(2) / 2, and a polynomial for e^r.

    The constants are those of S. L. Moshier's Cephes library; log 2 is in two parts so that n times
    the first is exact. 2^n is applied in two halves, for it may not be a float32 where e^x is one.
    """
    vector = x.type
    integers = ir.VectorType(INT, LANES)
    nan = b.fcmp_unordered("uno", x, x)
    low, high, zero = (constant(vector, c) for c in (-104.0, 89.0, 0.0))
    y = b.select(nan, zero, x)  # no integer stands for NaN
    y = b.select(b.fcmp_ordered("<", y, low), low, y)
    y = b.select(b.fcmp_ordered(">", y, high), high, y)
    scaled = fused(b, y, constant(vector, 1.44269504088896341), constant(vector, 0.5))
    n = call(b, "llvm.floor", vector, scaled)
    r = fused(b, n, constant(vector, -0.693359375), y)
    r = fused(b, n, constant(vector, 2.12194440e-4), r)
    terms = (
        1.9875691500e-4,
        1.3981999507e-3,
        8.3334519073e-3,
        4.1665795894e-2,
        1.6666665459e-1,
        5.0000001201e-1,
    )
    p = _polynomial(b, r, terms)
    p = b.fadd(fused(b, p, b.fmul(r, r), r), constant(vector, 1.0))
    n = b.fptosi(n, integers)
    half = b.ashr(n, lanes([1] * LANES))
    for power in (half, b.sub(n, half)):
        bits = b.shl(b.add(power, lanes([127] * LANES)), lanes([23] * LANES))
        p = b.fmul(p, b.bitcast(bits, vector))
    return b.select(nan, x, p)


@intrinsic
def exp(typing: Any, x: Any) -> Any:
    """e^x of float32, to 2 units in the last place; 0, infinity and NaN as they should be."""
    _float32_only("exp", x)
    return x(x), lambda context, b, sig, args: _exp(b, args[0])


@intrinsic
def exp_below(typing: Any, x: Any) -> Any:
    """e^x of float32 for x up to 88, to 2 units in the last place; 0 below -87.

    In half the time of `exp`, for what needs no care at the upper end: x less the largest x.
    """
    _float32_only("exp_below", x)
    return x(x), lambda context, b, sig, args: _exp_below(b, args[0])


def _exp_below(b: Any, x: Any) -> Any:
    """e^x = 2^n e^r, |r| <= log(2) / 2."""
    power, r = _whole_power(b, x)
    p = b.fmul(_polynomial(b, r, (*_TERMS, 1.0, 1.0)), power)
    return b.select(b.fcmp_ordered("<", x, constant(x.type, -87.0)), constant(x.type, 0.0), p)


# Of the polynomial of least relative error for e^r, 4e-9, from the highest power to the second.
_TERMS = (1.3814474794e-3, 8.3687831359e-3, 4.1668394304e-2, 1.6666520085e-1, 4.9999993411e-1)


def _whole_power(b: Any, x: Any) -> tuple[Any, Any]:
    """2^n and r, with x = n log 2 + r.

    A sum of 1.5 * 2^23 + 127 and a small number is rounded to a whole one, whose lowest bits hold
    n + 127: moved up, they are 2^n.
    """
    vector, integers, magic = x.type, ir.VectorType(INT, LANES), 12582912.0 + 127
    n = fused(b, x, constant(vector, 1.44269504088896341), constant(vector, magic))
    power = b.bitcast(b.shl(b.bitcast(n, integers), lanes([23] * LANES)), vector)
    n = b.fsub(n, constant(vector, magic))
    r = fused(b, n, constant(vector, -0.693359375), x)
    return power, fused(b, n, constant(vector, 2.12194440e-4), r)


def _within(b: Any, x: Any, low: float, high: float) -> Any:
    """x, but no further out than low and high; NaN stays what it is."""
    for comparison, bound in (("<", low), (">", high)):
        end = constant(x.type, bound)
        x = b.select(b.fcmp_ordered(comparison, x, end), end, x)
    return x


@intrinsic
def sigmoid(typing: Any, x: Any) -> Any:
    """1 / (1 + e^-x) of float32."""
    _float32_only("sigmoid", x)

    def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
        one = constant(args[0].type, 1.0)
        # e^-87 doesn't count beside 1; from 88.4 on the power is 2^128, which stands for infinity.
        power, r = _whole_power(b, _within(b, b.fneg(args[0]), -87.0, 89.0))
        return b.fdiv(one, fused(b, _polynomial(b, r, (*_TERMS, 1.0, 1.0)), power, one))

    return x(x), generate


@intrinsic
def tanh(typing: Any, x: Any) -> Any:
    """Hyperbolic tangent of float32: y / (y + 2), where y = e^2x - 1.

    y = 2^n (e^r - 1) + (2^n - 1) is as exact near 0, where n is 0, as elsewhere.
    """
    _float32_only("tanh", x)

    def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
        one, two = constant(args[0].type, 1.0), constant(args[0].type, 2.0)
        power, r = _whole_power(b, _within(b, b.fmul(two, args[0]), -20.0, 20.0))
        p = fused(b, _polynomial(b, r, _TERMS), b.fmul(r, r), r)
        y = fused(b, p, power, b.fsub(power, one))
        return b.fdiv(y, b.fadd(y, two))

    return x(x), generate


def _float32_only(name: str, x: Any) -> None:
    if not isinstance(x, Vector) or x.dtype != types.float32:
        raise TypeError(f"simd.{name}: got {x}; only a vector of float32 is written")
