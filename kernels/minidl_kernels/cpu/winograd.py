"""Convolution 3 x 3 with a quarter of the multiplications: Winograd's F(4x4, 3x3), channels-last.

A block of 4 x 4 outputs needs 6 x 6 inputs and, done directly, 4 * 4 * 9 = 144 multiplications. It
is the product of two polynomials, and a product can be taken from its values at enough points,
here 0, 1, -1, 2, -2 and infinity on each axis: 36 multiplications (Lavin and Gray, "Fast algorithms
for convolutional neural networks", 2016, arXiv:1509.09308):

    y = A' [ (G w G') * (B' x B) ] A          x 6 x 6, w 3 x 3, y 4 x 4, * elementwise

With channels, * is 36 products of matrices, (tiles, C) @ (C, O), for the register tile of `gemm`.
Channels lie together in memory, so that the transforms B', G and A' work on vectors of eight
channels and are additions of whole vectors; they cost a tenth of the products.

A task takes some tiles through all three steps, in memory that stays in its core's cache. With few
tiles and many channels it is the other way round (`deep`): the 36 transformed filters would be the
large thing, so a task makes those of 16 outputs, uses them for all tiles, and forgets them.

The gradient of the input is the same with the filter turned by half a circle. That of the weights
is the transpose of the whole, gw = G' [ sum over tiles of (A g A') * (B' x B) ] G.

The values at 2 and -2 cost accuracy, some 3 bits (`plans` states the bound). And one NaN or
infinity reaches all of its 4 x 4 block. So the results are looked at while they are written, and if
one is not finite the caller does all of it again, directly: then NaN stands where it belongs.
"""

from typing import Any, NamedTuple

import numpy as np

from minidl_kernels.cpu.compiling import helper
from minidl_kernels.cpu.gemm import TILE_COLUMNS
from minidl_kernels.cpu.launch import floats, octets, record
from minidl_kernels.cpu.simd import (
    LANES,
    fma,
    load,
    load_first,
    maximum,
    splat,
    store,
    store_first,
    store_octets,
    total,
)
from minidl_kernels.cpu.wide import alike
from minidl_kernels.cpu.windows import largest

__all__ = [
    "POINTS",
    "Tiles",
    "four_of_output",
    "number",
    "place_of",
    "row_of",
    "six_of_input",
    "tiles_at",
    "transform_input",
    "transform_output",
    "window",
]

POINTS = 36


