"""Which Pipeliner plans which run, the Router's own one included.

Small runs, and all while no Pipeliner is connected, are planned right here: the engine's
Run is asked by a call, so a job is queued in the same turn as the outcome it waited for.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence

from pypelinin.cluster.desk import Desk, Peer
from pypelinin.cluster.growing import is_there, resolve
from pypelinin.cluster.pipeliner import join_parts
from pypelinin.cluster.reading import ReadingRun
from pypelinin.cluster.record import RunRecord
from pypelinin.cluster.refusals import refuse
from pypelinin.cluster.scribe import Scribe
from pypelinin.config import Limits
from pypelinin.engine.expansion import Refused
from pypelinin.engine.plain import PlainRun
from pypelinin.errors import BadMessage
from pypelinin.graph import states
from pypelinin.wire.codec import Blobs, Record
from pypelinin.wire.definitions import Failure, Refusal
from pypelinin.wire.messages import AddJobs, AssignedRun, AssignRuns, JobsSettled, Settled, Withdraw
from pypelinin.wire.rows import BY_CLIENT, Assigned, ClosedRun, Grew, Overruled, Released

RESIDENT = 0
BLOBS_IN_MESSAGE = 500
STATES_BYTES_MAX = 1_000_000


class Planning:
    """Runs by the session of their Pipeliner (0: the resident one)."""

    def __init__(self, scribe: Scribe, desk: Desk, limits: Limits) -> None:
        self.owner: dict[int, int] = {}
        self.here: dict[int, PlainRun | ReadingRun] = {}
        self._scribe = scribe
        self._desk = desk
        self._limits = limits
        self._ready: list[tuple[int, list[int]]] = []
        self._settled: dict[int, tuple[array[int], bytearray]] = {}
        self._withdrawn: dict[int, None] = {}
        self._released: list[Released] = []
        self.stopping: dict[int, None] = {}
        """Runs that end because a job failed."""
        self.over: dict[int, None] = {}
        """Runs nothing more will come of, once their lots are back."""

    def assign(self, runs: Iterable[RunRecord]) -> None:
        """Give each run to the Pipeliner that plans the fewest."""
        groups: dict[int, list[RunRecord]] = {}
        loads = {
            session: sum(owner == session for owner in self.owner.values())
            for session, peer in self._desk.peers.items()
            if peer.role == "pipeliner"
        }
        for run in runs:
            session = RESIDENT
            large = run.header.jobs > self._limits.resident_jobs_max
            if loads and large and run.plain:
                session = min(loads, key=loads.__getitem__)
                loads[session] += 1
            groups.setdefault(session, []).append(run)
            self.owner[run.number] = session
            self._settled.pop(run.number, None)
            self._withdrawn.pop(run.number, None)
            self.over.pop(run.number, None)
            if run.counts[states.FAILED]:  # the Router may have died before it said so
                self._failed(run)
        for session, group in groups.items():
            self._assign_to(session, group)

    def _assign_to(self, session: int, runs: list[RunRecord]) -> None:
        if session == RESIDENT:
            for run in runs:
                self._plan_here(run)
            return
        assignment = self._scribe.state.next_assignment
        numbers = array("I", [run.number for run in runs])
        self._scribe.write([Assigned(assignment, self._desk.peers[session].name, numbers)])
        batch: list[AssignedRun] = []
        blobs: list[bytes] = []
        size = 0
        for run in runs:
            parts = [part[0] for part in run.parts if part is not None]
            known = _known(run)
            if batch and (
                len(blobs) + len(parts) >= BLOBS_IN_MESSAGE or size + len(known) > STATES_BYTES_MAX
            ):
                self._tell(session, AssignRuns(tuple(batch), Blobs(blobs)))
                batch, blobs, size = [], [], 0
            batch.append(
                AssignedRun(run.number, assignment, run.header.jobs, len(parts), run.cancelled)
            )
            blobs += [known, *parts]
            size += len(known)
        self._tell(session, AssignRuns(tuple(batch), Blobs(blobs)))

    def _plan_here(self, run: RunRecord) -> None:
        structures = [part[0] for part in run.parts if part is not None]
        planned = PlainRun(join_parts(structures)) if run.plain else self._reading(run)
        self.here[run.number] = planned
        ready = planned.start(_known(run))
        if run.cancelled:
            planned.cancel()
        self._found(run.number, planned, ready)
        pending = list(run.growing)
        self._grow(run, pending, bytes((states.DONE,)) * len(pending))

    def _reading(self, run: RunRecord) -> ReadingRun:
        structures = (part[0] for part in run.parts if part is not None)
        return ReadingRun(structures, run.feeds, closed=not run.more)

    def _found(self, number: int, planned: PlainRun | ReadingRun, ready: list[int]) -> None:
        if isinstance(planned, ReadingRun) and planned.released:
            self._released.append(Released(number, array("I", planned.released)))
            planned.released = []
        if ready and (run := self._scribe.state.runs.by_number[number]).retry_of:
            ready = self._still_open(run, planned, ready)
        if ready:
            self._ready.append((number, ready))
        if planned.over:
            self.over[number] = None

    @staticmethod
    def _still_open(run: RunRecord, planned: PlainRun | ReadingRun, ready: list[int]) -> list[int]:
        """Who was done in the run before waited for who runs again only to make a result anew."""
        while given := [job for job in ready if run.states[job] in states.ENDED]:
            ready = [job for job in ready if run.states[job] not in states.ENDED]
            ready += planned.settle(given, bytes(run.states[job] for job in given))
        return ready

    def take_released(self) -> list[Released]:
        """Jobs whose results nobody reads any more."""
        released, self._released = self._released, []
        return released

    def _tell(self, session: int, message: Record) -> None:
        if session in self._desk.peers:
            self._desk.tell(self._desk.peers[session], message)

    def line(self, number: int, job: int, jobs_max: int) -> list[int]:
        """The jobs that can run right behind *job* (see Run.line); none if another plans."""
        planned = self.here.get(number)
        return [] if planned is None else planned.line(job, jobs_max)

    def settle(self, number: int, jobs: Sequence[int], statuses: bytes) -> None:
        """Final outcomes for whoever plans the run; sent at the end of the turn."""
        owner = self.owner.get(number)
        if owner is None:
            return
        run = self._scribe.state.runs.by_number[number]
        if states.FAILED in statuses:
            self._failed(run)
        if run.growing:
            self._grow(run, jobs, statuses)
            return
        if owner == RESIDENT:
            planned = self.here[number]
            self._found(number, planned, planned.settle(jobs, statuses))
            return
        found = self._settled.get(number)
        if found is None:
            found = self._settled[number] = (array("I"), bytearray())
        found[0].extend(jobs)
        found[1].extend(statuses)

    def _failed(self, run: RunRecord) -> None:
        if run.header.stops and not run.cancelled:
            self.stopping[run.number] = None

    # --- growing -----------------------------------------------------------------------

    def _grow(self, run: RunRecord, jobs: Sequence[int], statuses: bytes) -> None:
        """Final outcomes, some of which bring jobs: judged here, whoever planned it before."""
        planned = self._planned_with_all(run, jobs) if jobs else None
        for job, status in zip(jobs, statuses, strict=True):
            assert planned is not None
            packed = run.growing.get(job) if status == states.DONE else None
            if packed is None or (run.retry_of and is_there(packed, run.by_name())):
                self._found(run.number, planned, planned.settle([job], [status]))
                continue
            refusal, ready = self._judged(run, planned, job, packed)
            if refusal:
                text = f"what it adds to the run is refused: {refusal}"
                failure = Failure("exception", "ExpansionRefused", text)
                self._scribe.write([Overruled(run.number, job, failure)])
                self._failed(run)
            else:
                self._scribe.write([Grew(run.number, job, packed)])
                self._forget_headers(run.number)
            self._found(run.number, planned, ready)

    def _judged(
        self, run: RunRecord, planned: ReadingRun, job: int, packed: bytes
    ) -> tuple[str, list[int]]:
        try:
            expansion = resolve(packed, run.header, run.by_name()).expansion
        except BadMessage as error:
            planned.run.failed(job)
            return error.what, planned.settle([], [])
        return planned.grow(job, expansion)

    def _planned_with_all(self, run: RunRecord, open_jobs: Sequence[int]) -> ReadingRun:
        """The run, planned here by the whole engine; of *open_jobs* it knows no outcome yet."""
        planned = self.here.get(run.number)
        if isinstance(planned, ReadingRun):
            return planned
        self._settled.pop(run.number, None)
        if (session := self.owner[run.number]) != RESIDENT:
            self._tell(session, Withdraw(array("I", [run.number])))
            self.owner[run.number] = RESIDENT
        known = bytearray(_known(run) or bytes(run.header.jobs))
        for job in open_jobs:
            known[job] = states.OPEN
        planned = self.here[run.number] = self._reading(run)
        self._found(run.number, planned, planned.start(bytes(known)))
        return planned

    def judge_addition(self, message: AddJobs) -> Refusal | None:
        """Take a client's addition to an open run in, or say why not; once if told twice."""
        run = self._scribe.state.runs.get(message.run)
        if run is None or not run.complete:
            return refuse("not found", f"There is no run {message.run[:64]}.")
        if message.index < run.additions or (not message.growth and run.closed):
            return None
        if not run.open or not run.more:
            return refuse("conflict", f"Run {run.id} takes no more jobs.")
        if run.number not in self.here:
            return refuse("busy", f"Run {run.id} waits for the nodes that had jobs of it.")
        if message.index > run.additions:
            return refuse("conflict", f"Addition {run.additions} of run {run.id} is missing.")
        if not message.growth:
            self.close(run)
            return None
        refusal = self.add(run, message.growth)
        return refuse("malformed", f"Run {run.id} cannot grow: {refusal}.") if refusal else None

    def add(self, run: RunRecord, packed: bytes) -> str:
        """The client's addition to an open run; returns why it is refused."""
        planned = self.here[run.number]
        assert isinstance(planned, ReadingRun)
        try:
            found = resolve(packed, run.header, run.by_name())
            if found.feeds:
                return "what was there before cannot wait for it"
            ready = planned.add(found.expansion.jobs)
        except BadMessage as error:
            return error.what
        except Refused as error:
            return str(error)
        self._scribe.write([Grew(run.number, BY_CLIENT, packed)])
        self._forget_headers(run.number)
        self._found(run.number, planned, ready)
        return ""

    def close(self, run: RunRecord) -> None:
        """The client adds nothing more."""
        self._scribe.write([ClosedRun(run.number)])
        planned = self.here[run.number]
        assert isinstance(planned, ReadingRun)
        planned.close()
        self._found(run.number, planned, planned.settle([], []))

    def _forget_headers(self, number: int) -> None:
        """Nodes get the run's header again with its next lot: it has more functions now."""
        for peer in self._desk.peers.values():
            peer.runs.pop(number, None)

    def withdraw(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            if number in self.here:
                self.here[number].cancel()
                self._found(number, self.here[number], [])
            elif number in self.owner:
                self._withdrawn[number] = None

    def flush(self) -> list[tuple[int, list[int]]]:
        """Send what was gathered; returns (run, jobs) that are ready of what is planned here."""
        if self._withdrawn:
            for session, numbers in self._by_owner(self._withdrawn).items():
                self._tell(session, Withdraw(array("I", numbers)))
            self._withdrawn.clear()
        if self._settled:
            for session, numbers in self._by_owner(self._settled).items():
                for message in self._cut(numbers):
                    self._tell(session, message)
            self._settled.clear()
        ready, self._ready = self._ready, []
        return ready

    @property
    def pending(self) -> bool:
        return bool(self._ready or self._settled or self._withdrawn)

    def _by_owner(self, numbers: Iterable[int]) -> dict[int, list[int]]:
        groups: dict[int, list[int]] = {}
        for number in numbers:
            groups.setdefault(self.owner[number], []).append(number)
        return groups

    def _cut(self, numbers: list[int]) -> Iterator[JobsSettled]:
        batch: list[Settled] = []
        size = 0
        for number in numbers:
            jobs, statuses = self._settled[number]
            assignment = self._scribe.state.runs.by_number[number].assignment
            for i in range(0, len(jobs), self._limits.batch_jobs_max):
                end = i + self._limits.batch_jobs_max
                batch.append(Settled(number, assignment, jobs[i:end], bytes(statuses[i:end])))
                size += len(batch[-1].jobs) + 4
                if size >= self._limits.batch_jobs_max:
                    yield JobsSettled(tuple(batch))
                    batch, size = [], 0
        if batch:
            yield JobsSettled(tuple(batch))

    def finished(self, number: int) -> None:
        self.owner.pop(number, None)
        self.here.pop(number, None)
        self._settled.pop(number, None)
        self._withdrawn.pop(number, None)
        self.over.pop(number, None)

    def is_from_owner(self, session: int, number: int, assignment: int) -> bool:
        """Whether that Pipeliner still plans that run; an old assignment does not count."""
        if self.owner.get(number) != session:
            return False
        return self._scribe.state.runs.by_number[number].assignment == assignment

    def gone(self, peer: Peer) -> list[RunRecord]:
        """The runs *peer* planned; they need another assignment."""
        by_number = self._scribe.state.runs.by_number
        session = peer.link.session
        return [by_number[n] for n, owner in list(self.owner.items()) if owner == session]

    def check(self) -> None:
        for number, owner in self.owner.items():
            assert self._scribe.state.runs.by_number[number].open
            assert (owner == RESIDENT) == (number in self.here)
        for planned in self.here.values():
            planned.check()


def _known(run: RunRecord) -> bytes:
    """What is recorded of a run that goes on; nothing for a new one."""
    if run.counts[states.OPEN] == run.header.jobs:
        return b""
    known = bytearray(run.states.translate(states.TO_RECORD))
    for job in run.growing:  # what it brings comes with its outcome
        known[job] = states.OPEN
    return bytes(known)
