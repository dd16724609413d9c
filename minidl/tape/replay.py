"""Replays the tape: the walk backwards, and what users call to start it."""

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Any

import numpy as np

from minidl.device import array_module, device_of, is_array, laid_out_like
from minidl.errors import DeviceError, ShapeError
from minidl.tape import nodes
from minidl.tape.nodes import Leaf, Node, Port, TensorBase, changed_since, set_recording, tie
from minidl.tape.observation import Event, observers
from minidl.tape.operation import alias, sum_to, to_dtype


def _check_unchanged(node: Node) -> None:
    """Refuse saved values that were changed in place after they were saved."""
    for (what, which), value in zip(node.recipe.keep, node.saved, strict=False):
        if what in ("value", "out", "values", "kept"):  # kept: it may be an output's memory
            for v in value if type(value) is tuple else (value,):
                if is_array(v) and changed_since(v, node.order):
                    ours = what in ("out", "kept")
                    name = "its output" if ours else node.op.name_of(which)
                    raise RuntimeError(
                        f"{node.op.name}: {name}, which its derivative needs, was changed in "
                        "place after it was used; change a .clone() instead"
                    )
    if node.op.definition is not None:
        for i, v in enumerate(node.saved[-1][0]):
            if is_array(v) and changed_since(v, node.order):
                raise RuntimeError(
                    f"{node.op.name}: {node.op.name_of(i)}, which its derivative needs, was "
                    "changed in place after it was used; change a .clone() instead"
                )


def _tied(node: Node, graph: bool) -> list[Any]:
    """What a node saved, as tensors: with `graph` tied to the graph that they came from."""
    found = []
    for (what, _), value, origin in zip(
        node.recipe.keep, node.saved, node.recipe.origin, strict=False
    ):
        if what == "out" and type(value) is tuple:
            ports = [Port(node, i, v) if graph else None for i, v in enumerate(value)]
            found.append(tuple(map(tie, value, ports)))
        elif what == "values":
            places = origin if graph else {}
            found.append(
                tuple(
                    [
                        tie(v, node.parents[places[i]] if i in places else None)
                        for i, v in enumerate(value)
                    ]
                )
            )
        elif is_array(value):
            at = node if origin == "out" else None if origin is None else node.parents[origin]
            found.append(tie(value, at if graph else None))
        else:
            found.append(value)
    return found


def _derive(node: Node, g: Any, create_graph: bool, wanted: Sequence[bool] | None) -> Any:
    """The gradients of a node's parents, in their order; None for those that are not wanted."""
    recipe, saved = node.recipe, node.saved
    if (  # the usual case, in short
        recipe is not None
        and saved is not None
        and wanted is None
        and not create_graph
        and type(g) is np.ndarray
        and nodes.last_change <= node.order
    ):
        if recipe.single:
            return [d(g, *[saved[s] for s in slots]) for d, slots, _ in recipe.calls]
        if recipe.joint is not None:
            return recipe.joint(g, recipe.wanted, *[saved[s] for s in recipe.calls[0][1]])
    if saved is None:
        raise RuntimeError(
            f"{node.op.name}: backward ran through here already and what was saved is gone; "
            "give the first backward retain_graph=True"
        )
    if recipe is None:
        return node.op.derive(node, g, create_graph, wanted)  # it knows by itself: a checkpoint
    if nodes.last_change > node.order:
        _check_unchanged(node)
    definition = node.op.definition
    if create_graph and definition is not None:
        return _derive_definition(node, g, wanted)
    on_tensors = create_graph
    if not create_graph and definition is None:
        first = g if type(g) is not tuple else next(x for x in g if x is not None)
        # On a device operators forget the layout; on tensors every operator is an op, which knows.
        on_tensors = type(first) is not np.ndarray and is_array(first)
    if on_tensors:
        saved = _tied(node, create_graph)
        if not create_graph:
            lift = lambda a: None if a is None else tie(a, None)  # noqa: E731
            g = tuple(map(lift, g)) if type(g) is tuple else lift(g)
    if recipe.single and wanted is None:
        found: list[Any] = [d(g, *[saved[s] for s in slots]) for d, slots, _ in recipe.calls]
    else:
        found = [None] * len(node.parents)
        for derivative, slots, parents in recipe.calls:
            values = [saved[s] for s in slots]
            if parents is None:
                which = [i for i in range(len(found)) if wanted is None or wanted[i]]
                if which:
                    names = tuple([recipe.wanted[i] for i in which])
                    for i, gi in zip(which, derivative(g, names, *values), strict=True):
                        found[i] = gi
            elif type(parents) is int:
                if wanted is None or wanted[parents]:
                    found[parents] = derivative(g, *values)
            elif wanted is None or any(wanted[i] for i, _ in parents):
                gradients = derivative(g, *values)
                for i, place in parents:
                    found[i] = gradients[place]
    if on_tensors and not create_graph:
        found = [x.data if isinstance(x, TensorBase) else x for x in found]
    return found


