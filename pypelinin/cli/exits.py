"""Exit codes: what a script learns from a command that ended."""

from __future__ import annotations

from pypelinin.errors import (
    ClusterError,
    DefinitionError,
    JobError,
    NotFound,
    PypelininError,
    Unreachable,
)

FINE = 0
JOB_FAILED = 1
USAGE = 2
UNREACHABLE = 3
REFUSED = 4
TIMED_OUT = 5
IMPOSSIBLE = 6
NOT_FOUND = 7
BUG = 70
INTERRUPTED = 130

TEXT = """\
Exit codes: 0 fine, 1 a job failed, 2 wrong use (option, setting, file name), 3 cluster not
reachable, 4 refused, 5 timed out waiting, 6 impossible request (no such worker, a cycle), 7 not
found, 70 a bug in pypelinin, 130 interrupted."""

_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (NotFound, NOT_FOUND),
    (Unreachable, UNREACHABLE),
    (ClusterError, REFUSED),
    (DefinitionError, IMPOSSIBLE),
    (JobError, JOB_FAILED),
    (PypelininError, JOB_FAILED),
    (TimeoutError, TIMED_OUT),
    (KeyboardInterrupt, INTERRUPTED),
)


def code_of(error: BaseException) -> int:
    """The exit code an exception stands for."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), BUG)
