"""Checkpoints on disk: whole or not there, whatever fails while they are written."""

import errno
import json
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl
from minidl import nn, optim, serialization
from minidl.errors import FormatError
from minidl.training import Checkpoint, Trainer, snapshot

STATE = {"steps": 3, "sums": (1.5, math.inf), "moments": {0: np.arange(4.0)}, "none": None}
WEIGHTS = {"weight": minidl.tensor([1.0, 2.0])}


# ---- trees --------------------------------------------------------------------------------------

TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda parts: (
        st.lists(parts, max_size=3)
        | st.tuples(parts, parts)
        | st.dictionaries(st.text(max_size=3) | st.integers(), parts, max_size=3)
    ),
    max_leaves=12,
)


@given(TREES)
def test_a_tree_comes_back_from_json_as_it_was(tree: Any) -> None:
    arrays: dict[str, Any] = {}
    text = json.dumps(snapshot.pack(tree, arrays), allow_nan=False)
    again = snapshot.unpack(json.loads(text), arrays)
    assert again == tree
    assert repr(again) == repr(tree)  # tuples stay tuples, -0.0 stays -0.0


def test_arrays_lie_beside_the_json_and_none_is_lost() -> None:
    tree = {"a/b": np.ones(2), "a": {"b": np.zeros(3)}, "n": np.float32(0.5)}
    arrays: dict[str, Any] = {}
    again = snapshot.unpack(snapshot.pack(tree, arrays), arrays)
    assert len(arrays) == 2
    np.testing.assert_array_equal(again["a/b"], np.ones(2))
    np.testing.assert_array_equal(again["a"]["b"], np.zeros(3))
    assert again["n"] == 0.5


def test_what_no_file_can_hold_is_named() -> None:
    with pytest.raises(TypeError, match="checkpoint: /callbacks/0/f is a function"):
        snapshot.pack({"callbacks": [{"f": lambda: 0}]}, {})


# ---- whole or not there -------------------------------------------------------------------------


class Killed(BaseException):
    """The program is dead: from here on no call reaches the system."""


class System:
    """Stands for `os`, `open` and `shutil` in the writer; its call number `fail_at` goes wrong."""

    def __init__(self, fail_at: int, dead: bool) -> None:
        self.fail_at, self.dead, self.calls = fail_at, dead, 0

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            self.calls += 1
            if self.dead and self.calls >= self.fail_at:
                raise Killed
            if self.calls == self.fail_at:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return function(*args, **options)

        return call


class Watched:
    """A module whose functions go through a System."""

    def __init__(self, module: Any, system: System, names: tuple[str, ...]) -> None:
        self._module, self._system, self._names = module, system, names

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._module, name)
        return self._system.wrap(found) if name in self._names else found


@contextmanager
def failing(fail_at: int, dead: bool) -> Iterator[System]:
    system = System(fail_at, dead)
    calls = ("mkdir", "open", "fsync", "rename", "replace", "close", "unlink")
    with pytest.MonkeyPatch.context() as patch:
        for module in (snapshot, serialization):
            patch.setattr(module, "os", Watched(os, system, calls))
            patch.setattr(module, "open", system.wrap(open), raising=False)
        patch.setattr(snapshot, "shutil", Watched(snapshot.shutil, system, ("rmtree",)))
        yield system


def count_calls(folder: Path) -> int:
    checkpoint = Checkpoint(folder, keep=1)
    checkpoint.begin()
    checkpoint.save(STATE, WEIGHTS)
    with failing(0, dead=False) as system:
        checkpoint.save(STATE, WEIGHTS)
    return system.calls


def stored(folder: Path) -> int:
    found = Checkpoint(folder).load()
    assert found is not None
    state, weights = found
    np.testing.assert_array_equal(weights["weight"], [1.0, 2.0])
    np.testing.assert_array_equal(state["moments"][0], np.arange(4.0))
    assert state["sums"] == (1.5, math.inf)
    return state["steps"]


@pytest.mark.parametrize("dead", [False, True])
@pytest.mark.parametrize("keep", [1, 2])
def test_whatever_call_fails_the_last_good_one_is_whole(
    tmp_path: Path, keep: int, dead: bool
) -> None:
    calls = count_calls(tmp_path / "counted")
    assert calls > 12  # folder, three tensor files, state, syncs, renames, removal
    for fail_at in range(1, calls + 1):
        folder = tmp_path / f"{fail_at}"
        checkpoint = Checkpoint(folder, keep=keep)
        checkpoint.begin()
        for steps in range(keep):
            checkpoint.save(STATE | {"steps": steps}, WEIGHTS)
        with failing(fail_at, dead), pytest.raises((Killed, OSError)):  # noqa: PT012
            checkpoint.save(STATE | {"steps": 10}, WEIGHTS)
            raise Killed
        assert stored(folder) in (keep - 1, 10)
        again = Checkpoint(folder, keep=keep)
        again.begin()
        again.save(STATE | {"steps": 11}, WEIGHTS)
        assert stored(folder) == 11
        assert sorted(folder.iterdir()) == again.all()  # nothing unfinished is left
        assert len(again.all()) == keep


