"""The slots of a simulated Broker: they run lots in virtual time, fail and die."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import msgpack

from pypelinin.cluster.slots import RunLot, SlotExited, SlotProgressed, SlotRecalled, SlotStarted
from pypelinin.graph import states
from pypelinin.machine import Event
from pypelinin.testing.history import BROKE, KILLED, SUCCEEDED, History, Place, demand
from pypelinin.testing.scripts import DURATIONS_S, RunScript
from pypelinin.testing.timeline import Timeline
from pypelinin.wire.definitions import Failure
from pypelinin.wire.messages import JobFailure

NIL = b"\xc0"
SIGNAL = Failure("signal", "SIGKILL", "the slot was killed")
RAISED = Failure("exception", "ValueError", "no luck")
MISSING = Failure("import", "ImportError", "no module")


@dataclass(slots=True)
class Odds:
    """How often what goes wrong; probabilities for each job or start."""

    death: float = 0.0
    stall: float = 0.0
    bad_start: float = 0.0


@dataclass(slots=True)
class _Slot:
    number: int
    usable: bool = False
    lot: RunLot | None = None
    position: int = 0
    end: int = 0
    statuses: bytearray = field(default_factory=bytearray)
    results: list[bytes] = field(default_factory=list)
    failures: list[JobFailure] = field(default_factory=list)
    elapsed_s: float = 0.0
    life: int = 0
    """Rises whenever what is planned for the slot must not happen any more."""


class SimSlots:
    """All slots of one life of a Broker; events go to *tell*."""

    def __init__(
        self,
        place: Place,
        workers: tuple[str, ...],
        slots_max: int,
        timeline: Timeline,
        random: Random,
        history: History,
        odds: Odds,
        tell: Callable[[Event], None],
    ) -> None:
        self.place = place
        self.workers = workers
        self.slots_max = slots_max
        self._timeline = timeline
        self._random = random
        self._history = history
        self._odds = odds
        self._tell = tell
        self._slots: dict[int, _Slot] = {}
        self._over = False

    # --- commands ----------------------------------------------------------------------

    def start(self, number: int) -> None:
        demand(number not in self._slots, "slot", number, "is started twice")
        demand(number < self.slots_max, "slot", number, "is more than this node has")
        slot = self._slots[number] = _Slot(number)
        self._later(slot, self._random.uniform(0.005, 0.05), lambda: self._started(slot))

    def run(self, command: RunLot) -> None:
        slot = self._slots.get(command.slot)
        if slot is None:
            return  # it just died; the Broker will hear of it
        demand(slot.usable and slot.lot is None, "slot", command.slot, "is not free")
        self._check_payloads(command)
        slot.lot, slot.position, slot.end = command, 0, len(command.jobs)
        self._begin(slot)

    def recall(self, number: int) -> Event:
        """At once: what is not begun is taken back."""
        slot = self._slots.get(number)
        if slot is None or slot.lot is None:
            return SlotRecalled(number, 0)
        count = slot.end - slot.position - 1
        slot.end -= count
        self._history.counters["recalls"] += count > 0
        return SlotRecalled(number, count)

    def kill(self, number: int) -> None:
        slot = self._slots.get(number)
        if slot is not None:
            slot.life += 1
            self._later(slot, self._random.uniform(0.001, 0.02), lambda: self._exit(slot, KILLED))

    def end_all(self) -> None:
        """The Broker is dead, and its slots with it."""
        self._over = True
        for slot in self._slots.values():
            self._end_current(slot, KILLED)
        self._slots.clear()
        self._history.dead.add(self.place)

    # --- what happens ------------------------------------------------------------------

    def _later(self, slot: _Slot, delay_s: float, action: Callable[[], None]) -> None:
        life = slot.life

        def act() -> None:
            if not self._over and slot.life == life:
                action()

        self._timeline.after(delay_s, act)

    def _started(self, slot: _Slot) -> None:
        if slot.number and self._random.random() < self._odds.bad_start:
            self._history.counters["slots that could not start"] += 1
            del self._slots[slot.number]
            self._tell(SlotStarted(slot.number, (), MISSING))
            return
        slot.usable = True
        self._tell(SlotStarted(slot.number, self.workers))

    def _begin(self, slot: _Slot) -> None:
        lot = slot.lot
        assert lot is not None
        number, job = lot.runs[slot.position], lot.jobs[slot.position]
        run = lot.headers[number][0]
        self._history.began(lot.fence + slot.position, run, job, self.place)
        low, high = DURATIONS_S[lot.worker]
        duration_s = self._random.uniform(low, high)
        if self._random.random() < self._odds.stall:
            duration_s += self._random.uniform(0.2, 1.0)
        if self._random.random() < self._odds.death:
            self._later(slot, duration_s / 2, lambda: self._exit(slot, BROKE))
        else:
            self._later(slot, duration_s, lambda: self._finish(slot, duration_s))

    def _finish(self, slot: _Slot, duration_s: float) -> None:
        lot = slot.lot
        assert lot is not None
        number, job = lot.runs[slot.position], lot.jobs[slot.position]
        script = self._history.scripts[lot.headers[number][0]]
        well = self._random.random() >= script.failing[job]
        self._history.ended(lot.fence + slot.position, SUCCEEDED if well else BROKE)
        if not well:
            slot.failures.append(JobFailure(len(slot.statuses), RAISED))
        slot.statuses.append(states.DONE if well else states.FAILED)
        slot.results.append(script.results[job] if well else b"")
        slot.elapsed_s += duration_s
        slot.position += 1
        while not well and lot.follows[slot.position : slot.position + 1] == b"\1":
            if slot.position == slot.end:
                break
            slot.statuses.append(states.UNBEGUN)
            slot.results.append(b"")
            slot.position += 1
        if slot.position == slot.end:
            slot.lot = None
            self._flush(slot)
            return
        if self._random.random() < 0.5:
            self._flush(slot)
        else:
            self._later(slot, 0.002, lambda: self._flush(slot))
        self._begin(slot)

    def _flush(self, slot: _Slot) -> None:
        """Tell the outcomes that were not told yet."""
        if slot.statuses:
            results = tuple(slot.results) if any(slot.results) else ()
            statuses, failures = bytes(slot.statuses), tuple(slot.failures)
            self._tell(SlotProgressed(slot.number, statuses, failures, slot.elapsed_s, results))
        slot.statuses, slot.results, slot.failures = bytearray(), [], []
        slot.elapsed_s = 0.0

    def _exit(self, slot: _Slot, state: str) -> None:
        self._flush(slot)
        self._end_current(slot, state)
        unbegun = 0 if slot.lot is None else slot.end - slot.position - 1
        slot.life += 1
        del self._slots[slot.number]
        self._history.counters["slot deaths"] += state == BROKE
        self._tell(SlotExited(slot.number, SIGNAL, unbegun))

    def _end_current(self, slot: _Slot, state: str) -> None:
        if slot.lot is not None:
            self._history.ended(slot.lot.fence + slot.position, state)

    def _check_payloads(self, command: RunLot) -> None:
        """What the slot would hand to the worker is what was submitted."""
        unpacker = msgpack.Unpacker(raw=False)
        unpacker.feed(command.payloads)
        given = list(unpacker)[command.skip :] if command.payloads else []
        for i, (number, job) in enumerate(zip(command.runs, command.jobs, strict=True)):
            demand(number in command.headers, "the header of run", number, "is missing")
            run, payload = command.headers[number]
            script: RunScript = self._history.scripts[run]
            demand(payload == script.payload, "run", run, "has another's payload")
            found, wanted = given[i] if given else None, script.given(job)
            demand(found == wanted, run, job, "is given", found, "and not", wanted)
            self._history.counters["results read"] += len(script.reads[job])
            demand(script.kinds[job].worker == command.worker, "job", job, "has another's worker")
