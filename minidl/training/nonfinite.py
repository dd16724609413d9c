"""Where a NaN or an infinity came from: the data, the weights, or an operation."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from minidl import random, tape
from minidl.device import array_module, to_host
from minidl.tape import Event
from minidl.tensor import Tensor
from minidl.training.batches import leaves

__all__ = ["cause_in_data", "cause_in_ops", "cause_in_weights", "gradients_finite"]


def gradients_finite(parameters: Iterable[Tensor]) -> bool:
    """Whether no gradient holds NaN or infinity; one transfer from a device for all of them."""
    total: Any = 0.0
    with np.errstate(all="ignore"):
        for p in parameters:
            if p.grad is not None:
                total = total + p.grad.data.sum(dtype="float64")
        return bool(np.isfinite(float(total)))


def _bad(array: Any) -> str | None:
    """What an array holds that is no number: "NaN", "infinity" or None."""
    if getattr(array, "dtype", None) is None or array.dtype.kind != "f":
        return None
    xp = array_module(array)
    if bool(xp.isnan(array).any()):
        return "NaN"
    return None if bool(xp.isfinite(array).all()) else "infinity"


def _places(name: str, array: Any) -> str | None:
    """A text on the bad numbers of an array: which, how many, where the first is."""
    found = _bad(array)
    if found is None:
        return None
    bad = ~np.isfinite(to_host(array))
    first = tuple(int(axis[0]) for axis in np.nonzero(bad)) if bad.ndim else ()
    return f"{name} holds {found}: {int(bad.sum())} of {bad.size} numbers, the first at {first}"


def cause_in_data(batch: Any) -> str | None:
    """Name the argument of a batch that holds NaN or infinity, and where; None if none does."""
    for path, value in leaves(batch):
        text = _places(f"the data: batch{path}", getattr(value, "data", value))
        if text:
            return text
    return None


def samples(bad: Any, count: int) -> Any:
    """Return which of a batch's `count` samples are marked in `bad`, as (count,) bool, or None.

    None: its first axis is not that of the samples, or nothing is marked.
    """
    if getattr(bad, "shape", ())[:1] != (count,) or not bad.any():
        return None
    return bad.reshape(count, -1).any(1)


def samples_in_data(batch: Any, count: int) -> Any:
    """Return which samples of a batch hold NaN or infinity, as (count,) bool; None if none does."""
    for _, value in leaves(batch):
        array = getattr(value, "data", value)
        if _bad(array) and (found := samples(~np.isfinite(to_host(array)), count)) is not None:
            return found
    return None


def cause_in_weights(model: Any) -> str | None:
    """Name the parameter that holds NaN or infinity; None if none does.

    Running statistics are left out: the batch itself may have spoilt them.
    """
    for name, parameter in model.named_parameters():
        text = _places(f"the model: {name}", parameter.data)
        if text:
            return text
    return None


def cause_in_ops(run: Callable[[], Any], streams: dict[str, Any]) -> str | None:
    """Name the first operation of `run()` that made a NaN or, if none did, an infinity.

    run : forward and backward of the batch, which is run again here
    streams : the state of the random streams before it, so that dropout falls as it did
    """
    seen: dict[str, str] = {}

    def look(event: Event) -> None:
        if event.kind == "forward":
            output = event.output
            values = output if isinstance(output, tuple) else (output,)
            what = "the result"
        else:
            values, what = tuple(event.gradients), "a gradient"
        for value in values:
            found = _bad(getattr(value, "data", None) if isinstance(value, Tensor) else value)
            if found and found not in seen:
                line = f", called at {event.line}" if event.line else ""
                seen[found] = f"{event.op.name}: {what} of its {event.kind} pass{line}"

    now = random.get_state()
    random.set_state(streams)
    try:
        with tape.observe(look), np.errstate(all="ignore"):
            run()
    except (ArithmeticError, ValueError, RuntimeError):
        pass  # what was seen until then says more than a second error
    finally:
        random.set_state(now)
    if "NaN" not in seen:
        return f"infinity first in {seen['infinity']}" if seen else None
    before = f"; infinity first in {seen['infinity']}" if "infinity" in seen else ""
    return f"NaN first in {seen['NaN']}{before}"
