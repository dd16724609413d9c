"""Integers in memory that several threads read and change: what `team` is written with.

All are at addresses. Who reads with `read` what another one wrote with `write` or `add`, or takes
with `take`, also sees whatever that one wrote before.
"""

import ctypes
import platform
import sys
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types

from minidl_kernels.cpu.emit import INT, intrinsic, invoke

__all__ = ["add", "read", "relax", "take", "write", "yield_cpu"]

_N = types.intp


def _pointer(context: Any, b: Any, address: Any) -> Any:
    return b.inttoptr(address, context.get_value_type(_N).as_pointer())


@intrinsic
def read(typing: Any, address: Any) -> Any:
    """The integer at an address."""

    def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
        return b.load_atomic(_pointer(context, b, args[0]), "acquire", 8)

    return _N(_N), generate


@intrinsic
def write(typing: Any, address: Any, value: Any) -> Any:
    """Put an integer at an address."""

    def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
        b.store_atomic(args[1], _pointer(context, b, args[0]), "release", 8)
        return context.get_dummy_value()

    return types.void(_N, _N), generate


@intrinsic
def add(typing: Any, address: Any, value: Any) -> Any:
    """Add to the integer at an address."""

    def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
        b.atomic_rmw("add", _pointer(context, b, args[0]), args[1], "acq_rel")
        return context.get_dummy_value()

    return types.void(_N, _N), generate


@intrinsic
def take(typing: Any, address: Any, seen: Any) -> Any:
    """Take one away from the integer at an address, if it is `seen` still; whether that was so."""

    def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
        less = b.sub(args[1], args[1].type(1))
        place = _pointer(context, b, args[0])
        return b.extract_value(b.cmpxchg(place, args[1], less, "acq_rel", "acquire"), 1)

    return types.boolean(_N, _N), generate


@intrinsic
def relax(typing: Any) -> Any:
    """Tell the processor that this thread only waits: it saves power, and leaves its twin more."""

    def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
        machine = platform.machine().lower()
        if machine in ("x86_64", "amd64"):
            invoke(b, "llvm.x86.sse2.pause", ir.VoidType())
        elif machine in ("aarch64", "arm64"):
            invoke(b, "llvm.aarch64.hint", ir.VoidType(), INT(1))  # "yield"
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def yield_cpu(typing: Any) -> Any:
    """Let another thread that waits for this CPU run first."""

    def generate(context: Any, b: Any, sig: Any, args: Any) -> Any:
        invoke(b, _YIELD, INT)
        return context.get_dummy_value()

    return types.void(), generate


def _yield() -> Any:
    """The system's own function."""
    if sys.platform == "win32":
        return ctypes.windll.kernel32.SwitchToThread
    return ctypes.CDLL(None).sched_yield


_YIELD = "minidl_yield"
llvmlite.binding.add_symbol(_YIELD, ctypes.cast(_yield(), ctypes.c_void_p).value)
