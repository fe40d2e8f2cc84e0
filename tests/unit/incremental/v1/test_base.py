"""What all jobs of version 1 share: dependencies, `+`, needs, and what is known after a run."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pypelinin.graph.needs import Needs
from pypelinin.incremental.enums import Resources


def written(name: str) -> Any:
    def write() -> None:
        Path(name).write_text(name)

    return write


def job(ppg: ModuleType, name: str) -> Any:
    return ppg.FileGeneratingJob(name, written(name))


def test_jobs_and_lists_are_added_in_every_order(ppg: ModuleType) -> None:
    a, b, c = (job(ppg, name) for name in ("aaa", "bbb", "ccc"))
    pair, before = [b, c], [a, b]
    mixed = [a] + ppg.JobList(pair)  # noqa: RUF005 - a sum is what is tried
    for made in (a + b + c, a + pair, mixed, before + c, (a + b) + (a + c)):
        assert type(made) is ppg.JobList
        assert list(made) == [a, b, c]
        assert len(made) == 3


@pytest.mark.parametrize("wrong", [3, "aaa", [3], None])
def test_only_jobs_are_added(ppg: ModuleType, wrong: object) -> None:
    with pytest.raises(ValueError):
        job(ppg, "aaa") + wrong
    with pytest.raises(ValueError):
        ppg.JobList([wrong])


def test_a_list_gets_its_dependencies_together(ppg: ModuleType) -> None:
    a, b, c = (job(ppg, name) for name in ("aaa", "bbb", "ccc"))
    assert (a + b).depends_on(c) == [a, b]
    assert c in a.prerequisites
    assert c in b.prerequisites
    assert {a, b} == c.dependants


def test_depends_on_takes_nested_lists_functions_and_nothing(ppg: ModuleType) -> None:
    a, b, c, d = (job(ppg, name) for name in ("aaa", "bbb", "ccc", "ddd"))
    assert a.depends_on([b, [c]], None, lambda: [d]) is a
    ppg.run_pipegraph()
    assert {b, c, d} <= a.prerequisites


def test_a_cycle_is_refused(ppg: ModuleType) -> None:
    a, b = job(ppg, "aaa"), job(ppg, "bbb")
    with pytest.raises(ppg.CycleError):
        a.depends_on(a)
    a.depends_on(b)
    with pytest.raises(ppg.CycleError):
        b.depends_on(a)


def test_a_longer_cycle_is_found_when_it_runs(ppg: ModuleType) -> None:
    a, b, c = (job(ppg, name) for name in ("aaa", "bbb", "ccc"))
    a.depends_on(b.depends_on(c.depends_on(a)))
    with pytest.raises(ppg.CycleError, match="aaa"):
        ppg.run_pipegraph()


@pytest.mark.parametrize("wrong", [3, "no such output"])
def test_to_depend_on_no_job_is_refused(ppg: ModuleType, wrong: object) -> None:
    with pytest.raises(ValueError):
        job(ppg, "aaa").depends_on(wrong)


def test_chains_are_followed_as_far_as_asked(ppg: ModuleType) -> None:
    a, b, c = (job(ppg, name) for name in ("aaa", "bbb", "ccc"))
    a.depends_on(b.depends_on(c))
    assert a.is_in_dependency_chain(c, 2)
    assert not a.is_in_dependency_chain(c, 1)
    assert not c.is_in_dependency_chain(a, 5)
    assert b in a.list_blocks()


def test_one_job_an_id_and_the_last_definition_counts(ppg: ModuleType) -> None:
    first = job(ppg, "aaa").use_cores(2)
    first.depends_on(job(ppg, "bbb"))
    assert ppg.FileGeneratingJob("aaa", lambda: Path("aaa").write_text("second")) is first
    assert first.cores_needed == 2
    ppg.run_pipegraph()
    assert Path("aaa").read_text() == "second"
    assert Path("bbb").exists()


def test_an_id_belongs_to_one_class(ppg: ModuleType) -> None:
    job(ppg, "aaa")
    with pytest.raises(ppg.JobContractError, match="FileGeneratingJob"):
        ppg.DataLoadingJob("aaa", lambda: None)


def test_a_job_without_a_graph_is_refused(ppg: ModuleType) -> None:
    ppg.util.global_pipegraph = None
    with pytest.raises(ValueError, match="no graph"):
        job(ppg, "aaa")


@pytest.mark.parametrize("cores", [0, -3, "2", 1.5, True])
def test_cores_that_cannot_be_are_refused(ppg: ModuleType, cores: Any) -> None:
    made = job(ppg, "aaa")
    with pytest.raises(ValueError, match="cores_needed"):
        made.cores_needed = cores
    with pytest.raises(ValueError, match="cores_needed"):
        made.use_cores(cores)
    with pytest.raises(ValueError, match="memory_needed"):
        made.memory_needed = 0


@pytest.mark.parametrize(
    ("cores", "memory", "needs"),
    [
        (1, -1, Resources.SingleCore),
        (3, -1, Needs(cores=3)),
        (-1, -1, Needs(cores=-1)),
        (-2, 2**30, Needs(cores=-2, memory=(2**30,))),
        (1, 5, Needs(cores=1, memory=(2**20,))),
    ],
)
def test_needs_are_what_was_said(ppg: ModuleType, cores: int, memory: int, needs: object) -> None:
    made = job(ppg, "aaa")
    made.memory_needed = memory
    assert made.use_cores(cores) is made
    assert (made.resources, made.cores_needed, made.memory_needed) == (needs, cores, memory)


def test_jobs_that_take_many_cores_run(ppg: ModuleType) -> None:
    jobs = [job(ppg, name).use_cores(cores) for name, cores in (("aaa", -1), ("bbb", -2))]
    ppg.run_pipegraph()
    assert [one.was_run for one in jobs] == [True, True]


def test_who_asks_for_too_much_fails_and_nobody_else(ppg: ModuleType) -> None:
    cores, memory, fine = (job(ppg, name) for name in ("aaa", "bbb", "ccc"))
    cores.cores_needed = 100_000
    memory.memory_needed = 2**55
    with pytest.raises(ppg.RuntimeError) as info:
        ppg.run_pipegraph()
    assert len(info.value.exceptions) == 2
    assert cores.error_reason == memory.error_reason == "Needed to much memory/cores"
    for one in (cores, memory):
        assert f"No node could ever run {one!r}: it needs" in str(one.exception)
        assert "queue_anyway" not in str(one.exception)
    assert fine.was_run


def test_a_job_knows_how_it_went(ppg: ModuleType) -> None:
    def bad() -> None:
        os.write(1, b"so far")
        raise KeyError("k")

    def dies() -> None:
        os._exit(3)

    failing, follower, fine = ppg.FileGeneratingJob("aaa", bad), job(ppg, "bbb"), job(ppg, "ccc")
    dead = ppg.FileGeneratingJob("ddd", dies)
    follower.depends_on(failing)
    assert fine.error_reason == "no error"
    assert not fine.was_run
    with pytest.raises(ppg.RuntimeError):
        ppg.run_pipegraph()
    assert (failing.failed, failing.error_reason) == (True, "Exception")
    assert isinstance(failing.exception, KeyError)
    assert "in bad" in failing.trace
    assert "so far" in failing.stdout
    assert (follower.error_reason, follower.exception) == ("Indirect", None)
    assert not follower.was_done_on
    assert (fine.failed, fine.was_run, fine.was_done_on) == (False, True, {"LocalWorker"})
    assert fine.runtime >= 0
    assert (dead.error_reason, dead.exception.exit_code) == ("Unknown/died", 3)


def test_code_changes_are_ignored_if_that_was_said(ppg: ModuleType, again: Any) -> None:
    def define(text: str) -> None:
        made = ppg.FileGeneratingJob("aaa", lambda: Path("aaa").write_text(text))
        made.ignore_code_changes()
        assert made.do_ignore_code_changes
        assert not made.prerequisites

    assert again(lambda: define("one")) == ["aaa"]
    assert again(lambda: define("two")) == []
    assert Path("aaa").read_text() == "one"


def test_a_pruned_job_is_left_out_with_what_follows(ppg: ModuleType) -> None:
    a, b = job(ppg, "aaa"), job(ppg, "bbb")
    b.depends_on(a)
    a.prune()
    assert a._pruned
    ppg.run_pipegraph()
    assert not Path("aaa").exists()
    assert not Path("bbb").exists()


def test_outer_variables_are_not_checked(ppg: ModuleType) -> None:
    text = "outer"
    ppg.FileGeneratingJob("aaa", lambda: Path("aaa").write_text(text))
    ppg.run_pipegraph()
    assert Path("aaa").read_text() == "outer"
