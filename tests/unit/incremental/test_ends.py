"""How jobs ended, in the words of people."""

from __future__ import annotations

from typing import Any

from pypelinin.engine import entry as why
from pypelinin.engine import table
from pypelinin.engine.entry import Entry
from pypelinin.graph.declared import OUTPUT, Declared
from pypelinin.incremental import ends
from pypelinin.incremental.enums import JobOutcome
from pypelinin.incremental.exceptions import JobCanceled, JobContractError, JobError
from pypelinin.incremental.jobs.base import Place
from pypelinin.incremental.outcomes import RecordedJobOutcome


class FakeJob:
    job_id = "a"
    outputs = ("a",)
    place = Place.SLOT


JOB: Any = FakeJob()


def entry_in(state: int, reason: int = 0) -> Entry:
    entry = Entry(0, Declared(OUTPUT, name="a", outputs=("a",)))
    entry.state, entry.why = state, reason
    return entry


def test_an_outcome_has_what_each_output_is() -> None:
    entry = entry_in(table.KEPT)
    entry.prints = ((("file", b"x"),),)
    outcome = ends.outcome_of(JOB, entry, None)
    assert outcome.outcome is JobOutcome.Skipped
    assert outcome.payload == {"a": (("file", b"x"),)}


def test_what_was_noted_when_a_job_ended_is_kept() -> None:
    noted = RecordedJobOutcome("a", JobOutcome.Success, None, "out", "err", 1.0, 2.0)
    outcome = ends.outcome_of(JOB, entry_in(table.DONE, why.NEW), noted)
    assert (outcome.stdout, outcome.run_time, outcome.reason) == ("out", 1.0, why.NEW)


def test_a_job_that_came_out_differently_has_broken_its_contract() -> None:
    noted = RecordedJobOutcome("a", JobOutcome.Success, None)
    outcome = ends.outcome_of(JOB, entry_in(table.FAILED, why.IMPURE), noted)
    assert isinstance(outcome.error_or_none, JobContractError)
    assert "changed output" in str(outcome.error)


def test_a_job_that_was_not_begun_is_told_from_one_that_was_ended() -> None:
    left = ends.outcome_of(JOB, entry_in(table.CANCELLED), None)
    assert ends.was_not_begun(left)
    noted = RecordedJobOutcome("a", JobOutcome.Failed, JobCanceled("ended"), start_time=1.0)
    assert not ends.was_not_begun(ends.outcome_of(JOB, entry_in(table.CANCELLED), noted))
    failed = RecordedJobOutcome("a", JobOutcome.Failed, ValueError())
    assert not ends.was_not_begun(failed)


def test_any_error_becomes_one_that_travels() -> None:
    error = JobError(ValueError("x"))
    assert ends.as_job_error(error) is error
    assert isinstance(ends.as_job_error(ValueError("x")).exception, ValueError)
