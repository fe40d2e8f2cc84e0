"""Running a graph, as projects see it."""

from __future__ import annotations

from pathlib import Path

import pytest

import pypelinin.incremental as ppg
from pypelinin.incremental import runlog
from pypelinin.incremental.definition import Graph

HERE = ppg.Resources.RunsHere


def write(path: Path) -> None:
    path.write_text(path.name)


def test_a_run_tells_how_each_job_ended_and_keeps_it(ppg_here: ppg.PyPipeGraph) -> None:
    job = ppg.FileGeneratingJob("a.txt", write, HERE)
    outcomes = ppg_here.run()
    assert outcomes["a.txt"].outcome is ppg.JobOutcome.Success
    assert ppg_here.last_run is ppg_here.last_run_result is outcomes
    assert job.outcome is outcomes["a.txt"]


def test_only_what_was_asked_for_runs_and_what_it_needs(ppg_here: ppg.PyPipeGraph) -> None:
    a = ppg.FileGeneratingJob("a.txt", write, HERE)
    b = ppg.FileGeneratingJob("b.txt", write, HERE).depends_on(a)
    ppg.FileGeneratingJob("c.txt", write, HERE)
    outcomes = ppg_here.run_for_these(b)
    assert Path("a.txt").exists()
    assert not Path("c.txt").exists()
    assert outcomes["c.txt"].outcome is ppg.JobOutcome.Pruned


def test_what_to_run_may_be_said_by_name_and_in_any_form(ppg_here: ppg.PyPipeGraph) -> None:
    a, *_ = (ppg.FileGeneratingJob(f"{name}.txt", write, HERE) for name in "abc")
    outcomes = ppg_here.run_for_these([a, [Path("./b.txt")], None], event_timeout=1)
    assert outcomes["b.txt"].outcome is ppg.JobOutcome.Success
    assert outcomes["c.txt"].outcome is ppg.JobOutcome.Pruned
    assert ppg_here.run_for_these("c.txt")["c.txt"].outcome is ppg.JobOutcome.Success
    with pytest.raises(KeyError, match=r"No job makes 'd.txt'"):
        ppg_here.run_for_these("d.txt")
    with pytest.raises(TypeError, match="5"):
        ppg_here.run_for_these([5])
    with pytest.raises(ppg.JobContractError, match="no job of this graph"):
        ppg.new().run_for_these([a])


def fail(path: Path) -> None:
    raise ValueError(path.name)


def test_nothing_is_raised_if_that_is_not_wanted(ppg_here: ppg.PyPipeGraph) -> None:
    job = ppg.FileGeneratingJob("a.txt", fail, HERE)
    assert ppg.run(print_failures=False, do_raise=False) is ppg_here.last_run
    assert str(ppg_here.last_run["a.txt"].error.exception) == "a.txt"
    assert ppg_here.run_for_these(job, False, do_raise=False)["a.txt"].has_failed
    with pytest.raises(ppg.JobsFailed):
        ppg_here.run(print_failures=False, do_raise=True)


def test_a_dry_run_writes_nothing(ppg_here: ppg.PyPipeGraph) -> None:
    ppg.FileGeneratingJob("a.txt", write, HERE)
    assert ppg_here.run(dry_run=True)["a.txt"].outcome is not ppg.JobOutcome.Skipped
    assert not Path("a.txt").exists()


def test_a_graph_without_a_face_does_not_run(ppg_here: ppg.PyPipeGraph) -> None:
    bare = Graph(ppg_here.options)
    assert bare.watchers() == []
    with pytest.raises(NotImplementedError):
        bare.run()
    with pytest.raises(NotImplementedError):
        bare.run_for_these([])
    with pytest.raises(NotImplementedError):
        bare.dump_subgraph_for_debug()


def test_audience_and_run_times(ppg_here: ppg.PyPipeGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runlog, "RUNTIME_MIN_S", 3600.0)
    assert ppg_here.watchers()
    ppg.FileGeneratingJob("a.txt", write, HERE)
    ppg_here.run()
    ppg_here.dump_runtimes("times.tsv")
    assert Path("times.tsv").read_text() == "runtime_s\tjob_id\n"  # of what took long
