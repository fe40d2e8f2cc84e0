"""How a job ended."""

from __future__ import annotations

import pytest

from pypelinin.incremental.enums import JobOutcome
from pypelinin.incremental.exceptions import JobError
from pypelinin.incremental.outcomes import RecordedJobOutcome


def test_the_error_of_a_failed_job_is_what_it_raised() -> None:
    raised = ValueError("no")
    told = JobError(raised, "the trace")
    found = RecordedJobOutcome("a", JobOutcome.Failed, told)
    assert found.error is told
    assert found.error_or_none is raised
    assert found.stack_trace == "the trace"
    assert found.has_failed


def test_the_error_of_what_was_not_run_for_another_is_said_so() -> None:
    found = RecordedJobOutcome("a", JobOutcome.UpstreamFailed)
    assert found.error == found.error_or_none == "Upstream"
    assert found.has_failed


@pytest.mark.parametrize("kind", [JobOutcome.Success, JobOutcome.Skipped, JobOutcome.Pruned])
def test_a_job_that_did_not_fail_has_no_error(kind: JobOutcome) -> None:
    found = RecordedJobOutcome("a", kind)
    with pytest.raises(AttributeError, match=f"a did not fail: {kind.name}"):
        found.error
    assert found.error_or_none is None
    assert not found.has_failed
    assert repr(found) == f"<a: {kind.name}>"


def test_the_run_time_is_known_if_it_ran() -> None:
    assert RecordedJobOutcome("a", JobOutcome.Skipped).run_time is None
    found = RecordedJobOutcome("a", JobOutcome.Success, start_time=1.0, stop_time=3.5)
    assert found.run_time == 2.5
