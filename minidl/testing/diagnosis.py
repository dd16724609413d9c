"""The likely cause of a wrong gradient, in one plain sentence."""

from typing import Any

from minidl.testing.evidence import gather
from minidl.testing.rules import explain


def cause(c: Any, compared: Any, level: Any, probe: Any, weights: Any) -> str:
    """Return the first cause that fits, or an empty text; `c` is the argument that is reported."""
    wrong = [c, *(other for other in compared if other is not c and other.wrong.any())]
    return explain([gather(w, compared, level, probe, weights) for w in wrong])
