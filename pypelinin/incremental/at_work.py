"""Which jobs run at this moment.

More is handed out than can run at once. While a job runs it prints into two files of the run's
directory, which are named after it and its process: what is there runs.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from pypelinin.incremental.inside import Printed

if TYPE_CHECKING:
    from pypelinin.incremental.jobs.base import Job

_NAME = re.compile(r"(\d+)-(\d+)\.stdout")


class Working(NamedTuple):
    """A job that runs: since when, and in which process of its node (0: here)."""

    job: Job
    since: float
    pid: int


class AtWork:
    """*directory* is where jobs print to; what an earlier run left there is removed."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.here: tuple[Job, float] | None = None
        """The job that runs in this process, and since when."""
        self._jobs: dict[int, Job] = {}
        """What was handed out, by the number in the graph."""
        self._seen: dict[int, float] = {}
        for name in self._names():
            if _NAME.fullmatch(name):
                self._read(name)

    def _names(self) -> list[str]:
        try:
            return os.listdir(self.directory)
        except FileNotFoundError:
            return []

    def handed_out(self, jobs: Iterable[Job]) -> None:
        """These may run from now on."""
        self._jobs.update((job.job_number, job) for job in jobs)

    def ended(self, job: Job) -> None:
        """It runs no more, or will not run."""
        self._jobs.pop(job.job_number, None)
        self._seen.pop(job.job_number, None)

    def look(self) -> list[Working]:
        """The jobs that run, the oldest first."""
        found = []
        if self.here is not None:
            found.append(Working(*self.here, 0))
        for name in self._names():
            match = _NAME.fullmatch(name)
            if match is None or (job := self._jobs.get(int(match[1]))) is None:
                continue
            since = self._seen.setdefault(job.job_number, self._began(name))
            found.append(Working(job, since, int(match[2])))
        return sorted(found, key=lambda working: working.since)

    def has(self, job: Job) -> bool:
        """Whether a job that has not told its end has begun."""
        names = [match for name in self._names() if (match := _NAME.fullmatch(name))]
        return any(int(match[1]) == job.job_number for match in names)

    def _began(self, name: str) -> float:
        """The time of the file that was not written to since, if there is one."""
        times = [time.time()]
        for one in (name, _other(name)):
            with contextlib.suppress(OSError):
                times.append(os.stat(os.path.join(self.directory, one)).st_mtime)
        return min(times)

    def left_by(self, job: Job) -> tuple[str, str]:
        """What a job had printed whose process died, which then was not told."""
        left = "", ""
        for name in sorted(self._names(), key=self._began):  # it may have been tried again
            match = _NAME.fullmatch(name)
            if match is not None and int(match[1]) == job.job_number:
                left = self._read(name)
        return left

    def _read(self, name: str) -> tuple[str, str]:
        out, err = (os.path.join(self.directory, one) for one in (name, _other(name)))
        return Printed(out, err).read()


def _other(name: str) -> str:
    return f"{name.removesuffix('.stdout')}.stderr"
