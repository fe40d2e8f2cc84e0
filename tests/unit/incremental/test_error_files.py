"""What failed, in files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pypelinin.incremental as ppg
from pypelinin.engine import entry as why
from pypelinin.incremental.error_files import ErrorFiles
from pypelinin.incremental.outcomes import RecordedJobOutcome

RUNNING: Any = None
ERROR = ppg.JobError(ValueError("no"), "Traceback: line 7", "some output", "some warnings")


def write(path: Path) -> None: ...


@pytest.fixture
def graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ppg.PyPipeGraph]:
    monkeypatch.chdir(tmp_path)
    graph = ppg.new(dir_config=".ppg", log_retention=3)
    graph.time_str = "now"
    for name in "ab":
        ppg.FileGeneratingJob(name, write, depend_on_function=False)
    yield graph
    ppg.change_global_pipegraph(None)


def failed(job: str, error: Any = ERROR, reason: int = 0) -> RecordedJobOutcome:
    out, err = "some output", "some warnings"
    return RecordedJobOutcome(job, ppg.JobOutcome.Failed, error, out, err, 1.0, 2.0, reason)


def test_a_failure_has_its_file_at_once(graph: ppg.PyPipeGraph) -> None:
    errors = ErrorFiles(graph)
    errors.began(RUNNING)
    errors.ended(graph.jobs["b"], failed("b"))
    text = Path(".ppg/errors/latest/1_exception.txt").read_text()
    for part in (
        "FileGeneratingJob: b", "test_error_files.py:", "ValueError: no", "Traceback: line 7",
        "stdout:\nsome output", "stderr:\nsome warnings",
    ):  # fmt: skip
        assert part in text, part
    assert os.readlink(".ppg/errors/latest") == "now"


def test_a_run_without_failures_leaves_nothing(graph: ppg.PyPipeGraph) -> None:
    errors = ErrorFiles(graph)
    errors.began(RUNNING)
    fine = RecordedJobOutcome("a", ppg.JobOutcome.Success)
    errors.ended(graph.jobs["a"], fine)
    errors.over({"a": fine})
    assert not Path(".ppg/errors").exists()


def test_jobs_that_changed_output_are_listed(graph: ppg.PyPipeGraph) -> None:
    errors = ErrorFiles(graph)
    errors.began(RUNNING)
    error = ppg.JobContractError("changed output")
    errors.over({"a": failed("a", error, why.IMPURE)})
    assert Path(".ppg/errors/now/constraint_violations.jobs").read_text() == "a\n"
    assert "changed output" in Path(".ppg/errors/now/0_exception.txt").read_text()


def test_what_was_not_begun_has_no_file(graph: ppg.PyPipeGraph) -> None:
    errors = ErrorFiles(graph)
    errors.began(RUNNING)
    left = RecordedJobOutcome("a", ppg.JobOutcome.Failed, ppg.JobCanceled("not begun"))
    errors.over({"a": left})
    assert not Path(".ppg/errors").exists()


def test_old_errors_are_removed(graph: ppg.PyPipeGraph) -> None:
    for year in range(2001, 2006):
        Path(f".ppg/errors/{year}").mkdir(parents=True)
    errors = ErrorFiles(graph)
    errors.began(RUNNING)
    errors.ended(graph.jobs["a"], failed("a"))
    assert sorted(os.listdir(".ppg/errors")) == ["2004", "2005", "latest", "now"]


def test_they_can_be_switched_off(graph: ppg.PyPipeGraph) -> None:
    graph.dir_config.error_dir = None
    errors = ErrorFiles(graph)
    errors.began(RUNNING)
    errors.ended(graph.jobs["a"], failed("a"))
    assert not Path(".ppg/errors").exists()


def test_a_disk_that_takes_nothing_is_said_once(graph: ppg.PyPipeGraph) -> None:
    Path(".ppg").mkdir()
    Path(".ppg/errors").touch()
    said: list[str] = []
    errors = ErrorFiles(graph, said.append)
    errors.began(RUNNING)
    for _ in range(2):
        errors.ended(graph.jobs["a"], failed("a"))
    assert len(said) == 1
    assert "not written" in said[0]
