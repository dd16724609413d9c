"""Numeric derivatives with an error bound; kinks, jumps and borders of domains.

Along a line x + t d a function y(t) is looked at in windows of three steps h, h/2, h/4 on both
sides. With D(h) = (y(h) - y(-h)) / 2h, whose error is c₂h² + c₄h⁴ + …, two rounds of Richardson's
extrapolation give

    R = (64 D(h/4) - 20 D(h/2) + D(h)) / 45,     error O(h⁶),

and the difference to the round before is the estimate of what truncation leaves. Rounding leaves at
most (64·4 + 20·2 + 1)/45 · n/h, where n is the noise of y: its last digits, and what is seen of
noise over tiny steps, where a smooth function is a polynomial (Moré and Wild, "Estimating
computational noise", 2011, ask differences of high order; a fit needs no equal steps, which may
fall in with the digits that are lost). Where a window is not good enough, smaller ones are tried if
truncation is the trouble, larger ones if it is noise.

At a kink the slopes to the right and to the left differ. Both are extrapolated from these values,

    F = (8 F(h/4) - 6 F(h/2) + F(h)) / 3,        F(h) = (y(h) - y(0)) / h,

and where their difference stays, down to the smallest step at which it can be seen, the function
has a kink at x; where it goes, the kink lay beside x and the smaller windows are free of it. At a
jump the slopes of the two pieces are taken without y(0). Everything is done for each output by
itself and weighed afterwards, so that kinks of several outputs do not hide one another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.testing.points import (
    Array,
    copy_as_laid,
    flat,
    largest,
    power_of_two,
    random_weights,
    scale_of,
    silent,
)
from minidl.testing.subjects import Level

EPS = float(np.finfo(np.float64).eps)
FIRST = 2.0**-9  # of the argument's scale: there truncation and rounding weigh about the same
FINER = (4, 9, 15, 22, 29)  # windows begin at FIRST / 2**k
COARSER = (-6, -3)
SAFETY = 4.0  # an estimate of an error is trusted up to this factor
CHUNK = 2**21  # numbers held at a time

_STEPS = np.array([1.0, 0.5, 0.25])
_CENTRAL = np.array([1.0, -20.0, 64.0]) / 45
_CENTRAL_BEFORE = np.array([0.0, -1.0, 4.0]) / 3
_SIDED = np.array([1.0, -6.0, 8.0]) / 3
_SIDED_BEFORE = np.array([0.0, -1.0, 2.0])
_PIECE = np.array([-0.5, 2.5, -2.0]) * 4  # slope at 0 of the parabola through h, h/2, h/4, times h
_PIECE_BEFORE = np.array([0.0, 1.0, -1.0]) * 4
_CENTRALS, _SIDES = (_CENTRAL, _CENTRAL_BEFORE), (_SIDED, _SIDED_BEFORE)
_PIECES = (_PIECE, _PIECE_BEFORE)
_CENTRAL_NOISE = float(np.abs(_CENTRAL / _STEPS).sum())
_SIDED_NOISE = 2 * float(np.abs(_SIDED / _STEPS).sum())
_PIECE_NOISE = float(np.abs(_PIECE).sum())


@dataclass(frozen=True)
class Line:
    """A line through the point: one element of one argument, or a direction in one argument."""

    argument: int  # -1: all of them move, and `direction` is a list
    index: tuple[int, ...] | None
    direction: Any
    unit: float  # a power of two near the scale of what moves
    size: float  # the largest number that moves: x + h is off by half a digit of it


class Probe:
    """The map of a level near its point: values along lines, and their noise."""

    def __init__(self, level: Level, rng: np.random.Generator) -> None:
        self.level = level
        self.base = level.points
        self.moved = [copy_as_laid(p) for p in level.points]
        self.seen = []  # what the function gets: read-only where the original is
        for p, m in zip(level.points, self.moved, strict=True):
            view = m.view()
            view.flags.writeable = p.flags.writeable
            self.seen.append(view)
        self.scales = [scale_of(p) for p in level.points]
        first = level.values(self.seen)
        self.shapes = [y.shape for y in first]
        self.here = flat(first)
        self.count = self.here.size
        self.noise = self._noise(rng)
        self.unseen = EPS / 2 * np.abs(self.here)  # a change of less leaves an output as it is

    def values(self) -> Array:
        """Return all outputs at the moved point, NaN where the function refuses it."""
        try:
            found = self.level.values(self.seen)
        except (ValueError, ArithmeticError, np.linalg.LinAlgError):
            return np.full(self.count, np.nan)  # out of the domain
        if [y.shape for y in found] != self.shapes:
            return np.full(self.count, np.nan)
        return flat(found)

    def at(self, line: Line, t: float) -> Array:
        """Return all outputs at x + t d."""
        if line.argument < 0:
            return self._at_jointly(line, t)
        base, moved = self.base[line.argument], self.moved[line.argument]
        if line.index is not None:
            moved[line.index] = base[line.index] + t
        else:
            moved[...] = base + t * line.direction
        try:
            return self.values()
        finally:
            if line.index is not None:
                moved[line.index] = base[line.index]
            else:
                moved[...] = base

    def _at_jointly(self, line: Line, t: float) -> Array:
        for p, m, d in zip(self.base, self.moved, line.direction, strict=True):
            m[...] = p + t * d
        try:
            return self.values()
        finally:
            for p, m in zip(self.base, self.moved, strict=True):
                m[...] = p

    def _noise(self, rng: np.random.Generator) -> Array:
        """The noise of each output: two last digits, and three deviations of what is seen.

        Seen a little beside the point, for what lies at the point itself, a kink or the border of a
        domain, is no noise: a smooth function is a parabola of fourth order there to its last
        digit, and noise is what such a curve cannot follow. Of three rays the middle one counts,
        for there may be a kink on one.
        """
        rays = []
        for sign in (1.0, -1.0, 1.0):
            ways = [
                sign * s * random_weights(p.shape, rng)
                for p, s in zip(self.base, self.scales, strict=True)
            ]
            places = np.arange(9) + rng.uniform(0, 0.9, 9)
            table = []
            for t in 2.0**-10 + places * 2.0**-18:
                for p, m, w in zip(self.base, self.moved, ways, strict=True):
                    m[...] = p + t * w
                table.append(self.values() - self.here)
            curve = np.linalg.qr(np.vander(places / 9, 5))[0]  # what a smooth function may do here
            rest = np.array(table) - curve @ (curve.T @ np.array(table))
            rays.append(np.sqrt((rest**2).sum(axis=0) / (9 - 5)))
        for p, m in zip(self.base, self.moved, strict=True):
            m[...] = p
        both = np.array(rays)
        both[~np.isfinite(both)] = np.inf
        both.sort(axis=0)
        seen = np.where(np.isfinite(both[1]), both[1], both[0])
        seen[~np.isfinite(seen)] = 0.0
        return 2 * EPS * np.abs(self.here) + 3 * seen


def element_lines(probe: Probe, argument: int) -> list[Line]:
    """A line for each element of an argument."""
    p, typical = probe.base[argument], probe.scales[argument]
    lines = []
    for index in np.ndindex(p.shape):
        x = abs(float(p[index]))
        x = x if np.isfinite(x) else 0.0
        unit = power_of_two(x) if x > typical else typical
        lines.append(Line(argument, index, 1.0, unit, x))
    return lines


# ---- a first look, at many lines at once --------------------------------------------------------


@dataclass
class Slopes:
    """Numeric derivatives along lines, weighed: arrays of shape (lines, cotangents).

    low, high : the slopes between which the derivative must lie; equal where there is no kink
    error : bound of the error of either; scale : Σ |u| |∂y|, the size of the terms
    """

    low: Array
    high: Array
    error: Array
    scale: Array
    kink: Array
    jump: Array
    odd: Array  # lines that need a closer look
    blind: Array  # lines on which the function cannot be evaluated
    jacobian: Array | None

    @property
    def value(self) -> Array:
        """The middle of the interval."""
        return np.where(np.isfinite(self.low + self.high), (self.low + self.high) / 2, self.low)


def first_look(probe: Probe, lines: Sequence[Line], weights: Array, keep: bool = True) -> Slopes:
    """Differences in one window for each line; `weights` has shape (cotangents, outputs)."""
    count, many = len(lines), len(weights)
    found = [np.zeros((count, many)) for _ in range(3)]
    odd = np.zeros(count, bool)
    jacobian = np.zeros((count, probe.count)) if keep and count * probe.count <= CHUNK else None
    size = max(1, CHUNK // (6 * max(1, probe.count)))
    sizes = np.abs(weights).T
    for start in range(0, count, size):
        part = lines[start : start + size]
        h = np.array([line.unit * FIRST for line in part])
        up, down = np.empty((2, 3, len(part), probe.count))
        for j, line in enumerate(part):
            for k in range(3):
                t = h[j] * _STEPS[k]
                up[k, j], down[k, j] = probe.at(line, t), probe.at(line, -t)
        with silent():
            wide = h[:, None]
            changed = ((up != probe.here) | (down != probe.here)).any(axis=0)
            central = (up - down) / (2 * wide * _STEPS[:, None, None])
            value = np.tensordot(_CENTRAL, central, 1)
            before = np.tensordot(_CENTRAL_BEFORE, central, 1)
            terms = np.abs(value)
            noise = np.where(changed, probe.noise * _CENTRAL_NOISE, probe.unseen) / wide
            noise += _moved_by(part, terms)
            here = slice(start, start + len(part))
            found[0][here] = value @ weights.T
            found[1][here] = np.abs((value - before) @ weights.T) + noise @ sizes
            found[2][here] = terms @ sizes
            bend = (up + down - 2 * probe.here) / (wide * _STEPS[:, None, None])
            corner = np.tensordot(_SIDED, bend, 1)
            left = np.abs(corner - np.tensordot(_SIDED_BEFORE, bend, 1))
            limit = SAFETY * left + 2 * _SIDED_NOISE * changed * probe.noise / wide
            limit += 4 * _moved_by(part, terms)
            odd[here] = (np.abs(corner) > limit).any(axis=1)
            odd[here] |= ~(np.isfinite(up).all(axis=(0, 2)) & np.isfinite(down).all(axis=(0, 2)))
        if jacobian is not None:
            jacobian[here] = value
    kink, jump, blind = np.zeros((3, count), bool)
    return Slopes(found[0], found[0].copy(), found[1], found[2], kink, jump, odd, blind, jacobian)


def _moved_by(lines: Sequence[Line], slopes: Array) -> Array:
    """What the rounding of x + h costs, at the smallest of three steps."""
    part = np.array([4 * EPS / FIRST * line.size / line.unit for line in lines])
    return part[:, None] * slopes


# ---- a closer look, at one line -----------------------------------------------------------------


class _Window:
    """Estimates for each output from three steps on both sides."""

    def __init__(self, probe: Probe, line: Line, exponent: int) -> None:
        self.h = line.unit * FIRST * 2.0**-exponent
        self.steps = self.h * _STEPS[:, None]
        self.up = np.array([probe.at(line, float(t)) for t in self.steps[:, 0]])
        self.down = np.array([probe.at(line, -float(t)) for t in self.steps[:, 0]])
        self.leap = [np.abs(self.down[2] - probe.here), np.abs(self.up[2] - probe.here)]
        self.still = (self.up == probe.here).all(axis=0) & (self.down == probe.here).all(axis=0)
        self.moved_by = 4 * EPS * line.size / self.h  # the rounding of x + h
        self.estimate(probe.here, probe.noise)

    def estimate(self, here: Array, noise: Array) -> None:
        """Work out slopes and corners with their errors, for a noise of each output."""
        steps, h = self.steps, self.h
        self.central, trunc = _estimate((self.up - self.down) / (2 * steps), *_CENTRALS)
        rounding = self.moved_by * np.abs(self.central)
        self.central_error = trunc + _CENTRAL_NOISE * noise / h + rounding
        self.sides, self.side_errors, self.pieces, self.piece_errors = [], [], [], []
        self.slopes = []
        for y, sign in ((self.down, -1.0), (self.up, 1.0)):
            sided = sign * (y - here) / steps
            self.slopes.append(sided[2])
            value, trunc = _estimate(sided, *_SIDES)
            self.sides.append(value)
            moved = self.moved_by * np.abs(value)
            self.side_errors.append(trunc + _SIDED_NOISE * noise / h + moved)
            value, trunc = _estimate(sign * y / h, *_PIECES)
            self.pieces.append(value)
            self.piece_errors.append(trunc + _PIECE_NOISE * noise / h)
        bend = (self.up + self.down - 2 * here) / steps
        self.corner, trunc = _estimate(bend, *_SIDES)
        limit = SAFETY * trunc + 2 * _SIDED_NOISE * noise / h + 4 * rounding
        self.corner_limit = limit


def _noise_along(probe: Probe, line: Line) -> Array:
    """The noise of each output as seen over wide steps, where digits are lost inside."""
    rays = []
    for sign in (1.0, -1.0):
        table = [probe.at(line, sign * line.unit * (k + 0.39) / 64) for k in range(13)]
        rays.append(np.sqrt((np.diff(np.array(table), 9, axis=0) ** 2).mean(axis=0) / 48620))
    both = np.array(rays)
    seen = np.where(np.isfinite(both), both, np.inf).min(axis=0)
    return 3 * np.where(np.isfinite(seen), seen, 0.0)


def _estimate(terms: Array, weights: Array, before: Array) -> tuple[Array, Array]:
    value = weights @ terms
    return value, np.abs(value - before @ terms)


@dataclass
class Close:
    """The outcome of a closer look at one line, for each output, and in words."""

    low: Array
    high: Array
    error: Array
    kink: bool
    jump: bool
    blind: bool  # the function cannot be evaluated on either side
    growing: Array  # outputs whose slope grows without end; the sign it has


def examine(probe: Probe, line: Line, coarse: bool = False) -> Close:
    """Look at one line in windows of all sizes; say which outputs have a kink or a jump."""
    with silent():
        return _examine(probe, line, coarse)


def _examine(probe: Probe, line: Line, coarse: bool) -> Close:
    exponents = [0, *FINER]
    windows = [_Window(probe, line, e) for e in exponents]  # from coarse to fine
    count, noise = probe.count, probe.noise
    stairs: Any = np.zeros(count, bool)
    for _ in range(2):
        stills = np.array([w.still for w in windows])
        changed = ~stills.all(axis=0)
        slope = np.abs(windows[-len(exponents)].central)
        due = np.array([slope * w.h for w in windows]) > 16 * probe.unseen
        stairs = changed & (stills & due).any(axis=0)
        if len(windows) > len(exponents) or not (coarse or stairs.any()):
            break
        windows = [*[_Window(probe, line, e) for e in COARSER], *windows]
    if stairs.any():  # flat where it should not be: either a kink nearby, or digits lost inside
        noise = np.where(stairs, np.maximum(noise, _noise_along(probe, line)), noise)
        for w in windows:
            w.estimate(probe.here, noise)
    exponents = [*COARSER, *exponents][-len(windows) :]
    fine, base = windows[-1], windows[exponents.index(0)]

    # Jumps: what is left of y(h) - y(0) when h goes to nothing.
    jumps = []
    for side in (0, 1):
        big = np.fmax(base.leap[side], windows[exponents.index(9)].leap[side])
        jumps.append((fine.leap[side] > 64 * noise) & (fine.leap[side] > 0.3 * big))
    jump = jumps[0] | jumps[1]

    # Kinks: a corner that stays at all smaller steps at which it could be seen.
    kink = np.zeros(count, bool)
    tainted = np.zeros((len(windows), count), bool)
    corners = np.array([w.corner for w in windows])
    limits = np.array([w.corner_limit for w in windows])
    flagged = np.isfinite(corners) & (np.abs(corners) > limits)
    conclusive = np.isfinite(corners) & np.isfinite(limits)
    for k in range(len(windows)):
        finer = slice(k + 1, None)
        blind = limits[finer] >= np.abs(corners[k]) / 2
        left = np.abs(corners[finer]) >= np.abs(corners[k]) / 8
        stays = (flagged[finer] | blind | left | ~conclusive[finer]).all(axis=0)
        kink |= flagged[k] & stays
        gone = flagged[k] & ~stays
        tainted[: k + 1] |= gone
    kink &= ~jump

    sides: list[Array] = []
    side_errors: list[Array] = []
    for side in (0, 1):
        errors = np.array([w.side_errors[side] for w in windows])
        value, error = _best(np.array([w.sides[side] for w in windows]), errors, tainted)
        sides.append(value)
        side_errors.append(error)
    beside = np.where(tainted.any(axis=0), np.abs(corners) / 2, 0)  # what reaches in of a kink near
    errors = np.array([w.central_error for w in windows]) + beside
    value, error = _best(np.array([w.central for w in windows]), errors, tainted)
    low, high, error = value.copy(), value.copy(), error.copy()
    left_seen, right_seen = np.isfinite(side_errors[0]), np.isfinite(side_errors[1])
    one_sided = ~np.isfinite(error) & (left_seen | right_seen)
    two = kink & left_seen & right_seen
    low[two], high[two] = sides[0][two], sides[1][two]
    error[two] = np.maximum(*side_errors)[two]
    for side, seen in ((0, left_seen), (1, right_seen)):
        alone = one_sided & seen & ~(right_seen if side == 0 else left_seen)
        low[alone] = high[alone] = sides[side][alone]
        error[alone] = side_errors[side][alone]
    both = one_sided & left_seen & right_seen
    low[both], high[both] = sides[0][both], sides[1][both]
    error[both] = np.maximum(*side_errors)[both]
    if jump.any():
        pieces = []
        for side in (0, 1):
            values = np.array([w.pieces[side] for w in windows])
            errors = np.array([w.piece_errors[side] for w in windows])
            value, error_of = _best(values, errors, np.zeros_like(tainted))
            finer = np.arange(len(windows))[:, None] > np.where(errors == error_of, 1, 0).argmax(0)
            rounding = SAFETY * _PIECE_NOISE * np.array([noise / w.h for w in windows])
            finer = finer & (np.abs(values) > rounding)  # a slope that grows without end is none
            off = np.where(finer, np.abs(values - value) - rounding, 0)
            pieces.append((value, error_of + np.fmax.reduce(np.fmax(off, 0), axis=0)))
        there = np.isfinite(np.array(fine.slopes))  # else the domain ends here
        for side, slope in ((0, low), (1, high)):
            piece = np.where(there[side], pieces[side][0], pieces[1 - side][0])
            slope[jump] = piece[jump]
        errors = np.where(there, [pieces[0][1], pieces[1][1]], -np.inf)
        error[jump] = errors.max(axis=0)[jump]

    growing, steep = np.zeros(count), np.zeros((2, count), bool)
    for side in (0, 1):
        end, begin = fine.slopes[side], base.slopes[side]
        begin = np.where(np.isfinite(begin), begin, windows[exponents.index(4)].slopes[side])
        ladder = np.abs([w.slopes[side] for w in windows[exponents.index(4) :]])
        grows = ~(ladder[1:] <= 1.1 * ladder[:-1]).any(axis=0)  # all the way; NaN is no objection
        grows &= (np.abs(end) > 1.5 * np.abs(begin)) & (fine.leap[side] > 64 * noise) & ~jumps[side]
        growing[grows] = np.sign(end[grows])
        steep[side] = grows & (np.abs(end) > 30 * np.abs(begin))
    if steep.any():
        some = steep.any(axis=0)
        ends = [np.sign(fine.slopes[side]) * np.inf for side in (0, 1)]
        for side, slope in ((0, low), (1, high)):
            there = np.isfinite(fine.slopes[side])  # else a border: the other side alone counts
            flat = np.where(np.isfinite(side_errors[side]), sides[side], 0)
            found = np.where(steep[side], ends[side], np.where(there, flat, ends[1 - side]))
            slope[some] = found[some]
        error[some] = 0
        kink |= some
    still = ~changed
    low[still] = high[still] = 0
    error[still] = (probe.unseen / windows[0].h)[still]
    finite = np.isfinite(fine.up[2]) | np.isfinite(fine.down[2])
    return Close(
        np.fmin(low, high), np.fmax(low, high), error,
        bool(kink.any()), bool(jump.any()), not bool(finite.all()), growing,
    )  # fmt: skip


def _best(values: Array, errors: Array, excluded: Array) -> tuple[Array, Array]:
    """For each output the estimate of the smallest error; infinite where there is none."""
    errors = np.where(np.isfinite(errors) & np.isfinite(values) & ~excluded, errors, np.inf)
    which = errors.argmin(axis=0)[None]
    value = np.take_along_axis(values, which, 0)[0]
    return value, np.take_along_axis(errors, which, 0)[0]


def weighed(close: Close, weights: Array) -> tuple[Array, ...]:
    """(low, high, error, scale) of a closer look for each cotangent."""
    with silent():
        ends = np.array([weights * close.low, weights * close.high])
        ends = np.where(weights == 0, 0, ends)
        sizes = np.abs(weights)
        error = np.where(sizes == 0, 0, sizes * close.error).sum(axis=1)
        terms = np.fmax(np.abs(close.low), np.abs(close.high))
        scale = (sizes * np.where(np.isfinite(terms), terms, 0)).sum(axis=1)
        return ends.min(axis=0).sum(axis=1), ends.max(axis=0).sum(axis=1), error, scale


def direction_lines(probe: Probe, argument: int, count: int, rng: Any) -> list[Line]:
    """Random directions in an argument that has too many elements to try each."""
    p, unit = probe.base[argument], probe.scales[argument]
    size = largest(p)
    return [Line(argument, None, random_weights(p.shape, rng), unit, size) for _ in range(count)]


def joint_lines(probe: Probe, count: int, rng: Any) -> list[Line]:
    """Random directions in all arguments at once, each moved in proportion to its scale."""
    return [
        Line(-1, None, [s * random_weights(p.shape, rng) for p, s in pairs], 1.0, 2.0)
        for pairs in [list(zip(probe.base, probe.scales, strict=True))] * count
    ]
