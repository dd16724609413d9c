"""The same bits on one thread and on two, and again: sums are cut into parts that do not know."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import hashlib
import numpy as np
import minidl_kernels as kernels
from minidl_kernels.cpu import threads

def arrays(*shapes):
    rng = np.random.default_rng(0)
    return [np.asarray(rng.normal(size=shape), DTYPE) for shape in shapes]

def convolution():
    x, w, bias = arrays((2, 19, 23, 21), (33, 19, 3, 3), 33)
    options = (1, 1), ((1, 1), (1, 1)), (1, 1), 1
    y = kernels.conv(x, w, *options)
    return [y, kernels.conv_input(y, w, x.shape, *options),
            kernels.conv_weight(y, x, w.shape, *options)]

def pooling():
    x, = arrays((4, 33, 30, 30))
    y, index = kernels.max_pool(x, (3, 3), (2, 2), (1, 1), (1, 1), False)
    return [y, kernels.max_pool_input(y, index, x.shape)]

def classification():
    x, = arrays((300, 101))
    target = np.arange(300) % 101
    loss, powers, total = kernels.cross_entropy(x, target)
    t = np.asarray(abs(x) % 1, DTYPE)
    return [loss, powers, kernels.cross_entropy_input(loss, target, powers, total),
            kernels.logistic_loss(x, t), kernels.logistic_loss_input(t, x, t)]

def normalization():
    found = []
    x, w, b = arrays((1000, 37), 37, 37)
    for axes in ((1,), (0,)):
        out, centre, var, rstd = kernels.standardize(x, w, b, axes, (1, 37), 1e-5)
        wanted = ("x", "weight", "bias")
        found += [out, centre, var, *kernels.standardize_gradient(
            x, w, axes, (1, 37), centre, rstd, out, None, None, wanted)]
    return found

def updates():
    p, g, m, v = arrays(70001, 70001, 70001, 70001)
    kernels.sgd_(p, g, m, 0.1, 0.9, 0, 0.01, True, False)
    kernels.adam_(p, g, m, abs(v), None, 3, 0.1, 0.9, 0.99, 1e-8, 0.1, True)
    ps, gs, ms, vs = (arrays(3, 20011, 4096, 1, 5000) for _ in range(4))
    kernels.adam_all_(ps, gs, ms, [abs(v) for v in vs], None, 3, 0.1, 0.9, 0.99, 1e-8, 0, False)
    return [p, m, *[np.append(p.ravel(), m) for p, m in zip(ps, ms)]]

def random_words():
    return [kernels.philox(np.zeros(1), 7, 2**64 - 5, 100003)]

def digest(family):
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in family())).hexdigest()

for DTYPE in ("f4", "f8"):
    for family in (convolution, pooling, classification, normalization, updates,
                   random_words):
        found = []
        for threads.count in (1, 2, 1, 2):
            found.append(digest(family))
        print(family.__name__, DTYPE, len(set(found)))
assert threads.layer() is not None  # there were launches on two threads
"""


@pytest.mark.slow
def test_the_same_bits_at_any_number_of_threads() -> None:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "kernels")])
    environment = {"PYTHONPATH": paths, "NUMBA_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | environment, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 12
    assert [line for line in lines if not line.endswith(" 1")] == []
