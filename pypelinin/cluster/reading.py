"""A run whose jobs read each other's results: the engine's Run with the face of a PlainRun."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pypelinin.engine.entry import EXPANSION
from pypelinin.engine.expansion import check_new
from pypelinin.engine.run import Run
from pypelinin.engine.table import FAILED, NAMES, OPEN
from pypelinin.graph import states
from pypelinin.graph.declared import ALWAYS, TOKEN, After, Declared, Expansion, Input
from pypelinin.wire.codec import unpack_again
from pypelinin.wire.definitions import FRAME_BYTES_MAX, Structure


class ReadingRun:
    """Ready jobs come out of `start` and `settle`, what nobody reads any more out of `released`."""

    def __init__(
        self,
        parts: Iterable[bytes],
        feeds: Iterable[tuple[int, int]] = (),
        *,
        closed: bool = True,
    ) -> None:
        """*parts* are packed `Structure`s in order, *feeds* edges (up, job) gained later.

        While it is not *closed* it may gain jobs from outside. Raises BadMessage.
        """
        self.run = Run(closed=False)
        self.run.declare(_declared(parts), 0)
        self._fed = False
        for up, job in feeds:
            self.run.follow(self.run.jobs[job], After(up))
            self._fed = True
        self.run.add([])
        if closed:
            self.run.close()
        self.released: list[int] = []

    @property
    def over(self) -> bool:
        return self.run.over

    def start(self, known: bytes = b"") -> list[int]:
        """The jobs to hand out first. *known*: recorded states of a run that goes on."""
        ready = dict.fromkeys(self._taken())
        ended = [(job, status) for job, status in enumerate(known) if status in states.ENDED]
        while ended:
            for job in self.settle([job for job, _ in ended], [status for _, status in ended]):
                ready[job] = None
            # a job that gained an upstream is behind one with a higher number
            jobs = self.run.jobs
            left = [pair for pair in ended if pair[0] in jobs and OPEN[jobs[pair[0]].state]]
            if not self._fed or len(left) == len(ended):
                break
            ended = left
        return [job for job in ready if job >= len(known) or known[job] not in states.ENDED]

    def settle(self, jobs: Iterable[int], statuses: Sequence[int] | bytes) -> list[int]:
        """Take final outcomes; returns the jobs that became READY by them."""
        for job, status in zip(jobs, statuses, strict=True):
            if status == states.DONE:
                self.run.done(job)
            elif status == states.FAILED:
                self.run.failed(job)
            else:
                self.run.cancel([job])  # it may wait still
                self.run.killed(job)
        return self._taken()

    def grow(self, job: int, expansion: Expansion) -> tuple[str, list[int]]:
        """A job is done and brings *expansion*: (why that is refused, jobs that became READY).

        If it is refused the job has failed.
        """
        self.run.done(job, None, expansion)
        entry = self.run.jobs.get(job)
        refused = entry is not None and entry.state == FAILED and entry.why == EXPANSION
        return str(entry.cause) if refused and entry is not None else "", self._taken()

    def add(self, jobs: list[Declared]) -> list[int]:
        """More jobs from outside; returns those that are READY. Raises Refused."""
        check_new(self.run, jobs)
        self.run.add(jobs)
        return self._taken()

    def close(self) -> None:
        """Nothing more comes from outside."""
        self.run.close()

    def cancel(self) -> None:
        """Nothing waiting will start any more; what is READY still gets its outcome."""
        self.run.cancel()

    def line(self, _job: int, _jobs_max: int) -> list[int]:
        """Such jobs go one by one: each needs the result of the one before."""
        return []

    def _taken(self) -> list[int]:
        commands = self.run.take()
        self.released += (job for job, _ in commands.release)
        return commands.run

    def check(self) -> None:
        self.run.check()

    def __repr__(self) -> str:
        found = {number: NAMES[job.state] for number, job in self.run.jobs.items()}
        return f"<ReadingRun {found}>"


def _declared(parts: Iterable[bytes]) -> Iterator[Declared]:
    for packed in parts:
        part = unpack_again(Structure, packed, FRAME_BYTES_MAX)
        for i in range(len(part.offsets) - 1):
            edges = range(part.offsets[i], part.offsets[i + 1])
            read = [edge for edge in edges if part.reads and part.reads[edge]]
            yield Declared(
                policy=TOKEN if part.temporary and part.temporary[i] else ALWAYS,
                inputs=[Input(part.upstreams[edge]) for edge in read],
                after=[After(part.upstreams[edge]) for edge in edges if edge not in read],
            )
