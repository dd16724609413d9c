"""The tape: records operations as they run and replays their derivatives, last recorded first.

A table of derivatives stands above each operation and is the only place where calculus is written
down. It is read in two ways: with arrays in an ordinary backward pass, with tensors when a graph of
the gradient itself is wanted, so one definition serves every order. What a derivative names is what
the tape keeps.

Read `nodes.py` (what is on the tape), then `operation.py` (how an op is recorded), then `replay.py`
(how its derivatives run); `registry.py` lists the ops, `observation.py` lets others look on.
Nothing here knows any particular operation but the few that the tape needs itself. `ops` builds on
it; `tensor` builds on both and tells it once what a Tensor is.
"""

from minidl.tape.composite import Composite, composite
from minidl.tape.kinks import Jump, Kink, Steep
from minidl.tape.nodes import (
    Leaf,
    Node,
    Port,
    TensorBase,
    changed_since,
    clock,
    mode,
    set_recording,
    tensor_class,
    tie,
    touch,
)
from minidl.tape.observation import Event, observe, observers
from minidl.tape.operation import (
    Kept,
    Op,
    alias,
    expand_to,
    op,
    sum_to,
    to_dtype,
)
from minidl.tape.registry import Facts, registry
from minidl.tape.replay import backward, grad, walk

__all__ = [
    "Composite",
    "Event",
    "Facts",
    "Jump",
    "Kept",
    "Kink",
    "Leaf",
    "Node",
    "Op",
    "Port",
    "Steep",
    "TensorBase",
    "alias",
    "backward",
    "changed_since",
    "clock",
    "composite",
    "expand_to",
    "grad",
    "mode",
    "observe",
    "observers",
    "op",
    "registry",
    "set_recording",
    "sum_to",
    "tensor_class",
    "tie",
    "to_dtype",
    "touch",
    "walk",
]
