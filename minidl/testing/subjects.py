"""What is under test, in one form: points in, values out, and the derivative that is claimed.

Three kinds of functions come in: of minidl tensors; of NumPy arrays with a hand-written gradient;
of the tensors of an engine like PyTorch. A `Subject` hides which it is. Its level 0 is the function
f; level 1 is the map (x, u) -> J(x)ᵀu, its gradient for a cotangent u; level k is the gradient map
of level k - 1. So one test, "is `pull` the derivative of `values`?", serves every order.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minidl.errors import DtypeError
from minidl.tape import TensorBase
from minidl.testing.engines import Minidl, TorchLike, is_torch_like
from minidl.testing.points import Array, copy_as_laid, flat, random_weights, scale_of
from minidl.testing.report import GradientError

# ---- subjects -----------------------------------------------------------------------------------

IN_PLACE = "an operation in place (`x -= …`, `out=`) writes into memory that belongs to the caller"


class Subject:
    """A function with the arguments at which it is checked.

    arrays : the arguments that are checked, as NumPy arrays (as they lie: not copied, not written)
    names : their names; places : their positions among `inputs`
    """

    kind = "numpy"

    def __init__(
        self, who: str, fn: Callable[..., Any], inputs: Sequence[Any], wrt: Any, name: str | None
    ) -> None:
        self.who, self.fn, self.inputs = who, fn, tuple(inputs)
        self.name = name or str(getattr(fn, "__name__", type(fn).__name__))
        self.all_names = _names(fn, len(self.inputs))
        self.places = self._places(wrt)
        self.names = [self.all_names[i] for i in self.places]
        self.arrays = [self._host(self.inputs[i]) for i in self.places]

    def _host(self, x: Any) -> Array:
        return np.asarray(x)

    def _is_array(self, x: Any) -> bool:
        return isinstance(x, np.ndarray)

    def _places(self, wrt: Any) -> list[int]:
        floats, refused = [], ""
        for i, x in enumerate(self.inputs):
            if self._is_array(x):
                dtype = self._host(x).dtype
                if dtype.kind == "c":
                    raise DtypeError(
                        f"{self.who}: argument {self.all_names[i]!r} of {self.name} is {dtype}; "
                        "derivatives of complex arguments are not checked"
                    )
                if dtype.kind == "f":
                    floats.append(i)
        if wrt is not None:
            chosen = [wrt] if isinstance(wrt, (int, str)) else list(wrt)
            places = [self._position(w) for w in chosen]
            for i in places:
                if i not in floats:
                    refused = f"argument {self.all_names[i]!r} of {self.name} is no array of floats"
            floats = places
        elif not floats:
            refused = f"no argument of {self.name} is an array of floats, so none has a derivative"
        if refused:
            raise DtypeError(
                f"{self.who}: {refused} (got {', '.join(map(_described, self.inputs))}); "
                "give float64 arrays"
            )
        for i in floats:
            dtype = self._host(self.inputs[i]).dtype
            if dtype != np.float64:
                raise DtypeError(
                    f"{self.who}: argument {self.all_names[i]!r} of {self.name} is {dtype}; "
                    "differences need float64 (in float32 half the digits of a derivative are "
                    "rounding): pass it as float64, and compare float32 results with float64 ones"
                )
            if (
                not np.isfinite(self._host(self.inputs[i])).any()
                and self._host(self.inputs[i]).size
            ):
                raise ValueError(
                    f"{self.who}: argument {self.all_names[i]!r} of {self.name} holds no finite "
                    "number"
                )
        return floats

    def _position(self, w: int | str) -> int:
        if isinstance(w, str):
            if w not in self.all_names:
                raise ValueError(f"{self.who}: wrt={w!r}: the arguments are {self.all_names}")
            return self.all_names.index(w)
        if not -len(self.inputs) <= w < len(self.inputs):
            raise ValueError(f"{self.who}: wrt={w}: there are {len(self.inputs)} arguments")
        return w % len(self.inputs)

    # What differs between the kinds.

    def values(self, level: int, points: Sequence[Array]) -> list[Array]:
        """Return the values of the map of a level at its points."""
        raise NotImplementedError

    def pull(self, level: int, points: Sequence[Array], us: Sequence[Array]) -> list[Array | None]:
        """Return the claimed Jᵀu of the map of a level, for each of its points."""
        raise NotImplementedError

    def interleaved(self, points: Sequence[Array], others: Any, us: Any) -> list[Array | None]:
        """As `pull` of level 0, with a call at other points between forward and backward."""
        return self.pull(0, points, us)

    def graphed(self, level: int, points: Sequence[Array]) -> list[Array]:
        """As `values`, computed so that it can be differentiated again."""
        return self.values(level, points)

    def call(self, rule: Callable[..., Any], vectors: Any, with_inputs: bool = True) -> list[Array]:
        """Call a rule of the user's, `rule(v, *inputs)` or `rule(v)`, on the kind that fn takes."""
        found = rule(_single(list(vectors)), *(self.inputs if with_inputs else ()))
        return [np.asarray(y) for y in (found if isinstance(found, (tuple, list)) else [found])]


