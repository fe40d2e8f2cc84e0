"""A data path is of one run at a time: a lock on a file in it, which ends with its process."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pypelinin.ids import new_id
from pypelinin.tasks.exceptions import DataPathBusy, PipelineError
from pypelinin.tasks.inside.files import write_text
from pypelinin.tasks.inside.work import MARKER, Place

LOCK = ".lock"
OTHER_PATH = "Give the Runner a directory that this user can write."
RUNS = ".runs"
REMOTE = "remote"
"""In a run's directory: the cluster and the id under which it runs there."""
_held: set[int] = set()
"""Descriptors with a lock."""


def _leave_to_parent() -> None:
    """A forked process would have the locks as well, for as long as it lives."""
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_leave_to_parent)


def made_directory(path: str, what: str) -> str:
    """The real path of a directory that is there now. Raises PipelineError."""
    try:
        os.makedirs(path, exist_ok=True)
    except (OSError, ValueError) as error:
        raise PipelineError(
            f"The {what} {path!r} cannot be made: {error}.", remedy=OTHER_PATH
        ) from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise PipelineError(f"The {what} {path!r} cannot be written.", remedy=OTHER_PATH)
    return os.path.realpath(path)


class Hold:
    """Holds *data_path*, and has a directory in it for what a run's slots tell.

    What a run that was killed left there is removed; *orphan* is asked first to end it on its
    cluster. Raises DataPathBusy, saying who has it, PipelineError if it cannot be written.
    """

    def __init__(self, data_path: str, orphan: Callable[[str, str], object]) -> None:
        self.data_path = data_path
        self._orphan = orphan
        self._fd = -1
        self.directory = os.path.join(data_path, RUNS, new_id(os.urandom))
        self.token = new_id(os.urandom)

    def __enter__(self) -> Self:
        try:
            self._fd = os.open(os.path.join(self.data_path, LOCK), os.O_RDWR | os.O_CREAT, 0o666)
            _held.add(self._fd)
            self._lock()
            self._clean()
            os.makedirs(self.directory)
            write_text(os.path.join(self.directory, MARKER), self.token)
        except OSError as error:
            self._release()
            raise PipelineError(
                f"The data path {self.data_path!r} cannot be written: {error}.", remedy=OTHER_PATH
            ) from None
        except BaseException:
            self._release()
            raise
        return self

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataPathBusy(
                f"The data path {self.data_path!r} is in use{_holder(self._fd)}.",
                remedy="Wait for that run, or give this one another data path.",
            ) from None
        who = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.ctime()}
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, json.dumps(who).encode(), 0)

    def _clean(self) -> None:
        for left in Path(self.data_path, RUNS).glob("*"):
            try:
                api, run = json.loads((left / REMOTE).read_text(encoding="utf-8"))
            except (OSError, ValueError):
                pass
            else:
                self._orphan(str(api), str(run))
            shutil.rmtree(left, ignore_errors=True)

    def place(self, echo: bool) -> Place:
        return Place(self.directory, self.token, echo)

    def runs_at(self, api: str, run: str) -> None:
        """Remember it for the case that this process is killed."""
        write_text(os.path.join(self.directory, REMOTE), json.dumps([api, run]))

    def _release(self) -> None:
        if self._fd in _held:
            _held.remove(self._fd)
            fcntl.flock(self._fd, fcntl.LOCK_UN)  # for a process just forked as well
            os.close(self._fd)
        self._fd = -1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
        self._release()


def _holder(fd: int) -> str:
    try:
        who: dict[str, Any] = json.loads(os.pread(fd, 4096, 0))
        return f" by process {who['pid']} on {who['host']} since {who['since']}"
    except (ValueError, KeyError, TypeError):
        return ""


__all__ = ["Hold", "made_directory"]
