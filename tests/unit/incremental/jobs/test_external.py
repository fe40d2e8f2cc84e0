"""Jobs that run programs and scripts."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pypelinin.incremental as ppg
from pypelinin.incremental import ExternalOutputPath, JobOutcome, RunMode, state
from pypelinin.incremental.jobs.external import checked_command, pretty


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    before = state.graph
    new()
    yield tmp_path
    state.change(before)


def new(run_mode: RunMode = RunMode.NONINTERACTIVE) -> None:
    ppg.new(cores=1, run_mode=run_mode, dir_config=".ppg")


def external(command: Any, **options: Any) -> Any:
    return ppg.ExternalJob("out", options.pop("files", {}), command, **options)


def text(name: str) -> str:
    return Path("out", name).read_text()


def failure_of(job: Any) -> str:
    with pytest.raises(ppg.JobsFailed):
        ppg.run(print_failures=False)
    return f"{type(job.exception).__name__}: {job.exception}"


def outcome_of(job: Any) -> JobOutcome:
    return ppg.run(print_failures=False)[job.job_id].outcome


# --- what is run, and what is kept of it ------------------------------------------------------


def test_what_a_program_was_and_printed_is_kept() -> None:
    job = external(
        ["sh", "-c", "echo out; echo err >&2; pwd > 'where am i'"], files={"w": "where am i"}
    )
    ppg.run()
    assert text("stdout.txt") == "out\n"
    assert text("stderr.txt") == "err\n"
    assert text("return_code.txt") == "0"
    assert text("cmd.txt") == """sh -c 'echo out; echo err >&2; pwd > '"'"'where am i'"'"''\n"""
    assert text("where am i") == f"{Path('out').resolve()}\n"
    assert job["w"] == Path("out/where am i")
    assert job["stdout"] == Path("out/stdout.txt")
    assert job.output_path == Path("out")
    assert type(job) is ppg.MultiFileGeneratingJob


def test_files_get_the_prefix() -> None:
    external(["true"], std_prefix="first_")
    ppg.ExternalJob("out", {}, ["echo", "2"], std_prefix="second_")
    ppg.run()
    assert text("second_stdout.txt") == "2\n"
    assert sorted(os.listdir("out")) == sorted(
        f"{number}_{name}.txt"
        for number in ("first", "second")
        for name in ("stdout", "stderr", "cmd", "return_code")
    )


def test_the_directory_of_the_output_is_an_absolute_path() -> None:
    external(
        ["cp", ExternalOutputPath() / ".." / "in.txt", ExternalOutputPath() / "a.txt"],
        files={"a": ExternalOutputPath() / "a.txt"}, cwd="/",
    )  # fmt: skip
    Path("in.txt").write_text("content")
    ppg.run()
    assert text("a.txt") == "content"
    assert repr(ExternalOutputPath() / "a" / Path("b")) == "ExternalOutputPath() / 'a' / 'b'"
    assert ExternalOutputPath() / "a" == ExternalOutputPath("a")
    assert hash(ExternalOutputPath() / "a") == hash(ExternalOutputPath("a"))


def test_a_command_may_be_found_out_when_it_runs() -> None:
    def command() -> list[Any]:
        return ["echo", Path("in.txt").read_text(), 3]

    ppg.FileGeneratingJob("in.txt", lambda path: path.write_text("made"))
    external(command).depends_on("in.txt")
    ppg.run()
    assert text("stdout.txt") == "made 3\n"


def test_variables_are_added_to_those_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT_VARIABLE", "kept")
    external(["sh", "-c", "echo $KEPT_VARIABLE $NUMBER $PLACE"],
             env={"NUMBER": 3, "PLACE": ExternalOutputPath()})  # fmt: skip
    ppg.run()
    assert text("stdout.txt") == f"kept 3 {Path('out').resolve()}\n"


def test_where_it_is_started_can_be_chosen() -> None:
    Path("elsewhere").mkdir()
    external(["pwd"], cwd="elsewhere")
    ppg.run()
    assert text("stdout.txt") == f"{Path('elsewhere').resolve()}\n"


@pytest.mark.parametrize("is_new", [True, False])
def test_it_may_have_a_session_of_its_own(is_new: bool) -> None:
    code = "import os; print(os.getsid(0) == os.getpid())"
    external([sys.executable, "-c", code], start_new_session=is_new)
    ppg.run()
    assert text("stdout.txt") == f"{is_new}\n"


def test_it_reads_nothing_from_the_terminal() -> None:
    external(["cat"], resources=ppg.Resources.RunsHere)
    read, write = os.pipe()
    os.write(write, b"typed")
    os.close(write)
    kept = os.dup(0)
    os.dup2(read, 0)
    try:
        ppg.run()
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        os.close(read)
    assert text("stdout.txt") == ""


def test_functions_are_called_before_and_after() -> None:
    def before(job: Any) -> None:
        (job.output_path / "in").write_text("before")

    def after(job: Any) -> None:
        job["a"].write_text(job["stdout"].read_text() + " after")

    external(["cat", "in"], files={"a": "a.txt"}, call_before=before, call_after=after)
    ppg.run()
    assert text("a.txt") == "before after"


def test_a_long_command_has_a_line_for_each_argument() -> None:
    assert pretty(["a", "b c"]) == "a 'b c'"
    assert pretty(["program", "x" * 80]) == f"program \\\n    {'x' * 80}"


# --- how it ends ------------------------------------------------------------------------------


def test_return_codes_are_allowed_one_by_one() -> None:
    external(["sh", "-c", "exit 3"], allowed_return_codes=[0, 3])
    ppg.run()
    assert text("return_code.txt") == "3"


def test_another_return_code_fails_the_job() -> None:
    def after(job: Any) -> None:
        Path("after").write_text("")

    job = external(["sh", "-c", "echo the reason >&2; exit 2"], call_after=after)
    error = failure_of(job)
    assert error.startswith("ValueError: sh -c")
    assert "return code 2 (allowed: 0)" in error
    assert "the reason" in error
    assert text("return_code.txt") == "2"
    assert not Path("after").exists()


def test_a_signal_is_named() -> None:
    job = external(["sh", "-c", "kill -9 $$"])
    assert "was ended by signal 9" in failure_of(job)


def test_a_program_that_is_not_there() -> None:
    job = external(["no-such-program", "x"])
    assert "FileNotFoundError: 'no-such-program' cannot be started" in failure_of(job)


def test_a_directory_that_is_not_there() -> None:
    job = external(["true"], cwd="nowhere")
    assert "nowhere, to run a program in, is not there" in failure_of(job)


def test_a_file_that_the_program_did_not_write() -> None:
    job = external(["true"], files={"a": "a.txt"})
    assert "did not create the following files: out/a.txt" in failure_of(job)


# --- what it depends on -----------------------------------------------------------------------


def ran(*variants: dict[str, Any]) -> list[bool]:
    """Of runs with these arguments, one after the other, which ran the program."""
    found = []
    for options in variants:
        new()
        found.append(outcome_of(external(**options)) is JobOutcome.Success)
    return found


SAME: dict[str, Any] = {"command": ["echo", "1"]}


@pytest.mark.parametrize(
    ("first", "second", "is_change"),
    [
        ({}, {}, False),
        ({}, {"command": ("echo", "1")}, False),
        ({"command": ["cat", Path("/dev/null")]}, {"command": ["cat", "/dev/null"]}, False),
        ({}, {"command": ["echo", "2"]}, True),
        ({}, {"command": ["echo", "1", ""]}, True),
        ({"command": ["echo", "1", "2"]}, {"command": ["echo", "2", "1"]}, True),
        ({"command": ["echo", ExternalOutputPath()]},
         {"command": ["echo", ExternalOutputPath() / "a"]}, True),
        ({}, {"env": {"A": "1"}}, True),
        ({"env": {"A": "1", "B": "2"}}, {"env": {"B": "2", "A": "1"}}, False),
        ({}, {"cwd": "/"}, True),
        ({}, {"allowed_return_codes": [0, 1]}, True),
        ({}, {"start_new_session": True}, False),
        ({}, {"files": {"a": "stdout.txt.copy"}, "command": ["sh", "-c", "touch stdout.txt.copy"]},
         True),
        ({}, {"call_before": lambda job: None}, True),
        ({"call_after": lambda job: None}, {"call_after": lambda job: 1}, True),
        ({"call_after": lambda job: None}, {"call_after": lambda job: None}, False),
        ({"command": lambda: ["echo", "1"]}, {"command": lambda: ["echo", "2"]}, True),
        ({"command": lambda: ["echo", "1"]}, {"command": lambda: ["echo", "1"]}, False),
    ],
)  # fmt: skip
def test_it_runs_again_if_what_it_is_has_changed(
    first: dict[str, Any], second: dict[str, Any], is_change: bool
) -> None:
    assert ran(SAME | first, SAME | second, SAME | second) == [True, is_change, False]


def test_a_loop_makes_programs_of_their_own() -> None:
    for number in range(3):
        ppg.ExternalJob(f"out{number}", {}, lambda number=number: ["echo", number])
    ppg.run()
    assert [Path(f"out{n}/stdout.txt").read_text() for n in range(3)] == ["0\n", "1\n", "2\n"]


def test_the_same_once_more_is_the_same_job() -> None:
    assert external(["echo", "1"]) is external(["echo", "1"])
    with pytest.raises(ppg.JobRedefinitionError):
        external(["echo", "2"])


def test_a_notebook_may_replace_the_command() -> None:
    new(RunMode.NOTEBOOK)
    external(["echo", "1"])
    ppg.run()
    job = external(["echo", "2"], call_after=lambda job: os.write(1, bytes(job.output_path)))
    ppg.run()
    assert text("stdout.txt") == "2\n"
    assert job.stdout == "out"


# --- of other kinds ---------------------------------------------------------------------------


def test_the_files_may_be_temporary() -> None:
    job = external(["touch", "a"], files={"a": "a"}, job_cls=ppg.MultiTempFileGeneratingJob)
    reader = ppg.FileGeneratingJob("read.txt", lambda path: path.write_text(text("stdout.txt")))
    reader.empty_ok = True
    reader.depends_on(job)
    ppg.run()
    assert Path("read.txt").exists()
    assert not Path("out/a").exists()


def test_the_files_may_be_shared() -> None:
    outcomes = []
    for _ in range(2):
        new()
        job = external(["cp", "stdout.txt", ExternalOutputPath() / "a"], files={"a": "a"},
                       job_cls=ppg.SharedMultiFileGeneratingJob)  # fmt: skip
        outcomes.append(outcome_of(job))
    assert outcomes == [JobOutcome.Success, JobOutcome.Skipped]
    assert job["a"].parent.parent == Path("out/by_input")
    assert job["return_code"].read_text() == "0"


# --- scripts ----------------------------------------------------------------------------------


def test_a_script_is_written_and_run() -> None:
    job = ppg.ShellJob("out", {"a": "a.txt"}, '#!/bin/sh\necho "$0"\necho content > a.txt\n')
    ppg.run()
    script = Path("out/script.sh")
    assert text("stdout.txt") == f"{script.resolve()}\n"
    assert text("a.txt") == "content\n"
    assert script.stat().st_mode & 0o777 == 0o755
    assert job.output_path == Path("out")


def test_a_script_may_be_made_when_it_runs() -> None:
    ppg.ShellJob("out", {}, lambda job: f"#!/bin/sh\necho {job.output_path}\n", std_prefix="x_")
    ppg.run()
    assert text("x_stdout.txt") == "out\n"
    assert Path("out/x_script.sh").exists()


@pytest.mark.parametrize(
    ("first", "second", "is_change"),
    [
        ("#!/bin/sh\necho 1\n", "#!/bin/sh\necho 1\n", False),
        ("#!/bin/sh\necho 1\n", "#!/bin/sh\necho 2\n", True),
        ("#!/bin/sh\necho 1\n", "#!/bin/sh\n# a comment\necho 1\n", True),
        (lambda job: "#!/bin/sh\necho 1\n", lambda job: "#!/bin/sh\necho 2\n", True),
        (lambda job: "#!/bin/sh\necho 1\n", lambda job: "#!/bin/sh\necho 1\n", False),
    ],
)
def test_a_changed_script_runs_again(first: Any, second: Any, is_change: bool) -> None:
    found = []
    for script in (first, second):
        new()
        found.append(outcome_of(ppg.ShellJob("out", {}, script)) is JobOutcome.Success)
    assert found == [True, is_change]


@pytest.mark.parametrize(
    ("script", "error", "message"),
    [
        ("echo 1", ValueError, "names its interpreter"),
        ("", ValueError, "names its interpreter"),
        (b"#!/bin/sh", TypeError, "a text or a function"),
        (None, TypeError, "a text or a function"),
    ],
)
def test_what_is_no_script(script: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ppg.ShellJob("out", {}, script)


def test_a_function_that_gives_no_script() -> None:
    job = ppg.ShellJob("out", {}, lambda job: "echo 1")
    assert "What the script function of" in failure_of(job)


def test_a_script_whose_interpreter_is_not_there() -> None:
    job = ppg.ShellJob("out", {}, "#!/no/such/interpreter\n")
    assert "the interpreter that its first line names" in failure_of(job)


def test_a_shell_job_takes_what_an_external_job_takes() -> None:
    ppg.ShellJob("out", {}, "#!/bin/sh\necho $A\nexit 3\n", allowed_return_codes=[3], env={"A": 1})
    ppg.run()
    assert text("stdout.txt") == "1\n"
    with pytest.raises(TypeError, match="no argument 'shell'"):
        ppg.ShellJob("other", {}, "#!/bin/sh\n", shell=True)


# --- what cannot be ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"command": "echo 1"}, TypeError, "use ShellJob"),
        ({"command": []}, ValueError, "at least the name"),
        ({"command": ["echo", None]}, TypeError, "not None"),
        ({"command": ["echo", True]}, TypeError, "not True"),
        ({"command": 3}, TypeError, "not 3"),
        ({"files": ["a"]}, TypeError, "a dict of key"),
        ({"files": {"stdout": "a"}}, KeyError, "stdout"),
        ({"files": {"a": "/a"}}, ValueError, "not relative"),
        ({"files": {"a": "../a"}}, ValueError, "not relative"),
        ({"files": {"a": "stdout.txt"}}, ValueError, "named twice"),
        ({"call_before": 3}, TypeError, "call_before"),
        ({"call_after": 3}, TypeError, "call_after"),
        ({"env": {"A": None}}, TypeError, "not None"),
        ({"cwd": 3.5j}, TypeError, "not 3.5j"),
    ],
)
def test_what_cannot_be(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        external(**({"command": ["true"]} | options))


def test_a_function_that_gives_no_command() -> None:
    assert "use ShellJob" in failure_of(external(lambda: "echo 1"))
    assert checked_command(("a", Path("b"), 1)) == ["a", "b", "1"]