class NumpySubject(Subject):
    """A NumPy function `fn(*inputs)` with `gradient(g, *inputs)` written by hand."""

    def __init__(self, gradient: Callable[..., Any], *args: Any) -> None:
        self.gradient = gradient
        super().__init__(*args)
        for i, x in enumerate(self.inputs):
            if isinstance(x, TensorBase) or is_torch_like(x):
                raise TypeError(
                    f"{self.who}: with gradient= the function is one of NumPy arrays, but argument "
                    f"{self.all_names[i]!r} is a {type(x).__name__}; pass .numpy()"
                )
        self._many = False

    def _full(self, points: Sequence[Array]) -> list[Any]:
        full = list(self.inputs)
        for i, p in zip(self.places, points, strict=True):
            full[i] = p
        return full

    def values(self, level: int, points: Sequence[Array]) -> list[Array]:
        """Run the function, or for level 1 its gradient."""
        if level:
            n = len(self.places)
            pulled = self.pull(0, points[:n], points[n:])
            return [
                np.zeros(p.shape) if g is None else g
                for g, p in zip(pulled, points[:n], strict=True)
            ]
        result = self.fn(*self._full(points))
        self._many = isinstance(result, (tuple, list))
        found = []
        for y in result if isinstance(result, (tuple, list)) else (result,):
            if not isinstance(y, (np.ndarray, np.generic, float, int)):
                raise TypeError(
                    f"{self.who}: {self.name} returned a {type(y).__name__}, expected NumPy arrays"
                )
            found.append(np.asarray(y))
        return _floats(self, found)

    def pull(self, level: int, points: Sequence[Array], us: Sequence[Array]) -> list[Array | None]:
        """Run the function and then the gradient, as a user would."""
        if level:
            raise NotImplementedError(
                f"{self.who}: {self.name} is a NumPy function with a gradient written by hand; a "
                "second order needs the gradient of that gradient. Where you have one, check the "
                "gradient as a function of its own: gradcheck(gradient, (g, *inputs), "
                "gradient=second)"
            )
        full = self._full(points)
        self.values(0, points)
        names = [f"g[{k}]" for k in range(len(us))] if self._many else ["g"]
        before = [np.array(a) for a in (*us, *points)]
        result = self.gradient(tuple(us) if self._many else us[0], *full)
        for name, was, a in zip([*names, *self.names], before, (*us, *points), strict=True):
            if not np.array_equal(was, a, equal_nan=True):
                raise GradientError(
                    self.name,
                    f"the gradient changes {name!r}, which it was given; others may need it yet",
                    problem="changes its inputs",
                    argument=name,
                    cause=IN_PLACE,
                )
        found = list(result) if isinstance(result, (tuple, list)) else [result]
        if len(found) == len(self.inputs):
            found = [found[i] for i in self.places]
        elif len(found) != len(self.places):
            raise GradientError(
                self.name,
                f"the gradient returned {len(found)} arrays, expected one for each of the "
                f"{len(self.inputs)} arguments {self.all_names}",
                problem="shape",
            )
        made = [None if g is None else np.asarray(g) for g in found]
        for g, p, name in zip(made, points, self.names, strict=True):
            check_gradient(self.name, name, g, p.shape)
        return made


