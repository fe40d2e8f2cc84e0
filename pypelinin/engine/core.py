"""The ground of a Run: who is open, who has to look again, and what becomes of who has ended.

Work that is put off says only "look at this job again". Each event is worked off completely
before the next, so neither batches nor the order of outcomes change a decision.
"""

from __future__ import annotations

from collections import deque

from pypelinin.engine import entry as why
from pypelinin.engine.entry import Entry, has, is_broken, is_short_of, is_spared, lacks, stands
from pypelinin.engine.table import (
    BLOCKED,
    DONE,
    DORMANT,
    FAILED,
    HOLDS,
    IDLE,
    KEPT,
    OPEN,
    READY,
    UNUSED,
    WAITING,
    WANTED,
)
from pypelinin.graph.declared import Record


class Commands:
    """What shall be done; forget before anything else, durably before the hand-outs."""

    __slots__ = ("look", "forget", "run", "kill", "remember", "release")

    def __init__(self) -> None:
        self.look: list[int] = []
        """Say with `found` what is there of these."""
        self.forget: list[int] = []
        self.run: list[int] = []
        self.kill: list[int] = []
        self.remember: dict[int, Record] = {}
        self.release: list[tuple[int, tuple[str, ...]]] = []
        """Outputs nobody will read any more."""

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__slots__)


