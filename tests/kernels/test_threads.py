"""Threads of the CPU kernels: how many, two Python threads at once, forked children, BLAS."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from minidl_kernels.cpu import threads

ROOT = Path(__file__).parents[2]
PRELUDE = """
import os, sys, threading, time, warnings
import numpy as np
from minidl_kernels.cpu import team, threads
from minidl_kernels.cpu.atomics import add
from minidl_kernels.cpu.launch import integers, launch, record
from minidl_kernels.cpu.memory import address

warnings.simplefilter("ignore")  # Python's, that forking a process of threads is unsafe
arguments = record([("counts", "p"), ("rooms", "p")])

def count(task, room, args):
    p = arguments(args)
    own = integers(room)  # what a thread writes there, no other one may change
    for i in range(200):
        own[i % 8] = task + i
    kept = True
    for i in range(192, 200):
        kept = kept and own[i % 8] == task + i
    add(p.counts + task * 8, 1 if kept else 1000)

def works(tasks=50):
    counts = np.zeros(tasks, np.intp)
    launch(count, tasks, (address(counts), 0), 64, False)
    assert (counts == 1).all(), counts
"""


def run(*code: str, **environment: str) -> str:
    """Run a program, in parts, in a process of its own and return what it prints."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "kernels")])
    given = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "COV_CORE_SOURCE")}
    given |= {"PYTHONPATH": paths, "NUMBA_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", "".join(map(textwrap.dedent, (PRELUDE, *code)))],
        env=given | environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
    assert "Exception in thread" not in done.stderr, done.stderr
    return done.stdout


@pytest.mark.parametrize("members", ["2", "3", "8"])
def test_each_task_is_done_once_whoever_launches(members: str) -> None:
    out = run(
        """
        failed = []
        def work(seed):
            try:
                for tasks in np.random.default_rng(seed).integers(2, 40, 3000):
                    works(int(tasks))
                    if tasks == 39:
                        time.sleep(0.001)
            except BaseException as error:
                failed.append(error)
        work(0)
        crew = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
        for t in crew: t.start()
        for t in crew: t.join()
        assert not failed, failed
        print(len(team._team.crew) + 1)
        """,
        NUMBA_NUM_THREADS=members,
    )
    assert out.split() == [members]


def test_who_has_no_cpu_is_not_waited_for() -> None:
    """The launching thread does the tasks of members that never come."""
    out = run(
        """
        works()
        idle, counts = team._Team(), np.zeros(9, np.intp)
        fields, room = np.array([address(counts), 0]), np.zeros(64, np.intp)
        kernel = launch.__globals__["_compiled"][count].address
        team._lead(idle.board, kernel, 9, address(room), 0, address(fields), 4)
        print(*counts)
        """,
        NUMBA_NUM_THREADS="4",
    )
    assert out.split() == ["1"] * 9


def test_idle_threads_go_to_sleep_and_are_woken() -> None:
    out = run(
        """
        for _ in range(3):
            works()
            begun = time.monotonic()
            while not team._team.asleep:
                assert time.monotonic() < begun + 60
                time.sleep(0.01)
        spent = time.process_time()
        time.sleep(0.3)
        assert time.process_time() < spent + 0.2
        works()
        print(len(team._team.asleep))
        """
    )
    assert out.split() == ["0"]


@pytest.mark.parametrize("rest", ["0", "0.2"])
def test_a_process_ends_whatever_its_threads_do(rest: str) -> None:
    """Its members have come home by then: those that wait, those that sleep, those at work."""
    out = run(
        f"""
        import atexit
        atexit.register(lambda: print("end", *[t.is_alive() for t in team._team.crew]))
        def forever():
            while True:
                works()
        works()
        time.sleep({rest})
        if not {rest}:
            threading.Thread(target=forever, daemon=True).start()
            time.sleep(0.01)
        """
    )
    assert out.split() == ["end", "False"]


def test_where_no_thread_can_be_started_there_is_one() -> None:
    out = run(
        """
        def refuse(thread):
            raise RuntimeError("can't start new thread")
        threading.Thread.start = refuse
        works()
        print(len(team._team.crew))
        """
    )
    assert out.split() == ["0"]


