"""What happens in a Broker's slots, and what the Broker asks of them."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from pypelinin.graph import states
from pypelinin.machine import Command, Event, record
from pypelinin.wire.definitions import INLINE_BYTES_MAX, NO_PLACE, Failure, Terms, ValuePlace
from pypelinin.wire.messages import HeldLot, JobFailure, Progress


@record
class SlotStarted(Event):
    """*slot* imported the user's modules; *failure* says why it could not."""

    slot: int
    workers: tuple[str, ...]
    failure: Failure | None = None
    declared: tuple[bytes, ...] = ()
    """Packed `Kind`s: what worker classes say of their jobs."""


@record
class SlotProgressed(Event):
    """The next jobs of the lot on *slot* ended so; *elapsed_s* is what they took."""

    slot: int
    statuses: bytes
    failures: tuple[JobFailure, ...]
    elapsed_s: float
    results: tuple[bytes, ...] = ()
    """One packed value a status (empty: None), or nothing if all are None."""


@record
class SlotRecalled(Event):
    """The last *count* jobs of the lot on *slot* were taken back unbegun."""

    slot: int
    count: int


@record
class SlotExited(Event):
    """The process of *slot* is gone; *unbegun* jobs of its lot were not touched."""

    slot: int
    failure: Failure
    unbegun: int


@record
class Undead(Event):
    """*count* processes were killed and do not die; *pid* is one of them."""

    pid: int
    count: int


@record
class Shape:
    """What a slot is started for: how many cores its job has, which devices, what environment.

    *once* is the lot that it is for and no other (0: for all of this shape).
    """

    cores: int = 1
    devices: tuple[tuple[str, tuple[int, ...]], ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    once: int = 0


PLAIN_SHAPE = Shape()


@record
class StartSlot(Command):
    slot: int
    shape: Shape = PLAIN_SHAPE


@record
class KillSlot(Command):
    """End the slot and all its processes; *gently*: ask the job to end, and no more."""

    slot: int
    gently: bool = False


@record
class RunLot(Command):
    """Run these jobs on *slot* in order; *headers* are runs it may not know yet.

    *fence* is the first job's. *payloads* are the whole lot's: pass over *skip* of them.
    Where *follows* is 1, a job begins only if the one before it is done.
    """

    slot: int
    fence: int
    skip: int
    worker: str
    runs: array[int]
    jobs: array[int]
    payloads: bytes
    headers: dict[int, tuple[str, bytes]]
    follows: bytes = b""
    inline_max: int = INLINE_BYTES_MAX
    """Results over so many bytes are kept in files."""
    memory_max: int = 0
    """What each job may use in bytes, its processes together; 0: not limited."""


@record
class RecallLot(Command):
    """Take back what the lot on *slot* has not begun; answered by SlotRecalled."""

    slot: int


@record
class Configured(Command):
    """What the Router wants all Brokers to use: store configuration, interval, value place."""

    values: dict[str, object]
    place: ValuePlace = NO_PLACE


@dataclass(slots=True)
class HeldJobs:
    """A lot on this node; job i of it ended with *statuses[i]*."""

    fence: int
    worker: str
    runs: array[int]
    jobs: array[int]
    payloads: bytes
    epoch: int
    lsn: int
    end: int
    follows: bytes = b""
    statuses: bytearray = field(default_factory=bytearray)
    failures: list[JobFailure] = field(default_factory=list)
    results: dict[int, bytes] = field(default_factory=dict)
    """Packed results by position; None is not kept."""
    reported: int = 0
    returned: bool = False
    terms: Terms | None = None

    @property
    def finished(self) -> bool:
        return len(self.statuses) == self.end

    def rest(self, slot: int, headers: dict[int, tuple[str, bytes]], inline_max: int) -> RunLot:
        """What is left of it to run, on *slot*."""
        begun, end = len(self.statuses), self.end
        return RunLot(
            slot, self.fence + begun, begun, self.worker, self.runs[begun:end],
            self.jobs[begun:end], self.payloads, headers, self.follows[begun:end], inline_max,
            0 if self.terms is None else self.terms.memory,
        )  # fmt: skip

    def take(
        self, statuses: bytes, failures: Iterable[JobFailure], results: Sequence[bytes] = ()
    ) -> None:
        """How the next jobs ended, by their slot; it may not leave out what follows nothing."""
        base = len(self.statuses)
        if results:
            self.results.update((base + i, result) for i, result in enumerate(results) if result)
        self.failures += [JobFailure(base + f.job, f.failure) for f in failures]
        self.statuses += statuses
        for i in range(base, len(self.statuses)) if states.UNBEGUN in statuses else ():
            if self.statuses[i] == states.UNBEGUN and not self._follows(i):
                self.statuses[i] = states.FAILED

    def fail(self, failure: Failure) -> None:
        """The next job failed, and what follows it is not begun."""
        self.failures.append(JobFailure(len(self.statuses), failure))
        self.statuses.append(states.FAILED)
        self.pass_over()

    def blame(self, why: Failure) -> None:
        """The last job that failed did so for *why*: it was told to end, and said its own."""
        position = len(self.statuses) - 1
        self.failures = [
            JobFailure(f.job, replace(why, traceback=f.failure.traceback))
            if f.job == position else f
            for f in self.failures
        ]  # fmt: skip

    def pass_over(self) -> None:
        """Leave out the next jobs if they follow one that is not done."""
        while not self.finished and self._follows(len(self.statuses)):
            if self.statuses[-1] == states.DONE:
                return
            self.statuses.append(states.UNBEGUN)

    def _follows(self, position: int) -> bool:
        return self.follows[position : position + 1] == b"\1"

    def unreported(self, bytes_max: int) -> Iterator[Progress]:
        """What was not told yet, in pieces of about that size; it counts as told."""
        begin, size = self.reported, 0
        sizes = {failed.job: failed.failure.size for failed in self.failures}
        for position, result in self.results.items():
            sizes[position] = sizes.get(position, 0) + len(result)
        for position in sorted(position for position in sizes if position >= begin):
            if size > bytes_max:
                yield self._piece(begin, position)
                begin, size = position, 0
            size += sizes[position]
        if begin < len(self.statuses):
            yield self._piece(begin, len(self.statuses))
        self.reported = len(self.statuses)

    def _piece(self, begin: int, end: int) -> Progress:
        failures = tuple(failed for failed in self.failures if begin <= failed.job < end)
        return Progress(
            self.fence, begin, bytes(self.statuses[begin:end]), failures, self._results(begin, end)
        )

    def _results(self, begin: int, end: int) -> tuple[bytes, ...]:
        if not self.results:
            return ()
        found = tuple(self.results.get(position, b"") for position in range(begin, end))
        return found if any(found) else ()

    def held(self, bytes_max: int) -> HeldLot:
        """All of it for a hello; it counts as told. Beyond *bytes_max* failures are short.

        Results cannot be shortened: what comes behind so many bytes of them is told later.
        """
        room, told = bytes_max, len(self.statuses)
        for position, result in sorted(self.results.items()):
            room -= len(result)
            if room < 0:
                told = position
                break
        self.reported = told
        room = bytes_max
        failures = []
        for failed in self.failures:
            if failed.job >= told:
                break
            room -= failed.failure.size
            failures.append(
                failed if room >= 0 else replace(failed, failure=failed.failure.short())
            )
        return HeldLot(
            self.fence, self.epoch, self.lsn, self.runs[: self.end], self.jobs[: self.end],
            bytes(self.statuses[:told]), tuple(failures), self.follows[: self.end],
            self._results(0, told),
        )  # fmt: skip