def test_a_full_disk_says_so_and_the_old_one_stays(tmp_path: Path, room: Any) -> None:
    checkpoint = Checkpoint(tmp_path)
    checkpoint.begin()
    checkpoint.save(STATE, WEIGHTS)
    text = "00002: File too large; .*checkpoint-000001 is the last good one. Make room"
    with room(4096), pytest.raises(OSError, match=text) as error:
        checkpoint.save(STATE, {"weight": np.zeros(5000)})
    assert error.value.errno == errno.EFBIG
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-000001"]
    assert stored(tmp_path) == 3


def test_a_folder_that_cannot_be_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot make the folder .*; choose another") as error:
        Checkpoint(tmp_path / "file").begin()
    assert error.value.__suppress_context__


def test_the_newest_are_kept_and_numbers_go_on(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path, keep=2)
    assert checkpoint.latest() is None
    for steps in range(4):
        path = checkpoint.save(STATE | {"steps": steps}, WEIGHTS)
    assert path.name == "checkpoint-000004"
    assert [p.name for p in checkpoint.all()] == ["checkpoint-000003", "checkpoint-000004"]
    assert stored(tmp_path) == 3


# ---- bad folders --------------------------------------------------------------------------------


def written(folder: Path) -> tuple[Checkpoint, Path]:
    checkpoint = Checkpoint(folder)
    return checkpoint, checkpoint.save(STATE, WEIGHTS)


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    checkpoint, path = written(tmp_path)
    content = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps(content | {"format": 2}))
    with pytest.raises(FormatError, match="has format 2, this minidl reads 1"):
        checkpoint.load()


@pytest.mark.parametrize("name", ["model.safetensors", "state.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_a_damaged_one_is_refused_by_name(tmp_path: Path, name: str, damage: str) -> None:
    checkpoint, path = written(tmp_path)
    content = (path / name).read_bytes()
    if damage == "gone":
        (path / name).unlink()
    elif damage == "cut":
        (path / name).write_bytes(content[:-3])
    else:
        (path / name).write_bytes(content[:-1] + b"?")
    with pytest.raises(FormatError) as error:
        checkpoint.load()
    assert str(path) in str(error.value)
    assert name in str(error.value)
    assert "remove this folder" in str(error.value)


def test_a_stray_file_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-000009").write_text("not a folder")
    (tmp_path / "checkpoint-old").mkdir()
    assert Checkpoint(tmp_path).all() == []


@pytest.mark.parametrize("options", [{"keep": 0}, {"every_steps": 0}, {"every_epochs": True}])
def test_counts_below_one_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))} is .*, expected 1 or more"):
        Checkpoint(tmp_path, **options)
    with pytest.raises(ValueError, match="every_seconds is 0, expected above 0"):
        Checkpoint(tmp_path, every_seconds=0)


# ---- when they are written ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 3),  # each epoch
        ({"every_epochs": 2}, 2),  # the second, and the end
        ({"every_epochs": None}, 1),  # the end
        ({"every_epochs": None, "every_steps": 2}, 4),  # steps 2, 4 and 6, and the end
        ({"every_epochs": None, "every_seconds": 1e-9}, 7),  # each of 6 steps, and the end
    ],
)
def test_when_one_is_written(tmp_path: Path, options: dict[str, Any], expected: int) -> None:
    model = nn.Linear(1, 1)
    trainer = Trainer(
        model, optim.SGD(model.parameters(), lr=0.1), nn.MSELoss(),
        checkpoint=Checkpoint(tmp_path, keep=100, **options),
    )  # fmt: skip
    trainer.fit((np.ones((4, 1), "f4"), np.ones((4, 1), "f4")), 3, batch_size=2, verbose=0)
    assert len(Checkpoint(tmp_path).all()) == expected


def test_weights_of_a_checkpoint_load_without_a_trainer(tmp_path: Path) -> None:
    _, path = written(tmp_path)
    np.testing.assert_array_equal(minidl.load(path / "model.safetensors")["weight"], [1.0, 2.0])
