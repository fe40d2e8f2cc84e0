"""One run at a time has a data path."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pypelinin.tasks.exceptions import DataPathBusy, PipelineError
from pypelinin.tasks.holding import LOCK, REMOTE, RUNS, Hold, made_directory
from pypelinin.tasks.inside.work import check

HOLDER = """
import sys
from pypelinin.tasks.holding import Hold
with Hold(sys.argv[1], lambda api, run: None) as hold:
    hold.runs_at("tcp://host:1", "run-1")
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(tmp_path: Path) -> Hold:
    return Hold(str(tmp_path), lambda api, run: None)


def test_a_second_one_is_told_who_has_it(tmp_path: Path) -> None:
    with hold(tmp_path) as first:
        check(first.place(echo=False))
        with (
            pytest.raises(DataPathBusy, match=rf"process {os.getpid()} on .* since"),
            hold(tmp_path),
        ):
            pass
    assert os.listdir(tmp_path / RUNS) == []
    with hold(tmp_path) as again:
        assert again.directory != first.directory


def test_who_has_it_may_be_unknown(tmp_path: Path) -> None:
    with hold(tmp_path):
        (tmp_path / LOCK).write_text("")
        with pytest.raises(DataPathBusy, match=r"is in use\. Wait"), hold(tmp_path):
            pass


def test_the_lock_ends_with_its_process_and_what_it_left_is_ended(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(DataPathBusy, match=f"process {other.pid}"), hold(tmp_path):
            pass
        other.kill()
    (left,) = (tmp_path / RUNS).iterdir()
    assert json.loads((left / REMOTE).read_text()) == ["tcp://host:1", "run-1"]
    ended = []
    with Hold(str(tmp_path), lambda api, run: ended.append((api, run))) as mine:
        assert ended == [("tcp://host:1", "run-1")]
        assert [path.name for path in (tmp_path / RUNS).iterdir()] == [Path(mine.directory).name]


def test_a_process_forked_meanwhile_does_not_keep_the_lock(tmp_path: Path) -> None:
    """As those of a ProcessPoolExecutor, which outlive the run."""
    reading, writing = os.pipe()
    with hold(tmp_path):
        if (child := os.fork()) == 0:
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
        with pytest.raises(DataPathBusy), hold(tmp_path):
            pass
    try:
        with hold(tmp_path):
            pass
    finally:
        os.close(writing)
        os.close(reading)
        os.waitpid(child, 0)


def test_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="cannot be written"), hold(tmp_path / "gone"):
        pass
    (tmp_path / RUNS).write_text("no directory")
    with pytest.raises(PipelineError, match="cannot be written"), hold(tmp_path):
        pass
    (tmp_path / RUNS).unlink()
    with hold(tmp_path):
        pass


def test_directories_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert made_directory(str(tmp_path / "a" / "b"), "data path") == str(tmp_path / "a" / "b")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert made_directory(str(tmp_path / "link"), "data path") == str(tmp_path / "a")
    for wrong in ("file\0name", str(tmp_path / "x" / ("n" * 300))):
        with pytest.raises(PipelineError, match=r"data path .* cannot be made"):
            made_directory(wrong, "data path")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(PipelineError, match="cannot be written"):
        made_directory(str(tmp_path), "log path")
