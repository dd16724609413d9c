"""Finding the files of a data set, or fetching them: every file is checked before it is used.

A file is looked for, in this order, in the folder given as `root=`, in `$MINIDL_DATA/<data set>/`,
in the system's folders (a distribution's package) and in the user's cache folder. Where it is in
none of them it is downloaded into `root=` or else the cache. What is checked is the content, the
SHA-256 of the decompressed file, for hosts compress again.
"""

import gzip
import hashlib
import http.client
import os
import sys
import urllib.request
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minidl.errors import FormatError
from minidl.files import of_disk, writing

__all__ = [
    "DataFile",
    "cache_folder",
    "fetch",
    "load_file",
    "places",
    "read_checked",
    "read_content",
]

_CHUNK = 1 << 16
_TIMEOUT = 30.0  # seconds without a byte


@dataclass(frozen=True)
class DataFile:
    """One file of a data set; `sha256` and `size` are those of its decompressed content."""

    name: str
    sha256: str
    size: int


def load_file(
    dataset: str,
    file: DataFile,
    *,
    root: str | os.PathLike[str] | None = None,
    system: Sequence[str] = (),
    sources: Sequence[str] = (),
    download: bool = True,
) -> bytes:
    """Return the checked, decompressed content of a file, wherever it is found first.

    Parameters
    ----------
    dataset : str
        Name of the data set: the folder under $MINIDL_DATA and in the cache.
    file : DataFile
    root : path, optional
        Looked into before all others, and where a download goes.
    system : sequence of str
        Folders where a distribution's package puts the files.
    sources : sequence of str
        Addresses of folders to download from, tried in turn.
    download : bool

    Raises
    ------
    FormatError
        A file was found, or fetched, that is not the one expected. Nothing of it is kept.
    FileNotFoundError
        The file is nowhere and could not be fetched: names the places looked at, the addresses
        and the folder to put it in.
    """
    folders = places(dataset, root, system)
    for folder in folders:
        for name in (file.name, file.name.removesuffix(".gz")):
            if (folder / name).is_file():
                return read_checked(
                    folder / name, file, "; remove it to have it looked for elsewhere"
                )
    target = (folders[0] if root is not None else folders[-1]) / file.name
    addresses = [f"{source.rstrip('/')}/{file.name}" for source in sources]

    def accept(part: Path) -> None:
        read_checked(part, file)
        os.replace(part, target)

    most = file.size + (1 << 20)
    failures = fetch(addresses, target, most, accept) if download else ["download=False"]
    if not failures:
        return read_checked(target, file)
    raise FileNotFoundError(
        f"{dataset}: {file.name} is in none of {', '.join(map(str, folders))} and was not fetched "
        f"({'; '.join(failures)}). Get it from {' or '.join(addresses) or 'its publisher'}, put it "
        f"into {target.parent}, or set MINIDL_DATA to a folder that holds {dataset}/{file.name}"
    )


def places(
    dataset: str, root: str | os.PathLike[str] | None, system: Sequence[str] = ()
) -> list[Path]:
    """Return the folders in which a data set is looked for, in this order, the cache last."""
    folders = [Path(root)] if root is not None else []
    if os.environ.get("MINIDL_DATA"):
        folders.append(Path(os.environ["MINIDL_DATA"]) / dataset)
    return [*folders, *(Path(folder) for folder in system), cache_folder() / dataset]


def cache_folder() -> Path:
    """Return minidl's folder in the place where this system keeps a user's caches."""
    home = Path.home()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or home / ".cache"
    return Path(base) / "minidl"


def read_checked(path: Path, file: DataFile, mend: str = "") -> bytes:
    """Return the decompressed content of the file at `path` if it is that of `file`.

    mend : end of the error's text

    Raises FormatError with the path and the reason.
    """
    content = read_content(path, file.size)
    digest = hashlib.sha256(content).hexdigest()
    if digest != file.sha256:
        raise FormatError(
            f"{path}: not the file expected: {len(content)} bytes with SHA-256 {digest}, expected "
            f"{file.size} bytes with {file.sha256}{mend}"
        )
    return content


def read_content(path: str | os.PathLike[str], max_bytes: int) -> bytes:
    """Return the content of a file, decompressed if its name ends in .gz.

    Raises FormatError: the file is not gzip, is truncated, or holds more than `max_bytes`.
    """
    path = Path(path)
    pieces, left = [], max_bytes + 1
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            while left and (piece := stream.read(min(left, _CHUNK))):
                pieces.append(piece)
                left -= len(piece)
    except EOFError:
        raise FormatError(f"{path}: truncated: the compressed data ends too early") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise FormatError(f"{path}: not a sound gzip file: {error}") from None
    if not left:
        raise FormatError(f"{path}: holds more than the {max_bytes} bytes expected")
    return b"".join(pieces)


def fetch(
    addresses: Sequence[str], target: Path, most: int, accept: Callable[[Path], None]
) -> list[str]:
    """Download from the first address that has what `accept` takes; return why none did, if so.

    target : where it is to be; it is downloaded to another name beside it
    most : number of bytes above which a download is given up
    accept : accept(path) checks what was downloaded, and moves it if it is right

    Raises FormatError, the error of `accept`, where an address was reached but none was right, and
    OSError where nothing can be written: no other address would help.
    """
    with writing("data", target):
        target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{uuid.uuid4().hex}.{target.name}")  # keeps the suffix: it says gzip
    failures, wrong = [], False
    for address in addresses:
        try:
            _transfer(address, part, most)
            accept(part)
            return []
        except FormatError as error:
            wrong = True
            failures.append(str(error).replace(str(part), address))
        except (OSError, http.client.HTTPException) as error:
            if of_disk(error):
                with writing("data", target):
                    raise
            failures.append(f"{address}: {error}")
        finally:
            part.unlink(missing_ok=True)
    if wrong:
        raise FormatError("; ".join(failures))
    return failures or ["no address is known"]


def _transfer(address: str, part: Path, most: int) -> None:
    """Copy what stands at `address` into the new file `part`, on disk when this returns."""
    request = urllib.request.Request(address, headers={"User-Agent": "minidl"})
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as reply, part.open("xb") as out:
        length = reply.headers.get("Content-Length")
        total = int(length) if length and length.isdecimal() else None
        done = 0
        with _progress(address, total) as advance:
            while piece := reply.read(_CHUNK):
                done += len(piece)
                if done > most:
                    raise FormatError(f"{part}: holds more than the {most} bytes expected")
                out.write(piece)
                advance(len(piece))
        if total is not None and done != total:
            raise ConnectionError(f"the connection ended after {done} of {total} bytes")
        out.flush()
        os.fsync(out.fileno())


@contextmanager
def _progress(address: str, total: int | None) -> Iterator[Any]:
    """Show how far a download is: a bar on a terminal, else one line; both on standard error."""
    if not sys.stderr.isatty():
        print(f"minidl: fetching {address}", file=sys.stderr)
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(file=sys.stderr)) as bar:
        task = bar.add_task(address.rpartition("/")[2], total=total)
        yield lambda count: bar.advance(task, count)
