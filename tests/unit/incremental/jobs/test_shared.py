"""Results that several projects share: found by what they were made from."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pypelinin.incremental as ppg
from pypelinin.incremental import JobOutcome, RunMode, state
from pypelinin.incremental.jobs.shared import LOG_NAME, NO_INPUT

PREFIX = "../shared"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project below tmp_path, so that another one can be beside it."""
    place = tmp_path / "one"
    place.mkdir()
    monkeypatch.chdir(place)
    before = state.graph
    yield place
    state.change(before)


def new() -> None:
    ppg.new(cores=1, run_mode=RunMode.NONINTERACTIVE, dir_config=".ppg")


def make(files: Any, target: Path, calls: str = "../calls") -> None:
    with open(calls, "a") as log:
        log.write("made\n")
    for path in files.values() if isinstance(files, dict) else files:
        path.write_text(Path("in.txt").read_text()[:1] + path.name)


def made() -> int:
    return len(Path("../calls").read_text().splitlines()) if Path("../calls").exists() else 0


def shared(function: Any = make, **options: Any) -> Any:
    files = options.pop("files", {"a": "a.txt", "b": "sub/b.txt"})
    return ppg.SharedMultiFileGeneratingJob(PREFIX, files, function, **options)


def run(**options: Any) -> tuple[Any, JobOutcome]:
    """One run of a graph of the shared job and the file it reads."""
    new()
    job = shared(**options)
    job.depends_on_file("in.txt")
    result = ppg.run(print_failures=False)
    return job, result[job.job_id].outcome


def failure_of(job: Any) -> Exception:
    with pytest.raises(ppg.JobsFailed):
        ppg.run(print_failures=False)
    found: Exception = job.exception
    return found


def entries(place: str) -> list[str]:
    return sorted(os.listdir(f"{PREFIX}/{place}"))


# --- what is made, and when -------------------------------------------------------------------


def test_a_result_is_laid_out_by_content_and_by_input() -> None:
    Path("in.txt").write_text("1")
    job, outcome = run()
    assert outcome is JobOutcome.Success
    (key,), (done,) = entries("by_input"), entries("done")
    assert len(key) == len(done) == 128
    assert os.readlink(f"{PREFIX}/by_input/{key}") == f"../done/{done}"
    assert entries("build") == []
    source, uses = entries("used_by")
    assert (source[-7:], uses[-5:]) == (".source", ".uses")
    assert os.readlink(f"{PREFIX}/used_by/{uses}") == f"../by_input/{key}"
    history = Path(f"{PREFIX}/used_by/{source}").read_text()
    assert history == os.path.abspath(".ppg/history/history.sqlite3")
    assert json.loads(Path(".ppg/history", LOG_NAME).read_text()) == {PREFIX: key}
    assert job.target_folder == Path(PREFIX, "by_input", key)
    assert job["b"].read_text() == "1b.txt"


def test_an_unchanged_run_makes_nothing() -> None:
    Path("in.txt").write_text("1")
    run()
    job, outcome = run()
    assert (outcome, made()) == (JobOutcome.Skipped, 1)
    assert job["a"].read_text() == "1a.txt"


def test_another_project_finds_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("in.txt").write_text("1")
    run()
    Path("../two").mkdir()
    monkeypatch.chdir("../two")
    Path("in.txt").write_text("1")
    job, outcome = run()
    assert (outcome, made()) == (JobOutcome.Skipped, 1)
    assert job["a"].read_text() == "1a.txt"
    assert len(entries("used_by")) == 4


def test_a_changed_input_makes_another_result_and_the_old_one_goes() -> None:
    Path("in.txt").write_text("1")
    first, _ = run()
    old = first.target_folder
    Path("in.txt").write_text("2")
    job, outcome = run()
    assert (outcome, made()) == (JobOutcome.Success, 2)
    assert job["a"].read_text() == "2a.txt"
    assert not os.path.lexists(old)
    assert len(entries("done")) == 1


def test_what_another_project_needs_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("in.txt").write_text("1")
    job, _ = run()
    old = job.target_folder.resolve()
    Path("../two").mkdir()
    monkeypatch.chdir("../two")
    Path("in.txt").write_text("2")
    run()
    assert old.is_dir()
    assert len(entries("by_input")) == 2


