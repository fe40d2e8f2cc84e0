"""A run whose jobs read each other's results: the engine's Run with the face of a PlainRun."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pypelinin.engine.run import Run
from pypelinin.engine.table import NAMES
from pypelinin.graph import states
from pypelinin.graph.declared import ALWAYS, TOKEN, After, Declared, Input
from pypelinin.wire.codec import unpack_again
from pypelinin.wire.definitions import FRAME_BYTES_MAX, Structure


class ReadingRun:
    """Ready jobs come out of `start` and `settle`, what nobody reads any more out of `released`."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        """*parts* are packed `Structure`s in order. Raises BadMessage."""
        self.run = Run(_declared(parts))
        self.released: list[int] = []

    @property
    def over(self) -> bool:
        return self.run.over

    def start(self, known: bytes = b"") -> list[int]:
        """The jobs to hand out first. *known*: recorded states of a run that goes on."""
        ready = dict.fromkeys(self._taken())
        ended = [(job, status) for job, status in enumerate(known) if status in states.ENDED]
        for job in self.settle([job for job, _ in ended], [status for _, status in ended]):
            ready[job] = None
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
