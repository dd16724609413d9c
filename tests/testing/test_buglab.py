"""Every bug of the lab is found, and its cause is named; the right version passes; answers work."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

from minidl.tape import registry
from minidl.testing import GradientError, buglab
from minidl.testing.buglab import exercise as exercises
from minidl.testing.buglab import terminal
from minidl.testing.buglab.__main__ import main

ROOT = Path(__file__).parents[2]
LIBRARY = buglab.library()
every_exercise = pytest.mark.parametrize("name", LIBRARY)


def mended(exercise) -> str:
    """The right version as a reader would write it: under the name that the exercise asks for."""
    source = inspect.getsource(inspect.unwrap(exercise.right))
    return source.replace(exercise.right.__name__, exercise.target)


# ---- our checks are tested, too -----------------------------------------------------------------


def test_there_are_many() -> None:
    assert len(LIBRARY) >= 70
    assert {e.topic for e in LIBRARY.values()} == set(exercises.TOPICS)
    assert {e.level for e in LIBRARY.values()} == {1, 2, 3}


@every_exercise
@pytest.mark.parametrize("seed", [0, 1])
def test_planted_bug_is_caught_and_its_cause_is_named(name: str, seed: int) -> None:
    exercise = LIBRARY[name]
    with pytest.raises(GradientError) as caught:
        exercise.examine(exercise.wrong, seed)
    for words in exercise.told:
        assert words in caught.value.cause.lower()
    assert caught.value.op == name
    assert caught.value.argument is not None


@pytest.mark.parametrize("name", [n for n, e in LIBRARY.items() if e.forward is not None])
def test_reproduction_fails_in_the_same_way(name: str) -> None:
    exercise = LIBRARY[name]
    with pytest.raises(GradientError) as caught:
        exercise.examine(exercise.wrong)
    lines = caught.value.reproduction
    if caught.value.problem not in ("shape", "changes its inputs"):  # they tell all by themselves
        assert 3 <= len(lines.splitlines()) <= 5
        with pytest.raises(GradientError) as again:
            exec(compile(lines, "reproduction", "exec"), {})
        assert again.value.cause == caught.value.cause
        assert repr(again.value.analytic) == repr(caught.value.analytic)  # nan, too


@every_exercise
@pytest.mark.parametrize("seed", [0, 1])
def test_right_version_passes(name: str, seed: int) -> None:
    exercise = LIBRARY[name]
    report = exercise.examine(exercise.right, seed)
    assert report.checks
    assert report.worst < 1e-7


@every_exercise
def test_every_exercise_is_told_well(name: str) -> None:
    exercise = LIBRARY[name]
    assert exercise.title
    assert len(exercise.told) >= 1
    assert len({*exercise.hints, exercise.solution}) == 3
    for text in (*exercise.hints, exercise.solution):
        assert len(text) > 15
    shown = exercise.code().lower()
    assert "_wrong" not in shown
    assert "_right" not in shown
    assert "float32(0.79" in shown or name != "gelu"


def test_the_register_of_operations_stays_clean() -> None:
    assert not [n for n in registry if "buglab" in n or n.startswith(("softplus_", "squash"))]


def test_an_exercise_cannot_be_there_twice() -> None:
    bias = LIBRARY["bias"]
    with pytest.raises(ValueError, match="'bias' is there twice"):
        exercises.exercise(
            "bias", level=1, topic="broadcasting", wrong=bias.wrong, right=bias.right,
            inputs=bias.make_inputs, told=(), hints=("", ""), solution="",
        )  # fmt: skip


# ---- answers ------------------------------------------------------------------------------------


@every_exercise
def test_file_to_start_from_runs_and_has_the_bug(name: str, tmp_path: Path) -> None:
    exercise = LIBRARY[name]
    answer = buglab.read(exercise, buglab.start(exercise, tmp_path))
    with pytest.raises(GradientError) as caught:
        exercise.examine(answer)
    for words in exercise.told:
        assert words in caught.value.cause.lower()


@every_exercise
def test_mended_file_is_right(name: str, tmp_path: Path) -> None:
    exercise = LIBRARY[name]
    path = buglab.start(exercise, tmp_path)
    needed = "from minidl import ops\n" if "ops." in mended(exercise) else ""
    path.write_text(f"{needed}{path.read_text('utf-8')}\n\n{mended(exercise)}", "utf-8")
    before = set(registry), set(sys.modules)
    assert exercise.examine(buglab.read(exercise, path)).checks
    assert (set(registry), set(sys.modules)) == before


def test_an_answer_is_never_written_over(tmp_path: Path) -> None:
    path = buglab.start(LIBRARY["bias"], tmp_path / "new" / "folder")
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="left as it is"):
        buglab.start(LIBRARY["bias"], path.parent)
    assert path.read_text() == "mine"


def test_answer_to_another_question_is_refused(tmp_path: Path) -> None:
    """A derivative that is right for another function solves nothing."""
    path = tmp_path / "softplus.py"
    path.write_text("def softplus(x):\n    return x * x\n")
    softplus = LIBRARY["softplus"]
    with pytest.raises(
        buglab.AnswerError, match="softplus: it no longer computes the same function"
    ):
        softplus.examine(buglab.read(softplus, path))


# ---- the command line ---------------------------------------------------------------------------


@pytest.fixture
def run(capsys):
    """Run a command; return its exit status, what it printed, and what it complained of."""

    def command(*words: str) -> tuple[int, str, str]:
        status = main(words)
        return status, *capsys.readouterr()

    return command


@pytest.mark.parametrize("words", [(), ("list",)], ids=["nothing", "list"])
def test_list(run, words) -> None:
    status, text, _ = run(*words)
    assert status == 0
    assert all(name in text for name in LIBRARY)
    assert len(text.splitlines()) == len(LIBRARY) + 5


def test_list_of_a_level(run) -> None:
    _, text, _ = run("list", "--level", "3")
    assert "conv2d" in text
    assert "bias " not in text


def test_the_page_has_all_of_them(run) -> None:
    """If not: replace the table in docs/buglab.md by what this command prints."""
    page = (ROOT / "docs" / "buglab.md").read_text("utf-8")
    table = run("list", "--markdown")[1]
    assert len(table.splitlines()) == len(LIBRARY) + 2
    assert page.endswith(table)
    assert page.count(f"{len(LIBRARY)} wrong derivatives") == 1


def test_show_and_hide_the_cause(run) -> None:
    status, text, _ = run("show", "cumsum")
    assert status == 0
    assert "def cumsum_gradient(g, x):\n    return np.cumsum(g)" in text
    assert "analytic" in text
    assert "other direction" in text
    _, hidden, _ = run("show", "cumsum", "--hide-cause")
    assert "other direction" not in hidden
    assert "hidden; `python -m minidl.testing.buglab show cumsum` tells it" in hidden


def test_hints_and_solution(run) -> None:
    first, second = LIBRARY["tanh"].hints
    assert first.split()[0] in run("hint", "tanh")[1]
    assert "hint tanh 2" in run("hint", "tanh")[1]
    assert second.split(",")[0] in run("hint", "tanh", "2")[1]
    text = run("solution", "softmax")[1]
    assert "\n    dx_j = Σ_i g_i J[i, j] = s_j (g_j - Σ_i g_i s_i).\n" in text


def test_journey(run, tmp_path: Path) -> None:
    """Start, try, be told what is wrong, mend, be told that it is right."""
    file = tmp_path / "bias.py"
    status, text, _ = run("start", "bias", str(tmp_path))
    assert status == 0
    assert f"wrote {file}" in text

    status, text, _ = run("try", str(file))
    assert status == 1
    assert "bias: not yet" in text
    assert "broadcasting" in text
    assert "hint bias" in text
    assert "broadcasting is" not in run("try", str(file), "--hide-cause")[1]

    file.write_text(file.read_text("utf-8").replace("g, g", "g, g.sum(axis=0)"), "utf-8")
    for command in (("try", str(file)), ("check", "bias", str(file))):
        status, text, _ = run(*command)
        assert status == 0
        assert "bias: right" in text


def test_several_files(run, tmp_path: Path) -> None:
    files = [str(buglab.start(LIBRARY[n], tmp_path)) for n in ("bias", "square")]
    status, text, _ = run("try", *files)
    assert status == 1
    assert "bias: not yet" in text
    assert "square: not yet" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("show", "softmx"), "there is no exercise 'softmx'; did you mean 'softmax'?"),
        (("hint", "zzz"), "there is no exercise 'zzz'; `python -m minidl.testing.buglab` lists"),
        (("try", "bias.py"), "bias.py: no such file; `start bias` writes one"),
        (("check", "bias", "."), ".: no such file"),
        (("try", "cube.txt"), "cube.txt: not a Python file"),
        (("try", "exp.py"), "exp.py: it defines no 'exp_gradient'"),
        (("start", "cumsum"), "cumsum.py is there already"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, tuple) else "",
)
def test_mistakes_on_the_command_line(run, tmp_path: Path, monkeypatch, words, said) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("cube.txt", "exp.py", "cumsum.py"):
        (tmp_path / name).write_text("")
    status, text, error = run(*words)
    assert status == 2
    assert said in error
    assert text == ""


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def square_gradient(g, x) return", "SyntaxError"),
        ("import no_such_package_anywhere", "ModuleNotFoundError: No module named 'no_such"),
        ("def square_gradient(g, x):\n    return g * missing", "NameError: name 'missing'"),
        ("def square_gradient(g, x):\n    raise ValueError('mine')", "ValueError: mine"),
        ("def square_gradient(g, x):\n    raise KeyError(3)", "KeyError: 3"),
        ("def square_gradient(g, x):\n    return g[:1]", "has shape (1, 4), the argument (3, 4)"),
        ("def square_gradient(g, x):\n    return None", "wrong"),
        ("square_gradient = 3", "expected a function"),
    ],
    ids=["syntax", "import", "name", "value", "key", "shape", "nothing", "no function"],
)
def test_answers_that_do_not_run(run, tmp_path: Path, code: str, said: str) -> None:
    file = tmp_path / "square.py"
    file.write_text(code)
    status, text, error = run("try", str(file))
    assert status == 1, error
    assert "square: not yet" in text
    assert said in text


def test_colours_on_a_terminal_only(run, monkeypatch) -> None:
    assert "\x1b" not in run("show", "bias")[1]
    monkeypatch.setattr(terminal, "on_a_terminal", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    assert "\x1b[" in run("show", "bias")[1]
    assert "lstm_forget" in run("list")[1]


def test_as_a_program() -> None:
    """As a user runs it, on a terminal that knows no Greek."""
    path = f"{ROOT}{os.pathsep}{ROOT / 'kernels'}"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "minidl.testing.buglab", "solution", "cumsum"],
        env=os.environ | {"PYTHONPATH": path, "PYTHONIOENCODING": "ascii"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "np.cumsum(g[::-1])[::-1]" in done.stdout
    assert "?" in done.stdout
