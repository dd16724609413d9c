"""One run of a check: what must hold first, the comparison at one order, the verdict."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.testing import diagnosis, differences, report, ties
from minidl.testing.differences import EPS, SAFETY, Line, Probe, Slopes
from minidl.testing.points import (
    Array,
    copy_as_laid,
    parted,
    random_weights,
    scale_of,
    silent,
)
from minidl.testing.report import Check, GradientError
from minidl.testing.subjects import IN_PLACE, Level, Subject, check_gradient

EVERY = 200  # elements: an argument of more is tried along random directions
EVERY_COTANGENT = 50  # the gradient map is linear in its cotangent: directions see as much
DIRECTIONS = 5
COTANGENTS = 2
RTOL = {1: 1e-9, 2: 1e-8}  # each order adds roundings; above 2: 1e-7
DECIDED = 1e-6  # of the scale: a numeric derivative that is known less well decides nothing
DUST = 2.0**-8 * EPS  # of the function over the argument: rounding of what is summed inside
ZERO = 16 * EPS  # of the same: a derivative below this is zero but for rounding
PATIENCE = 2.0  # seconds to find the element that is wrong, of many
LOOK_CLOSER = 8  # wrong elements that are looked at closely; those after them are like these


@dataclass
class Compared:
    """Analytic and numeric derivatives of one argument at one order.

    Arrays have shape (lines, cotangents); full holds the whole analytic gradient for each cotangent
    """

    name: str
    lines: list[Line]
    analytic: Array
    slopes: Slopes
    full: list[Array | None]
    scale: Array
    allowed: Array
    wrong: Array
    undecided: Array
    largest: Any = 1.0  # for each cotangent; where it vanishes, the function over the argument
    vanishing: bool = False  # all of it is zero to the function's own rounding

    @classmethod
    def of(
        cls, name: str, lines: list[Line], analytic: Array, slopes: Slopes, full: Any
    ) -> "Compared":
        """Return it without a verdict."""
        zero, no = np.zeros(analytic.shape), np.zeros(analytic.shape, bool)
        return cls(name, lines, analytic, slopes, full, zero, zero, no, no)

    def settle(self, rtol: float, atol: float, natural: float) -> None:
        """Say what is wrong, and what cannot be decided."""
        s, a = self.slopes, self.analytic
        if not self.lines:
            return
        units = np.array([line.unit for line in self.lines])[:, None]
        terms = np.fmax(np.where(np.isfinite(a), np.abs(a), 0), s.scale)
        terms = np.where(np.isfinite(terms), terms, 0)
        size = terms.max(axis=0)
        self.scale = np.maximum(np.maximum(terms, size / 1000), np.finfo(float).tiny)
        self.allowed = SAFETY * s.error + rtol * self.scale + DUST * natural / units + atol
        known = np.isfinite(s.low + s.error) | np.isinf(s.low)
        inside = (a >= s.low - self.allowed) & (a <= s.high + self.allowed)
        equal = (a == s.low) | (a == s.high)
        self.wrong = ~(equal | inside) & (known | ~np.isfinite(a))
        small = ZERO * natural / units
        most = np.fmax(np.abs(s.low), np.abs(s.high))
        nothing = (np.abs(a) <= small) & (most <= SAFETY * s.error + small)
        self.vanishing = bool(nothing.all())
        self.largest = natural / units.min() if self.vanishing else size
        limit = max(DECIDED, rtol) * size + atol
        self.undecided = ~self.wrong & ~equal & ~(SAFETY * s.error <= limit)
        self.undecided &= ~(self.vanishing & np.isfinite(s.error))


class Run:
    """One call of a check on a subject."""

    def __init__(
        self,
        subject: Subject,
        check: str,
        *,
        rtol: float | None,
        atol: float | None,
        seed: int,
        gradient: Callable[..., Any] | None = None,
        **options: Any,
    ) -> None:
        for name, value in (("rtol", rtol), ("atol", atol)):
            if value is not None and not value >= 0:
                raise ValueError(f"{check}: {name} is {value}, expected a number from 0")
        self.subject, self.check, self.gradient = subject, check, gradient
        self.rtol, self.atol, self.seed = rtol, atol or 0.0, seed
        self.options = options | {"rtol": rtol, "atol": atol, "seed": seed or None}

    def failure(self, summary: str, **facts: Any) -> GradientError:
        """Make a GradientError that carries its reproduction."""
        text = report.reproduction(
            self.check, self.subject.fn, self.subject.inputs, self.gradient, **self.options
        )
        return GradientError(self.subject.name, summary, reproduction=text, **facts)

    # ---- what must hold before derivatives are looked at -----------------------------------------

    def behaviour(self) -> None:
        """Raise unless the function is repeatable, leaves its inputs alone and is finite."""
        subject, rng = self.subject, np.random.default_rng(self.seed)
        with silent():
            given = [copy_as_laid(p) for p in subject.arrays]
            first = [y.copy() for y in subject.values(0, given)]
            self._unchanged(given, "the function")
            for k, y in enumerate(first):
                self._finite(y, f"output {k}" if len(first) > 1 else "the output")
            second = subject.values(0, [copy_as_laid(p) for p in subject.arrays])
            self._same_bits(first, second, "two calls at the same arguments give different outputs")
            us = [random_weights(y.shape, rng) for y in first]
            kept = [u.copy() for u in us]
            given = [copy_as_laid(p) for p in subject.arrays]
            gradients = _copied(subject.pull(0, given, us))
            self._unchanged(given, "the derivative")
            if not all(np.array_equal(u, k) for u, k in zip(us, kept, strict=True)):
                raise self.failure(
                    "the derivative changes the gradient that it is given; it must leave it",
                    problem="changes its inputs",
                )
            again = subject.pull(0, subject.arrays, us)
            self._same_bits(gradients, again, "two runs of the derivative give different numbers")
            self._not_stale(gradients, us, rng)

    def _unchanged(self, given: Sequence[Array], who: str) -> None:
        for before, after, name in zip(self.subject.arrays, given, self.subject.names, strict=True):
            if not np.array_equal(before, after, equal_nan=True):
                raise self.failure(
                    f"{who} changes its argument {name!r}; it must leave it as it came",
                    problem="changes its inputs", argument=name,
                    cause=IN_PLACE,
                )  # fmt: skip

    def _finite(self, y: Array, what: str) -> None:
        if not np.isfinite(y).all():
            kind = "NaN" if np.isnan(y).any() else "infinity"
            at = [int(i) for i in np.argwhere(~np.isfinite(y))[0]]
            raise self.failure(
                f"{what} holds {kind}, first at {at}, so it has no derivative there",
                problem="nan",
            )

    def _same_bits(self, first: Any, second: Any, summary: str) -> None:
        for k, (a, b) in enumerate(zip(first, second, strict=True)):
            same = a is b or (
                a is not None and b is not None and np.array_equal(a, b, equal_nan=True)
            )
            if not same:
                raise self.failure(
                    f"{summary} (number {k} is the first that differs): it is not deterministic",
                    problem="not deterministic",
                    cause="random numbers, or state that a call leaves behind",
                )

    def _not_stale(self, gradients: Any, us: Any, rng: Any) -> None:
        """Raise if a call at another point, between forward and backward, changes the gradient."""
        others = [copy_as_laid(p) for p in self.subject.arrays]
        for p in others:
            p += 0.125 * scale_of(p) * rng.uniform(0.5, 1, p.shape)
        try:
            mixed = self.subject.interleaved(self.subject.arrays, others, us)
        except (ValueError, ArithmeticError):
            return  # the other point lies outside of the domain
        for g, m, name in zip(gradients, mixed, self.subject.names, strict=True):
            if g is not None and (m is None or not np.array_equal(g, m, equal_nan=True)):
                raise self.failure(
                    f"the gradient of {name!r} changes when the function is called at another "
                    "point between forward and backward",
                    problem="stale", argument=name,
                    cause="a stale saved value: a later call overwrites what backward needs",
                )  # fmt: skip

    # ---- one order ------------------------------------------------------------------------------

    def order(self, order: int) -> list[Check]:
        """Compare at one order; return a row for each argument or raise GradientError."""
        rng = np.random.default_rng([self.seed, order])
        with silent():
            level = Level(self.subject, order, rng)
            probe = Probe(level, rng)
            self._finite(probe.here, "the gradient" if order > 1 else "the output")
            if order > 1:
                self._both_readings(level, probe)
            weights = np.array([random_weights((probe.count,), rng) for _ in range(COTANGENTS)])
            pulled = [self.pulled(level, probe, w) for w in weights]
            compared = []
            for k, name in enumerate(level.names):
                every = EVERY if k < len(self.subject.arrays) else EVERY_COTANGENT
                if level.points[k].size <= every:
                    lines = differences.element_lines(probe, k)
                else:
                    lines = differences.direction_lines(probe, k, DIRECTIONS, rng)
                full = [row[k] for row in pulled]
                compared.append(self.compare(name, lines, full, probe, weights))
            for c in compared:
                self.judge(c, probe, weights, level)
            self.raise_if_wrong(compared, level, probe, weights)
            self._ties(compared, level, probe, weights)
        if order == 1 and all(g is None for row in pulled for g in row):
            raise self.failure(
                "no output depends on an argument by a gradient path, and differences are zero, "
                "too: there is nothing to check",
                problem="no gradient path",
            )
        return [row_of(c, order) for c in compared]

    def _ties(self, compared: list[Compared], level: Level, probe: Probe, weights: Array) -> None:
        """Raise where elements with a kink are right one by one and wrong when moved together."""
        if tie := ties.look(compared, level, probe, weights):
            raise self.failure(
                f"{tie.count} elements of {tie.argument} have a kink; moved together, the "
                f"derivative of order {level.order} is wrong",
                argument=tie.argument, order=level.order,
                analytic=tie.analytic, numeric=tie.numeric, cause=tie.cause,
            )  # fmt: skip

    def pulled(self, level: Level, probe: Probe, w: Array) -> list[Array | None]:
        """Return the whole analytic gradient for a cotangent, of the right shapes."""
        found = level.pull(level.points, parted(w, probe.shapes))
        for g, p, name in zip(found, level.points, level.names, strict=True):
            check_gradient(self.subject.name, name, g, p.shape, level.order)
        return _copied(found)

    def _both_readings(self, level: Level, probe: Probe) -> None:
        """Raise unless the gradient that carries a graph has the values of the ordinary one."""
        graphed = self.subject.graphed(level.order - 1, level.points)
        plain = parted(probe.here, probe.shapes)
        for a, b, name in zip(plain, graphed, level.names, strict=False):
            allowed = 1e-9 * np.abs(a).max(initial=0) + 1e-3 * EPS * level.natural
            if b.shape != a.shape or not (np.abs(a - b) <= allowed).all():
                raise self.failure(
                    f"with create_graph=True the gradient of {name!r} has other values",
                    argument=name, order=level.order,
                    cause="the derivative computes something else on tensors than on arrays, or a "
                    "fused op's definition is not the same function",
                )  # fmt: skip

    def compare(
        self, name: str, lines: list[Line], full: list[Any], probe: Probe, weights: Array
    ) -> Compared:
        """Look at an argument along lines; `full` holds its analytic gradients."""
        slopes = differences.first_look(probe, lines, weights)
        analytic = np.zeros((len(lines), len(weights)))
        for k, g in enumerate(full):
            for j, line in enumerate(lines):
                if g is not None and line.index is not None:
                    analytic[j, k] = g[line.index]
                elif g is not None:
                    analytic[j, k] = np.sum(g * line.direction)
                    size = np.abs(g * line.direction).sum()
                    slopes.scale[j, k] = max(slopes.scale[j, k], size)
        return Compared.of(name, lines, analytic, slopes, full)

    def judge(self, c: Compared, probe: Probe, weights: Array, level: Level) -> None:
        """Look closer where the first look is not good enough, and settle what is wrong."""
        rtol = RTOL.get(level.order, 1e-7) if self.rtol is None else self.rtol
        natural = max(level.natural, float(np.linalg.norm(probe.here)))
        c.settle(rtol, self.atol, natural)
        s = c.slopes
        vague = (SAFETY * s.error > DECIDED / 100 * c.scale.max(axis=0, initial=0)).any(axis=1)
        vague &= c.scale.max(initial=0) > ZERO * natural / min((x.unit for x in c.lines), default=1)
        seen = 0
        for j in np.flatnonzero(s.odd | vague | c.wrong.any(axis=1)):
            if not s.odd[j] and not vague[j]:
                seen += 1
                if seen > LOOK_CLOSER:
                    continue
            close = differences.examine(probe, c.lines[j], coarse=bool(vague[j]))
            low, high, error, scale = differences.weighed(close, weights)
            better = np.isfinite(error) | s.odd[j]
            s.low[j] = np.where(better, low, s.low[j])
            s.high[j] = np.where(better, high, s.high[j])
            s.error[j] = np.where(better, error, s.error[j])
            s.scale[j] = np.fmax(s.scale[j], scale)
            s.kink[j], s.jump[j], s.blind[j] = close.kink, close.jump, close.blind
            for k, a in enumerate(c.analytic[j]):
                pull = np.sign(weights[k] @ close.growing)
                if np.isinf(a) and pull and np.sign(a) == pull:  # as steep as it looks
                    s.low[j, k], s.high[j, k], s.error[j, k] = a, a, 0
        c.settle(rtol, self.atol, natural)

    # ---- failures -------------------------------------------------------------------------------

    def raise_if_wrong(
        self, compared: list[Compared], level: Level, probe: Probe, weights: Array
    ) -> None:
        """Raise for the first argument that is wrong, or that cannot be decided."""
        for k, c in enumerate(compared):
            if c.wrong.any():
                raise self._diagnosed(k, compared, level, probe, weights)
        for c in compared:
            if c.undecided.any():
                raise self._undecided(c, level, probe)

    def _diagnosed(
        self, k: int, compared: list[Compared], level: Level, probe: Probe, weights: Array
    ) -> GradientError:
        """Say what is wrong, where, and why."""
        pathless = level.order == 1 and all(g is None for c in compared for g in c.full)
        c = compared[k] = self._pinpointed(compared[k], k, level, probe, weights)
        error = self._wrong(c, level, pathless)
        if c.lines[0].argument < 0:  # a line through all arguments: which of them is it?
            compared = self._one_by_one(level, probe, weights)
            c = next((other for other in compared if other.wrong.any()), c)
        if c.lines[0].argument >= 0:
            error.argument = c.name
            error.cause = diagnosis.cause(c, compared, level, probe, weights)
        return error

    def _one_by_one(self, level: Level, probe: Probe, weights: Array) -> list[Compared]:
        """Compare each argument by itself, so that a cause can be found."""
        pulled = [self.pulled(level, probe, w) for w in weights]
        compared = []
        for k, name in enumerate(level.names):
            lines = differences.element_lines(probe, k)
            if len(lines) > EVERY:
                lines = differences.direction_lines(probe, k, 1, np.random.default_rng(self.seed))
            full = [row[k] for row in pulled]
            compared.append(self.compare(name, lines, full, probe, weights))
            self.judge(compared[k], probe, weights, level)
        return compared

    def _pinpointed(
        self, c: Compared, k: int, level: Level, probe: Probe, weights: Array
    ) -> Compared:
        """What is wrong along directions, by elements: all of them, or by halving one of them."""
        if c.lines[0].index is not None or c.lines[0].argument < 0:
            return c
        start = time.perf_counter()
        probe.values()
        if 6 * level.points[k].size * (time.perf_counter() - start) < PATIENCE:
            lines = differences.element_lines(probe, k)
            found = self.compare(c.name, lines, c.full, probe, weights)
            self.judge(found, probe, weights, level)
            return found if found.wrong.any() else c
        whole = c.lines[int(c.wrong.any(axis=1).argmax())]
        places = np.arange(level.points[k].size)
        while len(places) > 1:
            half = len(places) // 2
            parts, lines = (places[:half], places[half:]), []
            for part in parts:
                mask = np.zeros(level.points[k].size)
                mask[part] = 1
                d = whole.direction * mask.reshape(level.points[k].shape)
                lines.append(Line(k, None, d, whole.unit, whole.size))
            found = self.compare(c.name, lines, c.full, probe, weights)
            self.judge(found, probe, weights, level)
            if not found.wrong.any():
                return c  # it shows in the sum only
            places = parts[int(found.wrong.any(axis=1).argmax())]
        index = np.unravel_index(int(places[0]), level.points[k].shape)
        line = Line(k, tuple(map(int, index)), 1.0, whole.unit, whole.size)
        found = self.compare(c.name, [line], c.full, probe, weights)
        self.judge(found, probe, weights, level)
        return found if found.wrong.any() else c

    def _undecided(self, c: Compared, level: Level, probe: Probe) -> GradientError:
        error = np.where(c.undecided, c.slopes.error / c.scale, -1)
        error = np.where(np.isnan(error), np.inf, error)
        j, k = np.unravel_index(int(error.argmax()), error.shape)
        bound = float(SAFETY * c.slopes.error[j, k])
        size = np.abs(probe.here).sum()
        digits = probe.noise.sum() / size if size else 0.0
        if c.slopes.blind[j]:
            reason = "the function is NaN, or refuses its arguments, on both sides of the point"
        elif digits > 1e4 * EPS:
            reason = (
                f"the function is known to {digits:.0e} of its value only: a "
                "float32 constant or cast inside, cancellation, or an iteration that stops early?"
            )
        elif np.abs(probe.here).max() * 1e-5 > c.scale.max() * c.lines[j].unit:
            reason = (
                f"the outputs are as large as {np.abs(probe.here).max():.1e}, so that rounding "
                "hides how they depend on this argument; take off the constant part"
            )
        else:
            reason = (
                "the function varies too fast here: a slope without end, further kinks close by, "
                "or a border of its domain"
            )
        return self.failure(
            f"undecided: differences cannot tell whether the derivative of order {level.order} "
            f"for {c.name!r} is right {_place(c.lines[j])}",
            problem="undecided",
            argument=c.name,
            index=c.lines[j].index,
            order=level.order,
            analytic=float(c.analytic[j, k]),
            numeric=float(c.slopes.value[j, k]),
            bound=bound,
            cause=reason,
        )

    def _wrong(self, c: Compared, level: Level, pathless: bool = False) -> GradientError:
        s = c.slopes
        off = np.abs(c.analytic - s.value) / np.where(c.allowed > 0, c.allowed, 1)
        off = np.where(np.isnan(off), np.inf, off)
        off[~c.wrong] = -1
        j, k = np.unravel_index(int(off.argmax()), off.shape)
        line = c.lines[j]
        notes = []
        if s.kink[j] or s.jump[j]:
            what = "jump" if s.jump[j] else "kink"
            notes.append(f"a {what}: any slope from {s.low[j, k]:.10g} to {s.high[j, k]:.10g} fits")
        unit = "directions" if line.index is None else "elements tried"
        many = int(c.wrong.any(axis=1).sum())
        notes.append(f"{many} of {len(c.lines)} {unit} of {c.name!r} are wrong")
        return self.failure(
            f"the derivative of order {level.order} for {c.name!r} is wrong {_place(line)}",
            problem="no gradient path" if pathless else "wrong",
            argument=c.name,
            index=line.index,
            order=level.order,
            analytic=float(c.analytic[j, k]),
            numeric=float(s.value[j, k]),
            bound=float(SAFETY * s.error[j, k]),
            notes=notes,
        )


def row_of(c: Compared, order: int) -> Check:
    """Return the row of a report for one argument."""
    s = c.slopes
    if not c.lines:
        return Check(c.name, order, 0)
    with silent():
        off = np.maximum(np.maximum(s.low - c.analytic, c.analytic - s.high), 0)
        off = np.where(np.isfinite(off), off, 0)
        bound = np.where(np.isfinite(s.error), s.error, 0)
    largest = np.maximum(c.largest, np.finfo(float).tiny)
    return Check(
        c.name, order, len(c.lines),
        kinks=int((s.kink & ~s.jump).sum()), jumps=int(s.jump.sum()),
        error=float((off / (largest if c.vanishing else c.scale)).max()),
        tightness=float((off / np.where(c.allowed > 0, c.allowed, 1)).max()),
        resolution=float((SAFETY * bound / largest).max()),
        directions=c.lines[0].index is None, vanishing=c.vanishing,
    )  # fmt: skip


def _place(line: Line) -> str:
    return "along a random direction" if line.index is None else f"at {list(line.index)}"


def _copied(arrays: Sequence[Array | None]) -> list[Array | None]:
    return [None if a is None else a.copy() for a in arrays]
