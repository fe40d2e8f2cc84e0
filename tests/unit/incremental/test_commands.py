"""What the commands of a console do."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pypelinin.incremental as ppg
from pypelinin.engine.run import Run
from pypelinin.graph.declared import OUTPUT, Declared, Input
from pypelinin.incremental import commands as module
from pypelinin.incremental.at_work import Working
from pypelinin.incremental.commands import Commands
from pypelinin.incremental.outcomes import RecordedJobOutcome
from pypelinin.incremental.progress import Counts


class FakeProgress:
    def __init__(self) -> None:
        self.said: list[str] = []

    def counts(self) -> Counts:
        return Counts(0, 1, 2, 0)

    def say(self, text: str) -> None:
        self.said.append(text)


class FakeRunning:
    """Jobs a.txt (runs), b.txt (may begin) and c.txt (waits for b.txt)."""

    def __init__(self, graph: ppg.PyPipeGraph) -> None:
        def write(path: Path) -> None: ...

        self.graph = graph
        self.jobs = [
            ppg.FileGeneratingJob(f"{name}.txt", write, depend_on_function=False) for name in "abc"
        ]
        self.numbers = {job.job_id: n for n, job in enumerate(self.jobs)}
        declared = [Declared(OUTPUT, name=f"{one}.txt", outputs=(f"{one}.txt",)) for one in "abc"]
        declared[2].inputs = [Input(1)]
        for one in declared:
            one.there = ()
        self.run = Run(declared)
        self.started = {0: 1.0, 1: 1.0}
        self.pid = os.getpid()
        self.done: list[str] = []

    def working(self) -> list[Working]:
        return [Working(self.jobs[0], 1.0, self.pid)]

    def abort(self) -> None:
        self.done.append("abort")

    def stop(self) -> None:
        self.done.append("stop")

    def kill(self, job_id: str) -> bool:
        self.done.append(f"kill {job_id}")
        return True


class Console:
    def __init__(self, graph: ppg.PyPipeGraph) -> None:
        self.running: Any = FakeRunning(graph)
        self.progress: Any = FakeProgress()
        self.commands = Commands(self.running, self.progress)

    def __call__(self, name: str, argument: str = "") -> str:
        return self.commands.by_name()[name](argument)


@pytest.fixture
def console(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Console]:
    monkeypatch.chdir(tmp_path)
    made = Console(ppg.new(dir_config=".ppg"))
    yield made
    made.commands.close()
    ppg.change_global_pipegraph(None)


def test_status_is_a_table_of_what_runs(console: Console) -> None:
    lines = console("status").splitlines()
    assert lines[0] == "0 done, 1 running, 2 waiting, 0 failed"
    assert lines[1].split() == ["number", "time", "job"]
    assert lines[2].split()[0] == "0"
    assert lines[2].endswith("a.txt")


def test_status_says_if_nothing_runs(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console.running, "working", list)
    assert console("status").endswith("Nothing runs.")


def test_abort_and_stop_are_told_to_the_run(console: Console) -> None:
    console("again")
    assert "kept" in console("abort")
    assert not console.running.graph.restart_afterwards
    assert "1 jobs still run" in console("stop")
    assert console.running.done == ["abort", "stop"]


@pytest.mark.parametrize(
    ("name", "stops"),
    [("again", False), ("reboot", False), ("stop_and_again", True), ("restart", True)],
)
def test_the_script_can_be_run_again(console: Console, name: str, stops: bool) -> None:
    assert "again" in console(name)
    assert console.running.graph.restart_afterwards
    assert console.running.done == ["stop"] * stops


@pytest.mark.parametrize("name", ["0", "a.txt", "./a.txt"])
def test_kill_takes_a_number_or_a_name(console: Console, name: str) -> None:
    assert console("kill", name) == "FileGeneratingJob: a.txt is ended."
    assert console.running.done == ["kill a.txt"]


def test_kill_of_what_does_not_run_or_cannot_be_ended_says_so(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert console("kill", "b.txt") == "FileGeneratingJob: b.txt does not run."
    assert console("kill", "77") == "There is no job '77'."
    assert console("kill", "").startswith("Say which job")
    assert console("kill", ".txt").startswith("Which of these?\na.txt\nb.txt")
    assert console.running.done == []
    monkeypatch.setattr(console.running, "kill", lambda _job: False)
    assert "runs in this process" in console("kill", "0")


def test_errors_and_runtimes_are_of_what_has_ended(console: Console) -> None:
    assert console("errors") == "Nothing has failed."
    assert console("runtimes") == "Nothing has run."
    job = console.running.jobs[0]
    for name, kind, error, took in (
        ("a", ppg.JobOutcome.Failed, ppg.JobError(ValueError("no")), 2.0),
        ("b", ppg.JobOutcome.Success, None, 3.0),
    ):
        job.job_id = name
        outcome = RecordedJobOutcome(name, kind, error, start_time=10.0, stop_time=10.0 + took)
        console.commands.ended(job, outcome)
    assert console("errors") == "a: no"
    assert [line.split() for line in console("runtimes").splitlines()] == [
        ["3.0", "s", "b"],
        ["2.0", "s", "a"],
    ]


def test_why_tells_what_a_job_waits_for(console: Console) -> None:
    assert "it runs" in console("why", "a.txt")
    assert "as soon as there is room" in console("why", "b.txt")
    told = console("why", "c.txt")
    assert "waits for b.txt" in told
    ppg.ParameterInvariant("p", 1)
    assert "not part of this run" in console("why", "PIp")


def test_what_comes_next_is_what_was_handed_out_and_does_not_run(console: Console) -> None:
    assert console("next") == "b.txt"


def test_next_ends_stay(console: Console) -> None:
    console("stay")
    assert console.commands.shall_stay
    console("next")
    assert not console.commands.shall_stay


def test_open_jobs_are_listed_and_searched(console: Console) -> None:
    assert [line.split()[-1] for line in console("open_jobs").splitlines()] == [
        "a.txt", "b.txt", "c.txt",
    ]  # fmt: skip
    assert console("open_jobs_search", "b").split() == ["1", "ready", "b.txt"]
    assert console("open_jobs_search", "z") == "No such job is open."
    assert "Say what" in console("open_jobs_search")


def test_a_long_list_is_cut(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LISTED_MAX", 1)
    assert console("open_jobs").endswith("\n... and 2 more")


def test_help_has_every_command(console: Console) -> None:
    text = console("help")
    for name in console.commands.by_name():
        assert name in text, name


def test_debug_writes_all_that_is_known(console: Console) -> None:
    assert "debug.txt" in console("debug")
    text = Path("debug.txt").read_text()
    assert "c.txt: asked for, not decided\n" in text


def test_die_ends_this_process(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *to: sent.append(to))
    console("die")
    assert sent == [(os.getpid(), signal.SIGTERM)]


def test_without_py_spy_a_sentence_says_so(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    assert console("spy", "0") == module.NO_SPY
    assert console("spy_flame", "0") == module.NO_SPY
    assert "does not run" in console("spy", "1")


@pytest.fixture
def py_spy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "bin" / "py-spy"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$@" | tee spied\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return program


def test_spy_shows_where_a_job_is(console: Console, py_spy: Path) -> None:
    assert console("spy", "0") == f"dump --pid {os.getpid()}"


def test_a_job_of_another_machine_cannot_be_spied_on(console: Console, py_spy: Path) -> None:
    console.running.pid = 2**30
    assert "not run on this machine" in console("spy", "0")


def test_a_flame_graph_is_told_when_it_is_there(console: Console, py_spy: Path) -> None:
    assert "5 seconds" in console("spy_flame", "0")
    process: subprocess.Popen[bytes] = console.commands._recording[0][0]
    process.wait()
    console.commands.beat()
    assert console.progress.said == ["The flame graph is in flame-0.svg."]
    assert "--output flame-0.svg" in Path("spied").read_text()
