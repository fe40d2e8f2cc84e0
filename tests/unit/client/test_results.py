"""What jobs returned, or why they did not."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from pypelinin.client.results import Outcome, Results, Source, error_of, raised, value_of
from pypelinin.errors import (
    Cancelled,
    DefinitionError,
    Failed,
    JobError,
    Killed,
    RemoteTraceback,
    UpstreamFailed,
)
from pypelinin.graph import states
from pypelinin.graph.job import Job
from pypelinin.pipeline import Pipeline
from pypelinin.runtime.value_store import Values
from pypelinin.runtime.values import pack_error, pack_value
from pypelinin.wire.definitions import GONE, NO_PLACE, Failure

INLINE = Values(NO_PLACE)
WHY = Failure("exception", "ValueError", "no", "Traceback: line 7", "kitchen")


def done(value: Any) -> Outcome:
    return Outcome(states.DONE, pack_value("it", value))


def failed(error: BaseException, failure: Failure | None = WHY) -> Outcome:
    return Outcome(states.FAILED, pack_error(error), failure)


class Known:
    """Outcomes by number, and what was asked for."""

    values = INLINE

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = outcomes
        self.asked: list[tuple[int, float | None]] = []

    def outcome(self, pipeline: Pipeline, number: int, timeout: float | None = None) -> Outcome:
        self.asked.append((number, timeout))
        return self.outcomes[number]


class TwoPart(Exception):
    """Cannot be made from its args."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} {two}")


# --- one job ----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, "", [], (1, 2), {3}, b"\xff", {"a": (None,)}])
def test_a_result_is_the_value_that_was_returned(value: Any) -> None:
    job = Job(len)
    found = value_of(Pipeline([job]), job, done(value), INLINE)
    assert found == value
    assert type(found) is type(value)


def test_no_bytes_are_none() -> None:
    job = Job(len)
    assert value_of(Pipeline([job]), job, Outcome(states.DONE, b""), INLINE) is None


def test_a_result_that_nobody_asked_for_was_not_kept() -> None:
    inner = Job(len)
    outer = Job(len, args=(inner,))
    pipeline = Pipeline([outer], results=[outer])
    assert value_of(pipeline, outer, done(1), INLINE) == 1
    with pytest.raises(DefinitionError, match=r"result of <Job .*> was not kept") as caught:
        value_of(pipeline, inner, done(1), INLINE)
    assert "Pipeline(results=...)" in caught.value.remedy


def test_a_result_that_is_gone_is_said_and_not_opened() -> None:
    job = Job(len)
    with pytest.raises(DefinitionError, match="was not kept"):
        value_of(Pipeline([job]), job, Outcome(states.DONE, GONE), INLINE)


def test_a_job_that_is_done_has_no_error() -> None:
    assert error_of("r", "A", done(1)) is None


@pytest.mark.parametrize(
    ("outcome", "kind", "text"),
    [
        (Outcome(states.CANCELLED, b""), Cancelled, "Job 'A' of run r was cancelled"),
        (Outcome(states.SKIPPED, b""), UpstreamFailed, "Job 'A' of run r was skipped"),
        (Outcome(states.FAILED, b"", WHY), Failed, "on kitchen: ValueError: no"),
        (Outcome(states.FAILED, b"", Failure("signal", "SIGKILL", "x")), Killed, "SIGKILL: x"),
        (Outcome(states.FAILED, b""), Failed, "its details were not kept"),
    ],
)
def test_every_other_end_has_its_error(outcome: Outcome, kind: type[JobError], text: str) -> None:
    error = error_of("r", "A", outcome)
    assert type(error) is kind
    assert text in str(error)
    assert error.exception is None


def test_the_exception_of_the_function_comes_with_its_traceback() -> None:
    error = error_of("r", "A", failed(KeyError("missing")))
    assert isinstance(error, Failed)
    assert isinstance(error.exception, KeyError)
    assert error.exception.args == ("missing",)
    for one in (error, error.exception):
        assert isinstance(one.__cause__, RemoteTraceback)
        assert "line 7" in str(one.__cause__)


def test_an_exception_without_a_remote_traceback_has_no_cause() -> None:
    error = raised(failed(KeyError("missing"), None))
    assert isinstance(error, KeyError)
    assert error.__cause__ is None