def _derive_definition(node: Node, g: Any, wanted: Sequence[bool] | None) -> list[Any]:
    """Differentiate a fused op's definition, so that its gradient has a graph."""
    values, options, tracked = node.saved[-1]
    inner = list(values)
    for i, parent in zip(tracked, node.parents, strict=True):
        inner[i] = alias(tie(values[i], parent))  # a place of its own, where the inner walk ends
    out = node.op.definition(*inner, **options)
    outs, gs = (out, g) if type(out) is tuple else ((out,), (g,))
    starts = [
        (o.node, gi)
        for o, gi in zip(outs, gs, strict=True)
        if gi is not None and o.node is not None
    ]
    ends = [inner[i].node for place, i in enumerate(tracked) if wanted is None or wanted[place]]
    found = walk([s for s, _ in starts], [gi for _, gi in starts], True, True, ends)
    return [found.get(inner[i].node) for i in tracked]


def _project(g: Any, place: Any, node: Node) -> Any:
    """Bring a gradient into the space of its argument: undo broadcasting, restore the dtype.

    The only place that does.
    """
    if g.shape != place.shape:
        if not node.op.broadcasts:
            raise AssertionError(
                f"{node.op.name}: a derivative has shape {g.shape}, its argument {place.shape}"
            )
        g = sum_to(g, place.shape)
    return g if g.dtype == place.dtype else to_dtype(g, place.dtype)


def _needed(outputs: Sequence[Any], ends: Sequence[Any], through: bool) -> set[Any]:
    """The nodes through which a gradient of the outputs reaches one of the ends."""
    floor = min(end.order for end in ends)
    walls = set() if through else {_node_of(end) for end in ends}
    seen, stack = set(), [_node_of(o) for o in outputs]
    while stack:
        node = stack.pop()
        if node not in seen and node.order >= floor:
            seen.add(node)
            if type(node) is Node and node not in walls:
                stack.extend([_node_of(p) for p in node.parents])
    needed, targets = set(), set(ends)
    for node in sorted(seen, key=lambda n: n.order):  # parents come before their children
        if (
            type(node) is Node
            and node not in walls
            and any(p in targets or _node_of(p) in needed for p in node.parents)
        ):
            needed.add(node)
    return needed


def _sum(a: Any, b: Any) -> Any:
    total = a + b
    if type(total) is np.ndarray or isinstance(total, TensorBase):
        return total
    if isinstance(total, np.generic):
        return np.asarray(total)
    return laid_out_like(total, a, b)  # a device's functions forget the layout


def _node_of(place: Any) -> Any:
    return place.node if type(place) is Port else place


