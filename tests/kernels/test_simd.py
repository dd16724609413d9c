"""Vectors in compiled code: every lane, no byte beyond, NaN and infinity, machines without AVX."""

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from minidl_kernels.cpu import simd

DTYPES = ("f4", "f8")


@njit
def copy_first(x: Any, y: Any, i: int, n: int) -> None:
    simd.store_first(y, i, simd.load_first(x, i, n), n)


@njit
def load_all(x: Any, y: Any, n: int) -> None:
    simd.store(y, 0, simd.load_first(x, 0, n))


@njit
def arithmetic(x: Any, y: Any, out: Any) -> None:
    a, b = simd.load(x, 0), simd.load(y, 0)
    results = (
        a + b,
        a - b,
        a * b,
        a / b,
        -a,
        simd.fma(a, b, b),
        simd.maximum(a, b),
        simd.minimum(a, b),
        simd.where_greater(a, b, a, -b),
        simd.sqrt(simd.absolute(a)),
    )
    for k in range(len(results)):
        simd.store(out, k * simd.LANES, results[k])


@njit
def functions(x: Any, out: Any) -> None:
    for i in range(0, x.size, simd.LANES):
        v = simd.load(x, i)
        simd.store(out[0], i, simd.exp(v))
        simd.store(out[1], i, simd.sigmoid(v))
        simd.store(out[2], i, simd.tanh(v))


@njit
def powers_below(x: Any, out: Any) -> None:
    for i in range(0, x.size, simd.LANES):
        simd.store(out, i, simd.exp_below(simd.load(x, i)))


@njit
def chosen(x: Any, y: Any, a: Any, b: Any, out: Any) -> None:
    v = simd.where_equal(simd.load(x, 0), simd.load(y, 0), simd.load(a, 0), simd.load(b, 0))
    simd.store(out, 0, v)


@njit
def total(x: Any) -> Any:
    return simd.total(simd.load(x, 0))


@njit
def transpose(x: Any, i: int, row: int, y: Any, j: int, column: int) -> None:
    simd.transpose(x, i, row, y, j, column)


