"""What can go wrong, under the names that pypipegraph2 gave it.

All of them are `PypelininError`s, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pypelinin.errors import PypelininError


class PPGException(PypelininError):
    """The ground of all errors of an incremental graph."""


class FatalGraphException(PPGException):
    """The graph as a whole cannot go on."""


class NotADag(FatalGraphException):
    """The dependencies form a cycle; the message has its path."""


class RunFailed(FatalGraphException):
    """A run did not come to its end."""


class JobsFailed(RunFailed):
    """Jobs failed: *exceptions* has what each of them raised."""

    def __init__(self, message: str, exceptions: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.exceptions = list(exceptions)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.what, self.exceptions)


class RunFailedInternally(RunFailed):
    """A fault of this library, and not of a job; please report it."""


class HistoryLoadingFailed(FatalGraphException):
    """The records of earlier runs cannot be read; a copy was kept, nothing is rebuilt."""


class ProjectLocked(FatalGraphException):
    """Another process runs this project now; the message says which."""


class JobContractError(PPGException):
    """A job did not do what its class asks of it."""


class JobEvaluationFailed(PPGException):
    """A job could not be judged, as what it left earlier is not what it should be."""


class JobRedefinitionError(PPGException, ValueError):
    """The job was defined before, in another way."""


class JobOutputConflict(PPGException, ValueError):
    """Two jobs would write the same file; the message has both places of definition."""


class FunctionUsesUndeclaredNonLocalsError(PPGException):
    """A function reads outer variables that nothing tracks."""


class JobDied(PPGException):
    """The process of a job ended without a result; *exit_code* is below 0 for a signal."""

    def __init__(self, message: str, exception: Any = None, exit_code: int = 0) -> None:
        super().__init__(message)
        self.exception = exception
        self.exit_code = exit_code

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.what, self.exception, self.exit_code)


class JobCanceled(PPGException):
    """The job was stopped before its end, by an abort or `kill`."""


class JobError(PPGException):
    """What a job raised: *exception*, with its *trace* as text, what it had printed, and when it
    had begun."""

    def __init__(
        self,
        exception: BaseException,
        trace: str = "",
        stdout: str = "",
        stderr: str = "",
        started: float | None = None,
    ) -> None:
        super().__init__(f"{type(exception).__name__}: {exception}")
        self.exception = exception
        self.trace = trace
        self.stdout = stdout
        self.stderr = stderr
        self.started = started

    def __reduce__(self) -> tuple[object, ...]:
        what = (self.exception, self.trace, self.stdout, self.stderr, self.started)
        return type(self), what


__all__ = [
    "FatalGraphException", "FunctionUsesUndeclaredNonLocalsError", "HistoryLoadingFailed",
    "JobCanceled", "JobContractError", "JobDied", "JobError", "JobEvaluationFailed",
    "JobOutputConflict", "JobRedefinitionError", "JobsFailed", "NotADag", "PPGException",
    "ProjectLocked", "RunFailed", "RunFailedInternally",
]  # fmt: skip
