"""What a correct operation does beside having right derivatives: one function for each trait.

Two results that should be equal but were computed in other ways are compared by

    |a - b| <= C eps (|b| + s),    s = how far the result moves per relative move of its arguments

for an error of one rounding in an argument moves the result by eps s: s is measured, by moving the
arguments a little. So a badly conditioned operation is not blamed for what no algorithm could do
better (Higham, "Accuracy and Stability of Numerical Algorithms", 2002, section 1.6).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minidl.device import stride_order
from minidl.testing.calls import Caller, Run
from minidl.testing.layouts import laid_out
from minidl.testing.points import Array, random_weights, silent
from minidl.testing.report import GradientError
from minidl.testing.subjects import Subject

ROUNDINGS = 64  # C: how many roundings' worth two ways of computing may differ
STEP = 2.0**-20  # by which arguments are moved, relatively


class Trial:
    """One case: a subject, its run at some points, and how that reacts to small changes.

    points, us : arguments and cotangents, float64; given ones in place of the subject's and random
    """

    def __init__(
        self, subject: Subject, rng: np.random.Generator, points: Any = None, us: Any = None
    ) -> None:
        self.subject, self.call, self.rng = subject, Caller(subject), rng
        self.name, self.names = subject.name, subject.names
        self.points: list[Array] = subject.arrays if points is None else points
        if us is None:
            us = [random_weights(y.shape, rng) for y in self.call(self.copies()).smooth]
        self.us: list[Array] = us
        self.base = self.call(self.copies(), self.us)
        self._moves: tuple[list[Array], list[Array]] | None = None

    def copies(self) -> list[Array]:
        """Return the points once more, in memory of their own."""
        return [np.array(p, order="C") for p in self.points]

    @property
    def moves(self) -> tuple[list[Array], list[Array]]:
        """How far each output and each gradient moves when arguments move by 1, relatively."""
        if self._moves is None:
            outputs = [np.zeros(y.shape) for y in self.base.outputs]
            gradients = [np.zeros(p.shape) for p in self.points]
            for _ in range(6):
                moved = self.call(self._moved(self.points), self._moved(self.us))
                pairs: list[tuple[Any, Any, Any]] = [
                    (outputs, self.base.outputs, moved.outputs),
                    (gradients, self.base.gradients, moved.gradients),
                ]
                for found, before, after in pairs:
                    for s, a, b in zip(found, before, after, strict=True):
                        if a is not None and b is not None and a.dtype.kind == "f":
                            with silent():
                                move = np.abs(b - a) / STEP
                            np.maximum(s, np.where(np.isfinite(move), move, 0), out=s)
            self._moves = outputs, gradients
        return self._moves

    def _moved(self, arrays: list[Array]) -> list[Array]:
        return [np.asarray(a * (1 + STEP * self.rng.choice([-1.0, 1.0], a.shape))) for a in arrays]

    def fail(self, summary: str, **facts: Any) -> GradientError:
        """Return the error for a trait that is missing."""
        return GradientError(self.name, summary, problem=facts.pop("problem", "trait"), **facts)

    def same(self, run: Run, how: str, *, eps: float = 2.0**-52, cause: str = "") -> None:
        """Raise GradientError unless a run gave what the first one gave, but for roundings.

        how : the words that say what is special about the run
        """
        outputs, gradients = self.moves
        for k, (want, got) in enumerate(zip(self.base.outputs, run.outputs, strict=True)):
            what = "the output" if len(run.outputs) == 1 else f"output {k}"
            self.equal(got, want, outputs[k], f"{what} {how}", eps, cause)
        pairs = zip(self.base.gradients, run.gradients, strict=True)
        for name, s, (before, after) in zip(self.names, gradients, pairs, strict=True):
            wanted, found = [np.zeros(s.shape) if g is None else g for g in (before, after)]
            what = f"the gradient of {name!r} {how}"
            self.equal(found, wanted, s, what, eps, cause, argument=name)

    def equal(
        self,
        got: Array,
        want: Array,
        moves: Array | float,
        what: str,
        eps: float = 2.0**-52,
        cause: str = "",
        **facts: Any,
    ) -> None:
        """Raise GradientError unless two arrays are equal but for roundings."""
        if got.shape != want.shape:
            raise self.fail(f"{what} has shape {got.shape}, expected {want.shape}", **facts)
        if want.dtype.kind != "f":
            wrong = got != want
            allowed = np.zeros(want.shape)
        else:
            scale = np.abs(want) + moves
            scale = np.where(np.isfinite(scale), scale, 0)
            scale = np.maximum(scale, 0.1 * scale.max(initial=0.0))
            allowed = ROUNDINGS * eps * scale
            with silent():
                near = np.abs(got.astype("float64") - want) <= allowed
            wrong = ~(near | (got == want) | (np.isnan(got) & np.isnan(want)))
        if not wrong.any():
            return
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise self.fail(
            f"{what} is {got[at].item()!r} at {list(at)}, expected {want[at].item()!r} "
            f"(within {allowed[at]:.1e}); {int(wrong.sum())} of {want.size} elements differ",
            index=at,
            cause=cause,
            **facts,
        )


# ---- the traits: each raises GradientError, or returns "" or why there was nothing to look at ----


def repeatability(trial: Trial) -> str:
    """The same arguments give the same bits, forward and backward."""
    for _ in range(2):
        again = trial.call(trial.copies(), trial.us)
        pairs = [*zip(trial.base.outputs, again.outputs, strict=True)]
        gradients = [*zip(trial.base.gradients, again.gradients, strict=True)]
        for k, (a, b) in enumerate([*pairs, *gradients]):
            if (a is None) != (b is None) or (a is not None and not _same_bits(a, b)):
                name = f"output {k}" if k < len(pairs) else trial.names[k - len(pairs)]
                what = name if k < len(pairs) else f"the gradient of {name!r}"
                raise trial.fail(
                    f"{what} differs between two runs with the same arguments",
                    problem="not deterministic",
                    cause="random numbers without a fixed seed, or state that a run leaves behind",
                )
    return ""


def _same_bits(a: Array, b: Array | None) -> bool:
    return b is not None and a.shape == b.shape and a.tobytes() == b.tobytes()


def arguments_unchanged(trial: Trial) -> str:
    """Neither arguments nor the output's gradient are written to."""
    run = trial.call(trial.copies(), trial.us)
    if run.changed:
        name = run.changed[0]
        what = "the gradient g that comes in" if name == "g" else f"its argument {name!r}"
        raise trial.fail(
            f"a run forward and backward changes {what}",
            problem="changes its inputs",
            argument=name,
            cause="an operator in place, such as x += y or out=x; make a new array instead",
        )
    return ""