def test_unused_results_stay_if_that_is_asked_for() -> None:
    for text in "121":
        Path("in.txt").write_text(text)
        job, outcome = run(remove_unused=False)
    assert (outcome, made()) == (JobOutcome.Skipped, 2)
    assert job["a"].read_text() == "1a.txt"
    assert len(entries("by_input")) == 2


def test_the_same_content_is_kept_once() -> None:
    for text in ("1", "1 and more"):
        Path("in.txt").write_text(text)
        run(remove_unused=False)
    assert (len(entries("by_input")), len(entries("done")), made()) == (2, 1, 2)


def test_a_result_that_somebody_removed_is_made_again() -> None:
    Path("in.txt").write_text("1")
    job, _ = run()
    job.target_folder.unlink()
    job, outcome = run()
    assert (outcome, made()) == (JobOutcome.Success, 2)
    for path in Path(PREFIX, "done").iterdir():
        path.rename("../gone")
    job, outcome = run()
    assert (outcome, made()) == (JobOutcome.Success, 3)
    assert job["a"].exists()


def test_a_result_that_somebody_changed_is_made_again() -> None:
    Path("in.txt").write_text("1")
    job, _ = run()
    job["a"].write_text("tampered")
    job, outcome = run()
    assert (outcome, made()) == (JobOutcome.Success, 2)
    assert job["a"].read_text() == "1a.txt"
    assert entries("build") == []


def test_a_project_that_never_saw_a_changed_result_notices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("in.txt").write_text("1")
    job, _ = run()
    job["a"].write_text("tampered")
    Path("../two").mkdir()
    monkeypatch.chdir("../two")
    Path("in.txt").write_text("1")
    job, outcome = run()
    assert outcome is JobOutcome.Success
    assert job["a"].read_text() == "1a.txt"


def test_a_result_without_inputs_has_a_name_of_its_own() -> None:
    def plain(files: list[Path], target: Path) -> None:
        files[0].write_text(str(target.is_absolute()))

    for _ in range(2):
        new()
        job = shared(plain, files=["a.txt"], depend_on_function=False)
        ppg.run()
        assert job.target_folder.name == NO_INPUT
    assert job[0].read_text() == "True"


def test_the_key_does_not_depend_on_where_the_store_is_reached(project: Path) -> None:
    new()
    Path("in.txt").write_text("1")
    job = ppg.SharedMultiFileGeneratingJob(project.parent / "shared", ["a"], make)
    job.depends_on_params(3)
    ppg.run()
    new()
    job = ppg.SharedMultiFileGeneratingJob(PREFIX, ["a"], make)
    job.depends_on_params(3)
    assert ppg.run()[job.job_id].outcome is JobOutcome.Skipped


# --- with other jobs --------------------------------------------------------------------------


def consumer(job: Any, name: str = "out.txt") -> ppg.FileGeneratingJob:
    def read(path: Path) -> None:
        with open("../calls", "a") as log:
            log.write("read\n")
        path.write_text(job["a"].read_text())

    return ppg.FileGeneratingJob(name, read)


@pytest.mark.parametrize("cores", [1, 2])
def test_a_consumer_reads_the_files_of_this_run(cores: int) -> None:
    for text in "12":
        Path("in.txt").write_text(text)
        ppg.new(cores=cores, run_mode=RunMode.NONINTERACTIVE, dir_config=".ppg")
        job = shared()
        job.depends_on_file("in.txt")
        consumer(job).depends_on(job)
        ppg.run()
        assert Path("out.txt").read_text() == f"{text}a.txt"


def test_one_graph_run_twice_hands_on_the_new_place() -> None:
    Path("in.txt").write_text("1")
    new()
    job = shared()
    job.depends_on_file("in.txt")
    consumer(job).depends_on(job)
    ppg.run()
    Path("in.txt").write_text("2")
    ppg.run()
    assert Path("out.txt").read_text() == "2a.txt"


