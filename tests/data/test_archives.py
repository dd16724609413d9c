"""Archives: what is unpacked, what is refused, and that a refused one leaves nothing behind."""

import bz2
import gzip
import io
import os
import shutil
import stat
import tarfile
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.data import archives, files
from minidl.data.archives import (
    DataFolder,
    content_digest,
    extract_checked,
    load_folder,
    read_folder,
)
from minidl.errors import FormatError

FILES = {"top/a.txt": b"one", "top/deep/b.bin": bytes(range(256)) * 300, "top/empty": b""}
KINDS = ["tar", "gz", "bz2", "xz", "zip"]
each_kind = pytest.mark.parametrize("kind", KINDS)


def packed(kind, entries):
    """An archive of (path, content) pairs; content may be a TarInfo type or a file mode."""
    out = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in entries:
                info = zipfile.ZipInfo(name)
                info.filename = name  # as it is: the constructor turns backslashes round
                if isinstance(content, int):
                    info.external_attr = content << 16
                    content = b"target"
                with archive.open(info, "w") as file:
                    file.write(content)
        return out.getvalue()
    with tarfile.open(fileobj=out, mode="w" if kind == "tar" else f"w:{kind}") as archive:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes) and len(content) == 1 and content in b"0123456":
                info.type, info.linkname, content = content, "target", b""
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def unpack(tmp_path, content, **options):
    archive = tmp_path / "archive"
    archive.write_bytes(content)
    options.setdefault("max_bytes", 10**6)
    return extract_checked(archive, tmp_path / "out" / "here", **options)


def nothing_left(tmp_path):
    folder = tmp_path / "out"
    return not folder.exists() or os.listdir(folder) == []


# ---- what is unpacked ---------------------------------------------------------------------------


@each_kind
def test_unpacked_whole(kind, tmp_path):
    names = unpack(tmp_path, packed(kind, FILES.items()))
    assert names == sorted(FILES)
    assert read_folder(tmp_path / "out" / "here", "**/*") == FILES
    assert os.listdir(tmp_path / "out") == ["here"]
    mode = stat.S_IMODE((tmp_path / "out/here/top/a.txt").stat().st_mode)
    assert not mode & 0o111


@each_kind
def test_chosen(kind, tmp_path):
    """Files may be left out and get other paths."""

    def choose(name):
        return name.removeprefix("top/") if name.endswith(".bin") else None

    assert unpack(tmp_path, packed(kind, FILES.items()), choose=choose) == ["deep/b.bin"]
    assert read_folder(tmp_path / "out" / "here", "**/*") == {"deep/b.bin": FILES["top/deep/b.bin"]}


def test_folders_and_dots(tmp_path):
    entries = [("./", b"5"), ("./a", b"5"), ("./a/x", b"xx"), ("a/./y", b"yy"), ("b", b"5")]
    assert unpack(tmp_path, packed("tar", entries)) == ["a/x", "a/y"]
    shutil.rmtree(tmp_path / "out")
    assert unpack(tmp_path, packed("zip", [("a/", b""), ("a/x", b"xx")])) == ["a/x"]


def test_a_folder_that_is_there_is_left_alone(tmp_path):
    (tmp_path / "out" / "here").mkdir(parents=True)
    with pytest.raises(FileExistsError, match="is there already"):
        unpack(tmp_path, packed("zip", FILES.items()))
    assert os.listdir(tmp_path / "out" / "here") == []


# ---- what is refused ----------------------------------------------------------------------------

UNSAFE = [
    "../x",
    "a/../../x",
    "/etc/x",
    "..",
    "C:/x",
    "C:x",
    "a\\..\\x",
    "\\\\host\\x",
    "a/nul.txt",
]
UNSAFE += ["", "a/COM1", "a./x", "a /x", "a\nb", "a\u202eb", "x?", "a/b:stream"]