def forward(trial: Trial, reference: Callable[..., Any] | None) -> str:
    """The values are those of a reference: a function of NumPy arrays."""
    if reference is None:
        return "no reference= was given"
    arguments = trial.call.arguments(trial.copies())
    with silent():
        result = reference(*arguments)
    wanted = [np.asarray(y) for y in (result if isinstance(result, (tuple, list)) else [result])]
    if len(wanted) != len(trial.base.outputs):
        raise trial.fail(
            f"there are {len(trial.base.outputs)} outputs, of the reference {len(wanted)}"
        )
    for k, (got, want) in enumerate(zip(trial.base.outputs, wanted, strict=True)):
        what = "the output" if len(wanted) == 1 else f"output {k}"
        eps = 1e-10 / ROUNDINGS  # a reference may sum in another order, and be less exact
        trial.equal(got, want, trial.moves[0][k], f"{what}, compared with the reference,", eps)
    return ""


def float32(trial: Trial) -> str:
    """float32 arguments give float32 results, as exact as their conditioning allows."""
    single = [p.astype("float32") for p in trial.points]
    us = [u.astype("float32").astype("float64") for u in trial.us]
    rounded = Trial(trial.subject, trial.rng, [p.astype("float64") for p in single], us)
    run = _attempt(rounded, "in float32", single)
    hint = "a float64 constant or NumPy scalar inside (np.sqrt(2), np.pi * …)? use Python numbers"
    for k, (got, want) in enumerate(zip(run.outputs, trial.base.outputs, strict=True)):
        if want.dtype == np.float64 and got.dtype != np.float32:
            what = "the output" if len(run.outputs) == 1 else f"output {k}"
            raise trial.fail(f"float32 arguments give {what} in {got.dtype}", cause=hint)
    for name, g in zip(trial.names, run.gradients, strict=True):
        if g is not None and g.dtype != np.float32:
            raise trial.fail(
                f"the gradient of {name!r}, which is float32, is {g.dtype}",
                argument=name,
                cause=hint,
            )
    rounded.same(
        run,
        "in float32",
        eps=2.0**-23,
        cause="digits are lost to cancellation, or in a cast to a smaller dtype",
    )
    return ""


def layouts(trial: Trial, keeps: bool = False) -> str:
    """The layout of arguments in memory changes no value; `keeps`: it is the output's as well."""
    most = max(p.ndim for p in trial.points)
    for layout in trial.call.layouts(most):
        points = [
            laid_out(p, layout) if layout in trial.call.layouts(p.ndim) else np.array(p, order="C")
            for p in trial.points
        ]
        run = _attempt(trial, f"with {layout} arguments", points)
        trial.same(
            run,
            f"with {layout} arguments",
            cause="memory is read as if it were contiguous: strides are not respected",
        )
        for y in run.raw if keeps and layout in ("transposed", "channels_last") else ():
            like = next((p for p in points if p.shape == y.shape), None)
            if like is not None and y.ndim > 2 and _order(y) != _order(like):
                raise trial.fail(f"the output of {layout} arguments is not {layout} itself")
    return ""


def _order(x: Any) -> list[int]:
    """The axes from the slowest to the fastest in memory, but those on which nothing moves."""
    return [axis for axis in stride_order(x) if x.shape[axis] > 1]


def _attempt(trial: Trial, how: str, points: Sequence[Array], **options: Any) -> Run:
    """Run at other points. Raises GradientError where the function raises, which it should not."""
    try:
        return trial.call(points, options.pop("us", trial.us), **options)
    except GradientError:
        raise
    except Exception as error:
        raise trial.fail(f"{how} it raises {type(error).__name__}: {error}") from error


