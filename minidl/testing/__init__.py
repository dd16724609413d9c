"""Are these derivatives right?  Checks for operations of minidl, of yours, of NumPy functions."""

from minidl.testing.checks import check_jvp_vjp, check_linear, gradcheck, gradgradcheck
from minidl.testing.report import Check, GradientError, Report
from minidl.testing.suite import OpError, OpReport, assert_op_correct, check_op

__all__ = [
    "Check",
    "GradientError",
    "OpError",
    "OpReport",
    "Report",
    "assert_op_correct",
    "check_jvp_vjp",
    "check_linear",
    "check_op",
    "gradcheck",
    "gradgradcheck",
]
