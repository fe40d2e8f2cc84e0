"""How a job ended in a run."""

from __future__ import annotations

from functools import partial
from typing import Any

from pypelinin.incremental.enums import JobOutcome
from pypelinin.incremental.exceptions import JobError


class RecordedJobOutcome:
    """*outcome* is how it ended, *payload* what came of it, by output (or the error)."""

    __slots__ = (
        "job_id", "outcome", "_payload", "stdout", "stderr", "start_time", "stop_time", "reason",
        "changes",
    )  # fmt: skip

    def __init__(
        self,
        job_id: str,
        outcome: JobOutcome,
        payload: Any = None,
        stdout: str = "not captured",
        stderr: str = "not captured",
        start_time: float | None = None,
        stop_time: float | None = None,
        reason: int = 0,
    ) -> None:
        self.job_id = job_id
        self.outcome = outcome
        self._payload = payload
        self.stdout = stdout
        self.stderr = stderr
        self.start_time = start_time
        self.stop_time = stop_time
        self.reason = reason
        """Why it ran, or did not: a number of `engine.entry`."""
        self.changes: tuple[Any, ...] = ()
        """What differed from its record when it was begun: `reasons.Change`s."""

    @property
    def payload(self) -> Any:
        """What came of it: the fingerprints of its outputs by name, or its error."""
        if isinstance(self._payload, partial):  # most are never asked for
            self._payload = self._payload()
        return self._payload

    @payload.setter
    def payload(self, payload: Any) -> None:
        self._payload = payload

    @property
    def has_failed(self) -> bool:
        return self.outcome in (JobOutcome.Failed, JobOutcome.UpstreamFailed)

    @property
    def error(self) -> Any:
        """What a failed job raised; "Upstream" if it was not run because another had failed.

        Raises AttributeError for a job that did not fail.
        """
        if self.outcome is JobOutcome.Failed:
            return self.payload
        if self.outcome is JobOutcome.UpstreamFailed:
            return "Upstream"
        raise AttributeError(f"{self.job_id} did not fail: {self.outcome.name}.")

    @property
    def error_or_none(self) -> Any:
        if self.outcome is JobOutcome.Failed:
            return self.payload.exception if isinstance(self.payload, JobError) else self.payload
        return "Upstream" if self.outcome is JobOutcome.UpstreamFailed else None

    @property
    def stack_trace(self) -> str:
        return getattr(self.payload, "trace", "")

    @property
    def run_time(self) -> float | None:
        if self.start_time is None or self.stop_time is None:
            return None
        return self.stop_time - self.start_time

    def __repr__(self) -> str:
        return f"<{self.job_id}: {self.outcome.name}>"