def shared_argument(trial: Trial) -> str:
    """One tensor given as two arguments receives the sum of both gradients."""
    points = trial.points
    if trial.call.kind == "numpy":
        return "gradients written by hand are not accumulated"
    if len(points) < 2 or len({p.shape for p in points}) > 1:
        return "no two arguments have one shape"
    same = [np.array(points[0]) for _ in points]
    try:
        apart = trial.call([p.copy() for p in same], trial.us)
    except Exception:
        return "the function refuses equal arguments"
    once = _attempt(trial, "with one tensor as all arguments", same, shared=True)
    total = np.sum([g for g in apart.gradients if g is not None], axis=0)
    got = once.gradients[0]
    if got is not None:
        trial.equal(
            got, total, np.abs(total).max(initial=0), "the gradient of a tensor given twice"
        )
    return ""


def broadcasting(trial: Trial, wanted: bool) -> str:
    """Smaller arguments count as if repeated, and their gradients are summed over the repeats."""
    points = trial.points
    if not wanted:
        return "not declared (broadcasts=True, or @op(elementwise=True))"
    if len(points) < 2:
        return "there is one argument alone"
    whole = np.broadcast_shapes(*[p.shape for p in points])
    full = [np.array(np.broadcast_to(p, whole)) for p in points]
    for i, x in enumerate(full):
        for smaller in _smaller(x):
            arguments = [*full[:i], smaller, *full[i + 1 :]]
            repeated = [*full[:i], np.array(np.broadcast_to(smaller, whole)), *full[i + 1 :]]
            how = f"with {trial.names[i]!r} of shape {smaller.shape} beside {whole}"
            try:
                plain = trial.call(repeated)
                us = [random_weights(y.shape, trial.rng) for y in plain.smooth]
                plain = trial.call([p.copy() for p in repeated], us)
            except Exception as error:
                return f"with all arguments of shape {whole} it raises {type(error).__name__}"
            run = _attempt(trial, how, [p.copy() for p in arguments], us=us)
            for got, want in zip(run.outputs, plain.outputs, strict=True):
                trial.equal(got, want, np.abs(want).max(initial=0), f"the output {how}")
            for k, (got_g, want_g) in enumerate(zip(run.gradients, plain.gradients, strict=True)):
                if got_g is not None and want_g is not None:
                    size = np.abs(want_g).sum() if k == i else np.abs(want_g)
                    if k == i:
                        want_g = _summed(want_g, smaller.shape)
                    trial.equal(
                        got_g, want_g, size, f"the gradient of {trial.names[k]!r} {how}",
                        cause="the sum over the repeated axes is missing" if k == i else "",
                        argument=trial.names[k],
                    )  # fmt: skip
    return ""


def _smaller(x: Array) -> list[Array]:
    """Arrays that broadcast to the shape of x: without axes, an axis of one, an axis fewer."""
    if not x.size or not x.ndim:
        return []
    ones = [np.array(x.take([0], axis)) for axis in range(x.ndim) if x.shape[axis] > 1]
    return [np.array(x.reshape(-1)[0]), *ones, *([np.array(x[0])] if x.ndim > 1 else [])]


def _summed(g: Array, shape: tuple[int, ...]) -> Array:
    """The sum of g over the axes along which `shape` was repeated."""
    lead = g.ndim - len(shape)
    axes = [lead + k for k, n in enumerate(shape) if n == 1 and g.shape[lead + k] != 1]
    return np.sum(g, axis=(*range(lead), *axes)).reshape(shape)


def zero_size(trial: Trial, empties: Sequence[Array] | None) -> str:
    """Arguments without elements give results, and gradients, of the right empty shapes."""
    if empties is None:
        return "not declared (zero_size=True, or the arguments to try)"
    run = _attempt(trial, "with arguments without elements", empties, us=())
    us = [random_weights(y.shape, trial.rng) for y in run.smooth]
    run = _attempt(trial, "with arguments without elements", empties, us=us)
    for name, g, p in zip(trial.names, run.gradients, empties, strict=True):
        if g is not None and g.size and (~np.isfinite(g)).any():
            raise trial.fail(
                f"with arguments without elements the gradient of {name!r}, of shape {p.shape}, "
                "is not finite",
                argument=name,
            )
    return ""


def on_device(trial: Trial, device: Callable[[Array], Any] | None) -> str:
    """On a device the values are those of the host, and stay on the device."""
    if device is None:
        return "no device= was given"
    if trial.call.kind != "minidl":
        return "only functions of minidl's tensors are moved to a device"
    run = _attempt(trial, "on the device", trial.copies(), to=device)
    kind = type(device(np.zeros(1)))
    for y in run.raw:
        if not isinstance(y, kind):
            raise trial.fail(
                f"on the device it returns a {type(y).__name__}, not a {kind.__name__}",
                cause="a NumPy function inside: take the array module of the arguments",
            )
    trial.same(run, "on the device", eps=2.0**-46)  # its functions may be less exact
    return ""