class TensorSubject(Subject):
    """A function of the tensors of an engine: minidl, or one like PyTorch."""

    def __init__(self, engine: Any, *args: Any) -> None:
        self.engine, self.kind = engine, engine.kind
        super().__init__(*args)
        self._like = [self.inputs[i] for i in self.places]
        self._example = next((x for x in self.inputs if isinstance(x, engine.classes)), None)

    def _host(self, x: Any) -> Array:
        return self.engine.array(x) if isinstance(x, self.engine.classes) else np.asarray(x)

    def _is_array(self, x: Any) -> bool:
        return isinstance(x, (np.ndarray, *self.engine.classes))

    def _lift(self, points: Sequence[Array]) -> list[Any]:
        like = [*self._like, *[self._example] * (len(points) - len(self._like))]
        return [self.engine.lift(p, x) for p, x in zip(points, like, strict=True)]

    def _outputs(self, tensors: Sequence[Any]) -> list[Any]:
        full = list(self.inputs)
        for i, x in enumerate(full):
            if self._is_array(x):
                full[i] = self.engine.lift(copy_as_laid(self._host(x)), x)
        for i, t in zip(self.places, tensors, strict=True):
            full[i] = t
        result = self.fn(*full)
        outputs = list(result) if isinstance(result, (tuple, list)) else [result]
        for y in outputs:
            if not isinstance(y, self.engine.classes):
                raise TypeError(
                    f"{self.who}: {self.name} returned a {type(y).__name__}, expected a tensor or "
                    "a tuple of tensors"
                )
        found = [y for y in outputs if self.engine.kind_of(y) == "f"]
        self._many = len(found)
        return found

    def _gradients(self, ys: Any, xs: Any, us: Any, graph: bool) -> list[Any]:
        chosen = [(y, u) for y, u in zip(ys, us, strict=True) if y.requires_grad]
        if not chosen:
            return [None] * len(xs)
        ys, us = zip(*chosen, strict=True)
        return list(self.engine.grad(list(ys), list(xs), list(us), graph))

    def _apply(self, level: int, tensors: Sequence[Any], graph: bool) -> list[Any]:
        """Return the map of a level on tensors; with `graph`, differentiable again."""
        if level == 0:
            return self._outputs(tensors)
        inner = [x if x.requires_grad else x.detach().requires_grad_() for x in tensors]
        count = self._count(level - 1)
        points, us = inner[:count], inner[count:] if graph else tensors[count:]
        ys = self._apply(level - 1, points, True)
        found = self._gradients(ys, points, us, graph)
        return [(x.detach() * 0.0) if g is None else g for g, x in zip(found, points, strict=True)]

    def _count(self, level: int) -> int:
        """How many points the map of a level has: those below, and a cotangent for each value."""
        if level == 0:
            return len(self.places)
        if level == 1:
            return len(self.places) + self._many
        return self._count(level - 1) + self._count(level - 2)

    def values(self, level: int, points: Sequence[Array]) -> list[Array]:
        """Run the map of a level; nothing is recorded that need not be."""
        if level == 0:
            with self.engine.quiet():
                ys = self._outputs(self._lift(points))
        else:
            with self.engine.loud():
                ys = self._apply(level, self._lift(points), False)
        return _floats(self, [self.engine.array(y) for y in ys])

    def pull(self, level: int, points: Sequence[Array], us: Sequence[Array]) -> list[Array | None]:
        """Walk the tape: Jᵀu of the map of a level."""
        return self._pull(level, points, us, lambda: None)

    def interleaved(self, points: Sequence[Array], others: Any, us: Any) -> list[Array | None]:
        """Walk the tape of a call after another call was made at other points."""
        return self._pull(0, points, us, lambda: self._outputs(self._lift(others)))

    def _pull(self, level: int, points: Any, us: Any, between: Any) -> list[Array | None]:
        with self.engine.loud():
            xs = [x.requires_grad_() for x in self._lift([copy_as_laid(p) for p in points])]
            ys = self._apply(level, xs, True)
            between()
            lifted = [self.engine.lift(np.array(u), self._example) for u in us]
            if self._example is not None and self.kind == "torch-like":
                lifted = [self.engine.lift(np.array(u), y) for u, y in zip(us, ys, strict=True)]
            try:
                found = self._gradients(ys, xs, lifted, False)
            except AssertionError as error:  # the tape: a derivative of the wrong shape
                raise _misshapen(self.name, level, str(error)) from None
        return [None if g is None else self.engine.array(g) for g in found]

    def graphed(self, level: int, points: Sequence[Array]) -> list[Array]:
        """As `values`, with a graph."""
        with self.engine.loud():
            xs = [x.requires_grad_() for x in self._lift([copy_as_laid(p) for p in points])]
            return [self.engine.array(y) for y in self._apply(level, xs, True)]

    def call(self, rule: Callable[..., Any], vectors: Any, with_inputs: bool = True) -> list[Array]:
        """Call a rule of the user's on tensors."""
        lifted = [self.engine.lift(np.array(v), self._example) for v in vectors]
        full = [
            self.engine.lift(copy_as_laid(self._host(x)), x) if self._is_array(x) else x
            for x in self.inputs
        ]
        with self.engine.quiet():
            found = rule(_single(lifted), *(full if with_inputs else ()))
        outputs = found if isinstance(found, (tuple, list)) else [found]
        return [self._host(y) for y in outputs]


