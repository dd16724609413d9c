"""The whole suite for one operation: `assert_op_correct(my_op, inputs)`, or `@check_op(inputs)`.

check                what is asked
repeatability        the same bits twice
arguments unchanged  neither they nor the gradient that comes in are written to
forward              equal to `reference`
derivatives          `gradcheck` up to `order`
float32              dtype kept; as exact as the conditioning allows
layouts              transposed, strided, reversed, read-only, channels-last arguments
shared argument      one tensor as two arguments
broadcasting         smaller arguments, and the sums in their gradients
zero size            arguments without elements
linearity            in the arguments of `linear_in`, and the derivative is the adjoint
device               the host's values, on the device
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from minidl.device import to_device
from minidl.tape.operation import Op
from minidl.testing import checks, report, traits
from minidl.testing.points import Array
from minidl.testing.report import GradientError, Report
from minidl.testing.subjects import Subject, subject_of

__all__ = ["OpError", "OpReport", "assert_op_correct", "check_op"]

F = TypeVar("F", bound=Callable[..., Any])
CHECKS = (
    "repeatability", "arguments unchanged", "forward", "derivatives", "float32", "layouts",
    "shared argument", "broadcasting", "zero size", "linearity", "device",
)  # fmt: skip
FIRST = CHECKS[:2]  # where these fail, the others would only say so again


class OpError(GradientError):
    """An operation failed checks of the suite; everything of the first failure is here.

    failures : the GradientError of each check that failed, by the check's name
    passed : the checks that passed; skipped : the others, with the reason
    """

    def __init__(
        self,
        failures: dict[str, GradientError],
        passed: Sequence[str],
        skipped: dict[str, str],
        reproduction: str,
    ) -> None:
        first = next(iter(failures.values()))
        super().__init__(
            first.op, first.summary, problem=first.problem, argument=first.argument,
            index=first.index, order=first.order, analytic=first.analytic, numeric=first.numeric,
            bound=first.bound, cause=first.cause, notes=first.notes,
            reproduction=first.reproduction or reproduction,
        )  # fmt: skip
        self.failures, self.passed, self.skipped = failures, tuple(passed), skipped

    @property
    def check(self) -> str:
        """The name of the first check that failed."""
        return next(iter(self.failures))

    def __str__(self) -> str:
        count = len(self.failures) + len(self.passed)
        names = ", ".join(self.failures)
        lines = [f"{self.op} fails {len(self.failures)} of {count} checks: {names}"]
        lines.append(f"{self.check}: {super().__str__().removeprefix(f'{self.op}: ')}")
        lines += [f"{name}: {error.summary}" for name, error in list(self.failures.items())[1:]]
        if self.passed:
            lines.append(f"passed: {', '.join(self.passed)}")
        return "\n".join(lines)


class OpReport:
    """What the suite found when it found nothing wrong; prints as a list of the checks.

    passed : names of checks; skipped : of those that were not made, with the reason
    derivatives : the `Report` of the derivatives, of the last case; cases : how many were tried
    """

    def __init__(
        self, name: str, passed: Sequence[str], skipped: dict[str, str], derivatives: Report | None
    ) -> None:
        self.name, self.passed, self.skipped = name, tuple(passed), skipped
        self.derivatives, self.cases = derivatives, 1

    @property
    def worst(self) -> float:
        """The largest error of a derivative, relative to its scale."""
        return 0.0 if self.derivatives is None else self.derivatives.worst

    def __str__(self) -> str:
        cases = "" if self.cases == 1 else f" in {self.cases} cases"
        lines = [f"{self.name}: {len(self.passed)} checks passed{cases}"]
        for name in CHECKS:
            if name in self.passed:
                more = f"(error {self.worst:.1e})" if name == "derivatives" else ""
                lines.append(f"  {name:<20} passed {more}".rstrip())
            elif name in self.skipped:
                lines.append(f"  {name:<20} not checked: {self.skipped[name]}")
        return "\n".join(lines)


def assert_op_correct(
    fn: Callable[..., Any],
    inputs: Any = None,
    *,
    reference: Callable[..., Any] | None = None,
    gradient: Callable[..., Any] | None = None,
    order: int = 2,
    linear_in: Sequence[int | str] = (),
    broadcasts: bool | None = None,
    zero_size: Any = None,
    device: Any = None,
    convert: Callable[[Array], Any] | None = None,
    skip: Sequence[str] = (),
    max_examples: int = 20,
    rtol: float | None = None,
    atol: float | None = None,
    seed: int = 0,
    wrt: Any = None,
    name: str | None = None,
) -> OpReport:
    """Check everything that is asked of an operation; see the head of this file.

    fn : an op or function of minidl's tensors; with `gradient`, a NumPy function whose gradient
        is written by hand, `gradient(g, *inputs)`; or a function of PyTorch-like tensors
    inputs : a tuple of arguments, arrays of float64 and options; a list of specifications, of each
        a shape, or a function of a NumPy generator, or an array or option itself; or a Hypothesis
        strategy of argument tuples, of which `max_examples` are tried and a failing one shrunk.
        None: for an op that is elementwise, arrays of shape (2, 3).
    reference : the same function of NumPy arrays
    order : of the derivatives; 1 where the gradient is written by hand, or the engine has no
        autograd.grad
    linear_in : the arguments, each by itself, in which fn is linear; those of `@op` are added
    broadcasts, zero_size : whether smaller arguments count as repeated, and whether there may be
        no elements; by default what `@op(elementwise=True)` says. `zero_size` may be the tuple, or
        list of specifications, of arguments to try.
    device : "cuda", or a function that moves an array to a device or a stand-in for one
    convert : makes what fn takes of an array that `inputs` draws, such as `torch.tensor`
    skip : names of checks to leave out; rtol, atol, seed, wrt, name : see `gradcheck`

    Raises OpError, a GradientError, that names the checks that failed.

    >>> import minidl
    >>> print(assert_op_correct(minidl.mul, reference=np.multiply))  # doctest: +ELLIPSIS
    mul: 10 checks passed
      repeatability        passed
      arguments unchanged  passed
      forward              passed
      derivatives          passed (error ...)
      float32              passed
      layouts              passed
      shared argument      passed
      broadcasting         passed
      zero size            passed
      linearity            passed
      device               not checked: no device= was given
    """
    if strangers := set(skip) - set(CHECKS):
        raise ValueError(
            f"assert_op_correct: skip names {sorted(strangers)}, the checks are {list(CHECKS)}"
        )
    suite = Suite(fn, reference, gradient, order, linear_in, broadcasts, zero_size, device)
    suite.skip, suite.seed, suite.rtol, suite.atol = tuple(skip), seed, rtol, atol
    suite.wrt, suite.name = wrt, name
    if _is_strategy(inputs):
        return suite.search(inputs, convert, max_examples)
    return suite.run(_converted(suite.drawn(inputs), convert))


def check_op(inputs: Any = None, **options: Any) -> Callable[[F], F]:
    """Check an operation where it is defined; a decorator, above `@op` or a plain function.

    inputs, options : see `assert_op_correct`. Returns the function itself.

    >>> from minidl.tape import op
    >>> @check_op([(2, 3)])
    ... @op(x=lambda g, x: g * 3.0 * x * x)
    ... def cube(x):
    ...     return x * x * x
    >>> cube(2.0)
    8.0
    """

    def check(fn: F) -> F:
        assert_op_correct(fn, inputs, **options)
        return fn

    return check


class Suite:
    """The checks that are asked of one function, and how."""

    skip: tuple[str, ...] = ()
    seed = 0
    rtol: float | None = None
    atol: float | None = None
    wrt: Any = None
    name: str | None = None

    def __init__(
        self, fn: Any, reference: Any, gradient: Any, order: int, linear_in: Sequence[int | str],
        broadcasts: bool | None, zero_size: Any, device: Any,
    ) -> None:  # fmt: skip
        self.fn, self.reference, self.gradient = fn, reference, gradient
        self.order = order
        declared = fn.facts.linear_in if isinstance(fn, Op) else ()
        self.linear_in = tuple(dict.fromkeys([*linear_in, *declared]))
        self.elementwise = isinstance(fn, Op) and fn.elementwise
        self.broadcasts = self.elementwise if broadcasts is None else broadcasts
        self.zero_size = self.elementwise if zero_size is None else zero_size
        self.device = device
        if isinstance(device, str):
            self.device = lambda x: to_device(x, device)

    # ---- inputs ---------------------------------------------------------------------------------

    def drawn(self, inputs: Any) -> tuple[Any, ...]:
        """Return the arguments that a tuple, a list of specifications or None stands for."""
        if inputs is None:
            if not self.elementwise:
                raise TypeError(
                    "assert_op_correct: inputs are needed, for this is no elementwise op: a tuple "
                    "of arrays, a list of shapes, or a Hypothesis strategy of argument tuples"
                )
            required = self.fn.count - len(self.fn.defaults)
            inputs = [(2, 3)] * max(required, 1)
        if not isinstance(inputs, list):
            return inputs if isinstance(inputs, tuple) else (inputs,)
        rng = np.random.default_rng(self.seed)
        return tuple([_specified(s, rng) for s in inputs])

    def empties(self, subject: Subject) -> list[Array] | None:
        """Return arguments without elements for the places that are checked, or None."""
        if self.zero_size is True:
            return [np.zeros((0, 3)) for _ in subject.places]
        if not isinstance(self.zero_size, (tuple, list)):
            return None
        given = self.drawn(self.zero_size)
        return [np.asarray(given[place], "float64") for place in subject.places]

    # ---- one case -------------------------------------------------------------------------------

    def run(self, inputs: tuple[Any, ...]) -> OpReport:
        """Make the checks for one case. Raises OpError."""
        subject = subject_of(
            "assert_op_correct", self.fn, inputs, self.gradient, self.wrt, self.name
        )
        failures: dict[str, GradientError] = {}
        passed: list[str] = []
        skipped: dict[str, str] = {}
        self.derivatives: Report | None = None
        try:
            trial = traits.Trial(subject, np.random.default_rng(self.seed))
        except GradientError as error:  # a gradient of the wrong shape
            raise OpError({"derivatives": error}, [], {}, self.reproduction(inputs)) from None
        for check, made in self.checks(subject, trial, inputs).items():
            if check in self.skip:
                skipped[check] = "left out by skip="
                continue
            if failures.keys() & FIRST and check not in FIRST:
                break
            try:
                reason = made()
            except GradientError as error:
                failures[check] = error
            else:
                if reason:
                    skipped[check] = reason
                else:
                    passed.append(check)
        if failures:
            raise OpError(failures, passed, skipped, self.reproduction(inputs))
        return OpReport(subject.name, passed, skipped, self.derivatives)

    def checks(
        self, subject: Subject, trial: traits.Trial, inputs: tuple[Any, ...]
    ) -> dict[str, Callable[[], str]]:
        """Return the checks by name; each returns the reason why it was not made, or nothing."""
        return {
            "repeatability": lambda: traits.repeatability(trial),
            "arguments unchanged": lambda: traits.arguments_unchanged(trial),
            "forward": lambda: traits.forward(trial, self.reference),
            "derivatives": lambda: self._derivatives(subject, inputs),
            "float32": lambda: traits.float32(trial),
            "layouts": lambda: traits.layouts(trial, self.elementwise),
            "shared argument": lambda: traits.shared_argument(trial),
            "broadcasting": lambda: traits.broadcasting(trial, bool(self.broadcasts)),
            "zero size": lambda: traits.zero_size(trial, self.empties(subject)),
            "linearity": lambda: self._linearity(inputs),
            "device": lambda: traits.on_device(trial, self.device),
        }

    def _derivatives(self, subject: Subject, inputs: tuple[Any, ...]) -> str:
        autograd = getattr(getattr(subject, "engine", None), "autograd", None)
        once = subject.kind == "numpy" or (subject.kind == "torch-like" and autograd is None)
        self.derivatives = checks.gradcheck(
            self.fn,
            inputs,
            order=1 if once else self.order,
            rtol=self.rtol,
            atol=self.atol,
            seed=self.seed,
            gradient=self.gradient,
            wrt=self.wrt,
            name=self.name,
        )
        return ""

    def _linearity(self, inputs: tuple[Any, ...]) -> str:
        for argument in self.linear_in:
            checks.check_linear(
                self.fn, inputs, argument, seed=self.seed, gradient=self.gradient, name=self.name
            )
        return "" if self.linear_in else "not declared (linear_in=)"

    def reproduction(self, inputs: tuple[Any, ...]) -> str:
        """Return lines of Python that run the suite on the same numbers."""
        options = {"order": None if self.order == 2 else self.order, "wrt": self.wrt}
        options |= {"seed": self.seed or None, "linear_in": self.linear_in or None}
        return report.reproduction("assert_op_correct", self.fn, inputs, self.gradient, **options)

    # ---- many cases -----------------------------------------------------------------------------

    def search(self, strategy: Any, convert: Any, max_examples: int) -> OpReport:
        """Make the checks for what a strategy draws; Hypothesis shrinks what fails."""
        from hypothesis import HealthCheck, Phase, given, settings

        found: list[OpReport] = []

        @settings(
            max_examples=max_examples, deadline=None, report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
            phases=[p for p in Phase if p is not Phase.explain],  # which lines ran: those of checks
        )  # fmt: skip
        @given(strategy)
        def case(inputs: Any) -> None:
            made = inputs if isinstance(inputs, tuple) else (inputs,)
            found.append(self.run(_converted(made, convert)))

        case()
        passed = [check for check in CHECKS if any(check in r.passed for r in found)]
        skipped = {k: v for r in found for k, v in r.skipped.items() if k not in passed}
        made = [r.derivatives for r in found if r.derivatives is not None]
        worst = max(made, key=lambda r: r.worst, default=None)
        whole = OpReport(found[0].name, passed, skipped, worst)
        whole.cases = len(found)
        return whole


def _is_strategy(inputs: Any) -> bool:
    """Whether `inputs` is a Hypothesis strategy; Hypothesis is not imported for that."""
    strategies = sys.modules.get("hypothesis.strategies")
    return strategies is not None and isinstance(inputs, strategies.SearchStrategy)


def _converted(inputs: tuple[Any, ...], convert: Callable[[Array], Any] | None) -> tuple[Any, ...]:
    if convert is None:
        return inputs
    return tuple([convert(x) if isinstance(x, np.ndarray) else x for x in inputs])


def _specified(spec: Any, rng: np.random.Generator) -> Any:
    """The argument that a specification stands for.

    A shape is filled with numbers of both signs between 1/4 and 2, so that they are away from the
    usual kink.
    """
    if isinstance(spec, tuple) and all(isinstance(n, int) for n in spec):
        return rng.uniform(0.25, 2, spec) * rng.choice([-1.0, 1.0], spec)
    return spec(rng) if callable(spec) else spec
