"""Compiles all CPU kernels ahead: `python -m minidl warmup`.

Each module here has a function `warm_up(dtype)` that calls its kernels on the smallest arrays.
"""

import importlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minidl_kernels import KERNELS

__all__ = ["families", "main"]

DTYPES = ("float32", "float64")


def families() -> list[tuple[str, Any]]:
    """Return name and module of each family of kernels that is written here."""
    here = Path(__file__).parent
    names = [name for name in sorted(set(KERNELS.values())) if (here / f"{name}.py").exists()]
    return [(name, importlib.import_module(f"{__package__}.{name}")) for name in names]


def main(arguments: Sequence[str] = ()) -> int:
    """Compile every kernel for float32 and float64, for one thread and several; say how it went.

    Returns 0, 1 if there is no folder in which they can be kept for the next process, or 2 if it
    is given arguments, for it takes none.
    """
    if arguments:
        print(f"usage: python -m minidl warmup\n\n{main.__doc__}", file=sys.stderr)
        return 0 if arguments[0] in ("-h", "--help") else 2
    print(f"compiling for {' and '.join(DTYPES)}; what is there already is only loaded", flush=True)
    begun = time.perf_counter()
    launch = importlib.import_module(f"{__package__}.launch")
    launch.compile_loops()
    for name, module in families():
        start = time.perf_counter()
        for dtype in DTYPES:
            module.warm_up(dtype)
        seconds = time.perf_counter() - start
        print(f"  {name}: {seconds:.1f} s", flush=True)
    print(f"{time.perf_counter() - begun:.1f} s in all")
    places = set(launch.cached_in())
    kept = sorted(place for place in places if place is not None)
    for place in kept:
        print(f"kept in {place}")
    if None in places or not kept:
        print(
            "not kept: neither the folder of minidl nor that of the user's cache can be written "
            "to, so each process compiles anew; set NUMBA_CACHE_DIR to one that can",
            file=sys.stderr,
        )
        return 1
    return 0
