"""The lots on a node, and the slots that they run in; part of the Broker.

A lot waits, gets a slot, and its jobs end one after the other, or are taken back, or end with
their slot. What is known of a lot and not yet told is *touched*.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from pypelinin.cluster.amounts import Amount, need_on, weight
from pypelinin.cluster.events import Say, Stop
from pypelinin.cluster.inline import Inline
from pypelinin.cluster.ledger import Ledger
from pypelinin.cluster.pace import Pace
from pypelinin.cluster.pool import BAD_STARTS_MAX, RESTART_S, Pool, PooledSlot
from pypelinin.cluster.slots import (
    PLAIN_SHAPE,
    HeldJobs,
    RecallLot,
    SlotExited,
    SlotProgressed,
    SlotRecalled,
    SlotStarted,
)
from pypelinin.config import Limits
from pypelinin.graph import states
from pypelinin.machine import Command, Event
from pypelinin.wire.definitions import Failure

WAITING_MAX = 1000
CANCELLED = Failure("cancelled", "Cancelled", "it was cancelled")


@dataclass(slots=True)
class Demand:
    """What the jobs that run have and lots that wait would take; *least* are the cores of the
    smallest of these.

    *lot* (0: none) is the first that needs more than may be had now, and *head* what it needs.
    """

    need: Amount
    least: int
    lot: int
    head: Amount


class Bench:
    """Lots by fence, those that wait for a slot in their order."""

    def __init__(self, ledger: Ledger, limits: Limits, node: str) -> None:
        self.lots: dict[int, HeldJobs] = {}
        self.runs: dict[int, tuple[str, bytes]] = {}
        """Headers of runs by number: (id, payload)."""
        self.pool = Pool(ledger, limits)
        self.workers: tuple[str, ...] = ()
        self.declared: tuple[bytes, ...] = ()
        self.probed = False
        """Whether a slot has loaded what the user gave, so that it is known what it offers."""
        self._bad_probes = 0
        self.closed = False
        """Nothing begins here any more."""
        self.touched: dict[int, None] = {}
        self.pace = Pace(limits)
        self.pace_changed = False
        self._waiting: deque[int] = deque()
        self._inline = Inline()
        self._limits = limits
        self._node = node

    # --- lots --------------------------------------------------------------------------

    def take(self, lot: HeldJobs) -> None:
        self.lots[lot.fence] = lot
        self._waiting.append(lot.fence)
        ledger = self.pool.ledger
        if self.closed or need_on(lot.terms, ledger.capacity, ledger.capacity) is None:
            self._unbegun(lot)

    def keep_runs(self, runs: Iterable[int]) -> None:
        """All other runs are over."""
        self.runs = {number: self.runs[number] for number in runs if number in self.runs}
        self._inline.keep(self.runs)

    def close(self) -> list[Command]:
        """Finish the jobs that run, and begin no other."""
        self.closed = True
        for lot in list(self.lots.values()):
            if self._is_waiting(lot):
                self._unbegun(lot)
        return [RecallLot(slot.number) for slot in self.pool.busy]

    def demand(self, head: int) -> Demand:
        """What would be of use here; the lot *head* stays its head for as long as it waits."""
        ledger = self.pool.ledger
        found = Demand(ledger.used, 0, 0, Amount())
        for fence in islice(self._waiting, WAITING_MAX):
            terms = self.lots[fence].terms
            more = need_on(terms, ledger.capacity, ledger.capacity)
            now = ledger.need(terms)
            if more is None or now is None:
                continue
            found.need.add(more)
            size = weight(now, ledger.capacity)
            found.least = min(found.least or size, size)
            if fence == head or (not found.lot and ledger.is_beyond(now)):
                found.lot, found.head = fence, now
        return found

    @property
    def waits(self) -> bool:
        """Whether a lot waits for room."""
        return bool(self._waiting)

    @property
    def busy(self) -> bool:
        return any(self.pool.busy)

    def event(self, event: Event, now: float) -> list[Command]:
        """What a slot says."""
        match event:
            case SlotProgressed():
                return self._progressed(event, now)
            case SlotStarted():
                return self._started(event, now)
            case SlotRecalled(number, count):
                return self._taken_back(number, count, now)
            case SlotExited():
                return self._exited(event, now)
        return []

    def due(self, now: float) -> Iterator[Command]:
        """Slots to start, jobs that take too long."""
        if now < self.pool.deadline():
            return
        yield from self.pool.due(now)
        for slot in self.pool.blocked(now):
            yield from self._blocked(slot)
        for slot in self.pool.overdue(now):
            text = f"it ran longer than its timeout of {slot.timeout_s:g} s"
            yield from self._end_job(slot, Failure("timeout", "Timeout", text, "", self._node), now)

    def drop(self, fence: int) -> list[Command]:
        lot = self.lots.pop(fence, None)
        if lot is None:
            return []
        if fence in self._waiting:
            self._waiting.remove(fence)
        self.touched.pop(fence, None)
        if self.pool.withdraw(fence):
            return []
        slot = self.pool.of(fence)
        if slot is None:
            return []
        return [self.pool.end(slot), Say("info", f"Killing void lot {fence:x}.")]

    def give_back(self, fence: int) -> list[Command]:
        lot = self.lots.get(fence)
        if lot is None or lot.finished:
            return []
        if self._is_waiting(lot):
            self._unbegun(lot)
            return []
        slot = self.pool.of(fence)
        return [] if slot is None else [RecallLot(slot.number)]

    def kill_job(self, fence: int, now: float) -> list[Command]:
        """End one attempt. What is not begun goes back to the Router, which knows what to do."""
        for lot in self.lots.values():
            if not lot.fence <= fence < lot.fence + lot.end or lot.finished:
                continue
            if self._is_waiting(lot):
                self._unbegun(lot)
                return []
            slot = self.pool.of(lot.fence)
            if slot is None:
                return []
            if fence - lot.fence == len(lot.statuses):
                return self._end_job(slot, CANCELLED, now)
            return [RecallLot(slot.number)]
        return []

    def _is_waiting(self, lot: HeldJobs) -> bool:
        """Whether no slot has got it yet."""
        slot = self.pool.of(lot.fence)
        return lot.fence in self._waiting or (slot is not None and not slot.runs)

    def _unbegun(self, lot: HeldJobs) -> None:
        """Nothing more of *lot* will run here."""
        lot.end = len(lot.statuses)
        if lot.fence in self._waiting:
            self._waiting.remove(lot.fence)
        else:
            self.pool.withdraw(lot.fence)
        self.touched[lot.fence] = None

    # --- slots -------------------------------------------------------------------------

    def _started(self, event: SlotStarted, now: float) -> list[Command]:
        if self.pool.slots[event.slot].ending:  # it had loaded just before it was ended
            if event.failure is not None:  # and ended itself: that is not told once more
                self.pool.exited(event.slot, float("inf") if self.closed else now)
            return []
        if event.failure is not None:
            return self._not_started(event.slot, event.failure, now)
        slot = self.pool.started(event.slot)
        if not self.probed:
            self.probed = True
            self.workers, self.declared = event.workers, event.declared
            for number in range(1, self.pool.most):
                self.pool.open(number, now)
        lot = None if slot.fence is None else self.lots.get(slot.fence)
        return [] if lot is None else [self._run(slot, lot, now)]

    def _not_started(self, number: int, why: Failure, now: float) -> list[Command]:
        if not self.probed:
            return self._not_probed(number, why, now)
        slot = self.pool.not_started(number, now)
        others = any(other.usable for other in self.pool.slots.values())
        late = why.cause == "timeout" and slot.startup_s > 0  # what its lot said is over
        if (late or slot.shape != PLAIN_SHAPE) and slot.fence is not None:
            if late or slot.bad_starts >= BAD_STARTS_MAX:
                lot = self.lots[slot.fence]
                self.pool.withdraw(lot.fence)
                slot.shape, slot.bad_starts = PLAIN_SHAPE, 0  # it starts for anybody
                self._fail(lot, why)
        elif slot.fence is not None and others:
            self._waiting.appendleft(slot.fence)
            self.pool.withdraw(slot.fence)
        elif why.cause == "timeout":
            pass  # who did not want to wait any longer is not here any more
        elif not others and slot.shape == PLAIN_SHAPE:  # no slot starts: what waits for one fails
            for lot in [lot for lot in self.lots.values() if self._is_waiting(lot)]:
                if lot.fence in self._waiting:
                    self._waiting.remove(lot.fence)
                self.pool.withdraw(lot.fence)
                self._fail(lot, why)
        return [Say("error", f"Slot {number} cannot start: {why.type}: {why.text}")]

    def _not_probed(self, number: int, why: Failure, now: float) -> list[Command]:
        """The first slot of all: without it there is nothing to offer."""
        self._bad_probes += 1
        text = f"{why.type}: {why.text}"
        if why.cause != "exit" or self._bad_probes >= BAD_STARTS_MAX:
            return [Stop(text)]
        self.pool.not_started(number, now)  # no process could be had, which may be over soon
        return [Say("warning", f"Slot {number} cannot start: {text}; it is tried again.")]

    def _fail(self, lot: HeldJobs, why: Failure) -> None:
        """No job of it can run here."""
        while not lot.finished:
            lot.fail(why)
        self.touched[lot.fence] = None

    def _lot_on(self, number: int) -> tuple[PooledSlot, HeldJobs] | None:
        """The slot and the lot that runs there."""
        slot = self.pool.slots.get(number)
        if slot is None or slot.fence is None or not slot.runs:
            return None
        lot = self.lots.get(slot.fence)
        return None if lot is None else (slot, lot)

    def _progressed(self, event: SlotProgressed, now: float) -> list[Command]:
        found = self._lot_on(event.slot)
        if found is None:
            return []
        slot, lot = found
        begun = len(lot.statuses)
        if event.results:
            self._inline.took(lot.runs[begun:], event.results)
        lot.take(event.statuses, event.failures, event.results)
        if slot.doom is not None and lot.statuses[-1] == states.FAILED:
            lot.blame(slot.doom)
        self.touched[lot.fence] = None
        if self.pace.took(lot.worker, event.elapsed_s / max(1, len(event.statuses))):
            self.pace_changed = True
        return self._settle(slot, lot, now)

    def _settle(self, slot: PooledSlot, lot: HeldJobs, now: float) -> list[Command]:
        """The slot is free if its lot is finished, else it goes on with the next job."""
        if lot.finished:
            return self.pool.free(slot)
        self.pool.began(slot, now)
        return []

    def _taken_back(self, number: int, count: int, now: float) -> list[Command]:
        """The slot will not begin the last *count* jobs of its lot."""
        found = self._lot_on(number)
        if found is None:
            return []
        slot, lot = found
        commands: list[Command] = []
        if count:
            lot.end -= count
            self.touched[lot.fence] = None
            if lot.finished:
                commands += self._settle(slot, lot, now)
        if slot.wish is not None:
            (position, why), slot.wish = slot.wish, None
            if position == len(lot.statuses) == lot.end - 1:  # else it has ended by itself
                commands.append(self.pool.doom(slot, why, now))
        return commands

    def _end_job(self, slot: PooledSlot, why: Failure, now: float) -> list[Command]:
        """End the job that runs there, once it is sure that no other one can begin."""
        lot = None if slot.fence is None else self.lots.get(slot.fence)
        if lot is None or slot.doom is not None:
            return []
        if lot.end - len(lot.statuses) > 1:
            slot.wish = (len(lot.statuses), why)
            return [RecallLot(slot.number)]
        return [self.pool.doom(slot, why, now)]

    def _exited(self, event: SlotExited, now: float) -> list[Command]:
        slot = self.pool.slots[event.slot]
        why = slot.doom or event.failure
        if not self.probed:
            return [Stop(f"The slot that imports the workers died: {why.text}")]
        if not slot.runs:
            if slot.ending and slot.doom is None:
                self.pool.exited(event.slot, float("inf") if self.closed else now)
                return []
            if not slot.usable:  # it died while it loaded
                return self._not_started(event.slot, why, now)
        found = self._lot_on(event.slot)
        lot = None if found is None else found[1]
        begun = lot is not None and lot.end - len(lot.statuses) > event.unbegun
        # who was told to end has, even if the slot had not taken its token yet
        in_job = lot is not None and not lot.finished and (begun or slot.doom is not None)
        expected = slot.ending or slot.doom is not None
        # if it died of its own: do not spin
        at = now if in_job or expected else now + RESTART_S
        self.pool.exited(event.slot, float("inf") if self.closed else at)
        if lot is None:
            return []
        if in_job:
            lot.fail(why)
        lot.pass_over()
        self.touched[lot.fence] = None
        if self.closed:
            self._unbegun(lot)
        elif not lot.finished:
            self._waiting.appendleft(lot.fence)
        return [Say("warning", f"Slot {event.slot} died: {why.text}")]

    def _blocked(self, slot: PooledSlot) -> list[Command]:
        """One job holds *slot* up: what is behind it goes back, and what waits here too."""
        assert slot.fence is not None
        lot = self.lots.get(slot.fence)
        commands: list[Command] = []
        if lot is not None:
            if self.pace.at_least(lot.worker, self._limits.blocked_slot_s):
                self.pace_changed = True
            if lot.end - len(lot.statuses) > 1:
                commands.append(RecallLot(slot.number))
        if not self.pool.idle:
            for fence in list(self._waiting):
                self._unbegun(self.lots[fence])
        return commands

    def feed(self, now: float) -> list[Command]:
        """Waiting lots onto free slots, in their order.

        Nothing overtakes a lot that only waits for jobs here to end. What needs more than others
        on the node leave is passed over until they leave it.
        """
        commands: list[Command] = []
        passed: list[int] = []
        ledger = self.pool.ledger
        while self._waiting and self.probed and ledger.limit.cores and len(passed) < WAITING_MAX:
            lot = self.lots[self._waiting[0]]
            slot, ended = self.pool.place(lot.fence, lot.terms, now)
            if slot is None:
                need = ledger.need(lot.terms)
                if need is None or not ledger.is_beyond(need):
                    break
                passed.append(self._waiting.popleft())
                continue
            self._waiting.popleft()
            commands += ended
            if slot.usable:
                commands.append(self._run(slot, lot, now))
        self._waiting.extendleft(reversed(passed))
        return commands

    def _run(self, slot: PooledSlot, lot: HeldJobs, now: float) -> Command:
        self.pool.began(slot, now)
        headers = {n: self.runs[n] for n in dict.fromkeys(lot.runs) if n in self.runs}
        return lot.rest(slot.number, headers, self._inline.most(lot.runs))

    def check(self) -> None:
        self.pool.check()
        running = self.pool.ledger.granted.keys()
        assert not running & set(self._waiting), "a waiting lot runs"
        for lot in self.lots.values():
            assert len(lot.statuses) <= lot.end <= len(lot.jobs)
            assert lot.reported <= len(lot.statuses)
            assert lot.finished or lot.fence in running or lot.fence in self._waiting
