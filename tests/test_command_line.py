"""`python -m minidl`: its commands, and what it says to a wrong one."""

import pytest

from minidl.__main__ import COMMANDS, main


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(f"python -m minidl {name}" in said for name in COMMANDS)


def test_a_command_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["warmupp"]) == 2
    assert "did you mean warmup?" in capsys.readouterr().err


def test_warmup_takes_no_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["warmup", "fast"]) == 2
    assert main(["warmup", "--help"]) == 0
    assert "usage: python -m minidl warmup" in capsys.readouterr().err