def test_a_value_is_no_exception_and_a_job_that_is_done_has_none() -> None:
    assert raised(Outcome(states.FAILED, pack_value("it", "text"), WHY)) is None
    assert raised(Outcome(states.DONE, pack_error(KeyError()), WHY)) is None


@pytest.mark.parametrize(
    "packed",
    [b"pjunk", b"m\xc1", b"p", GONE, b"pcno_such_module\nOdd\n.", pack_error(TwoPart(1, 2))],
)
def test_an_exception_that_cannot_be_rebuilt_is_left_out(packed: bytes) -> None:
    assert packed
    error = error_of("r", "A", Outcome(states.FAILED, packed, WHY))
    assert isinstance(error, Failed)
    assert error.exception is None
    assert "ValueError: no" in str(error)


def test_an_exception_that_could_not_be_sent_is_left_out() -> None:
    unpicklable = ValueError("with a lock")
    unpicklable.lock = threading.Lock()  # type: ignore[attr-defined]  # not to be pickled
    error = error_of("r", "A", failed(unpicklable))
    assert isinstance(error, Failed)
    assert error.exception is None


# --- a pipeline that runs ---------------------------------------------------------------------


def test_a_source_asks_for_the_job_and_no_other() -> None:
    jobs = [Job(len), Job(len)]
    pipeline = Pipeline(jobs)
    known = Known(done("first"), done("second"))
    second = pipeline.jobs[1]
    second.attach(Source(known, pipeline))
    assert second.result(0.5) == "second"
    assert known.asked == [(1, 0.5)]


def test_a_source_raises_why_there_is_no_result() -> None:
    job = Job(len, name="mine")
    pipeline = Pipeline([job])
    pipeline.id = "r1"
    job.attach(Source(Known(failed(KeyError("missing"))), pipeline))
    with pytest.raises(Failed, match="Job 'mine' of run r1 failed on kitchen") as caught:
        job.result()
    assert isinstance(caught.value.exception, KeyError)


# --- a pipeline that has ended ----------------------------------------------------------------


@pytest.fixture
def ended() -> Results:
    """Of jobs first, bad and behind."""
    first, bad = Job(len, name="first"), Job(len, name="bad")
    pipeline = Pipeline({first: (), bad: Job(len, name="behind")})
    pipeline.id, pipeline.state = "r1", "failed"
    pipeline.started_at, pipeline.finished_at = 10.0, 12.5
    ends = {"first": done([1]), "bad": failed(KeyError()), "behind": Outcome(states.SKIPPED, b"")}
    return Results(pipeline, {i: ends[job.name] for i, job in enumerate(pipeline.jobs)}, INLINE)


def named(results: Results, name: str) -> Job:
    return next(job for job in results if job.name == name)


def test_results_are_a_mapping_of_jobs(ended: Results) -> None:
    assert len(ended) == 3
    assert list(ended) == list(ended.pipeline.jobs)
    assert ended[named(ended, "first")] == [1]
    assert ended.result_of(named(ended, "first"), 0.0) == [1]


def test_results_tell_how_the_pipeline_ended(ended: Results) -> None:
    assert (ended.state, ended.duration) == ("failed", 2.5)
    assert {job.name: type(error) for job, error in ended.failed.items()} == {
        "bad": Failed,
        "behind": UpstreamFailed,
    }
    assert repr(ended) == "<Results of 3 jobs, failed, 2 failed>"


@pytest.mark.parametrize(("name", "kind"), [("bad", Failed), ("behind", UpstreamFailed)])
def test_the_result_of_a_job_that_failed_is_its_error(
    ended: Results, name: str, kind: type[JobError]
) -> None:
    with pytest.raises(kind, match=f"Job '{name}' of run r1"):
        ended[named(ended, name)]


def test_a_job_of_another_pipeline_has_no_result(ended: Results) -> None:
    stranger = Job(len, name="first")
    assert stranger not in ended
    with pytest.raises(KeyError):
        ended[stranger]


def test_values_are_opened_only_when_asked_for() -> None:
    job, other = Job(len), Job(len)
    pipeline = Pipeline([job, other])
    results = Results(pipeline, {0: Outcome(states.DONE, b"pjunk"), 1: done(1)}, INLINE)
    assert results.failed == {}
    assert results[pipeline.jobs[1]] == 1
