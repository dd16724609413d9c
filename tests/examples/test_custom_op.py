"""The lessons about an operation of one's own go as told, and as docs/testing.md shows them."""

import inspect
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATHS = os.pathsep.join([str(ROOT), str(ROOT / "kernels")])


@pytest.fixture
def lesson(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "examples")
    import custom_op

    yield custom_op
    del sys.modules["custom_op"]


def test_lessons(lesson, capsys):
    lesson.main([])
    output = capsys.readouterr().out
    assert "swish: 8 checks passed" in output
    assert "layer_loss: derivatives agree" in output
    assert re.search(r"forgetful_swish: the derivative of order 1 for 'x' is wrong at \[", output)
    assert "factor 32 = the length of axis 0 of x, the batch size" in output
    assert "broadcasting is not undone" in output
    assert output.endswith("\n2 right ones passed, 3 wrong ones were found\n")
    assert max(map(len, output.splitlines())) <= 120


def words(text):
    """A text on one line, without its numbers: their last digits are not the same everywhere."""
    return re.sub(r"-?\d+(\.\d+)?(e[-+]?\d+)?", "#", " ".join(text.split()))


def test_page_shows_what_the_example_prints(lesson, capsys):
    lesson.main([])
    output = words(capsys.readouterr().out)
    page = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```text\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        pattern = re.escape(words(block)).replace(re.escape("..."), ".*?")
        assert re.search(pattern, output), block


def test_page_has_the_functions_of_the_example(lesson):
    page = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    said = re.sub(r"^(>>>|\.\.\.) ?", "", page, flags=re.MULTILINE)
    for fn in (lesson.swish_x, lesson.swish_slope, lesson.layer_loss, lesson.layer_gradient):
        source = inspect.getsource(fn)
        body = source.split('"""')[2].strip()  # behind the docstring
        assert body in said, fn.__name__


def test_lesson_that_goes_otherwise_is_an_error(lesson, monkeypatch):
    monkeypatch.setattr(lesson, "without_mean", lesson.layer_gradient)
    with pytest.raises(SystemExit, match="this one is wrong, and should not have passed"):
        lesson.main([])
    monkeypatch.setattr(lesson, "layer_gradient", lesson.without_sum)
    with pytest.raises(SystemExit, match="this one is right, and should have passed"):
        lesson.main([])


def test_it_is_one_quick_command(tmp_path):
    began = time.process_time() + sum(os.times()[2:4])
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "custom_op.py")], cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": PATHS}, capture_output=True, text=True,
    )  # fmt: skip
    took = time.process_time() + sum(os.times()[2:4]) - began
    assert done.returncode == 0, done.stderr
    assert "2 right ones passed, 3 wrong ones were found" in done.stdout
    assert "from custom_op import forgetful_swish" in done.stdout
    assert not done.stderr
    assert took < 10
    assert not list(tmp_path.iterdir())
