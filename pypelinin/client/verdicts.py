"""What a Router's "no" and a job's failure are as exceptions."""

from __future__ import annotations

from pypelinin.errors import (
    Busy,
    Cycle,
    DefinitionError,
    Failed,
    Impossible,
    JobError,
    Killed,
    Lost,
    MemoryLimit,
    NotFound,
    PypelininError,
    Refused,
    RemoteTraceback,
    Timeout,
    UnknownWorker,
    ValueLost,
    VersionMismatch,
)
from pypelinin.wire.definitions import Failure, Refusal

_REFUSALS: dict[str, type[PypelininError]] = {
    "unknown worker": UnknownWorker,
    "impossible": Impossible,
    "cycle": Cycle,
    "malformed": DefinitionError,
    "conflict": DefinitionError,
    "not found": NotFound,
    "busy": Busy,
    "version": VersionMismatch,
}
_CAUSES: dict[str, type[JobError]] = {
    "exit": Killed,
    "signal": Killed,
    "timeout": Timeout,
    "memory": MemoryLimit,
    "lost": Lost,
    "value": ValueLost,
}


def refusal_error(refusal: Refusal) -> PypelininError:
    """The exception a Router's "no" stands for."""
    return _REFUSALS.get(refusal.code, Refused)(refusal.what, remedy=refusal.remedy)


def no_such_run(run: str) -> NotFound:
    return NotFound(
        f"There is no run {run}.",
        remedy="`pypelinin list` shows the runs; finished ones are kept for 7 days.",
    )


def job_error(run: str, job: str, failure: Failure) -> JobError:
    """The exception a job's failure stands for, the remote traceback as its cause."""
    where = f" on {failure.node}" if failure.node else ""
    error = _CAUSES.get(failure.cause, Failed)(
        f"Job {job!r} of run {run} failed{where}: {failure.type}: {failure.text}"
    )
    if failure.traceback:
        error.__cause__ = RemoteTraceback(failure.traceback)
    return error