@pytest.mark.parametrize("dtype", [*DTYPES, "i4"])
@pytest.mark.parametrize("n", range(9))
def test_the_first_lanes_and_nothing_beyond(dtype: str, n: int) -> None:
    x, y = np.arange(3, 3 + 12).astype(dtype), np.full(12, -1, dtype)
    copy_first(x, y, 2, n)
    assert y.tolist() == [-1, -1, *x[2 : 2 + n], *[-1] * (10 - n)]
    load_all(x, y, n)
    assert y[:8].tolist() == [*x[:n], *[0] * (8 - n)]


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for memory that may not be touched")
def test_a_masked_lane_does_not_touch_its_memory() -> None:
    """The page behind the array may not be read or written: a touch would end the process."""
    program = """
import ctypes, mmap
import numpy as np
from minidl_kernels.cpu import simd
from numba import njit

@njit
def double(x, i, n):
    v = simd.load_first(x, i, n)
    simd.store_first(x, i, v + v, n)

page = mmap.PAGESIZE
memory = mmap.mmap(-1, 2 * page)
x = np.frombuffer(memory, np.float32)
first = x.ctypes.data
assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(first + page), page, 0) == 0
x = x[: page // 4]
x[-3:] = 1, 2, 3
double(x, x.size - 3, 3)
assert x[-3:].tolist() == [2, 4, 6]
print("done")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=env()
    )
    assert done.stdout == "done\n", done.stderr


def env(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **more}


@pytest.mark.parametrize("dtype", DTYPES)
def test_arithmetic(dtype: str) -> None:
    x = np.array([1.5, -2, 0, 3, np.nan, 1, np.inf, -np.inf], dtype)
    y = np.array([2, 4, -1, 3, 1, np.nan, 2, 5], dtype)
    out = np.empty((10, 8), dtype)
    arithmetic(x, y, out.reshape(-1))
    with np.errstate(invalid="ignore"):
        expected = [
            x + y,
            x - y,
            x * y,
            x / y,
            -x,
            x * y + y,
            np.maximum(x, y),
            np.minimum(x, y),
            np.where(x > y, x, -y),
            np.sqrt(np.abs(x)),
        ]
    np.testing.assert_array_equal(out, expected)
    assert total(y[[0, 1, 2, 3, 4, 0, 6, 7]]) == 18


@pytest.mark.parametrize("dtype", DTYPES)
@given(row=st.integers(8, 11), column=st.integers(8, 11))
def test_transpose(dtype: str, row: int, column: int) -> None:
    x, y = np.arange(100).astype(dtype), np.full(100, -1, dtype)
    expected = y.copy()
    transpose(x, 3, row, y, 5, column)
    for a in range(8):
        for b in range(8):
            expected[5 + column * b + a] = x[3 + row * a + b]
    np.testing.assert_array_equal(y, expected)


def test_functions_of_float32() -> None:
    edges = [np.nan, np.inf, -np.inf, 0, 88.7, 88.8, -103, 1e30, -1e30, 0.625, -0.625, -0.0]
    x = np.concatenate([np.linspace(-104, 95, 4000), np.linspace(-2, 2, 3996), edges])
    x = x[: x.size // 8 * 8].astype("f4")
    out = np.empty((3, x.size), "f4")
    functions(x, out)
    wide = x.astype("f8")
    with np.errstate(over="ignore"):
        expected = np.stack([np.exp(wide), 1 / (1 + np.exp(-wide)), np.tanh(wide)])
        rounded = expected.astype("f4")
    np.testing.assert_array_equal(np.isnan(out), np.isnan(rounded))
    np.testing.assert_array_equal(np.isinf(out), np.isinf(rounded))
    finite = np.isfinite(rounded)
    # 2, 3 and 3 units in the last place; sigmoid is 0 where it is below the smallest normal number.
    for ours, exact, ok, units in zip(out, expected, finite, (2, 3, 3), strict=True):
        error = np.abs(ours[ok] - exact[ok])
        unit = np.maximum(np.spacing(np.abs(exact[ok]).astype("f4")), np.finfo("f4").tiny)
        assert (error / unit).max() < units


def test_exp_below() -> None:
    edges = [np.nan, -np.inf, 0, -0.0, -87, np.nextafter(np.float32(-87), np.float32(-88)), -1e30]
    x = np.concatenate([np.linspace(-104, 88, 4000), np.linspace(-2, 0, 4001), edges])
    x = x[: x.size // 8 * 8].astype("f4")
    out = np.empty_like(x)
    powers_below(x, out)
    exact = np.where(x < -87, 0, np.exp(x.astype("f8")))
    np.testing.assert_array_equal(np.isnan(out), np.isnan(exact))
    error = np.abs(out - exact) / np.spacing(exact.astype("f4"))
    assert np.nanmax(error) < 2


def test_whole_numbers_are_compared() -> None:
    x, y = np.arange(8, dtype="i4"), np.array([0, 5, 2, -3, 4, 4, 4, 7], "i4")
    for dtype in (*DTYPES, "i4"):
        a, b, out = np.arange(8).astype(dtype), np.full(8, -1, dtype), np.empty(8, dtype)
        chosen(x, y, a, b, out)
        assert out.tolist() == [0, -1, 2, -1, 4, -1, -1, 7]


def test_functions_of_float64_are_refused() -> None:
    with pytest.raises(Exception, match=r"simd\.exp: got Vector\(float64, 8\)"):
        functions(np.zeros(8), np.zeros((3, 8)))


def test_a_machine_without_avx() -> None:
    """LLVM makes two or four instructions of one; the numbers are the same."""
    program = """
import numba
import numpy as np
from minidl_kernels.cpu import gemm
gemm_rows = numba.njit(lambda *args: gemm.gemm_rows(*args))
pack = numba.njit(lambda *args: gemm.pack(*args))
rng = np.random.default_rng(0)
a, b = rng.normal(size=(7, 9)).astype("f4"), rng.normal(size=(9, 13)).astype("f4")
panels, c = np.empty(9 * 16, "f4"), np.zeros(7 * 13 + 1, "f4")
pack(b.reshape(-1), 0, 13, 9, 13, panels, 0)
gemm_rows(7, a.reshape(-1), 0, 9, 1, 0, panels, 0, 16, 0, 1, 9, c, 0, 13, 13, False)
np.testing.assert_allclose(c[:-1].reshape(7, 13), a @ b, rtol=1e-5, atol=1e-5)
assert c[-1] == 0
print("done")
"""
    plain = env(NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="")
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=plain
    )
    assert done.stdout == "done\n", done.stderr
