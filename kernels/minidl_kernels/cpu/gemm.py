"""Matrix products from tiles that live in registers, and how their right sides are packed.

`gemm_tile` is what all matrix products, convolutions and recurrent layers are made of. It keeps a
block of 6 x 16 sums in 12 vector registers. A step reads two vectors of B and six numbers of A and
does 12 multiplications of vectors, 2 * 96 operations for 22 numbers read: the units that multiply
never wait for memory (measured: 116 GFLOP/s on one core at 3.7 GHz, of 118 there are).

A machine with AVX-512 has 32 registers of 16 lanes of float32. There a row of a tile is one vector,
not two: half the instructions for the same sums, in the same order, so with the same bits. Even
where the arithmetic units take as long for 16 lanes as for twice 8 (Zen 4), a tile can begin while
the one before it ends: with a depth of 27, where a tile is short, 113 GFLOP/s and not 108.
"""

from typing import Any

from llvmlite import ir
from numba import carray, types
from numba.core import cgutils, registry

from minidl_kernels.cpu.compiling import helper, native
from minidl_kernels.cpu.emit import (
    INT64,
    alignment,
    constant,
    element,
    fused,
    intrinsic,
    invoke,
    masked_load,
    masked_store,
    opaque,
    prefetch,
    splatted,
    vector_of,
)
from minidl_kernels.cpu.simd import LANES, ask_for, load, load_first, splat, store, transpose

__all__ = ["TILE_COLUMNS", "TILE_ROWS", "gemm_rows", "gemm_tile", "pack", "pack_transposed"]

WIDE = "+avx512f" in registry.cpu_target.target_context.codegen().magic_tuple()[2]
TILE_ROWS, TILE_COLUMNS = 8 if WIDE else 6, 16


@intrinsic(prefer_literal=True)
def _tile(
    typing: Any,
    rows: Any,
    columns: Any,
    a: Any,
    a0: Any,
    am: Any,
    ak: Any,
    at: Any,
    b: Any,
    b0: Any,
    bk: Any,
    bt: Any,
    steps: Any,
    depth: Any,
    c: Any,
    c0: Any,
    cm: Any,
    width: Any,
    add: Any,
) -> Any:
    """`gemm_tile` for a number of rows, and of eights of columns, that the compiler knows."""
    n, height, columns_ = types.intp, rows.literal_value, LANES * columns.literal_value
    count = columns_ if WIDE and c.dtype == types.float32 else LANES  # lanes of a vector
    sig = types.void(
        rows, columns, a, n, n, n, n, b, n, n, n, n, n, c, n, n, n, types.boolean
    )  # fmt: skip

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        a_, a0_, am_, ak_, at_, b_, b0_, bk_, bt_, steps_, depth_, c_, c0_, cm_, width_, add_ = (
            args[2:]
        )
        emit, vector = builder, vector_of(c.dtype, count)
        align = alignment(vector)
        firsts = range(0, columns_, count)  # the columns with which vectors begin
        places = [(m, j) for m in range(height) for j in firsts]
        sums = {place: cgutils.alloca_once(emit, vector) for place in places}
        whole = emit.icmp_signed("==", width_, width_.type(columns_))

        def place_of(m: int, j: int) -> Any:
            index = emit.add(emit.add(c0_, emit.mul(cm_, cm_.type(m))), cm_.type(j))
            place = element(context, emit, sig.args[13], c_, index)
            return emit.bitcast(place, vector.as_pointer())

        def left(j: int) -> Any:
            return emit.sub(width_, width_.type(j))

        # The lines of C are asked for now, so that they are here when the sums are.
        for m in range(height):
            prefetch(emit, place_of(m, 0), write=True)
        for place in places:
            emit.store(constant(vector, 0.0), sums[place])
        with emit.if_then(add_), emit.if_else(whole) as (full, part):
            with full:
                for place in places:
                    emit.store(emit.load(place_of(*place), align=align), sums[place])
            with part:
                for m, j in places:
                    emit.store(masked_load(emit, place_of(m, j), left(j)), sums[m, j])

        first_a = element(context, emit, sig.args[2], a_, a0_)
        first_b = element(context, emit, sig.args[7], b_, b0_)
        next_a = cgutils.alloca_once(emit, first_a.type)
        next_b = cgutils.alloca_once(emit, first_b.type)
        # Opaque, or LLVM makes each address of a step from the one before: a chain of six sums,
        # as long as the step itself, so that one tile cannot begin while another one ends.
        offsets = [opaque(emit, emit.mul(am_, am_.type(m))) for m in range(height)]
        with cgutils.for_range(emit, steps_) as step:
            emit.store(emit.gep(first_a, [emit.mul(step.index, at_)]), next_a)
            emit.store(emit.gep(first_b, [emit.mul(step.index, bt_)]), next_b)
            with cgutils.for_range(emit, depth_):
                at_a, at_b = emit.load(next_a), emit.load(next_b)
                row = {}
                for j in firsts:
                    place = emit.bitcast(emit.gep(at_b, [b0_.type(j)]), vector.as_pointer())
                    row[j] = emit.load(place, align=align)
                for m in range(height):
                    number = splatted(emit, emit.load(emit.gep(at_a, [offsets[m]])), count)
                    for j in firsts:
                        s = sums[m, j]
                        emit.store(fused(emit, number, row[j], emit.load(s)), s)
                emit.store(opaque(emit, emit.gep(at_a, [ak_])), next_a)
                emit.store(opaque(emit, emit.gep(at_b, [bk_])), next_b)

        with emit.if_else(whole) as (full, part):
            with full:
                for place in places:
                    emit.store(emit.load(sums[place]), place_of(*place), align=align)
            with part:
                for m, j in places:
                    masked_store(emit, place_of(m, j), emit.load(sums[m, j]), left(j))
        return context.get_dummy_value()

    return sig, generate


