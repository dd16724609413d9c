"""Batches made ahead: the same bits, errors in their turn, and never a thread left behind."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import traceback

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl
from minidl.data import DataLoader, TensorDataset
from minidl.data import prefetch as module
from minidl.data.prefetch import Prefetcher
from minidl.errors import FormatError

DATA = TensorDataset(np.arange(40))


class Boom(Exception):
    """What goes wrong while batches are made or used."""


def jitter(batch, stream):
    return batch[0].tolist(), stream.normal((3,)).tolist()


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "minidl-prefetch"]


@pytest.fixture(autouse=True)
def no_thread_stays():
    yield
    assert threads() == []


def wait_for(condition):
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


# ---- the same batches ---------------------------------------------------------------------------


@given(
    batch_size=st.integers(1, 50),
    shuffle=st.booleans(),
    prefetch=st.integers(1, 60),
    start=st.floats(0, 1),
)
def test_equal_to_those_made_when_asked_for(batch_size, shuffle, prefetch, start):
    def epochs(**options):
        loader = DataLoader(DATA, batch_size, shuffle, seed=3, transform=jitter, **options)
        first = round(start * len(loader))
        rest = list(loader.batches(1, first))
        assert loader.epoch == 0
        both = [list(loader), list(loader)]
        assert loader.epoch == 2
        assert rest == both[1][first:]
        return both

    assert epochs(prefetch=prefetch) == epochs()


def test_items_are_made_under_the_callers_modes():
    seen = []

    def items():
        seen.append((minidl.is_grad_enabled(), np.geterr()["over"]))
        yield 1

    with minidl.no_grad(), np.errstate(over="raise"):
        assert list(Prefetcher(items(), 1)) == [1]
    assert seen == [(False, "raise")]


@pytest.mark.parametrize("depth", [1, 2, 7])
def test_no_more_than_asked_for_is_made_ahead(depth):
    made = []

    def items():
        for number in range(30):
            made.append(number)
            yield number

    ahead = Prefetcher(items(), depth)
    for taken in range(5):
        wait_for(lambda least=taken + depth: len(made) >= least)
        time.sleep(0.005)
        assert len(made) == taken + depth
        assert next(ahead) == taken
    ahead.close()


# ---- ends ---------------------------------------------------------------------------------------


def test_dropped_in_the_middle_a_thousand_times():
    before = threading.active_count()
    for turn in range(1000):
        batches = iter(DataLoader(DATA, 4, shuffle=True, seed=turn, prefetch=1 + turn % 3))
        for _ in range(turn % 5):
            next(batches)
        del batches
        assert threading.active_count() == before


def fail_in_the_loop(batches):
    for _ in batches:
        raise Boom


@pytest.mark.parametrize("way", ["break", "close", "error", "exhausted", "cycle"])
def test_ways_to_end(way):
    loader = DataLoader(DATA, 4, prefetch=2)
    batches = iter(loader)
    assert next(batches)[0].tolist() == [0, 1, 2, 3]
    assert len(threads()) == 1
    if way == "break":
        for _ in batches:
            break
        del batches
    elif way == "close":
        batches.close()
        batches.close()
        assert list(batches) == []
    elif way == "error":
        with pytest.raises(Boom):
            fail_in_the_loop(batches)
        del batches
    elif way == "exhausted":
        assert len(list(batches)) == 9
        assert list(batches) == []
    else:
        batches.itself = batches
        del batches
        gc.collect()
    assert threads() == []


def test_the_loader_may_go_before_its_batches():
    batches = iter(DataLoader(DATA, 10, prefetch=2))
    gc.collect()
    assert len(list(batches)) == 4


def test_a_batch_that_takes_long_is_not_waited_for_long(monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE", 0.01)
    go = threading.Event()

    def items():
        go.wait()
        yield 1

    ahead = Prefetcher(items(), 1)
    start = time.monotonic()
    del ahead
    assert time.monotonic() - start < 1
    assert len(threads()) == 1
    go.set()
    wait_for(lambda: threads() == [])


def test_the_source_is_closed():
    ended = []

    def items():
        try:
            yield from range(10)
        finally:
            ended.append(True)

    ahead = Prefetcher(items(), 2)
    assert next(ahead) == 0
    ahead.close()
    assert ended == [True]


def test_a_thread_that_is_gone_is_noticed(monkeypatch):
    """As after a fork: no permit reaches a thread, and the reader is told instead of left."""
    monkeypatch.setattr(module, "_PATIENCE", 0.01)
    monkeypatch.setattr(module, "_work", lambda *arguments: None)
    ahead = Prefetcher(iter([1]), 1)
    with pytest.raises(RuntimeError, match="does not survive a fork"):
        next(ahead)
    assert list(ahead) == []


def test_the_program_ends_with_batches_unread():
    program = (
        "import numpy as np\n"
        "from minidl.data import DataLoader, TensorDataset\n"
        "batches = iter(DataLoader(TensorDataset(np.arange(9)), 1, prefetch=3))\n"
        "print(next(batches)[0].item())"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")


# ---- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefetch", [0, 1, 2, 50])
@pytest.mark.parametrize("kind", [Boom, KeyboardInterrupt, SystemExit, StopIteration])
def test_an_error_comes_in_its_turn_with_its_traceback(prefetch, kind):
    def fails_at_the_fourth(batch, stream):
        if batch[0][0].item() == 30:
            raise kind("the fourth")
        return batch

    loader = DataLoader(DATA, 10, transform=fails_at_the_fourth, prefetch=prefetch)
    batches, seen = iter(loader), []
    expected = RuntimeError if kind is StopIteration else kind  # as in every generator
    with pytest.raises(expected) as raised:
        seen.extend(batch[0][0].item() for batch in batches)
    assert seen == [0, 10, 20] or kind is StopIteration
    names = [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]
    assert kind is StopIteration or names[-1] == "fails_at_the_fourth"
    assert list(batches) == []
    assert threads() == []


def test_an_error_in_the_data_and_in_collate():
    class Short:
        def __len__(self):
            return 8

        def __getitem__(self, index):
            if index == 5:
                raise IndexError("item 5 is missing")
            return np.zeros(index // 4 + 1)

    with pytest.raises(IndexError, match="item 5 is missing"):
        list(DataLoader(Short(), 4, prefetch=2))
    with pytest.raises(ValueError, match="items of a batch differ"):
        list(DataLoader(Short(), 5, prefetch=2))


def test_an_error_leaves_no_cycle():
    """What the thread made is freed with the error, without the garbage collector."""

    def items():
        yield 1
        raise Boom

    gc.collect()
    gc.disable()
    try:
        ahead = Prefetcher(items(), 2)
        try:
            list(ahead)
        except Boom:
            del ahead
        assert not [each for each in gc.get_objects() if type(each) is Prefetcher]
    finally:
        gc.enable()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_control_c_while_waiting(monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE", 0.02)
    go = threading.Event()

    def items():
        yield 0
        go.wait(5)
        yield 1

    ahead = Prefetcher(items(), 1)
    assert next(ahead) == 0
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        next(ahead)
    assert time.monotonic() - start < 1
    go.set()
    timer.join()
    assert list(ahead) == []
    wait_for(lambda: threads() == [])


# ---- the loader's place -------------------------------------------------------------------------


def test_the_place_is_stored_and_taken_over():
    first = DataLoader(DATA, 7, shuffle=True, transform=jitter, seed=2)
    list(first)
    state = first.state_dict()
    assert state == {"seed": 2, "epoch": 1}
    second = DataLoader(DATA, 7, shuffle=True, transform=jitter, seed=9, prefetch=2)
    second.load_state_dict(state)
    assert list(second) == list(first)
    assert second.state_dict() == {"seed": 2, "epoch": 2}


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"seed": 1}, "the keys seed and epoch"),
        ([1, 2], "the keys seed and epoch"),
        ({"seed": 1, "epoch": -1}, "epoch must be 0 or more, got -1"),
        ({"seed": 1.5, "epoch": 0}, "seed is a whole number, not 1.5"),
        ({"seed": 2**64, "epoch": 0}, "key is"),
    ],
)
def test_a_state_that_is_not_whole_changes_nothing(state, reason):
    loader = DataLoader(DATA, 7, shuffle=True, seed=2)
    with pytest.raises(FormatError, match=reason):
        loader.load_state_dict(state)
    assert loader.state_dict() == {"seed": 2, "epoch": 0}


@pytest.mark.parametrize(
    ("start", "reason"),
    [(5, "start is 5, an epoch has 4 batches"), (-1, "start must be 0 or more"), (0.5, "not 0.5")],
)
def test_batches_refuses(start, reason):
    with pytest.raises(ValueError, match=reason):
        DataLoader(DATA, 10, prefetch=1).batches(0, start)


@pytest.mark.parametrize(
    ("prefetch", "reason"), [(-1, "0 or more, got -1"), (1.0, "not 1.0"), (True, "not True")]
)
def test_prefetch_refuses(prefetch, reason):
    with pytest.raises(ValueError, match=f"prefetch .*{reason}"):
        DataLoader(DATA, 10, prefetch=prefetch)
