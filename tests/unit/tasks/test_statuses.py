"""What came of a task."""

from __future__ import annotations

from pathlib import Path

import pytest

from pypelinin.tasks import ResultMissing, Task
from pypelinin.tasks.inside.files import store
from pypelinin.tasks.statuses import Status, Stored, TaskResult


def test_the_numbers_of_the_original() -> None:
    assert {status.name: status.value for status in Task.Status} == {
        "NOT_STARTED": 0, "FAILURE": -1, "SUCCESS": 1, "RUNNING": 2, "CANT_RUN": 3, "SKIPPED": 4,
    }  # fmt: skip


def test_a_stored_output_is_loaded_once_and_when_it_is_asked_for(tmp_path: Path) -> None:
    path = str(tmp_path / "result")
    result = TaskResult(Status.SUCCESS, Stored(path))
    with pytest.raises(ResultMissing):
        result.output
    store(path, [1], "x")
    found = result.output
    assert found == [1]
    assert result.output is found


def test_a_failure_shows_its_exception() -> None:
    result = Task.TaskResult(Status.FAILURE, None, KeyError("x"), "trace")
    assert (result.output, result.traceback) == (None, "trace")
    assert repr(result) == "TaskResult(Status.FAILURE, exception=KeyError('x'))"
    assert repr(TaskResult(Status.SKIPPED)) == "TaskResult(Status.SKIPPED)"
