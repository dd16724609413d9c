"""What a race is: contenders solve one problem, must agree on it, and are timed in rounds."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Contender", "Disagreement", "Problem", "Race", "Time", "agree", "errors", "race"]

SAMPLE = 2e-3  # seconds: a shorter call is repeated until it takes as long
SETTLE = 3e-3  # seconds of rest before a sample, in which other pools' threads stop to spin


class Problem(NamedTuple):
    """An operation on arrays that are given, its cost, and the right answer.

    what : the operation and its shapes, for a title
    args : what kernels are called with
    flops : additions and multiplications that the definition asks for
    moved : bytes of the arguments and results, each once
    exact : the results in float64, one array for each
    scale : what an error is measured against, times epsilon: for a sum of products the same sum
        of absolute values; an array for each result, or a number
    """

    what: str
    args: tuple[Any, ...]
    flops: float
    moved: float
    exact: tuple[Any, ...]
    scale: tuple[Any, ...]


class Contender(NamedTuple):
    """A way to solve a problem.

    run : computes it; the result of its first call is the one that is compared
    bound : how large its error may be, in units of epsilon times the problem's scale
    scale : what the bound refers to, where that is not the problem's scale
    read : turns what `run` gives into NumPy arrays, one for each result
    wait : returns when what `run` began is done: a device computes on by itself
    problem : the one it solves, where that is a smaller one; its time is then extrapolated
    more : bytes that this way writes and reads again in between, beside the problem's own
    here : whether it computes on the processor whose peak is measured
    """

    name: str
    how: str
    run: Callable[[], Any]
    bound: float = 4
    read: Callable[[Any], Sequence[Any]] = lambda result: (result,)
    wait: Callable[[], None] = lambda: None
    problem: Problem | None = None
    more: float = 0
    here: bool = True
    scale: tuple[Any, ...] | None = None


@dataclass
class Race:
    """A problem, who contends, and remarks for the reader (who could not, and why)."""

    problem: Problem
    contenders: list[Contender]
    remarks: list[str] = field(default_factory=list)


class Disagreement(AssertionError):
    """A contender's result is further from the right one than its bound allows."""


class Time(NamedTuple):
    """How a contender did: seconds for the whole problem (extrapolated if `part` < 1).

    low, high : quartiles of the samples
    error : the largest, in units of epsilon times the problem's scale
    used : the largest share that an error has of what the contender's bound allows
    flops, moved : the problem's operations, and the bytes that this way moves
    """

    name: str
    how: str
    seconds: float
    low: float
    high: float
    samples: int
    part: float
    small: str
    error: float
    used: float
    flops: float
    moved: float
    here: bool

    @property
    def rate(self) -> float:
        """Operations a second, of those that the definition asks for."""
        return self.flops / self.seconds

    @property
    def intensity(self) -> float:
        """Operations for each byte moved."""
        return self.flops / self.moved


class Error(NamedTuple):
    """The largest error in the problem's units, its share of what is allowed, and the worst place.

    A share of 1 is all that is allowed; infinite for what is no number, or of another shape.
    """

    size: float
    share: float
    place: str


def errors(
    problem: Problem, results: Sequence[Any], bound: float = 1, scale: tuple[Any, ...] | None = None
) -> Error:
    """How far results are from the exact ones, elementwise: at most bound * epsilon * scale."""
    if len(results) != len(problem.exact):
        return Error(np.inf, np.inf, f"{len(results)} results, expected {len(problem.exact)}")
    worst = Error(0.0, 0.0, "")
    for i, (got, exact) in enumerate(zip(results, problem.exact, strict=True)):
        got, exact = np.asarray(got), np.asarray(exact)
        if got.shape != exact.shape:
            return Error(np.inf, np.inf, f"its shape is {got.shape}, expected {exact.shape}")
        if not got.size:
            continue
        wide = got.astype(np.float64)
        unit = float(np.finfo(got.dtype if got.dtype.kind == "f" else np.float32).eps)
        with np.errstate(all="ignore"):
            off = np.abs(wide - exact)
        off[(wide == exact) | (np.isnan(wide) & np.isnan(exact))] = 0
        off[np.isnan(off)] = np.inf  # not a number where a number belongs, or the reverse
        size = _largest(off, unit * np.asarray(problem.scale[i]))[0]
        own = problem.scale if scale is None else scale
        share, at = _largest(off, bound * unit * np.asarray(own[i]))
        place = ", ".join(str(int(k)) for k in at)
        said = f"result {i} at ({place}) is {wide[at]:.9g}, expected {exact[at]:.9g}"
        kept = worst.place if share <= worst.share and worst.place else said
        worst = Error(max(size, worst.size), max(share, worst.share), kept)
    return worst


