"""Whether freed memory stays with the process, for the next array, or goes back to the system.

By default the C library maps each large array anew and unmaps it when it goes; then each page of
it is cleared and faulted in at its first touch, which takes longer than many an operation. With
`keep_freed_memory()`, which `import minidl` calls, it takes freed memory again. An array's memory
is free only when the array and all its views are gone, so nothing else changes.

Two settings of glibc's malloc do it (man 3 mallopt): M_MMAP_THRESHOLD, from which size on memory is
mapped by itself, and M_TRIM_THRESHOLD, how much free memory is kept at the end of the heap.
"""

import ctypes
import os
import sys
from typing import Any

__all__ = ["keep_freed_memory"]

_TRIM, _MMAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of <malloc.h>
_LARGEST = 1 << 30  # larger arrays, and more free memory than that, do go back
_DEFAULT = 128 * 1024  # of both thresholds, in glibc


def keep_freed_memory(keep: bool = True) -> bool:
    """Keep freed memory for the next arrays, or give it back: now, and whenever some is freed.

    Returns whether it could be told: True with glibc's malloc, False with another one (musl,
    macOS, Windows, jemalloc and tcmalloc), where nothing is changed. Up to 1 GiB of free memory
    is kept. `import minidl` turns it on, unless MINIDL_KEEP_MEMORY is 0 or the settings are
    already made by MALLOC_MMAP_THRESHOLD_, MALLOC_TRIM_THRESHOLD_ or GLIBC_TUNABLES.
    """
    libc = _glibc()
    if libc is None:
        return False
    size = _LARGEST if keep else _DEFAULT
    mapped, trimmed = libc.mallopt(_MMAP, size), libc.mallopt(_TRIM, size)
    if not mapped:  # older versions map everything from 32 MiB by itself
        mapped = libc.mallopt(_MMAP, 1 << 25)
    if not keep:
        libc.malloc_trim(0)
    return bool(mapped and trimmed)


def _glibc() -> Any:
    """The C library, if it is glibc and its malloc is the one in use; else None."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        libc, process = ctypes.CDLL("libc.so.6"), ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018 (AttributeError where it is another library)
        ours, used = [ctypes.cast(x.malloc, ctypes.c_void_p).value for x in (libc, process)]
    except (AttributeError, OSError):
        return None
    return libc if ours == used else None


def as_the_environment_says() -> None:
    """What `import minidl` does."""
    set_already = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
    if any(name in os.environ for name in set_already):
        return
    if "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return
    if os.environ.get("MINIDL_KEEP_MEMORY", "1") != "0":
        keep_freed_memory()
