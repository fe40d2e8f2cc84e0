"""A Run: one execution of a graph, for every policy and front-end.

Events go in as calls (`found done failed killed vanished recipe_failed cancel add close`),
commands come out of `take`. docs/engine.md has the rules; `table` has the states; `core` and
`deciding` are the floors below.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pypelinin.engine import entry as why
from pypelinin.engine.declaring import Declaring
from pypelinin.engine.entry import Entry, repeatable
from pypelinin.engine.expansion import grow
from pypelinin.engine.table import (
    CANCELLED,
    DONE,
    DORMANT,
    FAILED,
    HOLDS,
    IDLE,
    KEPT,
    OPEN,
    READY,
    WAITING,
    WANTED,
)
from pypelinin.graph.declared import Declared, Expansion, Record
from pypelinin.graph.fingerprint import Fingerprint, same

REPEATS_MAX = 2
"""How often a job is made again because its outputs vanished."""


class Run(Declaring):
    """One execution of *jobs*. While it is not *closed*, `add` may bring more."""

    def __init__(self, jobs: Iterable[Declared] = (), *, closed: bool = True) -> None:
        super().__init__(closed)
        self.add(jobs)

    @property
    def over(self) -> bool:
        """Nothing is open and nothing more can come."""
        return self._ended

    # --- events ------------------------------------------------------------------------------

    def add(self, jobs: Iterable[Declared]) -> None:
        """More jobs, of a run that is not closed; they may name any job before them."""
        self.declare(jobs, self.next_number)
        self._drain()

    def close(self) -> None:
        """No more jobs will be added."""
        self.closed = True
        self._drain()

    def found(
        self, number: int, there: tuple[str, ...], altered: tuple[str, ...] = (), *record: Record
    ) -> None:
        """The answer to `look`: which outputs exist, and which of them are not as it left them.

        *record*, if the driver learnt it only now.
        """
        job = self.jobs.get(number)
        if job is None or not job.looking:
            return
        job.looking = False
        if job.state != WAITING:
            return
        job.facts = True
        job.altered = job.mask(altered)
        job.there = job.mask(there) & ~(job.altered & ~job.kept)
        if record:
            job.record, job.recorded = record[0], True
        self._queue(job)
        self._drain()

    def done(
        self, number: int, prints: Fingerprint | None = None, expansion: Expansion | None = None
    ) -> None:
        """Success; *prints* of each output in order (None: nobody will ever compare them)."""
        job = self._ready(number)
        if job is None:
            return
        refusal = grow(self, job, expansion) if expansion is not None else ""
        if job.keyed:
            prints = why.key_prints(job)
        elif prints is None:
            prints = ((),) * len(job.outputs)
        if refusal:
            self._fail(job, why.EXPANSION, refusal)
        elif job.promised and not all(map(same, job.prints or (), prints)):
            self._fail(job, why.IMPURE, prints)
        else:
            self._succeed(job, prints)
        self._drain()

    def _succeed(self, job: Entry, prints: Fingerprint) -> None:
        if not job.promised:
            job.prints = prints
        self._leave(job)
        job.there, job.lost, job.ran = 0 if job.recipe else job.all, 0, True
        if not job.always and not job.keyed:
            self._remember(job)
        if job.recipe:
            job.promised = True
            self._move(job, DORMANT)
            self._stir(job)
            self._queue(job)
        else:
            self._settle(job, DONE)

    def failed(self, number: int, cause: object = None) -> None:
        """It failed for good."""
        job = self._ready(number)
        if job is not None:
            self._fail(job, why.FAILURE, cause)
            self._drain()

    def killed(self, number: int) -> None:
        """It was ended because of `kill`."""
        job = self._ready(number)
        if job is not None:
            self._leave(job)
            job.there = 0
            self._break(job, CANCELLED, job.why, None)
            self._drain()

    def vanished(self, number: int, missing: Iterable[tuple[int, tuple[str, ...]]]) -> None:
        """Its user code was not begun, since these outputs of these jobs are not there."""
        job = self._ready(number)
        if job is None:
            return
        self._again(job)
        for upstream, outputs in missing:
            up = self.jobs.get(upstream)
            if up is None or not (gone := up.there & up.mask(outputs)):
                continue
            up.there &= ~gone
            self._upsets += 1
            up.repeats += 1
            if self.cancelled or up.repeats > REPEATS_MAX or not repeatable(up):
                up.lost |= gone
            elif not OPEN[up.state]:
                self._ask(up)
                if up.eager and gone & up.kept:  # it is wanted for itself
                    self._want(up, why.ABSENT)
            self._stir(up)
        self._drain()

    def recipe_failed(self, number: int, recipe: int, cause: object = None) -> None:
        """Job *number* could not begin, since the recipe it reads failed where it was to run."""
        job, source = self._ready(number), self.jobs.get(recipe)
        if job is None or source is None:
            return
        self._again(job)
        self._forget(source)
        if source.state == DORMANT:
            self._break(source, FAILED, why.FAILURE, cause)
        self._drain()

    def cancel(self, numbers: Sequence[int] | None = None) -> None:
        """End these jobs, or the whole run; what is READY gets a `kill` and may still succeed."""
        self.cancelled = self.cancelled or numbers is None
        self.closed = self.closed or numbers is None
        for job in list(self.jobs.values()) if numbers is None else self._of(numbers):
            if job.state == READY:
                self.commands.kill.append(job.number)
            elif job.state in (WAITING, WANTED) or (
                numbers is not None and job.state in (IDLE, DORMANT)
            ):
                self._break(job, CANCELLED, job.why, None)
        self._drain()

    def _of(self, numbers: Sequence[int]) -> list[Entry]:
        return [self.jobs[number] for number in numbers if number in self.jobs]

    def _ready(self, number: int) -> Entry | None:
        """The job if an outcome of it counts; late and doubled ones do not."""
        job = self.jobs.get(number)
        return job if job is not None and job.state == READY else None

    def _fail(self, job: Entry, reason: int, cause: object) -> None:
        self._leave(job)
        job.there = 0
        self._break(job, FAILED, reason, cause)

    def _again(self, job: Entry) -> None:
        """It was handed out, and could not begin."""
        self._leave(job)
        if self.cancelled:
            self._break(job, CANCELLED, job.why, None)
        else:
            job.cursor = -1
            self._move(job, WANTED)
            self._queue(job)

    def restore(self, job: Entry) -> None:
        """Tie in a thawed job, and ask again for what it was waiting for."""
        for up, outputs, tolerant in job.inputs:
            if up.number in self.jobs:
                up.consumers = up.consumers or {}
                up.consumers[job] = (up, outputs, tolerant)
        for up, tolerant in job.after:
            if up.number in self.jobs:
                up.followers = up.followers or {}
                up.followers[job] = tolerant
        if job.name:
            self.names.add(job.name)
        if job.final:
            self.finals.append(job)
        if job.looking:
            self.commands.look.append(job.number)
        if job.state == READY:
            self.commands.run.append(job.number)

    def check(self) -> None:
        """Assert the invariants between events; O(jobs + edges)."""
        assert not self._asks
        assert not self._spared
        assert not self._breaks
        assert not self._looks
        everyone = self.jobs.values()
        assert self._open == sum(OPEN[job.state] for job in everyone)
        assert self._holding == sum(HOLDS[job.state] and not job.final for job in everyone)
        assert self._ended == (self._open == 0 and self.closed)
        for job in everyone:
            consumers = job.consumers or {}
            assert job.open == sum(OPEN[other.state] for other in consumers), job
            if not job.always:
                assert job.readers == sum(other.state == READY for other in consumers), job
            assert not job.queued
            assert not (job.state == DORMANT and not job.open), f"{job} rests for nobody"
            assert not (job.state in (KEPT, DORMANT) and job.prints is None), job
