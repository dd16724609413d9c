"""The gradient of a convolution's input with few channels: each product holds all of a window.

`direct` makes 16 channels of the input at a time, and of one to four most of its tile goes to
waste. Here the taps lie beside the channels and fill it: one product says what a pixel of g adds
to all places in its window, and that is then added where it belongs,

    share[w, tap, c] = sum over o of  g[w, o] * W[o, c, tap]
    gx[w * stride - before + tap * dilation, c] += share[w, tap, c]

A task makes some rows of gx, so that no two add to the same place; a row of g that reaches into the
rows of two tasks is multiplied in both. `Geometry` is that of the convolution from g to gx.
"""

from typing import Any

from numba import types
from numba.core import cgutils

from minidl_kernels.cpu.direct import geometry
from minidl_kernels.cpu.emit import element, intrinsic
from minidl_kernels.cpu.gemm import TILE_COLUMNS, gemm_rows
from minidl_kernels.cpu.launch import floats

__all__ = ["spread"]


@intrinsic
def _add_every(typing: Any, y: Any, j: Any, ys: Any, x: Any, i: Any, xs: Any, count: Any) -> Any:
    """y[j + k * ys] += x[i + k * xs] for k < count.

    Numba would look for every index whether it is negative, which takes longer than the sum.
    """
    n = types.intp
    sig = types.void(y, n, n, x, n, n, n)

    def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
        y_, j_, ys_, x_, i_, xs_, count_ = args
        first_y = element(context, b, sig.args[0], y_, j_)
        first_x = element(context, b, sig.args[3], x_, i_)
        with cgutils.for_range(b, count_) as k:
            at_y = b.gep(first_y, [b.mul(k.index, ys_)])
            number = b.load(b.gep(first_x, [b.mul(k.index, xs_)]))
            b.store(b.fadd(b.load(at_y), number), at_y)
        return context.get_dummy_value()

    return sig, generate


def spread(task: int, room: int, args: int) -> None:
    """Make some rows of gx, of images with one or two axes; stride, padding are the convolution's.

    p.panels : W as (taps * C / 16, O, 16), zeros behind the last; room for a row of shares
    """
    p = geometry(args)
    g, panels, gx, share = floats(p.x), floats(p.panels), floats(p.y), floats(room)
    down = -(-p.oh // p.rows)
    n, top = task // down, task % down * p.rows
    bottom = min(top + p.rows, p.oh)
    start = n * p.yn + top * p.yh
    for i in range((bottom - top) * p.ow * p.o):
        gx[start + i] = 0
    blocks = -(-p.kh * p.kw * p.o // TILE_COLUMNS)
    wide = blocks * TILE_COLUMNS
    # Rows of g whose windows reach from `top` to `bottom`: the first by its last tap.
    first = max(0, -((p.kh - 1) * p.dh - p.ph - top) // p.sh)
    last = min(p.ih - 1, (bottom - 1 + p.ph) // p.sh)
    for row in range(first, last + 1):
        for block in range(blocks):
            gemm_rows(
                p.iw,
                g, n * p.xn + row * p.xh, p.xw, 1, 0,
                panels, block * p.c * TILE_COLUMNS, TILE_COLUMNS, 0,
                1, p.c,
                share, block * TILE_COLUMNS, wide, TILE_COLUMNS, False,
            )  # fmt: skip
        for tap in range(p.kh * p.kw):
            h, shift = row * p.sh - p.ph + tap // p.kw * p.dh, tap % p.kw * p.dw - p.pw
            if not top <= h < bottom:
                continue
            # Pixel w of g adds to column w * sw + shift.
            low = max(0, -(shift // p.sw))
            high = min(p.iw, (p.ow - 1 - shift) // p.sw + 1)
            source = low * wide + tap * p.o
            place = n * p.yn + h * p.yh + (low * p.sw + shift) * p.o
            for c in range(p.o):
                _add_every(gx, place + c, p.sw * p.o, share, source + c, wide, high - low)
