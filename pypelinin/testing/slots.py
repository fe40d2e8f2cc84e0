"""The slots of a simulated Broker: they run lots in virtual time, fail and die."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import msgpack

from pypelinin.cluster.slots import (
    PLAIN_SHAPE,
    RunLot,
    Shape,
    SlotExited,
    SlotProgressed,
    SlotRecalled,
    SlotStarted,
)
from pypelinin.graph import states
from pypelinin.graph.needs import ALL_CORES, WHOLE_NODE
from pypelinin.machine import Event
from pypelinin.testing.history import BROKE, KILLED, SUCCEEDED, History, Place, demand
from pypelinin.testing.scripts import DURATIONS_S, RunScript
from pypelinin.testing.timeline import Timeline
from pypelinin.wire.definitions import PLAIN, Capacity, Failure
from pypelinin.wire.messages import JobFailure

NIL = b"\xc0"
SIGNAL = Failure("signal", "SIGKILL", "the slot was killed")
MEMORY = Failure("memory", "MemoryLimit", "it used too much")
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
    shape: Shape = PLAIN_SHAPE
    usable: bool = False
    lot: RunLot | None = None
    used: int = 0
    """The lot that it had last."""
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
        capacity: Capacity,
        timeline: Timeline,
        random: Random,
        history: History,
        odds: Odds,
        tell: Callable[[Event], None],
    ) -> None:
        self.place = place
        self.workers = workers
        self.capacity = capacity
        self._timeline = timeline
        self._random = random
        self._history = history
        self._odds = odds
        self._tell = tell
        self._slots: dict[int, _Slot] = {}
        self._over = False
        self.held: Callable[[], Capacity] = lambda: capacity
        """What of the node is ours now, if others share it."""

    # --- commands ----------------------------------------------------------------------

    def start(self, number: int, shape: Shape) -> None:
        demand(number not in self._slots, "slot", number, "is started twice")
        demand(number < self.capacity.cores, "slot", number, "is more than this node has")
        slot = self._slots[number] = _Slot(number, shape)
        self._later(slot, self._random.uniform(0.005, 0.05), lambda: self._started(slot))

    def run(self, command: RunLot) -> None:
        slot = self._slots.get(command.slot)
        if slot is None:
            return  # it just died; the Broker will hear of it
        demand(slot.usable and slot.lot is None, "slot", command.slot, "is not free")
        self._check_payloads(command)
        demand(slot.shape.once in (0, slot.used or command.fence), "slot", slot.number, "is used")
        slot.lot, slot.position, slot.end = command, 0, len(command.jobs)
        slot.used = command.fence
        self._check_needs(slot)
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

    def kill(self, number: int, gently: bool = False) -> None:
        """Half of the jobs that are asked to end do."""
        slot = self._slots.get(number)
        if slot is not None and not (gently and self._random.random() < 0.5):
            if not slot.usable and self._random.random() < 0.5:  # it had just loaded
                slot.usable = True
                self._tell(SlotStarted(slot.number, self.workers))
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
        if lot.memory_max and self._random.random() < 0.2:
            self._later(slot, duration_s / 2, lambda: self._exit(slot, BROKE, MEMORY))
        elif self._random.random() < self._odds.death:
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

    def _exit(self, slot: _Slot, state: str, why: Failure = SIGNAL) -> None:
        self._flush(slot)
        self._end_current(slot, state)
        unbegun = 0 if slot.lot is None else slot.end - slot.position - 1
        slot.life += 1
        del self._slots[slot.number]
        self._history.counters["slot deaths"] += state == BROKE
        self._tell(SlotExited(slot.number, why, unbegun))

    def _end_current(self, slot: _Slot, state: str) -> None:
        if slot.lot is not None:
            self._history.ended(slot.lot.fence + slot.position, state)

    def _check_needs(self, slot: _Slot) -> None:
        """What runs now never needs more than the node has, and each job has what it asked for."""
        assert slot.lot is not None
        run, job = slot.lot.headers[slot.lot.runs[0]][0], slot.lot.jobs[0]
        kills = self._history.attempts[slot.lot.fence].memory_kills
        terms = self._history.scripts[run].kinds[job].terms_after(kills) or PLAIN
        shape, has = slot.shape, self.capacity
        busy = [other for other in self._slots.values() if other.lot is not None]
        wanted = {ALL_CORES: max(1, has.cores - 1), WHOLE_NODE: has.cores}
        cores = wanted.get(terms.cores, terms.cores)
        demand(1 <= shape.cores <= cores, "has", shape.cores, "cores")
        demand(shape.cores == cores or terms.cores == ALL_CORES, "has too few cores")
        demand(sum(other.shape.cores for other in busy) <= self.held().cores, "too many cores")
        demand(terms.cores != WHOLE_NODE or len(busy) == 1, "the whole node is shared")
        share = has.memory // has.cores
        lots = [(other.shape.cores, other.lot.memory_max) for other in busy if other.lot]
        memory = sum(limit or cores * share for cores, limit in lots)
        demand(memory <= self.held().memory or not has.memory, "more memory than there is")
        demand(slot.lot.memory_max == terms.memory, "has", slot.lot.memory_max, "bytes")
        devices = [(name, i) for other in busy for name, own in other.shape.devices for i in own]
        demand(len(set(devices)) == len(devices), "a device is given twice")
        counts = {name: len(indices) for name, indices in shape.devices if indices}
        demand(counts == terms.resources, "has", counts, "and asked for", terms.resources)
        demand(dict(shape.env) == terms.env, "another environment")
        self._history.counters["lots with needs"] += terms != PLAIN

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