@pytest.mark.parametrize("kind", ["tar", "zip"])
@pytest.mark.parametrize("name", UNSAFE)
def test_unsafe_paths(kind, name, tmp_path):
    content = packed(kind, [("good", b"good"), (name, b"bad")])
    with pytest.raises(FormatError, match="is unsafe; refused") as error:
        unpack(tmp_path, content, choose=lambda path: path if path == "good" else None)
    assert str(error.value).startswith(f"{tmp_path / 'archive'}: the path ")
    assert repr(name) in str(error.value)
    assert nothing_left(tmp_path)


def test_what_is_chosen_must_be_safe(tmp_path):
    with pytest.raises(FormatError, match=r"'\.\./top/a\.txt' is unsafe"):
        unpack(tmp_path, packed("tar", FILES.items()), choose=lambda path: "../" + path)
    with pytest.raises(FormatError, match="'same' is chosen twice"):
        unpack(tmp_path, packed("tar", FILES.items()), choose=lambda path: "same")
    assert nothing_left(tmp_path)


@pytest.mark.parametrize(
    ("kind", "content", "reason"),
    [
        ("tar", tarfile.SYMTYPE, "'bad' is a link"),
        ("tar", tarfile.LNKTYPE, "'bad' is a link"),
        ("tar", tarfile.CHRTYPE, "'bad' is no plain file"),
        ("tar", tarfile.BLKTYPE, "'bad' is no plain file"),
        ("tar", tarfile.FIFOTYPE, "'bad' is no plain file"),
        ("zip", stat.S_IFLNK | 0o777, "'bad' is a link"),
        ("zip", stat.S_IFCHR, "'bad' is no plain file"),
        ("zip", stat.S_IFIFO, "'bad' is no plain file"),
    ],
)
def test_links_and_devices(kind, content, reason, tmp_path):
    with pytest.raises(FormatError, match=reason):
        unpack(tmp_path, packed(kind, [("good", b"good"), ("bad", content)]))
    assert nothing_left(tmp_path)


@pytest.mark.parametrize("kind", ["tar", "zip"])
@pytest.mark.parametrize(
    "names", [("a", "a"), ("a", "A"), ("é", "e\u0301"), ("a", "a/b"), ("a/b", "a"), ("a/b", "A/B")]
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_path_twice(kind, names, tmp_path):
    with pytest.raises(FormatError, match=f"{names[1]!r} comes twice"):
        unpack(tmp_path, packed(kind, [(name, b"xx") for name in names]))
    assert nothing_left(tmp_path)


@each_kind
def test_too_much(kind, tmp_path):
    size = sum(map(len, FILES.values()))
    with pytest.raises(FormatError, match="more bytes than expected"):
        unpack(tmp_path, packed(kind, FILES.items()), max_bytes=size - 1)
    assert nothing_left(tmp_path)
    unpack(tmp_path, packed(kind, FILES.items()), max_bytes=size)


def test_too_many(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "_MOST_FILES", 2)
    with pytest.raises(FormatError, match="more than 2 entries"):
        unpack(tmp_path, packed("tar", FILES.items()))


def test_encrypted(tmp_path):
    content = bytearray(packed("zip", [("a", b"xx")]))
    place = content.index(b"PK\x01\x02")
    content[place + 8] |= 1
    with pytest.raises(FormatError, match="'a' is encrypted"):
        unpack(tmp_path, content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"rubbish",
        gzip.compress(b"no tar", mtime=0),
        bz2.compress(b"x" * 2000),
        b"PK\x03\x04" + bytes(9),
    ],
    ids=["empty", "rubbish", "gzip of no tar", "bzip2 of no tar", "a zip archive's first bytes"],
)
def test_no_archive(content, tmp_path):
    with pytest.raises(FormatError, match="not a zip or tar archive"):
        unpack(tmp_path, content)


