"""Folders of data on disk that are there whole or not at all.

A state is a tree of dicts, lists, tuples, numbers, texts, None and arrays or tensors. It becomes
`state.json` with the arrays beside it in safetensors files. The folder is written under another
name, every file in it is synced to the disk, and then it is renamed: whoever finds it under its
name finds all of it, whenever the program or the machine was stopped.
"""

import hashlib
import json
import math
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

import numpy as np

from minidl.device import is_array
from minidl.errors import FormatError
from minidl.serialization import load, save
from minidl.tensor import Tensor

__all__ = ["read_folder", "remove_folder", "sweep", "write_folder"]

FORMAT = 1  # of the folders written here; a folder of a greater number is refused
STATE, ARRAYS = "state.json", "state.safetensors"
_TEMPORARY = ".unfinished-"  # folders being written or removed; `sweep` takes away what was left


# ---- trees as JSON ------------------------------------------------------------------------------


def pack(tree: Any, arrays: dict[str, Any], path: str = "") -> Any:
    """Return the tree as JSON can hold it; its arrays go into `arrays` under their paths.

    What JSON does not have becomes a dict with a single key that begins with "$".
    """
    if tree is None or isinstance(tree, bool | int | str):
        return tree
    if isinstance(tree, np.generic):
        return pack(tree.item(), arrays, path)
    if isinstance(tree, float):
        return tree if math.isfinite(tree) else {"$float": repr(tree)}
    if isinstance(tree, Tensor) or is_array(tree):
        name = path if path not in arrays else f"{path}#{len(arrays)}"
        arrays[name] = tree
        return {"$array": name}
    if isinstance(tree, dict):
        if all(isinstance(key, str) and not key.startswith("$") for key in tree):
            return {key: pack(part, arrays, f"{path}/{key}") for key, part in tree.items()}
        pairs = [[key, pack(part, arrays, f"{path}/{key}")] for key, part in tree.items()]
        return {"$dict": [[pack(key, arrays), part] for key, part in pairs]}
    if isinstance(tree, list | tuple):
        parts = [pack(part, arrays, f"{path}/{i}") for i, part in enumerate(tree)]
        return {"$tuple": parts} if isinstance(tree, tuple) else parts
    raise TypeError(
        f"checkpoint: {path or 'the state'} is a {type(tree).__name__}; a state_dict may hold "
        "numbers, texts, None, arrays, tensors, and lists, tuples and dicts of them"
    )


def unpack(tree: Any, arrays: dict[str, Any]) -> Any:
    """Return the tree that `pack` was given; arrays come back as tensors."""
    if isinstance(tree, list):
        return [unpack(part, arrays) for part in tree]
    if not isinstance(tree, dict):
        return tree
    if len(tree) == 1:
        ((kind, value),) = tree.items()
        if kind == "$float":
            return float(value)
        if kind == "$array":
            return arrays[value]
        if kind == "$tuple":
            return tuple([unpack(part, arrays) for part in value])
        if kind == "$dict":
            return {unpack(key, arrays): unpack(part, arrays) for key, part in value}
    return {key: unpack(part, arrays) for key, part in tree.items()}


# ---- folders ------------------------------------------------------------------------------------


def write_folder(folder: Path, state: Any, **files: dict[str, Any]) -> None:
    """Write the state, and each of `files` as <name>.safetensors, into a folder that is new.

    Whatever goes wrong, there is no folder of this name afterwards, and the error is raised.
    """
    temporary = folder.with_name(f"{_TEMPORARY}{uuid.uuid4().hex}")
    os.mkdir(temporary)
    try:
        arrays: dict[str, Any] = {}
        content = {"format": FORMAT, "state": pack(state, arrays)}
        files = {f"{name}.safetensors": tensors for name, tensors in files.items()}
        for name, tensors in (files | {ARRAYS: arrays}).items():
            save(tensors, temporary / name)
        content["files"] = {name: _digest(temporary / name) for name in (*files, ARRAYS)}
        text = json.dumps(content, indent=1, allow_nan=False)
        with open(temporary / STATE, "x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        _sync(temporary)
        os.rename(temporary, folder)
        _sync(folder.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def read_folder(folder: Path, *names: str) -> tuple[Any, ...]:
    """Return the state of a folder and the tensors of each <name>.safetensors.

    Raises FormatError, with the file and the reason, for a newer format or a damaged folder.
    """
    try:
        content = json.loads((folder / STATE).read_bytes())
        number, packed, digests = content["format"], content["state"], content["files"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise _damaged(folder, f"{STATE} cannot be read ({reason})") from None
    if number != FORMAT:
        raise FormatError(
            f"checkpoint: {folder} has format {number}, this minidl reads {FORMAT}; "
            "read it with the version that wrote it"
        )
    for name, digest in digests.items():
        path = folder / Path(name).name
        if not path.is_file():
            raise _damaged(folder, f"{name} is missing")
        if _digest(path) != digest:
            raise _damaged(folder, f"{name} is not as it was written")
    try:
        state = unpack(packed, load(folder / ARRAYS, device="cpu"))
        return (state, *[load(folder / f"{name}.safetensors", device="cpu") for name in names])
    except (KeyError, OSError) as error:
        raise _damaged(folder, f"{error} is missing") from None


def remove_folder(folder: Path) -> None:
    """Remove a folder; stopped half-way, it leaves none that looks whole."""
    temporary = folder.with_name(f"{_TEMPORARY}{uuid.uuid4().hex}")
    os.rename(folder, temporary)
    shutil.rmtree(temporary, ignore_errors=True)  # what is left, `sweep` removes


def sweep(parent: Path) -> None:
    """Remove what a stopped program left unfinished."""
    for path in parent.glob(f"{_TEMPORARY}*"):
        shutil.rmtree(path, ignore_errors=True)


def _damaged(folder: Path, reason: str) -> FormatError:
    return FormatError(
        f"checkpoint: {folder} is damaged: {reason}; remove this folder to go on from the "
        "checkpoint before it"
    )


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(folder: Path) -> None:
    """Make the names in a folder last: they are the folder's own content."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
