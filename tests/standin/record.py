"""Write api.json: the functions of CuPy that NumPy has as well, with the keywords that they take.

python tests/standin/record.py      (needs CuPy, but no GPU)
"""

import inspect
import json
from pathlib import Path

import cupy
import numpy as np


def keywords(function: object) -> list[str] | None:
    """The names of its parameters; None where they cannot be known."""
    try:
        parameters = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    if any(p.kind == p.VAR_KEYWORD for p in parameters):
        return None
    return sorted(p.name for p in parameters)


def main() -> None:
    found = {}
    for name in sorted(dir(cupy)):
        if not name.startswith("_") and hasattr(np, name):
            function = getattr(cupy, name)
            plain = callable(function) and not isinstance(function, (type, cupy.ufunc))
            found[name] = keywords(function) if plain else None
    path = Path(__file__).parent / "api.json"
    lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in found.items())
    path.write_text("{\n" + lines + "\n}\n")
    print(f"{path}: {len(found)} names of CuPy {cupy.__version__}")


if __name__ == "__main__":
    main()
