"""The product of two matrices by the library of the arrays: BLAS for NumPy, cuBLAS for CuPy."""

from typing import Any

from minidl_kernels.generic.arrays import array_module, wide

__all__ = ["matmul"]


def matmul(a: Any, b: Any) -> Any:
    """See `minidl_kernels.reference.products.matmul`, the definition."""
    dtype = wide(a.dtype)
    c = array_module(a).matmul(a.astype(dtype, copy=False), b.astype(dtype, copy=False))
    return c.astype(a.dtype, copy=False)
