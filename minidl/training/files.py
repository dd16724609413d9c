"""Writing files so that an error of the disk names the file, and leaves no half of a line in it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["append", "writing"]

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
