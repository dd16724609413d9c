"""Derivatives as functions of functions: vjp, jvp, hvp, jacobian, hessian; checkpoint; no_grad.

All of them are built on `backward` and `grad` of the tape and know nothing of its inside, but
`checkpoint`, which places a recomputation on it.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from minidl import ops, random, tape
from minidl.device import array_module, is_array
from minidl.errors import ShapeError
from minidl.tape import Event, Leaf, Node, Port, set_recording, tie
from minidl.tape.replay import walk
from minidl.tensor import Tensor

__all__ = [
    "checkpoint",
    "detect_anomaly",
    "enable_grad",
    "hessian",
    "hvp",
    "is_grad_enabled",
    "jacobian",
    "jvp",
    "no_grad",
    "vjp",
]


class _Recording(contextlib.ContextDecorator):
    """A with-block or decorator inside which operations are, or are not, recorded."""

    on: bool

    def __init__(self) -> None:
        self._open: list[Any] = []

    def __enter__(self) -> None:
        self._open.append(set_recording(self.on))
        self._open[-1].__enter__()

    def __exit__(self, *error: Any) -> None:
        self._open.pop().__exit__(*error)


class no_grad(_Recording):
    """Inside `with no_grad():`, or a function under `@no_grad()`, nothing is recorded."""

    on = False


class enable_grad(_Recording):
    """Inside `with enable_grad():` operations are recorded, even within `no_grad`."""

    on = True


def is_grad_enabled() -> bool:
    """Whether operations are being recorded in this thread."""
    return tape.mode.recording


# ---- products with the Jacobian -----------------------------------------------------------------


def _tuple(x: Any) -> tuple[Any, ...]:
    return tuple(x) if isinstance(x, (tuple, list)) else (x,)


def _like(x: Any, result: tuple[Any, ...]) -> Any:
    return result if isinstance(x, (tuple, list)) else result[0]


def _fresh(inputs: Any) -> tuple[Tensor, ...]:
    """Each input at a place of its own on the tape: still differentiable outwards, if it was."""
    return tuple(
        [tape.alias(x) if x.requires_grad else x.detach().requires_grad_() for x in _tuple(inputs)]
    )


def _run(
    who: str, function: Callable[..., Any], inputs: Any
) -> tuple[tuple[Tensor, ...], Any, tuple[Tensor, ...]]:
    with set_recording(True):
        points = _fresh(inputs)
        result = function(*points)
    outputs = _tuple(result)
    for y in outputs:
        if not isinstance(y, Tensor):
            raise TypeError(f"{who}: the function must return tensors, got {type(y).__name__}")
    return points, result, outputs


def _weights(who: str, outputs: Sequence[Tensor], given: Any) -> list[Any]:
    if given is None:
        if len(outputs) != 1 or outputs[0].numel() != 1:
            raise ShapeError(f"{who}: give v, for the function returns more than one number")
        return [array_module(outputs[0].data).ones_like(outputs[0].data)]
    found = list(_tuple(given))
    if len(found) != len(outputs):
        raise ShapeError(f"{who}: {len(outputs)} tensors to weigh, but v has {len(found)}")
    for y, v in zip(outputs, found, strict=True):
        if tuple(y.shape) != tuple(v.shape):
            raise ShapeError(f"{who}: v has shape {tuple(v.shape)}, expected {tuple(y.shape)}")
    return found


def _gradients(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], weights: Sequence[Any], graph: bool
) -> tuple[Tensor, ...]:
    """As `grad`, with zeros where an output does not depend on an input."""
    chosen = [(y, w) for y, w in zip(outputs, weights, strict=True) if y.requires_grad]
    found: Sequence[Any] = [None] * len(inputs)
    if chosen:
        found = tape.grad(
            [y for y, _ in chosen], inputs, [w for _, w in chosen],
            retain_graph=True, create_graph=graph, allow_unused=True,
        )  # fmt: skip
    return tuple(
        [tie(_zeros(x), None) if g is None else g for x, g in zip(inputs, found, strict=True)]
    )


def _zeros(x: Tensor) -> Any:
    return array_module(x.data).zeros_like(x.data)


def vjp(
    function: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False
) -> tuple[Any, Any]:
    """Return (function(*inputs), vᵀ J): the product of a row vector with the Jacobian.

    function : of tensors, to a tensor or a tuple of them
    inputs : a tensor or a tuple; v : as the outputs; may be left out for one number
    The product is a tensor, or a tuple as `inputs` is; zeros where nothing depends on an input.
    """
    points, result, outputs = _run("vjp", function, inputs)
    weights = _weights("vjp", outputs, v)
    found = _gradients(outputs, points, weights, create_graph)
    if not create_graph:
        result = _like(result, tuple([y.detach() for y in outputs]))
    return result, _like(inputs, found)


def jvp(
    function: Callable[..., Any], inputs: Any, v: Any, create_graph: bool = False
) -> tuple[Any, Any]:
    """Return (function(*inputs), J v): the directional derivative along `v`, shaped as inputs.

    By differentiating u -> uᵀ J, which is linear in u, along v.
    """
    points, result, outputs = _run("jvp", function, inputs)
    directions = _weights("jvp", points, v)
    with set_recording(True):
        dummies = [tie(_zeros(y), None).requires_grad_() for y in outputs]
        rows = _gradients(outputs, points, dummies, True)
        found = _gradients(rows, dummies, directions, create_graph)
    if not create_graph:
        result = _like(result, tuple([y.detach() for y in outputs]))
    return result, _like(result, found)


def hvp(function: Callable[..., Any], inputs: Any, v: Any) -> tuple[Any, Any]:
    """Return (function(*inputs), H v) for a function to one number: a Hessian-vector product."""
    points, result, outputs = _run("hvp", function, inputs)
    directions = _weights("hvp", points, v)
    with set_recording(True):
        first = _gradients(outputs, points, _weights("hvp", outputs, None), True)
        found = _gradients(first, points, directions, False)
    return _like(result, tuple([y.detach() for y in outputs])), _like(inputs, found)


def _rows(y: Tensor, points: Sequence[Tensor], graph: bool) -> tuple[Tensor, ...]:
    """The Jacobian of one tensor at each point, of shape (*y.shape, *point.shape)."""
    xp = array_module(y.data)
    rows: list[tuple[Tensor, ...]] = []
    for i in range(y.numel()):
        unit = xp.zeros(y.numel(), y.dtype)
        unit[i] = 1
        rows.append(_gradients([y], points, [unit.reshape(y.shape)], graph))
    blocks = []
    for k, x in enumerate(points):
        if rows:
            block = ops.stack([row[k] for row in rows])
        else:
            block = tie(xp.zeros((0, *x.shape), y.dtype), None)
        blocks.append(ops.reshape(block, (*y.shape, *x.shape)))
    return tuple(blocks)


def jacobian(function: Callable[..., Any], inputs: Any, create_graph: bool = False) -> Any:
    """The matrix of all first derivatives: one backward pass for each number of the outputs.

    Returns a tensor of shape (*output.shape, *input.shape); a tuple over outputs and, inside, over
    inputs where the function returns, or `inputs` is, a tuple.
    """
    points, result, outputs = _run("jacobian", function, inputs)
    with set_recording(create_graph):
        found = [_like(inputs, _rows(y, points, create_graph)) for y in outputs]
    return _like(result, tuple(found))


def hessian(function: Callable[..., Any], inputs: Any, create_graph: bool = False) -> Any:
    """The matrix of all second derivatives of a function to one number.

    Returns a tensor of shape (*x.shape, *x.shape), or a tuple of tuples for several inputs.
    """
    many = isinstance(inputs, (tuple, list))

    def gradient(*points: Tensor) -> tuple[Tensor, ...]:
        outputs = _tuple(function(*points))
        return _gradients(outputs, points, _weights("hessian", outputs, None), True)

    found = jacobian(gradient, _tuple(inputs), create_graph)
    return found if many else found[0][0]


# ---- checkpoint ---------------------------------------------------------------------------------


class _Recomputed:
    """Stands on the tape where a checkpointed function ran, in place of an op."""

    name, joint, definition = "checkpoint", True, None

    def __init__(self, rerun: Callable[..., Any], count: int) -> None:
        self.rerun, self.count = rerun, count

    def derive(
        self, node: Node, g: tuple[Any, ...], create_graph: bool, wanted: Sequence[bool] | None
    ) -> list[Any]:
        """Run the function again, this time recording, and walk back through it."""
        (values,) = node.saved
        for v in values:
            if is_array(v) and tape.changed_since(v, node.order):
                raise RuntimeError("checkpoint: an input was changed in place after it was used")
        with set_recording(True):
            places, outputs = self.rerun(node.parents[: self.count])
        starts = [(y.node, gi) for y, gi in zip(outputs, g, strict=True) if gi is not None]
        ends = [*places, *node.parents[self.count :]]
        found = walk(
            [place for place, _ in starts], [gi for _, gi in starts],
            create_graph, create_graph, ends, through=False,
        )  # fmt: skip
        return [found.get(end) for end in ends]


def checkpoint(function: Callable[..., Any], *inputs: Any, preserve_rng_state: bool = True) -> Any:
    """Run `function(*inputs)` keeping nothing of its inside; run it again in the backward pass.

    Trades time for memory (Chen et al. 2016, arXiv 1604.06174). Gradients reach the inputs and
    whatever else the function uses (parameters). With `preserve_rng_state` random draws (dropout)
    repeat. The function must compute the same when run again.
    """
    if not tape.mode.recording:
        return function(*inputs)
    before = random.get_state() if preserve_rng_state else None
    places = [i for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad]
    values = [x.data if isinstance(x, Tensor) else x for x in inputs]
    tensors = [isinstance(x, Tensor) for x in inputs]
    parents = [inputs[i].node for i in places]

    def run(above: Sequence[Any]) -> tuple[list[Any], Any]:
        arguments = [tie(v, None) if t else v for v, t in zip(values, tensors, strict=True)]
        for i, place in zip(places, above, strict=True):
            arguments[i] = tape.alias(tie(values[i], place))
        return [arguments[i].node for i in places], function(*arguments)

    def rerun(above: Sequence[Any]) -> tuple[list[Any], tuple[Any, ...]]:
        now = random.get_state()
        if before is not None:
            random.set_state(before)
        try:
            found, result = run(above)
        finally:
            random.set_state(now)
        return found, _tuple(result)

    inner, result = run(parents)
    outputs = _tuple(result)
    if not any(isinstance(y, Tensor) and y.node is not None for y in outputs):
        return result
    outside = _outside([y for y in outputs if isinstance(y, Tensor)], inner)
    node = Node()
    node.op, node.recipe, node.hooks = _Recomputed(rerun, len(places)), None, None
    node.order = next(tape.clock)
    node.parents = [*parents, *outside]
    node.saved = [values]
    node.shape = [getattr(y, "shape", None) for y in outputs]
    node.dtype = [getattr(y, "dtype", None) for y in outputs]
    made = [
        tie(y.data, Port(node, k, y.data)) if isinstance(y, Tensor) and y.node is not None else y
        for k, y in enumerate(outputs)
    ]
    return _like(result, tuple(made))


def _outside(outputs: Sequence[Tensor], ends: Sequence[Any]) -> list[Any]:
    """The leaves below the outputs that are not reached through `ends`: parameters, mostly."""
    stop, seen, found = set(ends), set(), []
    stack = [y.node for y in outputs if y.node is not None]
    while stack:
        place = stack.pop()
        place = place.node if type(place) is Port else place
        if place in seen or place in stop:
            continue
        seen.add(place)
        if type(place) is Leaf:
            found.append(place)
        else:
            stack.extend(place.parents)
    return sorted(found, key=lambda leaf: leaf.order)


# ---- anomaly mode -------------------------------------------------------------------------------


@contextlib.contextmanager
def detect_anomaly() -> Any:
    """Raise FloatingPointError at the first NaN or infinity, forward or backward.

    The error names the operation, the user's line that called it, and which value it was.
    """

    def look(event: Event) -> None:
        if event.kind == "forward":
            values = [("the result", y.data) for y in _tuple(event.output)]
        else:
            values = [(f"gradient {i}", g) for i, g in enumerate(event.gradients)]
        for what, value in values:
            value = value.data if isinstance(value, Tensor) else value
            if value is None or value.dtype.kind != "f":
                continue
            xp = array_module(value)
            if not bool(xp.isfinite(value).all()):
                found = "NaN" if bool(xp.isnan(value).any()) else "infinity"
                where = f", called at {event.line}" if event.line else ""
                raise FloatingPointError(
                    f"{event.op.name}: {what} of its {event.kind} pass holds {found}{where}"
                )

    with tape.observe(look):
        yield
