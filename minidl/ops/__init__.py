"""Every operation that minidl claims, by family; `registry` lists them all."""

import importlib
import pathlib
import sys

from minidl.tape import registry

__all__ = ["registry"]

# TEMPORARY while the families are being written (the lead replaces it by star imports)
for _path in sorted(pathlib.Path(__file__).parent.glob("[a-z]*.py")):
    try:
        _module = importlib.import_module(f"minidl.ops.{_path.stem}")
    except Exception as _error:
        print(f"(ops.{_path.stem} not importable yet: {_error!r})", file=sys.stderr)
        continue
    for _name in getattr(_module, "__all__", ()):
        if not hasattr(_module, _name):
            continue
        globals()[_name] = getattr(_module, _name)
        __all__.append(_name)
