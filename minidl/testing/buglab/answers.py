"""A reader's answers: the file to start from, and how a mended one is read and checked."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from minidl.tape.registry import registry
from minidl.testing.buglab.exercise import AnswerError, Exercise

_MODULE = "buglab_answer"  # what a reader's file is called while it is looked at


def start(exercise: Exercise, folder: str | Path = ".") -> Path:
    """Write `NAME.py`, the exercise with its bug, into a folder and return its path.

    Raises FileExistsError rather than write over an answer.
    """
    path = Path(folder) / f"{exercise.name}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = (
        f'"""Bug lab, {exercise.name}: mend `{exercise.target}`, then run\n\n'
        f"python -m minidl.testing.buglab try {path.name}\n"
        f'"""\n\n{exercise.code()}'
    )
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise FileExistsError(
            f"{path} is there already and may hold your answer; it is left as it is"
        ) from None
    return path


def read(exercise: Exercise, path: str | Path) -> Any:
    """Run a reader's file and return what it defines under the exercise's name.

    Raises AnswerError if there is no such file or it does not define that name; what the file
    itself raises comes through.
    """
    path = Path(path)
    if not path.is_file():
        raise AnswerError(f"{path}: no such file; `start {exercise.name}` writes one to begin with")
    known = set(registry)
    try:
        answer = getattr(_run(path), exercise.target, None)
    finally:
        for name in set(registry) - known:  # the reader's operations are theirs, not minidl's
            del registry[name]
    if answer is None:
        raise AnswerError(
            f"{path}: it defines no {exercise.target!r}, which is what the exercise asks for"
        )
    return answer


def _run(path: Path) -> ModuleType:
    """Import one file by its path; nothing of it stays among the imported modules."""
    spec = importlib.util.spec_from_file_location(_MODULE, path)
    if spec is None or spec.loader is None:
        raise AnswerError(f"{path}: not a Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[_MODULE] = module
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
        del sys.modules[_MODULE]
    return module
