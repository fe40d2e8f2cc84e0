"""What tasks print is told, line by line."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from pypelinin.tasks.inside.telling import LINE_MAX, Teller, printing


def told(directory: Path) -> list[list[Any]]:
    return [
        json.loads(line)
        for path in sorted(directory.glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]


def test_lines_of_both_streams(tmp_path: Path) -> None:
    before = sys.stdout, sys.stderr
    with printing(Teller(str(tmp_path), "X()"), echo=False):
        print("one\ntwo", end="")
        print("oh", file=sys.stderr)
        print(" more")
        print("rest", end="")
        sys.stdout.flush()
        assert sys.stdout.writable()
        assert not sys.stdout.isatty()
    assert (sys.stdout, sys.stderr) == before
    lines = [(level, task, text) for _, level, _, task, text, _ in told(tmp_path)]
    assert lines == [
        (20, "X()", "one"), (40, "X()", "oh"), (20, "X()", "two more"), (20, "X()", "rest"),
    ]  # fmt: skip


def test_with_an_echo_it_is_printed_as_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with printing(Teller(str(tmp_path), "X()"), echo=True):
        print("said")
    with printing(Teller(str(tmp_path), "X()"), echo=False):
        print("not said")
    assert capsys.readouterr().out == "said\n"


def test_other_threads_print_where_they_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = io.StringIO()
    monkeypatch.setattr(sys, "stdout", usual)

    def other() -> None:
        print("of the other")
        with printing(Teller(str(tmp_path), "Y()"), echo=False):
            print("y")

    with printing(Teller(str(tmp_path), "X()"), echo=False):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        print("x")
    print("after")
    assert usual.getvalue() == "of the other\nafter\n"
    assert sorted((line[3], line[4]) for line in told(tmp_path)) == [("X()", "x"), ("Y()", "y")]


def test_bytes_are_told_as_well(tmp_path: Path) -> None:
    with printing(Teller(str(tmp_path), "X()"), echo=False):
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # as scripts do
        print("é", end="")
        for part in ("ü\n".encode()[:1], "ü\n".encode()[1:], b"\xff\n"):
            assert sys.stdout.buffer.write(part) == len(part)
        sys.stdout.buffer.flush()
    assert [line[4] for line in told(tmp_path)] == ["éü", "\\xff"]


def test_a_log_handler_made_in_one_task_tells_of_the_next(tmp_path: Path) -> None:
    """A module's `logging.basicConfig()` runs in the first task of a slot only."""
    with printing(Teller(str(tmp_path), "X()"), echo=False):
        handler = logging.StreamHandler()
    with printing(Teller(str(tmp_path), "Y()"), echo=False):
        handler.handle(logging.makeLogRecord({"msg": "logged"}))
    assert [line[3:5] for line in told(tmp_path)] == [["Y()", "logged"]]


def test_who_closes_them_closes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = io.StringIO()
    monkeypatch.setattr(sys, "stdout", usual)
    with printing(Teller(str(tmp_path), "X()"), echo=True):
        sys.stdout.buffer.close()
        sys.stdout.close()
        print("told")
    assert usual.getvalue() == "told\n"
    assert [line[4] for line in told(tmp_path)] == ["told"]


def test_an_endless_line_is_told_in_parts(tmp_path: Path) -> None:
    with printing(Teller(str(tmp_path), "X()"), echo=False):
        sys.stdout.write("x" * (LINE_MAX * 2 + 10))
        sys.stdout.write("\n")
    assert [len(line[4]) for line in told(tmp_path)] == [LINE_MAX, LINE_MAX, 10]


def test_a_status_and_a_new_directory(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Teller(str(tmp_path / name), "X()").tell(name, status="RUNNING")
    assert [line[4:] for line in told(tmp_path / "b")] == [["b", "RUNNING"]]
    with pytest.raises(FileNotFoundError):
        Teller(str(tmp_path / "gone"), "X()")
