"""What can go wrong, under the names of pypipegraph's version 1.

All of them are `PyPipeGraphError`s, and so ValueErrors; each is also the error of the same
meaning in pypelinin.incremental.
"""

from __future__ import annotations

import builtins
import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from pypelinin.errors import ClusterError, Impossible
from pypelinin.incremental import exceptions as now


class PyPipeGraphError(now.PPGException, ValueError):
    """The ground of all of them."""


PyPipelineGraphError = PyPipeGraphError


class RuntimeError(PyPipeGraphError, now.JobsFailed, builtins.RuntimeError):
    """Jobs failed: *exceptions* has what each of them raised, *value* says it in words."""

    def __init__(self, value: str = "", exceptions: Sequence[Any] = ()) -> None:
        now.JobsFailed.__init__(self, value, exceptions)
        self.value = value


class RuntimeException(PyPipeGraphError, now.RunFailedInternally):
    """A fault of this library, and not of a job; please report it."""


class CycleError(PyPipeGraphError, now.NotADag):
    """The dependencies form a cycle; the message has its path."""


class JobContractError(PyPipeGraphError, now.JobContractError):
    """A job did not do what its class asks of it, or was defined before as something else."""


class JobDiedException(PyPipeGraphError, now.JobDied):
    """The process of a job ended without a result; *exit_code* is below 0 for a signal."""

    def __init__(self, exit_code: int, message: str = "") -> None:
        now.JobDied.__init__(self, message or f"Exitcode was {exit_code}.", None, exit_code)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.exit_code, self.what)


class CommunicationFailure(PyPipeGraphError, ClusterError):
    """The cluster that should run the jobs cannot be reached, or did not take them."""


class ArgumentError(PyPipeGraphError, TypeError):
    """An argument is not what it should be."""


class UnknownOutput(PyPipeGraphError, KeyError):
    """No job makes what a job shall depend on."""


class NothingChanged(Exception):
    """Only its name is left: an invariant of version 1 said so that it had adopted *new_value*."""

    def __init__(self, new_value: Any = None) -> None:
        super().__init__(new_value)
        self.new_value = new_value


_NAMES: tuple[tuple[type[BaseException], type[PyPipeGraphError]], ...] = (
    (now.NotADag, CycleError),
    (now.RunFailedInternally, RuntimeException),
    (now.JobContractError, JobContractError),
    (now.JobRedefinitionError, JobContractError),
    (ClusterError, CommunicationFailure),
    (now.PPGException, PyPipeGraphError),
    (TypeError, ArgumentError),
    (KeyError, UnknownOutput),
)


def translated(error: BaseException) -> BaseException:
    """The error of version 1 that means the same; what a job raised itself stays as it is."""
    if isinstance(error, now.JobError):
        error = error.exception
    if isinstance(error, PyPipeGraphError) or not isinstance(
        error, (now.PPGException, ClusterError)
    ):
        return error
    if isinstance(error, now.JobDied):
        return JobDiedException(error.exit_code, str(error))
    return _renamed(error)


def _renamed(error: Any) -> BaseException:
    for known, name in _NAMES:
        if isinstance(error, known):
            what = getattr(error, "what", None) or (error.args[0] if error.args else "")
            return name(str(what), remedy=getattr(error, "remedy", ""))
    found: BaseException = error
    return found


@contextlib.contextmanager
def as_version_1() -> Iterator[None]:
    """Errors of this library leave the block under their names of version 1."""
    try:
        yield
    except PyPipeGraphError:
        raise
    except (now.PPGException, ClusterError, TypeError, KeyError) as error:
        raise _renamed(error) from error


def error_reason(error: Any) -> str:
    """What version 1 called the reason of a failure; *error* is what the job raised."""
    if error is None:
        return "no error"
    if error == "Upstream":
        return "Indirect"
    if isinstance(error, Impossible):
        return "Needed to much memory/cores"
    return "Unknown/died" if isinstance(error, now.JobDied) else "Exception"


__all__ = [
    "CommunicationFailure", "CycleError", "JobContractError", "JobDiedException", "NothingChanged",
    "PyPipeGraphError", "PyPipelineGraphError", "RuntimeError", "RuntimeException",
    "as_version_1", "error_reason", "translated",
]  # fmt: skip