class Level:
    """One order of a subject: its points (arguments and cotangents) and the two maps on them."""

    def __init__(self, subject: Subject, order: int, rng: np.random.Generator) -> None:
        self.subject, self.order = subject, order
        self.points, self.names = list(subject.arrays), list(subject.names)
        self.natural = 0.0  # of this size are the terms of its values, judged by those below
        for level in range(order - 1):
            values = subject.values(level, [copy_as_laid(p) for p in self.points])
            size = float(np.linalg.norm(flat(values)))
            self.natural = max(size, self.natural) / max(map(scale_of, subject.arrays))
            label = "g" if level == 0 else "g" * (level + 1)
            for k, y in enumerate(values):
                self.points.append(random_weights(y.shape, rng))
                self.names.append(label if len(values) == 1 else f"{label}{k}")

    def values(self, points: Sequence[Array]) -> list[Array]:
        """Return the values of the map that this order differentiates."""
        return self.subject.values(self.order - 1, points)

    def pull(self, points: Sequence[Array], us: Sequence[Array]) -> list[Array | None]:
        """Return what the derivative under test says."""
        return self.subject.pull(self.order - 1, points, us)


def _single(things: list[Any]) -> Any:
    return things[0] if len(things) == 1 else tuple(things)


# ---- help ---------------------------------------------------------------------------------------


def subject_of(
    who: str,
    fn: Callable[..., Any],
    inputs: Any,
    gradient: Callable[..., Any] | None = None,
    wrt: Any = None,
    name: str | None = None,
) -> Subject:
    """Return what is under test in one form. Raises TypeError or DtypeError for bad arguments."""
    if not callable(fn):
        raise TypeError(f"{who}: fn is a {type(fn).__name__}, expected a function")
    if not isinstance(inputs, (tuple, list)):
        inputs = (inputs,)
    if gradient is not None:
        if not callable(gradient):
            raise TypeError(f"{who}: gradient is a {type(gradient).__name__}, expected a function")
        return NumpySubject(gradient, who, fn, inputs, wrt, name)
    foreign = [x for x in inputs if is_torch_like(x)]
    if foreign and any(isinstance(x, TensorBase) for x in inputs):
        raise TypeError(f"{who}: tensors of minidl and of another engine among the inputs")
    engine = TorchLike(foreign[0]) if foreign else Minidl()
    return TensorSubject(engine, who, fn, inputs, wrt, name)


def check_gradient(
    op: str, argument: str, g: Array | None, shape: tuple[int, ...], order: int = 1
) -> None:
    """Raise GradientError unless a gradient has the shape of its argument."""
    if g is None or g.shape == shape:
        return
    cause = ""
    if g.ndim >= len(shape):
        lead = g.ndim - len(shape)
        padded = (1,) * lead + shape
        axes = [k for k, (n, m) in enumerate(zip(g.shape, padded, strict=True)) if n != m]
        if all(padded[k] == 1 for k in axes) and axes:
            which = " and ".join(map(str, axes))
            cause = f"the sum over axis {which} is missing: broadcasting is not undone?"
    if not cause and sorted(g.shape) == sorted(shape):
        cause = "the axes are in another order: a transpose is missing or too many"
    elif not cause and g.size == int(np.prod(shape, dtype=int)):
        cause = "the same number of elements in another shape: a reshape back is missing"
    elif not cause and g.size < np.prod(shape):
        cause = "elements are missing: the gradient is summed over an axis too many?"
    raise GradientError(
        op,
        f"the gradient of {argument!r} has shape {g.shape}, the argument {shape}",
        problem="shape",
        argument=argument,
        order=order,
        cause=cause,
    )


def _misshapen(op: str, level: int, text: str) -> GradientError:
    return GradientError(
        op,
        f"a derivative does not have the shape of its argument ({text})",
        problem="shape",
        order=level + 1,
        cause="a sum over an axis is missing (broadcasting not undone?), or a transpose",
    )


def _floats(subject: Subject, outputs: list[Array]) -> list[Array]:
    found = [y for y in outputs if y.dtype.kind == "f"]
    for y in outputs:
        if y.dtype.kind == "c":
            raise DtypeError(f"{subject.who}: {subject.name} returned {y.dtype}, expected float64")
    if not found:
        got = ", ".join(str(y.dtype) for y in outputs) or "nothing"
        raise DtypeError(
            f"{subject.who}: {subject.name} returned no array of floats ({got}), so there is "
            "nothing to differentiate"
        )
    for y in found:
        if y.dtype != np.float64:
            raise DtypeError(
                f"{subject.who}: {subject.name} returned {y.dtype} for float64 arguments; a "
                "derivative cannot be checked in it: is there a cast or constant inside?"
            )
    return found


def _names(fn: Any, count: int) -> list[str]:
    """The names of the first `count` arguments."""
    names: list[str] = []
    try:
        parameters = list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    for p in parameters:
        if p.kind is p.VAR_POSITIONAL:
            names += [f"{p.name}[{k}]" for k in range(count - len(names))]
        elif p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD):
            names.append(p.name)
    names += [f"argument {i}" for i in range(len(names), count)]
    return names[:count]


def _described(x: Any) -> str:
    dtype = getattr(x, "dtype", None)
    return type(x).__name__ if dtype is None else f"{type(x).__name__} of {dtype}"
