"""What follows a run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pypelinin.incremental import afterwards


@pytest.fixture
def hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    path = tmp_path / ".pipegraph_finished.py"
    path.write_text("#!/bin/sh\ntouch told\n")
    path.chmod(0o755)
    return path


def test_the_users_program_is_run(hook: Path) -> None:
    afterwards.run_hook()
    assert Path("told").exists()


def test_a_file_that_is_not_executable_is_no_program(hook: Path) -> None:
    hook.chmod(0o644)
    afterwards.run_hook()
    hook.unlink()
    afterwards.run_hook()
    assert not Path("told").exists()


@pytest.mark.parametrize("text", ["#!/bin/sh\nexit 3\n", "#!/no/such/program\n"])
def test_a_program_that_fails_fails_no_run(
    hook: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    hook.write_text(text)
    afterwards.run_hook()
    assert "did not do its work" in capsys.readouterr().err


def test_the_script_is_run_again_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[list[str]] = []
    monkeypatch.setattr(sys, "argv", ["run.py", "x"])
    monkeypatch.setattr(sys, "orig_argv", ["python3", "-W", "error", "run.py", "x"])
    monkeypatch.setattr(os, "execv", lambda _program, arguments: done.append(arguments))
    afterwards.begin_again()
    assert done == [[sys.executable, "-W", "error", "run.py", "x"]]


@pytest.mark.parametrize("argv", [[], [""], ["-c"]])
def test_without_a_script_there_is_nothing_to_run_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], argv: list[str]
) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    afterwards.begin_again()
    assert "no script" in capsys.readouterr().err
