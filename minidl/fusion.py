"""The switch between fused operations, one kernel for many ops, and the plain graph."""

import contextlib
from collections.abc import Iterator

__all__ = ["fusion", "is_on"]

_on = True


def fusion(on: bool = True) -> contextlib.AbstractContextManager[None]:
    """Let operations run fused, as they do from the start, or as the plain graph.

    A fused operation does the work of several in one kernel: `F.conv2d(…, activation="relu",
    pool=2)`, an LSTM over a sequence. With `fusion(False)` each runs as its definition, written in
    plain operations, and `nn.Sequential` calls every module by itself. The results are the same,
    the gradients within rounding; the plain graph is there to be looked at and compared with.

    Takes effect at once, in all threads; as a context manager it is undone at the end.

    Examples
    --------
    >>> import minidl
    >>> from minidl.nn import functional as F
    >>> x, w = minidl.ones(1, 1, 4, 4), minidl.ones(1, 1, 3, 3)
    >>> with minidl.fusion(False):
    ...     F.conv2d(x, w, activation="relu", pool=2)
    tensor([[[[9.]]]])
    """
    global _on
    if not isinstance(on, bool):
        raise TypeError(f"fusion: on is {on!r}, expected True or False")
    before, _on = _on, on

    @contextlib.contextmanager
    def undo() -> Iterator[None]:
        global _on
        try:
            yield
        finally:
            _on = before

    return undo()


def is_on() -> bool:
    """Whether operations run fused."""
    return _on