TRAINING = """
import minidl
from minidl import nn

class Listener(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(32, 48), nn.Linear(48, 10)

    def forward(self, x):
        return self.head(self.lstm(x)[0][-1])

def learner(seed):
    minidl.manual_seed(seed)
    if seed % 2:
        model, x = Listener(), minidl.rand(9, 32, 32)
    else:
        model = nn.Sequential(
            nn.Conv2d(3, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1),
            nn.LayerNorm((32, 15, 15)), nn.ReLU(), nn.Flatten(), nn.Linear(7200, 10),
        )
        x = minidl.rand(32, 3, 32, 32)
    y, optimizer = minidl.randint(0, 10, (32,)), minidl.optim.Adam(model.parameters())

    def train():
        for _ in range(8):
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return b"".join(p.detach().numpy().tobytes() for p in model.parameters())

    return train
"""


def test_networks_that_train_at_once_learn_what_each_learns_alone() -> None:
    out = run(
        TRAINING,
        """
        alone = [learner(seed)() for seed in range(4)]
        together, begun = [None] * 4, threading.Barrier(4)
        learners = [learner(seed) for seed in range(4)]
        def work(i):
            begun.wait()
            together[i] = learners[i]()
        crew = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for t in crew: t.start()
        for t in crew: t.join()
        print(together == alone)
        """,
    )
    assert out.split() == ["True"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_learns_the_same_with_threads_of_its_own() -> None:
    out = run(
        TRAINING,
        """
        known, again = learner(0)(), learner(0)
        child = os.fork()
        if not child:
            try:
                assert team._team is None
                os._exit(7 if again() == known and len(team._team.crew) == 1 else 8)
            finally:
                os._exit(9)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), again() == known)
        """,
    )
    assert out.split() == ["7", "True"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_may_be_forked_while_others_launch_and_end_as_any_process() -> None:
    out = run(
        """
        stop = False
        def work():
            while not stop:
                works()
        other = threading.Thread(target=work)
        other.start()
        ends = []
        for _ in range(5):
            time.sleep(0.1)  # the first time the other thread still compiles
            child = os.fork()
            if not child:
                works()
                time.sleep(0.01)
                sys.exit(7)
            ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        stop = True
        other.join()
        works()
        print(*set(ends))
        """
    )
    assert out.split() == ["7"]


def test_set_num_threads_counts_for_launches_and_for_blas() -> None:
    out = run(
        """
        import threadpoolctl
        def counted():
            works()
            return int(team._team.words[team.MEMBERS // team.WORD]), len(team._team.crew)
        def blas():
            return {i["num_threads"] for i in threadpoolctl.threadpool_info()
                    if i["user_api"] == "blas"}
        assert threads.get_num_threads() == 3
        threads.set_num_threads(2)
        assert counted() == (2, 1)
        threads.set_num_threads(3)
        assert counted() == (3, 2)
        threads.set_num_threads(1)
        assert threads.get_num_threads() == 1
        works()
        assert blas() <= {1}, blas()
        threads.set_num_threads(np.int64(2))
        assert counted() == (2, 2)
        assert blas() <= {2}, blas()
        threads.set_num_threads(1000)
        print(threads.get_num_threads())
        """,
        NUMBA_NUM_THREADS="3",
    )
    assert out.split() == ["3"]


def test_the_number_comes_from_the_environment() -> None:
    code = "print(threads.get_num_threads())"
    assert run(code, NUMBA_NUM_THREADS="1").split() == ["1"]
    assert run(code, NUMBA_NUM_THREADS="", OMP_NUM_THREADS="1,2").split() == ["1"]
    assert run(code, NUMBA_NUM_THREADS="", OMP_NUM_THREADS="all").split() == [str(threads.cpus())]


@pytest.mark.parametrize(("n", "kind"), [(0, ValueError), (-1, ValueError), (1.0, TypeError)])
@pytest.mark.parametrize("also", [None, True])
def test_set_num_threads_refuses(n: object, kind: type[Exception], also: object) -> None:
    before = threads.get_num_threads()
    with pytest.raises(kind, match="set_num_threads: n is"):
        threads.set_num_threads(n)  # type: ignore[arg-type]
    if also is not None:
        with pytest.raises(TypeError, match="set_num_threads: n is True"):
            threads.set_num_threads(also)  # type: ignore[arg-type]
    assert threads.get_num_threads() == before


def test_importing_the_policy_does_not_import_numba() -> None:
    code = "import sys, minidl_kernels.cpu.threads; print('numba' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "kernels")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False"]
