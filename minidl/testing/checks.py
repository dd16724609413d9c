"""The checks: gradcheck, gradgradcheck, check_jvp_vjp, check_linear.

A derivative is judged by its product with random cotangents u: for each element j of an argument
Jᵀu must equal Σᵢ uᵢ ∂yᵢ/∂xⱼ, where the partial derivatives come from differences with an error
bound (`differences.py`). It is allowed to be off by

    4 × bound + rtol × scale + atol,    scale = max(Σᵢ |uᵢ ∂yᵢ/∂xⱼ|, |Jᵀu|, largest of them / 1000),

so nothing depends on the size of the function, of its arguments or of its gradient. What cannot be
decided to a millionth of the scale is reported as undecided, never passed over.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.testing import differences
from minidl.testing.differences import EPS, Probe, Slopes
from minidl.testing.points import Array, flat, parted, random_weights, silent
from minidl.testing.report import GradientError, Report
from minidl.testing.run import DIRECTIONS, EVERY, Compared, Run, row_of
from minidl.testing.subjects import Level, NumpySubject, check_gradient, subject_of


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
    """Compare the derivatives of `fn` at `inputs` with differences, in float64, up to `order`.

    Parameters
    ----------
    fn : a function of minidl tensors to a tensor or a tuple; of NumPy arrays where `gradient` is
        given; of tensors like PyTorch's where the inputs are such
    inputs : a tuple of float64 arrays or tensors; integer arrays, numbers and None pass through.
        Each is taken as it lies: a transposed, strided, reversed or read-only array reaches `fn`
        with the same strides, and is never written to. The same array may be given twice
    order : 1; 2 also checks the gradient map (x, g) -> J(x)ᵀg by the same means, with respect to x
        and to g; 3 the gradient map of that
    rtol, atol : allowed beside the error bound of the differences; rtol of the derivative's scale,
        1e-9 at order 1, 1e-8 at order 2, 1e-7 above; atol 0
    gradient : `gradient(g, *inputs)`, written by hand, returns Jᵀg for each input (None for those
        without a gradient); g is a tuple where `fn` has several outputs
    wrt : positions or names of the arguments to check; default: all floating ones
    name : what the report calls the function

    Returns
    -------
    Report : a row for each argument and order. Every element is compared where an argument has at
        most 200, random directions beyond.

    Raises
    ------
    GradientError : where, by how much, the likely cause, and five lines to see it again; also for a
        function that is not deterministic, changes its inputs, returns NaN or has no gradient path
    DtypeError : float32 or integer inputs only; TypeError : a function that returns something else

    Examples
    --------
    >>> import numpy as np, minidl
    >>> from minidl.testing import gradcheck
    >>> x = np.linspace(-1, 1, 6).reshape(2, 3)
    >>> gradcheck(minidl.tanh, (x,), order=2).worst < 1e-9
    True
    >>> gradcheck(np.tanh, (x,), gradient=lambda g, x: g * np.tanh(x) ** 2)
    Traceback (most recent call last):
        ...
    minidl.testing.report.GradientError: tanh: the derivative of order 1 for 'x' is wrong at ...
    """
    subject = subject_of("gradcheck", fn, inputs, gradient, wrt, name)
    if not isinstance(order, int) or order < 1:
        raise ValueError(f"gradcheck: order is {order!r}, expected 1, 2 or more")
    run = Run(
        subject, "gradcheck", rtol=rtol, atol=atol, seed=seed, gradient=gradient,
        order=None if order == 1 else order, wrt=wrt,
    )  # fmt: skip
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
    """Compare the second derivatives alone: those of (x, g) -> J(x)ᵀg.

    Arguments, result and errors are those of `gradcheck`. A wrong first derivative can have a right
    second one, so this alone proves little: `gradcheck(..., order=2)` does both.
    """
    subject = subject_of("gradgradcheck", fn, inputs, gradient, wrt, name)
    run = Run(subject, "gradgradcheck", rtol=rtol, atol=atol, seed=seed, gradient=gradient, wrt=wrt)
    run.behaviour()
    return Report(subject.name, 2, run.order(2))


# ---- <u, J v> = <Jᵀ u, v> -----------------------------------------------------------------------


def check_jvp_vjp(
    fn: Callable[..., Any],
    inputs: Any,
    *,
    method: str = "differences",
    seed: int = 0,
    forward: Callable[..., Any] | None = None,
    gradient: Callable[..., Any] | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    wrt: Any = None,
    name: str | None = None,
) -> Report:
    """Check <u, J v> = <Jᵀu, v> for random u and v, along all arguments at once.

    J v never comes from the derivative under test (a jvp made of two vjps satisfies the equation
    whatever they are), but from

    method="differences" : differences with an error bound, as in `gradcheck`
    method="complex" : the complex step Im fn(x + i t v) / t, exact to rounding (Squire and Trapp,
        "Using complex variables to estimate derivatives of real functions", 1998). `fn` must be a
        NumPy function with `gradient=` that is analytic: it is run on complex arrays
    method="forward" : `forward(v, *inputs)`, a forward rule of yours that returns J v; v is a tuple
        where several arguments are checked

    It takes a few evaluations whatever the size of the arguments. Raises GradientError, or
    ValueError where a method cannot be used and why.
    """
    who = "check_jvp_vjp"
    if method not in ("differences", "complex", "forward"):
        raise ValueError(f"{who}: method is {method!r}, expected differences, complex or forward")
    if (method == "forward") != (forward is not None):
        raise ValueError(f"{who}: method='forward' and forward= belong together")
    subject = subject_of(who, fn, inputs, gradient, wrt, name)
    if method == "complex" and not isinstance(subject, NumpySubject):
        raise ValueError(
            f"{who}: method='complex' runs the function on complex arrays, so it takes a NumPy "
            "function with gradient= (minidl's tensors are real); use method='differences'"
        )
    run = Run(
        subject, who, rtol=rtol, atol=atol, seed=seed, gradient=gradient,
        method=method if method == "complex" else None, wrt=wrt,
    )  # fmt: skip
    run.behaviour()
    rng = np.random.default_rng([seed, 7])
    with silent():
        level = Level(subject, 1, rng)
        probe = Probe(level, rng)
        weights = np.array([random_weights((probe.count,), rng) for _ in range(2)])
        pulled = [run.pulled(level, probe, w) for w in weights]
        lines = differences.joint_lines(probe, 3, rng)
        slopes = differences.first_look(probe, lines, weights)
        analytic = np.zeros((len(lines), len(weights)))
        for j, line in enumerate(lines):
            for k, row in enumerate(pulled):
                terms = [g * d for g, d in zip(row, line.direction, strict=True) if g is not None]
                analytic[j, k] = sum(float(t.sum()) for t in terms)
                size = sum(float(np.abs(t).sum()) for t in terms)
                slopes.scale[j, k] = max(slopes.scale[j, k], size)
        full = [g for row in pulled for g in row]
        c = Compared.of(" and ".join(subject.names), lines, analytic, slopes, full)
        run.judge(c, probe, weights, level)
        if method != "differences":
            _replace(c, run, probe, weights, method, forward)
        run.raise_if_wrong([c], level, probe, weights)
    return Report(subject.name, 1, [row_of(c, 1)])


def _replace(
    c: Compared, run: Run, probe: Probe, weights: Array, method: str, forward: Any
) -> None:
    """Put the products J v of another method in the place of differences, which they must fit."""
    for j, line in enumerate(c.lines):
        tangents = [np.asarray(d) for d in line.direction]
        if method == "complex":
            products = _complex_step(run, tangents, probe)
        else:
            products = _forward_rule(run, tangents, probe, forward)
        value = weights @ products
        s = c.slopes
        far = SAFETY_OF_METHODS * (s.error[j] + 1e-9 * c.scale[j])
        smooth = ~(s.kink[j] | s.jump[j])
        if smooth and (np.abs(value - s.value[j]) > far).any():
            what = (
                "the complex step differs from differences: the function is not analytic (abs, "
                "maximum, a comparison or a conjugate inside); use method='differences'"
                if method == "complex"
                else "the forward rule differs from differences: it is not J v"
            )
            raise run.failure(
                what, problem="wrong", argument=c.name,
                analytic=float(value[0]), numeric=float(s.value[j, 0]),
                bound=float(s.error[j, 0]),
                cause="the forward rule is wrong" if method == "forward" else "",
            )  # fmt: skip
        s.low[j] = s.high[j] = value
        s.error[j] = 64 * EPS * (np.abs(weights) @ np.abs(products) + c.scale[j])
    c.settle(1e-10 if run.rtol is None else run.rtol, run.atol, float(np.linalg.norm(probe.here)))


SAFETY_OF_METHODS = 8.0  # two estimates of one product may differ by both their bounds


def _complex_step(run: Run, tangents: list[Array], probe: Probe) -> Array:
    subject = run.subject
    t = 2.0**-100
    points = [p + 1j * t * v for p, v in zip(subject.arrays, tangents, strict=True)]
    full = list(subject.inputs)
    for i, p in zip(subject.places, points, strict=True):
        full[i] = p
    try:
        found = subject.fn(*full)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"check_jvp_vjp: {subject.name} does not take complex arrays ({error}); use "
            "method='differences'"
        ) from None
    outputs = [np.asarray(y) for y in (found if isinstance(found, (tuple, list)) else (found,))]
    outputs = [y for y in outputs if y.dtype.kind in "fc"]
    if [y.shape for y in outputs] != probe.shapes or any(y.dtype.kind == "f" for y in outputs):
        raise ValueError(
            f"check_jvp_vjp: {subject.name} leaves the complex plane (abs, a comparison or a cast "
            "inside makes real numbers of complex ones); use method='differences'"
        )
    return flat([y.imag / t for y in outputs])


def _forward_rule(run: Run, tangents: list[Array], probe: Probe, forward: Any) -> Array:
    subject = run.subject
    found = subject.call(forward, tangents)
    products = [np.asarray(y) for y in found]
    if [y.shape for y in products] != probe.shapes:
        raise GradientError(
            subject.name,
            f"forward returned shapes {[y.shape for y in products]}, the outputs have "
            f"{probe.shapes}",
            problem="shape",
        )
    return flat(products)


# ---- linear functions ---------------------------------------------------------------------------


def check_linear(
    fn: Callable[..., Any],
    inputs: Any,
    argument: int | str = 0,
    *,
    adjoint: Callable[..., Any] | None = None,
    seed: int = 0,
    rtol: float | None = None,
    atol: float | None = None,
    gradient: Callable[..., Any] | None = None,
    name: str | None = None,
) -> Report:
    """Check that `fn` is linear in an argument and that its derivative is the adjoint.

    Without any difference quotient, so exact to rounding:

        fn(a x + b y) = a fn(x) + b fn(y)       and       <fn(eⱼ), g> = adjoint(g)ⱼ

    for random x, y, a, b, g, and every unit vector eⱼ where the argument has at most 200 elements,
    random vectors beyond. Both may be off by the rounding of sums as long as the argument, or by
    rtol of the largest term.

    Parameters
    ----------
    argument : position or name of the argument in which `fn` is linear; the others are held fixed
    adjoint : `adjoint(g)`, of tensors or of NumPy arrays as `fn` is; default: the gradient of `fn`
    fn, inputs, gradient, seed, rtol, atol, name : as in `gradcheck`

    Raises GradientError with problem "not linear" (also for an affine function: take off the
    constant part) or "wrong", with the likely cause.
    """
    who, given = "check_linear", gradient
    subject = subject_of(who, fn, inputs, gradient, argument, name)
    if adjoint is not None and gradient is None:
        try:
            subject.values(0, subject.arrays)
        except TypeError:  # it returns no tensors: a NumPy function with an adjoint for NumPy
            subject = subject_of(who, fn, inputs, lambda g, *_: adjoint(g), argument, name)
    run = Run(
        subject, who, rtol=rtol, atol=atol, seed=seed, gradient=given,
        argument=argument if argument != 0 else None,
    )  # fmt: skip
    rng = np.random.default_rng([seed, 11])
    with silent():
        level = Level(subject, 1, rng)
        probe = Probe(level, rng)
        p = subject.arrays[0]
        size = 8 * EPS * (8 + np.sqrt(p.size)) if rtol is None else rtol

        def apply(x: Array) -> Array:
            return flat(subject.values(0, [_laid(x, p)]))

        _superposition(run, apply, p, size, rng)
        weights = np.array([random_weights((probe.count,), rng) for _ in range(2)])
        vectors = differences.element_lines(probe, 0)
        if p.size > EVERY:
            vectors = differences.direction_lines(probe, 0, DIRECTIONS, rng)
        columns = []
        for line in vectors:
            e = np.zeros(p.shape)
            if line.index is None:
                e[...] = line.direction
            else:
                e[line.index] = 1.0
            columns.append(apply(e))
        jacobian = np.array(columns).reshape(len(vectors), probe.count)
        value, terms = jacobian @ weights.T, np.abs(jacobian) @ np.abs(weights).T
        no = np.zeros(len(vectors), bool)
        full: list[Array | None] = []
        for w in weights:
            us = parted(w, probe.shapes)
            g = subject.pull(0, [p], us)[0] if adjoint is None else _adjoint(run, adjoint, us)
            check_gradient(subject.name, subject.names[0], g, p.shape)
            full.append(None if g is None else g.copy())
        analytic = np.zeros(value.shape)
        for k, g in enumerate(full):
            for j, line in enumerate(vectors):
                if g is not None:
                    terms_of = g[line.index] if line.index is not None else g * line.direction
                    analytic[j, k] = np.sum(terms_of)
                    terms[j, k] = max(terms[j, k], float(np.abs(terms_of).sum()))
        error = size * (terms + terms.max(axis=0, initial=0)) / differences.SAFETY
        slopes = Slopes(value, value.copy(), error, terms, no, no, no, no, jacobian)
        c = Compared.of(subject.names[0], vectors, analytic, slopes, full)
        c.settle(0.0, run.atol, 0.0)
        run.raise_if_wrong([c], level, probe, weights)
    return Report(subject.name, 1, [row_of(c, 1)])


def _superposition(run: Run, apply: Any, p: Array, size: float, rng: Any) -> None:
    """Raise unless fn(a x + b y) = a fn(x) + b fn(y)."""
    x, y = rng.standard_normal(p.shape), rng.standard_normal(p.shape)
    a, b = rng.uniform(1.25, 2), -rng.uniform(0.5, 0.75)
    both, one, other = apply(np.asarray(a * x + b * y)), apply(x), apply(y)
    scale = np.abs(a * one).max(initial=0) + np.abs(b * other).max(initial=0)
    off = np.abs(both - (a * one + b * other))
    if (off <= 4 * size * scale + run.atol).all():
        return
    at = int(np.where(np.isnan(off), np.inf, off).argmax())
    nothing = apply(np.zeros(p.shape))
    affine = nothing.any() and np.allclose(
        both - nothing, a * (one - nothing) + b * (other - nothing)
    )
    raise run.failure(
        f"not linear in {run.subject.names[0]!r}: f(a x + b y) is not a f(x) + b f(y) (output "
        f"element {at})",
        problem="not linear",
        argument=run.subject.names[0],
        analytic=float(both[at]),
        numeric=float((a * one + b * other)[at]),
        cause="it is affine: f(0) is not zero; take off the constant part" if affine else "",
    )


def _laid(x: Array, like: Array) -> Array:
    """The values of `x` in the layout of `like`."""
    from minidl.testing.points import copy_as_laid

    made = copy_as_laid(like)
    made[...] = x
    return made


def _adjoint(run: Run, adjoint: Any, us: list[Array]) -> Array:
    found = run.subject.call(adjoint, us, with_inputs=False)
    if len(found) != 1:
        raise TypeError(f"check_linear: adjoint returned {len(found)} arrays, expected one")
    return np.asarray(found[0])
