"""Archives, unpacked only if every path in them is safe, and folders known by their content.

An archive from elsewhere may try to write outside its folder (`../`, absolute paths, links), to
make devices, to write a file twice, or to fill the disk. Such an archive is refused whole, before
anything of it is written.
"""

import errno
import hashlib
import lzma
import os
import shutil
import stat
import tarfile
import unicodedata
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from minidl.data.files import fetch, places
from minidl.errors import FormatError

__all__ = ["DataFolder", "content_digest", "extract_checked", "load_folder", "read_folder"]

# What the libraries raise for damaged archives; NotImplementedError is an unknown compression.
_DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    ValueError,
    NotImplementedError,
    OSError,
)
_MOST_FILES = 100_000
_RESERVED = {"con", "prn", "aux", "nul"} | {f"{a}{n}" for a in ("com", "lpt") for n in range(10)}


@dataclass(frozen=True)
class DataFolder:
    """A folder of a data set.

    name : in the data set's folder;  pattern : which files count, such as "*.wav"
    sha256 : the `content_digest` of them;  size : the bytes they take together
    """

    name: str
    pattern: str
    sha256: str
    size: int


@dataclass(frozen=True)
class _Member:
    """One entry of an archive, of either kind."""

    name: str
    kind: str  # "file", "folder", or what is refused
    size: int
    entry: Any  # what the archive's library calls it


def extract_checked(
    archive: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    max_bytes: int,
    choose: Callable[[str], str | None] | None = None,
) -> list[str]:
    """Unpack a zip or tar archive into a new folder, or refuse it and write nothing.

    The folder appears whole or not at all. Files get the permissions of any new file and the
    present time, whatever the archive says. Damage is noticed where the archive has a checksum: not
    in the contents of a tar archive that is not compressed, nor in a zip archive's list of files.

    Parameters
    ----------
    archive : path
        .zip, .tar, .tar.gz, .tar.bz2 or .tar.xz, told apart by content.
    folder : path
        Must not be there yet.
    max_bytes : int
        Most that the files may take together, those that are not chosen included.
    choose : callable, optional
        choose(path in the archive) -> path in the folder, or None to leave a file out. Default:
        all, as they are.

    Returns
    -------
    list of str
        Paths of the files in the folder, with "/", sorted.

    Raises
    ------
    FormatError
        Not an archive, damaged, encrypted, more than `max_bytes` or than 100,000 entries, or an
        entry that is unsafe: an absolute path, `..`, a backslash or colon or a name that Windows
        keeps for itself, a link, a device, the same path twice (also by case or accents alone).
    FileExistsError
        `folder` is there.
    """
    archive, folder = Path(archive), Path(folder)
    if folder.exists() or folder.is_symlink():
        raise FileExistsError(f"extract_checked: {folder} is there already; remove it first")
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.with_name(f".{uuid.uuid4().hex}.{folder.name}")
    try:
        with _opened(archive) as (members, read):
            chosen = _checked(members, max_bytes, choose)
            part.mkdir()
            for name, member in chosen.items():
                target = part / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with read(member.entry) as source, target.open("xb") as out:
                    shutil.copyfileobj(source, out)
        os.replace(part, folder)
    except FormatError as error:
        raise FormatError(f"{archive}: {error}") from None
    except _DAMAGED as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # the disk's; the archive's have no number, or say that a place is not in it
        raise FormatError(f"{archive}: damaged: {error}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return sorted(chosen)


def content_digest(contents: Mapping[str, bytes]) -> str:
    """Return the SHA-256 of a folder's content: of its files' names and digests, sorted by name.

    contents : the files' bytes by their paths, with "/" between folders

    One line a file, "<path> <SHA-256 in hexadecimal>", in UTF-8. Times, permissions and the order
    on disk do not count, nor how an archive of the files was compressed.
    """
    lines = (f"{name} {hashlib.sha256(contents[name]).hexdigest()}\n" for name in sorted(contents))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def read_folder(
    folder: str | os.PathLike[str], pattern: str, max_bytes: int = 2**31
) -> dict[str, bytes]:
    """Return the files in a folder whose paths fit `pattern` ("*.wav", "**/*"), by their paths.

    Raises FormatError where they hold more than `max_bytes`.
    """
    folder, contents, left = Path(folder), {}, max_bytes
    for path in sorted(folder.glob(pattern)):
        if path.is_file():
            with path.open("rb") as file:
                content = file.read(left + 1)
            left -= len(content)
            if left < 0:
                raise FormatError(f"{folder}: holds more than the {max_bytes} bytes expected")
            contents[path.relative_to(folder).as_posix()] = content
    return contents


def load_folder(
    dataset: str,
    wanted: DataFolder,
    *,
    sources: Sequence[str],
    max_bytes: int,
    choose: Callable[[str], str | None],
    root: str | os.PathLike[str] | None = None,
    download: bool = True,
) -> dict[str, bytes]:
    """Return the checked files of a folder, by path, wherever it is found first.

    It is looked for as `load_file` does for a file, and else unpacked from an archive.

    Parameters
    ----------
    dataset, root, download : as in `load_file`
    wanted : DataFolder
    sources : sequence of str
        Addresses of archives that hold the folder, tried in turn.
    max_bytes, choose : see `extract_checked`
        The archive itself may have `max_bytes`, too.

    Raises
    ------
    FormatError
        The folder, or an archive, is not what was expected. Nothing of an archive is kept.
    FileNotFoundError
        The folder is nowhere and could not be fetched.
    """
    folders = places(dataset, root)
    for folder in folders:
        if (folder / wanted.name).is_dir():
            return _read_checked(folder / wanted.name, wanted, "; remove it to have it fetched")
    target = (folders[0] if root is not None else folders[-1]) / wanted.name

    def accept(archive: Path) -> None:
        unpacked = archive.with_name(archive.name + ".unpacked")
        try:
            extract_checked(archive, unpacked, max_bytes=max_bytes, choose=choose)
            _read_checked(unpacked, wanted)
            if not target.exists():  # another process may have been faster
                os.replace(unpacked, target)
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)

    failures = fetch(sources, target, max_bytes, accept) if download else ["download=False"]
    if not failures:
        return _read_checked(target, wanted)
    raise FileNotFoundError(
        f"{dataset}: the folder {wanted.name} is in none of {', '.join(map(str, folders))} and was "
        f"not fetched ({'; '.join(failures)}). Get {' or '.join(sources)}, unpack it, put its "
        f"folder {wanted.name} into {target.parent}, or set MINIDL_DATA to a folder that holds "
        f"{dataset}/{wanted.name}"
    )


