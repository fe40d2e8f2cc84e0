"""The log of a run: a directory with pipeline.log, and what the user's logging shows.

Lines go to the logger `pypelinin.tasks`, those of tasks under the task's name. If nobody has set
up logging they are shown on stderr.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from types import TracebackType
from typing import Self

from pypelinin.tasks.exceptions import PipelineError

LOGGER = logging.getLogger("pypelinin.tasks")
LOG, EXCEPTIONS = "pipeline.log", "exception.log"
FORMAT = "%(asctime)s %(levelname)-8s %(processName)-12s %(name)-30s %(message)s"
DATES = "%Y-%m-%d %H:%M:%S"
NAMES_MAX = 10_000
FLUSH_S = 0.1
"""How long a line may be on its way into the file."""


def new_directory(log_path: str, name: str) -> str:
    """A directory *name* in *log_path*; a second one of its name has a number. Raises
    PipelineError."""
    for number in range(1, NAMES_MAX):
        path = os.path.join(log_path, name if number == 1 else f"{name}_{number}")
        try:
            os.mkdir(path)
        except FileExistsError:
            continue
        except (OSError, ValueError) as error:
            raise PipelineError(f"The log path {path!r} cannot be made: {error}.") from error
        return path
    raise PipelineError(f"There are {NAMES_MAX} runs called {name!r} in {log_path!r}.")


class RunLog:
    """Writes to pipeline.log in *directory*, and to whoever listens.

    The file is written here, with the shape of FORMAT: most lines are for nobody else.
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory
        path = os.path.join(directory, LOG)
        self._file = open(  # noqa: SIM115 - closed by __exit__
            path, "a", encoding="utf-8", errors="backslashreplace"
        )
        self._flushed_at = 0.0
        self._second = (0, "")
        self._console: logging.Handler | None = None
        if not LOGGER.hasHandlers():
            self._console = logging.StreamHandler(sys.stderr)
            self._console.setFormatter(logging.Formatter(FORMAT, DATES))

    def say(
        self,
        text: str,
        level: int = logging.INFO,
        task: str = LOGGER.name,
        process: str = "MainProcess",
        when: float | None = None,
    ) -> None:
        """One line, of *task* or of the run."""
        now = time.time()
        at = now if when is None else when
        name = logging.getLevelName(level)
        self._write(f"{self._date(at)} {name:<8} {process:<12} {task:<30} {text}\n", now)
        if not self._shows(level):
            return
        record = LOGGER.makeRecord(task, level, "", 0, text, (), None)
        record.processName, record.created, record.msecs = process, at, at % 1 * 1000
        (self._console or LOGGER).handle(record)

    def _shows(self, level: int) -> bool:
        if self._console is None or LOGGER.level:  # else nobody said anything
            return LOGGER.isEnabledFor(level)
        return LOGGER.manager.disable < level

    def _write(self, line: str, now: float) -> None:
        if self._file.closed:
            return
        try:
            self._file.write(line)
            if now - self._flushed_at > FLUSH_S:
                self._file.flush()
                self._flushed_at = now
        except OSError as error:
            self._end(error)

    def _end(self, error: OSError | None = None) -> None:
        """A log that cannot be written, as the disk is full, ends; the run goes on."""
        try:
            self._file.close()
        except OSError as last:
            error = error or last
        if error is not None:
            self.say(f"{os.path.join(self.directory, LOG)} ends too early: {error}.", logging.ERROR)

    def _date(self, at: float) -> str:
        second = int(at)
        if self._second[0] != second:
            self._second = (second, time.strftime(DATES, time.localtime(at)))
        return self._second[1]

    def failed(self, task: str, text: str) -> None:
        """A failure with its traceback, for exception.log."""
        path = os.path.join(self.directory, EXCEPTIONS)
        try:
            with open(path, "a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(f"{task}\n{text.rstrip()}\n\n")
        except OSError as error:
            self.say(f"{path} lacks what follows: {error}.\n{text.rstrip()}", logging.ERROR, task)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()


__all__ = ["LOGGER", "RunLog", "new_directory"]
