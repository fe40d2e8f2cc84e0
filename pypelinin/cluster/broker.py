"""The Broker: runs lots of jobs in its node's slots and tells how each job ended.

It learns the configuration, starts its slots, joins with the workers they offer and says
how many lots it wants to hold. A lot stays here until the Router has acknowledged its last
outcome, so a hello can always tell everything that is not yet safe. What is void (built on
rows a dead Router lost) is killed and counts against nobody.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from pypelinin.cluster.bench import Bench
from pypelinin.cluster.courier import Courier, EvidenceFound, Sampled
from pypelinin.cluster.events import Drain, Malformed, Received, Say, Send, Stop
from pypelinin.cluster.ledger import Ledger
from pypelinin.cluster.member import ROUTER, Member
from pypelinin.cluster.participant import Participant
from pypelinin.cluster.refusals import REMEDIES
from pypelinin.cluster.sharing import OthersChanged, Shared
from pypelinin.cluster.slots import (
    Configured,
    HeldJobs,
    Undead,
)
from pypelinin.config import Limits
from pypelinin.machine import Command, Event
from pypelinin.wire.codec import Blobs, Envelope, Record, pack_record
from pypelinin.wire.definitions import NO_PLACE, Capacity
from pypelinin.wire.messages import (
    Configuration,
    DropJobs,
    ForgetRuns,
    GetConfiguration,
    GetJob,
    JobsFinished,
    JobsOut,
    JobsReturned,
    JoinBroker,
    KillJobs,
    Leave,
    Progress,
    Refused,
    Returned,
    SetDraining,
    Welcome,
    is_sound,
)

REPORT_BYTES_MAX = 128 * 1024
HELD_MAX = 700
HELD_BYTES_MAX = 1024 * 1024
CLOCK_OFF_S = 5.0


class Broker:
    """The Broker daemon's machine."""

    def __init__(
        self,
        name: str,
        incarnation: str,
        capacity: Capacity,
        labels: dict[str, str],
        limits: Limits,
        version: str,
        wall_offset_s: float = 0.0,
        indices: Mapping[str, Sequence[int]] | None = None,
        shares: bool = False,
    ) -> None:
        self.name = name
        self.limits = limits
        self.labels = labels
        self.ledger = Ledger(capacity, indices)
        self.bench = Bench(self.ledger, limits, name)
        self.participant = Participant(self.ledger, self.bench)
        self.member = Member(incarnation, limits, self._hello)
        self.courier = Courier(self.member)
        if shares:
            self.participant.begin()
        self._version = version
        self._wall_offset_s = wall_offset_s
        self._configured = False
        self._ask_at = 0.0
        self._closed: deque[tuple[int, int]] = deque()
        self._asked: tuple[object, ...] = ()
        self._told: dict[int, None] = {}
        self._drains = 0
        self._ordered = ""
        """Why it shall take nothing new, if it was told so."""
        self._left = False
        self._leave_by: float | None = None

    # --- the machine -------------------------------------------------------------------

    def handle(self, batch: Sequence[Event], now: float) -> list[Command]:
        commands: list[Command] = []
        for event in batch:
            commands += self._event(event, now)
        commands += self._due(now)
        commands += self.bench.feed(now)
        commands += self.participant.due(now)
        commands += self._report()
        commands += self._leave(now)
        return commands

    def deadline(self) -> float | None:
        times = [self.bench.pool.deadline(), self.participant.deadline()]
        if not self._configured:
            times.append(self._ask_at)
        elif self._conversing:
            times.append(self.member.deadline())
        if self._leave_by is not None:
            times.append(self._leave_by)
        return min(times)

    def _event(self, event: Event, now: float) -> list[Command]:
        match event:
            case Received(envelope=envelope):
                return self._received(envelope, now)
            case Shared() | OthersChanged():
                self.participant.event(event)
                return []
            case EvidenceFound() | Sampled():
                return self.courier.event(event)
            case Drain():
                self._drains += 1
                return self._drain()
            case Undead(pid, count):
                self._drains = max(self._drains, 1)
                text = f"{count} processes were killed and do not die, {pid} among them; draining."
                return [Say("error", text), *self._drain()]
            case Malformed(code="version", what=what):
                text = f"{what} {REMEDIES['version']}"
                return [Say("error", text) if self._configured else Stop(text)]
        return self.bench.event(event, now)

    def _due(self, now: float) -> list[Command]:
        """Slots to start, questions and hellos to ask, slots that are blocked."""
        commands: list[Command] = []
        if not self._configured:
            if now >= self._ask_at:
                self._ask_at = now + self.limits.heartbeat_interval_s
                wall = now + self._wall_offset_s
                question = GetConfiguration(1, "broker", self._version, self.member.epoch, wall)
                commands.append(Send(ROUTER, Envelope(question)))
            return commands
        commands += self.bench.due(now)
        if self._conversing:
            commands += self.member.tick(now)
        return commands

    @property
    def _conversing(self) -> bool:
        """A Broker that said goodbye still pings, so that a lost goodbye is asked for."""
        return self.bench.probed and not (self._left and self.member.link is None)

    # --- the Router's messages ---------------------------------------------------------

    def _received(self, envelope: Envelope, now: float) -> list[Command]:
        if isinstance(envelope.message, Configuration):
            return self._configure(envelope.message, now)
        if isinstance(envelope.message, Refused):
            refusal = envelope.message.refusal
            if not self._configured or self.member.is_hopeless(refusal):
                return [Stop(f"{refusal.what} {refusal.remedy}".strip())]
        message, commands = self.member.receive(envelope, now)
        if self.member.link is not None:
            safe = self.member.link.sent - self.member.link.unacknowledged
            self._acknowledged(safe)
            commands += self.courier.acknowledged(safe)
        return commands if message is None else commands + self._obey(message, now)

    def _obey(self, message: Record, now: float) -> list[Command]:
        commands: list[Command] = []
        match message:
            case JobsOut():
                self._take(message)
            case Welcome():
                commands += self._welcomed(message)
            case DropJobs(fences):
                for fence in fences:
                    commands += self.bench.give_back(fence)
            case KillJobs(fences):
                for fence in fences:
                    commands += self.bench.kill_job(fence, now)
            case SetDraining(why):
                commands += self._set_draining(why)
            case ForgetRuns(runs):
                self.bench.keep_runs(self.bench.runs.keys() - set(runs))
        return commands

    def _set_draining(self, why: str) -> list[Command]:
        """What is not begun goes back, what runs is finished; nothing ends here."""
        self._ordered = why
        if not why:
            return [Say("info", "Taking jobs again.")]
        commands: list[Command] = [Say("warning", f"Taking no more jobs: {why}.")]
        for fence in list(self.bench.lots):
            commands += self.bench.give_back(fence)
        return commands

    @property
    def _draining(self) -> str:
        """Why it takes nothing new."""
        return "it ends" if self._drains else self._ordered

    def _configure(self, message: Configuration, now: float) -> list[Command]:
        if self._configured:
            return []
        self._configured = True
        self.bench.pool.open(0, now)
        off = now + self._wall_offset_s - message.clock
        clock = []
        if abs(off) > CLOCK_OFF_S:
            text = f"This node's clock is off by {off:+.0f} s; only shown times suffer."
            clock.append(Say("warning", text))
        return [
            Say("info", f"Router {message.version} answered, cluster {message.cluster[:8]}."),
            *clock,
            Configured(message.values, message.place or NO_PLACE),
        ]

    def _take(self, message: JobsOut) -> None:
        count = len(message.runs)
        for run, payload in zip(message.runs, message.blobs, strict=False):
            self.bench.runs[run.number] = (run.run, payload)
        payloads = message.blobs[count:] or (b"",) * len(message.lots)
        for lot, payload in zip(message.lots, payloads, strict=False):
            known = lot.fence in self.bench.lots
            if not known and lot.jobs and is_sound(lot) and (lot.terms is None or lot.terms.sane):
                held = HeldJobs(
                    lot.fence, lot.worker, lot.runs, lot.jobs, payload, message.epoch,
                    message.lsn, len(lot.jobs), lot.follows, terms=lot.terms,
                )  # fmt: skip
                self.bench.take(held)
                if self._ordered:  # it was on its way
                    self.bench.give_back(held.fence)

    def _welcomed(self, message: Welcome) -> list[Command]:
        """A new link: everything since the hello is told again, void lots are killed."""
        commands: list[Command] = [Say("info", f"Joined, epoch {message.epoch}.")]
        self._closed.clear()
        self._asked = ()
        bench = self.bench
        for fence in [*message.drop, *(f for f in bench.lots if f not in self._told)]:
            commands += bench.drop(fence)
        bench.keep_runs({number for lot in bench.lots.values() for number in lot.runs})
        for lot in bench.lots.values():
            lot.returned = False
            bench.touched[lot.fence] = None
        return commands + self.courier.welcomed()

    # --- telling the Router ------------------------------------------------------------

    def _hello(self, number: int) -> Record:
        self._told = dict.fromkeys(list(self.bench.lots)[:HELD_MAX])
        held = Blobs(pack_record(self.bench.lots[f].held(HELD_BYTES_MAX)) for f in self._told)
        offer, ahead = self._offer()
        return JoinBroker(
            self.name, self.member.incarnation, self.ledger.capacity, offer, ahead,
            self.bench.workers, self.labels, number, held, self.member.cluster,
            self._draining, self.bench.declared, self._version,
        )  # fmt: skip

    def _offer(self) -> tuple[Capacity, int]:
        """(what all lots here may need together, cores ahead of that for short jobs)."""
        if self._draining:
            return Capacity(0), 0
        offer = self.participant.offer
        blocked = any(slot.recalled and slot.runs for slot in self.bench.pool.slots.values())
        return offer, 0 if blocked else offer.cores

    def _report(self) -> list[Command]:
        """Outcomes, returns and the question for more, in that order."""
        if self.member.link is None:
            return []
        commands: list[Command] = []
        progress: list[Progress] = []
        returned: list[Returned] = []
        closed: list[int] = []
        size = 0
        for fence in self.bench.touched:
            lot = self.bench.lots[fence]
            for piece in lot.unreported(REPORT_BYTES_MAX):
                progress.append(piece)
                size += len(piece.statuses) + 64 + sum(f.failure.size for f in piece.failures)
                size += sum(map(len, piece.results))
                if size > REPORT_BYTES_MAX:
                    commands += self.member.send(JobsFinished(tuple(progress)))
                    progress, size = [], 0
            if lot.end < len(lot.jobs) and not lot.returned:
                lot.returned = True
                returned.append(Returned(fence, lot.end))
            if lot.finished:
                closed.append(fence)
        self.bench.touched.clear()
        if progress:
            commands += self.member.send(JobsFinished(tuple(progress)))
        if returned:
            commands += self.member.send(JobsReturned(tuple(returned)))
        self._closed.extend((self.member.link.sent, fence) for fence in closed)
        return commands + self._ask()

    def _ask(self) -> list[Command]:
        offer, ahead = self._offer()
        asked = (offer, ahead, self._draining, self.participant.at_once)
        if self._asked == asked and not self.bench.pace_changed:
            return []
        self._asked, self.bench.pace_changed = asked, False
        pace = self.bench.pace.jobs_in_lot()
        return self.member.send(
            GetJob(offer, ahead, pace, self._draining, self.participant.at_once)
        )

    def _acknowledged(self, number: int) -> None:
        while self._closed and self._closed[0][0] <= number:
            self.bench.lots.pop(self._closed.popleft()[1], None)

    # --- the end -----------------------------------------------------------------------

    def _drain(self) -> list[Command]:
        text = "Draining: finishing what runs." if self._drains == 1 else "Stopping now."
        return [*self.bench.close(), Say("info", text)]

    def _leave(self, now: float) -> list[Command]:
        """Goodbye once drained: everything told and acknowledged, or the time is over."""
        if self._drains > 1:
            return [*self.member.send(Leave()), Stop()]
        if not self._drains or self.bench.busy:
            return []
        link = self.member.link
        if link is None and not self.bench.lots:
            return [Stop()]  # nothing to tell, and nobody to say goodbye to
        if self._leave_by is None:
            self._leave_by = now + self.limits.kill_grace_s
        late = now >= self._leave_by
        if self._left and (late or link is None or not link.unacknowledged):
            return [Stop()]
        if late and not self.bench.lots:
            return [Stop()]  # only evidence is left
        if late:
            left = len(self.bench.lots)
            text = f"No Router took the outcomes of {left} lots; their jobs run again."
            return [Say("warning", text), Stop()]
        if self.bench.lots or self.courier.busy or link is None or self._left:
            return []
        self._left = True
        return self.member.send(Leave())

    def check(self) -> None:
        self.member.check()
        self.bench.check()
