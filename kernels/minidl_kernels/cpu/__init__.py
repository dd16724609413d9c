"""Kernels for NumPy arrays, compiled by Numba."""