def _read_checked(folder: Path, wanted: DataFolder, mend: str = "") -> dict[str, bytes]:
    contents = read_folder(folder, wanted.pattern, wanted.size)
    if (digest := content_digest(contents)) != wanted.sha256:
        raise FormatError(
            f"{folder}: not the folder expected: {len(contents)} files {wanted.pattern} with "
            f"content SHA-256 {digest}, expected {wanted.sha256}{mend}"
        )
    return contents


# ---- the entries of an archive ------------------------------------------------------------------


@contextmanager
def _opened(archive: Path) -> Iterator[tuple[Iterator[_Member], Callable[[Any], Any]]]:
    """Give an archive's entries, one after the other, and what opens the content of one."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as unzipped:
            yield map(_of_zip, unzipped.infolist()), unzipped.open
        return
    if not tarfile.is_tarfile(archive):
        raise FormatError("not a zip or tar archive")
    with tarfile.open(archive) as untarred:
        yield _entries(untarred), untarred.extractfile


def _entries(archive: tarfile.TarFile) -> Iterator[_Member]:
    """Give a tar archive's entries; the library takes a damaged one in the middle for the end."""
    yield from map(_of_tar, archive)
    assert archive.fileobj is not None
    archive.fileobj.seek(archive.offset)
    if not (rest := archive.fileobj.read(1 << 20)) or any(rest[:512]):
        raise FormatError("damaged: it ends in the middle")


def _of_zip(entry: zipfile.ZipInfo) -> _Member:
    mode = entry.external_attr >> 16
    if entry.flag_bits & 1:
        kind = "encrypted"
    elif entry.orig_filename.endswith("/"):
        kind = "folder"
    elif stat.S_IFMT(mode) in (0, stat.S_IFREG):
        kind = "file"
    else:
        kind = "a link" if stat.S_ISLNK(mode) else "no plain file"
    return _Member(entry.orig_filename, kind, entry.file_size, entry)


def _of_tar(entry: tarfile.TarInfo) -> _Member:
    if entry.isreg():
        kind = "file"
    elif entry.isdir():
        kind = "folder"
    else:
        kind = "a link" if entry.islnk() or entry.issym() else "no plain file"
    return _Member(entry.name, kind, entry.size, entry)


def _checked(
    members: Iterator[_Member], left: int, choose: Callable[[str], str | None] | None
) -> dict[str, _Member]:
    """Return the files to unpack by their paths in the folder; raise FormatError for all unsafe."""
    seen: dict[str, bool] = {}  # whether each path, as a careless file system sees it, is a file
    chosen: dict[str, _Member] = {}
    for count, member in enumerate(members, 1):
        if count > _MOST_FILES:
            raise FormatError(f"more than {_MOST_FILES} entries")
        if member.kind not in ("file", "folder"):
            raise FormatError(f"{member.name!r} is {member.kind}; refused")
        if member.kind == "folder" and member.name in (".", "./"):
            continue
        path = _safe(member.name)
        left -= member.size
        if left < 0 or member.size < 0:
            raise FormatError("its files take more bytes than expected; refused")
        _place(path, member.kind == "file", seen)
        name = choose(str(path)) if choose and member.kind == "file" else str(path)
        if member.kind == "file" and name is not None:
            name = str(_safe(name))
            if name in chosen:
                raise FormatError(f"{name!r} is chosen twice")
            chosen[name] = member
    return chosen


def _safe(name: str) -> PurePosixPath:
    """Return a path that stays in its folder and means the same on every system."""
    path = PurePosixPath(name)
    bad = path.is_absolute() or not path.parts or ".." in path.parts
    bad = bad or any(c in '\\:*?"<>|' or not c.isprintable() for c in name)
    for part in path.parts:
        bad = bad or part[-1] in ". " or part.partition(".")[0].casefold() in _RESERVED
    if bad:
        raise FormatError(f"the path {name!r} is unsafe; refused")
    return path


def _place(path: PurePosixPath, is_file: bool, seen: dict[str, bool]) -> None:
    """Note a path; refuse one that would overwrite another, or need a folder that is a file."""
    for each in (*path.parents[:-1], path):
        key = unicodedata.normalize("NFKC", str(each)).casefold()
        file_here = is_file and each == path
        if key in seen and (file_here or seen[key]):
            raise FormatError(f"the path {str(path)!r} comes twice; refused")
        seen[key] = file_here
