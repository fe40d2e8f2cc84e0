"""What a job says of the graph, and how the running graph takes it in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import pypelinin.incremental as ppg
from pypelinin.engine import expansion
from pypelinin.incremental import running
from pypelinin.incremental.growth import Growth
from pypelinin.incremental.jobs.base import Place
from pypelinin.incremental.watching import Watcher

HERE = ppg.Resources.RunsHere


def write(path: Path) -> None:
    path.write_text("x")


def file(name: str) -> Any:
    return ppg.FileGeneratingJob(f"{name}.txt", write, HERE)


def ran() -> set[str]:
    return {one.job_id for one in ppg.run().values() if one.start_time is not None}


def said(graph: ppg.PyPipeGraph, *jobs: Any, edges: Any = (), are_new: bool = True) -> Growth:
    growth = Growth(graph)
    for job in jobs:
        growth.defined(job, are_new)
    for job, upstream in edges:
        growth.connected((job, upstream, upstream.outputs), are_new)
    return growth


def test_the_digest_tells_what_was_said_and_not_whether_it_is_new(
    ppg_here: ppg.PyPipeGraph,
) -> None:
    a, b = file("a"), file("b")
    digests = [
        said(ppg_here),
        said(ppg_here, a),
        said(ppg_here, b),
        said(ppg_here, a, b),
        said(ppg_here, a, b, edges=[(b, a)]),
        said(ppg_here, a, b, edges=[(a, b)]),
    ]
    assert len({growth.digest() for growth in digests}) == len(digests)
    old = said(ppg_here, b, a, are_new=False)
    assert not old
    assert old.digest() == digests[3].digest()
    before = old.digest()
    b.depends_on(a)
    assert old.digest() != before


def test_invariants_do_not_count_by_themselves(ppg_here: ppg.PyPipeGraph) -> None:
    parameter = ppg.ParameterInvariant("p", 1)
    assert said(ppg_here, parameter).digest() == said(ppg_here).digest()


def test_a_generator_that_says_the_same_in_one_process_lets_its_readers_rest(
    ppg_here: ppg.PyPipeGraph,
) -> None:
    def make() -> None:
        file("made").depends_on(file("other"))

    generator = ppg.JobGeneratingJob("g", make)
    file("reader").depends_on(generator)
    assert ran() == {"g", "made.txt", "other.txt", "reader.txt"}
    assert ran() == {"g"}
    ppg.new()
    generator = ppg.JobGeneratingJob("g", make)
    file("reader").depends_on(generator)
    assert ran() == {"g"}


def test_more_jobs_than_one_expansion_takes_are_run_afterwards(
    ppg_here: ppg.PyPipeGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expansion, "JOBS_MAX", 3)

    def make() -> None:
        for name in "abcd":
            file(name)

    ppg.JobGeneratingJob("g", make)
    ppg.JobGeneratingJob("h", lambda: file("few"))
    assert ran() == {"g", "h", "a.txt", "b.txt", "c.txt", "d.txt", "few.txt"}
    assert ran() == {"g", "h"}


def test_an_edge_into_what_does_not_wait_for_the_generator_counts_afterwards(
    ppg_here: ppg.PyPipeGraph,
) -> None:
    beside = file("beside")

    def make() -> None:
        beside.depends_on(file("made"))

    ppg.JobGeneratingJob("g", make)
    assert ran() == {"g", "made.txt", "beside.txt"}
    assert ppg_here.has_edge("made.txt", "beside.txt")
    assert ran() == {"g"}


def test_what_a_loader_makes_is_run_afterwards(ppg_here: ppg.PyPipeGraph) -> None:
    def load() -> str:
        file("made")
        return "loaded"

    file("reader").depends_on(ppg.DataLoadingJob("data", load))
    assert ran() == {"data", "reader.txt", "made.txt"}
    assert ran() == set()


def test_what_a_file_job_in_the_caller_makes_is_run_afterwards(ppg_here: ppg.PyPipeGraph) -> None:
    def work(path: Path) -> None:
        file("made")
        write(path)

    ppg.FileGeneratingJob("a.txt", work, HERE)
    assert ran() == {"a.txt", "made.txt"}


def test_what_a_final_job_makes_is_run_afterwards(ppg_here: ppg.PyPipeGraph) -> None:
    ppg.FinalJob("last", lambda: file("made"))
    assert ran() == {"last", "made.txt"}


def test_a_made_job_that_reads_a_pruned_one_is_left_out(ppg_here: ppg.PyPipeGraph) -> None:
    file("a").prune()

    def make() -> None:
        file("b").depends_on("a.txt")
        file("c").depends_on("b.txt")
        file("d")

    ppg.JobGeneratingJob("g", make)
    assert ran() == {"g", "d.txt"}
    assert ppg_here.last_run["c.txt"].outcome is ppg.JobOutcome.Pruned


def test_what_jobs_depend_on_may_be_said_by_functions_there_too(ppg_here: ppg.PyPipeGraph) -> None:
    def make() -> None:
        file("b").depends_on(lambda: file("c"))

    ppg.JobGeneratingJob("g", make)
    assert ran() == {"g", "b.txt", "c.txt"}
    assert ppg_here.has_edge("c.txt", "b.txt")


def test_a_graph_that_never_stops_to_change_is_told_so(ppg_here: ppg.PyPipeGraph) -> None:
    def make(number: int) -> None:
        ppg.DataLoadingJob(f"l{number}", lambda: make(number + 1) or "x", depend_on_function=False)
        ppg.FileGeneratingJob(f"{number}.txt", write, HERE).depends_on(f"l{number}")

    make(0)
    with pytest.raises(ValueError, match="After 4 passes"):
        ppg.run()


class Batches(Watcher):
    """How many jobs were begun together, besides those that run in this process."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def started(self, jobs: Sequence[ppg.Job]) -> None:
        found = [job for job in jobs if job.place is Place.SLOT]
        self.sizes += [len(found)] if found else []


def test_what_several_generators_make_is_begun_together(
    ppg_here: ppg.PyPipeGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As slots are forked anew for it."""
    monkeypatch.setattr(running, "COMMIT_S", 60.0)  # however slow this machine is
    batches = Batches()
    monkeypatch.setattr(ppg_here, "watchers", lambda: [batches])
    for name in "abcd":
        ppg.JobGeneratingJob(name, lambda name=name: ppg.FileGeneratingJob(f"{name}.txt", write))
    ppg_here.run()
    assert batches.sizes == [4]
