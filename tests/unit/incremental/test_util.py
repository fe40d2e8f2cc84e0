"""Small helpers of projects."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

import pypelinin.incremental as ppg
from pypelinin.incremental import util
from pypelinin.incremental.hashers import hash_file

pytestmark = pytest.mark.usefixtures("ppg_here")


class Named:
    def __init__(self, name: str) -> None:
        self.name = name


class OtherNamed(Named):
    pass


def write(path: Path) -> None:
    path.write_text("x")


def test_there_is_a_graph_or_not() -> None:
    assert ppg.inside_ppg()
    ppg.change_global_pipegraph(None)
    assert not ppg.inside_ppg()


def test_a_name_is_given_once_a_class(ppg_here: ppg.PyPipeGraph) -> None:
    one = Named("a")
    ppg.assert_uniqueness_of_object(one)
    with pytest.raises(ValueError, match="'a'"):
        ppg.assert_uniqueness_of_object(Named("a"))
    ppg.assert_uniqueness_of_object(OtherNamed("a"))
    with pytest.raises(ValueError, match="Named are called 'a'"):
        ppg.assert_uniqueness_of_object(OtherNamed("a"), also_check=Named)
    with pytest.raises(ValueError, match="'/'"):
        ppg.assert_uniqueness_of_object(Named("a/b"))
    two = Named("b")
    ppg.assert_uniqueness_of_object(two, ppg_here, [OtherNamed])
    assert one.unique_id != two.unique_id  # type: ignore[attr-defined]  # it was given one
    ppg.new()
    ppg.assert_uniqueness_of_object(Named("a"))
    ppg.change_global_pipegraph(None)
    ppg.assert_uniqueness_of_object(Named("a"))


def test_cores_are_said_by_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBER_OF_PROCESSORS", "7")
    assert util.CPUs() == 7
    for said in ("0", "many", ""):
        monkeypatch.setenv("NUMBER_OF_PROCESSORS", said)
        assert util.CPUs() >= 1


def test_jobs_come_out_of_nested_iterables() -> None:
    jobs = [ppg.FileGeneratingJob(f"{name}.txt", write) for name in "abc"]
    assert list(util.flatten_jobs([jobs[0], (jobs[1], {jobs[2]})])) == jobs
    for wrong in ("a.txt", [None], 5):
        with pytest.raises(ValueError, match="flatten_jobs"):
            list(util.flatten_jobs(wrong))


def test_a_job_or_a_file_becomes_a_file_and_what_to_depend_on() -> None:
    job = ppg.FileGeneratingJob("a.txt", write)
    assert util.job_or_filename(job) == (Path("a.txt"), [job])
    assert util.job_or_filename("a.txt") == (Path("a.txt"), ["a.txt"])
    assert util.job_or_filename(None) == (None, [])
    path, found = util.job_or_filename("other.txt")
    assert path == Path("other.txt")
    assert isinstance(found[0], ppg.FileInvariant)
    assert (
        ppg.FileGeneratingJob("b.txt", write)
        .depends_on(util.job_or_filename("a.txt")[1])
        .upstreams[-1]
        is job
    )


def test_errors_are_logged_and_go_on(caplog: pytest.LogCaptureFixture) -> None:
    @util.pretty_log_errors
    def fail() -> None:
        raise ValueError("logged")

    with caplog.at_level(logging.ERROR), pytest.raises(ValueError, match="logged"):
        fail()
    assert 'raise ValueError("logged")' in caplog.text
    assert fail.__name__ == "fail"


def test_a_wrapped_call_knows_what_it_calls() -> None:
    wrapped = util.wrap_for_function_invariant(hash_file, __file__)
    assert wrapped() == hash_file(__file__)
    assert wrapped.wrapped_function is hash_file  # type: ignore[attr-defined]  # it was given one
