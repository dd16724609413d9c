"""How a kernel is compiled: by Numba at its first call, and kept on disk for the next process.

    @compiled                   a function that Python calls
    @helper                     a part of kernels, compiled into each and not by itself
    @native(name, signature)    a part that all kernels share: compiled once, called by name

The cache is Numba's: NUMBA_CACHE_DIR, else beside the source, else the user's cache folder. Where
none can be written to, a kernel is compiled in each process anew: slower, and never wrong. Numba
looks whether the file of a kernel has changed, but not the files of its helpers; so the name under
which it is kept has a mark of those.
"""

import functools
import hashlib
import logging
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding
import numba
from numba.core import event
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import CPUDispatcher

__all__ = ["c_function", "compiled", "helper", "native"]

# Sums keep their order, and NaN and infinity what they mean: no fastmath unless a kernel asks.
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
# What compiled code alone calls needs no forms for Python and C, two thirds of its compile time.
_INSIDE = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


class compiled:
    """A decorator: the function compiled, and cached on disk where that is possible."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self._function = named(function, "function")
        try:
            self.run = numba.njit(cache=True, **_OPTIONS)(self._function)
        except RuntimeError:  # there is no folder for the cache
            self.run = numba.njit(**_OPTIONS)(self._function)

    def __call__(self, *args: Any) -> Any:
        """Run it, compiled at the first call."""
        try:
            return self.run(*args)
        except OSError:  # the disk is full, or the folder has gone
            self.run = numba.njit(**_OPTIONS)(self._function)
            return self.run(*args)


class _Helper(CPUDispatcher):
    """A compiled function without a form for Python: a call from there would end the process."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        name = self.py_func.__name__
        raise TypeError(f"{name}: a part of kernels, which compiled code alone may call")


def helper(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Make a function that kernels may call, and Python may not; options are Numba's."""
    if function is None:
        return lambda function: helper(function, **options)
    made = numba.njit(**_OPTIONS | _INSIDE | options)(function)
    made.__class__ = _Helper
    return made


def native(name: str, signature: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function of numbers and pointers at once; kernels then call it as C's `name`."""

    # Inlined into the form that C calls, which would else copy its arguments for a second call.
    def make(function: Callable[..., Any]) -> Any:
        made = c_function(function, "native", signature, error_model="numpy", forceinline=True)
        llvmlite.binding.add_symbol(name, made.address)
        return numba.types.ExternalFunction(name, signature)

    return make


def c_function(function: Callable[..., Any], form: str, signature: Any, **options: Any) -> Any:
    """Compile a function that has an address, for C's callers; cached where that is possible."""
    function = named(function, form)
    try:
        return numba.cfunc(signature, cache=True, **options)(function)
    except (RuntimeError, OSError):  # there is no folder for the cache, or no room in it
        return numba.cfunc(signature, **options)(function)


def named(function: Callable[..., Any], form: str) -> Any:
    """A copy of a function whose name, under which it is cached, tells its form and its helpers."""
    code, names = function.__code__, function.__globals__
    copy = types.FunctionType(
        code, names, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__module__ = function.__module__
    copy.__qualname__ = f"{function.__qualname__}.{form}.{_mark(function.__module__)}"
    return copy


# A child that is forked while another thread compiles would wait for Numba's lock for ever: a fork
# waits instead.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )


@functools.cache
def _mark(module: str) -> str:
    """Some letters that change with the files that a module of this package takes helpers from."""
    package = __name__.rpartition(".")[0]
    found, stack = {module}, [module]
    while stack:
        for value in tuple(vars(sys.modules[stack.pop()]).values()):
            home = value.__name__ if isinstance(value, types.ModuleType) else _home(value)
            if home.startswith(f"{package}.") and home not in found:
                found.add(home)
                stack.append(home)
    digest = hashlib.sha256()
    for name in sorted(found - {module}):
        digest.update(Path(str(sys.modules[name].__file__)).read_bytes())
    return digest.hexdigest()[:8]


def _home(value: Any) -> str:
    """The module in which a function or a class was written, or ""."""
    home = getattr(value, "__module__", None)
    return home if isinstance(home, str) else ""


class _Says(event.Listener):
    """Says once in a process that kernels are being compiled: on a terminal, else in the log."""

    def __init__(self) -> None:
        self.said = False

    def on_start(self, event: Any) -> None:
        """A function is about to be compiled; ours come from this package."""
        function = event.data["dispatcher"].py_func
        if self.said or not function.__module__.startswith("minidl_kernels."):
            return
        self.said = True
        text = "compiling kernels for this machine, once (python -m minidl warmup does it ahead)"
        logging.getLogger("minidl").info(text)
        if sys.stderr is not None and sys.stderr.isatty():
            print(f"minidl: {text}", file=sys.stderr, flush=True)

    def on_end(self, event: Any) -> None:
        """Nothing is said of the end."""


event.register("numba:compile", _Says())
