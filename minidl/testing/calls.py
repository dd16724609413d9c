"""One run of what is under test, forward and backward, with arrays of any dtype, layout, device."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minidl.tape import tie
from minidl.testing.layouts import LAYOUTS, layouts_of
from minidl.testing.points import Array, silent
from minidl.testing.subjects import Subject, check_gradient


class Run(NamedTuple):
    """What a run gave.

    outputs : all of them, on the host; smooth : those of floats
    gradients : of the checked arguments, on the host; None where there is no path
    raw : the outputs as the engine's own arrays
    changed : the names of what the run wrote to: arguments, or "g" for the output's gradient
    """

    outputs: list[Array]
    gradients: list[Array | None]
    raw: list[Any]
    changed: list[str]

    @property
    def smooth(self) -> list[Array]:
        """The outputs of floats, to which a cotangent belongs."""
        return [y for y in self.outputs if y.dtype.kind == "f"]


class Caller:
    """Runs a subject at points that may have another dtype or layout than its own arrays."""

    def __init__(self, subject: Subject) -> None:
        self.subject, self.kind = subject, subject.kind
        self.engine: Any = getattr(subject, "engine", None)
        self.run = self._of_numpy if self.kind == "numpy" else self._of_tensors

    def layouts(self, ndim: int) -> list[str]:
        """Return the layouts that arrays of this engine may have."""
        torchs = ("contiguous", "transposed", "strided", "channels_last")
        known = torchs if self.kind == "torch-like" else LAYOUTS
        return [layout for layout in layouts_of(ndim) if layout in known]

    def __call__(
        self,
        points: Sequence[Array],
        us: Sequence[Array] = (),
        *,
        to: Callable[[Array], Any] | None = None,
        shared: bool = False,
    ) -> Run:
        """Run forward, and with cotangents `us` backward; points are used as they lie.

        us : one for each output of floats, any float dtype; to : moves an array to a device
        shared : the first point is all the checked arguments, one and the same tensor

        Raises GradientError where a gradient has not the shape of its argument.
        """
        full = self.arguments(points)
        before = [x.copy() if isinstance(x, np.ndarray) else None for x in full]
        with silent():
            run, after, weights = self.run(full, us, to, shared)
        names = self.subject.all_names
        changed = [
            name
            for name, a, b in zip(names, before, after, strict=True)
            if a is not None and not np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        ]
        for u, w in zip(us, weights, strict=True):
            if "g" not in changed and not np.array_equal(u.astype(w.dtype), w):
                changed.append("g")
        for name, g, p in zip(self.subject.names, run.gradients, points, strict=False):
            check_gradient(self.subject.name, name, g, p.shape)
        return run._replace(changed=changed)

    def arguments(self, points: Sequence[Array]) -> list[Any]:
        """Return all arguments, on the host; floats that are not checked have the points' dtype."""
        full: list[Any] = []
        dtype = points[0].dtype
        for x in self.subject.inputs:
            if self.engine is not None and isinstance(x, self.engine.classes):
                x = self.engine.array(x)
            if isinstance(x, np.ndarray):
                x = x.astype(dtype if x.dtype.kind == "f" else x.dtype)
            full.append(x)
        for place, p in zip(self.subject.places, points, strict=True):
            full[place] = p
        return full

    def _of_numpy(
        self, full: list[Any], us: Sequence[Array], *_: Any
    ) -> tuple[Run, list[Any], list[Array]]:
        subject: Any = self.subject
        result = subject.fn(*full)
        many = isinstance(result, (tuple, list))
        outputs = [np.asarray(y) for y in (result if many else (result,))]
        run = Run(outputs, [], outputs, [])
        weights = [u.astype(y.dtype) for u, y in zip(us, run.smooth, strict=False)]
        if not us:
            return run, full, weights
        rest = iter(weights)
        g = [next(rest) if y.dtype.kind == "f" else np.zeros(y.shape) for y in outputs]
        found = subject.gradient(tuple(g) if many else g[0], *full)
        listed = list(found) if isinstance(found, (tuple, list)) else [found]
        if len(listed) == len(full):
            listed = [listed[place] for place in subject.places]
        gradients = [None if x is None else np.asarray(x) for x in listed]
        return run._replace(gradients=gradients), full, weights

    def _of_tensors(
        self, full: list[Any], us: Sequence[Array], to: Any, shared: bool
    ) -> tuple[Run, list[Any], list[Array]]:
        engine, subject = self.engine, self.subject
        lifted = list(full)
        for i, (x, like) in enumerate(zip(full, subject.inputs, strict=True)):
            if isinstance(x, np.ndarray):
                lifted[i] = self._lift(x, like, to)
        places = subject.places
        with engine.loud():
            for place in places:
                lifted[place] = lifted[places[0] if shared else place].requires_grad_()
            result = subject.fn(*lifted)
            outputs = list(result) if isinstance(result, (tuple, list)) else [result]
            smooth = [y for y in outputs if engine.kind_of(y) == "f"]
            weights = [self._weight(u, y, to) for u, y in zip(us, smooth, strict=False)]
            xs = [lifted[place] for place in places[:1] if shared] or [lifted[p] for p in places]
            chosen = [(y, u) for y, u in zip(smooth, weights, strict=False) if y.requires_grad]
            found: list[Any] = [None] * len(xs) if us else []
            if chosen:
                ys, gs = zip(*chosen, strict=True)
                found = list(engine.grad(list(ys), xs, list(gs), False))
        gradients = [None if g is None else engine.array(g) for g in found]
        after = [engine.array(x) if isinstance(x, engine.classes) else x for x in lifted]
        raw = [y.data for y in outputs] if self.kind == "minidl" else outputs
        run = Run([engine.array(y) for y in outputs], gradients, raw, [])
        return run, after, [engine.array(w) for w in weights]

    def _lift(self, x: Array, like: Any, to: Any) -> Any:
        """A tensor over an array; in the array's own layout and dtype."""
        if self.kind == "minidl":
            return tie(x if to is None else to(x), None)
        if not isinstance(like, self.engine.classes):
            like = next(t for t in self.subject.inputs if isinstance(t, self.engine.classes))
        if x.dtype == np.float32:
            like = like.detach().float()
        if x.size and x.ndim and min(x.strides) >= 2 * x.itemsize:  # every second element
            memory = self.engine.lift(np.asarray(x.base), like)
            return memory[(slice(1, None, 2),) * x.ndim].detach()
        order = sorted(range(x.ndim), key=lambda axis: -x.strides[axis])
        packed = self.engine.lift(np.array(x.transpose(order), order="C"), like)
        back = [order.index(axis) for axis in range(x.ndim)]
        return packed if back == sorted(back) else packed.permute(*back).detach()

    def _weight(self, u: Array, y: Any, to: Any) -> Any:
        if self.kind != "minidl":
            return self.engine.lift(u, y)
        u = u.astype(y.data.dtype)
        return tie(u if to is None else to(u), None)
