"""Finding and fetching: the order of the places, damaged copies, broken transfers."""

import contextlib
import gzip
import hashlib
import http.server
import io
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.data import files
from minidl.data.files import DataFile, cache_folder, load_file
from minidl.errors import FormatError

CONTENT = bytes(range(256)) * 20
PACKED = gzip.compress(CONTENT, mtime=0)
FILE = DataFile("numbers.gz", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Four empty folders, in the order in which they are searched."""
    monkeypatch.setenv("MINIDL_DATA", str(tmp_path / "env"))
    monkeypatch.setattr(files, "cache_folder", lambda: tmp_path / "cache")
    found = [tmp_path / "root", tmp_path / "env" / "set", tmp_path / "sys", tmp_path / "cache/set"]
    for folder in found:
        folder.mkdir(parents=True)
    return found


def load(places, **options):
    return load_file("set", FILE, root=places[0], system=[str(places[2])], **options)


# ---- the order of the places --------------------------------------------------------------------


@pytest.mark.parametrize("first", range(4))
def test_the_first_place_that_has_the_file_wins(places, first):
    """Places after it hold rubbish and are not looked at; places before it are empty."""
    for folder in places[first:]:
        (folder / FILE.name).write_bytes(b"rubbish")
    (places[first] / FILE.name).write_bytes(PACKED)
    assert load(places, download=False) == CONTENT


def test_a_file_that_was_unpacked_is_taken(places):
    (places[1] / "numbers").write_bytes(CONTENT)
    assert load(places, download=False) == CONTENT


def test_an_unset_variable_is_no_place(places, monkeypatch, tmp_path):
    (places[1] / FILE.name).write_bytes(PACKED)
    monkeypatch.setenv("MINIDL_DATA", "")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError):
        load(places, download=False)


def test_nowhere(places):
    """The text names the places, the address, the file and the folder to put it in."""
    with pytest.raises(FileNotFoundError) as error:
        load(places, sources=["https://example.org/a/"], download=False)
    text = str(error.value)
    for part in (*map(str, places), "https://example.org/a/numbers.gz", f"into {places[0]}"):
        assert part in text
    assert error.value.__suppress_context__ or error.value.__context__ is None


@pytest.mark.parametrize(
    ("platform", "variable", "expected"),
    [
        ("linux", "XDG_CACHE_HOME", "here/minidl"),
        ("linux", None, "home/.cache/minidl"),
        ("darwin", None, "home/Library/Caches/minidl"),
        ("win32", "LOCALAPPDATA", "here/minidl"),
        ("win32", None, "home/AppData/Local/minidl"),
    ],
)
def test_cache_folder(platform, variable, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path / "home")
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, str(tmp_path / "here"))
    assert cache_folder() == tmp_path / expected


# ---- damaged files ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        (PACKED[:-9], "truncated"),
        (PACKED[:5], "truncated"),
        (b"", "0 bytes with SHA-256"),
        (CONTENT, "not a sound gzip file"),
        (PACKED + b"tail", "not a sound gzip file"),
        (gzip.compress(CONTENT[:-1] + b"!"), "not the file expected: 5120 bytes with SHA-256"),
        (gzip.compress(CONTENT[:-1]), "not the file expected: 5119 bytes with SHA-256"),
        (gzip.compress(bytes(10**7)), "more than the 5120 bytes expected"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_damaged(places, stored, reason):
    (places[0] / FILE.name).write_bytes(stored)
    with pytest.raises(FormatError, match=reason) as error:
        load(places)
    assert str(error.value).startswith(str(places[0] / FILE.name))


@given(place=st.integers(0, len(PACKED) - 1), value=st.integers(0, 255))
def test_a_changed_byte_never_changes_the_content(place, value, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp()
    stored = bytearray(PACKED)
    stored[place] = value
    (folder / FILE.name).write_bytes(stored)
    if stored == PACKED:
        assert load_file("set", FILE, root=folder, download=False) == CONTENT
        return
    try:  # gzip's header has bytes without effect, such as the time
        content = load_file("set", FILE, root=folder, download=False)
    except FormatError:
        return
    assert content == CONTENT


# ---- fetching -----------------------------------------------------------------------------------


@pytest.fixture
def server(monkeypatch):
    """A server on this machine: whole, cut off, something else, too long, or missing, by folder."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            folder = self.path.split("/")[1]
            body = {"whole": PACKED, "cut": PACKED, "short": PACKED[:-4], "other": b"<html>"}
            body |= {"huge": bytes(1 << 22), "different": gzip.compress(CONTENT[::-1])}
            if folder not in body:
                self.send_error(404)
                return
            self.send_response(200)
            if folder not in ("short", "huge"):
                self.send_header("Content-Length", str(len(body[folder])))
            self.end_headers()
            sent = body[folder]
            with contextlib.suppress(OSError):  # the other side may have heard enough
                self.wfile.write(sent[: len(sent) // 2] if folder == "cut" else sent)

        def log_message(self, *args):
            pass

    asked = []
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}", asked
        running.shutdown()
        thread.join()


def names(folder):
    return [path.name for path in folder.iterdir()]


def test_fetched_once_and_kept(places, server, capsys):
    address, asked = server
    for _ in range(2):
        assert load(places, sources=[f"{address}/whole/"]) == CONTENT
    assert asked == ["/whole/numbers.gz"]
    assert names(places[0]) == [FILE.name]
    assert (places[0] / FILE.name).read_bytes() == PACKED
    captured = capsys.readouterr()
    assert captured.err == f"minidl: fetching {address}/whole/numbers.gz\n"
    assert captured.out == ""


def test_without_root_it_goes_to_the_cache(places, server):
    load_file("set", FILE, sources=[f"{server[0]}/whole"])
    assert names(places[3]) == [FILE.name]


def test_folders_are_made(places, server):
    load_file("set", FILE, root=places[0] / "a" / "b", sources=[f"{server[0]}/whole"])
    assert names(places[0] / "a" / "b") == [FILE.name]


@pytest.mark.parametrize("broken", ["missing", "cut", "short", "other", "huge", "different"])
def test_the_next_address_is_tried(places, server, broken):
    address, asked = server
    assert load(places, sources=[f"{address}/{broken}", f"{address}/whole"]) == CONTENT
    assert asked == [f"/{broken}/numbers.gz", "/whole/numbers.gz"]
    assert names(places[0]) == [FILE.name]


@pytest.mark.parametrize(
    ("broken", "error", "reason"),
    [
        ("missing", FileNotFoundError, "404"),
        ("cut", FileNotFoundError, r"ended after \d+ of \d+ bytes"),
        ("short", FormatError, "truncated"),
        ("other", FormatError, "not a sound gzip file"),
        ("huge", FormatError, "more than the"),
        ("different", FormatError, "not the file expected"),
    ],
)
def test_a_broken_transfer_leaves_nothing_behind(places, server, broken, error, reason):
    address = f"{server[0]}/{broken}"
    with pytest.raises(error, match=reason) as raised:
        load(places, sources=[address])
    assert f"{address}/numbers.gz" in str(raised.value)
    assert names(places[0]) == []


def test_no_network(places, server):
    """The server is gone: the text says what to get by hand and where to put it."""
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as closed:
        address = f"http://127.0.0.1:{closed.server_address[1]}"
    with pytest.raises(FileNotFoundError) as error:
        load(places, sources=[address])
    assert f"Get it from {address}/numbers.gz, put it into {places[0]}" in str(error.value)
    assert names(places[0]) == []


def test_an_interrupted_transfer_leaves_nothing_behind(places, server, monkeypatch):
    def interrupt(handle):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load(places, sources=[f"{server[0]}/whole"])
    assert names(places[0]) == []


def test_a_full_disk_is_said_once_and_leaves_nothing(places, server, room):
    address, asked = server
    text = "data: cannot write .*numbers.gz: File too large; make room there"
    with room(len(PACKED) // 2), pytest.raises(OSError, match=text) as error:
        load(places, sources=[f"{address}/whole", f"{address}/whole"])
    assert error.value.__suppress_context__
    assert len(asked) == 1  # another address would not help
    assert names(places[0]) == []


def test_a_folder_that_cannot_be_made(places):
    (places[0] / "file").write_text("")
    with pytest.raises(OSError, match=r"data: cannot write .*numbers.gz: (Not a dir|File exists)"):
        load_file("set", FILE, root=places[0] / "file", sources=["http://127.0.0.1:1"])


def test_a_bar_on_a_terminal(places, server, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    assert load(places, sources=[f"{server[0]}/whole"]) == CONTENT
    assert "numbers.gz" in sys.stderr.getvalue()
