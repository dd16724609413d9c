"""Writing files whole or not at all, and with errors of the disk that name the file."""

import errno
import io
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["append", "of_disk", "reason", "replace", "write_picture", "writing"]

Path_ = str | os.PathLike[str]
_ROOM = "make room there, or choose another place"
_REFUSED = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
    *(errno.EACCES, errno.EPERM, errno.EROFS),
)
_MENDS = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: _ROOM,
    errno.ENOENT: "make its folder first",
    errno.EACCES: "choose a place where you may write",
    errno.EPERM: "choose a place where you may write",
    errno.EROFS: "choose a place where you may write",
    errno.EISDIR: "there is a folder of this name: choose another",
}


@contextmanager
def writing(who: str, path: Path_) -> Iterator[None]:
    """Raise an OSError of the with-block, e.g. a full disk, as one that names file and mend.

    The block writes by `replace` and `append`, which leave what was in the file before: the error
    says that, too. Blocks may be nested: the outermost speaks.
    """
    try:
        yield
    except OSError as error:
        kept = "what was there before is as it was; " if os.path.exists(path) else ""
        raise OSError(
            error.errno,
            f"{who}: cannot write {os.fspath(path)}: {reason(error)}; {kept}"
            f"{_MENDS.get(error.errno or 0, 'choose another place')}",
        ) from None


def of_disk(error: BaseException) -> bool:
    """Whether an error says that the disk is full, or that one may not write there."""
    return isinstance(error, OSError) and error.errno in _REFUSED


def reason(error: OSError) -> str:
    """Return what the system says was wrong, whatever text the error has been given since."""
    return os.strerror(error.errno) if error.errno else str(error)


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


def write_picture(who: str, path: Path_, figure: Any, dpi: float) -> None:
    """Write a Figure of Matplotlib; the path's ending says as what, .png if it has none."""
    content = io.BytesIO()
    figure.savefig(content, format=Path(path).suffix[1:] or "png", dpi=dpi)
    with writing(who, path):
        replace(Path(path), content.getvalue())
