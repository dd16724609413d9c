"""A user's project with one line passes, and a broken op fails with the cause in the output."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATHS = os.pathsep.join([str(ROOT), str(ROOT / "kernels")])
CONFTEST = 'pytest_plugins = ["minidl.testing.plugin"]\n'
OPS = """
import numpy as np
from minidl.tape import op

@op(x=lambda g, x: {factor} * g * x, elementwise=True)
def square(x):
    return x * x

def softplus(x):
    return np.logaddexp(x, 0)
"""
GRADIENTS = """
import numpy as np
from ops import softplus, square

def test_square(check_gradients):
    report = check_gradients(square, np.ones((2, 3)))
    assert report.order == 2

def test_softplus(check_gradients):
    check_gradients(softplus, np.zeros(3), gradient=lambda g, x: g / (1 + np.exp(-x)))
"""
WHOLE = """
from ops import square

def test_square(check_operation):
    assert "broadcasting" in check_operation(square, reference=lambda x: x**2).skipped
"""


def project(folder, *tests, conftest=CONFTEST, factor=2.0):
    (folder / "conftest.py").write_text(conftest)
    (folder / "ops.py").write_text(OPS.format(factor=factor))
    for i, test in enumerate(tests):
        (folder / f"test_{i}.py").write_text(test)
    return folder


def run(folder, *options):
    """Run pytest there, as a user does: in a process of its own, with errors for warnings."""
    command = [sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", *options]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "HYPOTHESIS"))}
    environment = kept | {"PYTHONPATH": PATHS, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_right_ops_pass(tmp_path):
    code, output = run(project(tmp_path, GRADIENTS, WHOLE))
    assert code == 0, output
    assert "3 passed" in output
    assert "minidl: derivatives of 2 functions checked, the least exact of s" in output


def test_broken_op_fails_and_says_why(tmp_path):
    code, output = run(project(tmp_path, GRADIENTS, WHOLE, factor=1.0))
    assert code == 1, output
    assert "2 failed, 1 passed" in output
    assert "square: the derivative of order 1 for 'x' is wrong at" in output
    assert "ratio      0.5" in output
    assert "likely cause: " in output
    assert "square fails 1 of " in output
    assert "minidl/testing/checks.py" not in output  # only the user's own line is shown
    assert "minidl: derivatives of 1 function checked" in output


def test_other_errors_keep_their_traceback(tmp_path):
    wrong = "import numpy as np\n\ndef test(check_gradients):\n    check_gradients(np.add, 1)\n"
    code, output = run(project(tmp_path, wrong))
    assert code == 1
    assert "DtypeError" in output
    assert "minidl/testing/" in output


def test_plugin_is_quiet_where_it_is_not_used(tmp_path):
    code, output = run(project(tmp_path, "def test():\n    pass\n"), "--fixtures")
    assert code == 0, output
    assert "check_gradients" in output
    assert "check_operation" in output
    code, output = run(tmp_path)
    assert "minidl:" not in output


def test_import_is_light(tmp_path):
    program = (
        "import sys, minidl.testing.plugin\n"
        "heavy = {'hypothesis', 'numba', 'torch', 'rich'}\n"
        "print(sorted(heavy & {*sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": PATHS}, capture_output=True, text=True
    )
    assert done.stdout == "[]\n", done.stderr


def test_entry_point_has_the_name_of_the_module():
    """So that the line in a conftest does not load it a second time."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert (
        '[project.entry-points.pytest11]\n"minidl.testing.plugin" = "minidl.testing.plugin"' in text
    )


def test_installed_plugin_needs_no_line_and_is_loaded_once(tmp_path):
    """An entry point as an installation leaves it, in a folder on the path."""
    info = tmp_path / "site" / "minidl_here-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: minidl-here\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[pytest11]\nminidl.testing.plugin = minidl.testing.plugin\n"
    )
    place = project(tmp_path, GRADIENTS)
    for conftest in (CONFTEST, ""):
        (place / "conftest.py").write_text(conftest)
        command = [sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider"]
        environment = dict(os.environ) | {"PYTHONPATH": PATHS + os.pathsep + str(info.parent)}
        done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
