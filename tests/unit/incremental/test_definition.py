"""The graph: which jobs there are, what they read of each other."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import pytest

import pypelinin.incremental as ppg
from pypelinin.incremental.definition import place_of_definition


def write(path: Path) -> None:
    path.write_text("x")


def write_all(paths: list[Path]) -> None:
    for path in paths:
        path.write_text("x")


def chain(*names: str) -> list[Any]:
    """Jobs that each read the one before."""
    jobs = [ppg.FileGeneratingJob(f"{name}.txt", write) for name in names]
    for upstream, job in itertools.pairwise(jobs):
        job.depends_on(upstream)
    return jobs


def test_a_job_that_is_defined_again_the_same_way_is_the_one_that_is_there(
    ppg_here: ppg.PyPipeGraph,
) -> None:
    one = ppg.FileGeneratingJob("a.txt", write)
    assert ppg.FileGeneratingJob("a.txt", write) is one
    assert ppg.FileGeneratingJob("x/../a.txt", write) is one
    assert set(ppg_here.jobs) == {"FIwrite", "a.txt"}


def test_files_under_other_keys_are_another_definition(ppg_here: ppg.PyPipeGraph) -> None:
    ppg.MultiFileGeneratingJob({"a": "a.txt", "b": "b.txt"}, write_all)
    with pytest.raises(ppg.JobRedefinitionError):
        ppg.MultiFileGeneratingJob({"a": "b.txt", "b": "a.txt"}, write_all)
    with pytest.raises(ppg.JobRedefinitionError):
        ppg.MultiFileGeneratingJob(
            {"a": "a.txt", "b": "b.txt"}, write_all, depend_on_function=False
        )


def test_a_replaced_job_keeps_its_edges_and_follows_its_new_function_only(
    ppg_here: ppg.PyPipeGraph,
) -> None:
    ppg_here.run_mode = ppg.RunMode.NOTEBOOK
    parameter = ppg.ParameterInvariant("p", 1)
    job = ppg.FileGeneratingJob("a.txt", write).depends_on(parameter)
    (reader,) = chain("b")
    reader.depends_on(job)
    again = ppg.FileGeneratingJob("a.txt", lambda path: path.write_text("new"))
    assert again is job
    assert set(ppg_here.job_inputs["a.txt"]) == {"PIp", "FIa.txt"}
    assert ppg_here.has_edge(job, reader)
    third = ppg.TempFileGeneratingJob("a.txt", write)
    assert third is job
    assert isinstance(job, ppg.TempFileGeneratingJob)
    assert set(ppg_here.job_inputs["a.txt"]) == {"PIp", "FIwrite"}
    ppg.TempFileGeneratingJob("a.txt", write, depend_on_function=False)
    assert set(ppg_here.job_inputs["a.txt"]) == {"PIp"}


def test_a_replaced_generator_follows_its_new_function_only(ppg_here: ppg.PyPipeGraph) -> None:
    ppg_here.run_mode = ppg.RunMode.NOTEBOOK
    ppg.JobGeneratingJob("g", lambda: None)
    ppg.JobGeneratingJob("g", chain)
    assert set(ppg_here.job_inputs["g"]) == {"FIchain"}


def test_edges_are_known_in_both_directions(ppg_here: ppg.PyPipeGraph) -> None:
    a, b, c = chain("a", "b", "c")
    assert ppg_here.has_edge(a, b)
    assert ppg_here.has_edge("a.txt", "b.txt")
    assert not ppg_here.has_edge(a, c)
    assert ppg_here.readers_of(a) == [b]
    assert a in ppg_here.upstreams_of(b)
    assert ppg_here.ancestors_of(["b.txt"]) == {"a.txt", "b.txt", "FIwrite"}
    assert ppg_here.descendants_of(["a.txt"]) == ["a.txt", "b.txt", "c.txt"]
    ppg_here.add_edge(a, c)
    assert ppg_here.has_edge(a, c)
    ppg_here.disconnect(c, a)
    assert not ppg_here.has_edge(a, c)


def test_jobs_are_found_by_text_and_by_file(ppg_here: ppg.PyPipeGraph) -> None:
    job = ppg.MultiFileGeneratingJob(["x/one.txt", "two.txt"], write_all)
    assert ppg_here.find_job("one") == [job]
    assert ppg_here.find_job_from_file("x/one.txt") is job
    assert ppg_here.find_job_from_file(Path("./x/y/../one.txt")) is job
    with pytest.raises(KeyError, match=r"'three.txt'"):
        ppg_here.find_job_from_file("three.txt")


def test_a_function_that_could_not_say_what_a_job_needs_is_asked_again(
    ppg_here: ppg.PyPipeGraph,
) -> None:
    a, b = chain("a")[0], ppg.FileGeneratingJob("b.txt", write)
    answers = [OSError("not yet"), [lambda: a]]

    def asked() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    b.depends_on(asked)
    with pytest.raises(OSError, match="not yet"):
        ppg_here.resolve_later()
    assert a not in b.upstreams
    ppg_here.resolve_later()
    assert a in b.upstreams
    ppg_here.resolve_later()  # nobody is asked twice


class Counted(dict[str, dict[str, None]]):
    """Counts how often all of it was gone through."""

    times = 0

    def items(self) -> Any:
        self.times += 1
        return super().items()


def test_pruning_many_jobs_goes_through_the_graph_once(ppg_here: ppg.PyPipeGraph) -> None:
    jobs = chain(*"abcdefgh")
    ppg_here.prune_all_but(["a.txt"])
    ppg_here.job_inputs = counted = Counted(ppg_here.job_inputs)
    ppg_here.mark_pruned()
    assert counted.times == 1
    assert [job.prune_reason for job in jobs] == [None, *(job.job_id for job in jobs[1:])]


def test_pruning_by_ids_leaves_what_leads_there(ppg_here: ppg.PyPipeGraph) -> None:
    chain("a", "b", "c")
    chain("d")
    ppg_here.prune_all_but(["b.txt"])
    assert [one.job_id for one in ppg_here.jobs.values() if one.prune_reason] == ["c.txt", "d.txt"]
    for job in ppg_here.jobs.values():
        job.unprune()
    ppg_here.prune_all_unrelated_to(["b.txt"])
    assert [one.job_id for one in ppg_here.jobs.values() if one.prune_reason] == ["d.txt"]


def test_a_job_of_an_old_graph_becomes_one_of_the_new(ppg_here: ppg.PyPipeGraph) -> None:
    a, b = chain("a", "b")
    newer = ppg.new()
    with pytest.raises(ppg.JobContractError):
        ppg.FileGeneratingJob("c.txt", write).depends_on(a)
    a.readd()
    assert newer.jobs["a.txt"] is a
    assert set(newer.job_inputs["a.txt"]) == {"FIwrite"}
    a.depends_on("c.txt")
    a.readd()
    assert set(newer.job_inputs["a.txt"]) == {"FIwrite", "c.txt"}
    assert newer.add(b) is b
    ppg.run()
    assert Path("a.txt").exists()
    assert Path("b.txt").exists()
    assert ppg_here is not newer


def test_directories_default_below_the_root() -> None:
    config = ppg.DirConfig("root", log_dir=None, error_dir="errors")
    assert (config.log_dir, config.error_dir) == (None, Path("errors"))
    assert (config.history_dir, config.run_dir) == (Path("root/history"), Path("root/run"))
    assert config.cache_dir == Path("cache")
    with pytest.raises(ValueError, match="history_dir"):
        ppg.DirConfig(history_dir=None)  # type: ignore[arg-type]  # wrong on purpose


def test_the_place_of_a_definition_is_outside_of_the_package(ppg_here: ppg.PyPipeGraph) -> None:
    (job,) = chain("a")
    assert job.place_of_definition.startswith(f"{__file__}:")
    assert place_of_definition().startswith(f"{__file__}:")


def test_a_link_within_the_project_is_one_more_name_of_a_file(ppg_here: ppg.PyPipeGraph) -> None:
    os.makedirs("real/deep")
    os.symlink("real", "link")
    os.symlink("real", "other")
    ppg.FileGeneratingJob("link/deep/a.txt", write)
    ppg.FileGeneratingJob("link/deep/b.txt", write)
    for name in ("real/deep/a.txt", "other/deep/a.txt"):
        with pytest.raises(ppg.JobOutputConflict):
            ppg.FileGeneratingJob(name, write)
    os.symlink(".", "here")
    chain("c")
    with pytest.raises(ppg.JobOutputConflict):
        ppg.FileGeneratingJob("here/c.txt", write)
    ppg.FileGeneratingJob("other/a.txt", write)


def test_a_run_for_some_jobs_runs_what_they_need(ppg_here: ppg.PyPipeGraph) -> None:
    a, b, _ = chain("a", "b", "c")
    found = ppg_here.run_for_these([b])
    assert Path("b.txt").exists()
    assert not Path("c.txt").exists()
    assert found["c.txt"].outcome is ppg.JobOutcome.Pruned
    ppg_here.run_for_these(a)
    assert ppg_here.last_run["b.txt"].outcome is ppg.JobOutcome.Pruned
    b.prune()
    b()
    assert ppg_here.last_run["b.txt"].outcome is ppg.JobOutcome.Skipped


def test_functions_say_what_jobs_depend_on_when_a_run_begins(ppg_here: ppg.PyPipeGraph) -> None:
    a, b, c = (ppg.FileGeneratingJob(f"{name}.txt", write) for name in "abc")
    c.depends_on(lambda: [a, lambda: b, None])
    assert not ppg_here.has_edge(a, c)
    ppg.run()
    assert ppg_here.has_edge(a, c)
    assert ppg_here.has_edge(b, c)
