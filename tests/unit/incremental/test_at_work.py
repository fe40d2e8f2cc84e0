"""Which jobs run is known from the files that they print to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pypelinin.incremental.at_work import AtWork


class FakeJob:
    def __init__(self, number: int) -> None:
        self.job_number = number


def printing(directory: Path, number: int, pid: int, at: float, text: str = "") -> None:
    for ending in ("stdout", "stderr"):
        path = directory / f"{number}-{pid}.{ending}"
        path.write_text(f"{text}{ending}")
        os.utime(path, (at, at))


@pytest.fixture
def jobs() -> list[Any]:
    return [FakeJob(i) for i in range(4)]


def test_a_job_that_was_handed_out_runs_while_its_files_are_there(
    tmp_path: Path, jobs: list[Any]
) -> None:
    at_work = AtWork(str(tmp_path))
    at_work.handed_out(jobs[:3])
    printing(tmp_path, 2, 77, at=50.0)
    printing(tmp_path, 1, 78, at=40.0)
    printing(tmp_path, 3, 79, at=30.0)  # not one of ours
    assert [(w.job, w.since, w.pid) for w in at_work.look()] == [
        (jobs[1], 40.0, 78),
        (jobs[2], 50.0, 77),
    ]
    at_work.ended(jobs[1])
    assert [working.job for working in at_work.look()] == [jobs[2]]


def test_the_time_it_began_does_not_move_when_it_prints(tmp_path: Path, jobs: list[Any]) -> None:
    at_work = AtWork(str(tmp_path))
    at_work.handed_out(jobs)
    printing(tmp_path, 0, 77, at=50.0)
    at_work.look()
    printing(tmp_path, 0, 77, at=60.0)
    assert at_work.look()[0].since == 50.0


def test_a_job_of_this_process_is_told_too(tmp_path: Path, jobs: list[Any]) -> None:
    at_work = AtWork(str(tmp_path / "not there"))
    at_work.here = (jobs[0], 5.0)
    assert at_work.look() == [(jobs[0], 5.0, 0)]


def test_what_an_earlier_run_left_is_removed(tmp_path: Path) -> None:
    printing(tmp_path, 0, 77, at=50.0)
    (tmp_path / "mine.stdout").touch()
    AtWork(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.stdout"]


def test_what_a_dead_job_printed_in_its_last_try_is_found(tmp_path: Path, jobs: list[Any]) -> None:
    at_work = AtWork(str(tmp_path))
    printing(tmp_path, 0, 78, at=50.0, text="second ")
    printing(tmp_path, 0, 79, at=40.0, text="first ")
    assert at_work.left_by(jobs[0]) == ("second stdout", "second stderr")
    assert not list(tmp_path.iterdir())
    assert at_work.left_by(jobs[0]) == ("", "")
