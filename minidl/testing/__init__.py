"""Are these derivatives right?  Checks for operations of minidl, of yours, of NumPy functions."""

from minidl.testing.checks import check_jvp_vjp, check_linear, gradcheck, gradgradcheck
from minidl.testing.report import Check, GradientError, Report

__all__ = [
    "Check",
    "GradientError",
    "Report",
    "check_jvp_vjp",
    "check_linear",
    "gradcheck",
    "gradgradcheck",
]
