"""Jobs that write files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import pypelinin.incremental as ppg
from pypelinin.incremental.jobs import files

HERE = ppg.Resources.RunsHere


def write(path: Path) -> None:
    path.write_text("x")


def write_all(paths: Any) -> None:
    for path in paths.values() if isinstance(paths, dict) else paths:
        path.write_text(path.name)


def read(path: Path) -> None:
    path.write_text("y")


def test_a_function_gets_the_files_as_they_were_given(ppg_here: ppg.PyPipeGraph) -> None:
    seen: dict[str, Any] = {}

    def keep(name: str) -> Any:
        def work(given: Any, name: str = name) -> None:
            seen[name] = given
            write_all([given] if isinstance(given, Path) else given)

        return work

    options: Any = {"resources": HERE, "allowed_non_locals": ["seen"]}
    ppg.FileGeneratingJob("one.txt", keep("one"), **options)
    ppg.MultiFileGeneratingJob(["b.txt", Path("a.txt")], keep("list"), **options)
    ppg.MultiFileGeneratingJob({"x": "d.txt", "y": Path("c.txt")}, keep("dict"), **options)
    ppg.run()
    assert seen == {
        "one": Path("one.txt"),
        "list": [Path("b.txt"), Path("a.txt")],
        "dict": {"x": Path("d.txt"), "y": Path("c.txt")},
    }


def test_one_of_several_files_is_found_by_its_place_or_key(ppg_here: ppg.PyPipeGraph) -> None:
    listed = ppg.MultiFileGeneratingJob(["b.txt", "a.txt"], write_all)
    named = ppg.MultiTempFileGeneratingJob({"x": "d.txt", "y": "c.txt"}, write_all)
    assert (listed[0], listed[-1]) == (Path("b.txt"), Path("a.txt"))
    assert named["y"] == Path("c.txt")
    with pytest.raises(KeyError):
        named["z"]
    assert listed.files == [Path("b.txt"), Path("a.txt")]


def test_directories_of_outputs_are_made(ppg_here: ppg.PyPipeGraph) -> None:
    ppg.FileGeneratingJob("deep/er/a.txt", write, HERE)
    ppg.run()
    assert Path("deep/er/a.txt").read_text() == "x"


def test_the_output_of_an_earlier_run_is_gone_when_the_function_begins(
    ppg_here: ppg.PyPipeGraph,
) -> None:
    def append(path: Path) -> None:
        with path.open("a") as file:
            file.write("x")

    job = ppg.FileGeneratingJob("a.txt", append, HERE)
    ppg.run()
    job.depends_on_params(1)
    ppg.run()
    assert Path("a.txt").read_text() == "x"


def test_what_a_failed_job_wrote_stays_to_be_looked_at(ppg_here: ppg.PyPipeGraph) -> None:
    def fail(path: Path) -> None:
        write(path)
        raise ValueError

    ppg.FileGeneratingJob("a.txt", fail, HERE)
    ppg.run(raise_on_job_error=False, print_failures=False)
    assert Path("a.txt").read_text() == "x"


def test_a_temporary_file_is_there_while_it_is_needed(ppg_here: ppg.PyPipeGraph) -> None:
    temp = ppg.TempFileGeneratingJob("t.txt", write, HERE)

    def use(path: Path) -> None:
        path.write_text(Path("t.txt").read_text())

    a = ppg.FileGeneratingJob("a.txt", use, HERE).depends_on(temp)
    ppg.FileGeneratingJob("b.txt", use, HERE).depends_on(temp, a)
    ppg.run()
    assert Path("b.txt").read_text() == "x"
    assert not Path("t.txt").exists()


def test_a_temporary_file_that_nobody_reads_is_not_made(ppg_here: ppg.PyPipeGraph) -> None:
    ppg.TempFileGeneratingJob("t.txt", write, HERE)
    ppg.MultiTempFileGeneratingJob(["u.txt"], write_all, HERE)
    assert {one.outcome for one in ppg.run().values()} == {
        ppg.JobOutcome.Skipped, ppg.JobOutcome.Success,
    }  # fmt: skip
    assert not list(Path().glob("*.txt"))


def test_of_a_job_with_a_log_the_log_stays(ppg_here: ppg.PyPipeGraph) -> None:
    def work(temp: Path, log: Path) -> None:
        temp.write_text("temp")
        log.write_text("log")

    job = ppg.TempFilePlusGeneratingJob("t.txt", "t.log", work, HERE)
    ppg.FileGeneratingJob("a.txt", read, HERE).depends_on(job)
    ppg.run()
    assert not Path("t.txt").exists()
    assert Path("t.log").read_text() == "log"
    with pytest.raises(ValueError, match="differ"):
        ppg.TempFilePlusGeneratingJob("x.txt", "./x.txt", work)


def test_files_that_were_written_instead_are_listed_up_to_a_limit(
    ppg_here: ppg.PyPipeGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LISTED_MAX", 2)

    def work(path: Path) -> None:
        for name in "bcd":
            Path(name).touch()

    job = ppg.FileGeneratingJob("a.txt", work, HERE)
    ppg.run(raise_on_job_error=False, print_failures=False)
    assert "these were written: b, c and 1 more." in str(job.exception)


def test_facts_tell_size_time_and_content(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("abc")
    os.utime(path, ns=(5, 7))
    size, changed_ns, digest = files.facts_of(str(path))
    assert (size, changed_ns, len(digest)) == (3, 7, 16)


def test_not_capturing_is_possible(ppg_here: ppg.PyPipeGraph) -> None:
    job = ppg.FileGeneratingJob("a.txt", write, always_capture_output=False)
    ppg.run()
    assert job.stdout == "not captured"


@pytest.mark.parametrize("names", [[], {}, 5, "a.txt", [5], [""], ["a\0b"]])
def test_names_that_cannot_be_are_refused(ppg_here: ppg.PyPipeGraph, names: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        ppg.MultiFileGeneratingJob(names, write_all)


def name_all(paths: Any) -> None:
    """Each holds what it is for the function."""
    for key, path in paths.items() if isinstance(paths, dict) else enumerate(paths):
        path.write_text(str(key))


@pytest.mark.parametrize(
    ("before", "after", "contents"),
    [
        (["a.txt", "b.txt"], ["b.txt", "a.txt"], "10"),
        ({"x": "a.txt", "y": "b.txt"}, {"y": "a.txt", "x": "b.txt"}, "yx"),
    ],
)
def test_a_job_runs_again_if_its_files_are_others_for_its_function(
    ppg_here: ppg.PyPipeGraph, before: Any, after: Any, contents: str
) -> None:
    ppg.MultiFileGeneratingJob(before, name_all)
    ppg.run()
    ppg.new()
    job = ppg.MultiFileGeneratingJob(after, name_all)
    ppg.run()
    assert job.outcome.outcome is ppg.JobOutcome.Success
    assert Path("a.txt").read_text() + Path("b.txt").read_text() == contents
    ppg.new()
    ppg.MultiFileGeneratingJob(dict(reversed(after.items())) if isinstance(after, dict) else after,
                               name_all)  # fmt: skip
    assert ppg.run()[job.job_id].outcome is ppg.JobOutcome.Skipped


def test_the_order_of_a_set_of_files_does_not_count(ppg_here: ppg.PyPipeGraph) -> None:
    job = ppg.MultiFileGeneratingJob({"b.txt", "a.txt", "c.txt"}, name_all)
    assert job.outputs == ("a.txt", "b.txt", "c.txt")


def test_the_two_files_of_a_job_with_a_log_cannot_be_swapped(ppg_here: ppg.PyPipeGraph) -> None:
    def write_both(temporary: Path, log: Path) -> None:
        temporary.write_text("temporary")
        log.write_text("log")

    ppg.TempFilePlusGeneratingJob("a.txt", "b.txt", write_both)
    ppg.run()
    ppg.new()
    ppg.TempFilePlusGeneratingJob("b.txt", "a.txt", write_both)
    ppg.run()
    assert Path("a.txt").read_text() == "log"
