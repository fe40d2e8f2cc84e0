"""One run: what happens between the engine, the graph and the world."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

import pypelinin.incremental as ppg
from pypelinin.incremental.watching import Watcher

HERE, SLOT = ppg.Resources.RunsHere, ppg.Resources.SingleCore


class At(Watcher):
    """Does something to the run as soon as a file is there."""

    def __init__(self, path: str, what: str, *args: Any) -> None:
        self.path, self.what, self.args = Path(path), what, args
        self.running: Any = None

    def began(self, running: Any) -> None:
        self.running = running

    def beat(self) -> None:
        if self.path.exists() and self.what:
            self.result = getattr(self.running, self.what)(*self.args)
            self.what = ""


def write(path: Path) -> None:
    path.write_text("x")


def waits(path: Path) -> None:
    """Begins, and does not end by itself."""
    print("begun", flush=True)
    Path("begun").touch()
    os.mkfifo("never")
    Path("never").read_text()


def waits_for_the_word(path: Path) -> None:
    os.mkfifo("word")
    Path("begun").touch()
    path.write_text(Path("word").read_text())


def recorded() -> set[str]:
    database = sqlite3.connect(".state/history/history.sqlite3")
    try:
        return {row[0] for row in database.execute("select job from records")}
    finally:
        database.close()


def watched(graph: ppg.PyPipeGraph, watcher: Watcher) -> dict[str, ppg.RecordedJobOutcome]:
    graph.watchers = lambda: [watcher]  # type: ignore[method-assign]  # only ours
    return graph.run(raise_on_job_error=False, print_failures=False)


def names(found: dict[str, ppg.RecordedJobOutcome]) -> dict[str, str]:
    return {job_id: one.outcome.name for job_id, one in found.items() if job_id[1:] == ".txt"}


def test_abort_ends_what_runs_and_keeps_what_was_not_begun(ppg_here: ppg.PyPipeGraph) -> None:
    ppg.new(cores=1)
    for name in "bcd":
        ppg.FileGeneratingJob(f"{name}.txt", write)
    ppg.run()
    graph = ppg.new()
    job = ppg.FileGeneratingJob("a.txt", waits)
    for name in "bcd":
        ppg.FileGeneratingJob(f"{name}.txt", write).depends_on_params(1)
    ppg.FileGeneratingJob("e.txt", write).depends_on(job)
    found = watched(graph, At("begun", "abort"))
    assert names(found)["a.txt"] == "Failed"
    assert isinstance(job.exception, ppg.JobCanceled)
    assert "was ended by an abort" in str(job.exception)
    assert job.stdout == "begun\n"
    begun = {name for name, how in names(found).items() if how == "Success"}
    assert {"b.txt", "c.txt", "d.txt"} <= recorded() | begun
    assert "a.txt" not in recorded()
    # all is as before, but for what ran
    ppg.new()
    for name in "bcd":
        ppg.FileGeneratingJob(f"{name}.txt", write)
    again = {one.job_id for one in ppg.run().values() if one.start_time is not None}
    assert again == begun


def test_abort_ends_a_run_in_which_jobs_wait_for_the_caller(ppg_here: ppg.PyPipeGraph) -> None:
    def abort(path: Path) -> None:
        write(path)
        ppg_here.running.abort()

    ppg.FileGeneratingJob("a.txt", abort, HERE, allowed_non_locals=["ppg_here"])
    for name in "bc":
        ppg.FileGeneratingJob(f"{name}.txt", write, HERE)
    found = ppg_here.run(raise_on_job_error=False, print_failures=False)
    assert names(found) == {"a.txt": "Success", "b.txt": "Failed", "c.txt": "Failed"}
    assert "was not begun" in str(found["b.txt"].payload)
    assert recorded() == {"a.txt"}


def test_stop_lets_what_runs_end_and_begins_nothing_more(ppg_here: ppg.PyPipeGraph) -> None:
    graph = ppg.new(cores=1)
    job = ppg.FileGeneratingJob("a.txt", waits_for_the_word)
    for name in "bcd":
        ppg.FileGeneratingJob(f"{name}.txt", write).depends_on_params(1)
    ppg.FileGeneratingJob("e.txt", write).depends_on(job)

    class Stop(At):
        def beat(self) -> None:
            if self.path.exists() and self.what:
                super().beat()
                Path("word").write_text("said")

    found = watched(graph, Stop("begun", "stop"))
    assert names(found)["a.txt"] == "Success"
    assert Path("a.txt").read_text() == "said"
    assert names(found)["e.txt"] == "Failed"
    assert not Path("e.txt").exists()


def test_one_job_can_be_killed(ppg_here: ppg.PyPipeGraph) -> None:
    job = ppg.FileGeneratingJob("a.txt", waits)
    ppg.FileGeneratingJob("b.txt", write)
    ppg.FileGeneratingJob("c.txt", write).depends_on(job)
    watcher = At("begun", "kill", "a.txt")
    found = watched(ppg_here, watcher)
    assert watcher.result is True
    assert names(found) == {"a.txt": "Failed", "b.txt": "Success", "c.txt": "UpstreamFailed"}
    assert isinstance(job.exception, ppg.JobCanceled)
    assert watcher.running.kill("b.txt") is False
    assert watcher.running.kill("nobody") is False


def test_an_interrupt_keeps_what_had_ended_and_what_was_not_begun(
    ppg_here: ppg.PyPipeGraph,
) -> None:
    for name in "ab":
        ppg.FileGeneratingJob(f"{name}.txt", write, HERE)
    ppg.run()
    ppg.new()

    def interrupt(path: Path) -> None:
        raise KeyboardInterrupt

    ppg.FileGeneratingJob("a.txt", write, HERE).depends_on_params(1)
    ppg.FileGeneratingJob("i.txt", interrupt, HERE)
    ppg.FileGeneratingJob("b.txt", write, HERE).depends_on_params(1)
    with pytest.raises(ppg.JobsFailed, match="aborted: 1 jobs failed or were ended, 1 were not"):
        ppg.run(print_failures=False)
    assert recorded() == {"a.txt", "b.txt"}
    ppg.new()
    ppg.FileGeneratingJob("a.txt", write, HERE).depends_on_params(1)
    ppg.FileGeneratingJob("b.txt", write, HERE)
    assert {one.job_id for one in ppg.run().values() if one.start_time is not None} == set()


def test_a_job_that_is_running_has_no_record_on_the_disk(ppg_here: ppg.PyPipeGraph) -> None:
    seen: list[set[str]] = []

    def look(path: Path) -> None:
        seen.append(recorded())
        write(path)

    ppg.FileGeneratingJob("a.txt", look, HERE, allowed_non_locals=["seen"])
    ppg.run()
    assert recorded() == {"a.txt"}
    os.unlink("a.txt")
    ppg.run()
    assert seen == [set(), set()]


def test_all_kinds_of_resources_are_served(ppg_here: ppg.PyPipeGraph) -> None:
    for resources in ppg.Resources:
        ppg.FileGeneratingJob(f"{resources.name}.txt", write, resources)
    assert {one.outcome for one in ppg.run().values()} == {ppg.JobOutcome.Success}


def test_what_jobs_made_is_in_their_outcome(ppg_here: ppg.PyPipeGraph) -> None:
    job = ppg.FileGeneratingJob("a.txt", write, SLOT)
    outcome = ppg.run()["a.txt"]
    assert list(outcome.payload) == ["a.txt"]
    assert job.run_time is not None
    assert job.run_time >= 0
    assert job.stdout == ""
    again = ppg.run()["a.txt"]
    assert again.outcome is ppg.JobOutcome.Skipped
    assert again.payload == outcome.payload
    assert again.run_time is None


def test_jobs_in_slots_see_what_was_loaded_and_change_it_for_nobody(
    ppg_here: ppg.PyPipeGraph,
) -> None:
    data: dict[str, list[int]] = {}

    def use(path: Path) -> None:
        data["x"].append(1)
        path.write_text(str(data["x"]))

    loader = ppg.DictEntryLoadingJob(
        "data", data, "x", lambda: ppg.ValuePlusHash([0], "ab"), depend_on_function=False
    )
    for name in "abc":
        job = ppg.FileGeneratingJob(f"{name}.txt", use, allowed_non_locals=["data"])
        job.depends_on(loader)
    ppg.run()
    assert [Path(f"{name}.txt").read_text() for name in "abc"] == ["[0, 1]"] * 3
    assert data == {}