@np.errstate(all="ignore")  # the operations have warned of what the derivatives meet again
def walk(
    outputs: Sequence[Any],
    gradients: Sequence[Any],
    create_graph: bool = False,
    retain_graph: bool = False,
    ends: Sequence[Any] | None = None,
    through: bool = True,
) -> dict[Any, Any]:
    """Gradients at the places `ends` (default: every leaf below), as a dict.

    through : an end may lie above another one, and passes its gradient on

    A node is recorded after its parents, so of the nodes that wait the one with the largest order
    has all its gradient: no recursion, no separate sorting, the same order of additions each time.
    What a node saved goes when it is used.
    """
    waiting: dict[Any, Any] = {}
    found: dict[Any, Any] = {}
    heap: list[tuple[int, Any]] = []
    targets: Any = None if ends is None else set(ends)
    needed: Any = None if ends is None else _needed(outputs, ends, through)
    usual = ends is None and not create_graph

    def give(place: Any, g: Any, shared: bool) -> None:
        kind = type(place)
        if kind is Leaf:
            if targets is None or place in targets:
                if place in found:
                    found[place] = _sum(found[place], g)
                else:  # what the user gets shares no memory with anything
                    found[place] = g.copy(order="K") if shared and not create_graph else g
            return
        node = place.node if kind is Port else place
        if needed is not None and node not in needed and (targets is None or place not in targets):
            return
        if node not in waiting:
            heappush(heap, (-node.order, node))
            waiting[node] = [None] * len(node.shape) if type(node.shape) is list else None
        if kind is Port:
            before = waiting[node][place.index]
            waiting[node][place.index] = g if before is None else _sum(before, g)
            if place.hooks or (targets is not None and place in targets):
                ports.setdefault(node, {})[place.index] = place
        else:
            before = waiting[node]
            waiting[node] = g if before is None else _sum(before, g)

    ports: dict[Any, dict[int, Any]] = {}  # the ports of a node that someone listens at
    for place, g in zip(outputs, gradients, strict=True):
        give(place, g, True)
    with set_recording(create_graph):
        while heap:
            node = heappop(heap)[1]
            g = waiting.pop(node)
            if type(g) is list:
                for index, port in ports.pop(node, {}).items():
                    g[index] = _listen(port, g[index], found, targets, create_graph)
                if node.op.joint is None and node.op.definition is None:
                    g = _filled(node, g, create_graph)
                g = tuple(g)
            elif node.hooks or targets is not None:
                g = _listen(node, g, found, targets, create_graph)
            wanted = None
            if needed is not None:
                if node not in needed:
                    continue
                wanted = [p in targets or _node_of(p) in needed for p in node.parents]
            recipe, saved = node.recipe, node.saved
            if (  # the usual case, in short: one derivative, on an array
                usual
                and recipe is not None
                and recipe.only is not None
                and saved is not None
                and type(g) is np.ndarray
                and nodes.last_change <= node.order
            ):
                derived: Any = (recipe.only(g, *saved),)
            else:
                derived = _derive(node, g, create_graph, wanted)
            if observers:
                line = getattr(node, "line", "")
                event = Event("backward", node.op, line, gradient=g, gradients=derived)
                for observer in tuple(observers):
                    observer(event)
            for parent, gp in zip(node.parents, derived, strict=True):
                if gp is None:
                    continue
                place = parent
                if type(parent) is Leaf:
                    tensor = parent.tensor()
                    if tensor is None:  # it is gone, and its gradient of no interest
                        continue
                    place = tensor.data
                if gp.shape != place.shape or gp.dtype is not place.dtype:
                    gp = _project(gp, place, node)
                if type(gp) is not np.ndarray and isinstance(gp, np.generic):
                    gp = np.asarray(gp)
                if type(parent) is Node and needed is None:  # the usual case, in short
                    before = waiting.get(parent)
                    if before is None:
                        waiting[parent] = gp
                        heappush(heap, (-parent.order, parent))
                    else:
                        waiting[parent] = _sum(before, gp)
                else:
                    give(parent, gp, gp is g or getattr(gp, "base", None) is not None)
            if not retain_graph:
                node.saved = None
    for leaf in found:
        if type(leaf) is Leaf and leaf.hooks:
            found[leaf] = _hooked(leaf, found[leaf], create_graph)
    return found


def _listen(place: Any, g: Any, found: Any, targets: Any, create_graph: bool) -> Any:
    """Run the hooks at a place whose gradient is complete, and note it if it was asked for."""
    if g is None:
        return None
    if place.hooks:
        g = _hooked(place, g, create_graph)
    if targets is not None and place in targets:
        found[place] = g if create_graph else g.copy(order="K")
    return g


def _hooked(place: Any, g: Any, create_graph: bool) -> Any:
    for hook in tuple(place.hooks.values()):
        answer = hook(g if isinstance(g, TensorBase) else tie(g, None))
        if answer is not None:
            if answer.shape != g.shape:
                raise ShapeError(f"hook: returned shape {answer.shape}, the gradient has {g.shape}")
            g = answer if create_graph else answer.data
    return g


def _filled(node: Node, g: list[Any], create_graph: bool) -> list[Any]:
    """Zeros for outputs that nobody used."""
    xp = array_module(next(x.data if isinstance(x, TensorBase) else x for x in g if x is not None))
    zeros = [
        xp.zeros(shape, dtype) if x is None else None
        for x, shape, dtype in zip(g, node.shape, node.dtype, strict=True)
    ]
    return [
        x if z is None else tie(z, None) if create_graph else z
        for x, z in zip(g, zeros, strict=True)
    ]


# ---- what users call ----------------------------------------------------------------------------


