"""What people do wrong: the named error, with the facts and what to do."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import pypelinin.incremental as ppg
from pypelinin.incremental.exceptions import JobDied

HERE = ppg.Resources.RunsHere
HERE_AND_IN_SLOTS = pytest.mark.parametrize("resources", [HERE, ppg.Resources.SingleCore])
pytestmark = pytest.mark.usefixtures("ppg_here")


def write(path: Path) -> None:
    path.write_text("written")


def failed(job: Any) -> Any:
    """Run, and what *job* raised."""
    with pytest.raises(ppg.JobsFailed) as caught:
        ppg.run(print_failures=False)
    assert job.job_id in str(caught.value)
    assert [type(one) for one in caught.value.exceptions] == [ppg.JobError]
    return job.exception


def line_of_caller() -> int:
    return sys._getframe(1).f_lineno


# --- definitions --------------------------------------------------------------------------------


def test_two_jobs_that_write_one_file_are_told_with_both_places() -> None:
    ppg.MultiFileGeneratingJob(["a.txt", "b.txt"], write)
    first = line_of_caller() - 1
    with pytest.raises(ppg.JobOutputConflict) as caught:
        ppg.FileGeneratingJob("b.txt", write)
    assert f"{__file__}:{first}" in str(caught.value)
    assert f"{__file__}:{first + 3}" in str(caught.value)
    assert "'b.txt'" in str(caught.value)


def test_two_names_of_one_file_are_one_file() -> None:
    ppg.MultiFileGeneratingJob(["a/b.txt", "c.txt"], write)
    with pytest.raises(ppg.JobOutputConflict):
        ppg.FileGeneratingJob("a/../a//b.txt", write)


def test_a_file_that_two_jobs_write_through_a_link_is_seen() -> None:
    os.mkdir("real")
    os.symlink("real", "link")
    ppg.FileGeneratingJob("real/a.txt", write)
    with pytest.raises(ppg.JobOutputConflict, match=r"link/a\.txt"):
        ppg.FileGeneratingJob("link/a.txt", write)


def test_a_job_that_is_defined_differently_is_told_where_it_was_first() -> None:
    ppg.FileGeneratingJob("a.txt", write)
    line = line_of_caller() - 1
    with pytest.raises(ppg.JobRedefinitionError, match=f"{Path(__file__).name}:{line}"):
        ppg.FileGeneratingJob("a.txt", write, empty_ok=True)
    with pytest.raises(ppg.JobRedefinitionError, match="as a FileGeneratingJob"):
        ppg.TempFileGeneratingJob("a.txt", write)


def test_a_cycle_is_told_with_its_path() -> None:
    a, b, c = (ppg.FileGeneratingJob(f"{name}.txt", write) for name in "abc")
    b.depends_on(a)
    c.depends_on(b)
    a.depends_on(c)
    with pytest.raises(ppg.NotADag) as caught:
        ppg.run()
    text = str(caught.value)
    assert all(f"{one}.txt -> " in text for one in "abc")
    assert "x.txt" not in text


def test_a_cycle_of_two_is_refused_at_once() -> None:
    a = ppg.FileGeneratingJob("a.txt", write)
    b = ppg.FileGeneratingJob("b.txt", write).depends_on(a)
    with pytest.raises(ppg.NotADag, match=r"a.txt -> b.txt -> a.txt"):
        a.depends_on(b)
    with pytest.raises(ppg.NotADag, match="itself"):
        a.depends_on(a)


counted = [1, 2, 3]


def test_a_function_that_reads_outer_variables_is_refused_with_their_names() -> None:
    inner = {"a": 1}

    def work(path: Path) -> None:
        path.write_text(f"{counted} {inner}")

    with pytest.raises(ppg.FunctionUsesUndeclaredNonLocalsError) as caught:
        ppg.FileGeneratingJob("a.txt", work)
    text = str(caught.value)
    assert "counted, inner" in text
    assert "work" in text
    assert "a.txt" in text
    assert "allowed_non_locals=['counted', 'inner']" in text
    ppg.FileGeneratingJob("a.txt", work, allowed_non_locals=["counted", "inner"])


def test_a_job_that_was_refused_is_no_part_of_the_graph(ppg_here: ppg.PyPipeGraph) -> None:
    def work(path: Path) -> None:
        path.write_text(f"{counted}")

    with pytest.raises(ppg.FunctionUsesUndeclaredNonLocalsError):
        ppg.FileGeneratingJob("a.txt", work)
    assert "a.txt" not in ppg_here.jobs
    assert ppg.run() == {}
    ppg.FileGeneratingJob("a.txt", write)
    ppg.run()
    assert Path("a.txt").read_text() == "written"


class Holder:
    def __init__(self, held: object) -> None:
        self.held = held


def test_a_parameter_that_cannot_be_hashed_is_told_by_its_part() -> None:
    with open("x.txt", "w") as file:
        pass
    assert file.closed
    with pytest.raises(TypeError, match=r"parameter\['deep'\]\[1\]\.held is <.*x.txt"):
        ppg.ParameterInvariant("p", {"deep": [1, Holder(file)]})
    with pytest.raises(TypeError, match=r"parameter\[0\] is <function .*FunctionInvariant"):
        ppg.ParameterInvariant("p", [write])
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(TypeError, match=r"parameter\[0\]\[0\] contains itself"):
        ppg.ParameterInvariant("p", [endless])


@pytest.mark.parametrize("name", ["../a.txt", "/tmp/a.txt", "a/../../b.txt", ".."])
def test_an_output_outside_of_the_project_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="prevent_absolute_paths"):
        ppg.FileGeneratingJob(name, write)


def test_an_output_that_only_begins_with_dots_is_fine() -> None:
    ppg.FileGeneratingJob("..a.txt", write)
    ppg.run()
    assert Path("..a.txt").exists()


def test_an_output_through_a_link_out_of_the_project_is_refused(tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    os.symlink(outside, "link")
    with pytest.raises(ValueError, match="symbolic link") as caught:
        ppg.FileGeneratingJob("link/deep/a.txt", write)
    assert str(outside) in str(caught.value)
    ppg.new(prevent_absolute_paths=False)
    ppg.FileGeneratingJob("link/a.txt", write)
    ppg.FileGeneratingJob(outside / "b.txt", write)
    ppg.run()
    assert sorted(os.listdir(outside)) == ["a.txt", "b.txt"]


def test_an_output_that_is_a_link_is_replaced_and_not_what_it_leads_to() -> None:
    Path("precious.txt").write_text("precious")
    os.symlink("precious.txt", "a.txt")
    ppg.FileGeneratingJob("a.txt", write)
    ppg.run()
    assert Path("precious.txt").read_text() == "precious"
    assert not Path("a.txt").is_symlink()


@pytest.mark.parametrize("kind", [ppg.FileGeneratingJob, ppg.TempFileGeneratingJob])
def test_a_function_that_cannot_take_the_path_is_refused(kind: Any) -> None:
    with pytest.raises(TypeError, match="takes none"):
        kind("a.txt", lambda: None)
    with pytest.raises(TypeError, match=r"path='x'"):
        kind("a.txt", lambda path="x": None)
    with pytest.raises(TypeError, match="is a function, not 'work'"):
        kind("a.txt", "work")


def test_resources_are_of_the_enum() -> None:
    with pytest.raises(TypeError, match="Resources"):
        ppg.FileGeneratingJob("a.txt", write, resources=2)  # type: ignore[arg-type]  # no Resources


def test_names_that_cannot_be_are_refused() -> None:
    for name in ("a!!!b", "a:::b"):
        with pytest.raises(ValueError, match="'!!!'"):
            ppg.FileGeneratingJob(name, write)
    with pytest.raises(ValueError, match="no name"):
        ppg.FileGeneratingJob("", write)
    with pytest.raises(TypeError, match=r"'/\.\./'"):
        ppg.DataLoadingJob("a/../b", lambda: "x")
    with pytest.raises(ValueError, match=r"named twice: a\.txt"):
        ppg.MultiFileGeneratingJob(["a.txt", "./a.txt"], write)
    with pytest.raises(TypeError, match="list or a dict"):
        ppg.MultiFileGeneratingJob("a.txt", write)
    with pytest.raises(ValueError, match="very short"):
        ppg.FileInvariant("ab")


def test_a_name_that_no_job_makes_cannot_be_depended_on() -> None:
    job = ppg.FileGeneratingJob("a.txt", write)
    with pytest.raises(KeyError, match="FileInvariant"):
        job.depends_on("nobody.txt")
    with pytest.raises(TypeError, match="not 5"):
        job.depends_on(5)


def test_a_job_of_another_graph_cannot_be_depended_on() -> None:
    old = ppg.FileGeneratingJob("a.txt", write)
    ppg.new()
    job = ppg.FileGeneratingJob("b.txt", write)
    with pytest.raises(ppg.JobContractError, match="another graph"):
        job.depends_on(old)


def test_without_a_graph_nothing_can_be_defined_or_run() -> None:
    ppg.change_global_pipegraph(None)
    with pytest.raises(ValueError, match=r"call new\(\)"):
        ppg.FileGeneratingJob("a.txt", write)
    with pytest.raises(ValueError, match=r"call new\(\)"):
        ppg.run()


# --- what jobs do -------------------------------------------------------------------------------


@HERE_AND_IN_SLOTS
def test_a_job_that_did_not_write_its_file_is_told_what_it_wrote_instead(
    resources: ppg.Resources,
) -> None:
    def work(path: Path) -> None:
        path.with_suffix(".tsv").write_text("x")

    Path("results").mkdir()
    Path("results/old.txt").write_text("x")
    os.utime("results/old.txt", (1, 1))
    error = failed(ppg.FileGeneratingJob("results/a.txt", work, resources))
    assert isinstance(error, ppg.JobContractError)
    assert "did not create the following files: results/a.txt." in str(error)
    assert "these were written: results/a.tsv" in str(error)
    assert "old.txt" not in str(error)


@HERE_AND_IN_SLOTS
def test_an_empty_file_is_an_error_unless_that_is_said(resources: ppg.Resources) -> None:
    error = failed(ppg.FileGeneratingJob("a.txt", lambda path: path.touch(), resources))
    assert isinstance(error, ppg.JobContractError)
    assert "empty files: a.txt" in str(error)
    assert "empty_ok=True" in str(error)


@HERE_AND_IN_SLOTS
def test_a_directory_is_no_file(resources: ppg.Resources) -> None:
    error = failed(ppg.FileGeneratingJob("a.txt", lambda path: path.mkdir(), resources))
    assert isinstance(error, ppg.JobContractError)
    assert "something else: a.txt" in str(error)


@HERE_AND_IN_SLOTS
def test_a_directory_in_the_place_of_an_output_fails_its_job(resources: ppg.Resources) -> None:
    job = ppg.FileGeneratingJob("a.txt", write, resources)
    ppg.run()
    os.unlink("a.txt")
    os.mkdir("a.txt")
    error = failed(job)
    assert isinstance(error, ppg.JobContractError)
    assert "is a directory" in str(error)


def test_a_pipe_in_the_place_of_an_output_does_not_stop_the_run() -> None:
    ppg.FileGeneratingJob("a.txt", write, HERE)
    ppg.run()
    os.unlink("a.txt")
    os.mkfifo("a.txt")
    assert ppg.run()["a.txt"].outcome is ppg.JobOutcome.Success
    assert Path("a.txt").read_text() == "written"


def test_a_followed_file_that_is_no_file_fails() -> None:
    os.mkfifo("pipe")
    os.mkdir("directory")
    pipe, directory = ppg.FileInvariant("pipe"), ppg.FileInvariant("directory")
    missing = ppg.FileInvariant("missing")
    with pytest.raises(ppg.JobsFailed) as caught:
        ppg.run(print_failures=False)
    assert len(caught.value.exceptions) == 3
    assert isinstance(missing.exception, FileNotFoundError)
    assert "'missing' did not exist" in str(missing.exception)
    assert isinstance(pipe.exception, OSError)
    assert isinstance(directory.exception, OSError)


def test_a_job_in_a_slot_may_change_the_directory_if_it_writes_its_file(tmp_path: Path) -> None:
    def work(path: Path) -> None:
        path.write_text("x")
        os.chdir("/")

    ppg.FileGeneratingJob("a.txt", work)
    ppg.FileGeneratingJob("b.txt", write).depends_on("a.txt")
    ppg.run()
    assert (tmp_path / "b.txt").exists()


@HERE_AND_IN_SLOTS
def test_a_job_that_changed_the_directory_and_wrote_there_is_told_so(
    resources: ppg.Resources, tmp_path: Path
) -> None:
    def work(path: Path) -> None:
        os.chdir("elsewhere")
        path.write_text("x")

    os.mkdir("elsewhere")
    error = failed(ppg.FileGeneratingJob("a.txt", work, resources))
    assert isinstance(error, ppg.JobContractError)
    assert f"changed the working directory to {tmp_path}/elsewhere" in str(error)
    assert Path.cwd() == tmp_path


def changes_directory() -> str:
    os.chdir("/")
    return "loaded"


@pytest.mark.parametrize(
    "kind", [ppg.DataLoadingJob, ppg.JobGeneratingJob, ppg.DependencyInjectionJob, ppg.FinalJob]
)
def test_a_job_in_the_caller_must_not_change_the_directory(kind: Any, tmp_path: Path) -> None:
    job = kind("job", changes_directory)
    if kind is ppg.DataLoadingJob:
        ppg.FileGeneratingJob("a.txt", write).depends_on(job)
    error = failed(job)
    assert isinstance(error, ppg.JobContractError)
    assert "changed the working directory" in str(error)
    assert Path.cwd() == tmp_path


def test_a_directory_that_a_job_removes_beneath_itself_hurts_nobody(tmp_path: Path) -> None:
    def work(path: Path) -> None:
        path.write_text("x")
        os.mkdir("gone")
        os.chdir("gone")
        os.rmdir("../gone")

    ppg.FileGeneratingJob("a.txt", work)
    ppg.FileGeneratingJob("b.txt", write).depends_on("a.txt")
    ppg.run()
    assert (tmp_path / "b.txt").exists()


def dies(path: Path) -> None:
    print("last words", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def loads() -> str:
    return "loaded"


@pytest.mark.parametrize("reads_loaded", [False, True])
def test_a_job_killed_by_a_signal_has_died_of_it(
    ppg_here: ppg.PyPipeGraph, reads_loaded: bool
) -> None:
    job = ppg.FileGeneratingJob("a.txt", dies)
    if reads_loaded:
        job.depends_on(ppg.DataLoadingJob("data", loads))
    beside = ppg.FileGeneratingJob("b.txt", write)
    error = failed(job)
    assert isinstance(error, JobDied)
    assert error.exit_code == -signal.SIGKILL
    assert job.stdout == "last words\n"
    assert beside.outcome.outcome is ppg.JobOutcome.Success
    run_dir = ppg_here.dir_config.run_dir
    assert isinstance(run_dir, Path)
    assert list(run_dir.iterdir()) == []


@pytest.mark.parametrize("reads_loaded", [False, True])
def test_a_job_that_ends_its_process_has_died(reads_loaded: bool) -> None:
    job = ppg.FileGeneratingJob("a.txt", lambda path: os._exit(3))
    if reads_loaded:
        job.depends_on(ppg.DataLoadingJob("data", loads))
    error = failed(job)
    assert isinstance(error, JobDied)
    assert error.exit_code == 3


@HERE_AND_IN_SLOTS
def test_a_job_that_calls_exit_has_died_with_its_code(resources: ppg.Resources) -> None:
    error = failed(ppg.FileGeneratingJob("a.txt", lambda path: sys.exit(5), resources))
    assert isinstance(error, JobDied)
    assert error.exit_code == 5


def exits() -> str:
    sys.exit(6)


@pytest.mark.parametrize("kind", [ppg.DataLoadingJob, ppg.JobGeneratingJob, ppg.FinalJob])
def test_a_job_in_the_caller_that_calls_exit_does_not_end_the_run(kind: Any) -> None:
    job = kind("job", exits)
    beside = ppg.FileGeneratingJob("b.txt", write)
    if kind is ppg.DataLoadingJob:
        ppg.FileGeneratingJob("a.txt", write).depends_on(job)
    error = failed(job)
    assert isinstance(error, JobDied)
    assert error.exit_code == 6
    assert beside.outcome.outcome is ppg.JobOutcome.Success


class Unpicklable(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


@HERE_AND_IN_SLOTS
def test_an_exception_that_cannot_travel_is_told_as_text(resources: ppg.Resources) -> None:
    def work(path: Path) -> None:
        raise Unpicklable(1, 2)

    job = ppg.FileGeneratingJob("a.txt", work, resources)
    error = failed(job)
    assert isinstance(error, JobDied)
    assert "Unpicklable: " in str(error)
    assert "1 and 2" in str(error)
    assert "raise Unpicklable(1, 2)" in job.stack_trace


@HERE_AND_IN_SLOTS
def test_an_exception_comes_with_its_trace(resources: ppg.Resources) -> None:
    def work(path: Path) -> None:
        raise ValueError("no such luck")

    job = ppg.FileGeneratingJob("a.txt", work, resources)
    reader = ppg.FileGeneratingJob("b.txt", write).depends_on(job)
    error = failed(job)
    assert isinstance(error, ValueError)
    assert str(error) == "no such luck"
    assert 'raise ValueError("no such luck")' in job.stack_trace
    assert reader.outcome.error == "Upstream"


def test_a_loader_that_returns_nothing_is_told_what_to_return() -> None:
    job = ppg.DataLoadingJob("data", lambda: None)
    ppg.FileGeneratingJob("a.txt", write).depends_on(job)
    error = failed(job)
    assert isinstance(error, ValueError)
    assert "UseInputHashesForOutput" in str(error)


def test_a_loader_that_fails_is_called_once_and_fails_all_its_readers() -> None:
    def load() -> str:
        with open("calls", "a") as calls:
            calls.write("x")
        raise ValueError("not there")

    loader = ppg.DataLoadingJob("data", load)
    top = ppg.DataLoadingJob("top", loads).depends_on(loader)
    readers = [
        ppg.FileGeneratingJob(f"{name}.txt", write).depends_on(job)
        for name, job in (("a", loader), ("b", loader), ("c", top))
    ]
    assert isinstance(failed(loader), ValueError)
    assert Path("calls").read_text() == "x"
    assert [job.outcome.error for job in (top, *readers)] == ["Upstream"] * 4


def test_a_resting_loader_that_fails_for_its_readers_is_called_once() -> None:
    def load() -> str:
        with open("calls", "a") as calls:
            calls.write("x")
        if os.path.exists("bad"):
            raise ValueError("not there")
        return "loaded"

    loader = ppg.DataLoadingJob("data", load)
    top = ppg.DataLoadingJob("top", loads).depends_on(loader)
    for name, job in (("a", loader), ("b", loader), ("c", top)):
        ppg.FileGeneratingJob(f"{name}.txt", write).depends_on(job)
    ppg.run()
    for name in ("a.txt", "b.txt", "c.txt", "calls"):
        os.unlink(name)
    Path("bad").touch()
    assert isinstance(failed(loader), ValueError)
    assert Path("calls").read_text() == "x"


def test_a_temporary_file_that_comes_out_differently_fails_its_job() -> None:
    def work(path: Path) -> None:
        path.write_text(f"{time.time_ns()}")

    job = ppg.TempFileGeneratingJob("t.txt", work, HERE)
    ppg.FileGeneratingJob("a.txt", write, HERE).depends_on(job)
    ppg.FileGeneratingJob("b.txt", write, HERE).depends_on(job)
    ppg.run()
    os.unlink("a.txt")
    error = failed(job)
    assert isinstance(error, ppg.JobContractError)
    assert "changed output" in str(error)
    outcomes = ppg.run()  # who was not run on its word runs now
    assert outcomes["a.txt"].outcome is outcomes["b.txt"].outcome is ppg.JobOutcome.Success


def test_a_job_cannot_run_its_graph() -> None:
    job = ppg.JobGeneratingJob("g", lambda: ppg.run())
    error = failed(job)
    assert isinstance(error, ppg.RunFailed)
    assert "being run already" in str(error)


def test_a_generator_that_makes_a_cycle_fails_with_its_path() -> None:
    def make() -> None:
        new = ppg.FileGeneratingJob("new.txt", write).depends_on("old.txt")
        old.depends_on(new)

    job = ppg.JobGeneratingJob("g", make)
    between = ppg.FileGeneratingJob("between.txt", write).depends_on(job)
    old = ppg.FileGeneratingJob("old.txt", write).depends_on(between)
    error = failed(job)
    assert isinstance(error, ppg.NotADag)


def test_jobs_that_inject_for_nobody_are_refused() -> None:
    def inject() -> None:
        ppg.FileGeneratingJob("stray.txt", write)

    job = ppg.DependencyInjectionJob("d", inject)
    error = failed(job)
    assert isinstance(error, ppg.JobContractError)
    assert "stray.txt" in str(error)


def test_final_jobs_and_invariants_have_no_dependencies() -> None:
    file = ppg.FileGeneratingJob("a.txt", write)
    final = ppg.FinalJob("last", write_nothing)
    for job in (final, ppg.ParameterInvariant("p", 1), ppg.FunctionInvariant(write)):
        with pytest.raises(ppg.JobContractError):
            job.depends_on(file)
    with pytest.raises(ppg.JobContractError, match="nothing depends on it"):
        file.depends_on(final)


def write_nothing() -> None: ...