class Core:
    """The work lists and the ends; `Deciding` and `Run` build on it."""

    def __init__(self, closed: bool) -> None:
        self.jobs: dict[int, Entry] = {}
        """By number; a TOKEN nobody can ask for any more is not among them."""
        self.next_number = 0
        self.closed = closed
        self.cancelled = False
        self.barrier = False
        """Everything that is not final was settled once: final jobs may be decided."""
        self.commands = Commands()
        self.names: set[str] = set()
        self.finals: list[Entry] = []
        self._asks: list[Entry] = []
        self._breaks: list[Entry] = []
        self._spared: list[Entry] = []
        self._looks: deque[Entry] = deque()
        self._late: deque[Entry] = deque()
        self._open = 0
        self._holding = 0
        self._broken = False
        self._ended = False
        self._refused = False
        """Some job had to wait for its readers."""
        self._upsets = 0
        """How often something that was there stopped being there."""

    def take(self) -> Commands:
        """What is to be done since the last call."""
        commands, self.commands = self.commands, Commands()
        return commands

    # --- the work lists ----------------------------------------------------------------------

    def _drain(self) -> None:
        """Requests first, so that no decision misses one; then breaks, then what nobody needs
        any more, so that nothing starts for nobody; then looks; then lazy jobs are handed out,
        when no decision is left that could take away whom they would run for."""
        asks, breaks, spared, looks = self._asks, self._breaks, self._spared, self._looks
        late = self._late
        while True:
            if asks:
                self._ask(asks.pop())
            elif breaks:
                self._spread(breaks.pop())
            elif spared:
                self._spare(spared.pop())
            elif looks:
                job = looks.popleft()
                job.queued = False
                self._look(job)
            elif late:
                self._look(late.popleft())
            elif self._holding == 0 and self.closed and not self.barrier:
                self.barrier = True
                for job in self.finals:
                    self._queue(job)
            elif self._open == 0 and self.closed and not self._ended:
                self._end()
            else:
                return

    def _queue(self, job: Entry) -> None:
        if not job.queued:
            job.queued = True
            self._looks.append(job)

    def _spare(self, job: Entry) -> None:
        """Nobody needs it any more."""
        woken = job.state == DORMANT or (job.state == WANTED and job.woken)
        waits = woken or (job.state in (WAITING, WANTED) and not job.eager)
        if waits and not job.open:
            self._unneeded(job)
        else:
            self._queue(job)

    def _decide(self, job: Entry) -> None:
        """WAITING: does it run, rest, or stand?"""
        raise NotImplementedError  # Deciding does

    def _start(self, job: Entry) -> None:
        """WANTED: hand it out if all is there and nobody is in the way."""
        raise NotImplementedError  # Deciding does

    def _look(self, job: Entry) -> None:
        state = job.state
        if state == WAITING:
            self._decide(job)
        elif state == WANTED:
            self._start(job)
        elif state == DORMANT:
            if not job.open:
                self._unneeded(job)
            elif job.recipe:
                self._follow(job)
        elif state != READY and state != IDLE:
            self._release(job)

    def _follow(self, recipe: Entry) -> None:
        """A recipe that nobody can follow any more is blocked; its readers look again."""
        for up, outputs, _ in recipe.inputs:
            if lacks(up, outputs):
                self._break(recipe, BLOCKED, why.BROKEN, up.number)
                return
        self._stir(recipe)

    def _move(self, job: Entry, state: int) -> None:
        old = job.state
        job.state = state
        self._open += OPEN[state] - OPEN[old]
        if not job.final:
            self._holding += HOLDS[state] - HOLDS[old]

    def _end(self) -> None:
        self._ended = True
        for job in list(self.jobs.values()):
            if job.state == IDLE:
                self._move(job, UNUSED)
                self._mark(job, job.marks > 0)
            elif job.there & ~job.kept:
                self._queue(job)

    def _need(self, up: Entry, outputs: int) -> None:
        """One more open consumer names these outputs."""
        up.open += 1
        state = up.state
        if state == IDLE or (not OPEN[state] and is_short_of(up, outputs)):
            self._asks.append(up)

    def _ask(self, job: Entry) -> None:
        """Somebody needs it: from IDLE for the first time, else once more."""
        if OPEN[job.state] or is_broken(job):
            return
        job.cursor = job.held = 0
        job.sound = -1
        if job.prints is None:
            self._move(job, WAITING)
        else:
            job.verdict = job.state
            self._move(job, DORMANT)
        for up, outputs, _ in job.inputs:
            self._need(up, outputs)
        if not job.facts and not job.keyed and not job.looking:
            job.looking = True
            self.commands.look.append(job.number)
        self._queue(job)

    def _remember(self, job: Entry) -> None:
        job.recorded = True
        self.commands.remember[job.number] = why.record_of(job)

    def _forget(self, job: Entry) -> None:
        if job.recorded:
            job.recorded = False
            self.commands.remember.pop(job.number, None)
            self.commands.forget.append(job.number)

    # --- ends --------------------------------------------------------------------------------

    def _unneeded(self, job: Entry) -> None:
        """The last of those it was open for has settled."""
        if job.recipe and job.ran:
            for up, _, _ in job.inputs:
                up.ran = up.ran or up.recipe
        if job.verdict:
            self._settle(job, job.verdict)
        elif job.ran:
            self._settle(job, DONE)
        elif job.prints is not None and not job.kept & ~job.there:
            self._settle(job, KEPT)
        else:
            self._settle(job, UNUSED)

    def _settle(self, job: Entry, state: int, lost: bool = False) -> None:
        was_open = OPEN[job.state]
        self._move(job, state)
        broken = state >= FAILED
        if broken:
            self._broken = self._broken or not job.final
            self._breaks.append(job)
        else:
            self._stir(job)
        if was_open:
            for up, _, _ in job.inputs:
                up.open -= 1
                if not up.open:
                    if OPEN[up.state]:
                        self._spared.append(up)
                    else:
                        self._queue(up)
        self._mark(job, broken or lost or (job.marks > 0 and not stands(job)))
        if not job.open:
            self._queue(job)

    def _mark(self, job: Entry, marks: bool) -> None:
        """Whether another run may need what *job* reads, since *job* is to be run again there.

        A job that holds no data of its own hands on what its consumers may need.
        """
        stack = [(job, marks)]
        while stack:
            job, marks = stack.pop()
            if job.marking == marks:
                continue
            job.marking = marks
            for up, _, _ in job.inputs:
                up.marks += 1 if marks else -1
                if not up.marks:
                    self._queue(up)
                if up.state in (DONE, KEPT, UNUSED) and not up.lost:
                    stack.append((up, up.marks > 0 and not stands(up)))

    def _stir(self, job: Entry) -> None:
        """Who waits for *job* looks again."""
        for group in (job.consumers, job.followers):
            for other in group or ():
                state = other.state
                if (
                    state in (WAITING, WANTED)
                    or (other.recipe and state == DORMANT)
                    or state >= FAILED
                ):
                    self._queue(other)

    def _break(self, job: Entry, state: int, reason: int, cause: object) -> None:
        """It ends badly. What had settled before, or stands without its run, stays as it was."""
        if state != FAILED and (job.verdict or (job.woken and job.eager)):
            job.lost |= job.all & ~job.there
            self._settle(job, job.verdict or KEPT, lost=True)
        else:
            job.why, job.cause = reason, cause
            self._settle(job, state)

    def _spread(self, job: Entry) -> None:
        """*job* is broken: block what cannot do without it."""
        unknown = job.prints is None
        for other, (_, outputs, tolerant) in (job.consumers or {}).items():
            short = unknown if other.state == WAITING else not has(job, outputs)
            if short and not tolerant and other.state in (WAITING, WANTED):
                self._break(other, BLOCKED, why.BROKEN, job.number)
            elif OPEN[other.state] or other.state >= FAILED:
                self._queue(other)
        for other, tolerant in (job.followers or {}).items():
            if other.state == WAITING and unknown and job.eager and not tolerant:
                self._break(other, BLOCKED, why.BROKEN, job.number)
            elif OPEN[other.state]:
                self._queue(other)

    def _leave(self, job: Entry) -> None:
        """It is READY no more: what it read may be written again."""
        unread: list[Entry] = []
        for up, _, _ in job.inputs:
            if not up.always:
                up.readers -= 1
                if not up.readers:
                    unread.append(up)
        while unread:
            up = unread.pop()
            if up.state == WANTED:
                self._queue(up)
            elif up.recipe and self._refused:
                unread += (source for source, _, _ in up.inputs)

    def _release(self, job: Entry) -> None:
        """Settled, and nobody is open that reads it: what is not kept goes, and a TOKEN too."""
        if job.open or job.marks or self.cancelled:
            return
        token = job.always and job.eager and not job.kept
        if is_broken(job):
            growing = any(OPEN[up.state] for up, _, _ in job.inputs)  # its expansion may feed it
            if token and is_spared(job) and not growing:
                self._drop(job)
            return
        surplus = job.there & ~job.kept
        if not surplus and not token:
            return
        idle = not self._ended and any(other.state == IDLE for other in job.consumers or ())
        if idle and not why.repeatable_by_declaration(job):
            return
        if surplus:
            job.there &= job.kept
            self.commands.release.append((job.number, job.names(surplus)))
        if token and job.state == DONE:
            self._drop(job)

    def _drop(self, job: Entry) -> None:
        """Nobody can ask for it any more."""
        del self.jobs[job.number]
        self.names.discard(job.name)
        for up, _, _ in job.inputs:
            if up.consumers is not None:
                up.consumers.pop(job, None)
        for up, _ in job.after:
            if up.followers is not None:
                up.followers.pop(job, None)
        self._mark(job, False)
        job.inputs, job.after, job.consumers, job.followers = [], [], None, None
