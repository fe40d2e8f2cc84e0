"""Who watches a run is told what happened, in its order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import pypelinin.incremental as ppg
from pypelinin.incremental.watching import Watcher


class Scribe(Watcher):
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.beats = 0

    def began(self, running: Any) -> None:
        self.lines.append(f"began with {len(running.jobs)}")

    def started(self, jobs: Any) -> None:
        self.lines += [f"{job.job_id} started" for job in jobs]

    def ended(self, job: Any, outcome: Any) -> None:
        self.lines.append(f"{job.job_id} {outcome.outcome.name}")

    def beat(self) -> None:
        self.beats += 1

    def over(self, outcomes: Any) -> None:
        self.lines.append(f"over with {len(outcomes)}")


def write(path: Path) -> None:
    path.write_text("x")


def fail(path: Path) -> None:
    raise ValueError


@pytest.mark.parametrize("resources", [ppg.Resources.RunsHere, ppg.Resources.SingleCore])
def test_a_watcher_is_told_all_of_a_run(
    ppg_here: ppg.PyPipeGraph, resources: ppg.Resources
) -> None:
    scribe = Scribe()
    ppg_here.watchers = lambda: [scribe, Watcher()]  # type: ignore[method-assign]  # only ours
    a = ppg.FileGeneratingJob("a.txt", write, resources)
    b = ppg.FileGeneratingJob("b.txt", fail, resources).depends_on(a)
    ppg.FileGeneratingJob("c.txt", write, resources).depends_on(b)
    ppg.run(raise_on_job_error=False, print_failures=False)
    assert scribe.lines == [
        "began with 5", "a.txt started", "a.txt Success", "b.txt started", "b.txt Failed",
        "over with 5",
    ]  # fmt: skip
    assert scribe.beats


def test_a_watcher_is_told_the_end_of_a_run_that_is_refused(ppg_here: ppg.PyPipeGraph) -> None:
    scribe = Scribe()
    ppg_here.watchers = lambda: [scribe]  # type: ignore[method-assign]  # only ours
    jobs = [ppg.FileGeneratingJob(f"{name}.txt", write) for name in "abc"]
    for job, upstream in zip(jobs, [*jobs[1:], jobs[0]], strict=True):
        job.depends_on(upstream)
    with pytest.raises(ppg.NotADag):
        ppg.run()
    assert scribe.lines == ["over with 0"]
