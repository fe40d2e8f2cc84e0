"""The Broker: runs lots of jobs in its node's slots and tells how each job ended.

It learns the configuration, starts its slots, joins with the workers they offer and says
how many lots it wants to hold. A lot stays here until the Router has acknowledged its last
outcome, so a hello can always tell everything that is not yet safe. What is void (built on
rows a dead Router lost) is killed and counts against nobody.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from pypelinin.cluster.events import Drain, Malformed, Received, Say, Send, Stop
from pypelinin.cluster.inline import Inline
from pypelinin.cluster.ledger import Ledger
from pypelinin.cluster.member import ROUTER, Member
from pypelinin.cluster.pace import Pace
from pypelinin.cluster.refusals import REMEDIES
from pypelinin.cluster.slots import (
    Configured,
    HeldJobs,
    KillSlot,
    RecallLot,
    SlotExited,
    SlotProgressed,
    SlotRecalled,
    SlotStarted,
    StartSlot,
)
from pypelinin.config import Limits
from pypelinin.machine import Command, Event
from pypelinin.wire.codec import Blobs, Envelope, Record, pack_record
from pypelinin.wire.definitions import NO_PLACE
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
    Welcome,
    is_sound,
)

REPORT_BYTES_MAX = 128 * 1024
HELD_MAX = 700
HELD_BYTES_MAX = 1024 * 1024
RESTART_S = 0.5
CLOCK_OFF_S = 5.0


class Broker:
    """The Broker daemon's machine."""

    def __init__(
        self,
        name: str,
        incarnation: str,
        slots: int,
        labels: dict[str, str],
        limits: Limits,
        version: str,
        wall_offset_s: float = 0.0,
    ) -> None:
        self.name = name
        self.limits = limits
        self.labels = labels
        self.workers: tuple[str, ...] = ()
        self.ledger = Ledger()
        self.lots: dict[int, HeldJobs] = {}
        self.member = Member(incarnation, limits, self._hello)
        self.runs: dict[int, tuple[str, bytes]] = {}
        self._slots = slots
        self._version = version
        self._wall_offset_s = wall_offset_s
        self._configured = False
        self._probed = False
        self._ask_at = 0.0
        self._starts: dict[int, float] = {}
        self._since: dict[int, float] = {}
        self._recalled: set[int] = set()
        self._waiting: deque[int] = deque()
        self._closed: deque[tuple[int, int]] = deque()
        self._pace = Pace(limits)
        self._inline = Inline()
        self._asked: tuple[int, ...] = ()
        self._told: dict[int, None] = {}
        self._touched: dict[int, None] = {}
        self._drains = 0
        self._left = False
        self._leave_by: float | None = None

    # --- the machine -------------------------------------------------------------------

    def handle(self, batch: Sequence[Event], now: float) -> list[Command]:
        commands: list[Command] = []
        for event in batch:
            commands += self._event(event, now)
        commands += self._due(now)
        commands += self._feed(now)
        commands += self._report()
        commands += self._leave(now)
        return commands

    def deadline(self) -> float | None:
        times = list(self._starts.values())
        for slot, since in self._since.items():
            if slot not in self._recalled:
                times.append(since + self.limits.blocked_slot_s)
        if not self._configured:
            times.append(self._ask_at)
        elif self._conversing:
            times.append(self.member.deadline())
        if self._leave_by is not None:
            times.append(self._leave_by)
        return min(times, default=None)

    def _event(self, event: Event, now: float) -> list[Command]:
        match event:
            case Received(envelope=envelope):
                return self._received(envelope, now)
            case SlotProgressed():
                return self._progressed(event, now)
            case SlotStarted():
                return self._started(event, now)
            case SlotRecalled(slot, count):
                fence = self.ledger.held(slot)
                lot = None if fence is None else self.lots.get(fence)
                if lot is not None and count:
                    lot.end -= count
                    self._touched[lot.fence] = None
                    if lot.finished:
                        self._settle(slot, lot, now)
                return []
            case SlotExited():
                return self._exited(event, now)
            case Drain():
                self._drains += 1
                return self._drain()
            case Malformed(code="version", what=what):
                text = f"{what} {REMEDIES['version']}"
                return [Say("error", text) if self._configured else Stop(text)]
        return []

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
        for slot, at in list(self._starts.items()):
            if now >= at:
                del self._starts[slot]
                commands.append(StartSlot(slot))
        for slot, since in self._since.items():
            if now - since >= self.limits.blocked_slot_s and slot not in self._recalled:
                self._recalled.add(slot)
                commands += self._blocked(slot)
        if self._conversing:
            commands += self.member.tick(now)
        return commands

    @property
    def _conversing(self) -> bool:
        """A Broker that said goodbye still pings, so that a lost goodbye is asked for."""
        return self._probed and not (self._left and self.member.link is None)

    # --- the Router's messages ---------------------------------------------------------

    def _received(self, envelope: Envelope, now: float) -> list[Command]:
        if isinstance(envelope.message, Configuration):
            return self._configure(envelope.message, now)
        if not self._configured and isinstance(envelope.message, Refused):
            refusal = envelope.message.refusal
            return [Stop(f"{refusal.what} {refusal.remedy}".strip())]
        message, commands = self.member.receive(envelope, now)
        if self.member.link is not None:
            self._acknowledged(self.member.link.sent - self.member.link.unacknowledged)
        match message:
            case JobsOut():
                self._take(message)
            case Welcome():
                commands += self._welcomed(message)
            case DropJobs(fences):
                for fence in fences:
                    commands += self._give_back(fence)
            case KillJobs(fences):
                for fence in fences:
                    commands += self._kill_job(fence)
            case ForgetRuns(runs):
                for number in runs:
                    self.runs.pop(number, None)
                self._inline.keep(self.runs)
        return commands

    def _configure(self, message: Configuration, now: float) -> list[Command]:
        if self._configured:
            return []
        self._configured = True
        self._starts[0] = now
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
            self.runs[run.number] = (run.run, payload)
        payloads = message.blobs[count:] or (b"",) * len(message.lots)
        for lot, payload in zip(message.lots, payloads, strict=False):
            if lot.fence in self.lots or not is_sound(lot):
                continue
            self.lots[lot.fence] = HeldJobs(
                lot.fence, lot.worker, lot.runs, lot.jobs, payload,
                message.epoch, message.lsn, len(lot.jobs), lot.follows,
            )  # fmt: skip
            self._waiting.append(lot.fence)
            if self._drains:
                self._unbegun(self.lots[lot.fence])

    def _welcomed(self, message: Welcome) -> list[Command]:
        """A new link: everything since the hello is told again, void lots are killed."""
        commands: list[Command] = [Say("info", f"Joined, epoch {message.epoch}.")]
        self._closed.clear()
        self._asked = ()
        for fence in [*message.drop, *(f for f in self.lots if f not in self._told)]:
            commands += self._drop(fence)
        named = {number for lot in self.lots.values() for number in lot.runs}
        self.runs = {number: run for number, run in self.runs.items() if number in named}
        self._inline.keep(self.runs)
        for lot in self.lots.values():
            lot.returned = False
            self._touched[lot.fence] = None
        return commands

    def _drop(self, fence: int) -> list[Command]:
        lot = self.lots.pop(fence, None)
        if lot is None:
            return []
        if fence in self._waiting:
            self._waiting.remove(fence)
        self._touched.pop(fence, None)
        for slot, held in self.ledger.granted.items():
            if held == fence:
                return [KillSlot(slot), Say("info", f"Killing void lot {fence:x}.")]
        return []

    def _give_back(self, fence: int) -> list[Command]:
        if fence in self._waiting:
            self._waiting.remove(fence)
            self._unbegun(self.lots[fence])
            return []
        return [RecallLot(slot) for slot, held in self.ledger.granted.items() if held == fence]

    def _kill_job(self, fence: int) -> list[Command]:
        """End one attempt. What is not begun goes back to the Router, which knows what to do."""
        for lot in self.lots.values():
            if not lot.fence <= fence < lot.fence + lot.end or lot.finished:
                continue
            if lot.fence in self._waiting:
                self._unbegun(lot)
                return []
            slots = [slot for slot, held in self.ledger.granted.items() if held == lot.fence]
            if fence - lot.fence == len(lot.statuses):
                return [RecallLot(slot) for slot in slots] + [KillSlot(slot) for slot in slots]
            return [RecallLot(slot) for slot in slots]
        return []

    def _unbegun(self, lot: HeldJobs) -> None:
        """Nothing more of *lot* will run here."""
        lot.end = len(lot.statuses)
        if lot.fence in self._waiting:
            self._waiting.remove(lot.fence)
        self._touched[lot.fence] = None

    # --- slots -------------------------------------------------------------------------

    def _started(self, event: SlotStarted, now: float) -> list[Command]:
        if event.failure is not None:
            text = f"{event.failure.type}: {event.failure.text}"
            if not self._probed:
                return [Stop(text)]
            self._starts[event.slot] = now + 1.0
            stuck = not self.ledger.granted and not self.ledger.idle
            for fence in list(self._waiting) if stuck else ():
                lot = self.lots[fence]
                self._waiting.remove(fence)
                while not lot.finished:
                    lot.fail(event.failure)
                self._touched[fence] = None
            return [Say("error", f"Slot {event.slot} cannot start: {text}")]
        self.ledger.open(event.slot)
        if not self._probed:
            self._probed = True
            self.workers = event.workers
            for slot in range(1, self._slots):
                self._starts[slot] = now
        return []

    def _progressed(self, event: SlotProgressed, now: float) -> list[Command]:
        fence = self.ledger.held(event.slot)
        lot = None if fence is None else self.lots.get(fence)
        if lot is None:
            return []
        if event.results:
            begun = len(lot.statuses)
            self._inline.took(lot.runs[begun:], event.results)
        lot.take(event.statuses, event.failures, event.results)
        self._touched[lot.fence] = None
        if self._pace.took(lot.worker, event.elapsed_s / max(1, len(event.statuses))):
            self._asked = ()
        self._settle(event.slot, lot, now)
        return []

    def _settle(self, slot: int, lot: HeldJobs, now: float) -> None:
        """The slot is free if its lot is finished, else it goes on with the next job."""
        self._recalled.discard(slot)
        if lot.finished:
            self.ledger.free(slot)
            self._since.pop(slot, None)
        else:
            self._since[slot] = now

    def _exited(self, event: SlotExited, now: float) -> list[Command]:
        fence = self.ledger.close(event.slot)
        self._since.pop(event.slot, None)
        self._recalled.discard(event.slot)
        if not self._probed:
            return [Stop(f"The slot that imports the workers died: {event.failure.text}")]
        lot = None if fence is None else self.lots.get(fence)
        in_job = lot is not None and lot.end - len(lot.statuses) > event.unbegun
        if not self._drains:  # if it died of its own: do not spin
            self._starts[event.slot] = now if in_job else now + RESTART_S
        if lot is None:
            return []
        if in_job:
            lot.fail(event.failure)
        lot.pass_over()
        self._touched[lot.fence] = None
        if self._drains:
            self._unbegun(lot)
        elif not lot.finished:
            self._waiting.appendleft(lot.fence)
        return [Say("warning", f"Slot {event.slot} died: {event.failure.text}")]

    def _blocked(self, slot: int) -> list[Command]:
        """One job holds *slot* up: what is behind it goes back, and what waits here too."""
        lot = self.lots.get(self.ledger.granted[slot])
        commands: list[Command] = []
        if lot is not None:
            if self._pace.at_least(lot.worker, self.limits.blocked_slot_s):
                self._asked = ()
            if lot.end - len(lot.statuses) > 1:
                commands.append(RecallLot(slot))
        if not self.ledger.idle:
            for fence in list(self._waiting):
                self._unbegun(self.lots[fence])
        return commands

    def _feed(self, now: float) -> list[Command]:
        """Waiting lots onto free slots."""
        commands: list[Command] = []
        while self._waiting and self.ledger.idle:
            lot = self.lots[self._waiting[0]]
            slot = self.ledger.grant(lot.fence)
            assert slot is not None
            self._waiting.popleft()
            self._since[slot] = now
            headers = {n: self.runs[n] for n in dict.fromkeys(lot.runs) if n in self.runs}
            commands.append(lot.rest(slot, headers, self._inline.most(lot.runs)))
        return commands

    # --- telling the Router ------------------------------------------------------------

    def _hello(self, number: int) -> Record:
        self._told = dict.fromkeys(list(self.lots)[:HELD_MAX])
        held = Blobs(pack_record(self.lots[f].held(HELD_BYTES_MAX)) for f in self._told)
        wanted, ahead = self._wanted()
        return JoinBroker(
            self.name, self.member.incarnation, wanted, ahead, self.workers,
            self.labels, number, held, self.member.cluster,
        )  # fmt: skip

    def _wanted(self) -> tuple[int, int]:
        """(lots at once, lots ahead of them if they are short)."""
        if self._drains:
            return 0, 0
        return self._slots, 0 if self._recalled else self._slots

    def _report(self) -> list[Command]:
        """Outcomes, returns and the question for more, in that order."""
        if self.member.link is None:
            return []
        commands: list[Command] = []
        progress: list[Progress] = []
        returned: list[Returned] = []
        closed: list[int] = []
        size = 0
        for fence in self._touched:
            lot = self.lots[fence]
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
        self._touched.clear()
        if progress:
            commands += self.member.send(JobsFinished(tuple(progress)))
        if returned:
            commands += self.member.send(JobsReturned(tuple(returned)))
        self._closed.extend((self.member.link.sent, fence) for fence in closed)
        return commands + self._ask()

    def _ask(self) -> list[Command]:
        wanted = self._wanted()
        if self._asked == wanted:
            return []
        self._asked = wanted
        return self.member.send(GetJob(*wanted, self._pace.jobs_in_lot()))

    def _acknowledged(self, number: int) -> None:
        while self._closed and self._closed[0][0] <= number:
            self.lots.pop(self._closed.popleft()[1], None)

    # --- the end -----------------------------------------------------------------------

    def _drain(self) -> list[Command]:
        for fence in list(self._waiting):
            self._unbegun(self.lots[fence])
        commands: list[Command] = [RecallLot(slot) for slot in self.ledger.granted]
        text = "Draining: finishing what runs." if self._drains == 1 else "Stopping now."
        return [*commands, Say("info", text)]

    def _leave(self, now: float) -> list[Command]:
        """Goodbye once drained: everything told and acknowledged, or the time is over."""
        if self._drains > 1:
            return [*self.member.send(Leave()), Stop()]
        if not self._drains or self.ledger.granted:
            return []
        link = self.member.link
        if link is None and not self.lots:
            return [Stop()]  # nothing to tell, and nobody to say goodbye to
        if self._leave_by is None:
            self._leave_by = now + self.limits.kill_grace_s
        late = now >= self._leave_by
        if self._left and (late or link is None or not link.unacknowledged):
            return [Stop()]
        if late:
            text = f"No Router took the outcomes of {len(self.lots)} lots; their jobs run again."
            return [Say("warning", text), Stop()]
        if self.lots or link is None or self._left:
            return []
        self._left = True
        return self.member.send(Leave())

    def check(self) -> None:
        self.member.check()
        self.ledger.check()
        running = set(self.ledger.granted.values())
        assert not running & set(self._waiting), "a waiting lot runs"
        for lot in self.lots.values():
            assert len(lot.statuses) <= lot.end <= len(lot.jobs)
            assert lot.reported <= len(lot.statuses)
            open_here = not lot.finished
            assert not open_here or lot.fence in running or lot.fence in self._waiting
