"""The way into a run, and what is raised at its end."""

from __future__ import annotations

from pathlib import Path

import pytest

import pypelinin.incremental as ppg

HERE = ppg.Resources.RunsHere


def fail(path: Path) -> None:
    print("printed before")
    raise ValueError(f"no {path}")


def failing(count: int) -> None:
    for number in range(count):
        ppg.FileGeneratingJob(f"{number}.txt", fail, HERE)


def test_failures_are_raised_with_all_that_jobs_raised(ppg_here: ppg.PyPipeGraph) -> None:
    failing(7)
    with pytest.raises(ppg.JobsFailed) as caught:
        ppg.run(print_failures=False)
    assert "7 of 8 jobs failed: 0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 2 more." in str(caught.value)
    assert len(caught.value.exceptions) == 7
    assert caught.value.exceptions == ppg_here.do_raise
    assert ppg_here.last_run_result["0.txt"].outcome is ppg.JobOutcome.Failed
    assert ppg_here.running is None


def test_failures_are_printed_with_their_trace(
    ppg_here: ppg.PyPipeGraph, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(1)
    ppg.run(raise_on_job_error=False)
    printed = capsys.readouterr().err
    assert "0.txt failed: ValueError: no 0.txt" in printed
    assert 'raise ValueError(f"no {path}")' in printed
    ppg.run(raise_on_job_error=False, print_failures=False)
    assert capsys.readouterr().err == ""


def test_a_run_that_does_not_begin_leaves_the_graph_free(ppg_here: ppg.PyPipeGraph) -> None:
    jobs = [ppg.FileGeneratingJob(f"{name}.txt", fail, HERE) for name in "abc"]
    for job, upstream in zip(jobs, [*jobs[1:], jobs[0]], strict=True):
        job.depends_on(upstream)
    for _ in range(2):
        with pytest.raises(ppg.NotADag):
            ppg.run()
    assert ppg_here.running is None


def test_nothing_failed_any_more_is_told_by_the_last_run(ppg_here: ppg.PyPipeGraph) -> None:
    failing(1)
    ppg.run(raise_on_job_error=False, print_failures=False)
    newer = ppg.new()
    assert ppg.run() == {}
    assert newer.do_raise == []