@pytest.mark.parametrize(
    ("place", "value"), [(-6, 255), (-8, 255), (-182, 255), (-176, 0), (-186, 128)]
)
def test_a_zip_archive_with_a_damaged_list(place, value, tmp_path):
    """Each makes the library raise an error of another kind, while opening or while reading."""
    content = bytearray(packed("zip", FILES.items()))
    content[place] = value
    with pytest.raises(FormatError, match="archive: damaged: "):
        unpack(tmp_path, content)
    assert nothing_left(tmp_path)


@each_kind
def test_cut_off(kind, tmp_path):
    """Wherever it ends too early, it is refused: no part is taken for the whole."""
    content = packed(kind, FILES.items())
    end = len(content)
    if kind == "tar":  # a tar archive is padded with zeros that nobody misses
        end = len(content.rstrip(b"\0")) // 512 * 512 + 512
    for share in (0.1, 0.3, 0.5, 0.7, 0.9, 0.999):
        with pytest.raises(FormatError):
            unpack(tmp_path, content[: int(end * share)])
        assert nothing_left(tmp_path)


@given(kind=st.sampled_from(KINDS), place=st.floats(0, 1), change=st.integers(1, 255))
def test_a_changed_byte(kind, place, change, tmp_path_factory):
    """A damaged archive is refused or gives files; no other error, nothing outside, no rest."""
    content = bytearray(packed(kind, FILES.items()))
    content[int(place * (len(content) - 1))] ^= change
    tmp_path = tmp_path_factory.mktemp("changed")
    try:
        unpack(tmp_path, content)
    except FormatError:
        assert nothing_left(tmp_path)
    else:
        assert os.listdir(tmp_path / "out") == ["here"]
    assert sorted(os.listdir(tmp_path)) in (["archive"], ["archive", "out"])


def test_a_full_disk(tmp_path, monkeypatch):
    def full(source, out):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archives.shutil, "copyfileobj", full)
    with pytest.raises(OSError, match="No space left"):
        unpack(tmp_path, packed("gz", FILES.items()))
    assert nothing_left(tmp_path)


