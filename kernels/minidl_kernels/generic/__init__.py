"""Kernels in plain array code, the same for NumPy and CuPy arrays."""
