"""The checks themselves: gradcheck and gradgradcheck.

A derivative is judged by its product with random cotangents u: for each element j of an argument
Jᵀu must equal Σᵢ uᵢ ∂yᵢ/∂xⱼ, where the partial derivatives come from differences with an error
bound (`differences.py`). It is allowed to be off by

    4 × bound + rtol × scale + atol,    scale = max(Σᵢ |uᵢ ∂yᵢ/∂xⱼ|, |Jᵀu|, largest |Jᵀu| / 1000),

so nothing depends on the size of the function, of its arguments or of its gradient.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.testing import differences, report, ties
from minidl.testing.differences import SAFETY, Line, Probe, Slopes
from minidl.testing.points import Array, copy_as_laid, parted, random_weights, silent
from minidl.testing.report import Check, GradientError, Report
from minidl.testing.subjects import IN_PLACE, Level, Subject, check_gradient, subject_of

EVERY = 200  # elements: an argument of more is tried along random directions
DIRECTIONS = 5
COTANGENTS = 2
RTOL = {1: 1e-9, 2: 1e-8}  # each order adds roundings; above 2: 1e-7
DECIDED = 1e-6  # of the scale: a numeric derivative that is known less well decides nothing


def gradcheck(
    fn: Callable[..., Any],
    inputs: Any,
    *,
    order: int = 1,
    rtol: float | None = None,
    atol: float | None = None,
    seed: int = 0,
    gradient: Callable[..., Any] | None = None,
    wrt: Any = None,
    name: str | None = None,
) -> Report:
    """Compare the derivatives of `fn` at `inputs` with differences, in float64, up to `order`."""
    subject = subject_of("gradcheck", fn, inputs, gradient, wrt, name)
    if order < 1:
        raise ValueError(f"gradcheck: order is {order}, expected 1 or more")
    run = Run(subject, "gradcheck", rtol, atol, seed, {"order": order, "wrt": wrt}, gradient)
    run.behaviour()
    found = Report(subject.name, order)
    for k in range(1, order + 1):
        found.checks += run.order(k)
    return found


def gradgradcheck(
    fn: Callable[..., Any],
    inputs: Any,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    seed: int = 0,
    gradient: Callable[..., Any] | None = None,
    wrt: Any = None,
    name: str | None = None,
) -> Report:
    """Compare the second derivatives alone: those of (x, g) -> J(x)ᵀg."""
    subject = subject_of("gradgradcheck", fn, inputs, gradient, wrt, name)
    run = Run(subject, "gradgradcheck", rtol, atol, seed, {"wrt": wrt}, gradient)
    run.behaviour()
    return Report(subject.name, 2, run.order(2))


@dataclass
class Compared:
    """Analytic and numeric derivatives of one argument at one order."""

    name: str
    lines: list[Line]
    analytic: Array  # (lines, cotangents), as all below
    slopes: Slopes
    scale: Array
    allowed: Array
    wrong: Array
    blind: Array
    full: list[Array | None]  # the whole analytic gradient for each cotangent


class Run:
    """One call of a check."""

    def __init__(
        self,
        subject: Subject,
        check: str,
        rtol: float | None,
        atol: float | None,
        seed: int,
        options: dict[str, Any],
        gradient: Any,
    ) -> None:
        self.subject, self.check, self.gradient = subject, check, gradient
        self.rtol, self.atol, self.seed = rtol, atol or 0.0, seed
        self.options = options | {"rtol": rtol, "atol": atol, "seed": seed or None}

    # ---- what must hold before derivatives are looked at -----------------------------------------

    def behaviour(self) -> None:
        """Raise unless the function is repeatable, leaves its inputs alone and has a gradient."""
        subject, rng = self.subject, np.random.default_rng(self.seed)
        given = [copy_as_laid(p) for p in subject.arrays]
        with silent():
            first = subject.values(0, given)
        for before, after, name in zip(subject.arrays, given, subject.names, strict=True):
            if not np.array_equal(before, after, equal_nan=True):
                raise self.failure(
                    f"the function changes its argument {name!r}; it must leave it as it came",
                    problem="changes its inputs", argument=name, cause=IN_PLACE,
                )  # fmt: skip
        first = [y.copy() for y in first]
        for k, y in enumerate(first):
            if not np.isfinite(y).all():
                what = "NaN" if np.isnan(y).any() else "infinity"
                at = tuple(int(i) for i in np.argwhere(~np.isfinite(y))[0])
                raise self.failure(
                    f"output {k} holds {what}, first at {list(at)}, so it has no derivative there",
                    problem="nan",
                )
        with silent():
            second = subject.values(0, [copy_as_laid(p) for p in subject.arrays])
        self._same_bits(first, second, "two calls at the same arguments return different numbers")
        us = [random_weights(y.shape, rng) for y in first]
        with silent():
            gradients = self._copied(subject.pull(0, subject.arrays, us))
            again = subject.pull(0, subject.arrays, us)
            self._same_bits(gradients, again, "two runs of the derivative return different numbers")
            others = [p + 0.125 * s * rng.uniform(0.5, 1, p.shape) for p, s in self._scaled()]
            try:
                mixed = subject.interleaved(subject.arrays, others, us)
            except (ValueError, ArithmeticError):
                return  # the other point lies outside of the domain
        for g, m, name in zip(gradients, mixed, subject.names, strict=True):
            if g is not None and (m is None or not np.array_equal(g, m, equal_nan=True)):
                raise self.failure(
                    f"the gradient of {name!r} changes when the function is called at another "
                    "point between forward and backward",
                    problem="stale", argument=name,
                    cause="a stale saved value: a later call overwrites what backward needs",
                )  # fmt: skip

    def _scaled(self) -> Any:
        return [(p, differences.scale_of(p)) for p in self.subject.arrays]

    @staticmethod
    def _copied(arrays: Sequence[Array | None]) -> list[Array | None]:
        return [None if a is None else a.copy() for a in arrays]

    def _same_bits(self, first: Any, second: Any, summary: str) -> None:
        for k, (a, b) in enumerate(zip(first, second, strict=True)):
            if a is None and b is None:
                continue
            if (
                a is None
                or b is None
                or a.shape != b.shape
                or not np.array_equal(a, b, equal_nan=True)
            ):
                raise self.failure(
                    f"{summary} (the first that differs is number {k})",
                    problem="not deterministic",
                    cause="random numbers, or state that a call leaves behind",
                )

    # ---- one order ------------------------------------------------------------------------------

    def order(self, order: int) -> list[Check]:
        """Compare at one order; return a row for each argument or raise GradientError."""
        rng = np.random.default_rng(self.seed + 1000 * order)
        with silent():
            level = Level(self.subject, order, rng)
            probe = Probe(level, rng)
            weights = np.array([random_weights((probe.count,), rng) for _ in range(COTANGENTS)])
            pulled = []
            for w in weights:
                found = level.pull(level.points, parted(w, probe.shapes))
                for g, p, name in zip(found, level.points, level.names, strict=True):
                    check_gradient(self.subject.name, name, g, p.shape, order)
                pulled.append(self._copied(found))
            compared = [
                self._compare(level, probe, k, weights, [row[k] for row in pulled], rng)
                for k in range(len(level.points))
            ]
            self._judge(compared, probe, weights, order)
        bad = [c for c in compared if c.wrong.any()]
        if bad:
            raise self._wrong(bad[0], compared, level, probe, weights)
        if tie := ties.look(compared, probe, weights):
            raise self.failure(
                f"{tie.count} elements of {tie.argument} have a kink; moved together, the "
                f"derivative of order {order} is wrong",
                argument=tie.argument, order=order, analytic=tie.analytic, numeric=tie.numeric,
                cause="a tie: each of the equal elements is given the whole gradient, where it is "
                "to be shared among them or given to one",
            )  # fmt: skip
        if order == 1 and all(g is None for row in pulled for g in row):
            raise self.failure(
                "no output depends on an argument by a gradient path, and differences are zero, "
                "too: there is nothing to check",
                problem="no gradient path",
            )
        return [self._row(c, order) for c in compared if c.lines]

    def _compare(
        self, level: Level, probe: Probe, k: int, weights: Array, full: list[Any], rng: Any
    ) -> Compared:
        p = level.points[k]
        if p.size <= EVERY:
            lines = differences.element_lines(probe, k)
        else:
            lines = differences.direction_lines(probe, k, DIRECTIONS, rng)
        slopes = differences.first_look(probe, lines, weights)
        analytic = np.zeros((len(lines), len(weights)))
        for c, g in enumerate(full):
            for j, line in enumerate(lines):
                if g is not None:
                    at = line.index
                    analytic[j, c] = g[at] if at is not None else np.sum(g * line.direction)
                    if at is None:
                        slopes.scale[j, c] = max(
                            slopes.scale[j, c], np.abs(g * line.direction).sum()
                        )
        nothing = np.zeros((len(lines), len(weights)), bool)
        zero = np.zeros(analytic.shape)
        return Compared(
            level.names[k], lines, analytic, slopes, zero, zero, nothing, nothing[:, 0].copy(), full
        )

    def _judge(self, compared: list[Compared], probe: Probe, weights: Array, order: int) -> None:
        """Look closer where the first look is not good enough, and settle what is wrong."""
        rtol = RTOL.get(order, 1e-7) if self.rtol is None else self.rtol
        for c in compared:
            if not c.lines:
                continue
            self._settle(c, rtol)
            need = c.slopes.odd | c.wrong.any(axis=1)
            size = c.scale.max(axis=0)
            vague = SAFETY * c.slopes.error > 1e-2 * DECIDED * np.maximum(
                size, self._floor(c, probe)
            )
            settled = 0
            for j in np.flatnonzero(need | vague.any(axis=1)):
                if settled > 8 and not c.slopes.odd[j] and not vague[j].any():
                    continue  # wrong beyond doubt, like those before it
                close = differences.examine(probe, c.lines[j], coarse=bool(vague[j].any()))
                low, high, error, scale = differences.weighed(close, weights)
                better = (error < c.slopes.error[j]) | c.slopes.odd[j] | close.kink | close.jump
                c.slopes.low[j] = np.where(better, low, c.slopes.low[j])
                c.slopes.high[j] = np.where(better, high, c.slopes.high[j])
                c.slopes.error[j] = np.where(better, error, c.slopes.error[j])
                c.slopes.scale[j] = np.maximum(c.slopes.scale[j], scale)
                c.slopes.kink[j], c.slopes.jump[j] = close.kink, close.jump
                c.blind[j] = close.blind
                for k, a in enumerate(c.analytic[j]):
                    pull = np.sign(weights[k] @ close.growing)
                    if np.isinf(a) and pull and np.sign(a) == pull:
                        c.slopes.low[j, k] = c.slopes.high[j, k] = a  # as steep as it looks
                        c.slopes.error[j, k] = 0
            self._settle(c, rtol)

    def _floor(self, c: Compared, probe: Probe) -> float:
        """A slope so small that it is rounding of the function itself."""
        unit = min(line.unit for line in c.lines)
        return float(64 * differences.EPS * np.abs(probe.here).sum() / unit / DECIDED * 16)

    def _settle(self, c: Compared, rtol: float) -> None:
        s, a = c.slopes, c.analytic
        finite = np.where(np.isfinite(a), np.abs(a), 0)
        terms = np.maximum(finite, s.scale)
        terms = np.where(np.isfinite(terms), terms, 0)
        c.scale = np.maximum(terms, terms.max(axis=0) / 1000)
        c.allowed = SAFETY * s.error + rtol * c.scale + self.atol
        equal = (a == s.low) | (a == s.high)
        inside = (a >= s.low - c.allowed) & (a <= s.high + c.allowed)
        c.wrong = ~(equal | inside)

    def _row(self, c: Compared, order: int) -> Check:
        s = c.slopes
        off = np.maximum(np.maximum(s.low - c.analytic, c.analytic - s.high), 0)
        off = np.where(np.isfinite(off), off, 0)
        size = np.where(c.scale > 0, c.scale, 1)
        allowed = np.where(c.allowed > 0, c.allowed, 1)
        return Check(
            c.name, order, len(c.lines),
            kinks=int((s.kink & ~s.jump).sum()), jumps=int(s.jump.sum()),
            error=float((off / size).max()), tightness=float((off / allowed).max()),
            resolution=float((SAFETY * s.error / size).max()),
            directions=c.lines[0].index is None,
        )  # fmt: skip

    # ---- failures -------------------------------------------------------------------------------

    def _wrong(
        self, c: Compared, compared: list[Compared], level: Level, probe: Probe, weights: Array
    ) -> GradientError:
        from minidl.testing import diagnosis

        off = np.abs(c.analytic - c.slopes.value) / np.where(c.allowed > 0, c.allowed, 1)
        off = np.where(np.isnan(off), np.inf, off) * c.wrong
        j, k = np.unravel_index(int(off.argmax()), off.shape)
        line = c.lines[j]
        where = "along a random direction" if line.index is None else f"at {list(line.index)}"
        notes = []
        if c.slopes.kink[j] or c.slopes.jump[j]:
            what = "jump" if c.slopes.jump[j] else "kink"
            notes.append(
                f"a {what} lies here: slopes from {c.slopes.low[j, k]:.10g} to "
                f"{c.slopes.high[j, k]:.10g} are right"
            )
        many = int(c.wrong.any(axis=1).sum())
        unit = "directions" if line.index is None else "elements"
        notes.append(f"{many} of {len(c.lines)} {unit} of {c.name!r} are wrong")
        return self.failure(
            f"the derivative of order {level.order} for {c.name!r} is wrong {where}",
            argument=c.name,
            index=line.index,
            order=level.order,
            analytic=float(c.analytic[j, k]),
            numeric=float(c.slopes.value[j, k]),
            bound=float(SAFETY * c.slopes.error[j, k]),
            notes=notes,
            cause=diagnosis.cause(c, compared, level, probe, weights),
        )

    def failure(self, summary: str, **facts: Any) -> GradientError:
        """Make a GradientError that carries its reproduction."""
        text = report.reproduction(
            self.check, self.subject.fn, self.subject.inputs, self.gradient, **self.options
        )
        return GradientError(self.subject.name, summary, reproduction=text, **facts)
