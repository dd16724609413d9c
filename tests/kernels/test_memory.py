"""Where arrays lie, and records: what every compiled kernel is told."""

from typing import Any

import numpy as np
import pytest

from minidl_kernels.cpu import memory
from minidl_kernels.cpu.launch import floats, launch, record

RECORD = np.dtype([("x", np.intp), ("n", np.intp)])
arguments = record(RECORD)


def count_up(task: int, room: int, args: int) -> None:
    p = arguments(args)
    floats(p.x)[task] += p.n + task


@pytest.mark.parametrize(
    "x",
    [np.zeros(3), np.zeros((4, 5), "f4")[::-2, 1:], np.array(2.0), np.empty((0, 3))],
    ids=["all", "a part", "one", "none"],
)
def test_the_address_is_that_of_the_first_number(x: Any) -> None:
    for a in (x, np.broadcast_to(x, (2, *x.shape))):
        expected = a.__array_interface__["data"][0]
        assert memory.address(a) == memory._described(a) == expected


@pytest.mark.parametrize("serial", [True, False])
def test_a_record_is_an_array_or_its_fields(serial: bool) -> None:
    x = np.zeros(4, np.float32)
    fields = (memory.address(x), 10)
    launch(count_up, 4, fields, 0, serial)
    launch(count_up, 4, np.array([fields], RECORD), 0, serial)
    assert x.tolist() == [20, 22, 24, 26]


@pytest.mark.parametrize("shape", [3, (0, 4), (5, 7), (40, 30), (3, 5, 1000), 100_000])
def test_large_memory_begins_with_a_line_of_the_cache(shape: Any) -> None:
    for dtype in ("f4", "f8", np.uint8):
        x = memory.empty(shape, dtype)
        assert x.shape == np.empty(shape).shape
        assert x.dtype == np.dtype(dtype)
        assert x.flags.c_contiguous
        assert x.flags.writeable
        assert x.nbytes < memory.LARGE or memory.address(x) % memory.LINE == 0
        x[...] = 1
