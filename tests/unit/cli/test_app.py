"""The table of commands, and every error as one message and an exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
import pytest

from pypelinin.cli import exits
from pypelinin.cli.app import MODULES, run, told
from pypelinin.errors import Failed, Impossible, NotFound, Refused, UnknownWorker, Unreachable


def test_every_command_of_the_table_exists_and_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for name in MODULES:
        assert run([name, "--help"]) == 0, name
        assert f"pypelinin {name}" in capsys.readouterr().out


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["-h"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in MODULES)
    assert "Exit codes: 0 fine" in text


def test_an_unknown_command_gets_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["statsu"]) == 2
    assert "There is no command 'statsu'. Did you mean 'status'?" in capsys.readouterr().err


def test_an_unknown_option_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "--frob"]) == 2
    assert "--frob" in capsys.readouterr().err


@contextmanager
def failing(error: BaseException) -> Iterator[None]:
    """`pypelinin list` raises *error*."""

    def fail(*_: object, **__: object) -> None:
        raise error

    from pypelinin.cli import queries

    before = queries.COMMANDS["list"]
    queries.COMMANDS["list"] = click.Command("list", callback=fail)
    try:
        yield
    finally:
        queries.COMMANDS["list"] = before


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Failed("it failed."), 1),
        (click.UsageError("wrong."), 2),
        (Unreachable("nobody."), 3),
        (Refused("no."), 4),
        (PermissionError(13, "Permission denied", "/x"), 4),
        (TimeoutError("too late."), 5),
        (Impossible("never."), 6),
        (UnknownWorker("who?"), 6),
        (NotFound("where?"), 7),
        (ZeroDivisionError("oh."), 70),
        (KeyboardInterrupt(), 130),
    ],
)
def test_an_error_is_a_message_and_a_code(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with failing(error):
        assert run(["list"]) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert "Traceback" not in said.err
    assert str(error) in said.err


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    told(ZeroDivisionError("oh"), "pypelinin list", debug=True)
    said = capsys.readouterr().err
    assert "ZeroDivisionError: oh\n" in said
    assert said.splitlines()[-1] == "pypelinin list: a bug in pypelinin: ZeroDivisionError: oh."


def test_sys_exit_keeps_its_code() -> None:
    assert told(SystemExit(143), "pypelinin demo", debug=False) == 143
    assert told(SystemExit("text"), "pypelinin demo", debug=False) == exits.BUG


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    code = "import sys; from pypelinin.cli import main; sys.exit(main(['--help']))"
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as stdout:
        done = subprocess.run([sys.executable, "-c", code], stdout=stdout, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (128 + 13, b"")
