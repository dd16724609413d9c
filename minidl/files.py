"""Writing files whole or not at all, and with errors of the disk that name the file."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["append", "replace", "writing"]

Path_ = str | os.PathLike[str]


@contextmanager
def writing(who: str, path: Path_) -> Iterator[None]:
    """Raise an OSError of the with-block, e.g. a full disk, as one that names file and mend."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise OSError(
            error.errno,
            f"{who}: cannot write {os.fspath(path)}: {reason}; make room there, or choose another "
            "place",
        ) from None


def replace(path: Path, content: bytes) -> None:
    """Write a file under another name; it takes the old one's place when it is on the disk."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def append(path: Path_, text: str) -> None:
    """Add a text to a file, whole or not at all."""
    rest = text.encode()
    with open(path, "ab", buffering=0) as file:
        end = file.tell()
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except BaseException:
            file.truncate(end)
            raise
