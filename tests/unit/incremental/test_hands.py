"""Where jobs are carried out: slots forked from here."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pypelinin.incremental import inside
from pypelinin.incremental.enums import Resources
from pypelinin.incremental.exceptions import JobDied, JobError
from pypelinin.incremental.hands import Ended, HandOut, Hands, LocalHands

ONE = Resources.SingleCore


class Fake:
    always_capture_output = True
    job_number = 1

    def __init__(self, function: Any) -> None:
        self.function = function

    def perform(self, _context: Any) -> Any:
        return self.function()


@pytest.fixture
def hands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hands]:
    monkeypatch.chdir(tmp_path)
    inside.begin([], "run")
    made = LocalHands(2)
    yield made
    made.close()
    inside.jobs, inside.run_directory = [], ""


def ends(hands: Hands, count: int) -> list[Ended]:
    found: list[Ended] = []
    while len(found) < count:
        found += hands.wait(1.0)
    return sorted(found, key=lambda ended: ended.number)


def submit(hands: Hands, *hand_outs: HandOut) -> None:
    hands.submit(hands.new_run(), hand_outs)


def jobs(*functions: Any) -> None:
    inside.jobs = [Fake(function) for function in functions]


@pytest.mark.parametrize("alone", [False, True])
def test_jobs_end_with_their_result_or_their_error(hands: Hands, alone: bool) -> None:
    def fail() -> None:
        raise ValueError("no")

    jobs(lambda: print("hello") or 7, fail, lambda: os.kill(os.getpid(), signal.SIGTERM))
    hands.renew()
    submit(hands, *(HandOut(number, ONE, (), alone) for number in range(3)))
    assert hands.busy == 3
    fine, failed, died = ends(hands, 3)
    assert hands.busy == 0
    assert fine.error is None
    assert fine.value[:3] == (7, "hello\n", "")
    assert isinstance(failed.error, JobError)
    assert isinstance(failed.error.exception, ValueError)
    assert isinstance(died.error, JobError)
    assert isinstance(died.error.exception, JobDied)
    assert died.error.exception.exit_code == -signal.SIGTERM


def test_slots_see_what_is_in_memory_when_they_are_renewed(hands: Hands) -> None:
    seen = ["before"]
    jobs(lambda: list(seen))
    hands.renew()
    submit(hands, HandOut(0, ONE))
    assert ends(hands, 1)[0].value[0] == ["before"]
    seen.append("after")
    submit(hands, HandOut(0, ONE))
    assert ends(hands, 1)[0].value[0] == ["before"]
    hands.renew()
    submit(hands, HandOut(0, ONE))
    assert ends(hands, 1)[0].value[0] == ["before", "after"]


def test_one_that_runs_and_one_that_waits_can_be_cancelled(hands: Hands) -> None:
    os.mkfifo("never")

    def wait() -> None:
        Path("begun").touch()
        Path("never").read_text()

    jobs(wait, lambda: 1)
    hands.renew()
    submit(hands, *(HandOut(number, Resources.Exclusive) for number in (0, 1)))
    while not Path("begun").exists():
        assert list(hands.wait(0.05)) == []
    hands.cancel([0, 1, 5])
    first, second = ends(hands, 2)
    assert type(first.error).__name__ == type(second.error).__name__ == "CancelledError"
