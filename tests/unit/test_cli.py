"""The entrance: what it imports, what it says of itself."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pypelinin.cli import main
from pypelinin.config import VERSION

HEAVY = ("zmq", "msgpack", "psutil", "pypelinin.client", "pypelinin.runtime.daemons")


def test_help_is_fast_because_it_imports_nothing_heavy() -> None:
    code = (
        "import sys; from pypelinin.cli import main; assert main(['--help']) == 0; "
        f"print('heavy:', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "heavy: []"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"pypelinin {VERSION}\n"


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "Usage: pypelinin" in said.err


def test_it_is_a_module_too() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pypelinin", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"pypelinin {VERSION}\n"
