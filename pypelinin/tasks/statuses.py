"""How a task stands, and what came of it."""

from __future__ import annotations

import enum
from typing import Any

from pypelinin.tasks.inside import files


class Status(enum.Enum):
    """The states of a task in a run, with the numbers of the original."""

    NOT_STARTED = 0
    FAILURE = -1
    SUCCESS = 1
    RUNNING = 2
    CANT_RUN = 3
    SKIPPED = 4


class Stored:
    """Stands for an output that lies in a file and was not loaded yet."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path


class TaskResult:
    """What came of a task: its *status*, its *output*, and of a failure the *exception* with its
    *traceback* as text.

    An output that lies on the disk is loaded when it is asked for; then `ResultMissing` or
    `ResultDamaged` may be raised.
    """

    __slots__ = ("status", "exception", "traceback", "_output")

    def __init__(
        self,
        status: Status,
        output: Any = None,
        exception: BaseException | None = None,
        traceback: str = "",
    ) -> None:
        self.status = status
        self.exception = exception
        self.traceback = traceback
        self._output = output

    @property
    def output(self) -> Any:
        if isinstance(self._output, Stored):
            self._output = files.load(self._output.path)
        return self._output

    def __repr__(self) -> str:
        what = f", exception={self.exception!r}" if self.exception is not None else ""
        return f"TaskResult({self.status}{what})"


__all__ = ["Status", "Stored", "TaskResult"]
