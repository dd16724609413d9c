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
import os, sys, threading
import numpy as np
from numba import prange
from minidl_kernels.cpu import threads
from minidl_kernels.cpu.compiling import compiled

@compiled(parallel=True)
def double(x, out):
    for i in prange(x.shape[0]):
        out[i] = 2 * x[i]

def works(n=100_000):
    x, out = np.arange(float(n)), np.empty(n)
    double(x, out)
    assert (out == 2 * x).all()
"""


def run(*code: str, layer: str = "default", **environment: str) -> str:
    """Run a program, in parts, in a process of its own and return what it prints."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "kernels")])
    given = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "COV_CORE_SOURCE")}
    given |= {"PYTHONPATH": paths, "NUMBA_THREADING_LAYER": layer, "NUMBA_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", "".join(map(textwrap.dedent, (PRELUDE, *code)))],
        env=given | environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
    return done.stdout


def has_layer(layer: str) -> bool:
    if layer == "workqueue":
        return True
    module = "omppool" if layer == "omp" else "tbbpool"
    code = f"from numba.np.ufunc import {module}"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    return found.returncode == 0


@pytest.fixture(params=["workqueue", "omp", "tbb"])
def layer(request: pytest.FixtureRequest) -> str:
    if not has_layer(request.param):
        pytest.skip(f"Numba has no layer {request.param} here")
    return request.param


def test_two_python_threads_launch_at_once(layer: str) -> None:
    out = run(
        """
        failed = []
        def work():
            try:
                for _ in range(300):
                    works()
            except BaseException as error:
                failed.append(error)
        crew = [threading.Thread(target=work) for _ in range(3)]
        for t in crew: t.start()
        for t in crew: t.join()
        assert not failed, failed
        print(threads.layer(), threads.lock is not None)
        """,
        layer=layer,
    )
    assert out.split() == [layer, str(layer == "workqueue")]


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


def test_networks_that_train_at_once_learn_what_each_learns_alone(layer: str) -> None:
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
        print(threads.layer(), together == alone)
        """,
        layer=layer,
    )
    assert out.split() == [layer, "True"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_learns_the_same(layer: str) -> None:
    out = run(
        TRAINING,
        """
        import warnings
        warnings.simplefilter("ignore")  # Python's, that forking a process of threads is unsafe
        known, again = learner(0)(), learner(0)
        child = os.fork()
        if not child:
            try:
                os._exit(7 if again() == known else 8)
            finally:
                os._exit(9)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), again() == known)
        """,
        layer=layer,
    )
    assert out.split() == ["7", "True"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_computes_on_one_thread(layer: str) -> None:
    out = run(
        """
        import warnings
        warnings.simplefilter("ignore")  # Python's, that forking a process of threads is unsafe
        works()
        child = os.fork()
        if not child:
            try:
                assert threads.get_num_threads() == 1
                works()
                threads.set_num_threads(1)
                works()
                try:
                    threads.set_num_threads(2)
                except RuntimeError as error:
                    assert "spawn" in str(error)
                    os._exit(7)
            finally:
                os._exit(8)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        assert threads.get_num_threads() == 2
        works()
        """,
        layer=layer,
    )
    assert out.split() == ["7"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_forked_before_the_first_launch_has_all_threads(layer: str) -> None:
    out = run(
        """
        child = os.fork()
        if not child:
            try:
                works()
                os._exit(7 if threads.get_num_threads() == 2 and threads.layer() else 8)
            finally:
                os._exit(9)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        works()
        """,
        layer=layer,
    )
    assert out.split() == ["7"]


def test_set_num_threads_counts_for_every_python_thread_and_for_blas() -> None:
    out = run(
        """
        import numba, threadpoolctl
        def counted():
            works()
            return numba.get_num_threads()
        def elsewhere():
            found = []
            t = threading.Thread(target=lambda: found.append(counted()))
            t.start(); t.join()
            return found[0]
        def blas():
            return {i["num_threads"] for i in threadpoolctl.threadpool_info()
                    if i["user_api"] == "blas"}
        assert threads.get_num_threads() == 2
        assert (counted(), elsewhere()) == (2, 2)
        threads.set_num_threads(1)
        assert threads.get_num_threads() == 1
        works()
        assert blas() <= {1}, blas()
        threads.set_num_threads(np.int64(2))
        assert (counted(), elsewhere()) == (2, 2)
        assert blas() <= {2}, blas()
        threads.set_num_threads(1000)
        print(threads.get_num_threads(), "GOMP_SPINCOUNT" in os.environ)
        """
    )
    assert out.split() == ["2", "False"]


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