def _largest(off: Any, allowed: Any) -> tuple[float, tuple[Any, ...]]:
    """The largest off / allowed, where 0 / 0 is 0, and its place."""
    with np.errstate(all="ignore"):
        share = np.where(off == 0, 0, off / np.broadcast_to(allowed, off.shape))
    at = np.unravel_index(int(share.argmax()), share.shape)
    return float(share[at]), at


def agree(contest: Race) -> dict[str, Error]:
    """Call every contender once; return their errors, or raise Disagreement that names who is off.

    All are compared before anything is said, so that one sees who agrees with whom.
    """
    found, off = {}, {}
    for c in contest.contenders:
        result = c.run()
        c.wait()
        error = errors(c.problem or contest.problem, c.read(result), c.bound, c.scale)
        found[c.name] = error
        if not error.share <= 1:
            off[c.name] = (
                f"{error.place}; an error of {error.share:.3g} times what its bound allows"
            )
    if off:
        fine = [name for name in found if name not in off]
        raise Disagreement(
            f"race: not all agree on {contest.problem.what}, so there is nothing to time:\n"
            + "\n".join(f"  {name}: {text}" for name, text in off.items())
            + (f"\n  within their bounds: {', '.join(fine)}" if fine else "")
        )
    return found


def race(
    contest: Race, rounds: int = 15, seconds: float = 2.0, clock: Callable[[], float] | None = None
) -> list[Time]:
    """Compare all contenders, then time them: in each round every one has a turn.

    rounds : samples of each, at least 1; fewer of those that have used up their `seconds`
    clock : `time.perf_counter` unless given

    Whoever starts a round moves on from round to round. Raises Disagreement, before any timing.
    """
    if rounds < 1:
        raise ValueError(f"race: rounds is {rounds}, expected at least 1")
    found = agree(contest)
    clock = clock or time.perf_counter
    samples: dict[str, list[float]] = {c.name: [] for c in contest.contenders}
    calls = {c.name: 0 for c in contest.contenders}
    for turn in range(rounds):
        start = turn % len(contest.contenders)
        for c in contest.contenders[start:] + contest.contenders[:start]:
            taken = samples[c.name]
            if taken and sum(taken) * calls[c.name] > seconds:
                continue
            if not calls[c.name]:
                once = _time(c, 1, clock)
                calls[c.name] = max(1, round(SAMPLE / max(once, 1e-7)))
                if once > seconds / 2:
                    taken.append(once)
                    continue
            time.sleep(SETTLE)
            if taken and taken[-1] < 0.05:
                _time(c, 1, clock)  # its data and its code are warm, as in a loop over layers
            taken.append(_time(c, calls[c.name], clock))
    return [_result(contest.problem, c, found[c.name], samples[c.name]) for c in contest.contenders]


def _time(c: Contender, calls: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(calls):
        c.run()
    c.wait()
    return (clock() - start) / calls


def _result(whole: Problem, c: Contender, error: Error, samples: list[float]) -> Time:
    part = c.problem.flops / whole.flops if c.problem else 1.0
    low, middle, high = statistics.quantiles(samples, n=4) if len(samples) > 1 else [samples[0]] * 3
    return Time(
        c.name, c.how, middle / part, low / part, high / part, len(samples), part,
        c.problem.what if c.problem else "", error.size, error.share,
        whole.flops, whole.moved + c.more, c.here,
    )  # fmt: skip
