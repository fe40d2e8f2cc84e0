"""Runs that are stopped, aborted or interrupted: what is done is kept, what is left runs next."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pypelinin.incremental as ppg
from pypelinin.incremental import inside
from pypelinin.incremental.running import Running
from pypelinin.incremental.watching import Watcher


class Acting(Watcher):
    """Calls *act* at each beat until it gives True."""

    beat_s = 0.02

    def __init__(self, act: Callable[[Running], bool]) -> None:
        self.act = act
        self.running: Running | None = None

    def began(self, running: Running) -> None:
        self.running = running

    def beat(self) -> None:
        if self.running is not None and self.act(self.running):
            self.running = None


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    ppg.change_global_pipegraph(None)


def begin(*watchers: Watcher, **options: Any) -> ppg.PyPipeGraph:
    usual = {"cores": 2, "dir_config": ".ppg", "run_mode": ppg.RunMode.NONINTERACTIVE,
             "log_address": None}  # fmt: skip
    graph = ppg.new(**{**usual, **options})
    told = graph.watchers
    graph.watchers = lambda: [*told(), *watchers]  # type: ignore[method-assign]  # ours, too
    return graph


def waits(path: Path) -> None:
    Path(f"{path}.begun").touch()
    signal.pause()


def writes(path: Path) -> None:
    path.write_text("x")


def ended_by_file(path: Path) -> None:
    """Runs until a file is there."""
    Path(f"{path}.begun").touch()
    while not Path("go").exists():
        signal.sigtimedwait([], 0.01)
    path.write_text("x")


def test_an_abort_ends_what_runs_and_keeps_what_is_done(here: Path) -> None:
    begin(Acting(lambda running: Path("b.begun").exists() and (running.abort() or True)))
    ppg.FileGeneratingJob("a", writes, depend_on_function=False)
    ppg.FileGeneratingJob("b", waits, depend_on_function=False).depends_on("a")
    ppg.FileGeneratingJob("c", writes, depend_on_function=False).depends_on("b")
    with pytest.raises(ppg.JobsFailed, match="aborted: 1 jobs failed or were ended, 1 were not"):
        ppg.run(print_failures=False)
    outcomes = ppg.global_pipegraph.last_run_result
    assert isinstance(outcomes["b"].error_or_none, ppg.JobCanceled)
    assert outcomes["b"].start_time is not None
    assert outcomes["c"].start_time is None

    begin()
    for name in "abc":
        ppg.FileGeneratingJob(name, writes, depend_on_function=False)
    ppg.global_pipegraph.jobs["b"].depends_on("a")
    ppg.global_pipegraph.jobs["c"].depends_on("b")
    outcomes = ppg.run()
    kinds = [outcomes[name].outcome.name for name in "abc"]
    assert kinds == ["Skipped", "Success", "Success"]


def test_a_stop_lets_what_runs_end_and_begins_nothing_more(here: Path) -> None:
    def act(running: Running) -> bool:
        if not Path("a.begun").exists():
            return False
        running.stop()
        Path("go").touch()
        return True

    begin(Acting(act), cores=1)
    ppg.FileGeneratingJob("a", ended_by_file)
    for i in range(5):  # handed out together with it, but not begun
        ppg.FileGeneratingJob(f"b{i}", writes)
    with pytest.raises(ppg.JobsFailed, match="stopped: 0 jobs failed or were ended, 5 were not"):
        ppg.run()
    assert ppg.global_pipegraph.last_run_result["a"].outcome is ppg.JobOutcome.Success
    assert not list(here.glob("b*"))


def test_a_stop_that_leaves_nothing_is_no_failure(here: Path) -> None:
    def act(running: Running) -> bool:
        if not Path("a.begun").exists():
            return False
        running.stop()
        Path("go").touch()
        return True

    begin(Acting(act))
    ppg.FileGeneratingJob("a", ended_by_file)
    assert ppg.run()["a"].outcome is ppg.JobOutcome.Success


def test_jobs_of_this_process_that_wait_are_not_begun_after_an_abort(here: Path) -> None:
    begun: list[str] = []
    graph = begin(Acting(lambda running: bool(begun) and (running.abort() or True)))
    for name in "xyz":
        ppg.JobGeneratingJob(name, lambda name=name: begun.append(name))
    with pytest.raises(KeyboardInterrupt):
        graph.run()
    assert len(begun) == 1


def test_one_job_can_be_ended_and_the_others_go_on(here: Path) -> None:
    begin(Acting(lambda running: Path("b.begun").exists() and running.kill("b")))
    ppg.FileGeneratingJob("a", writes)
    ppg.FileGeneratingJob("b", waits)
    outcomes = ppg.run(print_failures=False, raise_on_job_error=False)
    assert outcomes["a"].outcome is ppg.JobOutcome.Success
    assert "ended by `kill`" in str(outcomes["b"].error_or_none)


def test_ctrl_c_leaves_a_loader_that_runs_in_this_process(here: Path) -> None:
    """And what was to read it is not begun."""

    def loads() -> str:
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()
        return "x"

    begin()
    data = ppg.DataLoadingJob("data", loads, depend_on_function=False)
    for name in ("a", "b"):
        ppg.FileGeneratingJob(name, writes).depends_on(data)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ppg.JobsFailed, match="aborted"):
        ppg.run(print_failures=False)
    assert signal.getsignal(signal.SIGINT) is before
    assert not inside.is_interruptible
    assert not list(here.glob("[ab]"))


def test_ctrl_c_ends_a_run_at_once_while_it_waits(here: Path) -> None:
    def act(running: Running) -> bool:
        if not Path("b.begun").exists():
            return False
        os.kill(os.getpid(), signal.SIGINT)
        return True

    begin(Acting(act))
    ppg.FileGeneratingJob("b", waits)
    with pytest.raises(ppg.JobsFailed, match="aborted"):
        ppg.run(print_failures=False)


def test_what_a_job_printed_before_it_died_is_told(here: Path) -> None:
    def dies(path: Path) -> None:
        print("last words", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    begin()
    ppg.FileGeneratingJob("a", dies)
    outcome = ppg.run(print_failures=False, raise_on_job_error=False)["a"]
    assert isinstance(outcome.error_or_none, ppg.JobDied)
    assert outcome.stdout == "last words\n"


def test_the_times_of_a_job_that_failed_are_its_own(here: Path) -> None:
    def fails(path: Path) -> None:
        raise ValueError("no")

    begin()
    ppg.FileGeneratingJob("a", fails)
    outcome = ppg.run(print_failures=False, raise_on_job_error=False)["a"]
    assert outcome.payload.started == outcome.start_time