def test_who_reads_one_file_rests_if_that_is_the_same() -> None:
    for text, calls in (("1", 2), ("1 and more", 3)):
        Path("in.txt").write_text(text)
        new()
        job = shared()
        job.depends_on_file("in.txt")
        consumer(job).depends_on(f"{PREFIX}/a.txt")
        ppg.run()
        assert made() == calls


def test_a_temporary_input_is_not_made_again_for_an_unchanged_result() -> None:
    def temp(path: Path) -> None:
        with open("../temps", "a") as log:
            log.write("temp\n")
        path.write_text("1")

    outcomes = []
    for _ in range(2):
        new()
        job = shared()
        job.depends_on(ppg.TempFileGeneratingJob("in.txt", temp))
        outcomes.append(ppg.run()[job.job_id].outcome)
    assert outcomes == [JobOutcome.Success, JobOutcome.Skipped]
    assert Path("../temps").read_text() == "temp\n"
    assert not Path("in.txt").exists()


def test_a_generator_counts_only_by_name() -> None:
    Path("in.txt").write_text("1")
    for count in (1, 2):
        new()
        job = shared()

        def generate(count: int = count) -> None:
            for i in range(count):
                ppg.FileGeneratingJob(f"file{i}", lambda path: path.write_text("x"))

        job.depends_on(ppg.JobGeneratingJob("generator", generate, depend_on_function=False))
        outcome = ppg.run()[job.job_id].outcome
    assert outcome is JobOutcome.Skipped


def test_a_job_made_in_the_run_is_found_too() -> None:
    Path("in.txt").write_text("1")
    run()
    new()
    jobs = []

    def generate() -> None:
        job = shared()
        job.depends_on_file("in.txt")
        jobs.append(job)

    ppg.JobGeneratingJob("generator", generate)
    result = ppg.run()
    assert result[jobs[0].job_id].outcome is JobOutcome.Skipped
    assert made() == 1


def test_an_input_that_fails_fails_it() -> None:
    new()
    job = shared()
    job.depends_on_file("missing.txt")
    with pytest.raises(ppg.JobsFailed):
        ppg.run(print_failures=False)
    assert job.outcome.outcome is JobOutcome.UpstreamFailed


# --- where the files are ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "ask",
    [lambda j: j.files, lambda j: j["a"], lambda j: j.find_file("a"), lambda j: j.target_folder],
)
def test_before_a_run_nobody_knows_where_the_files_are(ask: Any) -> None:
    Path("in.txt").write_text("1")
    run()
    new()
    job = shared()
    job.depends_on_file("in.txt")
    with pytest.raises(AttributeError, match="known when it has been run"):
        ask(job)
    ppg.run()
    ask(job)
    job.depends_on_params(3)
    with pytest.raises(AttributeError, match="known when it has been run"):
        ask(job)


def test_where_there_is_no_graph_the_files_are_found_too() -> None:
    """As on another node."""
    Path("in.txt").write_text("1")
    job, _ = run()
    known = job.target_folder
    job.begin()
    del job.graph
    assert job.target_folder == known


def test_a_file_is_found_by_key_and_by_name() -> None:
    Path("in.txt").write_text("1")
    job, _ = run()
    assert job.find_file("b") == job.find_file("sub/b.txt") == job["b"] == job.files[1]
    with pytest.raises(KeyError, match="makes no file 'c'"):
        job.find_file("c")


# --- what goes wrong --------------------------------------------------------------------------


@pytest.mark.parametrize("removed", [True, False])
def test_a_failure_leaves_nothing_but_the_build_if_asked_for(removed: bool) -> None:
    def fail(files: Any, target: Path) -> None:
        files[0].write_text("half")
        raise ValueError("in between")

    new()
    job = shared(fail, files=["a", "b"], remove_build_dir_on_error=removed)
    assert isinstance(failure_of(job), ValueError)
    assert len(entries("build")) == (0 if removed else 1)
    assert entries("done") == [] if os.path.exists(f"{PREFIX}/done") else True


