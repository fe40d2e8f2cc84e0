"""How jobs ended in a run, in the words of people, from what the engine says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from pypelinin.engine import entry as why
from pypelinin.engine import table
from pypelinin.engine.entry import Entry
from pypelinin.engine.run import Run
from pypelinin.incremental import inside
from pypelinin.incremental.enums import JobOutcome
from pypelinin.incremental.exceptions import JobCanceled, JobContractError, JobError
from pypelinin.incremental.jobs.base import Job, Place
from pypelinin.incremental.outcomes import RecordedJobOutcome
from pypelinin.incremental.standing import Standing

OUTCOMES = {
    table.DONE: JobOutcome.Success,
    table.KEPT: JobOutcome.Skipped,
    table.UNUSED: JobOutcome.Skipped,
    table.FAILED: JobOutcome.Failed,
    table.BLOCKED: JobOutcome.UpstreamFailed,
    table.CANCELLED: JobOutcome.Failed,
    table.IDLE: JobOutcome.Skipped,
}


def outcomes_of(
    chosen: Sequence[Job],
    jobs: Sequence[Job],
    run: Run,
    noted: Mapping[int, RecordedJobOutcome],
    standing: Standing,
) -> dict[str, RecordedJobOutcome]:
    """How the *chosen* jobs of a *run* that is over ended, by id, which they know from now on:
    *jobs* by their number in it, the others stand."""
    entered = {job.job_id for job in jobs}
    found = {job.job_id: of_standing(job, standing) for job in chosen if job.job_id not in entered}
    for number, job in enumerate(jobs):
        found[job.job_id] = outcome_of(job, run.jobs[number], noted.get(number))
    for job in (*chosen, *jobs):
        job.outcome = found[job.job_id]
    return found


def outcome_of(job: Job, entry: Entry, noted: RecordedJobOutcome | None) -> RecordedJobOutcome:
    """Of *job* when the run is over; *noted* is what was known when it ended, if it was begun."""
    kind = OUTCOMES[entry.state]
    if job.place is Place.GIVEN and kind is JobOutcome.Skipped:
        kind = JobOutcome.Success
    outcome = noted
    if outcome is None or outcome.outcome is not kind:
        payload: Any = outcome.payload if outcome is not None else None
        outcome = RecordedJobOutcome(job.job_id, kind, payload)
    if kind is JobOutcome.Failed and not isinstance(outcome.payload, Exception):
        outcome.payload = JobError(_why_failed(entry, job))
    elif not outcome.has_failed:
        outcome.payload = dict(zip(job.outputs, entry.prints or (), strict=False))
    outcome.reason = entry.why
    return outcome


def of_standing(job: Job, standing: Standing) -> RecordedJobOutcome:
    """Of a job that nobody had to look at."""
    kind = JobOutcome.Success if job.place is Place.GIVEN else JobOutcome.Skipped
    return RecordedJobOutcome(job.job_id, kind, partial(standing.outputs_of, job))


def as_job_error(error: BaseException) -> JobError:
    return error if isinstance(error, JobError) else inside.as_job_error(error, "", "")


def was_not_begun(outcome: RecordedJobOutcome) -> bool:
    """Whether it only counts as failed because the run was stopped or aborted before it."""
    return isinstance(outcome.error_or_none, JobCanceled) and outcome.start_time is None


def _why_failed(entry: Entry, job: Job) -> Exception:
    """Of a job that did its work, and is failed all the same; or never began."""
    if entry.why == why.IMPURE:
        return JobContractError(
            f"{job!r} changed output: it was made again for a job that needed it, nothing that it "
            "depends on had changed, and its content is another one.",
            remedy="Make it give the same for the same inputs, or depend on what differs.",
        )
    if entry.state == table.CANCELLED:
        return JobCanceled(f"{job!r} was not begun: the run was aborted.")
    return JobContractError(f"{job!r} cannot be: {entry.cause or 'what it reads was lost'}.")
