"""What the jobs of a run returned, as the values they are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from pypelinin.client.verdicts import job_error
from pypelinin.errors import (
    Cancelled,
    DefinitionError,
    JobError,
    RemoteTraceback,
    UpstreamFailed,
    ValueLost,
)
from pypelinin.graph import states
from pypelinin.graph.job import Job
from pypelinin.pipeline import Pipeline
from pypelinin.runtime.value_store import Values
from pypelinin.runtime.values import unpack_value
from pypelinin.wire.definitions import GONE, Failure


def value_of(pipeline: Pipeline, job: Job, outcome: Outcome, values: Values) -> Any:
    """What the job returned. Raises DefinitionError if that was not to be kept, ValueLost."""
    wanted = pipeline.results is None or job in pipeline.results
    if not wanted or outcome.result == GONE:
        raise DefinitionError(
            f"The result of {job!r} was not kept: only what was asked for is.",
            remedy="Give the job to run(), or name it in Pipeline(results=...).",
        )
    return unpack_value(values.open(outcome.result)) if outcome.result else None


class Outcomes(Protocol):
    """Who can say how a job ended, and open what it returned."""

    @property
    def values(self) -> Values: ...

    def outcome(self, pipeline: Pipeline, number: int, timeout: float | None = None) -> Outcome: ...


class Outcome(NamedTuple):
    """How one job ended; *result* is its packed result, or the packed exception it raised."""

    status: int
    result: bytes | memoryview
    failure: Failure | None = None


def raised(outcome: Outcome) -> BaseException | None:
    """The exception itself, if its class exists here; never made up by name."""
    if outcome.status != states.FAILED or not outcome.result:
        return None
    try:
        error = unpack_value(outcome.result)
    except Exception:  # a class that only the node has, or one that cannot be rebuilt
        return None
    if not isinstance(error, BaseException):
        return None
    if outcome.failure is not None and outcome.failure.traceback:
        error.__cause__ = RemoteTraceback(outcome.failure.traceback)
    return error


def error_of(run: str, job: str, outcome: Outcome) -> JobError | None:
    """Why the job did not succeed; None if it did.

    A `Failed` has the exception that the function raised in `exception`, if its class exists
    here.
    """
    if outcome.status == states.DONE:
        return None
    if outcome.status == states.CANCELLED:
        return Cancelled(f"Job {job!r} of run {run} was cancelled.")
    if outcome.status == states.SKIPPED:
        return UpstreamFailed(f"Job {job!r} of run {run} was skipped: a job before it failed.")
    failure = outcome.failure or Failure("exception", "unknown", "its details were not kept")
    error = job_error(run, job, failure)
    error.exception = raised(outcome)
    return error


class Source:
    """Where the jobs of one started pipeline find their results."""

    def __init__(self, manager: Outcomes, pipeline: Pipeline) -> None:
        self._manager = manager
        self._pipeline = pipeline
        self._numbers = {job: i for i, job in enumerate(pipeline.jobs)}

    def result_of(self, job: Job, timeout: float | None) -> Any:
        number = self._numbers[job]
        outcome = self._manager.outcome(self._pipeline, number, timeout)
        error = error_of(str(self._pipeline.id), job.name, outcome)
        if error is not None:
            raise error
        return value_of(self._pipeline, job, outcome, self._manager.values)


class Results(Mapping[Job, Any]):
    """The results of a pipeline that has ended, by job; values are opened when asked for.

    *state* is "done", "failed" or "cancelled", *duration* seconds, *failed* a dict of the jobs
    that did not succeed to why. Asking for the result of one of those raises its error; jobs
    of named workers have the result None.
    """

    def __init__(self, pipeline: Pipeline, outcomes: Mapping[int, Outcome], values: Values) -> None:
        self.pipeline = pipeline
        self._values = values
        self.state = pipeline.state
        self.duration = pipeline.duration
        self._outcomes = outcomes
        self._numbers = {job: i for i, job in enumerate(pipeline.jobs)}
        self.failed: dict[Job, JobError] = {}
        for job, number in self._numbers.items():
            error = error_of(str(pipeline.id), job.name, outcomes[number])
            if error is not None:
                self.failed[job] = error

    def __getitem__(self, job: Job) -> Any:
        outcome = self._outcomes[self._numbers[job]]
        if job in self.failed:
            raise self.failed[job]
        return value_of(self.pipeline, job, outcome, self._values)

    def detach(self) -> None:
        """Hold all values here, before the place where they are kept is gone."""
        opened = {}
        for number, outcome in self._outcomes.items():
            with contextlib.suppress(ValueLost):  # told to who asks for it
                opened[number] = outcome._replace(result=self._values.open(outcome.result))
        self._outcomes = {**self._outcomes, **opened}

    def result_of(self, job: Job, timeout: float | None) -> Any:
        """For `Job.result`, when nobody is there any more who could be asked."""
        del timeout
        return self[job]

    def __contains__(self, job: object) -> bool:
        return job in self._numbers

    def __iter__(self) -> Iterator[Job]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def __repr__(self) -> str:
        return f"<Results of {len(self)} jobs, {self.state}, {len(self.failed)} failed>"
