"""Files of tensors: what is saved comes back; what is damaged is refused; nothing is lost."""

import errno
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minidl
from minidl import files, nn, serialization
from minidl.dtypes import DTYPES
from minidl.errors import DtypeError, FormatError
from minidl.serialization import load, read_metadata, save

ARRAYS = hnp.arrays(
    st.sampled_from(list(DTYPES.values())),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
VIEWS = st.sampled_from(
    [
        lambda a: a,
        lambda a: a.T,
        lambda a: a[::-1] if a.ndim else a,
        lambda a: a[..., ::2] if a.ndim else a,
        lambda a: np.broadcast_to(a, (2, *a.shape)),
        lambda a: a.astype(a.dtype.newbyteorder(">")),
    ]
)


@given(st.dictionaries(st.text(max_size=5), st.tuples(ARRAYS, VIEWS), max_size=4))
def test_what_is_saved_comes_back(tmp_path_factory: Any, given_: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    state = {name: view(array) for name, (array, view) in given_.items()}
    save(state, path)
    found = load(path)
    assert found.keys() == state.keys()
    for name, array in state.items():
        assert found[name].shape == array.shape
        assert found[name].dtype == array.dtype.newbyteorder("=")
        np.testing.assert_array_equal(found[name].data, array)
        assert found[name].data.flags.writeable
        assert found[name].data.flags.aligned


def test_tensors_and_models(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    path = tmp_path / "model.safetensors"
    save(model.state_dict(), path)
    other = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    assert other.load_state_dict(load(path)) == ([], [])
    assert other[0].weight.tolist() == model[0].weight.tolist()
    assert load(path, dtype="float64")["0.weight"].dtype == "float64"
    assert load(path, dtype="float64")["1.num_batches_tracked"].dtype == "int64"
    assert load(path, device="cpu")["0.weight"].device == "cpu"
    shared = minidl.tensor([1.0, 2.0])
    save({"b": shared, "a": shared, "p": nn.Parameter(shared)}, path, metadata={"note": "ü"})
    found = load(path)
    assert {name: t.tolist() for name, t in found.items()} == {key: [1, 2] for key in "bap"}
    assert not found["p"].requires_grad
    assert read_metadata(path) == {"note": "ü"}
    with pytest.raises(DtypeError, match="must be a float dtype, not int64"):
        load(path, dtype="int64")


@pytest.mark.parametrize(
    ("state", "error", "text"),
    [
        (nn.Linear(1, 1), TypeError, r"got a Linear; pass its .state_dict\(\)"),
        ([1], TypeError, "expected a dict of tensors, got list"),
        ({1: np.ones(1)}, TypeError, "names must be strings, got 1"),
        ({"a": nn.Linear(1, 1)}, TypeError, r"'a' is a Linear.*\.state_dict\(\)"),
        ({"a": 1.0}, TypeError, "'a' is a float, expected a tensor"),
        ({"a": np.ones(1, "complex64")}, DtypeError, "save: 'a': dtype complex64"),
        ({"a": np.array(["x"])}, DtypeError, "save: 'a'"),
        ({"__metadata__": np.ones(1)}, ValueError, "belongs to the format"),
    ],
)
def test_what_cannot_be_saved(
    state: Any, error: type[Exception], text: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=text):
        save(state, tmp_path / "x")
    with pytest.raises(TypeError, match="metadata must be strings"):
        save({}, tmp_path / "x", metadata={"a": 1})  # type: ignore[dict-item]
    assert list(tmp_path.iterdir()) == []


# ---- a disk that takes no more ------------------------------------------------------------------


@pytest.mark.parametrize("call", ["write", "flush", "fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_says_so(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights.safetensors"
    save({"w": np.ones(3)}, path)
    before = path.read_bytes()

    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    class Full(io.FileIO):
        """A file on a disk that is full: half of what is written fits."""

        def write(self, content: Any) -> int:
            if call == "write":
                super().write(content[: len(content) // 2])
                full()
            return super().write(content)

        def flush(self) -> None:
            super().flush()
            if call == "flush":
                full()

    monkeypatch.setattr(files, "open", Full, raising=False)
    if call in ("fsync", "replace"):
        monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="save") as error:
        save({"w": np.zeros(3)}, path)
    monkeypatch.undo()
    assert error.value.errno == errno.ENOSPC
    assert error.value.strerror == (
        f"save: cannot write {path}: No space left on device; what was there before is as it was; "
        "make room there, or choose another place"
    )
    assert error.value.__suppress_context__
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_grows_too_large_for_the_system(tmp_path: Path, room: Any) -> None:
    text = r"save: cannot write .*w: File too large; make room"
    with room(1000), pytest.raises(OSError, match=text):
        save({"w": np.ones(1000)}, tmp_path / "w")
    assert list(tmp_path.iterdir()) == []


def test_places_where_nothing_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FileNotFoundError, match="No such file or directory; make its folder first"):
        save({}, tmp_path / "none" / "w")
    with pytest.raises(IsADirectoryError, match="there is a folder of this name: choose another"):
        save({}, tmp_path)
    assert list(tmp_path.iterdir()) == []

    def denied(*args: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(files, "open", denied, raising=False)
    with pytest.raises(PermissionError, match="Permission denied; choose a place where you may"):
        save({}, tmp_path / "w")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"load: cannot read .*w: No such file.*; check"):
        load(tmp_path / "w")
    with pytest.raises(IsADirectoryError, match="load: cannot read .*: Is a directory"):
        read_metadata(tmp_path)


# ---- damaged files ------------------------------------------------------------------------------


def packed(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype: str = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def test_truncated_at_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "whole.safetensors"
    save({"w": np.ones((2, 2), "float32"), "n": np.int64(3), "e": np.ones(0)}, path)
    whole = path.read_bytes()
    assert len(load(path)) == 3
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(FormatError, match=r"load: .*whole.safetensors"):
            load(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(FormatError, match="1 bytes belong to no tensor"):
        load(path)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"PK\3\4 and so on, a zip", "is a zip archive"),
        (b"\x80\x02}q\x00. a pickle, as it seems", "is truncated or no safetensors file"),
        (packed(b"{nonsense"), "has a bad header"),
        (packed(b"\xff\xfe"), "has a bad header"),
        (packed(b"[" * 100000), "has a bad header"),
        (packed([1]), "no table of names"),
        (packed(b'{"a": 1, "a": 2}'), "the name 'a' stands twice"),
        (packed(b'{"a": {"dtype": "F32", "dtype": "F16"}}'), "'dtype' stands twice"),
        (packed({"a": 1}), "the entry of 'a' is not as the format has it"),
        (packed({"a": entry() | {"more": 1}}, b"1234"), "entry of 'a'"),
        (packed({"a": entry(shape=[-1])}, b"1234"), "entry of 'a'"),
        (packed({"a": entry(shape=[True])}, b"1234"), "entry of 'a'"),
        (packed({"a": entry(offsets=[0])}, b"1234"), "entry of 'a'"),
        (packed({"a": entry(dtype=["F32"])}, b"1234"), "entry of 'a'"),
        (packed({"a": entry("BF16", [2])}, b"1234"), r"dtype BF16 \(bfloat16: NumPy has none"),
        (packed({"a": entry("F4")}, b"1234"), "dtype F4, which is not offered"),
        (packed({"a": entry(shape=[2])}, b"1234"), "needs 8 bytes, it has 4"),
        (packed({"a": entry(offsets=[4, 8])}, b"12345678"), "should begin at byte 0, not 4"),
        (packed({"a": entry(), "b": entry()}, b"1234"), "should begin at byte 4, not 0"),
        (packed({"a": entry(shape=[2**40], offsets=[0, 2**42])}, b"1234"), "is truncated"),
        (packed({"a": entry("BOOL", [4])}, b"\0\1\2\1"), "no truth values"),
        (packed({"__metadata__": {"a": 1}}), "__metadata__ must hold texts"),
    ],
)
def test_damaged_or_foreign(content: bytes, text: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=text) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nothing")


# ---- a failure while writing --------------------------------------------------------------------


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights.safetensors"
    save({"w": np.ones(2)}, path)

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(serialization.os, step, fail)
    with pytest.raises(OSError, match="disk full"):
        save({"w": np.zeros(2)}, path)
    monkeypatch.undo()
    assert load(path)["w"].tolist() == [1, 1]
    assert os.listdir(tmp_path) == [path.name]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "real", tmp_path / "link"
    save({"w": np.ones(1)}, target)
    link.symlink_to(target)
    save({"w": np.zeros(1)}, link)
    assert link.is_symlink()
    assert load(target)["w"].tolist() == [0]