@pytest.mark.parametrize(
    ("text", "empty_ok", "message"),
    [(None, True, "did not create the following files: b"), ("", False, "empty files: b")],
)
def test_files_that_are_missing_or_empty(text: Any, empty_ok: bool, message: str) -> None:
    def some(files: Any, target: Path) -> None:
        files[0].write_text("a")
        if text is not None:
            files[1].write_text(text)

    new()
    job = shared(some, files=["a", "b"], empty_ok=empty_ok, depend_on_function=False)
    assert message in str(failure_of(job))
    assert entries("build") == []


def test_a_result_of_which_files_are_missing() -> None:
    Path("in.txt").write_text("1")
    job, _ = run()
    job["a"].unlink()
    new()
    job = shared()
    job.depends_on_file("in.txt")
    error = failure_of(job)
    assert isinstance(error, ppg.JobContractError)
    assert "files are missing: a.txt" in str(error)


def test_something_else_where_the_link_should_be() -> None:
    Path("in.txt").write_text("1")
    job, _ = run()
    link = job.target_folder
    link.unlink()
    link.mkdir()
    new()
    job = shared()
    job.depends_on_file("in.txt")
    error = failure_of(job)
    assert isinstance(error, ppg.JobEvaluationFailed)
    assert "no symbolic link" in str(error)


def test_two_builds_of_the_same_inputs_that_differ() -> None:
    def differ(files: Any, target: Path) -> None:
        files[0].write_text("mine")

    new()
    job = shared(differ, files=["a"], depend_on_function=False)

    def meanwhile(files: Any, target: Path) -> None:
        done = target.parent.parent / "done" / "other"
        done.mkdir()
        (done / "a").write_text("theirs")
        (target.parent.parent / "by_input").joinpath(NO_INPUT).symlink_to("../done/other")
        differ(files, target)

    job.function = meanwhile
    Path(PREFIX, "by_input").mkdir(parents=True)
    Path(PREFIX, "done").mkdir()
    error = failure_of(job)
    assert isinstance(error, ppg.JobContractError)
    assert "from the same inputs" in str(error)
    assert entries("build") == []


def test_two_processes_that_make_the_same_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each waits in its function until the other one is there, too."""
    for name in ("two", "three"):
        Path(f"../{name}").mkdir()
        Path(f"../{name}/in.txt").write_text("1")
    for name in ("left", "right"):
        os.mkfifo(f"../{name}")

    def meet(files: Any, target: Path) -> None:
        modes = ("w", "r") if Path.cwd().name == "two" else ("r", "w")
        for name, mode in zip(("left", "right"), modes, strict=True):
            open(f"../{name}", mode).close()  # until the other one opens it, too
        make(files, target)

    pids = []
    for name in ("two", "three"):
        pid = os.fork()
        if not pid:
            code = 1
            try:
                os.chdir(f"../{name}")
                new()
                job = shared(meet, depend_on_function=False)
                job.depends_on_file("in.txt")
                ppg.run()
                assert job["a"].read_text() == "1a.txt"
                code = 0
            finally:
                os._exit(code)
        pids.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0, 0]
    assert made() == 2
    assert (len(entries("by_input")), len(entries("done")), entries("build")) == (1, 1, [])
    assert len(entries("used_by")) == 4


@pytest.mark.parametrize(
    ("files", "function", "error"),
    [
        (["/absolute"], make, ValueError),
        (["../up"], make, ValueError),
        (["."], make, ValueError),
        (["a", "a"], make, ValueError),
        ([], make, ValueError),
        ("a", make, TypeError),
        (["a"], lambda files: None, TypeError),
        (["a"], lambda: None, TypeError),
        (["a"], None, TypeError),
    ],
)
def test_what_cannot_be(files: Any, function: Any, error: type[Exception]) -> None:
    new()
    with pytest.raises(error):
        ppg.SharedMultiFileGeneratingJob(PREFIX, files, function)


def test_a_project_in_a_container_is_named_by_its_place_outside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pypelinin.incremental.jobs.shared import _name_of_history

    monkeypatch.setenv("ANYSNAKE2_PROJECT_DIR", "/outside/study")
    assert _name_of_history(Path("/project/.ppg/h")) == "/outside/study/.ppg/h"
    assert _name_of_history(Path("/projects/.ppg/h")) == "/projects/.ppg/h"
