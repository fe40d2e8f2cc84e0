"""A Run: one execution of a graph, for every policy and front-end.

Events go in as calls (`found done failed killed vanished recipe_failed cancel add close`),
commands come out of `take`. Each event is worked off completely before the next, so neither
batches nor the order of outcomes change a decision. Work that is put off says only "look at
this job again"; all branching on a state stands in `_look` and what it calls.

docs/engine.md has the rules; `table` has the states.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from pypelinin.engine import entry as why
from pypelinin.engine.entry import Edge, Entry, changed, has, is_broken, repeatable
from pypelinin.engine.table import (
    BLOCKED,
    CANCELLED,
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
from pypelinin.errors import DefinitionError
from pypelinin.graph.declared import After, Declared, Expansion, Input, Record
from pypelinin.graph.fingerprint import Fingerprint, same

REPEATS_MAX = 2


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


class Run:
    """One execution of *jobs*. While it is not *closed*, `add` may bring more."""

    def __init__(self, jobs: Iterable[Declared] = (), *, closed: bool = True) -> None:
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
        self._looks: deque[Entry] = deque()
        self._open = 0
        self._holding = 0
        self._broken = False
        self._ended = False
        self._refused = False
        """Some job had to wait for its readers."""
        self._upsets = 0
        """How often something that was there stopped being there."""
        self.add(jobs)

    @property
    def over(self) -> bool:
        """Nothing is open and nothing more can come."""
        return self._ended

    def take(self) -> Commands:
        """What is to be done since the last call."""
        commands, self.commands = self.commands, Commands()
        return commands

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
        if expansion is not None:
            from pypelinin.engine.expansion import grow

            refusal = grow(self, job, expansion)
            if refusal:
                self._fail(job, why.EXPANSION, refusal)
                return self._drain()
        if job.keyed:
            prints = why.key_prints(job)
        elif prints is None:
            prints = ((),) * len(job.outputs)
        if not job.promised:
            job.prints = prints
        elif not all(map(same, job.prints or (), prints)):
            self._fail(job, why.IMPURE, prints)
            return self._drain()
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
        self._drain()

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

    # --- declaring ---------------------------------------------------------------------------

    def declare(self, jobs: Iterable[Declared], base: int) -> None:
        """Take in new jobs; numbers below 0 count from *base* on (see `Expansion`)."""
        for declared in jobs:
            job = Entry(self.next_number, declared)
            for upstream, outputs, tolerant in declared.inputs:
                self.connect(job, Input(_absolute(upstream, base), outputs, tolerant))
            for upstream, tolerant in declared.after:
                self.follow(job, After(_absolute(upstream, base), tolerant))
            self.jobs[job.number] = job
            self.next_number += 1
            self._check_declared(job)
            if declared.given is not None:
                job.prints, job.promised, job.state = declared.given, True, KEPT
                job.recorded = not (job.always or job.keyed or job.invariant)
                job.there = job.mask(declared.there)
                job.kept |= job.all * job.invariant
            elif job.always and job.recorded:
                self._forget(job)
            if job.final:
                self.finals.append(job)
            if job.eager and declared.given is None:
                if self.cancelled:
                    self._break(job, CANCELLED, 0, None)
                else:
                    self._asks.append(job)

    def _check_declared(self, job: Entry) -> None:
        if job.name:
            if job.name in self.names:
                raise DefinitionError(f"Two jobs of one run are called {job.name!r}.")
            self.names.add(job.name)
        elif not job.always:
            raise DefinitionError("A job that has a record or a key needs a name.")
        for up, _, tolerant in job.inputs:
            if up.final and not job.final:
                raise DefinitionError("Only final jobs may depend on final jobs.")
            if tolerant and not job.always:
                raise DefinitionError("Only jobs that always run can do without an input.")
            if not up.name and not job.always:
                raise DefinitionError("What a job with a record or a key reads needs a name.")
        if any(up.final for up, _ in job.after) and not job.final:
            raise DefinitionError("Only final jobs may depend on final jobs.")

    def connect(self, job: Entry, edge: Input) -> None:
        """A data edge; a second one to the same upstream widens the first."""
        try:
            up = self.jobs[edge.upstream]
            outputs = up.mask(edge.outputs)
        except KeyError:
            raise DefinitionError(f"There is no job {edge.upstream} to read from.") from None
        except ValueError:
            raise DefinitionError(f"{up} has no outputs {edge.outputs}.") from None
        if up.consumers is None:
            up.consumers = {}
        known = up.consumers.get(job)
        made: Edge = (up, outputs, edge.even_if_failed)
        if known is not None:
            made = (up, outputs | known[1], edge.even_if_failed and known[2])
            job.inputs[job.inputs.index(known)] = made
        else:
            job.inputs.append(made)
            if OPEN[job.state]:
                self._need(up, outputs)
            up.marks += job.marking
        up.consumers[job] = made

    def follow(self, job: Entry, edge: After) -> None:
        """An order-only edge."""
        up = self.jobs.get(edge.upstream)
        if up is None:
            raise DefinitionError(f"There is no job {edge.upstream} to come after.")
        if up.followers is None:
            up.followers = {}
        if job not in up.followers:
            up.followers[job] = edge.even_if_failed
            job.after.append((up, edge.even_if_failed))

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

    # --- the work lists ----------------------------------------------------------------------

    def _drain(self) -> None:
        """Requests first, so that no decision misses one; then breaks; then looks."""
        asks, breaks, looks = self._asks, self._breaks, self._looks
        while True:
            if asks:
                self._ask(asks.pop())
            elif breaks:
                self._spread(breaks.pop())
            elif looks:
                job = looks.popleft()
                job.queued = False
                self._look(job)
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

    def _look(self, job: Entry) -> None:
        state = job.state
        if state == WAITING:
            self._decide(job)
        elif state == WANTED:
            self._start(job)
        elif state == DORMANT:
            if not job.open:
                self._unneeded(job)
            elif job.recipe and not self._is_cut_off(job):
                self._stir(job)
        elif state != READY and state != IDLE:
            self._release(job)

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
        if state == IDLE or (not OPEN[state] and self._is_short_of(up, outputs)):
            self._asks.append(up)

    def _is_short_of(self, up: Entry, outputs: int) -> bool:
        """Settled, but what an open consumer names is not there, and can be made again."""
        if is_broken(up) or up.lost & outputs:
            return False
        absent = up.prints is None or up.recipe or up.there & outputs != outputs
        return absent and repeatable(up)

    def _ask(self, job: Entry) -> None:
        """Somebody needs it: from IDLE for the first time, else once more."""
        if OPEN[job.state] or is_broken(job):
            return
        job.cursor = job.held = 0
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

    # --- deciding ----------------------------------------------------------------------------

    def _decide(self, job: Entry) -> None:
        """WAITING: does it run, rest, or stand?"""
        if not job.eager and not job.open:
            return self._unneeded(job)
        if not self._knows_inputs(job) or self._is_held(job):
            return
        if job.final:
            if not self.barrier:
                return
            if self._broken:
                return self._break(job, BLOCKED, why.BARRIER, None)
        if not self._knows_facts(job):
            return
        reason = changed(job)
        if not reason and job.eager and job.kept & ~job.there:
            reason = why.ABSENT
        if reason:
            return self._want(job, reason)
        self._announce(job)
        if job.recipe or job.all & ~job.there:
            self._move(job, DORMANT)
            self._stir(job)
            if not job.open:
                self._queue(job)
        else:
            self._settle(job, KEPT)

    def _knows_inputs(self, job: Entry) -> bool:
        inputs, i = job.inputs, job.cursor
        while i < len(inputs):
            up, _, tolerant = inputs[i]
            if up.prints is None:
                if not is_broken(up):
                    break
                if not tolerant:
                    self._break(job, BLOCKED, why.BROKEN, up.number)
                    return False
            i += 1
        job.cursor = i
        return i == len(inputs)

    def _is_held(self, job: Entry) -> bool:
        """Whether an order-only upstream has neither a fingerprint nor an end yet."""
        after, i = job.after, job.held
        while i < len(after):
            up, tolerant = after[i]
            if up.prints is None:
                if OPEN[up.state]:
                    break
                if up.eager and not tolerant and is_broken(up):
                    self._break(job, BLOCKED, why.BROKEN, up.number)
                    return True
            i += 1
        job.held = i
        return i < len(after)

    def _knows_facts(self, job: Entry) -> bool:
        if not job.facts and not job.looking:  # keyed: its key is known only now
            job.looking = True
            self.commands.look.append(job.number)
        return job.facts

    def _announce(self, job: Entry) -> None:
        """Its fingerprint is known before it runs; its consumers may go by it."""
        job.promised = True
        record = job.record
        if job.keyed or record is None:
            job.prints = why.key_prints(job)
            return
        job.prints = tuple(record.outputs[name] for name in job.outputs)
        if record.inputs != why.inputs_now(job) or record.spec != job.spec:
            self._remember(job)

    def _remember(self, job: Entry) -> None:
        job.recorded = True
        self.commands.remember[job.number] = why.record_of(job)

    def _forget(self, job: Entry) -> None:
        if job.recorded:
            job.recorded = False
            self.commands.remember.pop(job.number, None)
            self.commands.forget.append(job.number)

    # --- starting ----------------------------------------------------------------------------

    def _start(self, job: Entry) -> None:
        """WANTED: hand it out if all is there and nobody is in the way."""
        if not job.open and (job.woken or not job.eager):
            return self._unneeded(job)
        if job.inputs and not self._has_inputs(job):
            return
        for up, _ in job.after:
            if up.state == WANTED or up.state == READY:
                return
        if job.promised and _is_read(job):
            self._refused = True
            return
        self._forget(job)
        self._move(job, READY)
        for up, _, _ in job.inputs:
            if not up.always:
                up.readers += 1
                up.ran = up.ran or up.recipe
        self.commands.run.append(job.number)

    def _has_inputs(self, job: Entry) -> bool:
        inputs, i = job.inputs, job.cursor
        while 0 <= i < len(inputs):
            up, outputs, tolerant = inputs[i]
            if not (up.recipe or has(up, outputs) or (tolerant and is_broken(up))):
                if HOLDS[up.state]:
                    job.cursor = i
                    return False
                break
            i += 1
        job.cursor = -1
        return self._obtains(job)

    def _obtains(self, job: Entry) -> bool:
        """Whether all that *job* reads is there, through recipes too; wakes what is not."""
        complete, cacheable = True, True
        stack, recipes = [job], dict.fromkeys((job,))
        while stack:
            reader = stack.pop()
            for up, outputs, tolerant in reader.inputs:
                if up.recipe and not is_broken(up):
                    if up.sound != self._upsets and up not in recipes:
                        recipes[up] = None
                        stack.append(up)
                elif has(up, outputs) or (tolerant and is_broken(up)):
                    continue
                elif not self._wake(up, outputs, job):
                    return False
                else:
                    complete = False
            if reader is not job and reader.after:
                cacheable = False
                complete = complete and not any(up.state in (WANTED, READY) for up, _ in reader.after)
        if complete and cacheable:
            for recipe in recipes:
                recipe.sound = self._upsets
        elif not complete:
            job.cursor = 0
        return complete

    def _wake(self, up: Entry, outputs: int, job: Entry) -> bool:
        """Have absent *outputs* made for *job*; False if that cannot be, and *job* is blocked."""
        if HOLDS[up.state]:
            return True
        if is_broken(up):
            self._break(job, BLOCKED, why.BROKEN, up.number)
            return False
        if up.state != DORMANT:
            up.lost |= outputs & ~up.there
        if up.lost & outputs:
            self._break(job, BLOCKED, why.LOST, up.number)
            return False
        self._want(up, why.WOKEN, woken=True)
        return True

    def _want(self, job: Entry, reason: int, woken: bool = False) -> None:
        job.why, job.woken, job.cursor = reason, woken, -1
        self._move(job, WANTED)
        if job.there:
            self._upsets += 1
        self._queue(job)

    def _is_cut_off(self, job: Entry) -> bool:
        """A recipe with a broken input is blocked: nobody can follow it any more."""
        for up, outputs, _ in job.inputs:
            if is_broken(up) and (up.recipe or not has(up, outputs)):
                self._break(job, BLOCKED, why.BROKEN, up.number)
                return True
        return False

    # --- ending ------------------------------------------------------------------------------

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
                    self._queue(up)
        self._mark(job, broken or lost or (job.marks > 0 and not _has_all(job)))
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
                    stack.append((up, up.marks > 0 and not _has_all(up)))

    def _stir(self, job: Entry) -> None:
        """Who waits for *job* looks again."""
        for group in (job.consumers, job.followers):
            for other in group or ():
                state = other.state
                if state == WAITING or state == WANTED or (other.recipe and state == DORMANT):
                    self._queue(other)

    def _fail(self, job: Entry, reason: int, cause: object) -> None:
        self._leave(job)
        job.there = 0
        self._break(job, FAILED, reason, cause)

    def _break(self, job: Entry, state: int, reason: int, cause: object) -> None:
        """It ends badly. What had settled before, or stands without its run, stays as it was."""
        if state != FAILED and (job.verdict or (job.woken and job.eager)):
            job.lost |= job.all & ~job.there
            return self._settle(job, job.verdict or KEPT, lost=True)
        job.why, job.cause = reason, cause
        self._settle(job, state)

    def _spread(self, job: Entry) -> None:
        """*job* is broken: block what cannot do without it."""
        unknown = job.prints is None
        for other, edge in (job.consumers or {}).items():
            _, outputs, tolerant = edge
            if other.state == DORMANT and other.recipe:
                self._queue(other)
            elif (other.state == WAITING and unknown) or (
                other.state == WANTED and not has(job, outputs)
            ):
                if tolerant:
                    self._queue(other)
                else:
                    self._break(other, BLOCKED, why.BROKEN, job.number)
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

    def _again(self, job: Entry) -> None:
        """It was handed out, and could not begin."""
        self._leave(job)
        if self.cancelled:
            return self._break(job, CANCELLED, job.why, None)
        job.cursor = -1
        self._move(job, WANTED)
        self._queue(job)

    def _release(self, job: Entry) -> None:
        """Settled, and nobody is open that reads it: what is not kept goes, and a TOKEN too."""
        if job.open or job.marks or self.cancelled:
            return
        token = job.always and job.eager and not job.kept
        if is_broken(job):
            if token and _is_spared(job):
                self._drop(job)
            return
        surplus = job.there & ~job.kept
        if not surplus and not token:
            return
        if not self._ended and any(other.state == IDLE for other in job.consumers or ()):
            if not why.repeatable_by_declaration(job):
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

    def check(self) -> None:
        """Assert the invariants between events; O(jobs + edges)."""
        assert not self._asks and not self._breaks and not self._looks
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


def _absolute(number: int, base: int) -> int:
    return number if number >= 0 else base - number - 1


def _has_all(job: Entry) -> bool:
    return job.there == job.all and not job.recipe


def _is_spared(job: Entry) -> bool:
    """Whether whoever uses *job* can do without it (there is somebody)."""
    edges = [edge[2] for edge in (job.consumers or {}).values()]
    return all(edges) and bool(edges) and all((job.followers or {}).values())


def _is_read(job: Entry) -> bool:
    """Whether somebody runs who reads what *job* would write again."""
    stack = [job]
    while stack:
        read = stack.pop()
        if read.readers:
            return True
        stack += (other for other in read.consumers or () if other.recipe and other.state == DORMANT)
    return False