def backward(
    output: Any,
    gradient: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Sequence[Any] | None = None,
) -> None:
    """Add d(output)/d(leaf) to `.grad` of every leaf below `output` (or of `inputs` alone).

    gradient : of the output's shape; may be left out if the output holds one number
    retain_graph : keep what was saved, for another backward; default: as `create_graph`
    create_graph : record the derivatives themselves, so that they can be differentiated

    Raises RuntimeError if the output needs no gradient, ShapeError if `gradient` does not fit.
    """
    start = _start("backward", output, gradient, create_graph)
    retain_graph = create_graph if retain_graph is None else retain_graph
    ends = None if inputs is None else [_tracked("backward", x, i) for i, x in enumerate(inputs)]
    found = walk([output.node], [start], create_graph, retain_graph, ends)
    asked = {} if inputs is None else {x.node: x for x in inputs}
    for place, g in found.items():
        tensor = place.tensor() if type(place) is Leaf else asked[place]
        if tensor is not None:
            g = g if create_graph else tie(g, None)
            before = tensor._grad
            tensor._grad = g if before is None else add_gradients(before, g, create_graph)


def add_gradients(before: Any, g: Any, create_graph: bool) -> Any:
    """Return the sum of an earlier gradient and a new one, in new memory."""
    with set_recording(create_graph):
        return before + g


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Any, ...]:
    """Gradients of the outputs (their sum, weighted by `grad_outputs`) at the inputs.

    outputs, inputs : a tensor or a sequence of them
    grad_outputs : one for each output; may be left out for outputs that hold one number
    allow_unused : None for an input that no output depends on, instead of an error

    Returns a tuple of tensors, one for each input. `.grad` of no tensor is changed, and only what
    these inputs need is computed. Raises RuntimeError as `backward` does.
    """
    outputs = [outputs] if isinstance(outputs, TensorBase) else list(outputs)
    inputs = [inputs] if isinstance(inputs, TensorBase) else list(inputs)
    if grad_outputs is None or isinstance(grad_outputs, TensorBase) or is_array(grad_outputs):
        grad_outputs = [grad_outputs] if len(outputs) == 1 or grad_outputs is not None else None
    grad_outputs = [None] * len(outputs) if grad_outputs is None else list(grad_outputs)
    if len(grad_outputs) != len(outputs):
        raise ValueError(f"grad: {len(outputs)} outputs but {len(grad_outputs)} grad_outputs")
    starts = [
        _start("grad", o, g, create_graph) for o, g in zip(outputs, grad_outputs, strict=True)
    ]
    ends = [_tracked("grad", x, i) for i, x in enumerate(inputs)]
    retain_graph = create_graph if retain_graph is None else retain_graph
    if not ends:
        return ()
    found = walk([o.node for o in outputs], starts, create_graph, retain_graph, ends)
    gradients: list[Any] = []
    for i, end in enumerate(ends):
        g = found.get(end)
        if g is None and not allow_unused:
            raise RuntimeError(
                f"grad: input {i} of shape {end.shape} was not used to compute the outputs; "
                "give allow_unused=True to get None for it"
            )
        gradients.append(g if g is None or isinstance(g, TensorBase) else tie(g, None))
    return tuple(gradients)


def _tracked(who: str, x: Any, i: int) -> Any:
    if not isinstance(x, TensorBase):
        raise TypeError(f"{who}: input {i} is a {type(x).__name__}, expected a Tensor")
    if x.node is None:
        raise RuntimeError(f"{who}: input {i} does not require a gradient (requires_grad=True)")
    return x.node


def _start(who: str, output: Any, gradient: Any, create_graph: bool) -> Any:
    """The gradient with which a walk begins, checked."""
    data = output.data
    if output.node is None:
        why = "" if data.dtype.kind == "f" else f": its dtype is {data.dtype}"
        raise RuntimeError(
            f"{who}: the output does not depend on any tensor that requires a gradient{why}"
        )
    if gradient is None:
        if data.size != 1:
            raise ShapeError(
                f"{who}: the output has shape {data.shape}; give a gradient of that shape, "
                "or reduce it to one number, as with .sum()"
            )
        gradient = array_module(data).ones_like(data)
        return tie(gradient, None) if create_graph else gradient
    given = gradient.data if isinstance(gradient, TensorBase) else gradient
    if not is_array(given):
        given = array_module(data).asarray(given, data.dtype)
    if given.shape != data.shape:
        raise ShapeError(f"{who}: the gradient has shape {given.shape}, the output {data.shape}")
    if type(given) is not type(data):
        raise DeviceError(
            f"{who}: the gradient is on {device_of(given)}, the output on {device_of(data)}"
        )
    if given.dtype != data.dtype:
        given = given.astype(data.dtype)
        gradient = given
    if create_graph:
        return gradient if isinstance(gradient, TensorBase) else tie(given, None)
    return given
