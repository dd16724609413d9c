"""The register tile and its packing against NumPy's product: every size, every stride, no spill."""

import os
import subprocess
import sys
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl_kernels.cpu import gemm

DTYPES = ("f4", "f8")


@numba.njit
def gemm_rows(*args: Any) -> None:
    """What compiled code alone can call, for Python."""
    gemm.gemm_rows(*args)


@numba.njit
def pack(*args: Any) -> None:
    gemm.pack(*args)


@numba.njit
def pack_transposed(*args: Any) -> None:
    gemm.pack_transposed(*args)


def packed(b: Any, *, transposed: bool) -> Any:
    """The panels of b (K, N), between guards that nothing may write."""
    k, n = b.shape
    panels = np.full(4 + -(-n // 16) * 16 * k + 4, 99, b.dtype)
    if transposed:
        pack_transposed(np.ascontiguousarray(b.T).reshape(-1), 0, k, k, n, panels, 4)
    else:
        pack(b.reshape(-1), 0, n, k, n, panels, 4)
    assert (panels[:4] == 99).all()
    assert (panels[-4:] == 99).all()
    return panels[4:-4].reshape(-1, k, 16)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("transposed", [False, True])
@given(k=st.integers(1, 20), n=st.integers(1, 40))
def test_packing(dtype: str, transposed: bool, k: int, n: int) -> None:
    b = np.arange(1, k * n + 1).reshape(k, n).astype(dtype)
    panels = packed(b, transposed=transposed)
    whole = np.concatenate(list(panels), axis=1)
    np.testing.assert_array_equal(whole[:, :n], b)
    assert not whole[:, n:].any()


@pytest.mark.parametrize("dtype", DTYPES)
@given(
    m=st.integers(0, 20),
    k=st.integers(0, 20),
    width=st.integers(1, 16),
    steps=st.integers(0, 3),
    gap=st.integers(0, 3),
    turned=st.booleans(),
    add=st.booleans(),
)
def test_products(
    dtype: str, m: int, k: int, width: int, steps: int, gap: int, turned: bool, add: bool
) -> None:
    """Sums of products (m, k) @ (k, width), A and C with gaps between rows, A also transposed."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(steps, k, m + gap) if turned else (steps, m, k + gap)).astype(dtype)
    b = rng.normal(size=(steps, k, 16)).astype(dtype)
    c = rng.normal(size=(m, width + gap)).astype(dtype)
    am, ak = (1, m + gap) if turned else (k + gap, 1)
    at = a[0].size if steps else 0
    left = np.swapaxes(a[:, :, :m], 1, 2) if turned else a[:, :, :k]
    expected = c.copy()
    expected[:, :width] = (left @ b[:, :, :width]).sum(axis=0) + add * c[:, :width]
    gemm_rows(
        m, a.reshape(-1), 0, am, ak, at, b.reshape(-1), 0, 16, 16 * k, steps, k,
        c.reshape(-1), 0, width + gap, width, add,
    )  # fmt: skip
    np.testing.assert_allclose(c, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(c[:, width:], expected[:, width:])


def test_a_row_has_the_same_bits_in_any_tile() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(1, 30)).astype("f4"), rng.normal(size=(30, 16)).astype("f4")
    rows = np.repeat(a, 21, axis=0)
    seen = set()
    for m in range(1, 22):
        c = np.empty((m, 16), "f4")
        gemm_rows(
            m, rows.reshape(-1), 0, 30, 1, 0, b.reshape(-1), 0, 16, 0, 1, 30,
            c.reshape(-1), 0, 16, 16, False,
        )  # fmt: skip
        seen |= {row.tobytes() for row in c}
    assert len(seen) == 1


@pytest.mark.skipif(not gemm.WIDE, reason="this machine has vectors of eight lanes only")
def test_vectors_of_eight_lanes_give_the_same_bits_as_those_of_sixteen() -> None:
    """What another machine computes: the same sums in the same order."""
    program = """
import hashlib, sys
import numba
import numpy as np
from minidl_kernels.cpu import gemm
gemm_rows = numba.njit(lambda *args: gemm.gemm_rows(*args))
rng, found = np.random.default_rng(0), hashlib.sha256()
a, b = rng.normal(size=20 * 37).astype("f4"), rng.normal(size=37 * 16).astype("f4")
for m in range(1, 20):
    for width in range(1, 17):
        c = np.ones((m, 17), "f4")
        gemm_rows(m, a, 0, 37, 1, 0, b, 0, 16, 0, 1, 37, c.reshape(-1), 0, 17, width, m % 2 == 0)
        found.update(c.tobytes())
print(gemm.WIDE, found.hexdigest())
"""
    _, cpu, features = numba.core.registry.cpu_target.target_context.codegen().magic_tuple()
    narrow = features.replace("+avx512", "-avx512")
    seen = []
    for chosen in (features, narrow):
        plain = {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": chosen}
        path = {"PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True,
            env=os.environ | path | plain, check=True,
        )  # fmt: skip
        seen.append(done.stdout.split())
    assert [wide for wide, _ in seen] == ["True", "False"]
    assert seen[0][1] == seen[1][1]
