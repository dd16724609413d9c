"""A pytest plugin: fixtures that check derivatives and whole operations in one line.

    def test_my_op(check_gradients):
        check_gradients(my_op, x, y)

Where minidl is installed pytest loads it by itself (entry point "minidl.testing.plugin"; leave it
out with `-p no:minidl.testing.plugin`). In a bare checkout say so in the top-level conftest.py:

    pytest_plugins = ["minidl.testing.plugin"]

Hypothesis and kernels are imported where a test first needs them. PYTEST_DONT_REWRITE: there are
no bare assertions here, and minidl may have been imported before.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from minidl.testing.report import Report
    from minidl.testing.suite import OpReport

CHECKED = "minidl_checked"  # the user property in which a test notes what it checked


@pytest.fixture
def check_gradients(request: pytest.FixtureRequest) -> Callable[..., "Report"]:
    """check_gradients(fn, *inputs, order=2, …): compare derivatives with differences.

    order : 2 by default, 1 with `gradient=`; further options as of `minidl.testing.gradcheck`.
    Returns the Report, raises GradientError.
    """

    def check(
        fn: Callable[..., Any], *inputs: Any, order: int | None = None, **options: Any
    ) -> Any:
        __tracebackhide__ = True
        from minidl.testing import gradcheck

        if order is None:
            order = 1 if options.get("gradient") is not None else 2
        return _noted(request, lambda: gradcheck(fn, inputs, order=order, **options))

    return check


@pytest.fixture
def check_operation(request: pytest.FixtureRequest) -> Callable[..., "OpReport"]:
    """check_operation(fn, inputs, …): the whole suite for an op.

    inputs, options : see `minidl.testing.assert_op_correct`. Returns the OpReport, raises OpError.
    """

    def check(fn: Callable[..., Any], inputs: Any = None, **options: Any) -> Any:
        __tracebackhide__ = True
        from minidl.testing import assert_op_correct

        return _noted(request, lambda: assert_op_correct(fn, inputs, **options))

    return check


def _noted(request: pytest.FixtureRequest, check: Callable[[], Any]) -> Any:
    """Make a check and keep its result with the test: pytest-xdist's workers hand that over."""
    __tracebackhide__ = True
    from minidl.testing import GradientError

    try:
        report = check()
    except GradientError as error:  # it says all by itself: the frames of the checks add nothing
        raise error.with_traceback(None) from None
    request.node.user_properties.append((CHECKED, [report.name, report.worst]))
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say in a line how many functions were checked, and how exact the worst derivative is."""
    found = list(_checked(terminalreporter.stats.get("passed", [])))
    if found:
        name, worst = max(found, key=lambda entry: entry[1])
        count = len({name for name, _ in found})
        functions = "function" if count == 1 else "functions"
        terminalreporter.write_line(
            f"minidl: derivatives of {count} {functions} checked, "
            f"the least exact of {name}: relative error {worst:.1e}"
        )


def _checked(reports: list[Any]) -> Iterator[tuple[str, float]]:
    for report in reports:
        for key, value in report.user_properties:
            if key == CHECKED and report.when == "call":
                yield tuple(value)
