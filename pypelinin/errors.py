"""Every error a user can meet: what happened, the facts, what to do.

The class says whose fault it is: the cluster's (`ClusterError`), the definition's
(`DefinitionError`, also a `ValueError`) or a job's (`JobError`). A remote traceback
hangs below a `JobError` as its `__cause__`.
"""

from __future__ import annotations


class PypelininError(Exception):
    """Base of all errors raised by pypelinin."""

    def __init__(self, what: str, *, remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        if not (self.what and self.remedy):
            return (self.what or self.remedy).strip()
        stop = "" if self.what.endswith((".", "!", "?", ":", "\n")) else "."
        return f"{self.what}{stop} {self.remedy}"

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.what, self.remedy))


def _rebuild(kind: type[PypelininError], what: str, remedy: str) -> PypelininError:
    return kind(what, remedy=remedy)


class ClusterError(PypelininError):
    """The cluster could not take or answer the request."""


class Unreachable(ClusterError):
    """Nobody answered at the address within the deadline."""


class Refused(ClusterError):
    """The Router understood the request and said no."""


class NotFound(Refused):
    """The Router knows nothing of that name."""


class VersionMismatch(ClusterError):
    """The two sides speak different versions of the protocol or the journal."""


class Busy(ClusterError):
    """The Router is full for now; `retry_after_s` says when to come back."""

    retry_after_s: float = 1.0


class JournalDamaged(ClusterError):
    """The journal's checksum chain is broken; nothing of it is served."""


class DefinitionError(PypelininError, ValueError):
    """What was declared cannot run."""


class Cycle(DefinitionError):
    """The jobs depend on each other in a circle."""


class UnknownWorker(DefinitionError):
    """No Broker offers a worker of that name."""


class NotPicklable(DefinitionError):
    """A value cannot be turned into bytes for the cluster."""


class Impossible(DefinitionError):
    """No node could ever run the job."""


class JobError(PypelininError):
    """A job did not succeed.

    *exception* is what the job's function raised, if that class exists here.
    """

    exception: BaseException | None = None


class Failed(JobError):
    """The job's own code, or the store on its behalf, raised."""


class Killed(JobError):
    """The slot that ran the job exited or was killed by a signal."""


class Timeout(JobError):
    """The job, or the start-up of its slot, took longer than it may, and was ended."""


class MemoryLimit(JobError):
    """The job used more memory than it had asked for, and was ended."""


class Lost(JobError):
    """The nodes that ran the job went away too often."""


class ValueLost(Lost):
    """A value that was kept in a file is gone, or not what was written."""


class Cancelled(JobError):
    """The job or its run was cancelled."""


class UpstreamFailed(JobError):
    """Something the job waits for failed, so it was skipped."""


class RemoteTraceback(Exception):
    """The traceback of the slot, as text; the cause of a `JobError`."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class BadMessage(PypelininError):
    """Bytes from a peer are not a message of this protocol."""


class ProgramError(PypelininError, RuntimeError):
    """A program that `pypelinin.streams.invoke` was to run did not end well, or could not be begun.

    *stdout* and *stderr* are what it wrote, *code* its exit code: negative for a signal, None if
    it did not run.
    """

    stdout: str = ""
    stderr: str = ""
    code: int | None = None

    def __reduce__(self) -> tuple[object, ...]:
        return (*super().__reduce__(), vars(self))
