"""How kernels are compiled: the cache on disk, and what happens without one."""

import ctypes
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

KERNELS = Path(__file__).parents[2] / "kernels" / "minidl_kernels"
POOL = """
import numpy as np, minidl_kernels as kernels
x = np.arange(8.0).reshape(1, 1, 8)
out, _ = kernels.max_pool(x, (2,), (2,), (0,), (1,), False)
assert out.tolist() == [[[1, 3, 5, 7]]]
from minidl_kernels.cpu import launch, pooling
compiled = launch._compiled[pooling.pool_row_of_doubles]
print(compiled.cache_hits, *launch.cached_in())
"""


def run(code: str, folder: Path, **environment: str) -> list[str]:
    """Run a program on the copy of the kernels in `folder`; return the words that it prints."""
    given = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "PYTHONPATH"))}
    given |= {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(folder)}
    given |= {"XDG_CACHE_HOME": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=given | environment, capture_output=True, text=True, check=False, timeout=300,
        cwd=folder, preexec_fn=without_privilege if os.name == "posix" else None,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [*done.stdout.split(), *done.stderr.split()]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with the kernels as they are installed, and nothing compiled."""
    skip = shutil.ignore_patterns("__pycache__")
    shutil.copytree(KERNELS, tmp_path / "minidl_kernels", ignore=skip)
    return tmp_path


def test_compiled_once_and_then_read_from_the_cache(copy: Path) -> None:
    hits, where = run(POOL, copy)
    assert hits == "0"
    assert Path(where).parent.name == "cpu"
    assert run(POOL, copy)[0] == "1"
    elsewhere = str(copy / "elsewhere")
    hits, where = run(POOL, copy, NUMBA_CACHE_DIR=elsewhere)
    assert hits == "0"
    assert where.startswith(elsewhere)


def without_privilege() -> None:
    """In a child that is root: give up the right to write where permissions forbid it."""
    if sys.platform == "linux" and os.geteuid() == 0:
        ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE: from exec on


@pytest.fixture
def installed(copy: Path) -> Path:
    """The copy, read-only. Skips where that cannot be had."""
    for path in (copy, *copy.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    if run(f"import os; print(os.access({str(copy)!r}, os.W_OK))", copy) != ["False"]:
        pytest.skip("nothing is read-only here")
    return copy


@pytest.mark.skipif(os.name == "nt", reason="permissions are other things there")
def test_a_read_only_install_uses_the_users_cache(
    installed: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cache = tmp_path_factory.mktemp("cache")
    for expected in ("0", "1"):
        hits, where = run(POOL, installed, XDG_CACHE_HOME=str(cache))
        assert hits == expected
        assert where.startswith(str(cache))


@pytest.mark.skipif(os.name == "nt", reason="permissions are other things there")
def test_without_any_cache_it_is_compiled_each_time(installed: Path) -> None:
    for _ in range(2):
        assert run(POOL, installed) == ["0", "None"]


def test_a_cache_that_cannot_be_written_at_last(copy: Path) -> None:
    """A full disk shows only when the compiled code is written."""
    code = """
    from numba.core import caching
    def full(*_):
        raise OSError(28, "No space left on device")
    caching.IndexDataCacheFile.save = full
    """
    assert run(textwrap.dedent(code) + POOL, copy)[1] == "None"


def test_a_changed_helper_is_compiled_anew(copy: Path) -> None:
    cpu = copy / "minidl_kernels" / "cpu"
    helping = (
        "from minidl_kernels.cpu.compiling import helper\n"
        "@helper\ndef twice(x):\n    return 2 * x\n"
    )
    (cpu / "helping.py").write_text(helping, encoding="utf-8")
    (cpu / "using.py").write_text(
        "from minidl_kernels.cpu.compiling import compiled\n"
        "from minidl_kernels.cpu.helping import twice\n"
        "@compiled\ndef run(x):\n    return twice(x)\n",
        encoding="utf-8",
    )
    code = "from minidl_kernels.cpu.using import run; print(run(3))"
    assert run(code, copy) == ["6"]
    (cpu / "helping.py").write_text(helping.replace("2 * x", "5 * x"), encoding="utf-8")
    assert run(code, copy) == ["15"]


def test_a_helper_is_not_for_python() -> None:
    """It has no form that Python could call: without the error, a call would end the process."""
    from minidl_kernels.cpu.sequences import padded_to_tile

    with pytest.raises(TypeError, match=r"^padded_to_tile: a part of kernels, which compiled"):
        padded_to_tile(3)


def test_what_is_said_of_it(copy: Path) -> None:
    code = """
    import io, logging, sys
    class Terminal(io.StringIO):
        isatty = lambda self: True
    seen = Terminal()
    {}
    import numpy as np, minidl_kernels as kernels
    x, sys.stderr = np.arange(8.0).reshape(1, 1, 8), seen
    for _ in range(2):
        kernels.max_pool(x, (2,), (2,), (0,), (1,), False)
        kernels.max_pool(x.astype("f4"), (2,), (2,), (0,), (1,), False)
    sys.stderr = sys.__stderr__
    print(seen.getvalue().count("\\n"), seen.getvalue())
    """
    words = run(code.format(""), copy)
    assert words[:4] == ["1", "minidl:", "compiling", "kernels"]
    assert run(code.format(""), copy) == ["0"]  # from the cache: nothing to say
    assert run(code.format("seen = io.StringIO()"), copy, NUMBA_CACHE_DIR=str(copy / "c")) == ["0"]


@pytest.mark.slow
def test_warmup_compiles_every_kernel() -> None:
    """What it leaves out would be compiled in a user's run."""
    code = """
    import inspect
    from minidl_kernels.cpu import warmup
    assert warmup.main() == 0
    from minidl_kernels.cpu import launch, team
    for loop in (team.alone, team._lead, team._serve):
        assert loop.run.signatures
    for name, module in warmup.families():
        for kernel in vars(module).values():
            if inspect.isfunction(kernel) and [*inspect.signature(kernel).parameters] == [
                "task", "room", "args"
            ]:
                assert kernel in launch._compiled, (name, kernel)
    """
    assert "pooling:" in run(code, KERNELS.parent)  # in place: the other tests need them as well


def test_warmup_without_a_cache_says_so(installed: Path) -> None:
    code = """
    from minidl_kernels.cpu import pooling, warmup
    warmup.families = lambda: [("pooling", pooling)]
    print("status", warmup.main())
    """
    words = run(code, installed)
    assert words[words.index("status") + 1] == "1"
    assert "NUMBA_CACHE_DIR" in words
