"""What a dry run says, that it does nothing, and that what it says comes true."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pypelinin.incremental as ppg
from pypelinin.engine import entry as why
from pypelinin.incremental import start
from pypelinin.incremental.dry import PlannedOutcome, lines_of
from pypelinin.incremental.graph import Options


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(start, "_last", Options())
    yield tmp_path
    ppg.change_global_pipegraph(None)


def new() -> None:
    ppg.new(cores=1, run_mode=ppg.RunMode.NONINTERACTIVE, dir_config=".ppg")


def write(text: str) -> Callable[[Path], Any]:
    return lambda path, text=text: path.write_text(text)


def plan() -> tuple[set[str], set[str]]:
    """(jobs that would run, jobs that may run)."""
    found = ppg.run(dry_run=True).values()
    planned = [one for one in found if isinstance(one, PlannedOutcome) and one.would_run]
    sure = {one.job_id for one in planned if one.is_certain}
    return sure, {one.job_id for one in planned} - sure


def chain(first: str = "1", last: str = "3") -> None:
    new()
    one = ppg.FileGeneratingJob("one", write(first))
    two = ppg.FileGeneratingJob("two", lambda path: path.write_text(Path("one").read_text()))
    three = ppg.FileGeneratingJob("three", write(last))
    two.depends_on(one)
    three.depends_on(two)


def snapshot(path: Path) -> dict[str, bytes]:
    return {str(one): one.read_bytes() for one in path.rglob("*") if one.is_file()}


def test_all_would_run_for_the_first_time_and_nothing_is_made(here: Path) -> None:
    chain()
    assert plan() == ({"one", "two", "three"}, set())
    assert list(here.iterdir()) == []


def test_nothing_would_run_when_nothing_has_changed(here: Path) -> None:
    chain()
    ppg.run()
    before = snapshot(here)
    chain()
    assert plan() == (set(), set())
    assert snapshot(here) == before


def test_what_depends_on_what_would_run_may_run(here: Path) -> None:
    chain()
    ppg.run()
    before = snapshot(here)
    chain(first="other")
    assert plan() == ({"one"}, {"two", "three"})
    chain(first="other", last="other")
    assert plan() == ({"one", "three"}, {"two"})
    assert snapshot(here) == before
    outcomes = ppg.run()
    ran = {name for name in ("one", "two", "three") if outcomes[name].start_time}
    assert ran == {"one", "two", "three"}


def test_reasons_and_diffs_are_told(here: Path) -> None:
    chain()
    ppg.run()
    chain(first="other")
    outcomes = ppg.run(dry_run=True)
    one = outcomes["one"]
    assert isinstance(one, PlannedOutcome)
    assert one.outcome is ppg.JobOutcome.NotYet
    assert one.reason == why.INPUT
    assert [change.name for change in one.changes] == ["FIone"]
    assert "+# by default text = 'other'" in one.diffs["FIone"]
    text = "\n".join(lines_of(outcomes))
    assert "one would run, as what it reads changed." in text
    assert "two may run, if that gives something new: one." in text
    assert text.endswith("1 jobs would run, 2 may run, 3 would not.")


def test_a_run_after_it_finds_the_same_graph() -> None:
    asked = []

    def later() -> Any:
        asked.append(1)
        return ppg.ParameterInvariant("late", 1)

    new()
    ppg.FileGeneratingJob("one", write("1")).depends_on(later)
    assert plan() == ({"one"}, set())
    assert ppg.run()["one"].outcome is ppg.JobOutcome.Success
    assert len(asked) == 2
    assert plan() == (set(), set())


def test_a_lost_output_and_a_temporary_file_for_it() -> None:
    def graph() -> None:
        new()
        temp = ppg.TempFileGeneratingJob("temp", write("t"))
        one = ppg.FileGeneratingJob("one", write("1")).depends_on(temp)
        ppg.FileGeneratingJob("two", write("2")).depends_on(temp)
        ppg.FileGeneratingJob("three", write("3")).depends_on(one)

    graph()
    ppg.run()
    graph()
    assert plan() == (set(), set())
    Path("one").unlink()
    graph()
    assert plan() == ({"one", "temp"}, {"three"})
    assert ppg.run(dry_run=True)["temp"].reason == why.WOKEN


def test_an_altered_output_would_be_made_again() -> None:
    chain()
    ppg.run()
    Path("two").write_text("by hand")
    chain()
    assert plan() == ({"two"}, {"three"})


def test_loaders_would_be_loaded_for_who_runs() -> None:
    data: dict[str, Any] = {}

    def graph(text: str) -> None:
        new()
        loader = ppg.DictEntryLoadingJob("load", data, "key", lambda: "value")
        ppg.FileGeneratingJob("one", write(text)).depends_on(loader)

    graph("1")
    ppg.run()
    graph("1")
    assert plan() == (set(), set())
    graph("2")
    assert "one" in plan()[0]
    assert data == {}


def test_a_missing_input_fails_and_blocks() -> None:
    new()
    job = ppg.FileGeneratingJob("one", write("1"))
    job.depends_on_file("gone.txt")
    outcomes = ppg.run(dry_run=True)
    assert outcomes["gone.txt"].outcome is ppg.JobOutcome.Failed
    assert outcomes["one"].outcome is ppg.JobOutcome.UpstreamFailed
    assert "gone.txt would fail" in "\n".join(lines_of(outcomes))


def test_generators_are_named_as_such_and_not_run() -> None:
    ran = []
    new()
    generator = ppg.JobGeneratingJob("generate", lambda: ran.append(1))
    ppg.FileGeneratingJob("one", write("1")).depends_on(generator)
    ppg.FinalJob("last", lambda: ran.append(2))
    outcomes = ppg.run(dry_run=True)
    assert isinstance(outcomes["generate"], PlannedOutcome)
    assert outcomes["generate"].makes_jobs
    assert outcomes["last"].outcome is ppg.JobOutcome.NotYet
    assert "  It makes jobs, which are not known before it has run." in lines_of(outcomes)
    assert ran == []


def test_a_generator_that_was_there_before_leaves_its_readers_open() -> None:
    def graph() -> None:
        new()
        generator = ppg.JobGeneratingJob("generate", lambda: None)
        ppg.FileGeneratingJob("one", write("1")).depends_on(generator)

    graph()
    ppg.run()
    graph()
    assert plan() == ({"generate"}, {"one"})


def test_a_shared_job_says_itself_what_there_is() -> None:
    def graph(text: str) -> None:
        new()
        shared = ppg.SharedMultiFileGeneratingJob(
            "shared", ["a"], lambda files, prefix, text=text: [f.write_text(text) for f in files]
        )
        ppg.FileGeneratingJob("one", write("1")).depends_on(shared)

    graph("x")
    assert plan() == ({"shared:::shared/a", "one"}, set())
    ppg.run()
    graph("x")
    assert plan() == (set(), set())
    graph("y")
    assert plan() == ({"shared:::shared/a"}, {"one"})
    assert ppg.run()["one"].outcome is ppg.JobOutcome.Success


def test_pruned_jobs_and_partial_runs() -> None:
    chain()
    graph = ppg.global_pipegraph
    graph.jobs["two"].prune()
    outcomes = ppg.run(dry_run=True)
    assert outcomes["three"].outcome is ppg.JobOutcome.Pruned
    chain()
    graph = ppg.global_pipegraph
    outcomes = graph.run_for_these(graph.jobs["two"], dry_run=True)
    assert outcomes["two"].outcome is ppg.JobOutcome.NotYet
    assert outcomes["three"].outcome is ppg.JobOutcome.Pruned