@helper(forceinline=True)
def gemm_tile(
    rows: Any,
    a: Any,
    a0: Any,
    am: Any,
    ak: Any,
    at: Any,
    b: Any,
    b0: Any,
    bk: Any,
    bt: Any,
    steps: Any,
    depth: Any,
    c: Any,
    c0: Any,
    cm: Any,
    width: Any,
    add: Any,
) -> None:
    """One block of a matrix product, or of several whose results are added, held in registers.

        C[m, n] (+)= sum over t < steps, k < depth of  A[t, m, k] * B[t, k, n]
        m < rows <= TILE_ROWS, n < width <= 16

    a, b, c : contiguous arrays of one dtype, in which the blocks lie with any strides:
        A[t, m, k] = a[a0 + t * at + m * am + k * ak]
        B[t, k, n] = b[b0 + t * bt + k * bk + n], readable for all n < 16 (or 8 if width <= 8)
        C[m, n] = c[c0 + m * cm + n]; beyond `width` it is neither read nor written
    add : whether to add to what C holds

    Every sum runs in the same order, whatever the number of rows.
    """
    if width > LANES:
        if WIDE and rows == 8:
            _tile(8, 2, a, a0, am, ak, at, b, b0, bk, bt, steps, depth, c, c0, cm, width, add)
        elif WIDE and rows == 7:
            _tile(7, 2, a, a0, am, ak, at, b, b0, bk, bt, steps, depth, c, c0, cm, width, add)
        elif rows == 6:
            _tile(6, 2, a, a0, am, ak, at, b, b0, bk, bt, steps, depth, c, c0, cm, width, add)
        elif rows == 5:
            _tile(5, 2, a, a0, am, ak, at, b, b0, bk, bt, steps, depth, c, c0, cm, width, add)
        elif rows == 4:
            _tile(4, 2, a, a0, am, ak, at, b, b0, bk, bt, steps, depth, c, c0, cm, width, add)
        elif rows == 3:
            _tile(3, 2, a, a0, am, ak, at, b, b0, bk, bt, steps, depth, c, c0, cm, width, add)
        elif rows == 2:
            _tile(2, 2, a, a0, am, ak, at, b, b0, bk, bt, steps, depth, c, c0, cm, width, add)
        else:
            _tile(1, 2, a, a0, am, ak, at, b, b0, bk, bt, steps, depth, c, c0, cm, width, add)
    elif rows == TILE_ROWS:
        _tile(TILE_ROWS, 1, a, a0, am, ak, at, b, b0, bk, bt, steps, depth, c, c0, cm, width, add)
    else:
        for m in range(rows):
            i, j = a0 + m * am, c0 + m * cm
            _tile(1, 1, a, i, am, ak, at, b, b0, bk, bt, steps, depth, c, j, cm, width, add)