class Tiles(NamedTuple):
    """A convolution 3 x 3 of x (N, H, W, C), channels-last, to y (N, P, Q, O), cut into tiles."""

    n: int
    h: int
    w: int
    c: int
    p: int
    q: int
    o: int
    top: int  # zeros in front
    left: int
    each: int  # tiles of a task
    x: int = 0  # addresses
    filters: int = 0  # (O, C, 3, 3), or (C, O, 3, 3) if swapped
    swapped: int = 0
    turned: int = 0  # whether the filter is turned by half a circle
    u: int = 0  # transformed filters
    v: int = 0  # transformed inputs
    y: int = 0
    bias: int = 0
    relu: int = 0
    past: int = 0  # whether y is larger than the caches
    d: int = 0  # transformed gradients
    begin: int = 0  # which tiles are in v and d
    end: int = 0
    bad: int = 0  # an integer: whether a result is not finite
    place: int = 0  # of each maximum of 2 x 2 outputs, in bytes; then y holds these alone
    mask: int = 0  # what relu made of the outputs
    gx: int = 0
    sums: int = 0  # (parts, O / 16, 36, C, 16)
    biases: int = 0  # (parts, O)
    parts: int = 0

    @property
    def buffer(self) -> int:
        """Numbers of a tile and of half its transform, of whichever is larger."""
        return max(36 * (-(-max(self.c, self.o) // LANES) + 1) * LANES, 27 * TILE_COLUMNS)

    @property
    def tiles(self) -> int:
        """How many blocks of 4 x 4 outputs there are."""
        return self.n * -(-self.p // 4) * -(-self.q // 4)


def wide(channels: int) -> int:
    """`row_of` outside of compiled code."""
    return -(-channels // TILE_COLUMNS) * TILE_COLUMNS + LANES


_RECORD = np.dtype([(name, np.intp) for name in Tiles._fields])
tiles_at = record(_RECORD)

# ---- the transforms, on vectors of eight channels -----------------------------------------------


@helper
def number(value: float) -> Any:
    """The number in every lane."""
    return splat(np.float32(value))


@helper
def six_of_input(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> Any:
    """B' x: six values of a polynomial of six coefficients, but for factors that G has."""
    four, five = alike(a, 4.0), alike(a, -5.0)
    even, odd = fma(alike(a, -4.0), c, e), fma(alike(a, -4.0), b, d)
    half, twice = e - c, alike(a, 2.0) * (d - b)
    first, last = fma(four, a, fma(five, c, e)), fma(four, b, fma(five, d, f))
    return first, even + odd, even - odd, half + twice, half - twice, last


@helper
def four_of_output(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> Any:
    """A' m: four coefficients from six values."""
    even, odd, half, twice = b + c, b - c, d + e, d - e
    return (
        a + even + half,
        fma(alike(a, 2.0), twice, odd),
        fma(alike(a, 4.0), half, even),
        fma(alike(a, 8.0), twice, odd) + f,
    )


# ---- one tile -----------------------------------------------------------------------------------


@helper
def place_of(p: Any, tile: int) -> Any:
    """The image, the row and the column at which a tile's outputs begin."""
    down, across = -(-p.p // 4), -(-p.q // 4)
    return tile // (down * across), tile // across % down * 4, tile % across * 4


@helper
def row_of(channels: int) -> int:
    """Numbers from a pixel's channels to the next's: whole vectors, and never a power of two.

    Rows at a power of two would all want the same few places in the cache.
    """
    return -(-channels // TILE_COLUMNS) * TILE_COLUMNS + LANES


@helper
def window(x: Any, n: int, h: int, w: int, c: int, image: int, top: int, left: int, size: int,
            buffer: Any) -> Any:  # fmt: skip
    """Copy a window of size x size pixels, zeros where it is outside, channels in whole vectors."""
    wide = -(-c // LANES) * LANES
    for i in range(size):
        for j in range(size):
            place = (i * size + j) * wide
            row, column = top + i, left + j
            if 0 <= row < h and 0 <= column < w:
                source = ((image * h + row) * w + column) * c
                for k in range(0, c - c % LANES, LANES):
                    store(buffer, place + k, load(x, source + k))
                if c % LANES:
                    k = c - c % LANES
                    store(buffer, place + k, load_first(x, source + k, c - k))
            else:
                for k in range(0, wide, LANES):
                    store(buffer, place + k, number(0.0))


@helper
def transform_input(p: Any, x: Any, tile: int, v: Any, v0: int, step: int, buffer: Any) -> None:
    """v[v0 + point * step + c] = (B' x B)[point] of the 6 x 6 inputs under a tile."""
    n, row, column = place_of(p, tile)
    row, column, c = row - p.top, column - p.left, p.c
    source, first, down, right = x, ((n * p.h + row) * p.w + column) * c, p.w * c, c
    inside = row >= 0 and column >= 0 and row + 6 <= p.h and column + 6 <= p.w
    if not inside or c % LANES:
        window(x, p.n, p.h, p.w, c, n, row, column, 6, buffer)
        right = -(-c // LANES) * LANES
        source, first, down = buffer, 0, 6 * right
    half = 36 * -(-c // LANES) * LANES  # of the buffer: rows of the half transformed tile
    for k in range(0, c, LANES):
        for j in range(6):
            i = first + j * right + k
            r = six_of_input(
                load(source, i), load(source, i + down), load(source, i + 2 * down),
                load(source, i + 3 * down), load(source, i + 4 * down), load(source, i + 5 * down),
            )  # fmt: skip
            for point in range(6):
                store(buffer, half + (point * 6 + j) * LANES, r[point])
        for i in range(6):
            j = half + i * 6 * LANES
            r = six_of_input(
                load(buffer, j), load(buffer, j + 8), load(buffer, j + 16),
                load(buffer, j + 24), load(buffer, j + 32), load(buffer, j + 40),
            )  # fmt: skip
            for point in range(6):
                store(v, v0 + (i * 6 + point) * step + k, r[point])


@helper
def transform_output(
    p: Any, m: Any, m0: int, step: int, tile: int, first: int, count: int, y: Any, buffer: Any
) -> Any:  # fmt: skip
    """Write `count` channels, from `first` on, of a tile's 4 x 4 outputs; returns 0 if finite.

    Where there is `place`, of each 2 x 2 of them the largest, and its place.
    """
    n, row, column = place_of(p, tile)
    height, width = min(4, p.p - row), min(4, p.q - column)
    seen, zero = number(0.0), number(0.0)
    for k in range(0, count, LANES):
        for j in range(6):
            i = m0 + j * step + k
            r = four_of_output(
                load(m, i), load(m, i + 6 * step), load(m, i + 12 * step),
                load(m, i + 18 * step), load(m, i + 24 * step), load(m, i + 30 * step),
            )  # fmt: skip
            for point in range(4):
                store(buffer, (point * 6 + j) * LANES, r[point])
        left = count - k
        shift = zero
        if p.bias:
            shift = load_first(floats(p.bias), first + k, min(left, LANES))
        if p.place:
            for i in range(0, height, 2):
                top, bottom = _across(buffer, i), _across(buffer, i + 1)
                window = (n * p.p + row + i) // 2 * (p.q // 2) + column // 2
                place = window * p.o + first + k
                seen = _pool(p, top[0], top[1], bottom[0], bottom[1], shift, y, place, seen)
                if width == 4:
                    place += p.o
                    seen = _pool(p, top[2], top[3], bottom[2], bottom[3], shift, y, place, seen)
            continue
        for i in range(height):
            r = _across(buffer, i)
            place = ((n * p.p + row + i) * p.q + column) * p.o + first + k
            for point in range(4):
                if point < width:
                    out = r[point] + shift
                    seen = fma(out, zero, seen)  # NaN for ever, if it is not finite
                    if p.relu:
                        out = maximum(out, zero)
                    if left >= LANES:
                        store(y, place + point * p.o, out)
                    else:
                        store_first(y, place + point * p.o, out, left)
    return total(seen)


@helper
def _across(buffer: Any, i: int) -> Any:
    """A row of a tile's outputs, of which the columns are transformed."""
    j = i * 6 * LANES
    return four_of_output(
        load(buffer, j), load(buffer, j + 8), load(buffer, j + 16),
        load(buffer, j + 24), load(buffer, j + 32), load(buffer, j + 40),
    )  # fmt: skip


@helper
def _pool(
    p: Any, a: Any, b: Any, c: Any, d: Any, shift: Any, y: Any, i: int, seen: Any
) -> Any:  # fmt: skip
    """Write the largest of a window; returns 0 as long as all are finite."""
    zero = number(0.0)
    a, b, c, d = a + shift, b + shift, c + shift, d + shift
    best, place = largest(a, b, c, d, p.relu)
    store(y, i, best)
    store_octets(octets(p.place), i, place)
    return fma(a, zero, fma(b, zero, fma(c, zero, fma(d, zero, seen))))
