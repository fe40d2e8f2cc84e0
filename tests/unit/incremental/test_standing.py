"""What provably stands does not enter a run; the whole table of re-runs goes through it, too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import pypelinin.incremental as ppg
from pypelinin.incremental.history import History
from pypelinin.incremental.standing import Standing

HERE = ppg.Resources.RunsHere


def write(path: Path) -> None:
    path.write_text(path.name)


def chain(graph: ppg.PyPipeGraph) -> list[ppg.Job]:
    """param -> a -> temp -> b -> c"""
    a = ppg.FileGeneratingJob("a", write, HERE, depend_on_function=False)
    a.depends_on_params(1)
    temp = ppg.TempFileGeneratingJob("temp", write, HERE, depend_on_function=False).depends_on(a)
    b = ppg.FileGeneratingJob("b", write, HERE, depend_on_function=False).depends_on(temp)
    c = ppg.FileGeneratingJob("c", write, HERE, depend_on_function=False).depends_on(b)
    return [graph.jobs["PIa"], a, temp, b, c]


@contextmanager
def standing(graph: ppg.PyPipeGraph) -> Iterator[Standing]:
    history = History(graph.get_history_filename())
    try:
        yield Standing(graph, history)
    finally:
        history.close()


def names(jobs: list[ppg.Job]) -> list[str]:
    return [job.job_id for job in jobs]


@pytest.fixture
def jobs(ppg_here: ppg.PyPipeGraph) -> list[ppg.Job]:
    made = chain(ppg_here)
    ppg_here.run()
    return made


def test_after_a_run_all_stands(ppg_here: ppg.PyPipeGraph, jobs: list[ppg.Job]) -> None:
    with standing(ppg_here) as found:
        assert found.find(jobs) == []
        assert all(map(found.stands, jobs))
        assert found.outputs_of(jobs[1]) == ppg_here.last_run["a"].payload


@pytest.mark.parametrize(
    ("change", "moving"),
    [
        (lambda: Path("a").unlink(), ["a", "temp", "b", "c"]),
        (lambda: Path("a").write_text("by hand"), ["a", "temp", "b", "c"]),
        (lambda: Path("c").unlink(), ["c"]),
        (lambda: Path("temp").write_text("left over"), ["temp", "b", "c"]),
    ],
    ids=["output gone", "output altered", "last output gone", "temp left over"],
)
def test_what_a_change_may_reach_does_not_stand(
    ppg_here: ppg.PyPipeGraph, jobs: list[ppg.Job], change: Callable[[], object], moving: list[str]
) -> None:
    change()
    with standing(ppg_here) as found:
        assert names(found.find(jobs)) == moving


def test_what_is_read_enters_as_it_stands_or_to_be_made_again(
    ppg_here: ppg.PyPipeGraph, jobs: list[ppg.Job]
) -> None:
    Path("b").unlink()
    with standing(ppg_here) as found:
        moving = found.find(jobs)
        assert names(moving) == ["b", "c"]
        assert found.closure(moving, ()) == {"b": False, "c": False, "temp": False, "a": True}
        assert found.closure(moving, ("temp",)) == {"b": False, "c": False}


def test_a_job_without_record_and_one_that_always_runs_never_stand(
    ppg_here: ppg.PyPipeGraph, jobs: list[ppg.Job]
) -> None:
    new = ppg.FileGeneratingJob("new", write, HERE)
    always = ppg.JobGeneratingJob("always", lambda: None)
    with standing(ppg_here) as found:
        assert found.find([*jobs, new, always]) == [new, always]


def test_an_invariant_that_cannot_be_known_does_not_stand(ppg_here: ppg.PyPipeGraph) -> None:
    missing = ppg.FileInvariant("missing.txt")
    with standing(ppg_here) as found:
        assert found.find([missing]) == [missing]
        assert isinstance(found.broken["missing.txt"], FileNotFoundError)


def test_what_stands_is_no_part_of_the_run_and_has_its_outcome(
    ppg_here: ppg.PyPipeGraph, jobs: list[ppg.Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    entered = []
    find = Standing.find
    monkeypatch.setattr(
        Standing, "find", lambda self, ordered: entered.append(find(self, ordered)) or entered[-1]
    )
    outcomes = ppg_here.run()
    assert entered == [[]]
    assert [outcomes[job.job_id].outcome.name for job in jobs] == ["Success"] + ["Skipped"] * 4
