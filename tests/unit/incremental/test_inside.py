"""Where jobs run: what is kept of them there."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pypelinin.incremental import inside
from pypelinin.incremental.exceptions import JobDied, JobError

POLL = select.poll


class Fake:
    """A job that calls a function."""

    always_capture_output = True
    job_number = 1

    def __init__(self, function: Any) -> None:
        self.function = function

    def perform(self, _context: Any) -> Any:
        return self.function()

    def __repr__(self) -> str:
        return "Fake()"


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "run"
    inside.jobs, inside.run_directory = [], ""


def performed(function: Any, alone: bool = False) -> inside.Done:
    inside.begin([None, Fake(function)], "run")
    return inside.Done(*inside.perform(1, alone))


def prints() -> str:
    print("from Python")
    os.write(1, b"from C\n")
    subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
    print("wrong", file=sys.stderr)
    return "result"


@pytest.mark.parametrize("alone", [False, True])
def test_all_that_is_printed_is_captured(directory: Path, alone: bool) -> None:
    before = time.time()
    done = performed(prints, alone)
    assert done.result == "result"
    assert sorted(done.stdout.splitlines()) == ["from C", "from Python", "from a child"]
    assert done.stderr == "wrong\n"
    assert before <= done.started <= done.stopped
    assert list(directory.iterdir()) == []


def test_streams_are_as_they_were(capfd: pytest.CaptureFixture[str]) -> None:
    streams = sys.stdout, sys.stderr
    performed(prints)
    assert (sys.stdout, sys.stderr) == streams
    os.write(1, b"after\n")
    assert capfd.readouterr().out == "after\n"


def test_streams_that_are_closed_or_missing_hurt_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull, "w") as closed:
        pass
    monkeypatch.setattr(sys, "stdout", closed)
    monkeypatch.setattr(sys, "stderr", None)
    assert performed(prints).stderr == "wrong\n"


def test_of_much_output_the_end_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inside, "CAPTURED_MAX", 6)
    assert performed(lambda: print("0123456789")).stdout == "56789\n"


def fails() -> None:
    print("before")
    raise ValueError("no")


@pytest.mark.parametrize("alone", [False, True])
def test_what_a_job_raised_comes_with_what_it_printed(alone: bool) -> None:
    with pytest.raises(JobError) as caught:
        performed(fails, alone)
    assert isinstance(caught.value.exception, ValueError)
    assert caught.value.stdout == "before\n"
    assert "in fails" in caught.value.trace


def dies() -> None:
    print("last words", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_job_that_dies_alone_is_told_with_its_signal(directory: Path) -> None:
    with pytest.raises(JobError) as caught:
        performed(dies, alone=True)
    died = caught.value.exception
    assert isinstance(died, JobDied)
    assert died.exit_code == -signal.SIGKILL
    assert "Fake() died" in str(died)
    assert caught.value.stdout == "last words\n"
    assert list(directory.iterdir()) == []


def test_what_a_job_does_alone_is_gone_with_it() -> None:
    loaded = [1]
    assert performed(lambda: loaded.append(2) or len(loaded), alone=True).result == 2
    assert loaded == [1]


@pytest.mark.parametrize("dies", [False, True])
def test_what_a_job_leaves_behind_alone_is_not_waited_for(dies: bool) -> None:
    ours, theirs = os.pipe()

    def leave() -> str:
        if not os.fork():
            os.close(theirs)
            os.read(ours, 1)  # until this test is over
            os._exit(0)
        if dies:
            os._exit(3)
        return "x" * (1 << 20)

    try:
        if dies:
            with pytest.raises(JobError, match="exit code 3"):
                performed(leave, alone=True)
        else:
            assert len(performed(leave, alone=True).result) == 1 << 20
    finally:
        os.close(ours)
        os.close(theirs)


class Unlucky:
    """A `select.poll` that looks at the pipe just before something comes, and then at the end."""

    def __init__(self) -> None:
        self._real, self._end, self._looks = POLL(), POLL(), 0

    def register(self, number: int, events: int) -> None:
        self._real.register(number, events)
        self._end = POLL()
        self._end.register(number, events)  # the last one that is registered

    def poll(self, timeout_ms: float | None = None) -> list[tuple[int, int]]:
        self._looks += 1
        return (self._end if self._looks == 1 else self._real).poll(timeout_ms)


def test_what_a_job_tells_just_before_its_end_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(select, "poll", Unlucky)
    assert performed(lambda: "result", alone=True).result == "result"


@pytest.mark.parametrize(("code", "expected"), [(3, 3), (None, 0), ("text", 1)])
def test_exit_is_a_death_with_its_code(code: Any, expected: int) -> None:
    with pytest.raises(JobError) as caught:
        performed(lambda: sys.exit(code))
    assert isinstance(caught.value.exception, JobDied)
    assert caught.value.exception.exit_code == expected


class Stubborn(Exception):
    def __reduce__(self) -> Any:
        raise TypeError("not picklable")


def test_what_cannot_travel_is_told_as_text() -> None:
    found = inside.as_job_error(Stubborn("why"), "", "")
    assert isinstance(found.exception, JobDied)
    assert "Stubborn: " in str(found.exception)


def test_the_working_directory_is_as_before(tmp_path: Path) -> None:
    performed(lambda: os.chdir("/"))
    assert Path.cwd() == tmp_path
    os.mkdir("gone")

    def leave() -> None:
        os.chdir("gone")
        os.rmdir("../gone")

    performed(leave)
    assert Path.cwd() == tmp_path
    assert inside.moved_back(str(tmp_path)) == ""
