"""How a kernel is compiled: by Numba at its first call, and kept on disk for the next process.

    @compiled                        a loop on one thread
    @compiled(parallel=True)         the same with `prange`: two forms, on all threads and on one
    @helper                          a part of kernels, compiled into each and not by itself
    @native(name, signature)         a part that all kernels share: compiled once, called by name

The cache is Numba's: NUMBA_CACHE_DIR, else beside the source, else the user's cache folder. Where
none can be written to, a kernel is compiled in each process anew: slower, and never wrong. Numba
looks whether the file of a kernel has changed, but not the files of its helpers; so the name under
which it is kept has a mark of those.
"""

import contextlib
import functools
import hashlib
import logging
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, overload

import llvmlite.binding
import numba
from numba.core import event
from numba.core.registry import CPUDispatcher

from minidl_kernels.cpu import threads

__all__ = ["Kernel", "c_function", "compiled", "helper", "native"]

# Sums keep their order, and NaN and infinity what they mean: no fastmath unless a kernel asks.
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
# What compiled code alone calls needs no forms for Python and C, two thirds of its compile time.
_INSIDE = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


class Kernel:
    """A compiled function: call it, and it runs on as many threads as `set_num_threads` allows.

    serial : its form on one thread, a function of the same arguments
    parallel : its form on several, or None; not to be called past the Kernel, which sees to locks
    """

    def __init__(self, function: Callable[..., Any], parallel: bool, **options: Any) -> None:
        functools.update_wrapper(self, function)
        self.serial = _Form(function, "one_thread", **options)
        self.parallel = _Form(function, "threads", parallel=True, **options) if parallel else None

    def __call__(self, *args: Any) -> Any:
        """Run on all threads, or serially where there is one."""
        if self.parallel is None or threads.count == 1:
            return self.serial(*args)
        if threads.here.count != threads.count:
            threads.enter()
        if threads.lock is None:
            return self.parallel(*args)
        with threads.lock:
            return self.parallel(*args)

    def compile_for(self, *args: Any) -> None:
        """Run each of its forms once, so that both are there whatever number of threads is set."""
        threads.enter()
        self.serial(*args)
        if self.parallel is not None:
            with threads.lock or contextlib.nullcontext():
                self.parallel(*args)

    def cached_in(self) -> list[str | None]:
        """Where each form is kept on disk; None for one that cannot be."""
        forms = [form for form in (self.serial, self.parallel) if form is not None]
        return [form.run.stats.cache_path for form in forms]


class _Form:
    """One compiled form of a function, cached on disk where that is possible."""

    __slots__ = ("_function", "_options", "run")

    def __init__(self, function: Callable[..., Any], form: str, **options: Any) -> None:
        self._function = named(function, form)
        self._options = _OPTIONS | options
        try:
            self.run = numba.njit(cache=True, **self._options)(self._function)
        except RuntimeError:  # there is no folder for the cache
            self.run = numba.njit(**self._options)(self._function)

    def __call__(self, *args: Any) -> Any:
        try:
            return self.run(*args)
        except OSError:  # the disk is full, or the folder has gone
            self.run = numba.njit(**self._options)(self._function)
            return self.run(*args)


@overload
def compiled(function: Callable[..., Any]) -> Kernel: ...
@overload
def compiled(*, parallel: bool = False, **options: Any) -> Callable[..., Kernel]: ...
def compiled(
    function: Callable[..., Any] | None = None, *, parallel: bool = False, **options: Any
) -> Any:
    """Make a kernel of a function; further options are Numba's."""
    if function is None:
        return lambda function: Kernel(function, parallel, **options)
    return Kernel(function, parallel, **options)


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
