"""Helpers of projects of version 1."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from pypelinin.incremental import state


def test_the_current_graph_can_be_read_and_set(ppg: ModuleType) -> None:
    graph = ppg.util.global_pipegraph
    assert graph is state.graph
    ppg.util.global_pipegraph = None
    assert state.graph is None
    assert not ppg.inside_ppg()
    ppg.util.global_pipegraph = graph
    assert ppg.util.inside_ppg()


def test_a_job_or_a_name_of_a_file(ppg: ModuleType) -> None:
    job = ppg.FileGeneratingJob("aaa", lambda: None)
    assert ppg.util.job_or_filename(job) == ("aaa", [job])
    name, found = ppg.util.job_or_filename("in.txt")
    assert name == "in.txt"
    assert isinstance(found[0], ppg.FileInvariant)
    _, found = ppg.util.job_or_filename("other.txt", ppg.FileTimeInvariant)
    assert isinstance(found[0], ppg.FileTimeInvariant)
    assert ppg.util.job_or_filename(None) == (None, [])


def test_jobs_are_flattened(ppg: ModuleType) -> None:
    jobs = [ppg.FileGeneratingJob(name, lambda: None) for name in ("aaa", "bbb")]
    assert list(ppg.util.flatten_jobs([jobs[0], [(jobs[1],)]])) == jobs
    with pytest.raises(ValueError):
        list(ppg.util.flatten_jobs([3]))


def test_what_is_frozen_can_be_a_key(ppg: ModuleType) -> None:
    frozen = ppg.util.freeze({"b": {1}, "a": [1, {2, 3}, (4,)]})
    assert frozen == (("a", (1, frozenset({2, 3}), (4,))), ("b", frozenset({1})))
    assert {frozen: 1}


def test_files_are_looked_at(ppg: ModuleType) -> None:
    Path("empty").touch()
    Path("full").write_text("x")
    names = ("no", "empty", "full")
    assert [ppg.util.file_exists(name) for name in names] == [False, True, True]
    assert [ppg.util.output_file_exists(name) for name in names] == [False, False, True]
    assert ppg.util.stat("full").st_size == 1
    assert ppg.util.checksum_file("empty") == "d41d8cd98f00b204e9800998ecf8427e"


def test_records_that_are_not_there_are_told(ppg: ModuleType) -> None:
    with pytest.raises(FileNotFoundError, match="no records"):
        ppg.util.load_invariant_stati("status")


def test_an_object_has_its_name_alone(ppg: ModuleType) -> None:
    thing = SimpleNamespace(name="a")
    ppg.assert_uniqueness_of_object(thing)
    with pytest.raises(ValueError):
        ppg.assert_uniqueness_of_object(SimpleNamespace(name="a"))
