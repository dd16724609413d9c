"""Every python block of README and docs runs: page by page, top to bottom, in one namespace."""

import doctest
import re
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "kernels").glob("*.md")),
]
BLOCK = re.compile(r"^( *)```python\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
LOOKS_LIKE_PYTHON = re.compile(r"^ *(?:```|~~~)+ *py.*$", re.MULTILINE | re.IGNORECASE)


def run_session(code: str, names: dict, page: Path, line: int) -> None:
    """Run one block of `>>>` lines and compare what it prints with what the page shows."""
    report: list[str] = []
    session = doctest.DocTestParser().get_doctest(code, names, page.name, str(page), line)
    failed = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(
        session, out=report.append, clear_globs=False
    )
    assert not failed.failed, "".join(report)
    names.update(session.globs)


def run_page(text: str, page: Path) -> int:
    """Run the python blocks of a page, say how many there were."""
    names = {"__name__": page.stem}
    blocks = list(BLOCK.finditer(text))
    fences = LOOKS_LIKE_PYTHON.findall(text)
    assert len(fences) == len(blocks), f"{page.name}: write ```python, nothing else: {fences}"
    for block in blocks:
        code, line = textwrap.dedent(block[2]), text.count("\n", 0, block.start(2))
        if code.startswith(">>>"):
            run_session(code, names, page, line)
        else:
            exec(compile("\n" * line + code, str(page), "exec"), names)
    return len(blocks)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # what a page writes does not stay
    run_page(page.read_text(encoding="utf-8"), page)


def test_runner_runs_python_and_nothing_else() -> None:
    text = "```sh\nfalse\n```\n```python\na = 1\n```\n* b\n\n  ```python\n  >>> a\n  1\n  ```\n"
    assert run_page(text, Path("page.md")) == 2


@pytest.mark.parametrize(
    "text",
    ["```python\nassert 0\n```\n", "```python\n>>> 1\n2\n```\n", "```py\n1\n```\n"],
    ids=["raises", "prints something else", "unknown fence"],
)
def test_runner_can_fail(text: str) -> None:
    with pytest.raises(AssertionError):
        run_page(text, Path("page.md"))