@intrinsic
def gemm_rows(
    typing: Any,
    m: Any,
    a: Any,
    a0: Any,
    am: Any,
    ak: Any,
    at: Any,
    b: Any,
    b0: Any,
    bk: Any,
    bt: Any,
    steps: Any,
    depth: Any,
    c: Any,
    c0: Any,
    cm: Any,
    width: Any,
    add: Any,
) -> Any:
    """`gemm_tile` for any number m of rows, cut into tiles of TILE_ROWS to half as many.

    For float32 it is a call of one function that all kernels share, `minidl_gemm_rows`: tiles take
    far longer to compile than all that is around them.
    """
    n, arrays = types.intp, {1: a, 6: b, 12: c}
    sig = types.void(*[arrays.get(k, n) for k in range(16)], types.boolean)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        if a.dtype != types.float32:
            context.compile_internal(builder, _rows.py_func, sig, args)
            return context.get_dummy_value()
        values = list(args)
        for k, array in arrays.items():
            values[k] = element(context, builder, array, args[k], INT64(0))
        values[16] = builder.zext(args[16], INT64)
        invoke(builder, _SYMBOL, ir.VoidType(), *values)
        return context.get_dummy_value()

    return sig, generate


@helper(forceinline=True)
def _rows(
    m: Any,
    a: Any,
    a0: Any,
    am: Any,
    ak: Any,
    at: Any,
    b: Any,
    b0: Any,
    bk: Any,
    bt: Any,
    steps: Any,
    depth: Any,
    c: Any,
    c0: Any,
    cm: Any,
    width: Any,
    add: Any,
) -> None:
    done = 0
    while done < m:
        left = m - done
        rows = min(left, TILE_ROWS)
        if TILE_ROWS < left < 2 * TILE_ROWS and width > LANES:
            rows = (left + 1) // 2  # not 6 + 1: small tiles are slow; of 8 columns, any
        i, j = a0 + done * am, c0 + done * cm
        gemm_tile(rows, a, i, am, ak, at, b, b0, bk, bt, steps, depth, c, j, cm, width, add)
        done += rows


_SYMBOL = "minidl_gemm_rows"
_n, _floats = types.int64, types.CPointer(types.float32)


@native(
    _SYMBOL,
    types.void(_n, _floats, _n, _n, _n, _n, _floats, _n, _n, _n, _n, _n, _floats, _n, _n, _n, _n),
)
def _rows_of_float32(
    m: Any,
    a: Any,
    a0: Any,
    am: Any,
    ak: Any,
    at: Any,
    b: Any,
    b0: Any,
    bk: Any,
    bt: Any,
    steps: Any,
    depth: Any,
    c: Any,
    c0: Any,
    cm: Any,
    width: Any,
    add: Any,
) -> None:
    left, right, out = carray(a, 1), carray(b, 1), carray(c, 1)
    _rows(m, left, a0, am, ak, at, right, b0, bk, bt, steps, depth, out, c0, cm, width, add != 0)


@helper
def pack(b: Any, b0: Any, bk: Any, k: Any, n: Any, panels: Any, p0: Any) -> None:
    """The right side of a product as panels of 16 columns: (K, N) -> (N / 16, K, 16).

    b[b0 + i * bk + j] is row i < k, column j < n; the panels begin at panels[p0], each row of 16
    behind the other, so that a tile reads its memory in order. Missing columns are zeros.
    """
    for first in range(0, n, TILE_COLUMNS):
        width = min(TILE_COLUMNS, n - first)
        start = p0 + first * k
        for i in range(k):
            place, source = start + i * TILE_COLUMNS, b0 + i * bk + first
            if width == TILE_COLUMNS:
                ask_for(b, source + k * bk)  # what comes next, if the caller goes on in order
                store(panels, place, load(b, source))
                store(panels, place + LANES, load(b, source + LANES))
            else:
                store(panels, place, load_first(b, source, width))
                store(panels, place + LANES, load_first(b, source + LANES, width - LANES))


@helper
def pack_transposed(b: Any, b0: Any, bn: Any, k: Any, n: Any, panels: Any, p0: Any) -> None:
    """`pack` for a right side that lies transposed: b[b0 + j * bn + i] is row i, column j."""
    for first in range(0, n, LANES):
        width = min(LANES, n - first)
        start = p0 + first // TILE_COLUMNS * TILE_COLUMNS * k + first % TILE_COLUMNS
        done = 0
        if width == LANES:
            done = k - k % LANES
            for i in range(0, done, LANES):
                place = start + i * TILE_COLUMNS
                transpose(b, b0 + first * bn + i, bn, panels, place, TILE_COLUMNS)
        for i in range(done, k):
            for j in range(width):
                panels[start + i * TILE_COLUMNS + j] = b[b0 + (first + j) * bn + i]
            for j in range(width, LANES):
                panels[start + i * TILE_COLUMNS + j] = 0
    if 0 < n % TILE_COLUMNS <= LANES:  # the right half of the last panel
        start = p0 + n // TILE_COLUMNS * TILE_COLUMNS * k + LANES
        for i in range(k):
            store(panels, start + i * TILE_COLUMNS, splat(b.dtype.type(0)))
