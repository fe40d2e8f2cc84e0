"""What people may do with a run while it goes on."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from pypelinin.engine.run import Run
from pypelinin.incremental.at_work import AtWork, Working
from pypelinin.incremental.history import History
from pypelinin.incremental.jobs.base import Job

if TYPE_CHECKING:
    from pypelinin.incremental.hands import Hands


class Steering:
    """The part of `Running` that consoles and signals use."""

    history: History
    run: Run
    jobs: list[Job]
    numbers: dict[str, int]
    started: dict[int, float]
    at_work: AtWork
    is_aborted: bool
    _late: bool
    _hands: Hands | None
    _here: deque[int]
    _begun: set[int]
    _withdrawn: dict[int, tuple[bytes, bytes, bytes]]
    """Records of jobs that were handed out, and have not begun as far as is known."""

    def working(self) -> list[Working]:
        """What runs now, the oldest first; more is handed out."""
        return self.at_work.look()

    def wake(self) -> None:
        """From a signal handler: end the sleep of the loop, so that it tells `beat`."""
        if self._hands is not None:
            self._hands.wake()

    def abort(self) -> None:
        """End what runs, and begin nothing more. Records of what was not begun stay."""
        self.is_aborted = self.is_aborted or not self.run.over
        self._begun |= self._numbers_at_work()
        self._begin_no_more()

    def stop(self) -> None:
        """Let what runs end, and begin nothing more."""
        at_work = self._numbers_at_work()
        self._begin_no_more()
        kept = self.run.commands
        kept.kill = [number for number in kept.kill if number not in at_work]

    def _numbers_at_work(self) -> set[int]:
        return {self.numbers[working.job.job_id] for working in self.working()}

    def _begin_no_more(self) -> None:
        self._late = False
        self.run.cancel()
        while self._here:
            self._not_begun(self._here.popleft())

    def _put_back(self, number: int) -> None:
        """The job was handed out; if it has not begun, what it had left still stands."""
        row = self._withdrawn.pop(number, None)
        job = self.jobs[number]
        if row is not None and number not in self._begun and not self.at_work.has(job):
            self.history.packed.put(job.job_id, row)

    def _not_begun(self, number: int) -> None:
        """It was handed out, and is not to be begun any more."""
        self._put_back(number)
        self.started.pop(number, None)
        self.at_work.ended(self.jobs[number])
        if self._hands is not None and self._hands.api:
            self.history.came_back(self.jobs[number].job_id)
        self.run.killed(number)

    def kill(self, job_id: str) -> bool:
        """End one job that runs; False if it does not."""
        number = self.numbers.get(job_id, -1)
        if self._hands is None or number not in self.started:
            return False
        self._hands.cancel([number])
        return True
