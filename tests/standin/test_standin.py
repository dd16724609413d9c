"""The stand-in for CuPy itself: every planted mistake raises, and values and layouts are CuPy's.

What CuPy does is taken from its source and documentation, 14.2; `api.json` was read off it.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

import standin

MISTAKES: dict[str, tuple[Callable[[Any], Any], type[Exception]]] = {
    "implicit copy to NumPy": (lambda x: np.asarray(x), TypeError),
    "np.array of a device's array": (lambda x: np.array(x), TypeError),
    "a ufunc of NumPy": (lambda x: np.exp(x), TypeError),
    "a function of NumPy": (lambda x: np.sum(x), TypeError),
    "NumPy's concatenate": (lambda x: np.concatenate([x, x]), TypeError),
    "device + host": (lambda x: x + np.ones(3), TypeError),
    "host + device": (lambda x: np.ones(3) + x, TypeError),
    "device += host": (lambda x: x.__iadd__(np.ones(3)), TypeError),
    "device < host": (lambda x: x < np.ones(3), TypeError),
    "device @ host": (lambda x: x @ np.ones(3), TypeError),
    "a host's scalar array": (lambda x: x * np.array(2.0), TypeError),
    "host stored into device": (lambda x: x.__setitem__(slice(None), np.ones(3)), TypeError),
    "list stored into device": (lambda x: x.__setitem__(slice(None), [1, 2, 3]), TypeError),
    "fill by an array of the host": (lambda x: x.fill(np.ones(())), TypeError),
    "list in a ufunc": (lambda x: standin.add(x, [1, 2, 3]), TypeError),
    "host in a ufunc": (lambda x: standin.maximum(x, np.ones(3)), TypeError),
    "host in a function": (lambda x: standin.where(x > 1, x, np.ones(3)), TypeError),
    "host in a list of arrays": (lambda x: standin.concatenate([x, np.ones(3)]), TypeError),
    "out= on the host": (lambda x: standin.exp(x, out=np.ones(3)), TypeError),
    "where= in a ufunc": (lambda x: standin.exp(x, where=x > 0), TypeError),
    "sum(initial=)": (lambda x: standin.sum(x, initial=0.0), TypeError),
    "max(where=)": (lambda x: standin.max(x, where=x > 0, initial=0), TypeError),
    "clip(min=)": (lambda x: standin.clip(x, min=0), TypeError),
    "argsort(stable=)": (lambda x: standin.argsort(x, stable=True), TypeError),
    "take(mode=)": (lambda x: standin.take(x, standin.asarray([0]), mode="clip"), TypeError),
    "zeros(device=)": (lambda x: standin.zeros(3, device="cpu"), TypeError),
    "ones(like=)": (lambda x: standin.ones(3, like=x), TypeError),
    "einsum(out=)": (lambda x: standin.einsum("i,i->i", x, x, out=x), TypeError),
    "method sum(initial=)": (lambda x: x.sum(initial=0.0), TypeError),
    "method sum(where=)": (lambda x: x.sum(where=x > 0), TypeError),
    "method max(initial=)": (lambda x: x.max(initial=0.0), TypeError),
    "method argsort(kind=)": (lambda x: x.argsort(kind="stable"), TypeError),
    "method take(mode=)": (lambda x: x.take(standin.asarray([0]), mode="wrap"), TypeError),
    "as_strided(writeable=)": (
        lambda x: standin.lib.stride_tricks.as_strided(x, (3,), (8,), writeable=False),
        TypeError,
    ),
    "sliding_window_view(writeable=)": (
        lambda x: standin.lib.stride_tricks.sliding_window_view(x, 2, writeable=True),
        TypeError,
    ),
    "errstate": (lambda x: standin.errstate(all="ignore"), AttributeError),
    "vecdot": (lambda x: standin.vecdot(x, x), AttributeError),
    "insert": (lambda x: standin.insert(x, 0, 1.0), AttributeError),
    "nditer": (lambda x: standin.nditer(x), AttributeError),
    "setflags": (lambda x: x.setflags(write=False), AttributeError),
    "ctypes": (lambda x: x.ctypes, AttributeError),
    "accumulate of a ufunc": (lambda x: standin.maximum.accumulate(x), AttributeError),
    "maximum.reduce": (lambda x: standin.maximum.reduce(x), NotImplementedError),
    "atomic sums": (lambda x: standin.add.at(x, standin.asarray([0]), 1.0), AssertionError),
    "index by a NumPy array": (lambda x: x[np.array([0])], TypeError),
    "index by a list": (lambda x: x[[0]], TypeError),
    "store at a NumPy array": (lambda x: x.__setitem__(np.array([0]), 1.0), TypeError),
    "in-place matmul": (lambda x: x.reshape(1, 3).__imatmul__, AttributeError),
    "range(device scalar)": (lambda x: range(standin.sum(x.astype(int))), TypeError),
    "device scalar as an index": (lambda x: [1, 2, 3, 4][x.astype(int)[0]], TypeError),
    "a device's scalar as a size": (lambda x: np.zeros(x.astype(int)[0]), TypeError),
    "hash": (lambda x: hash(x), TypeError),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_is_caught(what: str) -> None:
    mistake, error = MISTAKES[what]
    with pytest.raises(error):
        mistake(standin.asarray(np.arange(3.0)))


def test_single_elements_and_sums_stay_on_the_device() -> None:
    x = standin.asarray(np.arange(6.0).reshape(2, 3))
    for found in (x.sum(), x[1, 2], x.max(), standin.sum(x), x[0, 0] + 1, -x[0, 1]):
        assert type(found) is standin.ndarray
        assert found.shape == ()
    row = x[1]
    row += 1
    assert float(x[1, 0]) == 4.0  # a view
    corner = x[0, 0]
    corner[...] = 7.0
    assert float(x[0, 0]) == 7.0


def test_an_index_out_of_range_wraps() -> None:
    x = standin.asarray(np.arange(6.0).reshape(2, 3))
    assert float(x[standin.asarray([5]), standin.asarray([0])][0]) == 3.0


def test_of_two_values_for_one_place_numpys_does_not_stay() -> None:
    x, host = standin.zeros(3), np.zeros(3)
    x[standin.asarray([0, 0, 2])] = standin.asarray([1.0, 2.0, 3.0])
    host[[0, 0, 2]] = [1.0, 2.0, 3.0]
    assert x.tolist() == [1.0, 0.0, 3.0]
    assert host.tolist() == [2.0, 0.0, 3.0]


def test_memory_that_nobody_wrote_is_poisoned() -> None:
    assert np.isnan(standin.empty(3).get()).all()
    assert np.isnan(standin.empty_like(standin.zeros((2, 2))).get()).all()
    assert (standin.empty(2, "int64").get() != 0).all()


def test_scalars_of_numpy_are_strong_and_of_python_weak() -> None:
    x = standin.zeros(3, "float32")
    assert (x * 2.0).dtype == "float32"
    assert (x * np.float64(2)).dtype == "float64"


def images() -> standin.ndarray:
    """Channels-last in memory, as a view."""
    memory = np.arange(2.0 * 4 * 5 * 3).reshape(2, 4, 5, 3)
    return standin.asarray(memory).transpose(0, 3, 1, 2)


COMPUTED: dict[str, Callable[[Any], Any]] = {
    "exp": lambda x: standin.exp(x),
    "x + x": lambda x: x + x,
    "-x": lambda x: -x,
    "x > 0": lambda x: x > 0,
    "where": lambda x: standin.where(x > 0, x, 0.0),
    "clip": lambda x: standin.clip(x, 0.0, 1.0),
    "sum": lambda x: x.sum(axis=0),
    "function sum": lambda x: standin.sum(x, axis=0, keepdims=True),
    "cumsum": lambda x: x.cumsum(axis=2),
    "take": lambda x: x.take(standin.asarray([0, 1]), axis=0),
    "repeat": lambda x: standin.repeat(x, 2, axis=0),
    "concatenate": lambda x: standin.concatenate([x, x]),
    "pad": lambda x: standin.pad(x, 1),
    "einsum": lambda x: standin.einsum("nchw,nchw->nchw", x, x),
    "matmul": lambda x: x @ x.mT,
    "index by arrays": lambda x: x[standin.asarray([1, 0])],
    "index by a mask": lambda x: x[x[:, 0, 0, 0] > -1],
    "copy": lambda x: x.copy(),
}


@pytest.mark.parametrize("what", COMPUTED)
def test_what_is_computed_lies_in_c_order(what: str) -> None:
    x = images()
    assert not x.flags.c_contiguous
    assert COMPUTED[what](x).flags.c_contiguous


def test_views_and_what_asks_for_a_layout_keep_theirs() -> None:
    x = images()
    assert x[1:].strides == x.strides
    assert standin.broadcast_to(x, (2, *x.shape)).strides[1:] == x.strides
    assert x.astype("float32").strides == tuple(s // 2 for s in x.strides)
    assert standin.zeros_like(x).strides == x.strides
    out = standin.asarray(x.inside.copy("K"))
    assert standin.exp(x, out=out) is out
    assert out.strides == x.strides
