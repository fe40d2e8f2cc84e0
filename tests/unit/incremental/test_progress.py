"""The line that says how far a run is."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from pypelinin.engine.run import Run
from pypelinin.graph.declared import ALWAYS, OUTPUT, Declared
from pypelinin.incremental import progress as module
from pypelinin.incremental.enums import JobOutcome
from pypelinin.incremental.exceptions import JobCanceled
from pypelinin.incremental.outcomes import RecordedJobOutcome
from pypelinin.incremental.progress import CLEAR, RESTORE, SAVE, Counts, Progress, span


class FakeClock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class FakeRunning:
    """Three jobs are handed out, of which one runs."""

    def __init__(self) -> None:
        jobs = [Declared(OUTPUT, name=str(i), outputs=(str(i),), there=()) for i in range(3)]
        given = Declared(ALWAYS, name="p", outputs=("p",), given=((),), invariant=True)
        self.run = Run([*jobs, given])

    def working(self) -> list[int]:
        return [0]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def begun(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, clock: Any, is_quiet: bool = False
) -> Progress:
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    made = Progress(is_quiet, clock)
    running: Any = FakeRunning()
    made.began(running)
    return made


JOB: Any = type("Job", (), {"job_id": "a"})()
FINE = RecordedJobOutcome("a", JobOutcome.Success)
FAILED = RecordedJobOutcome("a", JobOutcome.Failed, ValueError("no\nmore"))


def test_invariants_do_not_count() -> None:
    running: Any = FakeRunning()
    counts = module.counted(running, 0, 10.0)
    assert counts == Counts(0, 1, 2, 0)
    assert counts.total == 3


def test_what_is_left_is_judged_by_what_has_run() -> None:
    running: Any = FakeRunning()
    running.run.done(0, ((),))
    assert module.counted(running, 1, 10.0) == Counts(1, 1, 1, 0, 0, 20.0)


def test_failed_and_cancelled_jobs_are_told_apart() -> None:
    running: Any = FakeRunning()
    running.run.failed(0)
    running.run.cancel()
    running.run.killed(1)
    counts = module.counted(running, 1, 10.0)
    assert (counts.failed, counts.cancelled, counts.waiting) == (1, 1, 0)
    assert "1 cancelled" in str(counts)


def test_nothing_is_written_when_it_is_quiet(monkeypatch: pytest.MonkeyPatch, clock: Any) -> None:
    stream = Terminal()
    quiet = begun(monkeypatch, stream, clock, is_quiet=True)
    clock.now += 100.0
    quiet.beat()
    quiet.ended(JOB, FAILED)
    quiet.over({})
    assert stream.getvalue() == ""


def test_a_file_gets_a_line_every_few_seconds(monkeypatch: pytest.MonkeyPatch, clock: Any) -> None:
    stream = io.StringIO()
    plain = begun(monkeypatch, stream, clock)
    plain.beat()
    assert stream.getvalue() == ""
    clock.now += 5.0
    plain.beat()
    plain.beat()
    assert stream.getvalue() == "0 done, 1 running, 2 waiting, 0 failed\n"
    plain.ended(JOB, FINE)
    plain.over({"a": FINE})
    assert stream.getvalue().endswith("\n1 ran in 5.0 s\n")


def test_a_short_run_leaves_a_file_empty(monkeypatch: pytest.MonkeyPatch, clock: Any) -> None:
    stream = io.StringIO()
    plain = begun(monkeypatch, stream, clock)
    plain.ended(JOB, FAILED)
    plain.over({"a": FAILED})
    assert stream.getvalue() == ""


def test_on_a_terminal_the_line_is_written_over_and_what_is_typed_stays(
    monkeypatch: pytest.MonkeyPatch, clock: Any
) -> None:
    stream = Terminal()
    shown = begun(monkeypatch, stream, clock)
    shown.prompt = " > "
    clock.now += 1.0
    shown.beat()
    first = stream.getvalue()
    assert first.startswith("0 done, 1 running")
    assert first.endswith(" > ")
    clock.now += 1.0
    shown.beat()
    second = stream.getvalue()[len(first) :]
    assert second == f"{SAVE}\r{first}{RESTORE}"


def test_after_enter_and_after_a_message_the_line_is_drawn_anew(
    monkeypatch: pytest.MonkeyPatch, clock: Any
) -> None:
    stream = Terminal()
    shown = begun(monkeypatch, stream, clock)
    clock.now += 1.0
    shown.beat()
    stream.truncate(0)
    stream.seek(0)
    shown.say("hello")
    shown.beat()
    shown.line_ended()
    shown.beat()
    text = stream.getvalue()
    assert text.startswith(f"{CLEAR}hello\n0 done")
    assert SAVE not in text


def test_failures_are_told_on_a_terminal_but_not_what_an_abort_ended(
    monkeypatch: pytest.MonkeyPatch, clock: Any
) -> None:
    stream = Terminal()
    shown = begun(monkeypatch, stream, clock)
    shown.ended(JOB, FAILED)
    shown.ended(JOB, RecordedJobOutcome("a", JobOutcome.Failed, JobCanceled("x")))
    assert stream.getvalue() == "a failed: no\n"


def test_a_terminal_that_goes_away_does_not_end_a_run(
    monkeypatch: pytest.MonkeyPatch, clock: Any
) -> None:
    stream = Terminal()
    shown = begun(monkeypatch, stream, clock)
    stream.close()
    shown.say("hello")
    clock.now += 10.0
    shown.beat()
    shown.over({})


def test_counting_takes_a_small_part_of_the_time(
    monkeypatch: pytest.MonkeyPatch, clock: Any
) -> None:
    stream = Terminal()
    shown = begun(monkeypatch, stream, clock)

    def slow(*_: object) -> Counts:
        clock.now += 1.0
        return Counts(0, 0, 0, 0)

    monkeypatch.setattr(module, "counted", slow)
    clock.now += 1.0
    shown.beat()
    length = len(stream.getvalue())
    clock.now += 15.0
    shown.beat()
    assert len(stream.getvalue()) == length
    clock.now += 10.0
    shown.beat()
    assert len(stream.getvalue()) > length


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (119, "119 s"), (600, "10 min"),
     (7200, "2.0 h")],
)  # fmt: skip
def test_times_are_short(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_a_summary_names_what_there_was() -> None:
    pruned = RecordedJobOutcome("b", JobOutcome.Pruned)
    text = module.summary({"a": FAILED, "b": pruned}, 1)
    assert text == "1 ran, 1 failed, 1 pruned"
    assert module.summary({}, 0) == "nothing to do"


def test_a_stream_that_is_none_is_no_terminal() -> None:
    assert not module.is_terminal(None)
    assert module.columns(io.StringIO()) == 80