def test_interrupted(tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(archives.os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        unpack(tmp_path, packed("zip", FILES.items()))
    assert nothing_left(tmp_path)


# ---- folders ------------------------------------------------------------------------------------


def test_the_digest_is_that_of_names_and_contents():
    """The expected one: printf 'a %s\\nb %s\\n' with each file's sha256sum, through sha256sum."""
    contents = {"b": b"two", "a": b"one"}
    assert content_digest(contents) == (
        "a10d1fa05764ffc27440aa18ea4f3eea5c16e3c37f7458422dfb3d7dce4b1682"
    )
    others = [{"a": b"one"}, {"a": b"two", "b": b"one"}, {"a": b"one", "c": b"two"}, {}]
    assert len({content_digest(each) for each in [contents, *others]}) == 5


def test_read_folder(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("a.wav", "b.txt", "deep/c.wav"):
        (tmp_path / name).write_bytes(name.encode())
    assert read_folder(tmp_path, "*.wav") == {"a.wav": b"a.wav"}
    assert list(read_folder(tmp_path, "**/*")) == ["a.wav", "b.txt", "deep/c.wav"]
    assert len(read_folder(tmp_path, "**/*", 20)) == 3
    with pytest.raises(FormatError, match="holds more than the 19 bytes expected"):
        read_folder(tmp_path, "**/*", 19)


CONTENTS = {"a.wav": b"one", "b.wav": b"two"}
WANTED = DataFolder("sounds", "*.wav", content_digest(CONTENTS), 6)
ENTRIES = [(f"set-1/sounds/{name}", content) for name, content in CONTENTS.items()]
ENTRIES += [("set-1/README", b"read me")]


def choose(name):
    return name.removeprefix("set-1/sounds/") if "/sounds/" in name else None


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Folders to look in, and what stands at which address: bytes, or an error."""
    monkeypatch.setenv("MINIDL_DATA", str(tmp_path / "env"))
    monkeypatch.setattr(files, "cache_folder", lambda: tmp_path / "cache")
    standing = {}

    def transfer(address, part, most):
        if address not in standing:
            raise OSError(f"HTTP Error 404: {address}")
        part.write_bytes(standing[address])

    monkeypatch.setattr(files, "_transfer", transfer)
    return tmp_path, standing


def load(sources=(), **options):
    return load_folder("set", WANTED, sources=sources, max_bytes=10**5, choose=choose, **options)


@pytest.mark.parametrize("place", ["root", "env/set", "cache/set"])
def test_a_folder_is_found(place, world):
    tmp_path, _ = world
    (tmp_path / place / "sounds").mkdir(parents=True)
    for name, content in (*CONTENTS.items(), ("Thumbs.db", b"no matter")):
        (tmp_path / place / "sounds" / name).write_bytes(content)
    assert load(root=tmp_path / "root", download=False) == CONTENTS


@pytest.mark.parametrize("kind", ["gz", "zip"])
@pytest.mark.parametrize("root", [True, False])
def test_a_folder_is_fetched_once(kind, root, world):
    tmp_path, standing = world
    standing["there"] = packed(kind, ENTRIES)
    where = {"root": tmp_path / "root"} if root else {}
    assert load(["nowhere", "there"], **where) == CONTENTS
    standing.clear()
    assert load(["nowhere"], **where) == CONTENTS
    folder = tmp_path / "root" if root else tmp_path / "cache" / "set"
    assert os.listdir(folder) == ["sounds"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<html>", "there: not a zip or tar archive"),
        (packed("gz", ENTRIES)[:-20], "there: "),
        (packed("gz", [*ENTRIES, ("../evil", b"x")]), r"there: the path '\.\./evil' is unsafe"),
        (packed("gz", ENTRIES[1:]), "not the folder expected: 1 files"),
        (packed("gz", [(ENTRIES[0][0], b"more"), *ENTRIES[1:]]), "holds more than the 6 bytes"),
    ],
)
def test_a_wrong_archive_leaves_nothing(content, reason, world):
    tmp_path, standing = world
    standing["there"] = content
    with pytest.raises(FormatError, match=reason):
        load(["there"], root=tmp_path / "root")
    assert os.listdir(tmp_path / "root") == []
    standing["right"] = packed("zip", ENTRIES)
    assert load(["there", "right"], root=tmp_path / "root") == CONTENTS


def test_an_interrupted_fetch_leaves_nothing(world, monkeypatch):
    def interrupt(contents):
        assert contents == CONTENTS
        raise KeyboardInterrupt

    tmp_path, standing = world
    standing["there"] = packed("gz", ENTRIES)
    monkeypatch.setattr(archives, "content_digest", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load(["there"], root=tmp_path / "root")
    assert os.listdir(tmp_path / "root") == []


def test_another_process_was_faster(world, monkeypatch):
    tmp_path, standing = world
    standing["there"] = packed("gz", ENTRIES)
    slow = archives.extract_checked

    def extract(*arguments, **options):
        names = slow(*arguments, **options)
        (tmp_path / "root" / "sounds").mkdir()
        for name, content in CONTENTS.items():
            (tmp_path / "root" / "sounds" / name).write_bytes(content)
        return names

    monkeypatch.setattr(archives, "extract_checked", extract)
    assert load(["there"], root=tmp_path / "root") == CONTENTS
    assert os.listdir(tmp_path / "root") == ["sounds"]


def test_a_damaged_folder_is_named(world):
    tmp_path, _ = world
    (tmp_path / "env" / "set" / "sounds").mkdir(parents=True)
    with pytest.raises(FormatError, match="0 files .*remove it to have it fetched") as error:
        load()
    assert str(error.value).startswith(str(tmp_path / "env" / "set" / "sounds"))


def test_nowhere(world):
    with pytest.raises(FileNotFoundError) as error:
        load(["http://a/x.zip"], download=False)
    for part in ("download=False", "Get http://a/x.zip, unpack it", "holds set/sounds"):
        assert part in str(error.value)
