"""Signals while a run goes on."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pypelinin.incremental import inside
from pypelinin.incremental.enums import RunMode
from pypelinin.incremental.interrupting import Interrupting

INT, USR1, HUP = signal.SIGINT, signal.SIGUSR1, signal.SIGHUP
AT_ONCE = [RunMode.NOTEBOOK, RunMode.NONINTERACTIVE]
TWICE = [RunMode.CONSOLE, RunMode.CONSOLE_INTERACTIVE]


class FakeRunning:
    def __init__(self) -> None:
        self.done: list[str] = []

    def abort(self) -> None:
        self.done.append("abort")

    def wake(self) -> None:
        self.done.append("wake")


class Case:
    def __init__(self, mode: RunMode) -> None:
        self.now = 100.0
        self.said: list[str] = []
        self.reads_commands = True
        self.watcher = Interrupting(
            mode, lambda: self.reads_commands, self.said.append, lambda: self.now
        )
        self.running: Any = FakeRunning()
        self.watcher.began(self.running)

    def send(self, number: int) -> None:
        signal.raise_signal(number)

    @property
    def aborted(self) -> bool:
        self.watcher.beat()
        return "abort" in self.running.done


@pytest.fixture
def cases(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Case]]:
    made: list[Case] = []
    before = [signal.getsignal(number) for number in (INT, USR1, HUP)]
    yield made
    for case in made:
        case.watcher.over({})
    assert [signal.getsignal(number) for number in (INT, USR1, HUP)] == before


def case_of(mode: RunMode, cases: list[Case]) -> Case:
    cases.append(Case(mode))
    return cases[-1]


@pytest.mark.parametrize("mode", AT_ONCE)
def test_ctrl_c_aborts_at_once_where_nobody_types(mode: RunMode, cases: list[Case]) -> None:
    case = case_of(mode, cases)
    case.send(INT)
    assert case.running.done == ["wake"]
    assert case.aborted


@pytest.mark.parametrize("mode", TWICE)
def test_on_a_console_the_first_ctrl_c_only_tells_how(mode: RunMode, cases: list[Case]) -> None:
    case = case_of(mode, cases)
    case.send(INT)
    assert not case.aborted
    assert "Type 'abort' and Enter, or press Ctrl-C again within 2 s" in case.said[0]


@pytest.mark.parametrize("mode", TWICE)
def test_on_a_console_a_second_ctrl_c_in_time_aborts(mode: RunMode, cases: list[Case]) -> None:
    case = case_of(mode, cases)
    case.send(INT)
    case.now += 1.9
    case.send(INT)
    assert case.aborted


def test_a_second_ctrl_c_that_comes_late_counts_as_a_first(cases: list[Case]) -> None:
    case = case_of(RunMode.CONSOLE, cases)
    case.send(INT)
    case.now += 2.1
    case.send(INT)
    assert not case.aborted


def test_who_cannot_type_is_not_told_to(cases: list[Case]) -> None:
    case = case_of(RunMode.CONSOLE, cases)
    case.reads_commands = False
    case.send(INT)
    case.watcher.beat()
    assert "abort" not in case.said[0]
    assert "Press Ctrl-C again" in case.said[0]


@pytest.mark.parametrize("mode", list(RunMode))
def test_usr1_aborts_everywhere(mode: RunMode, cases: list[Case]) -> None:
    case = case_of(mode, cases)
    case.send(USR1)
    assert case.aborted


@pytest.mark.parametrize("mode", TWICE)
def test_a_terminal_that_goes_away_does_not_end_a_run(mode: RunMode, cases: list[Case]) -> None:
    case = case_of(mode, cases)
    case.send(HUP)
    assert not case.aborted


def test_code_of_a_job_in_this_process_is_left(
    cases: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inside, "is_interruptible", True)
    with pytest.raises(KeyboardInterrupt):
        case_of(RunMode.NOTEBOOK, cases).send(INT)


def test_while_such_code_runs_the_hint_comes_at_once(
    cases: list[Case], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(inside, "is_interruptible", True)
    case = case_of(RunMode.CONSOLE, cases)
    case.send(INT)
    assert "Ctrl-C does not end the run" in capfd.readouterr().err
    with pytest.raises(KeyboardInterrupt):
        case.send(INT)


def test_a_signal_within_a_signal_does_not_wake_twice(cases: list[Case]) -> None:
    case = case_of(RunMode.NOTEBOOK, cases)

    def wake() -> None:
        case.running.done.append("wake")
        signal.raise_signal(USR1)

    case.running.wake = wake
    case.send(INT)
    assert case.running.done == ["wake"]
    assert case.aborted


def test_a_signal_that_is_ignored_stays_so(cases: list[Case]) -> None:
    """A shell that begins us in the background ignores SIGINT for us."""
    former = signal.signal(INT, signal.SIG_IGN)
    try:
        case = Case(RunMode.NOTEBOOK)
        case.send(INT)
        assert not case.aborted
        case.watcher.over({})
        assert signal.getsignal(INT) is signal.SIG_IGN
    finally:
        signal.signal(INT, former)


def test_another_thread_leaves_signals_alone() -> None:
    found: list[Any] = []

    def run() -> None:
        case = Case(RunMode.NOTEBOOK)
        found.append(signal.getsignal(INT))
        case.watcher.over({})

    before = signal.getsignal(INT)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [before]


def test_a_fork_does_not_inherit_what_is_ignored(cases: list[Case]) -> None:
    """Handlers go back to the default there, which SIG_IGN would not."""
    case_of(RunMode.CONSOLE, cases)
    assert callable(signal.getsignal(HUP))
